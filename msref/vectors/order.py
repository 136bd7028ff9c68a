"""Which number depends on which: the order that a divergence is looked for in.

``step`` returns its trace in the order that reads best. What depends on what
is found by running it: every quantity is followed to those that it was
computed from, as reverse-mode differentiation does. So a wrong gate is named
before the cell that it spoilt, however the equations are written down.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.tracer import Node, isbox, new_box, trace_stack

from msref.architectures import is_causal
from msref.arrays import Arrays


@dataclass(frozen=True)
class Group:
    """Quantities that are computed together, time step by time step.

    Attributes
        names: in an order in which each depends on earlier ones alone.
        upstream: name -> those of the same step that it depends on.
    """

    names: tuple[str, ...]
    upstream: dict[str, frozenset[str]]


@functools.lru_cache(maxsize=128)
def groups(arch: Any) -> tuple[Group, ...]:
    """Return the quantities of a network's trace, in causal order.

    A network that runs step by step has one group; one that looks ahead has
    one for each part, since part 1 may need all steps of part 0.
    """
    if is_causal(arch):
        return (_of_step(arch),)
    if not hasattr(arch, "parts"):
        return tuple(_alone(name) for name in _of_scan(arch))
    found: list[Group] = []
    single = len(arch.parts) == 1
    for k, part in enumerate(arch.parts):
        for group in groups(part):
            found.append(
                _renamed(group, arch._name if single else f"{k}/", single)
            )
    return (*found, _alone("y"))


def _alone(name: str) -> Group:
    return Group((name,), {name: frozenset()})


def _renamed(group: Group, name: str, single: bool) -> Group:
    """Name a part's quantities as the whole network does."""

    def new(old: str) -> str:
        if single:
            return name if old == "y" else old
        return name + old

    return Group(
        tuple(map(new, group.names)),
        {new(k): frozenset(map(new, v)) for k, v in group.upstream.items()},
    )


# --- one step ---------------------------------------------------------------


class _Followed(Node):  # type: ignore[misc]
    """A node of the computation that knows all nodes above it."""

    __slots__ = ("above",)

    def __init__(
        self,
        value: Any,
        fun: Any,
        args: Any,
        kwargs: Any,
        parent_argnums: Any,
        parents: Any,
    ) -> None:
        self.above = frozenset({self}).union(*[p.above for p in parents])

    def initialize_root(self) -> None:
        """Start with nothing above."""
        self.above = frozenset({self})


def _of_step(arch: Any) -> Group:
    """Follow every quantity of one step."""
    rng = np.random.default_rng(0)
    drawn = arch.init(rng)
    with trace_stack.new_trace() as t:

        def followed(tree: Arrays) -> dict[str, Any]:
            return {
                k: new_box(v, t, _Followed.new_root()) for k, v in tree.items()
            }

        params = followed(drawn)
        state = followed(arch.initial_state(1))
        x = followed({"x": np.ones((1, arch.n_in))})["x"]
        _, trace = arch.step(params, state, x, 0, anp)
    nodes = {k: v._node for k, v in trace.items() if isbox(v)}
    names = list(trace)
    upstream = {
        name: frozenset(
            other
            for other in names
            if other in nodes
            and name in nodes
            and _is_above(nodes, other, name, names)
        )
        for name in names
    }
    return Group(tuple(_sorted(names, upstream)), upstream)


def _is_above(
    nodes: dict[str, Any], other: str, name: str, names: list[str]
) -> bool:
    """Tell whether ``name`` was computed from ``other``; of twins, the later.

    Twins are two names of one quantity, such as h and y.
    """
    if nodes[other] is nodes[name]:
        return names.index(other) < names.index(name)
    return nodes[other] in nodes[name].above


def _sorted(
    names: list[str], upstream: dict[str, frozenset[str]]
) -> Iterator[str]:
    """Sort so that everything stands behind what it depends on; else as is."""
    left = list(names)
    while left:
        ready = next(k for k in left if not upstream[k] & set(left))
        left.remove(ready)
        yield ready


def _of_scan(arch: Any) -> list[str]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2, arch.n_in))
    trace = arch.scan(arch.init(rng), x, arch.initial_state(2))[2]
    return list(trace)
