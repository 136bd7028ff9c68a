"""Peak memory of a job, in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from msref.blas import VARIABLES

_CHILD = "from msref.bench.memory import child; child()"


def peak_memory(job: str, *args: Any) -> int:
    """Return by how many bytes a child's peak memory grows while a job runs.

    Arguments
        job: ``"module:function"``. The function is called with ``args``,
            sets up what is not to count, such as parameters and inputs, and
            returns a callable without arguments: the job itself.
        args: JSON-ready.

    Returns
        Resident memory at its peak, less that after the set-up.

    Raises
        ValueError: ``job`` is not ``module:function``.
        OSError: the child failed; the message has its last line.
    """
    if not all(job.partition(":")):
        raise ValueError(f"job is {job!r}, expected 'module:function'")
    one_thread = dict.fromkeys(VARIABLES, "1")  # each has buffers of its own
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, job, json.dumps(args)],
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [
            f"ended with {done.returncode}, perhaps for want of memory"
        ]
        raise OSError(f"{job} with {args}: {lines[-1]}")
    return int(done.stdout.splitlines()[-1])


def child() -> None:
    """Run the job named on the command line; print by how much it grew."""
    module, _, name = sys.argv[1].partition(":")
    set_up = getattr(importlib.import_module(module), name)
    run: Callable[[], object] = set_up(*json.loads(sys.argv[2]))
    small = np.ones((64, 64))
    small @ small  # BLAS has its buffers now
    print(growth(run))


def growth(run: Callable[[], object]) -> int:
    """Return by how many bytes this process's peak grows while ``run`` runs.

    On Linux the peak is that since the start of ``run``; elsewhere that of
    the process, which must not have been larger before.
    """
    gc.collect()
    _give_back()
    own = Path("/proc/self/clear_refs")
    if not own.exists():
        before = _peak_so_far()
        run()
        return _peak_so_far() - before
    own.write_text("5")  # forget the peak; see proc(5)
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def _give_back() -> None:
    """Hand free memory back to the system, that it be counted when reused."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc alone has it


def _status(name: str) -> int:
    """Return a size from the system's account of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    raise OSError(f"this system does not tell {name}")


def _peak_so_far() -> int:
    import resource  # Unix alone has it

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
