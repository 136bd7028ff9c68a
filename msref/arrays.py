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


# --- where arrays live ------------------------------------------------------

DEVICES = ("cpu", "cuda")


class NoGPUError(OSError):
    """CuPy is there, and no GPU that it can use."""


def to_device(tree: Mapping[str, Array], device: str) -> Arrays:
    """Move a dict of arrays to ``device``: ``"cpu"`` or ``"cuda"``.

    An array that is there already comes back as it is.

    Raises
        ValueError: ``device`` is neither.
        ModuleNotFoundError: ``"cuda"`` without CuPy installed.
        NoGPUError: ``"cuda"`` with CuPy and without a GPU; an OSError, too.
    """
    xp = on_device(device)
    return {name: moved(array, xp) for name, array in tree.items()}


def on_device(device: str) -> ModuleType:
    """Return the array library that computes on ``device``.

    Raises
        as ``to_device``.
    """
    if device == "cpu":
        return np
    if device != "cuda":
        raise ValueError(f"device is {device!r}, expected 'cpu' or 'cuda'")
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "device 'cuda' needs CuPy: pip install 'msref[gpu]', or"
            " 'msref[gpu-cuda12]' for CUDA 12"
        ) from error
    try:
        n_devices, reason = cupy.cuda.runtime.getDeviceCount(), ""
    except RuntimeError as error:  # no driver, or one that is too old
        n_devices, reason = 0, f": {error}"
    if n_devices == 0:
        raise NoGPUError(
            "device 'cuda' needs a GPU: CuPy is installed, and finds none"
            + reason
        )
    library: ModuleType = cupy
    return library


def moved(array: npt.ArrayLike, xp: ModuleType) -> Array:
    """Return an array of ``xp``: this one, or a copy on the other side."""
    if xp is not np:
        there: Array = xp.asarray(array)
        return there
    # ``get`` is CuPy's; NumPy's arrays have none.
    return np.asarray(array.get() if hasattr(array, "get") else array)


def on_host(array: npt.ArrayLike) -> Array:
    """Return an array of NumPy: this one, or a copy from the device."""
    return moved(array, np)


def beside(tree: Mapping[str, Array], *others: object) -> Arrays:
    """Move a dict of arrays to where ``others`` live."""
    xp = namespace(*others)
    return {name: moved(array, xp) for name, array in tree.items()}


def as_array(value: npt.ArrayLike) -> Array:
    """Return an array as it is, wherever it lives; NumPy's of all else."""
    on_a_device = type(value).__module__.partition(".")[0] == "cupy"
    return value if on_a_device else np.asarray(value)  # type: ignore[return-value]


# --- dicts of arrays --------------------------------------------------------


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
