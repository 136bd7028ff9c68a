"""Keras 3: ``SimpleRNN``, ``GRU``, ``LSTM``, ``Bidirectional``.

Names are the paths of the weights, in the order of ``get_weights``, so that
``layer.set_weights(list(weights.values()))`` takes them; read back from a
file they come in another order, and names have to say which is which.
"""

from __future__ import annotations

import re

from msref.ports.layout import Layout, Slot
from msref.ports.network import Place
from msref.ports.port import Found, Port


def _slots(gates: str, *biases: str, paired: bool = False) -> tuple[Slot, ...]:
    return (
        Slot("kernel", ("x",), gates),
        Slot("recurrent_kernel", ("h",), gates),
        Slot("bias", biases, gates, paired=paired),
    )


def _as_memory(gates: str) -> tuple[Slot, ...]:
    return (
        Slot("kernel", ("x",), gates, as_memory=True),
        Slot("recurrent_kernel", ("h",), gates, as_memory=True),
        Slot("bias", ("bx", "bh"), gates),
    )


LAYOUTS = (
    Layout(
        layers=("SimpleRNN",),
        cell="elman",
        called="h",
        slots=_slots("h", "bx"),
        call='keras.layers.{L}({H}, activation="{f}")',
        activations=("tanh", "relu"),
        lacking=("bias",),
        x="(B, T, D)",
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="z r h",
        slots=_slots("zrn", "bx", "bh", paired=True),
        call="keras.layers.{L}({H})",
        reset="after",
        lacking=("bias",),
        x="(B, T, D)",
        remark=(
            "recurrent_activation sigmoid; another default (hard_sigmoid) in"
            " old files is another function"
        ),
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="z r h",
        slots=_slots("zrn", "bx"),
        call="keras.layers.{L}({H}, reset_after=False)",
        reset="before",
        lacking=("bias",),
        x="(B, T, D)",
        remark=(
            "recurrent_activation sigmoid, as with reset_after=True; this reset"
            " was the default in TensorFlow 1, the other is since TensorFlow 2"
        ),
    ),
    Layout(
        layers=("LSTM",),
        cell="lstm",
        called="i f c o",
        slots=_slots("ifgo", "bx"),
        call="keras.layers.{L}({H})",
        lacking=("bias",),
        state="h, c",
        x="(B, T, D)",
        remark="unit_forget_bias is a start: the 1 is stored in bias",
    ),
    Layout(
        layers=("GRU with a flat bias",),
        cell="gru",
        called="z r h",
        slots=_slots("zrn", "bx", "bh"),
        call="keras.layers.GRU({H}, reset_after=True), its bias flattened",
        reset="after",
        x="(B, T, D)",
        source="ours",
        remark=(
            "Keras keeps this bias as (2, 3H), so that it is not taken for"
            " CuDNNGRU's; flattened, only a hint tells them apart"
        ),
        old=True,
    ),
    Layout(
        layers=("CuDNNGRU",),
        cell="gru",
        called="z r h",
        slots=_as_memory("zrn"),
        call="keras.layers.CuDNNGRU({H}) of Keras 2",
        reset="after",
        x="(B, T, D)",
        source="read",
        remark="a gate of kernel holds the memory of its transpose",
        old=True,
    ),
    Layout(
        layers=("CuDNNLSTM",),
        cell="lstm",
        called="i f c o",
        slots=_as_memory("ifgo"),
        call="keras.layers.CuDNNLSTM({H}) of Keras 2",
        state="h, c",
        x="(B, T, D)",
        source="read",
        remark="a gate of kernel holds the memory of its transpose",
        old=True,
    ),
)

_CELLS = {"elman": "simple_rnn", "gru": "gru", "lstm": "lstm"}


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``lstm/lstm_cell/kernel``, as a new session would name it."""
    cell = _CELLS[place.cells[place.layer]]
    number = f"_{place.number}" if place.number else ""
    if place.n_directions == 2:
        way = ("forward", "backward")[place.direction]
        return f"bidirectional{number}/{way}_{cell}/{cell}_cell/{slot}"
    return f"{cell}{number}/{cell}_cell/{slot}"


def find(full: str) -> Found | None:
    """Return layer, direction and slot of a path; Keras 2 adds ``:0``."""
    *path, slot = full.removesuffix(":0").split("/")
    if path and path[-1].endswith("_cell"):
        path.pop()
    own = path.pop() if path else ""
    way = re.match(r"(forward|backward)_", own)
    if way is None and path and path[-1].startswith("bidirectional"):
        return Found(path[-1], 1, slot)  # a backward_layer keeps its name
    if way is None:
        return Found(own, 0, slot)
    layer = path.pop() if path else own.removeprefix(way[0])
    return Found(layer, int(way[1] == "backward"), slot)


PORT = Port(
    key="keras",
    title="Keras",
    layouts=LAYOUTS,
    name=name,
    find=find,
    hints={"layers": "names of the layers, input first, with commas"},
)
