"""Leading eigenpairs of an operator that can only be multiplied with.

Block Lanczos: multiply a block of vectors, keep what is new in the product
as the next block, and after a while look for the eigenvectors inside the
span of all blocks, where the leading ones show up first.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from msref.arrays import Array, moved, namespace, on_host

CONVERGED = 1e-14
"""Residual |M u - λ u|, relative to the largest λ, of a finished pair."""

CLEAN = 1e-8
"""Above this part of a block in the span of the others, one pass of
orthogonalisation has not removed all of it."""

RESTARTS = 100
"""More restarts than that mean that rounding errors are being chased."""

FIRST_LOOK = 2.0
"""No span of fewer than that many vectors per pair has ever sufficed."""

GROWTH = 1.25
"""The span grows by this factor, at most, between two looks at its
eigenvectors; by less if the last two say that the end is near."""

CHANCE = 1e-9
"""Probability that `nothing_missed` says so and is wrong."""

STEPS = 60
"""Products after which `nothing_missed` gives up."""

Multiply = Callable[[Array], Array]


def leading_eigenpairs(
    multiply: Multiply,
    size: int,
    n_pairs: int,
    capacity: int,
    nothing: float = 0.0,
    block: int = 8,
    xp: ModuleType = np,
) -> tuple[Array, Array, bool]:
    """Return the largest eigenvalues of M, their eigenvectors, and certainty.

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
        block: columns multiplied at once. Fewer need fewer products, and
            each product takes longer.
        xp: library of what ``multiply`` takes and gives. H and what is
            decided by is on the host.

    Returns
        values (k,) in descending order, on the host, and vectors (size, k),
        k <= n_pairs: fewer where M maps the span into itself. Then, and for
        multiple eigenvalues, what is orthogonal to the vectors may hold more;
        the last result is true if it holds none above the last value.

    Raises
        numpy.linalg.LinAlgError: no convergence after RESTARTS restarts.

    Cost
        With m vectors in the span, 2.5 to 4 n_pairs for spectra that fall,
        10 n_pairs for flat ones: m products and 2 size m^2 operations;
        memory (size, capacity).

    Source
        Golub and Underwood (1977); the restart: Wu and Simon (2000).
    """
    block = min(block, size)
    capacity = min(size, max(capacity, n_pairs + 4 * block))
    # A vector per row: a block is contiguous, and so are all before it.
    basis: Array = xp.empty((capacity, size))
    h = np.zeros((capacity, capacity))
    start = np.random.default_rng(0).standard_normal((block, size))
    basis[:block], _ = _triangular(moved(start, xp))
    n_basis, largest, restarts = block, 0.0, 0
    newest, coupled, next_look = slice(0, block), 0, FIRST_LOOK * n_pairs
    before = 0, np.inf

    while True:
        z = multiply(basis[newest].T).T.copy(order="C")
        # The product meets only the newest two blocks: H is a band. The
        # others are rounding errors, and go in the second pass below; this
        # takes half the time of two full passes.
        near = slice(coupled, n_basis)
        h[near, newest] = on_host(basis[near] @ z.T)
        h[newest, near] = h[near, newest].T
        longest = np.linalg.norm(h[near, newest], axis=0).max()
        largest = max(largest, float(longest))
        z -= moved(h[near, newest].T, xp) @ basis[near]
        q, r = _triangular(z)
        turn, coupling, rotation = np.linalg.svd(on_host(r))
        n_new = int(np.sum(coupling > max(CONVERGED * largest, nothing)))
        n_new = min(n_new, size - n_basis)

        full = n_basis + n_new > capacity
        if n_new == 0 or n_basis >= next_look or full:
            values, y = np.linalg.eigh(h[:n_basis, :n_basis])
            values, y = values[::-1], y[:, ::-1]
            residual = np.linalg.norm(
                coupling[:, None] * (rotation @ y[newest, :n_pairs]), axis=0
            )
            done = n_basis >= n_pairs and residual.max() <= CONVERGED * largest
            if n_new == 0 or done:
                break
            now = n_basis, residual.max() / largest
            next_look, before = _next_look(before, now, block), now
            if full:
                if restarts == RESTARTS:
                    raise np.linalg.LinAlgError(
                        f"no {n_pairs} eigenpairs converged in {restarts}"
                        f" restarts, residual {now[1]:.1e}"
                    )
                restarts += 1
                kept = (n_pairs + capacity) // 2 - block
                _rotate(basis, n_basis, moved(y[:, :kept], xp))
                n_basis, newest = kept, slice(0, kept)
                h[:] = 0.0
                np.fill_diagonal(h[:n_basis, :n_basis], values)
                next_look, before = 0.0, (0, np.inf)

        new = moved(turn[:, :n_new].T, xp) @ q
        basis[n_basis : n_basis + n_new] = _clean(new, basis[:n_basis])
        coupled = newest.start
        newest = slice(n_basis, n_basis + n_new)
        n_basis += n_new

    values = values[:n_pairs]
    least = max(values[-1], nothing) + CONVERGED * largest
    certain = nothing_missed(multiply, basis[:n_basis], least)
    _rotate(basis, n_basis, moved(y[:, :n_pairs], xp))
    return values, basis[: len(values)].copy().T, certain


def _next_look(
    before: tuple[int, float], now: tuple[int, float], block: int
) -> float:
    """Return the size at which the residual should be small enough.

    It falls by the same factor with every block, near the end.
    """
    furthest = GROWTH * now[0]
    if now[1] < before[1] < np.inf:
        per_vector = np.log(before[1] / now[1]) / (now[0] - before[0])
        furthest = min(
            furthest, now[0] + np.log(now[1] / CONVERGED) / per_vector
        )
    return float(max(furthest - 0.5 * block, now[0] + 1))


def nothing_missed(multiply: Multiply, basis: Array, least: float) -> bool:
    """Return whether no eigenvalue above ``least`` is orthogonal to a span.

    A Krylov space holds a multiple eigenvalue as often as its block is wide;
    other copies are orthogonal to it.

    Equations
        P = I - Q^T Q (``basis`` Q, a vector per row), S = P M P
        S W = W T + β_k w_{k+1} e_k^T: Lanczos from a random w, with
        couplings β_j and eigenvalues θ_j of T
        π(x) = Π_j (x - θ_j): |π(S) w| = |w| β_1 ... β_k
        S y = λ y, |y| = 1: |π(S) w| >= π(λ) |y · w|

        So there is no λ >= least if π(least) > |w| β_1 ... β_k / |y · w|;
        y · w is Gaussian, and below CHANCE with less than that probability.

    Returns
        Whether the last line came true; false does not mean that one was
        missed.

    Cost
        A product with one vector per step; 5 to 10 steps where the spectrum
        falls, 30 where it is flat.

    Source
        derived here.
    """
    size = basis.shape[1]
    xp = namespace(basis)
    w = moved(np.random.default_rng(1).standard_normal((1, size)), xp)
    w = _without(w, basis)
    length = float(xp.linalg.norm(w))
    if not length > CLEAN * np.sqrt(size):
        return True  # the span is the whole space
    chain: Array = xp.zeros((STEPS, size))
    t = np.zeros((STEPS, STEPS))
    wanted, couplings = np.log(length / CHANCE), 0.0
    w = _clean(w / length, basis)
    for k in range(STEPS):
        chain[k] = w[0]
        z = _without(xp.ascontiguousarray(multiply(w.T).T), basis)
        t[: k + 1, k] = on_host(chain[: k + 1] @ z[0])
        t[k, : k + 1] = t[: k + 1, k]
        theta = np.linalg.eigvalsh(t[: k + 1, : k + 1])
        if theta[-1] >= least:
            return False
        z = _without(_without(z, chain[: k + 1]), chain[: k + 1])
        beta = float(xp.linalg.norm(z))
        if beta <= CONVERGED * least:
            return True  # w has met every eigenvalue
        couplings += np.log(beta)
        if np.sum(np.log(least - theta)) - couplings > wanted:
            return True
        w = _clean(z / beta, basis)
    return False


def _without(rows: Array, basis: Array) -> Array:
    """Return the parts of ``rows`` that are orthogonal to ``basis``."""
    outside: Array = rows - (rows @ basis.T) @ basis
    return outside


def _clean(rows: Array, basis: Array) -> Array:
    """Make orthonormal rows orthogonal to ``basis``, too.

    Once is not enough where the rows are what little is left of a product;
    twice is. What is taken out of them shortens them by its square only.
    """
    for _ in range(2):
        inside = rows @ basis.T
        rows = rows - inside @ basis
        if float(namespace(rows).linalg.norm(inside)) <= CLEAN:
            break
        rows, _ = _triangular(rows)
    return rows


def _triangular(rows: Array) -> tuple[Array, Array]:
    """Return Q with orthonormal rows and R: rows = R^T Q."""
    xp = namespace(rows)
    q, r = xp.linalg.qr(rows.T)
    return xp.ascontiguousarray(q.T), r


def _rotate(basis: Array, n_basis: int, y: Array) -> None:
    """Replace the first rows of ``basis`` by y^T basis, without a copy."""
    for start in range(0, basis.shape[1], 4096):
        columns = slice(start, start + 4096)
        basis[: y.shape[1], columns] = y.T @ basis[:n_basis, columns]
