"""Expected values: by the witnesses, in more digits than are written down.

The scan of ``step`` and reverse mode through it run in 80-bit extended
precision and are rounded once, to float64. So the numbers depend on no BLAS
and are right to half a unit in the last place; the few that are small
differences of large terms, to some units. ``forward`` and ``backward`` are
never called: they are what the numbers are for.

The complex step in extended precision is the second witness. Along random
directions it has to say the same, or nothing is written.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context
from types import ModuleType

import numpy as np
from numpy.exceptions import ComplexWarning

from msref.architectures import is_causal, scan
from msref.arrays import Array, Arrays, prefixed
from msref.verification import Case
from msref.verification.tolerance import SAFETY
from msref.verification.witnesses import (
    STEP,
    Loss,
    checked,
    gradient_floors,
    reverse_mode,
)

WIDE = np.longdouble
EPS = float(np.finfo(np.float64).eps)
AGREEMENT = 1e-14
N_MOVED = 2


def is_wide() -> bool:
    """Tell whether this machine has 80-bit numbers: x86 with GCC or Clang."""
    return int(np.finfo(WIDE).nmant) == 63


@dataclass(frozen=True)
class Expected:
    """What a network has to give at a case.

    Attributes
        arrays: trace/…, y, state/…, adjoints/…, dx, dstate0/…, grads/…, and
            cut/…, dcut/… where there is a cut; float64, in causal order.
        floors: name -> what one unit of rounding can do to an entry, times
            32, in those units: one number, or one per time step.
        agreement: largest difference of the two witnesses, relative to the
            size of the terms.
    """

    arrays: Arrays
    floors: dict[str, float | list[float]]
    agreement: float


def expected(arch: object, case: Case, cut: int | None = None) -> Expected:
    """Compute all expected values of ``arch`` at ``case``.

    Arguments
        cut: number of frames after which the state, and its gradient, are
            wanted too.

    Raises
        ArithmeticError: the two witnesses disagree, or a number is not
            normal in float64: nothing to be published.
    """
    rng = np.random.default_rng(1)
    loss = Loss(arch, case)
    here = {k: v.astype(WIDE) for k, v in loss.variables().items()}
    y, state, trace = loss.run(here, np)
    outgoing = {k: v.astype(WIDE) for k, v in loss.outgoing_probes().items()}
    everything = reverse_mode(loss, here | outgoing)
    found: Arrays = prefixed("trace", {k: trace[k] for k in trace if k != "y"})
    found |= {"y": y} | prefixed("state", state)
    found |= {
        name: everything[name]
        for k in reversed(trace)
        if (name := f"adjoints/{k}") in everything
    }
    names = {"x": "dx"} | {f"state/{k}": f"dstate0/{k}" for k in case.state}
    names |= {f"params/{k}": f"grads/{k}" for k in case.params}
    if cut is not None:
        found |= _at_cut(arch, case, here, everything, cut)
    found |= {after: everything[before] for before, after in names.items()}
    agreement = _agreement(loss, here, everything, rng)
    floors = _floors(loss, here, found, everything, names, rng)
    if cut is not None:
        floors |= _floors_at_cut(arch, case, found, cut)
    return Expected(
        {name: _rounded(name, value) for name, value in found.items()},
        floors,
        agreement,
    )


def _at_cut(
    arch: object, case: Case, here: Arrays, everything: Arrays, cut: int
) -> Arrays:
    """Return the state after ``cut`` frames and the gradient there."""
    if not is_causal(arch):
        raise TypeError(f"{arch!r} looks ahead and cannot be cut")
    params, state = (
        {k: here[f"{kind}/{k}"] for k in getattr(case, kind)}
        for kind in ("params", "state")
    )
    _, at_cut, _ = scan(arch, params, here["x"][:cut], state, case.t0)
    gradient = {k: everything[f"outgoing/{k}"][cut - 1] for k in at_cut}
    return prefixed("cut", at_cut) | prefixed("dcut", gradient)


def _floors_at_cut(
    arch: object, case: Case, found: Arrays, cut: int
) -> dict[str, float | list[float]]:
    """Return the floors at a cut: those at the ends of both halves."""
    state = {k: np.asarray(found[f"cut/{k}"], np.float64) for k in case.state}
    first = replace(case, x=case.x[:cut], dy=case.dy[:cut])
    ends = expected(arch, first).floors
    starts = expected(arch, case.from_step(cut, state)).floors
    return {f"cut/{k}": ends[f"state/{k}"] for k in state} | {
        f"dcut/{k}": starts[f"dstate0/{k}"] for k in state
    }


def _agreement(
    loss: Loss, here: Arrays, gradient: Arrays, rng: np.random.Generator
) -> float:
    """Ask the complex step along two directions of every variable.

    The second one is along the first frame alone, or the first row: what
    arrives there came the longest way, and may be very small.
    """
    largest = 0.0
    for name in filter(checked, here):
        value = here[name]
        if not value.size:
            continue
        d = (2.0 * rng.random(value.shape) - 1.0).astype(WIDE)
        first = np.zeros_like(d)
        first[0] = d[0]
        for direction in (d, first):
            terms = gradient[name] * direction
            size = np.abs(terms).sum()
            moved = here | {name: value + 1j * WIDE(STEP) * direction}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ComplexWarning)
                derivative = np.imag(loss(moved)) / WIDE(STEP)
            gap = abs(derivative - terms.sum())
            largest = max(largest, float(gap / size) if size else float(gap))
    if largest > AGREEMENT:
        raise ArithmeticError(
            f"reverse mode and complex step differ by {largest:.1e}, expected"
            f" at most {AGREEMENT}"
        )
    return largest


def _floors(
    loss: Loss,
    here: Arrays,
    found: Arrays,
    everything: Arrays,
    names: dict[str, str],
    rng: np.random.Generator,
) -> dict[str, float | list[float]]:
    """Measure what one rounding of float64 can do; see ``tolerance``.

    Forwards, all inputs and the result of every non-linearity are moved by
    one unit of rounding: 1 + tanh(a) is no better known than tanh(a).
    """
    moved = [
        {k: _nudged(v, rng) for k, v in here.items()} for _ in range(N_MOVED)
    ]
    outputs = {k: v for k, v in found.items() if k.startswith("trace/")}
    outputs |= {"trace/y": found["y"]}
    gradients = gradient_floors(
        loss, here, moved, outputs, everything, EPS, rng
    )
    floors = {names.get(k, k): v for k, v in gradients.items()}
    for m in moved:
        y, state, trace = loss.run(m, _rounding(rng))
        near = prefixed("trace", trace) | {"y": y} | prefixed("state", state)
        for name in found.keys() & near.keys():
            change = SAFETY * np.abs(near[name] - found[name])
            floors[name] = np.maximum(floors.get(name, 0.0), change)
    return {
        name: _over_time(name, floors[name] / WIDE(EPS), len(found["y"]))
        for name in found
        if name in floors
    }


def _nudged(value: Array, rng: np.random.Generator) -> Array:
    """Move each entry by one rounding of float64, up or down."""
    sign = np.where(rng.random(value.shape) < 0.5, -1.0, 1.0)
    moved: Array = value * (1 + WIDE(EPS) * sign)
    return moved


def _rounding(rng: np.random.Generator) -> ModuleType:
    """Return NumPy with non-linearities that are off by one rounding."""
    rounding = ModuleType("rounding")
    rounding.__dict__.update(vars(np))
    for name in ("tanh", "exp", "sqrt"):
        exact = getattr(np, name)
        rounding.__dict__[name] = lambda a, f=exact: _nudged(f(a), rng)
    return rounding


def _over_time(name: str, floor: Array, n_time: int) -> float | list[float]:
    """Keep the largest entry: one per time step, or one."""
    over = name in ("y", "dx") or name.startswith(("trace/", "adjoints/"))
    if over and len(floor) == n_time and floor.ndim == 3:
        return [_up(v) for v in floor.max(axis=(1, 2))]
    return _up(floor.max(initial=0.0))


_TWO_DIGITS = Context(prec=2, rounding=ROUND_CEILING)


def _up(value: Array | float) -> float:
    """Round up to two digits, so that last digits do not matter here."""
    digits = float(_TWO_DIGITS.create_decimal(repr(float(value))))
    return int(digits) if digits.is_integer() and digits < 1e6 else digits


def _rounded(name: str, value: Array) -> Array:
    """Round to float64, once.

    Raises
        ArithmeticError: digits were lost before, or there are none to keep.
    """
    value = np.asarray(value)
    if value.dtype != WIDE:
        raise ArithmeticError(
            f"{name} is {value.dtype}, expected extended precision: something"
            " on the way rounds"
        )
    rounded: Array = value.astype(np.float64)
    tiny = np.finfo(np.float64).tiny
    if ((rounded != 0) & (np.abs(rounded) < tiny)).any():
        raise ArithmeticError(f"{name} holds a number without all its digits")
    if not np.isfinite(rounded).all():
        raise ArithmeticError(f"{name} is not finite")
    return rounded
