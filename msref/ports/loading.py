"""What loading weights has to find out: order, variant, what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msref.architectures import GRU, LSTM, Elman
from msref.architectures.base import check_finite, check_float
from msref.arrays import Array, Arrays
from msref.ports.layout import Layout


def checked(weights: Mapping[str, Any], prefix: str) -> Arrays:
    """Check arrays at the border; keep those whose names start so.

    Raises
        ValueError: there is none, or one holds NaN or infinity.
        TypeError: not all are float32, or float64.
    """
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights is a {type(weights).__name__}, expected a dict of arrays"
            " under the framework's names"
        )
    for name in (*weights, prefix):
        if not isinstance(name, str):
            raise TypeError(
                f"a name or prefix of weights is {name!r}, expected text"
            )
    arrays = {
        name.removeprefix(prefix): _as_array(name, array)
        for name, array in weights.items()
        if name.startswith(prefix)
    }
    if not arrays:
        raise ValueError(
            f"there is no array whose name starts with {prefix!r}, got"
            f" {some(sorted(weights)) or 'none at all'}"
        )
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        check_float(name, array)
        if array.dtype != first.dtype:
            raise TypeError(
                f"{name} has dtype {array.dtype}, expected {first.dtype} as"
                " the others"
            )
        check_finite(name, array, tuple(f"axis {i}" for i in range(array.ndim)))
    return arrays


def _as_array(name: str, value: Any) -> Array:
    if isinstance(value, Mapping):
        raise TypeError(
            f"{name} is a {type(value).__name__}, expected an array; the names"
            " of nested dicts are joined with slashes"
        )
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:  # of its framework
        raise TypeError(
            f"{name} is a {type(value).__name__}, expected what NumPy takes as"
            f" float32 or float64: {error}"
        ) from error


def some(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message; a large model has thousands."""
    left = len(names) - most
    more = [f"and {left} more"] if left > 0 else []
    return ", ".join([*names[:most], *more])


def in_order(layers: list[str], hints: Mapping[str, str]) -> list[str]:
    """Sort layers from the input on, by the number that ends their names."""
    if "layers" in hints:
        wanted = hints["layers"].split(",")
        if sorted(wanted) != layers:
            raise ValueError(
                f"layers is {hints['layers']!r}, expected all of"
                f" {', '.join(layers)} in their order"
            )
        return wanted
    numbered = [re.fullmatch(r"(.*?)_?(\d*)", layer, re.S) for layer in layers]
    split = [(m[1], int(m[2] or 0)) for m in numbered if m]
    if len({base for base, _ in split}) > 1:
        raise ValueError(
            f"names do not say the order of the layers {', '.join(layers)},"
            f" expected the hint layers={','.join(layers)}, input first"
        )
    ordered = sorted(zip(split, layers, strict=True))
    numbers = [number for (_, number), _ in ordered]
    if all(layer.isdigit() for layer in layers) and numbers != list(
        range(len(numbers))
    ):
        raise ValueError(
            f"there are weights of the layers {numbers}, expected every one"
            f" from 0 to {numbers[-1]}"
        )
    return [layer for _, layer in ordered]


def needs_hint(layouts: list[Layout]) -> str:
    """Say which hint tells layouts apart that fit the same arrays."""
    resets = {layout.reset for layout in layouts}
    hint = "reset" if len(resets) == len(layouts) else "layer"
    values = [
        layout.reset if hint == "reset" else layout.layers[0]
        for layout in layouts
    ]
    shown = [
        layout.call.format(L=layout.layers[0], D="D", H="H", f="…", more="")
        for layout in layouts
    ]
    return (
        f"the weights do not say whether they are of {' or '.join(shown)},"
        f" expected the hint {hint}={'|'.join(values)}"
    )


def made_of(
    layout: Layout, n_in: int, n_hid: int, hints: Mapping[str, str]
) -> Any:
    """Make the network of one cell."""
    if layout.cell == "lstm":
        return LSTM(n_in, n_hid)
    if layout.cell == "gru":
        return GRU(n_in, n_hid, reset=layout.reset)
    allowed = layout.activations
    activation = hints.get(
        "activation", allowed[0] if len(allowed) == 1 else ""
    )
    if activation not in allowed:
        told = (
            f"activation is {activation!r}"
            if activation
            else (
                f"the weights do not say the activation of {layout.layers[0]}"
            )
        )
        raise ValueError(
            f"{told}, expected the hint activation={'|'.join(allowed)}"
        )
    return Elman(n_in, n_hid, activation=activation)


def unlike_any(
    title: str,
    layer: str,
    arrays: Mapping[str, Array],
    layouts: tuple[Layout, ...],
) -> str:
    """Say that arrays are of no layout, and what was expected."""
    got = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
    near = [
        layout
        for layout in layouts
        if set(arrays) & {slot.name for slot in layout.slots}
    ]
    wanted = "; ".join(
        f"{layout.layers[0]}: "
        + ", ".join(f"{s.name} {s.shape_text()}" for s in layout.slots)
        for layout in near
    )
    return (
        f"layer {layer!r}: got {got}, expected those of a layer of {title}:"
        f" {wanted}; the hint prefix=… picks a layer out of a larger model"
    )
