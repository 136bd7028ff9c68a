"""Mistakes in networks whose modules tick at rates of their own."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from msref.architectures import Clock
from msref.arrays import Array, Arrays
from msref.verification.variants.activations import chosen, mistaken_for
from msref.verification.variants.base import Switches, Variant, switched
from msref.verification.variants.clocks import of_clock
from msref.verification.variants.memories import memory_step, of_memory


def of_clockwork(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a Clockwork RNN."""
    for wrong in mistaken_for(arch.activation):
        yield Variant(
            f"{wrong.name} (h)",
            "another activation",
            f"h: {wrong.name}",
            wrong.advice,
            switched(clockwork_step, of_h=wrong.f),
        )
    yield from of_clock(arch, clockwork_step, "W_hh", arch.n_hid)


def of_mslmn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a MultiScale LMN."""
    yield from of_memory(arch, mslmn_step)
    yield from of_clock(arch, mslmn_step, "W_mm", arch.n_mem)
    if arch.learned_start:
        yield from _of_start()


def clockwork_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of a Clockwork RNN."""
    h_prev = state["h"]
    W_hh = xp.where(_readers(arch, s, arch.n_hid), p["W_hh"], 0.0)
    a = x @ p["W_xh"] + h_prev @ W_hh + p["b_h"]
    f_a = chosen(s, "of_h", arch.activation)(a, xp)
    h, shown = _ticked(arch, s, arch.n_hid, t, f_a, h_prev, xp)
    return {"h": h}, {"a": a, "h": h, "y": shown}


def mslmn_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of a MultiScale LMN."""
    m_prev = state["m"]
    W_mm = xp.where(_readers(arch, s, arch.n_mem), p["W_mm"], 0.0)
    if arch.learned_start:
        start = s.get("start", "once")
        if start == "each step" or (t == 0 and start == "once"):
            m_prev = m_prev + p["m_0"]
    a, h, a_m, kept = memory_step(s, p, W_mm, state, m_prev, x, xp)
    f_a = chosen(s, "of_m", "linear")(a_m, xp)
    m, shown = _ticked(arch, s, arch.n_mem, t, f_a, m_prev, xp)
    y = shown if arch.output == "memory" else h
    return {"m": m} | kept, {"a": a, "h": h, "a_m": a_m, "m": m, "y": y}


def _readers(arch: Any, s: Switches, n_units: int) -> Array:
    """Return who may read whom, with what is switched on."""
    mask: Array = arch.clock.readers(n_units)
    if s.get("readers") == "faster":
        mask = mask.T
    if s.get("readers") == "all":
        mask = mask | True
    if s.get("readers") == "own":
        mask = mask & mask.T
    return mask


def _ticked(
    arch: Any,
    s: Switches,
    n_units: int,
    t: int,
    new: Array,
    old: Array,
    xp: ModuleType,
) -> tuple[Array, Array]:
    """Return the new state, and what is put out of it."""
    now = _working(arch.clock, s.get("periods"), n_units, t)
    if s.get("resting") == "zero":
        old = 0.0 * old
    state = xp.where(now, new, old)
    shown = xp.where(now, new, 0.0) if s.get("resting") == "dark" else state
    return state, shown


def _working(clock: Clock, periods: Any, n_units: int, t: int) -> Array:
    """Return which units tick, by the clock or by other periods."""
    if periods is None:
        return clock.working(t, n_units)
    ticks = [
        (t + clock.origin) % periods(clock, i) == 0
        for i in range(clock.n_modules)
    ]
    return np.repeat(ticks, n_units)


# --- the learned start ------------------------------------------------------


def _of_start() -> Iterator[Variant]:
    yield Variant(
        "learned start added at every step",
        "another start",
        "m_0",
        "m_0 is added to the state once, before the frame at t = 0; your port"
        " adds it at every step",
        switched(mslmn_step, start="each step"),
    )
