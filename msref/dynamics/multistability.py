"""How many attractors a set of states has reached."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from msref.architectures.base import check_finite, check_float, check_shape
from msref.arrays import Array, namespace, to_device

KAPPA = 1e-6
"""Keeps the closeness of equal states from dividing by zero."""


def vaa(h: Array, tolerance: float = 1e-4) -> float:
    """Return the variability amongst attractors (Lambrechts et al., 2023).

    Equation
        VAA = 1/n sum_i 1 / #{j : ||h_j - h_i|| < tolerance}

    The share of distinct attractors: k / n where the n states fall into k
    groups that lie further apart than the tolerance; 1 / n where all agree.

    Arguments
        h: (n_states, n_hid), all states of a network side by side; float32
            or float64.
        tolerance: states closer than this count as the same.

    Raises
        TypeError, ValueError: something else, or NaN and infinity.

    Source
        From the authors' code. The states are to be reached as there: by a
        prefix of a sequence each, then many steps of one constant input.

    Conventions
        With clocks, states on one and the same cycle differ if they are seen
        at different phases of the slowest module, and would count as
        several. ``stabilise`` lets the phases meet first; the loss of a
        warm-up does not.
    """
    _check(h, tolerance)
    near = _distances(h) < tolerance
    return float((1.0 / near.sum(1)).mean())


def vaa_star(h: Array, tolerance: float = 1e-4) -> tuple[float, Array]:
    """Return VAA*, which has a gradient, and that gradient.

    Equations
        y_i = tanh(h_i)                                              (1)
        d_ij = ||y_i - y_j||                                         (2)
        C_ij = 1 - max(d_ij - tolerance, 0) / (d_ij + kappa)         (3)
        S_i = sum_j C_ij                                             (4)
        VAA* = 1/n sum_i 1 / S_i                                     (5)

    Adjoints
        dS_i = -1 / (n S_i^2)                                        (5')
        dC_ij = dS_i                                                 (4')
        dd_ij = -dC_ij (tolerance + kappa) / (d_ij + kappa)^2,
            0 within the tolerance                                   (3')
        dy_i = sum_j (dd_ij + dd_ji) (y_i - y_j) / d_ij              (2')
        dh_i = dy_i (1 - y_i^2)                                      (1')

    C is 1 within the tolerance and about tolerance / d outside, so that
    VAA* comes close to the VAA of the squashed states. That of the states
    themselves can be larger, such as for the unbounded c of an LSTM. Where
    all states agree, the gradient is zero: it is largest just outside the
    tolerance.

    Arguments, errors
        as ``vaa``.

    Returns
        VAA*, and dVAA*/dh (n_states, n_hid).

    Source
        From the authors' code; the adjoints are derived here.
    """
    _check(h, tolerance)
    xp = namespace(h)
    n = len(h)
    y = xp.tanh(h)  # (1)
    d = _distances(y)  # (2)
    C = 1.0 - xp.maximum(d - tolerance, 0.0) / (d + KAPPA)  # (3)
    S = C.sum(1)  # (4)
    value = float((1.0 / S).sum()) / n  # (5)

    dS = -1.0 / (n * S**2)  # (5')
    slope = (
        xp.where(d > tolerance, -(tolerance + KAPPA), 0.0) / (d + KAPPA) ** 2
    )
    dd = dS[:, None] * slope  # (4') (3')
    # Within the tolerance dd is zero, and so is what d = 0 would divide.
    pull = (dd + dd.T) / xp.where(d > 0.0, d, 1.0)
    dy = pull.sum(1)[:, None] * y - pull @ y  # (2')
    dh = dy * (1.0 - y * y)  # (1')
    return value, dh.astype(h.dtype)


def clusters(h: Array, tolerance: float = 1e-4) -> tuple[Array, int]:
    """Return which states belong together, and how many groups there are.

    Two states are in one group if a chain of states leads from one to the
    other, each closer to the next than the tolerance. Where the groups lie
    further apart than that and are no wider, their number is n VAA.

    Arguments, errors
        as ``vaa``.

    Returns
        labels (n_states,) of int, 0 for the group of the first state, then
        in order of appearance, and the number of groups.
    """
    _check(h, tolerance)
    near = to_device({"near": _distances(h) < tolerance}, "cpu")["near"]
    n_groups, found = connected_components(near, directed=False)
    _, first, labels = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels], int(n_groups)


def _distances(h: Array) -> Array:
    """Return ||h_i - h_j||, from differences: a Gram matrix would cancel."""
    xp = namespace(h)
    with np.errstate(over="ignore"):  # too far apart to be squared is far
        rows = [xp.sqrt(((h - h_i) ** 2).sum(1)) for h_i in h]
    distances: Array = xp.stack(rows)
    return distances


def _check(h: Array, tolerance: float) -> None:
    check_shape("h", h, ("n_states", "n_hid"), (None, None))
    check_float("h", h)
    if h.size == 0:
        raise ValueError(f"h has shape {h.shape}, expected at least one state")
    check_finite("h", h, ("state", "unit"))
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}, expected above 0")
