"""Dropout with one mask for all time steps."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    Gradients,
    Shapes,
    check_backward,
    check_forward,
    check_sizes,
)
from msref.arrays import Array, Arrays


@dataclass(frozen=True)
class Dropout:
    """Dropout that lasts a sequence (Gal & Ghahramani, NeurIPS 2016).

    A unit that is dropped is so at every step: what is drawn is a network,
    and it reads the whole sequence. So the mask is this layer's *state*: it
    is drawn before the first frame and never changes.

    Equations
        m_t = m_{t-1}                              (1)
        y_t = x_t * m_t                            (2)

    Adjoints
        dx_t = dy_t * m_t                          (2')
        dm_t += dy_t * x_t                         (2')
        dm_{t-1} = dm_t                            (1')

    Arrays
        no parameters
        state mask (n_batch, n): m

    Cost
        n_time n_batch n multiplications forward, twice that backward; the
        tape holds no numbers besides x and the mask.

    Conventions
        ``draw_state`` draws m as 0 with probability ``rate``, else
        1 / (1 - rate): the expectation of y is x. A training draws it for
        each pass. The initial state is ones: without a drawn mask nothing is
        dropped, which is how a trained network runs. Whoever cuts a sequence
        hands the state on, and so keeps the mask. Li et al. (2018) draw
        theirs in the same way, once for all steps.
    """

    n: int
    rate: float

    def __post_init__(self) -> None:
        check_sizes(n=self.n)
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"rate is {self.rate}, expected at least 0 and below 1"
            )

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return self.n

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter: there is none."""
        return {}

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from: there are none."""
        return {}

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the mask that drops nothing: ones."""
        return {"mask": xp.ones((n_batch, self.n), dtype)}

    def draw_state(
        self,
        rng: np.random.Generator,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
    ) -> Arrays:
        """Draw the mask of a training pass; see Conventions."""
        kept = rng.random((n_batch, self.n)) >= self.rate
        return {"mask": (kept / (1.0 - self.rate)).astype(dtype)}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        mask = state["mask"]  # (1)
        return {"mask": mask}, {"mask": mask, "y": x * mask}  # (2)

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Drop the same units of all frames."""
        xp, state = check_forward(self, params, x, state)
        mask = state["mask"]
        y = x * mask  # (2), all steps
        tape = {"x": x, "mask": xp.broadcast_to(mask, x.shape)}  # (1)
        return y, {"mask": mask.copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Return all gradients; the mask's sums up over the steps."""
        _, dstate = check_backward(self, tape, dy, dstate)
        dx = dy * tape["mask"]  # (2')
        dmask = dstate["mask"] + (dy * tape["x"]).sum(0)  # (2') (1')
        return Gradients({}, dx, {"mask": dmask})
