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
from msref.functional import d_tanh, flat, glorot_normal


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
        W_mh, W_hm, W_mm = params["W_mh"], params["W_hm"], params["W_mm"]

        h = (
            flat(x) @ params["W_xh"] + params["b_h"]
        ).reshape(  # (1), all steps
            n_time, n_batch, self.n_hid
        )
        m = xp.empty((n_time + 1, n_batch, self.n_mem), x.dtype)
        m[0], m[1:] = state["m"], params["b_m"]  # (3)
        for t in range(n_time):
            h[t] += m[t] @ W_mh  # (1)
            xp.tanh(h[t], out=h[t])  # (2)
            m[t + 1] += h[t] @ W_hm  # (3)
            m[t + 1] += m[t] @ W_mm  # (3)

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
        check_detached(detached, len(dy))
        x, h, m_prev = tape["x"], tape["h"], tape["m_prev"]
        W_mh_T, W_hm_T = params["W_mh"].T, params["W_hm"].T
        W_mm_T = params["W_mm"].T

        da = d_tanh(h)  # (2'), all steps
        dm = xp.empty_like(m_prev)  # dm[t] is the whole gradient of m_t
        dm_next = dstate["m"]
        for t in reversed(range(len(dy))):
            if self.output == "memory":
                xp.add(dm_next, dy[t], out=dm[t])  # (4')
                dh = dm[t] @ W_hm_T  # (3')
            else:
                dm[t] = dm_next
                dh = dm[t] @ W_hm_T + dy[t]  # (3') (4')
            da[t] *= dh  # (2')
            dm_next = dm[t] @ W_mm_T  # (3')
            if detached is None or not detached[t]:
                dm_next += da[t] @ W_mh_T  # (1')

        return Gradients(
            params={
                "W_xh": flat(x).T @ flat(da),  # (1')
                "W_mh": flat(m_prev).T @ flat(da),  # (1')
                "b_h": flat(da).sum(0),  # (1')
                "W_hm": flat(h).T @ flat(dm),  # (3')
                "W_mm": flat(m_prev).T @ flat(dm),  # (3')
                "b_m": flat(dm).sum(0),  # (3')
            },
            x=da @ params["W_xh"].T,  # (1')
            state={"m": dm_next},
            adjoints={"a": da, "m": dm},
        )
