"""Times that can be compared: taken in turn, in one process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from msref.bench.conditions import current


@dataclass(frozen=True)
class Timing:
    """How long a job took.

    Attributes
        median, low, high: seconds; ``low`` and ``high`` are the quartiles.
        runs: how often it ran.
    """

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Sum up the seconds of each run."""
        low, median, high = np.percentile(seconds, (25, 50, 75)).tolist()
        return cls(median, low, high, len(seconds))


def interleaved(
    jobs: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    at_least: int = 5,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time jobs in turn, A B C A B C ..., so that all meet the same machine.

    Each job runs once before, uncounted: compilation is no part of its time.
    What a job returns is released within its time.

    Arguments
        seconds: rounds are added until the jobs have run for so long.
        at_least: rounds are made in any case.
        clock: seconds since some moment; ``None`` for that of the current
            conditions, CPU time with one thread.

    Returns
        name -> its times, in the order of ``jobs``.

    Raises
        ValueError: ``at_least`` is no number of rounds.
    """
    if at_least < 1:
        raise ValueError(f"at_least is {at_least}, expected at least 1")
    conditions = current()
    clock = clock or conditions.clock
    for job in jobs.values():
        job()
    conditions.settle()
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    total, n_rounds = 0.0, 0
    gc.collect()
    gc.freeze()  # what was there before is not looked through again
    try:
        while jobs and (total < seconds or n_rounds < at_least):
            for name, job in jobs.items():
                gc.collect()  # the rubbish of one job is not another's cost
                start = clock()
                job()
                conditions.settle()
                spent[name].append(clock() - start)
                total += spent[name][-1]
            n_rounds += 1
            if total <= 0.0 and n_rounds >= 10_000:
                break  # a clock that stands still
    finally:
        gc.unfreeze()
    return {name: Timing.of(times) for name, times in spent.items()}
