"""What a linear autoencoder may be fitted to: the checks at the border."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from msref.arrays import Array, namespace, to_device

AnySequences: TypeAlias = list[Array] | tuple[Array, ...] | Array
"""A list of (n_time_q, n_in), or one array (n_time, n_batch, n_in)."""

PADDED = 2**22
"""Entries of a padded batch, about."""


def as_sequences(
    sequences: AnySequences, n_in: int | None = None
) -> tuple[list[Array], np.dtype[np.floating]]:
    """Return the sequences as float64 arrays (n_time_q, n_in), and a dtype.

    The dtype is the one that results from those of all sequences.

    Raises
        TypeError: not a list of arrays, or not float32 or float64.
        ValueError: no sequences, an empty one, numbers of inputs that
            differ, a shape of the wrong kind, NaN or infinity.
    """
    if isinstance(sequences, list | tuple):
        named = {f"sequences[{i}]": x for i, x in enumerate(sequences)}
    elif hasattr(sequences, "ndim"):
        if sequences.ndim != 3:
            raise ValueError(
                f"sequences has shape {sequences.shape}, expected a list of"
                " arrays (n_time, n_in) or one (n_time, n_batch, n_in)"
            )
        named = {
            f"sequences[:, {i}]": sequences[:, i]
            for i in range(sequences.shape[1])
        }
    else:
        raise TypeError(
            f"sequences is a {type(sequences).__name__}, expected a list of"
            " arrays (n_time, n_in) or one array (n_time, n_batch, n_in)"
        )
    if not named:
        raise ValueError("sequences is empty, expected at least one sequence")
    for name, x in named.items():
        check_floats(name, x, ("n_time", "n_in"), last=n_in)
        n_in = x.shape[1]
    dtype = np.result_type(*(x.dtype for x in named.values()))
    on_host = to_device(named, "cpu").values()
    return [np.asarray(x, dtype=np.float64) for x in on_host], dtype


def check_floats(
    name: str, x: Array, *layouts: tuple[str, ...], last: int | None = None
) -> None:
    """Raise unless ``x`` is an array of finite floats in one of ``layouts``.

    Arguments
        layouts: the names of the axes.
        last: the length of the last axis.

    Raises
        TypeError: no array, or not float32 or float64.
        ValueError: another shape, an axis of length zero, NaN or infinity,
            named with its first position.
    """
    xp = namespace(x)
    known_axes = x.ndim in map(len, layouts)
    if not known_axes or x.shape[-1] != (last or x.shape[-1]):
        size = "" if last is None else f"={last}"
        expected = " or ".join(
            f"({', '.join(axes)}{size}{',' * (len(axes) == 1)})"
            for axes in layouts
        )
        raise ValueError(f"{name} has shape {x.shape}, expected {expected}")
    if 0 in x.shape:
        raise ValueError(
            f"{name} has shape {x.shape}, expected no axis of length 0"
        )
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name} has dtype {x.dtype}, expected float32 or float64; convert"
            " it with .astype"
        )
    finite = xp.isfinite(x)
    if not finite.all():
        place = tuple(int(i) for i in xp.argwhere(~finite)[0])
        raise ValueError(
            f"{name} has {float(x[place])} at {place}, expected finite numbers"
        )


def check_count(name: str, value: object) -> None:
    """Raise unless ``value`` is an integer of at least 1."""
    if not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} is {value!r} of type {type(value).__name__}, expected an"
            " integer"
        )
    if value < 1:
        raise ValueError(f"{name} is {value}, expected at least 1")


def left_padded(
    sequences: list[Array],
) -> Iterator[tuple[Array, Array]]:
    """Yield batches of similar length, zeros *before* the first frames.

    A linear state without bias stays zero before the first frame, so all
    sequences of a batch end at the same time.

    Yields
        x (n_time, n_batch, n_in) and exists (n_time, n_batch), false where
        padded.
    """
    waiting = sorted(sequences, key=len, reverse=True)
    while waiting:
        n_time, n_in = waiting[0].shape
        n_batch = max(1, PADDED // (n_time * n_in))
        batch, waiting = waiting[:n_batch], waiting[n_batch:]
        x = np.zeros((n_time, len(batch), n_in))
        exists = np.zeros((n_time, len(batch)), dtype=bool)
        for i, sequence in enumerate(batch):
            x[n_time - len(sequence) :, i] = sequence
            exists[n_time - len(sequence) :, i] = True
        yield x, exists
