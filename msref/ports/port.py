"""From our names to a framework's and back, for whole networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msref.architectures import GRU
from msref.architectures.base import check_tree
from msref.arrays import Array, Arrays
from msref.ports.cell import cell_of, read_cell, write_cell
from msref.ports.layout import Layout
from msref.ports.loading import (
    checked,
    in_order,
    made_of,
    needs_hint,
    unlike_any,
)
from msref.ports.network import Cell, Place, assemble, cells_of

Exported = tuple[Arrays, tuple[str, ...]]
Loaded = tuple[Any, Arrays, tuple[str, ...]]
Fitting = tuple[Layout, int, int]  # and its n_in, n_hid

HINTS = {
    "prefix": "what the names of the wanted arrays start with",
    "layer": "the framework's name of the layer",
    "reset": "of a GRU: after or before, the recurrent product",
    "activation": "of an Elman network: tanh or relu",
}
"""What ``load`` can be told, in every framework."""


@dataclass(frozen=True)
class Found:
    """Where a name says that an array belongs.

    Attributes
        layer: its number, or a name that may end in one.
        direction: 0 forwards, 1 backwards.
        slot: its name within the cell.
    """

    layer: str
    direction: int
    slot: str


@dataclass(frozen=True)
class Port:
    """A framework: its layouts, and how it names layers and directions.

    Attributes
        key: short name, as in ``--from torch``.
        title: its own name.
        layouts: one per layer that it has.
        name: full name of a slot at a place, in a layer of that name.
        find: the inverse; ``None`` for a name that is none of its own.
        stacks, two_ways: whether several layers, and two directions, make
            one network there.
        uniform: then all cells have one kind and size.
        axis: the directions are the leading axis of every array.
        hints: further hints of ``load``, and what they say.
        refused: arrays that it has and we have not: slot -> reason.
        advice: what to do with a network that it has no layer for.
    """

    key: str
    title: str
    layouts: tuple[Layout, ...]
    name: Callable[[Place, str, str], str]
    find: Callable[[str], Found | None]
    stacks: bool = True
    two_ways: bool = True
    uniform: bool = False
    axis: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""

    # --- from ours ----------------------------------------------------------

    def export(
        self, arch: Any, params: Arrays, layer: str | None = None
    ) -> Exported:
        """Return a network's weights as the framework wants them.

        Arguments
            arch: Elman, GRU, LSTM, a Stack of them, a Bidirectional of two,
                or a Stack of those.
            params: its parameters.
            layer: which layer of the framework; by default its first that
                represents the cells.

        Returns
            Arrays under the framework's names, in its order, and notes: the
            layers to make, what differs, what was folded.

        Raises
            ValueError: the framework cannot represent the network, and why.
            TypeError: an array is not float32 or float64.
        """
        cells = cells_of(arch, params)
        like = next(iter(params.values()), np.zeros(0))
        check_tree("params", params, arch.shapes(), like)
        self._accept(cells)
        gathered: dict[str, list[Array]] = {}
        calls: dict[int, list[str]] = {}
        notes: list[str] = []
        for cell in cells:
            layout = self._layout_for(cell.arch, layer)
            chosen = layer if layer in layout.layers else layout.layers[0]
            arrays, said = write_cell(layout, cell.arch, cell.params)
            call = self._call(layout, chosen, cell)
            calls.setdefault(cell.place.layer, []).append(call)
            notes += [*said, *_differences(layout)]
            for slot, array in arrays.items():
                name = self.name(cell.place, slot, chosen)
                gathered.setdefault(name, []).append(array)
        weights = {
            name: np.stack(parts) if self.axis else parts[0]
            for name, parts in gathered.items()
        }
        if self.uniform:
            made = calls[0][0]
        else:
            made = ", then ".join(map(_both_ways, calls.values()))
        return weights, (f"for {made}", *dict.fromkeys(notes))

    def _accept(self, cells: list[Cell]) -> None:
        """Refuse what the framework cannot wire."""
        several = cells[0].place.n_layers > 1
        both = any(cell.place.n_directions == 2 for cell in cells)
        if several and not self.stacks:
            raise ValueError(f"{self.title} has no stacked layers{self.advice}")
        if both and not self.two_ways:
            raise ValueError(
                f"{self.title} has no bidirectional layer{self.advice}"
            )
        if not (self.uniform or self.axis):
            return
        for cell in cells:
            other = cells[0]
            if not self.uniform:
                other = next(
                    c for c in cells if c.place.layer == cell.place.layer
                )
            one, two = _kind(other.arch), _kind(cell.arch)
            ways = (other.place.n_directions, cell.place.n_directions)
            if one != two or ways[0] != ways[1]:
                where = "layers" if self.uniform else "directions of a layer"
                raise ValueError(
                    f"{self.title} has all {where} of one kind and size, got"
                    f" {other.arch!r} ({ways[0]} directions) and"
                    f" {cell.arch!r} ({ways[1]})"
                )

    def _layout_for(self, arch: Any, layer: str | None) -> Layout:
        """Choose the layout that represents a cell."""
        kind = cell_of(arch)
        ours = [each for each in self.layouts if each.cell == kind]
        named = [each for each in ours if layer in each.layers]
        if layer is not None and not named:
            have = self._layers(ours)
            raise ValueError(
                f"layer is {layer!r}, expected one of {self.title}'s for"
                f" {type(arch).__name__}: {', '.join(have) or 'it has none'}"
            )
        for layout in named or [each for each in ours if not each.old]:
            if kind == "gru" and layout.reset != arch.reset:
                continue
            if kind == "elman" and arch.activation not in layout.activations:
                continue
            return layout
        raise ValueError(self._why_not(arch, named or ours))

    def _why_not(self, arch: Any, ours: list[Layout]) -> str:
        """Say why no layout represents a cell."""
        if not ours:
            have = sorted(
                {name for each in self.layouts for name in each.layers}
            )
            return (
                f"{self.title} has no layer for {arch!r}; it has"
                f" {', '.join(have)}"
            )
        if isinstance(arch, GRU):
            return (
                f"{self.title}'s {ours[0].layers[0]} resets {ours[0].reset} the"
                f" recurrent product, {arch!r} {arch.reset} it: two different"
                " functions, no weights make them equal"
            )
        return (
            f"{self.title}'s {ours[0].layers[0]} has"
            f" {' or '.join(ours[0].activations)}, {arch!r} has"
            f" {arch.activation}"
        )

    def _call(self, layout: Layout, chosen: str, cell: Cell) -> str:
        """Say how the layer is made in the framework."""
        place = cell.place
        more = f", num_layers={place.n_layers}" if place.n_layers > 1 else ""
        more += ", bidirectional=True" if place.n_directions == 2 else ""
        f = getattr(cell.arch, "activation", "")
        sizes = {"D": cell.arch.n_in, "H": cell.arch.n_hid}
        return layout.call.format(L=chosen, f=f, more=more, **sizes)

    # --- to ours ------------------------------------------------------------

    def load(
        self,
        weights: Mapping[str, Array],
        *,
        gradients: bool = False,
        **hints: Any,
    ) -> Loaded:
        """Return the network that a framework's weights are of.

        Arguments
            weights: arrays under the framework's names.
            gradients: they are gradients of a loss by these arrays, and
                those by our parameters are wanted: a bias that is the sum of
                two has the gradient of either, not their sum.
            hints: what the weights do not say; see ``HINTS`` and ``hints``.

        Returns
            The network, its parameters in the dtype of the weights, and
            notes. Options that only concern a start (chrono) are not kept.

        Raises
            ValueError: unknown or missing arrays, shapes that do not fit,
                NaN, or something that needs a hint; the message names it.
            TypeError: an array is not float32 or float64.
        """
        self.check_hints(hints)
        prefix = hints.get("prefix", "")
        groups = self._grouped(checked(weights, prefix), prefix)
        fitting = {key: self._fitting(key[0], a) for key, a in groups.items()}
        self._check_layer(fitting.values(), hints)
        layers = in_order(sorted({key[0] for key in groups}), hints)
        rows = []
        notes: list[str] = []
        for layer in layers:
            row = []
            for direction in (0, 1):
                if (layer, direction) in groups:
                    key = layer, direction
                    arch, params, said = self._cell(
                        groups[key], fitting[key], gradients, hints
                    )
                    row.append((arch, params))
                    notes += said
                elif direction == 0:
                    raise ValueError(
                        f"layer {layer!r} has weights backwards in time only,"
                        " expected both directions"
                    )
            rows.append(row)
        arch, params = assemble(rows)
        if not gradients:
            self._accept(cells_of(arch, params))
        return arch, params, tuple(dict.fromkeys(notes))

    def check_hints(self, hints: Mapping[str, Any]) -> None:
        """Check names of hints, and values that are one of a few.

        Raises
            ValueError: there is no such hint, or it cannot say that.
        """
        known = HINTS | dict(self.hints)
        values = {
            "layer": list(self._layers(self.layouts)),
            "reset": ["after", "before"],
            "activation": ["tanh", "relu"],
        }
        for hint, value in hints.items():
            if hint not in known:
                raise ValueError(
                    f"there is no hint {hint!r} for {self.title}, expected one"
                    f" of {', '.join(known)}"
                )
            if value not in values.get(hint, [value]):
                raise ValueError(
                    f"{hint} is {value!r}, expected one of"
                    f" {', '.join(values[hint])}"
                )

    @staticmethod
    def _layers(layouts: Iterable[Layout]) -> dict[str, None]:
        """Return the names of layers, each once, in their order."""
        return dict.fromkeys(name for each in layouts for name in each.layers)

    def _check_layer(
        self, fitting: Iterable[list[Fitting]], hints: Mapping[str, Any]
    ) -> None:
        """Refuse the hint of a layer that none of the cells can be."""
        can_be = self._layers(each[0] for found in fitting for each in found)
        if "layer" in hints and hints["layer"] not in can_be:
            raise ValueError(
                f"layer is {hints['layer']!r}, expected what the arrays can be"
                f" of: {', '.join(can_be)}"
            )

    def _grouped(
        self, weights: Mapping[str, Array], prefix: str
    ) -> dict[tuple[str, int], Arrays]:
        """Sort arrays by layer and direction."""
        slots = {s.name for layout in self.layouts for s in layout.slots}
        groups: dict[tuple[str, int], Arrays] = {}
        for name, array in weights.items():
            found = self.find(name)
            if found is not None and found.slot in self.refused:
                raise ValueError(f"{name}: {self.refused[found.slot]}")
            if found is None or found.slot not in slots:
                known = self._prefixes(weights, slots)
                starts = "|".join(prefix + start for start in known[:4]) or "…"
                raise ValueError(
                    f"{name!r} is no weight of a recurrent layer of"
                    f" {self.title}, expected the names of"
                    f" {', '.join(sorted(slots))}; the hint prefix={starts}"
                    " picks a layer out of a larger model"
                )
            if self.axis and array.ndim and array.shape[0] not in (1, 2):
                raise ValueError(
                    f"{name} has shape {array.shape}, expected 1 or 2"
                    " directions as its first axis"
                )
            parts = list(array) if self.axis else [array]
            for k, part in enumerate(parts):
                group = groups.setdefault(
                    (found.layer, found.direction + k), {}
                )
                if found.slot in group:
                    raise ValueError(
                        f"{name}: there are several arrays {found.slot!r} of"
                        f" layer {found.layer!r}; the hint prefix=… picks one"
                        " layer"
                    )
                group[found.slot] = part
        return groups

    def _prefixes(self, names: Iterable[str], slots: set[str]) -> list[str]:
        """Return what stands before names of ours, as in a larger model."""
        found: dict[str, None] = {}
        for name in names:
            own = self.find(name)
            if own is not None and own.slot in slots:
                continue  # Keras finds its names behind any path
            for cut in re.finditer("[./]", name):
                inner = self.find(name[cut.end() :])
                if inner is not None and inner.slot in slots:
                    found[name[: cut.end()]] = None
                    break
        return list(found)

    def _fitting(self, layer: str, arrays: Arrays) -> list[Fitting]:
        """Return the layouts that arrays of one cell can be of."""
        fitting = []
        for layout in self.layouts:
            sizes = layout.sizes(arrays)
            if sizes is not None:
                fitting.append((layout, *sizes))
        if not fitting:
            raise ValueError(
                unlike_any(self.title, layer, arrays, self.layouts)
            )
        return fitting

    def _cell(
        self,
        arrays: Arrays,
        fitting: list[Fitting],
        gradients: bool,
        hints: Mapping[str, str],
    ) -> tuple[Any, Arrays, list[str]]:
        """Read the arrays of one cell."""
        layer = hints.get("layer")
        if any(layer in layout.layers for layout, _, _ in fitting):
            fitting = [each for each in fitting if layer in each[0].layers]
        wanted = ("", hints["reset"]) if "reset" in hints else None
        if wanted:
            fitting = [each for each in fitting if each[0].reset in wanted]
        if not fitting:
            raise ValueError(
                f"reset is {hints['reset']!r}, and {self.title} has no such"
                f" GRU with the arrays {', '.join(sorted(arrays))}"
            )
        if len(fitting) > 1:
            raise ValueError(needs_hint([f[0] for f in fitting]))
        layout, n_in, n_hid = fitting[0]
        arch = made_of(layout, n_in, n_hid, hints)
        params, notes = read_cell(layout, arrays, n_in, n_hid, gradients)
        return arch, params, notes


def _kind(arch: Any) -> tuple[object, ...]:
    options = (getattr(arch, "reset", ""), getattr(arch, "activation", ""))
    return (type(arch), arch.n_hid, *options)


def _both_ways(calls: list[str]) -> str:
    """Say how one layer is made."""
    if len(set(calls)) < len(calls):
        return f"{calls[0]} in both directions"
    return " forwards and ".join(calls) + " backwards" * (len(calls) - 1)


def _differences(layout: Layout) -> list[str]:
    """Say what else is not as it is here."""
    said = []
    if layout.x != "(T, B, D)":
        said.append(f"x is {layout.x}")
    if layout.state not in ("h", "h, c"):
        said.append(f"the state is ({layout.state})")
    return said
