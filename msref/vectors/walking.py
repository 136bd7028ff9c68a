"""All entries of a vector in causal order, and the first that is off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from msref.arrays import Arrays
from msref.vectors.border import EXPECTED, is_input
from msref.vectors.comparison import Divergence
from msref.vectors.judging import is_forward, over_time
from msref.vectors.order import groups
from msref.vectors.vector import Vector


def causal_order(vector: Vector) -> tuple[str, ...]:
    """Sort a vector's arrays: inputs, forwards, backwards."""
    found = [k for k in vector.arrays if is_input(k)]
    seen = dict.fromkeys(found)
    for name, _ in _events(vector):
        seen.setdefault(name)
    return tuple(seen)


def _events(vector: Vector) -> Iterator[tuple[str, int | None]]:
    """Walk all expected entries in causal order: array and time step."""
    steps = range(vector.n_time)
    entries = vector.manifest["arrays"]
    names = [k for k in vector.arrays if entries[k]["role"] == EXPECTED]
    of_kind = {
        kind: [k for k in names if k.startswith(f"{kind}/")]
        for kind in ("cut", "state", "dcut", "dstate0", "grads")
    }
    parts = groups(vector.arch)
    for group in parts:
        own = [_flat(k) for k in group.names if _flat(k) in vector.arrays]
        yield from _walk(own, steps, vector)
    yield from ((k, None) for k in of_kind["cut"] + of_kind["state"])
    for group in reversed(parts):
        own = [f"adjoints/{k}" for k in reversed(group.names)]
        own = [k for k in own if k in vector.arrays]
        yield from _walk(own, steps[::-1], vector)
    yield from ((k, None) for k in of_kind["dcut"])
    yield from (("dx", t) for t in steps[::-1])
    yield from ((k, None) for k in of_kind["dstate0"] + of_kind["grads"])


def _flat(name: str) -> str:
    return "y" if name == "y" else f"trace/{name}"


def _walk(
    names: list[str], steps: range, vector: Vector
) -> Iterator[tuple[str, int | None]]:
    timed = [k for k in names if over_time(k, vector)]
    yield from ((k, None) for k in names if k not in timed)
    for t in steps:
        yield from ((k, t) for k in timed)


# --- the first divergence ---------------------------------------------------


def first_divergence(
    vector: Vector, given: Arrays, shares: Arrays
) -> Divergence | None:
    """Return the first entry that is off, inputs before all."""
    for name, share in shares.items():
        if is_input(name) and share.size and share.max() > 1.0:
            return _divergence(vector, given, shares, name, None)
    for name, t in _events(vector):
        if name in shares:
            share = shares[name] if t is None else shares[name][t]
            if share.max(initial=0.0) > 1.0:
                return _divergence(vector, given, shares, name, t)
    return None


def _divergence(
    vector: Vector, given: Arrays, shares: Arrays, name: str, t: int | None
) -> Divergence:
    share = shares[name] if t is None else shares[name][t]
    inner = np.unravel_index(int(share.argmax()), share.shape)
    place = tuple(int(i) for i in inner)
    if t is not None:
        place = (t, *place)
    has_rows = t is not None or name.startswith(
        ("state", "dstate", "cut/", "dcut/")
    )
    agreed, absent = _before(vector, given, name, t)
    return Divergence(
        array=name,
        time=t,
        batch=place[-2] if has_rows and len(place) > 1 else None,
        unit=place[-1] if has_rows else None,
        place=place,
        got=float(given[name][place]),
        expected=float(vector.arrays[name][place]),
        agreed=agreed,
        not_given=absent,
    )


def _before(
    vector: Vector, given: Arrays, name: str, t: int | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what was computed before: given, so it agreed, and not given.

    At a time step that is what the array depends on in the step, and all
    arrays of the steps before; else all that stand before it.
    """
    if is_input(name):
        return (), ()
    earlier: dict[str, None] = {}
    for other, s in _events(vector):
        if (other, s) == (name, t):
            break
        earlier.setdefault(other)
    if t == 0 and is_forward(name):
        known = _flat(name.removeprefix("trace/")).removeprefix("trace/")
        for group in groups(vector.arch):
            if known in group.names:
                own = {_flat(k) for k in group.upstream[known]}
                others = {_flat(k) for k in group.names} - own
                earlier = {k: None for k in earlier if k not in others}
    agreed = tuple(k for k in earlier if k in given)
    return agreed, tuple(k for k in earlier if k not in given)
