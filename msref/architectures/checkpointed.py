"""Less memory for more time: the tape is made again, segment by segment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
    check_kind,
    check_sizes,
    draw_state,
    draws,
    evaluating,
    is_causal,
)
from msref.arrays import Array, Arrays, namespace, prefixed, under


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
        which is what ``segment=None`` takes. A segment costs as much as some
        dozens of steps of a small network, besides its own: then a few
        thousand are faster, and still take some megabytes. x, y, dy and dx
        are whole, as in every network, and at a million steps they are most
        of it; so y can be left out, dy found segment by segment, and dx
        written where x was: then nothing but x is as long as time.

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
        keep_y: bool = True,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence, and keep the states at its cuts.

        Arguments
            keep_y: ``False`` to return a ``y`` of no time steps, where
                ``backward`` computes ``dy`` from the outputs of a segment.
        """
        xp, state = check_forward(self, params, x, state)
        n_kept = len(x) if keep_y else 0
        y = xp.empty((n_kept, x.shape[1], self.n_out), x.dtype)
        n_segments = len(list(self._segments(len(x))))
        starts = {
            name: xp.empty((n_segments, *value.shape), value.dtype)
            for name, value in state.items()
        }
        for k, now in enumerate(self._segments(len(x))):
            for name, value in state.items():
                starts[name][k] = value
            out, state, segment = self.arch.forward(
                params, x[now], state, t0 + now.start
            )  # (1)
            if keep_y:
                y[now] = out
            del out, segment  # before the next ones are made
        tape = {"x": x, "t0": np.array(t0)} | prefixed("state", starts)
        return y, state, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array | Callable[[Array, slice], Array],
        dstate: Arrays | None = None,
        dx: Array | None = None,
    ) -> Gradients:
        """Run back through time, each segment forward again before.

        Arguments
            dy: (n_time, n_batch, n_out), or a function of a segment's
                outputs and the slice of time they stand at that returns
                their gradient, called from the last segment to the first.
            dx: (n_time, n_batch, n_in) to be overwritten with the gradient
                of x. It may be x itself, which then is lost, and the tape
                with it; ``None`` for a new array.
        """
        x, t0 = tape["x"], int(tape["t0"])
        xp, starts = namespace(x), under("state", tape)
        if not callable(dy):
            _, dstate = check_backward(self, tape, dy, dstate)
        if dx is None:
            dx = xp.empty_like(x)
        check_kind("dx", dx, x.shape, x)
        grads = {name: xp.zeros_like(value) for name, value in params.items()}
        segments = list(enumerate(self._segments(len(x))))
        for k, now in reversed(segments):
            start = {name: value[k] for name, value in starts.items()}
            y, _, segment = self.arch.forward(
                params, x[now], start, t0 + now.start
            )  # (1)
            dy_now = dy(y, now) if callable(dy) else dy[now]
            found = self.arch.backward(params, segment, dy_now, dstate)  # (1')
            dx[now], dstate = found.x, found.state  # (1')
            for name, value in found.params.items():
                grads[name] += value  # (1')
            del y, dy_now, segment, found  # before the next ones are made
        assert dstate is not None
        return Gradients(params=grads, x=dx, state=dstate)

    def _segments(self, n_time: int) -> Iterator[slice]:
        """Cut the time into segments; the last one may be shorter."""
        size = self.segment or math.isqrt(n_time - 1) + 1
        for start in range(0, n_time, size):
            yield slice(start, min(start + size, n_time))
