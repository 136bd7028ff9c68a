"""Experiments with dual memories: add over long times, read pixels, time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msref.architectures import Checkpointed, DuRNN, plain_indrnn
from msref.arrays import Array, Arrays, under
from msref.claims.base import Result, generator
from msref.claims.device import fit
from msref.claims.memory import peak_memory
from msref.claims.networks import (
    DUAL_KINDS,
    GAMMA,
    constraints_of,
    core_of,
)
from msref.claims.scales import CLIP, n_weights
from msref.data import addition_task, load_mnist, pixel_order, pixel_sequences
from msref.dynamics import gradient_reach
from msref.training import (
    Adam,
    Batch,
    ClassAccuracy,
    DivergedError,
    Model,
    Pair,
    Slowed,
    clip_by_global_norm,
)

CONSTANT = 1.0 / 6.0
"""The squared error of always answering 1 in the adding problem."""

SOLVED = 0.1 * CONSTANT
"""The error at which it counts as solved."""

GUESSING = 0.9
"""The error of guessing one digit out of ten."""

N_BATCH = 32
N_VALID = 128
LONG = 1000
"""From so many steps on, forward passes are made again in segments."""

POINTS = 200
"""The most points that a curve keeps."""

LOOK = 1000
"""So many lags are looked at, at most, when gradients are followed back."""

INTO_LONG = {
    "indrnn": ("core/1/W_xh",),
    "durnn open": ("core/W_xv", "core/W_sv"),
    "durnn none": ("core/W_xv",),
}
"""Weights into a long memory that has no gate before it."""

STATES = {
    "rnn": ("h",),
    "lstm": ("c",),
    "indrnn": ("0/h", "1/h"),
    "durnn shared": ("h",),
}
"""The states along which a gradient is followed; s and l in a dual module."""


# --- the adding problem -----------------------------------------------------


def width(kind: str, n_in: int, n_out: int, budget: int) -> int:
    """Return the n_hid whose weights come closest to a budget."""
    sizes = range(1, 2 + int(np.sqrt(2.0 * budget)))

    def off(n_hid: int) -> int:
        return abs(n_weights(core_of(kind, n_in, n_hid), n_out) - budget)

    return min(sizes, key=off)


def adding(
    kind: str,
    n_time: int,
    n_hid: int,
    deviation: float | None,
    rate: float,
    n_steps: int,
    every: int,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Learn to add two marked numbers out of n_time, from fresh sequences.

    Batches of 32, Adam, float32, the read-out at the last frame alone. After
    every ``every`` updates the error on 128 sequences of their own decides
    whether the problem is solved, and then the training ends. All networks
    see the same sequences. The two marks are drawn evenly among all steps;
    in the authors' code there is one in each half. A training that leaves
    the finite numbers is a result too.

    Arguments
        kind: one of ``NAMES``.
        deviation: of some weights at the start; see ``adding_start``.
        rate: of learning; see ``adding_optimiser``.
        n_steps: the most updates, a multiple of ``every``.
    """
    core = core_of(kind, 2, n_hid, n_time)
    model = adding_model(kind, core, n_time)
    rng = generator(f"adding {kind} {n_time} {rate}", seed)
    params = adding_start(kind, model, n_time, deviation, rng)

    def fresh(epoch: int) -> list[Pair]:
        drawn = generator(f"adding {n_time} {epoch}", seed)
        batches = (sums(drawn, N_BATCH, n_time) for _ in range(every))
        return [pair for batch in batches for pair in batch]

    result: Result = {
        "network": repr(model.core),
        "n_weights": n_weights(core, 1),
        "rate": rate,
        "n_steps": n_steps,
        "every": every,
    }
    try:
        found = fit(
            model,
            params,
            fresh,
            sums(generator(f"adding {n_time}", 0), N_VALID, n_time),
            optimiser=adding_optimiser(kind, model, rate, n_time),
            rng=rng,
            n_epochs=n_steps // every,
            n_batch=N_BATCH,
            clip=CLIP,
            enough=SOLVED,
            checkpoint=checkpoint,
            checkpoint_every=every,
            progress=False,
        )
    except DivergedError as error:
        return result | {"diverged": str(error), "reached": None, "curve": []}
    n_done = len(found.history) * every
    return result | {
        "diverged": None,
        "reached": n_done if found.reached else None,
        "error": float(found.history[found.best_epoch - 1]["valid_loss"]),
        "curve": [float(f"{r['valid_loss']:.4g}") for r in found.history],
        "seconds_per_step": found.seconds / n_done,
        "process_mib": peak_memory(),
        "weights": recurrent_weights(core, under("core", found.params)),
        "reach": reach(kind, core, under("core", found.params), n_time),
        "gates": gates(core, under("core", found.params), n_time),
    }


