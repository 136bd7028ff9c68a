"""Generated sequences: noise, waveforms, and tasks that need memory."""

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


# --- waveforms to be generated ----------------------------------------------


def waveform(
    kind: str, n_time: int = 320, rng: np.random.Generator | None = None
) -> Array:
    """Return a waveform (n_time, 1) to be generated without any input.

    They stand in for the five pieces of a music track, 320 points each, of
    the Clockwork RNN (Koutník et al., 2014), which are not known to us. These
    five are ours, and so are all constants in them.

    Equations (s = t / n_time, t = 0 to n_time - 1)
        "chirp"
            w = sin(2 pi (3 s + 6 s^2))
        "sum-of-sines"
            w = sin(2 pi 2.3 s) + 0.7 sin(2 pi 5.9 s + 1)
                + 0.5 sin(2 pi 13.1 s + 2) + 0.3 sin(2 pi 29.7 s + 3)
        "amplitude-modulated"
            w = (1 + 0.8 cos(2 pi 3 s)) sin(2 pi 20 s)
        "sawtooth-beat"
            w = r(11 s) + r(13 s),   r(z) = z - floor(z)
        "random-walk-smooth"
            w_t = sum_j v_j sum_{i <= t+j} e_i,   e_i standard normal,
            v a Hann window over n_time / 16 points

    and then each w is scaled to [-1, 1]: both ends are reached.

    Arguments
        kind: a name above, one of ``WAVEFORMS``.
        n_time: points, at least 64; fewer do not show the fastest sine.
        rng: draws "random-walk-smooth"; the others do not need it.

    Raises
        ValueError: ``kind`` or ``n_time`` is something else, or ``rng`` is
            missing where it is needed.
    """
    if kind not in WAVEFORMS:
        raise ValueError(
            f"kind is {kind!r}, expected one of {', '.join(WAVEFORMS)}"
        )
    at_least(64, n_time=n_time)
    t = np.arange(n_time)
    s = t / n_time
    if kind == "chirp":
        w = np.sin(2 * np.pi * (3 * s + 6 * s**2))
    elif kind == "sum-of-sines":
        w = np.sin(2 * np.pi * 2.3 * s)
        w += 0.7 * np.sin(2 * np.pi * 5.9 * s + 1)
        w += 0.5 * np.sin(2 * np.pi * 13.1 * s + 2)
        w += 0.3 * np.sin(2 * np.pi * 29.7 * s + 3)
    elif kind == "amplitude-modulated":
        envelope = 1 + 0.8 * np.cos(2 * np.pi * 3 * s)
        w = envelope * np.sin(2 * np.pi * 20 * s)
    elif kind == "sawtooth-beat":
        # In integers: rounding would decide on which side of a jump t lies.
        w = (11 * t % n_time + 13 * t % n_time) / n_time
    else:
        w = _smooth_walk(n_time, rng)
    lowest, highest = w.min(), w.max()
    scaled: Array = (2 * (w - lowest) / (highest - lowest) - 1)[:, None]
    return scaled


WAVEFORMS = (
    "chirp",
    "sum-of-sines",
    "amplitude-modulated",
    "sawtooth-beat",
    "random-walk-smooth",
)
"""The kinds of ``waveform``."""


