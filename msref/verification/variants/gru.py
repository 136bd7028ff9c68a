"""Mistakes in the equations of the GRU, and of the MGU with its one gate."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.verification.variants.activations import chosen
from msref.verification.variants.base import (
    Switches,
    Variant,
    on_params,
    switched,
)
from msref.verification.variants.gates import (
    GRU_ORDERS,
    of_activations,
    of_forget_bias,
    of_gates,
)


def of_gru(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a GRU, either of its dialects."""
    yield from of_gates(arch, "rzn", GRU_ORDERS)
    yield from _of_reset(arch.reset)
    yield from of_activations(gru_step, ("r, z", "n"), ("of_n",))
    for key, switch, where, advice in (
        (
            "update gate inverted",
            {"writes": True},
            "z",
            "h_t = (1 - z) n + z h_{t-1}: z keeps the old state; in your port"
            " it writes the new one, as in Haiku; negate W_xz, W_hz and b_z",
        ),
        (
            "reset gate inverted",
            {"r inverted": True},
            "r",
            "r multiplies the old state's share; your port takes 1 - r",
        ),
        (
            "reset gate missing",
            {"open": "r"},
            "r, open",
            "r multiplies what the candidate reads of the old state: apply it",
        ),
        (
            "update gate missing",
            {"open": "z"},
            "z, open",
            "h_t = (1 - z) n + z h_{t-1}; your port takes n alone",
        ),
        (
            "old state added whole",
            {"open": "old"},
            "h, old",
            "h_t = (1 - z) n + z h_{t-1}; your port leaves z out",
        ),
        (
            "candidate added whole",
            {"open": "new"},
            "h, new",
            "h_t = (1 - z) n + z h_{t-1}; your port leaves (1 - z) out",
        ),
    ):
        kind = (
            "update gate inverted" if "writes" in switch else "another equation"
        )
        yield Variant(key, kind, where, advice, switched(gru_step, **switch))


def _of_reset(reset: str) -> Iterator[Variant]:
    if reset == "before":
        yield Variant(
            "reset after the product, the bias inside",
            "the other reset",
            "before",
            "r multiplies h_{t-1} before the product with W_hn; your port"
            " multiplies the product and the bias (reset_after,"
            " linear_before_reset=1)",
            switched(gru_step, reset="after", inside=True),
        )
        yield Variant(
            "reset after the product, the bias outside",
            "the other reset",
            "before, b_n outside",
            "r multiplies h_{t-1} before the product with W_hn; your port"
            " multiplies the product (reset_after, linear_before_reset=1)",
            switched(gru_step, reset="after"),
        )
        return
    yield Variant(
        "reset before the product",
        "the other reset",
        "after",
        "r multiplies the product h_{t-1} W_hn + b_hn; your port multiplies"
        " h_{t-1} before the product: set reset_after=True (Keras) or"
        " linear_before_reset=1 (ONNX), or write r * (h @ W_hn + b_hn)",
        switched(gru_step, reset="before"),
    )
    yield Variant(
        "reset before the product, b_hn missing",
        "the other reset",
        "after, b_hn missing",
        "r multiplies the product h_{t-1} W_hn + b_hn; your port multiplies"
        " h_{t-1} before the product, and has one bias where two are needed",
        switched(gru_step, reset="before", drops=True),
    )
    yield Variant(
        "b_hn outside the reset",
        "bias outside the reset",
        "b_hn",
        "r multiplies b_hn as well, r * (h @ W_hn + b_hn); your port adds it"
        " to b_n, which only fits when r is one",
        switched(gru_step, outside=True),
    )
    yield Variant(
        "b_n inside the reset",
        "bias outside the reset",
        "b_n",
        "r multiplies h_{t-1} W_hn + b_hn alone; your port has b_n inside, too",
        on_params(
            lambda p, xp: {"b_hn": p["b_hn"] + p["b_n"], "b_n": 0.0 * p["b_n"]}
        ),
    )
    yield Variant(
        "b_n and b_hn swapped",
        "bias outside the reset",
        "b_n, b_hn",
        "b_n belongs to the input, b_hn to the recurrence, inside the reset;"
        " your port reads the two bias vectors in the other order",
        on_params(lambda p, xp: {"b_n": p["b_hn"], "b_hn": p["b_n"]}),
    )
    yield Variant(
        "reset applied to the input as well",
        "another equation",
        "r * (x W_xn)",
        "r multiplies h_{t-1} W_hn + b_hn alone; your port multiplies the"
        " input's share, too",
        switched(gru_step, all_reset=True),
    )