def adding_model(kind: str, core: Any, n_time: int) -> Model:
    """Return what is trained: with checkpoints in time where that is long."""
    return Model(
        Checkpointed(core) if n_time >= LONG else core,
        *(1, "squared"),
        constraints=constraints_of(kind, core, n_time),
    )


def adding_start(
    kind: str,
    model: Model,
    n_time: int,
    deviation: float | None,
    rng: np.random.Generator,
) -> Arrays:
    """Draw a start from which sums over thousands of steps stay small.

    Arguments
        deviation: standard deviation of the normal numbers that what goes
            into a long memory without a gate starts from: the input weights
            of IndRNN's second layer (of both in the authors' code, and
            0.001), and those of the candidate of a dual module whose gate is
            open or absent. ``None`` for the start of the architecture.
    """
    params = model.init(rng, np.float32)
    if deviation is not None:
        for name in INTO_LONG.get(kind, ()):
            drawn = deviation * rng.standard_normal(params[name].shape)
            params[name] = drawn.astype(np.float32)
    return params


def adding_optimiser(kind: str, model: Model, rate: float, n_time: int) -> Any:
    """Return Adam, slowed where a step would be felt n_time times over.

    A weight that carries a memory over n_time steps has to stay within about
    1 / n_time of one, and what goes into an integrator of as many steps,
    without a gate before it, is added up as often: over more than 100 steps
    both learn at 100 / n_time of the rate, the latter at a tenth at least,
    which is the rate that the authors' code has for all of IndRNN. Our
    choice, for all networks with a long part of its own.
    """
    if kind not in DUAL_KINDS or n_time <= 100:
        return Adam(rate)
    shapes = model.shapes()
    core = [f"core/{name}" for name in model.core.constrained]
    vectors = tuple(name for name in core if len(shapes[name]) == 1)
    share = 100.0 / n_time
    slowed = Slowed(Adam(rate), vectors, share)
    return Slowed(slowed, INTO_LONG.get(kind, ()), max(0.1, share))


def sums(rng: np.random.Generator, n_sequences: int, n_time: int) -> list[Pair]:
    """Draw sequences of the adding problem in single precision."""
    return [
        (x.astype(np.float32), y.astype(np.float32))
        for x, y in addition_task(rng, n_sequences, n_time)
    ]


# --- a look inside ----------------------------------------------------------


def recurrent_weights(core: Any, params: Arrays) -> dict[str, list[float]]:
    """Return vectors of recurrent weights, and matrices' singular values."""
    found = {}
    for name in getattr(core, "constrained", ()):
        W = params[name].astype(np.float64)
        values = W if W.ndim == 1 else np.linalg.svd(W, compute_uv=False)
        found[name] = _rounded(values, 6)
    return found


