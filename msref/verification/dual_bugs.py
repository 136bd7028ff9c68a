"""The bugs of a long memory beside a short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from msref.architectures import DuRNN, Gradients
from msref.arrays import Array, Arrays


def backward_bugs(
    arch: Any,
) -> Iterator[tuple[str, str, Callable[..., Gradients]]]:
    """Yield kind, place and wrong backward pass of every bug that applies."""
    if isinstance(arch, DuRNN) and arch.selection == "gate":
        yield "gate held constant", "a_q", _gate_held_constant


def _gate_held_constant(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    """Lose dq = da_l * v."""
    without = tape | {"v": np.zeros_like(tape["v"])}
    g: Gradients = arch.backward(params, without, dy, dstate)
    return g
