"""The Clockwork RNN."""

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
from msref.architectures.clock import Clock
from msref.architectures.holds import Asked, Given
from msref.arrays import Array, Arrays
from msref.functional import d_tanh, flat


@dataclass(frozen=True)
class ClockworkRNN:
    """Clockwork RNN (Koutník, Greff, Gomez & Schmidhuber, ICML 2014).

    A simple recurrent network in modules h^0 .. h^{g-1}, each with half the
    clock rate of the one before. A module is computed at its own ticks, and
    holds in between; it reads itself and the slower ones.

    Equations (i and j are modules; see ``Clock`` for their ticks)
        a^i_t = x_t W^i_xh + sum_{j>=i} h^j_{t-1} W^{ji}_hh + b^i_h    (1)
        h^i_t = f(a^i_t) if i ticks at t, else h^i_{t-1}       (2)
        y_t = h_t                                              (3)

    Adjoints
        dh_t += dy_t                                           (3')
        da^i_t = dh^i_t f'(a^i_t) if i ticks at t, else 0      (2')
        dh^i_{t-1} = 0 if i ticks at t, else dh^i_t            (2')
        dh^j_{t-1} += sum_{i<=j} da^i_t (W^{ji}_hh)^T          (1')
        dx_t = da_t W_xh^T                                     (1')
        dW^i_xh = sum_t x_t^T da^i_t                           (1')
        dW^{ji}_hh = sum_t (h^j_{t-1})^T da^i_t                (1')
        db_h = sum_t da_t                                      (1')

    Arrays
        W_xh (n_in, g n_hid), W_hh (g n_hid, g n_hid), b_h (g n_hid)
        state h (n_batch, g n_hid), fastest module first
        W_hh is stored whole. Where a module would read a faster one, its
        entries are not read, are zero at the start, and have gradient zero.

    Cost
        With ``first`` = 0, two modules tick per step on average, however
        many there are, and what a module gives to the faster ones is
        multiplied out at its ticks alone: about 2 n_in n_hid + 4 n_hid^2
        multiplications per step forwards whatever g is, and twice that
        backwards. Only arrays over all units and steps, such as y and dy,
        grow with g. The tape holds n_time n_batch g n_hid numbers besides x.

    Conventions
        n_hid counts the units of one module; the paper's sizes that do not
        divide evenly are not supported. activation "tanh" is the paper's,
        "linear" the baseline in the code of the MultiScale LMN's authors.
        ``first`` and ``origin`` set the clock; the paper's T_i = 2^{i-1},
        i = 1 .. g, is first = 0.

    Start
        All weights normal with standard deviation 0.1, as in the paper, W_hh
        masked. Whether it draws biases so as well is not known; here it
        does, so that a network without input is not silent (our choice).
    """

    n_in: int
    n_hid: int
    n_modules: int
    activation: str = "tanh"
    first: int = 0
    origin: int = 0

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid)
        if self.activation not in ("tanh", "linear"):
            raise ValueError(
                f"activation is {self.activation!r}, expected 'tanh' or"
                " 'linear'"
            )
        Clock(self.n_modules, self.first, self.origin)  # checks its sizes

    @property
    def clock(self) -> Clock:
        """Which modules tick when."""
        return Clock(self.n_modules, self.first, self.origin)

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n_modules * self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_hh",)

    @property
    def masked(self) -> tuple[str, ...]:
        """Parameters of which some entries are never read."""
        return ("W_hh",) if self.n_modules > 1 else ()

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        return {
            "W_xh": (self.n_in, self.n_out),
            "W_hh": (self.n_out, self.n_out),
            "b_h": (self.n_out,),
        }

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        params = {
            name: (0.1 * rng.standard_normal(shape)).astype(dtype)
            for name, shape in self.shapes().items()
        }
        params["W_hh"] *= self.clock.readers(self.n_hid)
        return params

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {"h": xp.zeros((n_batch, self.n_out), dtype)}

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
        W_hh = xp.where(self.clock.readers(self.n_hid, xp), p["W_hh"], 0.0)
        a = x @ p["W_xh"] + h_prev @ W_hh + p["b_h"]  # (1)
        f_a = xp.tanh(a) if self.activation == "tanh" else a  # (2)
        h = xp.where(self.clock.working(t, self.n_hid, xp), f_a, h_prev)  # (2)
        return {"h": h}, {"a": a, "h": h, "y": h}  # (3)

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
        block, W = self._blocks(), self._readers(params)

        h = xp.empty((n_time + 1, n_batch, self.n_out), x.dtype)
        h[0] = state["h"]
        given = Given(self.clock, W, params["b_h"], h[0], t0, n_time, xp)
        for i, written in enumerate(given.written):
            x_i = flat(x[self.clock.ticks(i, t0)])
            W_xh = xp.ascontiguousarray(params["W_xh"][:, block[i]])
            xp.dot(x_i, W_xh, out=flat(written[1:]))  # (1), all its ticks
        for active in self.clock.schedule(t0, n_time):
            for i in reversed(range(active)):
                h_i = given.slot(i)
                h_i += given.to_itself[i]  # (1)
                if self.activation == "tanh":
                    xp.tanh(h_i, out=h_i)  # (2)
                given.renew(i, h_i)
        given.spread(h[1:])  # (2)

        y = h[1:]  # (3)
        t_all = np.arange(t0, t0 + n_time)
        tape = {"x": x, "h": y, "h_prev": h[:-1], "t": t_all}
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
        block, clock, W_xh = self._blocks(), self.clock, params["W_xh"]
        t0 = int(tape["t"][0])

        da = xp.zeros(h.shape, dy.dtype)
        dh = dstate["h"]
        asked = Asked(clock, self._readers(params), h_prev, t0, xp)
        active = clock.schedule(t0, len(dy))
        for t in reversed(range(len(dy))):
            dh += dy[t]  # (3')
            for i in range(active[t]):
                dh_i, da_i = dh[:, block[i]], da[t][:, block[i]]
                dh_i += asked.sent_back(i, t)  # (1')
                if self.activation == "tanh":
                    xp.multiply(
                        dh_i, d_tanh(h[t][:, block[i]]), out=da_i
                    )  # (2')
                else:
                    da_i[...] = dh_i  # (2')
                dh_i[...] = 0.0  # (2')
                asked.by_itself(i, t, da_i)  # (1')
        for i, back in enumerate(asked.finish()):
            dh[:, block[i]] += back  # (1')

        dx = xp.zeros(x.shape, dy.dtype)
        grads = {k: xp.zeros_like(v) for k, v in params.items()}
        for i in range(self.n_modules):
            grads["W_hh"][block[i], : block[i].stop] = asked.dW[i]  # (1')
            ticks = clock.ticks(i, t0)
            written = da[ticks, :, block[i]]
            dx[ticks] += written @ W_xh[:, block[i]].T  # (1')
            dW_i = flat(x[ticks]).T @ flat(written)
            grads["W_xh"][:, block[i]] = dW_i  # (1')
            grads["b_h"][block[i]] = flat(written).sum(0)  # (1')
        return Gradients(
            params=grads, x=dx, state={"h": dh}, adjoints={"a": da}
        )

    def _blocks(self) -> list[slice]:
        """Return where each module's units are."""
        n = self.n_hid
        return [slice(i * n, (i + 1) * n) for i in range(self.n_modules)]

    def _readers(self, params: Arrays) -> list[Array]:
        """Return, for each module, its weights to modules 0 .. i."""
        W_hh = params["W_hh"]
        return [W_hh[block, : block.stop] for block in self._blocks()]
