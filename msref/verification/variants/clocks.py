"""Mistakes in when modules tick, in their order, and in who reads whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from msref.architectures import Clock
from msref.arrays import Arrays
from msref.verification.variants.base import (
    Inputs,
    Variant,
    at_each_step,
    before_run,
    on_params,
    switched,
)


def of_clock(arch: Any, step: Any, W: str, n_units: int) -> Iterator[Variant]:
    """Yield the mistakes in the clock of a network.

    Arguments
        step: its step, written out again.
        W: the matrix that modules read each other through.
        n_units: units of a module.
    """
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
