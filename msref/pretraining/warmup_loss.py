"""What a warm-up descends: how far states that were reached stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from msref.architectures.base import (
    check_float,
    check_shape,
    check_sizes,
    check_tree,
)
from msref.arrays import Array, Arrays, namespace, on_host
from msref.dynamics import vaa_star
from msref.dynamics.states import joined, separated
from msref.pretraining.warmup_layers import Layer, remembering
from msref.pretraining.warmup_runs import (
    alone,
    back_alone,
    back_from_the_cuts,
    to_the_cuts,
)
from msref.training.divergence import placed


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
        cuts: (n_batch,) of int in 1 .. n_time, on either side.
        z: for each layer (n_in,), of that layer.
        n_stable: M, at least 1.
        target: for V_j, which lies between 1 / n_batch and 1.
        tolerance: as in ``vaa_star``.
        partial: of a layer that is Parallel, Checkpointed or not, only the
            first part takes part in (2) and (3); z_j is the same for all,
            since its parts read the same input.

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
    cuts = on_host(cuts)
    _check(arch, params, x, cuts, z, n_stable, layers)
    xp = namespace(x)
    order = np.argsort(-cuts, kind="stable")  # those that run on come first
    x, cuts = x[:, xp.asarray(order)], cuts[order]
    with placed("the run to the cuts"):
        segments, s = to_the_cuts(arch, params, x, cuts)  # (1)

    grads = {name: xp.zeros_like(value) for name, value in params.items()}
    ds = {name: xp.zeros_like(value) for name, value in s.items()}
    V = np.zeros(len(layers))
    for j, layer in enumerate(layers):
        with placed(f"layer {j}, {n_stable} steps of constant input"):
            runs, r = alone(layer, params, s, cuts, z[j], n_stable)  # (2)
            wide = joined(layer.arch, r).astype(np.float64)
            V[j], dV = vaa_star(wide, tolerance)  # (3)
            dr = 2.0 / len(layers) * (V[j] - target) * dV  # (4') (3')
            dstate = separated(layer.arch, dr.astype(x.dtype))
            back_alone(layer, params, runs, dstate, grads, ds)  # (2')
    with placed("the way back from the cuts"):
        back_from_the_cuts(arch, params, segments, ds, grads)  # (1')
    return float(((V - target) ** 2).mean()), grads, V  # (4)


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
