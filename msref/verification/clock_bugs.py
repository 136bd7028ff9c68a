"""The bugs of networks whose modules tick at rates of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from msref.architectures import Gradients
from msref.arrays import Array, Arrays
from msref.functional import flat


def backward_bugs(
    arch: Any,
) -> Iterator[tuple[str, str, Callable[..., Gradients]]]:
    """Yield kind, place and wrong backward pass of every bug that applies."""
    clock, W = arch.clock, _recurrent(arch)
    if clock.n_modules > 1 or clock.first > 0:
        yield "held module passes no gradient", "clock", _holds_nothing
        yield "clock off by one backwards", "clock", _clock_late_backwards
    if clock.n_modules > 1:
        yield "masked weights learn", W, _masked_weights_learn


def _recurrent(arch: Any) -> str:
    return "W_mm" if "W_mm" in arch.shapes() else "W_hh"


def _n_units(arch: Any) -> int:
    """Count the units of one module."""
    return int(arch.shapes()[_recurrent(arch)][0] // arch.clock.n_modules)


def _holds_nothing(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    """Run back step by step; what should wait in held modules is lost."""
    parts = []
    for t in reversed(range(len(dy))):
        held = ~arch.clock.working(int(tape["t"][t]), _n_units(arch))
        dy_t = dy[t : t + 1].copy()
        if dy.shape[-1] == len(held):
            dy_t[..., held] = 0
        lost = {k: np.where(held, 0, v) for k, v in dstate.items()}
        now_alone = {k: v[t : t + 1] for k, v in tape.items()}
        g = arch.backward(params, now_alone, dy_t, lost)
        dstate = g.state
        parts.append(g)
    parts.reverse()
    names = parts[0].adjoints
    return Gradients(
        {k: sum(g.params[k] for g in parts) for k in parts[0].params},
        np.concatenate([g.x for g in parts]),
        dstate,
        {k: np.concatenate([g.adjoints[k] for g in parts]) for k in names},
    )


def _clock_late_backwards(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    late = tape | {"t": tape["t"] + 1}
    spoilt: Gradients = arch.backward(params, late, dy, dstate)
    return spoilt


def _masked_weights_learn(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    W = _recurrent(arch)
    g = arch.backward(params, tape, dy, dstate)
    memory, ask = ("m_prev", "a_m") if W == "W_mm" else ("h_prev", "a")
    dW = flat(tape[memory]).T @ flat(g.adjoints[ask])
    spoilt: Gradients = replace(g, params=g.params | {W: dW})
    return spoilt
