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
    sigmoid_of_minus,
    spans,
    tanh_into,
    with_one,
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
        before an element-wise loop, backward twice that. What comes back
        through a step is dh_t times a number per unit, J_t: these are computed
        for many steps at once, and the loop backwards is two operations. The
        tape holds 4 n_time n_batch n_hid numbers besides x.

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
        # One product serves all steps and biases; -1, which s(u) wants in
        # front of u, is in the weights of c.
        gates = xp.empty((3, n_time, n_batch, self.n_hid), x.dtype)
        xp.matmul(
            with_one(x, xp),
            self._input_maps(params, xp),
            out=gates.reshape(3, -1, self.n_hid),
        )  # (1) (2) (3), all steps
        c, a, m = gates
        w = xp.stack([-params["w_hc"], params["w_ha"]])
        # tiled: a vector would be spread over the batch at every step
        w = xp.tile(w[:, None], (1, n_batch, 1))
        h = xp.empty((n_time + 1, n_batch, self.n_hid), x.dtype)
        h[0] = state["h"]
        fed_back = xp.empty((2, n_batch, self.n_hid), x.dtype)
        part = fed_back[0]
        with np.errstate(over="ignore"):
            for t in range(n_time):
                c_t, a_t, m_t, h_prev = c[t], a[t], m[t], h[t]
                xp.multiply(w, h_prev, out=fed_back)
                gates[:2, t] += fed_back  # (1) (2)
                sigmoid_of_minus(c_t, xp)  # (1)
                # not 2 s(2 a_a), which is faster: near a = 0 that is right to
                # more digits than 1 + tanh, and so is not what (2) gives
                xp.tanh(a_t, out=a_t)  # (2)
                a_t += 1.0  # (2)
                xp.multiply(a_t, h_prev, out=part)
                m_t += part  # (3)
                tanh_into(m_t, m_t, xp)  # (3)
                xp.subtract(h_prev, m_t, out=part)
                part *= c_t
                xp.add(m_t, part, out=h[t + 1])  # (4), m + c (h - m)

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

        # Every adjoint is dh_t times a factor of the tape: the factors are
        # made for many steps at once, and what is left for the loop is
        # element-wise, dh_{t-1} = J_t dh_t + dy_{t-1}, in two calls.
        da = xp.empty((3, *c.shape), c.dtype)
        da_c, da_a, da_m = da
        # tiled: a vector would be spread over the batch at every step
        w_hc, w_ha = (
            xp.tile(p[k], (len(dstate["h"]), 1)) for k in ("w_hc", "w_ha")
        )
        dh = dstate["h"]
        for start, stop in spans(len(dy), dh.size):
            s = slice(start, stop)
            c_s, a_s, m_s, h_s = c[s], a[s], m[s], h_prev[s]
            to_c, to_a, to_m = da[:, s]
            xp.multiply(1.0 - c_s, d_tanh(m_s), out=to_m)  # (4') (3')
            xp.multiply(to_m, h_s * a_s * (2.0 - a_s), out=to_a)  # (3') (2')
            xp.multiply(h_s - m_s, d_sigmoid(c_s), out=to_c)  # (4') (1')
            J = c_s + to_m * a_s  # (4') (3')
            J += to_a * w_ha  # (2')
            J += to_c * w_hc  # (1')
            dh_s = xp.empty_like(J)
            for t in reversed(range(stop - start)):
                xp.add(dh, dy[start + t], out=dh_s[t])
                xp.multiply(dh_s[t], J[t], out=dh)
            da[:, s] *= dh_s  # (4') (3') (2') (1')

        adjoints = {"a_c": da_c, "a_a": da_a, "a_m": da_m}
        grads: Arrays = {
            "w_hc": xp.einsum("ij,ij->j", flat(da_c), flat(h_prev)),  # (1')
            "w_ha": xp.einsum("ij,ij->j", flat(da_a), flat(h_prev)),  # (2')
        }
        x_1, dx = with_one(x, xp), xp.zeros_like(flat(x))
        for k in "cam":  # (1') (2') (3')
            da_k = flat(adjoints[f"a_{k}"])
            grad = x_1.T @ da_k
            grads[f"W_x{k}"] = grad[1:]
            if f"b_{k}" in p:
                grads[f"b_{k}"] = grad[0]
            dx += da_k @ p[f"W_x{k}"].T
        return Gradients(
            params=grads,
            x=dx.reshape(x.shape),
            state={"h": dh},
            adjoints=adjoints,
        )

    def _input_maps(self, params: Arrays, xp: ModuleType) -> Array:
        """Return b_k above W_xk for k in c, a, m; for c times -1."""
        shape = 3, 1 + self.n_in, self.n_hid
        W: Array = xp.zeros(shape, params["W_xc"].dtype)
        for k, scale, W_k in zip("cam", (-1.0, 1.0, 1.0), W, strict=True):
            xp.multiply(params[f"W_x{k}"], scale, out=W_k[1:])
            if f"b_{k}" in params:
                xp.multiply(params[f"b_{k}"], scale, out=W_k[0])
        return W
