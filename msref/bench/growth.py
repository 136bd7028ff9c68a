"""Suites "growth" and "overhead": what a larger network or sequence costs.

A cost that grows as size^k is a line of slope k on two logarithmic axes; k is
fitted to all sizes by least squares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from msref.architectures import LMN, LSTM, REGISTRY, MultiScaleLMN
from msref.bench.memory import peak_memory
from msref.bench.peers import Point, our_pass
from msref.bench.suite import Case, Goal, Measurement, Suite, at_most
from msref.bench.timing import interleaved

START = {
    "n_time": 250,
    "n_batch": 8,
    "n_hid": 64,
    "n_modules": 2,
}
"""The smallest sizes, and those of what does not grow."""

CELLS: dict[str, Callable[..., Any]] = {
    "LSTM": lambda n_hid, n_modules: LSTM(4, n_hid),
    "LMN": lambda n_hid, n_modules: LMN(4, n_hid, n_hid),
    "MultiScaleLMN": lambda n_hid, n_modules: MultiScaleLMN(
        4, n_hid, n_hid // 4, n_modules
    ),
}

FACTORS = {"quick": 8, "full": 32}
"""Scale -> how many times the smallest size the largest n_time is."""

LINEAR = 1.05

# --- growth -----------------------------------------------------------------


def cases(scale: str) -> list[Case]:
    """Return what grows in which network, from where and how far."""
    found: list[Case] = []
    for cell in CELLS:
        for over in START:
            if over == "n_modules" and cell != "MultiScaleLMN":
                continue
            most = FACTORS[scale] if over == "n_time" else 8
            found.append({"cell": cell, "over": over, "times": most})
    return found


def passes(
    cell: str, n_time: int, n_batch: int, n_hid: int, n_modules: int
) -> Callable[[], Any]:
    """Return our forward and backward pass in float64."""
    arch = CELLS[cell](n_hid, n_modules)
    return our_pass(Point.draw(arch, n_time, n_batch, "float64"))[0]


def measure(case: Case, seconds: float) -> Measurement:
    """Time the sizes in turn; take the peak memory of each in a child."""
    over = case["over"]
    sizes: dict[str, list[int]] = {}
    factor = 1
    while factor <= case["times"]:
        point = START | {over: factor * START[over]}
        sizes[f"×{factor}"] = list(point.values())
        factor *= 2
    jobs = {at: passes(case["cell"], *size) for at, size in sizes.items()}
    timings = interleaved(jobs, seconds=seconds)
    del jobs  # before the children need the memory
    peaks = {
        at: peak_memory("msref.bench.growth:passes", case["cell"], *size)
        for at, size in sizes.items()
    }
    medians = [timing.median for timing in timings.values()]
    return Measurement(
        case,
        timings,
        {
            "time exponent": exponent(medians),
            "memory exponent": exponent(list(peaks.values())),
        }
        | {f"MB {at}": round(peak / 1e6, 1) for at, peak in peaks.items()},
    )


def exponent(costs: list[Any]) -> float:
    """Return k of cost ~ size^k, where each size is twice the one before."""
    slope = np.polyfit(np.arange(len(costs)), np.log2(costs), 1)[0]
    return round(float(slope), 3)


def goals(rows: list[Measurement]) -> list[Goal]:
    """Return the figures to be reached: linear in n_time."""
    own = [row for row in rows if row.case["over"] == "n_time"]
    return [
        at_most(
            f"{what} over n_time, largest of {len(own)} networks",
            max((float(row.values[what]) for row in own), default=None),
            LINEAR,
        )
        for what in ("time exponent", "memory exponent")
    ]


def draw(rows: list[Measurement], path: Path) -> None:
    """Draw time over size, both in units of the smallest."""
    from msref.claims.figures import figure

    with figure(path) as axes:
        for row in rows:
            medians = [timing.median for timing in row.timings.values()]
            name = f"{row.case['cell']}, {row.case['over']}"
            ratio = np.array(medians) / medians[0]
            axes.loglog(2.0 ** np.arange(len(ratio)), ratio, ".-", label=name)
        most = max((row.case["times"] for row in rows), default=1)
        axes.loglog([1, most], [1, most], "k:", linewidth=1, label="linear")
        axes.set_xlabel("size, in units of the smallest")
        axes.set_ylabel("CPU time, in units of the smallest")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


GROWTH = Suite(
    "growth",
    "time and peak memory as sizes double, from "
    + ", ".join(f"{name} {size}" for name, size in START.items()),
    cases,
    measure,
    goals,
    draw,
)

# --- overhead ---------------------------------------------------------------

N_STEPS = 1000


def smallest(name: str) -> Any:
    """Return a network of the registry with all sizes one, a window two."""
    arch = REGISTRY[name].examples[0]
    sizes = [f.name for f in fields(arch) if f.name.startswith("n_")]
    smallest = {size: 2 if size == "n_window" else 1 for size in sizes}
    return replace(arch, **smallest)


def overhead_cases(scale: str) -> list[Case]:
    """Return the networks of the registry that have units of their own."""
    found = []
    for name, entry in REGISTRY.items():
        names = {f.name for f in fields(entry.cls)}
        if names & {"n_hid", "n_mem", "n_short"}:
            found.append({"network": name})
    return found


def measure_overhead(case: Case, seconds: float) -> Measurement:
    """Time a step of one unit and one sequence: what is left is Python."""
    arch = smallest(case["network"])
    point = Point.draw(arch, N_STEPS, 1, "float64")
    tape = arch.forward(point.params, point.x)[2]
    timings = interleaved(
        {
            "forward": lambda: arch.forward(point.params, point.x),
            "backward": lambda: arch.backward(point.params, tape, point.dy),
        },
        seconds=seconds / 4,
    )
    medians = sum(timing.median for timing in timings.values())
    return Measurement(
        case, timings, {"µs a step": round(1e6 * medians / N_STEPS, 1)}
    )


OVERHEAD = Suite(
    "overhead",
    "cost of Python per step: one unit, one sequence, 1000 steps",
    overhead_cases,
    measure_overhead,
)
