"""Paths of Flax's parameters: linen and nnx join a layer's number otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable

from msref.ports.network import Place
from msref.ports.port import Found

_WAYS = ("forward_rnn", "backward_rnn")


def namer(layers: str) -> Callable[[Place, str, str], str]:
    """Return what names a slot, ``layers_0/forward_rnn/cell/hi/kernel``.

    Arguments
        layers: what stands before a layer's number.
    """

    def name(place: Place, slot: str, layer: str) -> str:
        path = [f"{layers}{place.layer}"] if place.n_layers > 1 else []
        path += [_WAYS[place.direction]] if place.n_directions == 2 else []
        return "/".join([*path, "cell", slot] if path else [slot])

    return name


def finder(layers: str, before: str = "") -> Callable[[str], Found | None]:
    """Return what finds layer, direction and slot of a path.

    Arguments
        layers: what stands before a layer's number.
        before: what may stand before all of it.
    """
    pattern = re.compile(
        rf"(?:{before})?(?:{layers}(\d+)/)?(?:(forward|backward)_rnn/)?"
        r"(?:cell/)?([^/]+/[^/]+)"
    )

    def find(full: str) -> Found | None:
        parts = pattern.fullmatch(full)
        if parts is None:
            return None
        return Found(parts[1] or "0", int(parts[2] == "backward"), parts[3])

    return find
