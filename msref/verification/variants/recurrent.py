"""Mistakes in the equations of networks without gates: Elman, IndRNN."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.verification.variants.activations import chosen, mistaken_for
from msref.verification.variants.base import Switches, Variant, switched


def of_elman(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of an Elman network."""
    yield from of_activation(elman_step, arch.activation, "h", "of_h")
    yield from _of_feedback(elman_step)


def elman_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of an Elman network."""
    from_h = state["h"] @ p["W_hh"]
    return _simple(arch, s, x @ p["W_xh"] + p["b_h"], from_h, xp)


def of_activation(
    step: Any, activation: str, place: str, switch: str
) -> Iterator[Variant]:
    """Yield other non-linearities in one place.

    Arguments
        step: the step written out again.
        activation: the right one, by name.
        place: the quantity that it makes.
        switch: its name among the step's switches.
    """
    for wrong in mistaken_for(activation):
        yield Variant(
            f"{wrong.name} ({place})",
            "another activation",
            f"{place}: {wrong.name}",
            wrong.advice,
            switched(step, **{switch: wrong.f}),
        )


def _of_feedback(step: Any) -> Iterator[Variant]:
    yield Variant(
        "memory outside the activation",
        "memory outside the activation",
        "w_hh" if step is indrnn_step else "W_hh",
        "what comes from the state goes into the activation together with the"
        " input; your port adds it afterwards",
        switched(step, outside=True),
    )
    yield Variant(
        "pre-activation fed back",
        "another feedback",
        "a",
        "the state is h, after the activation; your port hands on a, before it",
        switched(step, feeds="a"),
    )


def _simple(
    arch: Any, s: Switches, from_x: Array, from_h: Array, xp: ModuleType
) -> tuple[Arrays, Arrays]:
    """Compute h from what input and state give to it."""
    f = chosen(s, "of_h", arch.activation)
    if s.get("outside"):
        a = from_x
        h = f(a, xp) + from_h
    else:
        a = from_x + from_h
        h = f(a, xp)
    state = {"h": a if s.get("feeds") == "a" else h}
    return state, {"a": a, "h": h, "y": h}


# --- IndRNN -----------------------------------------------------------------


def of_indrnn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of an independently recurrent network."""
    yield from of_activation(indrnn_step, arch.activation, "h", "of_h")
    yield from _of_feedback(indrnn_step)
    yield Variant(
        "recurrence over all units",
        "another recurrence",
        "w_hh",
        "w_hh * h_{t-1} is a product unit by unit; your port takes the sum over"
        " all units, h @ w_hh",
        switched(indrnn_step, summed=True),
    )


def indrnn_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of an independently recurrent network."""
    if arch.mixes:
        x = x @ p["W_xh"] + p["b_h"]
    from_h = p["w_hh"] * state["h"]
    if s.get("summed"):
        from_h = xp.sum(from_h, axis=-1, keepdims=True)
    return _simple(arch, s, x, from_h, xp)
