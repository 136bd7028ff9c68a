"""The frameworks themselves, run on exported weights beside our passes.

For every layer of every framework that is installed, weights are exported
and the framework's own layer runs on random data, with random cotangents on
all outputs and final states. Its outputs, final states and gradients are
held against ours. Its weights and gradients are loaded back under the names
that it gives them itself, so names and folds are tried too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from msref.architectures import Elman, run_forward
from msref.arrays import Array, Arrays
from msref.ports import FRAMEWORKS
from msref.ports.cases import CASES, RUNNERS, Runner
from msref.ports.network import cells_of
from msref.ports.point import Outcome, Point, draw

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
"""Largest error that still agrees, relative to an array's largest entry.

An absolute one would do as well here: all numbers drawn are of order one.
"""

AGREES, DIFFERS, ABSENT = "agrees", "DIFFERS", "not installed"


@dataclass(frozen=True)
class Row:
    """What one case gave; errors are relative to an array's largest entry.

    Attributes
        runs: what ran it, with its version.
        precision: of the framework.
        forward, state, params, x, start: largest error of the outputs, the
            final states, and the gradients by parameters, input and initial
            states; ``None`` where it has no gradients.
        verdict: ``agrees``, ``DIFFERS`` or ``not installed``.
        remark: why, or what is special.
    """

    framework: str
    layer: str
    network: str
    runs: str
    precision: str = "float64"
    forward: float | None = None
    state: float | None = None
    params: float | None = None
    x: float | None = None
    start: float | None = None
    verdict: str = AGREES
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs; what is not installed does not."""
        return self.verdict != DIFFERS

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON takes it."""
        return asdict(self)


def check(
    names: Iterable[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Run the frameworks that are installed; a row per layer.

    Arguments
        names: of ``RUNNERS``; all by default.
        seed: of the random data.
        progress: called with how many cases of how many are done.

    Raises
        ValueError: a name is none of them.
    """
    chosen = list(names or RUNNERS)
    for name in chosen:
        if name not in RUNNERS:
            raise ValueError(
                f"{name!r} is not run, expected some of {', '.join(RUNNERS)}"
            )
    cases = [(name, *case) for name in chosen for case in CASES[name]]
    rows = []
    for n, (name, layer, arch) in enumerate(cases):
        rows.append(check_case(name, layer, arch, seed))
        if progress is not None:
            progress(n + 1, len(cases))
    return rows


def check_case(name: str, layer: str, arch: Any, seed: int = 0) -> Row:
    """Run one layer of one framework.

    Arguments
        name: of ``RUNNERS``.
        layer: the framework's name of the layer.
        arch: our network that it is to equal.
    """
    runner = RUNNERS[name]
    row = Row(name, layer, short(arch), "", precision=runner.precision)
    point = draw(arch, np.random.default_rng(seed), runner.lacks)
    point = point.cast(np.dtype(runner.precision))
    port = FRAMEWORKS[runner.framework]
    weights, _ = port.export(arch, point.params, layer)
    try:
        outcome = runner.run(layer, weights, point)
    except ModuleNotFoundError as error:
        why = f"{error}; pip install 'msref[ports]'"
        return replace(row, verdict=ABSENT, remark=why)
    except Exception as error:  # of the framework: one row of many
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return replace(row, verdict=DIFFERS, remark=why)
    errors: dict[str, Any] = _errors(
        runner, point.cast(np.dtype("float64")), outcome
    )
    wrong = _loaded_back(runner, point, outcome.own)
    tolerance = TOLERANCE[runner.precision]
    if not all(error <= tolerance for error in errors.values()):  # or NaN
        wrong = "; ".join(filter(None, [wrong, "numbers differ"]))
    lacks = [k for k in runner.lacks if _ends_in(point.params, k)]
    said = [
        wrong,
        runner.remark,
        "" if outcome.grads is not None else "no gradients",
        f"has no {' '.join(lacks)}: it is zero" if lacks else "",
    ]
    return replace(
        row,
        runs=", ".join(f"{need} {version(need)}" for need in runner.needs),
        verdict=DIFFERS if wrong else AGREES,
        remark="; ".join(filter(None, said)),
        **errors,
    )


def _errors(runner: Runner, point: Point, outcome: Outcome) -> dict[str, float]:
    """Hold what a framework computed against our own passes."""
    arch, params = point.arch, point.params
    y, state, tape = run_forward(arch, params, point.x, point.state)
    errors = {
        "forward": relative(outcome.y, y),
        "state": _largest(outcome.state, state),
    }
    if outcome.grads is None or outcome.dx is None or outcome.dstate is None:
        return errors
    ours = arch.backward(params, tape, point.dy, point.dstate)
    _, theirs, _ = FRAMEWORKS[runner.framework].load(
        outcome.grads, gradients=True, **_hints(runner, arch)
    )
    known = {k: g for k, g in ours.params.items() if k in theirs}
    lost = set(ours.params) - set(theirs)
    if lost - {k for name in runner.lacks for k in _ends_in(params, name)}:
        raise ValueError(f"the gradients of {sorted(lost)} were not loaded")
    return errors | {
        "params": _largest(theirs, known),
        "x": relative(outcome.dx, ours.x),
        "start": _largest(outcome.dstate, ours.state),
    }


def _loaded_back(runner: Runner, point: Point, own: Arrays) -> str:
    """Load a framework's weights by its own names; say what is wrong."""
    port = FRAMEWORKS[runner.framework]
    arch, params, _ = port.load(own, **_hints(runner, point.arch))
    if arch != point.arch:
        return f"its weights load as {arch!r}"
    # A constant that was taken off and added again leaves a rounding.
    eps = float(np.finfo(point.x.dtype).eps)
    if _largest(params, point.params) > 4 * eps:
        return "its weights load as other numbers"
    return ""


def _hints(runner: Runner, arch: Any) -> dict[str, Any]:
    """Return what the weights of a network do not say."""
    hints = {}
    zeros = {k: np.zeros(s) for k, s in arch.shapes().items()}
    for cell in cells_of(arch, zeros):
        if isinstance(cell.arch, Elman):
            hints["activation"] = cell.arch.activation
        elif hasattr(cell.arch, "reset") and runner.framework == "onnx":
            hints["reset"] = cell.arch.reset
    return hints


def relative(got: Array, expected: Array) -> float:
    """Return max |got - expected| / max |expected|; of zeros, max |got|."""
    if got.shape != expected.shape:
        return float("inf")
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(got - expected).max()) / scale


def _largest(got: Arrays, expected: Arrays) -> float:
    if set(got) != set(expected):
        return float("inf")
    return max(relative(got[k], expected[k]) for k in expected)


def short(arch: Any) -> str:
    """Name a network without its sizes: ``Stack(LSTM, GRU before)``."""
    if hasattr(arch, "parts"):
        inner = ", ".join(map(short, arch.parts))
        return f"{type(arch).__name__}({inner})"
    options = [getattr(arch, k, "") for k in ("activation", "reset")]
    told = [option for option in options if option in ("relu", "before")]
    return " ".join([type(arch).__name__, *told])


def _ends_in(tree: Arrays, name: str) -> list[str]:
    return [k for k in tree if k.rpartition("/")[2] == name]
