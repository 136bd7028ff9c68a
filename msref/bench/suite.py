"""What a suite is: cases, what was measured in each, and goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from msref.bench.timing import Timing

OURS, LIMIT = "ours", "limit"
"""The timing that all others are held against, and the one that no program
on the same BLAS can go below."""

SCALES = ("quick", "full")

Case = dict[str, Any]
"""What is measured: cell, dtype, sizes; JSON-ready."""


@dataclass(frozen=True)
class Measurement:
    """What was measured in one case.

    Attributes
        case: what was measured.
        timings: ``ours``, ``limit`` and the peers by name. Variants of a
            peer are named ``"peer, variant"``; the best of them counts.
        values: what was found beside the times, such as memory.
        notes: peer -> why it was not timed.
    """

    case: Case
    timings: Mapping[str, Timing]
    values: Mapping[str, float | str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def best(self, peer: str) -> Timing | None:
        """Return the times of a peer's best variant; ``None`` without."""
        found = [
            timing
            for name, timing in self.timings.items()
            if name.partition(", ")[0] == peer
        ]
        return min(found, key=lambda timing: timing.median, default=None)

    def ratio(self, peer: str) -> float | None:
        """Return our median over the peer's; below 1 we are faster."""
        ours, theirs = self.best(OURS), self.best(peer)
        if ours is None or theirs is None:
            return None
        return ours.median / theirs.median

    @property
    def share(self) -> float | None:
        """The limit's share of our time."""
        ratio = self.ratio(LIMIT)
        return None if ratio is None else 1.0 / ratio

    def to_dict(self) -> dict[str, Any]:
        """Return the row, JSON-ready."""
        timings = {name: asdict(t) for name, t in self.timings.items()}
        values = {name: _plain(v) for name, v in self.values.items()}
        return {
            "case": self.case,
            "timings": timings,
            "values": values,
            "notes": dict(self.notes),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Measurement:
        """Read what ``to_dict`` returned."""
        timings = {name: Timing(**t) for name, t in told["timings"].items()}
        return cls(told["case"], timings, told["values"], told["notes"])


def _plain(value: float | str) -> float | str:
    """Return a value that JSON has; NaN and infinity become words."""
    if isinstance(value, str) or np.isfinite(value):
        return value
    return str(value)


@dataclass(frozen=True)
class Goal:
    """A figure to be reached.

    Attributes
        text: what is measured, over which cases.
        value: what it came to; ``None`` where nothing was measured.
        limit: what it should come to.
        holds: ``None`` where nothing was measured.
        sense: ``"at most"`` or ``"at least"``.
    """

    text: str
    value: float | None
    limit: float
    holds: bool | None
    sense: str = "at most"


@dataclass(frozen=True)
class Suite:
    """Cases that are measured in the same way.

    Attributes
        key: short name on the command line.
        title: what is measured, one line.
        cases: scale, ``"quick"`` or ``"full"`` -> cases.
        measure: case, seconds to spend on it -> row.
        goals: rows -> goals.
        draw: rows, path -> a figure there, instead of one of the ratios.
    """

    key: str
    title: str
    cases: Callable[[str], list[Case]]
    measure: Callable[[Case, float], Measurement]
    goals: Callable[[list[Measurement]], list[Goal]] = lambda rows: []
    draw: Callable[[list[Measurement], Path], None] | None = None


def label(case: Case) -> str:
    """Return a case in short: its words, and its sizes in their order."""
    words = [value for value in case.values() if isinstance(value, str)]
    sizes = [str(v) for v in case.values() if not isinstance(v, str)]
    return " ".join([*words, "×".join(sizes)]).strip()


def sizes_of(case: Case) -> str:
    """Return what the sizes in a label are called."""
    return " × ".join(k for k, v in case.items() if not isinstance(v, str))


def fits(case: Case, text: str) -> bool:
    """Whether each word of a text occurs in a case: ``lstm n_time=100``."""
    told = " ".join(f"{name}={value} {value}" for name, value in case.items())
    return all(word in told.lower() for word in text.lower().split())


# --- goals ------------------------------------------------------------------


def at_most(text: str, value: float | None, limit: float) -> Goal:
    """Ask for a value that is at most ``limit``."""
    return Goal(text, value, limit, None if value is None else value <= limit)


def at_least(text: str, value: float | None, limit: float) -> Goal:
    """Ask for a value that is at least ``limit``."""
    holds = None if value is None else value >= limit
    return Goal(text, value, limit, holds, "at least")


def ratios(rows: Sequence[Measurement], peer: str) -> list[float]:
    """Return the ratios to a peer, of the rows that have it."""
    return [r for row in rows if (r := row.ratio(peer)) is not None]


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean; ``None`` of nothing."""
    return float(np.exp(np.mean(np.log(values)))) if values else None


def ratio_goals(
    rows: Sequence[Measurement],
    peer: str,
    mean: float,
    worst: float | None = None,
    of: str = OURS,
) -> list[Goal]:
    """Ask for ratios to a peer: the geometric mean, and the worst case."""
    found = ratios(rows, peer)
    text = f"{of} / {peer}, {{}} of {len(found)} cases"
    goals = [
        at_most(text.format("geometric mean"), geometric_mean(found), mean)
    ]
    if worst is not None:
        largest = max(found, default=None)
        goals += [at_most(text.format("worst"), largest, worst)]
    return goals
