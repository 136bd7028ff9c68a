"""Which attractors a network reaches from where its inputs lead it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.architectures.base import check_sizes
from msref.arrays import Array, Arrays, on_host
from msref.dynamics.multistability import clusters, vaa
from msref.dynamics.stabilising import (
    Start,
    drawn,
    followed,
    moments_of,
    stabilise,
)
from msref.dynamics.trained import trained

N_SHOWN = 100
"""Moments at which ``explore`` looks at the way to an attractor."""


@dataclass(frozen=True, eq=False)
class Multistability:
    """How many attractors were reached, as a share of the states.

    Attributes
        n_steps: (n_m), after how many steps of constant input.
        tolerance: states closer than this count as the same.
        vaa: (n_m, n_estimates).
        n_states: states per estimate; the floor is 1 / n_states.
    """

    n_steps: tuple[int, ...]
    tolerance: float
    vaa: Array
    n_states: int

    @property
    def n_attractors(self) -> Array:
        """How many attractors the states tell apart, (n_m,): an estimate.

        n_states times the mean VAA: in each estimate
            sum_i 1 / #{j : ||h_j - h_i|| < tolerance},
        a number of groups that need not be whole. It is exact where the
        states fall into groups no wider than the tolerance and further apart
        than it. In any case it lies between the number of ``clusters`` and
        the most states of which no two are that close (Caro & Wei's bound
        for the independent sets of a graph). It never exceeds n_states,
        however many attractors there are, and a state on its way counts.
        """
        return self.n_states * self.mean

    @property
    def mean(self) -> Array:
        """The mean over the estimates, (n_m,)."""
        mean: Array = self.vaa.mean(axis=1)
        return mean

    @property
    def spread(self) -> Array:
        """The standard deviation between estimates, (n_m,); 0 for one."""
        ddof = min(1, self.vaa.shape[1] - 1)
        spread: Array = self.vaa.std(axis=1, ddof=ddof)
        return spread

    def __repr__(self) -> str:
        found = ", ".join(
            f"{mean:.3f} ± {spread:.3f} at M={m}"
            for m, mean, spread in zip(
                self.n_steps, self.mean, self.spread, strict=True
            )
        )
        return (
            f"VAA {found} ({self.vaa.shape[1]} estimates of {self.n_states}"
            f" states, tolerance {self.tolerance:g})"
        )


@dataclass(frozen=True, eq=False)
class Attractors:
    """Where the prefixes of sequences end up, and their ways there.

    Attributes
        n_steps, tolerance: as in ``Multistability``.
        start: the sequences, their cuts, and z; n_estimates is 1.
        labels: (n_states,) of int, the group that each prefix ends in.
        states: (n_groups, n_state), one state of each group.
        times: (n_times,) of int, steps of constant input, 0 .. n_steps.
        trajectories: (n_times, n_states, 2), the states on their way, seen
            along the two directions in which they vary most.
        points: (n_groups, 2), ``states`` seen so.
        centre: (n_state,), and
        directions: (2, n_state); any state is seen as
            ``(state - centre) @ directions.T``.
        explained: (2,), the share of the variance along each direction.
    """

    n_steps: int
    tolerance: float
    start: Start = field(repr=False)
    labels: Array = field(repr=False)
    states: Array = field(repr=False)
    times: Array = field(repr=False)
    trajectories: Array = field(repr=False)
    points: Array = field(repr=False)
    centre: Array = field(repr=False)
    directions: Array = field(repr=False)
    explained: Array


def multistability(
    arch: Any,
    params: Arrays,
    inputs: Sequence[npt.ArrayLike] | Array,
    rng: np.random.Generator,
    n_steps: int | Sequence[int] = 200,
    *,
    tolerance: float = 1e-4,
    n_estimates: int = 10,
    n_states: int = 32,
    whole: bool = False,
    progress: bool | None = None,
) -> Multistability:
    """Measure the reachable multistability of a network by its VAA.

    How the states are reached, arguments and errors: ``stabilise``. What
    comes out depends on M: states that are still on their way count as
    attractors of their own, so measure at several M.

    A linear memory has no attractors of its own. An LMN whose closed loop
    is stable ends where all others end, the floor 1 / n_states, unless what
    it reads of its memory through the tanh makes it multistable; an IndRNN
    or a DuRNN with ReLUs and weights below 1 ends there too. At a recurrent
    weight of 1 it keeps every difference, above 1 differences grow: the VAA
    is 1, and no attractor is there. Look at the states, or at
    ``fixed_points`` from them.
    """
    moments = moments_of(n_steps)
    ends = stabilise(
        arch,
        params,
        inputs,
        rng,
        moments,
        n_estimates=n_estimates,
        n_states=n_states,
        whole=whole,
        progress=progress,
    )
    found = [[vaa(h, tolerance) for h in at] for at in ends]
    return Multistability(moments, tolerance, np.array(found), ends.shape[2])


def explore(
    arch: Any,
    params: Arrays,
    inputs: Sequence[npt.ArrayLike] | Array,
    rng: np.random.Generator,
    n_steps: int = 200,
    *,
    tolerance: float = 1e-4,
    n_states: int = 32,
    whole: bool = False,
    progress: bool | None = None,
) -> Attractors:
    """Follow prefixes to their attractors, for a picture.

    One estimate as in ``stabilise``; the ends are grouped by ``clusters``.
    Arguments and errors are as there. Nothing is drawn here: the one
    drawing there is belongs to the claims on warm-up, in
    ``msref/claims/warmup_shown.py``.

    The trajectories hold the states after 0 steps, after n_steps, and at
    some 100 moments between, denser at the beginning. They are centred and
    turned so that the first two directions are those of their largest
    variance (principal components, by a singular value decomposition; the
    largest entry of each direction is positive).
    """
    check_sizes(n_steps=n_steps)
    arch, params = trained(arch, params)
    spaced = np.rint(np.geomspace(1, n_steps, N_SHOWN)).astype(int)
    moments = tuple(sorted({0, n_steps, *map(int, spaced)}))
    sequences, start = drawn(arch, inputs, rng, 1, n_states, whole=whole)
    way = followed(arch, params, sequences, start, moments, progress)
    way = on_host(way)[:, 0]
    labels, n_groups = clusters(way[-1], tolerance)
    first = [int(np.argmax(labels == k)) for k in range(n_groups)]
    centre, directions, explained = _principal(way.reshape(-1, way.shape[-1]))
    seen = (way - centre) @ directions.T
    return Attractors(
        n_steps=n_steps,
        tolerance=tolerance,
        start=start,
        labels=labels,
        states=way[-1][first],
        times=np.array(moments),
        trajectories=seen,
        points=seen[-1][first],
        centre=centre,
        directions=directions,
        explained=explained,
    )


def _principal(states: Array) -> tuple[Array, Array, Array]:
    """Return centre, two directions and their shares of the variance.

    Without a second direction, or without any variance, there are zeros.
    """
    centre = states.mean(axis=0)
    _, s, v_t = np.linalg.svd(states - centre, full_matrices=False)
    directions = np.zeros((2, states.shape[1]))
    directions[: len(v_t)] = v_t[:2]
    largest = np.abs(directions).argmax(axis=1)[:, None]
    sign = np.take_along_axis(directions, largest, axis=1)
    directions *= np.where(sign < 0, -1.0, 1.0)
    s /= max(s[0], 1e-300)  # states may be too large to be squared
    share = np.zeros(2)
    share[: len(s)] = s[:2] ** 2 / max(1.0, float((s**2).sum()))
    return centre, directions, share
