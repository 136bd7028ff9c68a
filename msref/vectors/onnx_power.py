"""ONNX's own test vectors, measured as ours are.

The package ``onnx`` ships node tests for ``RNN``, ``GRU`` and ``LSTM``: what
an implementation has to reproduce. Here every known wrong variant is run on
their inputs and held against their outputs, at their own tolerance. What
agrees with all of them is a mistake that they do not see.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.architectures import GRU, LSTM, Bidirectional, Elman, scan
from msref.arrays import Array, Arrays, prefixed
from msref.verification.variants import Variant, planted, variants
from msref.verification.variants.base import on_params

OPERATORS = ("RNN", "GRU", "LSTM")
RTOL, ATOL = 1e-3, 1e-7
"""What ONNX allows: onnx/backend/test/case/node/__init__.py."""

_ORDERS = {"RNN": "h", "GRU": "zrn", "LSTM": "iofg"}


@dataclass(frozen=True)
class OnnxPower:
    """What ONNX's node tests of one operator reveal.

    Attributes
        operator: "RNN", "GRU" or "LSTM".
        cases: names of the node tests.
        mistakes: known wrong variants that can be expressed, in words.
        survivors: those that agree with all cases.
    """

    operator: str
    cases: tuple[str, ...]
    mistakes: tuple[str, ...]
    survivors: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    """A node test, as a network of ours."""

    name: str
    arch: Any
    params: Arrays
    state: Arrays
    x: Array
    outputs: dict[str, Array]
    n_directions: int
    is_reverse: bool
    batch_first: bool


def onnx_power() -> list[OnnxPower]:
    """Measure ONNX's node tests.

    Raises
        ModuleNotFoundError: the package onnx is not installed.
        ArithmeticError: a right network does not reproduce a case.
    """
    try:
        node = importlib.import_module("onnx.backend.test.case.node")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the power of ONNX's vectors needs onnx: pip install 'msref[ports]'"
        ) from error
    for operator in OPERATORS:  # importing a module makes its cases
        importlib.import_module(
            f"onnx.backend.test.case.node.{operator.lower()}"
        )
    found = []
    for operator in OPERATORS:
        cases = {
            test.name: _case(test, operator)
            for test in node._NodeTestCases
            if test.model.graph.node[0].op_type == operator
        }
        found.append(_measured(operator, list(cases.values())))
    return found


def _measured(operator: str, cases: Sequence[_Case]) -> OnnxPower:
    killed: dict[str, bool] = {}
    for case in cases:
        if not _agrees(case, ()):
            raise ArithmeticError(
                f"{case.name}: the right network does not reproduce it"
            )
        for key, wrong in _mistakes(case):
            seen = killed.get(key, False)
            killed[key] = seen or not _agrees(case, wrong)
    return OnnxPower(
        operator,
        tuple(case.name for case in cases),
        tuple(killed),
        tuple(key for key, seen in killed.items() if not seen),
    )


def _mistakes(case: _Case) -> Iterator[tuple[str, list[Variant]]]:
    """Yield each mistake: of the cell, in both directions, or of the wiring."""
    if case.n_directions == 1:
        for variant in [*variants(case.arch), *_of_two_biases(case.arch)]:
            yield variant.key, [variant]
        return
    cell = case.arch.parts[0]
    for variant in [*variants(cell), *_of_two_biases(cell)]:
        yield variant.key, [variant.of_part(0), variant.of_part(1)]
    for variant in variants(case.arch):
        if not variant.path and variant.needs == "":
            yield variant.key, [variant]


def _of_two_biases(arch: Any) -> Iterator[Variant]:
    """Yield what ONNX's B = [Wb, Rb] adds: ours is the sum of the two."""

    def dropped(p: Arrays, xp: Any) -> Arrays:
        found = {
            k: p[k] - p[f"{k} of R"]
            for k in p
            if f"{k} of R" in p and k != "b_hn"
        }
        return found | ({"b_hn": 0.0 * p["b_hn"]} if "b_hn" in p else {})

    yield Variant(
        "recurrent bias dropped",
        "bias dropped",
        "Rb",
        "add both halves of B",
        on_params(dropped),
    )
    if isinstance(arch, LSTM):
        yield Variant(
            "peepholes in the order i f o",
            "gate order",
            "P",
            "P holds i, o, f",
            on_params(
                lambda p, xp: (
                    {"w_co": p["w_cf"], "w_cf": p["w_co"]}
                    if "w_co" in p
                    else {}
                )
            ),
        )


# --- a node test as a network of ours ---------------------------------------


