"""What a training makes small, each loss with its gradient by hand.

A ``Loss`` is the mean over all frames that count; a frame of padding counts
as nothing, whatever it holds. ``value`` is the specification and works on
complex numbers and autograd boxes; calling the loss adds the gradient. The
loss of whole sequences, ``ctc``, has a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np

from msref.architectures.base import check_finite, check_float, check_shape
from msref.arrays import Array, namespace
from msref.functional import log_softmax, sigmoid, softmax, softplus

FrameLoss = Callable[[Array, Array, ModuleType], Array]


class LossFunction(Protocol):
    """What a model asks of its loss, a mean over terms; see ``Loss``."""

    @property
    def name(self) -> str:
        """The key in ``LOSSES``."""

    @property
    def classes(self) -> bool:
        """A target is the number of a class."""

    def value(
        self,
        prediction: Array,
        target: Array,
        mask: Array | None = None,
        xp: ModuleType = np,
    ) -> Array:
        """Return L, a scalar, real or complex or a box; nothing is checked."""

    def __call__(
        self, prediction: Array, target: Array, mask: Array | None = None
    ) -> tuple[float, Array]:
        """Return L and its gradient, shaped like the prediction."""

    def n_terms(self, mask: Array | None, shape: tuple[int, ...]) -> int:
        """Return how many terms L is the mean of, the weight of a batch.

        Arguments
            shape: begins with (n_time, n_batch).
        """

    def check(
        self, prediction: Array, target: Array, mask: Array | None
    ) -> None:
        """Refuse what a call would refuse."""


@dataclass(frozen=True)
class Loss:
    """The mean of a loss per frame, l, over the frames that count.

    Equations (n_valid is the number of frames where mask is true)
        L = sum_{t,b} mask_tb l(o_tb, target_tb) / n_valid          (1)

    Adjoints
        do_tb = mask_tb l'(o_tb, target_tb) / n_valid               (1')

    Arrays
        o (n_time, n_batch, n_out) predictions, float32 or float64
        target like o, or for ``classes`` (n_time, n_batch) of int
        mask (n_time, n_batch) of bool, ``None`` for all true

    Attributes
        frame: l(o, target, xp) -> (n_time, n_batch).
        d_frame: l'(o, target, xp) -> (n_time, n_batch, n_out).
        classes: a target is the number of a class, 0 to n_out - 1.
        lowest, highest: the range of all other targets.
    """

    name: str
    frame: FrameLoss
    d_frame: FrameLoss
    classes: bool = False
    lowest: float = -np.inf
    highest: float = np.inf

    def __repr__(self) -> str:
        return f"LOSSES[{self.name!r}]"

    def value(
        self,
        prediction: Array,
        target: Array,
        mask: Array | None = None,
        xp: ModuleType = np,
    ) -> Array:
        """Return L, a scalar, real or complex or a box; nothing is checked."""
        prediction, target, keep = self._blanked(prediction, target, mask, xp)
        frames = self.frame(prediction, target, xp)
        mean: Array = xp.sum(xp.where(keep, frames, 0.0)) / keep.sum()  # (1)
        return mean

    def __call__(
        self, prediction: Array, target: Array, mask: Array | None = None
    ) -> tuple[float, Array]:
        """Return L and its gradient do (n_time, n_batch, n_out).

        Raises
            TypeError: predictions that are not float32 or float64, targets
                of another dtype, classes that are not integers.
            ValueError: shapes that do not fit, a mask that keeps no frame,
                and, in a frame that counts, NaN, infinity, or a target out
                of range.
        """
        self.check(prediction, target, mask)
        xp = namespace(prediction)
        value = float(self.value(prediction, target, mask, xp))
        prediction, target, keep = self._blanked(prediction, target, mask, xp)
        d_prediction = self.d_frame(prediction, target, xp)  # (1')
        d_prediction *= keep[..., None]  # (1')
        d_prediction /= int(keep.sum())  # (1')
        return value, d_prediction

    def n_terms(self, mask: Array | None, shape: tuple[int, ...]) -> int:
        """Return the number of frames that count."""
        return shape[0] * shape[1] if mask is None else int(mask.sum())

    def _blanked(
        self,
        prediction: Array,
        target: Array,
        mask: Array | None,
        xp: ModuleType,
    ) -> tuple[Array, Array, Array]:
        """Put zeros on padding: 0 times NaN would be NaN."""
        if mask is None:
            return prediction, target, xp.ones(prediction.shape[:2], bool)
        keep = mask if self.classes else mask[..., None]
        zero = target.dtype.type(0)
        return (
            xp.where(mask[..., None], prediction, 0.0),
            xp.where(keep, target, zero),
            mask,
        )

    def check(
        self, prediction: Array, target: Array, mask: Array | None
    ) -> None:
        """Refuse what a call would refuse."""
        check_prediction(prediction, mask)
        n_out = prediction.shape[-1]
        if self.classes:
            names: tuple[str, ...] = ("n_time", "n_batch")
            check_shape("target", target, names, prediction.shape[:2])
            if target.dtype.kind not in "iu":
                raise TypeError(
                    f"target has dtype {target.dtype}, expected integers, the"
                    " numbers of classes"
                )
            lowest, highest = 0.0, float(n_out - 1)
        else:
            names = ("n_time", "n_batch", f"n_out={n_out}")
            check_shape("target", target, names, prediction.shape)
            check_float("target", target, prediction)
            lowest, highest = self.lowest, self.highest
        xp = namespace(prediction)
        _, target, _ = self._blanked(prediction, target, mask, xp)
        check_finite("target", target, ("t", "batch", "unit")[: target.ndim])
        if target.min() < lowest or target.max() > highest:
            raise ValueError(
                f"target lies in {target.min()}..{target.max()}, expected"
                f" {lowest:g}..{highest:g}"
            )


def check_prediction(prediction: Array, mask: Array | None) -> None:
    """Refuse predictions and masks that no loss or metric can use.

    Raises
        TypeError: predictions that are not float32 or float64.
        ValueError: shapes that do not fit, a mask that is not bool or keeps
            no frame, NaN or infinity in a frame that counts.
    """
    names = ("n_time", "n_batch", "n_out")
    check_shape("prediction", prediction, names, (None, None, None))
    check_float("prediction", prediction)
    if prediction.size == 0:
        raise ValueError(f"prediction has shape {prediction.shape}: no numbers")
    if mask is not None:
        check_shape("mask", mask, names[:2], prediction.shape[:2])
        if mask.dtype != bool:
            raise ValueError(f"mask has dtype {mask.dtype}, expected bool")
        if not mask.any():
            raise ValueError("mask keeps no frame, expected at least one")
        prediction = namespace(prediction).where(mask[..., None], prediction, 0)
    check_finite("prediction", prediction, ("t", "batch", "unit"))


# --- the losses of a frame: o, target -> (n_time, n_batch) ------------------


def _squared(o: Array, target: Array, xp: ModuleType) -> Array:
    """l = sum_k (o_k - target_k)^2 / n_out; no factor 1/2."""
    return xp.mean((o - target) ** 2, axis=-1)  # type: ignore[no-any-return]


def _d_squared(o: Array, target: Array, xp: ModuleType) -> Array:
    """dl/do_k = 2 (o_k - target_k) / n_out."""
    slope: Array = 2.0 * (o - target)
    return slope / o.shape[-1]  # type: ignore[no-any-return]


def _bernoulli(o: Array, target: Array, xp: ModuleType) -> Array:
    """l = -sum_k [y log s(o) + (1-y) log(1 - s(o))]_k / n_out.

    -log s(o) is softplus(-o) and -log(1 - s(o)) is softplus(o), so no
    logarithm of a number near one or zero is taken.
    """
    loss = target * softplus(-o, xp) + (1.0 - target) * softplus(o, xp)
    return xp.mean(loss, axis=-1)  # type: ignore[no-any-return]


def _d_bernoulli(o: Array, target: Array, xp: ModuleType) -> Array:
    """dl/do_k = [(1-y) s(o) - y s(-o)]_k / n_out.

    That is s(o) - y without the cancellation: a nearly certain, correct unit
    keeps its tiny gradient.
    """
    wrong: Array = (1.0 - target) * sigmoid(o, xp) - target * sigmoid(-o, xp)
    return wrong / o.shape[-1]  # type: ignore[no-any-return]


def _softmax(o: Array, target: Array, xp: ModuleType) -> Array:
    """l = -log softmax(o)_target."""
    chosen = xp.where(_one_hot(o, target, xp), log_softmax(o, xp), 0.0)
    log_likelihood: Array = xp.sum(chosen, axis=-1)
    return -log_likelihood


def _d_softmax(o: Array, target: Array, xp: ModuleType) -> Array:
    """dl/do_k = softmax(o)_k - [k = target]."""
    return softmax(o, xp) - _one_hot(o, target, xp)


def _one_hot(o: Array, target: Array, xp: ModuleType) -> Array:
    hot: Array = target[..., None] == xp.arange(o.shape[-1])
    return hot


mean_squared_error = Loss("squared", _squared, _d_squared)
"""The squared error, mean over units and frames; the output is linear."""

bernoulli_cross_entropy = Loss(
    "bernoulli", _bernoulli, _d_bernoulli, lowest=0.0, highest=1.0
)
"""Cross-entropy of independent yes-or-no units, mean over units and frames.

Predictions are logits, targets probabilities: the loss of piano rolls.
"""

softmax_cross_entropy = Loss("softmax", _softmax, _d_softmax, classes=True)
"""Cross-entropy of one class among n_out, mean over frames; logits."""
