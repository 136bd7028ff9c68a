"""The points at which gradients are checked.

Constant weights, zero biases, zero initial states, equal sizes and a loss on
the last output alone each hide a class of bugs. A case has none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.architectures import is_causal
from msref.arrays import Array, Arrays, on_host, prefixed, to_device


@dataclass(frozen=True)
class Case:
    """A point, and the loss whose gradient is checked there.

    The loss is sum(dy * y) + sum(dstate * final state): linear in the
    outputs, with a random cotangent on every one of them.

    Attributes
        params, state, x: the point, in the precision under test.
        dy, dstate: the cotangents.
        t0: absolute time of the first frame.
        lengths: frames that count, where the network looks ahead.
        seed: what ``draw`` was called with.
        device: where the passes under test run; the case itself is on the
            host, where the witnesses are.
    """

    params: Arrays
    state: Arrays
    x: Array
    dy: Array
    dstate: Arrays
    t0: int = 0
    lengths: Array | None = None
    seed: int = 0
    device: str = "cpu"

    @property
    def n_time(self) -> int:
        """Number of time steps."""
        return int(self.x.shape[0])

    @property
    def n_batch(self) -> int:
        """Number of sequences."""
        return int(self.x.shape[1])

    def variables(self) -> Arrays:
        """Return everything the loss depends on, flat, in float64."""
        tree = (
            prefixed("params", self.params)
            | {"x": self.x}
            | prefixed("state", self.state)
            | {"dy": self.dy}
            | prefixed("dstate", self.dstate)
        )
        return {k: on_host(v).astype(np.float64) for k, v in tree.items()}

    def copy(self) -> Case:
        """Return the case with arrays of its own, on its device."""

        def copied(tree: Arrays) -> Arrays:
            own = {k: v.copy() for k, v in tree.items()}
            return to_device(own, self.device)

        of_time = copied({"x": self.x, "dy": self.dy})
        return replace(
            self,
            params=copied(self.params),
            state=copied(self.state),
            dstate=copied(self.dstate),
            x=of_time["x"],
            dy=of_time["dy"],
        )

    def from_step(self, start: int, state: Arrays) -> Case:
        """Return the case of the frames from ``start`` on."""
        return replace(
            self,
            x=self.x[start:],
            dy=self.dy[start:],
            state=state,
            t0=self.t0 + start,
        )

    def last_output_alone(self) -> Case:
        """Return the case with a loss on the last output and nothing else.

        What arrives k steps back then is the contribution of lag k; nearer
        outputs do not drown it.
        """
        dy = np.zeros_like(self.dy)
        dy[-1] = self.dy[-1]
        nothing = {k: np.zeros_like(v) for k, v in self.dstate.items()}
        return replace(self, dy=dy, dstate=nothing)


def draw(
    arch: Any,
    seed: int,
    n_time: int | None = None,
    n_batch: int | None = None,
    dtype: npt.DTypeLike = np.float64,
    params: Arrays | None = None,
    x: Array | None = None,
    state: Arrays | None = None,
) -> Case:
    """Draw a case for ``arch``; what is given is kept.

    Parameters come from ``arch.init``; arrays that it leaves constant (zero
    biases, a forget bias of one) are drawn anew, so that no term of an
    equation is out of play, and above zero where the network names them as
    ``positive``. Zeros inside a drawn array stay: they may be a mask. Every
    other case begins at t = 0, where clocks have their origin.

    Arguments
        n_time, n_batch: sizes; ``None`` draws 2..16 and 2..4.
    """
    rng = np.random.default_rng(seed)
    if params is not None:
        params = {k: on_host(v).astype(dtype) for k, v in params.items()}
    if state is not None:
        state = {k: on_host(v).astype(dtype) for k, v in state.items()}
    if x is not None:
        x = on_host(x).astype(dtype)
        n_time, n_batch = x.shape[:2]
    n_time = int(rng.integers(2, 17)) if n_time is None else n_time
    n_batch = int(rng.integers(2, 5)) if n_batch is None else n_batch

    def normal(shape: tuple[int, ...], scale: float = 1.0) -> Array:
        drawn: Array = scale * rng.standard_normal(shape)
        return drawn.astype(dtype)

    if params is None:
        params = {
            name: normal(value.shape, 0.5)
            if np.ptp(value) == 0.0
            else np.asarray(value, dtype)
            for name, value in arch.init(rng).items()
        }
        for name in getattr(arch, "positive", ()):
            params[name] = np.exp(params[name])
    if x is None:
        x = normal((n_time, n_batch, arch.n_in))
    if state is None:
        zeros = arch.initial_state(n_batch)
        state = {k: normal(v.shape, 0.5) for k, v in zeros.items()}
    return Case(
        params=params,
        state=state,
        x=x,
        dy=normal((n_time, n_batch, arch.n_out)),
        dstate={k: normal(v.shape) for k, v in state.items()},
        t0=int(rng.integers(0, 8)) * (seed % 2),
        lengths=None
        if is_causal(arch)
        else rng.integers(1, n_time + 1, size=n_batch),
        seed=seed,
    )
