"""Which of the four routes to the singular pairs of Ξ is the cheapest."""

from __future__ import annotations

from dataclasses import dataclass

from msref.pretraining.laes_histories import BUFFER, SPECTRA, Histories
from msref.pretraining.laes_routes import ROUTES, TALL, capacity
from msref.pretraining.laes_squares import ENTRIES

SMALL = 0.1
"""Seconds below which nothing is more direct than Ξ itself."""


@dataclass(frozen=True)
class Choice:
    """A route that may be taken.

    Attributes
        route: its name.
        why: a sentence about its cost and that of the others.
        seconds: estimated.
        memory: bytes it takes at most, on top of the sequences.
        basis_bytes: of which for a Krylov basis.
    """

    route: str
    why: str
    seconds: float
    memory: int
    basis_bytes: int


def choices(
    asked: str, xi: Histories, n_pairs: int, memory: int
) -> list[Choice]:
    """Return the routes to take, the second only if the first fails.

    ``asked`` alone is taken if it is a route. For "auto", dense comes first
    where that is a matter of a moment, else they stand in the order of their
    estimated times. Routes that would need more than ``memory`` bytes are
    left out.

    Raises
        ValueError: no route, or not the one asked for, fits into memory.
    """
    size = f"{n_pairs} directions of Ξ ({xi.shape[0]} x {xi.shape[1]})"
    least, cost = bytes_needed(xi, n_pairs), seconds(xi, n_pairs)
    routes = ROUTES if asked == "auto" else (asked,)
    possible = [route for route in routes if least[route] <= memory]
    if not possible:
        cheapest = min(routes, key=least.__getitem__)
        other = "" if asked in ("auto", "krylov") else "; or route='krylov'"
        raise ValueError(
            f"memory is {_size(memory)} and route is {asked!r}, expected at"
            f" least {_size(least[cheapest])}, which {cheapest} needs for"
            f" {size}{other}"
        )
    possible.sort(key=cost.__getitem__)
    if "dense" in possible and cost["dense"] < SMALL:
        possible.sort(key="dense".__ne__)
    found = []
    for route in possible:
        others = "; ".join(
            f"{other} {_time(cost[other])}"
            if other in possible
            else f"{other} would need {_size(least[other])}"
            for other in routes
            if other != route
        )
        if asked != "auto":
            why = f"{route} was asked for: {size}, {_time(cost[route])}."
        elif route == "dense" and cost[route] < SMALL:
            why = f"dense, as Ξ itself is small: {size}."
        else:
            why = f"{route} takes {_time(cost[route])} for {size}; {others}."
        spare = memory - least[route]
        fewest, most = _basis_bytes(route, xi, n_pairs, spare)
        at_most = least[route] + most - fewest
        found.append(Choice(route, why, cost[route], at_most, most))
    return found


def _basis_bytes(
    route: str, xi: Histories, n_pairs: int, spare: int
) -> tuple[int, int]:
    """Return what a Krylov basis takes, and with ``spare`` bytes more."""
    side = _krylov_side(route, xi, n_pairs)
    if side == 0:
        return 0, 0
    fewest = 8 * side * capacity(side, n_pairs, 0)
    return fewest, 8 * side * capacity(side, n_pairs, fewest + spare)


def _krylov_side(route: str, xi: Histories, n_pairs: int) -> int:
    """Return the length of the vectors of a Krylov basis; 0 without one."""
    n_rows, n_cols = xi.shape
    side = {"gram": n_cols, "kernel": n_rows}.get(route, min(n_rows, n_cols))
    small = route != "krylov" and side < max(TALL * n_pairs, 1000)
    return 0 if route == "dense" or small else side


def bytes_needed(xi: Histories, n_pairs: int) -> dict[str, int]:
    """Return what each route takes at least, on top of the sequences.

    The matrix it builds, LAPACK's copies or the smallest Krylov basis, the
    spectra of the sequences and the temporaries of a product, and the
    directions four times over.
    """
    n_rows, n_cols = xi.shape
    smaller = min(xi.shape)
    products = min(xi.spectrum_bytes(), SPECTRA) + xi.largest_group_bytes()
    products += 48 * min(BUFFER, 2 * (n_rows + n_cols) * n_pairs)
    pieces = 24 * min(ENTRIES, n_rows * xi.n_in)
    shared = products + pieces + 32 * n_cols * n_pairs

    def basis(route: str) -> int:
        side = _krylov_side(route, xi, n_pairs)
        if side == 0:
            side, vectors = smaller, 3 * n_pairs  # LAPACK's, and our copy
        else:
            vectors = capacity(side, n_pairs, 0)
        return 8 * side * vectors

    return {
        "dense": shared
        + 8 * (n_rows * n_cols + smaller * (n_rows + n_cols))
        + 40 * smaller**2,
        "gram": shared + 8 * n_cols**2 + basis("gram"),
        "kernel": shared + 8 * n_rows**2 + basis("kernel"),
        "krylov": shared + basis("krylov"),
    }


def seconds(xi: Histories, n_pairs: int) -> dict[str, float]:
    """Estimate how long each route takes on one core of about 2021.

    Equations, with L = n_rows, D = n_cols, d = min(L, D), p = n_pairs
        dense   5e-10 L D d
        gram    3e-11 D^2 n_sequences + s(D)
        kernel  3e-11 L^2 n_in        + s(L)
        krylov  m (1e-4 + 1.2e-9 L n_in + 4e-8 (L + D) + 2e-10 d m)
        s(d)    4e-9 d^2, and for the eigenvectors 9e-11 d^3 + 3e-10 d^2 p
                or, by products, 1.5e-10 m d (d + m)
        m       4 p + 100, the vectors of a Krylov space
        and 4e-8 L n_in for each: the data are looked at, and the residual

    Only their order matters. The constants were fitted to the times of 12
    sizes, Ξ from (500, 2000) to (100000, 1000); ``msref bench laes --scale
    full`` holds the choice against the other routes at six sizes more. Flat
    spectra take longer than estimated, except by dense.
    """
    n_rows, n_cols = xi.shape
    smaller, m = min(xi.shape), 4 * n_pairs + 100
    product = 1e-4 + 1.2e-9 * n_rows * xi.n_in + 4e-8 * (n_rows + n_cols)

    def eigenvectors(route: str, size: int) -> float:
        if _krylov_side(route, xi, n_pairs):
            return 4e-9 * size**2 + 1.5e-10 * m * size * (size + m)
        return 4e-9 * size**2 + 9e-11 * size**3 + 3e-10 * size**2 * n_pairs

    found = {
        "dense": 5e-10 * n_rows * n_cols * smaller,
        "gram": 3e-11 * n_cols**2 * xi.n_sequences
        + eigenvectors("gram", n_cols),
        "kernel": 3e-11 * n_rows**2 * xi.n_in + eigenvectors("kernel", n_rows),
        "krylov": m * (product + 2e-10 * smaller * m),
    }
    shared = 4e-8 * n_rows * xi.n_in
    return {route: shared + alone for route, alone in found.items()}


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"


def _time(n_seconds: float) -> str:
    return f"about {n_seconds:.2g} s"
