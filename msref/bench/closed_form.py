"""Suite "laes": the linear autoencoder in closed form, at every size.

Held against what its definition says to do, where the data matrix fits into
memory, against an independent method where it does not, and against its own
other routes at sizes that the choice of one was not fitted to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse.linalg

from msref.arrays import Array
from msref.bench.memory import peak_memory
from msref.bench.suite import OURS, Case, Goal, Measurement, Suite, at_most
from msref.bench.timing import interleaved
from msref.pretraining import LAES
from msref.pretraining.laes_choice import choices
from msref.pretraining.laes_histories import Histories

NAMES = ("n_batch", "n_time", "n_in", "n_mem")

PEERED = ("ar", 100, 100, 28, 64)
WIDE = ("ar", 200, 200, 64, 64)
LONG = ("ar", 1, 20_000, 4, 256)
DIGITS = ("ar", 60_000, 28, 28, 64)

SIZES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "quick": (
        ("ar", 60, 60, 14, 32),
        ("white", 60, 60, 14, 32),
        ("ar", 1, 3000, 4, 32),
        ("ar", 3000, 28, 28, 64),
        ("steep", 12, 20, 5, 100),
    ),
    "full": (
        PEERED,
        ("white", *PEERED[1:]),
        WIDE,
        ("white", *WIDE[1:]),
        LONG,
        DIGITS,
        ("ar", 10_000, 100, 8, 64),
        ("ar", 10_000, 784, 1, 64),
        ("steep", 12, 20, 5, 100),
    ),
}
"""Kind of data and sizes: 784-pixel digits are sequences of 784 steps."""

HELD_OUT: dict[str, tuple[tuple[Any, ...], ...]] = {
    "quick": (("ar", 50, 40, 9, 20), ("ar", 600, 30, 12, 48)),
    "full": (
        ("ar", 50, 120, 20, 40),
        ("ar", 400, 60, 16, 32),
        ("ar", 1500, 80, 20, 100),
        ("ar", 3, 1000, 6, 96),
        ("white", 30, 150, 10, 50),
        ("ar", 6, 500, 30, 200),
    ),
}
"""Sizes at which the choice of a route is held against all of them."""

EXPLICIT = 2**28
"""Bytes of the largest data matrix that peers build."""

WORTH_TIMING = 30.0
"""Seconds: a route that is estimated to take longer is not timed."""


def cases(scale: str) -> list[Case]:
    """Return the cases of both kinds."""
    return [
        {"data": data, **dict(zip(NAMES, sizes, strict=True)), "against": what}
        for what, found in (("peers", SIZES), ("routes", HELD_OUT))
        for data, *sizes in found[scale]
    ]


def draw(
    data: str, n_batch: int, n_time: int, n_in: int, seed: int = 0
) -> Array:
    """Return sequences (n_time, n_batch, n_in).

    "ar": eight hidden processes x_t = ρ x_{t-1} + noise, ρ from 0.6 to 0.98,
    seen through a random matrix, with noise; "white": noise alone, so that
    all directions are nearly alike; "steep": inputs from 1 to 1e-11.
    """
    rng = np.random.default_rng(seed)
    if data == "white":
        return rng.standard_normal((n_time, n_batch, n_in))
    if data == "steep":
        x = rng.standard_normal((n_time, n_batch, n_in))
        return np.asarray(x * 10.0 ** -np.linspace(0, 11, n_in))
    rho = np.linspace(0.6, 0.98, 8)
    hidden = rng.standard_normal((n_time, n_batch, 8))
    hidden[1:] *= np.sqrt(1 - rho**2)
    for t in range(1, n_time):
        hidden[t] += rho * hidden[t - 1]
    seen = hidden @ (rng.standard_normal((8, n_in)) / np.sqrt(8))
    return np.asarray(seen + 0.05 * rng.standard_normal(seen.shape))


def fitting(
    data: str, n_batch: int, n_time: int, n_in: int, n_mem: int
) -> Callable[[], Any]:
    """Return the fit of drawn sequences: what a child is measured on."""
    x = draw(data, n_batch, n_time, n_in)
    LAES(2).fit(x[:2, :1])  # imports, and BLAS's buffers
    return lambda: fit(x, n_mem)


def fit(x: Array, n_mem: int, route: str = "auto") -> LAES:
    """Fit, to the last singular value that is one."""
    return LAES(n_mem, route=route, tolerance=1e-14).fit(x)


def measure(case: Case, seconds: float) -> Measurement:
    """Time our fit and the others; check the singular values."""
    sizes = [case[name] for name in NAMES]
    n_mem = sizes.pop()
    x = draw(case["data"], *sizes)
    found: dict[str, Any] = {}

    def job(name: str, make: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            found[name] = make()

        return run

    jobs = {OURS: job(OURS, lambda: fit(x, n_mem))}
    explicit = 8 * x[..., 0].size * x[:, 0].size
    routes = routes_worth_timing(x, n_mem)
    if case["against"] == "routes":
        for route in routes:
            jobs[route] = job(route, partial(fit, x, n_mem, route))
    elif explicit <= EXPLICIT:
        jobs["dense SVD"] = job("dense", lambda: dense(x, n_mem))
        jobs["explicit Gram"] = job("plain", lambda: plain(x, n_mem))
    timings = interleaved(jobs, seconds=seconds, at_least=2)
    ours = found[OURS]
    if case["against"] == "routes":
        expected = found[routes[-1]].singular_values  # not the chosen one
    else:
        expected = found.get("dense")
        expected = independent(x, n_mem) if expected is None else expected
    values = {
        "route": ours.route,
        "residual": ours.residual,
        "off": difference(ours.singular_values, expected),
        "MB": round(peak_memory(f"{__name__}:fitting", *case_args(case)) / 1e6),
        "MB stated": round(ours.memory_needed / 1e6),
    }
    if case["data"] == "steep":
        values["frames off"] = frames_off(ours, x)
    return Measurement(case, timings, values)


def case_args(case: Case) -> list[Any]:
    """Return what ``fitting`` is called with."""
    return [case["data"], *(case[name] for name in NAMES)]


def routes_worth_timing(x: Array, n_mem: int) -> list[str]:
    """Return the routes that fit into memory, the chosen one first."""
    xi = Histories([x.swapaxes(0, 1)], len(x))
    found = choices("auto", xi, min(n_mem, *xi.shape), LAES(1).memory)
    return [c.route for c in found if c.seconds <= WORTH_TIMING]


# --- others -----------------------------------------------------------------


def explicit(x: Array) -> Array:
    """Return Ξ from its definition; a row for each frame, as it comes."""
    n_time, n_batch, n_in = x.shape
    xi = np.zeros((n_time, n_batch, n_time, n_in))
    for t in range(n_time):
        xi[t, :, : t + 1] = x[t::-1].swapaxes(0, 1)
    return xi.reshape(n_time * n_batch, n_time * n_in)


def dense(x: Array, n_mem: int) -> Array:
    """Return the singular values that come with all vectors."""
    _, values, _ = np.linalg.svd(explicit(x), full_matrices=False)
    return np.asarray(values[:n_mem])


def plain(x: Array, n_mem: int) -> Array:
    """Return them by the data matrix and its Gram matrix, with vectors."""
    xi = explicit(x)
    values, _ = np.linalg.eigh(xi.T @ xi)
    return np.asarray(np.sqrt(np.maximum(values[::-1][:n_mem], 0.0)))


def independent(x: Array, n_mem: int) -> Array:
    """Return singular values where Ξ does not fit into memory.

    By ARPACK, which shares the products with Ξ with us; or, where the
    spectra would not stay in memory, by the Gram matrix, a block for each
    two delays.
    """
    xi = Histories([x.swapaxes(0, 1)], len(x))
    if x.nbytes > EXPLICIT:
        return by_definition(x, n_mem)
    operator = scipy.sparse.linalg.LinearOperator(
        xi.shape,
        matvec=lambda u: xi.times(u.reshape(-1, 1))[:, 0],
        rmatvec=lambda v: xi.transposed_times(v.reshape(-1, 1))[:, 0],
        dtype=np.float64,
    )
    values = scipy.sparse.linalg.svds(
        operator,
        n_mem,
        return_singular_vectors=False,
        rng=np.random.default_rng(0),
    )
    return np.asarray(np.sort(values)[::-1])


def by_definition(x: Array, n_mem: int) -> Array:
    """Return them by G[i, j] = Σ_t x_{t-i} x_{t-j}^T, block by block."""
    n_time, _, n_in = x.shape
    g = np.zeros((n_time, n_in, n_time, n_in))
    for i in range(n_time):
        for j in range(i, n_time):
            newer = x[j - i : n_time - i].reshape(-1, n_in)
            older = x[: n_time - j].reshape(-1, n_in)
            g[i, :, j] = newer.T @ older
            g[j, :, i] = g[i, :, j].T
    values = np.linalg.eigvalsh(g.reshape(n_time * n_in, -1))
    return np.asarray(np.sqrt(values[::-1][:n_mem]))


def difference(ours: Array, theirs: Array) -> float:
    """Return the largest difference, relative to each value.

    A value that is less than 1e-10 of the first has no digit in a dense
    decomposition for which this could be asked; it counts as that share.
    """
    n = min(len(ours), len(theirs))
    scale = np.maximum(theirs[:n], 1e-5 * theirs[0])
    return float(np.max(np.abs(ours[:n] - theirs[:n]) / scale))


def frames_off(laes: LAES, x: Array) -> float:
    """Return the largest error of a frame decoded from the last states."""
    back = laes.decode(laes.encode(x)[-1], len(x))
    return float(np.abs(back[::-1] - x).max() / np.abs(x).max())


# --- goals ------------------------------------------------------------------


def goals(rows: list[Measurement]) -> list[Goal]:
    """Return the figures to be reached."""
    by_case = {tuple(case_args(row.case)): row for row in rows}

    def seconds(case: tuple[Any, ...], limit: float) -> Goal:
        row = by_case.get(case)
        value = None if row is None else row.timings[OURS].median
        return at_most(f"seconds at {_name(case)}", value, limit)

    def largest(what: str, limit: float) -> Goal:
        found = [v for r in rows if (v := r.values.get(what)) is not None]
        told = f"{what}, largest of {len(found)} cases"
        return at_most(told, max(map(float, found), default=None), limit)

    peered, wide = by_case.get(PEERED), by_case.get(WIDE)
    over = [float(r.values["MB"]) / float(r.values["MB stated"]) for r in rows]
    chosen = [
        max(row.ratio(route) or 0.0 for route in row.timings)
        for row in rows
        if row.case["against"] == "routes"
    ]
    return [
        at_most(
            f"ours / dense SVD at {_name(PEERED)}",
            None if peered is None else peered.ratio("dense SVD"),
            0.01,
        ),
        seconds(WIDE, 5.0),
        at_most(
            f"MB at {_name(WIDE)}",
            None if wide is None else float(wide.values["MB"]),
            400.0,
        ),
        seconds(LONG, 12.0),
        seconds(DIGITS, 5.0),
        largest("off", 1e-10),
        largest("residual", 1e-11),
        largest("frames off", 1e-12),
        at_most("MB / MB stated, largest", max(over, default=None), 1.0),
        at_most(
            f"chosen route / fastest, largest of {len(chosen)} held-out sizes",
            max(chosen, default=None),
            2.0,
        ),
    ]


def _name(case: tuple[Any, ...]) -> str:
    data, *sizes = case
    return f"{data} {'×'.join(map(str, sizes))}"


LAES_SUITE = Suite(
    "laes",
    "the linear autoencoder in closed form",
    cases,
    measure,
    goals,
)
