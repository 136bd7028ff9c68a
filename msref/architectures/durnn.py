"""The dual recurrent network: a short and a long memory side by side."""

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
    ACTIVATIONS,
    activation_into,
    flat,
    glorot_uniform,
    orthogonal,
    sigmoid,
    sigmoid_in_place,
    spans,
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
        a product per step. The passes take a span of steps at a time: first
        s, then gate and candidate of the whole span, then the long part,
        which is element-wise. The tape holds
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
        p = params

        s = xp.empty((n_time + 1, n_batch, self.n_short), x.dtype)
        v = xp.empty((n_time, n_batch, self.n_long), x.dtype)
        l = xp.empty((n_time + 1, n_batch, self.n_long), x.dtype)  # noqa: E741
        s[0], l[0] = state["s"], state["l"]
        tape = {"x": x, "s": s[1:], "s_prev": s[:-1], "v": v}
        tape |= {"l": l[1:], "l_prev": l[:-1]}
        if self.selection == "gate":
            tape["q"] = xp.empty_like(v)
        # tiled: a vector would be spread over the batch at every step
        w_ll = xp.tile(p["w_ll"], (n_batch, 1))
        from_s, from_l = xp.empty_like(s[0]), xp.empty_like(w_ll)
        f_s = activation_into(self.activation, s[0], xp)
        f_l = activation_into(self.activation, l[0], xp)
        y = {"short": s[1:], "long": l[1:]}.get(self.output)  # (8)
        if y is None:
            y = xp.empty((n_time, n_batch, self.n_out), x.dtype)
        with np.errstate(over="ignore"):
            # a span of steps at a time: nothing but the tape is as long as
            # the sequence
            for start, stop in reversed(
                [*spans(n_time, w_ll.size, has_products=True)]
            ):
                now = {name: array[start:stop] for name, array in tape.items()}
                xp.dot(flat(now["x"]), p["W_xs"], out=flat(now["s"]))  # (1)
                now["s"] += p["b_s"]  # (1)
                for t in range(start, stop):
                    s_t = s[t + 1]
                    xp.dot(s[t], p["W_ss"], out=from_s)  # (1)
                    s_t += from_s  # (1)
                    f_s(s_t, s_t)  # (2)
                self._read(p, "v", now, xp)  # (5)
                if self.selection == "gate":
                    self._read(p, "q", now, xp)  # (3)
                    sigmoid_in_place(now["q"], xp)  # (4)
                    xp.multiply(now["v"], now["q"], out=now["l"])  # (6)
                else:
                    now["l"][...] = now["v"]  # (6)
                for t in range(start, stop):
                    l_t = l[t + 1]
                    xp.multiply(w_ll, l[t], out=from_l)
                    l_t += from_l  # (6)
                    f_l(l_t, l_t)  # (7)
                if self.output == "both":
                    xp.concatenate(
                        [now["s"], now["l"]], axis=-1, out=y[start:stop]
                    )  # (8)

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
        x, s, v, p = tape["x"], tape["s"], tape["v"], params
        f_prime = ACTIVATIONS[self.activation].derivative
        w_ll, W_ss_T = xp.tile(p["w_ll"], (x.shape[1], 1)), p["W_ss"].T

        da_s, da_l = xp.empty_like(s), xp.empty_like(v)
        adjoints = {"a_l": da_l, "v": da_l, "a_s": da_s}
        if self.selection == "gate":
            adjoints |= {"v": xp.empty_like(v), "a_q": xp.empty_like(v)}
        dx = xp.empty(x.shape, x.dtype)
        ds, dl = dstate["s"], dstate["l"]
        for start, stop in spans(len(dy), w_ll.size, has_products=True):
            da_l[start:stop] = f_prime(tape["l"][start:stop])  # (7')
            for t in reversed(range(start, stop)):
                if self.output != "short":
                    dl += dy[t][:, -self.n_long :]  # (8')
                da_t = da_l[t]
                da_t *= dl  # (7')
                xp.multiply(w_ll, da_t, out=dl)  # (6')
            now = {name: da[start:stop] for name, da in adjoints.items()}
            if self.selection == "gate":
                q = tape["q"][start:stop]
                xp.multiply(now["a_l"], q, out=now["v"])  # (6')
                # dq q (1 - q), where dq q = da_l v q = dv v
                xp.multiply(now["v"], v[start:stop], out=now["a_q"])  # (6')
                now["a_q"] *= 1.0 - q  # (4')
            dx[start:stop], ds_all = self._read_back(p, now, xp)  # (5') (3')
            if self.output != "long":
                ds_all += dy[start:stop, :, : self.n_short]  # (8')
            da_s[start:stop] = f_prime(s[start:stop])  # (2')
            for t in reversed(range(start, stop)):
                ds += ds_all[t - start]
                da_t = da_s[t]
                da_t *= ds  # (2')
                xp.dot(da_t, W_ss_T, out=ds)  # (1')
            back = xp.dot(flat(now["a_s"]), p["W_xs"].T)  # (1')
            dx[start:stop] += back.reshape(dx[start:stop].shape)

        product = ("ij,ij->j", flat(da_l), flat(tape["l_prev"]))
        grads = {
            "w_ll": xp.einsum(*product),  # (6')
            "W_ss": flat(tape["s_prev"]).T @ flat(da_s),  # (1')
        }
        for k, name in (("s", "a_s"), ("v", "v"), ("q", "a_q")):
            if name in adjoints and f"W_x{k}" in p:
                da = flat(adjoints[name])
                grads[f"W_x{k}"] = flat(x).T @ da  # (1') (5') (3')
                grads[f"b_{k}"] = da.sum(0)  # (1') (5') (3')
                if k != "s" and self.selection != "none":
                    grads[f"W_s{k}"] = flat(s).T @ da  # (5') (3')
        return Gradients(
            params=grads,
            x=dx,
            state={"s": ds, "l": dl},
            adjoints=adjoints,
        )

    def _read(
        self, params: Arrays, k: str, now: Arrays, xp: ModuleType
    ) -> None:
        """Write x_t W_xk + s_t W_sk + b_k of some steps to ``now[k]``."""
        xp.dot(flat(now["x"]), params[f"W_x{k}"], out=flat(now[k]))
        if self.selection != "none":
            read = xp.dot(flat(now["s"]), params[f"W_s{k}"])
            now[k] += read.reshape(now[k].shape)
        now[k] += params[f"b_{k}"]

    def _read_back(
        self, params: Arrays, now: Arrays, xp: ModuleType
    ) -> tuple[Array, Array]:
        """Return what v and q of some steps send back to x_t and s_t."""
        dv, shape = flat(now["v"]), now["v"].shape[:2]
        dx, ds = xp.dot(dv, params["W_xv"].T), None
        if self.selection != "none":
            ds = xp.dot(dv, params["W_sv"].T)
        if self.selection == "gate":
            da_q = flat(now["a_q"])
            dx += xp.dot(da_q, params["W_xq"].T)
            ds += xp.dot(da_q, params["W_sq"].T)
        if ds is None:
            ds = xp.zeros((len(dv), self.n_short), dv.dtype)
        return dx.reshape(*shape, -1), ds.reshape(*shape, -1)
