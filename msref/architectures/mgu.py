"""The minimal gated unit."""

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
    joined,
    sigmoid,
    sigmoid_of_minus,
    spans,
    tanh_into,
    with_one,
)


@dataclass(frozen=True)
class MGU:
    """Minimal gated unit (Zhou, Wu, Zhang & Zhou, 2016).

    A GRU with one gate, which both forgets and selects.

    Equations (s is the logistic function)
        a_f = x_t W_xf + h_{t-1} W_hf + b_f,   f = s(a_f)              (1)
        q = f * h_{t-1}                                                (2)
        a_m = x_t W_xm + q W_hm + b_m,         m = tanh(a_m)           (3)
        h_t = (1 - f) * h_{t-1} + f * m,       y_t = h_t               (4)

    Adjoints (dh_t includes dy_t)
        dm = dh_t f,  df = dh_t (m - h_{t-1}),  dh_{t-1} = dh_t (1-f)  (4')
        da_m = dm (1-m^2),   dq = da_m W_hm^T                          (3')
        dW_hm = sum_t q^T da_m                                         (3')
        df += dq h_{t-1},    dh_{t-1} += dq f                          (2')
        da_f = df f (1-f),   dh_{t-1} += da_f W_hf^T                   (1')
        dW_hf = sum_t h_{t-1}^T da_f                                   (1')
        dx_t = sum_k da_k W_xk^T,  dW_xk = sum_t x_t^T da_k,
        db_k = sum_t da_k   for k in f, m                        (1') (3')

    Arrays
        W_xf, W_xm (n_in, n_hid), W_hf, W_hm (n_hid, n_hid),
        b_f, b_m (n_hid)
        state h (n_batch, n_hid)

    Cost
        forward 2 n_time n_batch n_hid (n_in + n_hid) multiplications,
        backward twice that; the tape holds 4 n_time n_batch n_hid numbers
        besides x.

    Conventions
        f lets the new in, as in the warm-up authors' code. Flax's cell of
        this name has the roles swapped, h_t = f h_{t-1} + (1 - f) m, and a
        forget bias of one.

    Start
        All weights Glorot-uniform, recurrent ones too, biases zero: the
        warm-up authors' code.
    """

    n_in: int
    n_hid: int

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_hf", "W_hm")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        x, h = (self.n_in, self.n_hid), (self.n_hid, self.n_hid)
        weights: Shapes = {"W_xf": x, "W_hf": h, "W_xm": x, "W_hm": h}
        return weights | {"b_f": h[1:], "b_m": h[1:]}

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        return {
            name: glorot_uniform(rng, (shape[0], shape[1]), dtype)
            if len(shape) == 2
            else np.zeros(shape, dtype)
            for name, shape in self.shapes().items()
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
        a_f = x @ p["W_xf"] + h_prev @ p["W_hf"] + p["b_f"]  # (1)
        f = sigmoid(a_f, xp)  # (1)
        q = f * h_prev  # (2)
        a_m = x @ p["W_xm"] + q @ p["W_hm"] + p["b_m"]  # (3)
        m = xp.tanh(a_m)  # (3)
        h = (1.0 - f) * h_prev + f * m  # (4)
        trace = {"a_f": a_f, "f": f, "q": q, "a_m": a_m, "m": m}
        return {"h": h}, trace | {"h": h, "y": h}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence.

        A row is (h_{t-1}, 1, x_t), so one product per step holds all of (1);
        what m gets from x is one product for all steps. The gates overwrite
        their pre-activations.
        """
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, n_in = x.shape
        n_hid = self.n_hid
        step = n_batch, n_hid
        W_f = joined(params, "f", xp)[0]
        W_f *= -1.0  # s(a) = 1 / (1 + exp(-a)): the sign is in the weights
        W_hm = params["W_hm"]
        W_xm = xp.concatenate([params["b_m"][None], params["W_xm"]])

        f, m, q = xp.empty((3, n_time, *step), x.dtype)
        h = xp.empty((n_time + 1, *step), x.dtype)
        h[0] = state["h"]
        xp.dot(with_one(x, xp), W_xm, out=flat(m))  # (3), all steps
        row = xp.ones((n_batch, n_hid + 1 + n_in), x.dtype)
        part = xp.empty(step, x.dtype)
        with np.errstate(over="ignore"):
            for t in range(n_time):
                f_t, m_t, q_t = f[t], m[t], q[t]
                row[:, :n_hid], row[:, n_hid + 1 :] = h[t], x[t]
                xp.dot(row, W_f, out=f_t)  # (1)
                sigmoid_of_minus(f_t, xp)  # (1)
                xp.multiply(f_t, h[t], out=q_t)  # (2)
                xp.dot(q_t, W_hm, out=part)  # (3)
                m_t += part  # (3)
                tanh_into(m_t, m_t, xp)  # (3)
                xp.subtract(m_t, h[t], out=part)
                part *= f_t
                xp.add(part, h[t], out=h[t + 1])  # (4), as h + f (m - h)

        tape = {"x": x, "f": f, "q": q, "m": m, "h": h[1:], "h_prev": h[:-1]}
        return h[1:], {"h": h[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time.

        What dh_t and dq are multiplied with is known before the loop: it is
        computed for a span of steps at a time, most of it where the adjoints
        will be. Weights wait until after the loop.
        """
        xp, dstate = check_backward(self, tape, dy, dstate)
        x, h_prev = tape["x"], tape["h_prev"]
        f, m = tape["f"], tape["m"]
        n_time, n_batch, n_hid = f.shape
        W_hf_T, W_hm_T = (
            xp.ascontiguousarray(params[f"W_h{k}"].T) for k in "fm"
        )

        da_f, da_m = xp.empty((2, *f.shape), x.dtype)
        dh = dstate["h"]
        dq, part = xp.empty((2, *dh.shape), dh.dtype)
        for start, stop in spans(n_time, n_batch * n_hid):
            s = slice(start, stop)
            xp.multiply(f[s], d_tanh(m[s]), out=da_m[s])  # (4') (3')
            d_f = d_sigmoid(f[s])  # (1')
            xp.multiply(m[s] - h_prev[s], d_f, out=da_f[s])  # (4') (1')
            d_f *= h_prev[s]  # (2') (1')
            keep = 1.0 - f[s]  # (4')
            for t in reversed(range(start, stop)):
                da_ft, da_mt, by_dq = da_f[t], da_m[t], d_f[t - start]
                dh += dy[t]
                da_mt *= dh  # (4') (3')
                xp.dot(da_mt, W_hm_T, out=dq)  # (3')
                da_ft *= dh  # (4') (1')
                by_dq *= dq
                da_ft += by_dq  # (2') (1')
                dh *= keep[t - start]  # (4')
                dq *= f[t]
                dh += dq  # (2')
                xp.dot(da_ft, W_hf_T, out=part)
                dh += part  # (1')

        adjoints = {"a_f": da_f, "a_m": da_m}
        grads: Arrays = {
            "W_hf": flat(h_prev).T @ flat(da_f),  # (1')
            "W_hm": flat(tape["q"]).T @ flat(da_m),  # (3')
        }
        dx = xp.zeros_like(x)
        x_T = with_one(x, xp).T
        for k in "fm":  # (1') (3')
            da_k = flat(adjoints[f"a_{k}"])
            dW_x = x_T @ da_k
            grads[f"W_x{k}"], grads[f"b_{k}"] = dW_x[1:], dW_x[0]
            dx += (da_k @ params[f"W_x{k}"].T).reshape(x.shape)
        return Gradients(grads, dx, {"h": dh}, adjoints)
