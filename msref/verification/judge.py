"""Hold an implementation against the witnesses, and against itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.architectures import is_causal, run_forward
from msref.arrays import Array, Arrays, prefixed, to_device
from msref.verification.cases import Case
from msref.verification.tolerance import (
    FAIL,
    PASS,
    SAFETY,
    UNDECIDED,
    VERDICTS,
    Comparison,
    compare,
    doubtful,
)
from msref.verification.witnesses import Evidence, checked

AUTOGRAD, COMPLEX_STEP = "autograd", "complex step"
"""The witnesses that are exact to rounding, by their names in a report."""

SCAN, DIFFERENCES, ITSELF = "scan of step", "differences", "itself"


@dataclass(frozen=True)
class Finding:
    """One array of one case, held against one witness.

    Attributes
        array: ``y``, ``state/…``, ``tape/…`` of the forward pass; ``grads/…``,
            ``dx``, ``dstate0/…``, ``adjoints/…`` of the backward pass; or a
            property of the implementation in words.
        witness: what it was held against.
        comparison: how it went.
        seed: of the case.
        what: the direction probed, where there was one.
    """

    array: str
    witness: str
    comparison: Comparison
    seed: int
    what: str = ""

    @property
    def rank(self) -> tuple[int, float]:
        """Gravity: verdict first, then how far off."""
        return VERDICTS.index(self.comparison.verdict), self.comparison.excess


def array_name(variable: str) -> str:
    """Return the name of the gradient with respect to a variable."""
    kind, _, rest = variable.partition("/")
    return {
        "params": f"grads/{rest}",
        "x": "dx",
        "state": f"dstate0/{rest}",
    }.get(kind, variable)


# --- the implementation under test ------------------------------------------


def run(arch: Any, case: Case) -> tuple[Arrays, Arrays]:
    """Run ``forward`` and ``backward``, where they exist.

    Returns
        outputs ``y``, ``state/…``, ``tape/…`` and gradients under the names
        of the variables; empty where a pass does not exist.
    """
    # Copies: a pass that overwrites its inputs must not spoil the next run.
    return _run_on(arch, case.copy())


def _run_on(arch: Any, case: Case) -> tuple[Arrays, Arrays]:
    if not hasattr(arch, "forward"):
        return {}, {}
    returned: Any = run_forward(
        arch, case.params, case.x, case.state, case.t0, case.lengths
    )
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise TypeError(
            f"forward returned {type(returned).__name__}, expected a tuple of"
            " three: y, final state, tape"
        )
    y, state, tape = returned
    outputs = {"y": y} | prefixed("state", state) | prefixed("tape", tape)
    if not hasattr(arch, "backward"):
        return to_device(outputs, "cpu"), {}
    outputs = to_device(outputs, "cpu")
    g = arch.backward(case.params, tape, case.dy, dict(case.dstate))
    return outputs, _flat(g)


def _flat(g: Any) -> Arrays:
    for name in ("params", "x", "state"):
        if not hasattr(g, name):
            raise TypeError(
                f"backward returned {type(g).__name__}, expected Gradients: an"
                " object with params, x, state and, if you like, adjoints"
            )
    gradient = (
        prefixed("params", g.params)
        | {"x": g.x}
        | prefixed("state", g.state)
        | prefixed("adjoints", getattr(g, "adjoints", {}))
    )
    return to_device(gradient, "cpu")


# --- against the witnesses --------------------------------------------------


def judge(arch: Any, evidence: Evidence) -> list[Finding]:
    """Hold ``forward`` and ``backward`` of ``arch`` against all witnesses."""
    outputs, gradient = run(arch, evidence.case)
    return judge_outputs(outputs, evidence) + judge_gradient(gradient, evidence)


def judge_outputs(outputs: Arrays, evidence: Evidence) -> list[Finding]:
    """Hold what a forward pass returned against the scan of ``step``."""
    findings = []
    for name, expected in evidence.outputs.items():
        ours = name.replace("trace/", "tape/")
        if ours in outputs:
            found = compare(
                outputs[ours],
                expected,
                evidence.outputs_floor[name],
                evidence.dtype,
            )
            findings.append(Finding(ours, SCAN, found, evidence.case.seed))
        elif outputs and not name.startswith("trace/"):
            findings.append(_absent(ours, SCAN, expected, evidence))
    return findings


def judge_gradient(gradient: Arrays, evidence: Evidence) -> list[Finding]:
    """Hold what a backward pass returned against the three witnesses."""
    if not gradient:
        return []
    seed, dtype = evidence.case.seed, evidence.dtype
    findings = []
    for name, expected in evidence.gradient.items():
        if name in gradient:
            found = compare(
                gradient[name], expected, evidence.gradient_floor[name], dtype
            )
            findings.append(Finding(array_name(name), AUTOGRAD, found, seed))
        elif not name.startswith("adjoints/"):
            findings.append(
                _absent(array_name(name), AUTOGRAD, expected, evidence)
            )
    for probe in evidence.probes:
        if probe.name in gradient:
            found = _along(
                gradient[probe.name],
                probe.direction,
                probe.value,
                probe.floor,
                dtype,
            )
            findings.append(
                Finding(
                    array_name(probe.name),
                    COMPLEX_STEP,
                    found,
                    seed,
                    probe.what,
                )
            )
        elif not probe.name.startswith("adjoints/"):
            findings.append(
                _absent(
                    array_name(probe.name),
                    COMPLEX_STEP,
                    np.array([probe.value]),
                    evidence,
                )
            )
    for name, (direction, d) in evidence.differences.items():
        if name in gradient:
            floor = SAFETY * d.error
            if name in evidence.gradient_floor:
                known = evidence.gradient_floor[name]
                floor += float(np.sum(np.abs(direction) * known))
            found = _along(gradient[name], direction, d.value, floor, dtype)
            low, high = sorted((d.left, d.right))
            at_kink = high - low > 1e-6 * max(abs(low), abs(high), 1e-30)
            if found.verdict == FAIL and at_kink and low <= found.got <= high:
                # At a kink any slope between the two one-sided ones is a
                # derivative.
                found = replace(found, verdict=PASS, excess=1.0)
            findings.append(Finding(array_name(name), DIFFERENCES, found, seed))
    return findings


def judge_reach(arch: Any, evidence: Evidence) -> list[Finding]:
    """Hold what the last output alone sends back against autograd.

    A term that is lost after many steps can be smaller than the rounding of
    nearer ones; here nothing nearer is in the way.

    Arguments
        evidence: of a case with a loss on the last output alone.
    """
    gradient = run(arch, evidence.case)[1]
    return [
        replace(found, array="reach of the last output", what=found.array)
        for found in judge_gradient(gradient, evidence)
        if found.comparison.verdict != UNDECIDED
    ]


def _along(
    gradient: Array,
    direction: Array,
    value: float,
    floor: float,
    dtype: npt.DTypeLike,
) -> Comparison:
    """Hold <gradient, direction> against a directional derivative."""
    if gradient.shape != direction.shape:
        return compare(gradient, direction, 0.0, dtype)
    gradient = np.asarray(gradient, np.float64)
    terms = gradient * direction
    eps = float(np.finfo(dtype).eps)
    floor += SAFETY * eps * float(np.abs(terms).sum())
    found = compare(np.array([terms.sum()]), np.array([value]), floor, dtype)
    # The largest derivative that a direction of this length could have: a
    # sum that happens to cancel is no reason for doubt.
    size = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
    verdict = found.verdict
    if verdict == UNDECIDED and floor <= doubtful(dtype) * size:
        verdict = PASS
    error = abs(found.got - value) / size if size > 0.0 else abs(value)
    return replace(found, verdict=verdict, error=error, place=())


def _absent(
    name: str, witness: str, expected: Array, evidence: Evidence
) -> Finding:
    nothing = np.full(np.shape(expected), np.nan)
    found = compare(nothing, expected, 0.0, evidence.dtype)
    return Finding(
        name,
        witness,
        replace(found, verdict=FAIL),
        evidence.case.seed,
        "absent",
    )


# --- against itself ---------------------------------------------------------


def judge_itself(arch: Any, evidence: Evidence) -> list[Finding]:
    """Check what must hold of any backward pass, whatever the equations."""
    case, dtype = evidence.case, evidence.dtype
    rng = np.random.default_rng((case.seed, 2))
    own = case.copy()
    before = case.copy().variables()
    outputs, gradient = _run_on(arch, own)
    if not gradient:
        return []
    after = own.variables()
    _, again = run(arch, case)
    late = _after_another_run(arch, case)
    findings = [
        _exactly("inputs are left alone", after, before, case.seed, str),
        _exactly("same input, same bits", again, gradient, case.seed),
        _exactly("whatever runs in between", late, gradient, case.seed),
    ]
    for name, value in filter(lambda item: checked(item[0]), before.items()):
        if name not in gradient or gradient[name].shape != value.shape:
            return findings  # absent or misshapen: reported as such

    other = replace(
        case,
        dy=rng.standard_normal(case.dy.shape).astype(case.dy.dtype),
        dstate={
            k: rng.standard_normal(v.shape).astype(v.dtype)
            for k, v in case.dstate.items()
        },
    )
    both = replace(
        case,
        dy=2 * case.dy - 3 * other.dy,
        dstate={k: 2 * v - 3 * other.dstate[k] for k, v in case.dstate.items()},
    )
    one, two = gradient, run(arch, other)[1]
    findings += _equal(
        "linear in its cotangents",
        run(arch, both)[1],
        {k: 2 * one[k] - 3 * two[k] for k in one},
        {k: 2 * np.abs(one[k]) + 3 * np.abs(two[k]) for k in one},
        case.seed,
        dtype,
        # What rounds to zero, such as a bias below batch statistics.
        {k: 5 * floor for k, floor in evidence.gradient_floor.items()},
    )

    order = rng.permutation(case.n_batch)
    whole, sizes = _permuted(gradient, order), _permuted(gradient, order)
    shuffled = replace(
        case,
        x=case.x[:, order],
        state={k: v[order] for k, v in case.state.items()},
        dy=case.dy[:, order],
        dstate={k: v[order] for k, v in case.dstate.items()},
        lengths=None if case.lengths is None else case.lengths[order],
    )
    findings += _equal(
        "batch rows permuted",
        run(arch, shuffled)[1],
        whole,
        sizes,
        case.seed,
        dtype,
        evidence.gradient_floor,
    )

    # A final state that nothing can start from is reported as such.
    carried = all(
        f"state/{name}" in outputs
        and np.shape(outputs[f"state/{name}"]) == value.shape
        for name, value in case.state.items()
    )
    if is_causal(arch) and case.n_time > 1 and carried:
        cut = int(rng.integers(1, case.n_time))
        joined, sizes = cut_at(arch, case, cut)
        findings += _equal(
            "cut anywhere",
            joined,
            gradient,
            sizes,
            case.seed,
            dtype,
            evidence.gradient_floor,
        )
    return findings


def _after_another_run(arch: Any, case: Case) -> Arrays:
    """Run forward on two sequences, and only then backward over the first.

    A pass that keeps its arrays from call to call, for speed, writes the
    second tape over the first. Sequences of other sizes may miss that, since
    they may have arrays of their own.
    """
    own, other = case.copy(), case.copy()
    _, _, tape = run_forward(
        arch, own.params, own.x, own.state, own.t0, own.lengths
    )
    run_forward(
        arch, other.params, 1 - other.x, other.state, other.t0, other.lengths
    )
    return _flat(arch.backward(own.params, tape, own.dy, dict(own.dstate)))


def cut_at(arch: Any, case: Case, cut: int) -> tuple[Arrays, Arrays]:
    """Run forward over two halves and backward over two halves.

    Returns
        The gradient joined from both halves, and the sizes of the terms that
        were added up.
    """
    case = case.copy()
    first = replace(case, x=case.x[:cut], dy=case.dy[:cut])
    _, state, tape = arch.forward(case.params, first.x, case.state, case.t0)
    second = case.from_step(cut, {k: state[k] for k in case.state})
    g2 = run(arch, second)[1]
    dstate = {k: g2[f"state/{k}"] for k in case.state}
    dstate = to_device(dstate, case.device)
    g1 = _flat(arch.backward(case.params, tape, first.dy, dstate))
    joined, sizes = {}, {}
    for name, part in g1.items():
        if name.startswith("params/"):
            joined[name] = part + g2[name]
            sizes[name] = np.abs(part) + np.abs(g2[name])
        elif name.startswith("state/"):
            joined[name], sizes[name] = part, np.abs(part)
        else:
            joined[name] = np.concatenate([part, g2[name]])
            sizes[name] = np.abs(joined[name])
    return joined, sizes


def _permuted(gradient: Arrays, order: Array) -> Arrays:
    def permuted(name: str, value: Array) -> Array:
        if name.startswith("params/"):
            return value
        if name.startswith("state/"):
            return value[order]
        return value[:, order]

    return {k: permuted(k, v) for k, v in gradient.items()}


def _exactly(
    what: str,
    got: Arrays,
    expected: Arrays,
    seed: int,
    called: Callable[[str], str] = array_name,
) -> Finding:
    """Compare to the bit; say where the first difference is."""
    for name, value in expected.items():
        same = (got[name] == value) | (np.isnan(got[name]) & np.isnan(value))
        if not same.all():
            place = tuple(int(k) for k in np.argwhere(~same)[0])
            one, other = float(got[name][place]), float(value[place])
            found = Comparison(FAIL, 0.0, np.inf, place, one, other, 1.0)
            return Finding(what, ITSELF, found, seed, what=called(name))
    found = Comparison(PASS, 0.0, 0.0, (), 0.0, 0.0, 1.0)
    return Finding(what, ITSELF, found, seed)


def _equal(
    what: str,
    got: Arrays,
    expected: Arrays,
    sizes: Arrays,
    seed: int,
    dtype: npt.DTypeLike,
    floors: Arrays | None = None,
) -> list[Finding]:
    """Compare two gradients that were rounded in different orders."""
    findings = []
    for name, value in expected.items():
        floor = SAFETY * np.finfo(dtype).eps * np.abs(sizes[name]).max()
        if floors is not None and name in floors:
            floor = floor + floors[name].max()
        found = compare(got[name], value, floor, dtype)
        if found.verdict == UNDECIDED:
            found = replace(found, verdict=PASS)
        findings.append(
            Finding(what, ITSELF, found, seed, what=array_name(name))
        )
    return findings