def _smooth_walk(n_time: int, rng: np.random.Generator | None) -> Array:
    if rng is None:
        raise ValueError("rng is None: 'random-walk-smooth' has to be drawn")
    window = np.hanning(n_time // 16 + 2)[1:-1]  # no zeros at the ends
    walk = np.cumsum(rng.standard_normal(n_time + len(window) - 1))
    return np.convolve(walk, window, mode="valid")


def generation_task(target: Array) -> tuple[Array, Array]:
    """Return the task of generating ``target`` (n_time, n_out) from nothing.

    Returns
        the input, zeros (n_time, 1), and the target.

    Raises
        ValueError: the target has another shape.
    """
    if target.ndim != 2 or target.size == 0:
        raise ValueError(
            f"target has shape {target.shape}, expected (n_time, n_out)"
        )
    return np.zeros((len(target), 1)), target


# --- tasks that need memory -------------------------------------------------


def copy_task(
    rng: np.random.Generator,
    n_sequences: int,
    n_symbols: int,
    n_classes: int,
    delay: int,
) -> list[tuple[Array, Array]]:
    """Return the task of repeating symbols after a delay.

    With S = n_symbols, K = n_classes, T = delay, K the blank and K + 1 the
    delimiter:

        input     S symbols, T - 1 blanks, the delimiter, S blanks
        target    S + T blanks, the S symbols

    The symbols are drawn evenly from 0 to K - 1. Source: the task of
    Carta et al. (2021), from their code; S, K and T there are not known.

    Returns
        n_sequences pairs of x (2 S + T, K + 2), one-hot, and the class at
        every step, (2 S + T,) of int.

    Raises
        ValueError: a number is below 1.
    """
    at_least(
        1,
        n_sequences=n_sequences,
        n_symbols=n_symbols,
        n_classes=n_classes,
        delay=delay,
    )
    pairs = []
    for _ in range(n_sequences):
        symbols = rng.integers(0, n_classes, n_symbols)
        shown = np.full(2 * n_symbols + delay, n_classes)
        shown[:n_symbols] = symbols
        shown[n_symbols + delay - 1] = n_classes + 1
        target = np.full(len(shown), n_classes)
        target[-n_symbols:] = symbols
        pairs.append((np.eye(n_classes + 2)[shown], target))
    return pairs


def warped_copy_task(
    rng: np.random.Generator,
    n_sequences: int,
    n_symbols: int,
    n_classes: int,
    delay: int,
) -> list[tuple[Array, Array]]:
    """Return the task of repeating symbols that came at irregular times.

    With the letters of ``copy_task``:

        input     T steps, S of them symbols and the others blanks, the
                  delimiter, S blanks
        target    T + 1 blanks, the S symbols in their order

    The places of the symbols are drawn evenly, without repetition. Source:
    the task of Carta et al. (2021), from their code.

    Returns
        n_sequences pairs of x (T + 1 + S, K + 2), one-hot, and the class at
        every step, (T + 1 + S,) of int.

    Raises
        ValueError: a number is below 1, or ``delay`` below ``n_symbols``.
    """
    at_least(
        1, n_sequences=n_sequences, n_symbols=n_symbols, n_classes=n_classes
    )
    at_least(n_symbols, delay=delay)
    pairs = []
    for _ in range(n_sequences):
        symbols = rng.integers(0, n_classes, n_symbols)
        places = np.sort(rng.choice(delay, n_symbols, replace=False))
        shown = np.full(delay + 1 + n_symbols, n_classes)
        shown[places] = symbols
        shown[delay] = n_classes + 1
        target = np.full(len(shown), n_classes)
        target[-n_symbols:] = symbols
        pairs.append((np.eye(n_classes + 2)[shown], target))
    return pairs


def addition_task(
    rng: np.random.Generator, n_sequences: int, n_time: int
) -> list[tuple[Array, Array]]:
    """Return the task of adding two numbers out of many.

    Equations
        x_t = (u_t, m_t),   u_t uniform on [0, 1)
        target = sum_t m_t u_t

    with m_t one at two steps and zero elsewhere; the two are drawn evenly
    among all steps, which is our choice. Always to answer 1 has a mean
    squared error of 1/6.

    Returns
        n_sequences pairs of x (n_time, 2) and the sum (1, 1), which belongs
        to the last frame.

    Raises
        ValueError: ``n_sequences`` is below 1, or ``n_time`` below 2.
    """
    at_least(1, n_sequences=n_sequences)
    at_least(2, n_time=n_time)
    pairs = []
    for _ in range(n_sequences):
        x = np.zeros((n_time, 2))
        x[:, 0] = rng.random(n_time)
        x[rng.choice(n_time, 2, replace=False), 1] = 1.0
        pairs.append((x, np.array([[x[:, 0] @ x[:, 1]]])))
    return pairs


def at_least(smallest: int, **numbers: int) -> None:
    """Refuse a number below ``smallest``, under its name.

    Raises
        ValueError: naming the number and what came.
    """
    for name, number in numbers.items():
        if number < smallest:
            raise ValueError(
                f"{name} is {number}, expected at least {smallest}"
            )
