"""autograd on NumPy: a cell in a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from msref.arrays import Arrays
from msref.bench.peer_cells import FORWARD, Operations, fuse, take_apart
from msref.bench.peers import Peer, Point

Made = tuple[Callable[[], Any], Callable[[Any], Arrays]]

LONGEST = 1000
"""Time steps beyond which a run takes minutes."""


def loop(point: Point) -> Made:
    """Run a cell in a loop, differentiated by autograd."""
    from autograd import grad
    from autograd import numpy as anp

    forward = FORWARD[point.cell][""]
    operations = _operations(anp)

    def loss(weights: Any, x: Any) -> Any:
        y = forward(operations, point.arch, weights, x)
        return sum(
            anp.sum(y_t * dy_t) for y_t, dy_t in zip(y, point.dy, strict=True)
        )

    both = grad(loss, (0, 1))
    weights = fuse(point.cell, point.params)

    def run() -> Any:
        return both(weights, point.x)

    def gradients(found: Any) -> Arrays:
        dweights, dx = found
        return take_apart(point.cell, point.params, dweights | {"x": dx})

    return run, gradients


def peers(n_time: int) -> list[Peer]:
    """Return autograd, if sequences are not too long for it."""
    return [Peer("autograd", loop)] if n_time <= LONGEST else []


def _operations(anp: Any) -> Operations:
    return Operations(
        affine=lambda b, x, W: b + anp.dot(x, W),
        add_product=lambda a, b, c: a + b * c,
        mix=lambda c, a, b: c * a + (1.0 - c) * b,
        sigmoid=lambda a: 1.0 / (1.0 + anp.exp(-a)),
        tanh=anp.tanh,
        relu=lambda a: anp.maximum(a, 0.0),
        where=anp.where,
        split=lambda a, n: anp.split(a, n, -1),
        join=lambda arrays: anp.concatenate(arrays, -1),
        zeros=lambda x, n: np.zeros((x.shape[1], n), x.dtype),
        constant=lambda array: array,
        loop=_loop,
    )


def _loop(
    project: Callable[[Any], Any],
    step: Callable[..., Any],
    state: Any,
    x: Any,
) -> Any:
    """Go through an array: a list of steps is quadratic in n_time here."""
    out = []
    for t in range(len(x)):
        state, y = step(state, project(x[t]), None)
        out.append(y)
    return out
