"""Suite "recurrence": y_t = a_t * y_{t-1} + b_t, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from msref.arrays import Arrays, to_device
from msref.bench.conditions import current
from msref.bench.peers import TOLERANCE, largest_difference
from msref.bench.suite import OURS, Case, Goal, Measurement, Suite, at_most
from msref.bench.timing import interleaved
from msref.recurrence import linear_recurrence, linear_recurrence_backward

RESULTS = ("y", "a", "b", "y0")
"""What a job returns: the outputs, and the gradients of the inputs."""

LARGEST = (100_000, 64, "float64")
"""n_time, n and precision at which the goals stand."""

UNROLLED = 100_000
"""Steps, above which PyTorch's graph of every step is not built."""

Job = Callable[[], Any]


def cases(scale: str) -> list[Case]:
    """Return steps, units and precision."""
    sizes: tuple[tuple[int, int], ...] = ((10_000, 64), (100_000, 1))
    if scale == "full":
        sizes = ((10_000, 64), LARGEST[:2], (1_000_000, 1), (1_000_000, 16))
    return [
        {"n_time": n_time, "n": n, "dtype": dtype}
        for n_time, n in sizes
        for dtype in ("float32", "float64")
    ]


def draw(case: Case, seed: int = 0) -> Arrays:
    """Return factors in 0.5 .. 1, inputs, a start, and dy."""
    rng = np.random.default_rng(seed)
    shape = (case["n_time"], case["n"])
    drawn = {
        "a": rng.uniform(0.5, 1.0, shape),
        "b": rng.standard_normal(shape),
        "y0": rng.standard_normal(shape[1:]),
        "dy": rng.standard_normal(shape),
    }
    return {name: value.astype(case["dtype"]) for name, value in drawn.items()}


def measure(case: Case, seconds: float) -> Measurement:
    """Time forward and backward, of those who agree."""
    given = draw(case)
    jobs = {OURS: ours(given)}
    expected = results(jobs[OURS]())
    notes: dict[str, str] = {}
    for name, make in PEERS.items():
        if name == "torch loop" and case["n_time"] > UNROLLED:
            notes[name] = f"not run beyond {UNROLLED} steps"
            continue
        try:
            job = make(given)
        except ModuleNotFoundError as error:
            notes[name] = f"{error.name} is not installed"
            continue
        off, what = largest_difference(expected, results(job()))
        if off <= TOLERANCE[case["dtype"]]:
            jobs[name] = job
        else:
            notes[name] = f"disagrees: {what} differs by {off:.1e}"
    timings = interleaved(jobs, seconds=seconds, at_least=3)
    return Measurement(case, timings, notes=notes)


def results(found: Any) -> Arrays:
    """Name what a job returned."""
    return {
        name: np.asarray(to_device({"": value}, "cpu")[""])
        for name, value in zip(RESULTS, found, strict=True)
    }


def ours(given: Arrays) -> Job:
    """Run our two functions."""
    a, b, y0, dy = to_device(given, current().device).values()

    def run() -> Any:
        y = linear_recurrence(a, b, y0)
        return (y, *linear_recurrence_backward(a, y, dy, y0))

    return run


# --- what a user would pick instead -----------------------------------------


def plain(given: Arrays) -> Job:
    """Run a loop over time in NumPy, by hand forwards and back."""
    a, b, y0, dy = given.values()

    def run() -> Any:
        y, db, da = np.empty_like(b), dy.copy(), np.empty_like(a)
        last = y0
        for t in range(len(b)):
            np.multiply(a[t], last, out=y[t])
            y[t] += b[t]
            last = y[t]
        for t in reversed(range(1, len(b))):
            np.multiply(db[t], y[t - 1], out=da[t])
            db[t - 1] += a[t] * db[t]
        da[0] = db[0] * y0
        return y, da, db, a[0] * db[0]

    return run


def jax_scan(given: Arrays) -> Job:
    """Run ``jax.lax.scan``, compiled."""
    from jax import lax

    def forward(a: Any, b: Any, y0: Any) -> Any:
        def step(y: Any, now: Any) -> Any:
            y = now[0] * y + now[1]
            return y, y

        return lax.scan(step, y0, (a, b))[1]

    return _compiled(forward, given)


def jax_associative(given: Arrays) -> Job:
    """Run ``jax.lax.associative_scan``, compiled."""
    from jax import lax

    def forward(a: Any, b: Any, y0: Any) -> Any:
        def after(one: Any, two: Any) -> Any:
            return one[0] * two[0], two[0] * one[1] + two[1]

        b = b.at[0].add(a[0] * y0)
        return lax.associative_scan(after, (a, b))[1]

    return _compiled(forward, given)


def _compiled(forward: Callable[..., Any], given: Arrays) -> Job:
    import jax

    def both(a: Any, b: Any, y0: Any, dy: Any) -> Any:
        y, pull = jax.vjp(forward, a, b, y0)
        return (y, *pull(dy))

    with jax.enable_x64(True):
        at = [jax.numpy.asarray(value) for value in given.values()]
        compiled = jax.jit(both).lower(*at).compile()
    return lambda: jax.block_until_ready(compiled(*at))


def torch_loop(given: Arrays) -> Job:
    """Run a loop over time in PyTorch, and its graph back.

    By ``unbind``: indexing what needs a gradient is quadratic in n_time.
    """
    import torch

    torch.set_num_threads(current().threads)
    at = [torch.tensor(value) for value in given.values()]
    dy = at.pop()
    for tensor in at:
        tensor.requires_grad_()

    def run() -> Any:
        a, b, last = at
        steps = []
        for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):
            last = torch.addcmul(b_t, a_t, last)
            steps.append(last)
        y = torch.stack(steps)
        return (y.detach(), *torch.autograd.grad(y, at, dy))

    return run


PEERS: Mapping[str, Callable[[Arrays], Job]] = {
    "plain loop": plain,
    "jax scan": jax_scan,
    "jax associative": jax_associative,
    "torch loop": torch_loop,
}

# --- goals ------------------------------------------------------------------


def goals(rows: list[Measurement]) -> list[Goal]:
    """Return the figures to be reached, at the largest float64."""
    at = dict(zip(("n_time", "n", "dtype"), LARGEST, strict=True))
    row = next((row for row in rows if row.case == at), None)
    return [
        at_most(
            f"ours / {peer}, {LARGEST[0]} steps of {LARGEST[1]} in float64",
            None if row is None else row.ratio(peer),
            limit,
        )
        for peer, limit in (
            ("jax scan", 0.5),
            ("jax associative", 0.2),
            ("torch loop", 0.03),
        )
    ]


RECURRENCE = Suite(
    "recurrence",
    "linear recurrence, forward and backward",
    cases,
    measure,
    goals,
)
