"""Flax nnx: ``SimpleCell``, ``GRUCell``, ``LSTMCell``, ``OptimizedLSTMCell``.

Names are the paths in the state of the module, joined with slashes: plain
for a cell; as ``Sequential`` of ``RNN`` and ``Bidirectional`` name them else.
"""

from __future__ import annotations

import re

from msref.ports.layout import Layout, Slot
from msref.ports.network import Place
from msref.ports.port import Found, Port

_NAMES = {"i": "i", "f": "f_", "g": "g", "o": "o"}  # if_: a word of Python


def _fused(gates: str, bias: str) -> tuple[Slot, ...]:
    """Return two matrices, and the one bias of ``i`` or of ``h``."""
    slots = []
    for side, part in (("i", "x"), ("h", "h")):
        slots.append(Slot(f"dense_{side}/kernel", (part,), gates))
        if side == bias:
            slots.append(Slot(f"dense_{side}/bias", (f"b{part}",), gates))
    return tuple(slots)


LAYOUTS = (
    Layout(
        layers=("SimpleCell",),
        cell="elman",
        called="h",
        slots=_fused("h", "i"),
        call="flax.nnx.{L}({D}, {H}, activation_fn={f})",
        activations=("tanh", "relu"),
        x="(B, T, D)",
        remark="computes in float32 unless dtype is given; residual=True is"
        " another network",
    ),
    Layout(
        layers=("GRUCell",),
        cell="gru",
        called="r z n",
        slots=_fused("rzn", "i"),
        call="flax.nnx.{L}({D}, {H})",
        reset="after",
        x="(B, T, D)",
        remark="no bias inside the product with r, though its documentation"
        " shows one",
    ),
    Layout(
        layers=("OptimizedLSTMCell",),
        cell="lstm",
        called="i f g o",
        slots=_fused("ifgo", "h"),
        call="flax.nnx.{L}({D}, {H})",
        state="c, h",
        x="(B, T, D)",
    ),
    Layout(
        layers=("LSTMCell",),
        cell="lstm",
        called="i f g o",
        slots=(
            *(Slot(f"i{_NAMES[k]}/kernel", ("x",), k) for k in "ifgo"),
            *(Slot(f"h{k}/kernel", ("h",), k) for k in "ifgo"),
            *(Slot(f"h{k}/bias", ("bh",), k) for k in "ifgo"),
        ),
        call="flax.nnx.{L}({D}, {H})",
        state="c, h",
        x="(B, T, D)",
    ),
)

_WAYS = ("forward_rnn", "backward_rnn")


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``dense_i/kernel``, ``layers/0/cell/dense_i/kernel``."""
    path = [f"layers/{place.layer}"] if place.n_layers > 1 else []
    path += [_WAYS[place.direction]] if place.n_directions == 2 else []
    return "/".join([*path, "cell", slot] if path else [slot])


def find(full: str) -> Found | None:
    """Return layer, direction and slot of a path."""
    parts = re.fullmatch(
        r"(?:layers/(\d+)/)?(?:(forward|backward)_rnn/)?(?:cell/)?"
        r"([^/]+/[^/]+)",
        full,
    )
    if parts is None:
        return None
    return Found(parts[1] or "0", int(parts[2] == "backward"), parts[3])


PORT = Port(
    key="nnx",
    title="Flax nnx",
    layouts=LAYOUTS,
    name=name,
    find=find,
)
