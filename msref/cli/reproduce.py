"""``msref reproduce``: the claims of the papers, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from msref.cli.console import Device, Json, bar, out, print_json, writable


def reproduce_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Papers by short name; all by default."),
    ] = None,
    scale: Annotated[
        str, typer.Option(help="quick (minutes) or full (hours).")
    ] = "quick",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Canonical music set (.mat), or a folder of them, instead of"
            " the embedded chorales; for lmn."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many; by scale.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the runs.")
    ] = Path("runs"),
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes side by side; one per core."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Take nothing over from before.")
    ] = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure the claims of the papers, beside what they published.

    A run that was interrupted goes on where it was when called again.
    """
    from msref.claims import PAPERS, Setting, reproduce

    taking_data = [name for name, paper in PAPERS.items() if paper.takes_data]
    chosen = names or (list(PAPERS) if data is None else taking_data)
    for name in chosen:
        if name not in PAPERS:
            raise ValueError(
                f"there is no paper {name!r}, expected one of"
                f" {', '.join(PAPERS)}"
            )
        if data is not None and name not in taking_data:
            raise ValueError(
                f"{name} has data of its own, --data is for"
                f" {', '.join(taking_data)}"
            )
    told = []
    for name in chosen:
        paper = PAPERS[name]
        if scale not in paper.seeds:
            raise ValueError(f"scale is {scale!r}, expected quick or full")
        setting = Setting(
            scale, tuple(range(seeds or paper.seeds[scale])), data, device
        )
        parts = [name, scale, *([data.stem.lower()] if data else [])]
        # Runs of two devices are kept apart: they round differently.
        run = "-".join([*parts, *([device] if device != "cpu" else [])])
        where = writable(folder / run)
        with bar(f"reproduce {name}", 1, as_json) as show:
            told.append(
                reproduce(
                    paper,
                    setting,
                    where,
                    workers=workers,
                    fresh=fresh,
                    progress=show,
                )
            )
        if not as_json:
            _print_claims(told[-1], where)
    if as_json:
        print_json(told)


def _print_claims(told: dict[str, Any], where: Path) -> None:
    for table in told["tables"]:
        shown = Table(
            title=table["title"],
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
            header_style="dim",
        )
        for column in table["columns"]:
            shown.add_column(column)
        for row in table["rows"]:
            shown.add_row(*row)
        out.print(shown, "")
    for claim in told["claims"]:
        style = {"holds": "bold green", "does not hold here": "bold yellow"}
        out.print(
            Text.assemble(
                (f"({claim['key']}) ", "bold"),
                (claim["verdict"], style.get(claim["verdict"], "bold")),
                f": {claim['text']}",
            )
        )
        for label in ("published", "measured", "reason"):
            out.print(Text(f"    {label}: {claim[label]}"))
    taken = told["jobs_taken_over"]
    if taken:
        out.print(
            f"\n{taken} of {len(told['jobs'])} jobs were finished before;"
            " --fresh runs them again"
        )
    out.print(
        f"\n{told['seconds_of_this_run']:.0f} s; numbers, table and"
        f" {len(told['figures'])} figures in {where}"
    )
