"""Flags: what is special about a file, told from its numbers alone.

A flag is set where its condition holds, never by hand; the reason says what
a file without it would miss.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from msref.arrays import Array
from msref.vectors.drawing import parts
from msref.vectors.vector import Vector

OVERFLOW = 709.8
"""exp of more is infinite in float64."""


@dataclass(frozen=True)
class Flag:
    """A property of a file.

    Attributes
        reason: why it matters to a port.
        holds: tells it from the numbers.
    """

    reason: str
    holds: Callable[[Vector], bool]


def flags(vector: Vector) -> dict[str, str]:
    """Return flag -> reason for all that hold."""
    return {k: f.reason for k, f in FLAGS.items() if f.holds(vector)}


def _all(tree: dict[str, Array], zero: bool) -> bool:
    """Tell whether there are arrays, all of them zero, or none anywhere."""
    values = list(tree.values())
    return bool(values) and all(bool(((v == 0) == zero).all()) for v in values)


def _biases(vector: Vector) -> dict[str, Array]:
    return {
        k: v
        for k, v in vector.params.items()
        if k.rpartition("/")[2].startswith("b_")
    }


def pre_activations(vector: Vector) -> dict[str, Array]:
    """Return the traced quantities that a non-linearity is applied to.

    They are those whose name is "a" or begins with "a_"; "a" and "a_m" of
    some networks are other things, and have no such range.
    """
    return {
        name: value
        for name, value in vector.arrays.items()
        if name.startswith("trace/")
        and name.rpartition("/")[2].split("_")[0] == "a"
    }


def gate_pairs(vector: Vector) -> list[tuple[str, str]]:
    """Return pairs of biases of one shape: gates that may be confused."""
    gates = [k for k in _biases(vector) if k.rpartition("/")[2] != "b_hn"]
    return [
        (one, two)
        for one, two in itertools.combinations(gates, 2)
        if one.rpartition("/")[0] == two.rpartition("/")[0]
        and vector.params[one].shape == vector.params[two].shape
    ]


def _gates_apart(vector: Vector) -> bool:
    params = vector.params
    pairs = gate_pairs(vector)
    return bool(pairs) and all(
        abs(params[one].mean() - params[two].mean()) > 1.0 for one, two in pairs
    )


def _kinks(vector: Vector) -> list[Array]:
    names = getattr(vector.arch, "kinks", ())
    return [vector.arrays[f"trace/{name}"] for name in names]


def _near_kink(vector: Vector) -> bool:
    def count(a: Array) -> tuple[int, int]:
        near = np.abs(np.abs(a) - 1e-3) < 1e-5
        return int((near & (a > 0)).sum()), int((near & (a < 0)).sum())

    return any(min(count(a)) >= 4 for a in _kinks(vector))


def _saturated(vector: Vector) -> bool:
    """Tell whether a tenth of some pre-activation is above 20."""
    return any(
        float((np.abs(a) > 20).mean()) > 0.1
        for a in pre_activations(vector).values()
    )


def _vanishing(vector: Vector) -> bool:
    size = np.abs(vector.arrays["dx"]).max(axis=(1, 2))
    return bool(0 < size[0] < 1e-8 * size[-1])


def _remembers(vector: Vector) -> bool:
    same = vector.n_batch > 1 and np.ptp(vector.x, axis=1).max() == 0
    return bool(same) and any(
        float(np.ptp(vector.arrays[f"state/{k}"], axis=0).max()) > 0.25
        for k in vector.state0
    )


def _clocked(vector: Vector) -> bool:
    """Tell whether every slow unit holds at some frame and ticks later."""
    name = {"clockwork": "h", "mslmn": "m"}.get(
        vector.manifest["architecture"]["name"], ""
    )
    arch = vector.arch
    if not name or arch.n_modules < 2:
        return False
    moves = np.diff(vector.arrays[f"trace/{name}"], axis=0) != 0
    slowest = moves[..., -(moves.shape[-1] // arch.n_modules) :]
    return bool(slowest.any() and (~slowest.any(axis=(1, 2))).any())


def _unread(vector: Vector) -> bool:
    """Tell whether an entry without a gradient, never read, is not zero."""
    start = vector.arch.init(np.random.default_rng(0))
    names = getattr(vector.arch, "masked", ())
    return any(
        bool((vector.params[name][start[name] == 0] != 0).any())
        for name in names
    )


def _distinct(vector: Vector) -> bool:
    arch = vector.arch
    dims = [vector.n_time, vector.n_batch, arch.n_in]
    inner = {n for s in arch.shapes().values() for n in s} | {arch.n_out}
    return len(set(dims)) == 3 and not set(dims[:2]) & inner


def _padded(vector: Vector) -> bool:
    """Tell whether sequences end early, in frames that are not zero."""
    padding = vector.x[~vector.counted]
    return bool(padding.size) and bool((padding != 0).all())


def _per_step(vector: Vector) -> bool:
    used = (vector.dy != 0).any(axis=2)
    return bool(used[vector.counted].all())


FLAGS = {
    "DistinctDims": Flag(
        "n_time and n_batch differ from each other and from all sizes of the"
        " network: swapped axes have another shape",
        _distinct,
    ),
    "NonzeroState": Flag(
        "every entry of the state before the first frame is in play",
        lambda v: _all(v.state0, False),
    ),
    "ZeroState": Flag(
        "starts from zeros: what a run without a given state has to give",
        lambda v: _all(v.state0, True),
    ),
    "NonzeroBias": Flag(
        "no bias is zero: one that is dropped, doubled or added elsewhere"
        " shows",
        lambda v: _all(_biases(v), False),
    ),
    "ZeroInput": Flag(
        "all frames are zero: biases alone drive the network",
        lambda v: not v.x.any(),
    ),
    "GateAsymmetric": Flag(
        "the biases of any two gates are more than one apart: confused gates"
        " show in any precision",
        _gates_apart,
    ),
    "PerStepCotangent": Flag(
        "each output that counts has a gradient of its own",
        _per_step,
    ),
    "LastStepCotangent": Flag(
        "only the last output has a gradient: what arrives k steps back came"
        " through all of them",
        lambda v: v.n_time > 1 and not v.dy[:-1].any() and bool(v.dy[-1].any()),
    ),
    "NoOutputCotangent": Flag(
        "no output has a gradient",
        lambda v: not v.dy.any(),
    ),
    "FinalStateCotangent": Flag(
        "the final state has a gradient, as when a sequence goes on",
        lambda v: _all(v.dstate, False),
    ),
    "LateStart": Flag(
        "the first frame is not at time 0",
        lambda v: v.t0 > 0,
    ),
    "Cut": Flag(
        "gives the state inside the sequence, and its gradient",
        lambda v: any(k.startswith("cut/") for k in v.arrays),
    ),
    "RaggedLengths": Flag(
        "sequences differ in length, and the padding is not zero",
        _padded,
    ),
    "Reverse": Flag(
        "a part reads from the last frame to the first",
        lambda v: any(
            type(p).__name__ == "Bidirectional" for p in parts(v.arch).values()
        ),
    ),
    "T1": Flag("a single frame", lambda v: v.n_time == 1),
    "B1": Flag("a single sequence", lambda v: v.n_batch == 1),
    "Saturated": Flag(
        "a tenth or more of the entries of a pre-activation are above 20:"
        " there 1 - tanh^2 has no digits left",
        _saturated,
    ),
    "Overflow": Flag(
        "the exponential of a pre-activation overflows in float64",
        lambda v: any(
            bool((np.abs(a) > OVERFLOW).any())
            for a in pre_activations(v).values()
        ),
    ),
    "LongVanishing": Flag(
        "the gradient at the first frame is below 1e-8 of that at the last,"
        " and right to all digits",
        _vanishing,
    ),
    "LongMemory": Flag(
        "all rows read the same frames and start apart; at the end they still"
        " are",
        _remembers,
    ),
    "NearKink": Flag(
        "pre-activations lie 1e-3 above and below the kink of a ReLU",
        _near_kink,
    ),
    "AtKink": Flag(
        "pre-activations are exactly zero at a ReLU, where the derivative"
        " counts as 0",
        lambda v: any(bool((a == 0).any()) for a in _kinks(v)),
    ),
    "Clock": Flag(
        "the slowest module ticks at some frame and holds at another",
        _clocked,
    ),
    "Unread": Flag(
        "entries of a weight that are never read are not zero; their"
        " gradients are",
        _unread,
    ),
    "ConstantUnit": Flag(
        "a unit of the input never varies: its variance is zero",
        lambda v: (
            v.n_time > 1
            and bool((np.ptp(v.x, axis=(0, 1)) == 0).any() and v.x.any())
        ),
    ),
}
"""Flag -> reason and condition."""
