"""The state of a network as one vector, and the clock that drives it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from msref.architectures import Clock, is_causal
from msref.arrays import Array, Arrays, namespace


def slices(arch: Any) -> dict[str, slice]:
    """Return where each array of a state stands in the vector of them all.

    The arrays follow one another in the order of ``initial_state``: the rows
    and columns of a Jacobian, the entries of an eigenvector.

    Raises
        ValueError: a network that looks ahead, or has no state.
    """
    if not is_causal(arch):
        raise ValueError(
            f"{arch!r} looks ahead, expected a network whose next state"
            " follows from the last one"
        )
    found, start = {}, 0
    for name, array in arch.initial_state(1).items():
        found[name] = slice(start, start + array.shape[1])
        start += array.shape[1]
    if start == 0:
        raise ValueError(f"{arch!r} has no state")
    return found


def size(arch: Any) -> int:
    """Return n_state, the units of all arrays of a state together."""
    return sum(at.stop - at.start for at in slices(arch).values())


def joined(arch: Any, state: Arrays) -> Array:
    """Return a state's arrays (…, ·) as one vector (…, n_state)."""
    xp = namespace(*state.values())
    vector: Array = xp.concatenate([state[k] for k in slices(arch)], axis=-1)
    return vector


def separated(arch: Any, vector: Array) -> Arrays:
    """Return a vector (…, n_state) as the arrays of a state (…, ·)."""
    return {name: vector[..., at] for name, at in slices(arch).items()}


def period(arch: Any) -> int:
    """Return after how many steps the clock of a network begins again.

    1 for a network without modules that wait; otherwise the period of the
    slowest module in it.
    """
    clock = getattr(arch, "clock", None)
    if isinstance(clock, Clock):
        return clock.period(clock.n_modules - 1)
    inner = [*getattr(arch, "parts", ())]
    if hasattr(arch, "arch"):
        inner.append(arch.arch)
    return math.lcm(*map(period, inner))


def widened(tree: Arrays) -> Arrays:
    """Return the arrays in float64: what is measured here needs it.

    Anything but float32 stays what it is, and the passes refuse it.
    """
    return {name: wide(array) for name, array in tree.items()}


def wide(array: Array) -> Array:
    """Return an array of float32 as float64, any other as it is."""
    is_single = getattr(array, "dtype", None) == np.float32
    return array.astype(np.float64) if is_single else array
