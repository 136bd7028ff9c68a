"""From prefixes of sequences to where a constant input leads them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.architectures.base import all_finite, check_sizes
from msref.arrays import Array, Arrays, moved, namespace, on_host
from msref.data.batching import pad
from msref.dynamics.prefixes import after_prefixes
from msref.dynamics.states import joined, period, widened
from msref.dynamics.trained import trained
from msref.progress import bar

LARGEST = 2**21
"""Numbers of state in one call of a pass: a longer run is cut into more."""


@dataclass(frozen=True, eq=False)
class Start:
    """From where states are followed; one row for each estimate.

    Attributes
        which: (n_estimates, n_states) of int, the sequences.
        cuts: (n_estimates, n_states) of int, how many frames are read.
        z: (n_estimates, n_in), the constant input that follows.
    """

    which: Array
    cuts: Array
    z: Array


def stabilise(
    arch: Any,
    params: Arrays,
    inputs: Sequence[npt.ArrayLike] | Array,
    rng: np.random.Generator,
    n_steps: int | Sequence[int] = 10_000,
    *,
    n_estimates: int = 1,
    n_states: int = 32,
    whole: bool = False,
    progress: bool | None = None,
) -> Array:
    """Return the states in which prefixes of sequences come to rest.

    Each estimate draws n_states of the sequences, for each a cut c, uniform
    in 1 .. its length, and one vector z ~ N(0, I). From the initial state
    the network reads the first c frames, then z at each of M steps; z is the
    same for all states of an estimate.

    Arguments
        arch: a causal network, or a Model with such a core; it runs as it
            does after training (``evaluating``).
        inputs: sequences, each (n_time, n_in), or one array
            (n_time, n_sequences, n_in).
        rng: draws, for each estimate, the sequences (without replacement;
            all of them where there are fewer than n_states), the cuts, z.
        n_steps: M; several, increasing, are looked at along one run.
        whole: do not cut: each sequence is a prefix already, such as the
            histories of an agent.
        progress: show a bar; ``None`` for where stderr is a terminal.

    Returns
        (n_m, n_estimates, n_states, n_state) of float64, whatever came in,
        where the parameters live; all arrays of the state as one vector, see
        ``slices`` of the network that ran.

    Raises
        TypeError, ValueError: arguments that do not fit the network; a
            network that looks ahead, or has no state; states that grow
            beyond all numbers.

    Conventions
        With clocks, z goes on after a prefix until the next time that is a
        multiple of the slowest period, before the M steps are counted: so
        all states are compared at the same phase (our choice).

    Cost
        M steps of all states as one batch. Tapes are dropped after at most
        100 steps.

    Source
        The authors' code (Lambrechts et al., 2023), whose M is 10,000, or
        200 for agents, with 200 histories. It draws sequences with
        replacement.
    """
    moments = moments_of(n_steps)
    arch, params = trained(arch, params)
    sequences, start = drawn(
        arch, inputs, rng, n_estimates, n_states, whole=whole
    )
    return followed(arch, params, sequences, start, moments, progress)


def drawn(
    arch: Any,
    inputs: Sequence[npt.ArrayLike] | Array,
    rng: np.random.Generator,
    n_estimates: int,
    n_states: int,
    *,
    whole: bool,
) -> tuple[Array, Start]:
    """Return the sequences (n_time, n_sequences, n_in), and draw starts.

    Both are on the host.
    """
    check_sizes(n_estimates=n_estimates, n_states=n_states)
    items: Any = inputs
    if getattr(inputs, "ndim", 0) == 3:
        items = items.swapaxes(0, 1)  # a sequence, not a frame, is an item
    x, lengths = pad([on_host(sequence) for sequence in items])
    if x.shape[2] != arch.n_in:
        raise ValueError(
            f"inputs[0] has {x.shape[2]} units, expected n_in={arch.n_in}"
        )
    n_states = min(n_states, x.shape[1])
    which, cuts, z = [], [], []
    for _ in range(n_estimates):
        which.append(rng.choice(x.shape[1], n_states, replace=False))
        longest = lengths[which[-1]]
        cuts.append(longest if whole else rng.integers(1, longest + 1))
        z.append(rng.standard_normal(arch.n_in))
    return x, Start(np.array(which), np.array(cuts), np.array(z))


def followed(
    arch: Any,
    params: Arrays,
    x: Array,
    start: Start,
    moments: tuple[int, ...],
    progress: bool | None,
) -> Array:
    """Return the states at the moments, (n_m, n_estimates, n_states, ·)."""
    params, shape = widened(params), start.which.shape
    xp = namespace(*params.values())
    z = np.repeat(start.z, shape[1], axis=0)
    frames = x[:, start.which.ravel()]
    frames, ends = _waiting(frames, start.cuts.ravel(), z, period(arch))
    frames, z = moved(frames, xp), moved(z, xp)
    with bar(progress, "to the attractors", moments[-1]) as show:

        def run(now: slice, rows: Array, state: Arrays) -> Arrays:
            theirs = frames[now, xp.asarray(rows)]
            return _run(arch, params, theirs, state, now.start)

        zeros = arch.initial_state(len(ends), xp=xp)
        state = after_prefixes(run, ends, zeros)
        t0, done, found = int(ends.max()), 0, []
        for moment in moments:
            constant = xp.broadcast_to(z, (moment - done, *z.shape))
            state = _run(
                arch, params, constant, state, t0 + done, lambda t: show(t - t0)
            )
            done = moment
            found.append(joined(arch, state).reshape(*shape, -1))
    states: Array = xp.stack(found)
    return states


def _waiting(
    frames: Array, cuts: Array, z: Array, n_steps: int
) -> tuple[Array, Array]:
    """Let z follow each prefix until a multiple of the clock's period."""
    ends = -(-cuts // n_steps) * n_steps
    t = np.arange(ends.max())[:, None]
    padding = np.zeros((max(0, len(t) - len(frames)), *frames.shape[1:]))
    frames = np.concatenate([frames[: len(t)], padding])
    return np.where((t < cuts)[..., None], frames, z), ends


def _run(
    arch: Any,
    params: Arrays,
    frames: Array,
    state: Arrays,
    t0: int,
    show: Callable[[int], None] | None = None,
) -> Arrays:
    """Return the state after the frames; tapes are dropped on the way."""
    size = joined(arch, state).size
    n_at_once = min(100, max(1, LARGEST // max(size, frames[:1].size)))
    for start in range(0, len(frames), n_at_once):
        now = frames[start : start + n_at_once]
        with np.errstate(over="ignore", invalid="ignore"):
            _, state, _ = arch.forward(params, now, state, t0 + start)
        if not all_finite(state):
            raise ValueError(
                f"the state is no longer finite {t0 + start + len(now)} steps"
                " after the beginning: it grows, and reaches no attractor"
            )
        if show is not None:
            show(t0 + start + len(now))
    return state


def moments_of(n_steps: int | Sequence[int]) -> tuple[int, ...]:
    """Return the step numbers at which to look, checked."""
    moments = [*n_steps] if isinstance(n_steps, Sequence) else [n_steps]
    whole = all(isinstance(m, int | np.integer) for m in moments)
    if not whole or not moments or min(moments) < 0:
        raise ValueError(
            f"n_steps is {n_steps!r}, expected one or more whole numbers from 0"
        )
    if any(a >= b for a, b in itertools.pairwise(moments)):
        raise ValueError(f"n_steps is {n_steps!r}, expected increasing numbers")
    return tuple(int(m) for m in moments)
