"""How a framework lays out the weights of one cell: as data.

A ``Layout`` says for each array of a framework which matrices and biases of
a cell it holds, in which order of gates and along which axis. The same table
converts the weights, both ways, and is printed by ``msref port
--conventions``: what is shown is what runs.

Both sides meet in *pieces*, a matrix or a bias of one gate each:
    x<k> (n_in, n_hid), h<k> (n_hid, n_hid)     multiplied from the right
    bx<k>, bh<k> (n_hid)                        added to either product
for the gates k of the cell, under the names of our equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from msref.arrays import Array, Arrays

GATES = {"elman": "h", "gru": "rzn", "lstm": "ifgo"}
"""The gates of each cell, as our equations call them."""


@dataclass(frozen=True)
class Slot:
    """An array of a framework.

    Attributes
        name: as the framework calls it, without the layer's prefix.
        holds: of ``x``, ``h`` (matrices) or ``bx``, ``bh`` (biases); two of
            them stand one after the other.
        gates: which, in their order along the axis of the outputs.
        out: that axis; 0 for ``W @ x``, 1 for ``x @ W``. A bias has one.
        paired: two biases are the rows of a matrix.
        as_memory: a matrix of a gate holds the numbers of its transpose in
            their order in memory, under the shape (n_in, n_hid).
    """

    name: str
    holds: tuple[str, ...]
    gates: str
    out: int = 1
    paired: bool = False
    as_memory: bool = False

    @property
    def is_bias(self) -> bool:
        """Whether it holds biases."""
        return self.holds[0].startswith("b")

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Each axis as (h, d): it has h n_hid + d n_in entries."""
        n = len(self.gates)
        if self.is_bias:
            return ((n if self.paired else n * len(self.holds), 0),)
        into = (self.holds.count("h"), self.holds.count("x"))
        return (into, (n, 0)) if self.out == 1 else ((n, 0), into)

    def shape(self, n_in: int, n_hid: int) -> tuple[int, ...]:
        """Return the shape for a cell of these sizes."""
        sizes = tuple(h * n_hid + d * n_in for h, d in self.sizes)
        return (len(self.holds), *sizes) if self.paired else sizes

    def shape_text(self, *leading: str) -> str:
        """Return the shape in the letters of the frameworks, H and D."""
        texts = list(leading) + ([str(len(self.holds))] if self.paired else [])
        for h, d in self.sizes:
            terms = ["D"] * d + ([f"{h}H" if h > 1 else "H"] if h else [])
            texts.append("+".join(terms))
        return f"({', '.join(texts)})"

    def write(self, pieces: Arrays) -> Array:
        """Put pieces together as the framework wants them."""
        rows = []
        for part in self.holds:
            blocks = [pieces[part + k] for k in self.gates]
            if self.as_memory:
                blocks = [b.T.reshape(b.shape) for b in blocks]
            rows.append(np.concatenate(blocks, axis=-1))
        whole = np.stack(rows) if self.paired else np.concatenate(rows)
        return np.array(
            whole if self.is_bias or self.out else whole.T, order="C"
        )

    def read(self, array: Array, n_in: int, n_hid: int) -> Arrays:
        """Take an array apart; the inverse of ``write``."""
        whole = array if self.is_bias or self.out == 1 else array.T
        if self.paired:
            rows = list(whole)
        elif self.is_bias:
            rows = np.split(whole, len(self.holds))
        else:
            cut = [n_in] if self.holds == ("x", "h") else []
            rows = np.split(whole, cut)
        pieces: Arrays = {}
        for part, row in zip(self.holds, rows, strict=True):
            blocks = np.split(row, len(self.gates), axis=-1)
            for k, block in zip(self.gates, blocks, strict=True):
                if self.as_memory:
                    block = block.reshape(block.shape[::-1]).T
                pieces[part + k] = np.array(block, order="C")
        return pieces


@dataclass(frozen=True)
class Layout:
    """One recurrent layer of a framework.

    Attributes
        layers: names of the layers that share it.
        cell: ``elman``, ``gru`` or ``lstm``.
        called: the framework's own names of the gates, in its order.
        slots: its arrays.
        call: how the layer is made; ``{D}``, ``{H}``, ``{f}`` stand for
            sizes and activation.
        reset: of a GRU: ``after`` or ``before`` the recurrent product.
        z: of a GRU: whether z ``keeps`` the old state or ``writes``.
        activations: of an Elman network; more than one cannot be told
            from the weights.
        added: gate -> what the framework adds to its bias while it runs.
        lacking: biases that may be left out together: they count as zero.
        state: order of the states.
        x: order of the axes of the input.
        source: ``executed`` by ``msref port --check``, only ``read``, or
            ``ours``.
        remark: what else a porter should know.
        old: no layer of today; weights are read, written only on demand.
    """

    layers: tuple[str, ...]
    cell: str
    called: str
    slots: tuple[Slot, ...]
    call: str
    reset: str = ""
    z: str = "keeps"
    activations: tuple[str, ...] = ("tanh",)
    added: Mapping[str, float] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    state: str = "h"
    x: str = "(T, B, D)"
    source: str = "executed"
    remark: str = ""
    old: bool = False

    @property
    def gates(self) -> str:
        """The gates of the cell."""
        return GATES[self.cell]

    def bias_parts(self, gate: str) -> tuple[str, ...]:
        """Return which of ``bx`` and ``bh`` the framework has for a gate."""
        return tuple(
            part
            for part in ("bx", "bh")
            for slot in self.slots
            if part in slot.holds and gate in slot.gates
        )

    def sizes(self, arrays: Mapping[str, Array]) -> tuple[int, int] | None:
        """Return n_in and n_hid that fit all arrays; ``None`` for none."""
        names = {slot.name for slot in self.slots}
        missing = names - set(arrays)
        if set(arrays) - names or (missing and missing != set(self.lacking)):
            return None
        given = [slot for slot in self.slots if slot.name in arrays]
        n_in, n_hid = 0, 0
        for slot in given:
            shape = arrays[slot.name].shape[1 if slot.paired else 0 :]
            if len(shape) != len(slot.sizes):
                return None
            for size, (h, d) in zip(shape, slot.sizes, strict=True):
                if not d:
                    n_hid = size // h
        for slot in given:
            shape = arrays[slot.name].shape[1 if slot.paired else 0 :]
            for size, (h, d) in zip(shape, slot.sizes, strict=True):
                if d:
                    n_in = size - h * n_hid
        fits = (
            n_in > 0
            and n_hid > 0
            and all(
                arrays[slot.name].shape == slot.shape(n_in, n_hid)
                for slot in given
            )
        )
        return (n_in, n_hid) if fits else None
