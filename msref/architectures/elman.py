"""The Elman network."""

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
from msref.functional import (
    ACTIVATIONS,
    activation_into,
    flat,
    glorot_uniform,
    orthogonal,
    spans,
    with_one,
)


@dataclass(frozen=True)
class Elman:
    """Elman network (Elman, *Finding structure in time*, 1990).

    Equations
        a_t = x_t W_xh + h_{t-1} W_hh + b_h        (1)
        h_t = f(a_t),   y_t = h_t                  (2)

    Adjoints
        da_t = f'(a_t) * (dy_t + dh_t)             (2')
        dh_{t-1} = da_t W_hh^T                     (1')
        dx_t = da_t W_xh^T                         (1')
        dW_xh = sum_t x_t^T da_t                   (1')
        dW_hh = sum_t h_{t-1}^T da_t               (1')
        db_h = sum_t da_t                          (1')

    Arrays
        W_xh (n_in, n_hid), W_hh (n_hid, n_hid), b_h (n_hid)
        state h (n_batch, n_hid)

    Cost
        forward n_time n_batch n_hid (n_in + n_hid) multiplications, backward
        twice that; the tape holds n_time n_batch n_hid numbers besides x.

    Conventions
        f is tanh, or a ReLU with derivative 0 at 0. One bias: the second one
        of PyTorch and ONNX is redundant, add both. The paper feeds the copied
        state back in as "context units"; the equations are those.

    Start
        W_xh Glorot-uniform, W_hh orthogonal, b_h zero (the defaults of Keras;
        the paper's own are not known to us).
    """

    n_in: int
    n_hid: int
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)
        if self.activation not in ("tanh", "relu"):
            raise ValueError(
                f"activation is {self.activation!r}, expected 'tanh' or 'relu'"
            )

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_hid

    @property
    def kinks(self) -> tuple[str, ...]:
        """Traced quantities at whose zero the output has no derivative."""
        return ("a",) if ACTIVATIONS[self.activation].has_kink else ()

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_hh",)

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        return {
            "W_xh": (self.n_in, self.n_hid),
            "W_hh": (self.n_hid, self.n_hid),
            "b_h": (self.n_hid,),
        }

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        return {
            "W_xh": glorot_uniform(rng, (self.n_in, self.n_hid), dtype),
            "W_hh": orthogonal(rng, self.n_hid, dtype),
            "b_h": np.zeros(self.n_hid, dtype),
        }

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {"h": xp.zeros((n_batch, self.n_hid), dtype)}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        p, h_prev = params, state["h"]
        f = ACTIVATIONS[self.activation].f
        a = x @ p["W_xh"] + h_prev @ p["W_hh"] + p["b_h"]  # (1)
        h = f(a, xp)  # (2)
        return {"h": h}, {"a": a, "h": h, "y": h}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence; ``h`` holds a_t until f overwrites it."""
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, _ = x.shape
        W_hh = params["W_hh"]

        h = xp.empty((n_time + 1, n_batch, self.n_hid), x.dtype)
        h[0] = state["h"]
        a = h[1:]
        W_x = xp.concatenate([params["b_h"][None], params["W_xh"]])
        xp.dot(with_one(x, xp), W_x, out=flat(a))  # (1), all steps
        from_h = xp.empty_like(h[0])
        f = activation_into(self.activation, h[0], xp)
        with np.errstate(over="ignore"):
            for t in range(n_time):
                a_t = a[t]
                xp.dot(h[t], W_hh, out=from_h)  # (1)
                a_t += from_h  # (1)
                f(a_t, h[t + 1])  # (2)

        y = h[1:]
        tape = {"x": x, "h": y, "h_prev": h[:-1]}
        return y, {"h": h[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time."""
        xp, dstate = check_backward(self, tape, dy, dstate)
        x, h, h_prev = tape["x"], tape["h"], tape["h_prev"]
        n_time, n_batch, n_hid = h.shape
        derivative = ACTIVATIONS[self.activation].derivative
        W_hh_T = xp.ascontiguousarray(params["W_hh"].T)

        da = xp.empty(h.shape, h.dtype)
        dh = dstate["h"]
        for start, stop in spans(n_time, n_batch * n_hid):
            da[start:stop] = derivative(h[start:stop])  # f'(a_t)
            for t in reversed(range(start, stop)):
                da_t = da[t]
                dh += dy[t]
                da_t *= dh  # (2')
                xp.dot(da_t, W_hh_T, out=dh)  # (1')

        dW_x = with_one(x, xp).T @ flat(da)  # (1'), db_h in its first row
        return Gradients(
            params={
                "W_xh": dW_x[1:],
                "W_hh": flat(h_prev).T @ flat(da),  # (1')
                "b_h": dW_x[0],
            },
            x=(flat(da) @ params["W_xh"].T).reshape(x.shape),  # (1')
            state={"h": dh},
            adjoints={"a": da},
        )
