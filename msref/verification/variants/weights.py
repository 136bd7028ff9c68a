"""Mistakes in single arrays of weights: dropped, doubled, transposed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msref.architectures import buffers
from msref.verification.variants.base import Variant, on_params


def of_weights(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes in one array, and in all arrays of a kind."""
    observed = buffers(arch)
    shapes = {k: s for k, s in arch.shapes().items() if k not in observed}
    biases = [k for k, s in shapes.items() if k.startswith("b_")]
    for name, shape in shapes.items():
        if len(shape) == 1:
            yield from _of_vector(name)
        elif shape[0] == shape[1]:
            yield _transposed(name)
        else:
            yield from _of_oblong(name)
    if biases:
        yield Variant(
            "biases halved",
            "bias halved",
            "all biases",
            "your port adds half of each bias; where it was split over two"
            " vectors, both are to be added",
            on_params(lambda p, xp: {k: 0.5 * p[k] for k in biases}),
        )
    if len(biases) > 1:
        yield Variant(
            "all biases dropped",
            "bias dropped",
            "all biases",
            "add the biases; none of them arrives in your port",
            on_params(lambda p, xp: {k: 0.0 * p[k] for k in biases}),
        )
        yield Variant(
            "all biases doubled",
            "bias doubled",
            "all biases",
            "add each bias once; where your port has two bias vectors, one of"
            " them is to be zero",
            on_params(lambda p, xp: {k: 2.0 * p[k] for k in biases}),
        )


def _of_vector(name: str) -> Iterator[Variant]:
    is_bias = name.startswith("b_")
    twice = f"{name} counts twice in your port"
    if name not in ("w_hh", "w_ll"):  # the same as a state not fed back
        yield Variant(
            f"{name} dropped",
            "bias dropped" if is_bias else "vector dropped",
            name,
            f"{name} does not arrive in your port: it computes with zeros",
            on_params(lambda p, xp: {name: 0.0 * p[name]}),
        )
    yield Variant(
        f"{name} doubled",
        "bias doubled" if is_bias else "vector doubled",
        name,
        f"{twice}; where it has two bias vectors, one of them is to be zero"
        if is_bias
        else twice,
        on_params(lambda p, xp: {name: 2.0 * p[name]}),
    )


def _transposed(name: str) -> Variant:
    return Variant(
        f"{name} transposed",
        "weight transposed forwards",
        name,
        f"{name} multiplies from the right, x @ W: transpose it where your"
        " port computes W @ x",
        on_params(lambda p, xp: {name: p[name].T}),
    )


def _of_oblong(name: str) -> Iterator[Variant]:
    advice = (
        f"your port reads the numbers of {name} in memory order into a matrix"
        " of the other shape; transpose instead of reshaping"
    )
    yield Variant(
        f"{name} reshaped instead of transposed",
        "weight misread",
        name,
        advice,
        on_params(lambda p, xp: {name: xp.reshape(p[name].T, p[name].shape)}),
    )
    yield Variant(
        f"{name} reshaped the other way",
        "weight misread",
        f"{name}, other way",
        advice,
        on_params(lambda p, xp: {name: xp.reshape(p[name], p[name].T.shape).T}),
    )
