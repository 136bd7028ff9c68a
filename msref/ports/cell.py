"""One cell: its parameters to the arrays of a layout, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from msref.architectures import GRU, LSTM, Elman
from msref.arrays import Array, Arrays
from msref.ports.layout import Layout


def cell_of(arch: Any) -> str:
    """Return which cell a network is.

    Raises
        ValueError: it is none that other frameworks have.
    """
    cells = {Elman: "elman", GRU: "gru", LSTM: "lstm"}
    if type(arch) not in cells:
        raise ValueError(
            f"arch is {arch!r}, expected Elman, GRU, LSTM, a Stack or a"
            " Bidirectional of them: no other has a layer in a framework"
        )
    return cells[type(arch)]


def write_cell(
    layout: Layout, arch: Any, params: Arrays
) -> tuple[Arrays, list[str]]:
    """Lay out the parameters of one cell.

    Returns
        The arrays of the layout, and what was folded, in words.

    Raises
        ValueError: a bias that the layout has no place for is not zero.
    """
    pieces: Arrays = {}
    notes: list[str] = []
    redundant = ""
    for k in layout.gates:
        pieces |= {part + k: params[f"W_{part}{k}"] for part in "xh"}
        b = params[f"b_{k}"]
        inside = params.get(f"b_h{k}") if layout.cell == "gru" else None
        parts = layout.bias_parts(k)
        if k in layout.added:
            b = b - b.dtype.type(layout.added[k])
            notes.append(
                f"b_{k} is stored less {layout.added[k]:g} (rounded), which"
                f" {layout.layers[0]} adds while it runs"
            )
        if inside is None:
            # Two biases of one sum: the second is redundant.
            pieces |= {part + k: np.zeros_like(b) for part in parts}
            pieces[parts[0] + k] = b
            if len(parts) == 2:
                redundant += k
        elif len(parts) == 2:
            pieces |= {f"bx{k}": b, f"bh{k}": inside}
        elif inside.any():
            worst = float(np.abs(inside).max())
            raise ValueError(
                f"b_h{k} is not zero (largest entry {worst:.3g}), and"
                f" {layout.layers[0]} has no bias inside the product with"
                " the reset gate: no weights make the two equal"
            )
        else:
            pieces[parts[0] + k] = b
            notes.append(
                f"b_h{k} is zero and left out: {layout.layers[0]} has none"
            )
        if k == "z" and layout.z == "writes":
            pieces |= {n: -a for n, a in pieces.items() if n.endswith("z")}
            notes.append("z is negated: it writes there, and keeps with us")
    if redundant:
        notes.append(
            f"the second bias of {' '.join(redundant)} is zero; trained, the"
            " sum of two moves twice as far"
        )
    return {slot.name: slot.write(pieces) for slot in layout.slots}, notes


def read_cell(
    layout: Layout,
    arrays: Mapping[str, Array],
    n_in: int,
    n_hid: int,
    gradients: bool = False,
) -> tuple[Arrays, list[str]]:
    """Take the arrays of one cell apart; the inverse of ``write_cell``.

    Arguments
        gradients: the arrays are gradients of a loss by the framework's
            arrays, and those by our parameters are wanted. A bias that is
            the sum of two has the gradient of either, not their sum;
            constants vanish; what is not there has no gradient.
    """
    pieces: Arrays = {}
    for slot in layout.slots:
        if slot.name in arrays:
            pieces |= slot.read(arrays[slot.name], n_in, n_hid)
    dtype = next(iter(pieces.values())).dtype
    notes: list[str] = []
    if layout.z == "writes":
        pieces |= {n: -a for n, a in pieces.items() if n.endswith("z")}
        notes.append("z is negated: it writes there, and keeps with us")
    params: Arrays = {}
    summed = ""
    for k in layout.gates:
        params |= {f"W_{part}{k}": pieces[part + k] for part in "xh"}
        parts = [p for p in ("bx", "bh") if p + k in pieces]
        if not parts and not gradients:
            notes.append("there are no biases: they are zero")
        given = [pieces[p + k] for p in parts] or [np.zeros(n_hid, dtype)]
        if layout.reset == "after" and k == "n":
            if len(parts) == 2 or not gradients:
                zeros = np.zeros(n_hid, dtype)
                params["b_hn"] = given[1] if len(parts) == 2 else zeros
        elif len(given) == 2 and not gradients and given[1].any():
            given = [given[0] + given[1]]
            summed += k
        if parts or not gradients:
            params[f"b_{k}"] = given[0]
        if k in layout.added and not gradients:
            constant = layout.added[k]
            params[f"b_{k}"] = params[f"b_{k}"] + dtype.type(constant)
            notes.append(
                f"{constant:g} is added to b_{k}, as {layout.layers[0]} does"
                " while it runs"
            )
    if summed:
        notes.append(
            f"the two biases of {' '.join(summed)} are summed; trained, the"
            " sum of two moves twice as far"
        )
    return params, notes
