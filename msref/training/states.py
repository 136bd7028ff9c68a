"""A fit as a sequence of states, each made from the one before.

Everything that the rest of a fit depends on is in its state. To write one
down and to go on from it later gives the same bits as never to have stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from msref.architectures.base import (
    NotFiniteError,
    axes_of,
    check_finite,
    draw_state,
)
from msref.arrays import Arrays, beside, moved, namespace
from msref.data.batching import mask, minibatches
from msref.training.divergence import placed
from msref.training.evaluation import by_length, check_pairs, measure
from msref.training.metrics import Metric, Tally
from msref.training.model import AnyPair, Batch, Model, Pair
from msref.training.optimisers import Optimiser, clip_by_global_norm

Record = dict[str, float]
"""What is known of one epoch: losses, score, seconds."""

CRITERIA = {
    "lowest loss": ("valid_loss", 1.0),
    "lowest score": ("valid_score", 1.0),
    "highest score": ("valid_score", -1.0),
}
"""What makes an epoch the best: an entry of its record, and a sign."""


@dataclass(frozen=True)
class Plan:
    """What does not change while a fit runs; see ``fit``.

    Attributes
        train: the training sequences; those of epoch 1 where ``fresh`` gives
            others in every epoch.
    """

    model: Model
    train: list[Pair]
    valid: list[Pair]
    optimiser: Optimiser
    rng: np.random.Generator
    n_batch: int
    patience: int | None
    clip: float | None
    metric: Metric | None
    best: str
    noise: float = 0.0
    detach: float = 0.0
    fresh: Callable[[int], Sequence[AnyPair]] | None = None
    enough: float | None = None

    @property
    def draws(self) -> bool:
        """Whether the updates draw anything."""
        return self.noise > 0 or self.detach > 0 or self.model.draws

    def pairs(self, epoch: int) -> list[Pair]:
        """Return the training sequences of an epoch, from 1.

        Raises
            TypeError, ValueError: fresh sequences that do not fit the model,
                or are more or fewer than those of epoch 1.
        """
        if self.fresh is None or epoch == 1:
            return self.train
        label = f"train({epoch})"
        pairs = check_pairs(label, self.fresh(epoch), self.model)
        if len(pairs) != len(self.train):
            raise ValueError(
                f"{label} gives {len(pairs)} sequences, expected"
                f" {len(self.train)} as train(1)"
            )
        return pairs


@dataclass(frozen=True)
class State:
    """A fit between two updates; all its arrays live where ``params`` do.

    Attributes
        params: the parameters now.
        best: the parameters after the best epoch.
        optimiser: the optimiser's own state.
        rng: state of the bit generator *before* this epoch was shuffled: the
            same shuffle is drawn again, and ``step`` batches are skipped;
            what each step draws depends on its number alone (see
            ``step_generator``).
        step: updates done in this epoch.
        loss: training loss of this epoch so far, summed over its terms.
        history: one record for each epoch done.
        seconds: time spent on updates and validation.
    """

    params: Arrays
    best: Arrays
    optimiser: Arrays
    rng: Mapping[str, Any]
    step: int = 0
    loss: Tally = field(default_factory=Tally)
    history: tuple[Record, ...] = ()
    seconds: float = 0.0


def on_the_side_of(state: State, params: Arrays) -> State:
    """Return a state with its arrays where ``params`` live."""
    others = tuple(params.values())
    return replace(
        state,
        params=beside(state.params, *others),
        best=beside(state.best, *others),
        optimiser=beside(state.optimiser, *others),
    )


def first_state(
    plan: Plan, params: Arrays, optimiser_state: Arrays | None = None
) -> State:
    """Return the state before the first update.

    Raises
        ValueError: an optimiser's state of other names, shapes or types
            than it has for ``params``, or with NaN or infinity.
    """
    fresh = plan.optimiser.init(plan.model.trainable(params))
    if optimiser_state is not None:
        optimiser_state = beside(optimiser_state, *params.values())
        _check_optimiser_state(optimiser_state, fresh)
    params = plan.model.projected(params)
    return State(
        params=params,
        best=dict(params),
        optimiser=dict(fresh if optimiser_state is None else optimiser_state),
        rng=plan.rng.bit_generator.state,
    )


def states(plan: Plan, state: State, n_epochs: int) -> Iterator[State]:
    """Yield the state after every update, and after every epoch."""
    dtype = state.params["readout/b_o"].dtype
    valid = [
        batch.beside(state.params)
        for batch in by_length(plan.valid, plan.n_batch, dtype)
    ]
    while len(state.history) < n_epochs and not _is_over(plan, state):
        train = plan.pairs(len(state.history) + 1)
        lengths = [len(x) for x, _ in train]
        plan.rng.bit_generator.state = state.rng
        batches = minibatches(lengths, plan.n_batch, plan.rng, bucket=True)
        key = int(plan.rng.integers(2**63)) if plan.draws else None
        for indices in batches[state.step :]:
            batch = Batch.of([train[i] for i in indices], dtype)
            batch = batch.beside(state.params)
            rng = step_generator(key, state.step)
            state = _after_update(plan, state, batch, rng)
            yield state
        state = _after_epoch(plan, state, valid)
        yield state


def step_generator(key: int | None, step: int) -> np.random.Generator | None:
    """Return what one update draws from, or nothing.

    A generator for each step, so that a fit which goes on in the middle of
    an epoch need not draw for the steps before. An update draws, in this
    order and only what it needs: the noise, the steps that are detached, the
    core's initial state.

    Arguments
        key: drawn once an epoch, after the shuffle; ``None`` where nothing is
            drawn, and then the fit's generator gives the shuffles alone.
    """
    return None if key is None else np.random.default_rng((key, step))


def best_epoch(history: Sequence[Record], best: str) -> int:
    """Return the number of the first of the best epochs; 0 before any."""
    name, sign = CRITERIA[best]
    values = [sign * record[name] for record in history]
    return values.index(min(values)) + 1 if values else 0


def reached(history: Sequence[Record], best: str, enough: float | None) -> bool:
    """Tell whether an epoch was at least as good as ``enough``."""
    if enough is None:
        return False
    name, sign = CRITERIA[best]
    return any(sign * record[name] <= sign * enough for record in history)


def _is_over(plan: Plan, state: State) -> bool:
    """Tell whether a fit ends before its epochs do."""
    since = len(state.history) - best_epoch(state.history, plan.best)
    stale = plan.patience is not None and since >= plan.patience
    return stale or reached(state.history, plan.best, plan.enough)


def _after_update(
    plan: Plan, state: State, batch: Batch, rng: np.random.Generator | None
) -> State:
    began = time.perf_counter()
    with placed(f"epoch {len(state.history) + 1}, step {state.step + 1}"):
        detached = start = None
        if rng is not None and plan.noise > 0:
            batch = _noisy(batch, plan.noise, rng)
        if rng is not None and plan.detach > 0:
            detached = rng.random(len(batch.x)) < plan.detach
        if rng is not None and plan.model.draws:
            n_batch, dtype = batch.x.shape[1], batch.x.dtype
            start = draw_state(plan.model.core, rng, n_batch, dtype)
            start = beside(start, batch.x)
        value, grads, buffers = plan.model.training_pass(
            state.params, batch, detached, start
        )
        _check_finite({"the loss": value})
        if plan.clip is not None:
            grads, _ = clip_by_global_norm(grads, plan.clip)
        params, optimiser = plan.optimiser.update(
            state.params, grads, state.optimiser
        )
        params = plan.model.projected(params) | buffers
    n_terms = plan.model.loss_function.n_terms(batch.mask, batch.x.shape)
    return replace(
        state,
        params=params,
        optimiser=optimiser,
        step=state.step + 1,
        loss=state.loss + Tally(value * n_terms, n_terms),
        seconds=state.seconds + time.perf_counter() - began,
    )


def _noisy(batch: Batch, noise: float, rng: np.random.Generator) -> Batch:
    """Add noise to all frames but padding; drawn in float64, then cast."""
    x = batch.x
    drawn = noise * rng.standard_normal(x.shape)
    if batch.lengths is not None:
        drawn *= mask(batch.lengths, len(x))[..., None]
    return replace(batch, x=x + moved(drawn.astype(x.dtype), namespace(x)))


def _after_epoch(plan: Plan, state: State, valid: list[Batch]) -> State:
    began = time.perf_counter()
    epoch = len(state.history) + 1
    with placed(f"epoch {epoch}, validation"):
        found = measure(plan.model, state.params, valid, plan.metric)
        record = {"epoch": epoch, "train_loss": state.loss.value}
        record |= {f"valid_{name}": value for name, value in found.items()}
        _check_finite(record)
    seconds = state.seconds + time.perf_counter() - began
    record["seconds"] = seconds - sum(r["seconds"] for r in state.history)
    history = (*state.history, record)
    is_best = best_epoch(history, plan.best) == epoch
    return replace(
        state,
        best=state.params if is_best else state.best,
        rng=plan.rng.bit_generator.state,
        step=0,
        loss=Tally(),
        history=history,
        seconds=seconds,
    )


def _check_optimiser_state(state: Arrays, fresh: Arrays) -> None:
    if set(state) != set(fresh):
        raise ValueError(
            f"optimiser_state holds the names {sorted(state)}, expected"
            f" {sorted(fresh)}"
        )
    for name, like in fresh.items():
        array = state[name]
        if (array.shape, array.dtype) != (like.shape, like.dtype):
            raise ValueError(
                f"optimiser_state['{name}'] has shape {array.shape} and type"
                f" {array.dtype}, expected {like.shape} and {like.dtype}"
            )
        check_finite(f"optimiser_state['{name}']", array, axes_of(array))


def _check_finite(numbers: Mapping[str, float]) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise NotFiniteError(
                f"{name} is {number}, expected a finite number"
            )
