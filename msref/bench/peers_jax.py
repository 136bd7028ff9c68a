"""JAX: a cell under ``lax.scan``, compiled as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msref.arrays import Arrays
from msref.bench.peer_cells import FORWARD, Operations, fuse, take_apart
from msref.bench.peers import Peer, Point

Made = tuple[Callable[[], Any], Callable[[Any], Arrays]]


def scan(variant: str, hoisted: bool) -> Callable[[Point], Made]:
    """Run a cell under ``lax.scan``.

    Arguments
        hoisted: project the inputs of all steps before the scan.
    """

    def make(point: Point) -> Made:
        import jax

        forward = FORWARD[point.cell][variant]
        operations = _operations(hoisted)

        def both(weights: Any, x: Any, dy: Any) -> Any:
            def whole(weights: Any, x: Any) -> Any:
                return forward(operations, point.arch, weights, x)

            y, pull = jax.vjp(whole, weights, x)
            return y, pull(dy)

        # Doubles are switched on for this function alone, and stay.
        with jax.enable_x64(True):
            fused = fuse(point.cell, point.params)
            weights = {k: jax.numpy.asarray(v) for k, v in fused.items()}
            x, dy = jax.numpy.asarray(point.x), jax.numpy.asarray(point.dy)
            compiled = jax.jit(both).lower(weights, x, dy).compile()

        def run() -> Any:
            return jax.block_until_ready(compiled(weights, x, dy))

        def gradients(found: Any) -> Arrays:
            dweights, dx = jax.device_get(found[1])
            return take_apart(point.cell, point.params, dweights | {"x": dx})

        return run, gradients

    return make


def peers(cell: str) -> list[Peer]:
    """Return scans over a network, with the projection inside and before.

    Without active slices: under a scan all steps have the same shapes.
    """
    return [
        Peer(
            ", ".join(filter(None, ["jax scan", variant, where])),
            scan(variant, bool(where)),
        )
        for variant in FORWARD[cell]
        if variant != "active slices"
        for where in ("", "hoisted")
    ]


def _operations(hoisted: bool) -> Operations:
    import jax
    from jax import numpy as jnp

    def loop(
        project: Callable[[Any], Any] | None,
        step: Callable[..., Any],
        state: Any,
        x: Any,
        along: Any = None,
    ) -> Any:
        n_time, n_batch, _ = x.shape
        if project is None:
            project = _same
        inside, given = project, x
        if hoisted:
            given = jax.tree.map(
                lambda a: a.reshape(n_time, n_batch, -1),
                project(x.reshape(n_time * n_batch, -1)),
            )
            inside = _same

        def one(state: Any, at: Any) -> Any:
            return step(state, inside(at[0]), at[1])

        return jax.lax.scan(one, state, (given, along))[1]

    return Operations(
        affine=lambda b, x, W: b + x @ W,
        add_product=lambda a, b, c: a + b * c,
        mix=lambda c, a, b: c * a + (1.0 - c) * b,
        sigmoid=jax.nn.sigmoid,
        tanh=jnp.tanh,
        relu=jax.nn.relu,
        where=jnp.where,
        split=lambda a, n: jnp.split(a, n, -1),
        join=lambda arrays: jnp.concatenate(arrays, -1),
        zeros=lambda x, n: jnp.zeros((x.shape[1], n), x.dtype),
        constant=jnp.asarray,
        loop=loop,
    )


def _same(a: Any) -> Any:
    return a
