"""Files that a run goes on from: whole, undamaged, and of the same run.

Arrays and a few words, sealed by a checksum, under a fingerprint of what
the run depends on: a run that is not the same is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays, on_host
from msref.files import read_arrays, write_arrays


def write_sealed(
    path: Path | str,
    run: Mapping[str, Any],
    arrays: Arrays,
    belongs_to: Mapping[str, str],
) -> None:
    """Write what a run has come to.

    Arguments
        run: what is no array, or the state of a bit generator; JSON.
        belongs_to: the fingerprint of the run.

    Raises
        OSError: the file cannot be written; an old one is left as it was.
        ValueError: NaN or infinity in ``run``.
    """
    text = json.dumps(
        {"belongs_to": dict(belongs_to), **run},
        default=np.ndarray.tolist,
        allow_nan=False,
    )
    write_arrays(path, arrays, {"run": text, "sha256": _seal(text, arrays)})


def read_sealed(
    path: Path | str, belongs_to: Mapping[str, str]
) -> tuple[dict[str, Any], Arrays]:
    """Read what ``write_sealed`` wrote: ``run`` and the arrays.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is damaged, is no checkpoint, or belongs to
            another run; the message names the file and all that differs.
    """
    arrays, metadata = read_arrays(path)
    if set(metadata) != {"run", "sha256"}:
        raise ValueError(f"{path} is not a checkpoint of msref")
    if metadata["sha256"] != _seal(metadata["run"], arrays):
        raise ValueError(f"{path} is damaged: its checksum does not fit")
    run: dict[str, Any] = json.loads(metadata["run"])
    _compare(path, run.pop("belongs_to"), belongs_to)
    return run, arrays


# --- fingerprints -----------------------------------------------------------


def described(arrays: list[Array]) -> str:
    """Return how many, how large, and a digest of them."""
    n_entries = sum(array.size for array in arrays)
    return f"{len(arrays)} arrays, {n_entries} numbers, {_digest(arrays)[:16]}"


def described_tree(arrays: Arrays) -> str:
    """Return the same of named arrays, in the order of their names."""
    return described([arrays[name] for name in sorted(arrays)])


def described_rng(state: Mapping[str, Any]) -> str:
    """Return a digest of the state of a bit generator."""
    text = json.dumps(state, default=np.ndarray.tolist)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(arrays: Iterable[Array]) -> str:
    """Return the SHA-256 of shapes, types and values."""
    sha = hashlib.sha256()
    for array in arrays:
        array = on_host(array)
        sha.update(f"{array.shape}{array.dtype.str}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _seal(text: str, arrays: Arrays) -> str:
    """Return the digest by which a damaged file is known."""
    names = sorted(arrays)
    content = json.dumps([text, names, _digest(arrays[k] for k in names)])
    return hashlib.sha256(content.encode()).hexdigest()


def _compare(
    path: Path | str, found: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    """Require the fingerprint of the same run."""
    differing = [
        f"{key} was {found.get(key)}, is {expected.get(key)}"
        for key in sorted({*found, *expected})
        if found.get(key) != expected.get(key)
    ]
    if differing:
        raise ValueError(
            f"{path} is the checkpoint of another run: {'; '.join(differing)}."
            " Start the run it belongs to, or name another file"
        )
