"""Where a network comes to rest under a constant input, and what kind it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msref.architectures.base import check_forward, check_shape, check_sizes
from msref.arrays import Array, Arrays, beside, moved, namespace, on_host
from msref.dynamics.jacobian import pulled_back
from msref.dynamics.multistability import clusters
from msref.dynamics.newton import newton
from msref.dynamics.states import (
    joined,
    period,
    separated,
    size,
    slices,
    wide,
    widened,
)
from msref.dynamics.trained import trained

KINDS = ("stable", "marginal", "saddle", "unstable")

MARGIN = 1e-6
"""Eigenvalues this close to the unit circle decide nothing."""

APART = 1e-4
"""Results closer than this are one point (the tolerance of the VAA)."""


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A state that a step, or a whole period, leads back to itself.

    Attributes
        state: its arrays, each (·,), where the parameters live.
        residual: ||state' - state||_2.
        eigenvalues: of the Jacobian there, (n_state,) complex, the largest
            in magnitude first.
        kind: "stable", all of them inside the unit circle: states close by
            are attracted; "unstable", all outside; "saddle", some outside;
            "marginal", none outside, but one within 1e-6 of the circle, so
            that they do not decide.
        n_starts: how many of the starts ended here.
    """

    state: Arrays = field(repr=False)
    residual: float
    eigenvalues: Array = field(repr=False)
    kind: str
    n_starts: int


def fixed_points(
    arch: Any,
    params: Arrays,
    x: Array,
    states: Arrays | None = None,
    *,
    rng: np.random.Generator | None = None,
    n_starts: int = 32,
    tolerance: float = 1e-10,
    n_iterations: int = 200,
) -> tuple[FixedPoint, ...]:
    """Find fixed points of a network under a constant input.

    Equations (F one step from the state s; with clocks, one whole period)
        r(s) = F(s) - s                                       (1)
        (J(s) - I) d = -r(s),   J = dF/ds                     (2)
        s <- s + e d,   e the first of 1, 1/2, 1/4, … with
        ||r(s + e d)|| <= (1 - e / 10^4) ||r(s)||             (3)

    Newton's method with a line search, from all starts at once; J comes from
    the network's own backward passes (``jacobian``). Where J - I is
    singular, d is the shortest of the best solutions; it is cut to 1 + ||s||.
    A start goes on until (3) finds no e any more, also beyond the tolerance:
    close to a marginal point that is slow, and makes the difference. Where r
    fades out without a point (a gate that closes keeps any state, to
    rounding) the d do not become shorter, and the start is given up.

    Arguments
        arch: a causal network, or a Model with such a core; it runs as it
            does after training (``evaluating``).
        x: (n_in,) the input, the same at every step.
        states: the starts, each array (n_starts, ·), such as
            ``separated(arch, ends)`` of the ends of ``stabilise``; ``None``
            to draw them: the initial state, and others around it, N(0, 1)
            in every unit.
        rng: draws the starts; not needed with ``states``.
        n_starts: how many to draw.
        tolerance: what counts as found, ||r|| <= tolerance max(1, ||s||).
        n_iterations: steps of Newton's method at most.

    Returns
        the points found, results less than 1e-4 apart as one; stable ones
        first, then by the magnitude of the largest eigenvalue. Starts that
        got nowhere are missing in their ``n_starts``. Nothing says that
        there are no further points.

        With clocks the points are those of a whole period, and so are their
        eigenvalues: states that stay, or cycles whose length divides the
        period, seen before a frame at a multiple of it.

        An LMN is a linear memory around a function of that memory: it can
        have several points. Without W_mh or without W_hm it is linear, with
        a single one where W_mm has no eigenvalue 1. Where fixed points form
        a line, each start ends at a point of its own, "marginal": so the
        sums of an IndRNN whose weights are 1.

    Raises
        TypeError, ValueError: arguments that do not fit the network; a
            network that looks ahead, or has no state; neither ``states`` nor
            ``rng``.

    Source
        Looking for fixed points and their eigenvalues: Sussillo & Barak
        (2013), who minimise ||r||^2; the method here is our choice.
    """
    arch, params = trained(arch, params)
    n_state = size(arch)
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}, expected above 0")
    check_sizes(n_iterations=n_iterations)
    params = widened(params)
    xp = namespace(*params.values())
    x = wide(moved(x, xp))
    check_shape("x", x, (f"n_in={arch.n_in}",), (arch.n_in,))
    starts = beside(_starts(arch, states, rng, n_starts), x)
    frames = xp.broadcast_to(x, (1, len(next(iter(starts.values()))), len(x)))
    check_forward(arch, params, frames, starts)

    F = Period(arch, params, x, period(arch))
    s, residual, found = newton(
        F, joined(arch, starts), tolerance, n_iterations
    )
    if not found.any():
        return ()
    s, residual = s[xp.asarray(np.flatnonzero(found))], residual[found]
    labels, n_points = clusters(s, APART)
    points = []
    for label in range(n_points):
        members = np.flatnonzero(labels == label)
        best = int(members[residual[members].argmin()])
        J = on_host(F.jacobian(s[best : best + 1]).reshape(n_state, n_state))
        eigenvalues = np.linalg.eigvals(J).astype(complex)
        eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues))]
        points.append(
            FixedPoint(
                state=separated(arch, s[best]),
                residual=float(residual[best]),
                eigenvalues=eigenvalues,
                kind=_kind(eigenvalues),
                n_starts=len(members),
            )
        )
    points.sort(key=lambda point: abs(point.eigenvalues[0]))
    points.sort(key=lambda point: KINDS.index(point.kind))
    return tuple(points)


