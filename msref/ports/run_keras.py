"""Runs Keras' own layers on exported weights, on its JAX backend.

On that backend, Keras computes tanh and sigmoid in float32, whatever floatx
is. So in float64 its layers are given those of JAX; in float32 they run as
they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from msref.architectures import GRU, Elman
from msref.arrays import Arrays
from msref.ports.network import Cell
from msref.ports.point import Outcome, Point, rejoined
from msref.ports.run_jax import both_ways


def run(layer: str, weights: Arrays, point: Point) -> Outcome:
    """Run ``keras.layers.<layer>`` forwards and backwards at a point.

    Raises
        ModuleNotFoundError: Keras or JAX is not installed, or Keras is in
            use with another backend.
    """
    wide = point.x.dtype == np.float64
    with _in_precision(str(point.x.dtype)) as keras:
        import jax

        layers, given = [], list(weights.values())
        for row in point.rows(point.state):
            made = _layer(keras, row, wide)
            made.build((None, None, row[0].arch.n_in))
            made.set_weights(given[: len(made.weights)])
            given = given[len(made.weights) :]
            layers.append(made)
        own = [variable for made in layers for variable in made.weights]

        def forward(values: Any, x: Any, start: Any) -> tuple[Any, Any]:
            y, left, ends = jax.numpy.swapaxes(x, 0, 1), list(values), []
            for made, states in zip(layers, start, strict=True):
                mine = [left.pop(0) for _ in made.weights]
                order = [[k for k in "hc" if k in s] for s in states]
                flat = [
                    s[k]
                    for s, ks in zip(states, order, strict=True)
                    for k in ks
                ]
                (y, *after), _ = made.stateless_call(
                    mine,
                    [v.value for v in made.non_trainable_variables],
                    y,
                    initial_state=flat,
                )
                ends.append([{k: after.pop(0) for k in ks} for ks in order])
            return jax.numpy.swapaxes(y, 0, 1), ends

        def states(tree: Arrays) -> list[list[Arrays]]:
            return [[cell.params for cell in row] for row in point.rows(tree)]

        values = [np.asarray(v.value) for v in own]
        (y, end), (grads, dx, dstart) = both_ways(
            forward,
            (values, point.x, states(point.state)),
            (point.dy, states(point.dstate)),
        )
        paths = [variable.path for variable in own]
        return Outcome(
            own=dict(zip(paths, values, strict=True)),
            y=np.asarray(y),
            state=rejoined(end),
            grads={
                path: np.asarray(g)
                for path, g in zip(paths, grads, strict=True)
            },
            dx=np.asarray(dx),
            dstate=rejoined(dstart),
        )


@contextmanager
def _in_precision(dtype: str) -> Iterator[Any]:
    """Import Keras, and let it compute in a precision for a while."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    if keras.backend.backend() != "jax":
        raise ModuleNotFoundError(
            f"Keras runs on {keras.backend.backend()}, expected"
            " KERAS_BACKEND=jax"
        )
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.backend.clear_session()  # names count from the start again
    try:
        with jax.enable_x64(dtype == "float64"):
            yield keras
    finally:
        keras.config.set_floatx(before)


def _layer(keras: Any, row: list[Cell], wide: bool) -> Any:
    """Make the layer of one cell, or of two directions."""
    import jax

    def wide_tanh(a: Any) -> Any:
        return jax.numpy.tanh(a)

    def wide_sigmoid(a: Any) -> Any:
        return jax.nn.sigmoid(a)

    def one(cell: Cell, **more: Any) -> Any:
        arch = cell.arch
        options = {"return_sequences": True, "return_state": True, **more}
        if isinstance(arch, Elman):
            own = not wide or arch.activation == "relu"
            options["activation"] = arch.activation if own else wide_tanh
            return keras.layers.SimpleRNN(arch.n_hid, **options)
        if wide:
            options["activation"] = wide_tanh
            options["recurrent_activation"] = wide_sigmoid
        if isinstance(arch, GRU):
            options["reset_after"] = arch.reset == "after"
            return keras.layers.GRU(arch.n_hid, **options)
        return keras.layers.LSTM(arch.n_hid, **options)

    if len(row) == 1:
        return one(row[0])
    # Bidirectional makes its layers again, from their configurations.
    known = {"wide_tanh": wide_tanh, "wide_sigmoid": wide_sigmoid}
    with keras.saving.CustomObjectScope(known):
        if row[0].arch == row[1].arch:
            return keras.layers.Bidirectional(one(row[0]))
        return keras.layers.Bidirectional(
            one(row[0]), backward_layer=one(row[1], go_backwards=True)
        )
