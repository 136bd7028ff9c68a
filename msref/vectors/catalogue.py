"""The catalogue: which files there are, how they are made and checked."""

from __future__ import annotations

import difflib
import functools
import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from msref.architectures import REGISTRY
from msref.arrays import Arrays, prefixed
from msref.vectors.border import EXPECTED, INPUT, is_input
from msref.vectors.conventions import conventions, tolerances
from msref.vectors.equations import equations
from msref.vectors.expected import expected, is_wide
from msref.vectors.flags import flags
from msref.vectors.purposes import PURPOSES, Purpose
from msref.vectors.schema import text_of
from msref.vectors.vector import (
    DATA,
    SPEC,
    Vector,
    array_bytes,
    files,
    read,
    write,
)

PROVENANCE = {
    "spec": SPEC,
    "command": "msref vectors write --regenerate",
    "precision": "80 bits, rounded once to float64",
    "witnesses": [
        "scan of step, reverse-mode autograd",
        "complex step along random directions",
    ],
}


@dataclass(frozen=True)
class Plan:
    """A file that there has to be."""

    name: str
    arch: str
    example: int
    purpose: Purpose


@functools.cache
def plans() -> dict[str, Plan]:
    """Return name -> plan of every file, by architecture and purpose."""
    found: dict[str, Plan] = {}
    for arch in REGISTRY:
        for purpose in PURPOSES:
            for example in purpose.examples.get(arch, ()):
                name = f"{arch}/{purpose.name}"
                if name in found:
                    name += f"-{example + 1}"
                found[name] = Plan(name, arch, example, purpose)
    return found


def names(wanted: Iterable[str] = ()) -> list[str]:
    """List the files, all or some.

    Arguments
        wanted: names ("lstm/basic"), architectures ("lstm") or patterns
            ("*/ragged"); none for all.

    Raises
        ValueError: one of them fits no file.
    """
    found: dict[str, None] = {}
    patterns = list(wanted)
    for pattern in patterns:
        fits = [k for k in plans() if fnmatch(k, pattern)]
        fits += [k for k, p in plans().items() if p.arch == pattern]
        if not fits:
            raise ValueError(_no_such(pattern))
        found |= dict.fromkeys(fits)
    return list(found if patterns else plans())


def _no_such(name: str) -> str:
    near = difflib.get_close_matches(name, [*plans(), *REGISTRY], 3)
    hint = f", did you mean {' or '.join(near)}?" if near else ""
    return f"{name!r} is no vector of msref{hint} (see: msref vectors list)"


def load(name: str) -> Vector:
    """Read a shipped vector: ``load("lstm/basic")``.

    Raises
        ValueError: there is none of that name, or it is damaged.
    """
    if name not in plans():
        raise ValueError(_no_such(name))
    return read(DATA / name)


def generate(name: str) -> Vector:
    """Make a vector anew, from its plan alone.

    Raises
        ArithmeticError: the witnesses disagree; see ``expected``.
    """
    plan = plans()[name]
    arch = REGISTRY[plan.arch].examples[plan.example]
    case = plan.purpose.draw(arch, np.random.default_rng([*name.encode()]))
    found = expected(arch, case, plan.purpose.cut)
    inputs: Arrays = prefixed("params", case.params) | {"x": case.x}
    inputs |= prefixed("state0", case.state) | {"dy": case.dy}
    inputs |= prefixed("dstate", case.dstate)
    if case.lengths is not None:
        inputs["lengths"] = np.asarray(case.lengths, np.int64)
    arrays = inputs | found.arrays
    cut = plan.purpose.cut
    manifest: dict[str, Any] = {
        "schema": SPEC,
        "name": name,
        "purpose": plan.purpose.name,
        "breaks": plan.purpose.breaks,
        "architecture": _described(plan),
        "sizes": {"n_time": case.n_time, "n_batch": case.n_batch},
        "t0": case.t0,
        "arrays": _entries(arrays, list(found.arrays)),
        "equations": equations(arch, "Equations"),
        "adjoint_equations": equations(arch, "Adjoints"),
        "conventions": conventions(arch, case.t0, cut),
        "tolerances": tolerances(found.floors),
        "provenance": PROVENANCE
        | {"agreement": 10.0 ** math.ceil(math.log10(found.agreement))},
        "checksum": hashlib.sha256(array_bytes(arrays)).hexdigest(),
    }
    if cut is not None:
        manifest["cut"] = cut
    manifest["flags"] = flags(Vector(name, manifest, arrays))
    return Vector(name, manifest, arrays)


