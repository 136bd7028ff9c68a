"""The bistable recurrent cell."""

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
    d_sigmoid,
    d_tanh,
    flat,
    glorot_uniform,
    sigmoid,
    sigmoid_in_place,
)


@dataclass(frozen=True)
class BRC:
    """Bistable recurrent cell (Vecoven, Ernst & Drion, PLOS ONE 2021).

    A unit remembers because it is bistable: with a feedback a above 1 two
    states hold themselves up. No unit of a layer sees another one's state.

    Equations (s is the logistic function)
        a_c = x_t W_xc + w_hc * h_{t-1} + b_c,   c = s(a_c)            (1)
        a_a = x_t W_xa + w_ha * h_{t-1} + b_a,   a = 1 + tanh(a_a)     (2)
        a_m = x_t W_xm + a * h_{t-1} + b_m,   m = tanh(a_m)            (3)
        h_t = c * h_{t-1} + (1 - c) * m,   y_t = h_t                   (4)

    Adjoints (dh_t includes dy_t)
        dm = dh_t (1-c),  dc = dh_t (h_{t-1} - m),  dh_{t-1} = dh_t c  (4')
        da_m = dm (1-m^2),  da = da_m h_{t-1},  dh_{t-1} += da_m a     (3')
        da_a = da (1 - (a-1)^2),   dh_{t-1} += da_a * w_ha             (2')
        da_c = dc c (1-c),   dh_{t-1} += da_c * w_hc                   (1')
        dw_ha = sum_t da_a * h_{t-1}                                   (2')
        dw_hc = sum_t da_c * h_{t-1}                                   (1')
        dx_t = sum_k da_k W_xk^T,  dW_xk = sum_t x_t^T da_k,
        db_k = sum_t da_k   for k in c, a, m                      (1') (2')(3')

    Arrays
        W_xc, W_xa, W_xm (n_in, n_hid), w_hc, w_ha (n_hid),
        b_c, b_a, b_m (n_hid), no b_m without candidate_bias
        state h (n_batch, n_hid)

    Cost
        forward 3 n_time n_batch n_in n_hid multiplications, all in one product
        before an element-wise loop, backward twice that; the tape holds
        4 n_time n_batch n_hid numbers besides x.

    Conventions
        c keeps the old state, as z does in PyTorch's GRU; a lies in 0 .. 2.
        The candidate's bias is that of the warm-up code; the original one
        has none, candidate_bias=False.

    Start
        Input weights Glorot-uniform, recurrent vectors one, biases zero: the
        authors' code in all its versions. At x = 0 such a unit ends at 0 from
        below and at 0.9197 from above: it is bistable before any training.
    """

    n_in: int
    n_hid: int
    candidate_bias: bool = True

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("w_hc", "w_ha")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        x, h = (self.n_in, self.n_hid), (self.n_hid,)
        shapes: Shapes = {"W_xc": x, "w_hc": h, "b_c": x[1:]}
        shapes |= {"W_xa": x, "w_ha": h, "b_a": x[1:], "W_xm": x}
        return shapes | ({"b_m": x[1:]} if self.candidate_bias else {})

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        params: Arrays = {}
        for name, shape in self.shapes().items():
            if name.startswith("w_"):
                params[name] = np.ones(shape, dtype)
            elif len(shape) == 2:
                params[name] = glorot_uniform(rng, (shape[0], shape[1]), dtype)
            else:
                params[name] = np.zeros(shape, dtype)
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
        a_c = x @ p["W_xc"] + p["w_hc"] * h_prev + p["b_c"]  # (1)
        c = sigmoid(a_c, xp)  # (1)
        a_a = x @ p["W_xa"] + p["w_ha"] * h_prev + p["b_a"]  # (2)
        a = 1.0 + xp.tanh(a_a)  # (2)
        a_m = x @ p["W_xm"] + a * h_prev  # (3)
        if self.candidate_bias:
            a_m = a_m + p["b_m"]  # (3)
        m = xp.tanh(a_m)  # (3)
        h = c * h_prev + (1.0 - c) * m  # (4)
        trace = {"a_c": a_c, "c": c, "a_a": a_a, "a": a, "a_m": a_m, "m": m}
        return {"h": h}, trace | {"h": h, "y": h}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence; gates overwrite their pre-activations."""
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, _ = x.shape
        W_x = xp.stack([params[f"W_x{k}"] for k in "cam"])

        gates = xp.matmul(flat(x), W_x)  # (1) (2) (3), all steps
        gates = gates.reshape(3, n_time, n_batch, self.n_hid)
        c, a, m = gates
        c += params["b_c"]  # (1)
        a += params["b_a"]  # (2)
        if self.candidate_bias:
            m += params["b_m"]  # (3)
        h = xp.empty((n_time + 1, n_batch, self.n_hid), x.dtype)
        h[0] = state["h"]
        with np.errstate(over="ignore"):
            for t in range(n_time):
                c[t] += params["w_hc"] * h[t]  # (1)
                a[t] += params["w_ha"] * h[t]  # (2)
                sigmoid_in_place(c[t], xp)  # (1)
                xp.tanh(a[t], out=a[t])  # (2)
                a[t] += 1.0  # (2)
                m[t] += a[t] * h[t]  # (3)
                xp.tanh(m[t], out=m[t])  # (3)
                xp.multiply(c[t], h[t] - m[t], out=h[t + 1])  # (4)
                h[t + 1] += m[t]  # (4), c h + (1-c) m = m + c (h - m)

        tape = {"x": x, "c": c, "a": a, "m": m, "h": h[1:], "h_prev": h[:-1]}
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
        p, x, h_prev = params, tape["x"], tape["h_prev"]
        c, a, m = (tape[k] for k in "cam")

        da_c, da_a, da_m = xp.empty((3, *c.shape), c.dtype)
        dh = dstate["h"]
        for t in reversed(range(len(dy))):
            dh = dh + dy[t]
            da_m[t] = dh * (1.0 - c[t]) * d_tanh(m[t])  # (4') (3')
            da_c[t] = dh * (h_prev[t] - m[t]) * d_sigmoid(c[t])  # (4') (1')
            da_a[t] = da_m[t] * h_prev[t] * d_tanh(a[t] - 1.0)  # (3') (2')
            dh = dh * c[t]  # (4')
            dh += da_m[t] * a[t]  # (3')
            dh += da_a[t] * p["w_ha"]  # (2')
            dh += da_c[t] * p["w_hc"]  # (1')

        adjoints = {"a_c": da_c, "a_a": da_a, "a_m": da_m}
        grads: Arrays = {
            "w_hc": (flat(da_c) * flat(h_prev)).sum(0),  # (1')
            "w_ha": (flat(da_a) * flat(h_prev)).sum(0),  # (2')
        }
        dx = xp.zeros_like(x)
        for k in "cam":  # (1') (2') (3')
            da_k = adjoints[f"a_{k}"]
            grads[f"W_x{k}"] = flat(x).T @ flat(da_k)
            if f"b_{k}" in p:
                grads[f"b_{k}"] = flat(da_k).sum(0)
            dx += da_k @ p[f"W_x{k}"].T
        return Gradients(params=grads, x=dx, state={"h": dh}, adjoints=adjoints)
