"""Suite "cells": the networks that frameworks leave to a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msref.architectures import BRC, NBRC, DuRNN, IndRNN, MultiScaleLMN
from msref.bench import peers_jax, peers_torch
from msref.bench.peers import Point, compare
from msref.bench.recurrent import DTYPES, sized
from msref.bench.suite import Case, Goal, Measurement, Suite, ratio_goals

CELLS: dict[str, Callable[[int, int], Any]] = {
    "IndRNN": IndRNN,
    "BRC": BRC,
    "NBRC": NBRC,
    "DuRNN": lambda n_in, n_hid: DuRNN(n_in, n_hid, n_hid),
}

SHAPES = ((100, 32, 64, 128), (784, 32, 1, 128))
"""n_time, n_batch, n_in, n_hid."""

MODULES = {"n_hid": 128, "n_mem": 32, "n_modules": 8}
MODULE_SHAPES = ((100, 64, 28), (200, 1, 8), (784, 32, 1), (2000, 8, 8))
"""n_time, n_batch, n_in of the MultiScale LMN."""


def cases(scale: str) -> list[Case]:
    """Return 12 cases, or 24."""
    full = scale == "full"
    memories: list[Case] = [
        {"cell": "MultiScaleLMN", "dtype": dtype}
        | dict(zip(("n_time", "n_batch", "n_in"), shape, strict=True))
        | MODULES
        for shape in MODULE_SHAPES[: None if full else 2]
        for dtype in DTYPES
    ]
    return memories + sized(CELLS, SHAPES[: None if full else 1])


def measure(case: Case, seconds: float) -> Measurement:
    """Time forward and backward: parameters' and input's gradient."""
    arch: Any
    if case["cell"] == "MultiScaleLMN":
        sizes = ("n_in", "n_hid", "n_mem", "n_modules")
        arch = MultiScaleLMN(*(case[name] for name in sizes))
    else:
        arch = CELLS[case["cell"]](case["n_in"], case["n_hid"])
    point = Point.draw(arch, case["n_time"], case["n_batch"], case["dtype"])
    peers = peers_torch.peers(point.cell) + peers_jax.peers(point.cell)
    timings, notes = compare(point, peers, seconds)
    return Measurement(case, timings, notes=notes)


def goals(rows: list[Measurement]) -> list[Goal]:
    """Return the figures to be reached."""
    found = []
    limits = {"MultiScaleLMN": (0.35, 0.45)} | dict.fromkeys(CELLS, (0.5, 0.8))
    for cell, (eager, scan) in limits.items():
        own = [row for row in rows if row.case["cell"] == cell]
        found += ratio_goals(own, "torch eager", eager, of=cell)
        found += ratio_goals(own, "jax scan", scan, of=cell)
    return found


CELL_SUITE = Suite(
    "cells",
    "forward and backward over a sequence, networks of other memories",
    cases,
    measure,
    goals,
)