def _entries(arrays: Arrays, in_order: list[str]) -> dict[str, Any]:
    """Describe arrays; expected ones have a place in causal order."""
    return {
        name: {
            "dtype": str(array.dtype),
            "role": INPUT if is_input(name) else EXPECTED,
            "shape": list(array.shape),
        }
        | ({} if is_input(name) else {"order": in_order.index(name)})
        for name, array in arrays.items()
    }


def _described(plan: Plan) -> dict[str, Any]:
    entry = REGISTRY[plan.arch]
    arch = entry.examples[plan.example]
    return {
        "name": plan.arch,
        "example": plan.example,
        "call": repr(arch),
        "paper": entry.paper,
        "year": entry.year,
        "n_in": arch.n_in,
        "n_out": arch.n_out,
    }


def write_all(
    wanted: Iterable[str], folder: Path = DATA
) -> Iterator[tuple[Path, Path]]:
    """Make vectors anew and write them; yield the paths of each.

    What a file kills is measured too: that runs every known wrong variant.
    """
    from msref.vectors.power import kills  # which reads what is written here

    for name in wanted:
        vector = generate(name)
        vector.manifest["kills"] = kills(vector)
        yield write(vector, folder)


# --- checking ---------------------------------------------------------------


def check(name: str, folder: Path = DATA) -> list[str]:
    """Hold a file against a vector made anew; return what differs, in words.

    The numbers have to be the same to the last bit, and the manifest to the
    last letter, but for the list of what the file kills. Where there are no
    80-bit numbers, 1e-13 has to do.

    Raises
        OSError: a file cannot be read.
    """
    try:
        vector = read(folder / name)
    except ValueError as error:
        return [str(error)]
    if vector.name != name:
        return [f"{name}: the manifest calls itself {vector.name}"]
    fresh = generate(name)
    if not is_wide():
        return _about(vector, fresh)
    found = [
        f"{name}: {key} {_difference(vector.arrays, fresh.arrays, key)}"
        for key in fresh.arrays.keys() | vector.arrays.keys()
        if not _same(vector.arrays, fresh.arrays, key)
    ]
    measured = {k: v for k, v in vector.manifest.items() if k == "kills"}
    expected = fresh.manifest | measured
    found += [
        f"{name}: {key} of the manifest is not what is generated"
        for key in sorted(expected.keys() | vector.manifest.keys())
        if expected.get(key) != vector.manifest.get(key)
    ]
    numbers, said = files(name, folder)
    if not found and (
        numbers.read_bytes() != array_bytes(fresh.arrays)
        or said.read_text("utf-8") != text_of(expected)
    ):
        found.append(f"{name}: other bytes, though the same content")
    return found


def _same(here: Arrays, fresh: Arrays, key: str) -> bool:
    return (
        key in here
        and key in fresh
        and here[key].tobytes() == fresh[key].tobytes()
    )


def _difference(here: Arrays, fresh: Arrays, key: str) -> str:
    """Say how one array differs from the one made anew."""
    if key not in here or key not in fresh:
        return "is missing" if key not in here else "is not generated"
    got, expected = here[key], fresh[key]
    if got.shape != expected.shape:
        return f"has shape {got.shape}, expected {expected.shape}"
    gap = np.abs(got - expected)
    place = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
    return f"is {got[place]} at {place}, expected {expected[place]}"


def _about(vector: Vector, fresh: Vector) -> list[str]:
    """Compare within 1e-13 of each array's largest entry."""
    return [
        f"{vector.name}: {key} is off by more than 1e-13"
        for key, value in fresh.arrays.items()
        if key not in vector.arrays
        or np.abs(vector.arrays[key] - value).max(initial=0.0)
        > 1e-13 * np.abs(value).max(initial=0.0)
    ]


def strangers(folder: Path = DATA) -> list[str]:
    """Name what lies in the folder but belongs to no plan, or is missing."""
    planned = {
        f"{name}{suffix}"
        for name in plans()
        for suffix in (".safetensors", ".json")
    } | {"schema.json"}
    here = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return [f"{name} is not planned" for name in sorted(here - planned)] + [
        f"{name} is missing" for name in sorted(planned - here)
    ]
