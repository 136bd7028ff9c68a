"""The bugs that mutants carry, made from the outside.

Each bug hands a right pass wrong weights, a wrong tape or wrong cotangents,
or spoils what it returns. So it can be planted in any architecture that
follows the protocol, also in one written tomorrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from msref.architectures import Gradients, buffers, is_causal, scan
from msref.arrays import Array, Arrays
from msref.verification import clock_bugs, dual_bugs, layer_bugs
from msref.verification.variants import Variant, planted, variants

Backward = Callable[[Any, Arrays, Arrays, Array, Arrays], Gradients]
Forward = Callable[[Any, Arrays, Array, Arrays, int], Any]

# --- wrong gradients --------------------------------------------------------


def backward_bugs(arch: Any) -> Iterator[tuple[str, str, Backward]]:
    """Yield kind, place and wrong backward pass of every bug that applies."""
    shapes = _learned(arch)
    states = list(arch.initial_state(1))

    if states:
        yield "final-state gradient ignored", "dstate", _final_state_ignored
        yield "final-state gradient doubled", "dstate", _final_state_doubled
        yield "initial-state gradient missing", "dstate0", _initial_missing
        yield "truncated BPTT", "half way", _truncated
        yield "BPTT through a window", "3 hops", _windowed
    yield "loss on the last output alone", "dy", _last_output_alone
    yield "output gradient a step late", "dy", _output_a_step_late
    yield "adjoints clipped", "dy", _clipped
    yield "input gradient negated", "dx", _input_negated
    if shapes:
        yield "single precision inside", "grads", _single_precision
    if shapes and is_causal(arch):
        yield "only the first step accumulated", "grads", _first_step_alone
    yield from layer_bugs.backward_bugs(arch)
    yield from dual_bugs.backward_bugs(arch)
    if hasattr(arch, "clock"):
        yield from clock_bugs.backward_bugs(arch)
    for name in states:
        if len(states) > 1:
            yield "a state's path dropped", name, _state_path_dropped(name)
    for name, shape in shapes.items():
        if len(shape) == 1:
            yield "bias gradient missing", name, _scaled(name, 0.0)
            yield "mean over the batch", name, _mean_over_batch(name)
            continue
        yield "gradient off by a thousandth", name, _scaled(name, 1.001)
        if name.startswith("W_x"):
            yield "input path dropped", name, _weights_at(name, np.zeros_like)
        else:
            yield (
                "recurrent path dropped",
                name,
                _weights_at(name, np.zeros_like),
            )
        if shape[0] == shape[1]:
            yield "transposed weight", name, _weights_at(name, np.transpose)
    for one, two in _gate_pairs(shapes):
        yield "wrong gate", f"{one}, {two}", _gradients_swapped(one, two)
        yield "wrong gate's weight", f"{one}, {two}", _weights_swapped(one, two)
    for name in _previous(arch):
        yield "off by one in time", name, _current_for_previous(name)
    for name in _activations(arch):
        yield "derivative dropped", name, _tape_zeroed(name)


def _final_state_ignored(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    return run(arch, params, tape, dy, None)


def _final_state_doubled(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    twice = {name: 2 * value for name, value in dstate.items()}
    return run(arch, params, tape, dy, twice)


def _initial_missing(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    g = run(arch, params, tape, dy, dstate)
    return replace(g, state={k: np.zeros_like(v) for k, v in g.state.items()})


def _truncated(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    return _in_two(arch, params, tape, dy, dstate, set())


def _windowed(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    """Follow each output back through three hops and no further."""
    return windowed(arch, params, tape, dy, dstate, 3)


def windowed(
    arch: Any,
    params: Arrays,
    tape: Arrays,
    dy: Array,
    dstate: Arrays,
    hops: int,
) -> Gradients:
    """Run backward from each output on its own, through ``hops`` hops."""
    whole = run(arch, params, tape, dy, dstate)
    total = Gradients(
        *(
            {k: np.zeros_like(v) for k, v in whole.params.items()},
            np.zeros_like(whole.x),
            {k: np.zeros_like(v) for k, v in whole.state.items()},
            {k: np.zeros_like(v) for k, v in whole.adjoints.items()},
        )
    )
    for s in range(len(dy)):
        start = max(0, s - hops)
        alone = np.zeros_like(dy[start : s + 1])
        alone[-1] = dy[s]
        is_last = s == len(dy) - 1
        final = {k: v * is_last for k, v in dstate.items()}
        g = run(arch, params, _from(tape, start, s + 1), alone, final)
        total.x[start : s + 1] += g.x
        for name, value in g.params.items():
            total.params[name][...] += value
        for name, value in g.adjoints.items():
            total.adjoints[name][start : s + 1] += value
        for name, value in g.state.items():
            total.state[name][...] += value * (start == 0)
    return total


def chunked(
    arch: Any,
    params: Arrays,
    tape: Arrays,
    dy: Array,
    dstate: Arrays,
    length: int,
) -> Gradients:
    """Run backward over chunks of ``length`` steps that nothing links."""
    found: list[Gradients] = []
    for start in range(0, len(dy), length):
        stop = min(start + length, len(dy))
        is_last = stop == len(dy)
        final = {k: v * is_last for k, v in dstate.items()}
        piece = _from(tape, start, stop)
        found.append(run(arch, params, piece, dy[start:stop], final))
    return Gradients(
        {k: np.sum([g.params[k] for g in found], 0) for k in found[0].params},
        np.concatenate([g.x for g in found]),
        found[0].state,
        {
            k: np.concatenate([g.adjoints[k] for g in found])
            for k in found[0].adjoints
        },
    )


def _state_path_dropped(name: str) -> Backward:
    """Drop what one state carries back across the middle of the sequence."""

    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        return _in_two(arch, params, tape, dy, dstate, set(dstate) - {name})

    return bug


def _in_two(
    arch: Any,
    params: Arrays,
    tape: Arrays,
    dy: Array,
    dstate: Arrays,
    carried: set[str],
) -> Gradients:
    """Run backward over two halves; only ``carried`` states link them."""
    cut = len(dy) // 2
    late = run(arch, params, _from(tape, cut, None), dy[cut:], dstate)
    link = {
        k: v if k in carried else np.zeros_like(v)
        for k, v in late.state.items()
    }
    early = run(arch, params, _from(tape, 0, cut), dy[:cut], link)
    return Gradients(
        {k: v + late.params[k] for k, v in early.params.items()},
        np.concatenate([early.x, late.x]),
        early.state,
        {
            k: np.concatenate([v, late.adjoints[k]])
            for k, v in early.adjoints.items()
        },
    )


def _first_step_alone(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    """Assign weight gradients at each step instead of adding them up."""
    whole = run(arch, params, tape, dy, dstate)
    late = run(arch, params, _from(tape, 1, None), dy[1:], dstate)
    first = run(arch, params, _from(tape, 0, 1), dy[:1], late.state)
    return replace(whole, params=first.params)


def _last_output_alone(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    last = np.zeros_like(dy)
    last[-1] = dy[-1]
    return run(arch, params, tape, last, dstate)


def _output_a_step_late(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    late = np.zeros_like(dy)
    late[1:] = dy[:-1]
    return run(arch, params, tape, late, dstate)


def _clipped(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    most = 0.5 * np.abs(dy).max()
    return run(arch, params, tape, np.clip(dy, -most, most), dstate)


def _single_precision(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    """Round to float32 (float32: to 12 bits) what is summed up."""
    g = run(arch, params, tape, dy, dstate)

    def rounded(value: Array) -> Array:
        if value.dtype == np.float64:
            return value.astype(np.float32).astype(np.float64)
        return (value.view(np.uint32) & np.uint32(0xFFFFF000)).view(np.float32)

    return replace(g, params={k: rounded(v) for k, v in g.params.items()})


def _input_negated(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
) -> Gradients:
    g = run(arch, params, tape, dy, dstate)
    return replace(g, x=-g.x)


def _scaled(name: str, factor: float) -> Backward:
    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        g = run(arch, params, tape, dy, dstate)
        return replace(g, params=g.params | {name: factor * g.params[name]})

    return bug


def _mean_over_batch(name: str) -> Backward:
    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        g = run(arch, params, tape, dy, dstate)
        mean = g.params[name] / dy.shape[1]
        return replace(g, params=g.params | {name: mean})

    return bug


def _weights_at(name: str, wrong: Callable[[Array], Array]) -> Backward:
    """Send adjoints back through a wrong weight."""

    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        spoilt = params | {name: wrong(params[name])}
        return run(arch, spoilt, tape, dy, dstate)

    return bug


def _weights_swapped(one: str, two: str) -> Backward:
    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        swapped = params | {one: params[two], two: params[one]}
        return run(arch, swapped, tape, dy, dstate)

    return bug


def _gradients_swapped(one: str, two: str) -> Backward:
    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        g = run(arch, params, tape, dy, dstate)
        swapped = {one: g.params[two], two: g.params[one]}
        return replace(g, params=g.params | swapped)

    return bug


def _current_for_previous(name: str) -> Backward:
    """Use h_t where h_{t-1} belongs."""

    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        now = tape[name.removesuffix("_prev")]
        return run(arch, params, tape | {name: now}, dy, dstate)

    return bug


def _tape_zeroed(name: str) -> Backward:
    """Let tanh or ReLU pass its gradient on as if at a wrong output."""

    def bug(
        arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays
    ) -> Gradients:
        zeros = np.zeros_like(tape[name])
        return run(arch, params, tape | {name: zeros}, dy, dstate)

    return bug


# --- wrong conventions ------------------------------------------------------


def forward_bugs(arch: Any) -> Iterator[tuple[str, str, Forward]]:
    """Yield kind, place and wrong forward pass of every bug that applies.

    They are the wrong variants of ``step`` that any inputs show.
    """
    if _learned(arch):
        yield "weights in half precision", "params", _half_precision
    for variant in variants(arch):
        if variant.needs in ("", "padding"):
            yield variant.kind, variant.where, _with(variant)


def _half_precision(
    arch: Any, params: Arrays, x: Array, state: Arrays, t0: int
) -> Any:
    half = {k: v.astype(np.float16).astype(v.dtype) for k, v in params.items()}
    return arch.forward(half, x, state, t0)


def _with(variant: Variant) -> Forward:
    """Make a forward pass of the scan of a wrong step, and the right tape."""

    def bug(arch: Any, params: Arrays, x: Array, state: Arrays, t0: int) -> Any:
        lengths = getattr(arch, "lengths", None)
        right = arch if lengths is None else arch.arch
        wrong = planted(right, [variant])
        y, final, _ = scan(wrong, params, x, state, t0, np, lengths)
        return y, final, arch.forward(params, x, state, t0)[2]

    return bug


# --- what applies where -----------------------------------------------------


def run(
    arch: Any, params: Arrays, tape: Arrays, dy: Array, dstate: Arrays | None
) -> Gradients:
    """Call the right backward pass."""
    result: Gradients = arch.backward(params, tape, dy, dstate)
    return result


def _learned(arch: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters that a gradient updates."""
    observed = buffers(arch)
    return {k: s for k, s in arch.shapes().items() if k not in observed}


