"""Hold a port's numbers against a vector, and say where they first part.

Forwards the arrays are walked in causal order, step by step, and backwards
in the reverse of it. The first entry that is off names the equation: all
that it was computed from, as far as it was given, agreed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.vectors.border import EXPECTED, is_input
from msref.vectors.candidates import read_candidate
from msref.vectors.catalogue import load, plans
from msref.vectors.diagnose import Diagnosis, diagnose_port
from msref.vectors.judging import is_forward, over_time, share_of
from msref.vectors.order import groups
from msref.vectors.vector import Vector, read

AGREES, DIFFERS, NOT_FINITE = "agrees", "differs", "not finite"


@dataclass(frozen=True)
class Row:
    """One array that was given.

    Attributes
        array: its name in the vector.
        verdict: "agrees", "differs" or "not finite".
        place: index of the worst entry.
        got, expected: both values there.
        excess: share of the allowed difference used there; above 1 differs.
        beyond: share of all entries that differ.
    """

    array: str
    verdict: str
    place: tuple[int, ...]
    got: float
    expected: float
    excess: float
    beyond: float


@dataclass(frozen=True)
class Divergence:
    """The first entry, in causal order, that is off.

    Attributes
        array: its name in the vector.
        time: time step, ``None`` where the array has none.
        batch, unit: row and unit; ``None`` where the array has none.
        place: the whole index.
        got, expected: both values there.
        agreed: what it was computed from, at that step, and agreed.
        not_given: what it was computed from and was not given.
    """

    array: str
    time: int | None
    batch: int | None
    unit: int | None
    place: tuple[int, ...]
    got: float
    expected: float
    agreed: tuple[str, ...]
    not_given: tuple[str, ...]

    def __str__(self) -> str:
        where = [
            f"{name}={value}"
            for name, value in (
                ("t", self.time),
                ("batch", self.batch),
                ("unit", self.unit),
            )
            if value is not None
        ]
        at = f" at {', '.join(where)}" if where else f" at {list(self.place)}"
        lines = [
            f"first divergence: {self.array}{at}:"
            f" got {self.got:.9g}, expected {self.expected:.9g}"
        ]
        if self.agreed:
            lines.append(f"  before it agreed: {_listed(self.agreed)}")
        else:
            lines.append("  nothing before it was given")
        if self.not_given:
            lines.append(f"  not given: {_listed(self.not_given)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Comparison:
    """A port held against a vector; ``print`` it.

    Attributes
        reference: name of the vector.
        rows: one for each array that was given, in causal order.
        first: where the numbers first part; ``None`` where all agree.
        diagnosis: what explains it; ``None`` where all agree, or unasked.
        shares: name -> share of the allowed difference, entry by entry.
        missing: expected arrays that were not given.
    """

    reference: str
    rows: tuple[Row, ...]
    first: Divergence | None
    diagnosis: Diagnosis | None
    shares: Arrays = field(repr=False)
    missing: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every array that was given agrees."""
        return self.first is None

    @property
    def precision(self) -> str | None:
        """The precision that the port computes in, as far as one can tell."""
        if self.diagnosis is not None:
            return self.diagnosis.precision
        return None

    def __str__(self) -> str:
        n = len(self.rows)
        agreeing = sum(row.verdict == AGREES for row in self.rows)
        head = f"{self.reference}: {agreeing} of {n} arrays agree"
        if self.ok:
            head = f"{self.reference}: all {n} arrays agree"
        if self.missing:
            head += f", {len(self.missing)} were not given"
        lines = [head]
        if self.first is not None:
            lines.append(str(self.first))
        if self.diagnosis is not None:
            lines.append(str(self.diagnosis))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the shares; numbers that are none as text."""

        def number(value: float) -> float | str:
            return value if np.isfinite(value) else str(value)

        rows = [
            {
                "array": row.array,
                "verdict": row.verdict,
                "place": list(row.place),
                "got": number(row.got),
                "expected": number(row.expected),
                "excess": number(row.excess),
                "beyond": row.beyond,
            }
            for row in self.rows
        ]
        first: dict[str, Any] | None = None
        if self.first is not None:
            first = {
                "array": self.first.array,
                "time": self.first.time,
                "batch": self.first.batch,
                "unit": self.first.unit,
                "place": list(self.first.place),
                "got": number(self.first.got),
                "expected": number(self.first.expected),
                "agreed": list(self.first.agreed),
                "not_given": list(self.first.not_given),
            }
        return {
            "reference": self.reference,
            "ok": self.ok,
            "rows": rows,
            "first": first,
            "missing": list(self.missing),
            "diagnosis": None
            if self.diagnosis is None
            else self.diagnosis.to_json(),
        }

    def draw(self, path: Path | str) -> None:
        """Draw the error over time and arrays, as PNG; see ``divergence``."""
        from msref.vectors.divergence import draw

        draw(self, path)


def compare(
    reference: Vector | str | Path,
    candidate: Mapping[str, Array] | str | Path,
    *,
    mapping: Mapping[str, str] | None = None,
    diagnose: bool = True,
    seconds: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Hold a candidate's arrays against a vector.

    Arguments
        reference: a vector, the name of a shipped one ("lstm/basic"), or
            the path of its files.
        candidate: arrays under the vector's names (``trace/i``, ``y``,
            ``state/h``, ``grads/W_xi``, …), or a file of them; any of the
            expected ones, and inputs, which are held against the vector's.
        mapping: name in the candidate -> name in the vector.
        diagnose: look for the mistake that explains a difference.
        seconds: how long to look, at most.
        progress: called with (tried, all) while looking.

    Raises
        OSError: a file cannot be read.
        ValueError: no such vector; a name that it does not have, a shape
            that is not its, text or complex numbers, or nothing expected
            at all.
    """
    vector = opened(reference)
    if isinstance(candidate, str | Path):
        candidate = read_candidate(candidate)
    given = _checked(vector, candidate, mapping or {})
    order = causal_order(vector)
    shares = {
        name: share_of(name, given[name], vector.arrays[name], vector)
        for name in order
        if name in given
    }
    rows = tuple(
        _row(name, given[name], vector.arrays[name], share)
        for name, share in shares.items()
    )
    first = _first(vector, given, shares)
    diagnosis = None
    if first is not None and diagnose:
        diagnosis = diagnose_port(
            vector, given, seconds=seconds, progress=progress
        )
    missing = tuple(k for k in order if k not in given and not is_input(k))
    return Comparison(
        vector.name, rows, first, diagnosis, shares, missing, order
    )


