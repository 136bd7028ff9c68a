"""The layers of a network that a warm-up lets settle, each by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from msref.architectures import Checkpointed, Parallel, Stack, is_causal
from msref.arrays import Arrays, under


class Layer(NamedTuple):
    """A network that is run alone, and what its names begin with."""

    path: str
    arch: Any

    def own(self, tree: Arrays) -> Arrays:
        """Return the layer's arrays under its own names."""
        return under(self.path.rstrip("/"), tree) if self.path else tree


def remembering(arch: Any, partial: bool) -> list[Layer]:
    """Return the layers that are run alone, bottom to top.

    Raises
        ValueError: a network that looks ahead, or has no state; ``partial``
            where no layer is Parallel, or where one has a first part that
            has no state or no parameters.
    """
    if not is_causal(arch):
        raise ValueError(
            f"{arch!r} looks ahead, expected a network whose sequences can be"
            " cut"
        )
    whole = arch
    while isinstance(whole, Checkpointed):
        whole = whole.arch
    layers = [Layer("", whole)]
    if isinstance(whole, Stack):
        layers = [Layer(f"{k}/", part) for k, part in enumerate(whole.parts)]
    layers = [layer for layer in layers if _learns_to_remember(layer.arch)]
    if not layers:
        raise ValueError(f"{arch!r} has no state, expected one that remembers")
    if not partial:
        return layers
    if not any(_is_parallel(layer.arch) for layer in layers):
        raise ValueError(
            f"partial is True for {arch!r}, expected a layer that is Parallel"
        )
    layers = [_first_part(layer) for layer in layers]
    for layer in layers:
        if not _learns_to_remember(layer.arch):
            raise ValueError(
                f"partial is True, and the first part of a layer,"
                f" {layer.arch!r}, has no state or no parameters"
            )
    return layers


def _is_parallel(arch: Any) -> bool:
    """Tell whether a layer has parts, its passes in segments or not."""
    if isinstance(arch, Checkpointed):
        return _is_parallel(arch.arch)
    return isinstance(arch, Parallel)


def _first_part(layer: Layer) -> Layer:
    """Return the first part of a layer; a layer without parts is its own."""
    path, arch = layer
    if not _is_parallel(arch):
        return layer
    if isinstance(arch, Checkpointed):
        path, inner = _first_part(Layer(path, arch.arch))
        return Layer(path, replace(arch, arch=inner))
    return Layer(f"{path}0/", arch.parts[0])


def _learns_to_remember(arch: Any) -> bool:
    return bool(arch.initial_state(1) and arch.shapes())
