"""Equinox: ``GRUCell``, ``LSTMCell``; names are the fields of the module."""

from __future__ import annotations

from msref.ports.layout import Layout, Slot
from msref.ports.network import Place
from msref.ports.port import Found, Port


def _slots(gates: str) -> tuple[Slot, ...]:
    return (
        Slot("weight_ih", ("x",), gates, out=0),
        Slot("weight_hh", ("h",), gates, out=0),
        Slot("bias", ("bx",), gates),
    )


LAYOUTS = (
    Layout(
        layers=("GRUCell",),
        cell="gru",
        called="r z n",
        slots=(*_slots("rzn"), Slot("bias_n", ("bh",), "n")),
        call="equinox.nn.{L}({D}, {H}, key=key)",
        reset="after",
        lacking=("bias", "bias_n"),
        x="(D)",
        remark="one sequence, one step; bias_n stands inside the product"
        " with r",
    ),
    Layout(
        layers=("LSTMCell",),
        cell="lstm",
        called="i f g o",
        slots=_slots("ifgo"),
        call="equinox.nn.{L}({D}, {H}, key=key)",
        lacking=("bias",),
        state="h, c",
        x="(D)",
        remark="one sequence, one step",
    ),
)


def name(place: Place, slot: str, layer: str) -> str:
    """Return the field."""
    return slot


def find(full: str) -> Found | None:
    """Return the field."""
    return Found("0", 0, full)


PORT = Port(
    key="equinox",
    title="Equinox",
    layouts=LAYOUTS,
    name=name,
    find=find,
    stacks=False,
    two_ways=False,
    advice=": it has cells only, export each part",
)
