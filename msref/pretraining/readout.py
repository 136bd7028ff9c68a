"""Read-outs by least squares on the states of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from msref.architectures.base import run_forward
from msref.arrays import Array, Arrays, under
from msref.data.batching import pad
from msref.pretraining.laes_sequences import AnySequences, as_sequences
from msref.training.evaluation import check_pairs
from msref.training.model import Model

TOGETHER = 64
"""Sequences of similar length that run side by side."""


def read_out(
    model: Model,
    params: Arrays,
    sequences: AnySequences,
    targets: Sequence[Array | int] | None,
    ridge: float,
) -> Arrays:
    """Return the read-out of (10), or nothing where there are no targets."""
    if not ridge >= 0.0:
        raise ValueError(f"ridge is {ridge}, expected at least 0")
    if targets is None:
        return {}
    if model.loss == "ctc":
        raise ValueError(
            "the loss is 'ctc', expected one with a target for each frame: no"
            " least squares fit labels that no frame belongs to"
        )
    frames, _ = as_sequences(sequences)
    if len(targets) != len(frames):
        raise ValueError(
            f"there are {len(targets)} targets, expected one for each of"
            f" {len(frames)} sequences"
        )
    pairs = check_pairs("data", list(zip(frames, targets, strict=True)), model)
    wanted = [np.atleast_1d(target) for _, target in pairs]
    if model.loss_function.classes:
        wanted = [np.eye(model.n_out)[target] for target in wanted]
    names = ("readout/W_yo", "readout/b_o")
    zero = {name: np.zeros_like(params[name]) for name in names}
    return zero | refitted(model, params | zero, frames, wanted, ridge)


def refitted(
    model: Model,
    params: Arrays,
    frames: list[Array],
    targets: list[Array],
    ridge: float,
) -> Arrays:
    """Return W_yo + D, the read-out that fits the targets better.

    Equation
        D = argmin Σ |y_t (W_yo + D) + b_o - target_t|^2 + ridge |D|^2, the
        shortest one if there are many; the sum runs over the last frames of
        each sequence, as many as its target has.
    """
    W_yo, b_o = params["readout/W_yo"], params["readout/b_o"]
    found = {
        i: y[-len(targets[i]) :].copy()
        for i, y in outputs(model.core, under("core", params), frames)
    }
    y = np.concatenate([found[i] for i in range(len(frames))])
    missing = np.concatenate(targets).astype(y.dtype) - (y @ W_yo + b_o)
    u, s, v_t = np.linalg.svd(y, full_matrices=False)
    known = s > max(y.shape) * np.finfo(y.dtype).eps * s[0]
    gain = np.divide(s, s**2 + ridge, out=np.zeros_like(s), where=known)
    return {"readout/W_yo": W_yo + v_t.T @ (gain[:, None] * (u.T @ missing))}


def outputs(
    core: Any, params: Arrays, frames: Sequence[Array]
) -> Iterator[tuple[int, Array]]:
    """Yield the number of each sequence with a core's outputs on it.

    Sequences of similar length run side by side; padding comes after their
    last frames and never reaches what is yielded.
    """
    dtype = next(iter(params.values())).dtype
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    for first in range(0, len(order), TOGETHER):
        batch = order[first : first + TOGETHER]
        x, lengths = pad([frames[i] for i in batch], dtype)
        y, _, _ = run_forward(core, params, x, lengths=lengths)
        for b, i in enumerate(batch):
            yield i, y[: lengths[b], b]