def _case(test: Any, operator: str) -> _Case:
    """Translate a node test.

    Raises
        ValueError: an attribute that is not known here.
    """
    node = test.model.graph.node[0]
    options = {a.name: a.s.decode() if a.s else a.i for a in node.attribute}
    known = {"hidden_size", "direction", "layout", "linear_before_reset"}
    if set(options) - known:
        raise ValueError(
            f"{test.name} sets {sorted(set(options) - known)}, expected"
            f" {sorted(known)} alone"
        )
    ((given, expected),) = test.data_sets
    names = [name for name in node.input if name]
    inputs = dict(zip(names, given, strict=True))
    named = [name for name in node.output if name]
    batch_first = bool(options.get("layout", 0))
    x = np.asarray(inputs["X"], np.float64)
    if batch_first:
        x = x.swapaxes(0, 1)
    n_directions = len(inputs["W"])
    reset = "after" if options.get("linear_before_reset") else "before"
    cell = _cell(operator, x.shape[2], int(options["hidden_size"]), reset)
    params: Arrays = {}
    state: Arrays = {}
    for k in range(n_directions):
        p, s = _direction(operator, cell, inputs, k, x.shape[1])
        params |= prefixed(str(k), p) if n_directions == 2 else p
        state |= prefixed(str(k), s) if n_directions == 2 else s
    return _Case(
        test.name,
        Bidirectional(cell, cell) if n_directions == 2 else cell,
        params,
        state,
        x,
        dict(zip(named, expected, strict=True)),
        n_directions,
        options.get("direction") == "reverse",
        batch_first,
    )


def _cell(operator: str, n_in: int, n_hid: int, reset: str) -> Any:
    if operator == "RNN":
        return Elman(n_in, n_hid)
    if operator == "GRU":
        return GRU(n_in, n_hid, reset=reset)
    return LSTM(n_in, n_hid)


def _direction(
    operator: str, cell: Any, inputs: Arrays, k: int, n_batch: int
) -> tuple[Arrays, Arrays]:
    """Return weights and initial state of one direction, under our names."""
    order = _ORDERS[operator]
    n = len(order)
    W, R = (np.asarray(inputs[key][k], np.float64) for key in "WR")
    zeros = np.zeros(2 * n * cell.n_hid)
    B = np.asarray(inputs["B"][k] if "B" in inputs else zeros, np.float64)
    params: Arrays = {}
    rows = zip(
        order,
        np.split(W, n),
        np.split(R, n),
        np.split(B[: n * cell.n_hid], n),
        np.split(B[n * cell.n_hid :], n),
        strict=True,
    )
    for gate, W_x, W_h, b, b_h in rows:
        params |= {f"W_x{gate}": W_x.T, f"W_h{gate}": W_h.T}
        inside = gate == "n" and getattr(cell, "reset", "") == "after"
        params[f"b_{gate}"] = b if inside else b + b_h
        params[f"b_{gate} of R"] = 0.0 * b_h if inside else b_h
        if inside:
            params["b_hn"] = b_h
    if "P" in inputs:
        peepholes = np.split(np.asarray(inputs["P"][k], np.float64), 3)
        params |= dict(zip(("w_ci", "w_co", "w_cf"), peepholes, strict=True))
    state = cell.initial_state(n_batch)
    for name in state:
        if f"initial_{name}" in inputs:
            state[name] = np.asarray(inputs[f"initial_{name}"][k], np.float64)
    return params, state


# --- held against it --------------------------------------------------------


def _agrees(case: _Case, wrong: Sequence[Variant]) -> bool:
    """Tell whether a network with these mistakes reproduces a node test."""
    arch = case.arch
    if any("w_ci" in name for name in case.params):
        arch = planted(arch, [_with_peepholes()])
    x = case.x[::-1] if case.is_reverse else case.x
    with np.errstate(all="ignore"):
        y, state, _ = scan(planted(arch, wrong), case.params, x, case.state)
    if case.is_reverse:
        y = y[::-1]
    found = _as_onnx(case, y, state)
    return all(
        name in found
        and found[name].shape == expected.shape
        and np.allclose(found[name], expected, rtol=RTOL, atol=ATOL)
        for name, expected in case.outputs.items()
    )


def _with_peepholes() -> Variant:
    """Return the LSTM's step that reads peepholes; no mistake."""
    from msref.verification.variants.base import switched
    from msref.verification.variants.lstm import lstm_step

    return Variant("peepholes", "", "", "", switched(lstm_step))


def _as_onnx(case: _Case, y: Array, state: Arrays) -> dict[str, Array]:
    """Return Y (n_time, directions, n_batch, n_hid), Y_h and Y_c."""
    halves = np.split(y, case.n_directions, axis=-1)
    found = {"Y": np.stack(halves, axis=1)}
    for name in ("h", "c"):
        keys = [name] if case.n_directions == 1 else [f"0/{name}", f"1/{name}"]
        if all(key in state for key in keys):
            found[f"Y_{name}"] = np.stack([state[key] for key in keys])
    if case.batch_first:
        found["Y"] = found["Y"].transpose(2, 0, 1, 3)
        for name in found.keys() - {"Y"}:
            found[name] = found[name].transpose(1, 0, 2)
    return found
