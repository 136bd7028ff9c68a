"""The notebooks of a book, run as a reader runs them who downloaded one.

That is in an empty folder, with an installed package and no checkout around
it. An editable installation lies in its checkout, so a copy of the package
stands in for an installed one.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msref

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
NO_KERNEL = "Kernel died before replying to kernel_info"
"""What is said of a kernel that could not begin. Most often a port that was
free when it was chosen has become another's; so it is tried again."""

STARTS = 3
SIDE_BY_SIDE = 2
SECONDS = 240
"""How long a cell may take, beside another notebook on a busy machine."""


async def run_alone(
    paths: list[Path], show: Callable[[int, str], None]
) -> dict[str, str]:
    """Run notebooks, two at a time.

    Arguments
        paths: of the notebooks; they are not changed.
        show: called with the number of those that ended, and a name.

    Returns
        Name -> why it failed, in one line; those that ran through are not
        in it.
    """
    failed: dict[str, str] = {}
    free, ended = asyncio.Semaphore(SIDE_BY_SIDE), 0

    async def run(path: Path, package: Path, folder: Path) -> None:
        nonlocal ended
        async with free:
            reason = await _run(path, package, folder)
        ended += 1
        if reason:
            failed[path.name] = reason
        show(ended, path.name)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        package = Path(work, "installed")
        shutil.copytree(
            Path(msref.__file__).parent,
            package / "msref",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        async with asyncio.TaskGroup() as group:
            for path in paths:
                empty = Path(work, path.stem)
                empty.mkdir()
                group.create_task(run(path, package, empty))
    return failed


async def _run(path: Path, package: Path, folder: Path) -> str:
    """Run one notebook; say why it failed, or nothing."""
    for _ in range(STARTS):
        try:
            return await _attempt(path, package, folder)
        except RuntimeError as error:
            if NO_KERNEL not in str(error):
                raise
    return f"{NO_KERNEL}, {STARTS} times"


async def _attempt(path: Path, package: Path, folder: Path) -> str:
    """Run it once; say why it failed, or nothing.

    Raises
        RuntimeError: no kernel began.
    """
    nbformat: Any = importlib.import_module("nbformat")
    nbclient: Any = importlib.import_module("nbclient")
    told = os.environ.get("PYTHONPATH")
    ways = [str(package), *([told] if told else [])]
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        nbformat.validate(notebook)
        await client.async_execute(
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(ways)}
        )
    except nbclient.exceptions.CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except (
        nbformat.ValidationError,
        nbclient.exceptions.CellTimeoutError,
        nbclient.exceptions.DeadKernelError,
    ) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return ""
