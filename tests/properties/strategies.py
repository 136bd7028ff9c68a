"""Draws a registered network at other sizes, and a point to check it at.

A new architecture needs nothing here: one entry in the registry, and every
property runs over it. Its fields that start with ``n_`` are sizes.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from msref.architectures import (
    REGISTRY,
    BatchNorm,
    Residual,
    Stack,
    is_causal,
)

SIZES = st.integers(1, 6)
N_TIME = st.sampled_from([*range(1, 13), 30])
N_BATCH = st.integers(1, 4)
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from(["float64", "float32"])


def looks_ahead(arch):
    return not is_causal(arch)


def leaves(arch):
    """List the networks without parts that a network is made of."""
    if not hasattr(arch, "with_parts"):
        return [arch]
    return [leaf for part in arch.parts for leaf in leaves(part)]


def couples_sequences(arch):
    """Tell whether a sequence's output depends on the others in its batch."""
    return any(
        isinstance(leaf, BatchNorm) and leaf.statistics == "batch"
        for leaf in leaves(arch)
    )


def biases(arch):
    """Name the parameters that are added to a pre-activation."""
    return [k for k in arch.shapes() if k.rpartition("/")[2].startswith("b_")]


def names(kind):
    """List the registered names with an example of this kind."""
    return [
        name
        for name, entry in REGISTRY.items()
        if any(kind(example) for example in entry.examples)
    ]


@st.composite
def networks(draw, example, n_in=None):
    """Draw ``example`` at other sizes; options stay, parts stay connected."""
    if isinstance(example, Residual):
        branch = draw(networks(example.arch, n_in))
        return example.with_parts(ending_in(branch, branch.n_in))
    if hasattr(example, "with_parts"):
        parts = []
        for part in example.parts:
            parts.append(draw(networks(part, n_in)))
            # A stack's next part reads this one, all others read the input.
            chained = isinstance(example, Stack)
            n_in = parts[-1].n_out if chained else parts[-1].n_in
        return example.with_parts(*parts)
    sizes = {
        field.name: draw(SIZES)
        for field in dataclasses.fields(example)
        if field.name.startswith("n_") or field.name == "n"
    }
    if n_in is not None:
        sizes["n" if "n" in sizes else "n_in"] = n_in
    if not getattr(example, "mixes", True):
        sizes["n_hid"] = sizes["n_in"]
    try:
        return dataclasses.replace(example, **sizes)
    except ValueError:  # sizes that its own border refuses
        reject()


def ending_in(arch, n_out):
    """Return a stack whose last layer, a linear one, has ``n_out`` units."""
    *below, last = arch.parts
    return Stack(*below, dataclasses.replace(last, n_out=n_out))


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, a point, and cotangents on every output and final state.

    Everything follows from the few fields, so that a failure prints short.
    """

    arch: Any
    n_time: int
    n_batch: int
    seed: int
    t0: int = 0
    scale: float = 0.9
    dtype: str = "float64"

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        arch, n_time, n_batch = self.arch, self.n_time, self.n_batch

        def normal(*shape):
            return rng.standard_normal(shape).astype(self.dtype)

        def weights(start):
            """Draw weights; zeros that ``init`` has in between are a mask."""
            drawn = self.scale * normal(*start.shape)
            if start.ndim == 2:
                drawn /= np.sqrt(len(start)).astype(self.dtype)
            return drawn * (start != 0) if np.ptp(start) > 0 else drawn

        params = {k: weights(v) for k, v in arch.init(rng).items()}
        for name in getattr(arch, "positive", ()):
            params[name] = np.exp(params[name])
        zeros = arch.initial_state(n_batch)
        ahead = looks_ahead(arch)
        vars(self).update(
            params=params,
            x=normal(n_time, n_batch, arch.n_in),
            state={k: normal(*v.shape) for k, v in zeros.items()},
            dy=normal(n_time, n_batch, arch.n_out),
            dstate={k: normal(*v.shape) for k, v in zeros.items()},
            # frames that count
            lengths=rng.integers(1, n_time + 1, n_batch) if ahead else None,
        )

    def arrays(self):
        """Return every array that goes into the passes, by name."""
        trees = ("params", "state", "dstate")
        return {"x": self.x, "dy": self.dy} | {
            f"{tree}/{name}": value
            for tree in trees
            for name, value in getattr(self, tree).items()
        }

    def point(self):
        """Return what the loss depends on."""
        return {
            name: value
            for name, value in self.arrays().items()
            if not name.startswith("d")
        }

    def wide(self):
        """Return the same numbers in float64."""
        wide = {k: v.astype(np.float64) for k, v in self.arrays().items()}
        return self.but(
            x=wide["x"],
            dy=wide["dy"],
            **{
                tree: {k: wide[f"{tree}/{k}"] for k in getattr(self, tree)}
                for tree in ("params", "state", "dstate")
            },
        )

    def but(self, **changes):
        """Return the same case with other arrays or fields."""
        other = copy.copy(self)
        vars(other).update(changes)
        return other


@st.composite
def cases(draw, name, kind=None, **fixed):
    """Draw a case of a registered name, of one kind; fixed fields stay."""
    examples = [e for e in REGISTRY[name].examples if kind is None or kind(e)]
    drawn = {
        "arch": draw(st.sampled_from(examples).flatmap(networks)),
        "n_time": draw(N_TIME),
        "n_batch": draw(N_BATCH),
        "seed": draw(SEEDS),
        "t0": draw(st.sampled_from([0, 1, 3, 1000])),
        "scale": draw(st.sampled_from([0.9, 0.3, 1.5])),
    }
    return Case(**drawn | fixed)
