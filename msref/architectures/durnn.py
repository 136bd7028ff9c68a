"""The dual recurrent network: a short and a long memory side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

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
    ACTIVATIONS,
    d_sigmoid,
    flat,
    glorot_uniform,
    orthogonal,
    sigmoid,
)

SELECTIONS = ("gate", "open", "none")
OUTPUTS = ("both", "long", "short")


@dataclass(frozen=True)
class DuRNN:
    """A dual module after Zhang et al. (Neurocomputing 2021): our equations.

    Of the paper only the abstract is known to us. It fixes the parts: a
    short-term part with full recurrent connections that are constrained, a
    long-term part with independent recurrent connections, a selection
    mechanism between the two, and modules that are stacked. Everything else
    here is our design, not a reproduction: the equations, the gate, what is
    constrained and how, the output, the start. Whoever has the paper finds
    each part in lines of its own, and can put the paper's in their place.

    Equations (s short-term, l long-term)
        a_s = x_t W_xs + s_{t-1} W_ss + b_s                (1)
        s_t = f(a_s)                                       (2)
        a_q = x_t W_xq + s_t W_sq + b_q                    (3)
        q_t = sigmoid(a_q);   q_t = 1 without a gate       (4)
        v_t = x_t W_xv + s_t W_sv + b_v                    (5)
        a_l = q_t * v_t + w_ll * l_{t-1}                   (6)
        l_t = f(a_l)                                       (7)
        y_t = [s_t, l_t],  l_t  or  s_t                    (8)

    Adjoints
        ds_t += dy^s_t,   dl_t += dy^l_t                   (8')
        da_l = dl_t * f'(a_l)                              (7')
        dl_{t-1} = da_l * w_ll,   dw_ll = sum_t da_l * l_{t-1}     (6')
        dv_t = da_l * q_t,   dq_t = da_l * v_t             (6')
        ds_t += dv_t W_sv^T,   dx_t += dv_t W_xv^T         (5')
        dW_xv = sum_t x_t^T dv_t,   dW_sv = sum_t s_t^T dv_t,
            db_v = sum_t dv_t                              (5')
        da_q = dq_t * q_t (1 - q_t)                        (4')
        ds_t += da_q W_sq^T,   dx_t += da_q W_xq^T         (3')
        dW_xq = sum_t x_t^T da_q,   dW_sq = sum_t s_t^T da_q,
            db_q = sum_t da_q                              (3')
        da_s = ds_t * f'(a_s)                              (2')
        ds_{t-1} = da_s W_ss^T,   dx_t += da_s W_xs^T      (1')
        dW_xs = sum_t x_t^T da_s,   dW_ss = sum_t s_{t-1}^T da_s,
            db_s = sum_t da_s                              (1')

    Arrays
        W_xs (n_in, n_short), W_ss (n_short, n_short), b_s (n_short),
        W_xv (n_in, n_long), W_sv (n_short, n_long), b_v (n_long),
        w_ll (n_long), and W_xq, W_sq, b_q like those of v, with a gate
        state s (n_batch, n_short), l (n_batch, n_long)

    Cost
        forward n_time n_batch (n_in (n_short + 2 n_long) + n_short^2 +
        2 n_short n_long) multiplications, backward twice that. Only s needs
        a product per step: gate and candidate of all steps are one product
        after it, and the long part is element-wise. The tape holds
        n_time n_batch (n_short + 3 n_long) numbers besides x.

    Conventions
        selection "gate"; the ablations "open", q = 1, and "none", q = 1 and
        no W_sv: two networks that share an input. f is a ReLU with
        derivative 0 at 0, or tanh. Since |f'| <= 1, the gradient over k
        steps is at most ||W_ss||_2^k in the short part, and along a unit
        |w_ll|^k in the long one: a projection onto the parameters in
        ``constrained`` bounds both (``msref.training.constraints``).

    Start
        W_ss orthogonal times ``short``; w_ll as w_hh in IndRNN: uniform in
        0 .. gamma^(1 / horizon), or with ``reads`` "last" from gamma^(-1 /
        horizon) on, for a network that is read at its last step alone;
        without a horizon up to 1, and ones. The other matrices
        Glorot-uniform; b_q ``gate_bias``, the other biases zero. Over many
        steps, a gate that starts almost closed (-3) keeps the noise of all
        of them out of l.
    """

    n_in: int
    n_short: int
    n_long: int
    activation: str = "relu"
    selection: str = "gate"
    output: str = "both"
    short: float = 0.9
    horizon: int | None = None
    gamma: float = 2.0
    reads: str = "all"
    gate_bias: float = 0.0

    def __post_init__(self) -> None:
        check_sizes(n_in=self.n_in, n_short=self.n_short, n_long=self.n_long)
        if self.horizon is not None:
            check_sizes(horizon=self.horizon)
        for name, allowed in (
            ("activation", ("relu", "tanh")),
            ("selection", SELECTIONS),
            ("output", OUTPUTS),
            ("reads", ("all", "last")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of"
                    f" {allowed}"
                )
        if not 0 < self.short < np.inf:
            raise ValueError(f"short is {self.short}, expected above 0")
        if not 1 <= self.gamma < np.inf:
            raise ValueError(f"gamma is {self.gamma}, expected at least 1")
        if not np.isfinite(self.gate_bias):
            raise ValueError(
                f"gate_bias is {self.gate_bias}, expected a finite number"
            )

    @property
    def n_out(self) -> int:
        """Units of the output."""
        sizes = {"short": self.n_short, "long": self.n_long}
        return sizes.get(self.output, self.n_short + self.n_long)

    @property
    def kinks(self) -> tuple[str, ...]:
        """Traced quantities at whose zero the output has no derivative."""
        return ("a_s", "a_l") if ACTIVATIONS[self.activation].has_kink else ()

    @property
    def reach(self) -> float:
        """The largest |w_ll| that a start draws, gamma^(1 / horizon)."""
        return 1.0 if self.horizon is None else self.gamma ** (1 / self.horizon)

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the state through time, to be kept small."""
        return ("W_ss", "w_ll")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        n, k, h = self.n_in, self.n_short, self.n_long
        shapes: Shapes = {"W_xs": (n, k), "W_ss": (k, k), "b_s": (k,)}
        if self.selection == "gate":
            shapes |= {"W_xq": (n, h), "W_sq": (k, h), "b_q": (h,)}
        shapes |= {"W_xv": (n, h)}
        if self.selection != "none":
            shapes |= {"W_sv": (k, h)}
        return shapes | {"b_v": (h,), "w_ll": (h,)}

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        params: Arrays = {}
        for name, shape in self.shapes().items():
            if name == "W_ss":
                drawn = self.short * orthogonal(rng, self.n_short)
                params[name] = drawn.astype(dtype)
            elif name == "w_ll":
                lowest = 1.0 / self.reach if self.reads == "last" else 0.0
                drawn = rng.uniform(lowest, self.reach, self.n_long)
                params[name] = drawn.astype(dtype)
            elif len(shape) == 2:
                params[name] = glorot_uniform(rng, (shape[0], shape[1]), dtype)
            else:
                start = self.gate_bias if name == "b_q" else 0.0
                params[name] = np.full(shape, start, dtype)
        return params

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: zeros."""
        return {
            "s": xp.zeros((n_batch, self.n_short), dtype),
            "l": xp.zeros((n_batch, self.n_long), dtype),
        }

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, as the equations say it."""
        p, f = params, ACTIVATIONS[self.activation].f
        a_s = x @ p["W_xs"] + state["s"] @ p["W_ss"] + p["b_s"]  # (1)
        s = f(a_s, xp)  # (2)
        v = x @ p["W_xv"] + p["b_v"]  # (5)
        if self.selection != "none":
            v = v + s @ p["W_sv"]  # (5)
        trace = {"a_s": a_s, "s": s, "v": v}
        selected = v
        if self.selection == "gate":
            a_q = x @ p["W_xq"] + s @ p["W_sq"] + p["b_q"]  # (3)
            q = sigmoid(a_q, xp)  # (4)
            trace |= {"a_q": a_q, "q": q}
            selected = q * v
        a_l = selected + p["w_ll"] * state["l"]  # (6)
        l = f(a_l, xp)  # noqa: E741  (7)
        y = {"short": s, "long": l}.get(self.output)  # (8)
        if y is None:
            y = xp.concatenate([s, l], axis=-1)  # (8)
        return {"s": s, "l": l}, trace | {"a_l": a_l, "l": l, "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence; ``s``, ``l`` hold a_s, a_l until f does."""
        xp, state = check_forward(self, params, x, state)
        n_time, n_batch, _ = x.shape
        p, f = params, self._in_place(xp)

        s = xp.empty((n_time + 1, n_batch, self.n_short), x.dtype)
        s[0] = state["s"]
        xp.matmul(flat(x), p["W_xs"], out=flat(s[1:]))  # (1), all steps
        s[1:] += p["b_s"]  # (1)
        for t in range(n_time):
            s[t + 1] += s[t] @ p["W_ss"]  # (1)
            f(s[t + 1])  # (2)

        v = (flat(x) @ p["W_xv"] + p["b_v"]).reshape(n_time, n_batch, -1)  # (5)
        if self.selection != "none":
            v += s[1:] @ p["W_sv"]  # (5), all steps
        tape = {"x": x, "s": s[1:], "s_prev": s[:-1], "v": v}
        l = xp.empty((n_time + 1, n_batch, self.n_long), x.dtype)  # noqa: E741
        l[0], l[1:] = state["l"], v
        if self.selection == "gate":
            a_q = x @ p["W_xq"] + s[1:] @ p["W_sq"] + p["b_q"]  # (3), all steps
            tape["q"] = sigmoid(a_q, xp)  # (4)
            l[1:] *= tape["q"]  # (6)
        for t in range(n_time):
            l[t + 1] += p["w_ll"] * l[t]  # (6)
            f(l[t + 1])  # (7)

        y = {"short": s[1:], "long": l[1:]}.get(self.output)  # (8)
        if y is None:
            y = xp.concatenate([s[1:], l[1:]], axis=-1)  # (8)
        tape |= {"l": l[1:], "l_prev": l[:-1]}
        return y, {"s": s[-1].copy(), "l": l[-1].copy()}, tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run back through time, first along the long part."""
        xp, dstate = check_backward(self, tape, dy, dstate)
        x, s, s_prev, v = tape["x"], tape["s"], tape["s_prev"], tape["v"]
        p, derivative = params, ACTIVATIONS[self.activation].derivative
        n_time = len(dy)

        da_l = derivative(tape["l"])  # (7'), all steps
        dl = dstate["l"]
        for t in reversed(range(n_time)):
            if self.output != "short":
                dl += dy[t][:, -self.n_long :]  # (8')
            da_l[t] *= dl  # (7')
            dl = da_l[t] * p["w_ll"]  # (6')

        grads = {"w_ll": (flat(da_l) * flat(tape["l_prev"])).sum(0)}  # (6')
        adjoints = {"a_l": da_l}
        dv, ds_all = da_l, xp.zeros(s.shape, dy.dtype)
        dx = xp.zeros(x.shape, dy.dtype)
        if self.selection == "gate":
            dv = da_l * tape["q"]  # (6')
            da_q = da_l * v * d_sigmoid(tape["q"])  # (6') (4')
            ds_all += da_q @ p["W_sq"].T  # (3')
            dx += da_q @ p["W_xq"].T  # (3')
            grads["W_xq"] = flat(x).T @ flat(da_q)  # (3')
            grads["W_sq"] = flat(s).T @ flat(da_q)  # (3')
            grads["b_q"] = flat(da_q).sum(0)  # (3')
            adjoints["a_q"] = da_q
        dx += dv @ p["W_xv"].T  # (5')
        grads["W_xv"] = flat(x).T @ flat(dv)  # (5')
        grads["b_v"] = flat(dv).sum(0)  # (5')
        if self.selection != "none":
            ds_all += dv @ p["W_sv"].T  # (5')
            grads["W_sv"] = flat(s).T @ flat(dv)  # (5')
        adjoints["v"] = dv
        if self.output != "long":
            ds_all += dy[..., : self.n_short]  # (8')

        da_s = derivative(s)  # (2'), all steps
        ds = dstate["s"]
        W_ss_T = p["W_ss"].T
        for t in reversed(range(n_time)):
            da_s[t] *= ds_all[t] + ds  # (2')
            ds = da_s[t] @ W_ss_T  # (1')
        dx += da_s @ p["W_xs"].T  # (1')
        grads["W_xs"] = flat(x).T @ flat(da_s)  # (1')
        grads["W_ss"] = flat(s_prev).T @ flat(da_s)  # (1')
        grads["b_s"] = flat(da_s).sum(0)  # (1')
        return Gradients(
            params=grads,
            x=dx,
            state={"s": ds, "l": dl},
            adjoints=adjoints | {"a_s": da_s},
        )

    def _in_place(self, xp: ModuleType) -> Callable[[Array], Any]:
        """Return f, overwriting its argument."""
        if self.activation == "tanh":
            return lambda a: xp.tanh(a, out=a)
        return lambda a: xp.maximum(a, 0.0, out=a)