def reach(
    kind: str, core: Any, params: Arrays, n_time: int
) -> dict[str, dict[str, Any]]:
    """Follow the gradient of each part of the state back over the lags.

    Of four sequences, at the end of n_time steps or of as many as ``LOOK``:
    the median and the largest of the spectral norms, beside the bound where
    there is one.
    """
    n_look = min(n_time, LOOK)
    pairs = sums(generator(f"reach {n_time}", 0), 4, n_look)
    x = np.stack([x for x, _ in pairs], axis=1).astype(np.float64)
    params = {name: W.astype(np.float64) for name, W in params.items()}
    lags = _thinned(n_look)
    found = {}
    for name in STATES.get(kind, ("s", "l")):
        told = gradient_reach(core, params, x, name, lags, progress=False)
        found[name] = {
            "lags": told.lags.tolist(),
            "median": _rounded(told.median),
            "most": _rounded(told.largest),
            "bound": None if told.bound is None else _rounded(told.bound),
        }
    return found


def gates(core: Any, params: Arrays, n_time: int) -> dict[str, Any] | None:
    """See how far the gates of a dual module open, over eight sequences.

    Returns
        mean, and 10th and 90th percentile over units and sequences, at times
        ``t``; the means at the marked steps and at all others. ``None`` for
        networks without gates.
    """
    if not isinstance(core, DuRNN) or core.selection != "gate":
        return None
    pairs = sums(generator(f"gates {n_time}", 0), 8, n_time)
    x = np.stack([x for x, _ in pairs], axis=1)
    _, _, tape = core.forward(params, x)
    q, marked = tape["q"], x[..., 1] == 1.0
    t = _thinned(n_time)
    low, high = np.quantile(q[t], [0.1, 0.9], axis=(1, 2))
    return {
        "t": t.tolist(),
        "mean": _rounded(q[t].mean((1, 2))),
        "low": _rounded(low),
        "high": _rounded(high),
        "at_marks": float(q[marked].mean()),
        "elsewhere": float(q[~marked].mean()),
    }


def _thinned(n: int) -> Array:
    """Return at most ``POINTS`` of the numbers from 0 to n - 1, both ends."""
    return np.unique(np.linspace(0, n - 1, POINTS).round().astype(int))


def _rounded(values: Array, digits: int = 4) -> list[float]:
    """Return a few digits of each; JSON has no infinity."""
    return [float(f"{min(float(value), 1e300):.{digits}g}") for value in values]


# --- what a step costs ------------------------------------------------------


def step_cost(
    sizes: dict[str, int],
    lengths: Sequence[int],
    repeats: int,
    checkpoint: Path | None = None,
) -> Result:
    """Time an update of each network at each length, and weigh its arrays.

    An update is a forward and a backward pass over 32 sequences in float32,
    Adam, and the projections. Medians over repeats, after one that does not
    count. Memory is the peak of all arrays that an update makes, batch and
    parameters not among them.

    Arguments
        sizes: kind -> n_hid.
    """
    found: Result = {"lengths": list(lengths)}
    for kind, n_hid in sizes.items():
        rows = [_cost_of(kind, n_hid, n, repeats) for n in lengths]
        found[kind] = {name: [row[name] for row in rows] for name in rows[0]}
    return found


def _cost_of(
    kind: str, n_hid: int, n_time: int, repeats: int
) -> dict[str, float]:
    rng = generator("step cost", 0)
    core = core_of(kind, 2, n_hid, n_time)
    model = adding_model(kind, core, n_time)
    optimiser = adding_optimiser(kind, model, 0.001, n_time)
    params = adding_start(kind, model, n_time, None, rng)
    state = optimiser.init(params)
    batch = Batch.of(sums(rng, N_BATCH, n_time), np.float32)

    def update() -> None:
        _, grads = model.loss_and_gradients(params, batch)
        grads, _ = clip_by_global_norm(grads, CLIP)
        moved, _ = optimiser.update(params, grads, state)
        model.projected(moved)

    seconds = np.array([_timed(update) for _ in range(repeats + 1)])[1:]
    tracemalloc.start()
    try:
        update()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    wall, cpu = np.median(seconds, axis=0)
    return {
        "wall_ms": 1e3 * float(wall),
        "cpu_ms": 1e3 * float(cpu),
        "mib": peak / 2**20,
    }