@dataclass(frozen=True, eq=False)
class Period:
    """The map whose fixed points are looked for: F, and its Jacobian."""

    arch: Any
    params: Arrays
    x: Array
    n_steps: int

    def __call__(self, s: Array) -> Array:
        """Return F (n, n_state) at the states s (n, n_state)."""
        return self._states(s)[-1]

    def jacobian(self, s: Array) -> Array:
        """Return J (n, n_state, n_state)."""
        x = self._frame(len(s))
        xp = namespace(s)
        shape = (len(s), *2 * s.shape[1:])
        rows: Array = xp.broadcast_to(xp.eye(s.shape[1]), shape)
        steps = list(enumerate(self._states(s)[:-1]))
        for k, before in reversed(steps):
            t = self.n_steps + k
            rows = pulled_back(self.arch, self.params, x, before, t, rows)
        return rows

    def _states(self, s: Array) -> list[Array]:
        """Return s and the states after each step.

        The time starts at one period: a learned start acts at t = 0 alone.
        """
        x, state, all_states = self._frame(len(s)), separated(self.arch, s), [s]
        for t in range(self.n_steps, 2 * self.n_steps):
            _, state, _ = self.arch.forward(self.params, x[None], state, t)
            all_states.append(joined(self.arch, state))
        return all_states

    def _frame(self, n: int) -> Array:
        frames: Array = namespace(self.x).repeat(self.x[None], n, axis=0)
        return frames


def _kind(eigenvalues: Array) -> str:
    magnitude = np.abs(eigenvalues)
    if (magnitude > 1.0 + MARGIN).all():
        return "unstable"
    if (magnitude > 1.0 + MARGIN).any():
        return "saddle"
    return "stable" if (magnitude < 1.0 - MARGIN).all() else "marginal"


def _starts(
    arch: Any,
    states: Arrays | None,
    rng: np.random.Generator | None,
    n_starts: int,
) -> Arrays:
    """Return the given starts in float64, or draw some."""
    if states is not None:
        if not states:
            raise ValueError(f"states is empty, expected {list(slices(arch))}")
        return widened(states)
    if rng is None:
        raise ValueError("states and rng are None, expected one of them")
    check_sizes(n_starts=n_starts)
    drawn: Arrays = arch.initial_state(n_starts)
    for array in drawn.values():
        array[1:] += rng.standard_normal(array[1:].shape)
    return drawn
