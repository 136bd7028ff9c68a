"""The runs of a warm-up, forward and back: to the cuts, then layers alone.

Their equations are those of ``warmup_loss.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from msref.arrays import Array, Arrays, namespace
from msref.dynamics.prefixes import after_prefixes
from msref.dynamics.states import period
from msref.pretraining.warmup_layers import Layer

# --- the run to the cuts (1) ------------------------------------------------


class Segment(NamedTuple):
    """A stretch of time, which the first sequences run through."""

    tape: Arrays
    shape: tuple[int, ...]


def to_the_cuts(
    arch: Any, params: Arrays, x: Array, cuts: Array
) -> tuple[list[Segment], Arrays]:
    """Run each sequence to its cut; keep the states there.

    Arguments
        cuts: the largest first, so that a segment runs the first rows; on
            the host.
    """
    segments: list[Segment] = []

    def run(now: slice, rows: Array, state: Arrays) -> Arrays:
        frames = x[now, : len(rows)]
        y, state, tape = arch.forward(params, frames, state, now.start)
        segments.append(Segment(tape, y.shape))
        return state

    start = arch.initial_state(len(cuts), x.dtype, namespace(x))
    return segments, after_prefixes(run, cuts, start)


def back_from_the_cuts(
    arch: Any,
    params: Arrays,
    segments: list[Segment],
    dreached: Arrays,
    grads: Arrays,
) -> None:
    """Add to ``grads`` what the states at the cuts owe to the parameters."""
    xp = namespace(*dreached.values())
    carried = {name: value[:0] for name, value in dreached.items()}
    for tape, shape in reversed(segments):
        # Those that run on hand back a gradient; the others are at their cut.
        dstate = {
            name: xp.concatenate([d_on, dreached[name][len(d_on) : shape[1]]])
            for name, d_on in carried.items()
        }
        dy = xp.zeros(shape, tape["x"].dtype)
        found = arch.backward(params, tape, dy, dstate)
        carried = found.state
        for name, value in found.params.items():
            grads[name] += value


# --- a layer alone (2) ------------------------------------------------------


class Run(NamedTuple):
    """The run of those sequences (rows of the batch) that share a clock."""

    tape: Arrays
    shape: tuple[int, ...]
    rows: Array


def alone(
    layer: Layer,
    params: Arrays,
    reached: Arrays,
    cuts: Array,
    z: Array,
    n_stable: int,
) -> tuple[list[Run], Arrays]:
    """Run a layer on a constant input, from the states at the cuts."""
    p, start = layer.own(params), layer.own(reached)
    xp = namespace(z)
    final = {name: xp.empty_like(value) for name, value in start.items()}
    phase = cuts % period(layer.arch)
    runs = []
    for now in np.unique(phase):
        these = np.flatnonzero(phase == now)
        t0, rows = int(cuts[these[0]]), xp.asarray(these)
        x = xp.broadcast_to(z, (n_stable, len(these), len(z)))
        state = {name: value[rows] for name, value in start.items()}
        y, state, tape = layer.arch.forward(p, x, state, t0)
        runs.append(Run(tape, y.shape, rows))
        for name, value in state.items():
            final[name][rows] = value
    return runs, final


def back_alone(
    layer: Layer,
    params: Arrays,
    runs: list[Run],
    dfinal: Arrays,
    grads: Arrays,
    dreached: Arrays,
) -> None:
    """Add to ``grads`` and ``dreached`` what the final states owe to them."""
    p = layer.own(params)
    xp = namespace(*dfinal.values())
    for tape, shape, rows in runs:
        dstate = {name: value[rows] for name, value in dfinal.items()}
        dy = xp.zeros(shape, tape["x"].dtype)
        found = layer.arch.backward(p, tape, dy, dstate)
        for name, value in found.params.items():
            grads[f"{layer.path}{name}"] += value
        for name, value in found.state.items():
            dreached[f"{layer.path}{name}"][rows] += value
