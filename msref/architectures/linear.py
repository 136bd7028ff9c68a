"""The linear layer: the same affine map of every frame."""

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
from msref.functional import flat, glorot_uniform


@dataclass(frozen=True)
class Linear:
    """Linear layer: an affine map of each frame, without a memory.

    Equations
        y_t = x_t W_xy + b_y                       (1)

    Adjoints
        dx_t = dy_t W_xy^T                         (1')
        dW_xy = sum_t x_t^T dy_t                   (1')
        db_y = sum_t dy_t                          (1')

    Arrays
        W_xy (n_in, n_out), b_y (n_out; none without ``bias``)
        no state

    Cost
        forward n_time n_batch n_in n_out multiplications, in one product of
        all frames, backward twice that; the tape holds n_time n_batch n_out
        numbers besides x.

    Conventions
        The weight stands to the right of the frame, W_xy is PyTorch's
        ``weight`` transposed. Two linear layers in a row are one: something
        that bends or remembers belongs between them.

    Start
        W_xy uniform within ``scale``, or Glorot-uniform where none is given;
        b_y zero.
    """

    n_in: int
    n_out: int
    bias: bool = True
    scale: float | None = None

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_out=self.n_out)
        if self.scale is not None and not 0 < self.scale < np.inf:
            raise ValueError(f"scale is {self.scale}, expected above 0")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        shapes: Shapes = {"W_xy": (self.n_in, self.n_out)}
        return shapes | ({"b_y": (self.n_out,)} if self.bias else {})

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        shape, r = (self.n_in, self.n_out), self.scale
        if r is None:
            params = {"W_xy": glorot_uniform(rng, shape, dtype)}
        else:
            params = {"W_xy": rng.uniform(-r, r, shape).astype(dtype)}
        if self.bias:
            params["b_y"] = np.zeros(self.n_out, dtype)
        return params

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: there is none."""
        return {}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equation says it."""
        y = x @ params["W_xy"]  # (1)
        if self.bias:
            y = y + params["b_y"]  # (1)
        return {}, {"y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Map all frames at once."""
        check_forward(self, params, x, state)
        y = (flat(x) @ params["W_xy"]).reshape(*x.shape[:2], self.n_out)  # (1)
        if self.bias:
            y += params["b_y"]  # (1)
        return y, {}, {"x": x, "y": y}

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Return all gradients; no frame depends on another."""
        check_backward(self, tape, dy, dstate)
        grads = {"W_xy": flat(tape["x"]).T @ flat(dy)}  # (1')
        if self.bias:
            grads["b_y"] = flat(dy).sum(0)  # (1')
        dx = dy @ params["W_xy"].T  # (1')
        return Gradients(grads, dx, {}, {"y": dy.copy()})
