"""Newton's method for fixed points, from many starts at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from msref.arrays import Array

FAR = 1e-2
"""A step of Newton's method, against 1 + ||s||, that shows no point near."""

ROUNDING = 1e-15
"""A step, against 1 + ||s||, that is nothing but rounding."""

SHORTEST = 2.0**-8
"""The smallest share e of a step that the line search tries."""


class Map(Protocol):
    """A map F of states onto states, with its Jacobian."""

    def __call__(self, s: Array) -> Array:
        """Return F (n, n_state) at the states s (n, n_state)."""

    def jacobian(self, s: Array) -> Array:
        """Return dF/ds (n, n_state, n_state)."""


def newton(
    F: Map, s: Array, tolerance: float, n_iterations: int
) -> tuple[Array, Array, Array]:
    """Return where the starts (n, n_state) end, ||r|| (n,), and who arrived."""
    s = s.copy()
    r = F(s) - s  # (1)
    norm = np.linalg.norm(r, axis=1)
    last = np.full(len(s), np.inf)
    faded = np.zeros(len(s), bool)
    going = np.flatnonzero(norm > 0)
    for _ in range(n_iterations):
        if not going.size:
            break
        d = _newton_steps(F, s[going], r[going])  # (2)
        length = np.linalg.norm(d, axis=1)
        size = 1.0 + np.linalg.norm(s[going], axis=1)
        faded[going] = (
            (norm[going] <= tolerance * size)
            & (length > FAR * size)
            & (length > 0.9 * last[going])
        )
        last[going] = length
        d *= (size / np.maximum(length, size))[:, None]
        still = ~faded[going] & (length > ROUNDING * size)
        going = _searched(F, s, r, norm, going[still], d[still])  # (3)
        going = going[norm[going] > 0]
    size = np.maximum(1.0, np.linalg.norm(s, axis=1))
    return s, norm, ~faded & (norm <= tolerance * size)


def _newton_steps(F: Map, s: Array, r: Array) -> Array:
    """Solve (2) for each start."""
    A = F.jacobian(s) - np.eye(s.shape[1])
    try:
        d = np.linalg.solve(A, -r[..., None])
    except np.linalg.LinAlgError:  # at least one of them is singular
        d = np.linalg.pinv(A) @ -r[..., None]
    steps: Array = d[..., 0]
    return steps


def _searched(
    F: Map, s: Array, r: Array, norm: Array, going: Array, d: Array
) -> Array:
    """Take the step (3) of each start, in place; return who took one."""
    took = np.zeros(len(going), bool)
    e = 1.0
    while not took.all() and e >= SHORTEST:
        ask = np.flatnonzero(~took)
        i = going[ask]
        s_new = s[i] + e * d[ask]
        r_new = F(s_new) - s_new
        norm_new = np.linalg.norm(r_new, axis=1)
        better = norm_new <= (1.0 - 1e-4 * e) * norm[i]
        i = i[better]
        s[i], r[i], norm[i] = s_new[better], r_new[better], norm_new[better]
        took[ask[better]] = True
        e /= 2.0
    return going[took]
