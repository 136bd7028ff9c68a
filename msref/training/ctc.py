"""Labels without their times: connectionist temporal classification.

A sequence of frames is to be read as a shorter sequence of labels, such as
the letters of a written line, and nobody says which frames belong to which
label. The loss sums over all the ways to tell (Graves, Fernández, Gomez &
Schmidhuber, 2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from msref.architectures.base import check_finite, check_shape
from msref.arrays import Array, namespace, on_host
from msref.functional import log_softmax
from msref.training.losses import check_prediction, softmax_cross_entropy


@dataclass(frozen=True)
class CTC:
    """Minus the log-likelihood per label, mean over sequences.

    A path names a class at every frame; class 0 is the blank. It reads as
    the labels that are left when repeats are merged and then blanks removed:
    0 3 3 0 3 5 reads 3 3 5. The likelihood of labels is that of all the paths
    that read so. Those run through the labels with a blank before, between
    and after them, l_s with s = 0 … 2U, and may leave out a blank, unless
    the labels on its two sides are equal.

    Equations (sequence b has T_b frames and U_b labels)
        y_t = log softmax(o_t)                                    (1)
        exp α_t(s) = exp y_t(l_s) [exp α_{t-1}(s) + exp α_{t-1}(s-1)
                     + k_s exp α_{t-1}(s-2)]                      (2)
            k_s = 1 if l_s is no blank and l_s ≠ l_{s-2}, else 0
            exp α_0(s) = exp y_0(l_s) for s = 0, 1, else 0
        log P = log [exp α_{T-1}(2U) + exp α_{T-1}(2U-1)]         (3)
        L = -sum_b log P_b / U_b / n_batch                        (4)

    Adjoints (γ_t(s) = dlog P / dα_t(s) is the share of the paths that are
    at s at frame t; β is the log-likelihood of what comes after)
        dlog P_b = -1 / (U_b n_batch)                             (4')
        exp β_{T-1}(s) = 1 for s = 2U, 2U-1, else 0               (3')
        exp β_t(s) = z_{t+1}(s) + z_{t+1}(s+1) + k_{s+2} z_{t+1}(s+2),
            z_t(s) = exp [y_t(l_s) + β_t(s)]                      (2')
            γ_t(s) = exp [α_t(s) + β_t(s) - log P]                (2')
        do_t = dlog P_b [sum_{s: l_s = class} γ_t(s) - softmax(o_t)]  (1')

    Arrays
        o (n_time, n_batch, n_out) predictions, float32 or float64
        target (n_time, n_batch) of int, labels from 1 to n_out - 1
        mask (n_time, n_batch) of bool, ``None`` for all true

    Conventions
        As ``Batch.of`` puts them, the labels of a sequence are the targets
        where mask is true, in order, and its *last frame* is the last one
        where mask is true. All frames up to that one count; those after it
        are padding. A sequence without labels counts as nothing.
        The division by U_b is that of the LMN authors' code, and PyTorch's
        reduction "mean". All is computed in float64: over hundreds of
        frames α is in the thousands, and rounded to float32 it would leave
        exp α an error of 1e-4.

    Cost
        O(n_time n_batch (U + n_out)) numbers in memory, 2 n_time steps of
        O(n_batch U) in Python, and a product of O(n_time n_batch U n_out).
    """

    name = "ctc"
    classes = True

    def __repr__(self) -> str:
        return "LOSSES['ctc']"

    def value(
        self,
        prediction: Array,
        target: Array,
        mask: Array | None = None,
        xp: ModuleType = np,
    ) -> Array:
        """Return L, a scalar, real or complex or a box; nothing is checked."""
        lattice = Lattice.of(target, mask)
        e, _ = _emissions(prediction, lattice, xp)
        log_P = _log_P(_alphas(e, lattice, xp)[-1], lattice, xp)
        mean: Array = -xp.sum(lattice.weights * log_P)  # (4)
        return mean

    def __call__(
        self, prediction: Array, target: Array, mask: Array | None = None
    ) -> tuple[float, Array]:
        """Return L and its gradient do (n_time, n_batch, n_out).

        Raises
            TypeError: predictions that are not float32 or float64, targets
                that are not integers.
            ValueError: shapes that do not fit, a mask that keeps no frame,
                labels outside 1 to n_out - 1, NaN or infinity in a frame
                that counts, and sequences with fewer frames than their
                labels need: one for each label, and one for the blank
                between two equal ones.
        """
        self.check(prediction, target, mask)
        xp = namespace(prediction)
        lattice = Lattice.of(target, mask)
        e, y = _emissions(prediction, lattice, xp)
        alphas = xp.stack(_alphas(e, lattice, xp))
        log_P = _log_P(alphas[-1], lattice, xp)
        value = -float(xp.sum(lattice.weights * log_P))  # (4)

        betas = xp.stack(_betas(e, lattice, xp))
        gamma = xp.exp(alphas + betas - log_P[:, None])  # (2')
        is_class = lattice.symbols[..., None] == xp.arange(y.shape[-1])
        by_class = gamma.swapaxes(0, 1) @ is_class.astype(y.dtype)
        d_prediction = by_class.swapaxes(0, 1) - xp.exp(y)  # (1')
        d_prediction *= -lattice.weights[:, None]  # (4') (1')
        d_prediction *= lattice.frames[..., None]
        return value, d_prediction.astype(prediction.dtype)

    def n_terms(self, mask: Array | None, shape: tuple[int, ...]) -> int:
        """Return the number of sequences with labels, the terms of (4)."""
        return shape[1] if mask is None else int(mask.any(0).sum())

    def check(
        self, prediction: Array, target: Array, mask: Array | None
    ) -> None:
        """Refuse what a call would refuse."""
        softmax_cross_entropy.check(prediction, target, mask)
        lattice = Lattice.of(target, mask)
        check_prediction(prediction, lattice.frames)
        xp = namespace(target)
        blanks = target == 0 if mask is None else (target == 0) & mask
        if blanks.any():
            t, b = (int(i[0]) for i in xp.nonzero(blanks))
            raise ValueError(
                f"target holds 0, the blank, at (t={t}, batch={b}), expected"
                f" labels from 1 to {prediction.shape[-1] - 1}"
            )
        had = lattice.frames.sum(0)
        needed = lattice.n_labels + lattice.n_repeats
        if (had < needed).any():
            b = int((had < needed).argmax())
            raise ValueError(
                f"sequence {b} has {had[b]} frames, expected at least"
                f" {needed[b]}: it has {lattice.n_labels[b]} labels,"
                f" {lattice.n_repeats[b]} of them equal to the one before"
            )


@dataclass(frozen=True)
class Lattice:
    """Where the paths that read as the targets may be.

    Attributes
        symbols: l, (n_batch, 2 U + 1) of int, U that of the longest target;
            filled up with blanks.
        skip: k, of bool, like ``symbols``.
        ends: where a path may end, of bool, like ``symbols``.
        frames: which frames count, (n_time, n_batch) of bool.
        n_labels: U_b, (n_batch,) of int.
        n_repeats: labels equal to the one before, (n_batch,) of int.
        weights: 1 / (U_b n_batch), (n_batch,); 0 without labels.
    """

    symbols: Array
    skip: Array
    ends: Array
    frames: Array
    n_labels: Array
    n_repeats: Array
    weights: Array

    @classmethod
    def of(cls, target: Array, mask: Array | None) -> Lattice:
        """Read targets as ``CTC`` says."""
        xp = namespace(target)
        mask = xp.ones(target.shape, bool) if mask is None else mask
        n_labels = mask.sum(0)
        last = int(n_labels.max())
        symbols = xp.zeros((target.shape[1], 2 * last + 1), target.dtype)
        t, b = xp.nonzero(mask)
        nth = mask.cumsum(0)[t, b]  # 1 for the first label of a sequence
        symbols[b, 2 * nth - 1] = target[t, b]

        before = xp.zeros_like(symbols)
        before[:, 2:] = symbols[:, :-2]
        s = xp.arange(2 * last + 1)
        end = 2 * n_labels[:, None]
        shares = xp.maximum(n_labels, 1) * mask.any(0).sum()
        return cls(
            symbols=symbols,
            skip=(symbols != 0) & (symbols != before),
            ends=(s == end) | (s == end - 1),
            frames=mask[::-1].cumsum(0)[::-1] > 0,
            n_labels=n_labels,
            n_repeats=((symbols != 0) & (symbols == before)).sum(1),
            weights=(n_labels > 0) / shares,
        )


def _emissions(
    prediction: Array, lattice: Lattice, xp: ModuleType
) -> tuple[Array, Array]:
    """Return y_t(l_s) (n_time, n_batch, 2 U + 1), and y; zeros on padding."""
    zero = xp.zeros(1)  # of float64, and so is all that follows
    o = xp.where(lattice.frames[..., None], prediction, zero)
    y = log_softmax(o, xp)  # (1)
    rows = xp.arange(len(lattice.symbols))[:, None]
    return y[:, rows, lattice.symbols], y


def _alphas(e: Array, lattice: Lattice, xp: ModuleType) -> list[Array]:
    """Return α_t at all t; after the end of a sequence it stays."""
    starts = xp.arange(e.shape[-1]) < 2
    alphas = [xp.where(starts, e[0], -np.inf)]  # (2)
    for t in range(1, len(e)):
        stay = alphas[-1]
        skip = xp.where(lattice.skip, _later(stay, 2, xp), -np.inf)
        terms = xp.stack([stay, _later(stay, 1, xp), skip])
        alpha = e[t] + _log_sum(terms, xp)  # (2)
        alphas.append(xp.where(lattice.frames[t][:, None], alpha, stay))
    return alphas


def _log_P(alpha: Array, lattice: Lattice, xp: ModuleType) -> Array:
    """Return log P (n_batch,) of the last α."""
    return _log_sum(xp.where(lattice.ends, alpha, -np.inf).T, xp)  # (3)


def _betas(e: Array, lattice: Lattice, xp: ModuleType) -> list[Array]:
    """Return β_t at all t; after the end of a sequence it is the last one."""
    betas = [xp.where(lattice.ends, 0.0, -np.inf)]  # (3')
    for t in reversed(range(1, len(e))):
        z = e[t] + betas[-1]
        skip = _sooner(xp.where(lattice.skip, z, -np.inf), 2, xp)
        terms = xp.stack([z, _sooner(z, 1, xp), skip])
        beta = _log_sum(terms, xp)  # (2')
        betas.append(xp.where(lattice.frames[t][:, None], beta, betas[-1]))
    return betas[::-1]


def _later(a: Array, n: int, xp: ModuleType) -> Array:
    """Return a(s - n): what was at s is at s + n."""
    nothing = xp.full((len(a), n), -np.inf)
    return xp.concatenate([nothing, a[:, :-n]], axis=1)  # type: ignore[no-any-return]


def _sooner(a: Array, n: int, xp: ModuleType) -> Array:
    """Return a(s + n): what was at s is at s - n."""
    nothing = xp.full((len(a), n), -np.inf)
    return xp.concatenate([a[:, n:], nothing], axis=1)  # type: ignore[no-any-return]


def _log_sum(terms: Array, xp: ModuleType) -> Array:
    """Return log(sum(exp(terms))) over the first axis.

    Minus infinity is the logarithm of nothing; the real part of the largest
    term is taken out, where there is one.
    """
    top = xp.max(xp.real(terms), axis=0)
    top = xp.where(top == -np.inf, 0.0, top)
    total = xp.sum(xp.exp(terms - top), axis=0)
    nothing = total == 0
    log_total = top + xp.log(xp.where(nothing, 1.0, total))
    return xp.where(nothing, -np.inf, log_total)  # type: ignore[no-any-return]


temporal_classification = CTC()
"""The loss of labels without their times; predictions are logits."""


# --- reading predictions ----------------------------------------------------


def best_path(
    logits: Array, length: int | None = None, merge: bool = True
) -> Array:
    """Return the labels of the likeliest path; not the likeliest labels.

    Arguments
        logits: (n_time, n_out) of one sequence; of equal ones the first
            counts.
        length: frames that count; ``None`` for n_time.
        merge: merge repeats before blanks are removed; without, as the LMN
            authors' released code, a label that lasts is read many times.

    Returns
        (n_labels,) of int, 1 to n_out - 1.

    Raises
        ValueError: logits of another shape, a length that is not in 1 to
            n_time, NaN or infinity in a frame that counts.
    """
    check_shape("logits", logits, ("n_time", "n_out"), (None, None))
    if length is not None and not 1 <= length <= len(logits):
        raise ValueError(
            f"length is {length}, expected 1 to n_time={len(logits)}"
        )
    check_finite("logits", logits[:length], ("t", "unit"))
    path: Array = logits[:length].argmax(-1)
    if merge:
        begins = namespace(path).ones(path.shape, bool)
        begins[1:] = path[1:] != path[:-1]
        path = path[begins]
    labels: Array = path[path != 0]
    return labels


def levenshtein(a: npt.ArrayLike, b: npt.ArrayLike) -> int:
    """Return the fewest insertions, deletions and changes from a to b.

    Equations (Wagner & Fischer, 1974; D_ij is between i and j labels)
        D_ij = min(D_{i-1,j} + 1, D_{i,j-1} + 1, D_{i-1,j-1} + [a_i ≠ b_j])

    Along a row, the second term is a running minimum of D_ij - j.

    Arguments
        a, b: sequences of labels, of any lengths.
    """
    a, b = on_host(a), on_host(b)
    j = np.arange(len(b) + 1)
    row = j
    for label in a:
        other = row + 1
        other[1:] = np.minimum(other[1:], row[:-1] + (label != b))
        row = np.minimum.accumulate(other - j) + j
    return int(row[-1])
