"""Runs complete ONNX models: the reference evaluator, and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.ports.onnx import onnx_model
from msref.ports.point import Outcome, Point, rejoined

Evaluate = Callable[[Any, Arrays], list[Array]]


def reference(model: Any, inputs: Arrays) -> list[Array]:
    """Evaluate with the reference evaluator of onnx, in float64."""
    from onnx.reference import ReferenceEvaluator

    results: list[Array] = ReferenceEvaluator(model).run(None, inputs)
    return results


def runtime(model: Any, inputs: Arrays) -> list[Array]:
    """Evaluate with onnxruntime, in float32: it refuses float64."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[Array] = session.run(None, inputs)
    return results


def run(
    evaluate: Evaluate, layer: str, weights: Arrays, point: Point
) -> Outcome:
    """Run the model forwards at a point; ONNX has no gradients.

    Raises
        ModuleNotFoundError: onnx or onnxruntime is not installed.
    """
    from onnx import numpy_helper

    model = onnx_model(point.arch, point.params)
    rows = point.rows(point.state)
    inputs = {"X": point.x}
    for j, row in enumerate(rows):
        for k in row[0].params:
            every = [cell.params[k] for cell in row]
            inputs[f"initial_{k}_{j}"] = np.stack(every)
    y, *finals = evaluate(model, inputs)
    ends = [
        [{k: np.zeros(0) for k in cell.params} for cell in row] for row in rows
    ]
    for row, trees in zip(rows, ends, strict=True):
        for k in row[0].params:
            final = finals.pop(0)
            for tree, each in zip(trees, final, strict=True):
                tree[k] = each
    own = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    own.pop("flat")
    return Outcome(own=own, y=y, state=rejoined(ends))
