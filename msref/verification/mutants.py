"""Architectures with one bug each, and the share of them that is caught.

A checker is worth what it catches. The bugs of the *backward* pass are wrong
gradients of a right network; those of the *forward* pass are wrong
conventions, the ones that ports get wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from msref.architectures import Gradients, run_forward
from msref.arrays import Array, Arrays, prefixed
from msref.verification.bugs import backward_bugs, forward_bugs, run
from msref.verification.cases import draw
from msref.verification.judge import Finding, judge, judge_outputs
from msref.verification.tolerance import FAIL, NAN
from msref.verification.witnesses import Evidence, gather


@dataclass(frozen=True)
class Mutant:
    """An architecture with one bug, following the protocol like any other.

    Attributes
        kind: the kind of mistake.
        where: the array or place it was made at.
        pass_: ``"backward"`` or ``"forward"``.
        arch: the right network.
        bug: the wrong pass.
    """

    kind: str
    where: str
    pass_: str
    arch: Any
    bug: Callable[..., Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def __repr__(self) -> str:
        return f"{self.arch!r} with {self.kind} ({self.where})"

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
        lengths: Array | None = None,
    ) -> Any:
        """Run the forward pass, wrong where the bug is there."""
        arch = self.arch if lengths is None else _Within(self.arch, lengths)
        if self.pass_ == "forward":
            return self.bug(arch, params, x, state, t0)
        return arch.forward(params, x, state, t0)

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Any:
        """Run the backward pass, wrong where the bug is there."""
        if self.pass_ == "backward":
            return self.bug(self.arch, params, tape, dy, dstate)
        return self.arch.backward(params, tape, dy, dstate)


@dataclass(frozen=True)
class _Within:
    """A network that looks ahead, within given lengths."""

    arch: Any
    lengths: Array

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def forward(
        self, params: Arrays, x: Array, state: Arrays | None, t0: int
    ) -> Any:
        """Run the forward pass; bugs need not know of lengths."""
        return self.arch.forward(params, x, state, t0, lengths=self.lengths)


def mutants(arch: Any) -> Iterator[Any]:
    """Yield every mutant of ``arch``; of its parts, where it has parts.

    A mutant needs at least four time steps, two sequences, and sizes drawn
    as ``verification.draw`` draws them, to be wrong at all.
    """
    if hasattr(arch, "with_parts"):
        for k, part in enumerate(arch.parts):
            for mutant in mutants(part):
                parts = [*arch.parts[:k], mutant, *arch.parts[k + 1 :]]
                whole = arch.with_parts(*parts)
                where = f"{k}/{mutant.where}"
                yield _Whole(mutant.kind, where, mutant.pass_, whole)
        yield from _of_combinators(arch)
        return
    for kind, where, backward in backward_bugs(arch):
        yield Mutant(kind, where, "backward", arch, backward)
    for kind, where, forward in forward_bugs(arch):
        yield Mutant(kind, where, "forward", arch, forward)


@dataclass(frozen=True)
class _Whole:
    """A combined network with a mutant among its parts."""

    kind: str
    where: str
    pass_: str
    arch: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def __repr__(self) -> str:
        return repr(self.arch)


# --- bugs of the wiring -----------------------------------------------------


def _of_combinators(arch: Any) -> Iterator[Any]:
    name = type(arch).__name__
    if name == "Bidirectional":
        yield _Wired("reversal forgotten", "R", arch, _not_reversed)
    if name in ("Parallel", "Bidirectional"):
        yield _Wired("fan-out dropped", "dx", arch, _first_part_alone)
    if name == "Residual":
        yield _Wired("shortcut dropped", "dx", arch, _no_shortcut)
        yield _Wired("branch dropped", "dx", arch, _no_branch)


@dataclass(frozen=True)
class _Wired:
    """A combined network whose own backward pass is wrong."""

    kind: str
    where: str
    arch: Any
    bug: Callable[..., Gradients]
    pass_: str = "backward"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run the wrong backward pass."""
        return self.bug(self.arch, params, tape, dy, dstate)


def _not_reversed(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    identity = np.broadcast_to(
        np.arange(len(dy))[:, None], tape["reversal"].shape
    )
    return run(arch, params, tape | {"reversal": identity}, dy, dstate)


def _first_part_alone(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    g = run(arch, params, tape, dy, dstate)
    n = arch.parts[0].n_out
    first = dy.copy()
    first[..., n:] = 0
    nothing = {k: v * (k.startswith("0/")) for k, v in dstate.items()}
    return replace(g, x=run(arch, params, tape, first, nothing).x)


def _no_shortcut(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    g = run(arch, params, tape, dy, dstate)
    return replace(g, x=g.x - dy)


def _no_branch(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    return replace(run(arch, params, tape, dy, dstate), x=dy.copy())


# --- power ------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """A planted bug, and who caught it.

    Attributes
        kind, where: the bug.
        caught_by: the witnesses that saw it; empty where it got away.
    """

    kind: str
    where: str
    caught_by: tuple[str, ...]


def power(arch: Any, cases: int = 2, seed: int = 0) -> list[Trial]:
    """Plant every bug in ``arch`` and see which witnesses catch it.

    What the witnesses say does not depend on the passes under test, so they
    are asked once per case, and every mutant is held against that.

    Arguments
        cases: random points; a bug counts as caught if one point shows it.
        seed: of the first case.
    """
    told = [
        gather(arch, draw(arch, seed + k, n_time=8 + k, n_batch=3))
        for k in range(cases)
    ]
    trials = []
    for mutant in mutants(arch):
        caught = {
            finding.witness
            for evidence in told
            for finding in _findings(mutant, evidence)
            if finding.comparison.verdict in (FAIL, NAN)
        }
        trials.append(Trial(mutant.kind, mutant.where, tuple(sorted(caught))))
    return trials


def _findings(mutant: Any, evidence: Evidence) -> list[Finding]:
    """Judge a mutant by the pass that it is wrong in."""
    if mutant.pass_ == "backward":
        return judge(mutant, evidence)
    case = evidence.case.copy()
    y, state, tape = run_forward(
        mutant, case.params, case.x, case.state, case.t0, case.lengths
    )
    outputs = {"y": y} | prefixed("state", state) | prefixed("tape", tape)
    return judge_outputs(outputs, evidence)
