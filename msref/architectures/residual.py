"""The residual connection: a network that adds to what it reads."""

from __future__ import annotations

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
    draw_state,
    draws,
    evaluating,
    is_causal,
    observe,
    run_forward,
    scan,
)
from msref.arrays import Array, Arrays


@dataclass(frozen=True)
class Residual:
    """Residual connection (He, Zhang, Ren & Sun, CVPR 2016).

    The network learns what is to be added to its input. The gradient has a
    way around it, so that many can be stacked.

    Equations (f the network, over the whole sequence)
        r = f(x)                                   (1)
        y_t = x_t + r_t                            (2)

    Adjoints
        dr_t = dy_t                                (2')
        dx = dy + f'(dr)                           (2') (1')

    Arrays
        those of the network; all go in and come out under its own names.
        In the trace and the tape ``y`` is (2), and ``residual`` is r. Directly
        around another connection, r is ``residual/residual``, and so on: what
        the inner one wrote stays.

    Cost
        that of the network, and one addition per unit.

    Conventions
        Nothing follows the addition, as in the later form with activations
        inside the branch (He et al., ECCV 2016), which is the one that the
        residual IndRNN takes.

    Raises
        ValueError: the network's n_in is not its n_out.
    """

    arch: Any

    def __post_init__(self) -> None:
        if self.arch.n_in != self.arch.n_out:
            raise ValueError(
                f"Residual got a network with n_in={self.arch.n_in} and"
                f" n_out={self.arch.n_out}, expected equal sizes: its output"
                " is added to its input"
            )

    @property
    def parts(self) -> tuple[Any, ...]:
        """The network, alone."""
        return (self.arch,)

    def with_parts(self, *parts: Any) -> Self:
        """Return the connection around another network."""
        (arch,) = parts
        return replace(self, arch=arch)

    @property
    def _name(self) -> str:
        """The name of r in the trace and the tape."""
        inner = isinstance(self.arch, Residual)
        return f"residual/{self.arch._name}" if inner else "residual"

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return int(self.arch.n_in)

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return int(self.arch.n_out)

    @property
    def causal(self) -> bool:
        """Whether an output depends on the past alone."""
        return is_causal(self.arch)

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
        """Return the same around the network as it runs once trained."""
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

    def observe(self, params: Arrays, tape: Arrays) -> Arrays:
        """Return the new values of the network's buffers."""
        return observe(self.arch, params, tape)

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        state, trace = self.arch.step(params, state, x, t, xp)  # (1)
        r = trace["y"]
        return state, {**trace, self._name: r, "y": x + r}  # (2)

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run the whole sequence, where the network looks ahead."""
        r, state, trace = scan(self.arch, params, x, state, t0, xp, lengths)
        y = x + r  # (2)
        return y, state, {**trace, self._name: r, "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run the network over the whole sequence, and add."""
        _, state = check_forward(self, params, x, state)
        r, state, tape = run_forward(
            self.arch, params, x, state, t0, lengths
        )  # (1)
        y = x + r  # (2)
        return y, state, {**tape, self._name: r, "y": y}

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run the network back through time, and add."""
        _, dstate = check_backward(self, tape, dy, dstate)
        tape = {**tape, "y": tape[self._name]}  # the network's own again
        g: Gradients = self.arch.backward(params, tape, dy, dstate)  # (1')
        return replace(g, x=dy + g.x)  # (2')
