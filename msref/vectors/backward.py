"""Known wrong backward passes, run on a vector's inputs.

Here, and here alone, ``forward`` and ``backward`` are called: a port whose
forward pass agrees is held against wrong gradients, not against right ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msref.architectures import Gradients, is_causal, run_forward
from msref.arrays import Arrays, prefixed
from msref.vectors.vector import Vector
from msref.verification.bugs import chunked, windowed
from msref.verification.mutants import mutants

ADVICE = {
    "final-state gradient ignored": "start the way back from dstate, the"
    " gradient of the final state, not from zeros",
    "final-state gradient doubled": "add dstate once",
    "initial-state gradient missing": "return what arrives before the first"
    " step as the gradient of the initial state",
    "truncated BPTT": "carry the gradient through the whole sequence; it is"
    " cut half way",
    "BPTT through a window": "carry the gradient of each output through the"
    " whole sequence",
    "loss on the last output alone": "dy has a gradient for every output; add"
    " it at every step",
    "output gradient a step late": "dy[t] belongs to the output of step t",
    "adjoints clipped": "clip gradients after the backward pass, if at all,"
    " never within it",
    "input gradient negated": "dx has the wrong sign",
    "single precision inside": "sum up the gradients in the precision of the"
    " weights",
    "only the first step accumulated": "add the weights' gradients up over the"
    " steps; they are overwritten instead",
    "a state's path dropped": "each state carries a gradient to the step"
    " before; one of them is lost",
    "bias gradient missing": "sum the adjoints over time and batch for the"
    " bias",
    "mean over the batch": "sum over the batch; the loss is a sum, not a mean",
    "gradient off by a thousandth": "the gradient is scaled",
    "input path dropped": "send the adjoints back through this input weight"
    " as well",
    "recurrent path dropped": "send the adjoints back through this weight as"
    " well",
    "transposed weight": "adjoints go back through the transposed weight,"
    " da @ W.T",
    "wrong gate": "the gradients of two gates are in each other's place",
    "wrong gate's weight": "adjoints of two gates go back through each other's"
    " weights",
    "off by one in time": "the recurrent weight's gradient takes the state of"
    " the step before",
    "derivative dropped": "multiply by the derivative of the non-linearity",
    "gate held constant": "the gate depends on inputs and state: it has a"
    " gradient, too",
    "held module passes no gradient": "what reaches a module that holds goes"
    " on to the step before",
    "clock off by one backwards": "the way back needs the clock of the way"
    " there",
    "masked weights learn": "weights that are not read have gradient zero",
    "mask dropped on the way back": "multiply by the mask on the way back as"
    " well",
    "gain dropped on the way back": "multiply by gamma on the way back",
    "statistics held constant": "mean and variance depend on the input: they"
    " have gradients",
    "mean held constant": "the mean depends on the input",
    "variance held constant": "the variance depends on the input",
    "padding counted backwards": "padding does not count in the gradients of"
    " the statistics",
    "reversal forgotten": "flip the gradient of the reverse direction in time"
    " on its way back",
    "fan-out dropped": "all parts read the input: add their gradients",
    "shortcut dropped": "the input is added to the output: dy goes into dx as"
    " well",
    "branch dropped": "the branch sends a gradient back as well as the"
    " shortcut",
}
"""What to do about each kind of bug of the backward pass."""

OF_SEVERAL_STEPS = (
    "truncated BPTT",
    "a state's path dropped",
    "only the first step accumulated",
)
"""Kinds that cut a sequence, and cannot cut a single step."""


@dataclass(frozen=True)
class Wrong:
    """A known mistake of a backward pass, and what it makes.

    Attributes
        key: the mistake in words.
        kind, where: as in ``msref.verification.mutants``.
        advice: what to change.
        arrays: ``grads/…``, ``dx``, ``dstate0/…``, ``adjoints/…``.
    """

    key: str
    kind: str
    where: str
    advice: str
    arrays: Arrays


def wrong_backwards(vector: Vector, widely: bool = True) -> Iterator[Wrong]:
    """Run every known wrong backward pass.

    Arguments
        widely: try windows and chunks of every length as well.
    """
    for mutant in mutants(vector.arch):
        fits = vector.n_time > 1 or mutant.kind not in OF_SEVERAL_STEPS
        if mutant.pass_ == "backward" and fits:
            yield Wrong(
                _key(mutant),
                mutant.kind,
                mutant.where,
                ADVICE.get(mutant.kind, ""),
                run_backward(mutant, vector),
            )
    if widely and is_causal(vector.arch):
        yield from _cut_short(vector)


def backward_keys(arch: Any) -> list[str]:
    """Name all known wrong backward passes of a network."""
    return [_key(m) for m in mutants(arch) if m.pass_ == "backward"]


def _key(mutant: Any) -> str:
    return f"{mutant.kind} ({mutant.where})"


def run_backward(arch: Any, vector: Vector) -> Arrays:
    """Run forward and backward of any network on a vector's inputs."""
    _, _, tape = _forward(arch, vector)
    dstate = {k: v.copy() for k, v in vector.dstate.items()}
    g = arch.backward(vector.params, tape, vector.dy.copy(), dstate)
    return _named(g)


def _forward(arch: Any, vector: Vector) -> Any:
    return run_forward(
        arch,
        vector.params,
        vector.x,
        vector.state0,
        vector.t0,
        vector.lengths,
    )


def _named(g: Gradients) -> Arrays:
    return (
        prefixed("adjoints", g.adjoints)
        | {"dx": g.x}
        | prefixed("dstate0", g.state)
        | prefixed("grads", g.params)
    )


def _cut_short(vector: Vector) -> Iterator[Wrong]:
    """Truncate in every way: a window from each output, or fixed chunks."""
    arch, params = vector.arch, vector.params
    if not vector.state0:
        return
    _, _, tape = _forward(arch, vector)
    for n in range(1, vector.n_time):
        for what, cut, advice in (
            (
                f"each output sent back through {n - 1} steps",
                windowed,
                "carry the gradient of each output through the whole sequence",
            ),
            (
                f"gradient cut every {n} steps",
                chunked,
                "carry the gradient through the whole sequence; it is truncated"
                " (TBPTT, a detached state)",
            ),
        ):
            size = n - 1 if cut is windowed else n
            g = cut(arch, params, tape, vector.dy, vector.dstate, size)
            yield Wrong(what, "truncated BPTT", str(n), advice, _named(g))
