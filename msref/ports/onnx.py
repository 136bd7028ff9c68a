"""ONNX: the nodes ``RNN``, ``GRU``, ``LSTM``, and a complete model.

Names are those of a node's inputs, ``W R B``; with several layers, one node
each, they are ``layer_0/W`` and so on, which is our choice: ONNX leaves the
names of initialisers free. The directions are the leading axis.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from msref.architectures import GRU, Elman
from msref.arrays import Arrays
from msref.ports.cell import cell_of
from msref.ports.layout import Layout, Slot
from msref.ports.network import Place, cells_of
from msref.ports.port import Found, Port


def _slots(gates: str) -> tuple[Slot, ...]:
    return (
        Slot("W", ("x",), gates, out=0),
        Slot("R", ("h",), gates, out=0),
        Slot("B", ("bx", "bh"), gates),
    )


LAYOUTS = (
    Layout(
        layers=("RNN",),
        cell="elman",
        called="h",
        slots=_slots("h"),
        call="ONNX {L}(hidden_size={H}, activations=[{f}])",
        activations=("tanh", "relu"),
        lacking=("B",),
        remark="activations: one per direction",
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="z r h",
        slots=_slots("zrn"),
        call="ONNX {L}(hidden_size={H}, linear_before_reset=1)",
        reset="after",
        lacking=("B",),
        remark="Rb of h stands inside the product with r",
    ),
    Layout(
        layers=("GRU",),
        cell="gru",
        called="z r h",
        slots=_slots("zrn"),
        call="ONNX {L}(hidden_size={H}, linear_before_reset=0)",
        reset="before",
        lacking=("B",),
        remark="linear_before_reset=0 is the default",
    ),
    Layout(
        layers=("LSTM",),
        cell="lstm",
        called="i o f c",
        slots=_slots("iofg"),
        call="ONNX {L}(hidden_size={H})",
        lacking=("B",),
        state="h, c",
        remark=(
            "peepholes P (order i o f) are refused; input_forget, clip, other"
            " activations and direction=reverse are attributes, which no"
            " weight shows"
        ),
    ),
)


def name(place: Place, slot: str, layer: str) -> str:
    """Return ``W``, or ``layer_0/W`` where there are several."""
    return slot if place.n_layers == 1 else f"layer_{place.layer}/{slot}"


def find(full: str) -> Found | None:
    """Return layer and slot of a name."""
    parts = re.fullmatch(r"(?:layer_(\d+)/)?(\w+)", full)
    return None if parts is None else Found(parts[1] or "0", 0, parts[2])


_STATE = "is a state, not a weight: give it to forward"

PORT = Port(
    key="onnx",
    title="ONNX",
    layouts=LAYOUTS,
    name=name,
    find=find,
    axis=True,
    refused={
        "P": "peepholes, which our LSTM has not",
        "initial_h": _STATE,
        "initial_c": _STATE,
    },
)


def onnx_model(arch: Any, params: Arrays) -> Any:
    """Return a complete ``onnx.ModelProto`` of a network, checked.

    Inputs are ``X (n_time, n_batch, n_in)`` and the initial states, outputs
    ``Y (n_time, n_batch, n_out)`` and the final states. States carry the
    number of their layer, ``initial_h_0`` and ``final_h_0``, each
    (n_directions, n_batch, n_hid). Opset 14, in the dtype of ``params``.

    Raises
        ValueError, TypeError: as ``Port.export``.
        ModuleNotFoundError: the package onnx is not installed.
    """
    weights, _ = PORT.export(arch, params)
    try:
        from onnx import checker, helper, numpy_helper
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "onnx_model needs onnx: pip install 'msref[ports]'"
        ) from error
    dtype = next(iter(weights.values())).dtype

    def tensor(name: str, *shape: int | str) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [tensor("X", "n_time", "n_batch", arch.n_in)]
    outputs = [tensor("Y", "n_time", "n_batch", arch.n_out)]
    nodes = []
    below = "X"
    for cell in cells_of(arch, params):
        if cell.place.direction == 1:
            continue
        j, ways = cell.place.layer, cell.place.n_directions
        above = "Y" if j == cell.place.n_layers - 1 else f"y_{j}"
        states = cell.arch.initial_state(1)
        initial = [f"initial_{k}_{j}" for k in states]
        final = [f"final_{k}_{j}" for k in states]
        shape = (ways, "n_batch", cell.arch.n_hid)
        inputs += [tensor(name, *shape) for name in initial]
        outputs += [tensor(name, *shape) for name in final]
        ours = [name(cell.place, slot, "") for slot in "WRB"]
        read = [below, *ours, "", *initial]  # "": no sequence_lens
        op, attributes = _node(cell.arch, ways)
        nodes += [
            # (T, ways, B, H) -> (T, B, ways * H)
            helper.make_node(op, read, [f"ways_{j}", *final], **attributes),
            helper.make_node(
                "Transpose", [f"ways_{j}"], [f"last_{j}"], perm=[0, 2, 1, 3]
            ),
            helper.make_node("Reshape", [f"last_{j}", "flat"], [above]),
        ]
        below = above
    tensors = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([0, 0, -1]), "flat"))
    graph = helper.make_graph(nodes, "msref", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", 14)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def _node(arch: Any, ways: int) -> tuple[str, dict[str, Any]]:
    """Return operator and attributes of a cell."""
    attributes: dict[str, Any] = {
        "hidden_size": arch.n_hid,
        "direction": "forward" if ways == 1 else "bidirectional",
    }
    if isinstance(arch, GRU):
        attributes["linear_before_reset"] = int(arch.reset == "after")
    elif isinstance(arch, Elman) and arch.activation == "relu":
        attributes["activations"] = ["Relu"] * ways
    op = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}[cell_of(arch)]
    return op, attributes
