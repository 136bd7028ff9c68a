"""The leading singular pairs of Ξ on four routes.

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

from collections.abc import Callable

import numpy as np
import scipy.linalg

from msref.arrays import Array, namespace, on_host
from msref.pretraining.laes_algebra import right_singular
from msref.pretraining.laes_histories import Histories
from msref.pretraining.laes_krylov import leading_eigenpairs
from msref.pretraining.laes_squares import (
    gram_matrix,
    kernel_matrix,
    mirror,
)

BASIS = 2**29
"""Bytes of the Krylov basis above which it is cut and restarted."""

FAINT = 1e-12
"""An eigenvalue below this share of the largest has no digit to trust."""

ROUNDING = 1e-14
"""Relative error of a product with Ξ, at most."""

CLEAR = 1e-4
"""An eigenvalue above this share of the largest needs no polish."""

MEASURABLE = 1e-3
"""Fainter singular values count as this share of the first in `residual`."""

TALL = 12
"""A square with that many rows per pair is left to Lanczos, too."""

CACHE = 2**24
"""Bytes of spectra that stay in the cache from one product to the next.
Larger ones are read from memory, and more columns at once pay: per column,
eight instead of four take two thirds of the time."""

MANY = 128
"""From that many pairs on the basis is read from memory, as well."""

ROUTES = ("dense", "gram", "kernel", "krylov")


def leading_singular_pairs(
    xi: Histories,
    n_pairs: int,
    route: str,
    tolerance: float,
    basis_bytes: int = BASIS,
) -> tuple[Array, Array]:
    """Return the leading singular values and right singular vectors of Ξ.

    Arguments
        n_pairs: how many are wanted.
        route: one of ROUTES.
        tolerance: singular values below this share of the first are zero.
        basis_bytes: what a Krylov basis may take.

    Returns
        singular (k,), descending, on the host, and u (n_cols, k), where the
        sequences live, k <= n_pairs; those left out are zero. The last of
        those returned may be zero, too.

    Raises
        numpy.linalg.LinAlgError: no convergence.
    """
    if route == "dense":
        return dense(xi, n_pairs)
    if route == "gram":
        values, u, certain = _top(gram_matrix(xi), n_pairs, basis_bytes)
    elif route == "kernel":
        values, v, certain = _top(kernel_matrix(xi), n_pairs, basis_bytes)
        u, _ = xi.xp.linalg.qr(xi.transposed_times(v))
    else:
        nothing_yet = xi.xp.zeros((xi.shape[1], 0))
        values, u, certain = _search(xi, nothing_yet, n_pairs, 0.0, basis_bytes)

    def search(
        u: Array, n_pairs: int, nothing: float
    ) -> tuple[Array, Array, bool]:
        return _search(xi, u, n_pairs, nothing, basis_bytes)

    return settle(xi, values, u, n_pairs, tolerance, certain, search)


def dense(xi: Histories, n_pairs: int) -> tuple[Array, Array]:
    """Decompose Ξ = V Λ U^T itself."""
    values, u = right_singular(xi.dense())
    return values[:n_pairs], xi.xp.ascontiguousarray(u[:, :n_pairs])


def settle(
    xi: Histories,
    values: Array,
    u: Array,
    n_pairs: int,
    tolerance: float,
    certain: bool,
    search: Callable[[Array, int, float], tuple[Array, Array, bool]],
) -> tuple[Array, Array]:
    """Turn eigenpairs of Ξ^T Ξ into singular pairs of Ξ with all digits.

    Equations
        polish   U <- orth(Ξ^T Ξ U), Ξ U = Q R, R = Y Λ W^T, U <- U W
        search   leading eigenpairs of P Ξ^T Ξ P, P = I - U U^T

    Eigenvectors of faint eigenvalues are thrown away, the others polished,
    and the missing ones sought again in what these leave of Ξ, which is small
    and has its digits. Every round adds some decades of singular values.
    Where a search is not certain that it saw every copy of a multiple
    eigenvalue (a Krylov space cannot), one in the rest finds what it missed.

    Arguments
        values, u: descending eigenvalues (k,), vectors (n_cols, k).
        tolerance: singular values below this share of the first are zero.
        certain: no eigenvalue above the last of ``values`` is missing.
        search: known vectors, how many more, what is nothing -> pairs
            orthogonal to the known ones, and whether they are certain.

    Returns
        singular values (k,), descending, and u (n_cols, k), k <= n_pairs.

    Source
        derived here.
    """
    if values[0] <= 0.0:
        return np.zeros(0), u[:, :0]
    xp = xi.xp
    trusted = np.flatnonzero(values > FAINT * values[0])
    values, u = values[trusted], u[:, xp.asarray(trusted)]
    if values[-1] < CLEAR * values[0]:
        singular, u = _polish(xi, u)
    else:
        singular = np.sqrt(values)
    for _ in range(2 * n_pairs):
        missing = n_pairs - len(singular)
        if certain and not missing:
            break
        nothing = (tolerance * singular[0]) ** 2
        values, found, sure = search(u, max(missing, 1), nothing)
        certain = certain and sure
        least = nothing
        if not missing:
            least = singular[-1] ** 2 + FAINT * singular[0] ** 2
        if values[0] <= least:
            break
        # A product with Ξ errs by a share of its largest singular value,
        # however small the part of Ξ that is left.
        error = ROUNDING * singular[0] * np.sqrt(values[0])
        least = min(values[0], max(error, FAINT * values[0]))
        more = found[:, xp.asarray(np.flatnonzero(values >= least))]
        singular, u = _polish(xi, xp.concatenate([u, more], axis=1))
        singular, u = singular[:n_pairs], u[:, :n_pairs]
    return singular, u


def residual(xi: Histories, singular: Array, u: Array) -> float:
    """Estimate how far the singular triplets are from being some, from above.

    Equation
        max_i |Ξ^T v_i - λ_i u_i| / λ_1, with v_i = Ξ u_i / λ_i

        On the other side, Ξ u_i - λ_i v_i = 0, and for v_i of length one,
        | |Ξ u_i| - λ_i | is at most the above.

    A random sum of all pairs takes one product: its square is on average the
    sum of their squares. The larger of two sums is taken. A λ_i below 1e-3
    λ_1 counts as that: the digits of v_i are lost to Ξ u_i, not to u_i.
    """
    if len(singular) == 0:
        return 0.0
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(singular), 2))
    weights = signs / np.maximum(singular, MEASURABLE * singular[0])[:, None]
    xp = xi.xp
    image = xi.normal_times(u @ xp.asarray(weights))
    image -= u @ xp.asarray(weights * singular[:, None] ** 2)
    return float(xp.linalg.norm(image, axis=0).max()) / float(singular[0])


def _top(
    square: Array, n_pairs: int, basis_bytes: int
) -> tuple[Array, Array, bool]:
    """Return the largest eigenvalues, descending, and their vectors.

    ``square`` is an upper triangle. For few of many, products with it are
    faster than its reduction.
    """
    size = len(square)
    if size >= TALL * n_pairs and size > 1000:
        # A product with both halves is faster than LAPACK's with one.
        mirror(square)
        return leading_eigenpairs(
            lambda z: (z.T @ square).T,
            size,
            n_pairs,
            basis_bytes // (8 * size),
            xp=namespace(square),
        )
    if namespace(square) is not np:
        values, vectors = namespace(square).linalg.eigh(square, UPLO="U")
        last = slice(size - n_pairs, size)
        return on_host(values[last])[::-1], vectors[:, last][:, ::-1], True
    # The transpose of a symmetric C array is the Fortran array that LAPACK
    # overwrites without a copy.
    values, vectors = scipy.linalg.eigh(
        square.T,
        subset_by_index=[size - n_pairs, size - 1],
        overwrite_a=True,
        check_finite=False,
    )
    return values[::-1], vectors[:, ::-1], True


def capacity(size: int, n_pairs: int, basis_bytes: int) -> int:
    """Return how many vectors a Krylov basis may have.

    Flat spectra need up to 14 per pair; more is not worth its memory.
    """
    wanted = 14 * n_pairs + 200
    return min(size, wanted, max(basis_bytes // (8 * size), 2 * n_pairs + 64))


def _search(
    xi: Histories, u: Array, n_pairs: int, nothing: float, basis_bytes: int
) -> tuple[Array, Array, bool]:
    """Find the leading eigenpairs of Ξ^T Ξ orthogonal to ``u`` by products."""
    rows_are_fewer = xi.shape[0] < xi.shape[1]
    size = min(xi.shape)
    known = u
    if rows_are_fewer and u.shape[1]:
        known, _ = xi.xp.linalg.qr(xi.times(u))

    def multiply(z: Array) -> Array:
        product = xi.kernel_times if rows_are_fewer else xi.normal_times
        if not u.shape[1]:
            return product(z)
        return _without(known, product(_without(known, z)))

    values, vectors, certain = leading_eigenpairs(
        multiply,
        size,
        min(n_pairs, size),
        capacity(size, n_pairs, basis_bytes),
        nothing,
        block=4 if xi.spectrum_bytes() < CACHE and n_pairs < MANY else 8,
        xp=xi.xp,
    )
    if rows_are_fewer:
        vectors = xi.transposed_times(vectors)
    if u.shape[1]:
        # A trace of what is known would drown them in the next product.
        vectors = _without(u, vectors)
    return values, orthonormal(vectors), certain


def orthonormal(z: Array) -> Array:
    """Return an orthonormal basis of what the columns of ``z`` span.

    Columns that already are orthogonal to half of the digits stay the same
    to the other half; that takes two products and no factorisation. ``z`` is
    overwritten.
    """
    xp = namespace(z)
    lengths = xp.linalg.norm(z, axis=0)
    if float(lengths.min()) > 0.0:
        z /= lengths
        error = z.T @ z - xp.eye(z.shape[1])
        if float(abs(error).max()) * z.shape[1] < 1e-8:
            for start in range(0, len(z), 1024):
                rows = z[start : start + 1024]
                rows -= rows @ (0.5 * error)
            return z
    q, _ = xp.linalg.qr(z)
    basis: Array = q
    return basis


def _without(u: Array, z: Array) -> Array:
    """Return the part of ``z`` that is orthogonal to ``u``."""
    outside: Array = z - u @ (u.T @ z)
    return outside


def _polish(xi: Histories, u: Array) -> tuple[Array, Array]:
    """One power step and one Rayleigh-Ritz step, both on Ξ, not its square."""
    xp = xi.xp
    u, _ = xp.linalg.qr(xi.normal_times(u))
    _, singular, w_t = xp.linalg.svd(xi.triangle(u), full_matrices=False)
    return on_host(singular), u @ w_t.T
