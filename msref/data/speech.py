"""Speech: MFCCs of a signal, and the words of TIMIT.

Nothing of TIMIT is here; a copy of your own is read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.fft

from msref.arrays import Array
from msref.data.labelled import Labelled, LabelledSet

WORDS = (
    *("making", "walking", "cooking", "looking", "working"),
    *("biblical", "cyclical", "technical", "classical", "critical"),
    *("tradition", "addition", "audition", "recognition", "competition"),
    *("musicians", "discussions", "regulations", "accusations", "conditions"),
    *("subway", "leeway", "freeway", "highway", "hallway"),
)
"""The 25 words of the Clockwork RNN, five of a suffix."""

_N_TRAIN, _N_TEST = 5, 2


def mfcc(
    signal: npt.ArrayLike,
    rate: float,
    n_mfcc: int = 13,
    *,
    window: float = 0.025,
    step: float = 0.010,
    n_filters: int = 26,
    preemphasis: float = 0.97,
) -> Array:
    """Return the log energy and the mel-frequency cepstrum of each frame.

    Equations (s_t the signal; v the Hamming window; N points of the FFT)
        e_t = s_t - preemphasis s_{t-1},   s_{-1} = 0
        P_f = |FFT(v e)_f|^2 / N                    of each frame
        E_j = sum_f H_jf P_f
        c = DCT-II(log E), orthonormal;   c_0 := log sum_f P_f

    H_j are triangles of height 1 over ``n_filters`` + 2 points that lie
    evenly on the mel scale, m = 2595 log10(1 + f / 700), from 0 to rate / 2;
    each begins and ends at the middle of its neighbours.

    25 ms, 10 ms, 0.97 and the log energy in the place of c_0 are those of
    the Clockwork RNN's and the MultiScale LMN's experiments, Hamming and 26
    filters of the LMN authors' code for another one. Ours: the mel formula,
    the triangles, N (the next power of two), the orthonormal transform
    without liftering, and that the last frame is filled up with zeros. What
    only scales a channel is gone once the channels are standardised.

    Arguments
        signal: (n_samples,), any unit; a factor changes c_0 alone.
        rate: samples per second.
        n_mfcc: coefficients with c_0, at most ``n_filters``.
        window, step: in seconds.

    Returns
        (n_time, n_mfcc) of float64, with n_time = 1 + ceil((n_samples -
        window) / step) in samples, at least 1.

    Raises
        ValueError: the signal is empty, not a vector or not finite; a number
            is out of range.
    """
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 1 or signal.size == 0 or not np.isfinite(signal).all():
        raise ValueError(
            f"signal has shape {signal.shape}, expected finite numbers"
            " (n_samples,)"
        )
    if not 1 <= n_mfcc <= n_filters:
        raise ValueError(f"n_mfcc is {n_mfcc}, expected 1..{n_filters}")
    width, hop = round(window * rate), round(step * rate)
    if width < 2 or hop < 1:
        raise ValueError(
            f"a window of {width} and a step of {hop} samples at rate {rate},"
            " expected at least 2 and 1"
        )
    sharp = np.append(signal[0], signal[1:] - preemphasis * signal[:-1])
    n_time = 1 + max(0, -(-(len(sharp) - width) // hop))
    sharp = np.pad(sharp, (0, (n_time - 1) * hop + width - len(sharp)))
    frames = np.lib.stride_tricks.sliding_window_view(sharp, width)[::hop]
    n_fft = 1 << (width - 1).bit_length()
    spectrum = np.fft.rfft(frames * np.hamming(width), n_fft)
    power = np.abs(spectrum) ** 2 / n_fft
    energies = power @ _mel_filters(n_filters, n_fft, rate).T
    cepstrum: Array = scipy.fft.dct(_log(energies), norm="ortho")[:, :n_mfcc]
    cepstrum[:, 0] = _log(power.sum(axis=1))
    return cepstrum


def _log(energy: Array) -> Array:
    """Silence has no logarithm; the smallest normal number stands for it."""
    logarithm: Array = np.log(np.maximum(energy, np.finfo(np.float64).tiny))
    return logarithm


def _mel_filters(n_filters: int, n_fft: int, rate: float) -> Array:
    """Return triangles (n_filters, n_fft // 2 + 1)."""
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    mel = np.linspace(0, highest, n_filters + 2)[:, None]
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.fft.rfftfreq(n_fft, 1 / rate)
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    triangles: Array = np.maximum(0, np.minimum(rising, falling))
    return triangles


def read_sphere(path: Path | str) -> tuple[Array, int]:
    """Read a NIST SPHERE file of one channel of 16-bit PCM.

    Returns
        the signal (n_samples,) of float64, in -1 to 1, and its rate in
        samples per second.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is damaged, or holds something else, such as a
            compressed signal.
    """
    path = Path(path)
    data = path.read_bytes()
    fields = _header(path, data)
    expected = {
        "channel_count": "1",
        "sample_n_bytes": "2",
        "sample_coding": "pcm",
    }
    for name, value in expected.items():
        found = fields.get(name, value)
        if found != value:
            raise ValueError(f"{path}: {name} is {found}, expected {value}")
    orders = {"01": "<i2", "10": ">i2"}
    try:
        order = orders[fields["sample_byte_format"]]
        rate, n_samples = (
            int(fields[name]) for name in ("sample_rate", "sample_count")
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} has a damaged header: {error}") from error
    body = data[int(data[8:16]) :]
    if rate < 1 or not 0 <= 2 * n_samples <= len(body):
        raise ValueError(
            f"{path} holds {len(body)} bytes of samples, expected"
            f" {n_samples} samples of 2 bytes, at a rate above 0 ({rate})"
        )
    return np.frombuffer(body, order, n_samples) / 32768.0, rate


def _header(path: Path, data: bytes) -> dict[str, str]:
    """Return the fields of a SPHERE header: lines ``name -type value``."""
    size = data[8:16].strip()
    if not data.startswith(b"NIST_1A\n") or not size.isdigit():
        raise ValueError(f"{path} is not a NIST SPHERE file")
    text = data[16 : int(size)].decode("ascii", "replace")
    text, end, _ = text.partition("end_head")
    if not end:
        raise ValueError(f"{path} has a damaged header: no end_head")
    lines = [line.split(maxsplit=2) for line in text.splitlines()]
    return {line[0]: line[2].strip() for line in lines if len(line) == 3}


def read_words(path: Path | str) -> list[tuple[int, int, str]]:
    """Read a ``.WRD`` file: first sample, end and word of each line.

    Raises
        OSError: the file cannot be read.
        ValueError: a line is something else.
    """
    path = Path(path)
    words = []
    for line in path.read_text("ascii", "replace").splitlines():
        if not line.strip():
            continue
        start, end, word = (*line.split(), "", "", "")[:3]
        if not (start.isdigit() and end.isdigit() and word):
            raise ValueError(
                f"{path} has the line {line!r}, expected START END WORD"
            )
        words.append((int(start), int(end), word.lower()))
    return words


def load_timit_words(
    folder: Path | str, rng: np.random.Generator
) -> LabelledSet:
    """Return the 25 words with common suffixes, cut out of TIMIT.

    Seven utterances of each word, five for training and two for the test,
    125 and 50 in all, as 13 ``mfcc`` of the samples that the ``.WRD`` file
    gives. All of TIMIT below ``folder`` is searched, its training and test
    parts. Which seven the papers took is not known: here ``rng`` draws them
    among all that there are, in the order of their paths.

    The validation part is the training part: the papers add noise to the
    input in training, and stop by the error on the same sequences without
    it. The channels are as computed; see ``LabelledSet.standardised``, which
    uses the training part alone, as Koutník et al. (2014) do.

    Raises
        OSError: a file cannot be read or is missing.
        ValueError: a file is damaged, or a word has fewer than seven
            utterances.
    """
    folder = Path(folder)
    found = _utterances(folder)
    n = _N_TRAIN + _N_TEST
    few = [
        f"{word} {len(found[word])}" for word in WORDS if len(found[word]) < n
    ]
    if few:
        raise ValueError(
            f"{folder} holds too few utterances, expected {n} of each word:"
            f" {', '.join(few)}"
        )
    train: list[Labelled] = []
    test: list[Labelled] = []
    for label, word in enumerate(WORDS):
        chosen = rng.permutation(len(found[word]))[:n]
        pairs = [(_features(*found[word][i]), label) for i in chosen]
        train += pairs[:_N_TRAIN]
        test += pairs[_N_TRAIN:]
    return LabelledSet(
        name="timit-words",
        source=f"TIMIT in {folder}: {len(WORDS)} words, {n} utterances each",
        licence="that of your copy",
        classes=WORDS,
        train=tuple(train),
        valid=tuple(train),
        test=tuple(test),
    )


def _utterances(folder: Path) -> dict[str, list[tuple[Path, int, int]]]:
    """Find each word once an utterance: the file, first sample and end."""
    found: dict[str, list[tuple[Path, int, int]]] = {word: [] for word in WORDS}
    paths = [p for p in folder.rglob("*") if p.suffix.upper() == ".WRD"]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no .WRD file")
    # Upper case or lower case, as the set was copied: the same order.
    for path in sorted(paths, key=lambda p: p.as_posix().upper()):
        seen = set()
        for start, end, word in read_words(path):
            if word in found and word not in seen:
                found[word].append((path, start, end))
                seen.add(word)
    return found


def _features(path: Path, start: int, end: int) -> Array:
    """Return the MFCCs of one word of the signal beside a .WRD file."""
    beside = [path.with_suffix(suffix) for suffix in (".WAV", ".wav")]
    signal, rate = read_sphere(next(filter(Path.exists, beside), beside[0]))
    if not start < end <= len(signal):
        raise ValueError(
            f"{path} has a word at {start} to {end}, expected samples"
            f" 0..{len(signal)}"
        )
    return mfcc(signal[start:end], rate)
