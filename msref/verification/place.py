"""Where a wrong gradient goes wrong: which array, which step, which gate.

Four looks at a failing case, all along the way back through time:

- the *adjoints* of the pre-activations against the witness: the first wrong
  one in backward order names the time step and the gate;
- the gradient of the *input*, step by step, where no adjoints are returned;
- *suffixes*: backward over the last 1, 2, 3, … steps. The shortest suffix
  on which an array is wrong names the step whose contribution is wrong, and
  by the array the gate;
- *lags*: with the loss on the last output alone, the gradient of the input
  k steps back. A truncated BPTT shows as a cliff, however small the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from msref.architectures import is_causal
from msref.arrays import Array, Arrays
from msref.verification.cases import Case
from msref.verification.judge import array_name, run
from msref.verification.tolerance import FAIL, NAN, compare
from msref.verification.witnesses import Evidence, gather

WRONG = (FAIL, NAN)


@dataclass(frozen=True)
class Lag:
    """The gradient of the last output that reaches ``lag`` steps back.

    Attributes
        lag: steps.
        expected, got: Euclidean norm over batch and units.
        wrong: whether the two differ.
    """

    lag: int
    expected: float
    got: float
    wrong: bool


@dataclass(frozen=True)
class Placement:
    """Where a failing case goes wrong.

    Attributes
        array: the first wrong array on the way back.
        time: its time step, ``None`` where it could not be placed.
        gate: the gate, by the name of the array.
        batch, unit: the worst entry there, where it has them.
        expected, got: both values there.
        lines: all that was found, in words.
        lags: the contribution per lag.
    """

    array: str
    time: int | None
    gate: str
    batch: int | None = None
    unit: int | None = None
    expected: float = float("nan")
    got: float = float("nan")
    lines: list[str] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)


def gate_of(array: str) -> str:
    """Return the gate an array belongs to: ``i`` for W_xi, b_i and a_i."""
    last = array.rpartition("/")[2]
    kind, _, rest = last.partition("_")
    if not rest:
        return last
    return rest[1:] if kind in ("W", "w") and len(rest) > 1 else rest


def _gate(array: str) -> str:
    last = array.rpartition("/")[2]
    return f" (gate {gate_of(array)})" if last.startswith("a_") else ""


def place(arch: Any, evidence: Evidence) -> Placement | None:
    """Place the error of a failing case; ``None`` where nothing is wrong."""
    gradient = run(arch, evidence.case)[1]
    if not gradient or not evidence.gradient:
        return None
    lags = by_lag(arch, evidence)
    lines: list[str] = []
    adjoints = [
        name
        for name in evidence.gradient
        if name.startswith("adjoints/") and name in gradient
    ]
    found = _first_wrong_step(adjoints, gradient, evidence, lines)
    if found is None:
        if not adjoints:
            found = _first_wrong_step(["x"], gradient, evidence, lines)
        if is_causal(arch):
            by_suffix = _shortest_wrong_suffix(arch, evidence, lines)
            if by_suffix and (found is None or by_suffix.time == found.time):
                found = by_suffix
    lines += _by_cotangent(arch, evidence)
    lines += _describe(lags)
    if found is None:
        wrong = _wrong(gradient, evidence)
        far = [lag for lag in lags if lag.wrong]
        if wrong:
            name = array_name(wrong[0])
            found = Placement(name, None, gate_of(name))
        elif far:
            time = evidence.case.n_time - 1 - far[0].lag
            found = Placement(
                "dx", time, "", expected=far[0].expected, got=far[0].got
            )
        else:
            return None
    return replace(found, lines=lines, lags=lags)


def _wrong(gradient: Arrays, evidence: Evidence) -> list[str]:
    return [
        name
        for name, expected in evidence.gradient.items()
        if name in gradient
        and compare(
            gradient[name],
            expected,
            evidence.gradient_floor[name],
            evidence.dtype,
        ).verdict
        in WRONG
    ]


def _first_wrong_step(
    names: list[str], gradient: Arrays, evidence: Evidence, lines: list[str]
) -> Placement | None:
    """Compare arrays over time, step by step, the last step first."""
    if not names or any(
        gradient[n].shape != evidence.gradient[n].shape for n in names
    ):
        return None

    def at(name: str, t: int) -> Any:
        return compare(
            gradient[name][t],
            evidence.gradient[name][t],
            evidence.gradient_floor[name][t],
            evidence.dtype,
        )

    n_time = evidence.case.n_time
    for t in reversed(range(n_time)):
        wrong = {n: c for n in names if (c := at(n, t)).verdict in WRONG}
        if not wrong:
            continue
        worst = max(wrong, key=lambda n: wrong[n].excess)
        found = wrong[worst]
        batch, unit = (*found.place, None, None)[:2]
        where = (
            "the last step, before any hop back in time"
            if t == n_time - 1
            else f"{n_time - 1 - t} hops back from the last step"
        )
        lines.append(
            f"first wrong on the way back: {array_name(worst)}"
            f"{_gate(worst)} at t={t},"
            f" {where}; batch {batch}, unit {unit}:"
            f" expected {found.expected:.6g}, got {found.got:.6g}"
        )
        others = [n.removeprefix("adjoints/") for n in wrong if n != worst]
        if others:
            lines.append(f"also wrong at t={t}: {', '.join(others)}")
        right = [n.removeprefix("adjoints/") for n in names if n not in wrong]
        if right:
            lines.append(f"right at t={t}: {', '.join(right)}")
        if t < n_time - 1:
            lines.append(f"everything at t={t + 1} and later agrees")
        return Placement(
            array_name(worst),
            t,
            gate_of(worst),
            batch,
            unit,
            found.expected,
            found.got,
        )
    if names != ["x"]:
        lines.append(
            "every adjoint agrees at every step: the way back in time is"
            " right, what is formed from it is not"
        )
    return None


def _shortest_wrong_suffix(
    arch: Any, evidence: Evidence, lines: list[str]
) -> Placement | None:
    """Run backward over ever longer ends of the sequence."""
    case = evidence.case
    states = _states(arch, case)
    first: dict[str, tuple[int, Any]] = {}
    for start in reversed(range(case.n_time)):
        suffix = case.from_step(start, states[start])
        part = gather(arch, suffix, evidence.dtype, n_directions=0)
        gradient = run(arch, suffix)[1]
        for name in _wrong(gradient, part):
            if name not in first and not name.startswith("adjoints/"):
                found = compare(
                    gradient[name],
                    part.gradient[name],
                    part.gradient_floor[name],
                    evidence.dtype,
                )
                first[name] = start, found
    if not first:
        return None
    for name, (start, found) in first.items():
        length = case.n_time - start
        lines.append(
            f"{array_name(name)} is wrong from the last {length} step"
            f"{'s' if length > 1 else ''} on (t={start}): at {found.place}"
            f" expected {found.expected:.6g}, got {found.got:.6g}"
        )
    name = max(first, key=lambda n: (first[n][0], first[n][1].excess))
    start, found = first[name]
    name = array_name(name)
    return Placement(
        name,
        start,
        gate_of(name),
        expected=found.expected,
        got=found.got,
    )


def _states(arch: Any, case: Case) -> list[Arrays]:
    """Return the state before each step, in the precision under test."""
    states, state = [], case.state
    for t in range(case.n_time):
        states.append(state)
        state, _ = arch.step(case.params, state, case.x[t], case.t0 + t, np)
    return states


def _by_cotangent(arch: Any, evidence: Evidence) -> list[str]:
    """Try the outputs' gradient alone, and the final state's alone."""
    case = evidence.case
    nothing = {k: np.zeros_like(v) for k, v in case.dstate.items()}
    outputs = replace(case, dstate=nothing)
    final = replace(case, dy=np.zeros_like(case.dy))
    wrong = {}
    for what, part in (("outputs", outputs), ("final", final)):
        told = gather(arch, part, evidence.dtype, n_directions=0)
        wrong[what] = bool(_wrong(run(arch, part)[1], told))
    if wrong["final"] and not wrong["outputs"]:
        return [
            "wrong only where the final state carries a gradient: dstate is"
            " dropped or misused"
        ]
    if wrong["outputs"] and not wrong["final"]:
        return ["right where only the final state carries a gradient"]
    return []


def by_lag(arch: Any, evidence: Evidence) -> list[Lag]:
    """Measure how much of the last output's gradient arrives, per lag."""
    case = evidence.case
    last = case.last_output_alone()
    told = gather(arch, last, evidence.dtype, n_directions=0)
    got = run(arch, last)[1]["x"]
    expected, floor = told.gradient["x"], told.gradient_floor["x"]
    if got.shape != expected.shape:
        return []

    def norm(x: Array) -> float:
        return float(np.linalg.norm(x))

    return [
        Lag(
            case.n_time - 1 - t,
            norm(expected[t]),
            norm(got[t]),
            compare(got[t], expected[t], floor[t], evidence.dtype).verdict
            in WRONG,
        )
        for t in reversed(range(case.n_time))
    ]


def _describe(lags: list[Lag]) -> list[str]:
    wrong = [lag for lag in lags if lag.wrong]
    if not wrong:
        return []
    first = wrong[0]
    rest = [lag for lag in lags if lag.lag >= first.lag]
    if first.lag > 0 and all(lag.got == 0.0 for lag in rest):
        return [
            f"nothing arrives from {first.lag} or more steps back, where"
            f" {first.expected:.3g} should: BPTT is truncated after"
            f" {first.lag - 1} hops"
        ]
    return [
        f"the gradient that reaches lag {first.lag} is the first that is"
        f" wrong: norm {first.got:.6g} instead of {first.expected:.6g}"
    ]
