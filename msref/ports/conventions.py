"""The conventions of the frameworks, as a table made from their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msref.ports.layout import Layout
from msref.ports.port import Port


def conventions(ports: Sequence[Port]) -> list[dict[str, Any]]:
    """Return what is known of every layer of some frameworks.

    Letters are those of the frameworks: D inputs, H hidden units, T steps, B
    sequences. All of it is read off the tables that convert. The keys:
    framework, layer, cell, gates (in the framework's order and its names),
    arrays (name -> shape), product (``W x`` or ``x W``), biases (with which
    product, ``x`` or ``h``; with both, they are summed but for those of n),
    reset, z, activation, added (gate's bias -> what is added while it runs),
    state (in its order), x (its axes), source and remark.
    """
    return [
        {"framework": port.title} | _row(layout, port.axis)
        for port in ports
        for layout in port.layouts
    ]


def _row(layout: Layout, axis: bool) -> dict[str, Any]:
    leading = ("dirs",) if axis else ()
    matrix = next(slot for slot in layout.slots if not slot.is_bias)
    return {
        "layer": ", ".join(layout.layers),
        "cell": layout.cell,
        "gates": layout.called,
        "arrays": {s.name: s.shape_text(*leading) for s in layout.slots},
        "product": "W x" if matrix.out == 0 else "x W",
        "biases": _biases(layout),
        "reset": layout.reset,
        "z": layout.z if layout.cell == "gru" else "",
        "activation": (
            " or ".join(layout.activations) if layout.cell == "elman" else ""
        ),
        "added": {f"b_{k}": v for k, v in layout.added.items()},
        "state": layout.state,
        "x": layout.x,
        "source": layout.source,
        "remark": layout.remark,
    }


def _biases(layout: Layout) -> str:
    """Say with which product the biases stand: ``x``, ``h`` or ``x + h``."""
    parts = {
        k: " + ".join(part.removeprefix("b") for part in layout.bias_parts(k))
        for k in layout.gates
    }
    said = [parts[layout.gates[0]]]
    if layout.reset == "after" and parts["n"] == "x + h":
        said.append("n: x, h")  # its second one is inside the reset
    return "; ".join(said)
