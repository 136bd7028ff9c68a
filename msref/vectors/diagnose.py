"""Which mistake explains a port's numbers.

Every known wrong variant of the network is run on the vector's inputs and
the port's arrays are held against it. One that all given arrays agree with
is named; several that agree are all named, with the file or the array that
would tell them apart. Where none agrees alone, pairs are tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from msref.arrays import Array, Arrays
from msref.vectors.backward import Wrong, wrong_backwards
from msref.vectors.border import is_input
from msref.vectors.diagnosis import Diagnosis, Match
from msref.vectors.judging import (
    EPS32,
    EPS64,
    agreeing,
    agrees,
    is_forward,
    unit_of,
)
from msref.vectors.precision import (
    Precision,
    diagnose_precision,
    rounded_like,
)
from msref.vectors.scaling import scaled_gradients
from msref.vectors.searching import (
    Found,
    Progress,
    Run,
    fits,
    pairs,
    runs_of,
    singles,
)
from msref.vectors.telling import told_apart_by
from msref.vectors.variants import gradients, variants
from msref.vectors.vector import Vector


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
    runs = runs_of(vector)
    found = singles(vector, given, runs, None)
    if found:
        return _named(vector, given, "variant", found, "float64")
    precision = diagnose_precision(vector, given)
    if precision is not None:
        return _of_precision(precision)
    coarse = max(unit_of(v.dtype) for v in given.values()) > EPS64
    if not coarse:
        changing = [r for r in runs if _changes(vector, given, r)]
        found = singles(vector, given, changing, EPS32)
        if found:
            named = _named(vector, given, "variant", found, "float32")
            said = "the rest agrees to single precision, not to double"
            return replace(named, notes=(*named.notes, said))
    two, note = pairs(vector, given, runs, seconds, progress)
    if two:
        named = _named(vector, given, "pair", two, "float64")
        return replace(named, notes=(*named.notes, *note))
    outputs = {
        k: v for k, v in given.items() if k == "y" or k.startswith("state/")
    }
    if outputs and len(outputs) < len(given):
        found = singles(vector, outputs, runs, None)
        if found:
            named = _named(vector, outputs, "variant", found, "float64")
            note_on = (
                "y and the final state agree with it; of the trace, other"
                " quantities seem to stand under these names"
            )
            return replace(named, notes=(*named.notes, note_on))
    return _unknown(vector, given, runs, note)


def _changes(vector: Vector, given: Arrays, run: Run) -> bool:
    """Tell whether single precision sees a mistake in what was given."""
    made = {k: run.arrays[k] for k in given if k in run.arrays}
    return not fits(vector, made, vector.arrays, EPS32)


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
    # What a mistake overwrites has no gradient; a port may well have one.
    bad = [name for name in bad if own[name].any()]
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
            if fits(vector, backward, arrays, None):
                found.append(((variant,), arrays))
        if found:
            return _named(vector, backward, "variant", found, precision)
    wrong: list[Wrong] = []
    for bug in wrong_backwards(vector):
        known = any(fits(vector, bug.arrays, w.arrays, None) for w in wrong)
        if not known and fits(vector, backward, bug.arrays, None):
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
    scaled = scaled_gradients(vector, backward)
    if scaled is not None:
        return scaled
    if not coarse:
        single, bad = agreeing(backward, vector.arrays, vector, EPS32)
        if single and not bad and rounded_like(vector, backward):
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
