"""Less memory for more time: the tape is made again, segment by segment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    Gradients,
    Shapes,
    buffers,
    check_backward,
    check_forward,
    check_sizes,
    draw_state,
    draws,
    evaluating,
    is_causal,
)
from msref.arrays import Array, Arrays, prefixed, under


@dataclass(frozen=True)
class Checkpointed:
    """A network whose forward pass keeps no tape but the states at cuts.

    Equations (f the network over a segment of time, k its number)
        y_k, s_{k+1} = f(x_k, s_k)                 (1)

    Adjoints (f runs again, for the tape that its backward pass needs)
        dx_k, ds_k, dparams += f'(dy_k, ds_{k+1})  (1')

    Arrays
        those of the network; all go in and come out under its own names

    Cost
        Time: one forward pass more. Memory: the tape of one segment, and a
        state for each; both are least at segments of about sqrt(n_time),
        which is what ``segment=None`` takes. Besides that x, y, dy and dx
        are kept whole, as in every network.

    Conventions
        Gradients are those of the whole pass, summed segment by segment
        from the last one on: equal to rounding, not to the bit. The adjoints
        of all time steps would fill the memory that is to be saved, and are
        left out. A batch norm inside has running statistics, or the network
        would look ahead, so that there is nothing to observe. The method:
        Chen, Xu, Zhang & Guestrin (2016); for recurrent networks Gruslys et
        al. (2016).
    """

    arch: Any
    segment: int | None = None

    def __post_init__(self) -> None:
        if self.segment is not None:
            check_sizes(segment=self.segment)
        if not is_causal(self.arch):
            raise ValueError(
                f"{self.arch!r} looks ahead, expected a network whose"
                " sequences can be cut"
            )

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return int(self.arch.n_in)

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return int(self.arch.n_out)

    @property
    def kinks(self) -> tuple[str, ...]:
        """Traced quantities at whose zero the output has no derivative."""
        return tuple(getattr(self.arch, "kinks", ()))

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time."""
        return tuple(getattr(self.arch, "constrained", ()))

    @property
    def masked(self) -> tuple[str, ...]:
        """Parameters of which some entries are never read."""
        return tuple(getattr(self.arch, "masked", ()))

    @property
    def positive(self) -> tuple[str, ...]:
        """Parameters that have to be above zero."""
        return tuple(getattr(self.arch, "positive", ()))

    @property
    def buffers(self) -> tuple[str, ...]:
        """Parameters that are observed, never learned by gradient."""
        return buffers(self.arch)

    @property
    def draws(self) -> bool:
        """Whether a training draws the state that a pass starts from."""
        return draws(self.arch)

    def evaluating(self) -> Self:
        """Return the same of the network as it runs once trained."""
        return replace(self, arch=evaluating(self.arch))

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        shapes: Shapes = self.arch.shapes()
        return shapes

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from, as the network."""
        params: Arrays = self.arch.init(rng, dtype)
        return params

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the network's state before the first frame."""
        state: Arrays = self.arch.initial_state(n_batch, dtype, xp)
        return state

    def draw_state(
        self,
        rng: np.random.Generator,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
    ) -> Arrays:
        """Draw the state a training pass starts from, as the network."""
        return draw_state(self.arch, rng, n_batch, dtype)

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step of the network."""
        result: tuple[Arrays, Arrays] = self.arch.step(params, state, x, t, xp)
        return result  # (1)

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence, and keep the states at its cuts."""
        xp, state = check_forward(self, params, x, state)
        y = xp.empty((*x.shape[:2], self.n_out), x.dtype)
        tape = {"x": x, "t": np.arange(t0, t0 + len(x))}
        for k, now in enumerate(self._segments(len(x))):
            tape |= prefixed(f"state/{k}", state)
            y[now], state, segment = self.arch.forward(
                params, x[now], state, t0 + now.start
            )  # (1)
            del segment  # before the next one is made
        return y, state, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time, each segment forward again before."""
        xp, dstate = check_backward(self, tape, dy, dstate)
        x, t0 = tape["x"], int(tape["t"][0])
        grads = {name: xp.zeros_like(value) for name, value in params.items()}
        dx = xp.empty(x.shape, dy.dtype)
        segments = list(enumerate(self._segments(len(x))))
        for k, now in reversed(segments):
            start = under(f"state/{k}", tape)
            _, _, segment = self.arch.forward(
                params, x[now], start, t0 + now.start
            )  # (1)
            found = self.arch.backward(params, segment, dy[now], dstate)  # (1')
            dx[now], dstate = found.x, found.state  # (1')
            for name, value in found.params.items():
                grads[name] += value  # (1')
            del segment, found  # before the next ones are made
        assert dstate is not None
        return Gradients(params=grads, x=dx, state=dstate)

    def _segments(self, n_time: int) -> Iterator[slice]:
        """Cut the time into segments; the last one may be shorter."""
        size = self.segment or math.isqrt(n_time - 1) + 1
        for start in range(0, n_time, size):
            yield slice(start, min(start + size, n_time))
