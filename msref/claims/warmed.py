"""Experiments with networks that are warmed up, and with those that are not.

reachable   how many states a network can rest in, before and after
recall      it learns to give back what it was shown, and is looked at
maze        it learns to find its way by what it saw at the start
ways        where prefixes of sequences end up, for a picture
speed       what a warm-up takes
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from msref.architectures import BRC, GRU, LSTM, MGU, NBRC, Stack
from msref.arrays import Array, Arrays, under
from msref.claims.base import Result, generator
from msref.claims.device import fit, warmup
from msref.claims.scales import CLIP
from msref.data import TMaze, copy_first_input, denoising
from msref.dynamics import explore, multistability
from msref.files import read_json, write_json
from msref.pretraining import Warmup, double_layer
from msref.training import (
    Adam,
    DivergedError,
    Fit,
    Model,
    Pair,
    QLearning,
    evaluate,
)

KINDS = {
    "gru": "GRU",
    "lstm": "LSTM",
    "lstm zero": "LSTM, forget bias 0",
    "mgu": "MGU",
    "brc": "BRC",
    "nbrc": "nBRC",
    "chrono": "chrono LSTM",
}
"""The cells, in the order of the tables."""

STARTS = {
    "plain": "as they start",
    "warm": "warmed up",
    "double": "double layers, one half warmed up",
}
"""What is done to a network before it learns."""

CHRONO = 600
"""The longest dependency of the chrono LSTM, in the authors' code."""

N_SEQUENCES = 1000  # for a warm-up and the looks after it
N_BATCH, N_VALID, N_TEST = 32, 128, 1000
M = 200
"""Steps of constant input before VAA is looked at, if nothing else is said."""

N_ESTIMATES = 3

CONSTANT = 1.0
"""The squared error of always answering 0, in both tasks of recall."""


# --- the networks -----------------------------------------------------------


