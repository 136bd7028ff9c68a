"""The Linear Memory Network."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    Gradients,
    Shapes,
    check_backward,
    check_detached,
    check_forward,
    check_sizes,
)
from msref.arrays import Array, Arrays
from msref.functional import flat, glorot_normal, tanh_into


@dataclass(frozen=True)
class LMN:
    """Linear Memory Network (Bacciu, Carta & Sperduti, ICANN 2019).

    A functional component h computes, a linear memory m remembers; neither
    does the other's work.

    Equations
        a_t = x_t W_xh + m_{t-1} W_mh + b_h        (1)
        h_t = tanh(a_t)                            (2)
        m_t = h_t W_hm + m_{t-1} W_mm + b_m        (3)
        y_t = m_t  or  h_t                         (4)

    Adjoints
        dm_t += dy_t  or  dh_t = dy_t              (4')
        dh_t += dm_t W_hm^T                        (3')
        dm_{t-1} = dm_t W_mm^T                     (3')
        dW_hm = sum_t h_t^T dm_t                   (3')
        dW_mm = sum_t m_{t-1}^T dm_t               (3')
        db_m = sum_t dm_t                          (3')
        da_t = dh_t (1 - h_t^2)                    (2')
        dm_{t-1} += da_t W_mh^T                    (1')
        dx_t = da_t W_xh^T                         (1')
        dW_xh = sum_t x_t^T da_t                   (1')
        dW_mh = sum_t m_{t-1}^T da_t               (1')
        db_h = sum_t da_t                          (1')

    Arrays
        W_xh (n_in, n_hid), W_mh (n_mem, n_hid), b_h (n_hid),
        W_hm (n_hid, n_mem), W_mm (n_mem, n_mem), b_m (n_mem)
        state m (n_batch, n_mem)

    Cost
        forward n_time n_batch (n_in n_hid + 2 n_hid n_mem + n_mem^2)
        multiplications, backward twice that; the tape holds
        n_time n_batch (n_hid + n_mem) numbers besides x.

    Conventions
        output "memory" is the LMN-B of the papers, "hidden" the LMN-A. The
        adjoint called "m" is the whole gradient of m_t, its own
        pre-activation, since the memory is linear.

        ``backward`` takes ``detached``, the steps at which nothing is sent
        back through W_mh into the memory, while W_mh itself still learns:
        p-detach of the authors' code, drawn once per step for the whole
        batch. What it returns then is no gradient of any loss.

    Start
        All matrices Glorot-normal with gain 0.9, as in the authors' code.
        That code leaves both biases at N(0, 1), an oversight which is not
        copied: they start at zero.
    """

    n_in: int
    n_hid: int
    n_mem: int
    output: str = "memory"

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid, n_mem=self.n_mem)
        if self.output not in ("memory", "hidden"):
            raise ValueError(
                f"output is {self.output!r}, expected 'memory' or 'hidden'"
            )

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_mem if self.output == "memory" else self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_mm",)

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        return {
            "W_xh": (self.n_in, self.n_hid),
            "W_mh": (self.n_mem, self.n_hid),
            "b_h": (self.n_hid,),
            "W_hm": (self.n_hid, self.n_mem),
            "W_mm": (self.n_mem, self.n_mem),
            "b_m": (self.n_mem,),
        }

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        n, h, m = self.n_in, self.n_hid, self.n_mem
        return {
            "W_xh": glorot_normal(rng, (n, h), dtype, gain=0.9),
            "W_mh": glorot_normal(rng, (m, h), dtype, gain=0.9),
            "b_h": np.zeros(h, dtype),
            "W_hm": glorot_normal(rng, (h, m), dtype, gain=0.9),
            "W_mm": glorot_normal(rng, (m, m), dtype, gain=0.9),
            "b_m": np.zeros(m, dtype),
        }

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {"m": xp.zeros((n_batch, self.n_mem), dtype)}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        p, m_prev = params, state["m"]
        a = x @ p["W_xh"] + m_prev @ p["W_mh"] + p["b_h"]  # (1)
        h = xp.tanh(a)  # (2)
        m = h @ p["W_hm"] + m_prev @ p["W_mm"] + p["b_m"]  # (3)
        y = m if self.output == "memory" else h  # (4)
        return {"m": m}, {"a": a, "h": h, "m": m, "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence; ``h`` holds a_t until tanh overwrites it."""
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, _ = x.shape
        W_hm, n_hid = params["W_hm"], self.n_hid
        # what the memory gives to h and to itself, in one product
        W_m = xp.concatenate([params["W_mh"], params["W_mm"]], axis=1)
        bias = xp.concatenate([params["b_h"], params["b_m"]])

        h = xp.empty((n_time, n_batch, n_hid), x.dtype)
        xp.dot(flat(x), params["W_xh"], out=flat(h))  # (1), all steps
        m = xp.empty((n_time + 1, n_batch, self.n_mem), x.dtype)
        m[0] = state["m"]
        given = xp.empty((n_batch, n_hid + self.n_mem), x.dtype)
        to_h, to_itself = given[:, :n_hid], given[:, n_hid:]
        with np.errstate(over="ignore"):
            for t in range(n_time):
                h_t, m_t = h[t], m[t + 1]
                xp.dot(m[t], W_m, out=given)
                given += bias
                h_t += to_h  # (1)
                tanh_into(h_t, h_t, xp)  # (2)
                xp.dot(h_t, W_hm, out=m_t)  # (3)
                m_t += to_itself  # (3)

        y = m[1:] if self.output == "memory" else h  # (4)
        tape = {"x": x, "h": h, "m": m[1:], "m_prev": m[:-1]}
        return y, {"m": m[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
        detached: Array | None = None,
    ) -> Gradients:
        """Run back through time.

        Arguments
            detached: (n_time,) of bool, the steps t at which da_t W_mh^T is
                left out of dm_{t-1}; ``None`` for no step.
        """
        xp, dstate = check_backward(self, tape, dy, dstate)
        detached = check_detached(detached, len(dy))
        x, h, m_prev = tape["x"], tape["h"], tape["m_prev"]
        W_hm_T, n_hid = params["W_hm"].T, self.n_hid
        W_m_T = xp.concatenate([params["W_mh"], params["W_mm"]], axis=1).T

        # da_t and dm_t side by side: one product sends both back
        da_dm = xp.empty((*h.shape[:2], n_hid + self.n_mem), h.dtype)
        da, dm = da_dm[..., :n_hid], da_dm[..., n_hid:]
        slope = h * h
        xp.subtract(1.0, slope, out=slope)  # (2'), all steps
        dm_next = dstate["m"]
        for t in reversed(range(len(dy))):
            dm_t = dm[t]  # the whole gradient of m_t
            if self.output == "memory":
                xp.add(dm_next, dy[t], out=dm_t)  # (4')
                dh = xp.dot(dm_t, W_hm_T)  # (3')
            else:
                dm_t[...] = dm_next
                dh = xp.dot(dm_t, W_hm_T)  # (3')
                dh += dy[t]  # (4')
            xp.multiply(slope[t], dh, out=da[t])  # (2')
            if detached is not None and detached[t]:
                dm_next = xp.dot(dm_t, W_m_T[n_hid:])  # (3')
            else:
                dm_next = xp.dot(da_dm[t], W_m_T)  # (3') (1')

        dW_m = flat(m_prev).T @ flat(da_dm)  # (1') (3')
        db = flat(da_dm).sum(0)  # (1') (3')
        da_flat = flat(da_dm)[:, :n_hid]
        return Gradients(
            params={
                "W_xh": flat(x).T @ da_flat,  # (1')
                "W_mh": dW_m[:, :n_hid],  # (1')
                "b_h": db[:n_hid],  # (1')
                "W_hm": flat(h).T @ flat(da_dm)[:, n_hid:],  # (3')
                "W_mm": dW_m[:, n_hid:],  # (3')
                "b_m": db[n_hid:],  # (3')
            },
            x=(da_flat @ params["W_xh"].T).reshape(x.shape),  # (1')
            state={"m": dm_next},
            adjoints={"a": da, "m": dm},
        )
