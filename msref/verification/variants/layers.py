"""Mistakes in layers without recurrence: affine, normalising, dropping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from msref.architectures import is_causal
from msref.arrays import Array
from msref.functional import relu
from msref.verification.variants.base import (
    Inputs,
    Result,
    Switches,
    Variant,
    after_run,
    before_run,
    on_params,
    rewired,
    with_output,
)

# --- the affine layer -------------------------------------------------------


def of_linear(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a linear layer."""
    for name, f in (
        ("tanh", lambda a, xp: xp.tanh(a)),
        ("ReLU", relu),
    ):
        yield Variant(
            f"{name} after the linear layer",
            "another activation",
            f"y: {name}",
            "the layer is affine, nothing follows it",
            after_run(_bent(f)),
        )


def _bent(f: Any) -> Any:
    def after(arch: Any, given: Inputs, result: Result) -> Result:
        return with_output(result, f(result[0], given.xp))

    return after


# --- dropout ----------------------------------------------------------------


def of_dropout(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a dropout that lasts a sequence."""
    yield Variant(
        "another mask at each step",
        "another mask at each step",
        "mask",
        "one mask serves all steps of a sequence; your port draws one for each",
        after_run(_another_mask),
    )
    yield Variant(
        "mask applied twice",
        "mask applied twice",
        "mask, twice",
        "y = x * mask; your port multiplies twice, or scales by 1 / (1 - rate)"
        " a second time",
        after_run(
            lambda arch, run, r: with_output(r, r[0] * run.state["mask"])
        ),
    )
    yield Variant(
        "mask without its scale",
        "mask scaled",
        "mask, scale",
        "the mask holds 1 / (1 - rate) where a unit stays; your port takes it"
        " for zeros and ones",
        before_run(_binary),
    )
    yield Variant(
        "mask scaled a second time",
        "mask scaled",
        "mask, scale twice",
        "the mask holds 1 / (1 - rate) already; your port multiplies by it"
        " again",
        after_run(
            lambda arch, run, r: with_output(r, r[0] / (1.0 - arch.rate))
        ),
    )
    yield Variant(
        "mask not handed on",
        "mask not handed on",
        "mask, state",
        "the mask is the state: the final one is the initial one, so that a"
        " sequence that is cut keeps it",
        after_run(_mask_lost),
    )


def _another_mask(arch: Any, given: Inputs, result: Result) -> Result:
    """Drop one unit more at each step, or keep one more: the next in turn."""
    mask, xp = given.state["mask"], given.xp
    n, scale = mask.shape[1], 1.0 / (1.0 - arch.rate)
    frames = []
    for t in range(len(given.x)):
        turn = 1.0 * (np.arange(n) == (t - 1) % n) * (t > 0)
        frames.append(given.x[t] * (mask + turn * (scale - 2.0 * mask)))
    return with_output(result, xp.stack(frames))


def _binary(arch: Any, run: Inputs) -> Inputs:
    mask = run.state["mask"]
    return replace(
        run, state={"mask": run.xp.where(mask != 0, 1.0, 0.0 * mask)}
    )


def _mask_lost(arch: Any, given: Inputs, result: Result) -> Result:
    y, _, trace = result
    lost = arch.initial_state(given.x.shape[1], np.float64, given.xp)
    return y, lost, trace


# --- batch normalisation ----------------------------------------------------

_NORMALISED: tuple[tuple[str, str, dict[str, Any], str, str], ...] = (
    (
        "eps outside the root",
        "eps outside the root",
        {"eps": "outside"},
        "eps",
        "divide by sqrt(v + eps), not by sqrt(v) + eps",
    ),
    (
        "eps missing",
        "eps outside the root",
        {"eps": "none"},
        "eps, missing",
        "divide by sqrt(v + eps); your port leaves eps out",
    ),
    (
        "variance taken as deviation",
        "variance taken as deviation",
        {"root": False},
        "v",
        "divide by the root of v + eps, not by v + eps",
    ),
    (
        "the other statistics",
        "the other statistics",
        {"statistics": "other"},
        "m, v",
        "your port runs in the other mode: training normalises by the batch,"
        " a trained network by what it has observed",
    ),
    (
        "mean not subtracted",
        "another equation",
        {"centred": False},
        "m",
        "subtract the mean before dividing",
    ),
)
_OF_BATCH: tuple[tuple[str, str, dict[str, Any], str, str, str], ...] = (
    (
        "unbiased variance",
        "unbiased variance",
        {"unbiased": True},
        "v, N - 1",
        "the variance that normalises divides by N; the one that is observed"
        " divides by N - 1",
        "",
    ),
    (
        "each step alone",
        "each step alone",
        {"over": "batch"},
        "m, v, step",
        "mean and variance are those of all frames, over time and batch; yours"
        " are of each step",
        "",
    ),
    (
        "each sequence alone",
        "each sequence alone",
        {"over": "time"},
        "m, v, sequence",
        "mean and variance are those of all frames, over time and batch; yours"
        " are of each sequence",
        "",
    ),
    (
        "padding counted",
        "padding counted",
        {"padding": True},
        "w",
        "frames beyond a sequence's length do not count in mean and variance",
        "padding",
    ),
)


def of_batchnorm(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes of a batch normalisation."""
    for key, kind, switch, where, advice in _NORMALISED:
        yield Variant(key, kind, where, advice, rewired(normalised, **switch))
    if arch.statistics == "batch":
        for key, kind, switch, where, advice, needs in _OF_BATCH:
            yield Variant(
                key,
                kind,
                where,
                advice,
                rewired(normalised, **switch),
                needs=needs,
            )
    yield Variant(
        "gamma counted from one",
        "another equation",
        "gamma",
        "gamma multiplies as it is; your port multiplies by 1 + gamma",
        on_params(lambda p, xp: {"gamma": 1.0 + p["gamma"]}),
    )
    yield Variant(
        "gamma and beta swapped",
        "weights swapped",
        "gamma, beta",
        "gamma multiplies, beta is added; your port reads them in the other"
        " order",
        on_params(lambda p, xp: {"gamma": p["beta"], "beta": p["gamma"]}),
    )
    if arch.statistics == "running":
        yield Variant(
            "mean and var swapped",
            "weights swapped",
            "mean, var",
            "mean is subtracted, var divides; your port reads them in the"
            " other order",
            on_params(lambda p, xp: {"mean": p["var"], "var": p["mean"] ** 2}),
        )


def normalised(arch: Any, s: Switches, run: Inputs) -> Result:
    """Normalise all frames, with what is switched on."""
    p, xp, x = run.params, run.xp, run.x
    by_batch = (arch.statistics == "batch") != (s.get("statistics") == "other")
    if by_batch:
        lengths = None if s.get("padding") else run.lengths
        m, v = _moments(s.get("over", "all"), x, lengths, xp)
        if s.get("unbiased"):
            n = x[..., 0].size if lengths is None else int(lengths.sum())
            v = v * n / max(n - 1, 1)
    else:
        m, v = p["mean"], p["var"]
    inside = arch.eps if "eps" not in s else 0.0
    deviation = v + inside
    if s.get("root", True):
        deviation = xp.sqrt(deviation)
    if s.get("eps") == "outside":
        deviation = deviation + arch.eps
    x_hat = (x - m if s.get("centred", True) else x) / deviation
    y = p["gamma"] * x_hat + p["beta"]
    trace = {"x_hat": x_hat, "y": y}
    if m.ndim == 1 and not is_causal(arch):
        trace |= {"m": m, "v": v}
    return y, {}, trace


def _moments(
    over: str, x: Array, lengths: Array | None, xp: Any
) -> tuple[Array, Array]:
    n_time, n_batch, _ = x.shape
    counts: Array = np.ones((n_time, n_batch, 1))
    if lengths is not None:
        counts = 1.0 * (np.arange(n_time)[:, None] < lengths)[..., None]
    axes = {"all": (0, 1), "batch": (1,), "time": (0,)}[over]
    keep = over != "all"
    total = counts.sum(axis=axes, keepdims=True)
    share = counts / np.where(total == 0, 1.0, total)
    m = xp.sum(share * x, axis=axes, keepdims=keep)
    v = xp.sum(share * (x - m) ** 2, axis=axes, keepdims=keep)
    return m, v
