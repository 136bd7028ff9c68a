"""Runs the layers of Flax, Haiku and Equinox on exported weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from msref.architectures import GRU, LSTM, Elman
from msref.arrays import Arrays
from msref.ports.network import Cell
from msref.ports.point import Outcome, Point, rejoined

Forward = Callable[[Any, Any, Any], tuple[Any, Any]]


def run(
    made: Callable[[str, Point], Forward],
    layer: str,
    weights: Arrays,
    point: Point,
) -> Outcome:
    """Run a framework forwards and, by ``jax.vjp``, backwards at a point.

    Arguments
        made: one of the functions below; what it returns maps weights under
            the framework's names, x, and the initial states by layer and
            direction, to y and the final states.

    Raises
        ModuleNotFoundError: JAX or the framework is not installed.
    """
    import jax

    def states(tree: Arrays) -> list[list[Arrays]]:
        return [[cell.params for cell in row] for row in point.rows(tree)]

    with jax.enable_x64(True):
        (y, end), (grads, dx, dstart) = both_ways(
            made(layer, point),
            (weights, point.x, states(point.state)),
            (point.dy, states(point.dstate)),
        )
        return Outcome(
            own=weights,
            y=np.asarray(y),
            state=rejoined(end),
            grads={k: np.asarray(v) for k, v in grads.items()},
            dx=np.asarray(dx),
            dstate=rejoined(dstart),
        )


def both_ways(
    forward: Forward, inputs: tuple[Any, ...], cotangents: Any
) -> tuple[Any, Any]:
    """Compute outputs and pulled-back cotangents, compiled as one."""
    import jax

    def both(inputs: Any, cotangents: Any) -> tuple[Any, Any]:
        outputs, pull = jax.vjp(forward, *inputs)
        return outputs, pull(cotangents)

    result: tuple[Any, Any] = jax.jit(both)(inputs, cotangents)
    return result


# --- Flax -------------------------------------------------------------------


def linen(layer: str, point: Point) -> Forward:
    """Return what runs ``flax.linen.RNN`` and ``Bidirectional``."""
    from flax import linen
    from flax.traverse_util import unflatten_dict

    rows = point.rows(point.state)

    def rnn(cell: Cell) -> Any:
        return linen.RNN(_flax_cell(linen, layer, cell, linen_style=True))

    def forward(weights: Any, x: Any, start: Any) -> tuple[Any, Any]:
        tree = unflatten_dict(dict(weights), sep="/")
        ends = []
        for j, row in enumerate(rows):
            own = tree[f"layers_{j}"] if len(rows) > 1 else tree
            carry = [_carry(s) for s in start[j]]
            if len(row) == 2:
                module = linen.Bidirectional(rnn(row[0]), rnn(row[1]))
            else:
                module, carry = rnn(row[0]), carry[0]
                own = own if "cell" in own else {"cell": own}
            end, x = module.apply(
                {"params": own},
                x,
                initial_carry=carry,
                time_major=True,
                return_carry=True,
            )
            ends.append(
                [_uncarry(e) for e in (end if len(row) == 2 else [end])]
            )
        return x, ends

    return forward


def nnx(layer: str, point: Point) -> Forward:
    """Return what runs ``flax.nnx.RNN`` and ``Bidirectional``."""
    from flax import nnx
    from flax.traverse_util import unflatten_dict

    rows = point.rows(point.state)

    def rnn(cell: Cell) -> Any:
        return nnx.RNN(_flax_cell(nnx, layer, cell, linen_style=False))

    modules = [
        nnx.Bidirectional(rnn(row[0]), rnn(row[1]))
        if len(row) == 2
        else rnn(row[0])
        for row in rows
    ]

    def forward(weights: Any, x: Any, start: Any) -> tuple[Any, Any]:
        tree = unflatten_dict(dict(weights), sep="/")
        ends = []
        for j, row in enumerate(rows):
            own = tree["layers"][str(j)] if len(rows) > 1 else tree
            if len(row) == 1 and "cell" not in own:
                own = {"cell": own}
            graph, params, rest = nnx.split(modules[j], nnx.Param, ...)
            nnx.replace_by_pure_dict(params, own)
            module = nnx.merge(graph, params, rest)
            carry = [_carry(s) for s in start[j]]
            end, x = module(
                x,
                initial_carry=carry if len(row) == 2 else carry[0],
                time_major=True,
                return_carry=True,
            )
            ends.append(
                [_uncarry(e) for e in (end if len(row) == 2 else [end])]
            )
        return x, ends

    return forward


def _flax_cell(module: Any, layer: str, cell: Cell, linen_style: bool) -> Any:
    """Make a cell of Flax; other cells of the network than ``layer`` too."""
    import jax

    names = {Elman: "SimpleCell", GRU: "GRUCell", LSTM: "LSTMCell"}
    name = layer if layer.endswith("LSTMCell") else names[type(cell.arch)]
    options: dict[str, Any] = {}
    if isinstance(cell.arch, Elman):
        options["activation_fn"] = jax.numpy.tanh
        if cell.arch.activation == "relu":
            options["activation_fn"] = jax.nn.relu
    if linen_style:
        return getattr(module, name)(cell.arch.n_hid, **options)
    wide = jax.numpy.float64
    return getattr(module, name)(
        cell.arch.n_in,
        cell.arch.n_hid,
        dtype=wide,
        param_dtype=wide,
        rngs=module.Rngs(0),
        **options,
    )


def _carry(state: Any) -> Any:
    """Flax has (c, h), or h alone."""
    return (state["c"], state["h"]) if "c" in state else state["h"]


def _uncarry(carry: Any) -> dict[str, Any]:
    if isinstance(carry, tuple):
        return {"h": carry[1], "c": carry[0]}
    return {"h": carry}


# --- Haiku ------------------------------------------------------------------


def haiku(layer: str, point: Point) -> Forward:
    """Return what runs ``haiku.dynamic_unroll`` of a ``DeepRNN``."""
    import haiku

    cells = [row[0] for row in point.rows(point.state)]
    names = {Elman: "VanillaRNN", GRU: "GRU", LSTM: "LSTM"}

    def unroll(x: Any, states: Any) -> Any:
        cores = [
            getattr(haiku, names[type(cell.arch)])(cell.arch.n_hid)
            for cell in cells
        ]
        return haiku.dynamic_unroll(haiku.DeepRNN(cores), x, states)

    apply = haiku.without_apply_rng(haiku.transform(unroll)).apply

    def forward(weights: Any, x: Any, start: Any) -> tuple[Any, Any]:
        tree: dict[str, dict[str, Any]] = {}
        for full, array in weights.items():
            module, _, name = full.rpartition("/")
            tree.setdefault(module, {})[name] = array
        states = tuple(
            haiku.LSTMState(s["h"], s["c"]) if "c" in s else s["h"]
            for (s,) in start
        )
        y, end = apply(tree, x, states)
        return y, [
            [{"h": e.hidden, "c": e.cell} if hasattr(e, "cell") else {"h": e}]
            for e in end
        ]

    return forward


# --- Equinox ----------------------------------------------------------------


def equinox(layer: str, point: Point) -> Forward:
    """Return what scans ``equinox.nn.<layer>`` over time, per sequence."""
    import equinox
    import jax

    arch = point.arch
    key = jax.random.PRNGKey(0)
    made = getattr(equinox.nn, layer)(arch.n_in, arch.n_hid, key=key)

    def forward(weights: Any, x: Any, start: Any) -> tuple[Any, Any]:
        cell = equinox.tree_at(
            lambda c: [getattr(c, name) for name in weights],
            made,
            list(weights.values()),
        )
        ((state,),) = start

        def step(carry: Any, frame: Any) -> tuple[Any, Any]:
            after = jax.vmap(cell)(frame, carry)
            return after, after[0] if isinstance(after, tuple) else after

        # JAX sorts the names of a dict: c would come first.
        carry = (state["h"], state["c"]) if "c" in state else state["h"]
        end, y = jax.lax.scan(step, carry, x)
        if isinstance(end, tuple):
            return y, [[{"h": end[0], "c": end[1]}]]
        return y, [[{"h": end}]]

    return forward
