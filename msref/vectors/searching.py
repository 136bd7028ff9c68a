"""Single mistakes and pairs of them that a port's arrays agree with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from msref.arrays import Arrays
from msref.vectors.judging import agrees, over_time
from msref.vectors.variants import run_variant, variants
from msref.vectors.vector import Vector
from msref.verification.variants import Variant

OFTEN = (
    "the other reset",
    "update gate inverted",
    "bias outside the reset",
    "initial state ignored",
    "weight transposed forwards",
    "bias dropped",
    "bias doubled",
    "forget bias added while running",
    "gates permuted",
    "state order",
    "batch and time swapped",
    "final state of the step before",
    "sequence read backwards",
    "reversed outputs not flipped back",
    "clock off by one",
    "gate order",
)
"""Kinds of mistakes that pairs are looked for among first; our choice."""

Progress = Callable[[int, int], None]
Found = list[tuple[tuple[Variant, ...], Arrays]]


# --- single mistakes --------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A mistake, and what it makes of a vector.

    Attributes
        variant: the mistake.
        arrays: trace/…, y, state/….
        forwards: whether the first steps do not depend on the later ones.
    """

    variant: Variant
    arrays: Arrays
    forwards: bool


_KEPT: dict[str, list[Run]] = {}


def runs_of(vector: Vector) -> list[Run]:
    """Run every mistake; the last few vectors' runs are kept."""
    key = f"{vector.name} {vector.manifest['checksum']}"
    if key not in _KEPT:
        if len(_KEPT) >= 4:
            del _KEPT[next(iter(_KEPT))]
        short = _begun(vector)
        _KEPT[key] = [
            _run(vector, short, variant) for variant in variants(vector.arch)
        ]
    return _KEPT[key]


def _run(vector: Vector, short: Vector, variant: Variant) -> Run:
    arrays = run_variant(vector, [variant])
    n, forwards = short.n_time, vector.lengths is None
    if forwards:
        begun = run_variant(short, [variant])
        forwards = all(
            np.array_equal(value[:n], begun[k])
            for k, value in arrays.items()
            if k in begun and over_time(k, vector)
        ) and set(begun) == set(arrays)
    return Run(variant, arrays, forwards)


def _begun(vector: Vector, n_time: int = 1) -> Vector:
    """Return the first steps of a vector: its inputs, cut off."""
    arrays = {
        k: v[:n_time] if over_time(k, vector) else v
        for k, v in vector.arrays.items()
    }
    return replace(vector, arrays=arrays)


def singles(
    vector: Vector, given: Arrays, runs: list[Run], eps: float | None
) -> Found:
    """Return the mistakes that all given arrays agree with, one at a time."""
    return [
        ((run.variant,), run.arrays)
        for run in runs
        if fits(vector, given, run.arrays, eps)
    ]


def fits(
    vector: Vector, given: Arrays, arrays: Arrays, eps: float | None
) -> bool:
    """Tell whether all arrays that both have agree, one of them at least."""
    held = False
    for name, value in given.items():
        if name in arrays:
            if not agrees(name, value, arrays[name], vector, eps):
                return False
            held = True
    return held


# --- pairs ------------------------------------------------------------------


def pairs(
    vector: Vector,
    given: Arrays,
    runs: list[Run],
    seconds: float,
    progress: Progress | None,
) -> tuple[Found, list[str]]:
    """Try two mistakes at a time, the first steps first.

    Returns
        What agrees, and a note where the time was up before the end.
    """
    short = _begun(vector)
    begun = {
        k: v[: short.n_time] for k, v in given.items() if over_time(k, vector)
    }
    chosen = list(_by_plausibility(runs))
    found: Found = []
    started = time.monotonic()
    for n, (one, two) in enumerate(chosen):
        if time.monotonic() - started > seconds:
            return found, [
                f"{n} of {len(chosen)} pairs of known mistakes were tried, then"
                f" the time of {seconds:g} s was up"
            ]
        if progress is not None and n % 100 == 0:
            progress(n, len(chosen))
        pair = (one.variant, two.variant)
        if begun and one.forwards and two.forwards:
            start = run_variant(short, pair)
            if not fits(short, begun, start, None):
                continue
        arrays = run_variant(vector, pair)
        if fits(vector, given, arrays, None):
            found.append((pair, arrays))
    return found, []


def _by_plausibility(runs: list[Run]) -> Iterator[tuple[Run, Run]]:
    """Yield pairs, of what happens often first.

    Two orders of the gates are a third one, which was tried alone.
    """
    rank = {kind: n for n, kind in enumerate(OFTEN)}
    often = sorted(runs, key=lambda run: rank.get(run.variant.kind, len(rank)))
    for n, two in enumerate(often):
        for one in often[:n]:
            kinds = {one.variant.kind, two.variant.kind}
            if kinds != {"gates permuted"}:
                yield one, two
