"""How much of the past a memory holds: closed-form experiments.

The memories are linear, m_t = x_t W_xm + m_{t-1} W_mm + b_m, and differ in
their matrices alone; nothing is trained by gradient.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.claims.base import Result, generator
from msref.data import MusicSet, find_polyphonic, load_chorales, load_polyphonic
from msref.functional import orthogonal
from msref.pretraining import LAES
from msref.training import frame_accuracy

RIDGES = (1e-8, 1e-6, 1e-4, 1e-2, 1.0)
RADII = (1.0, 0.99, 0.97, 0.95, 0.9, 0.8)


def music(name: str, data: str | None) -> MusicSet:
    """Return a set by short name; ``chorales`` is the embedded one."""
    if name == "chorales":
        return load_chorales()
    return load_polyphonic(find_polyphonic(Path(data or "."))[name])


# --- a linear memory, and what can be read from it --------------------------


def states(memory: Arrays, sequences: Sequence[Array]) -> list[Array]:
    """Run m_t = x_t W_xm + m_{t-1} W_mm + b_m over each sequence.

    Returns
        m (n_time, n_mem) for each sequence (n_time, n_in).
    """
    W_mm = memory["W_mm"]
    order = sorted(range(len(sequences)), key=lambda q: -len(sequences[q]))
    lengths = [len(sequences[q]) for q in order]
    n_time = lengths[0]
    m = np.zeros((n_time, len(order), len(W_mm)))
    for b, q in enumerate(order):
        m[: lengths[b], b] = sequences[q] @ memory["W_xm"] + memory["b_m"]
    for t in range(1, n_time):
        n = int(np.searchsorted(-np.asarray(lengths), -t))  # still running
        m[t, :n] += m[t - 1, :n] @ W_mm
    found = {q: m[: lengths[b], b] for b, q in enumerate(order)}
    return [found[q] for q in range(len(order))]


def recoverability(
    train: Sequence[tuple[Array, Array]],
    valid: Sequence[tuple[Array, Array]],
    test: Sequence[tuple[Array, Array]],
    max_lag: int,
    every: int = 1,
    period: int = 1,
) -> list[float]:
    """Measure how well x_{t-k} can be read linearly from a state, over k.

    Equation
        R2(k) = 1 - sum |x_{t-k} - (m_t W + c)|^2 / sum |x_{t-k} - mean|^2
        on the test sequences, with W, c by ridge regression on the training
        sequences, its strength chosen on the validation sequences; frames
        with t < k do not count. Below zero counts as zero.

    Arguments
        train, valid, test: pairs of states (n_time, n_mem) and inputs
            (n_time, n_in).
        every: distance of the lags that are looked at.
        period: distance of the times t that count; states of modules with
            clocks are compared at t where all of them tick.

    Returns
        R2(k) for k = 0, every, 2 every, …, max_lag. With every = 1 its sum is
        the memory's capacity in frames (after Jaeger, 2001).
    """
    curve = []
    for k in range(0, max_lag + 1, every):
        fits = _ridge(*_lagged(train, k, period))
        scores = [_r2(fit, *_lagged(valid, k, period)) for fit in fits]
        best = fits[int(np.argmax(scores))]
        curve.append(max(0.0, _r2(best, *_lagged(test, k, period))))
    return curve


def _lagged(
    pairs: Sequence[tuple[Array, Array]], k: int, period: int
) -> tuple[Array, Array]:
    """Return m_t and x_{t-k} at all t >= k that are multiples of period."""
    first = -(-k // period) * period
    m = [m[first::period] for m, _ in pairs]
    x = [x[first - k : len(x) - k : period] for _, x in pairs if len(x) > first]
    return np.concatenate(m), np.concatenate(x)


def _ridge(m: Array, x: Array) -> list[tuple[Array, Array]]:
    """Return (W, c) of ridge regressions of x on m, a pair per strength."""
    m_mean, x_mean = m.mean(0), x.mean(0)
    m, x = m - m_mean, x - x_mean
    values, vectors = np.linalg.eigh(m.T @ m)
    values = np.maximum(values, 0.0)
    right = vectors.T @ (m.T @ x)
    fits = []
    for ridge in RIDGES:
        strength = ridge * max(values.mean(), 1e-300)
        W = vectors @ (right / (values + strength)[:, None])
        fits.append((W, x_mean - m_mean @ W))
    return fits


def _r2(fit: tuple[Array, Array], m: Array, x: Array) -> float:
    W, c = fit
    lost = np.sum((x - (m @ W + c)) ** 2)
    return float(1.0 - lost / np.sum((x - x.mean(0)) ** 2))


# --- jobs -------------------------------------------------------------------


def reconstruct_exactly(
    dataset: str,
    data: str | None,
    n_sequences: int,
    shares: list[float],
    checkpoint: Path | None = None,
) -> Result:
    """Fit LAES of sizes up to the rank and decode the training sequences."""
    sequences = music(dataset, data).train[:n_sequences]
    frames = sum(map(len, sequences))
    full = LAES(frames).fit(sequences)
    curve = []
    for share in shares:
        n_mem = max(1, round(share * full.rank))
        fitted = LAES(n_mem).fit(sequences)
        worst = max(_prefix_error(fitted, x) for x in sequences)
        curve.append(
            {
                "n_mem": n_mem,
                "share": share,
                "error": fitted.reconstruction_error(sequences),
                "worst_entry_of_any_prefix": worst,
            }
        )
    return {"frames": frames, "rank": full.rank, "curve": curve}


def _prefix_error(fitted: LAES, x: Array) -> float:
    """Return the largest error of any frame decoded from any prefix."""
    y = fitted.encode(x)
    decoded = fitted.decode(y, len(x))  # (j, t): the frame j before t
    return max(
        float(np.abs(decoded[: t + 1, t] - x[t::-1]).max())
        for t in range(len(x))
    )


def closed_form_baselines(
    dataset: str,
    data: str | None,
    sizes: list[int],
    checkpoint: Path | None = None,
) -> Result:
    """Score repeating the last frame, and LAES with a ridge read-out."""
    found = music(dataset, data)
    logits = [4.0 * x[:-1] - 2.0 for x in found.test]
    targets = [x[1:] for x in found.test]
    repeat = _accuracy(logits, targets)
    rows = []
    began = time.perf_counter()
    fitted = LAES(max(sizes), centre=True).fit(list(found.train))
    seconds = time.perf_counter() - began
    memory_of_fit = peak_memory()
    for n_mem in sizes:
        memory = fitted.truncated(n_mem).matrices()
        parts = {
            part: states(memory, getattr(found, part))
            for part in ("train", "valid", "test")
        }
        m = np.concatenate([y[:-1] for y in parts["train"]])
        x = np.concatenate([x[1:] for x in found.train])
        m_mean, x_mean = m.mean(0), x.mean(0)
        gram = (m - m_mean).T @ (m - m_mean) + np.eye(n_mem)
        W = np.linalg.solve(gram, (m - m_mean).T @ (x - x_mean))
        scores = {}
        for part in ("train", "valid", "test"):
            rolls = getattr(found, part)
            predicted = [
                (y[:-1] - m_mean) @ W + x_mean - 0.5 for y in parts[part]
            ]
            scores[part] = _accuracy(predicted, [x[1:] for x in rolls])
        squares = float(np.sum(fitted.singular_values[:n_mem] ** 2))
        rows.append(
            {
                "n_mem": n_mem,
                "variance_kept": squares / _total(found, fitted.mean),
                "error": {
                    part: fitted.truncated(n_mem).reconstruction_error(
                        list(getattr(found, part))
                    )
                    for part in ("train", "test")
                },
                "accuracy": scores,
            }
        )
    return {
        "repeat_last_frame": repeat,
        "why": fitted.why,
        "fit": {
            "n_mem": max(sizes),
            "seconds": round(seconds, 2),
            "peak_mib": memory_of_fit,
            "residual": fitted.residual,
        },
        "laes": rows,
    }


def peak_memory() -> float | None:
    """Return the peak memory of this process in MiB, where it is told."""
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10), 1)


def repeat_last_frame(found: MusicSet) -> float:
    """Score the prediction that the next frame is the last one again."""
    logits = [4.0 * x[:-1] - 2.0 for x in found.test]
    return _accuracy(logits, [x[1:] for x in found.test])


def _accuracy(logits: list[Array], targets: list[Array]) -> float:
    """Return the pooled frame accuracy over sequences."""
    o, target = np.concatenate(logits), np.concatenate(targets)
    return frame_accuracy(o[:, None], target[:, None])


def _total(found: MusicSet, mean: Array) -> float:
    """Return |Ξ|^2: each frame stands in as many histories as follow it."""
    return float(
        sum(
            np.sum((x - mean) ** 2 * np.arange(len(x), 0, -1)[:, None])
            for x in found.train
        )
    )


def recall_curve(
    dataset: str,
    data: str | None,
    encoding: str,
    n_mem: int,
    max_lag: int,
    seed: int,
    checkpoint: Path | None = None,
) -> Result:
    """Measure recoverability over the lag for one encoding of one size.

    Encodings
        laes: closed form, fitted to the training sequences.
        orthogonal: W_mm = r Q, Q a random orthogonal matrix, W_xm Gaussian;
            the radius r is the best of six on the validation sequences.
        delay line: the last n_mem // n frames verbatim, n the number of
            units that ever move; what is left over holds the units with the
            largest variance of one frame more (our reading of the paper's
            static encoding, whose definition is not known to us).
    """
    parts = _inputs(dataset, data, seed)
    if encoding == "laes":
        found = LAES(n_mem, centre=True).fit(parts["train"])
        return _measured(found.matrices(), parts, max_lag) | {"why": found.why}
    if encoding == "delay line":
        return _measured(_delay_line(parts["train"], n_mem), parts, max_lag)
    rng = generator("orthogonal memory", seed)
    n_in = parts["train"][0].shape[1]
    Q = orthogonal(rng, n_mem)
    W_xm = rng.standard_normal((n_in, n_mem)) / np.sqrt(n_mem)
    tried: list[tuple[float, float]] = []
    for radius in RADII:
        memory = {"W_xm": W_xm, "W_mm": radius * Q, "b_m": np.zeros(n_mem)}
        few = {part: xs[::4] for part, xs in parts.items()}
        on_valid = {**few, "test": few["valid"]}
        r2 = _measured(memory, on_valid, max_lag, every=4)["r2"]
        tried.append((sum(r2), radius))
    radius = max(tried)[1]
    memory = {"W_xm": W_xm, "W_mm": radius * Q, "b_m": np.zeros(n_mem)}
    return _measured(memory, parts, max_lag) | {"radius": radius}


def _inputs(dataset: str, data: str | None, seed: int) -> dict[str, Any]:
    if dataset == "noise":
        rng = generator("white noise", seed)
        sizes = {"train": 200, "valid": 50, "test": 50}
        return {
            part: [rng.standard_normal((60, 8)) for _ in range(n)]
            for part, n in sizes.items()
        }
    found = music(dataset, data)
    active = np.any(np.concatenate(found.train) != 0.0, axis=0)
    return {
        part: [x[:, active] for x in getattr(found, part)]
        for part in ("train", "valid", "test")
    }


def _delay_line(train: list[Array], n_mem: int) -> Arrays:
    n_in = train[0].shape[1]
    W_xm, W_mm = np.zeros((n_in, n_mem)), np.zeros((n_mem, n_mem))
    order = np.argsort(-np.concatenate(train).var(0), kind="stable")
    # Slot j holds the frame j steps back; units in order of variance, so
    # that a last, partial slot keeps those that matter most.
    for unit in range(min(n_in, n_mem)):
        W_xm[order[unit], unit] = 1.0
    for place in range(n_in, n_mem):
        W_mm[place - n_in, place] = 1.0
    return {"W_xm": W_xm, "W_mm": W_mm, "b_m": np.zeros(n_mem)}


def _measured(
    memory: Arrays,
    parts: dict[str, list[Array]],
    max_lag: int,
    every: int = 1,
) -> Result:
    pairs = {
        part: list(zip(states(memory, xs), xs, strict=True))
        for part, xs in parts.items()
    }
    r2 = recoverability(
        pairs["train"], pairs["valid"], pairs["test"], max_lag, every
    )
    return {"r2": r2, "capacity": float(sum(r2))}
