"""The independently recurrent network."""

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
    spans,
)


@dataclass(frozen=True)
class IndRNN:
    """Independently recurrent network (Li, Li, Cook, Zhu & Gao, CVPR 2018).

    Each unit remembers itself alone: its recurrent weight is a number. Units
    of one layer meet in the input weights of the next.

    Equations
        a_t = x_t W_xh + b_h + w_hh * h_{t-1}      (1)
        h_t = f(a_t),   y_t = h_t                  (2)
        without mixes, a_t = x_t + w_hh * h_{t-1}

    Adjoints
        da_t = f'(a_t) * (dy_t + dh_t)             (2')
        dh_{t-1} = da_t * w_hh                     (1')
        dw_hh = sum_t da_t * h_{t-1}               (1')
        dx_t = da_t W_xh^T                         (1')
        dW_xh = sum_t x_t^T da_t                   (1')
        db_h = sum_t da_t                          (1')
        without mixes, dx_t = da_t

    Arrays
        W_xh (n_in, n_hid), w_hh (n_hid), b_h (n_hid); without mixes, w_hh
        state h (n_batch, n_hid)

    Cost
        forward n_time n_batch n_hid (n_in + 1) multiplications, backward
        about twice that; all products with W_xh are one, before or after the
        loop, which is element-wise; without mixes the loop is all there is.
        The tape holds n_time n_batch n_hid numbers besides x.

    Conventions
        f is a ReLU with derivative 0 at 0, as in all of the papers'
        experiments, or tanh. Along one unit the gradient over k steps is
        w_hh^k times k derivatives of f: it does not explode over horizon
        steps while |w_hh| <= gamma^(1 / horizon), ``reach``; gamma = 2 in the
        paper's adding problem. Training keeps it there by a projection
        (``msref.training.constraints``) onto the parameters in
        ``constrained``. Without ``mixes`` unit i reads input i as it is, so
        n_in is n_hid: the "only-recurrent" half into which the authors' code
        divides the layer, that a normalisation may stand between the
        ``Linear`` below and the recurrence.

    Start
        w_hh uniform in 0 .. reach; with ``reads`` "last", for the last layer
        of a network that is read at its last step alone, in
        gamma^(-1 / horizon) .. reach, so that every unit remembers. Without
        a horizon reach is 1, and "last" means ones. W_xh uniform within
        sqrt(6 / (65 n_in)), the hidden layers of the authors' PyTorch code;
        b_h zero. Their adding problem has W_xh normal with deviation 0.001.
    """

    n_in: int
    n_hid: int
    activation: str = "relu"
    horizon: int | None = None
    gamma: float = 2.0
    reads: str = "all"
    mixes: bool = True

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)
        if self.horizon is not None:
            check_sizes(horizon=self.horizon)
        if self.activation not in ("relu", "tanh"):
            raise ValueError(
                f"activation is {self.activation!r}, expected 'relu' or 'tanh'"
            )
        if not 1 <= self.gamma < np.inf:
            raise ValueError(f"gamma is {self.gamma}, expected at least 1")
        if self.reads not in ("all", "last"):
            raise ValueError(f"reads is {self.reads!r}, expected 'all', 'last'")
        if not self.mixes and self.n_in != self.n_hid:
            raise ValueError(
                f"n_in is {self.n_in} and n_hid is {self.n_hid}, expected equal"
                " sizes without mixes: each unit reads its own input"
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
    def reach(self) -> float:
        """The largest |w_hh| that a start draws, gamma^(1 / horizon)."""
        return 1.0 if self.horizon is None else self.gamma ** (1 / self.horizon)

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("w_hh",)

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        n = self.n_hid
        if not self.mixes:
            return {"w_hh": (n,)}
        return {"W_xh": (self.n_in, n), "w_hh": (n,), "b_h": (n,)}

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        r = np.sqrt(6.0 / (65.0 * self.n_in))
        lowest = 1.0 / self.reach if self.reads == "last" else 0.0
        params: Arrays = {}
        if self.mixes:
            W = rng.uniform(-r, r, (self.n_in, self.n_hid))
            params["W_xh"] = W.astype(dtype)
        w = rng.uniform(lowest, self.reach, self.n_hid)
        params["w_hh"] = w.astype(dtype)
        if self.mixes:
            params["b_h"] = np.zeros(self.n_hid, dtype)
        return params

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
        if self.mixes:
            x = x @ p["W_xh"] + p["b_h"]  # (1)
        a = x + p["w_hh"] * h_prev  # (1)
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
        # tiled: a vector would be spread over the batch at every step
        w_hh = xp.tile(params["w_hh"], (n_batch, 1))

        h = xp.empty((n_time + 1, n_batch, self.n_hid), x.dtype)
        h[0] = state["h"]
        fed_back = xp.empty_like(w_hh)
        f = activation_into(self.activation, w_hh, xp)
        with np.errstate(over="ignore"):
            # a span of steps at a time: (2) finds (1) in the cache
            for start, stop in reversed(
                [*spans(n_time, w_hh.size, has_products=True)]
            ):
                a = h[start + 1 : stop + 1]
                if self.mixes:
                    x_s = flat(x[start:stop])
                    xp.dot(x_s, params["W_xh"], out=flat(a))  # (1)
                    a += params["b_h"]  # (1)
                else:
                    a[...] = x[start:stop]  # (1)
                for t in range(start, stop):
                    h_t = h[t + 1]
                    xp.multiply(w_hh, h[t], out=fed_back)
                    h_t += fed_back  # (1)
                    f(h_t, h_t)  # (2)

        tape = {"x": x, "h": h[1:], "h_prev": h[:-1]}
        return h[1:], {"h": h[-1].copy()}, tape

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
        w_hh = xp.tile(params["w_hh"], (x.shape[1], 1))
        derivative = ACTIVATIONS[self.activation].derivative

        da = xp.empty(h.shape, h.dtype)
        dx = xp.empty(x.shape, x.dtype)
        grads = {name: xp.zeros_like(p) for name, p in params.items()}
        dh = dstate["h"]
        # sums over a span of steps, while it is in the cache
        for start, stop in spans(len(dy), dh.size, has_products=True):
            s = slice(start, stop)
            da[s] = derivative(h[s])  # f'(a_t)
            for t in reversed(range(start, stop)):
                da_t = da[t]
                dh += dy[t]
                da_t *= dh  # (2')
                xp.multiply(w_hh, da_t, out=dh)  # (1')
            da_s = flat(da[s])
            grads["w_hh"] += xp.einsum("ijk,ijk->k", da[s], h_prev[s])  # (1')
            if self.mixes:
                grads["W_xh"] += flat(x[s]).T @ da_s  # (1')
                grads["b_h"] += da_s.sum(0)  # (1')
                xp.dot(da_s, params["W_xh"].T, out=flat(dx[s]))  # (1')
            else:
                dx[s] = da[s]  # (1')
        return Gradients(grads, dx, {"h": dh}, {"a": da})
