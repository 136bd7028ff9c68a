"""What would tell mistakes apart that a port's arrays cannot."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from msref.arrays import Array, Arrays
from msref.vectors.catalogue import load, plans
from msref.vectors.judging import agrees, is_forward
from msref.vectors.variants import run_variant
from msref.vectors.vector import Vector
from msref.verification.variants import Variant

Found = Sequence[tuple[tuple[Variant, ...], Arrays]]


def told_apart_by(
    vector: Vector, given: Mapping[str, Array], found: Found
) -> str:
    """Say which array of this file, or which other file, would tell.

    Arguments
        given: the arrays that do not tell.
        found: mistakes, and what each makes of this file.
    """
    found = found[:12]
    runs = [arrays for _, arrays in found]
    for name in vector.arrays:
        absent = is_forward(name) and name not in given
        if absent and _differ(vector, name, runs):
            return f"{name} would tell them apart: give it as well"
    for name in _others(vector):
        other = load(name)
        again = [run_variant(other, wrong) for wrong, _ in found]
        for known in sorted(given, key=lambda k: k.startswith("trace/")):
            if known in other.arrays and _differ(other, known, again):
                return f"the file {name} would tell them apart, by {known}"
    return (
        "no file tells them all apart: on these networks they are the same"
        " function, or nearly so"
    )


def _others(vector: Vector) -> list[str]:
    """Name the other files of the same network."""
    said = vector.manifest["architecture"]
    return [
        name
        for name, plan in plans().items()
        if name != vector.name
        and (plan.arch, plan.example) == (said["name"], said["example"])
    ]


def _differ(vector: Vector, name: str, runs: list[Arrays]) -> bool:
    """Tell whether all these runs have the array, and no two agree in it."""
    if not all(name in run for run in runs):
        return False
    return not any(
        agrees(name, one[name], two[name], vector)
        for one, two in itertools.combinations(runs, 2)
    )
