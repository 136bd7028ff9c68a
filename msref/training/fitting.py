"""The training loop: minibatches, early stopping, exact resumption."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msref.architectures.base import check_tree
from msref.arrays import Arrays
from msref.progress import bar
from msref.training.checkpoints import (
    fingerprint,
    read_checkpoint,
    write_checkpoint,
)
from msref.training.evaluation import check_pairs
from msref.training.metrics import Metric
from msref.training.model import AnyPair, Model
from msref.training.optimisers import Optimiser
from msref.training.states import (
    CRITERIA,
    Plan,
    Record,
    best_epoch,
    first_state,
    on_the_side_of,
    reached,
    states,
)

SHOWN = ("valid_loss", "valid_score")
"""What stands beside the bar: entries of the latest record."""


@dataclass(frozen=True)
class Fit:
    """What came out of a training.

    Attributes
        params: the parameters after the best epoch.
        last: the parameters after the last epoch.
        history: one record for each epoch: ``epoch`` (from 1),
            ``train_loss`` (penalty and noise included, mean over the loss's
            terms while the weights moved), ``valid_loss``, ``valid_score``
            where a metric is given, and the ``seconds`` that the epoch took.
            Each epoch has ceil(n_sequences / n_batch) updates.
        best_epoch: the first of the best, from 1.
        seconds: time spent on updates and validation.
        stopped_early: patience ran out before the epochs did.
        optimiser: the optimiser's state after the last epoch, to go on with
            ``last``.
        reached: the last epoch was as good as ``enough``.
    """

    params: Arrays
    last: Arrays
    history: tuple[Record, ...]
    best_epoch: int
    seconds: float
    stopped_early: bool
    optimiser: Arrays
    reached: bool = False


def fit(
    model: Model,
    params: Arrays,
    train: Sequence[AnyPair] | Callable[[int], Sequence[AnyPair]],
    valid: Sequence[AnyPair],
    *,
    optimiser: Optimiser,
    rng: np.random.Generator,
    n_epochs: int,
    n_batch: int = 32,
    patience: int | None = None,
    clip: float | None = None,
    noise: float = 0.0,
    detach: float = 0.0,
    optimiser_state: Arrays | None = None,
    metric: Metric | None = None,
    best: str = "lowest loss",
    enough: float | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 100,
    report: Callable[[Record], None] | None = None,
    progress: bool | None = None,
    title: str = "fit",
) -> Fit:
    """Train ``params`` and return those of the best epoch.

    It computes where ``params`` live: each batch is moved there. What is
    random is drawn on the host, and a checkpoint does not say where it was
    written: a fit may go on elsewhere.

    A core that draws its initial state (``Dropout``) draws a new one for
    every update. What it observes of a batch (``BatchNorm``) becomes its
    buffers after the update, and validation and ``best`` use them.

    Arguments
        train, valid: pairs of an input (n_time, n_in) and its target, as in
            ``Batch.of``. Validation leaves the penalty out. ``train`` may
            also be a function that gives new pairs in every epoch, from its
            number alone (1 for the first of this fit), so that a fit which
            goes on sees the same; always as many as in epoch 1.
        rng: shuffles the sequences before every epoch, and draws what the
            updates draw; left where the last epoch left it, so that another
            fit can go on.
        n_batch: sequences in a batch, of similar lengths.
        patience: stop after so many epochs without a better one; ``None``
            for never.
        clip: largest global norm of the gradients; ``None`` for any.
        noise: standard deviation of Gaussian noise on the inputs of every
            batch, new in every epoch; padding and validation have none.
        detach: the probability with which, at each time step, nothing is
            sent back into the memory of an LMN or a MultiScaleLMN through
            its hidden layer (p-detach; see ``LMN``).
        optimiser_state: where the optimiser goes on, such as the
            ``optimiser`` of an earlier fit; ``None`` for its start.
        metric: its value on ``valid`` is the ``valid_score``.
        best: "lowest loss", "lowest score" or "highest score".
        enough: stop after the first epoch whose loss or score, the one that
            ``best`` names, is this good or better; ``None`` for never.
        checkpoint: a file. Where it exists, the fit goes on from there;
            everything else has to be as it was at the beginning, ``params``,
            ``optimiser_state`` and ``rng`` included, but ``n_epochs`` may
            have grown. Of a function ``train`` the pairs of epoch 1 are
            compared.
        checkpoint_every: updates between two checkpoints; there is one more
            at the end, and at Ctrl-C.
        report: called with the record of each epoch.
        progress: show a bar, with what validation found last; ``None`` for
            where stderr is a terminal.
        title: what stands before the bar.

    Raises
        TypeError, ValueError: arguments, data or a checkpoint that do not
            fit; at the start of its epoch where ``train`` gives new pairs.
        DivergedError: NaN or infinity on the way, with epoch, step and
            place; a ValueError, too.
        OSError: the checkpoint cannot be written or read.
    """
    check_tree("params", params, model.shapes(), next(iter(params.values())))
    _check_options(n_epochs, n_batch, patience, checkpoint_every, best, metric)
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise is {noise}, expected 0 or above")
    if enough is not None and not math.isfinite(enough):
        raise ValueError(f"enough is {enough}, expected a finite number")
    _check_detach(detach, model)
    fresh = train if callable(train) else None
    plan = Plan(
        model=model,
        train=(
            check_pairs("train(1)", train(1), model)
            if callable(train)
            else check_pairs("train", train, model)
        ),
        valid=check_pairs("valid", valid, model),
        optimiser=optimiser,
        rng=rng,
        n_batch=n_batch,
        patience=patience,
        clip=clip,
        metric=metric,
        best=best,
        noise=noise,
        detach=detach,
        fresh=fresh,
        enough=enough,
    )
    start = first_state(plan, params, optimiser_state)
    belongs_to = fingerprint(plan, start)
    if checkpoint is not None and Path(checkpoint).exists():
        start = read_checkpoint(checkpoint, belongs_to)
        start = on_the_side_of(start, params)
    state = start

    def save() -> None:
        if checkpoint is not None:
            write_checkpoint(checkpoint, state, belongs_to)

    n_steps = -(-len(plan.train) // n_batch)
    with bar(progress, title, n_epochs * n_steps) as show:
        try:
            for state in states(plan, start, n_epochs):
                done = len(state.history) * n_steps + state.step
                show(done, _latest(state.history))
                if state.step == 0 and report is not None:
                    report(state.history[-1])
                if state.step > 0 and done % checkpoint_every == 0:
                    save()
        except KeyboardInterrupt:
            save()
            raise
    save()
    rng.bit_generator.state = state.rng  # a finished fit, read again
    good_enough = reached(state.history, best, enough)
    return Fit(
        params=state.best,
        last=state.params,
        history=state.history,
        best_epoch=best_epoch(state.history, best),
        seconds=state.seconds,
        stopped_early=len(state.history) < n_epochs and not good_enough,
        optimiser=state.optimiser,
        reached=good_enough,
    )


def _latest(history: Sequence[Record]) -> str:
    """Say what the last validation found."""
    found = history[-1] if history else {}
    return ", ".join(f"{k} {found[k]:.4g}" for k in SHOWN if k in found)


def _check_detach(detach: float, model: Model) -> None:
    if not 0 <= detach <= 1:
        raise ValueError(f"detach is {detach}, expected 0..1")
    takes = inspect.signature(model.core.backward).parameters
    if detach > 0 and "detached" not in takes:
        raise ValueError(
            f"detach is {detach}, which {model.core!r} cannot do: expected an"
            " LMN or a MultiScaleLMN"
        )


def _check_options(
    n_epochs: int,
    n_batch: int,
    patience: int | None,
    checkpoint_every: int,
    best: str,
    metric: Metric | None,
) -> None:
    for name, number in (
        ("n_epochs", n_epochs),
        ("n_batch", n_batch),
        ("patience", 1 if patience is None else patience),
        ("checkpoint_every", checkpoint_every),
    ):
        if number < 1:
            raise ValueError(f"{name} is {number}, expected at least 1")
    if best not in CRITERIA:
        raise ValueError(f"best is {best!r}, expected one of {list(CRITERIA)}")
    if best != "lowest loss" and metric is None:
        raise ValueError(f"best is {best!r}, which needs a metric")
