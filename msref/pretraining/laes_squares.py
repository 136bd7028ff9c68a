"""Ξ^T Ξ and Ξ Ξ^T, built without Ξ.

Both have the same structure: going one frame back in time changes their
entries by one product only, so each is a sum along its block diagonals. Both
are symmetric, and only the upper triangle is computed: half the time.
"""

from __future__ import annotations

import numpy as np

from msref.arrays import Array, namespace
from msref.pretraining.laes_algebra import add_square
from msref.pretraining.laes_histories import Histories

ENTRIES = 2**21
"""Entries of the last histories that are multiplied at once (16 MiB)."""


def gram_matrix(xi: Histories) -> Array:
    """Return the upper triangle of G = Ξ^T Ξ (n_cols, n_cols) without Ξ.

    Equation
        G[i, j] = Σ_q z_i z_j^T + G[i+1, j+1], blocks (n_in, n_in), delays
        i, j, with z the last row of Ξ of each sequence: one step later in
        delay is one frame earlier in time, so the two sums differ by the
        last frame only.

    Returns
        G where j >= i; no entry below means anything.

    Cost
        n_cols^2 n_sequences + n_cols^2 / 2 operations, where multiplying Ξ
        out takes n_cols^2 n_rows.

    Source
        derived here.
    """
    n, n_cols, xp = xi.n_in, xi.shape[1], xi.xp
    g: Array = xp.zeros((n_cols, n_cols))
    z = xp.zeros((min(max(1, ENTRIES // n_cols), xi.n_sequences), n_cols))
    filled = 0
    for x in xi.parts(ENTRIES):
        newest = x[:, : -xi.width - 1 : -1].reshape(len(x), -1)
        while len(newest):
            rows = z[filled : filled + len(newest)]
            rows[:, : newest.shape[1]] = newest[: len(rows)]
            rows[:, newest.shape[1] :] = 0.0
            filled, newest = filled + len(rows), newest[len(rows) :]
            if filled == len(z):
                add_square(g, z)
                filled = 0
    add_square(g, z[:filled])
    if xi.width < xi.longest:
        # Delays are cut off: the recursion has a border to start from.
        oldest = xp.eye(n_cols, n, k=n - n_cols)
        g[:, -n:] = xi.normal_times(oldest)
    for i in range(xi.width - 2, -1, -1):
        start, older = i * n, (i + 1) * n
        g[start:older, start:-n] += g[older : older + n, older:]
    return g


def kernel_matrix(xi: Histories) -> Array:
    """Return the upper triangle of K = Ξ Ξ^T (n_rows, n_rows) without Ξ.

    Equation
        K[t, s] = x_t · x_s + K[t-1, s-1], for frames t and s of any two
        sequences, the last term only where both have a predecessor; if
        only width delays count, minus the full K[t-width, s-width].

    Returns
        K where s >= t; no entry below means anything.

    Cost
        n_rows^2 n_in operations.

    Source
        derived here.
    """
    xp, parts = xi.xp, list(xi.parts(ENTRIES))
    x = xp.concatenate([part.reshape(-1, xi.n_in) for part in parts])
    ages = [np.tile(np.arange(part.shape[1]), len(part)) for part in parts]
    age = np.concatenate(ages)
    k: Array = xp.zeros((len(x), len(x)))
    add_square(k, xp.ascontiguousarray(x.T))
    has_predecessor = xp.asarray((age > 0).astype(float))
    for t in np.flatnonzero(age > 0):
        k[t, t:] += k[t - 1, t - 1 : -1] * has_predecessor[t:]
    w = xi.width
    older = xp.asarray((age >= w).astype(float))
    for t in np.flatnonzero(age >= w)[::-1]:
        k[t, t:] -= k[t - w, t - w : -w] * older[t:]
    return k


def mirror(square: Array) -> None:
    """Copy the upper triangle to the lower one, in place."""
    xp = namespace(square)
    for start in range(0, len(square), 64):
        rows = square[start : start + 64]
        corner = rows[:, start : start + 64]
        corner[:] = xp.triu(corner) + xp.triu(corner, 1).T
        square[start + 64 :, start : start + 64] = rows[:, start + 64 :].T
