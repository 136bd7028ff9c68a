"""The border: what a vector has to be before anybody believes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from msref.architectures import is_causal
from msref.vectors.schema import problems

if TYPE_CHECKING:
    from msref.vectors.vector import Vector

INPUT, EXPECTED = "input", "expected"
_TREES = ("params", "state0", "dstate")
_INPUTS = ("x", "dy", "lengths")


def is_input(name: str) -> bool:
    """Tell whether an array of this name is an input, or expected."""
    return name in _INPUTS or name.partition("/")[0] in _TREES


def check(vector: Vector, where: str = "") -> None:
    """Hold arrays against the manifest, and both against the network.

    Raises
        ValueError: a name, shape, dtype or number that cannot be.
    """
    where = where or vector.name
    found = problems(vector.manifest)
    if found:
        raise ValueError(f"{where}: {found[0]}")
    if vector.name != vector.manifest["name"]:
        raise ValueError(
            f"{where}: name is {vector.manifest['name']!r}, expected"
            f" {vector.name!r}"
        )
    entries = vector.manifest["arrays"]
    if set(entries) != set(vector.arrays):
        missing = sorted(set(entries) - set(vector.arrays))
        unknown = sorted(set(vector.arrays) - set(entries))
        raise ValueError(
            f"{where}: arrays are not those of the manifest: missing"
            f" {missing}, unknown {unknown}"
        )
    for name, entry in entries.items():
        array = vector.arrays[name]
        got = (str(array.dtype), list(array.shape))
        expected = (entry["dtype"], entry["shape"])
        if got != expected:
            raise ValueError(f"{where}: {name} is {got}, expected {expected}")
        if not np.isfinite(array).all():
            place = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            raise ValueError(
                f"{where}: {name} holds {array[tuple(place)]} at {place},"
                " expected finite numbers"
            )
        role = INPUT if is_input(name) else EXPECTED
        if entry["role"] != role:
            raise ValueError(
                f"{where}: {name} is {entry['role']}, expected {role}"
            )
    _check_order(vector, where)
    _check_network(vector, where)


def _check_order(vector: Vector, where: str) -> None:
    """Require a place and a floor for each expected array, and no others."""
    expected = {
        name: entry
        for name, entry in vector.manifest["arrays"].items()
        if entry["role"] == EXPECTED
    }
    places = sorted(entry.get("order", -1) for entry in expected.values())
    if places != list(range(len(expected))):
        raise ValueError(
            f"{where}: the expected arrays have places {places} in order,"
            f" expected 0..{len(expected) - 1}, each once"
        )
    floors = vector.manifest["tolerances"]["floors"]
    if set(floors) != set(expected):
        odd = sorted(set(floors) ^ set(expected))
        raise ValueError(
            f"{where}: floors and expected arrays differ in {', '.join(odd)}"
        )
    n_time = vector.manifest["sizes"]["n_time"]
    for name, floor in floors.items():
        if isinstance(floor, list) and len(floor) != n_time:
            raise ValueError(
                f"{where}: {name} has {len(floor)} floors, expected one or"
                f" n_time={n_time}"
            )


def _check_network(vector: Vector, where: str) -> None:
    """Compare the shapes of inputs and outputs with the network's own."""
    arch = vector.arch
    sizes = vector.manifest["sizes"]
    n_time, n_batch = sizes["n_time"], sizes["n_batch"]
    state = {k: v.shape for k, v in arch.initial_state(n_batch).items()}
    params = arch.shapes()
    shapes: dict[str, tuple[int, ...]] = {
        "x": (n_time, n_batch, arch.n_in),
        "dx": (n_time, n_batch, arch.n_in),
        "y": (n_time, n_batch, arch.n_out),
        "dy": (n_time, n_batch, arch.n_out),
    }
    for kind in ("params", "grads"):
        shapes |= {f"{kind}/{k}": v for k, v in params.items()}
    for kind in ("state0", "dstate", "state", "dstate0"):
        shapes |= {f"{kind}/{k}": v for k, v in state.items()}
    if not is_causal(arch):
        shapes["lengths"] = (n_batch,)
    missing = sorted(set(shapes) - set(vector.arrays))
    if missing:
        raise ValueError(f"{where}: lacks {missing}, expected for {arch!r}")
    inner = {"y": shapes["y"]}  # the whole network's, of which y is no trace
    for name, array in vector.arrays.items():
        if name.startswith("trace/"):  # statistics have fewer axes
            leading = (n_time, n_batch)[: 2 * (array.ndim > 2)]
            shape = leading + array.shape[len(leading) :]
            inner[name.removeprefix("trace/")] = shape
    shapes |= {f"trace/{k}": v for k, v in inner.items() if k != "y"}
    for name, array in vector.arrays.items():
        kind, _, rest = name.partition("/")
        if kind in ("cut", "dcut") and rest in state:
            shapes[name] = state[rest]
        elif kind == "adjoints" and rest in inner:
            shapes[name] = inner[rest]
        if array.shape != shapes.get(name):
            raise ValueError(
                f"{where}: {name} has shape {array.shape}, expected"
                f" {shapes.get(name, 'no such array')} for {arch!r}"
            )
    lengths = vector.lengths
    if lengths is not None and not (
        lengths.dtype == np.int64
        and ((lengths >= 1) & (lengths <= n_time)).all()
    ):
        raise ValueError(
            f"{where}: lengths are {lengths.tolist()}, expected whole numbers"
            f" in 1..{n_time}"
        )
