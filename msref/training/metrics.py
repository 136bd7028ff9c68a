"""How good predictions are, in the units that papers report.

A metric returns a ``Tally``: hits out of a total. Tallies of batches add up
and are divided once, at the end, so that the result does not depend on how
the data were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from msref.architectures.base import check_shape
from msref.arrays import Array, namespace, on_host
from msref.training.ctc import (
    Lattice,
    best_path,
    levenshtein,
    temporal_classification,
)
from msref.training.losses import check_prediction, softmax_cross_entropy


@dataclass(frozen=True)
class Tally:
    """Hits out of a total; ``+`` joins those of two batches."""

    hits: float = 0.0
    total: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.hits + other.hits, self.total + other.total)

    @property
    def value(self) -> float:
        """Hits / total.

        Raises
            ValueError: the total is zero: there was nothing to hit.
        """
        if self.total == 0:
            raise ValueError(
                "the tally is 0 / 0: nothing was there to be predicted, and"
                " nothing was predicted"
            )
        return float(self.hits / self.total)


Metric: TypeAlias = Callable[[Array, Array, Array | None], Tally]
"""(prediction, target, mask) -> Tally."""


@dataclass(frozen=True)
class FrameAccuracy:
    """Frame-level accuracy of piano rolls (Bay, Ehmann & Downie, 2009).

    Per frame, TP notes are rightly predicted, FP wrongly predicted, FN
    missed. Published numbers stand for three different things:

    form "pooled", the standard, over all frames of all sequences
        sum TP / sum (TP + FP + FN)
    form "per-frame", the 2018 code of the LMN authors
        mean over those frames of a sequence where TP + FP + FN > 0 of
        TP / (TP + FP + FN); then the mean over sequences, weighted by length
    form "raw-output", their 2020 code
        sum TP / sum max(TP + FP + FN, 1)

    A note is predicted where its probability exceeds 0.5, so the logit 0; but
    "raw-output" compares the *logit* with 0.5, so the probability with 0.62.
    A silent sequence, rightly predicted, has no mean over its frames: in
    "per-frame" it is left out (our choice).

    Arrays
        logits and target (n_time, n_batch, n_notes), target 0 or 1
        mask (n_time, n_batch) of bool, ``None`` for all true

    Raises (on call)
        TypeError, ValueError: as a loss, and targets other than 0 and 1.
    """

    form: str = "pooled"

    def __post_init__(self) -> None:
        if self.form not in ("pooled", "per-frame", "raw-output"):
            raise ValueError(
                f"form is {self.form!r}, expected 'pooled', 'per-frame' or"
                " 'raw-output'"
            )

    def __call__(
        self, logits: Array, target: Array, mask: Array | None = None
    ) -> Tally:
        """Count over a batch."""
        hits, notes, keep = self._frames(logits, target, mask)
        if self.form == "pooled":
            return Tally(int(hits.sum()), int(notes.sum()))
        if self.form == "raw-output":
            return Tally(int(hits.sum()), int(notes.clip(1)[keep].sum()))

        filled = (notes > 0).sum(0)  # (n_batch,) frames with a mean
        shares = (hits / notes.clip(1)).sum(0) / filled.clip(1)
        lengths = keep.sum(0) * (filled > 0)
        return Tally(float((shares * lengths).sum()), int(lengths.sum()))

    def _frames(
        self, logits: Array, target: Array, mask: Array | None
    ) -> tuple[Array, Array, Array]:
        """Return TP, TP + FP + FN and the mask, each (n_time, n_batch)."""
        check_prediction(logits, mask)
        names = ("n_time", "n_batch", "n_notes")
        check_shape("target", target, names, logits.shape)
        keep = namespace(logits).ones(logits.shape[:2], bool)
        if mask is not None:
            keep = mask
        if not ((target == 0) | (target == 1))[keep].all():
            raise ValueError("target holds more than 0 and 1, expected notes")
        threshold = 0.5 if self.form == "raw-output" else 0.0
        predicted = (logits > threshold) & keep[..., None]
        played = (target == 1) & keep[..., None]
        hits = (predicted & played).sum(-1)
        return hits, (predicted | played).sum(-1), keep


@dataclass(frozen=True)
class ClassAccuracy:
    """The share of frames whose largest logit is that of the target.

    Of equal logits the first counts. With a mask that keeps the last frame
    alone, this is the accuracy of classifying sequences.

    Arrays
        logits (n_time, n_batch, n_classes), target (n_time, n_batch) of int
        mask (n_time, n_batch) of bool, ``None`` for all true

    Raises (on call)
        TypeError, ValueError: as ``softmax_cross_entropy``.
    """

    def __call__(
        self, logits: Array, target: Array, mask: Array | None = None
    ) -> Tally:
        """Count over a batch."""
        softmax_cross_entropy.check(logits, target, mask)
        right = logits.argmax(-1) == target
        if mask is not None:
            right = right[mask]
        return Tally(int(right.sum()), right.size)


@dataclass(frozen=True)
class LabelAccuracy:
    """How much of each sequence of labels is read right.

    Equations (mean over sequences)
        1 - levenshtein(target, read) / len(target)

    That is below zero where far too much is read. Published numbers stand
    for two things:

    form "best-path", the standard
        the labels of the likeliest path, see ``best_path``
    form "released", the LMN authors' code
        the same without merging repeats: a label that lasts for two frames
        is read twice, and the accuracy comes out too low

    Arrays
        logits (n_time, n_batch, n_out), target (n_time, n_batch) of int
        mask (n_time, n_batch) of bool, ``None`` for all true; as in ``CTC``

    Raises (on call)
        TypeError, ValueError: as ``CTC``.
    """

    form: str = "best-path"

    def __post_init__(self) -> None:
        if self.form not in ("best-path", "released"):
            raise ValueError(
                f"form is {self.form!r}, expected 'best-path' or 'released'"
            )

    def __call__(
        self, logits: Array, target: Array, mask: Array | None = None
    ) -> Tally:
        """Sum up over a batch."""
        temporal_classification.check(logits, target, mask)
        # Labels are compared one by one: on the host.
        logits, target = on_host(logits), on_host(target)
        lattice = Lattice.of(target, None if mask is None else on_host(mask))
        tally = Tally()
        for b in np.flatnonzero(lattice.n_labels):
            length = int(lattice.frames[:, b].sum())
            read = best_path(logits[:, b], length, self.form == "best-path")
            n_labels = int(lattice.n_labels[b])
            labels = lattice.symbols[b, 1 : 2 * n_labels : 2]
            tally += Tally(1 - levenshtein(labels, read) / n_labels, 1)
        return tally


def frame_accuracy(
    logits: Array,
    target: Array,
    mask: Array | None = None,
    form: str = "pooled",
) -> float:
    """Return the frame-level accuracy of one batch; see ``FrameAccuracy``."""
    return FrameAccuracy(form)(logits, target, mask).value


def class_accuracy(
    logits: Array, target: Array, mask: Array | None = None
) -> float:
    """Return the accuracy of one batch; see ``ClassAccuracy``."""
    return ClassAccuracy()(logits, target, mask).value
