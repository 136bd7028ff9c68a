"""Which mistake explains a port's numbers.

Every known wrong variant of the network is run on the vector's inputs and
the port's arrays are held against it. One that all given arrays agree with
is named; several that agree are all named, with the file or the array that
would tell them apart. Where none agrees alone, pairs are tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.vectors.backward import Wrong, wrong_backwards
from msref.vectors.border import is_input
from msref.vectors.judging import (
    EPS32,
    EPS64,
    agreeing,
    agrees,
    is_forward,
    over_time,
    unit_of,
)
from msref.vectors.precision import Precision, diagnose_precision
from msref.vectors.telling import told_apart_by
from msref.vectors.variants import gradients, run_variant, variants
from msref.vectors.vector import Vector
from msref.verification.variants import Variant

OFTEN = (
    "the other reset",
    "update gate inverted",
    "bias outside the reset",
    "initial state ignored",
    "weight transposed forwards",
    "bias dropped",
    "bias doubled",
    "forget bias added while running",
    "gates permuted",
    "state order",
    "batch and time swapped",
    "final state of the step before",
    "sequence read backwards",
    "reversed outputs not flipped back",
    "clock off by one",
    "gate order",
)
"""Kinds of mistakes that pairs are looked for among first; our choice."""

Progress = Callable[[int, int], None]
Found = list[tuple[tuple[Variant, ...], Arrays]]


@dataclass(frozen=True)
class Match:
    """A mistake, or two of them, that a port's numbers agree with.

    Attributes
        keys: the mistakes in words.
        advice: a sentence for each: what to change.
        agreeing, held: arrays that agree, of those held against it.
    """

    keys: tuple[str, ...]
    advice: tuple[str, ...]
    agreeing: int
    held: int


@dataclass(frozen=True)
class Diagnosis:
    """What explains a port's numbers.

    Attributes
        kind: "inputs", "variant", "pair", "backward", "precision" or
            "unknown".
        matches: what agrees; more than one cannot be told apart by the
            arrays given.
        precision: "float64", "float32", "TF32", "bfloat16", "float16", or
            ``None`` where it cannot be told.
        told_by: what would tell several matches apart, in words.
        notes: what else there is to say.
    """

    kind: str
    matches: tuple[Match, ...] = ()
    precision: str | None = None
    told_by: str = ""
    notes: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        """Whether a mistake was found, and one alone."""
        return len(self.matches) == 1

    def __str__(self) -> str:
        lines = []
        if len(self.matches) == 1:
            (match,) = self.matches
            joined = " and ".join(match.keys)
            lines.append(
                f"diagnosis: {joined} ({match.agreeing} of {match.held} arrays"
                " agree with that)"
            )
            lines += [f"  {_sentence(text)}" for text in match.advice]
        elif self.matches:
            lines.append(
                f"diagnosis: one of {len(self.matches)} mistakes that the"
                " arrays given cannot tell apart"
            )
            for match in self.matches[:8]:
                lines.append(f"  - {' and '.join(match.keys)}")
                lines += [f"      {_sentence(text)}" for text in match.advice]
            if len(self.matches) > 8:
                lines.append(f"  - and {len(self.matches) - 8} more")
            lines.append(f"  {_sentence(self.told_by)}")
        lines += [f"  {_sentence(note)}" for note in self.notes]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "kind": self.kind,
            "matches": [
                {
                    "keys": list(match.keys),
                    "advice": list(match.advice),
                    "agreeing": match.agreeing,
                    "held": match.held,
                }
                for match in self.matches
            ],
            "precision": self.precision,
            "told_by": self.told_by,
            "notes": list(self.notes),
        }


def _sentence(text: str) -> str:
    """Begin a sentence with a capital, unless with a name, and end it."""
    first = text.partition(" ")[0]
    if first.isalpha() and len(first) > 1 and first.islower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", ":")) or not text else f"{text}."


# --- the whole search -------------------------------------------------------


def diagnose_port(
    vector: Vector,
    given: Mapping[str, Array],
    *,
    seconds: float = 10.0,
    progress: Progress | None = None,
) -> Diagnosis:
    """Find what explains a port's numbers.

    Arguments
        given: arrays under the vector's names; some of them differ.
        seconds: how long to try pairs, at most.
        progress: called with (pairs tried, pairs in all).
    """
    moved = [
        name
        for name, value in given.items()
        if is_input(name)
        and not agrees(name, value, vector.arrays[name], vector)
    ]
    if moved:
        said = f"the port ran on other inputs: {', '.join(moved)}"
        return Diagnosis("inputs", notes=(f"diagnosis: {said}",))
    forward = {k: v for k, v in given.items() if is_forward(k)}
    backward = {
        k: v for k, v in given.items() if not is_forward(k) and not is_input(k)
    }
    _, bad = agreeing(forward, vector.arrays, vector)
    if bad:
        found = _of_forward(vector, forward, seconds, progress)
        return _with_gradients(vector, found, backward)
    return _of_backward(vector, forward, backward)


def _of_forward(
    vector: Vector,
    given: Arrays,
    seconds: float,
    progress: Progress | None,
) -> Diagnosis:
    runs = _runs(vector)
    found = _singles(vector, given, runs, None)
    if found:
        return _named(vector, given, "variant", found, "float64")
    precision = diagnose_precision(vector, given)
    if precision is not None:
        return _of_precision(precision)
    coarse = max(unit_of(v.dtype) for v in given.values()) > EPS64
    if not coarse:
        found = _singles(vector, given, runs, EPS32)
        if found:
            named = _named(vector, given, "variant", found, "float32")
            said = "the rest agrees to single precision, not to double"
            return replace(named, notes=(*named.notes, said))
    pairs, note = _pairs(vector, given, runs, seconds, progress)
    if pairs:
        named = _named(vector, given, "pair", pairs, "float64")
        return replace(named, notes=(*named.notes, *note))
    outputs = {
        k: v for k, v in given.items() if k == "y" or k.startswith("state/")
    }
    if outputs and len(outputs) < len(given):
        found = _singles(vector, outputs, runs, None)
        if found:
            named = _named(vector, outputs, "variant", found, "float64")
            note_on = (
                "y and the final state agree with it; of the trace, other"
                " quantities seem to stand under these names"
            )
            return replace(named, notes=(*named.notes, note_on))
    return _unknown(vector, given, runs, note)


def _of_precision(precision: Precision) -> Diagnosis:
    return Diagnosis(
        "precision",
        precision=precision.name,
        notes=(
            f"diagnosis: the network is right, its precision is"
            f" {precision.name}: the errors are those of {precision.what}",
            precision.advice,
        ),
    )


def _unknown(
    vector: Vector, given: Arrays, runs: list[Run], note: Sequence[str]
) -> Diagnosis:
    """Say how many arrays agree, and which mistake comes nearest."""
    good, bad = agreeing(given, vector.arrays, vector)
    notes = [
        f"diagnosis: no known variant; {len(good)} of {len(good) + len(bad)}"
        " arrays agree with the right network"
    ]
    counts = [
        (len(agreeing(given, run.arrays, vector)[0]), run.variant.key)
        for run in runs
    ]
    most, key = max(counts, default=(0, ""))
    if most > len(good):
        notes.append(f"nearest is '{key}', with {most} arrays")
    return Diagnosis("unknown", notes=(*notes, *note))


# --- single mistakes --------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A mistake, and what it makes of a vector.

    Attributes
        variant: the mistake.
        arrays: trace/…, y, state/….
        forwards: whether the first steps do not depend on the later ones.
    """

    variant: Variant
    arrays: Arrays
    forwards: bool


