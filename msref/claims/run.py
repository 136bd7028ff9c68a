"""Run a paper's jobs side by side, keep what is done, write the results.

FOLDER/jobs/KEY.json     what a finished job found
FOLDER/jobs/KEY.*part*   where an interrupted job goes on
FOLDER/result.json       every number, seed, version, setting, duration
FOLDER/table.md          claims and tables, to be read
FOLDER/*.png             figures
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from msref import files
from msref.arrays import on_device
from msref.claims.base import Job, Paper, Result, Setting
from msref.claims.device import compute_on

WORKERS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc hands large arrays back to the system at every pass and asks for
    # new ones, whose pages cost more time than the arithmetic on them.
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}
"""The environment of workers: one BLAS thread each, since they share the
cores, and memory that is used again."""


def reproduce(
    paper: Paper,
    setting: Setting,
    folder: Path,
    *,
    workers: int | None = None,
    fresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run what is missing, decide the claims, write everything.

    Arguments
        folder: of the run; jobs finished there are taken over if their
            function and settings are the same. Changes elsewhere, in code
            or in a data file of the same name, are not noticed: use
            ``fresh`` then.
        workers: processes side by side; ``None`` for the number of cores.
        fresh: run everything again.
        progress: called with (jobs done, jobs in all).

    Returns
        What ``result.json`` holds.

    Raises
        OSError: the folder cannot be written to.
        ValueError: settings or data that cannot be.
        ModuleNotFoundError, NoGPUError: a device that is not there.
    """
    if setting.data is not None and not paper.takes_data:
        raise ValueError(
            f"data is {setting.data}, expected none: {paper.name} has data of"
            " its own"
        )
    device = setting.device
    on_device(device)  # it is there
    jobs = paper.jobs(setting)
    (folder / "jobs").mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    done = {} if fresh else _finished(jobs, folder)
    n_reused = len(done)
    missing = sorted(
        (job for job in jobs if job.key not in done), key=lambda job: -job.cost
    )
    if fresh:
        _remove(folder / "jobs", "*.part*")
    if progress is not None:
        progress(len(done), len(jobs))
    if paper.prepare is not None:
        paper.prepare(missing)
    for job, result, seconds in itertools.chain(
        _run_all([job for job in missing if job.alone], folder, 1, device),
        _run_all(
            [job for job in missing if not job.alone], folder, workers, device
        ),
    ):
        done[job.key] = {
            "fingerprint": job.fingerprint,
            "settings": job.recorded,
            "result": result,
            "seconds": round(seconds, 3),
        }
        files.write_json(folder / "jobs" / f"{job.key}.json", done[job.key])
        _remove(folder / "jobs", f"{job.key}.*part*")
        if progress is not None:
            progress(len(done), len(jobs))

    results = {job.key: done[job.key]["result"] for job in jobs}
    claims, tables = paper.judge(setting, results)
    figures = paper.draw(results, folder)
    told = {
        "paper": paper.name,
        "title": paper.title,
        "scale": setting.scale,
        "seeds": list(setting.seeds),
        "data": setting.data.name if setting.data else "embedded or fetched",
        "scaled_down": paper.scaled_down,
        "date": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "versions": {
            name: version(name) for name in ("msref", "numpy", "scipy")
        }
        | {"python": platform.python_version()},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}"
        + ("" if device == "cpu" else f", trainings on {device}"),
        "seconds": round(sum(done[job.key]["seconds"] for job in jobs), 1),
        "seconds_of_this_run": round(time.perf_counter() - start, 1),
        "jobs_taken_over": n_reused,
        "claims": [asdict(claim) for claim in claims],
        "tables": [asdict(table) for table in tables],
        "figures": [figure.name for figure in figures],
        "jobs": {job.key: done[job.key] for job in jobs},
    }
    plain: dict[str, Any] = json.loads(json.dumps(told, allow_nan=False))
    files.write_json(folder / "result.json", plain)
    files.write_text(folder / "table.md", _markdown(plain, tables))
    return plain


def _remove(folder: Path, pattern: str) -> None:
    """Remove checkpoints: files, or folders of them."""
    for part in folder.glob(pattern):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


def _finished(jobs: list[Job], folder: Path) -> dict[str, Any]:
    """Read what was found before with the same settings and source."""
    found = {}
    for job in jobs:
        path = folder / "jobs" / f"{job.key}.json"
        if path.is_file():
            told = files.read_json(path)
            if told.get("fingerprint") == job.fingerprint:
                found[job.key] = told
    return found


def _run_all(
    jobs: list[Job], folder: Path, workers: int | None, device: str
) -> Iterator[tuple[Job, Result, float]]:
    """Yield job, result and seconds in the order in which jobs end."""
    if not jobs:
        return
    n_workers = min(workers or os.cpu_count() or 1, len(jobs))
    with _environment():
        pool = ProcessPoolExecutor(
            n_workers,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(device,),
        )
        try:
            running = {
                pool.submit(_timed, job, str(_part(folder, job))): job
                for job in jobs
            }
            while running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                # What succeeded is kept, even beside a job that failed.
                for future in sorted(ended, key=lambda f: bool(f.exception())):
                    result, seconds = future.result()
                    yield running.pop(future), result, seconds
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was killed, perhaps for want of memory; call again"
                " to go on, with --workers 1 if it happens again"
            ) from error
        except BaseException:
            # Ctrl-C or a failed job: the others have checkpoints.
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            raise
        pool.shutdown()


def _begin(device: str) -> None:
    """Prepare this worker."""
    compute_on(device)
    _end_with_us()


def _end_with_us() -> None:
    """End this worker when the process that started it is killed.

    It would go on with its job otherwise, beside the run that is resumed.
    """
    parent = parent_process()
    assert parent is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _part(folder: Path, job: Job) -> Path:
    """Name the job's checkpoints; another version's are left alone."""
    return folder / "jobs" / f"{job.key}.{job.fingerprint}"


def _timed(job: Job, path: str) -> tuple[Result, float]:
    start = time.perf_counter()
    result = job.function(
        **job.settings, checkpoint=Path(f"{path}.part.safetensors")
    )
    return result, time.perf_counter() - start


@contextmanager
def _environment() -> Iterator[None]:
    """Let child processes start with the environment of ``WORKERS``."""
    before = {name: os.environ.get(name) for name in WORKERS}
    os.environ.update(WORKERS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _markdown(told: dict[str, Any], tables: list[Any]) -> str:
    lines = [
        f"# {told['title']}",
        "",
        f"Scale {told['scale']}, seeds {told['seeds']}, data:"
        f" {told['data']}; {told['date']}, msref {told['versions']['msref']},"
        f" {told['machine']}, {told['seconds']:.0f} s of computing.",
        "",
        f"Scaled down against the papers: {told['scaled_down']}",
        "",
    ]
    for claim in told["claims"]:
        lines += [
            f"## ({claim['key']}) {claim['verdict']}",
            "",
            f"{claim['text']} *{claim['source']}*",
            "",
            f"- published: {claim['published']}",
            f"- measured: {claim['measured']}",
            f"- {claim['reason']}",
            "",
        ]
    for table in tables:
        lines += [table.markdown()]
    lines += [f"![{name}]({name})" for name in told["figures"]]
    return "\n".join(lines) + "\n"
