"""Mistakes in the equations of the dual network."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.verification.variants.activations import (
    OF_SIGMOID,
    chosen,
    mistaken_for,
)
from msref.verification.variants.base import Switches, Variant, switched
from msref.verification.variants.recurrent import of_activation


def of_durnn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a dual module."""
    step = durnn_step
    places = {"short": ["s"], "long": ["s", "l"], "both": ["s", "l"]}
    yield from of_activation(step, arch.activation, "s", "of_s")
    if arch.output != "short":
        yield from of_activation(step, arch.activation, "l", "of_l")
        for wrong in mistaken_for(arch.activation):
            yield Variant(
                f"{wrong.name} ({' and '.join(places[arch.output])})",
                "another activation",
                f"s and l: {wrong.name}",
                wrong.advice,
                switched(step, of_s=wrong.f, of_l=wrong.f),
            )
    if arch.output == "both":
        yield Variant(
            "long before short",
            "long before short",
            "y",
            "y_t = [s_t, l_t]; your port has the long part first",
            switched(step, swapped=True),
        )
    yield from _of_long(arch)


def _of_long(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes in the long-term part, which is always a state."""
    step = durnn_step
    found: list[tuple[str, str, dict[str, Any], str, str]] = [
        (
            "memory outside the activation",
            "memory outside the activation",
            {"outside": True},
            "w_ll",
            "l_t = f(q v + w_ll l_{t-1}); your port adds w_ll l_{t-1} after f",
        ),
        (
            "recurrence over all long units",
            "another recurrence",
            {"summed": True},
            "w_ll, sum",
            "w_ll * l_{t-1} is a product unit by unit; your port takes the sum"
            " over all units",
        ),
    ]
    if arch.selection != "none":
        found.append(
            (
                "candidate reads the step before",
                "another equation",
                {"v behind": True},
                "W_sv",
                "v_t reads s_t, of the same step; your port reads s_{t-1}",
            )
        )
    if arch.selection == "gate":
        found += [
            (
                "gate reads the step before",
                "gate reads the step before",
                {"q behind": True},
                "W_sq",
                "q_t reads s_t, of the same step; your port reads s_{t-1}",
            ),
            (
                "gate on what is carried too",
                "gate on what is carried too",
                {"q": "on both"},
                "w_ll, q",
                "q multiplies v alone; your port multiplies w_ll l_{t-1}, too",
            ),
            (
                "gate shuts what is carried",
                "gate shuts what is carried",
                {"q": "one or other"},
                "w_ll, 1 - q",
                "w_ll l_{t-1} is carried whole; your port multiplies it by"
                " 1 - q",
            ),
            (
                "gate missing",
                "another equation",
                {"q": "none"},
                "q, missing",
                "q multiplies v; your port leaves it out",
            ),
            (
                "gate inverted",
                "another equation",
                {"q": "inverted"},
                "q, inverted",
                "q lets v in; in your port 1 - q does",
            ),
        ]
        for wrong in OF_SIGMOID:
            found.append(
                (
                    f"{wrong.name} (q)",
                    "another activation",
                    {"of_gates": wrong.f},
                    f"q: {wrong.name}",
                    wrong.advice,
                )
            )
    for key, kind, switch, where, advice in found:
        yield Variant(key, kind, where, advice, switched(step, **switch))


def durnn_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of a dual module."""
    a_s = x @ p["W_xs"] + state["s"] @ p["W_ss"] + p["b_s"]
    short = chosen(s, "of_s", arch.activation)(a_s, xp)
    v = x @ p["W_xv"] + p["b_v"]
    if arch.selection != "none":
        v = v + (state["s"] if s.get("v behind") else short) @ p["W_sv"]
    carried = p["w_ll"] * state["l"]
    if s.get("summed"):
        carried = xp.sum(carried, axis=-1, keepdims=True)
    trace = {"a_s": a_s, "s": short, "v": v}
    selected = v
    if arch.selection == "gate":
        read = state["s"] if s.get("q behind") else short
        a_q = x @ p["W_xq"] + read @ p["W_sq"] + p["b_q"]
        q = chosen(s, "of_gates", "sigmoid")(a_q, xp)
        trace |= {"a_q": a_q, "q": q}
        which = s.get("q", "right")
        selected = (1.0 - q if which == "inverted" else q) * v
        if which == "none":
            selected = v
        if which == "on both":
            carried = q * carried
        if which == "one or other":
            carried = (1.0 - q) * carried
    f = chosen(s, "of_l", arch.activation)
    if s.get("outside"):
        a_l = selected
        long = f(a_l, xp) + carried
    else:
        a_l = selected + carried
        long = f(a_l, xp)
    y = {"short": short, "long": long}.get(arch.output)
    if y is None:
        parts = [long, short] if s.get("swapped") else [short, long]
        y = xp.concatenate(parts, axis=-1)
    trace |= {"a_l": a_l, "l": long, "y": y}
    return {"s": short, "l": long}, trace
