"""Reading named arrays from files that a stranger wrote.

Nothing is unpickled and nothing is executed. Sizes are compared with what
the file can hold before memory is asked for, names may stand there once,
numbers are real. Every refusal is a ``ValueError`` that names the file, the
entry, what came and what was expected.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from msref.arrays import Array, Arrays

MAX_BYTES = 1 << 30
MAX_TEXT = 1 << 26
MAX_HEADER = 1 << 24
MAX_DEPTH = 24
"""Bytes of all arrays, of a JSON file, of a header; levels of nesting."""

SUFFIXES = (".safetensors", ".npz", ".json")

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}


def read_named_arrays(path: Path | str, most: int = MAX_BYTES) -> Arrays:
    """Read the arrays of a ``.safetensors``, ``.npz`` or ``.json`` file.

    A JSON file holds lists of numbers, nested by axis, under names; objects
    in objects make names with a slash.

    Arguments
        most: bytes that all arrays together may take.

    Raises
        OSError: the file cannot be read.
        ValueError: it is of another kind, damaged, too large, or holds
            something else than real numbers under distinct names.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path} is a {path.suffix or 'nameless'} file, expected one of"
            f" {', '.join(SUFFIXES)}"
        )
    if path.suffix == ".npz":
        return npz_arrays(read_bytes(path, most), str(path), most)
    if path.suffix == ".json":
        data = read_bytes(path, min(most, MAX_TEXT))
        return json_arrays(parse_json(data, str(path)), str(path))
    return safetensors_arrays(read_bytes(path, most), str(path))


def read_bytes(path: Path | str, most: int) -> bytes:
    """Read a file of at most so many bytes.

    Raises
        OSError: the file cannot be read.
        ValueError: it is larger.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, expected at most {most}"
        )
    return data


def parse_json(data: bytes, where: str) -> Any:
    """Parse JSON; ``where`` names it in errors.

    Raises
        ValueError: no JSON, a key twice, NaN, or nested too deeply.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key {key!r} stands there twice")
            found[key] = value
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"holds {constant}, expected finite numbers")

    too_deep = f"{where} is nested more than {MAX_DEPTH} levels deep"
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse
        )
    except RecursionError:
        raise ValueError(too_deep) from None
    except ValueError as error:
        raise ValueError(f"{where} is not valid JSON: {error}") from error
    if _deeper(value, MAX_DEPTH):
        raise ValueError(too_deep)
    return value


def _shown(name: str) -> str:
    """Return a name that may be printed: it rules no terminal."""
    return name if name.isprintable() else ascii(name)


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list) or not value:
        return False
    return levels == 0 or any(_deeper(v, levels - 1) for v in value)


