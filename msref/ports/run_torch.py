"""Runs PyTorch's own layers on exported weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from msref.arrays import Arrays
from msref.ports.network import cells_of
from msref.ports.point import Outcome, Point, rejoined


def run(layer: str, weights: Arrays, point: Point) -> Outcome:
    """Run ``torch.nn.<layer>`` forwards and backwards at a point.

    Raises
        ModuleNotFoundError: PyTorch is not installed.
    """
    import torch

    first = cells_of(point.arch, point.params)[0]
    options: dict[str, Any] = {"dtype": torch.float64}
    if hasattr(first.arch, "activation"):
        options["nonlinearity"] = first.arch.activation
    is_cell = layer.endswith("Cell")
    if not is_cell:
        options["num_layers"] = first.place.n_layers
        options["bidirectional"] = first.place.n_directions == 2
    n_in, n_hid = first.arch.n_in, first.arch.n_hid
    module = getattr(torch.nn, layer)(n_in, n_hid, **options)
    module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})

    x = torch.tensor(point.x, requires_grad=True)
    rows = point.rows(point.state)
    names = list(rows[0][0].params)
    start = []
    for name in names:
        every = [cell.params[name] for row in rows for cell in row]
        start.append(torch.tensor(np.stack(every)).requires_grad_())
    if is_cell:
        y, end = _unroll(torch, module, x, start)
    else:
        y, end = module(x, tuple(start) if len(start) > 1 else start[0])
        end = list(end) if len(start) > 1 else [end]
    loss = (y * torch.tensor(point.dy)).sum()
    rows_d = point.rows(point.dstate)
    for name, final in zip(names, end, strict=True):
        every = [cell.params[name] for row in rows_d for cell in row]
        loss = loss + (final * torch.tensor(np.stack(every))).sum()
    loss.backward()

    def back(states: list[Any]) -> Arrays:
        """Take (layers and directions, n_batch, n_hid) apart."""
        n, trees = 0, []
        for row in rows:
            tree = []
            for _ in row:
                each = zip(names, states, strict=True)
                tree.append({k: s[n].detach().numpy() for k, s in each})
                n += 1
            trees.append(tree)
        return rejoined(trees)

    own = module.state_dict()
    return Outcome(
        own={k: v.numpy() for k, v in own.items()},
        y=y.detach().numpy(),
        state=back(end),
        grads={k: p.grad.numpy() for k, p in module.named_parameters()},
        dx=x.grad.numpy() if x.grad is not None else None,
        dstate=back([s.grad for s in start]),
    )


def _unroll(
    torch: Any, module: Any, x: Any, start: list[Any]
) -> tuple[Any, list[Any]]:
    """Run a cell over time; its states have no axis of layers."""
    states = [s[0] for s in start]
    outputs = []
    for t in range(len(x)):
        given = tuple(states) if len(states) > 1 else states[0]
        after = module(x[t], given)
        states = list(after) if len(states) > 1 else [after]
        outputs.append(states[0])
    return torch.stack(outputs), [s[None] for s in states]
