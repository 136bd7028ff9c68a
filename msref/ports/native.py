"""msref itself: the names of our equations, as in the golden vectors.

It is here so that weights can be converted from files to files; a network in
memory needs no port to be what it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msref.arrays import Array
from msref.ports.layout import GATES, Layout, Slot
from msref.ports.loading import checked
from msref.ports.network import Place
from msref.ports.port import Found, Loaded, Port


def _slots(cell: str, *inside: Slot) -> tuple[Slot, ...]:
    gates = GATES[cell]
    return (
        *(Slot(f"W_x{k}", ("x",), k) for k in gates),
        *(Slot(f"W_h{k}", ("h",), k) for k in gates),
        *(Slot(f"b_{k}", ("bx",), k) for k in gates),
        *inside,
    )


LAYOUTS = (
    Layout(
        layers=("Elman",),
        cell="elman",
        called="h",
        slots=_slots("elman"),
        source="ours",
        call='msref.Elman({D}, {H}, activation="{f}")',
        activations=("tanh", "relu"),
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="r z n",
        slots=_slots("gru", Slot("b_hn", ("bh",), "n")),
        source="ours",
        call='msref.GRU({D}, {H}, reset="after")',
        reset="after",
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="r z n",
        slots=_slots("gru"),
        source="ours",
        call='msref.GRU({D}, {H}, reset="before")',
        reset="before",
    ),
    Layout(
        layers=("LSTM",),
        cell="lstm",
        called="i f g o",
        slots=_slots("lstm"),
        source="ours",
        call="msref.LSTM({D}, {H})",
        state="h, c",
    ),
)


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``W_xi``, ``0/W_xi`` in a part, ``0/1/W_xi`` in a part of it."""
    path = [str(place.layer)] if place.n_layers > 1 else []
    path += [str(place.direction)] if place.n_directions == 2 else []
    return "/".join([*path, slot])


def find(full: str) -> Found | None:
    """Return layer, direction and slot; one number counts as the layer."""
    parts = re.fullmatch(r"(?:(\d+)/)?(?:([01])/)?(\w+)", full)
    if parts is None:
        return None
    return Found(parts[1] or "0", int(parts[2] or 0), parts[3])


class NativePort(Port):
    """Our own names, of which ``0/W_xh`` may be a layer or a direction."""

    def load(
        self,
        weights: Mapping[str, Array],
        *,
        gradients: bool = False,
        **hints: Any,
    ) -> Loaded:
        """Return network and parameters; see ``Port``."""
        self.check_hints(hints)
        parts = hints.pop("parts", "")
        if parts not in ("", "layers", "directions"):
            raise ValueError(
                f"parts is {parts!r}, expected layers or directions"
            )
        prefix = hints.get("prefix", "")
        own = checked(weights, prefix)
        as_ways = {f"0/{full}": array for full, array in own.items()}
        tried = {"layers": own, "directions": as_ways}
        if {full.partition("/")[0] for full in own} != {"0", "1"} or any(
            full.count("/") != 1 for full in own
        ):
            tried = {"layers": own}
        elif parts:
            tried = {parts: tried[parts]}
        loaded, errors = {}, []
        for wiring, arrays in tried.items():
            try:
                named = {prefix + full: a for full, a in arrays.items()}
                loaded[wiring] = super().load(
                    named, gradients=gradients, **hints
                )
            except ValueError as error:
                errors.append(error)
        if len(loaded) > 1:
            raise ValueError(
                "names do not say whether 0/ and 1/ are layers or directions,"
                " expected the hint parts=layers|directions"
            )
        if not loaded:
            raise errors[0]
        return next(iter(loaded.values()))


PORT = NativePort(
    key="msref",
    title="msref",
    layouts=LAYOUTS,
    name=name,
    find=find,
    hints={"parts": "whether 0/ and 1/ are layers or directions"},
)
