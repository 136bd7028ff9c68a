"""Long short-term memory."""

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
    orthogonal,
    sigmoid,
    sigmoid_of_minus,
    spans,
    tanh_into,
    with_one,
)


@dataclass(frozen=True)
class LSTM:
    """LSTM with forget gate (Gers, Schmidhuber & Cummins, 2000).

    Equations (s is the logistic function)
        a_k = x_t W_xk + h_{t-1} W_hk + b_k   for k in i, f, g, o      (1)
        i = s(a_i),  f = s(a_f),  g = tanh(a_g),  o = s(a_o)           (2)
        c_t = f * c_{t-1} + i * g                                      (3)
        h_t = o * tanh(c_t),   y_t = h_t                               (4)

    Adjoints
        do = (dy_t + dh_t) * tanh(c_t)                                 (4')
        dc_t += (dy_t + dh_t) * o * (1 - tanh(c_t)^2)                  (4')
        di = dc_t * g,  df = dc_t * c_{t-1},  dg = dc_t * i            (3')
        dc_{t-1} = dc_t * f                                            (3')
        da_i = di i (1-i),  da_f = df f (1-f),
        da_g = dg (1-g^2),  da_o = do o (1-o)                          (2')
        dh_{t-1} = sum_k da_k W_hk^T,   dx_t = sum_k da_k W_xk^T       (1')
        dW_xk = sum_t x_t^T da_k,  dW_hk = sum_t h_{t-1}^T da_k,
        db_k = sum_t da_k                                              (1')

    Arrays
        W_xi W_xf W_xg W_xo (n_in, n_hid), W_hi W_hf W_hg W_ho
        (n_hid, n_hid), b_i b_f b_g b_o (n_hid)
        state h, c (n_batch, n_hid)

    Cost
        forward 4 n_time n_batch n_hid (n_in + n_hid) multiplications,
        backward twice that; the tape holds 7 n_time n_batch n_hid numbers
        besides x.

    Conventions
        Gates have names and no order. One bias per gate: add the two of
        PyTorch, ONNX and cuDNN. g is called c in Keras and ONNX. No
        peepholes. The forget bias is stored, never added while running.

    Start
        W_x* Glorot-uniform per gate, W_h* orthogonal per gate, biases zero
        but b_f = 1: the rules of Keras, which applies them to the fused
        matrices instead, with another range.

        With chrono = T, the longest dependency expected (Tallec & Ollivier,
        2018), the weights are the same, and the biases
            b_f = log v,   v uniform in 1 .. T - 1,   b_i = -b_f,
        the others zero. At x = 0 and h = 0 a step keeps v / (v + 1) of c,
        which falls to 1/e in about v + 1/2 steps.

        Where a library has two bias vectors, several public codes draw both:
        b_f = log v_1 + log v_2, so the times are *products* of two draws.
        For T = 600 the median unit falls to 1/e in 300 steps with one draw,
        and in 67,000 with two. That is the "chrono" which warm-up was
        compared with by its authors; ``double_bias`` makes it, b_i = -b_f
        again. Their weights came from PyTorch's start, not from this one.

    Raises
        ValueError: chrono below 2, or double_bias without it.
    """

    n_in: int
    n_hid: int
    chrono: int | None = None
    double_bias: bool = False

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)
        if self.chrono is not None:
            check_sizes(chrono=self.chrono)
            if self.chrono < 2:
                raise ValueError("chrono is 1, expected at least 2")
        elif self.double_bias:
            raise ValueError("double_bias needs chrono, got chrono None")

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_hi", "W_hf", "W_hg", "W_ho")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        x, h = (self.n_in, self.n_hid), (self.n_hid, self.n_hid)
        return (
            {f"W_x{k}": x for k in "ifgo"}
            | {f"W_h{k}": h for k in "ifgo"}
            | {f"b_{k}": (self.n_hid,) for k in "ifgo"}
        )

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        n, m = self.n_in, self.n_hid
        params = {f"W_x{k}": glorot_uniform(rng, (n, m), dtype) for k in "ifgo"}
        params |= {f"W_h{k}": orthogonal(rng, m, dtype) for k in "ifgo"}
        params |= {f"b_{k}": np.zeros(m, dtype) for k in "ifgo"}
        if self.chrono is None:
            params["b_f"] += 1.0
            return params
        drawn = rng.uniform(1.0, self.chrono - 1.0, (1 + self.double_bias, m))
        b_f = np.log(drawn).sum(0)
        return params | {"b_i": -b_f.astype(dtype), "b_f": b_f.astype(dtype)}

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {k: xp.zeros((n_batch, self.n_hid), dtype) for k in "hc"}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        p, h_prev, c_prev = params, state["h"], state["c"]
        a_i = x @ p["W_xi"] + h_prev @ p["W_hi"] + p["b_i"]  # (1)
        a_f = x @ p["W_xf"] + h_prev @ p["W_hf"] + p["b_f"]  # (1)
        a_g = x @ p["W_xg"] + h_prev @ p["W_hg"] + p["b_g"]  # (1)
        a_o = x @ p["W_xo"] + h_prev @ p["W_ho"] + p["b_o"]  # (1)
        i, f, o = sigmoid(a_i, xp), sigmoid(a_f, xp), sigmoid(a_o, xp)  # (2)
        g = xp.tanh(a_g)  # (2)
        c = f * c_prev + i * g  # (3)
        h = o * xp.tanh(c)  # (4)
        trace = {"a_i": a_i, "a_f": a_f, "a_g": a_g, "a_o": a_o}
        trace |= {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h, "y": h}
        return {"h": h, "c": c}, trace

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence.

        A row of z is (h_{t-1}, 1, x_t), so one product per step holds all of
        (1). Gates stand on the leading axis: each is contiguous at every
        step, and the three logistic ones share their calls.
        """
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, n_in = x.shape
        step = n_batch, self.n_hid
        W = joined(params, "ifog", xp)
        W[:3] *= -1.0  # s(a) = 1 / (1 + exp(-a)): the sign is in the weights

        a = xp.empty((4, n_time, *step), x.dtype)
        i, f, o, g = a  # the gates overwrite their pre-activations
        h = xp.empty((n_time + 1, *step), x.dtype)
        c, tanh_c = xp.empty_like(h), xp.empty_like(i)
        h[0], c[0] = state["h"], state["c"]
        z = xp.ones((n_batch, self.n_hid + 1 + n_in), x.dtype)
        written = xp.empty(step, x.dtype)
        with np.errstate(over="ignore"):
            for t in range(n_time):
                g_t, c_t = g[t], c[t + 1]
                z[:, : self.n_hid], z[:, self.n_hid + 1 :] = h[t], x[t]
                xp.matmul(z, W, out=a[:, t])  # (1)
                sigmoid_of_minus(a[:3, t], xp)  # (2)
                tanh_into(g_t, g_t, xp)  # (2)
                xp.multiply(f[t], c[t], out=c_t)  # (3)
                xp.multiply(i[t], g_t, out=written)  # (3)
                c_t += written  # (3)
                tanh_into(c_t, tanh_c[t], xp)  # (4)
                xp.multiply(o[t], tanh_c[t], out=h[t + 1])  # (4)

        tape = {"x": x, "i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c}
        tape |= {"h": h[1:], "h_prev": h[:-1], "c": c[1:], "c_prev": c[:-1]}
        return h[1:], {"h": h[-1].copy(), "c": c[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time.

        Everything that dh_t and dc_t are multiplied with is known before the
        loop: ``da`` holds it, written for a span of steps at a time, until
        the loop multiplies. Weights wait until after the loop.
        """
        xp, dstate = check_backward(self, tape, dy, dstate)
        x, h_prev, c_prev = tape["x"], tape["h_prev"], tape["c_prev"]
        i, f, g, o = (tape[k] for k in "ifgo")
        tanh_c = tape["tanh_c"]
        n_time, n_batch, n_hid = i.shape
        W_h_T = xp.stack([params[f"W_h{k}"].T for k in "ifgo"])

        da = xp.empty((4, *i.shape), x.dtype)
        da_i, da_f, da_g, da_o = da
        dh, dc = dstate["h"], dstate["c"]
        back = xp.empty((4, *dh.shape), dh.dtype)
        for start, stop in spans(n_time, n_batch * n_hid):
            s = slice(start, stop)
            dc_by_dh = o[s] * d_tanh(tanh_c[s])  # (4')
            xp.multiply(tanh_c[s], d_sigmoid(o[s]), out=da_o[s])  # (4') (2')
            xp.multiply(i[s], d_tanh(g[s]), out=da_g[s])  # (3') (2')
            xp.multiply(c_prev[s], d_sigmoid(f[s]), out=da_f[s])  # (3') (2')
            xp.multiply(g[s], d_sigmoid(i[s]), out=da_i[s])  # (3') (2')
            for t in reversed(range(start, stop)):
                da_ifg, da_ot, dc_t = da[:3, t], da_o[t], dc_by_dh[t - start]
                dh += dy[t]
                da_ot *= dh  # (4') (2')
                dc_t *= dh
                dc += dc_t  # (4')
                da_ifg *= dc  # (3') (2')
                dc *= f[t]  # (3')
                xp.matmul(da[:, t], W_h_T, out=back)  # (1')
                xp.add(back[0], back[1], out=dh)  # (1')
                dh += back[2]
                dh += back[3]

        dW_h = xp.matmul(flat(h_prev).T, da.reshape(4, -1, n_hid))  # (1')
        dW_x = xp.matmul(with_one(x, xp).T, da.reshape(4, -1, n_hid))  # (1')
        dx = xp.zeros_like(x)
        grads, adjoints = {}, {}
        for k, da_k, dW_hk, dW_xk in zip("ifgo", da, dW_h, dW_x, strict=True):
            dx += (flat(da_k) @ params[f"W_x{k}"].T).reshape(x.shape)  # (1')
            grads[f"W_x{k}"], grads[f"b_{k}"] = dW_xk[1:], dW_xk[0]
            grads[f"W_h{k}"] = dW_hk
            adjoints[f"a_{k}"] = da_k
        return Gradients(grads, dx, {"h": dh, "c": dc}, adjoints)
