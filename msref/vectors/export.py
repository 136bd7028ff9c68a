"""Copies of a vector, for readers of other formats."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from msref.files import whole, write_text
from msref.vectors.schema import text_of
from msref.vectors.vector import Vector, write

FORMATS = ("safetensors", "npz", "json")


def export(vector: Vector, folder: Path | str, form: str) -> list[Path]:
    """Write a copy under ``folder``; return the files.

    Arguments
        form: "safetensors" and "npz" write the arrays, and the manifest
            beside them; "json" one file, ``{"manifest": …, "arrays": {name:
            nested lists}}``, whose numbers read back to the same bits.

    Raises
        OSError: a file cannot be written.
        ValueError: another form.
    """
    if form not in FORMATS:
        raise ValueError(
            f"format is {form!r}, expected one of {', '.join(FORMATS)}"
        )
    if form == "safetensors":
        return list(write(vector, folder))
    stem = Path(folder) / vector.name
    stem.parent.mkdir(parents=True, exist_ok=True)
    said = stem.with_name(f"{stem.name}.json")
    if form == "json":
        write_text(said, text_of(as_json(vector)))
        return [said]
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **vector.arrays)
    numbers = stem.with_name(f"{stem.name}.npz")
    with whole(numbers) as file:
        file.write(packed.getvalue())
    write_text(said, text_of(vector.manifest))
    return [numbers, said]


def as_json(vector: Vector) -> dict[str, Any]:
    """Return manifest and numbers in one JSON value."""
    arrays = {name: array.tolist() for name, array in vector.arrays.items()}
    return {"manifest": vector.manifest, "arrays": arrays}
