"""The networks as a user of a framework writes them: a cell and a loop.

Each function is written once, over the few operations in ``Operations``, and
runs in PyTorch, JAX and autograd, each with its own best form of them. The
weights of all gates stand side by side in one matrix, as such code has them;
``FUSED`` says which of ours make it up. Initial states are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays


@dataclass(frozen=True)
class Operations:
    """What a framework offers to a cell.

    Attributes
        affine: b, x, W -> b + x W; for two axes.
        add_product: a, b, c -> a + b * c.
        mix: c, a, b -> c * a + (1 - c) * b.
        sigmoid, tanh, relu: the non-linearities.
        where: condition, a, b -> a where it is true, else b.
        split: a, n -> n equal parts of the last axis.
        join: arrays -> one, along the last axis.
        zeros: x, n -> zeros (n_batch, n) of the same kind as ``x``.
        constant: an array of NumPy -> one of the framework.
        loop: project, step, state, x, along -> y. Runs ``step(state,
            project(x_t), along_t)``, which returns the next state and y_t,
            over all time steps; it projects all steps in one product where
            that is faster.
    """

    affine: Callable[..., Any]
    add_product: Callable[..., Any]
    mix: Callable[..., Any]
    sigmoid: Callable[[Any], Any]
    tanh: Callable[[Any], Any]
    relu: Callable[[Any], Any]
    where: Callable[..., Any]
    split: Callable[[Any, int], Any]
    join: Callable[[Any], Any]
    zeros: Callable[[Any, int], Any]
    constant: Callable[[Array], Any]
    loop: Callable[..., Any]


Weights = Mapping[str, Any]
Forward = Callable[[Operations, Any, Weights, Any], Any]
"""Operations, our architecture, weights, x -> y."""

# --- those that frameworks have as layers -----------------------------------


def elman(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run an Elman network."""

    def step(h: Any, a: Any, _: None) -> Any:
        h = o.tanh(o.affine(a, h, p["W_h"]))
        return h, h

    def project(x: Any) -> Any:
        return o.affine(p["b"], x, p["W_x"])

    return o.loop(project, step, o.zeros(x, arch.n_hid), x)


