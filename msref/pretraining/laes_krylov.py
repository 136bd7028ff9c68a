"""Leading eigenpairs of an operator that can only be multiplied with.

Block Lanczos: multiply a block of vectors, keep what is new in the product
as the next block, and after a while look for the eigenvectors inside the
span of all blocks, where the leading ones show up first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from msref.arrays import Array

BLOCK = 8
"""Columns multiplied at once."""

CONVERGED = 1e-14
"""Residual |M u - λ u|, relative to the largest λ, of a finished pair."""

RESTARTS = 100
"""More restarts than that mean that rounding errors are being chased."""

GROWTH = 1.15
"""The span grows by this factor between two looks at its eigenvectors."""


def leading_eigenpairs(
    multiply: Callable[[Array], Array],
    size: int,
    n_pairs: int,
    capacity: int,
    nothing: float = 0.0,
) -> tuple[Array, Array]:
    """Return the largest eigenvalues of M and their eigenvectors.

    M (size, size) is symmetric and positive semi-definite; ``multiply`` maps
    (size, b) to M times it. The start block is random with a fixed seed, so
    the result is the same every time.

    Equation
        M Q = Q H + Z E^T, Z orthogonal to Q, E picks the newest block;
        H y = λ y: eigenpair (λ, Q y) up to the residual |Z E^T y|

    Arguments
        n_pairs: how many pairs must have converged.
        capacity: how many vectors may be stored; when they are used up, the
            span is cut to its leading eigenvectors and goes on from there.
        nothing: products of this size are rounding errors.

    Returns
        values (k,) in descending order and vectors (size, k), k <= n_pairs:
        fewer where M maps the span into itself. Then, and always for
        multiple eigenvalues, what is orthogonal to the vectors may hold
        more: it has to be searched by itself.

    Raises
        numpy.linalg.LinAlgError: no convergence after RESTARTS restarts.

    Cost
        With m vectors in the span, about 2.5 n_pairs: m products and
        4 size m^2 operations; memory (size, capacity).

    Source
        Golub and Underwood (1977); the restart: Wu and Simon (2000).
    """
    block = min(BLOCK, size)
    capacity = min(size, max(capacity, n_pairs + 4 * block))
    basis = np.empty((size, capacity))
    h = np.zeros((capacity, capacity))
    new = np.linalg.qr(np.random.default_rng(0).standard_normal((size, block)))
    basis[:, :block], n_basis, largest = new.Q, block, 0.0
    newest, next_look, restarts = slice(0, block), n_pairs, 0

    while True:
        span = basis[:, :n_basis]
        z = multiply(basis[:, newest])
        h[:n_basis, newest] = span.T @ z
        h[newest, :n_basis] = h[:n_basis, newest].T
        largest = max(largest, float(np.linalg.norm(h[:n_basis, newest], 2)))
        z -= span @ h[:n_basis, newest]
        q, coupling, rotation = np.linalg.svd(z, full_matrices=False)
        n_new = int(np.sum(coupling > max(CONVERGED * largest, nothing)))
        n_new = min(n_new, size - n_basis)

        if n_new == 0 or n_basis >= next_look or n_basis + n_new > capacity:
            values, y = np.linalg.eigh(h[:n_basis, :n_basis])
            values, y = values[::-1], y[:, ::-1]
            residual = np.linalg.norm(
                coupling[:, None] * (rotation @ y[newest, :n_pairs]), axis=0
            )
            done = n_basis >= n_pairs and residual.max() <= CONVERGED * largest
            if n_new == 0 or done:
                return values[:n_pairs], span @ y[:, :n_pairs]
            next_look = int(n_basis * GROWTH)
            if n_basis + n_new > capacity:
                if restarts == RESTARTS:
                    raise np.linalg.LinAlgError(
                        f"no {n_pairs} eigenpairs converged in {restarts}"
                        f" restarts, residual {residual.max() / largest:.1e}"
                    )
                restarts += 1
                n_basis = (n_pairs + capacity) // 2 - block
                basis[:, :n_basis] = span @ y[:, :n_basis]
                h[:] = 0.0
                np.fill_diagonal(h[:n_basis, :n_basis], values)
                next_look = 0

        # Once is not enough: z may have lost most of its digits above.
        span, q = basis[:, :n_basis], q[:, :n_new]
        q = np.linalg.qr(q - span @ (span.T @ q)).Q
        newest = slice(n_basis, n_basis + n_new)
        basis[:, newest] = q
        n_basis += n_new
