"""Haiku: ``VanillaRNN``, ``GRU``, ``LSTM``.

Names are module and parameter, joined with a slash.
"""

from __future__ import annotations

import re

from msref.ports.layout import Layout, Slot
from msref.ports.network import Place
from msref.ports.port import Found, Port

LAYOUTS = (
    Layout(
        layers=("VanillaRNN",),
        cell="elman",
        called="h",
        slots=(
            Slot("linear/w", ("x",), "h"),
            Slot("linear/b", ("bx",), "h"),
            Slot("linear_1/w", ("h",), "h"),
            Slot("linear_1/b", ("bh",), "h"),
        ),
        call="haiku.{L}({H})",
        activations=("relu",),
        lacking=("linear_1/b",),
        remark="a ReLU; without linear_1/b it is double_bias=False",
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="z r a",
        slots=(
            Slot("w_i", ("x",), "zrn"),
            Slot("w_h", ("h",), "zrn"),
            Slot("b", ("bx",), "zrn"),
        ),
        call="haiku.{L}({H})",
        reset="before",
        z="writes",
    ),
    Layout(
        layers=("LSTM",),
        cell="lstm",
        called="i g f o",
        slots=(
            Slot("linear/w", ("x", "h"), "igfo"),
            Slot("linear/b", ("bx",), "igfo"),
        ),
        call="haiku.{L}({H})",
        added={"f": 1.0},
        state="h, c",
        remark="one matrix on [x, h]",
    ),
)

_MODULES = {"elman": "vanilla_rnn", "gru": "gru", "lstm": "lstm"}


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``lstm/linear/w``, and ``lstm_1/linear/w`` above it."""
    number = f"_{place.number}" if place.number else ""
    return f"{_MODULES[place.cells[place.layer]]}{number}/{slot}"


def find(full: str) -> Found | None:
    """Return layer and slot of a name.

    The layer is the module above it; none, where a prefix was cut off.
    """
    above = r"(?:(?:.*/)?([^/]*)/)?"
    parts = re.fullmatch(
        above + r"(linear/[wb]|linear_1/[wb])", full
    ) or re.fullmatch(above + r"(w_i|w_h|b)", full)
    return None if parts is None else Found(parts[1] or "", 0, parts[2])


PORT = Port(
    key="haiku",
    title="Haiku",
    layouts=LAYOUTS,
    name=name,
    find=find,
    two_ways=False,
    hints={"layers": "names of the layers, input first, with commas"},
    advice=": export its parts, and run one over the reversed sequence",
)