_KEPT: dict[str, list[Run]] = {}


def _runs(vector: Vector) -> list[Run]:
    """Run every mistake; the last few vectors' runs are kept."""
    key = f"{vector.name} {vector.manifest['checksum']}"
    if key not in _KEPT:
        if len(_KEPT) >= 4:
            del _KEPT[next(iter(_KEPT))]
        short = _begun(vector)
        _KEPT[key] = [
            _run(vector, short, variant) for variant in variants(vector.arch)
        ]
    return _KEPT[key]


def _run(vector: Vector, short: Vector, variant: Variant) -> Run:
    arrays = run_variant(vector, [variant])
    n, forwards = short.n_time, vector.lengths is None
    if forwards:
        begun = run_variant(short, [variant])
        forwards = all(
            np.array_equal(value[:n], begun[k])
            for k, value in arrays.items()
            if k in begun and over_time(k, vector)
        ) and set(begun) == set(arrays)
    return Run(variant, arrays, forwards)


def _begun(vector: Vector, n_time: int = 1) -> Vector:
    """Return the first steps of a vector: its inputs, cut off."""
    arrays = {
        k: v[:n_time] if over_time(k, vector) else v
        for k, v in vector.arrays.items()
    }
    return replace(vector, arrays=arrays)


def _singles(
    vector: Vector, given: Arrays, runs: list[Run], eps: float | None
) -> Found:
    return [
        ((run.variant,), run.arrays)
        for run in runs
        if _fits(vector, given, run.arrays, eps)
    ]


def _fits(
    vector: Vector, given: Arrays, arrays: Arrays, eps: float | None
) -> bool:
    """Tell whether all arrays that both have agree, one of them at least."""
    held = False
    for name, value in given.items():
        if name in arrays:
            if not agrees(name, value, arrays[name], vector, eps):
                return False
            held = True
    return held


# --- pairs ------------------------------------------------------------------


