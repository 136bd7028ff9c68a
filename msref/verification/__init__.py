"""Independent witnesses for every gradient, and the report on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.arrays import Array, Arrays, on_device
from msref.verification.cases import Case, draw
from msref.verification.judge import (
    AUTOGRAD,
    COMPLEX_STEP,
    Finding,
    judge,
    judge_itself,
    judge_reach,
)
from msref.verification.place import Placement, place
from msref.verification.report import Report, Row, rows
from msref.verification.tolerance import FAIL, NAN, Comparison, compare
from msref.verification.witnesses import Evidence, gather

__all__ = [
    "AUTOGRAD",
    "COMPLEX_STEP",
    "Case",
    "Comparison",
    "Evidence",
    "Finding",
    "Placement",
    "Report",
    "Row",
    "compare",
    "draw",
    "gather",
    "judge",
    "judge_itself",
    "place",
    "verify",
]


def verify(
    arch: Any,
    *,
    cases: int = 5,
    seed: int = 0,
    dtype: npt.DTypeLike = np.float64,
    n_time: int | None = None,
    n_batch: int | None = None,
    params: Arrays | None = None,
    x: Array | None = None,
    state: Arrays | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Hold ``forward`` and ``backward`` of ``arch`` against the witnesses.

    ``forward`` is compared with the scan of ``step``, ``backward`` with
    autograd and complex-step derivatives of that scan, and with itself; the
    reach of the last output alone is checked once more, step by step. Only
    ``n_in``, ``n_out``, ``init``, ``initial_state`` and ``step`` are required;
    what else exists is checked.

    Arguments
        arch: an architecture: msref's, or your own that follows the protocol.
        cases: random points to check at.
        seed: of the first case; case k uses seed + k.
        dtype: precision that ``forward`` and ``backward`` run in. The
            witnesses always compute in float64.
        n_time, n_batch: sizes; ``None`` draws 2..30 and 2..4.
        params, x, state: your own point instead of a random one.
        device: where ``forward`` and ``backward`` run, "cpu" or "cuda". The
            witnesses always compute on the CPU.
        progress: called with (cases done, cases in all).

    Returns
        A report; ``report.ok`` is the verdict, ``print(report)`` the table.

    Raises
        TypeError: ``arch`` lacks one of the required names.
        ValueError: ``cases`` is below one, ``dtype`` no float, or another
            device.
        ModuleNotFoundError, NoGPUError: as ``msref.arrays.to_device``.
    """
    if cases < 1:
        raise ValueError(f"cases is {cases}, expected at least 1")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype is {dtype}, expected float32 or float64")
    for name in ("n_in", "n_out", "init", "initial_state", "step"):
        if not hasattr(arch, name):
            raise TypeError(
                f"{type(arch).__name__} has no {name}; a network under test"
                " needs n_in, n_out, init, initial_state and step"
            )
    on_device(device)  # it is there
    start = time.perf_counter()
    findings: list[Finding] = []
    notes: list[str] = []
    kinks: dict[str, int] = {}
    failing: tuple[float, Evidence] | None = None
    for k in range(cases):
        rng = np.random.default_rng((seed + k, 0))
        case = draw(
            arch,
            seed + k,
            int(rng.integers(2, 31)) if n_time is None else n_time,
            n_batch,
            dtype,
            params,
            x,
            state,
        )
        case = replace(case, device=device)
        evidence = gather(arch, case, dtype)
        last = gather(arch, case.last_output_alone(), dtype, n_directions=0)
        found = judge(arch, evidence) + judge_itself(arch, evidence)
        found += judge_reach(arch, last)
        findings += found
        notes += [note for note in evidence.notes if note not in notes]
        for _, d in evidence.differences.values():
            for name, n in d.flips.items():
                kinks[name] = kinks.get(name, 0) + n
        wrong = [f for f in found if f.comparison.verdict in (FAIL, NAN)]
        if wrong and (failing is None or len(wrong) > failing[0]):
            failing = len(wrong), evidence
        if progress is not None:
            progress(k + 1, cases)
    if not hasattr(arch, "forward"):
        notes.append("there is no forward: nothing is held against step")
    elif not hasattr(arch, "backward"):
        notes.append("there is no backward: no gradient is checked")
    return Report(
        name=_name(arch),
        dtype=str(np.dtype(dtype)),
        n_cases=cases,
        rows=rows(findings),
        kinks=kinks,
        notes=notes,
        placement=place(arch, failing[1]) if failing else None,
        seconds=time.perf_counter() - start,
        command=f"seeds {seed}..{seed + cases - 1}",
    )


def _name(arch: Any) -> str:
    """Return the constructor call, or the class where it prints no call."""
    name = repr(arch)
    return type(arch).__name__ if " object at 0x" in name else name
