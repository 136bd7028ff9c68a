"""Sequences of different lengths in one array, and in batches.

A set of data is a list of sequences, each (n_time, n_in). A network takes
``x`` (n_time, n_batch, n_in): shorter sequences are padded with zeros at the
end, and a mask says which frames are real.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from msref.arrays import Array, as_array, namespace, on_host


def pad(
    sequences: Sequence[npt.ArrayLike], dtype: npt.DTypeLike = np.float64
) -> tuple[Array, Array]:
    """Put sequences side by side, with zeros after the end of shorter ones.

    Arguments
        sequences: n_batch arrays (n_time_b, n_in).

    Returns
        ``x`` (n_time, n_batch, n_in), n_time that of the longest sequence,
        where the sequences live, and ``lengths`` (n_batch,) of int, on the
        host.

    Raises
        ValueError: there is no sequence, or one of them is empty, is not
            (n_time, n_in), differs in n_in, or holds NaN or infinity.
    """
    checked = _checked(sequences)
    lengths = np.array([len(sequence) for sequence in checked])
    shape = (lengths.max(), len(checked), checked[0].shape[1])
    x = namespace(*checked).zeros(shape, dtype)
    for b, sequence in enumerate(checked):
        x[: len(sequence), b] = sequence
    return x, lengths


def mask(lengths: npt.ArrayLike, n_time: int) -> Array:
    """Return (n_time, n_batch) of bool: which frames are not padding.

    Arguments
        lengths: (n_batch,) of int, each between 1 and ``n_time``.

    Raises
        ValueError: ``lengths`` is something else.
    """
    lengths = _checked_lengths(lengths)
    if lengths.max() > n_time:
        b = int(lengths.argmax())
        raise ValueError(
            f"lengths[{b}] is {lengths[b]}, expected at most n_time={n_time}"
        )
    return np.arange(n_time)[:, None] < lengths


def next_frame(
    sequences: Sequence[npt.ArrayLike],
) -> tuple[list[Array], list[Array]]:
    """Return the task of predicting each frame from those before it.

    Returns
        inputs, frames 1 to T-1 of each sequence, and targets, frames 2 to T;
        both are views of the sequences, each (n_time_b - 1, n_in).

    Raises
        ValueError: as ``pad``, or a sequence has a single frame.
    """
    checked = _checked(sequences)
    for i, sequence in enumerate(checked):
        if len(sequence) < 2:
            raise ValueError(
                f"sequences[{i}] has 1 frame, expected at least 2: one to"
                " read and one to predict"
            )
    return [s[:-1] for s in checked], [s[1:] for s in checked]


def minibatches(
    lengths: int | npt.ArrayLike,
    n_batch: int,
    rng: np.random.Generator,
    bucket: bool = False,
) -> list[Array]:
    """Return the indices of every sequence once, shuffled, in batches.

    Arguments
        lengths: (n_sequences,) of int, or n_sequences alone.
        n_batch: sequences in a batch; the remainder makes a smaller one.
        bucket: put sequences of similar length into the same batch, so that
            little is padded; equal lengths and the batches stay shuffled.

    Returns
        ceil(n_sequences / n_batch) arrays of indices (n_batch,).

    Raises
        ValueError: there is no sequence, ``n_batch`` is below 1, or
            ``bucket`` is asked for without the lengths.
    """
    if n_batch < 1:
        raise ValueError(f"n_batch is {n_batch}, expected at least 1")
    if np.ndim(lengths) == 0:
        n_sequences = int(np.asarray(lengths))
        if n_sequences < 1:
            raise ValueError(f"lengths is {lengths!r}, expected at least 1")
        if bucket:
            raise ValueError(
                "bucket=True needs the length of every sequence, got their"
                f" number {lengths!r}"
            )
        order = rng.permutation(n_sequences)
    else:
        checked = _checked_lengths(lengths)
        order = rng.permutation(len(checked))
        if bucket:
            order = order[np.argsort(checked[order], kind="stable")]
    batches = [
        order[start : start + n_batch]
        for start in range(0, len(order), n_batch)
    ]
    if bucket:
        return [batches[i] for i in rng.permutation(len(batches))]
    return batches


def _checked(sequences: Sequence[npt.ArrayLike]) -> list[Array]:
    """Return the sequences as arrays (n_time_b, n_in) with one n_in."""
    arrays = [as_array(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError("sequences is empty, expected at least one")
    for i, array in enumerate(arrays):
        if array.ndim != 2 or array.dtype.kind not in "buifc":
            raise ValueError(
                f"sequences[{i}] has shape {array.shape} and type"
                f" {array.dtype}, expected numbers (n_time, n_in)"
            )
        if len(array) == 0:
            raise ValueError(f"sequences[{i}] has no frames")
        n_in = arrays[0].shape[1]
        if array.shape[1] != n_in:
            raise ValueError(
                f"sequences[{i}] has shape {array.shape}, expected"
                f" (n_time, n_in={n_in}) as sequences[0]"
            )
        if not namespace(array).isfinite(array).all():
            t, k = np.argwhere(~np.isfinite(on_host(array)))[0]
            raise ValueError(
                f"sequences[{i}] is {array[t, k]} at time {t}, input {k},"
                " expected finite numbers"
            )
    return arrays


def _checked_lengths(lengths: npt.ArrayLike) -> Array:
    array = np.asarray(lengths)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "ui":
        raise ValueError(
            f"lengths has shape {array.shape} and type {array.dtype},"
            " expected integers (n_batch,)"
        )
    if array.min() < 1:
        b = int(array.argmin())
        raise ValueError(f"lengths[{b}] is {array[b]}, expected at least 1")
    return array
