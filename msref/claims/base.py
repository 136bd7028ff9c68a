"""A claim of a paper, as an experiment that anybody can run.

A paper's file lists *jobs*, the independent pieces of work behind its claims,
and says how their results decide each claim. What a job computes depends on
its settings alone, so jobs run side by side, and a run that was interrupted
goes on with the jobs that are missing.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HOLDS, FAILS, NOT_COMPARABLE = "holds", "does not hold here", "not comparable"

Result = dict[str, Any]
"""What a job found: JSON-ready."""


@dataclass(frozen=True)
class Setting:
    """What a run of a paper's claims was asked to do.

    Attributes
        scale: ``"quick"``, minutes on two cores, or ``"full"``, hours.
        seeds: one run of every random job for each.
        data: folder or file of the canonical music sets; ``None`` for what
            msref has itself.
        device: where trainings and warm-ups compute; see ``msref.arrays``.
    """

    scale: str = "quick"
    seeds: tuple[int, ...] = (0,)
    data: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.scale not in ("quick", "full"):
            raise ValueError(
                f"scale is {self.scale!r}, expected 'quick' or 'full'"
            )
        if not self.seeds:
            raise ValueError("seeds is empty, expected at least one seed")


@dataclass(frozen=True)
class Job:
    """One independent piece of work.

    Attributes
        key: its name within the run, also that of its files.
        function: a function at the top level of a module; called with the
            settings and with ``checkpoint``, a path it may write to in order
            to go on after an interruption.
        settings: JSON-ready arguments; they decide the result.
        cost: rough seconds; the longest jobs start first.
        alone: nothing else runs beside it, because it takes times.
    """

    key: str
    function: Callable[..., Result]
    settings: Mapping[str, Any]
    cost: float = 1.0
    alone: bool = False

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings as they are written down: no folders of a machine."""
        data = self.settings.get("data")
        named = {"data": Path(data).name} if data else {}
        return {**self.settings, **named}

    @property
    def fingerprint(self) -> str:
        """Digest of the function's source and of the settings."""
        text = json.dumps(self.recorded, sort_keys=True)
        source = _source(self.function)
        return hashlib.sha256((source + text).encode()).hexdigest()[:16]


@cache
def _source(function: Callable[..., Result]) -> str:
    """Return its source, which hundreds of jobs of a paper share."""
    return inspect.getsource(function)


def generator(key: str, seed: int) -> np.random.Generator:
    """Return a generator that depends on a name and a seed alone."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, *digest[:8]])


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, what was measured, and what follows.

    Attributes
        key: a letter.
        text: the claim, in our words.
        source: where the paper says so.
        published: the figure of the paper, or that there is none.
        measured: our figure, with spread.
        verdict: ``holds``, ``does not hold here`` or ``not comparable``.
        reason: why, in one sentence.
    """

    key: str
    text: str
    source: str
    published: str
    measured: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Table:
    """A table of results, for the terminal, for Markdown and for JSON."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [
            f"| {' | '.join(self.columns)} |",
            f"|{'---|' * len(self.columns)}",
        ]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Paper:
    """The claims of a paper, or of papers that belong together.

    Attributes
        name: short name on the command line.
        title: the papers.
        jobs: setting -> the jobs to run.
        judge: setting, results by job -> claims and tables.
        draw: results by job, folder -> figures written there.
        scaled_down: what differs from the papers' own experiments.
        takes_data: runs on music sets that the caller has.
        prepare: called with the jobs that are to run, before any does.
        seeds: scale -> default number of seeds.
    """

    name: str
    title: str
    jobs: Callable[[Setting], list[Job]]
    judge: Callable[
        [Setting, dict[str, Result]], tuple[list[Claim], list[Table]]
    ]
    draw: Callable[[dict[str, Result], Path], list[Path]]
    scaled_down: str
    takes_data: bool = False
    prepare: Callable[[list[Job]], None] | None = None
    seeds: Mapping[str, int] = field(
        default_factory=lambda: {"quick": 2, "full": 5}
    )