def gru_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of the GRU, either reset."""
    h_prev = state["h"]
    logistic = chosen(s, "of_gates", "sigmoid")
    a_r = x @ p["W_xr"] + h_prev @ p["W_hr"] + p["b_r"]
    a_z = x @ p["W_xz"] + h_prev @ p["W_hz"] + p["b_z"]
    r, z = logistic(a_r, xp), logistic(a_z, xp)
    applied = 1.0 - r if s.get("r inverted") else r
    if s.get("open") == "r":
        applied = 0.0 * r + 1.0
    a_n, trace = _candidate(arch, s, p, h_prev, x, applied)
    n = chosen(s, "of_n", "tanh")(a_n, xp)
    new, old = (z, 1.0 - z) if s.get("writes") else (1.0 - z, z)
    if s.get("open") in ("z", "new"):
        new = 0.0 * z + 1.0
    if s.get("open") == "z":
        old = 0.0 * z
    if s.get("open") == "old":
        old = 0.0 * z + 1.0
    h = new * n + old * h_prev
    trace |= {"a_r": a_r, "a_z": a_z, "a_n": a_n}
    trace |= {"r": r, "z": z, "n": n, "h": h, "y": h}
    return {"h": h}, trace


def _candidate(
    arch: Any, s: Switches, p: Arrays, h_prev: Array, x: Array, r: Array
) -> tuple[Array, Arrays]:
    """Return a_n, and what the right network would name on the way."""
    from_x = x @ p["W_xn"] + p["b_n"]
    if s.get("reset", arch.reset) == "before":
        q = r * h_prev
        from_h = q @ p["W_hn"]
        if "b_hn" not in p:
            return from_x + from_h, {"q": q}
        if not s.get("drops"):
            from_h = from_h + p["b_hn"]
        return from_x + from_h, {"a_hn": from_h}
    from_h = h_prev @ p["W_hn"]
    if "b_hn" not in p:
        if s.get("inside"):
            return x @ p["W_xn"] + r * (from_h + p["b_n"]), {}
        return from_x + r * from_h, {}
    if s.get("outside"):
        return from_x + p["b_hn"] + r * from_h, {"a_hn": from_h}
    from_h = from_h + p["b_hn"]
    if s.get("all_reset"):
        return r * (from_x + from_h), {"a_hn": from_h}
    return from_x + r * from_h, {"a_hn": from_h}


# --- MGU --------------------------------------------------------------------


def of_mgu(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a minimal gated unit."""
    yield from of_gates(arch, "fm", {})
    yield from of_forget_bias("f")
    yield from of_activations(mgu_step, ("f", "m"), ("of_m",))
    for key, switch, where, advice in (
        (
            "forget gate inverted",
            {"keeps": True},
            "f",
            "h_t = (1 - f) h_{t-1} + f m: f lets the new in; in your port it"
            " keeps the old, as in Flax; negate W_xf, W_hf and b_f",
        ),
        (
            "forget gate not applied to the candidate",
            {"open": True},
            "q",
            "the candidate reads f * h_{t-1}; your port reads h_{t-1}",
        ),
        (
            "forget gate applied after the product",
            {"after": True},
            "q, after",
            "f multiplies h_{t-1} before the product with W_hm; your port"
            " multiplies the product",
        ),
        (
            "old state added whole",
            {"leaks": True},
            "h",
            "h_t = (1 - f) h_{t-1} + f m; your port leaves (1 - f) out",
        ),
    ):
        yield Variant(
            key, "another equation", where, advice, switched(mgu_step, **switch)
        )


def mgu_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of the minimal gated unit."""
    h_prev = state["h"]
    a_f = x @ p["W_xf"] + h_prev @ p["W_hf"] + p["b_f"]
    f = chosen(s, "of_gates", "sigmoid")(a_f, xp)
    trace = {"a_f": a_f, "f": f}
    if s.get("after"):
        from_h = f * (h_prev @ p["W_hm"])
    else:
        q = h_prev if s.get("open") else f * h_prev
        from_h = q @ p["W_hm"]
        trace["q"] = q
    a_m = x @ p["W_xm"] + from_h + p["b_m"]
    m = chosen(s, "of_m", "tanh")(a_m, xp)
    new, old = (1.0 - f, f) if s.get("keeps") else (f, 1.0 - f)
    h = (h_prev if s.get("leaks") else old * h_prev) + new * m
    return {"h": h}, trace | {"a_m": a_m, "m": m, "h": h, "y": h}
