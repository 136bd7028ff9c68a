"""Files that are either whole or not there.

Every file is written under a temporary name beside its target, flushed to
the disk, and renamed. A full disk, a read-only folder or a kill in between
leaves the old file as it was. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from msref.arrays import Arrays, on_host


@contextlib.contextmanager
def whole(path: Path | str) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; the file appears only when all is written.

    Raises
        OSError: the target cannot be written; nothing is left behind.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part"
    )
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8."""
    with whole(path) as file:
        file.write(text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as JSON, readable by people, NaN refused."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is no JSON; the message names file and place.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def write_arrays(
    path: Path | str, arrays: Arrays, metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays and a few strings as ``.safetensors``.

    Where the arrays live does not show in the file.
    """
    contiguous = {
        k: np.asarray(on_host(v), order="C") for k, v in arrays.items()
    }
    data = save(contiguous, dict(metadata) if metadata else None)
    with whole(path) as file:
        file.write(_in_order(data))


def _in_order(data: bytes) -> bytes:
    """Sort the strings in a header: safetensors writes them in random order.

    Equal content then makes equal bytes. The header's length does not change.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" not in header:
        return data
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    return data[:8] + text.encode().ljust(size) + data[8 + size :]


def read_arrays(path: Path | str) -> tuple[Arrays, dict[str, str]]:
    """Read what ``write_arrays`` wrote: arrays and metadata.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is truncated or is no ``.safetensors`` file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    try:
        with safe_open(str(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or not a .safetensors file: {error}"
        ) from error
