"""The matrix products that no pass can do without, and nothing else.

Forwards the inputs and the states are multiplied with the weights, backwards
the adjoints with their transposes, and each matrix gets its gradient; between
two steps stands a non-linearity, so recurrent products are one per step.
Whoever uses the same BLAS needs their time at least: the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from msref.arrays import Array, namespace, to_device
from msref.bench.conditions import current
from msref.bench.peers import Point

N_GATES = {"Elman": 1, "LSTM": 4, "GRU": 3}
"""Class -> how many matrices the state is multiplied with at a step."""

Job = Callable[[], Any]


def products(point: Point) -> dict[str, Job]:
    """Return the products at a point in two layouts; the faster counts."""
    n_gates, n_hid = N_GATES[point.cell], point.arch.n_hid
    n_time, n_batch, n_in = point.x.shape
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        drawn = rng.standard_normal(shape, point.x.dtype.type)
        return to_device({"": drawn}, current().device)[""]

    wide = n_gates * n_hid
    return {
        "limit, batch-major": batch_major(
            draw(n_time, n_batch, n_in),
            draw(n_time, n_batch, n_hid),
            draw(n_time, n_batch, wide),
            draw(n_in, wide),
            draw(n_hid, wide),
        ),
        "limit, feature-major": feature_major(
            draw(n_time, n_hid + n_in, n_batch),
            draw(n_time, wide, n_batch),
            draw(wide, n_hid + n_in),
        ),
    }


def batch_major(x: Array, h: Array, da: Array, W_x: Array, W_h: Array) -> Job:
    """Multiply with the features on the last axis.

    Arguments
        x: (n_time, n_batch, n_in); h: (n_time, n_batch, n_hid);
        da: (n_time, n_batch, n_gates n_hid); W_x: (n_in, n_gates n_hid);
        W_h: (n_hid, n_gates n_hid).
    """
    xp = namespace(x)
    flat_x, flat_h, flat_da = (v.reshape(-1, v.shape[-1]) for v in (x, h, da))
    a, dx = xp.empty_like(flat_da), xp.empty_like(flat_x)
    at, back = xp.empty_like(da[0]), xp.empty_like(h[0])
    dW_x, dW_h = xp.empty_like(W_x), xp.empty_like(W_h)
    W_h_T = xp.ascontiguousarray(W_h.T)

    def run() -> None:
        xp.dot(flat_x, W_x, out=a)
        for h_t in h:
            xp.dot(h_t, W_h, out=at)
        for da_t in da:
            xp.dot(da_t, W_h_T, out=back)
        xp.dot(flat_x.T, flat_da, out=dW_x)
        xp.dot(flat_h.T, flat_da, out=dW_h)
        xp.dot(flat_da, W_x.T, out=dx)

    return run


def feature_major(z: Array, da: Array, W: Array) -> Job:
    """Multiply with the batch on the last axis, states and inputs at once.

    Arguments
        z: (n_time, n_hid + n_in, n_batch); da: (n_time, n_gates n_hid,
        n_batch); W: (n_gates n_hid, n_hid + n_in).
    """
    xp = namespace(z)
    wide, both = W.shape
    a, dz, dW = xp.empty_like(da[0]), xp.empty_like(z[0]), xp.empty_like(W)
    W_T = xp.ascontiguousarray(W.T)
    # of all steps, as they are once they have been put side by side
    flat_da, flat_z = da.reshape(wide, -1), z.reshape(-1, both)

    def run() -> None:
        for z_t in z:
            xp.dot(W, z_t, out=a)
        for da_t in da:
            xp.dot(W_T, da_t, out=dz)
        xp.dot(flat_da, flat_z, out=dW)

    return run
