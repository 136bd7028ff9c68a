"""Mistakes that gated networks share: above all, the order of gates.

Libraries keep the gates of a cell in one big matrix, each in an order of its
own. Who reads the blocks in another order than they were written in swaps
gates, all of them or, where input and recurrent weights are two matrices, in
one of the two alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from msref.arrays import Array, Arrays
from msref.verification.variants.activations import OF_SIGMOID, OF_TANH
from msref.verification.variants.base import Variant, on_params, switched

LSTM_ORDERS: Mapping[str, str] = {
    "ifgo": "PyTorch, Keras, cuDNN, Flax",
    "iofg": "ONNX",
    "igfo": "Haiku, TensorFlow's BlockLSTM",
    "ifog": "MIOpen",
    "figo": "OpenVINO",
}
"""Orders of the blocks of an LSTM, and who has them."""

GRU_ORDERS: Mapping[str, str] = {
    "rzn": "PyTorch, cuDNN, Flax",
    "zrn": "Keras, ONNX, Haiku",
}
"""Orders of the blocks of a GRU, and who has them."""

Blocks = Callable[[Arrays, str], Arrays]


def of_gates(arch: Any, gates: str, orders: Mapping[str, str]) -> Iterator[Any]:
    """Yield all orders of the gates but the right one, and their relatives.

    Arguments
        gates: one letter each, as in ``W_xi``.
        orders: known orders of the blocks -> who has them.
    """
    shapes = arch.shapes()
    for taken in map("".join, itertools.permutations(gates)):
        if taken != gates:
            yield from _permuted(shapes, gates, taken, orders)
    for one, two in itertools.combinations(gates, 2):
        sides = (("W_h", "recurrent"), ("w_h", "recurrent"), ("W_x", "input"))
        of_both = [
            (kind, side)
            for kind, side in (*sides, ("b_", "bias"))
            if f"{kind}{one}" in shapes and f"{kind}{two}" in shapes
        ]
        if len(of_both) > 1:  # with a single one it is the whole swap
            for kind, side in of_both:
                yield _swapped(kind, side, one, two)
    for kind, side in (("W_x", "input"), ("W_h", "recurrent")):
        names = [f"{kind}{k}" for k in gates if f"{kind}{k}" in shapes]
        if len(names) > 1:
            yield from _fused(names, side, f"{kind}*")
            yield from _all_transposed(shapes, names, side, f"{kind}*")


def _permuted(
    shapes: Mapping[str, Any],
    gates: str,
    taken: str,
    orders: Mapping[str, str],
) -> Iterator[Variant]:
    """Let each gate compute with the arrays of another."""
    moved = [(k, j) for k, j in zip(gates, taken, strict=True) if k != j]
    text = ", ".join(f"{k} with those of {j}" for k, j in moved)
    key, where = f"gates permuted: {text}", f"{gates} as {taken}"
    if len(moved) == 2:
        (one, _), (two, _) = moved
        key, where = f"gates {one} and {two} swapped", f"{one}, {two}"
    told = _explained(gates, taken, orders)
    advice = (
        f"your port computes {text}; put the blocks of the fused weights and"
        f" biases in its own order{told}"
    )
    kinds = ("W_x", "W_h", "w_h", "b_")

    def change(p: Arrays, xp: ModuleType) -> Arrays:
        named = {
            f"{kind}{k}": p[f"{kind}{j}"]
            for kind in kinds
            for k, j in moved
            if f"{kind}{k}" in p and f"{kind}{j}" in p
        }
        return named

    if "b_hn" not in shapes or taken[gates.index("n")] == "n":
        plant = on_params(change)
        yield Variant(key, "gates permuted", where, advice, plant)
        return

    def change_both(p: Arrays, xp: ModuleType) -> Arrays:
        """Take the second bias along; it has zeros for the other gates."""
        new = change(p, xp)
        second = {k: p["b_hn"] if k == "n" else 0.0 * p["b_hn"] for k in gates}
        for k, j in moved:
            if k == "n":
                new["b_hn"] = second[j]
            else:
                new[f"b_{k}"] = p[f"b_{j}"] + second[j]
        return new

    yield Variant(key, "gates permuted", where, advice, on_params(change_both))
    yield Variant(
        f"{key}, b_hn in its place",
        "gates permuted",
        f"{where}, but b_hn",
        advice,
        on_params(change),
    )


def _explained(gates: str, taken: str, orders: Mapping[str, str]) -> str:
    """Name the libraries whose orders would have made this one."""
    found = []
    for written, read in itertools.permutations(orders, 2):
        block = dict(zip(read, written, strict=True))  # gate -> block it gets
        if all(block[k] == j for k, j in zip(gates, taken, strict=True)):
            found.append(
                f"written as {' '.join(written)} ({orders[written]}) and read"
                f" as {' '.join(read)} ({orders[read]})"
            )
    return f": as if {', or '.join(found)}" if found else ""


def _swapped(kind: str, side: str, one: str, two: str) -> Variant:
    a, b = f"{kind}{one}", f"{kind}{two}"
    what = {"bias": "biases"}.get(side, f"{side} weights")
    return Variant(
        f"gates {one} and {two} swapped in the {what} alone",
        "gate order",
        f"{a}, {b}",
        f"your port reads the {what} of {one} where those of {two} are, and"
        " the other way round, while the rest is in order: the blocks of"
        " input weights, recurrent weights and biases need one order",
        on_params(lambda p, xp: {a: p[b], b: p[a]}),
    )


def _fused(names: list[str], side: str, where: str) -> Iterator[Variant]:
    """Misread the big matrix of all gates."""
    advice = (
        f"the fused {side} weights are read in memory order into a matrix of"
        " the other shape; transpose instead of reshaping"
    )

    def split(K: Array) -> Arrays:
        n = K.shape[1] // len(names)
        return {k: K[:, j * n : (j + 1) * n] for j, k in enumerate(names)}

    def one_way(p: Arrays, xp: ModuleType) -> Arrays:
        K = xp.concatenate([p[k] for k in names], axis=1)
        return split(xp.reshape(K.T, K.shape))

    def other_way(p: Arrays, xp: ModuleType) -> Arrays:
        K = xp.concatenate([p[k] for k in names], axis=1)
        return split(xp.reshape(K, K.T.shape).T)

    def interleaved(p: Arrays, xp: ModuleType) -> Arrays:
        K = xp.concatenate([p[k] for k in names], axis=1)
        return {k: K[:, j :: len(names)] for j, k in enumerate(names)}

    def each(p: Arrays, xp: ModuleType) -> Arrays:
        return {k: xp.reshape(p[k].T, p[k].shape) for k in names}

    def each_other(p: Arrays, xp: ModuleType) -> Arrays:
        return {k: xp.reshape(p[k], p[k].T.shape).T for k in names}

    kind = "weights misread"
    for key, change in (
        (f"fused {side} weights reshaped instead of transposed", one_way),
        (f"fused {side} weights reshaped the other way", other_way),
    ):
        yield Variant(key, kind, f"{where}: {key}", advice, on_params(change))
    if side == "input":  # square ones would be transposed
        for key, change in (
            ("input weights of each gate reshaped", each),
            ("input weights of each gate reshaped the other way", each_other),
        ):
            yield Variant(
                key, kind, f"{where}: {key}", advice, on_params(change)
            )
    key = f"{side} gate blocks taken as interleaved"
    yield Variant(
        key,
        kind,
        f"{where}: {key}",
        "the gates of the fused weights stand one block after the other; your"
        f" port takes every {len(names)}th column",
        on_params(interleaved),
    )


def _all_transposed(
    shapes: Mapping[str, Any], names: list[str], side: str, where: str
) -> Iterator[Variant]:
    if all(shapes[k][0] == shapes[k][1] for k in names):
        yield Variant(
            f"{side} weights transposed",
            "weight transposed forwards",
            where,
            f"the {side} weights of all gates multiply from the right, h @ W:"
            " transpose them where your port computes W @ h",
            on_params(lambda p, xp: {k: p[k].T for k in names}),
        )


# --- a bias, and activations ------------------------------------------------


def of_forget_bias(k: str) -> Iterator[Variant]:
    """Yield what is added to, or taken from, the bias of forget gate k."""
    yield Variant(
        f"1 added to the bias of {k} while running",
        "forget bias added while running",
        f"b_{k}",
        f"b_{k} holds the whole bias of the forget gate: nothing is added"
        " while running; Haiku and TensorFlow's BlockLSTM add 1, so subtract 1"
        f" from b_{k} for them",
        on_params(lambda p, xp: {f"b_{k}": p[f"b_{k}"] + 1.0}),
    )
    yield Variant(
        f"1 taken from the bias of {k}",
        "forget bias added while running",
        f"b_{k}, minus",
        f"1 was subtracted from b_{k} for a library that adds it while"
        " running; yours does not",
        on_params(lambda p, xp: {f"b_{k}": p[f"b_{k}"] - 1.0}),
    )


def of_activations(
    step: Any, places: tuple[str, ...], switches: tuple[str, ...]
) -> Iterator[Variant]:
    """Yield other non-linearities: of all gates, of each tanh, of all tanh.

    Arguments
        places: of the gates, and of each tanh, in words.
        switches: the name of each tanh among the step's switches.
    """
    for wrong in OF_SIGMOID:
        yield Variant(
            f"{wrong.name} ({places[0]})",
            "another activation",
            f"{places[0]}: {wrong.name}",
            wrong.advice,
            switched(step, of_gates=wrong.f),
        )
    for wrong in OF_TANH:
        chances: list[tuple[tuple[str, ...], str]] = [
            ((switch,), place)
            for switch, place in zip(switches, places[1:], strict=True)
        ]
        if len(switches) > 1:
            chances.append((switches, " and ".join(places[1:])))
        for names, place in chances:
            yield Variant(
                f"{wrong.name} ({place})",
                "another activation",
                f"{place}: {wrong.name}",
                wrong.advice,
                switched(step, **dict.fromkeys(names, wrong.f)),
            )
