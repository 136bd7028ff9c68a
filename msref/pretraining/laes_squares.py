"""Ξ^T Ξ and Ξ Ξ^T, built without Ξ.

Both have the same structure: going one frame back in time changes their
entries by one product only, so each is a sum along its block diagonals.
"""

from __future__ import annotations

import numpy as np

from msref.arrays import Array
from msref.pretraining.laes_histories import Histories

ENTRIES = 2**23
"""Entries of the last histories that are multiplied at once."""


def gram_matrix(xi: Histories) -> Array:
    """Return G = Ξ^T Ξ (n_cols, n_cols) without Ξ.

    Equation
        G[i, j] = Σ_q z_i z_j^T + G[i+1, j+1], blocks (n_in, n_in), delays
        i, j, with z the last row of Ξ of each sequence: one step later in
        delay is one frame earlier in time, so the two sums differ by the
        last frame only.

    Cost
        2 n_cols^2 n_sequences + n_cols^2 operations, where multiplying Ξ
        out takes 2 n_cols^2 n_rows.

    Source
        derived here.
    """
    n, n_cols = xi.n_in, xi.shape[1]
    g = np.zeros((n_cols, n_cols))
    at_once = max(1, ENTRIES // n_cols)
    for first in range(0, len(xi.sequences), at_once):
        sequences = xi.sequences[first : first + at_once]
        z = np.zeros((len(sequences), n_cols))
        for row, x in zip(z, sequences, strict=True):
            newest = x[: -xi.width - 1 : -1]
            row[: newest.size] = newest.ravel()
        g += z.T @ z
    if xi.width < len(xi.sequences[0]):
        # Delays are cut off: the recursion has a border to start from.
        oldest = np.eye(n_cols, n, k=n - n_cols)
        g[:, -n:] = xi.normal_times(oldest)
        g[-n:, :] = g[:, -n:].T
    for i in range(xi.width - 2, -1, -1):
        here, older = slice(i * n, (i + 1) * n), slice((i + 1) * n, (i + 2) * n)
        g[here, :-n] += g[older, n:]
    return g


def kernel_matrix(xi: Histories) -> Array:
    """Return K = Ξ Ξ^T (n_rows, n_rows) without Ξ.

    Equation
        K[t, s] = x_t · x_s + K[t-1, s-1], for frames t and s of any two
        sequences, the last term only where both have a predecessor; if
        only width delays count, minus the full K[t-width, s-width].

    Cost
        2 n_rows^2 n_in operations.

    Source
        derived here.
    """
    x = np.concatenate(xi.sequences)
    age = np.concatenate([np.arange(len(q)) for q in xi.sequences])
    k: Array = x @ x.T
    has_predecessor = (age > 0).astype(float)
    for t in np.flatnonzero(age > 0):
        k[t, 1:] += k[t - 1, :-1] * has_predecessor[1:]
    w = xi.width
    older = (age >= w).astype(float)
    for t in np.flatnonzero(age >= w)[::-1]:
        k[t, w:] -= k[t - w, :-w] * older[w:]
    return k