def opened(reference: Vector | str | Path) -> Vector:
    """Return a vector by its name, its files, or itself."""
    if isinstance(reference, Vector):
        return reference
    if isinstance(reference, str) and reference in plans():
        return load(reference)
    path = Path(reference)
    on_disk = path.is_file() or path.with_name(f"{path.name}.json").is_file()
    if isinstance(reference, str) and not on_disk:
        return load(reference)  # which says what there is
    return read(path)


# --- the border -------------------------------------------------------------


def _checked(
    vector: Vector, candidate: Mapping[str, Array], mapping: Mapping[str, str]
) -> Arrays:
    """Return the candidate's arrays under the vector's names, checked."""
    for name in mapping:
        if name not in candidate:
            raise ValueError(
                f"mapping names {name!r}, which the candidate does not hold"
                f"{_near(name, candidate)}"
            )
    given: Arrays = {}
    for name, value in candidate.items():
        known = mapping.get(name, name)
        if known not in vector.arrays:
            through = (
                f" (by the mapping of {name!r})" if name in mapping else ""
            )
            raise ValueError(
                f"{known!r}{through} is no array of {vector.name}"
                f"{_near(known, vector.arrays)}"
            )
        if known in given:
            raise ValueError(f"two arrays are called {known!r}, expected one")
        given[known] = _array(known, value, vector)
    if not any(not is_input(name) for name in given):
        raise ValueError(
            f"the candidate holds none of the expected arrays of"
            f" {vector.name}, expected at least one of y, state/…, trace/…,"
            " dx, dstate0/…, grads/…, adjoints/…"
        )
    return given


def _near(name: str, known: Mapping[str, Any]) -> str:
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, 3, 0.5)
    near = [lower[k] for k in close]
    last = name.rpartition("/")[2]
    near += [k for k in known if k.rpartition("/")[2] == last and k not in near]
    return f"; did you mean {' or '.join(near[:4])}?" if near else ""


def _array(name: str, value: Array, vector: Vector) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} has dtype {array.dtype}, expected real numbers"
        )
    expected = vector.arrays[name].shape
    if array.shape != expected:
        raise ValueError(
            f"{name} has shape {array.shape}, expected {expected}"
            f"{_hint(name, array, vector)}"
        )
    return array


def _hint(name: str, array: Array, vector: Vector) -> str:
    """Recognise a wrong shape."""
    shape, expected = array.shape, vector.arrays[name].shape
    if len(shape) > 1 and (shape[1], shape[0], *shape[2:]) == expected:
        if over_time(name, vector):
            return (
                ": that is (n_batch, n_time, ·), batch first; swap the first"
                " two axes"
            )
        return ": that is transposed"
    if tuple(n for n in shape if n != 1) == tuple(
        n for n in expected if n != 1
    ):
        return ": there is an axis of length 1 too many or too few"
    same = [
        other
        for other, value in vector.arrays.items()
        if value.shape == shape and is_forward(other) and is_forward(name)
    ]
    if same:
        return f": that is the shape of {' and '.join(same[:3])}"
    if array.size == vector.arrays[name].size:
        return ": the count is right, the axes are not"
    return ""


# --- causal order -----------------------------------------------------------


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


# --- what parts where -------------------------------------------------------


def _row(name: str, got: Array, expected: Array, share: Array) -> Row:
    place = np.unravel_index(int(share.argmax()), share.shape)
    index = tuple(int(i) for i in place)
    verdict = DIFFERS if share[index] > 1.0 else AGREES
    if not np.isfinite(got).all() and share[index] > 1.0:
        verdict = NOT_FINITE
    return Row(
        name,
        verdict,
        index,
        float(got[index]),
        float(expected[index]),
        float(share[index]),
        float((share > 1.0).mean()),
    )


def _first(vector: Vector, given: Arrays, shares: Arrays) -> Divergence | None:
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


def _listed(names: tuple[str, ...], most: int = 12) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
