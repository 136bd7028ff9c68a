"""Which of the four routes to the singular pairs of Ξ is the cheapest."""

from __future__ import annotations

from msref.pretraining.laes_histories import Histories

EXPLICIT = 2**29
"""Bytes of the largest matrix that is built: Ξ, Ξ^T Ξ or Ξ Ξ^T (512 MiB)."""

SMALL = 0.1
"""Seconds below which nothing is more direct than Ξ itself."""


def choose(asked: str, xi: Histories, n_pairs: int) -> tuple[str, str]:
    """Return the route to take, and a sentence that says why.

    ``asked`` is taken if it is a route. For "auto" it is dense where that is
    a matter of a moment, else the route with the smallest estimate, among
    those whose matrix stays below 512 MiB; krylov always does.

    Raises
        ValueError: the route asked for would build a larger matrix.
    """
    size = f"{n_pairs} directions of Ξ ({xi.shape[0]} x {xi.shape[1]})"
    built, cost = bytes_built(xi), seconds(xi, n_pairs)
    if asked != "auto":
        if built[asked] > EXPLICIT:
            raise ValueError(
                f"route is {asked!r}, which would build a matrix of"
                f" {_size(built[asked])} for {size}, expected at most"
                f" {_size(EXPLICIT)}; use route='krylov'"
            )
        return asked, f"{asked} was asked for: {size}, {_time(cost[asked])}."
    possible = [route for route in built if built[route] <= EXPLICIT]
    if "dense" in possible and cost["dense"] < SMALL:
        return "dense", f"dense, as Ξ itself is small: {size}."
    route = min(possible, key=cost.__getitem__)
    others = "; ".join(
        f"{other} {_time(cost[other])}"
        if other in possible
        else f"{other} would build {_size(built[other])}"
        for other in built
        if other != route
    )
    return route, f"{route} takes {_time(cost[route])} for {size}; {others}."


def bytes_built(xi: Histories) -> dict[str, int]:
    """Return the size of the matrix that each route builds, in bytes."""
    n_rows, n_cols = xi.shape
    return {
        "dense": 8 * n_rows * n_cols,
        "gram": 8 * n_cols**2,
        "kernel": 8 * n_rows**2,
        "krylov": 0,
    }


def seconds(xi: Histories, n_pairs: int) -> dict[str, float]:
    """Estimate how long each route takes on one core of about 2021.

    Equations, with L = n_rows, D = n_cols, d = min(L, D), p = n_pairs
        dense   5e-10 L D d
        gram    6e-11 D^2 n_sequences + 9e-11 D^3 + 3e-10 D^2 p
        kernel  6e-11 L^2 n_in        + 9e-11 L^3 + 3e-10 L^2 p
        krylov  m (2e-9 L n_in + 5e-8 (L + D) + 2e-10 d m), m = 4 p + 200

    Only their order matters. The constants were fitted to measurements from
    Ξ (1000, 100) to (40000, 12800), most of which they meet within a factor
    of two.
    """
    n_rows, n_cols = xi.shape
    smaller, m = min(xi.shape), 4 * n_pairs + 200
    product = 2e-9 * n_rows * xi.n_in + 5e-8 * (n_rows + n_cols)

    def eigenvectors(size: int) -> float:
        return 9e-11 * size**3 + 3e-10 * size**2 * n_pairs

    return {
        "dense": 5e-10 * n_rows * n_cols * smaller,
        "gram": 6e-11 * n_cols**2 * len(xi.sequences) + eigenvectors(n_cols),
        "kernel": 6e-11 * n_rows**2 * xi.n_in + eigenvectors(n_rows),
        "krylov": m * (product + 2e-10 * smaller * m),
    }


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"


def _time(n_seconds: float) -> str:
    return f"about {n_seconds:.2g} s"
