"""The bugs of independent recurrence, and of a long memory beside a short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from msref.architectures import DuRNN, Gradients, IndRNN, scan
from msref.arrays import Array, Arrays
from msref.functional import ACTIVATIONS, sigmoid


def backward_bugs(
    arch: Any,
) -> Iterator[tuple[str, str, Callable[..., Gradients]]]:
    """Yield kind, place and wrong backward pass of every bug that applies."""
    if isinstance(arch, DuRNN) and arch.selection == "gate":
        yield "gate held constant", "a_q", _gate_held_constant


def forward_bugs(
    arch: Any,
) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield kind, place and wrong forward pass of every bug that applies."""
    if isinstance(arch, IndRNN):
        yield "memory outside the activation", "w_hh", _stepping(_added_after)
    if not isinstance(arch, DuRNN):
        return
    if arch.output != "short":
        yield "memory outside the activation", "w_ll", _dual("outside")
        if arch.selection == "gate":
            yield "gate reads the step before", "W_sq", _dual("behind")
            yield "gate on what is carried too", "w_ll", _dual("on both")
            yield "gate shuts what is carried", "w_ll", _dual("one or other")
    if arch.output == "both":
        yield "long before short", "y", _dual("swapped")


def _gate_held_constant(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    """Lose dq = da_l * v."""
    without = tape | {"v": np.zeros_like(tape["v"])}
    g: Gradients = arch.backward(params, without, dy, dstate)
    return g


@dataclass(frozen=True)
class _Stepping:
    """A network with another step."""

    arch: Any
    other: Callable[..., tuple[Arrays, Arrays]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def step(self, *args: Any) -> tuple[Arrays, Arrays]:
        return self.other(self.arch, *args)


def _stepping(
    other: Callable[..., tuple[Arrays, Arrays]],
) -> Callable[..., Any]:
    """Make a forward pass of another step."""

    def bug(arch: Any, params: Arrays, x: Array, state: Arrays, t0: int) -> Any:
        wrong = _Stepping(arch, other)
        y, final, _ = scan(wrong, params, x, state, t0)
        return y, final, arch.forward(params, x, state, t0)[2]

    return bug


def _added_after(
    arch: Any, p: Arrays, state: Arrays, x: Array, t: int, xp: ModuleType = np
) -> tuple[Arrays, Arrays]:
    """h_t = f(x_t W_xh + b_h) + w_hh * h_{t-1}."""
    alone = p | {"w_hh": np.zeros_like(p["w_hh"])}
    _, trace = arch.step(alone, state, x, t, xp)
    h = trace["h"] + p["w_hh"] * state["h"]
    return {"h": h}, {"y": h}


def _dual(which: str) -> Callable[..., Any]:
    """Write the dual module's equations with one of them wrong."""

    def step(
        arch: Any,
        p: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        f = ACTIVATIONS[arch.activation].f
        s = f(x @ p["W_xs"] + state["s"] @ p["W_ss"] + p["b_s"], xp)
        v = x @ p["W_xv"] + p["b_v"]
        if arch.selection != "none":
            v = v + s @ p["W_sv"]
        carried = p["w_ll"] * state["l"]
        q = np.ones_like(v)
        if arch.selection == "gate":
            read = state["s"] if which == "behind" else s
            q = sigmoid(x @ p["W_xq"] + read @ p["W_sq"] + p["b_q"], xp)
        if which == "on both":
            l = f(q * (v + carried), xp)  # noqa: E741
        elif which == "one or other":
            l = f(q * v + (1.0 - q) * carried, xp)  # noqa: E741
        elif which == "outside":
            l = f(q * v, xp) + carried  # noqa: E741
        else:
            l = f(q * v + carried, xp)  # noqa: E741
        y = {"short": s, "long": l}.get(arch.output)
        if y is None:
            parts = [l, s] if which == "swapped" else [s, l]
            y = xp.concatenate(parts, axis=-1)
        return {"s": s, "l": l}, {"y": y}

    return _stepping(step)
