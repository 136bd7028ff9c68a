"""Flax linen: ``SimpleCell``, ``GRUCell``, ``LSTMCell``.

Names are the paths in the tree of parameters, joined with slashes: plain for
a cell; as ``Sequential`` of ``RNN`` and as ``Bidirectional`` name them else.
"""

from __future__ import annotations

from msref.ports.flax_paths import finder, namer
from msref.ports.layout import Layout, Slot
from msref.ports.port import Port


def _slots(gates: str, biases: dict[str, str]) -> tuple[Slot, ...]:
    """Return a kernel per gate and side, and the biases named."""
    slots = []
    for side, part in (("i", "x"), ("h", "h")):
        for k in gates:
            slots.append(Slot(f"{side}{k}/kernel", (part,), k))
            if k in biases[side]:
                slots.append(Slot(f"{side}{k}/bias", (f"b{part}",), k))
    return tuple(slots)


LAYOUTS = (
    Layout(
        layers=("SimpleCell",),
        cell="elman",
        called="h",
        slots=(
            Slot("i/kernel", ("x",), "h"),
            Slot("i/bias", ("bx",), "h"),
            Slot("h/kernel", ("h",), "h"),
        ),
        call="flax.linen.{L}({H}, activation_fn={f})",
        activations=("tanh", "relu"),
        x="(B, T, D)",
        remark="residual=True is another network",
    ),
    Layout(
        layers=("GRUCell",),
        cell="gru",
        called="r z n",
        slots=_slots("rzn", {"i": "rzn", "h": "n"}),
        call="flax.linen.{L}({H})",
        reset="after",
        x="(B, T, D)",
    ),
    Layout(
        layers=("LSTMCell", "OptimizedLSTMCell"),
        cell="lstm",
        called="i f g o",
        slots=_slots("ifgo", {"i": "", "h": "ifgo"}),
        call="flax.linen.{L}({H})",
        state="c, h",
        x="(B, T, D)",
    ),
)

PORT = Port(
    key="flax",
    title="Flax linen",
    layouts=LAYOUTS,
    name=namer("layers_"),
    find=finder("layers_", before="params/"),
)
