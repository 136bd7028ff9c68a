"""Sequences of a batch that are read so far, each to a cut of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from msref.arrays import Array, Arrays, namespace

Run: TypeAlias = Callable[[slice, Array, Arrays], Arrays]
"""A stretch of time, the rows (n,) that run through it, their state before
-> their state after it."""


def after_prefixes(run: Run, cuts: Array, state: Arrays) -> Arrays:
    """Return the state of each row after its own number of frames.

    The time falls into stretches between the cuts. Each stretch runs the
    rows that are not there yet, in their order, so that no row runs beyond
    its cut.

    Arguments
        run: called for each stretch, in the order of time.
        cuts: (n_rows,) of int, at least 1; on the host.
        state: before the first frame, each array (n_rows, ·).
    """
    xp = namespace(*state.values())
    found = {name: xp.empty_like(value) for name, value in state.items()}
    rows, start = np.arange(len(cuts)), 0
    for end in np.unique(cuts).tolist():
        state = run(slice(start, end), rows, state)
        over = cuts[rows] == end
        ended, going = (xp.asarray(np.flatnonzero(at)) for at in (over, ~over))
        theirs = xp.asarray(rows[over])
        for name, value in state.items():
            found[name][theirs] = value[ended]
        state = {name: value[going] for name, value in state.items()}
        rows, start = rows[~over], end
    return found
