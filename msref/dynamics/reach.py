"""How far back in time the gradient of a state reaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msref.architectures import (
    Checkpointed,
    DuRNN,
    Elman,
    IndRNN,
    Parallel,
    Stack,
)
from msref.architectures.base import check_forward
from msref.architectures.residual import Residual
from msref.arrays import Array, Arrays, on_host, to_device, under
from msref.dynamics.jacobian import pulled_back
from msref.dynamics.states import joined, size, slices, wide, widened
from msref.progress import bar


@dataclass(frozen=True, eq=False)
class Reach:
    """How much of a gradient is left after how many steps.

    Attributes
        name: the array of the state that was followed; ``None`` for all.
        lags: (n_lags,) of int, steps back from the last frame.
        norms: (n_lags, n_batch), ||d n_T / d n_{T-k}||_2 per sequence.
        bound: (n_lags,), what no sequence exceeds; ``None`` where nothing
            is known, see ``gradient_bound``.
    """

    name: str | None
    lags: Array = field(repr=False)
    norms: Array = field(repr=False)
    bound: Array | None = field(repr=False)

    @property
    def median(self) -> Array:
        """The median over the sequences, (n_lags,)."""
        return np.median(self.norms, axis=1)

    @property
    def largest(self) -> Array:
        """The largest over the sequences, (n_lags,)."""
        largest: Array = self.norms.max(axis=1)
        return largest


def gradient_reach(
    arch: Any,
    params: Arrays,
    x: Array,
    name: str | None = None,
    lags: Iterable[int] | None = None,
    *,
    state: Arrays | None = None,
    t0: int = 0,
    progress: bool | None = None,
) -> Reach:
    """Measure how far the gradient of a part of the state reaches back.

    Equation
        reach_k = ||d n_T / d n_{T-k}||_2,   k = 0 .. n_time - 1

    n is one array of the state, n_T after the last frame, || ||_2 the largest
    singular value. The derivative is partial: what else is in the state at
    T-k is held fixed, but what follows from n_{T-k} on the way is not. For a
    DuRNN these are ||ds_T/ds_t|| and ||dl_T/dl_t||.

    Arguments
        x: (n_time, n_batch, n_in).
        name: an array of the state, ``"s"``, in a stack ``"0/h"``; ``None``
            for the only one, or for all of them as one vector.
        lags: the k to measure; ``None`` for all.
        state, t0: the state before the first frame and its time, as in
            ``forward``.
        progress: show a bar; ``None`` for where stderr is a terminal.

    Returns
        the norms, in float64 whatever came in, computed on the host. What
        lies outside its range is 0 or infinity there.

    Raises
        TypeError, ValueError: arguments that do not fit the network; a
            network that looks ahead, or has no state.

    Cost
        Every unit of n is followed back once: as much time as n_units
        backward passes over the largest lag, and a singular value
        decomposition for each lag and sequence. Memory for all states, and
        for n_batch n_units n_state numbers.
    """
    where = slices(arch)
    if name is None and len(where) == 1:
        (name,) = where
    if name is not None and name not in where:
        raise ValueError(f"name is {name!r}, expected one of {list(where)}")
    params, x = widened(to_device(params, "cpu")), wide(on_host(x))
    if state is not None:
        state = widened(to_device(state, "cpu"))
    _, state = check_forward(arch, params, x, state)
    chosen = _checked_lags(lags, len(x))
    n_state = size(arch)
    part = slice(0, n_state) if name is None else where[name]

    n_back = int(chosen.max())
    with bar(progress, "gradient reach", n_back) as show:
        before = _states_before(arch, params, x, state, t0, n_back)
        rows = np.broadcast_to(
            np.eye(n_state)[part],
            (x.shape[1], part.stop - part.start, n_state),
        )
        # The gradient is rows * 2^exponent: no lag is too far for its range.
        exponent = np.zeros(x.shape[1], int)
        norms = {}
        for k in range(n_back + 1):
            if k in chosen:
                norm = np.linalg.norm(rows[..., part], 2, axis=(1, 2))
                with np.errstate(over="ignore", under="ignore"):
                    norms[k] = np.ldexp(norm, exponent)
            if k < n_back:
                t = len(x) - 1 - k
                rows = pulled_back(arch, params, x[t], before[k], t0 + t, rows)
                rows, exponent = _rescaled(rows, exponent)
            show(k)
    return Reach(
        name=name,
        lags=chosen,
        norms=np.stack([norms[int(k)] for k in chosen]),
        bound=gradient_bound(arch, params, name, chosen),
    )


def gradient_bound(
    arch: Any, params: Arrays, name: str | None, lags: Array
) -> Array | None:
    """Return what the reach of a gradient cannot exceed, where it is known.

    Equations (k steps, |f'| <= 1)
        ||W||_2^k     a full recurrent matrix: Elman's h, the DuRNN's s
        max |w|^k     independent weights: IndRNN's h, the DuRNN's l

    The same in a layer of a stack and beside other parts: what a layer hands
    on does not come back to it.

    Arguments
        lags: (n_lags,) of int.

    Returns
        (n_lags,), or ``None`` for any other state.

    Source
        Li et al. (2018) for IndRNN; the others follow alike.
    """
    rate = None if name is None else _rate(arch, params, name)
    if rate is None:
        return None
    with np.errstate(over="ignore", under="ignore"):
        bound: Array = rate ** np.asarray(lags, float)
    return bound


def _rate(arch: Any, params: Arrays, name: str) -> float | None:
    """Return by how much a gradient grows in one step at most."""
    if isinstance(arch, Stack | Parallel):
        k, _, rest = name.partition("/")
        return _rate(arch.parts[int(k)], under(k, params), rest)
    if isinstance(arch, Checkpointed | Residual):
        return _rate(arch.arch, params, name)
    match arch, name:
        case Elman(), "h":
            recurrent = params["W_hh"]
        case IndRNN(), "h":
            recurrent = params["w_hh"]
        case DuRNN(), "s":
            recurrent = params["W_ss"]
        case DuRNN(), "l":
            recurrent = params["w_ll"]
        case _:
            return None
    if recurrent.ndim == 1:
        return float(np.abs(recurrent).max())
    return float(np.linalg.norm(recurrent, 2))


def _states_before(
    arch: Any, params: Arrays, x: Array, state: Arrays, t0: int, n_back: int
) -> list[Array]:
    """Return the states before the last frames, the last one first."""
    start = len(x) - n_back
    if start > 0:
        _, state, _ = arch.forward(params, x[:start], state, t0)
    before = []
    for t in range(start, len(x)):
        before.append(joined(arch, state))
        _, state, _ = arch.forward(params, x[t : t + 1], state, t0 + t)
    return before[::-1]


def _rescaled(rows: Array, exponent: Array) -> tuple[Array, Array]:
    """Move a power of two per sequence from the rows to its exponent."""
    _, power = np.frexp(np.abs(rows).max(axis=(1, 2)))
    return np.ldexp(rows, -power[:, None, None]), exponent + power


def _checked_lags(lags: Iterable[int] | None, n_time: int) -> Array:
    if lags is None:
        return np.arange(n_time)
    chosen = np.asarray(lags if isinstance(lags, np.ndarray) else [*lags])
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"lags has shape {chosen.shape} and dtype {chosen.dtype}, expected"
            " whole numbers (n_lags,)"
        )
    if chosen.min() < 0 or chosen.max() >= n_time:
        raise ValueError(
            f"lags lie in {chosen.min()}..{chosen.max()}, expected"
            f" 0..{n_time - 1}, n_time - 1"
        )
    return chosen
