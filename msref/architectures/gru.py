"""Gated recurrent unit, in both of its dialects."""

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
class GRU:
    """Gated recurrent unit (Cho et al., 2014).

    Equations (s is the logistic function)
        a_r = x_t W_xr + h_{t-1} W_hr + b_r,   r = s(a_r)              (1)
        a_z = x_t W_xz + h_{t-1} W_hz + b_z,   z = s(a_z)              (2)
      reset after:
        a_hn = h_{t-1} W_hn + b_hn                                     (3)
        a_n = x_t W_xn + b_n + r * a_hn,       n = tanh(a_n)           (4)
      reset before:
        q = r * h_{t-1}                                                (5)
        a_n = x_t W_xn + q W_hn + b_n,         n = tanh(a_n)           (6)
      both:
        h_t = (1 - z) * n + z * h_{t-1},       y_t = h_t               (7)

    Adjoints (dh_t includes dy_t)
        dn = dh_t (1-z),  dz = dh_t (h_{t-1} - n),  dh_{t-1} = dh_t z  (7')
      reset after:
        da_n = dn (1-n^2),   dr = da_n a_hn,   da_hn = da_n r          (4')
        dh_{t-1} += da_hn W_hn^T,   dW_hn = sum_t h_{t-1}^T da_hn      (3')
      reset before:
        da_n = dn (1-n^2),   dq = da_n W_hn^T, dW_hn = sum_t q^T da_n  (6')
        dr = dq h_{t-1},     dh_{t-1} += dq r                          (5')
      both:
        da_z = dz z (1-z),   dh_{t-1} += da_z W_hz^T                   (2')
        da_r = dr r (1-r),   dh_{t-1} += da_r W_hr^T                   (1')
        dx_t = sum_k da_k W_xk^T,  dW_xk = sum_t x_t^T da_k,
        db_k = sum_t da_k   for k in r, z, n                (1') (2') (4')

    Arrays
        W_xr W_xz W_xn (n_in, n_hid), W_hr W_hz W_hn (n_hid, n_hid),
        b_r b_z b_n (n_hid), with reset after also b_hn (n_hid)
        state h (n_batch, n_hid)

    Cost
        forward 3 n_time n_batch n_hid (n_in + n_hid) multiplications,
        backward twice that; the tape holds 5 n_time n_batch n_hid numbers
        besides x.

    Conventions
        z keeps the old state, as in PyTorch, Keras and ONNX; where z writes
        (Haiku), negate W_xz, W_hz, b_z. The two resets come from two versions
        of the paper and are different functions: after is PyTorch, cuDNN and
        Keras, before is Haiku and the default of ONNX. b_hn cannot be folded
        into b_n, since r multiplies it.

    Start
        W_x* Glorot-uniform, W_h* orthogonal, both per gate; biases zero.

        With chrono = T, the longest dependency expected (Tallec & Ollivier,
        2018), b_z = log v with v uniform in 1 .. T - 1, and the rest as
        before: at x = 0, with z = v / (v + 1), a state falls to 1/e in about
        v + 1/2 steps if n is zero. The sign is that of a z which keeps; where
        z writes, it is -log v. The paper's rule for b_r is not known to us.

    Raises
        ValueError: another reset, or chrono below 2.
    """

    n_in: int
    n_hid: int
    reset: str = "after"
    chrono: int | None = None

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)
        if self.chrono is not None:
            check_sizes(chrono=self.chrono)
            if self.chrono < 2:
                raise ValueError("chrono is 1, expected at least 2")
        if self.reset not in ("after", "before"):
            raise ValueError(
                f"reset is {self.reset!r}, expected 'after' or 'before'"
            )

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_hr", "W_hz", "W_hn")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        x, h = (self.n_in, self.n_hid), (self.n_hid, self.n_hid)
        biases = ["b_r", "b_z", "b_n"]
        if self.reset == "after":
            biases.append("b_hn")
        return (
            {f"W_x{k}": x for k in "rzn"}
            | {f"W_h{k}": h for k in "rzn"}
            | dict.fromkeys(biases, (self.n_hid,))
        )

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        n, m = self.n_in, self.n_hid
        params = {f"W_x{k}": glorot_uniform(rng, (n, m), dtype) for k in "rzn"}
        params |= {f"W_h{k}": orthogonal(rng, m, dtype) for k in "rzn"}
        biases = [name for name in self.shapes() if name.startswith("b_")]
        params |= {name: np.zeros(m, dtype) for name in biases}
        if self.chrono is not None:
            drawn = rng.uniform(1.0, self.chrono - 1.0, m)
            params["b_z"] = np.log(drawn).astype(dtype)
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
        a_r = x @ p["W_xr"] + h_prev @ p["W_hr"] + p["b_r"]  # (1)
        r = sigmoid(a_r, xp)  # (1)
        a_z = x @ p["W_xz"] + h_prev @ p["W_hz"] + p["b_z"]  # (2)
        z = sigmoid(a_z, xp)  # (2)
        if self.reset == "after":
            a_hn = h_prev @ p["W_hn"] + p["b_hn"]  # (3)
            a_n = x @ p["W_xn"] + p["b_n"] + r * a_hn  # (4)
            trace = {"a_hn": a_hn}
        else:
            q = r * h_prev  # (5)
            a_n = x @ p["W_xn"] + q @ p["W_hn"] + p["b_n"]  # (6)
            trace = {"q": q}
        n = xp.tanh(a_n)  # (4) (6)
        h = (1.0 - z) * n + z * h_prev  # (7)
        trace |= {"a_r": a_r, "a_z": a_z, "a_n": a_n}
        trace |= {"r": r, "z": z, "n": n, "h": h, "y": h}
        return {"h": h}, trace

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence.

        A row is (h_{t-1}, 1, x_t), so one product per step holds all of (1)
        and (2); what n gets from x is one product for all steps. Gates stand
        on the leading axis: each is contiguous at every step.
        """
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, n_in = x.shape
        n_hid, after = self.n_hid, self.reset == "after"
        step = n_batch, n_hid
        W_rz = joined(params, "rz", xp)
        W_rz *= -1.0  # s(a) = 1 / (1 + exp(-a)): the sign is in the weights
        W_hn = params["W_hn"]
        W_xn = xp.concatenate([params["b_n"][None], params["W_xn"]])

        gates = xp.empty((3, n_time, *step), x.dtype)
        r, z, n = gates  # the gates overwrite their pre-activations
        u = xp.empty_like(n)
        h = xp.empty((n_time + 1, *step), x.dtype)
        h[0] = state["h"]
        xp.dot(with_one(x, xp), W_xn, out=flat(n))  # (4) (6), all steps
        row = xp.ones((n_batch, n_hid + 1 + n_in), x.dtype)
        part = xp.empty(step, x.dtype)
        with np.errstate(over="ignore"):
            for t in range(n_time):
                u_t, n_t = u[t], n[t]  # u is a_hn or q, by dialect
                row[:, :n_hid], row[:, n_hid + 1 :] = h[t], x[t]
                xp.matmul(row, W_rz, out=gates[:2, t])  # (1) (2)
                sigmoid_of_minus(gates[:2, t], xp)  # (1) (2)
                if after:
                    xp.dot(h[t], W_hn, out=u_t)  # (3)
                    u_t += params["b_hn"]  # (3)
                    xp.multiply(r[t], u_t, out=part)  # (4)
                else:
                    xp.multiply(r[t], h[t], out=u_t)  # (5)
                    xp.dot(u_t, W_hn, out=part)  # (6)
                n_t += part  # (4) (6)
                tanh_into(n_t, n_t, xp)  # (4) (6)
                xp.subtract(h[t], n_t, out=part)
                part *= z[t]
                xp.add(part, n_t, out=h[t + 1])  # (7), as n + z (h - n)

        tape = {"x": x, "r": r, "z": z, "n": n, ("a_hn" if after else "q"): u}
        tape |= {"h": h[1:], "h_prev": h[:-1]}
        return h[1:], {"h": h[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time.

        What dh_t, or dq, is multiplied with is known before the loop: ``da``
        holds it, written for a span of steps at a time, until the loop
        multiplies. Weights wait until after the loop.
        """
        xp, dstate = check_backward(self, tape, dy, dstate)
        x, h_prev = tape["x"], tape["h_prev"]
        r, z, n = (tape[k] for k in "rzn")
        n_time, n_batch, n_hid = r.shape
        after = self.reset == "after"
        of_h = "rzn" if after else "rz"  # those that read h_{t-1} itself
        W_h_T = xp.stack([params[f"W_h{k}"].T for k in of_h])
        W_hn_T = xp.ascontiguousarray(params["W_hn"].T)

        # r, z, then a_hn where there is one, n: readers of h_{t-1} first
        n_gates = len(of_h)
        da = xp.empty((n_gates + 1, *r.shape), x.dtype)
        da_r, da_z, da_hn, da_n = da[0], da[1], da[n_gates - 1], da[n_gates]
        dh = dstate["h"]
        dq = xp.empty_like(dh)
        back = xp.empty((n_gates, *dh.shape), dh.dtype)
        for start, stop in spans(n_time, n_batch * n_hid):
            s = slice(start, stop)
            xp.multiply(1.0 - z[s], d_tanh(n[s]), out=da_n[s])  # (7') (4') (6')
            dh_by_z = h_prev[s] - n[s]  # (7')
            xp.multiply(dh_by_z, d_sigmoid(z[s]), out=da_z[s])  # (7') (2')
            if after:
                xp.multiply(da_n[s], r[s], out=da_hn[s])  # (4')
                dr = da_n[s] * tape["a_hn"][s]  # (4')
                xp.multiply(dr, d_sigmoid(r[s]), out=da_r[s])  # (1')
            else:
                xp.multiply(h_prev[s], d_sigmoid(r[s]), out=da_r[s])  # (5')
            for t in reversed(range(start, stop)):
                from_dh = da[0 if after else 1 :, t]
                dh += dy[t]
                from_dh *= dh  # all of the above; reset before: all but (5')
                dh *= z[t]  # (7')
                if not after:
                    xp.dot(da_n[t], W_hn_T, out=dq)  # (6')
                    da_rt = da_r[t]
                    da_rt *= dq  # (5') (1')
                    dq *= r[t]
                    dh += dq  # (5')
                xp.matmul(da[:n_gates, t], W_h_T, out=back)
                for back_k in back:
                    dh += back_k  # (1') (2') (3')

        by_gate = da.reshape(n_gates + 1, -1, n_hid)
        dW_h = xp.matmul(flat(h_prev).T, by_gate[:n_gates])  # (1') (2') (3')
        dx = xp.zeros_like(x)
        grads = dict(zip((f"W_h{k}" for k in of_h), dW_h, strict=True))
        adjoints = {"a_r": da_r, "a_z": da_z, "a_n": da_n}
        x_T = with_one(x, xp).T
        for k in "rzn":  # (1') (2') (4') (6')
            da_k = flat(adjoints[f"a_{k}"])
            dW_x = x_T @ da_k
            grads[f"W_x{k}"], grads[f"b_{k}"] = dW_x[1:], dW_x[0]
            dx += (da_k @ params[f"W_x{k}"].T).reshape(x.shape)
        if after:
            grads["b_hn"] = flat(da_hn).sum(0)  # (3')
            adjoints["a_hn"] = da_hn
        else:
            grads["W_hn"] = flat(tape["q"]).T @ flat(da_n)  # (6')
        return Gradients(grads, dx, {"h": dh}, adjoints)
