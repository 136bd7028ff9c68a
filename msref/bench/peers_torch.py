"""PyTorch: its fused layers, and cells in a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.bench.conditions import current
from msref.bench.peer_cells import FORWARD, Operations, fuse, take_apart
from msref.bench.peers import Peer, Point

LAYERS = {"Elman": "RNN", "LSTM": "LSTM", "GRU": "GRU"}

Made = tuple[Callable[[], Any], Callable[[Any], Arrays]]


def fused(point: Point) -> Made:
    """Run ``torch.nn.LSTM``, ``GRU`` or ``RNN``."""
    torch = _torch()
    arch, cell = point.arch, point.cell
    ours = fuse(cell, point.params)
    b_h = np.zeros_like(ours["b"])
    if cell == "GRU":
        b_h[-arch.n_hid :] = ours["b_hn"]
    weights = {"ih": ours["W_x"].T, "hh": ours["W_h"].T}
    biases = {"ih": ours["b"], "hh": b_h}
    x, dy = _tensor(point.x).requires_grad_(), _tensor(point.dy)
    layer = getattr(torch.nn, LAYERS[cell])(
        arch.n_in, arch.n_hid, dtype=x.dtype, device=x.device
    )
    state = {f"weight_{k}_l0": _tensor(w) for k, w in weights.items()}
    state |= {f"bias_{k}_l0": _tensor(b) for k, b in biases.items()}
    layer.load_state_dict(state)
    leaves = [x, *(getattr(layer, name) for name in state)]

    def run() -> Any:
        y, _ = layer(x)
        return torch.autograd.grad(y, leaves, dy)

    def gradients(grads: Any) -> Arrays:
        dx, dW_x, dW_h, db, db_h = (g.cpu().numpy() for g in grads)
        found = {"W_x": dW_x.T, "W_h": dW_h.T, "b": db, "x": dx}
        if cell == "GRU":
            found["b_hn"] = db_h[-arch.n_hid :]
        return take_apart(cell, point.params, found)

    return run, gradients


def eager(variant: str) -> Callable[[Point], Made]:
    """Run a cell in a loop, differentiated by PyTorch."""

    def make(point: Point) -> Made:
        torch = _torch()
        operations = _operations()
        forward = FORWARD[point.cell][variant]
        leaves = {
            name: _tensor(value).requires_grad_()
            for name, value in fuse(point.cell, point.params).items()
        }
        x, dy = _tensor(point.x).requires_grad_(), _tensor(point.dy)
        every = [x, *leaves.values()]

        def run() -> Any:
            y = forward(operations, point.arch, leaves, x)
            return torch.autograd.grad(y, every, dy)

        def gradients(grads: Any) -> Arrays:
            arrays = [g.cpu().numpy() for g in grads]
            found = dict(zip(["x", *leaves], arrays, strict=True))
            return take_apart(point.cell, point.params, found)

        return run, gradients

    return make


def peers(cell: str) -> list[Peer]:
    """Return what PyTorch has for a network."""
    found = [Peer("torch fused", fused)] if cell in LAYERS else []
    return found + [
        Peer(", ".join(filter(None, ["torch eager", variant])), eager(variant))
        for variant in FORWARD[cell]
    ]


def _torch() -> Any:
    import torch

    torch.set_num_threads(current().threads)
    return torch


def _tensor(array: Array) -> Any:
    return _torch().tensor(array, device=current().device)


def _operations() -> Operations:
    torch = _torch()
    return Operations(
        affine=torch.addmm,
        add_product=torch.addcmul,
        mix=lambda c, a, b: torch.lerp(b, a, c),
        sigmoid=torch.sigmoid,
        tanh=torch.tanh,
        relu=torch.relu,
        where=torch.where,
        split=lambda a, n: a.chunk(n, -1),
        join=lambda arrays: torch.cat(arrays, -1),
        zeros=lambda x, n: x.new_zeros(x.shape[1], n),
        constant=_tensor,
        loop=_loop,
    )


def _loop(
    project: Callable[[Any], Any] | None,
    step: Callable[..., Any],
    state: Any,
    x: Any,
    along: Any = None,
) -> Any:
    """Project all steps in one product, and go through them.

    By ``unbind``: indexing an array that needs a gradient makes the backward
    pass quadratic in n_time.
    """
    torch = _torch()
    n_time, n_batch, _ = x.shape

    def steps(projected: Any) -> Any:
        return projected.unflatten(0, (n_time, n_batch)).unbind(0)

    given: Sequence[Any]
    if project is None:
        given = x.unbind(0)
    else:
        projected = project(x.flatten(0, 1))
        if isinstance(projected, tuple):
            given = list(zip(*map(steps, projected), strict=True))
        else:
            given = steps(projected)
    if along is None:
        along = [None] * n_time
    elif not isinstance(along, list):
        along = along.unbind(0)
    out = []
    for a, at in zip(given, along, strict=True):
        state, y = step(state, a, at)
        out.append(y)
    return torch.stack(out)
