"""The bugs of layers that normalise or drop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from msref.architectures import BatchNorm, Dropout, Gradients
from msref.arrays import Array, Arrays


def backward_bugs(
    arch: Any,
) -> Iterator[tuple[str, str, Callable[..., Gradients]]]:
    """Yield kind, place and wrong backward pass of every bug that applies."""
    if isinstance(arch, Dropout):
        yield "mask dropped on the way back", "mask", _mask_dropped
    if isinstance(arch, BatchNorm):
        yield "gain dropped on the way back", "gamma", _gain_dropped
        if arch.statistics == "batch":
            yield "statistics held constant", "m, v", _path_dropped("m", "v")
            yield "mean held constant", "m", _path_dropped("m")
            yield "variance held constant", "v", _path_dropped("v")
            yield "padding counted backwards", "w", _padding_counted_backwards


def forward_bugs(
    arch: Any,
) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield kind, place and wrong forward pass of every bug that applies."""
    if isinstance(arch, Dropout):
        yield "another mask at each step", "mask", _another_mask
        yield "mask applied twice", "mask", _mask_twice
        yield "mask not handed on", "mask", _mask_not_handed_on
    if isinstance(arch, BatchNorm):
        yield "eps outside the root", "eps", _normalised(_eps_outside)
        yield "variance taken as deviation", "v", _normalised(_no_root)
        yield "the other statistics", "m, v", _normalised(_other_statistics)
        if arch.statistics == "batch":
            yield "unbiased variance", "v", _normalised(_unbiased)
            yield "each step alone", "m, v", _normalised(_each_step)
            yield "padding counted", "w", _normalised(_padding_counted)


# --- dropout ----------------------------------------------------------------


def _mask_dropped(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    g: Gradients = arch.backward(params, tape, dy, dstate)
    return replace(g, x=dy.copy())


def _another_mask(
    arch: Any, params: Arrays, x: Array, state: Arrays, t0: int
) -> Any:
    y, final, tape = arch.forward(params, x, state, t0)
    for t in range(len(x)):
        y[t] = x[t] * np.roll(state["mask"], t, axis=0)
    return y, final, tape


def _mask_twice(
    arch: Any, params: Arrays, x: Array, state: Arrays, t0: int
) -> Any:
    y, final, tape = arch.forward(params, x, state, t0)
    return y * state["mask"], final, tape


def _mask_not_handed_on(
    arch: Any, params: Arrays, x: Array, state: Arrays, t0: int
) -> Any:
    y, _, tape = arch.forward(params, x, state, t0)
    return y, arch.initial_state(x.shape[1], x.dtype), tape


# --- batch normalisation ----------------------------------------------------


def _gain_dropped(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    ones = {"gamma": np.ones_like(params["gamma"])}
    g: Gradients = arch.backward(params | ones, tape, dy, dstate)
    return g


def _path_dropped(*names: str) -> Callable[..., Gradients]:
    """Drop what goes back through the mean, the variance, or both."""

    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        g: Gradients = arch.backward(params, tape, dy, dstate)
        constant = replace(arch, statistics="running")
        seen = params | {"mean": tape["m"], "var": tape["v"]}
        alone = constant.backward(seen, tape, dy, dstate)
        dx = alone.x
        if "m" not in names:
            dx = dx + tape["w"] * alone.params["mean"]
        if "v" not in names:
            off = tape["x"] - tape["m"]
            dx = dx + tape["w"] * 2 * off * alone.params["var"]
        return replace(g, x=dx)

    return bug


def _padding_counted_backwards(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    even = np.full_like(tape["w"], 1 / tape["w"].size)
    g: Gradients = arch.backward(params, tape | {"w": even}, dy, dstate)
    return g


def _normalised(wrong: Callable[..., tuple[Array, Array]]) -> Any:
    """Normalise by a wrong mean and a wrong deviation."""

    def bug(arch: Any, params: Arrays, x: Array, state: Arrays, t0: int) -> Any:
        _, final, tape = arch.forward(params, x, state, t0)
        m = tape.get("m", params["mean"])
        v = tape.get("v", params["var"])
        m, deviation = wrong(arch, params, tape, m, v)
        y = params["gamma"] * (x - m) / deviation + params["beta"]
        return y, final, tape

    return bug


def _eps_outside(
    arch: Any, params: Arrays, tape: Arrays, m: Array, v: Array
) -> tuple[Array, Array]:
    return m, np.sqrt(v) + arch.eps


def _no_root(
    arch: Any, params: Arrays, tape: Arrays, m: Array, v: Array
) -> tuple[Array, Array]:
    return m, v + arch.eps


def _other_statistics(
    arch: Any, params: Arrays, tape: Arrays, m: Array, v: Array
) -> tuple[Array, Array]:
    if arch.statistics == "batch":
        return params["mean"], np.sqrt(params["var"] + arch.eps)
    return _padding_counted(arch, params, tape, m, v)


def _unbiased(
    arch: Any, params: Arrays, tape: Arrays, m: Array, v: Array
) -> tuple[Array, Array]:
    n = (tape["w"] > 0).sum()
    return m, np.sqrt(v * n / (n - 1) + arch.eps)


def _each_step(
    arch: Any, params: Arrays, tape: Arrays, m: Array, v: Array
) -> tuple[Array, Array]:
    x = tape["x"]
    var = x.var(axis=1, keepdims=True)
    return x.mean(axis=1, keepdims=True), np.sqrt(var + arch.eps)


def _padding_counted(
    arch: Any, params: Arrays, tape: Arrays, m: Array, v: Array
) -> tuple[Array, Array]:
    x = tape["x"]
    return x.mean(axis=(0, 1)), np.sqrt(x.var(axis=(0, 1)) + arch.eps)
