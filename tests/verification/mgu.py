"""A reader's own network, right and wrong: the minimal gated unit.

f_t = s(x_t W_xf + h_{t-1} W_hf + b_f)
m_t = tanh(x_t W_xm + (f_t h_{t-1}) W_hm + b_m)
h_t = (1 - f_t) h_{t-1} + f_t m_t
"""

from dataclasses import dataclass, replace

import numpy as np

from msref.architectures import Gradients
from msref.functional import sigmoid


@dataclass(frozen=True)
class MGU:
    """It follows the protocol; ``bug`` is the mistake it makes at ``at``."""

    n_in: int
    n_hid: int
    bug: str = ""
    at: int = 3

    @property
    def n_out(self):
        return self.n_hid

    def shapes(self):
        x, h = (self.n_in, self.n_hid), (self.n_hid, self.n_hid)
        weights = {"W_xf": x, "W_hf": h, "W_xm": x, "W_hm": h}
        return weights | {"b_f": h[1:], "b_m": h[1:]}

    def init(self, rng, dtype=np.float64):
        return {
            name: rng.normal(scale=0.5, size=shape).astype(dtype)
            for name, shape in self.shapes().items()
        }

    def initial_state(self, n_batch, dtype=np.float64, xp=np):
        return {"h": xp.zeros((n_batch, self.n_hid), dtype)}

    def step(self, params, state, x, t, xp=np):
        p, h_prev = params, state["h"]
        a_f = x @ p["W_xf"] + h_prev @ p["W_hf"] + p["b_f"]
        f = self.gate(a_f, xp)
        a_m = x @ p["W_xm"] + (f * h_prev) @ p["W_hm"] + p["b_m"]
        m = xp.tanh(a_m)
        h = (1.0 - f) * h_prev + f * m
        trace = {"a_f": a_f, "f": f, "a_m": a_m, "m": m, "h": h, "y": h}
        return {"h": h}, trace

    def gate(self, a, xp):
        return sigmoid(a, xp)

    def forward(self, params, x, state=None, t0=0):
        if state is None:
            state = self.initial_state(x.shape[1], x.dtype)
        traces = []
        for t, x_t in enumerate(x):
            h_prev = state["h"]
            state, trace = self.step(params, state, x_t, t0 + t)
            traces.append(trace | {"h_prev": h_prev})
        tape = {k: np.stack([trace[k] for trace in traces]) for k in traces[0]}
        return tape["y"], state, tape | {"x": x}

    def backward(self, params, tape, dy, dstate=None):
        p, bug, at = params, self.bug, self.at
        x, f, m, h_prev = (tape[k] for k in ("x", "f", "m", "h_prev"))
        da_f, da_m = np.zeros_like(f), np.zeros_like(m)
        dh = np.zeros_like(dy[0])
        if dstate is not None and bug != "final state ignored":
            dh = dstate["h"]
        for t in reversed(range(len(dy))):
            if bug == "truncated" and t == len(dy) - 1 - at:
                dh = np.zeros_like(dh)
            dh = dh + dy[t]
            da_m[t] = dh * f[t] * (1.0 - m[t] ** 2)
            dq = da_m[t] @ p["W_hm"].T
            df = dh * (m[t] - h_prev[t]) + dq * h_prev[t]
            da_f[t] = df * f[t] * (1.0 - f[t])
            if bug == "wrong gate" and t == at:
                da_f[t] = df * f[t]
            dh = dh * (1.0 - f[t]) + dq * f[t] + da_f[t] @ p["W_hf"].T

        def outer(left, right):
            return np.einsum("tbi,tbj->ij", left, right)

        h_read = tape["h"] if bug == "off by one" else h_prev
        grads = {
            "W_xf": outer(x, da_f),
            "W_hf": outer(h_read, da_f),
            "b_f": da_f.sum((0, 1)),
            "W_xm": outer(x, da_m),
            "W_hm": outer(f * h_prev, da_m),
            "b_m": da_m.sum((0, 1)),
        }
        if bug == "bias missing":
            grads["b_f"] = np.zeros_like(grads["b_f"])
        if bug == "not finite":
            grads["b_f"] = grads["b_f"] * np.nan
        dx = da_f @ p["W_xf"].T + da_m @ p["W_xm"].T
        adjoints = {"a_f": da_f, "a_m": da_m}
        return Gradients(grads, dx, {"h": dh}, adjoints)


class WithoutAdjoints(MGU):
    def backward(self, params, tape, dy, dstate=None):
        g = super().backward(params, tape, dy, dstate)
        return replace(g, adjoints={})


class AutogradCannotFollow(MGU):
    """Its step computes in NumPy whatever namespace it is given."""

    def gate(self, a, xp):
        filled = np.empty(a.shape, np.result_type(a))
        filled[...] = sigmoid(a)
        return filled


class ComplexStepCannotFollow(MGU):
    """Its logistic function is the stable one with abs, not analytic."""

    def gate(self, a, xp):
        e = xp.exp(-xp.abs(a))
        return xp.where(xp.real(a) >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


class NeitherCanFollow(ComplexStepCannotFollow):
    def gate(self, a, xp):
        filled = np.empty(a.shape, np.result_type(a))
        filled[...] = super().gate(a, np)
        return filled


class Bare:
    """What is required of a network under test, and no more."""

    n_in, n_out = 3, 5

    def init(self, rng, dtype=np.float64):
        return MGU(3, 5).init(rng, dtype)

    def initial_state(self, n_batch, dtype=np.float64, xp=np):
        return MGU(3, 5).initial_state(n_batch, dtype, xp)

    def step(self, params, state, x, t, xp=np):
        return MGU(3, 5).step(params, state, x, t, xp)


class WithoutBackward(Bare):
    def forward(self, params, x, state=None, t0=0):
        return MGU(3, 5).forward(params, x, state, t0)


class WithoutForward(Bare):
    def backward(self, params, tape, dy, dstate=None):
        return MGU(3, 5).backward(params, tape, dy, dstate)
