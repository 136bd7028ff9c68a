"""Weights of recurrent networks, from and to other frameworks.

Both sides are dicts of NumPy arrays; no framework is needed, or imported.

    weights, notes = FRAMEWORKS["torch"].export(arch, params)
    arch, params, notes = FRAMEWORKS["keras"].load(weights)
    weights, notes = convert(weights, "torch", "keras")

What is redundant is folded and said in the notes; what a framework cannot
represent is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msref.arrays import Array
from msref.ports import (
    cudnn,
    equinox,
    flax_linen,
    flax_nnx,
    haiku,
    keras,
    native,
    onnx,
    pytorch,
)
from msref.ports.conventions import conventions
from msref.ports.layout import Layout, Slot
from msref.ports.onnx import onnx_model
from msref.ports.port import HINTS, Exported, Port

__all__ = [
    "FRAMEWORKS",
    "HINTS",
    "Layout",
    "Port",
    "Slot",
    "conventions",
    "convert",
    "framework",
    "onnx_model",
]

_MODULES = (
    pytorch,
    keras,
    flax_linen,
    flax_nnx,
    haiku,
    equinox,
    onnx,
    cudnn,
    native,
)

FRAMEWORKS: dict[str, Port] = {
    module.PORT.key: module.PORT for module in _MODULES
}
"""Short name -> framework; ``msref`` stands for our own names."""


def framework(name: str) -> Port:
    """Return a framework by its short name.

    Raises
        ValueError: there is none of that name.
    """
    if name not in FRAMEWORKS:
        raise ValueError(
            f"there is no framework {name!r}, expected one of"
            f" {', '.join(FRAMEWORKS)}"
        )
    return FRAMEWORKS[name]


def convert(
    weights: Mapping[str, Array],
    source: str,
    target: str,
    *,
    target_layer: str | None = None,
    **hints: Any,
) -> Exported:
    """Return the weights of one framework as those of another.

    Arguments
        weights: arrays under the names of ``source``.
        source, target: short names of frameworks.
        target_layer: which layer of the target, where it has several.
        hints: what the weights do not say; see ``Port.load``.

    Raises
        ValueError, TypeError: as ``Port.load`` and ``Port.export``.
    """
    taker, giver = framework(source), framework(target)
    arch, params, read = taker.load(weights, **hints)
    arrays, written = giver.export(arch, params, target_layer)
    return arrays, (*read, *written)