def core_of(kind: str, n_in: int, n_hid: int, double: bool = False) -> Stack:
    """Return two layers of a cell.

    "chrono" has both bias vectors drawn, as in the authors' code; see
    ``LSTM``. The recurrent matrices of our GRU and LSTM start orthogonal;
    the authors' LSTM has PyTorch's start. "lstm zero" differs from "lstm" in
    ``init_of`` alone.

    Arguments
        double: each layer is two cells of half the width.

    Raises
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {list(KINDS)}")
    layers: list[Any] = [_cell(kind, n, n_hid) for n in (n_in, n_hid)]
    return Stack(*(map(double_layer, layers) if double else layers))


def _cell(kind: str, n_in: int, n_hid: int) -> Any:
    if kind == "chrono":
        return LSTM(n_in, n_hid, chrono=CHRONO, double_bias=True)
    cells = {"gru": GRU, "mgu": MGU, "brc": BRC, "nbrc": NBRC}
    return cells.get(kind, LSTM)(n_in, n_hid)


def init_of(
    kind: str,
    model: Model,
    rng: np.random.Generator,
    dtype: npt.DTypeLike = np.float32,
) -> Arrays:
    """Draw what a network starts from.

    "lstm zero" has forget biases of 0, as in PyTorch and in the authors'
    code, where our LSTM has 1.
    """
    params = model.init(rng, dtype)
    if kind == "lstm zero":
        for name in params:
            if name.endswith("/b_f"):
                params[name] = np.zeros_like(params[name])
    return params


class Begun(NamedTuple):
    """A network before it learns.

    Attributes
        model, params: of the network; float32.
        record: of its warm-up, ``None`` without one.
        diverged: where the warm-up left the finite numbers.
    """

    model: Model
    params: Arrays
    record: Warmup | None
    diverged: str | None

    def told(self) -> Result:
        """Return network, size, and what the warm-up came to."""
        warmed = None
        if self.record is not None:
            warmed = {
                "loss": float(self.record.loss[-10:].mean()),
                "seconds": self.record.seconds,
            }
        return {
            "network": repr(self.model.core),
            "n_weights": self.model.n_params(self.params),
            "warmup": warmed,
            "diverged": self.diverged,
        }


def begin(
    kind: str,
    start: str,
    model: Model,
    sequences: list[Array],
    n_warmup: int,
    seed: int,
    *,
    whole: bool = False,
) -> Begun:
    """Draw a start and, unless it is "plain", warm it up.

    "plain" and "warm" begin with the same numbers; "double" cannot.

    Arguments
        whole: each sequence is a prefix already, and is not cut.
    """
    if start not in STARTS:
        raise ValueError(f"start is {start!r}, expected one of {list(STARTS)}")
    named = f"{kind} {model.core.n_in} {model.core.n_out}"
    params = init_of(kind, model, generator(f"start {named}", seed))
    if start == "plain":
        return Begun(model, params, None, None)
    try:
        params, record = warmup(
            *(model, params, sequences, generator(f"warm-up {named}", seed)),
            n_steps=n_warmup,
            partial=start == "double",
            whole=whole,
            progress=False,
        )
    except DivergedError as error:
        return Begun(model, params, None, f"warm-up, {error}")
    return Begun(model, params, record, None)


def look(
    model: Model,
    params: Arrays,
    sequences: list[Array],
    moments: Sequence[int] = (M,),
    *,
    n_estimates: int = N_ESTIMATES,
    n_states: int = 32,
    whole: bool = False,
) -> list[float]:
    """Return the VAA of a network after each number of steps.

    Every look draws the same sequences, cuts and constant inputs.
    """
    found = multistability(
        model.core,
        under("core", params),
        sequences,
        generator("a look", 0),
        [*moments],
        n_estimates=n_estimates,
        n_states=n_states,
        whole=whole,
        progress=False,
    )
    return [round(float(mean), 6) for mean in found.mean]


# --- reachable multistability -----------------------------------------------


def reachable(
    kind: str,
    double: bool,
    n_hid: int,
    n_time: int,
    n_warmup: int,
    moments: Sequence[int],
    seed: int,
    checkpoint: Path | None = None,
) -> Result:
    """Measure the VAA of a network before its warm-up and after.

    On inputs of "copy first input", as the spec's figures of the authors'
    code.

    Arguments
        double: the layers are double, and one half of each is warmed up.
        moments: the M, looked at along one run.
    """
    model = Model(core_of(kind, 1, n_hid, double), 1, "squared")
    sequences = inputs("copy", n_time, seed)
    drawn, warmed = (
        begin(kind, start, model, sequences, n_warmup, seed)
        for start in ("plain", "double" if double else "warm")
    )
    return warmed.told() | {
        "row": [kind, double, n_hid, n_time],
        "moments": [*moments],
        "before": look(model, drawn.params, sequences, moments),
        "after": None
        if warmed.diverged
        else look(model, warmed.params, sequences, moments),
    }


def speed(
    n_hid: int,
    n_time: int,
    n_warmup: int,
    checkpoint: Path | None = None,
) -> Result:
    """Time the warm-up of a GRU of two layers, batches of 32, float32."""
    model = Model(core_of("gru", 1, n_hid), 1, "squared")
    sequences = inputs("copy", n_time, 0)
    wall, cpu = time.perf_counter(), time.process_time()
    begun = begin("gru", "warm", model, sequences, n_warmup, 0)
    return begun.told() | {
        "n_hid": n_hid,
        "n_time": n_time,
        "n_warmup": n_warmup,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
    }


def ways(
    kind: str,
    n_hid: int,
    n_time: int,
    n_warmup: int,
    n_steps: int,
    seed: int,
    checkpoint: Path | None = None,
) -> Result:
    """Follow 32 prefixes to where they end, before the warm-up and after.

    Both times the same prefixes and the same constant input, in the plane of
    the first two principal components of each.
    """
    model = Model(core_of(kind, 1, n_hid), 1, "squared")
    sequences = inputs("copy", n_time, seed)
    result: Result = {"kind": kind, "n_time": n_time, "n_steps": n_steps}
    for start, when in (("plain", "before"), ("warm", "after")):
        begun = begin(kind, start, model, sequences, n_warmup, seed)
        found = explore(
            *(model.core, under("core", begun.params), sequences),
            *(generator("ways", seed), n_steps),
            progress=False,
        )
        result[when] = {
            "labels": found.labels.tolist(),
            "cuts": found.start.cuts[0].tolist(),
            "first": [float(sequences[q][0, 0]) for q in found.start.which[0]],
            "ways": np.round(found.trajectories[::3], 4).tolist(),
            "ends": np.round(found.trajectories[-1], 4).tolist(),
            "explained": np.round(found.explained, 4).tolist(),
        }
    return result


# --- recall -----------------------------------------------------------------


def pairs_of(
    task: str, rng: np.random.Generator, n_sequences: int, n_time: int
) -> list[Pair]:
    """Draw sequences of "copy" or "denoising", in single precision.

    Raises
        ValueError: there is no such task.
    """
    tasks = {"copy": copy_first_input, "denoising": denoising}
    if task not in tasks:
        raise ValueError(f"task is {task!r}, expected one of {list(tasks)}")
    return [
        (x.astype(np.float32), y.astype(np.float32))
        for x, y in tasks[task](rng, n_sequences, n_time)
    ]


def inputs(task: str, n_time: int, seed: int) -> list[Array]:
    """Draw the sequences of a warm-up and of the looks."""
    rng = generator(f"inputs {task} {n_time}", seed)
    return [x for x, _ in pairs_of(task, rng, N_SEQUENCES, n_time)]


def recall(
    task: str,
    kind: str,
    start: str,
    n_time: int,
    n_hid: int,
    n_warmup: int,
    rate: float,
    n_steps: int,
    every: int,
    n_looks: int,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Learn one task of recall from fresh sequences, and look at the VAA.

    Two layers, batches of 32, Adam, float32; the loss counts the frames with
    a target alone. Of the parameters after each ``every`` updates, those with
    the lowest error on 128 sequences are tested on 1,000. All networks of a
    seed see the same sequences. A training that leaves the finite numbers
    counts as the constant answer.

    Arguments
        n_steps: updates, a multiple of ``n_looks * every``.
        n_looks: times that the VAA is measured on the way, beside one before
            the first update.
    """
    x, target = pairs_of(task, generator(task, 0), 1, n_time)[0]
    core = core_of(kind, x.shape[1], n_hid, start == "double")
    model = Model(core, target.shape[1], "squared")
    sequences = inputs(task, n_time, seed)
    begun = begin(kind, start, model, sequences, n_warmup, seed)
    result = begun.told() | {"rate": rate, "n_steps": n_steps, "every": every}
    lost = {"test_error": CONSTANT, "curve": [], "looks": []}
    if begun.diverged:
        return result | lost
    valid = pairs_of(
        task, generator(f"valid {task} {n_time}", 0), N_VALID, n_time
    )

    def fresh(epoch: int) -> list[Pair]:
        rng = generator(f"{task} {n_time} {epoch}", seed)
        return pairs_of(task, rng, N_BATCH * every, n_time)

    def learned(n_epochs: int) -> Fit:
        """Learn so far, or go on to there."""
        return fit(
            *(model, begun.params, fresh, valid),
            optimiser=Adam(rate),
            rng=generator(f"fit {task} {kind} {start} {n_time}", seed),
            n_epochs=n_epochs,
            n_batch=N_BATCH,
            clip=CLIP,
            checkpoint=checkpoint,
            checkpoint_every=every,
            progress=False,
        )

    # A fit that ended goes on where n_epochs has grown: so it is looked at
    # on its way, and what was seen is kept for a run that is interrupted.
    seen = checkpoint.with_name(f"{checkpoint.name}.looks.json")
    looks: list[Result] = read_json(seen) if seen.exists() else []
    n_epochs = n_steps // every
    for epoch in range(0, n_epochs + 1, n_epochs // n_looks):
        if epoch <= (looks[-1]["epoch"] if looks else -1):
            continue
        try:
            params = learned(epoch).last if epoch else begun.params
        except DivergedError as error:
            return result | lost | {"diverged": str(error), "looks": looks}
        [vaa] = look(model, params, sequences)
        loss = evaluate(model, params, valid)["loss"]
        looks.append({"epoch": epoch, "vaa": vaa, "error": loss})
        write_json(seen, looks)
    found = learned(n_epochs)
    rng = generator(f"test {task} {n_time}", 0)
    tested = evaluate(model, found.params, pairs_of(task, rng, N_TEST, n_time))
    return result | {
        "test_error": tested["loss"],
        "best_epoch": found.best_epoch,
        "curve": [float(f"{r['valid_loss']:.4g}") for r in found.history],
        "looks": looks,
        "seconds": found.seconds,
    }


# --- the maze ---------------------------------------------------------------


def maze(
    start: str,
    length: int,
    n_hid: int,
    n_warmup: int,
    n_episodes: int,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Let a GRU of two layers learn the way through a T-maze.

    It is warmed up on the histories that its replay is filled with, which
    ``train`` draws again. Each is a prefix of a game already: it is used
    whole, here and in the looks at the VAA, 200 histories at M = 200.
    """
    agent, environment = QLearning(), TMaze(length)
    n_in = environment.n_actions + 1 + environment.n_observations
    core = core_of("gru", n_in, n_hid, start == "double")
    model = agent.model(core, environment)

    def rng() -> np.random.Generator:
        return generator(f"maze {length}", seed)

    histories = agent.fill(environment, rng(), np.float32)
    begun = begin(*("gru", start, model, histories, n_warmup, seed), whole=True)
    result = begun.told() | {"n_episodes": n_episodes}
    lost: Result = {"curve": [], "optimal_after": None, "vaa": None}
    lost["mean_return"] = -0.1 * environment.horizon  # walls, all the time
    if begun.diverged:
        return result | lost
    try:
        found = agent.train(
            *(model.core, begun.params, environment, rng(), n_episodes),
            progress=False,
            checkpoint=checkpoint,
        )
    except DivergedError as error:
        return result | lost | {"diverged": str(error)}
    vaa = [
        look(model, p, histories, n_estimates=1, n_states=200, whole=True)[0]
        for p in (begun.params, found.params)
    ]
    return result | {
        "curve": [dict(record) for record in found.curve],
        "mean_return": float(np.mean([r["return"] for r in found.curve])),
        "optimal_after": found.optimal_after,
        "vaa": vaa,
        "seconds": found.seconds,
    }
