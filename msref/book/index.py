"""The index of architectures: what the registry has, and what is known of it.

Everything in it is computed while the book is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msref.architectures import REGISTRY
from msref.book.results import Run
from msref.vectors import catalogue
from msref.verification import Report, verify

CLAIMS = {
    "lmn": ("elman", "lstm", "lmn", "ulm"),
    "mslmn": ("elman", "lstm", "lmn", "clockwork", "mslmn"),
    "durnn": ("elman", "lstm", "indrnn", "durnn", "batchnorm", "residual"),
    "warmup": ("lstm", "gru", "mgu", "brc", "nbrc", "parallel"),
}
"""Paper -> the architectures that its claims are about."""

N_TIME, N_BATCH = 5, 2
"""Sizes of the one case that each example is verified at here: the book has
to be built in minutes. ``msref verify`` draws larger ones, and more."""

_TARGET = re.compile(r"^# \(arch-([\w-]+)\)=", re.MULTILINE)


def verdicts(
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[Report]]:
    """Verify every example of the registry, at one short case each."""
    found: dict[str, list[Report]] = {}
    for done, (name, entry) in enumerate(REGISTRY.items()):
        found[name] = [
            verify(arch, cases=1, n_time=N_TIME, n_batch=N_BATCH)
            for arch in entry.examples
        ]
        if progress is not None:
            progress(done + 1, len(REGISTRY))
    return found


def chapters_of(scripts: list[Path]) -> dict[str, Path]:
    """Find which chapter describes which architecture.

    A chapter says so by ``(arch-elman)=`` above the heading.

    Raises
        ValueError: the registry has no such name, or two chapters say so.
    """
    found: dict[str, Path] = {}
    for path in scripts:
        for name in _TARGET.findall(path.read_text("utf-8")):
            if name not in REGISTRY or name in found:
                raise ValueError(
                    f"{path.name} has the target arch-{name}: no such"
                    " architecture, or another chapter has it"
                )
            found[name] = path
    return found


def architectures(
    scripts: list[Path], runs: list[Run], reports: dict[str, list[Report]]
) -> str:
    """Return the page with the index, as MyST Markdown.

    Arguments
        scripts: the chapters of the book.
        runs: the results that are committed.
        reports: name -> reports of its examples.
    """
    chapters = chapters_of(scripts)
    head = ("architecture", "paper", "year", "chapter", "verdict", "vectors")
    rows = []
    for name, entry in REGISTRY.items():
        where = f"{{ref}}`arch-{name}`" if name in chapters else "–"
        rows.append(
            (
                f"{{py:class}}`~msref.{entry.cls.__name__}`",
                entry.paper,
                str(entry.year or "–"),
                where,
                _verdict(reports[name]),
                str(len(catalogue.names([name]))),
                _claims(name, runs),
            )
        )
    lines = [_row((*head, "claims")), "|---" * (len(head) + 1) + "|"]
    checked = sum(map(len, reports.values()))
    return (
        "# Index of architectures\n\n"
        f"Made from the registry. The verdict is that of {checked} configured"
        f" examples, each verified while this book was built, at one case of"
        f" {N_TIME} steps; after it, the largest relative error against an"
        " exact witness. *Vectors* counts the golden vectors that ship with"
        " msref. *Claims* counts the claims of the papers in which the network"
        " was measured, in the largest run that is committed.\n\n"
        ":::{container} wide\n\n"
        + "\n".join([*lines, *map(_row, rows)])
        + "\n\n:::\n"
    )


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(reports: list[Report]) -> str:
    wrong = [report for report in reports if not report.ok]
    if wrong:
        return f"**{wrong[0].verdict}** ({wrong[0].name})"
    worst = max(report.relative_error for report in reports)
    return f"PASS, {len(reports)}×, {worst:.0e}"


def _claims(name: str, runs: list[Run]) -> str:
    told = []
    for paper, about in CLAIMS.items():
        ours = [run.told for run in runs if run.told["paper"] == paper]
        ours.sort(key=lambda run: (run["scale"] == "full", run["date"]))
        if name in about and ours:
            said: list[Any] = [c["verdict"] for c in ours[-1]["claims"]]
            holds = said.count("holds")
            told.append(f"{paper}: {holds} of {len(said)} hold")
    return "; ".join(told) or "–"
