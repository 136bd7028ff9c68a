"""Train a network on next-frame prediction, from one of several starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from msref.architectures import LMN, LSTM, ULM, Elman
from msref.arrays import Array, Arrays
from msref.claims.base import Result, generator
from msref.claims.device import fit
from msref.claims.memory import music
from msref.claims.networks import DUAL_KINDS, constraints_of, core_of
from msref.data import next_frame
from msref.pretraining import (
    lmn_delay_line,
    lmn_from_inputs,
    lmn_from_unrolled,
    lmn_orthogonal,
)
from msref.training import (
    Adam,
    DivergedError,
    Fit,
    FrameAccuracy,
    Model,
    Pair,
    evaluate,
)

N_NOTES = 88
CLIP = 10.0  # the authors' code

KINDS = {
    "rnn": "RNN",
    "lstm": "LSTM",
    "lstm x5": "LSTM, five times the parameters",
    "lmn": "LMN, standard start",
    "lmn orthogonal": "LMN, orthogonal memory",
    "lmn delay line": "LMN, delay line",
    "lmn inputs": "LMN, LAES of the inputs",
    "lmn pre-trained": "LMN, pre-trained",
}
"""The networks by name, in the order of the tables; besides them those of
``DUAL_KINDS`` are trained."""


def n_params(n_hid: int, n_mem: int) -> int:
    """Return the size of an LMN with read-out, the budget of the others."""
    return _size(Model(LMN(N_NOTES, n_hid, n_mem), N_NOTES))


def matched(make: Callable[[int], Any], budget: int) -> int:
    """Return the n_hid whose model comes closest to ``budget`` parameters."""
    return min(
        range(2, 600),
        key=lambda n: abs(_size(Model(make(n), N_NOTES)) - budget),
    )


def _size(model: Model) -> int:
    return sum(int(np.prod(shape)) for shape in model.shapes().values())


def train_network(
    kind: str,
    dataset: str,
    data: str | None,
    n_hid: int,
    n_mem: int,
    n_window: int,
    rates: Sequence[float],
    n_epochs: int,
    patience: int,
    n_batch: int,
    seed: int,
    checkpoint: Path,
) -> Result:
    """Train one network from one start with each learning rate.

    The rate is chosen on the validation set. All starts get ``n_epochs``
    altogether; the pre-trained LMN spends a third of them on its unrolled
    network. Weights are float32 while they are trained.

    Arguments
        kind: one of ``KINDS``; RNN and LSTM are sized to the parameters of
            LMN(88, n_hid, n_mem), "lstm x5" to five times as many.
    """
    parts = music(dataset, data)
    train, valid, test = (
        _pairs(part) for part in (parts.train, parts.valid, parts.test)
    )
    runs: list[tuple[float, float, Model, Fit]] = []
    diverged = []
    for rate in rates:
        rng = generator(f"{kind} {dataset} {rate}", seed)
        optimise = partial(
            fit,
            train=train,
            valid=valid,
            optimiser=Adam(rate),
            rng=rng,
            n_batch=n_batch,
            patience=patience,
            clip=CLIP,
            metric=FrameAccuracy(),
            best="highest score",
            checkpoint_every=200,
            progress=False,
        )
        path = checkpoint.with_name(f"{checkpoint.name}.{rate:g}.safetensors")
        try:
            model, found = _train(
                kind, n_hid, n_mem, n_window, n_epochs, train, rng, optimise,
                path,
            )  # fmt: skip
        except DivergedError as error:
            diverged.append({"rate": rate, "where": str(error)})
            continue
        best = float(found.history[found.best_epoch - 1]["valid_score"])
        runs.append((best, rate, model, found))
    if not runs:
        raise ValueError(f"{kind}: training diverged with every rate: {rates}")

    best, rate, model, found = max(runs, key=lambda run: run[0])
    scores = {
        form: evaluate(model, found.params, test, FrameAccuracy(form))["score"]
        for form in ("pooled", "per-frame", "raw-output")
    }
    return {
        "network": repr(model.core),
        "n_params": model.n_params(found.params),
        "n_trained": model.n_params(found.params, frozen=False),
        "rate": rate,
        "diverged": diverged,
        "valid": best,
        "test": scores,
        "test_loss": evaluate(model, found.params, test)["loss"],
        "best_epoch": found.best_epoch,
        "curve": [float(r["valid_score"]) for r in found.history],
        "valid_by_rate": {f"{r:g}": s for s, r, _, _ in runs},
    }


def _train(
    kind: str,
    n_hid: int,
    n_mem: int,
    n_window: int,
    n_epochs: int,
    train: list[Pair],
    rng: np.random.Generator,
    optimise: Callable[..., Fit],
    path: Path,
) -> tuple[Model, Fit]:
    """Make the start of one kind, and train it."""
    if kind == "lmn pre-trained":
        # Generators of their own: where a run goes on, the first fit draws
        # nothing any more, and the second must not notice.
        first_rng, second_rng = rng.spawn(2)
        optimise = partial(optimise, rng=second_rng)
        n_unrolled = n_epochs // 3
        unrolled = Model(ULM(N_NOTES, n_hid, n_window), N_NOTES)
        first = optimise(
            unrolled,
            unrolled.init(rng, np.float32),
            n_epochs=n_unrolled,
            rng=first_rng,
            checkpoint=path.with_suffix(".unrolled.safetensors"),
        )
        inputs = [x for x, _ in train]
        start = lmn_from_unrolled(unrolled, first.params, inputs, n_mem)
        n_epochs -= n_unrolled
    else:
        start = _start(kind, n_hid, n_mem, train, rng)
    model, params = start
    params = {k: v.astype(np.float32) for k, v in params.items()}
    return model, optimise(model, params, n_epochs=n_epochs, checkpoint=path)


def _start(
    kind: str,
    n_hid: int,
    n_mem: int,
    train: list[Pair],
    rng: np.random.Generator,
) -> tuple[Model, Arrays]:
    """Return the model of one kind and the parameters it starts from."""
    budget = n_params(n_hid, n_mem)
    if kind == "lmn inputs":
        model, params = lmn_from_inputs(
            [x for x, _ in train],
            n_mem,
            N_NOTES,
            rng,
            targets=[y for _, y in train],
            ridge=1.0,
            scale=0.3,
        )
        # Least squares gives 0 and 1; as logits, that is -2 and 2.
        params["readout/W_yo"] = 4.0 * params["readout/W_yo"]
        params["readout/b_o"] = 4.0 * params["readout/b_o"] - 2.0
        return model, params
    if kind == "lmn orthogonal":
        return lmn_orthogonal(
            N_NOTES, n_hid, n_mem, N_NOTES, rng, strength=1e-3
        )
    if kind == "lmn delay line":
        n_window = max(1, round(n_mem / n_hid))
        return lmn_delay_line(N_NOTES, n_hid, n_window, N_NOTES, rng)
    core: Any
    if kind in DUAL_KINDS:
        make = partial(core_of, kind, N_NOTES, reads="all")
        core = make(matched(make, budget))
        model = Model(core, N_NOTES, constraints=constraints_of(kind, core))
        return model, model.init(rng)
    if kind == "rnn":
        core = Elman(N_NOTES, matched(partial(Elman, N_NOTES), budget))
    elif kind in ("lstm", "lstm x5"):
        budget *= 5 if kind == "lstm x5" else 1
        core = LSTM(N_NOTES, matched(partial(LSTM, N_NOTES), budget))
    else:
        core = LMN(N_NOTES, n_hid, n_mem)
    model = Model(core, N_NOTES)
    return model, model.init(rng)


def _pairs(sequences: Sequence[Array]) -> list[Pair]:
    inputs, targets = next_frame([x.astype(np.float32) for x in sequences])
    return list(zip(inputs, targets, strict=True))
