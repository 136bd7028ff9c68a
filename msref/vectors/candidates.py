"""What a port computed: a file, or a folder of files, of named arrays."""

from __future__ import annotations

from pathlib import Path

from msref.arrays import Arrays
from msref.untrusted import (
    MAX_BYTES,
    MAX_TEXT,
    SUFFIXES,
    json_arrays,
    parse_json,
    read_bytes,
    read_named_arrays,
)


def read_candidate(path: Path | str, most: int = MAX_BYTES) -> Arrays:
    """Read the arrays of a candidate: any of them, under any names.

    Arguments
        path: ``.safetensors``, ``.npz`` or ``.json``: lists of numbers under
            names, or ``{"manifest": …, "arrays": {…}}`` with them inside, as
            ``export`` writes it; the manifest is not read.
        most: bytes that all arrays together may take.

    Raises
        OSError, ValueError: see ``msref.untrusted.read_named_arrays``.
    """
    path = Path(path)
    if path.suffix != ".json":
        return read_named_arrays(path, most)
    tree = parse_json(read_bytes(path, min(most, MAX_TEXT)), str(path))
    if isinstance(tree, dict) and set(tree) == {"manifest", "arrays"}:
        tree = tree["arrays"]
    return json_arrays(tree, str(path))


def candidate_files(folder: Path | str) -> dict[str, Path]:
    """Find the candidates in a folder: name of a vector -> file.

    ``lstm/basic.npz`` is held against the vector ``lstm/basic``. A JSON file
    beside arrays of the same name is their manifest, no candidate.

    Raises
        ValueError: two files for one vector, or none at all.
    """
    folder = Path(folder)
    found: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in sorted(folder.rglob(f"*{suffix}")):
            name = path.relative_to(folder).as_posix().removesuffix(suffix)
            if name in found and suffix == ".json":
                continue
            if name in found:
                raise ValueError(
                    f"{folder} holds {found[name].name} and {path.name},"
                    f" expected one candidate for {name}"
                )
            found[name] = path
    if not found:
        raise ValueError(
            f"{folder} holds no candidate, expected files that end in"
            f" {', '.join(SUFFIXES)}"
        )
    return found
