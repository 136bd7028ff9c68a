"""The Jacobian of one step, by the backward pass that stands beside it."""

from __future__ import annotations

from typing import Any

from msref.architectures.base import check_forward
from msref.arrays import Array, Arrays, as_array, namespace
from msref.dynamics.states import joined, separated, size

LARGEST = 2**21
"""Numbers of state in one call of a pass: more are cut into several."""


def jacobian(
    arch: Any, params: Arrays, x: Array, state: Arrays, t: int = 0
) -> Array:
    """Return how the state after a step answers to the state before it.

    Equation
        J_ij = d state_{t,i} / d state_{t-1,j}

    Row i comes from the network's own ``backward``: the cotangent of the
    state after the step is one at unit i and zero elsewhere. All units are
    rows of one batch. Nothing is differentiated numerically or by machine.

    Arguments
        x: (n_in,) the frame, or (n_batch, n_in).
        state: the state before it, each array (·,), or (n_batch, ·).
        t: time of the frame; only clocks read it.

    Returns
        (n_state, n_state), or (n_batch, n_state, n_state), in the precision
        of x. A state of several arrays is one vector, in the order of
        ``initial_state``; ``msref.dynamics.slices(arch)`` says where each
        stands: ``J[slices["l"], slices["s"]]`` is dl_t / ds_{t-1}.

    Raises
        TypeError, ValueError: arrays that do not fit the network; a network
            that looks ahead, or has no state.

    Cost
        n_state times a forward and a backward pass of one step.
    """
    n_state = size(arch)
    x = as_array(x)
    if x.ndim == 1:
        alone = {name: as_array(s)[None] for name, s in state.items()}
        found: Array = jacobian(arch, params, x[None], alone, t)[0]
        return found
    xp, _ = check_forward(arch, params, x[None], state)
    units = xp.eye(n_state, dtype=x.dtype)
    every = xp.broadcast_to(units, (len(x), n_state, n_state))
    return pulled_back(arch, params, x, joined(arch, state), t, every)


def pulled_back(
    arch: Any, params: Arrays, x: Array, state: Array, t: int, rows: Array
) -> Array:
    """Return row vectors times the Jacobian of a step, without forming it.

    Equation
        rows J_t

    Arguments
        x: (n_batch, n_in) a frame.
        state: (n_batch, n_state) the state before it, as one vector.
        rows: (n_batch, n_rows, n_state) cotangents of the state after it.

    Returns
        (n_batch, n_rows, n_state), cotangents of the state before it.
    """
    n_batch, n_rows, n_state = rows.shape
    n_at_once = max(1, LARGEST // (n_rows * n_state))
    xp = namespace(rows)
    found: Array = xp.empty(rows.shape, rows.dtype)
    for start in range(0, n_batch, n_at_once):
        now = slice(start, start + n_at_once)
        x_each = xp.repeat(x[now], n_rows, axis=0)
        before = separated(arch, xp.repeat(state[now], n_rows, axis=0))
        _, _, tape = arch.forward(params, x_each[None], before, t)
        dy = xp.zeros((1, len(x_each), arch.n_out), rows.dtype)
        dstate = separated(arch, rows[now].reshape(-1, n_state))
        d_before = arch.backward(params, tape, dy, dstate).state
        found[now] = joined(arch, d_before).reshape(-1, n_rows, n_state)
    return found
