"""What the commands share: where they print, and how."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

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

from msref.arrays import on_device

out = Console(markup=False)
err = Console(stderr=True, markup=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def existing_device(device: str) -> str:
    """Return a device that is there; the parser's last word on --device.

    Raises
        ValueError, ModuleNotFoundError, NoGPUError: as ``on_device``.
    """
    on_device(device)
    return device


Device = Annotated[
    str,
    typer.Option(
        callback=existing_device,
        help="Where passes compute: cpu, or cuda (extra: gpu).",
    ),
]


def plain_table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return a table without lines; ``numbers`` are set to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(
            column, justify="right" if column in numbers else "left"
        )
    return table


@contextmanager
def bar(
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


def print_json(value: Any) -> None:
    """Print a value as JSON; NaN is no JSON."""
    print(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False))


def writable(path: Path) -> Path:
    """Return a folder that exists and can be written to."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written to")
    return path