def _from(tape: Arrays, start: int, stop: int | None) -> Arrays:
    return {name: value[start:stop] for name, value in tape.items()}


def _gate_pairs(shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    """Pair weights of neighbouring gates: same kind, same shape."""
    kinds: dict[str, list[str]] = {}
    for name in shapes:
        if name[:-1] in ("W_x", "W_h"):
            kinds.setdefault(name[:-1], []).append(name)
    return [
        (one, two)
        for names in kinds.values()
        for one, two in itertools.pairwise(names)
        if shapes[one] == shapes[two]
    ]


def _previous(arch: Any) -> list[str]:
    """Name what the tape holds of the step before."""
    return [name for name in _trial(arch)[1] if name.endswith("_prev")]


def _activations(arch: Any) -> list[str]:
    """Name the outputs of non-linearities that the backward pass reads."""
    params, tape, dy = _trial(arch)
    dstate = {k: v * 0 + 1 for k, v in arch.initial_state(dy.shape[1]).items()}
    right = run(arch, params, tape, dy, dstate).x

    def is_read(name: str) -> bool:
        spoilt = tape | {name: np.zeros_like(tape[name])}
        x = run(arch, params, spoilt, dy, dstate).x
        return not np.array_equal(x, right)

    return [k for k in tape if k in ("h", "g", "n", "tanh_c") and is_read(k)]


def _trial(arch: Any) -> tuple[Arrays, Arrays, Array]:
    rng = np.random.default_rng(0)
    params = arch.init(rng)
    x = rng.standard_normal((3, 2, arch.n_in))
    y, _, tape = arch.forward(params, x)
    return params, tape, np.ones_like(y)
