"""The leading singular pairs of Ξ on four routes, and the choice of one.

All routes are exact and return the same subspace. They differ in what they
make of Ξ (n_rows, n_cols) on the way:

    dense   Ξ itself, and its singular value decomposition
    gram    Ξ^T Ξ (n_cols, n_cols), built without Ξ, and its eigenvectors
    kernel  Ξ Ξ^T (n_rows, n_rows), built without Ξ, and its eigenvectors
    krylov  nothing; products with Ξ in the frequency domain

The last three work on squares, and a square keeps half of the digits:
eigenvalues below 1e-16 of the largest, singular values below 1e-8 of it, are
noise. `settle` gives the lost half back.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from msref.arrays import Array
from msref.pretraining.laes_histories import Histories
from msref.pretraining.laes_krylov import leading_eigenpairs
from msref.pretraining.laes_squares import gram_matrix, kernel_matrix

BASIS = 2**29
"""Bytes of the Krylov basis above which it is cut and restarted."""

FAINT = 1e-12
"""An eigenvalue below this share of the largest has no digit to trust."""

ROUNDING = 1e-14
"""Relative error of a product with Ξ, at most."""

CLEAR = 1e-4
"""An eigenvalue above this share of the largest needs no polish."""

ROUTES = ("dense", "gram", "kernel", "krylov")


def leading_singular_pairs(
    xi: Histories, n_pairs: int, route: str, tolerance: float
) -> tuple[Array, Array]:
    """Return the leading singular values and right singular vectors of Ξ.

    Arguments
        n_pairs: how many are wanted.
        route: one of ROUTES.
        tolerance: singular values below this share of the first are zero.

    Returns
        singular (k,), descending, and u (n_cols, k), k <= n_pairs; those
        left out are zero. The last of those returned may be zero, too.
    """
    if route == "dense":
        return dense(xi, n_pairs)
    if route == "gram":
        return gram(xi, n_pairs, tolerance)
    if route == "kernel":
        return kernel(xi, n_pairs, tolerance)
    return krylov(xi, n_pairs, tolerance)


def dense(xi: Histories, n_pairs: int) -> tuple[Array, Array]:
    """Decompose Ξ = V Λ U^T itself."""
    _, values, u_t = scipy.linalg.svd(
        xi.dense(), full_matrices=False, overwrite_a=True, check_finite=False
    )
    return values[:n_pairs], np.ascontiguousarray(u_t[:n_pairs].T)


def gram(xi: Histories, n_pairs: int, tolerance: float) -> tuple[Array, Array]:
    """Decompose Ξ^T Ξ = U Λ^2 U^T."""
    values, u = _top(gram_matrix(xi), n_pairs)
    return settle(xi, values, u, n_pairs, tolerance, certain=True)


def kernel(
    xi: Histories, n_pairs: int, tolerance: float
) -> tuple[Array, Array]:
    """Decompose Ξ Ξ^T = V Λ^2 V^T, then U = orth(Ξ^T V)."""
    values, v = _top(kernel_matrix(xi), n_pairs)
    u = np.linalg.qr(xi.transposed_times(v)).Q
    return settle(xi, values, u, n_pairs, tolerance, certain=True)


def krylov(
    xi: Histories, n_pairs: int, tolerance: float
) -> tuple[Array, Array]:
    """Find U of Ξ^T Ξ = U Λ^2 U^T by products with Ξ alone."""
    nothing_yet = np.zeros((xi.shape[1], 0))
    values, u = _search(xi, nothing_yet, n_pairs, 0.0)
    return settle(xi, values, u, n_pairs, tolerance, certain=False)


def settle(
    xi: Histories,
    values: Array,
    u: Array,
    n_pairs: int,
    tolerance: float,
    *,
    certain: bool,
) -> tuple[Array, Array]:
    """Turn eigenpairs of Ξ^T Ξ into singular pairs of Ξ with all digits.

    Equations
        polish   U <- orth(Ξ^T Ξ U), Ξ U = Q R, R = Y Λ W^T, U <- U W
        search   leading eigenpairs of P Ξ^T Ξ P, P = I - U U^T

    Eigenvectors of faint eigenvalues are thrown away, the others polished,
    and the missing ones sought again in what these leave of Ξ, which is small
    and has its digits. Every round adds some decades of singular values.
    Where the first search was not certain to see every copy of a multiple
    eigenvalue (a Krylov space cannot), the search in the rest also says
    whether a larger one was missed.

    Arguments
        values, u: descending eigenvalues (k,), vectors (n_cols, k).
        tolerance: singular values below this share of the first are zero.
        certain: no eigenvalue above the last of ``values`` is missing.

    Returns
        singular values (k,), descending, and u (n_cols, k), k <= n_pairs.

    Source
        derived here.
    """
    if values[0] <= 0.0:
        return np.zeros(0), u[:, :0]
    trusted = values > FAINT * values[0]
    values, u = values[trusted], u[:, trusted]
    if values[-1] < CLEAR * values[0]:
        singular, u = _polish(xi, u)
    else:
        singular = np.sqrt(values)
    for _ in range(2 * n_pairs):
        missing = n_pairs - len(singular)
        if certain and not missing:
            break
        nothing = (tolerance * singular[0]) ** 2
        values, found = _search(xi, u, max(missing, 1), nothing)
        least = nothing
        if not missing:
            least = singular[-1] ** 2 + FAINT * singular[0] ** 2
        if values[0] <= least:
            break
        # A product with Ξ errs by a share of its largest singular value,
        # however small the part of Ξ that is left.
        error = ROUNDING * singular[0] * np.sqrt(values[0])
        trusted = values >= min(values[0], max(error, FAINT * values[0]))
        singular, u = _polish(xi, np.hstack([u, found[:, trusted]]))
        singular, u = singular[:n_pairs], u[:, :n_pairs]
    return singular, u


def residual(xi: Histories, singular: Array, u: Array) -> float:
    """Estimate max_i |Ξ^T Ξ u_i - λ_i^2 u_i| / λ_1^2 from above.

    One product with a random sum of all pairs: its square is on average the
    sum of the squares of the pairs.
    """
    if len(singular) == 0:
        return 0.0
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=len(singular))
    image = xi.normal_times((u @ signs)[:, None])[:, 0]
    error = np.linalg.norm(image - u @ (signs * singular**2))
    return float(error / singular[0] ** 2)


def _top(square: Array, n_pairs: int) -> tuple[Array, Array]:
    """Return the largest eigenvalues, descending, and their vectors."""
    size = len(square)
    # The transpose of a symmetric C array is the Fortran array that LAPACK
    # overwrites without a copy.
    values, vectors = scipy.linalg.eigh(
        square.T,
        subset_by_index=[size - n_pairs, size - 1],
        overwrite_a=True,
        check_finite=False,
    )
    return values[::-1], vectors[:, ::-1]


def _search(
    xi: Histories, u: Array, n_pairs: int, nothing: float
) -> tuple[Array, Array]:
    """Find the leading eigenpairs of Ξ^T Ξ orthogonal to ``u`` by products."""
    rows_are_fewer = xi.shape[0] < xi.shape[1]
    size = min(xi.shape)
    known = np.linalg.qr(xi.times(u)).Q if rows_are_fewer else u

    def multiply(z: Array) -> Array:
        z = _without(known, z)
        if rows_are_fewer:
            z = xi.times(xi.transposed_times(z))
        else:
            z = xi.normal_times(z)
        return _without(known, z)

    capacity = min(4 * n_pairs + 128, BASIS // (8 * size))
    values, vectors = leading_eigenpairs(
        multiply, size, min(n_pairs, size), capacity, nothing
    )
    if rows_are_fewer:
        vectors = xi.transposed_times(vectors)
    # A trace of what is known would drown them in the next product.
    return values, np.linalg.qr(_without(u, vectors)).Q


def _without(u: Array, z: Array) -> Array:
    """Return the part of ``z`` that is orthogonal to ``u``."""
    return np.asarray(z - u @ (u.T @ z))


def _polish(xi: Histories, u: Array) -> tuple[Array, Array]:
    """One power step and one Rayleigh-Ritz step, both on Ξ, not its square."""
    u = np.linalg.qr(xi.normal_times(u)).Q
    _, singular, w_t = np.linalg.svd(xi.triangle(u), full_matrices=False)
    return singular, u @ w_t.T
