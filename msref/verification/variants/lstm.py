"""Mistakes in the equations of the LSTM.

The step is written out once more, with switches; with none of them on it is
the architecture's own (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.verification.variants.activations import chosen
from msref.verification.variants.base import (
    Inputs,
    Result,
    Switches,
    Variant,
    after_run,
    around,
    before_run,
    switched,
    with_output,
)
from msref.verification.variants.gates import (
    LSTM_ORDERS,
    of_activations,
    of_forget_bias,
    of_gates,
)


def of_lstm(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of an LSTM."""
    yield from of_gates(arch, "ifgo", LSTM_ORDERS)
    yield from of_forget_bias("f")
    yield from of_activations(
        lstm_step, ("i, f, o", "g", "tanh(c)"), ("of_g", "of_c")
    )
    for key, switch, where, advice in (
        (
            "input gate coupled, i = 1 - f",
            {"coupled": "i"},
            "i",
            "i has weights of its own; your port computes it as 1 - f",
        ),
        (
            "forget gate coupled, f = 1 - i",
            {"coupled": "f"},
            "f",
            "f has weights of its own; your port computes it as 1 - i, as"
            " ONNX does with input_forget",
        ),
        (
            "input gate missing",
            {"open": "i"},
            "i, missing",
            "c_t = f c + i g: apply i",
        ),
        (
            "forget gate missing",
            {"open": "f"},
            "f, missing",
            "c_t = f c + i g: apply f (the LSTM of 1997 has none)",
        ),
        ("output gate missing", {"open": "o"}, "o", "h_t = o tanh(c): apply o"),
        (
            "tanh kept in the cell",
            {"squashed": True},
            "c",
            "the cell c is linear, and tanh(c) goes into h alone; your port"
            " hands on tanh(c) as c",
        ),
    ):
        yield Variant(
            key,
            "another equation",
            where,
            advice,
            switched(lstm_step, **switch),
        )
    yield from _of_two_states()


def lstm_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of the LSTM, with peepholes where there are weights."""
    h_prev, c_prev = state["h"], state["c"]
    logistic = chosen(s, "of_gates", "sigmoid")
    a = {
        k: x @ p[f"W_x{k}"] + h_prev @ p[f"W_h{k}"] + p[f"b_{k}"]
        for k in "ifgo"
    }
    if "w_ci" in p:
        a["i"] = a["i"] + p["w_ci"] * c_prev
        a["f"] = a["f"] + p["w_cf"] * c_prev
    i, f = logistic(a["i"], xp), logistic(a["f"], xp)
    if s.get("coupled") == "i":
        i = 1.0 - f
    if s.get("coupled") == "f":
        f = 1.0 - i
    g = chosen(s, "of_g", "tanh")(a["g"], xp)
    opened = s.get("open")
    added = g if opened == "i" else i * g
    c = (c_prev if opened == "f" else f * c_prev) + added
    if "w_co" in p:
        a["o"] = a["o"] + p["w_co"] * (c_prev if s.get("o sees old c") else c)
    o = logistic(a["o"], xp)
    shown = chosen(s, "of_c", "tanh")(c, xp)
    if s.get("squashed"):
        c = shown
    h = shown if opened == "o" else o * shown
    trace = {f"a_{k}": v for k, v in a.items()}
    trace |= {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h, "y": h}
    return {"h": h, "c": c}, trace


def _of_two_states() -> Iterator[Variant]:
    yield Variant(
        "initial h and c swapped",
        "state order",
        "h, c",
        "the state is (h, c); your port takes it as (c, h), the carry of Flax",
        before_run(_swapped_before),
    )
    yield Variant(
        "final h and c swapped",
        "state order",
        "h, c, final",
        "the state is (h, c); your port returns it as (c, h), the carry of"
        " Flax",
        after_run(_swapped_after),
    )
    yield Variant(
        "initial and final h and c swapped",
        "state order",
        "h, c, both",
        "the state is (h, c); your port takes and returns it as (c, h), the"
        " carry of Flax",
        around(_swapped_before, _swapped_after),
    )
    yield Variant(
        "c put out for h",
        "another output",
        "y",
        "the output is h; your port puts out c",
        after_run(lambda arch, run, r: with_output(r, r[2]["c"])),
    )
    yield Variant(
        "tanh(c) put out for h",
        "another output",
        "y, tanh(c)",
        "the output is h = o tanh(c); your port puts out tanh(c), while the"
        " state is right",
        after_run(lambda arch, run, r: with_output(r, run.xp.tanh(r[2]["c"]))),
    )


def _swapped_before(arch: Any, run: Inputs) -> Inputs:
    h, c = run.state["h"], run.state["c"]
    return replace(run, state={"h": c, "c": h})


def _swapped_after(arch: Any, given: Inputs, result: Result) -> Result:
    y, state, trace = result
    other = {"h": "c", "c": "h"}
    return y, {other[k]: v for k, v in state.items()}, trace
