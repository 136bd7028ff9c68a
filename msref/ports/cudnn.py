"""cuDNN's packed weights: one buffer, by linLayerID.

All matrices come first, layer by layer, forwards before backwards, each in
the order of the linLayerID; then all biases in the same order. A matrix is
(n_hid, n_in), row by row. This is what NVIDIA's text says as bindings quote
it; no cuDNN was run.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from msref.architectures.base import check_shape, check_sizes
from msref.arrays import Array, Arrays
from msref.ports.layout import Layout, Slot
from msref.ports.loading import checked
from msref.ports.network import Place
from msref.ports.port import Exported, Found, Loaded, Port


def _slots(gates: str) -> tuple[Slot, ...]:
    """Return matrix and bias of each linLayerID: those of x, then of h."""
    ids = list(enumerate(itertools.product("xh", gates)))
    return (
        *(Slot(f"matrix {n}", (part,), k, out=0) for n, (part, k) in ids),
        *(Slot(f"bias {n}", (f"b{part}",), k) for n, (part, k) in ids),
    )


def _plain(activation: str) -> Layout:
    return Layout(
        layers=(f"RNN_{activation.upper()}",),
        cell="elman",
        called="h",
        slots=_slots("h"),
        call="CUDNN_{L}, two biases{more}",
        activations=(activation,),
        source="read",
    )


LAYOUTS = (
    _plain("tanh"),
    _plain("relu"),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="r i h",
        slots=_slots("rzn"),
        call="CUDNN_{L}, two biases{more}",
        reset="after",
        source="read",
        remark="i is the update gate; bias 5 stands inside the product with r",
    ),
    Layout(
        layers=("LSTM",),
        cell="lstm",
        called="i f c o",
        slots=_slots("ifgo"),
        call="CUDNN_{L}, two biases{more}",
        state="h, c",
        source="read",
        remark="no projection (linLayerID 8)",
    ),
)


def name(place: Place, slot: str, layer: str) -> str:
    """Return a name for what is between two packed arrays."""
    return f"{place.layer}/{place.direction}/{slot}"


def find(full: str) -> Found | None:
    """Return the inverse of ``name``."""
    parts = re.fullmatch(r"(\d+)/([01])/((?:matrix|bias) \d)", full)
    return None if parts is None else Found(parts[1], int(parts[2]), parts[3])


class PackedPort(Port):
    """The port of a framework that keeps all weights in one buffer."""

    def export(
        self, arch: Any, params: Arrays, layer: str | None = None
    ) -> Exported:
        """Return the buffer under the name ``weights``; see ``Port``."""
        arrays, notes = super().export(arch, params, layer)
        order = sorted(arrays, key=lambda full: "bias" in full)
        packed = np.concatenate([arrays[full].ravel() for full in order])
        return {"weights": packed}, notes

    def load(
        self,
        weights: Mapping[str, Array],
        *,
        gradients: bool = False,
        **hints: Any,
    ) -> Loaded:
        """Take the buffer ``weights`` apart; see ``Port``.

        The buffer does not say what is in it: ``layer``, ``n_in`` and
        ``n_hid`` have to be given.
        """
        self.check_hints(hints)
        arrays = checked(weights, hints.pop("prefix", ""))
        if set(arrays) != {"weights"}:
            raise ValueError(
                f"got the arrays {', '.join(sorted(arrays))}, expected"
                " 'weights' alone"
            )
        slots = self._places(hints)
        total = sum(size for size, _ in slots.values())
        buffer = arrays["weights"]
        check_shape("weights", buffer, (f"n_weights={total}",), (total,))
        cuts = list(itertools.accumulate(size for size, _ in slots.values()))
        parts = np.split(buffer, cuts[:-1])
        named = {
            full: part.reshape(shape)
            for (full, (_, shape)), part in zip(
                slots.items(), parts, strict=True
            )
        }
        rest = {k: v for k, v in hints.items() if k == "layer"}
        return super().load(named, gradients=gradients, **rest)

    def _places(
        self, hints: Mapping[str, Any]
    ) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Return size and shape of every part of the buffer, in its order."""
        names = [each.layers[0] for each in self.layouts]
        if hints.get("layer") not in names:
            raise ValueError(
                "the weights do not say what they are of, expected the hint"
                f" layer={'|'.join(names)}, got {hints.get('layer')!r}"
            )
        layout = self.layouts[names.index(hints["layer"])]
        sizes = {"n_layers": 1, "n_directions": 1}
        for size in ("n_in", "n_hid", "n_layers", "n_directions"):
            if size in hints:
                sizes[size] = _whole(size, hints[size])
            elif size not in sizes:
                raise ValueError(
                    "the weights do not say their sizes, expected the hints"
                    " n_in=… and n_hid=…"
                )
        check_sizes(**sizes)
        n_hid, ways = sizes["n_hid"], range(sizes["n_directions"])
        found = {}
        for kind in ("matrix", "bias"):
            for j in range(sizes["n_layers"]):
                n_in = sizes["n_in"] if j == 0 else n_hid * len(ways)
                for d in ways:
                    for slot in layout.slots:
                        if slot.name.startswith(kind):
                            shape = slot.shape(n_in, n_hid)
                            full = f"{j}/{d}/{slot.name}"
                            found[full] = (int(np.prod(shape)), shape)
        return found


def _whole(size: str, given: Any) -> int:
    try:
        return int(str(given))
    except ValueError:
        raise ValueError(
            f"{size} is {given!r}, expected a whole number"
        ) from None


PORT = PackedPort(
    key="cudnn",
    title="cuDNN",
    layouts=LAYOUTS,
    name=name,
    find=find,
    uniform=True,
    hints={
        "n_in": "units of the input",
        "n_hid": "units of a layer",
        "n_layers": "1 by default",
        "n_directions": "1 by default, or 2",
    },
)
