"""Mistakes in the equations of networks without gates, and of the dual one.

Elman, IndRNN, the linear memory network, its unrolled relative, and DuRNN.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.verification.variants.activations import (
    OF_SIGMOID,
    chosen,
    mistaken_for,
)
from msref.verification.variants.base import (
    Switches,
    Variant,
    after_run,
    on_params,
    switched,
    with_output,
)

# --- Elman ------------------------------------------------------------------


def of_elman(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of an Elman network."""
    yield from _of_activation(elman_step, arch.activation, "h", "of_h")
    yield from _of_feedback(elman_step)


def elman_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of an Elman network."""
    from_h = state["h"] @ p["W_hh"]
    return _simple(arch, s, x @ p["W_xh"] + p["b_h"], from_h, xp)


def _of_activation(
    step: Any, activation: str, place: str, switch: str
) -> Iterator[Variant]:
    for wrong in mistaken_for(activation):
        yield Variant(
            f"{wrong.name} ({place})",
            "another activation",
            f"{place}: {wrong.name}",
            wrong.advice,
            switched(step, **{switch: wrong.f}),
        )


def _of_feedback(step: Any) -> Iterator[Variant]:
    yield Variant(
        "memory outside the activation",
        "memory outside the activation",
        "w_hh" if step is indrnn_step else "W_hh",
        "what comes from the state goes into the activation together with the"
        " input; your port adds it afterwards",
        switched(step, outside=True),
    )
    yield Variant(
        "pre-activation fed back",
        "another feedback",
        "a",
        "the state is h, after the activation; your port hands on a, before it",
        switched(step, feeds="a"),
    )


def _simple(
    arch: Any, s: Switches, from_x: Array, from_h: Array, xp: ModuleType
) -> tuple[Arrays, Arrays]:
    """Compute h from what input and state give to it."""
    f = chosen(s, "of_h", arch.activation)
    if s.get("outside"):
        a = from_x
        h = f(a, xp) + from_h
    else:
        a = from_x + from_h
        h = f(a, xp)
    state = {"h": a if s.get("feeds") == "a" else h}
    return state, {"a": a, "h": h, "y": h}


# --- IndRNN -----------------------------------------------------------------


def of_indrnn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of an independently recurrent network."""
    yield from _of_activation(indrnn_step, arch.activation, "h", "of_h")
    yield from _of_feedback(indrnn_step)
    yield Variant(
        "recurrence over all units",
        "another recurrence",
        "w_hh",
        "w_hh * h_{t-1} is a product unit by unit; your port takes the sum over"
        " all units, h @ w_hh",
        switched(indrnn_step, summed=True),
    )


def indrnn_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of an independently recurrent network."""
    if arch.mixes:
        x = x @ p["W_xh"] + p["b_h"]
    from_h = p["w_hh"] * state["h"]
    if s.get("summed"):
        from_h = xp.sum(from_h, axis=-1, keepdims=True)
    return _simple(arch, s, x, from_h, xp)


# --- the linear memory ------------------------------------------------------


def of_lmn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a linear memory network."""
    yield from of_memory(arch, lmn_step)


def of_memory(arch: Any, step: Any) -> Iterator[Variant]:
    """Yield the mistakes of a network with a linear memory, in modules or not.

    Arguments
        step: its step, written out again.
    """
    yield from _of_activation(step, "tanh", "h", "of_h")
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
    yield from _of_activation(ulm_step, "tanh", "h", "of_h")
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


# --- the dual network -------------------------------------------------------