def safetensors_arrays(data: bytes, where: str) -> Arrays:
    """Read the bytes of a ``.safetensors`` file; bfloat16 as float32.

    Raises
        ValueError: as ``read_named_arrays``.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MAX_HEADER):
        raise ValueError(
            f"{where}: header has {size} bytes, expected at most"
            f" {min(max(len(data) - 8, 0), MAX_HEADER)}; truncated, or not a"
            " .safetensors file"
        )
    # The package's own parser checks offsets; not that a name comes once.
    parse_json(data[8 : 8 + size], f"{where}: header")
    try:
        entries: list[Any] = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(
            f"{where} is damaged or not a .safetensors file: {error}"
        ) from error
    arrays: Arrays = {}
    for name, entry in sorted(entries, key=lambda pair: str(pair[0])):
        dtype, buffer = entry["dtype"], entry["data"]
        if dtype == "BF16":
            halves = np.frombuffer(buffer, "<u2").astype(np.uint32)
            flat: Array = (halves << np.uint32(16)).view(np.float32)
        elif dtype in _DTYPES:
            flat = np.frombuffer(buffer, _DTYPES[dtype])
        else:
            raise ValueError(
                f"{where}: {_shown(name)} has dtype {dtype}, expected one of"
                f" {', '.join(_DTYPES)}, BF16"
            )
        try:
            arrays[str(name)] = flat.reshape(entry["shape"])
        except ValueError as error:  # too many axes, or a vast one by none
            raise ValueError(f"{where}: {_shown(name)}: {error}") from error
    return arrays


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,  # encrypted, or packed in another way
    ValueError,
)


def npz_arrays(data: bytes, where: str, most: int = MAX_BYTES) -> Arrays:
    """Read the bytes of an ``.npz`` file; objects are refused, unread.

    Raises
        ValueError: as ``read_named_arrays``.
    """
    arrays: Arrays = {}
    left = most
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in arrays:
                    raise ValueError(
                        f"{where}: {_shown(member.filename)} is no array or"
                        " stands there twice, expected distinct names in .npy"
                    )
                if member.file_size > left:
                    raise ValueError(
                        f"{where}: {_shown(name)} has {member.file_size} bytes"
                        f" when unpacked, expected at most {left} in what is"
                        f" left of {most}"
                    )
                left -= member.file_size
                if member.compress_type not in (
                    zipfile.ZIP_STORED,
                    zipfile.ZIP_DEFLATED,
                ):
                    raise ValueError(
                        f"{where}: {_shown(name)} is packed by method"
                        f" {member.compress_type}, expected stored or deflated"
                    )
                arrays[name] = _npy(archive, member, f"{where}: {_shown(name)}")
    except _DAMAGE as error:
        if str(error).startswith(where):  # our own words
            raise
        raise ValueError(
            f"{where} is damaged or not an .npz file: {error}"
        ) from error
    return arrays


def _npy(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str
) -> Array:
    """Read one member, its header before its numbers."""
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if header is None:
                raise ValueError(f"version {version} of .npy is not known")
            shape, by_column, dtype = header(file)
            if any(type(n) is not int for n in shape):  # True is one to NumPy
                raise ValueError(f"shape is {shape}, expected whole numbers")
        except Exception as error:  # NumPy's parser fails in many ways
            raise ValueError(f"{where} is no .npy array: {error}") from error
        if dtype.kind not in "fiub" or dtype.itemsize > 8:
            raise ValueError(
                f"{where} has dtype {dtype}, expected real numbers of at most"
                " 8 bytes; objects are never unpickled"
            )
        expected = math.prod(shape) * dtype.itemsize
        got = member.file_size - file.tell()
        if min(shape, default=0) < 0 or got != expected:
            raise ValueError(
                f"{where} has {got} bytes of numbers, expected {expected} for"
                f" shape {shape}"
            )
        flat = np.frombuffer(file.read(), dtype)
    if flat.size != math.prod(shape):
        raise ValueError(
            f"{where} has {flat.size} numbers, expected {math.prod(shape)}"
        )
    native = flat.astype(dtype.newbyteorder("="), copy=False)
    if by_column:
        return native.reshape(shape[::-1]).T
    return native.reshape(shape)


def json_arrays(tree: Any, where: str) -> Arrays:
    """Turn parsed JSON into arrays: float64, or int64 where all are whole.

    Raises
        ValueError: as ``read_named_arrays``.
    """
    if not isinstance(tree, dict):
        raise ValueError(
            f"{where} holds a {type(tree).__name__}, expected an object of"
            " named arrays"
        )
    arrays: Arrays = {}
    for name, value in _leaves(tree, ""):
        if name in arrays:
            raise ValueError(f"{where}: {_shown(name)} stands there twice")
        kinds = {type(v) for v in _flat(value)}
        if not kinds <= {int, float}:
            raise ValueError(
                f"{where}: {_shown(name)} holds"
                f" {', '.join(sorted(k.__name__ for k in kinds))}, expected"
                " numbers"
            )
        try:
            dtype = np.int64 if kinds == {int} else np.float64
            arrays[name] = np.array(value, dtype)
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"{where}: {_shown(name)} is no array, expected lists of"
                f" equal lengths: {error}"
            ) from error
        if not np.isfinite(arrays[name]).all():
            raise ValueError(
                f"{where}: {_shown(name)} overflows, expected finite"
            )
    return arrays


def _leaves(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for inner in value:
            yield from _flat(inner)
    else:
        yield value
