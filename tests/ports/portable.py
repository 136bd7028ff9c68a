"""Networks that frameworks have, at any size, and what they can represent."""

import numpy as np
from hypothesis import strategies as st

from msref.architectures import GRU, LSTM, Bidirectional, Elman, Stack

SIZES = st.integers(1, 5)
CELLS = (
    lambda n, m: Elman(n, m),
    lambda n, m: Elman(n, m, activation="relu"),
    lambda n, m: GRU(n, m),
    lambda n, m: GRU(n, m, reset="before"),
    lambda n, m: LSTM(n, m),
)
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float64, np.float32])


@st.composite
def mixed(draw, cells=CELLS, two_ways=True, most=3):
    """Layers of any kinds and sizes, in either direction or in both."""
    n_in, parts = draw(SIZES), []
    for _ in range(draw(st.integers(1, most))):
        ways = 1 + (two_ways and draw(st.booleans()))
        row = [
            draw(st.sampled_from(cells))(n_in, draw(SIZES)) for _ in range(ways)
        ]
        parts.append(Bidirectional(*row) if ways == 2 else row[0])
        n_in = parts[-1].n_out
    return Stack(*parts) if len(parts) > 1 else parts[0]


@st.composite
def uniform(draw, cells=CELLS, two_ways=True, most=3, alike=True):
    """Layers of one kind, all in one direction or all in two.

    They have one size, or with ``alike`` off one size per layer.
    """
    cell, n_in, n_hid = draw(st.sampled_from(cells)), draw(SIZES), draw(SIZES)
    ways, parts = 1 + (two_ways and draw(st.booleans())), []
    for _ in range(draw(st.integers(1, most))):
        each = cell(n_in, n_hid if alike else draw(SIZES))
        parts.append(Bidirectional(each, each) if ways == 2 else each)
        n_in = parts[-1].n_out
    return Stack(*parts) if len(parts) > 1 else parts[0]


NETWORKS = st.one_of(uniform(), mixed())


def networks_of(*keys):
    """Draw networks that all of these frameworks can represent."""
    cells = [c for c in CELLS if all(represents(k, c(3, 5)) for k in keys)]
    both = [Bidirectional(c(3, 5), c(3, 5)) for c in cells]
    stack = [Stack(c(3, 5), c(5, 5)) for c in cells]
    options = {
        "cells": cells,
        "two_ways": all(represents(k, arch) for k in keys for arch in both),
        "most": 1 + 2 * all(represents(k, a) for k in keys for a in stack),
    }
    found = [uniform(**options)]
    if not {"torch", "cudnn"} & set(keys):
        found.append(uniform(**options, alike=False))
        if "onnx" not in keys:
            found.append(mixed(**options))
    return st.one_of(found)


def rows_of(arch):
    """The cells of a network, by layer and direction."""
    parts = arch.parts if isinstance(arch, Stack) else (arch,)
    return [p.parts if isinstance(p, Bidirectional) else (p,) for p in parts]


def cells_of(arch):
    return [cell for row in rows_of(arch) for cell in row]


def kind_of(cell):
    """What a layer that is all alike has to share."""
    options = (getattr(cell, "reset", ""), getattr(cell, "activation", ""))
    return (type(cell), cell.n_hid, *options)


def represents(key, arch):
    """Whether a framework has the network, b_hn being zero; by its papers."""
    rows = rows_of(arch)
    cells = cells_of(arch)
    two_ways = any(len(row) == 2 for row in rows)
    before = any(getattr(c, "reset", "") == "before" for c in cells)
    after = any(getattr(c, "reset", "") == "after" for c in cells)
    tanh = any(getattr(c, "activation", "") == "tanh" for c in cells)
    alike = len({(kind_of(c), len(r)) for r in rows for c in r}) == 1
    if key in ("torch", "cudnn"):
        return alike and not before
    if key in ("flax", "nnx"):
        return not before
    if key == "haiku":
        return not two_ways and not after and not tanh
    if key == "equinox":
        elman = any(isinstance(c, Elman) for c in cells)
        return len(cells) == 1 and not before and not elman
    if key == "onnx":
        return all(len({kind_of(c) for c in row}) == 1 for row in rows)
    assert key in ("keras", "msref")
    return True


def parameters(arch, seed, dtype=np.float64, zero=()):
    """Random parameters; those that end in a name of ``zero`` are zero."""
    rng = np.random.default_rng(seed)
    params = {k: rng.standard_normal(s) for k, s in arch.shapes().items()}
    for name in params:
        if name.split("/")[-1] in zero:
            params[name][:] = 0.0
    return {k: a.astype(dtype) for k, a in params.items()}


LACKS = {"nnx": ("b_hn",)}
"""Parameters that a framework's layers do not have."""


def hints_for(key, arch):
    """What a framework's weights of a network do not say, or ``None``.

    ``None`` where one hint would have to say two things.
    """
    cells = cells_of(arch)
    elmans = {c.activation for c in cells if isinstance(c, Elman)}
    resets = {c.reset for c in cells if isinstance(c, GRU)}
    if len(elmans) > 1 or (len(resets) > 1 and key == "onnx"):
        return None
    hints = {}
    if elmans and key not in ("cudnn", "haiku"):
        hints["activation"] = elmans.pop()
    if resets and key == "onnx":
        hints["reset"] = resets.pop()
    if key in ("keras", "haiku"):
        hints |= ordered(key, arch)
    if key == "msref" and len(cells) == 2:
        both = isinstance(arch, Bidirectional)
        hints["parts"] = "directions" if both else "layers"
    if key == "cudnn":
        first = cells[0]
        name = type(first).__name__
        if name == "Elman":
            name = f"RNN_{first.activation.upper()}"
        rows = rows_of(arch)
        hints |= {"layer": name, "n_in": first.n_in, "n_hid": first.n_hid}
        hints |= {"n_layers": len(rows), "n_directions": len(rows[0])}
    return hints


def ordered(key, arch):
    """Name the layers in order, where they are of several kinds."""
    names = {"Elman": "simple_rnn", "GRU": "gru", "LSTM": "lstm"}
    if key == "haiku":
        names["Elman"] = "vanilla_rnn"
    found = []
    for row in rows_of(arch):
        name = (
            "bidirectional" if len(row) == 2 else names[type(row[0]).__name__]
        )
        number = sum(f.rstrip("_0123456789") == name for f in found)
        found.append(f"{name}_{number}" if number else name)
    several = len({f.rstrip("_0123456789") for f in found}) > 1
    return {"layers": ",".join(found)} if several else {}
