"""Where the trainings of a run compute.

A job draws, measures and judges on the host. What takes its time, ``fit``
and ``warmup``, runs on the device that the whole run was asked for, and
what comes out of it is back on the host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from msref import training
from msref.arrays import Arrays, to_device
from msref.pretraining import Warmup
from msref.pretraining import warmup as warmup_there

_chosen = "cpu"


def compute_on(device: str) -> None:
    """Choose the device of this process; called where a worker begins."""
    global _chosen
    _chosen = device


def fit(
    model: training.Model, params: Arrays, *args: Any, **options: Any
) -> training.Fit:
    """Fit on the chosen device; as ``msref.training.fit``."""
    params = to_device(params, _chosen)
    found = training.fit(model, params, *args, **options)
    return replace(
        found,
        params=to_device(found.params, "cpu"),
        last=to_device(found.last, "cpu"),
        optimiser=to_device(found.optimiser, "cpu"),
    )


def warmup(
    arch: Any, params: Arrays, *args: Any, **options: Any
) -> tuple[Arrays, Warmup]:
    """Warm up on the chosen device; as ``msref.warmup``."""
    params = to_device(params, _chosen)
    params, record = warmup_there(arch, params, *args, **options)
    return to_device(params, "cpu"), record
