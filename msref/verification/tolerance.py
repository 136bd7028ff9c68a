"""When two numbers count as equal: one formula, in one place.

    |got - expected| <= rtol max(|got|, |expected|) + floor

``rtol`` is 4096 units of rounding of the precision under test: 9.1e-13 in
float64, 4.9e-4 in float32. It is relative, so a gradient of 1e-24 is checked
as hard as one of 1; every absolute tolerance is larger than some long-range
term, which is how truncated gradients pass other checkers.

An entry that is a small difference of large terms cannot be right to
``rtol``, in any implementation. How much it can be off is measured at each
case, never a constant:

- the witness is run again with all its inputs moved by one unit of rounding,
  up or down at random; the largest change seen is its own error;
- at every time step and batch row, the gradients of the step's output and
  state have a size; a backward pass that works on them in finite precision
  knows its results to one unit of rounding of that size.

``floor`` is 32 times their sum; 32 leaves room for the length of the sums.
The size is taken per time step: far back in a vanishing sequence it is as
small as the gradients themselves, and so is the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msref.arrays import Array

SAFETY = 32.0

PASS, FAIL, UNDECIDED = "PASS", "FAIL", "UNDECIDED"
ZERO, NAN = "ZERO", "NAN"
VERDICTS = (ZERO, PASS, UNDECIDED, NAN, FAIL)
"""All verdicts, mildest first.

PASS: equal. FAIL: not equal. UNDECIDED: equal as far as one can tell, but the
witness's own error is too large to tell anything. ZERO: both exactly zero
everywhere, so nothing was tested. NAN: the array under test is not finite.
"""


def relative_tolerance(dtype: npt.DTypeLike) -> float:
    """Return ``rtol`` for a precision: 4096 units of rounding."""
    return 4096.0 * float(np.finfo(dtype).eps)


def doubtful(dtype: npt.DTypeLike) -> float:
    """Return the floor, relative to the scale, above which one can't tell.

    4.5e-3 in float64, 9.2e-2 in float32.
    """
    return math.pow(np.finfo(dtype).eps, 0.15)


@dataclass(frozen=True)
class Comparison:
    """An array held against its witness.

    Attributes
        verdict: one of ``VERDICTS``.
        error: max |got - expected| / max |expected|.
        excess: largest share of the allowed difference used; above 1 fails.
        place: index of that entry.
        got, expected: both values there.
        scale: max |expected|.
    """

    verdict: str
    error: float
    excess: float
    place: tuple[int, ...]
    got: float
    expected: float
    scale: float


def share_used(
    got: Array, expected: Array, floor: Array | float, rtol: float
) -> Array:
    """Return each entry's difference as a share of the one that is allowed.

    Arguments
        got, expected, floor: real arrays, float64.

    Returns
        0 where equal, above 1 where too far off, inf where not a number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.abs(got - expected)
        size = np.maximum(np.abs(got), np.abs(expected))
        share = np.where(
            difference == 0, 0.0, difference / (rtol * size + floor)
        )
    lost = np.isnan(share) | ~np.isfinite(got)
    return np.where(lost, np.inf, share)


def compare(
    got: Array, expected: Array, floor: Array | float, dtype: npt.DTypeLike
) -> Comparison:
    """Hold ``got`` against ``expected``, entry by entry.

    Arguments
        got, expected: real arrays of one shape; float64 while comparing.
        floor: the witness's own error, per entry.
        dtype: the precision under test; decides ``rtol``.
    """
    got = np.asarray(got, np.float64)
    expected = np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        nan = float("nan")
        return Comparison(FAIL, np.inf, np.inf, (), nan, nan, nan)
    excess = share_used(got, expected, floor, relative_tolerance(dtype))
    place = tuple(int(i) for i in np.unravel_index(excess.argmax(), got.shape))
    scale = float(np.abs(expected).max())
    gap = float(np.abs(got - expected).max())
    worst = float(excess[place])
    if not np.isfinite(got).all():
        verdict = NAN
    elif not np.isfinite(expected).all() or not np.isfinite(floor).all():
        verdict = UNDECIDED
    elif worst > 1.0:
        verdict = FAIL
    elif scale == 0.0:
        verdict = ZERO
    elif np.max(floor) > doubtful(dtype) * scale:
        verdict = UNDECIDED
    else:
        verdict = PASS
    return Comparison(
        verdict,
        gap / scale if scale > 0.0 else gap,
        worst,
        place,
        float(got[place]),
        float(expected[place]),
        scale,
    )


def worst(verdicts: list[str]) -> str:
    """Return the gravest of some verdicts; of none, UNDECIDED."""
    return max(verdicts, key=VERDICTS.index, default=UNDECIDED)
