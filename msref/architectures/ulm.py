"""The unrolled network: a memory of the last hidden vectors, verbatim."""

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
from msref.functional import d_tanh, flat, glorot_normal


@dataclass(frozen=True)
class ULM:
    """Unrolled network that a Linear Memory Network is pre-trained with.

    The LMN of Bacciu, Carta & Sperduti (2019), whose memory m is replaced by
    a window w onto the last hidden vectors. Nothing has to be learned about
    remembering, so it trains more easily; ``msref.pretraining`` turns it into
    an LMN that computes the same.

    Equations
        a_t = x_t W_xh + w_{t-1} W_wh + b_h        (1)
        h_t = tanh(a_t)                            (2)
        y_t = [h_t, w_{t-1}]                       (3)
        w_t = y_t without its last n_hid units     (4)

    that is, y_t = [h_t, h_{t-1}, …, h_{t-k+1}] with k = n_window, newest
    first, and w_t the same without the oldest.

    Adjoints
        dy_t += [dw_t, 0]                          (4')
        dh_t, dw_{t-1} = dy_t                      (3')
        da_t = dh_t (1 - h_t^2)                    (2')
        dw_{t-1} += da_t W_wh^T                    (1')
        dx_t = da_t W_xh^T                         (1')
        dW_xh = sum_t x_t^T da_t                   (1')
        dW_wh = sum_t w_{t-1}^T da_t               (1')
        db_h = sum_t da_t                          (1')

    Arrays
        W_xh (n_in, n_hid), b_h (n_hid),
        W_wh ((n_window - 1) n_hid, n_hid) = [W_1; …; W_{k-1}], W_j reading
        h_{t-j}
        state w (n_batch, (n_window - 1) n_hid)

    Cost
        forward n_time n_batch n_hid (n_in + (n_window - 1) n_hid)
        multiplications, backward twice that; the tape holds
        n_time n_batch n_window n_hid numbers besides x.

    Conventions
        A linear read-out of y, (n_window n_hid, n_out) = [V_0; …; V_{k-1}],
        is the sum_j h_{t-j} V_j of the authors' code. That code (of 2018 and
        2019; the last version does not run) lets no gradient into the oldest
        vector of w. Here the gradient is that of the equations (our choice):
        what is left without a part of it is the derivative of no function,
        so nothing could witness it. The authors' tanh was a SeLU in 2019.
        The k of their experiments is not known to us.

    Start
        All matrices Glorot-normal with gain 0.9 and b_h zero, like our LMN
        (our choice; theirs for this network is not known to us).

    Raises
        ValueError: n_window below 2; with 1 nothing would be remembered.
    """

    n_in: int
    n_hid: int
    n_window: int

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)
        if self.n_window < 2:
            raise ValueError(
                f"n_window is {self.n_window}, expected at least 2: a window"
                " of h_t alone makes a feed-forward network"
            )

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_window * self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_wh",)

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        return {
            "W_xh": (self.n_in, self.n_hid),
            "W_wh": (self.n_out - self.n_hid, self.n_hid),
            "b_h": (self.n_hid,),
        }

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        n, w, h = self.n_in, self.n_out - self.n_hid, self.n_hid
        return {
            "W_xh": glorot_normal(rng, (n, h), dtype, gain=0.9),
            "W_wh": glorot_normal(rng, (w, h), dtype, gain=0.9),
            "b_h": np.zeros(h, dtype),
        }

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {"w": xp.zeros((n_batch, self.n_out - self.n_hid), dtype)}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        p, w_prev = params, state["w"]
        a = x @ p["W_xh"] + w_prev @ p["W_wh"] + p["b_h"]  # (1)
        h = xp.tanh(a)  # (2)
        y = xp.concatenate([h, w_prev], axis=-1)  # (3)
        w = y[:, : -self.n_hid]  # (4)
        return {"w": w}, {"a": a, "h": h, "w": w, "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence; h and w are views of y."""
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, _ = x.shape
        W_wh = params["W_wh"]

        y = xp.zeros((n_time + 1, n_batch, self.n_out), x.dtype)
        h, w = y[..., : self.n_hid], y[..., : -self.n_hid]  # (4)
        w[0] = state["w"]
        a = flat(x) @ params["W_xh"] + params["b_h"]  # (1), all steps
        a = a.reshape(n_time, n_batch, self.n_hid)
        for t in range(n_time):
            a[t] += w[t] @ W_wh  # (1)
            xp.tanh(a[t], out=h[t + 1])  # (2)
            y[t + 1, :, self.n_hid :] = w[t]  # (3)

        tape = {"x": x, "h": h[1:], "w": w[1:], "w_prev": w[:-1]}
        return y[1:], {"w": w[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time."""
        _, dstate = check_backward(self, tape, dy, dstate)
        x, h, w_prev = tape["x"], tape["h"], tape["w_prev"]
        W_wh_T = params["W_wh"].T

        da = d_tanh(h)  # (2'), all steps
        dw = dstate["w"]
        for t in reversed(range(len(dy))):
            dy_t = dy[t].copy()
            dy_t[:, : -self.n_hid] += dw  # (4')
            dh, dw = dy_t[:, : self.n_hid], dy_t[:, self.n_hid :]  # (3')
            da[t] *= dh  # (2')
            dw += da[t] @ W_wh_T  # (1')

        return Gradients(
            params={
                "W_xh": flat(x).T @ flat(da),  # (1')
                "W_wh": flat(w_prev).T @ flat(da),  # (1')
                "b_h": flat(da).sum(0),  # (1')
            },
            x=da @ params["W_xh"].T,  # (1')
            state={"w": dw},
            adjoints={"a": da},
        )
