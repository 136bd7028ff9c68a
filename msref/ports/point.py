"""What a framework is run at, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.ports.network import Cell, cells_of, joined


@dataclass(frozen=True)
class Point:
    """A network, a point, and cotangents; random and all different.

    Attributes
        arch, params: the network.
        x: (n_time, n_batch, n_in).
        state: initial state.
        dy, dstate: gradients of a loss by every output and final state.
    """

    arch: Any
    params: Arrays
    x: Array
    state: Arrays
    dy: Array
    dstate: Arrays

    def cast(self, dtype: np.dtype[Any]) -> Point:
        """Return the same point in another precision."""

        def cast(tree: Arrays) -> Arrays:
            return {k: v.astype(dtype) for k, v in tree.items()}

        return Point(
            self.arch,
            cast(self.params),
            self.x.astype(dtype),
            cast(self.state),
            self.dy.astype(dtype),
            cast(self.dstate),
        )

    def rows(self, tree: Arrays) -> list[list[Cell]]:
        """Return a state's arrays (as ``params`` of cells), by layer."""
        rows: list[list[Cell]] = []
        for cell in cells_of(self.arch, tree):
            if cell.place.direction == 0:
                rows.append([])
            rows[-1].append(cell)
        return rows


@dataclass(frozen=True)
class Outcome:
    """What a framework computed at a point.

    Attributes
        own: its weights, under its names.
        y, state: outputs and final state, our shapes and names.
        grads: gradients of the loss by ``own``; ``None`` where it has none.
        dx, dstate: gradients by input and initial state, our names.
    """

    own: Arrays
    y: Array
    state: Arrays
    grads: Arrays | None = None
    dx: Array | None = None
    dstate: Arrays | None = None


def draw(
    arch: Any, rng: np.random.Generator, zero: tuple[str, ...] = ()
) -> Point:
    """Draw a point: five steps, three sequences, nothing zero.

    Arguments
        zero: parameters that a framework cannot have; by their last name.
    """
    n_time, n_batch = 5, 3
    params = {}
    for name, shape in arch.shapes().items():
        scale = 0.9 / np.sqrt(shape[0]) if len(shape) == 2 else 0.5
        params[name] = scale * rng.standard_normal(shape)
        if name.rpartition("/")[2] in zero:
            params[name] = np.zeros(shape)
    start = arch.initial_state(n_batch)

    def like(tree: Arrays) -> Arrays:
        return {k: rng.standard_normal(v.shape) for k, v in tree.items()}

    x = rng.standard_normal((n_time, n_batch, arch.n_in))
    dy = rng.standard_normal((n_time, n_batch, arch.n_out))
    return Point(arch, params, x, like(start), dy, like(start))


def rejoined(rows: list[list[Arrays]]) -> Arrays:
    """Return the states of all cells under the names of the network."""
    as_numpy = [
        [{k: np.asarray(v) for k, v in tree.items()} for tree in row]
        for row in rows
    ]
    return joined(as_numpy)
