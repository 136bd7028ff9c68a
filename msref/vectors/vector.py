"""A golden vector: inputs and all expected numbers of one run of a network.

Two files make one vector: ``<name>.safetensors`` holds the arrays,
``<name>.json`` the manifest that explains them. Both are read as if a
stranger had written them: sizes before memory, names before numbers, and a
checksum before anything is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from msref.architectures import REGISTRY
from msref.arrays import Array, Arrays, under
from msref.files import whole, write_text
from msref.untrusted import parse_json, read_bytes, safetensors_arrays
from msref.vectors.border import EXPECTED, check
from msref.vectors.schema import problems, text_of

SPEC = "msref-vectors/1"
DATA = Path(__file__).parent / "data"

MAX_MANIFEST = 1 << 20
MAX_ARRAYS = 1 << 26
"""Bytes that a manifest and a file of arrays may have; ours are far below."""


@dataclass(frozen=True)
class Vector:
    """A golden vector in memory.

    Attributes
        name: "lstm/gate-order", which is also where its files lie.
        manifest: what the JSON file says; see ``data/schema.json``.
        arrays: flat name -> array, float64 but for ``lengths`` (int64).
            inputs    params/…, x, state0/…, dy, dstate/…, lengths
            expected  trace/…, y, state/…, adjoints/…, dx, dstate0/…,
            grads/…; where a sequence is cut, also cut/… and dcut/…, the
            state at the cut and its gradient.
            Time leads: x, y, dy, dx, trace/…, adjoints/… are (n_time,
            n_batch, ·), but for statistics over a batch, which have fewer
            axes. The quantity called ``y`` of the whole network is
            ``y``, not ``trace/y``.
    """

    name: str
    manifest: dict[str, Any]
    arrays: Arrays

    @property
    def arch(self) -> Any:
        """The network, from the registry; nothing of the file is executed."""
        return architecture(self.manifest, self.name)

    @property
    def t0(self) -> int:
        """Absolute time of the first frame."""
        return int(self.manifest["t0"])

    @property
    def cut(self) -> int | None:
        """Frames after which ``cut/…`` is the state."""
        cut: int | None = self.manifest.get("cut")
        return cut

    @property
    def n_time(self) -> int:
        """Number of time steps."""
        return int(self.x.shape[0])

    @property
    def n_batch(self) -> int:
        """Number of sequences."""
        return int(self.x.shape[1])

    @property
    def lengths(self) -> Array | None:
        """Frames that count (n_batch,), where the network looks ahead."""
        return self.arrays.get("lengths")

    @property
    def counted(self) -> Array:
        """Which frames count, (n_time, n_batch) of bool; the rest is padding.

        What arrays with a time axis hold on padding is defined, and means
        nothing.
        """
        t = np.arange(self.n_time)[:, None]
        if self.lengths is None:
            return np.broadcast_to(t >= 0, (self.n_time, self.n_batch))
        counted: Array = t < self.lengths
        return counted

    @property
    def params(self) -> Arrays:
        """Parameters, under their names in the equations."""
        return under("params", self.arrays)

    @property
    def x(self) -> Array:
        """Input (n_time, n_batch, n_in)."""
        return self.arrays["x"]

    @property
    def state0(self) -> Arrays:
        """State before the first frame."""
        return under("state0", self.arrays)

    @property
    def dy(self) -> Array:
        """Gradient of the loss at each output (n_time, n_batch, n_out)."""
        return self.arrays["dy"]

    @property
    def dstate(self) -> Arrays:
        """Gradient of the loss at the final state."""
        return under("dstate", self.arrays)

    def expected(self) -> Arrays:
        """Return the expected arrays alone, in causal order.

        First the trace as ``step`` computes it, y, the final state; then
        backwards the adjoints, dx, dstate0, grads.
        """
        entries = self.manifest["arrays"]
        names = [k for k in self.arrays if entries[k]["role"] == EXPECTED]
        names.sort(key=lambda k: entries[k]["order"])
        return {name: self.arrays[name] for name in names}


def architecture(manifest: Mapping[str, Any], name: str) -> Any:
    """Look up the network that a manifest speaks of.

    Raises
        ValueError: the registry knows no such network, or another one.
    """
    said = manifest["architecture"]
    entry = REGISTRY.get(said["name"])
    if entry is None:
        raise ValueError(
            f"{name}: architecture is {said['name']!r}, expected one of"
            f" {', '.join(REGISTRY)}"
        )
    if not 0 <= said["example"] < len(entry.examples):
        raise ValueError(
            f"{name}: example is {said['example']} of {said['name']},"
            f" expected 0..{len(entry.examples) - 1}"
        )
    arch = entry.examples[said["example"]]
    if repr(arch) != said["call"]:
        raise ValueError(
            f"{name}: architecture is {said['call']}, but example"
            f" {said['example']} of {said['name']} is {arch!r}: the file is"
            " of another version of msref"
        )
    return arch


# --- files ------------------------------------------------------------------


def array_bytes(arrays: Arrays) -> bytes:
    """Return the content of the ``.safetensors`` file; equal arrays, equal."""
    data: bytes = save({k: np.asarray(v, order="C") for k, v in arrays.items()})
    return data


def write(vector: Vector, folder: Path | str) -> tuple[Path, Path]:
    """Write both files of a vector under ``folder``; return their paths.

    Raises
        OSError: they cannot be written.
        ValueError: the vector breaks its own rules; nothing is written.
    """
    check(vector)
    stem = Path(folder) / vector.name
    stem.parent.mkdir(parents=True, exist_ok=True)
    numbers, manifest = _files(stem)
    with whole(numbers) as file:
        file.write(array_bytes(vector.arrays))
    write_text(manifest, text_of(vector.manifest))
    return numbers, manifest


def read(path: Path | str) -> Vector:
    """Read a vector: either of its two files, or their common stem.

    Raises
        OSError: a file cannot be read.
        ValueError: a file is damaged, of another spec, or not what the
            other one says; the message names file, entry, what came and
            what was expected.
    """
    stem = Path(path)
    if stem.suffix in (".safetensors", ".json"):
        stem = stem.with_suffix("")
    numbers, said = _files(stem)
    manifest = read_manifest(said)
    data = read_bytes(numbers, MAX_ARRAYS)
    checksum = hashlib.sha256(data).hexdigest()
    if checksum != manifest["checksum"]:
        raise ValueError(
            f"{numbers}: checksum is {checksum}, expected"
            f" {manifest['checksum']} by {said.name}: the numbers were changed"
        )
    arrays = safetensors_arrays(data, str(numbers))
    name = manifest["name"]
    if name.rpartition("/")[2] != stem.name:
        raise ValueError(
            f"{said}: name is {name!r}, expected one that ends in"
            f" {stem.name!r}, as the file's does"
        )
    vector = Vector(name, manifest, arrays)
    check(vector, str(numbers))
    return vector


def read_manifest(path: Path | str) -> dict[str, Any]:
    """Read a manifest and hold it against the schema.

    Raises
        OSError: the file cannot be read.
        ValueError: it is no JSON or breaks the schema.
    """
    manifest = parse_json(read_bytes(path, MAX_MANIFEST), str(path))
    found = problems(manifest)
    if found:
        raise ValueError(f"{path}: {found[0]}")
    return dict(manifest)


def files(name: str, folder: Path | str = DATA) -> tuple[Path, Path]:
    """Return the paths of arrays and manifest of the vector ``name``."""
    return _files(Path(folder) / name)


def _files(stem: Path) -> tuple[Path, Path]:
    """Add suffixes; a stem may hold dots."""
    return (
        stem.with_name(f"{stem.name}.safetensors"),
        stem.with_name(f"{stem.name}.json"),
    )