def _timed(update: Callable[[], None]) -> tuple[float, float]:
    """Return how long it takes, on the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    update()
    return time.perf_counter() - wall, time.process_time() - cpu


# --- digits, pixel by pixel -------------------------------------------------


def read_pixels(
    kind: str,
    side: int,
    permuted: bool,
    n_hid: int,
    n_layers: int,
    dropout: float,
    rate: float,
    n_epochs: int,
    n_batch: int,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Learn to tell images of digits apart, read pixel by pixel.

    The epoch is chosen on the validation images. Grey values are shifted to
    -1/2 to 1/2, and weights are float32. A training that leaves the finite
    numbers counts as guessing.

    Arguments
        kind: "indrnn", the plain network of n_layers with batch
            normalisation after each recurrence, and dropout; "lstm" or
            "durnn", one layer, with neither.
        side: 28, or 14 for half the resolution.
        permuted: read the pixels in an order that means nothing, always the
            same one.
    """
    parts = pixels(side, permuted)
    core = pixel_core(kind, side**2, n_hid, n_layers, dropout)
    constraints = constraints_of(kind, core, side**2)
    model = Model(core, 10, "softmax", constraints=constraints)
    rng = generator(f"pixels {kind} {side} {permuted} {rate}", seed)
    params = model.init(rng, np.float32)
    result: Result = {
        "network": repr(core),
        "n_weights": model.n_params(params, frozen=False),
        "n_train": len(parts["train"]),
        "rate": rate,
    }
    try:
        found = fit(
            model,
            params,
            parts["train"],
            parts["valid"],
            optimiser=Adam(rate),
            rng=rng,
            n_epochs=n_epochs,
            n_batch=n_batch,
            clip=CLIP,
            metric=ClassAccuracy(),
            best="highest score",
            checkpoint=checkpoint,
            checkpoint_every=50,
            progress=False,
        )
    except DivergedError as error:
        told = {"diverged": str(error), "test_error": GUESSING, "curve": []}
        return result | told | {"right": None}
    right = _right(model, found.params, parts["test"])
    return result | {
        "diverged": None,
        "test_error": 1.0 - sum(right) / len(right),
        "right": right,
        "best_epoch": found.best_epoch,
        "curve": [1.0 - float(r["valid_score"]) for r in found.history],
        "seconds": found.seconds,
        "weights": recurrent_weights(core, under("core", found.params)),
    }


def _right(model: Model, params: Arrays, pairs: Sequence[Pair]) -> list[int]:
    """Return 1 for each sequence whose class is told right, 0 for others."""
    found = []
    for start in range(0, len(pairs), 100):
        batch = Batch.of(pairs[start : start + 100], np.float32)
        o = model.predict(params, batch.x)[-1]
        found += (o.argmax(1) == batch.target[-1]).astype(int).tolist()
    return found


def pixel_core(
    kind: str, n_time: int, n_hid: int, n_layers: int, dropout: float
) -> Any:
    """Return a network that reads one pixel at a time; see ``read_pixels``."""
    if kind != "indrnn":
        return core_of(kind, 1, n_hid, n_time)
    return plain_indrnn(
        *(1, n_hid, n_layers),
        norm="after",
        dropout=dropout,
        horizon=n_time,
        gamma=GAMMA,
        reads="last",
    )


def pixels(side: int, permuted: bool) -> dict[str, list[Pair]]:
    """Return the images as sequences of pixels, each with its class."""
    if side not in (14, 28):
        raise ValueError(f"side is {side}, expected 14 or 28")
    order = pixel_order(side**2) if permuted else None
    images, block = load_mnist("rows"), 28 // side
    parts = {}
    for part in ("train", "valid", "test"):
        coarse = [
            (x.reshape(side, block, side, block).mean((1, 3)), label)
            for x, label in getattr(images, part)
        ]
        parts[part] = [
            (x.astype(np.float32), np.asarray(label))
            for x, label in pixel_sequences(coarse, order=order)
        ]
    return parts
