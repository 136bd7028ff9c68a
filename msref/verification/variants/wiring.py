"""Mistakes in how several networks are put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from msref.architectures import Bidirectional, Parallel, Residual, Stack, scan
from msref.architectures.combine import reversal
from msref.arrays import Array, prefixed, under
from msref.functional import relu
from msref.verification.variants.base import (
    Inputs,
    Result,
    Switches,
    Variant,
    after_run,
    before_run,
    instead_of_run,
    rewired,
    scanned,
    with_output,
)


def of_wiring(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes in the wiring of a combined network."""
    if isinstance(arch, Residual):
        yield from _of_residual()
    if isinstance(arch, Parallel | Bidirectional):
        yield from _of_outputs(arch)
    if isinstance(arch, Bidirectional):
        yield from _of_directions()
    if isinstance(arch, Stack | Parallel | Bidirectional):
        yield from _of_order(arch)


# --- residual ---------------------------------------------------------------


def _of_residual() -> Iterator[Variant]:
    yield Variant(
        "no shortcut",
        "another shortcut",
        "y",
        "y = x + f(x); your port leaves x out",
        after_run(lambda arch, run, r: with_output(r, r[0] - run.x)),
    )
    yield Variant(
        "shortcut added twice",
        "another shortcut",
        "y, twice",
        "y = x + f(x); your port adds x twice",
        after_run(lambda arch, run, r: with_output(r, r[0] + run.x)),
    )
    yield Variant(
        "shortcut subtracted",
        "another shortcut",
        "y, minus",
        "y = x + f(x); your port takes the difference",
        after_run(lambda arch, run, r: with_output(r, r[0] - 2.0 * run.x)),
    )
    yield Variant(
        "ReLU after the addition",
        "another shortcut",
        "y, ReLU",
        "nothing follows the addition, as in the later form of residual blocks",
        after_run(lambda arch, run, r: with_output(r, relu(r[0], run.xp))),
    )


# --- side by side -----------------------------------------------------------


def _of_outputs(arch: Any) -> Iterator[Variant]:
    yield Variant(
        "outputs concatenated in the other order",
        "parts in the other order",
        "y",
        "y holds the outputs of the parts in their order, part 0 first",
        after_run(_concatenated_backwards),
    )
    if len({part.n_out for part in arch.parts}) == 1:
        yield Variant(
            "outputs interleaved",
            "parts in the other order",
            "y, interleaved",
            "y holds the whole output of part 0, then that of part 1; yours"
            " takes turns",
            after_run(_interleaved),
        )


def _slices(arch: Any, y: Array) -> list[Array]:
    start, found = 0, []
    for part in arch.parts:
        found.append(y[..., start : start + part.n_out])
        start += part.n_out
    return found


def _concatenated_backwards(arch: Any, given: Inputs, result: Result) -> Result:
    parts = _slices(arch, result[0])[::-1]
    return with_output(result, given.xp.concatenate(parts, axis=-1))


def _interleaved(arch: Any, given: Inputs, result: Result) -> Result:
    parts = given.xp.stack(_slices(arch, result[0]), axis=-1)
    return with_output(result, given.xp.reshape(parts, result[0].shape))


# --- two directions ---------------------------------------------------------


def _of_directions() -> Iterator[Variant]:
    for key, kind, switch, where, advice, needs in (
        (
            "outputs of the reverse direction not flipped back",
            "reversed outputs not flipped back",
            {"back": False},
            "y_1",
            "the reverse direction puts out its last frame first: flip its"
            " outputs in time before they are concatenated",
            "",
        ),
        (
            "both directions read forwards",
            "reversal forgotten forwards",
            {"there": False, "back": False},
            "x, y_1",
            "part 1 reads the frames from the last to the first",
            "",
        ),
        (
            "reverse direction reads forwards, its outputs flipped",
            "reversal forgotten forwards",
            {"there": False},
            "x",
            "part 1 reads the frames from the last to the first; your port"
            " flips its outputs alone",
            "",
        ),
        (
            "padding read first by the reverse direction",
            "padding not respected",
            {"padding": True},
            "lengths",
            "with padded sequences, the reverse direction starts at the last"
            " frame that counts; your port flips the padded batch",
            "padding",
        ),
    ):
        yield Variant(
            key,
            kind,
            where,
            advice,
            rewired(bidirectional, **switch),
            needs=needs,
        )


def bidirectional(arch: Any, s: Switches, run: Inputs) -> Result:
    """Run both directions, with what is switched on."""
    xp, lengths = run.xp, None if s.get("padding") else run.lengths
    R = reversal(run.x.shape[0], run.x.shape[1], lengths)
    x1 = run.x[R] if s.get("there", True) else run.x
    results = [
        scan(
            part,
            under(str(k), run.params),
            x,
            under(str(k), run.state),
            run.t0,
            xp,
            run.lengths,
        )
        for k, (part, x) in enumerate(zip(arch.parts, (run.x, x1), strict=True))
    ]
    (y0, s0, trace0), (y1, s1, trace1) = results
    if s.get("back", True):
        y1 = y1[R]
    y = xp.concatenate([y0, y1], axis=-1)
    state = prefixed("0", s0) | prefixed("1", s1)
    trace = prefixed("0", trace0) | prefixed("1", trace1)
    return y, state, trace | {"y": y}


# --- parts for one another --------------------------------------------------


def _of_order(arch: Any) -> Iterator[Variant]:
    """Yield parts swapped, where their arrays fit each other."""
    for one in range(len(arch.parts)):
        for two in range(one + 1, len(arch.parts)):
            a, b = arch.parts[one], arch.parts[two]
            if a.shapes() and a.shapes() == b.shapes():
                yield Variant(
                    f"weights of parts {one} and {two} swapped",
                    "parts swapped",
                    f"{one}, {two}",
                    f"part {one} has the weights under {one}/, part {two} those"
                    f" under {two}/; yours are in the other order",
                    before_run(_weights_swapped(str(one), str(two))),
                )
    sizes = {part.n_in for part in arch.parts} | {
        part.n_out for part in arch.parts
    }
    if isinstance(arch, Stack) and len(sizes) == 1:
        yield Variant(
            "parts in the other order",
            "parts swapped",
            "all",
            "part 0 reads the input, each other part the one before",
            instead_of_run(_backwards_stack),
        )


def _weights_swapped(one: str, two: str) -> Any:
    def before(arch: Any, run: Inputs) -> Inputs:
        p = run.params
        swapped = prefixed(one, under(two, p)) | prefixed(two, under(one, p))
        return replace(run, params=p | swapped)

    return before


def _backwards_stack(arch: Any, run: Inputs) -> Result:
    n = len(arch.parts)
    there = {str(k): str(n - 1 - k) for k in range(n)}

    def renamed(tree: Any) -> Any:
        return {
            f"{there[k.partition('/')[0]]}/{k.partition('/')[2]}": v
            for k, v in tree.items()
        }

    other = arch.with_parts(*arch.parts[::-1])
    y, state, trace = scanned(
        other,
        replace(run, params=renamed(run.params), state=renamed(run.state)),
    )
    inner = renamed({k: v for k, v in trace.items() if "/" in k})
    return y, renamed(state), inner | {"y": y}