def of_durnn(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a dual module."""
    step = durnn_step
    places = {"short": ["s"], "long": ["s", "l"], "both": ["s", "l"]}
    yield from _of_activation(step, arch.activation, "s", "of_s")
    if arch.output != "short":
        yield from _of_activation(step, arch.activation, "l", "of_l")
        for wrong in mistaken_for(arch.activation):
            yield Variant(
                f"{wrong.name} ({' and '.join(places[arch.output])})",
                "another activation",
                f"s and l: {wrong.name}",
                wrong.advice,
                switched(step, of_s=wrong.f, of_l=wrong.f),
            )
    if arch.output == "both":
        yield Variant(
            "long before short",
            "long before short",
            "y",
            "y_t = [s_t, l_t]; your port has the long part first",
            switched(step, swapped=True),
        )
    yield from _of_long(arch)


def _of_long(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes in the long-term part, which is always a state."""
    step = durnn_step
    found: list[tuple[str, str, dict[str, Any], str, str]] = [
        (
            "memory outside the activation",
            "memory outside the activation",
            {"outside": True},
            "w_ll",
            "l_t = f(q v + w_ll l_{t-1}); your port adds w_ll l_{t-1} after f",
        ),
        (
            "recurrence over all long units",
            "another recurrence",
            {"summed": True},
            "w_ll, sum",
            "w_ll * l_{t-1} is a product unit by unit; your port takes the sum"
            " over all units",
        ),
    ]
    if arch.selection != "none":
        found.append(
            (
                "candidate reads the step before",
                "another equation",
                {"v behind": True},
                "W_sv",
                "v_t reads s_t, of the same step; your port reads s_{t-1}",
            )
        )
    if arch.selection == "gate":
        found += [
            (
                "gate reads the step before",
                "gate reads the step before",
                {"q behind": True},
                "W_sq",
                "q_t reads s_t, of the same step; your port reads s_{t-1}",
            ),
            (
                "gate on what is carried too",
                "gate on what is carried too",
                {"q": "on both"},
                "w_ll, q",
                "q multiplies v alone; your port multiplies w_ll l_{t-1}, too",
            ),
            (
                "gate shuts what is carried",
                "gate shuts what is carried",
                {"q": "one or other"},
                "w_ll, 1 - q",
                "w_ll l_{t-1} is carried whole; your port multiplies it by"
                " 1 - q",
            ),
            (
                "gate missing",
                "another equation",
                {"q": "none"},
                "q, missing",
                "q multiplies v; your port leaves it out",
            ),
            (
                "gate inverted",
                "another equation",
                {"q": "inverted"},
                "q, inverted",
                "q lets v in; in your port 1 - q does",
            ),
        ]
        for wrong in OF_SIGMOID:
            found.append(
                (
                    f"{wrong.name} (q)",
                    "another activation",
                    {"of_gates": wrong.f},
                    f"q: {wrong.name}",
                    wrong.advice,
                )
            )
    for key, kind, switch, where, advice in found:
        yield Variant(key, kind, where, advice, switched(step, **switch))


def durnn_step(
    arch: Any,
    s: Switches,
    p: Arrays,
    state: Arrays,
    x: Array,
    t: int,
    xp: ModuleType = np,
) -> tuple[Arrays, Arrays]:
    """Compute a step of a dual module."""
    a_s = x @ p["W_xs"] + state["s"] @ p["W_ss"] + p["b_s"]
    short = chosen(s, "of_s", arch.activation)(a_s, xp)
    v = x @ p["W_xv"] + p["b_v"]
    if arch.selection != "none":
        v = v + (state["s"] if s.get("v behind") else short) @ p["W_sv"]
    carried = p["w_ll"] * state["l"]
    if s.get("summed"):
        carried = xp.sum(carried, axis=-1, keepdims=True)
    trace = {"a_s": a_s, "s": short, "v": v}
    selected = v
    if arch.selection == "gate":
        read = state["s"] if s.get("q behind") else short
        a_q = x @ p["W_xq"] + read @ p["W_sq"] + p["b_q"]
        q = chosen(s, "of_gates", "sigmoid")(a_q, xp)
        trace |= {"a_q": a_q, "q": q}
        which = s.get("q", "right")
        selected = (1.0 - q if which == "inverted" else q) * v
        if which == "none":
            selected = v
        if which == "on both":
            carried = q * carried
        if which == "one or other":
            carried = (1.0 - q) * carried
    f = chosen(s, "of_l", arch.activation)
    if s.get("outside"):
        a_l = selected
        long = f(a_l, xp) + carried
    else:
        a_l = selected + carried
        long = f(a_l, xp)
    y = {"short": short, "long": long}.get(arch.output)
    if y is None:
        parts = [long, short] if s.get("swapped") else [short, long]
        y = xp.concatenate(parts, axis=-1)
    trace |= {"a_l": a_l, "l": long, "y": y}
    return {"s": short, "l": long}, trace
