"""Newton's method for fixed points, from many starts at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from msref.arrays import Array, namespace, on_host

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
    """Return where the starts (n, n_state) end, ||r|| (n,), and who arrived.

    States and residuals live where the starts do. What is decided by, one
    number for each start, is read to the host, and so are the last two.
    """
    xp = namespace(s)
    s = s.copy()
    r = F(s) - s  # (1)
    norm = _norms(r)
    last = np.full(len(s), np.inf)
    faded = np.zeros(len(s), bool)
    going = np.flatnonzero(norm > 0)
    for _ in range(n_iterations):
        if not going.size:
            break
        at = xp.asarray(going)
        d = _newton_steps(F, s[at], r[at])  # (2)
        length = _norms(d)
        size = 1.0 + _norms(s[at])
        faded[going] = (
            (norm[going] <= tolerance * size)
            & (length > FAR * size)
            & (length > 0.9 * last[going])
        )
        last[going] = length
        d *= xp.asarray(size / np.maximum(length, size))[:, None]
        still = np.flatnonzero(~faded[going] & (length > ROUNDING * size))
        d = d[xp.asarray(still)]
        going = _searched(F, s, r, norm, going[still], d)  # (3)
        going = going[norm[going] > 0]
    size = np.maximum(1.0, _norms(s))
    return s, norm, ~faded & (norm <= tolerance * size)


def _newton_steps(F: Map, s: Array, r: Array) -> Array:
    """Solve (2) for each start."""
    xp = namespace(s)
    A, b = F.jacobian(s) - xp.eye(s.shape[1]), -r[..., None]
    try:
        d = xp.linalg.solve(A, b)
        solved = bool(xp.isfinite(d).all())
    except np.linalg.LinAlgError:  # at least one of them is singular,
        solved = False  # for which CuPy gives NaN or infinity instead
    if not solved:
        d = xp.linalg.pinv(A) @ b
    steps: Array = d[..., 0]
    return steps


def _norms(vectors: Array) -> Array:
    """Return ||v||_2 of each row, on the host."""
    return on_host(namespace(vectors).linalg.norm(vectors, axis=1))


def _searched(
    F: Map, s: Array, r: Array, norm: Array, going: Array, d: Array
) -> Array:
    """Take the step (3) of each start, in place; return who took one."""
    xp = namespace(s)
    took = np.zeros(len(going), bool)
    e = 1.0
    while not took.all() and e >= SHORTEST:
        ask = np.flatnonzero(~took)
        i = going[ask]
        s_new = s[xp.asarray(i)] + e * d[xp.asarray(ask)]
        r_new = F(s_new) - s_new
        norm_new = _norms(r_new)
        better = np.flatnonzero(norm_new <= (1.0 - 1e-4 * e) * norm[i])
        i, new = i[better], xp.asarray(better)
        at = xp.asarray(i)
        s[at], r[at], norm[i] = s_new[new], r_new[new], norm_new[better]
        took[ask[better]] = True
        e /= 2.0
    return going[took]
