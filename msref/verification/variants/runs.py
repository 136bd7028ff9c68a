"""Mistakes in time, in the batch and in the state: any network has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from msref.architectures import draws, is_causal
from msref.arrays import Array, Arrays
from msref.verification.variants.base import (
    Inputs,
    Result,
    Variant,
    after_run,
    around,
    at_each_step,
    before_run,
    instead_of_run,
    scanned,
    with_output,
)

INPUT_LATE = "input a step late"
"""In a stack the same as an output of the layer below that is late."""


def of_runs(arch: Any, inside: bool = False) -> Iterator[Variant]:
    """Yield the mistakes of one network in time, in the batch and the state.

    Of a combined network only those that its parts do not have already.

    Arguments
        inside: whether it is part of another; then frames that stand alone
            share their mistakes in time with the next part.
    """
    states = list(arch.initial_state(1))
    if hasattr(arch, "with_parts"):
        owners = {name.rpartition("/")[0] for name in states}
        if len(owners) > 1 and len(arch.parts) > 1:
            yield from _of_initial_state(arch)
        return
    if is_causal(arch) and (remembers(arch) or not inside):
        yield from _of_time(remembers(arch))
    if states:
        yield from _of_initial_state(arch)
    if remembers(arch):
        yield from _of_state(arch)


def of_axes() -> Iterator[Variant]:
    """Yield the mistakes in the axes of a batch of sequences."""
    yield Variant(
        "batch and time swapped",
        "batch and time swapped",
        "x",
        "x is (n_time, n_batch, n_in), time first; your port takes the first"
        " axis for the batch (batch_first, batch_major), and so runs through"
        " the rows and drops the state",
        around(_axes_swapped, _axes_swapped_back),
    )
    yield Variant(
        "batch and time reshaped instead of transposed",
        "batch and time swapped",
        "x, memory",
        "to go from (n_time, n_batch, n_in) to batch first, swap the axes"
        " (transpose); a reshape leaves the numbers where they are in memory",
        around(_axes_reshaped, _axes_reshaped_back),
    )


def remembers(arch: Any) -> bool:
    """Tell whether a network, or a part of it, computes its state itself."""
    parts = getattr(arch, "parts", None)
    if parts:
        return any(remembers(part) for part in parts)
    return bool(arch.initial_state(1)) and not draws(arch)


def _of_time(remembers: bool) -> Iterator[Variant]:
    yield Variant(
        "sequence read backwards",
        "sequence read backwards",
        "x",
        "read the frames from the first to the last; your port runs in the"
        " reverse direction and leaves its outputs in that order",
        before_run(_backwards),
    )
    yield Variant(
        "output a step late",
        "output a step late",
        "y",
        "y_t is the output of step t; your port puts out that of step t - 1,"
        " and zeros at first",
        after_run(_output_late),
    )
    if not remembers:  # then the others change nothing, or the same
        return
    yield Variant(
        "sequence read backwards, outputs flipped back",
        "sequence read backwards",
        "x, y",
        "read the frames from the first to the last; your port runs in the"
        " reverse direction (go_backwards, direction)",
        around(_backwards, _flipped_back),
    )
    yield Variant(
        INPUT_LATE,
        INPUT_LATE,
        "x",
        "step t reads x_t; your port reads x_{t-1}, and zeros at first",
        before_run(_input_late),
    )
    yield Variant(
        "output a step early",
        "output a step early",
        "y",
        "y_t is the output of step t; your port puts out that of step t + 1,"
        " and the last one twice",
        after_run(_output_early),
    )


def _backwards(arch: Any, run: Inputs) -> Inputs:
    return replace(run, x=run.x[::-1])


def _flipped_back(arch: Any, given: Inputs, result: Result) -> Result:
    y, state, trace = result
    return y[::-1], state, {k: v[::-1] for k, v in trace.items()}


def _input_late(arch: Any, run: Inputs) -> Inputs:
    late = run.xp.concatenate([0.0 * run.x[:1], run.x[:-1]])
    return replace(run, x=late)


def _output_late(arch: Any, given: Inputs, result: Result) -> Result:
    y = result[0]
    return with_output(result, given.xp.concatenate([0.0 * y[:1], y[:-1]]))


def _output_early(arch: Any, given: Inputs, result: Result) -> Result:
    y = result[0]
    return with_output(result, given.xp.concatenate([y[1:], y[-1:]]))


# --- batch and time ---------------------------------------------------------


def _axes_swapped(arch: Any, run: Inputs) -> Inputs:
    x = run.xp.swapaxes(run.x, 0, 1)
    state = arch.initial_state(x.shape[1], np.float64, run.xp)
    return replace(run, x=x, state=state, lengths=None)


def _axes_swapped_back(arch: Any, given: Inputs, result: Result) -> Result:
    """Put the output back; the state belongs to other rows, and is lost."""
    y, _, trace = result
    shape = (given.x.shape[1], given.x.shape[0])

    def back(value: Array) -> Array:
        if value.ndim < 3 or value.shape[:2] != shape:
            return value
        return given.xp.swapaxes(value, 0, 1)  # type: ignore[no-any-return]

    return back(y), {}, {k: back(v) for k, v in trace.items()}


def _axes_reshaped(arch: Any, run: Inputs) -> Inputs:
    n_time, n_batch, n_in = run.x.shape
    rows = run.xp.reshape(run.x, (n_batch, n_time, n_in))
    return replace(run, x=run.xp.swapaxes(rows, 0, 1))


def _axes_reshaped_back(arch: Any, given: Inputs, result: Result) -> Result:
    y = given.xp.swapaxes(result[0], 0, 1)
    return with_output(result, given.xp.reshape(y, result[0].shape))


# --- the state --------------------------------------------------------------


def _of_initial_state(arch: Any) -> Iterator[Variant]:
    yield Variant(
        "initial state ignored",
        "initial state ignored",
        "state",
        "hand the initial state to your network; it starts from the default"
        f" one instead ({_default(arch)})",
        before_run(_initial_state_ignored),
    )
    yield Variant(
        "initial state of the next row",
        "state of another row",
        "state",
        "row b of the batch starts from row b of the state; yours are rolled"
        " by one, as if rows had been shuffled without their states",
        before_run(_rows_rolled),
    )
    yield Variant(
        "initial state of row 0 for all rows",
        "state of another row",
        "state, row 0",
        "every row of the batch has an initial state of its own; your port"
        " broadcasts that of row 0",
        before_run(_row_0_for_all),
    )


def _of_state(arch: Any) -> Iterator[Variant]:
    """Yield the mistakes in a state that the network computes itself."""
    names = list(arch.initial_state(1))
    if _moves_at_each_step(arch):
        yield Variant(
            "final state of the step before",
            "final state of the step before",
            "state",
            "the final state is the one after the last frame; your port"
            " returns the one before it",
            after_run(_stale_state),
        )
    yield Variant(
        "every step from the initial state",
        "state not fed back",
        "state",
        "hand the state of each step to the next one; your port calls every"
        " step with the initial state",
        instead_of_run(_each_step_alone),
    )
    yield Variant(
        "state not fed back",
        "state not fed back",
        "state, zero",
        "hand the state of each step to the next one; your port resets it at"
        " every step",
        at_each_step(_forgotten(names)),
    )
    if len(names) > 1:
        for name in names:
            yield Variant(
                f"initial {name} ignored",
                "initial state ignored",
                f"state {name}",
                f"hand the initial {name} to your network; it starts from zero"
                " instead",
                before_run(_one_ignored(name)),
            )
            yield Variant(
                f"{name} not fed back",
                "state not fed back",
                f"{name}, zero",
                f"hand {name} of each step to the next one; your port resets"
                " it at every step",
                at_each_step(_forgotten([name])),
            )


def _default(arch: Any) -> str:
    values = {float(v.flat[0]) for v in arch.initial_state(1).values()}
    return "zeros" if values == {0.0} else "zeros, or ones where it is a mask"


def _initial_state_ignored(arch: Any, run: Inputs) -> Inputs:
    zeros = arch.initial_state(run.x.shape[1], np.float64, run.xp)
    return replace(run, state=zeros)


def _one_ignored(name: str) -> Callable[[Any, Inputs], Inputs]:
    def before(arch: Any, run: Inputs) -> Inputs:
        return replace(run, state=run.state | {name: 0.0 * run.state[name]})

    return before


def _rows_rolled(arch: Any, run: Inputs) -> Inputs:
    rolled = {
        k: run.xp.concatenate([v[1:], v[:1]]) for k, v in run.state.items()
    }
    return replace(run, state=rolled)


def _row_0_for_all(arch: Any, run: Inputs) -> Inputs:
    first = {k: 0.0 * v + v[:1] for k, v in run.state.items()}
    return replace(run, state=first)


def _stale_state(arch: Any, given: Inputs, result: Result) -> Result:
    y, _, trace = result
    if len(given.x) == 1:
        return y, given.state, trace
    _, stale, _ = scanned(arch, replace(given, x=given.x[:-1]))
    return y, stale, trace


def _each_step_alone(arch: Any, run: Inputs) -> Result:
    """Run every step on its own, from the same state."""
    results = [
        scanned(arch, replace(run, x=run.x[t : t + 1], t0=run.t0 + t))
        for t in range(len(run.x))
    ]
    trace = {
        k: run.xp.concatenate([r[2][k] for r in results]) for k in results[0][2]
    }
    return trace["y"], results[-1][1], trace


def _forgotten(names: list[str]) -> Any:
    def before(
        arch: Any, params: Arrays, state: Arrays, t: int
    ) -> tuple[Arrays, int]:
        return state | {k: 0.0 * state[k] for k in names}, t

    return before


def _moves_at_each_step(arch: Any) -> bool:
    """Tell whether no step leaves the whole state alone."""
    return not hasattr(arch, "clock") or arch.clock.first == 0
