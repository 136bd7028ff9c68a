"""PyTorch: ``torch.nn.RNN``, ``GRU``, ``LSTM``, and their cells.

Names are those of ``state_dict()``. A layer's first bias and its second are
added, so one is redundant; only the n of a GRU needs both.
"""

from __future__ import annotations

import re

from msref.ports.layout import Layout, Slot
from msref.ports.network import Place
from msref.ports.port import Found, Port


def _slots(gates: str) -> tuple[Slot, ...]:
    return (
        Slot("weight_ih", ("x",), gates, out=0),
        Slot("weight_hh", ("h",), gates, out=0),
        Slot("bias_ih", ("bx",), gates),
        Slot("bias_hh", ("bh",), gates),
    )


BIASES = ("bias_ih", "bias_hh")

LAYOUTS = (
    Layout(
        layers=("RNN", "RNNCell"),
        cell="elman",
        called="h",
        slots=_slots("h"),
        call='torch.nn.{L}({D}, {H}, nonlinearity="{f}"{more})',
        activations=("tanh", "relu"),
        lacking=BIASES,
        remark="batch_first concerns x and y, never the states",
    ),
    Layout(
        layers=("GRU", "GRUCell"),
        cell="gru",
        called="r z n",
        slots=_slots("rzn"),
        call="torch.nn.{L}({D}, {H}{more})",
        reset="after",
        lacking=BIASES,
        remark="bias_hh of n stands inside the product with r",
    ),
    Layout(
        layers=("LSTM", "LSTMCell"),
        cell="lstm",
        called="i f g o",
        slots=_slots("ifgo"),
        call="torch.nn.{L}({D}, {H}{more})",
        lacking=BIASES,
        state="h, c",
        remark="a projection (proj_size, weight_hr) is refused",
    ),
)


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``weight_ih_l0``, ``weight_ih_l0_reverse``; plain in a cell."""
    if layer.endswith("Cell"):
        if place.n_layers > 1 or place.n_directions > 1:
            raise ValueError(
                f"layer is {layer!r}, a single cell, and the network has"
                f" {place.n_layers} layers in {place.n_directions} directions"
            )
        return slot
    return f"{slot}_l{place.layer}{'_reverse' * place.direction}"


def find(full: str) -> Found | None:
    """Return layer, direction and slot of a name."""
    parts = re.fullmatch(r"([a-z]+_[a-z]+)(?:_l(\d+)(_reverse)?)?", full)
    if parts is None:
        return None
    return Found(parts[2] or "0", int(bool(parts[3])), parts[1])


PORT = Port(
    key="torch",
    title="PyTorch",
    layouts=LAYOUTS,
    name=name,
    find=find,
    uniform=True,
    refused={"weight_hr": "projects h (proj_size), which our LSTM does not do"},
)
