"""``msref bench``: how fast, against whom, how close to the limit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from msref.cli.console import (
    Device,
    Json,
    bar,
    out,
    plain_table,
    print_json,
    writable,
)

WIDE = 200
"""Columns that the widest table needs."""


def bench_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Suites by short name; all by default."),
    ] = None,
    only: Annotated[
        str,
        typer.Option(help="Cases that have these words: 'lstm n_time=100'."),
    ] = "",
    scale: Annotated[
        str, typer.Option(help="quick (minutes) or full (an hour).")
    ] = "quick",
    seconds: Annotated[
        float | None,
        typer.Option(help="For each case; by scale. Five rounds at least."),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            help="1: CPU time on one core, with goals; more: wall time.",
        ),
    ] = 1,
    memory: Annotated[
        str,
        typer.Option(
            help="kept: the process gives none back, so times repeat;"
            " fresh: as your process has it, page faults count.",
        ),
    ] = "kept",
    device: Device = "cpu",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for results, tables, figures. An interrupted run"
            " goes on there.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Time the passes against what a user would pick instead.

    All jobs of a case run in turn in one process, after their gradients were
    found to agree. What is not installed is left out, and named.
    """
    from msref.bench import SUITES, Conditions, run
    from msref.bench.suite import SCALES, fits

    for name in names or ():
        if name not in SUITES:
            raise ValueError(
                f"there is no suite {name!r}, expected one of"
                f" {', '.join(SUITES)}"
            )
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}, expected quick or full")
    conditions = Conditions(threads, device, memory)
    chosen = names or [
        name
        for name, suite in SUITES.items()
        if any(fits(case, only) for case in suite.cases(scale))
    ]
    if not chosen:
        raise ValueError(f"no suite has a case with {only!r}")
    every = []
    for name in chosen:
        where = folder and writable(folder / f"{name}-{scale}")
        with bar(f"bench {name}", 1, as_json) as show:
            told = run(
                SUITES[name],
                scale=scale,
                only=only,
                seconds=seconds,
                conditions=conditions,
                folder=where,
                progress=show,
            )
        every.append(told)
        if not as_json:
            _print(told)
    if as_json:
        print_json(every)


def _print(told: dict[str, Any]) -> None:
    from msref.bench import table
    from msref.bench.running import rows_of

    rows = rows_of(told)
    found = table.table(told["title"], rows)
    out.print(Text(f"{told['suite']}: {told['title']}", "bold"))
    for line in table.conditions(told):
        out.print(Text(line, "dim"), soft_wrap=True)
    shown = plain_table(*found.columns, numbers=found.columns[1:])
    for cells in found.rows:
        shown.add_row(*cells)
    # lines too long for the terminal rather than numbers cut short
    Console(markup=False, width=max(out.width, WIDE)).print(shown)
    for line in table.legend(rows):
        out.print(Text(line, "dim"), soft_wrap=True)
    style = {True: "green", False: "yellow", None: "dim"}
    for goal in told["goals"]:
        told_goal = Text(table.goal_line(goal), style[goal["holds"]])
        out.print(told_goal, soft_wrap=True)
    for note in table.notes(rows):
        out.print(Text(note, "yellow"), soft_wrap=True)
    out.print()
