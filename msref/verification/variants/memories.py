"""Mistakes in networks with a linear memory, and in its unrolled relative."""

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
    after_run,
    on_params,
    switched,
    with_output,
)
from msref.verification.variants.recurrent import of_activation

# --- the linear memory ------------------------------------------------------


def of_lmn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a linear memory network."""
    yield from of_memory(arch, lmn_step)


def of_memory(arch: Any, step: Any) -> Iterator[Variant]:
    """Yield the mistakes of a network with a linear memory, in modules or not.

    Arguments
        step: its step, written out again.
    """
    yield from of_activation(step, "tanh", "h", "of_h")
    for key, switch, where, advice in (
        (
            "tanh applied to the memory",
            {"of_m": lambda a, xp=np: xp.tanh(a)},
            "m",
            "the memory is linear; your port bends it with tanh",
        ),
        (
            "memory written by the step before",
            {"late": True},
            "h_{t-1}",
            "m_t reads h_t, of the same step; your port reads h_{t-1}",
        ),
        (
            "hidden units blind to the memory",
            {"blind": True},
            "W_mh",
            "h_t reads m_{t-1} through W_mh; your port leaves it out",
        ),
        (
            "memory without itself",
            {"forgets": True},
            "W_mm",
            "m_t reads m_{t-1} through W_mm; your port leaves it out",
        ),
        (
            "memory read after it is written",
            {"reads new": True},
            "m_t",
            "h_t reads m_{t-1}; your port first moves the memory on,"
            " m_{t-1} W_mm + b_m, and lets h_t read that",
        ),
    ):
        yield Variant(
            key, "another equation", where, advice, switched(step, **switch)
        )
    yield Variant(
        "W_mh and W_hm swapped",
        "weights swapped",
        "W_mh, W_hm",
        "W_mh leads from the memory to the hidden units, W_hm back; your port"
        " takes one for the other, transposed",
        on_params(lambda p, xp: {"W_mh": p["W_hm"].T, "W_hm": p["W_mh"].T}),
    )
    if arch.n_hid == arch.initial_state(1)["m"].shape[1]:
        yield _other_output(
            *("h", "m") if arch.output == "memory" else ("m", "h")
        )


def _other_output(wrong: str, right: str) -> Variant:
    return Variant(
        f"{wrong} put out for {right}",
        "another output",
        "y",
        f"the output is {right}; your port puts out {wrong}",
        after_run(lambda arch, run, r: with_output(r, r[2][wrong])),
    )


def lmn_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of a linear memory network."""
    a, h, a_m, kept = memory_step(s, p, p["W_mm"], state, state["m"], x, xp)
    m = chosen(s, "of_m", "linear")(a_m, xp)
    y = m if arch.output == "memory" else h
    return {"m": m} | kept, {"a": a, "h": h, "m": m, "y": y}


def memory_step(
    s: Switches,
    p: Arrays,
    W_mm: Array,
    state: Arrays,
    m_prev: Array,
    x: Array,
    xp: ModuleType,
) -> tuple[Array, Array, Array, Arrays]:
    """Return a, h, what is to be written into the memory, and what is kept.

    Kept is the h that a late memory reads at the next step.
    """
    read = m_prev
    if s.get("reads new"):
        read = m_prev @ W_mm + p["b_m"]
    a = x @ p["W_xh"] + p["b_h"]
    if not s.get("blind"):
        a = a + read @ p["W_mh"]
    h = chosen(s, "of_h", "tanh")(a, xp)
    wrote = state.get("@h", 0.0 * h) if s.get("late") else h
    a_m = wrote @ p["W_hm"] + p["b_m"]
    if not s.get("forgets"):
        a_m = a_m + m_prev @ W_mm
    return a, h, a_m, {"@h": h} if s.get("late") else {}


# --- the unrolled memory ----------------------------------------------------


def of_ulm(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of the unrolled network."""
    yield from of_activation(ulm_step, "tanh", "h", "of_h")
    yield Variant(
        "oldest first in the output",
        "another window",
        "y",
        "y_t = [h_t, h_{t-1}, …], the newest first; yours has the oldest first",
        switched(ulm_step, oldest_first=True),
    )
    if arch.n_window == 2:  # then there is one block, and one order
        return
    yield Variant(
        "window shifted the other way",
        "another window",
        "w",
        "the newest hidden vector stands first and the oldest falls out; your"
        " port appends the newest at the end",
        switched(ulm_step, appends=True),
    )
    yield Variant(
        "oldest first in the weights",
        "another window",
        "W_wh",
        "the blocks of W_wh read the newest vector first; yours read the"
        " oldest first",
        on_params(
            lambda p, xp: {"W_wh": _blocks_reversed(arch, p["W_wh"], xp)}
        ),
    )


def _blocks_reversed(arch: Any, W: Array, xp: ModuleType) -> Array:
    n = arch.n_hid
    blocks = [W[k : k + n] for k in range(0, W.shape[0], n)]
    reversed_: Array = xp.concatenate(blocks[::-1])
    return reversed_


def ulm_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of the unrolled network."""
    w_prev, n = state["w"], arch.n_hid
    a = x @ p["W_xh"] + w_prev @ p["W_wh"] + p["b_h"]
    h = chosen(s, "of_h", "tanh")(a, xp)
    y = xp.concatenate([h, w_prev], axis=-1)
    w = y[:, :-n]
    if s.get("appends"):
        y = xp.concatenate([w_prev, h], axis=-1)
        w = y[:, n:]
    if s.get("oldest_first"):
        blocks = [y[:, k : k + n] for k in range(0, y.shape[1], n)]
        y = xp.concatenate(blocks[::-1], axis=-1)
    return {"w": w}, {"a": a, "h": h, "w": w, "y": y}
