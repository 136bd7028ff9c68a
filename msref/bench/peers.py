"""What our passes are timed against, and that it computes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays, to_device
from msref.bench.conditions import current
from msref.bench.suite import OURS
from msref.bench.timing import Timing, interleaved

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
"""By how much gradients may differ, relative to their norm. A ReLU whose
argument is zero to rounding may go either way: a maximum would see that."""


@dataclass(frozen=True)
class Point:
    """Where networks are run: forwards from a zero state, and backwards.

    Attributes
        arch: our network.
        params: its parameters, by name.
        x: (n_time, n_batch, n_in).
        dy: (n_time, n_batch, n_out), the gradient at every output.
    """

    arch: Any
    params: Arrays
    x: Array
    dy: Array

    @classmethod
    def draw(
        cls, arch: Any, n_time: int, n_batch: int, dtype: str, seed: int = 0
    ) -> Point:
        """Draw parameters, biases other than zero, inputs and cotangents."""
        rng = np.random.default_rng(seed)
        params = arch.init(rng, dtype)
        for name, value in params.items():
            if name.startswith("b_"):
                value += 0.1 * rng.standard_normal(value.shape)
        x = rng.standard_normal((n_time, n_batch, arch.n_in)).astype(dtype)
        dy = rng.standard_normal((n_time, n_batch, arch.n_out)).astype(dtype)
        return cls(arch, params, x, dy)

    @property
    def cell(self) -> str:
        """The name of the network's class."""
        return type(self.arch).__name__


@dataclass(frozen=True)
class Peer:
    """One way to compute the gradients at a point.

    Attributes
        name: ``"peer"`` or ``"peer, variant"``.
        make: point -> job, and a function that gives what the job returned
            as gradients by our names, that of the input as ``"x"``.
    """

    name: str
    make: Callable[[Point], tuple[Callable[[], Any], Callable[[Any], Arrays]]]


def our_pass(
    point: Point,
) -> tuple[Callable[[], Any], Callable[[Any], Arrays]]:
    """Run our own forward and backward pass."""
    arch = point.arch
    params = to_device(point.params, current().device)
    at = to_device({"x": point.x, "dy": point.dy}, current().device)

    def run() -> Any:
        _, _, tape = arch.forward(params, at["x"])
        return arch.backward(params, tape, at["dy"])

    def gradients(grads: Any) -> Arrays:
        return to_device(grads.params | {"x": grads.x}, "cpu")

    return run, gradients


def compare(
    point: Point,
    peers: Iterable[Peer],
    seconds: float,
    limit: Mapping[str, Callable[[], Any]] | None = None,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time our passes against those of peers that compute the same.

    Arguments
        limit: jobs that are timed beside them as they are.

    Returns
        The times; and under the name of a peer that was not timed, why: it
        is not installed, or its gradients are others.
    """
    run, gradients = our_pass(point)
    expected = gradients(run())
    jobs = {OURS: run} | dict(limit or {})
    notes: dict[str, str] = {}
    for peer in peers:
        try:
            run, gradients = peer.make(point)
        except ModuleNotFoundError as error:
            notes[peer.name] = f"{error.name} is not installed"
            continue
        off, name = largest_difference(expected, gradients(run()))
        if off <= TOLERANCE[str(point.x.dtype)]:
            jobs[peer.name] = run
        else:
            notes[peer.name] = (
                f"disagrees: the gradient of {name} differs by {off:.1e}"
            )
    return interleaved(jobs, seconds=seconds), notes


def largest_difference(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """Return the largest relative difference of any array, and its name."""
    found = {}
    for name, expected in ours.items():
        scale = np.linalg.norm(expected) or 1.0
        difference = np.linalg.norm(expected - theirs[name]) / scale
        found[name] = float(np.nan_to_num(difference, nan=np.inf))
    name = max(found, key=lambda k: found[k])
    return found[name], name
