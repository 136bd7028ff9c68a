"""``msref verify``: every pass against independent witnesses."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from msref.architectures import REGISTRY
from msref.cli.console import (
    Device,
    Json,
    bar,
    out,
    plain_table,
    print_json,
)
from msref.verification import AUTOGRAD, COMPLEX_STEP, Report, verify
from msref.verification.load import load
from msref.verification.mutants import Trial, power
from msref.verification.report import STYLE


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
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Hold every forward and backward pass against independent witnesses."""
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype is {dtype!r}, expected float64 or float32")
    if planted and device != "cpu":
        raise ValueError(f"device is {device!r}, but --power runs on the cpu")
    archs: list[tuple[str, Any]] = []
    for name in names or REGISTRY:
        with _crashes_of(name, code=2):
            archs += [(name, arch) for arch in load(name)]
    if planted:
        _power(archs, cases, seed, as_json)
        return
    reports: list[Report] = []
    every = len(archs) * cases
    with bar("verify", every, as_json) as show:

        def one_more(done: int, of: int) -> None:
            show(len(reports) * cases + done, every)

        for name, arch in archs:
            with _crashes_of(name):
                report = verify(
                    arch,
                    cases=cases,
                    seed=seed,
                    dtype=np.dtype(dtype),
                    device=device,
                    progress=one_more,
                )
            reports.append(report)
    if as_json:
        ok = all(report.ok for report in reports)
        worst = max(report.relative_error for report in reports)
        told = [report.to_dict() for report in reports]
        print_json(
            {
                "ok": ok,
                "relative_error": worst if np.isfinite(worst) else str(worst),
                "dtype": dtype,
                "device": device,
                "reports": told,
            }
        )
    else:
        for report in reports:
            if verbose or not report.ok:
                out.print(report, "")
        out.print(_summary(reports, device))
        for report in reports:
            for note in report.notes:
                out.print(Text(f"{report.name}: {note}", "yellow"))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _summary(reports: list[Report], device: str) -> Table:
    numbers = ("arrays", "cases", AUTOGRAD, COMPLEX_STEP, "seconds")
    table = plain_table("verdict", "network", *numbers, numbers=numbers)
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
    if device != "cpu":
        table.caption += f"; passes on {device}, witnesses on the cpu"
    return table


def _power(
    archs: list[tuple[str, Any]], cases: int, seed: int, as_json: bool
) -> None:
    """Plant the known bugs and print the share caught."""
    results: list[tuple[Any, list[Trial]]] = []
    with bar("planting bugs", len(archs), as_json) as show:
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
        print_json(
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
        numbers = ("in", "caught", "by autograd", "by complex step")
        table = plain_table("planted bug", *numbers, numbers=numbers)
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
