"""What a comparison found: a row for each array, and where they part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.vectors.diagnosis import Diagnosis

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
        got, expected = f"{self.got:.9g}", f"{self.expected:.9g}"
        if got == expected:
            got, expected = repr(self.got), repr(self.expected)
        lines = [
            f"first divergence: {self.array}{at}:"
            f" got {got}, expected {expected}"
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


def row_of(name: str, got: Array, expected: Array, share: Array) -> Row:
    """Return the row of an array, by its worst entry."""
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


def _listed(names: tuple[str, ...], most: int = 12) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
