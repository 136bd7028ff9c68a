"""Handwriting as strokes of a pen: the lines of IAM-OnDB.

Nothing of the set is here; a copy of your own is read. Features, alphabet
and what is skipped follow the code published with the MS-LMN (Carta et al.,
2020).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from xml.etree import ElementTree

import numpy as np

from msref.arrays import Array

OTHER = "\N{REPLACEMENT CHARACTER}"
"""Stands for all characters that are not in the alphabet."""

ALPHABET = (OTHER, *ascii_uppercase, *ascii_lowercase, " ", "'", ",", ".")
"""The 57 symbols; symbol k has the number k + 1, and 0 is the blank."""

_NUMBER = {symbol: i for i, symbol in enumerate(ALPHABET, 1)}

Line = tuple[Array, Array]
"""Points x (n_time, 4), and the symbols (k,) of int, 1 to 57."""


@dataclass(frozen=True, eq=False)
class StrokeSet:
    """Written lines with their symbols, in three parts.

    Attributes
        name: short name of the set.
        source: what was read, in words.
        alphabet: the symbols numbered from 1; 0 is the blank.
        train, valid, test: pairs of x (n_time, 4), see ``read_line``, and
            its symbols (k,) of int, 1 to 57.
        skipped: the forms that were left out, because they have not as many
            files of strokes as lines of text.
    """

    name: str
    source: str
    alphabet: tuple[str, ...] = field(repr=False)
    train: tuple[Line, ...] = field(repr=False)
    valid: tuple[Line, ...] = field(repr=False)
    test: tuple[Line, ...] = field(repr=False)
    skipped: tuple[str, ...] = ()

    def describe(self) -> dict[str, dict[str, float]]:
        """Return the size of each part, under the name of the part."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: _describe(part) for name, part in parts.items()}


def _describe(lines: tuple[Line, ...]) -> dict[str, float]:
    lengths = [len(x) for x, _ in lines]
    return {
        "sequences": len(lines),
        "frames": sum(lengths),
        "shortest": min(lengths),
        "mean_length": float(np.mean(lengths)),
        "longest": max(lengths),
        "symbols": sum(len(labels) for _, labels in lines),
    }


def encode(text: str) -> Array:
    """Return the numbers (k,) of the symbols of ``text``, 1 to 57."""
    other = _NUMBER[OTHER]
    return np.array([_NUMBER.get(symbol, other) for symbol in text], np.int64)


def decode(labels: Iterable[int]) -> str:
    """Return the text of numbers 1 to 57; ``OTHER`` for what was left out.

    Raises
        ValueError: a number is something else, such as the blank.
    """
    symbols = []
    for label in labels:
        if not 1 <= label <= len(ALPHABET):
            raise ValueError(f"a label is {label}, expected 1..{len(ALPHABET)}")
        symbols.append(ALPHABET[label - 1])
    return "".join(symbols)


