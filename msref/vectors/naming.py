"""A candidate's arrays under the vector's names, or an error that helps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.vectors.border import is_input
from msref.vectors.judging import is_forward, over_time
from msref.vectors.vector import Vector


def named(
    vector: Vector, candidate: Mapping[str, Array], mapping: Mapping[str, str]
) -> Arrays:
    """Return the candidate's arrays under the vector's names, checked."""
    for name in mapping:
        if name not in candidate:
            raise ValueError(
                f"mapping names {name!r}, which the candidate does not hold"
                f"{_near(name, candidate)}"
            )
    given: Arrays = {}
    for name, value in candidate.items():
        known = mapping.get(name, name)
        if known not in vector.arrays:
            through = (
                f" (by the mapping of {name!r})" if name in mapping else ""
            )
            raise ValueError(
                f"{known!r}{through} is no array of {vector.name}"
                f"{_near(known, vector.arrays)}; expected y, state/…, trace/…,"
                " dx, dstate0/…, grads/…, adjoints/…, or a mapping (--map"
                f" {name}=y)"
            )
        if known in given:
            raise ValueError(f"two arrays are called {known!r}, expected one")
        given[known] = _array(known, value, vector)
    if not any(not is_input(name) for name in given):
        raise ValueError(
            f"the candidate holds none of the expected arrays of"
            f" {vector.name}, expected at least one of y, state/…, trace/…,"
            " dx, dstate0/…, grads/…, adjoints/…"
        )
    return given


def _near(name: str, known: Mapping[str, Any]) -> str:
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, 3, 0.5)
    near = [lower[k] for k in close]
    last = name.rpartition("/")[2]
    near += [k for k in known if k.rpartition("/")[2] == last and k not in near]
    return f"; did you mean {' or '.join(near[:4])}?" if near else ""


def _array(name: str, value: Array, vector: Vector) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} has dtype {array.dtype}, expected real numbers"
        )
    expected = vector.arrays[name].shape
    if array.shape != expected:
        raise ValueError(
            f"{name} has shape {array.shape}, expected {expected}"
            f"{_hint(name, array, vector)}"
        )
    return array


def _hint(name: str, array: Array, vector: Vector) -> str:
    """Recognise a wrong shape."""
    shape, expected = array.shape, vector.arrays[name].shape
    if len(shape) > 1 and (shape[1], shape[0], *shape[2:]) == expected:
        if over_time(name, vector):
            return (
                ": that is (n_batch, n_time, ·), batch first; swap the first"
                " two axes"
            )
        return ": that is transposed"
    if tuple(n for n in shape if n != 1) == tuple(
        n for n in expected if n != 1
    ):
        return ": there is an axis of length 1 too many or too few"
    same = [
        other
        for other, value in vector.arrays.items()
        if value.shape == shape and is_forward(other) and is_forward(name)
    ]
    if same:
        return f": that is the shape of {' and '.join(same[:3])}"
    if array.size == vector.arrays[name].size:
        return ": the count is right, the axes are not"
    return ""
