"""Mistakes in networks whose modules tick at rates of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from msref.architectures import Clock
from msref.arrays import Array, Arrays
from msref.verification.variants.activations import chosen, mistaken_for
from msref.verification.variants.base import (
    Inputs,
    Switches,
    Variant,
    at_each_step,
    before_run,
    on_params,
    switched,
)
from msref.verification.variants.recurrent import memory_step, of_memory

# --- the two networks -------------------------------------------------------


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
    yield from _of_clock(arch, clockwork_step, "W_hh", arch.n_hid)


def of_mslmn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a MultiScale LMN."""
    yield from of_memory(arch, mslmn_step)
    yield from _of_clock(arch, mslmn_step, "W_mm", arch.n_mem)
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


# --- the clock --------------------------------------------------------------


def _of_clock(arch: Any, step: Any, W: str, n_units: int) -> Iterator[Variant]:
    clock = arch.clock
    if clock.n_modules > 1 or clock.first > 0:
        yield from _of_ticks(clock, step)
    if clock.n_modules > 1:
        yield from _of_modules(arch, step, W, n_units)


def _of_ticks(clock: Clock, step: Any) -> Iterator[Variant]:
    """Yield the mistakes in when a module ticks."""
    counted = "0, so that all modules tick on the first frame"
    if clock.origin:
        counted = "1, so that module i waits for frame period_i"
    shifts = [(1, "late"), (-1, "early")]
    if clock.period(clock.n_modules - 1) == 2:  # then both are the same
        shifts.pop()
    for by, word in shifts:
        yield Variant(
            f"clock one step {word}",
            "clock off by one",
            f"clock, {word}",
            f"this network counts its frames from {counted}",
            at_each_step(_later(by)),
        )
    yield Variant(
        "clock starts with the sequence",
        "clock off by one",
        "t0",
        "the first frame has time t0; where a sequence is cut, your clock"
        " starts at zero again",
        before_run(_from_zero),
        needs="t0 off the clock",
    )
    yield Variant(
        "every module ticks at every step",
        "another clock",
        "periods, one",
        "a module is computed at its own ticks and holds in between; in your"
        " port all of them tick",
        switched(step, periods=lambda clock, i: 1),
    )
    found: list[tuple[str, str, str, Callable[[Clock, int], int]]] = [
        (
            "periods twice as long",
            "periods, twice",
            "module i has the period 2^(first + i), i counted from 0; your"
            " port counts from 1",
            lambda clock, i: 2 * clock.period(i),
        ),
    ]
    if clock.n_modules > 2:
        found.append(
            (
                "periods grow evenly",
                "periods, linear",
                "the periods double, 1, 2, 4, 8; yours are 1, 2, 3, 4 times the"
                " first",
                lambda clock, i: clock.period(0) * (i + 1),
            )
        )
        found.append(
            (
                "periods 1, 2, 4, 6, 8",
                "periods, even",
                "the periods double, 1, 2, 4, 8; yours grow by two",
                lambda clock, i: clock.period(0) * max(1, 2 * i),
            )
        )
    for key, where, advice, periods in found:
        differs = _first_difference(clock, periods)
        if differs is not None:
            yield Variant(
                key,
                "another clock",
                where,
                advice,
                switched(step, periods=periods),
                needs=f"a frame at t = {differs}" if differs > 3 else "",
            )
    if clock.first == 0:  # else all rest, and it is a state not fed back
        yield Variant(
            "resting modules reset to zero",
            "another clock",
            "resting",
            "a module that does not tick keeps its state; yours is set to zero",
            switched(step, resting="zero"),
        )


def _first_difference(clock: Clock, periods: Any) -> int | None:
    """Return the first t at which other modules tick; none where the same."""
    for t in range(4 * clock.period(clock.n_modules - 1)):
        other = [
            (t + clock.origin) % periods(clock, i) == 0
            for i in range(clock.n_modules)
        ]
        if sum(other) != clock.n_active(t) or not all(other[: sum(other)]):
            return t
    return None


def _later(by: int) -> Any:
    def before(
        arch: Any, params: Arrays, state: Arrays, t: int
    ) -> tuple[Arrays, int]:
        return state, max(t + by, 0)

    return before


def _from_zero(arch: Any, run: Inputs) -> Inputs:
    return replace(run, t0=0)


def _of_modules(
    arch: Any, step: Any, W: str, n_units: int
) -> Iterator[Variant]:
    """Yield the mistakes in the order of modules, and in who reads whom."""
    g = arch.clock.n_modules
    own = arch.shapes()[W][0]
    order = np.arange(g * n_units).reshape(g, n_units)[::-1].ravel()
    yield Variant(
        f"mask of {W} ignored",
        "a module reads a faster one",
        f"{W}, all",
        f"a module reads itself and the slower ones; what {W} holds elsewhere"
        " is not read",
        switched(step, readers="all"),
        needs="numbers where the mask is zero",
    )
    yield Variant(
        f"{W} and its mask transposed",
        "a module reads a faster one",
        f"{W}, transposed",
        f"a module reads itself and the slower ones; {W} multiplies from the"
        " right, h @ W, so its mask is block lower triangular: transpose both"
        " where your port computes W @ h",
        _both(on_params(lambda p, xp: {W: p[W].T}), step, "faster"),
    )
    yield Variant(
        "a module reads itself alone",
        "a module reads a faster one",
        f"{W}, own",
        "a module reads the slower ones as well; your port keeps the blocks on"
        " the diagonal alone",
        switched(step, readers="own"),
    )
    names = [k for k, shape in arch.shapes().items() if own in shape and k != W]

    def reordered(p: Arrays, xp: ModuleType) -> Arrays:
        changed: Arrays = {}
        for name in names:
            shape = arch.shapes()[name]
            for axis, size in enumerate(shape):
                if size == own and _of_units(name, axis, W):
                    value = changed.get(name, p[name])
                    changed[name] = (
                        value[order] if axis == 0 else value[:, order]
                    )
        return changed

    yield Variant(
        "slowest module first",
        "slowest module first",
        W,
        "the fastest module stands first; your port reads the blocks of the"
        f" weights other than {W} in the other order",
        on_params(reordered),
    )
    yield Variant(
        "slowest module first in the clock",
        "slowest module first",
        "clock",
        "the fastest module stands first; your port gives the first block the"
        " longest period",
        switched(step, periods=_slowest_first),
    )


def _slowest_first(clock: Clock, i: int) -> int:
    return clock.period(clock.n_modules - 1 - i)


def _of_units(name: str, axis: int, W: str) -> bool:
    """Tell whether an axis runs over the units of the modules, by names."""
    unit = W[-1]
    letters = name.partition("_")[2]
    return letters in (unit, "0") or letters[axis] == unit


def _both(plant: Any, step: Any, readers: str) -> Any:
    return lambda arch: plant(switched(step, readers=readers)(arch))


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
