"""How well a model does on data that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy.typing as npt

from msref.architectures.base import check_shape
from msref.arrays import Arrays, as_array, namespace
from msref.training.metrics import Metric, Tally
from msref.training.model import AnyPair, Batch, Model, Pair


def evaluate(
    model: Model,
    params: Arrays,
    data: Sequence[AnyPair],
    metric: Metric | None = None,
    n_batch: int = 32,
) -> dict[str, float]:
    """Return ``loss``, without penalty, and ``score`` where a metric is given.

    Both are over all the data, however they are batched; the loss is the
    mean over its terms: frames that count, or the sequences of ``ctc``.

    Arguments
        data: inputs (n_time, n_in) with their targets, as in ``Batch.of``.

    Raises
        TypeError, ValueError: data or parameters that do not fit the model.
    """
    dtype = params["readout/b_o"].dtype
    pairs = check_pairs("data", data, model)
    return measure(model, params, by_length(pairs, n_batch, dtype), metric)


def measure(
    model: Model,
    params: Arrays,
    batches: Iterable[Batch],
    metric: Metric | None,
) -> dict[str, float]:
    """Do the same for batches."""
    loss, score = Tally(), Tally()
    xp = namespace(*params.values())
    for batch in batches:
        batch = batch.beside(params)
        o = model.predict(params, batch.x, batch.lengths)
        model.loss_function.check(o, batch.target, batch.mask)
        value = model.loss_function.value(o, batch.target, batch.mask, xp)
        n_terms = model.loss_function.n_terms(batch.mask, o.shape)
        loss += Tally(float(value) * n_terms, n_terms)
        if metric is not None:
            score += metric(o, batch.target, batch.mask)
    if metric is None:
        return {"loss": loss.value}
    return {"loss": loss.value, "score": score.value}


def by_length(
    pairs: Sequence[Pair], n_batch: int, dtype: npt.DTypeLike
) -> list[Batch]:
    """Return batches of sequences of similar length, always the same."""
    if n_batch < 1:
        raise ValueError(f"n_batch is {n_batch}, expected at least 1")
    ordered = sorted(pairs, key=lambda pair: len(pair[0]))
    return [
        Batch.of(ordered[start : start + n_batch], dtype)
        for start in range(0, len(ordered), n_batch)
    ]


def check_pairs(
    label: str, data: Sequence[AnyPair], model: Model
) -> list[Pair]:
    """Return data as arrays.

    Raises
        TypeError, ValueError: there are no data, or a pair does not fit the
            model; the message says which pair.
    """
    if len(data) == 0:
        raise ValueError(f"{label} is empty, expected at least one sequence")
    pairs = []
    for i, (x, target) in enumerate(data):
        pair = as_array(x), as_array(target)
        try:
            batch = Batch.of([pair])
            shape = (*batch.x.shape[:2], model.n_out)
            o = namespace(batch.x).zeros(shape)
            names = ("n_time", "n_batch", f"n_in={model.n_in}")
            check_shape("x", batch.x, names, (None, None, model.n_in))
            model.loss_function.check(o, batch.target, batch.mask)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{label}[{i}]: {error}") from error
        pairs.append(pair)
    return pairs
