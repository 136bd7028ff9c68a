"""Purposes: why each file exists, named after what breaks if it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.architectures import REGISTRY
from msref.vectors import drawing
from msref.verification import Case

Examples = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Purpose:
    """Why a file exists.

    Attributes
        name: of the file.
        breaks: what is broken in a port that fails this file and passes
            ``basic``; one sentence.
        draw: makes the inputs for a network.
        examples: short name -> which examples of its registry entry.
        cut: frames after which the file also gives the state.
    """

    name: str
    breaks: str
    draw: Callable[[Any, np.random.Generator], Case]
    examples: Examples
    cut: int | None = None


def _first(names: str, **others: tuple[int, ...]) -> Examples:
    """Take the telling example of each network; others by number.

    A network of one module has no clock to speak of: of clocked networks
    the first with three modules is taken.
    """
    telling = {"clockwork": (2,), "mslmn": (2,)}
    return {k: telling.get(k, (0,)) for k in names.split()} | others


_CELLS = "elman lstm gru lmn ulm clockwork mslmn indrnn durnn mgu brc nbrc"
_ALL = " ".join(REGISTRY)

PURPOSES: tuple[Purpose, ...] = (
    Purpose(
        "basic",
        "Start here: the equations, the layout of the weights or the order"
        " of the gates are wrong.",
        drawing.basic,
        _first(_ALL, clockwork=(0,), mslmn=(0,)),
    ),
    Purpose(
        "basic",
        "An option is ignored: this network is not configured like that of"
        " basic; the gradient of the final state counts from the start.",
        drawing.everything,
        {k: tuple(range(1, len(REGISTRY[k].examples))) for k in REGISTRY},
    ),
    Purpose(
        "gate-order",
        "Two gates are confused, in a port too imprecise (half precision,"
        " quantised) to be told so by basic: here the gates are far apart.",
        drawing.gates_apart,
        _first("lstm mgu brc nbrc durnn", gru=(0, 1)),
    ),
    Purpose(
        "bias",
        "Frames of zeros are taken for padding and skipped, as masking"
        " layers do, or products with them are, and the biases with them.",
        drawing.frames_of_zeros,
        _first(f"{_CELLS} linear"),
    ),
    Purpose(
        "final-state-gradient",
        "The gradient of the final state is ignored, or only used where an"
        " output has one too.",
        drawing.final_state_alone,
        _first(f"{_CELLS} bidirectional"),
    ),
    Purpose(
        "last-output",
        "Back-propagation through time is cut off after more steps than"
        " basic has, or starts at outputs that have no gradient.",
        drawing.last_output_alone,
        _first("clockwork mslmn bidirectional"),
    ),
    Purpose(
        "cut-sequence",
        "A sequence that goes on from a saved state starts anew: the time"
        " of its first frame is ignored, or gradients stop at the cut.",
        drawing.cut,
        _first(f"{_CELLS} dropout stack"),
        cut=3,
    ),
    Purpose(
        "one-step",
        "A time axis of size one is squeezed away, or a loop over the"
        " steps after the first never runs.",
        drawing.one_step,
        _first(_ALL),
    ),
    Purpose(
        "one-row",
        "A batch axis of size one is squeezed away or broadcast.",
        drawing.one_row,
        _first(f"{_CELLS} batchnorm bidirectional"),
    ),
    Purpose(
        "zero-state",
        "The state that a sequence starts from when none is given is not"
        " this one, the network's own.",
        drawing.no_state,
        _first(_CELLS, mslmn=(3,)),
    ),
    Purpose(
        "saturated",
        "The exponential of a large number overflows into NaN, or large"
        " inputs are clipped.",
        drawing.saturated,
        _first(
            "elman lstm gru lmn ulm clockwork mslmn mgu brc nbrc",
            indrnn=(1,),
            durnn=(1,),
        ),
    ),
    Purpose(
        "long-vanishing",
        "A gradient that is small but right is flushed to zero, drowned in"
        " rounding, or cut off after fewer than 24 steps.",
        drawing.vanishing,
        _first("elman lstm gru lmn ulm indrnn durnn mgu brc nbrc"),
    ),
    Purpose(
        "long-memory",
        "A state leaks: an approximate activation, a gate that is off by"
        " little or a low precision add up over 16 steps.",
        drawing.remembering,
        _first("lstm gru lmn indrnn brc nbrc"),
    ),
    Purpose(
        "near-kink",
        "The ReLU is smoothed or leaky: pre-activations lie a thousandth"
        " to either side of its kink.",
        drawing.near_kink,
        _first("indrnn durnn", elman=(1,)),
    ),
    Purpose(
        "at-kink",
        "The derivative of the ReLU at zero itself is taken as one or one"
        " half, where the convention says zero.",
        drawing.at_kink,
        _first("indrnn durnn", elman=(1,)),
    ),
    Purpose(
        "clock-phases",
        "A clock that agrees for the first frames has wrong slow periods,"
        " or counts from the first frame instead of absolute time.",
        drawing.phases,
        {"clockwork": (2, 1, 3), "mslmn": (3, 1, 2)},
    ),
    Purpose(
        "mask",
        "Entries of a block-triangular matrix that no module may read are"
        " read, or get a gradient, once they are not zero.",
        drawing.unread,
        _first("clockwork mslmn"),
    ),
    Purpose(
        "ragged",
        "Padding is read: the backward direction starts at it, or"
        " statistics count it.",
        drawing.ragged,
        {
            "batchnorm": (0,),
            "residual": (1,),
            "stack": (1, 2),
            "bidirectional": (0,),
        },
    ),
    Purpose(
        "constant-unit",
        "A unit that never varies divides by zero: eps is missing, or"
        " added outside the root.",
        drawing.constant_unit,
        {"batchnorm": (0,)},
    ),
)
"""In the order in which a port should try them."""
