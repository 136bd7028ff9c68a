"""Polyphonic music as piano rolls: one set embedded, four read from files.

A piano roll is an array (n_time, 88) of zeros and ones; column k is the MIDI
note 21 + k, the k-th key of a piano from the left.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
import scipy.io

from msref.arrays import Array

LOWEST_NOTE = 21
N_NOTES = 88

CANONICAL = {
    "jsb": "JSB_Chorales.mat",
    "muse": "MuseData.mat",
    "nottingham": "Nottingham.mat",
    "piano": "Piano_midi.mat",
}
"""Short names of the four canonical sets and the files that hold them."""

_GRID = 4  # frames per quarter in the embedded file


@dataclass(frozen=True, eq=False)
class MusicSet:
    """Piano rolls in three parts.

    Attributes
        name: short name of the set, ``"chorales"`` or ``"jsb"``.
        source: what was read, in words.
        train, valid, test: the sequences, each (n_time, 88) of float64.
    """

    name: str
    source: str
    train: tuple[Array, ...] = field(repr=False)
    valid: tuple[Array, ...] = field(repr=False)
    test: tuple[Array, ...] = field(repr=False)

    def describe(self) -> dict[str, dict[str, float]]:
        """Return the size of each part, under the name of the part."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: _describe(part) for name, part in parts.items()}


def _describe(sequences: tuple[Array, ...]) -> dict[str, float]:
    lengths = [len(roll) for roll in sequences]
    notes = np.concatenate([roll.sum(axis=1) for roll in sequences])
    return {
        "sequences": len(sequences),
        "frames": sum(lengths),
        "shortest": min(lengths),
        "mean_length": float(np.mean(lengths)),
        "longest": max(lengths),
        "notes_per_frame": float(notes.mean()),
        "empty_frames": int(np.sum(notes == 0)),
    }


def load_chorales(frames_per_quarter: int = 1) -> MusicSet:
    """Return the embedded chorales of Bach, split by families of tunes.

    A frame holds the notes that sound when it begins. Provenance, the rule
    of the split and the licence stand in ``chorales.LICENSE.txt`` beside the
    file. The set is not the canonical JSB Chorales; their numbers cannot be
    compared.

    Arguments
        frames_per_quarter: 1, 2 or 4 frames for each quarter note.

    Raises
        ValueError: ``frames_per_quarter`` is something else.
    """
    if frames_per_quarter not in (1, 2, 4):
        raise ValueError(
            f"frames_per_quarter is {frames_per_quarter!r}, expected 1, 2 or 4"
        )
    embedded = resources.files("msref.data").joinpath("chorales.npz")
    with embedded.open("rb") as file, np.load(file, allow_pickle=False) as z:
        pieces = np.split(z["pitches"], np.cumsum(z["lengths"])[:-1])
        parts = z["parts"]
    stride = _GRID // frames_per_quarter
    rolls = [_roll(pitches[::stride]) for pitches in pieces]

    def chosen(part: str) -> tuple[Array, ...]:
        return tuple(rolls[i] for i in np.flatnonzero(parts == part))

    return MusicSet(
        name="chorales",
        source=(
            "Bach chorales of the music21 10.5.1 corpus,"
            f" {frames_per_quarter} per quarter note"
        ),
        train=chosen("train"),
        valid=chosen("valid"),
        test=chosen("test"),
    )


def _roll(pitches: Array) -> Array:
    """Turn pitches (n_time, 4), 0 for a rest, into a roll (n_time, 88)."""
    roll = np.zeros((len(pitches), N_NOTES))
    t, voice = np.nonzero(pitches)
    roll[t, pitches[t, voice] - LOWEST_NOTE] = 1.0
    return roll


def find_polyphonic(path: Path | str) -> dict[str, Path]:
    """Return the canonical sets in a folder, or the one file, by short name.

    A file with a name of its own is known by its stem.

    Raises
        FileNotFoundError: ``path`` does not exist, or is a folder without
            any of the four files.
    """
    path = Path(path)
    if path.is_dir():
        found = {
            name: path / file
            for name, file in CANONICAL.items()
            if (path / file).is_file()
        }
        if not found:
            raise FileNotFoundError(
                f"{path} holds none of {', '.join(CANONICAL.values())}"
            )
        return found
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    return {_short_name(path): path}


def _short_name(path: Path) -> str:
    names = {file: name for name, file in CANONICAL.items()}
    return names.get(path.name, path.stem)


def load_polyphonic(path: Path | str) -> MusicSet:
    """Read one of the canonical sets of Boulanger-Lewandowski et al. (2012).

    The file is a MATLAB one, of version 5, with the three cell arrays
    ``traindata``, ``validdata`` and ``testdata`` of piano rolls
    (n_time, 88).

    Raises
        OSError: the file does not exist or cannot be read.
        ValueError: the file is damaged, or holds something else.
    """
    path = Path(path)
    names = ("traindata", "validdata", "testdata")
    data = io.BytesIO(path.read_bytes())
    try:
        content = scipy.io.loadmat(data, variable_names=names)
    except Exception as error:  # a damaged file raises nearly anything there
        raise ValueError(
            f"{path} is damaged or not a MATLAB file of version 5: {error}"
        ) from error
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(
            f"{path} has no {' and no '.join(missing)}, expected the cell"
            f" arrays {', '.join(names)}"
        )
    train, valid, test = (_rolls(path, name, content[name]) for name in names)
    return MusicSet(_short_name(path), path.name, train, valid, test)


def _rolls(path: Path, name: str, cells: Array) -> tuple[Array, ...]:
    """Check the piano rolls in a cell array, and convert them to float64."""
    if cells.dtype != object or cells.size == 0:
        raise ValueError(
            f"{path}: {name} is an array {cells.shape} of {cells.dtype},"
            f" expected a cell array of piano rolls (n_time, {N_NOTES})"
        )
    rolls = []
    for i, cell in enumerate(cells.ravel()):
        roll = np.asarray(cell)
        if roll.ndim != 2 or len(roll) == 0 or roll.shape[1] != N_NOTES:
            raise ValueError(
                f"{path}: {name}[{i}] has shape {roll.shape}, expected"
                f" (n_time, {N_NOTES})"
            )
        if roll.dtype.kind not in "buif" or not np.isin(roll, (0, 1)).all():
            raise ValueError(
                f"{path}: {name}[{i}] holds other things than zeros and ones"
            )
        rolls.append(roll.astype(np.float64, order="C"))
    return tuple(rolls)
