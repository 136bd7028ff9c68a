"""The known wrong variants of a network, run on a vector's inputs.

``variants`` are declared in ``msref.verification.variants``, which also
makes the mutants of them that a checker has to catch.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from msref.architectures import scan
from msref.arrays import Arrays, prefixed, under
from msref.vectors.vector import Vector
from msref.verification.variants import Variant, planted, variants

__all__ = ["Variant", "gradients", "planted", "run_variant", "variants"]


def run_variant(
    vector: Vector, wrong: Sequence[Variant] = (), xp: ModuleType = np
) -> Arrays:
    """Run a network with known mistakes on a vector's inputs.

    Arguments
        wrong: the mistakes; none is the right network.

    Returns
        ``trace/…``, ``y``, ``state/…`` under the vector's names. Where a
        mistake leaves nothing that could be called by a name, or another
        shape, the name is absent.
    """
    return forward_of(planted(vector.arch, wrong), vector, xp=xp)


def forward_of(
    arch: Any,
    vector: Vector,
    variables: Arrays | None = None,
    xp: ModuleType = np,
) -> Arrays:
    """Run any network by scan on a vector's inputs, or on other ones."""
    tree = inputs(vector) if variables is None else variables
    with np.errstate(all="ignore"):  # a mistake may well overflow
        y, state, trace = scan(
            arch,
            under("params", tree),
            tree["x"],
            under("state0", tree),
            vector.t0,
            xp,
            vector.lengths,
        )
    found = prefixed("trace", trace) | {"y": y} | prefixed("state", state)
    return {
        k: v
        for k, v in found.items()
        if k in vector.arrays and v.shape == vector.arrays[k].shape
    }


def inputs(vector: Vector) -> Arrays:
    """Return what the loss depends on: params/…, x, state0/…."""
    return (
        prefixed("params", vector.params)
        | {"x": vector.x}
        | prefixed("state0", vector.state0)
    )


def gradients(vector: Vector, wrong: Sequence[Variant] = ()) -> Arrays:
    """Differentiate a network with known mistakes, by autograd.

    Returns
        ``dx``, ``dstate0/…``, ``grads/…``: what a port with these mistakes
        in its forward pass gets from a right backward pass.
    """
    arch = planted(vector.arch, wrong)
    fixed = inputs(vector)

    def loss(tree: Arrays) -> Any:
        found = forward_of(arch, vector, {k: tree[k] for k in fixed}, anp)
        total = anp.sum(vector.dy * found["y"])
        for name, cotangent in vector.dstate.items():
            if f"state/{name}" in found:
                total = total + anp.sum(cotangent * found[f"state/{name}"])
        return total

    with np.errstate(over="ignore"):  # its tanh' at 400 is 1 / inf, rightly 0
        by = autograd.grad(loss)(fixed)
    named = {"x": "dx"}
    named |= {f"state0/{k}": f"dstate0/{k}" for k in vector.state0}
    named |= {f"params/{k}": f"grads/{k}" for k in vector.params}
    return {named[k]: np.asarray(v) for k, v in by.items()}
