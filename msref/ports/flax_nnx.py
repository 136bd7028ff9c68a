"""Flax nnx: ``SimpleCell``, ``GRUCell``, ``LSTMCell``, ``OptimizedLSTMCell``.

Names are the paths in the state of the module, joined with slashes: plain
for a cell; as ``Sequential`` of ``RNN`` and ``Bidirectional`` name them else.
"""

from __future__ import annotations

from msref.ports.flax_paths import finder, namer
from msref.ports.layout import Layout, Slot
from msref.ports.port import Port

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

PORT = Port(
    key="nnx",
    title="Flax nnx",
    layouts=LAYOUTS,
    name=namer("layers/"),
    find=finder("layers/"),
)
