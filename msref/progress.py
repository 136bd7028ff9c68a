"""A bar for what takes long."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TextColumn


@contextlib.contextmanager
def bar(
    progress: bool | None, title: str, total: int
) -> Iterator[Callable[..., None]]:
    """Give a function that shows how much of ``total`` is done.

    It takes what is done, and in words what was found last: ``show(3,
    "loss 0.1")``.

    Arguments
        progress: ``None`` for where stderr is a terminal.
    """
    wanted = sys.stderr.isatty() if progress is None else progress
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[at]}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not wanted) as shown:
        task = shown.add_task(escape(title), total=total, at="")

        def show(done: int, at: str = "") -> None:
            shown.update(task, completed=done, at=at)

        yield show
