"""Tasks of a single recall: what came long ago is asked for at the end.

The benchmarks of the warm-up paper (Lambrechts et al., 2023), from its
authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from msref.arrays import Array
from msref.data.tasks import at_least


def copy_first_input(
    rng: np.random.Generator, n_sequences: int, n_time: int = 100
) -> list[tuple[Array, Array]]:
    """Return the task of saying at the end what came first.

    Equations
        x_t standard normal,   target = x_1

    Always to answer 0 has a mean squared error of 1. Source: the benchmark
    and the default of ``n_time`` are those of the warm-up paper's code; the
    lengths behind its tables are not known.

    Returns
        n_sequences pairs of x (n_time, 1) and x_1 (1, 1), which belongs to
        the last frame. The first sequences of many are those of few.

    Raises
        ValueError: a number is below 1.
    """
    at_least(1, n_sequences=n_sequences, n_time=n_time)
    sequences = [rng.standard_normal((n_time, 1)) for _ in range(n_sequences)]
    return [(x, x[:1].copy()) for x in sequences]


def denoising(
    rng: np.random.Generator,
    n_sequences: int,
    n_time: int = 100,
    pad: int = 5,
    n_marked: int = 5,
) -> list[tuple[Array, Array]]:
    """Return the task of repeating the marked values of a noise, in order.

    With T = n_time, K = n_marked, and k_1 < … < k_K drawn evenly, without
    repetition, among the first T - pad steps:

        channel 0     standard normal numbers, to the end
        channel 1     1 at k_1 to k_K, -1 at step T - K + 1, 0 elsewhere
        target        channel 0 at k_1 to k_K, at the last K steps

    Steps count from 1: the -1 is at the first step with a target. Always to
    answer 0 has a mean squared error of 1. Source: as ``copy_first_input``.

    Arguments
        pad: steps at the end where nothing is marked; more than K of them
            make a zone in which to remember only.

    Returns
        n_sequences pairs of x (n_time, 2) and the values (n_marked, 1),
        which belong to the last frames. The first sequences of many are
        those of few.

    Raises
        ValueError: ``n_sequences`` or ``n_marked`` is below 1, ``pad`` below
            ``n_marked``, or too few steps are left for the marks.
    """
    at_least(1, n_sequences=n_sequences, n_marked=n_marked)
    at_least(n_marked, pad=pad)
    at_least(pad + n_marked, n_time=n_time)
    pairs = []
    for _ in range(n_sequences):
        x = np.zeros((n_time, 2))
        x[:, 0] = rng.standard_normal(n_time)
        marked = np.sort(rng.choice(n_time - pad, n_marked, replace=False))
        x[marked, 1] = 1.0
        x[-n_marked, 1] = -1.0
        pairs.append((x, x[marked, :1]))
    return pairs


# --- images, one pixel or one row at a time ---------------------------------


def pixel_order(n_pixels: int = 784, seed: int = 0) -> Array:
    """Return a fixed permutation of pixels, the same on every machine.

    It is the order by size of the raw numbers of PCG64, a stream that NumPy
    keeps from version to version, which its ``permutation`` need not. The
    permutation is ours, not the one that the warm-up paper's code lists.

    Returns
        (n_pixels,) of int, each of 0 to n_pixels - 1 once.

    Raises
        ValueError: ``n_pixels`` is below 1.
    """
    at_least(1, n_pixels=n_pixels)
    drawn = np.random.PCG64(seed).random_raw(n_pixels)
    return np.argsort(drawn, kind="stable")


def pixel_sequences(
    images: Sequence[tuple[Array, int]],
    *,
    order: npt.ArrayLike | None = None,
    rows: bool = False,
    black: int = 0,
) -> list[tuple[Array, int]]:
    """Return images that are read pixel by pixel, or row by row.

    Equations (p_k is a grey value, k counts row after row)
        x_k = p_order(k) - 1/2

    With ``rows``, the x_k are put into as many rows as columns, and each row
    is a frame. Frames of zeros follow. They are called black in the paper's
    code, but a zero is a mid-grey on this scale. Source: as
    ``copy_first_input``; 5 black frames are the default there.

    Arguments
        images: pairs of grey values, 0 to 1, of any shape, and a class; a
            part of ``load_mnist`` is one.
        order: (n_pixels,), a permutation; ``None`` for row after row. See
            ``pixel_order``.
        rows: make frames of rows; n_pixels has to be a square number.
        black: frames of zeros at the end.

    Returns
        pairs of x (n_pixels + black, 1), or (side + black, side) with
        ``rows`` and side the root of n_pixels, and the class, which belongs
        to the last frame.

    Raises
        ValueError: no image, grey values out of range, images of different
            sizes, an ``order`` that is no permutation of them, rows of an
            image that is not a square, or ``black`` below 0.
    """
    at_least(0, black=black)
    if not images:
        raise ValueError("images is empty, expected at least one")
    pairs: list[tuple[Array, int]] = []
    for i, (image, label) in enumerate(images):
        grey = np.asarray(image, np.float64).reshape(-1)
        if not ((grey >= 0) & (grey <= 1)).all():
            raise ValueError(f"images[{i}] holds a number that is not in 0..1")
        if i == 0:
            n_pixels = grey.size
            n_columns = _side(n_pixels) if rows else 1
            places = _permutation(order, n_pixels)
        elif grey.size != n_pixels:
            raise ValueError(
                f"images[{i}] has {grey.size} pixels, expected {n_pixels} as"
                " images[0]"
            )
        x = (grey[places] - 0.5).reshape(-1, n_columns)
        pairs.append((np.pad(x, ((0, black), (0, 0))), label))
    return pairs


def _side(n_pixels: int) -> int:
    side = math.isqrt(n_pixels)
    if side**2 != n_pixels:
        raise ValueError(
            f"rows=True needs a square image, got one of {n_pixels} pixels"
        )
    return side


def _permutation(order: npt.ArrayLike | None, n_pixels: int) -> Array:
    if order is None:
        return np.arange(n_pixels)
    places = np.asarray(order)
    if places.dtype.kind not in "iu" or not np.array_equal(
        np.sort(places, axis=None), np.arange(n_pixels)
    ):
        raise ValueError(
            f"order has shape {places.shape} and type {places.dtype}, expected"
            f" a permutation of 0..{n_pixels - 1}"
        )
    return places.reshape(-1)
