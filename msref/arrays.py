"""Arrays and dicts of arrays: which library they belong to, where they live.

Everything in msref is a ``dict`` of named arrays. An array belongs to NumPy
or to CuPy; the functions here find out which without importing CuPy.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array of NumPy, or of a library with the same interface."""

Arrays: TypeAlias = dict[str, Array]
"""Named arrays: parameters, states, traces, tapes, gradients."""


def namespace(*arrays: object) -> ModuleType:
    """Return the array library that all of ``arrays`` belong to.

    Returns
        ``numpy`` or ``cupy``.

    Raises
        TypeError: an argument is no array, or the arrays belong to
            different libraries.
    """
    found: set[str] = set()
    for array in arrays:
        root = type(array).__module__.partition(".")[0]
        if root not in {"numpy", "cupy"} or not hasattr(array, "shape"):
            raise TypeError(
                f"got {type(array).__name__}, expected an array of NumPy or"
                " CuPy"
            )
        found.add(root)
    if len(found) > 1:
        raise TypeError(
            "arrays of NumPy and CuPy are mixed; move them to one side with"
            " msref.arrays.to_device"
        )
    if found == {"cupy"}:
        return sys.modules["cupy"]
    return np


def to_device(tree: Mapping[str, Array], device: str) -> Arrays:
    """Move a dict of arrays to ``device``: ``"cpu"`` or ``"cuda"``.

    Raises
        ValueError: ``device`` is neither.
        ModuleNotFoundError: ``"cuda"`` without CuPy installed.
    """
    if device == "cpu":
        return {
            name: array.get() if hasattr(array, "get") else np.asarray(array)
            for name, array in tree.items()
        }
    if device == "cuda":
        try:
            import cupy
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "device 'cuda' needs CuPy: pip install 'msref[gpu]'"
            ) from error
        return {name: cupy.asarray(array) for name, array in tree.items()}
    raise ValueError(f"device is {device!r}, expected 'cpu' or 'cuda'")


def prefixed(prefix: str, tree: Mapping[str, Array]) -> Arrays:
    """Put ``prefix/`` in front of every name."""
    return {f"{prefix}/{name}": array for name, array in tree.items()}


def under(prefix: str, tree: Mapping[str, Array]) -> Arrays:
    """Return the arrays whose name starts with ``prefix/``, without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): array
        for name, array in tree.items()
        if name.startswith(start)
    }


def count(tree: Mapping[str, Array]) -> int:
    """Return the number of entries in all arrays together."""
    return sum(array.size for array in tree.values())
