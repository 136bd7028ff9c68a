"""Mistakes in the equations of the bistable cells, BRC and NBRC."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.functional import sigmoid
from msref.verification.variants.activations import OF_SIGMOID, OF_TANH, chosen
from msref.verification.variants.base import (
    Switches,
    Variant,
    on_params,
    switched,
)
from msref.verification.variants.gates import of_gates

EQUATIONS: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    (
        "keep gate inverted",
        {"writes": True},
        "c",
        "h_t = c h_{t-1} + (1 - c) m: c keeps the old state; in your port it"
        " writes the new one; negate W_xc, w_hc or W_hc, and b_c",
    ),
    (
        "feedback without the one",
        {"feedback": "tanh"},
        "a",
        "a = 1 + tanh(a_a), between 0 and 2; your port takes tanh(a_a), which"
        " is never bistable",
    ),
    (
        "feedback 2 sigmoid(a_a) for 1 + tanh(a_a)",
        {"feedback": "sigmoid"},
        "a, sigmoid",
        "1 + tanh(a) is 2 sigmoid(2 a); your port leaves out the two inside",
    ),
    (
        "feedback by a sigmoid",
        {"feedback": "gate"},
        "a, below one",
        "a = 1 + tanh(a_a), between 0 and 2; your port keeps it below 1",
    ),
    (
        "feedback missing",
        {"feedback": "one"},
        "a, one",
        "the candidate reads a h_{t-1}; your port reads h_{t-1}",
    ),
    (
        "candidate without the old state",
        {"feedback": "none"},
        "a h",
        "the candidate reads a h_{t-1} beside the input; yours reads the input"
        " alone",
    ),
    (
        "old state added whole",
        {"leaks": True},
        "h",
        "h_t = c h_{t-1} + (1 - c) m; your port leaves c out",
    ),
    (
        "feedback around the activation",
        {"outside": True},
        "m",
        "m = tanh(x W_xm + a h_{t-1} + b_m); your port adds a h_{t-1} after the"
        " tanh",
    ),
)


def of_bistable(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a bistable cell, neuromodulated or not."""
    yield from of_gates(arch, "cam", {})
    for key, switch, where, advice in EQUATIONS:
        yield Variant(
            key,
            "another equation",
            where,
            advice,
            switched(bistable_step, **switch),
        )
    for wrong in OF_SIGMOID:
        yield _activation(wrong, "c", "of_gates")
    for wrong in OF_TANH:
        yield _activation(wrong, "m", "of_m")
    yield from _of_recurrence("W_hc" in arch.shapes())


def _activation(wrong: Any, place: str, switch: str) -> Variant:
    return Variant(
        f"{wrong.name} ({place})",
        "another activation",
        f"{place}: {wrong.name}",
        wrong.advice,
        switched(bistable_step, **{switch: wrong.f}),
    )


def _of_recurrence(is_matrix: bool) -> Iterator[Variant]:
    if is_matrix:
        yield Variant(
            "gates that read their own unit alone",
            "another recurrence",
            "W_hc, W_ha",
            "W_hc and W_ha are matrices: the gates of an NBRC read all units;"
            " your port takes their diagonals, as in a BRC",
            on_params(
                lambda p, xp: {
                    k: p[k] * np.eye(len(p[k])) for k in ("W_hc", "W_ha")
                }
            ),
        )
        return
    yield Variant(
        "gates that read all units",
        "another recurrence",
        "w_hc, w_ha",
        "w_hc * h_{t-1} is a product unit by unit; your port takes the sum over"
        " all units, h @ w",
        switched(bistable_step, summed=True),
    )


def bistable_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of the BRC, or of the NBRC by its weights."""
    h_prev = state["h"]

    def from_h(k: str) -> Array:
        if f"W_h{k}" in p:
            return h_prev @ p[f"W_h{k}"]
        if s.get("summed"):
            return xp.sum(p[f"w_h{k}"] * h_prev, axis=-1, keepdims=True)  # type: ignore[no-any-return]
        return p[f"w_h{k}"] * h_prev

    a_c = x @ p["W_xc"] + from_h("c") + p["b_c"]
    c = chosen(s, "of_gates", "sigmoid")(a_c, xp)
    a_a = x @ p["W_xa"] + from_h("a") + p["b_a"]
    a = _feedback(s.get("feedback"), a_a, xp)
    a_m = x @ p["W_xm"]
    if not s.get("outside"):
        a_m = a_m + a * h_prev
    if arch.candidate_bias:
        a_m = a_m + p["b_m"]
    m = chosen(s, "of_m", "tanh")(a_m, xp)
    if s.get("outside"):
        m = m + a * h_prev
    old, new = (1.0 - c, c) if s.get("writes") else (c, 1.0 - c)
    h = (h_prev if s.get("leaks") else old * h_prev) + new * m
    trace = {"a_c": a_c, "c": c, "a_a": a_a, "a": a, "a_m": a_m, "m": m}
    return {"h": h}, trace | {"h": h, "y": h}


def _feedback(which: str | None, a_a: Array, xp: ModuleType) -> Array:
    feedback: Array = 1.0 + xp.tanh(a_a)
    if which == "tanh":
        feedback = xp.tanh(a_a)
    if which == "sigmoid":
        feedback = 2.0 * sigmoid(a_a, xp)
    if which == "gate":
        feedback = sigmoid(a_a, xp)
    if which == "one":
        feedback = 0.0 * a_a + 1.0
    if which == "none":
        feedback = 0.0 * a_a
    return feedback
