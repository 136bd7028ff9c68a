"""Gradients that are right but for a factor, or for their axes.

A loss that is a mean where the vector's is a sum, a sign, a gradient that is
added twice: what differs is a multiple of what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from msref.arrays import Array
from msref.vectors.diagnosis import Diagnosis, Match
from msref.vectors.judging import agrees, unit_of
from msref.vectors.vector import Vector


def scaled_gradients(
    vector: Vector, given: Mapping[str, Array]
) -> Diagnosis | None:
    """Explain all wrong gradients by a factor each, or by a transposition.

    Arguments
        given: ``grads/…``, ``dx``, ``dstate0/…``, ``adjoints/…``.

    Returns
        ``None`` where one of them is something else.
    """
    factors: dict[str, float] = {}
    transposed: list[str] = []
    for name, got in given.items():
        expected = vector.arrays[name]
        factor = _factor(name, got, expected, vector)
        if factor is not None:
            if expected.any() or factor != 1.0:  # zeros fit every factor
                factors[name] = factor
        elif got.ndim == 2 and agrees(name, got.T, expected, vector):
            transposed.append(name)
        else:
            return None
    told = _told(vector, factors)
    if transposed:
        advice = "gradients have the shape of their weights, (n_in, n_out)"
        told.append((f"{_list(transposed)} transposed", advice))
    if not told:
        return None
    keys, advices = zip(*told, strict=True)
    match = Match(keys, advices, len(given), len(given))
    return Diagnosis("backward", (match,), "float64")


def _factor(
    name: str, got: Array, expected: Array, vector: Vector
) -> float | None:
    """Return 1 for what agrees, else the one factor of all entries."""
    if agrees(name, got, expected, vector):
        return 1.0
    size = float(np.vdot(expected, expected))
    if size == 0.0 or got.shape != expected.shape:
        return None
    factor = float(np.vdot(expected, got)) / size
    if factor == 0.0:
        return 0.0 if not got.any() else None
    fits = agrees(name, got / factor, expected, vector, unit_of(got.dtype))
    return factor if fits else None


def _told(
    vector: Vector, factors: Mapping[str, float]
) -> list[tuple[str, str]]:
    """Name each factor that is not 1, and the arrays it was seen in."""
    groups: dict[str, list[str]] = {}
    advice = {}
    for name, factor in factors.items():
        called, what = _name(vector, factor)
        groups.setdefault(called, []).append(name)
        advice[called] = what
    groups.pop("1", None)
    told = []
    for called, members in groups.items():
        everything = len(members) == len(factors) > 1
        which = "all gradients" if everything else _list(members)
        told.append((f"{which} times {called}", advice[called]))
    return told


def _name(vector: Vector, factor: float) -> tuple[str, str]:
    """Say what a factor is, and what to do about it."""
    n_time, n_batch, n_out = vector.dy.shape
    mean = "the vector's loss is sum(dy * y) + sum(dstate * state), no mean"
    known = {
        1.0: ("1", ""),
        0.0: ("0", "something detaches them from the loss"),
        -1.0: ("-1", "the sign of the loss, or of an error, is turned"),
        2.0: ("2", "something is added twice"),
    }
    means = {
        n_time * n_batch * n_out: "1 / (n_time n_batch n_out)",
        n_batch * n_out: "1 / (n_batch n_out)",
        n_time * n_batch: "1 / (n_time n_batch)",
        n_time: "1 / n_time",
        n_batch: "1 / n_batch",
    }
    known |= {1.0 / n: (called, mean) for n, called in means.items() if n > 1}
    for value, said in known.items():
        if abs(factor - value) <= 1e-6 * abs(value):
            return said
    return f"{factor:.6g}", "look for a factor in the loss or on the way back"


def _list(names: list[str]) -> str:
    more = len(names) - 4
    return ", ".join(names[:4]) + (f" and {more} more" if more > 0 else "")
