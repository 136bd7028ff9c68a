"""Flax linen: ``SimpleCell``, ``GRUCell``, ``LSTMCell``.

Names are the paths in the tree of parameters, joined with slashes: plain for
a cell; as ``Sequential`` of ``RNN`` and as ``Bidirectional`` name them else.
"""

from __future__ import annotations

import re

from msref.ports.layout import Layout, Slot
from msref.ports.network import Place
from msref.ports.port import Found, Port


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

_WAYS = ("forward_rnn", "backward_rnn")


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``hi/kernel``, ``layers_0/forward_rnn/cell/hi/kernel``."""
    path = [f"layers_{place.layer}"] if place.n_layers > 1 else []
    path += [_WAYS[place.direction]] if place.n_directions == 2 else []
    return "/".join([*path, "cell", slot] if path else [slot])


def find(full: str) -> Found | None:
    """Return layer, direction and slot of a path."""
    parts = re.fullmatch(
        r"(?:params/)?(?:layers_(\d+)/)?(?:(forward|backward)_rnn/)?(?:cell/)?"
        r"([^/]+/[^/]+)",
        full,
    )
    if parts is None:
        return None
    return Found(parts[1] or "0", int(parts[2] == "backward"), parts[3])


PORT = Port(
    key="flax",
    title="Flax linen",
    layouts=LAYOUTS,
    name=name,
    find=find,
)