def read_line(path: Path | str) -> Array:
    """Return the points of a line, x (n_time, 4) of float64.

    The file is XML with elements ``Stroke`` that hold elements ``Point``
    with the attributes x, y and time. The four features are
        0   1 at the last point of every stroke, where the pen goes up, else 0
        1   x, scaled to [0, 1] over the line
        2   y with its sign turned, scaled likewise
        3   time, scaled likewise
    A feature that does not change is 0.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is damaged, or holds something else.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        strokes = [
            [
                [float(point.attrib[name]) for name in ("x", "y", "time")]
                for point in stroke.iter("Point")
            ]
            for stroke in ElementTree.fromstring(data).iter("Stroke")
        ]
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or no line of strokes: {error}"
        ) from error
    strokes = [stroke for stroke in strokes if stroke]
    points = np.array([point for stroke in strokes for point in stroke])
    if points.size == 0 or not np.isfinite(points).all():
        raise ValueError(f"{path} has no points, or some that are not finite")
    points *= (1, -1, 1)
    lowest = points.min(axis=0)
    extent = points.max(axis=0) - lowest
    x = np.zeros((len(points), 4))
    x[np.cumsum([len(stroke) for stroke in strokes]) - 1, 0] = 1.0
    x[:, 1:] = (points - lowest) / np.where(extent == 0, 1.0, extent)
    return x


def read_transcript(path: Path | str) -> list[str]:
    """Return the lines of text of a form, from the top.

    They follow a line ``CSR:`` where the file has one. Empty lines do not
    count; percent signs end a line, as in the published code.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is not text in UTF-8.
    """
    path = Path(path)
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error
    if "CSR:" in lines:
        lines = lines[lines.index("CSR:") + 1 :]
    pieces = [piece.strip() for line in lines for piece in line.split("%")]
    return [piece for piece in pieces if piece]


def read_forms(path: Path | str) -> list[str]:
    """Return the names of forms in a list, one on a line.

    Raises
        OSError: the file cannot be read.
        ValueError: there is no name in it, or it is not text in UTF-8.
    """
    try:
        forms = Path(path).read_text("utf-8").split()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error
    if not forms:
        raise ValueError(f"{path} names no form")
    return forms


def load_strokes(
    folder: Path | str,
    train: Sequence[Path | str],
    valid: Sequence[Path | str],
    test: Sequence[Path | str],
) -> StrokeSet:
    """Read the lines of IAM-OnDB that lists of forms name.

    The folders below ``folder`` may lie as they like. Of a form F, the
    strokes are the files F-NUMBER.xml, in the order of their numbers, and
    the text is F.txt; a form without as many of the one as lines of the
    other is left out. The official lists give 5,364 lines for training,
    1,438 and 1,518 for validation, and 3,859 for the test: figures of a
    comment in the published code. No copy of the set was there to try.

    Arguments
        folder: where the set lies.
        train, valid, test: files that name forms, see ``read_forms``; more
            than one for a part are put together.

    Raises
        OSError: a list, a transcript or a file of strokes cannot be read or
            is missing.
        ValueError: a file is damaged or there twice, a form is in two parts,
            or a part is empty.
    """
    folder = Path(folder)
    strokes, texts = _index(folder)
    skipped: list[str] = []
    seen: dict[str, str] = {}
    parts: dict[str, tuple[Line, ...]] = {}
    lists = {"train": train, "valid": valid, "test": test}
    for part, files in lists.items():
        lines: list[Line] = []
        for form in [form for file in files for form in read_forms(file)]:
            if form in seen:
                raise ValueError(
                    f"form {form} is named for {seen[form]} and for {part}"
                )
            seen[form] = part
            if form not in texts:
                raise FileNotFoundError(f"{folder} holds no {form}.txt")
            of_form = strokes.get(form, {})
            transcript = read_transcript(_only(texts[form]))
            if len(of_form) != len(transcript):
                skipped.append(form)
                continue
            for number, text in zip(sorted(of_form), transcript, strict=True):
                line = read_line(_only(of_form[number]))
                lines.append((line, encode(text)))
        if not lines:
            raise ValueError(f"the lists of {part} give no line in {folder}")
        parts[part] = tuple(lines)
    return StrokeSet(
        name="iam-ondb",
        source=str(folder),
        alphabet=ALPHABET,
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        skipped=tuple(skipped),
    )


def _index(
    folder: Path,
) -> tuple[dict[str, dict[int, list[Path]]], dict[str, list[Path]]]:
    """Find files by form: strokes by their number, and the text."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist or is not a folder")
    strokes: dict[str, dict[int, list[Path]]] = {}
    texts: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        line = re.fullmatch(r"(.+)-(\d+)\.xml", path.name)
        if line:
            of_form = strokes.setdefault(line[1], {})
            of_form.setdefault(int(line[2]), []).append(path)
        elif path.suffix == ".txt":
            texts.setdefault(path.stem, []).append(path)
    return strokes, texts


def _only(paths: list[Path]) -> Path:
    """Return the one file; other forms may be there as often as they like."""
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {paths[1]} are the same line twice")
    return paths[0]