def _pairs(
    vector: Vector,
    given: Arrays,
    runs: list[Run],
    seconds: float,
    progress: Progress | None,
) -> tuple[Found, list[str]]:
    """Try two mistakes at a time, the first steps first.

    Returns
        What agrees, and a note where the time was up before the end.
    """
    short = _begun(vector)
    begun = {
        k: v[: short.n_time] for k, v in given.items() if over_time(k, vector)
    }
    chosen = list(_by_plausibility(runs))
    found: Found = []
    started = time.monotonic()
    for n, (one, two) in enumerate(chosen):
        if time.monotonic() - started > seconds:
            return found, [
                f"{n} of {len(chosen)} pairs of known mistakes were tried, then"
                f" the time of {seconds:g} s was up"
            ]
        if progress is not None and n % 100 == 0:
            progress(n, len(chosen))
        pair = (one.variant, two.variant)
        if begun and one.forwards and two.forwards:
            start = run_variant(short, pair)
            if not _fits(short, begun, start, None):
                continue
        arrays = run_variant(vector, pair)
        if _fits(vector, given, arrays, None):
            found.append((pair, arrays))
    return found, []


def _by_plausibility(runs: list[Run]) -> Iterator[tuple[Run, Run]]:
    """Yield pairs, of what happens often first.

    Two orders of the gates are a third one, which was tried alone.
    """
    rank = {kind: n for n, kind in enumerate(OFTEN)}
    often = sorted(runs, key=lambda run: rank.get(run.variant.kind, len(rank)))
    for n, two in enumerate(often):
        for one in often[:n]:
            kinds = {one.variant.kind, two.variant.kind}
            if kinds != {"gates permuted"}:
                yield one, two


# --- what is found ----------------------------------------------------------


def _named(
    vector: Vector,
    given: Arrays,
    kind: str,
    found: Found,
    precision: str,
) -> Diagnosis:
    matches = []
    for pair, arrays in found:
        held = [k for k in given if k in arrays]
        matches.append(
            Match(
                tuple(v.key for v in pair),
                tuple(v.advice for v in pair),
                len(held),
                len(held),
            )
        )
    coarsest = max((unit_of(v.dtype) for v in given.values()), default=EPS64)
    if coarsest > EPS64:
        precision = "float32"
    told = ""
    if len(found) > 1:
        told = told_apart_by(vector, given, found)
    return Diagnosis(kind, tuple(matches), precision, told)


def _with_gradients(
    vector: Vector, found: Diagnosis, backward: Arrays
) -> Diagnosis:
    """Say whether the gradients are right for the network that was found."""
    if not backward or not found.named or found.kind != "variant":
        return found
    (key,) = found.matches[0].keys
    wrong = [v for v in variants(vector.arch) if v.key == key]
    own = gradients(vector, wrong)
    eps = EPS32 if found.precision == "float32" else None
    good, bad = agreeing(backward, own, vector, eps)
    if not good and not bad:
        return found
    note = "the gradients are right for the network with this mistake"
    if bad:
        note = (
            f"the gradients differ even for the network with this mistake:"
            f" {', '.join(bad[:6])}; correct it first"
        )
    return replace(found, notes=(*found.notes, note))


# --- backward ---------------------------------------------------------------


def _of_backward(
    vector: Vector, forward: Arrays, backward: Arrays
) -> Diagnosis:
    """Explain wrong gradients of a right, or of an unknown, forward pass."""
    coarse = any(unit_of(v.dtype) > EPS64 for v in backward.values())
    precision = "float32" if coarse else "float64"
    if not forward:
        found: Found = []
        for variant in variants(vector.arch):
            arrays = gradients(vector, [variant])
            if _fits(vector, backward, arrays, None):
                found.append(((variant,), arrays))
        if found:
            return _named(vector, backward, "variant", found, precision)
    wrong: list[Wrong] = []
    for bug in wrong_backwards(vector):
        known = any(_fits(vector, bug.arrays, w.arrays, None) for w in wrong)
        if not known and _fits(vector, backward, bug.arrays, None):
            wrong.append(bug)
    if wrong:
        matches = tuple(_of_bug(bug, backward) for bug in wrong)
        told = "other arrays of the backward pass, or another file, would tell"
        return Diagnosis(
            "backward",
            matches,
            precision,
            told if len(wrong) > 1 else "",
            ("the forward pass agrees",) if forward else (),
        )
    if not coarse:
        single, bad = agreeing(backward, vector.arrays, vector, EPS32)
        if single and not bad:
            return _of_precision(
                Precision(
                    "float32",
                    "single precision in the backward pass",
                    None,
                    24,
                    None,
                    "compute the gradients in double precision",
                )
            )
    good, bad = agreeing(backward, vector.arrays, vector)
    head = "the forward pass agrees; " if forward else ""
    return Diagnosis(
        "unknown",
        notes=(
            f"diagnosis: {head}no known wrong backward pass; {len(good)} of"
            f" {len(good) + len(bad)} arrays of it agree",
        ),
    )


def _of_bug(bug: Wrong, given: Arrays) -> Match:
    held = sum(k in bug.arrays for k in given)
    return Match((bug.key,), (bug.advice,), held, held)
