"""What a linear autoencoder may be fitted to: the checks at the border."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from msref.arrays import Array, moved, namespace, on_host

AnySequences: TypeAlias = list[Array] | tuple[Array, ...] | Array
"""A list of (n_time_q, n_in), or one array (n_time, n_batch, n_in)."""

PADDED = 2**22
"""Entries of a padded batch, about."""


def as_sequences(
    sequences: AnySequences, n_in: int | None = None
) -> tuple[list[Array], np.dtype[np.floating]]:
    """Return the sequences as float64 arrays (n_time_q, n_in), and a dtype.

    They are on the host. The dtype is the one that results from those of all
    sequences.

    Raises
        TypeError: not a list of arrays, or not float32 or float64.
        ValueError: no sequences, an empty one, numbers of inputs that
            differ, a shape of the wrong kind, NaN or infinity.
    """
    named, dtype = _checked(sequences, n_in)
    return [np.asarray(on_host(x), np.float64) for x in named.values()], dtype


def _checked(
    sequences: AnySequences, n_in: int | None
) -> tuple[dict[str, Array], np.dtype[np.floating]]:
    """Return the sequences by name, wherever they live, and their dtype."""
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
    if not _fine(sequences, n_in):
        # Something is wrong, or on a device: look at one after the other.
        for name, x in named.items():
            check_floats(name, x, ("n_time", "n_in"), last=n_in)
            n_in = x.shape[1]
    return named, np.result_type(*{x.dtype for x in named.values()})


def as_stacks(
    sequences: AnySequences,
) -> tuple[list[Array], np.dtype[np.floating]]:
    """Return the sequences by length, as they are, and their common dtype.

    Returns
        ``stacked`` sequences where they live, in the dtype they came in, so
        that an array (n_time, n_batch, n_in) is not copied.

    Raises
        as ``as_sequences``.
    """
    if isinstance(sequences, list | tuple) or not _fine(sequences, None):
        named, dtype = _checked(sequences, None)
        xp = namespace(*named.values())
        wide = [
            moved(x, xp).astype(np.float64, copy=False) for x in named.values()
        ]
        return stacked(wide), dtype
    return [sequences.swapaxes(0, 1)], sequences.dtype


def stacked(sequences: list[Array]) -> list[Array]:
    """Put sequences of one length together: (n_sequences, n_time, n_in).

    Arguments
        sequences: arrays (n_time, n_in), or such stacks.

    Returns
        stacks, the longest first; else in the order in which they came.
    """
    by_length: dict[int, list[Array]] = {}
    for x in sequences:
        by_length.setdefault(x.shape[-2], []).append(x)
    return [
        _together([x.reshape(-1, *x.shape[-2:]) for x in by_length[n_time]])
        for n_time in sorted(by_length, reverse=True)
    ]


def _together(stacks: list[Array]) -> Array:
    if len(stacks) == 1:
        return stacks[0]
    together: Array = namespace(*stacks).concatenate(stacks)
    return together


def _fine(sequences: AnySequences, n_in: int | None) -> bool:
    """Whether all is well; many short sequences are looked at as one array.

    Sixty thousand calls of ``check_floats`` took longer than the fit.
    """
    whole = not isinstance(sequences, list | tuple)
    arrays: Any = [sequences] if whole else sequences
    first, dtypes = arrays[0], (np.float32, np.float64)
    if not isinstance(first, np.ndarray):
        return False
    if n_in not in (None, first.shape[-1]):
        return False
    plain = all(
        isinstance(x, np.ndarray)
        and x.ndim == (3 if whole else 2)
        and x.shape[-1] == first.shape[-1]
        and x.size
        and x.dtype in dtypes
        for x in arrays
    )
    if not plain:
        return False
    # A sum is finite unless an entry is not, or it overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        return all(math.isfinite(x.sum()) for x in arrays)


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
