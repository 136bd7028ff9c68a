"""Suite "long": backward through very many steps, with the memory of few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msref.architectures import LMN, LSTM, Checkpointed, IndRNN
from msref.bench.memory import peak_memory
from msref.bench.peers import Point, our_pass
from msref.bench.suite import OURS, Case, Goal, Measurement, Suite, at_most
from msref.bench.timing import interleaved

CELLS: dict[str, Callable[[int], Any]] = {
    "LMN": lambda n_hid: LMN(2, n_hid, n_hid),
    "IndRNN": lambda n_hid: IndRNN(2, n_hid),
    "LSTM": lambda n_hid: LSTM(2, n_hid),
}

SIZES = {
    "quick": (
        (10_000, 1, 32, 1024, tuple(CELLS)),
        (1_000, 8, 128, 32, ("LSTM",)),
    ),
    "full": (
        (1_000_000, 1, 32, 4096, tuple(CELLS)),
        (100_000, 8, 128, 320, ("LSTM",)),
    ),
}
"""n_time, n_batch, n_hid, segment, and the networks of this size. The root of
n_time where a step is wide; more where it is small, since a segment costs as
much as some dozens of steps then, besides its own."""

MILLION, WIDE = 1_000_000, 100_000

SEEN = ("MB", "MB with y", "MB plain")
"""Peaks above the inputs: of ``Checkpointed`` without y, with y and dy whole,
of which dy is an input, and of the network alone."""


def cases(scale: str) -> list[Case]:
    """Return the sizes, in float32."""
    return [
        {
            "cell": cell,
            "dtype": "float32",
            "n_time": n_time,
            "n_batch": n_batch,
            "n_hid": n_hid,
            "segment": segment,
        }
        for n_time, n_batch, n_hid, segment, cells in SIZES[scale]
        for cell in cells
    ]


def point(case: Case) -> Point:
    """Draw parameters, inputs and cotangents."""
    arch = CELLS[case["cell"]](case["n_hid"])
    return Point.draw(arch, case["n_time"], case["n_batch"], case["dtype"])


def cut(at: Point, segment: int) -> Point:
    """Return the point with the network checkpointed."""
    return Point(Checkpointed(at.arch, segment), at.params, at.x, at.dy)


def peak_job(case: Case, which: str) -> Callable[[], Any]:
    """Return the passes whose peak memory is taken; see ``SEEN``."""
    at = point(case)
    if which == "MB plain":
        return our_pass(at)[0]
    if which == "MB with y":
        return our_pass(cut(at, case["segment"]))[0]
    at = cut(at, case["segment"])
    arch, params, x = at.arch, at.params, at.x
    del at  # dy

    def run() -> Any:
        _, _, tape = arch.forward(params, x, keep_y=False)
        return arch.backward(params, tape, lambda y, now: y / len(x))

    return run


def measure(case: Case, seconds: float) -> Measurement:
    """Time both passes, y and dy whole; take peaks in children."""
    at = point(case)
    jobs = {
        OURS: our_pass(cut(at, case["segment"]))[0],
        "plain": our_pass(at)[0],
    }
    rounds = 2 if case["n_time"] >= WIDE else 5  # of minutes each
    timings = interleaved(jobs, seconds=seconds, at_least=rounds)
    inputs = at.x.nbytes + at.dy.nbytes
    del jobs, at  # before the children need the memory
    peaks = {
        what: peak_memory(f"{__name__}:peak_job", case, what) / 1e6
        for what in SEEN
    }
    values = {what: round(peak, 1) for what, peak in peaks.items()}
    return Measurement(
        case, timings, values | {"MB of inputs": round(inputs / 1e6, 1)}
    )


def goals(rows: list[Measurement]) -> list[Goal]:
    """Return the figures to be reached."""
    ratios = [r for row in rows if (r := row.ratio("plain")) is not None]

    def most(n_time: int, cells: tuple[str, ...], *what: str) -> float | None:
        found = [
            sum(float(row.values[name]) for name in what)
            for row in rows
            if row.case["n_time"] == n_time and row.case["cell"] in cells
        ]
        return max(found, default=None)

    both = ("LMN", "IndRNN")
    with_y = most(MILLION, both, "MB with y", "MB of inputs")
    return [
        at_most(
            f"checkpointed / plain, worst of {len(ratios)} cases",
            max(ratios, default=None),
            1.5,
        ),
        at_most(
            "MB above the input, a million steps of 32 units",
            most(MILLION, tuple(CELLS), "MB"),
            50.0,
        ),
        at_most(
            "MB above the input, 100,000 steps of 8 x 128 units",
            most(WIDE, ("LSTM",), "MB"),
            100.0,
        ),
        at_most("MB in all, a million steps of LMN and IndRNN", with_y, 4000.0),
    ]


LONG = Suite(
    "long",
    "backward through very many steps, checkpointed",
    cases,
    measure,
    goals,
)
