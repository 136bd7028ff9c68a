"""A network as frameworks see it: layers, each in one or two directions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msref.architectures import Bidirectional, Stack
from msref.arrays import Arrays, prefixed, under
from msref.ports.cell import cell_of


@dataclass(frozen=True)
class Place:
    """Where a cell stands: its layer, from the input on, and its direction.

    Attributes
        layer: from 0 on.
        direction: 0 forwards, 1 backwards in time.
        cells, ways: the cell, and the number of directions, of every layer.
    """

    layer: int
    direction: int
    cells: tuple[str, ...]
    ways: tuple[int, ...]

    @property
    def n_layers(self) -> int:
        """Layers of the network."""
        return len(self.cells)

    @property
    def n_directions(self) -> int:
        """Directions of this layer."""
        return self.ways[self.layer]

    @property
    def kind(self) -> str:
        """The cell, or ``bidirectional``."""
        return self._kinds()[self.layer]

    @property
    def number(self) -> int:
        """How many layers of the same kind stand below."""
        return self._kinds()[: self.layer].count(self.kind)

    def _kinds(self) -> list[str]:
        return [
            cell if way == 1 else "bidirectional"
            for cell, way in zip(self.cells, self.ways, strict=True)
        ]


@dataclass(frozen=True)
class Cell:
    """A cell of a network, with its parameters."""

    arch: Any
    params: Arrays
    place: Place


def cells_of(arch: Any, params: Arrays) -> list[Cell]:
    """Take a network apart, forwards before backwards, input first.

    Raises
        ValueError: it is made of something that no framework has.
    """
    layers = list(arch.parts) if isinstance(arch, Stack) else [arch]
    rows = [
        list(layer.parts) if isinstance(layer, Bidirectional) else [layer]
        for layer in layers
    ]
    kinds = tuple(cell_of(row[0]) for row in rows)
    ways = tuple(len(row) for row in rows)
    cells = []
    for j, row in enumerate(rows):
        below = under(str(j), params) if isinstance(arch, Stack) else params
        for d, part in enumerate(row):
            cell_of(part)
            own = under(str(d), below) if len(row) == 2 else below
            place = Place(j, d, kinds, ways)
            cells.append(Cell(part, own, place))
    return cells


def assemble(
    rows: Sequence[Sequence[tuple[Any, Arrays]]],
) -> tuple[Any, Arrays]:
    """Put cells together again, given layer by layer.

    Raises
        ValueError: their sizes do not fit.
    """
    layers = [
        Bidirectional(*(arch for arch, _ in row))
        if len(row) == 2
        else row[0][0]
        for row in rows
    ]
    arch = Stack(*layers) if len(layers) > 1 else layers[0]
    return arch, joined([[tree for _, tree in row] for row in rows])


def joined(rows: Sequence[Sequence[Arrays]]) -> Arrays:
    """Put dicts of the cells together, under the names of the network."""
    return _prefixed([_prefixed(row) for row in rows])


def _prefixed(trees: Sequence[Arrays]) -> Arrays:
    """Put the number of its part before each name; a single part has none."""
    if len(trees) == 1:
        return trees[0]
    named = (prefixed(str(k), tree).items() for k, tree in enumerate(trees))
    return dict(itertools.chain.from_iterable(named))
