"""What a warm-up descends: how far states that were reached stay apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from msref.architectures import Checkpointed, Parallel, Stack, is_causal
from msref.architectures.base import (
    check_float,
    check_shape,
    check_sizes,
    check_tree,
)
from msref.arrays import Array, Arrays, under
from msref.dynamics import vaa_star
from msref.dynamics.states import joined, period, separated
from msref.training.states import DivergedError


def warmup_loss(
    arch: Any,
    params: Arrays,
    x: Array,
    cuts: Array,
    z: Sequence[Array],
    n_stable: int,
    *,
    target: float = 0.95,
    tolerance: float = 1e-4,
    partial: bool = False,
) -> tuple[float, Arrays, Array]:
    """Return how far VAA* is from the target, and the gradient of that.

    Equations, for sequence i and layer j of n layers
        s^j_i = state of layer j after frames 1 .. cuts_i, in the network    (1)
        r^j_i = state of layer j alone, n_stable frames z_j after s^j_i      (2)
        V_j = VAA*(r^j_1, r^j_2, …), all state arrays side by side           (3)
        loss = 1/n sum_j (V_j - target)^2                                    (4)

    Adjoints
        dV_j = 2/n (V_j - target)                                           (4')
        dr^j = dV_j dVAA*/dr^j                                              (3')
        ds^j, dparams from the layer's backward pass of dr^j                (2')
        dparams += those from the network's backward pass, which ds^j_i
            enters after frame cuts_i                                       (1')

    The layers of a Stack are its parts, without those that have no state or
    no parameters; any other network is one layer. What a layer's last states
    owe to the layers below it, they owe through (1).

    A sequence runs to its cut and no further: the time falls into segments
    between the cuts, and each segment runs the sequences that are not there
    yet. A clock goes on: layer j sees its first z_j at time cuts_i. So with
    clocks (2) runs once for each phase of the slowest module.

    Arguments
        arch: a causal network.
        x: (n_time, n_batch, n_in); frames from the cut on are not read.
        cuts: (n_batch,) of int in 1 .. n_time.
        z: for each layer (n_in,), of that layer.
        n_stable: M, at least 1.
        target: for V_j, which lies between 1 / n_batch and 1.
        tolerance: as in ``vaa_star``.
        partial: of a layer that is Parallel, only the first part takes part
            in (2) and (3); z_j is the same for all, since its parts read the
            same input.

    Returns
        the loss, name -> gradient of every parameter, and V (n,).

    Raises
        TypeError, ValueError: arguments that do not fit.
        DivergedError: NaN or infinity on the way, with its place.

    Source
        (1)-(4) from the authors' code, which runs the sequences one by one;
        the adjoints are derived here. That clocks go on is our choice.
    """
    layers = remembering(arch, partial)
    check_goal(target, tolerance)
    _check(arch, params, x, cuts, z, n_stable, layers)
    order = np.argsort(-cuts, kind="stable")  # those that run on come first
    x, cuts = x[:, order], cuts[order]
    with placed("the run to the cuts"):
        segments, s = _to_the_cuts(arch, params, x, cuts)  # (1)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    ds = {name: np.zeros_like(value) for name, value in s.items()}
    V = np.zeros(len(layers))
    for j, layer in enumerate(layers):
        with placed(f"layer {j}, {n_stable} steps of constant input"):
            runs, r = _alone(layer, params, s, cuts, z[j], n_stable)  # (2)
            wide = joined(layer.arch, r).astype(np.float64)
            V[j], dV = vaa_star(wide, tolerance)  # (3)
            dr = 2.0 / len(layers) * (V[j] - target) * dV  # (4') (3')
            dstate = separated(layer.arch, dr.astype(x.dtype))
            _back_alone(layer, params, runs, dstate, grads, ds)  # (2')
    with placed("the way back from the cuts"):
        _back_from_the_cuts(arch, params, segments, ds, grads)  # (1')
    return float(((V - target) ** 2).mean()), grads, V  # (4)


# --- the layers -------------------------------------------------------------


class Layer(NamedTuple):
    """A network that is run alone, and what its names begin with."""

    path: str
    arch: Any

    def own(self, tree: Arrays) -> Arrays:
        """Return the layer's arrays under its own names."""
        return under(self.path.rstrip("/"), tree) if self.path else tree


def remembering(arch: Any, partial: bool) -> list[Layer]:
    """Return the layers that are run alone, bottom to top.

    Raises
        ValueError: a network that looks ahead, or has no state; ``partial``
            where no layer is Parallel, or where one has a first part that
            has no state or no parameters.
    """
    if not is_causal(arch):
        raise ValueError(
            f"{arch!r} looks ahead, expected a network whose sequences can be"
            " cut"
        )
    whole = arch
    while isinstance(whole, Checkpointed):
        whole = whole.arch
    layers = [Layer("", whole)]
    if isinstance(whole, Stack):
        layers = [Layer(f"{k}/", part) for k, part in enumerate(whole.parts)]
    layers = [layer for layer in layers if _learns_to_remember(layer.arch)]
    if not layers:
        raise ValueError(f"{arch!r} has no state, expected one that remembers")
    if not partial:
        return layers
    if not any(isinstance(layer.arch, Parallel) for layer in layers):
        raise ValueError(
            f"partial is True for {arch!r}, expected a layer that is Parallel"
        )
    layers = [
        Layer(f"{layer.path}0/", layer.arch.parts[0])
        if isinstance(layer.arch, Parallel)
        else layer
        for layer in layers
    ]
    for layer in layers:
        if not _learns_to_remember(layer.arch):
            raise ValueError(
                f"partial is True, and the first part of a layer,"
                f" {layer.arch!r}, has no state or no parameters"
            )
    return layers


def _learns_to_remember(arch: Any) -> bool:
    return bool(arch.initial_state(1) and arch.shapes())


# --- the run to the cuts ----------------------------------------------------


class _Segment(NamedTuple):
    """A stretch of time, which the first n_run sequences run through.

    Behind it the first n_on of them run on; the others are at their cut.
    """

    tape: Arrays
    shape: tuple[int, ...]
    n_run: int
    n_on: int


def _to_the_cuts(
    arch: Any, params: Arrays, x: Array, cuts: Array
) -> tuple[list[_Segment], Arrays]:
    """Run each sequence to its cut, the longest first; keep the states."""
    state = arch.initial_state(len(cuts), x.dtype)
    reached = {name: np.empty_like(value) for name, value in state.items()}
    segments, start = [], 0
    for end in np.unique(cuts).tolist():
        n_run, n_on = int((cuts >= end).sum()), int((cuts > end).sum())
        state = {name: value[:n_run] for name, value in state.items()}
        now = x[start:end, :n_run]
        y, state, tape = arch.forward(params, now, state, start)
        segments.append(_Segment(tape, y.shape, n_run, n_on))
        for name, value in state.items():
            reached[name][n_on:n_run] = value[n_on:]
        start = end
    return segments, reached


def _back_from_the_cuts(
    arch: Any,
    params: Arrays,
    segments: list[_Segment],
    dreached: Arrays,
    grads: Arrays,
) -> None:
    """Add to ``grads`` what the states at the cuts owe to the parameters."""
    carried = {name: value[:0] for name, value in dreached.items()}
    for tape, shape, n_run, n_on in reversed(segments):
        dstate = {
            name: np.concatenate([carried[name], value[n_on:n_run]])
            for name, value in dreached.items()
        }
        dy = np.zeros(shape, tape["x"].dtype)
        found = arch.backward(params, tape, dy, dstate)
        carried = found.state
        for name, value in found.params.items():
            grads[name] += value


# --- a layer alone ----------------------------------------------------------


class _Run(NamedTuple):
    """The run of those sequences (rows of the batch) that share a clock."""

    tape: Arrays
    shape: tuple[int, ...]
    rows: Array


def _alone(
    layer: Layer,
    params: Arrays,
    reached: Arrays,
    cuts: Array,
    z: Array,
    n_stable: int,
) -> tuple[list[_Run], Arrays]:
    """Run a layer on a constant input, from the states at the cuts."""
    p, start = layer.own(params), layer.own(reached)
    final = {name: np.empty_like(value) for name, value in start.items()}
    phase = cuts % period(layer.arch)
    runs = []
    for now in np.unique(phase):
        rows = np.flatnonzero(phase == now)
        x = np.broadcast_to(z, (n_stable, len(rows), len(z)))
        state = {name: value[rows] for name, value in start.items()}
        t0 = int(cuts[rows[0]])
        y, state, tape = layer.arch.forward(p, x, state, t0)
        runs.append(_Run(tape, y.shape, rows))
        for name, value in state.items():
            final[name][rows] = value
    return runs, final


def _back_alone(
    layer: Layer,
    params: Arrays,
    runs: list[_Run],
    dfinal: Arrays,
    grads: Arrays,
    dreached: Arrays,
) -> None:
    """Add to ``grads`` and ``dreached`` what the final states owe to them."""
    p = layer.own(params)
    for tape, shape, rows in runs:
        dstate = {name: value[rows] for name, value in dfinal.items()}
        dy = np.zeros(shape, tape["x"].dtype)
        found = layer.arch.backward(p, tape, dy, dstate)
        for name, value in found.params.items():
            grads[f"{layer.path}{name}"] += value
        for name, value in found.state.items():
            dreached[f"{layer.path}{name}"][rows] += value


# --- the border -------------------------------------------------------------


@contextlib.contextmanager
def placed(where: str) -> Iterator[None]:
    """Say where finite numbers ended; the passes refuse others themselves."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except ValueError as error:
        raise DivergedError(f"{where}: {error}") from error


def check_goal(target: float, tolerance: float) -> None:
    """Require a target that VAA* can have, and a tolerance.

    Raises
        ValueError: something else.
    """
    if not 0 < target <= 1:
        raise ValueError(f"target is {target}, expected above 0, at most 1")
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}, expected above 0")


def _check(
    arch: Any,
    params: Arrays,
    x: Array,
    cuts: Array,
    z: Sequence[Array],
    n_stable: int,
    layers: list[Layer],
) -> None:
    check_sizes(n_stable=n_stable)
    n_in = f"n_in={arch.n_in}"
    check_shape("x", x, ("n_time", "n_batch", n_in), (None, None, arch.n_in))
    check_float("x", x)
    check_tree("params", params, arch.shapes(), x)
    check_shape("cuts", cuts, (f"n_batch={x.shape[1]}",), (x.shape[1],))
    if cuts.dtype.kind not in "iu":
        raise TypeError(f"cuts has dtype {cuts.dtype}, expected integers")
    if cuts.size == 0 or cuts.min() < 1 or cuts.max() > len(x):
        raise ValueError(
            f"cuts is {cuts.tolist()}, expected numbers in 1..{len(x)}"
        )
    if len(z) != len(layers):
        raise ValueError(
            f"z has {len(z)} inputs, expected {len(layers)}, one for each"
            " layer that has a state"
        )
    for j, (z_j, layer) in enumerate(zip(z, layers, strict=True)):
        n_in = f"n_in={layer.arch.n_in}"
        check_shape(f"z[{j}]", z_j, (n_in,), (layer.arch.n_in,))
        check_float(f"z[{j}]", z_j, x)
