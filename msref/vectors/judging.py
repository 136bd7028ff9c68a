"""How far an array may be from the expected one: the manifest's tolerance.

    |got - expected| <= eps (rtol_eps max(|got|, |expected|) + floor)

``rtol_eps`` and the floors stand in the manifest, each with its reason; eps
is the unit of rounding of what was given. Half precision is taken for 2^-18
(our choice): with its own unit, 9.8e-4, anything would agree.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from msref.arrays import Array, Arrays
from msref.vectors.vector import Vector
from msref.verification.tolerance import share_used

EPS64 = float(np.finfo(np.float64).eps)
EPS32 = float(np.finfo(np.float32).eps)
COARSEST = 2.0**-18


def unit_of(dtype: npt.DTypeLike) -> float:
    """Return the unit of rounding that an array of this dtype is held to."""
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        return EPS64
    return min(max(float(np.finfo(dtype).eps), EPS64), COARSEST)


def is_forward(name: str) -> bool:
    """Tell whether an expected array belongs to the forward pass."""
    return name == "y" or name.startswith(("trace/", "cut/", "state/"))


def over_time(name: str, vector: Vector) -> bool:
    """Tell whether an array has a row for each time step and sequence."""
    shape = vector.arrays[name].shape
    return shape[:2] == vector.x.shape[:2] and (
        name in ("x", "y", "dx", "dy")
        or name.startswith(("trace/", "adjoints/"))
    )


def floor_of(name: str, vector: Vector) -> Array:
    """Return an array's floor, in units of rounding, shaped to fit it.

    A vector that was cut off after some steps has the floors of those.
    """
    floor = vector.manifest["tolerances"]["floors"].get(name, 0.0)
    ndim = vector.arrays[name].ndim
    found = np.asarray(floor, np.float64)
    if found.ndim:
        steps = found[: len(vector.arrays[name])]
        found = steps.reshape(-1, *[1] * (ndim - 1))
    return found


def share_of(
    name: str,
    got: Array,
    expected: Array,
    vector: Vector,
    eps: float | None = None,
) -> Array:
    """Return the share of the allowed difference that each entry uses.

    Padding uses none of it: its numbers mean nothing.

    Arguments
        got, expected: of one shape.
        eps: unit of rounding; ``None`` for that of ``got``.
    """
    eps = unit_of(got.dtype) if eps is None else eps
    rtol = float(vector.manifest["tolerances"]["rtol_eps"])
    share = share_used(
        np.asarray(got, np.float64),
        np.asarray(expected, np.float64),
        floor_of(name, vector) * eps,
        rtol * eps,
    )
    if vector.lengths is not None and over_time(name, vector):
        share = np.where(vector.counted[..., None], share, 0.0)
    return share


def agrees(
    name: str,
    got: Array,
    expected: Array,
    vector: Vector,
    eps: float | None = None,
) -> bool:
    """Tell whether every entry of an array is within its tolerance."""
    if got.shape != expected.shape:
        return False
    share = share_of(name, got, expected, vector, eps)
    return bool(share.max(initial=0.0) <= 1.0)


def agreeing(
    given: Mapping[str, Array],
    expected: Arrays,
    vector: Vector,
    eps: float | None = None,
) -> tuple[list[str], list[str]]:
    """Split what both have into names that agree and names that do not."""
    good: list[str] = []
    bad: list[str] = []
    for name, got in given.items():
        if name in expected:
            fits = agrees(name, got, expected[name], vector, eps)
            (good if fits else bad).append(name)
    return good, bad
