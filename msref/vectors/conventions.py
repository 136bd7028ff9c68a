"""What the numbers of a file mean: conventions and tolerances, as data."""

from __future__ import annotations

import re
from typing import Any

from msref.architectures import is_causal
from msref.vectors.drawing import parts
from msref.vectors.equations import prose, section
from msref.verification.tolerance import SAFETY

RTOL_EPS = 4096

SHARED = {
    "files": "little-endian, C order; each gate has arrays of its own, so that"
    " there is no order of gates",
    "axes": "time leads x, y, dy, dx, trace/…, adjoints/…, then batch; row k"
    " is the frame at time t0 + k; states are (n_batch, ·)",
    "weights": "from the right: x @ W_xh with W_xh (n_in, n_hid); recurrent"
    " vectors (w_hh) act unit by unit",
    "state": "state0/… is before the first frame, state/… after the last; a"
    " row of trace/… holds what its own frame computes",
    "gradients": "of sum(dy * y) + sum(dstate * state): grads/… by params/…,"
    " dx by x, dstate0/… by state0/…; adjoints/a by what is added to a at"
    " that time step alone",
    "precision": "inputs are float32 numbers in float64; expected values are"
    " computed in 80 bits and rounded once",
}
"""Convention -> text, for all files."""

CUT = (
    "cut/… is the state after {cut} frames, dcut/… the gradient there: running"
    " the first {cut} frames, then the others from cut/… at time {time}, has"
    " to give the same; so has going back from dcut/…"
)
LOOKS_AHEAD = (
    "lengths says how many frames of each sequence count; a part that reads"
    " backwards starts at the last of them, and its trace and adjoints run in"
    " its own time, first the last frame. What arrays hold on padding, and"
    " the final state of a shorter sequence, means nothing and may be left out"
)
CLOCK = (
    "module k = 0, 1, … counts from the fastest; it ticks at t where (t +"
    " {origin}) mod 2^({first} + k) = 0, and holds in between"
)
STATISTICS = {
    "batch": 'with statistics "batch" the network sees all frames at once and'
    " mean and var are not read; their gradients are zero; m and v are one"
    " row for all frames, without time and batch",
    "running": 'with statistics "running" m and v are mean and var at every'
    " frame, without batch",
}


def conventions(
    arch: Any, t0: int = 0, cut: int | None = None
) -> dict[str, str]:
    """Return convention -> text for a file of ``arch``."""
    found = dict(SHARED)
    if cut is not None:
        found["cut"] = CUT.format(cut=cut, time=t0 + cut)
    if not is_causal(arch):
        found["lengths"] = LOOKS_AHEAD
    for prefix, part in parts(arch).items():
        where = f" of part {prefix.rstrip('/')}" if prefix else ""
        for key, text in _own(part).items():
            found[f"{key}{where}"] = text
    return found


def _own(part: Any) -> dict[str, str]:
    """Return what holds for a network itself, from its docstring."""
    cls = type(part)
    found = {"network": f"{cls.__name__}. {prose(cls, 'Conventions')}".strip()}
    remarks = [section(cls, name)[0] for name in ("Equations", "Adjoints")]
    if any(remarks):
        found["symbols"] = "; ".join(r for r in remarks if r)
    if hasattr(part, "origin"):
        found["clock"] = CLOCK.format(origin=part.origin, first=part.first)
    if hasattr(part, "statistics"):
        found["statistics"] = STATISTICS[part.statistics]
    return {k: re.sub("``", "", v) for k, v in found.items()}


def tolerances(
    floors: dict[str, float | list[float]],
) -> dict[str, Any]:
    """Return how far off a port may be, in units of its own rounding."""
    return {
        "rtol_eps": RTOL_EPS,
        "formula": "|got - expected| <= eps (rtol_eps max(|got|, |expected|) +"
        " floor), eps the port's unit of rounding",
        "reason": "rtol_eps leaves room for sums in any order; floor, one"
        f" number or one per time step, is {SAFETY:.0f} times what one"
        " rounding of all inputs changes, and what saturated units lose,"
        " measured here: a small difference of large terms is not known"
        " better",
        "floors": floors,
    }
