"""Generated sequences: noise without any structure, and noise with some."""

from __future__ import annotations

import numpy as np

from msref.arrays import Array


def random_sequences(
    rng: np.random.Generator,
    n_sequences: int,
    n_time: int | tuple[int, int],
    n_in: int,
) -> list[Array]:
    """Return white noise: independent standard normal numbers.

    Arguments
        n_time: the length of every sequence, or the shortest and the longest
            length, drawn evenly, both included.

    Returns
        n_sequences arrays (n_time, n_in).
    """
    shortest, longest = (
        n_time if isinstance(n_time, tuple) else (n_time, n_time)
    )
    lengths = rng.integers(shortest, longest, n_sequences, endpoint=True)
    return [rng.standard_normal((length, n_in)) for length in lengths]


def autoregressive(
    rng: np.random.Generator,
    n_sequences: int,
    n_time: int,
    n_in: int,
    n_latent: int = 8,
    rho: tuple[float, float] = (0.6, 0.98),
    noise: float = 0.05,
) -> list[Array]:
    """Return a few slow signals, seen through many noisy inputs.

    Equations
        s_t = rho * s_{t-1} + sqrt(1 - rho^2) * e_t
        x_t = s_t C / sqrt(n_latent) + noise * n_t

    with e_t and n_t standard normal, and s_0 as well, so that every s_t has
    unit variance. All sequences share the mixing C (n_latent, n_in).

    Arguments
        rho: smallest and largest correlation of successive states; those of
            the n_latent signals lie evenly in between.

    Returns
        n_sequences arrays x (n_time, n_in).
    """
    rate = np.linspace(*rho, n_latent)
    mixing = rng.standard_normal((n_latent, n_in)) / np.sqrt(n_latent)
    sequences = []
    for _ in range(n_sequences):
        s = rng.standard_normal((n_time, n_latent))
        s[1:] *= np.sqrt(1 - rate**2)
        for t in range(1, n_time):
            s[t] += rate * s[t - 1]
        x = s @ mixing + noise * rng.standard_normal((n_time, n_in))
        sequences.append(x)
    return sequences
