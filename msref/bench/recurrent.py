"""Suite "recurrent": the networks that every framework has as a layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msref.architectures import GRU, LSTM, Elman
from msref.bench import peers_autograd, peers_jax, peers_torch
from msref.bench.peers import Point, compare
from msref.bench.products import products
from msref.bench.suite import (
    Case,
    Goal,
    Measurement,
    Suite,
    at_least,
    geometric_mean,
    ratio_goals,
)

CELLS: dict[str, Any] = {"Elman": Elman, "LSTM": LSTM, "GRU": GRU}

SHAPES = (
    (28, 64, 28, 128),
    (100, 32, 64, 128),
    (784, 32, 1, 128),
    (100, 64, 64, 256),
    (200, 16, 88, 512),
    (5000, 8, 2, 128),
)
"""n_time, n_batch, n_in, n_hid; "quick" has the first two."""

DTYPES = ("float32", "float64")


def sized(
    cells: Iterable[str], shapes: Iterable[tuple[int, ...]]
) -> list[Case]:
    """Return a case for each cell, shape and precision."""
    names = ("n_time", "n_batch", "n_in", "n_hid")
    return [
        {"cell": cell, "dtype": dtype, **dict(zip(names, shape, strict=True))}
        for shape in shapes
        for cell in cells
        for dtype in DTYPES
    ]


def cases(scale: str) -> list[Case]:
    """Return 12 cases, or 36."""
    return sized(CELLS, SHAPES if scale == "full" else SHAPES[:2])


def measure(case: Case, seconds: float) -> Measurement:
    """Time forward and backward: parameters' and input's gradient."""
    arch = CELLS[case["cell"]](case["n_in"], case["n_hid"])
    point = Point.draw(arch, case["n_time"], case["n_batch"], case["dtype"])
    peers = peers_torch.peers(point.cell) + peers_jax.peers(point.cell)
    peers += peers_autograd.peers(case["n_time"])
    timings, notes = compare(point, peers, seconds, products(point))
    return Measurement(case, timings, notes=notes)


def goals(rows: list[Measurement]) -> list[Goal]:
    """Return the figures to be reached."""
    shares = [row.share for row in rows if row.share is not None]
    return [
        *ratio_goals(rows, "torch fused", 0.60, 1.05),
        *ratio_goals(rows, "jax scan", 0.72, 1.0),
        *ratio_goals(rows, "torch eager", 0.52),
        *ratio_goals(rows, "autograd", 0.22),
        at_least(
            f"limit / ours, geometric mean of {len(shares)} cases",
            geometric_mean(shares),
            0.75,
        ),
    ]


RECURRENT = Suite(
    "recurrent",
    "forward and backward over a sequence, Elman, LSTM, GRU",
    cases,
    measure,
    goals,
)