def lstm(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run an LSTM."""

    def step(state: Any, a: Any, _: None) -> Any:
        h, c = state
        a_i, a_f, a_g, a_o = o.split(o.affine(a, h, p["W_h"]), 4)
        c = o.sigmoid(a_f) * c + o.sigmoid(a_i) * o.tanh(a_g)
        h = o.sigmoid(a_o) * o.tanh(c)
        return (h, c), h

    def project(x: Any) -> Any:
        return o.affine(p["b"], x, p["W_x"])

    start = (o.zeros(x, arch.n_hid), o.zeros(x, arch.n_hid))
    return o.loop(project, step, start, x)


def gru(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a GRU with the reset after the product."""

    def step(h: Any, a: Any, _: None) -> Any:
        x_r, x_z, x_n = o.split(a, 3)
        h_r, h_z, h_n = o.split(h @ p["W_h"], 3)
        r = o.sigmoid(x_r + h_r)
        n = o.tanh(o.add_product(x_n, r, h_n + p["b_hn"]))
        h = o.mix(o.sigmoid(x_z + h_z), h, n)
        return h, h

    def project(x: Any) -> Any:
        return o.affine(p["b"], x, p["W_x"])

    return o.loop(project, step, o.zeros(x, arch.n_hid), x)


# --- those that they do not have --------------------------------------------


def indrnn(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run an IndRNN."""

    def step(h: Any, a: Any, _: None) -> Any:
        h = o.relu(o.add_product(a, p["w_hh"], h))
        return h, h

    def project(x: Any) -> Any:
        return o.affine(p["b_h"], x, p["W_xh"])

    return o.loop(project, step, o.zeros(x, arch.n_hid), x)


def brc(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a bistable cell."""

    def step(h: Any, a: Any, _: None) -> Any:
        x_c, x_a, x_m = o.split(a, 3)
        c = o.sigmoid(o.add_product(x_c, p["w_hc"], h))
        a = 1.0 + o.tanh(o.add_product(x_a, p["w_ha"], h))
        h = o.mix(c, h, o.tanh(o.add_product(x_m, a, h)))
        return h, h

    def project(x: Any) -> Any:
        return o.affine(p["b"], x, p["W_x"])

    return o.loop(project, step, o.zeros(x, arch.n_hid), x)


def nbrc(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a neuromodulated bistable cell."""

    def step(h: Any, a: Any, _: None) -> Any:
        x_ca, x_m = a
        a_c, a_a = o.split(o.affine(x_ca, h, p["W_h"]), 2)
        m = o.tanh(o.add_product(x_m, 1.0 + o.tanh(a_a), h))
        h = o.mix(o.sigmoid(a_c), h, m)
        return h, h

    def project(x: Any) -> Any:
        gates = o.affine(p["b"], x, p["W_x"])
        return gates, o.affine(p["b_m"], x, p["W_xm"])

    return o.loop(project, step, o.zeros(x, arch.n_hid), x)


def durnn(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a dual network, both parts of a step together."""

    def step(state: Any, a: Any, _: None) -> Any:
        s, l = state  # noqa: E741
        x_s, x_qv = a
        s = o.relu(o.affine(x_s, s, p["W_ss"]))
        a_q, v = o.split(o.affine(x_qv, s, p["W_s"]), 2)
        l = o.relu(o.add_product(o.sigmoid(a_q) * v, p["w_ll"], l))  # noqa: E741
        return (s, l), o.join([s, l])

    def project(x: Any) -> Any:
        return (
            o.affine(p["b_s"], x, p["W_xs"]),
            o.affine(p["b"], x, p["W_x"]),
        )

    start = (o.zeros(x, arch.n_short), o.zeros(x, arch.n_long))
    return o.loop(project, step, start, x)


def durnn_in_two_loops(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a dual network, the long part after all of the short one."""

    def short(s: Any, a: Any, _: None) -> Any:
        s = o.relu(o.affine(a, s, p["W_ss"]))
        return s, s

    def long(l: Any, a: Any, _: None) -> Any:  # noqa: E741
        l = o.relu(o.add_product(a, p["w_ll"], l))  # noqa: E741
        return l, l

    def project(x: Any) -> Any:
        return o.affine(p["b_s"], x, p["W_xs"])

    s = o.loop(project, short, o.zeros(x, arch.n_short), x)
    a_q, v = o.split(x @ p["W_x"] + s @ p["W_s"] + p["b"], 2)
    start = o.zeros(x, arch.n_long)
    return o.join([s, o.loop(None, long, start, o.sigmoid(a_q) * v)])


def mslmn(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a MultiScale LMN that writes all modules and keeps the active."""
    ticks = [arch.clock.working(t, arch.n_mem) for t in range(len(x))]
    W_m, project = _memory_weights(o, arch, p)

    def step(m: Any, a: Any, active: Any) -> Any:
        h = o.tanh(o.affine(a, m, p["W_mh"]))
        m = o.where(active, o.affine(p["b_m"], o.join([m, h]), W_m), m)
        return m, m

    start = o.zeros(x, arch.n_modules * arch.n_mem)
    return o.loop(project, step, start, x, o.constant(np.stack(ticks)))


def mslmn_active(o: Operations, arch: Any, p: Weights, x: Any) -> Any:
    """Run a MultiScale LMN that writes active modules alone."""
    n_all = arch.n_modules * arch.n_mem
    written = [arch.clock.n_active(t) * arch.n_mem for t in range(len(x))]
    W_m, project = _memory_weights(o, arch, p)
    parts = {n: (p["b_m"][:n], W_m[:, :n]) for n in set(written)}

    def step(m: Any, a: Any, n: int) -> Any:
        h = o.tanh(o.affine(a, m, p["W_mh"]))
        b, W = parts[n]
        new = o.affine(b, o.join([m, h]), W)
        m = new if n == n_all else o.join([new, m[:, n:]])
        return m, m

    return o.loop(project, step, o.zeros(x, n_all), x, written)


def _memory_weights(o: Operations, arch: Any, p: Weights) -> Any:
    """Return the weights of [m, h], those never read zero; and project."""
    n_all = arch.n_modules * arch.n_mem
    read = np.ones((n_all + arch.n_hid, n_all), bool)
    read[:n_all] = arch.clock.readers(arch.n_mem)
    W_m = o.where(o.constant(read), p["W_m"], 0.0)
    return W_m, lambda x: o.affine(p["b_h"], x, p["W_xh"])


# --- names ------------------------------------------------------------------


def _gates(gates: str) -> dict[str, list[str]]:
    return {
        "W_x": [f"W_x{k}" for k in gates],
        "W_h": [f"W_h{k}" for k in gates],
        "b": [f"b_{k}" for k in gates],
    }


FUSED: dict[str, dict[str, list[str]]] = {
    "Elman": {"W_x": ["W_xh"], "W_h": ["W_hh"], "b": ["b_h"]},
    "LSTM": _gates("ifgo"),
    "GRU": _gates("rzn"),
    "BRC": {
        "W_x": ["W_xc", "W_xa", "W_xm"],
        "b": ["b_c", "b_a", "b_m"],
    },
    "NBRC": _gates("ca"),
    "DuRNN": {
        "W_x": ["W_xq", "W_xv"],
        "W_s": ["W_sq", "W_sv"],
        "b": ["b_q", "b_v"],
    },
    "MultiScaleLMN": {"W_m": ["W_mm", "W_hm"]},
}
"""Class -> array of a user's code -> those of ours that stand in it side by
side; ``W_m`` alone has them one above the other. The others stay as they
are."""

FORWARD: dict[str, dict[str, Forward]] = {
    "Elman": {"": elman},
    "LSTM": {"": lstm},
    "GRU": {"": gru},
    "IndRNN": {"": indrnn},
    "BRC": {"": brc},
    "NBRC": {"": nbrc},
    "DuRNN": {"": durnn, "two loops": durnn_in_two_loops},
    "MultiScaleLMN": {"": mslmn, "active slices": mslmn_active},
}
"""Class -> variant -> the network as a user writes it."""


def fuse(cell: str, params: Arrays) -> Arrays:
    """Put our weights side by side as a user's code has them."""
    rest = dict(params)
    fused: Arrays = {}
    for name, ours in FUSED.get(cell, {}).items():
        fused[name] = np.concatenate([rest.pop(k) for k in ours], _axis(name))
    return fused | rest


def take_apart(cell: str, params: Arrays, fused: Arrays) -> Arrays:
    """Take such arrays apart again; the inverse of ``fuse``."""
    rest = dict(fused)
    taken: Arrays = {}
    for name, ours in FUSED.get(cell, {}).items():
        axis = _axis(name)
        ends = np.cumsum([params[k].shape[axis] for k in ours])
        parts = np.split(rest.pop(name), ends[:-1], axis)
        taken |= dict(zip(ours, parts, strict=True))
    return taken | rest


def _axis(name: str) -> int:
    return 0 if name == "W_m" else -1
