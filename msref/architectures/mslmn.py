"""The MultiScale Linear Memory Network."""

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
from msref.architectures.clock import Clock
from msref.architectures.holds import Asked, Given
from msref.arrays import Array, Arrays
from msref.functional import flat, glorot_normal, tanh_into


@dataclass(frozen=True)
class MultiScaleLMN:
    """MultiScale LMN (Carta, Sperduti & Bacciu, ECML-PKDD 2020).

    A Linear Memory Network whose memory has modules m^0 .. m^{g-1}, each with
    half the clock rate of the one before. All of them are read at every
    step; a module is written at its own ticks alone, and holds in between.

    Equations (i and j are modules; see ``Clock`` for their ticks)
        m_{-1} = m_0 + the given state, if there is an m_0     (0)
        a_t = x_t W_xh + m_{t-1} W_mh + b_h                    (1)
        h_t = tanh(a_t)                                        (2)
        a^i_m = h_t W^i_hm + sum_{j>=i} m^j_{t-1} W^{ji}_mm + b^i_m    (3)
        m^i_t = a^i_m if i ticks at t, else m^i_{t-1}          (4)
        y_t = m_t  or  h_t                                     (5)

    Adjoints
        dm_t += dy_t  or  dh_t = dy_t                          (5')
        da^i_m = dm^i_t if i ticks at t, else 0                (4')
        dm^i_{t-1} = 0 if i ticks at t, else dm^i_t            (4')
        dh_t += da_m W_hm^T                                    (3')
        dm^j_{t-1} += sum_{i<=j} da^i_m (W^{ji}_mm)^T          (3')
        dW^i_hm = sum_t h_t^T da^i_m                           (3')
        dW^{ji}_mm = sum_t (m^j_{t-1})^T da^i_m                (3')
        db_m = sum_t da_m                                      (3')
        da_t = dh_t (1 - h_t^2)                                (2')
        dm_{t-1} += da_t W_mh^T                                (1')
        dx_t = da_t W_xh^T                                     (1')
        dW_xh = sum_t x_t^T da_t                               (1')
        dW_mh = sum_t m_{t-1}^T da_t                           (1')
        db_h = sum_t da_t                                      (1')
        dm_0 = sum over the batch of dm_{-1}                   (0')

    Arrays
        W_xh (n_in, n_hid), W_mh (g n_mem, n_hid), b_h (n_hid),
        W_hm (n_hid, g n_mem), W_mm (g n_mem, g n_mem), b_m (g n_mem),
        and m_0 (g n_mem) with learned_start
        state m (n_batch, g n_mem), fastest module first
        W_mm is stored whole. Where a module would read a faster one, its
        entries are not read, are zero at the start, and have gradient zero.

    Cost
        With ``first`` = 0, two modules tick per step on average, however
        many there are. What a module gives to h and to faster modules
        changes at its ticks alone: it is multiplied out there, once, and
        added up with what slower modules give (``holds.Given``). Backwards
        the same sums run the other way (``holds.Asked``). So a step costs about
        n_hid (n_in + 4 n_mem) + 4 n_mem^2 multiplications forwards whatever
        g is, and twice that backwards. Only arrays over all units and steps,
        such as y and dy, grow with g. The tape holds
        n_time n_batch (n_hid + g n_mem) numbers besides x.

    Conventions
        With one module this is the LMN. output "memory" is the default of
        the authors' code, "hidden" its ``alt_mode``. ``first`` and
        ``origin`` set the clock. In that code the learned initial memory
        works with one sequence at a time; here every sequence starts from
        m_0, at t = 0 and nowhere else.

        ``backward`` takes ``detached``, the steps at which nothing is sent
        back through W_mh into the memory, while W_mh itself still learns:
        p-detach of the authors' code, drawn once per step for the whole
        batch. What it returns then is no gradient of any loss.

    Start
        All matrices Glorot-normal with gain 0.9 and W_mm masked; biases and
        m_0 zero. Our choice after the LMN's: the code draws the LMN so, and
        re-draws some experiments' matrices Glorot-uniform.
    """

    n_in: int
    n_hid: int
    n_mem: int
    n_modules: int
    output: str = "memory"
    learned_start: bool = False
    first: int = 0
    origin: int = 0

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_hid=self.n_hid, n_mem=self.n_mem)
        if self.output not in ("memory", "hidden"):
            raise ValueError(
                f"output is {self.output!r}, expected 'memory' or 'hidden'"
            )
        Clock(self.n_modules, self.first, self.origin)  # checks its sizes

    @property
    def clock(self) -> Clock:
        """Which modules tick when."""
        return Clock(self.n_modules, self.first, self.origin)

    @property
    def n_out(self) -> int:
        """Units of the output."""
        memory = self.n_modules * self.n_mem
        return memory if self.output == "memory" else self.n_hid

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_mm",)

    @property
    def masked(self) -> tuple[str, ...]:
        """Parameters of which some entries are never read."""
        return ("W_mm",) if self.n_modules > 1 else ()

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        memory = self.n_modules * self.n_mem
        shapes: Shapes = {
            "W_xh": (self.n_in, self.n_hid),
            "W_mh": (memory, self.n_hid),
            "b_h": (self.n_hid,),
            "W_hm": (self.n_hid, memory),
            "W_mm": (memory, memory),
            "b_m": (memory,),
        }
        return shapes | ({"m_0": (memory,)} if self.learned_start else {})

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        params = {
            name: glorot_normal(rng, shape, dtype, gain=0.9)
            if len(shape) == 2
            else np.zeros(shape, dtype)
            for name, shape in self.shapes().items()
        }
        params["W_mm"] *= self.clock.readers(self.n_mem)
        return params

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {"m": xp.zeros((n_batch, self.n_modules * self.n_mem), dtype)}

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
        W_mm = xp.where(self.clock.readers(self.n_mem, xp), p["W_mm"], 0.0)
        if self.learned_start and t == 0:
            m_prev = m_prev + p["m_0"]  # (0)
        a = x @ p["W_xh"] + m_prev @ p["W_mh"] + p["b_h"]  # (1)
        h = xp.tanh(a)  # (2)
        a_m = h @ p["W_hm"] + m_prev @ W_mm + p["b_m"]  # (3)
        m = xp.where(self.clock.working(t, self.n_mem, xp), a_m, m_prev)  # (4)
        y = m if self.output == "memory" else h  # (5)
        return {"m": m}, {"a": a, "h": h, "a_m": a_m, "m": m, "y": y}

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
        g, n_hid, block = self.n_modules, self.n_hid, self._blocks()
        # copies: the first columns of a matrix are not contiguous, and a small
        # product with them takes longer
        W_hm = [
            xp.ascontiguousarray(params["W_hm"][:, : n * self.n_mem])
            for n in range(g + 1)
        ]
        bias = xp.concatenate([params["b_h"], params["b_m"]])

        h = xp.empty((n_time, n_batch, n_hid), x.dtype)
        xp.dot(flat(x), params["W_xh"], out=flat(h))  # (1), all steps
        m = xp.empty((n_time + 1, n_batch, g * self.n_mem), x.dtype)
        m[0] = state["m"]
        if self.learned_start and t0 == 0:
            m[0] += params["m_0"]  # (0)

        W = self._readers(params, xp)
        given = Given(self.clock, W, bias, m[0], t0, n_time, xp)
        with np.errstate(over="ignore"):
            for t, active in enumerate(self.clock.schedule(t0, n_time)):
                h_t = h[t]
                h_t += given.at_every_step  # (1)
                tanh_into(h_t, h_t, xp)  # (2)
                a_m = xp.dot(h_t, W_hm[active])  # (3)
                for i in reversed(range(active)):
                    m_i = given.slot(i)
                    xp.add(a_m[:, block[i]], given.to_itself[i], out=m_i)  # (3)
                    given.renew(i, m_i)
        given.spread(m[1:])  # (4)

        y = m[1:] if self.output == "memory" else h  # (5)
        t_all = np.arange(t0, t0 + n_time)
        tape = {"x": x, "h": h, "m": m[1:], "m_prev": m[:-1], "t": t_all}
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
        n_hid, block, clock = self.n_hid, self._blocks(), self.clock
        t0 = int(tape["t"][0])
        W_hm_T = xp.ascontiguousarray(params["W_hm"].T)

        da = h * h
        xp.subtract(1.0, da, out=da)  # (2'), all steps
        da_m = xp.zeros(m_prev.shape, dy.dtype)
        dm = dstate["m"]
        # views are made once: in a loop each costs as much as a small sum
        of_module = [dm[:, units] for units in block]
        of_first = [dm[:, : n * self.n_mem] for n in range(self.n_modules + 1)]
        to_first = [W_hm_T[: n * self.n_mem] for n in range(self.n_modules + 1)]
        asked = Asked(clock, self._readers(params, xp), m_prev, t0, xp)
        active = clock.schedule(t0, len(dy))
        for t in reversed(range(len(dy))):
            da_t, dm_t = da[t], of_first[active[t]]
            if self.output == "memory":
                dm += dy[t]  # (5')
            for i, dm_i in enumerate(of_module[: active[t]]):
                dm_i += asked.sent_back(i, t)  # (1') (3')
                asked.by_itself(i, t, dm_i)  # (3')
            da_m[t, :, : dm_t.shape[1]] = dm_t  # (4')
            dh = xp.dot(dm_t, to_first[active[t]])  # (3')
            dm_t[...] = 0.0  # (4')
            if self.output == "hidden":
                dh += dy[t]  # (5')
            da_t *= dh  # (2')
            cut = detached is not None and detached[t]
            asked.by_all(t, 0.0 if cut else da_t)  # (1')
        for dm_i, back in zip(of_module, asked.finish(), strict=True):
            dm_i += back  # (1') (3')

        grads = {
            "W_xh": flat(x).T @ flat(da),  # (1')
            "W_mh": xp.concatenate([w[:, :n_hid] for w in asked.dW]),  # (1')
            "b_h": flat(da).sum(0),  # (1')
            "W_hm": xp.zeros_like(params["W_hm"]),
            "W_mm": xp.zeros_like(params["W_mm"]),
            "b_m": xp.zeros_like(params["b_m"]),
        }
        for i, dW in enumerate(asked.dW):
            grads["W_mm"][block[i], : block[i].stop] = dW[:, n_hid:]  # (3')
            ticks = clock.ticks(i, t0)
            written = flat(da_m[ticks, :, block[i]])
            grads["W_hm"][:, block[i]] = flat(h[ticks]).T @ written  # (3')
            grads["b_m"][block[i]] = written.sum(0)  # (3')
        if detached is not None and detached.any():
            steps = xp.asarray(np.flatnonzero(detached))
            alone = flat(m_prev[steps]).T @ flat(da[steps])
            grads["W_mh"] += alone  # (1')
        if self.learned_start:
            zero = xp.zeros_like(params["m_0"])
            grads["m_0"] = dm.sum(0) if t0 == 0 else zero  # (0')
        return Gradients(
            params=grads,
            x=(flat(da) @ params["W_xh"].T).reshape(x.shape),  # (1')
            state={"m": dm},
            adjoints={"a": da, "a_m": da_m},
        )

    def _blocks(self) -> list[slice]:
        """Return where each module's units are."""
        n = self.n_mem
        return [slice(i * n, (i + 1) * n) for i in range(self.n_modules)]

    def _readers(self, params: Arrays, xp: ModuleType) -> list[Array]:
        """Return, for each module, its weights to h and to modules 0 .. i."""
        W_mh, W_mm = params["W_mh"], params["W_mm"]
        return [
            xp.concatenate([W_mh[block], W_mm[block, : block.stop]], axis=1)
            for block in self._blocks()
        ]
