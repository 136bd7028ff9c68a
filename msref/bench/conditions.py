"""Under what conditions a time is taken: threads, core, memory, machine.

A time says little without them. With one thread the process is held on one
core and CPU time is counted, so that other work on the machine disturbs
least; with more threads, or on a GPU, it is wall time.

Memory that a process gives back costs a page fault per page when it is asked
for again. On a virtual machine whose host takes free memory away, a fault can
cost many times what it does elsewhere, so that who is faster depends on who
waited longer for his turn. So the process keeps what it has, for us and for
all peers; ``fresh`` leaves the allocator as a user's process has it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from msref.arrays import on_device

ONE_THREAD_XLA = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
"""What keeps JAX on one thread; read when it is first imported."""

PACKAGES = (
    *("msref", "numpy", "scipy", "torch", "jax", "jaxlib", "autograd"),
    *("numba", "cupy-cuda12x", "cupy-cuda13x"),
)


@dataclass(frozen=True)
class Conditions:
    """What holds while jobs are timed.

    Attributes
        threads: of BLAS and of every peer.
        device: ``"cpu"`` or ``"cuda"``.
        memory: ``"kept"`` by the process, or ``"fresh"`` at each run.
    """

    threads: int = 1
    device: str = "cpu"
    memory: str = "kept"

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}, expected at least 1")
        if self.memory not in ("kept", "fresh"):
            raise ValueError(
                f"memory is {self.memory!r}, expected 'kept' or 'fresh'"
            )
        on_device(self.device)  # says what is wrong with it

    @property
    def clock(self) -> Callable[[], float]:
        """CPU seconds with one thread on a CPU, seconds of wall otherwise."""
        alone = self.threads == 1 and self.device == "cpu"
        return time.process_time if alone else time.perf_counter

    @property
    def time(self) -> str:
        """What the clock counts, in words."""
        return "CPU" if self.clock is time.process_time else "wall"

    def settle(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device == "cuda":
            import cupy

            cupy.cuda.Device().synchronize()


_CURRENT: ContextVar[Conditions] = ContextVar("conditions")


def current() -> Conditions:
    """Return the conditions that hold now."""
    return _CURRENT.get(Conditions())


@contextmanager
def held(conditions: Conditions) -> Iterator[None]:
    """Hold the process to conditions until the block ends."""
    token = _CURRENT.set(conditions)
    with ExitStack() as stack:
        stack.callback(_CURRENT.reset, token)
        stack.enter_context(threadpool_limits(conditions.threads))
        if conditions.threads == 1:
            stack.enter_context(_environment("XLA_FLAGS", ONE_THREAD_XLA))
            stack.enter_context(_one_core())
        if conditions.device == "cpu":
            stack.enter_context(_environment("JAX_PLATFORMS", "cpu"))
        if conditions.memory == "kept":
            stack.enter_context(_kept_memory())
        yield


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _one_core() -> Iterator[None]:
    """Hold the process on its last core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""What mallopt(3) of glibc sets: names and values of its malloc.h."""


@contextmanager
def _kept_memory() -> Iterator[None]:
    """Let malloc give nothing back to the system, where it is glibc's."""
    if not sys.platform.startswith("linux"):
        yield
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)  # large arrays come from the heap as well
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:  # where the thresholds of a long-lived process end by themselves
        libc.mallopt(M_MMAP_MAX, 65536)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(M_TRIM_THRESHOLD, 2**26)
        libc.malloc_trim(0)


# --- the machine ------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Return processor, cores, BLAS and versions, JSON-ready."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": [
            f"{found['internal_api']} {found['version']}"
            f" ({found.get('architecture', 'unknown kernels')})"
            for found in threadpool_info()
            if found["user_api"] == "blas"
        ],
        "python": platform.python_version(),
        "versions": {
            name: found
            for name in PACKAGES
            if (found := installed(name)) is not None
        },
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def installed(package: str) -> str | None:
    """Return the version of a package; ``None`` where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def load() -> float | None:
    """Return how many processes wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
