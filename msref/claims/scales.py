"""Experiments with networks of several time scales: train, look, time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from msref.architectures import LMN, LSTM, ClockworkRNN, Elman, MultiScaleLMN
from msref.arrays import Array, Arrays, under
from msref.claims.base import Result, generator
from msref.claims.device import fit
from msref.claims.memory import recoverability
from msref.claims.networks import DUAL_KINDS, constraints_of, core_of
from msref.data import (
    LabelledSet,
    generation_task,
    load_mnist,
    load_pen_digits,
    load_spoken_digits,
    random_sequences,
    waveform,
)
from msref.pretraining import (
    GrowthWarning,
    IncrementalTraining,
    first_module,
    grow,
)
from msref.pretraining.readout import outputs
from msref.training import (
    Adam,
    ClassAccuracy,
    DivergedError,
    Fit,
    Model,
    Pair,
    evaluate,
)

CLIP = 10.0  # the authors' code

KINDS = {
    "rnn": "RNN",
    "lstm": "LSTM",
    "clockwork": "Clockwork RNN",
    "lmn": "LMN",
    "mslmn": "MultiScale LMN",
    "mslmn grown": "MultiScale LMN, grown",
}
"""The networks by name, in the order of the tables; besides them those of
``DUAL_KINDS`` are trained."""


# --- networks of one size ---------------------------------------------------


def n_weights(core: Any, n_out: int) -> int:
    """Count the weights, read-out included, those never read not."""
    shapes = core.shapes()
    n = sum(int(np.prod(shape)) for shape in shapes.values())
    if isinstance(core, ClockworkRNN | MultiScaleLMN):
        n_recurrent = shapes["W_mm" if "W_mm" in shapes else "W_hh"][0]
        readers = core.clock.readers(n_recurrent // core.n_modules)
        n -= int((~readers).sum())
    return int(n + (core.n_out + 1) * n_out)


def sized(kind: str, n_in: int, n_out: int, budget: int, n_modules: int) -> Any:
    """Return the network of a kind whose weights come closest to a budget.

    An LMN has as many memory as hidden units. A MultiScale LMN has about
    n_modules hidden units for each memory unit of a module, as those of the
    authors' code for handwriting; its hidden layer takes up the rest.
    """

    def nearest(make: Callable[[int], Any]) -> Any:
        sizes = range(1, 2 + int(np.sqrt(2.0 * budget)))
        return min(
            map(make, sizes), key=lambda c: abs(n_weights(c, n_out) - budget)
        )

    if kind in DUAL_KINDS:
        return nearest(partial(core_of, kind, n_in))
    if kind == "rnn":
        return nearest(partial(Elman, n_in))
    if kind == "lstm":
        return nearest(partial(LSTM, n_in))
    if kind == "clockwork":
        return nearest(lambda n: ClockworkRNN(n_in, n, n_modules))
    if kind == "lmn":
        return nearest(lambda n: LMN(n_in, n, n))
    core = nearest(lambda m: MultiScaleLMN(n_in, n_modules * m, m, n_modules))
    return nearest(lambda n: replace(core, n_hid=n))


def train_network(
    kind: str,
    core: Any,
    n_out: int,
    loss: str,
    awake: bool,
    dtype: Any,
    every: int,
    rng: np.random.Generator,
    checkpoint: Path,
    **options: Any,
) -> tuple[Model, Fit]:
    """Train a network from its start, or grow it module by module.

    Arguments
        awake: draw all biases with standard deviation 0.1, as the Clockwork
            paper its weights, and the LSTM's forget bias around 5, as there;
            for tasks without input.
        every: epochs between two growths.
        options: of ``fit``.
    """
    grows = kind == "mslmn grown"
    n_modules = getattr(core, "n_modules", 1)
    model = Model(
        replace(core, n_modules=1) if grows else core,
        *(n_out, loss),
        constraints=constraints_of(kind, core),
    )
    params = model.init(rng)
    if awake:
        for name, value in params.items():
            if name.startswith("core/b_"):
                params[name] = 0.1 * rng.standard_normal(value.shape)
        if kind == "lstm":
            params["core/b_f"] += 5.0
    params = {name: value.astype(dtype) for name, value in params.items()}
    options |= {"clip": CLIP, "rng": rng, "progress": False}
    if not grows:
        return model, fit(model, params, checkpoint=checkpoint, **options)
    schedule = IncrementalTraining(n_modules, every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrowthWarning)
        folder = checkpoint.with_suffix(".modules")
        return schedule.fit(model, params, checkpoint=folder, **options)


def by_rate(
    rates: Sequence[float],
    run: Callable[[float], tuple[Model, Fit]],
    score: Callable[[Fit], float],
) -> tuple[float, Model, Fit, list[float]]:
    """Run at each learning rate; return the best run, and who diverged."""
    runs, diverged = [], []
    for rate in rates:
        try:
            model, found = run(rate)
        except DivergedError:
            diverged.append(rate)
            continue
        runs.append((score(found), rate, model, found))
    if not runs:
        raise ValueError(f"training diverged with every rate: {list(rates)}")
    _, rate, model, found = min(runs, key=lambda r: r[:2])
    return rate, model, found, diverged


def _named(checkpoint: Path, rate: float) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.{rate:g}.safetensors")


# --- jobs -------------------------------------------------------------------


def generate(
    kind: str,
    wave: str,
    budget: int,
    n_modules: int,
    rates: Sequence[float],
    n_epochs: int,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Learn one waveform of 320 points by heart, without any input.

    A grown network gets its modules within the first half of the epochs. The
    result is that of the best epoch, at the better of the learning rates.
    """
    target = waveform(wave, rng=generator(wave, 0))
    pair = generation_task(target)
    core = sized(kind, 1, 1, budget, n_modules)

    def run(rate: float) -> tuple[Model, Fit]:
        return train_network(
            *(kind, core, 1, "squared", True, np.float64),
            every=max(1, n_epochs // 2 // n_modules),
            rng=generator(f"generate {kind} {wave} {rate}", seed),
            checkpoint=_named(checkpoint, rate),
            train=[pair],
            valid=[pair],
            optimiser=Adam(rate),
            n_epochs=n_epochs,
            n_batch=1,
        )

    def lowest(found: Fit) -> float:
        return float(found.history[found.best_epoch - 1]["valid_loss"])

    rate, model, found, diverged = by_rate(rates, run, lowest)
    losses = np.array([r["valid_loss"] for r in found.history]) / target.var()
    o = model.predict(found.params, np.asarray(pair[0])[:, None])
    return {
        "network": repr(model.core),
        "n_weights": n_weights(model.core, 1),
        "rate": rate,
        "diverged": diverged,
        "normalised_error": float(lowest(found) / target.var()),
        "curve": np.minimum.accumulate(losses)[
            :: max(1, n_epochs // 50)
        ].tolist(),
        "generated": np.round(o[:, 0, 0], 4).tolist() if seed == 0 else None,
    }


def classify(
    kind: str,
    dataset: str,
    budget: int,
    n_modules: int,
    rates: Sequence[float],
    n_epochs: int,
    n_batch: int,
    noise: float,
    lags: Sequence[int] | None,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Learn to tell sequences apart on their last frames.

    The epoch and the learning rate are chosen on the validation sequences.
    A grown network gets its modules within the first half of the epochs.
    Weights are float32 while they are trained.

    Arguments
        lags: largest lag and distance of lags at which to measure what the
            modules of a trained MultiScale LMN remember; ``None`` for not.
    """
    found_set = labelled(dataset)
    parts = {
        part: [
            (x.astype(np.float32), np.asarray(label))
            for x, label in getattr(found_set, part)
        ]
        for part in ("train", "valid", "test")
    }
    n_in, n_out = parts["train"][0][0].shape[1], len(found_set.classes)
    core = sized(kind, n_in, n_out, budget, n_modules)

    def run(rate: float) -> tuple[Model, Fit]:
        return train_network(
            *(kind, core, n_out, "softmax", False, np.float32),
            every=max(1, n_epochs // 2 // n_modules),
            rng=generator(f"classify {kind} {dataset} {rate}", seed),
            checkpoint=_named(checkpoint, rate),
            train=parts["train"],
            valid=parts["valid"],
            optimiser=Adam(rate),
            n_epochs=n_epochs,
            n_batch=n_batch,
            noise=noise,
            metric=ClassAccuracy(),
            best="highest score",
            checkpoint_every=200,
        )

    def highest(found: Fit) -> float:
        return -float(found.history[found.best_epoch - 1]["valid_score"])

    rate, model, found, diverged = by_rate(rates, run, highest)
    scores = evaluate(model, found.params, parts["test"], ClassAccuracy())
    result: Result = {
        "network": repr(model.core),
        "n_weights": n_weights(model.core, n_out),
        "rate": rate,
        "diverged": diverged,
        "test_error": 1.0 - scores["score"],
        "valid_error": 1.0 + highest(found),
        "best_epoch": found.best_epoch,
        "curve": [1.0 - float(r["valid_score"]) for r in found.history],
        "seconds": found.seconds,
    }
    if lags is not None and isinstance(model.core, MultiScaleLMN):
        params = under("core", found.params)
        result["memory"] = memory_by_module(model.core, params, parts, *lags)
    return result


def memory_as_grown(
    n_hid: int,
    n_mem: int,
    n_modules: int,
    max_lag: int,
    seed: int,
    checkpoint: Path | None = None,
) -> Result:
    """Grow modules in closed form on white noise, and see what they hold.

    Nothing is trained. The signal has two inputs, and no frame of it tells
    anything about another: what is read of the past has been remembered.
    """
    rng = generator("memory as grown", seed)
    sequences = random_sequences(rng, 240, 320, 2)
    core: Any = MultiScaleLMN(2, n_hid, n_mem, 1)
    params = first_module(core, core.init(rng), sequences[:160])
    while core.n_modules < n_modules:
        core, params = grow(core, params, sequences[:160])
    cuts = {"train": (0, 160), "valid": (160, 200), "test": (200, 240)}
    parts: dict[str, list[Pair]] = {
        part: [(x, x) for x in sequences[start:stop]]
        for part, (start, stop) in cuts.items()
    }
    return {
        "network": repr(core),
        "memory": memory_by_module(core, params, parts, max_lag, 1),
    }


def labelled(dataset: str) -> LabelledSet:
    """Return a set of labelled sequences, scaled and shaped for us."""
    if dataset == "digits":
        return load_spoken_digits().standardised()
    if dataset == "pen":
        return load_pen_digits().standardised()
    if dataset not in ("rows", "pixels"):
        raise ValueError(
            f"dataset is {dataset!r}, expected 'digits', 'pen', 'rows' or"
            " 'pixels'"
        )
    images = load_mnist("rows")
    if dataset == "rows":
        return images

    def pixels(part: Sequence[tuple[Array, int]]) -> Any:
        """Halve the resolution and read it pixel by pixel."""
        return tuple(
            (x.reshape(14, 2, 14, 2).mean((1, 3)).reshape(196, 1), label)
            for x, label in part
        )

    return replace(
        images,
        train=pixels(images.train),
        valid=pixels(images.valid),
        test=pixels(images.test),
    )


def memory_by_module(
    core: MultiScaleLMN,
    params: Arrays,
    parts: dict[str, list[Pair]],
    max_lag: int,
    every: int,
) -> dict[str, Any]:
    """Measure how well each module holds x_{t-k}, at t where all tick."""
    period = core.clock.period(core.n_modules - 1)
    states, inputs = {}, {}
    reads = replace(core, output="memory")
    for part, pairs in parts.items():
        xs = [x for x, _ in pairs]
        found = dict(outputs(reads, params, xs))
        states[part] = [found[q].astype(np.float64) for q in range(len(xs))]
        inputs[part] = [x.astype(np.float64) for x in xs]
    curves = []
    for i in range(core.n_modules):
        module = slice(i * core.n_mem, (i + 1) * core.n_mem)
        train, valid, test = (
            [
                (m[:, module], x)
                for m, x in zip(states[part], inputs[part], strict=True)
            ]
            for part in ("train", "valid", "test")
        )
        curves.append(
            recoverability(train, valid, test, max_lag, every, period)
        )
    return {"lags": list(range(0, max_lag + 1, every)), "r2": curves}


def cost(
    networks: Sequence[str],
    modules: Sequence[int],
    n_hid: int,
    n_mem: int,
    n_batch: int,
    n_time: int,
    repeats: int,
    checkpoint: Path | None = None,
) -> Result:
    """Time forward and backward over the number of modules.

    CPU time of this process, all sizes in turn, ``repeats`` times over; the
    ratio to two modules is taken within each turn, and then the median.
    """
    timed = {
        network: _timed(
            network, list(modules), n_hid, n_mem, n_batch, n_time, repeats
        )
        for network in networks
    }
    shape = {"n_hid": n_hid, "n_mem": n_mem}
    shape |= {"n_batch": n_batch, "n_time": n_time}
    return {"modules": list(modules), "shape": shape, **timed}


def _timed(
    network: str,
    modules: list[int],
    n_hid: int,
    n_mem: int,
    n_batch: int,
    n_time: int,
    repeats: int,
) -> dict[str, Any]:
    """Time one network over the number of modules; see ``cost``."""
    rng = generator("cost", 0)
    runs = {}
    for g in modules:
        arch: Any
        if network == "clockwork":
            arch = ClockworkRNN(1, n_mem, g)
        else:
            arch = MultiScaleLMN(1, n_hid, n_mem, g, output=network)
        params = arch.init(rng)
        x = rng.standard_normal((n_time, n_batch, 1))
        y, _, tape = arch.forward(params, x)
        dy = rng.standard_normal(y.shape)
        arch.backward(params, tape, dy)
        runs[g] = arch, params, x, dy
    seconds = np.zeros((repeats, len(modules), 2))
    for turn in range(repeats):
        for k, g in enumerate(modules):
            arch, params, x, dy = runs[g]
            began = time.process_time()
            _, _, tape = arch.forward(params, x)
            half = time.process_time()
            arch.backward(params, tape, dy)
            seconds[turn, k] = half - began, time.process_time() - half
    total = seconds.sum(-1)
    ratios = total / total[:, [modules.index(2)]]
    return {
        "forward_ms": (1e3 * np.median(seconds[..., 0], 0)).tolist(),
        "backward_ms": (1e3 * np.median(seconds[..., 1], 0)).tolist(),
        "ratio": np.median(ratios, 0).tolist(),
        "ratio_quartiles": np.quantile(ratios, [0.25, 0.75], 0).T.tolist(),
    }
