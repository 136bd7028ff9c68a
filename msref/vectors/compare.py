"""Hold a port's numbers against a vector, and say where they first part.

Forwards the arrays are walked in causal order, step by step, and backwards
in the reverse of it. The first entry that is off names the equation: all
that it was computed from, as far as it was given, agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msref.arrays import Array
from msref.vectors.border import is_input
from msref.vectors.candidates import read_candidate
from msref.vectors.catalogue import load, plans
from msref.vectors.comparison import Comparison, row_of
from msref.vectors.diagnose import diagnose_port
from msref.vectors.judging import share_of
from msref.vectors.naming import named
from msref.vectors.vector import Vector, read
from msref.vectors.walking import causal_order, first_divergence

__all__ = ["Comparison", "compare", "opened"]


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
    given = named(vector, candidate, mapping or {})
    order = causal_order(vector)
    shares = {
        name: share_of(name, given[name], vector.arrays[name], vector)
        for name in order
        if name in given
    }
    rows = tuple(
        row_of(name, given[name], vector.arrays[name], share)
        for name, share in shares.items()
    )
    first = first_divergence(vector, given, shares)
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
