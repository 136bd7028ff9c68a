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


# --- dropout ----------------------------------------------------------------


def _mask_dropped(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    g: Gradients = arch.backward(params, tape, dy, dstate)
    return replace(g, x=dy.copy())


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
