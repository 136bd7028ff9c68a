"""The witnesses: three ways to a derivative that share no code with backward.

All of them differentiate the scan of ``step``:

- **reverse mode** by autograd gives every entry of every gradient;
- **complex step**, L(v + i h d) = L(v) + i h <dL/dv, d> + O(h^2) with
  h = 1e-30, gives the derivative along a direction d, exact to rounding:
  nothing is subtracted, so nothing cancels;
- **differences** of real evaluations, extrapolated, with an estimate of
  their own error: imprecise, but they need no analytic function and know
  nothing of derivatives.

The adjoint of a pre-activation is the derivative with respect to something
added to it. A bias is added to it: so each adjoint is probed by a bias that
varies over time and batch rows, ``b + probe[t]``, at probe zero.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import numpy.typing as npt
from numpy.exceptions import ComplexWarning

from msref.architectures import scan
from msref.arrays import Array, Arrays
from msref.verification.cases import Case
from msref.verification.tolerance import SAFETY

STEP = 1e-30


class Loss:
    """The loss of a case, as a function of a flat dict of variables.

    Variables are ``params/…``, ``x``, ``state/…``, ``dy``, ``dstate/…``, and
    the probes ``adjoints/…`` and ``outgoing/…`` (n_time, n_batch, ·), zero
    where absent. ``outgoing`` probes are added to what a step hands on: its
    output and its state; their gradients are the numbers that a backward
    pass works with at that step.
    """

    def __init__(self, arch: Any, case: Case) -> None:
        self.case = case
        self.probed = _probed(arch, case.t0)
        self.names = {
            kind: list(getattr(case, kind))
            for kind in ("params", "state", "dstate")
        }
        self.bias_of: dict[str, str] = {}
        self.outgoing: dict[str, tuple[int, ...]] = {}
        _, _, trace = self.run(case.variables(), np)
        self.shapes = {name: value.shape for name, value in trace.items()}
        self.bias_of = _bias_of(case.params, trace)
        for name in trace:
            path, _, last = name.rpartition("/")
            if last == "y" and any(
                k.rpartition("/")[0] == path
                for k in (*case.params, *case.state)
            ):
                self.outgoing[name] = trace[name].shape
        for name, value in case.state.items():
            self.outgoing[name] = (case.n_time, *value.shape)
        for name in list(self.bias_of):
            if not self._moves_one_to_one(name):
                del self.bias_of[name]

    def run(
        self, variables: Arrays, xp: ModuleType
    ) -> tuple[Array, Arrays, Arrays]:
        """Return output, final state and trace at ``variables``."""
        params = {k: variables[f"params/{k}"] for k in self.names["params"]}
        for name, bias in self.bias_of.items():
            if f"adjoints/{name}" in variables:
                params[f"{bias}@"] = variables[f"adjoints/{name}"]
        for name in self.outgoing:
            if f"outgoing/{name}" in variables:
                params[f"{name}@@"] = variables[f"outgoing/{name}"]
        state = {k: variables[f"state/{k}"] for k in self.names["state"]}
        return scan(
            self.probed,
            params,
            variables["x"],
            state,
            self.case.t0,
            xp,
            self.case.lengths,
        )

    def __call__(self, variables: Arrays, xp: ModuleType = np) -> Any:
        """Return the loss; a complex number at complex variables."""
        y, state, _ = self.run(variables, xp)
        value = xp.sum(variables["dy"] * y)
        for name in self.names["dstate"]:
            value = value + xp.sum(variables[f"dstate/{name}"] * state[name])
        return value

    def variables(self) -> Arrays:
        """Return the case's variables with a zero probe for each adjoint."""
        return self.case.variables() | {
            f"adjoints/{name}": np.zeros(self.shapes[name])
            for name in self.bias_of
        }

    def outgoing_probes(self) -> Arrays:
        """Return a zero probe for each output and state of every step."""
        return {f"outgoing/{k}": np.zeros(s) for k, s in self.outgoing.items()}

    def _moves_one_to_one(self, name: str) -> bool:
        """Tell whether the probe of a pre-activation moves just that."""
        rng = np.random.default_rng(0)
        d = rng.standard_normal(self.shapes[name])
        probe = {f"adjoints/{name}": 1j * STEP * d}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ComplexWarning)
                trace = self.run(self.case.variables() | probe, np)[2]
        except (TypeError, ValueError):
            return False
        first = np.imag(trace[name][0]) / STEP
        return first.shape == d[0].shape and np.allclose(first, d[0], 1e-12, 0)


def _bias_of(params: Arrays, trace: Arrays) -> dict[str, str]:
    """Pair traced pre-activations with biases: a_k with b_k, by name."""
    pairs = {}
    for bias in params:
        path, _, last = bias.rpartition("/")
        kind, _, k = last.partition("_")
        if kind != "b":
            continue
        start = f"{path}/" if path else ""
        candidates = [f"a_{k}", "a" if k == "h" else k, k]
        for candidate in candidates:
            if start + candidate in trace:
                pairs[start + candidate] = bias
                break
    return pairs


def _probed(arch: Any, t0: int) -> Any:
    if hasattr(arch, "with_parts"):
        return arch.with_parts(*[_probed(part, t0) for part in arch.parts])
    return _Probed(arch, t0)


@dataclass(frozen=True)
class _Probed:
    """A network whose biases may vary over time: ``b + b@[t - t0]``."""

    arch: Any
    t0: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        plain = {k: v for k, v in params.items() if not k.endswith("@")}
        outgoing = {
            k[:-2]: v[t - self.t0]
            for k, v in params.items()
            if k.endswith("@@")
        }
        for name in plain:
            if f"{name}@" in params:
                probe = params[f"{name}@"][t - self.t0]
                plain[name] = plain[name] + probe
        state, trace = self.arch.step(plain, state, x, t, xp)
        if outgoing:
            state = {k: v + outgoing[k] for k, v in state.items()}
            trace = trace | {"y": trace["y"] + outgoing["y"]}
        return state, trace

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run all steps at once, where the network looks ahead."""
        plain = {k: v for k, v in params.items() if not k.endswith("@")}
        y, state, trace = self.arch.scan(plain, x, state, t0, xp, lengths)
        if "y@@" in params:
            y = y + params["y@@"]
        return y, state, trace | {"y": y}


def checked(name: str) -> bool:
    """Tell whether a gradient with respect to variable ``name`` is asked."""
    return not name.startswith(("dy", "dstate", "outgoing"))


# --- the three witnesses ----------------------------------------------------


def reverse_mode(
    loss: Loss, variables: Arrays, traced: Arrays | None = None
) -> Arrays:
    """Return the gradient with respect to every variable, by autograd.

    Arguments
        traced: differentiate, instead of the loss, the sum of these times
            the quantities of the trace that they are named after.
    """
    cotangents = ("dy", "dstate/")
    fixed = {k: v for k, v in variables.items() if k.startswith(cotangents)}
    free = {k: v for k, v in variables.items() if k not in fixed}

    def of_free(tree: Arrays) -> Any:
        point = {**{k: tree[k] for k in free}, **fixed}
        if traced is None:
            return loss(point, anp)
        trace = loss.run(point, anp)[2]
        return sum(anp.sum(v * trace[k]) for k, v in traced.items())

    with np.errstate(over="ignore"):  # its tanh' at 400 is 1 / inf, rightly 0
        gradient: Arrays = autograd.grad(of_free)(free)
    return {k: np.asarray(v) for k, v in gradient.items()}


def complex_step(
    loss: Loss, variables: Arrays, name: str, direction: Array
) -> float:
    """Return the derivative along ``direction`` in variable ``name``.

    It is wrong where ``step`` is not analytic (abs, conj, a cast to real);
    ``gather`` finds that out.
    """
    moved = variables[name] + 1j * STEP * direction
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ComplexWarning)
        return float(np.imag(loss({**variables, name: moved})) / STEP)


@dataclass(frozen=True)
class Difference:
    """A derivative by differences of real evaluations.

    Attributes
        value: the extrapolated central difference.
        error: its own estimate of its error.
        left, right: the one-sided slopes at the smallest step.
        flips: traced quantity -> entries that changed sign between the two
            ends of the first step tried.
    """

    value: float
    error: float
    left: float
    right: float
    flips: dict[str, int]


def difference(
    loss: Loss,
    variables: Arrays,
    name: str,
    direction: Array,
    kinks: tuple[str, ...] | None = None,
    step: float = 2e-3,
) -> Difference:
    """Differentiate by Ridders' extrapolation, away from kinks.

    The step is shrunk tenfold until no entry of the traced quantities
    ``kinks`` changes sign between the two ends: then no kink lies between
    them, exactly, and the extrapolation is of a smooth function.

    Arguments
        kinks: names in the trace; ``None`` watches all of them.
    """

    size = 0.0

    def at(s: float) -> tuple[float, Arrays]:
        nonlocal size
        moved = {**variables, name: variables[name] + s * direction}
        y, state, trace = loss.run(moved, np)
        terms = [variables["dy"] * y]
        terms += [variables[f"dstate/{k}"] * v for k, v in state.items()]
        size = max(size, float(sum(np.abs(term).sum() for term in terms)))
        return float(sum(term.sum() for term in terms)), trace

    here, trace = at(0.0)
    watched = list(trace) if kinks is None else list(kinks)
    first: dict[str, int] | None = None
    while True:
        (_, up), (_, down) = at(step), at(-step)
        flips = {
            k: n
            for k in watched
            if (n := int(np.sum(np.sign(up[k]) * np.sign(down[k]) < 0)))
        }
        first = flips if first is None else first
        if not flips or step < 1e-9:
            break
        step *= 0.1

    table: list[list[float]] = []
    best, error = np.nan, np.inf
    s = step
    for row in range(6):
        ends = at(s)[0], at(-s)[0]
        table.append([(ends[0] - ends[1]) / (2.0 * s)])
        for k in range(1, row + 1):
            factor = 4.0**k
            table[row].append(
                (factor * table[row][k - 1] - table[row - 1][k - 1])
                / (factor - 1.0)
            )
            guess = max(
                abs(table[row][k] - table[row][k - 1]),
                abs(table[row][k] - table[row - 1][k - 1]),
            )
            if guess < error:
                best, error = table[row][k], guess
        s *= 0.5
    error += 16.0 * float(np.finfo(np.float64).eps) * size / s  # of the loss
    s = step
    right, left = (at(s)[0] - here) / s, (here - at(-s)[0]) / s
    return Difference(best, error, left, right, first)


# --- what the witnesses say about a case ------------------------------------


@dataclass(frozen=True)
class Probe:
    """A derivative along one direction, by complex step.

    Attributes
        name: the variable.
        what: the direction in words.
        direction: the direction, shaped like the variable.
        value: the derivative.
        floor: the witness's own error.
    """

    name: str
    what: str
    direction: Array
    value: float
    floor: float


@dataclass(frozen=True)
class Evidence:
    """All that the witnesses say about a case; independent of backward.

    Attributes
        case, loss: what was differentiated.
        dtype: the precision under test.
        outputs, outputs_floor: ``y``, ``state/…``, ``trace/…`` of the scan.
        gradient, gradient_floor: by reverse mode; empty where autograd could
            not follow ``step``.
        probes: by complex step.
        differences: variable -> (direction, difference) for networks with
            kinks.
        notes: what could not be done, in words.
    """

    case: Case
    loss: Loss
    dtype: npt.DTypeLike
    outputs: Arrays
    outputs_floor: Arrays
    gradient: Arrays
    gradient_floor: Arrays
    probes: list[Probe]
    differences: dict[str, tuple[Array, Difference]] = field(
        default_factory=dict
    )
    notes: list[str] = field(default_factory=list)


def gather(
    arch: Any,
    case: Case,
    dtype: npt.DTypeLike = np.float64,
    n_directions: int = 2,
    n_repeats: int = 2,
) -> Evidence:
    """Ask all witnesses about a case.

    Arguments
        n_directions: random directions per variable by complex step, and as
            many more along a single unit or time step.
        n_repeats: runs at inputs moved by one unit of rounding, for the
            floors.
    """
    rng = np.random.default_rng((case.seed, 1))
    loss = Loss(arch, case)
    here = loss.variables()
    eps = float(np.finfo(dtype).eps)
    notes: list[str] = []
    outputs = _outputs(loss, here)
    kinks = getattr(arch, "kinks", ())
    notes += _step_off_kinks(loss, here, outputs, kinks)
    moved = [
        {
            k: v * (1.0 + eps * rng.choice([-1.0, 1.0], v.shape))
            for k, v in here.items()
        }
        for _ in range(n_repeats)
    ]

    around = [_outputs(loss, m) for m in moved]
    outputs_floor = _floor(_outputs(loss, here), around)

    gradient: Arrays = {}
    gradient_floor: Arrays = {}
    try:
        everything = reverse_mode(loss, here | loss.outgoing_probes())
        gradient = {k: v for k, v in everything.items() if checked(k)}
        gradient_floor = gradient_floors(
            loss, here, moved, outputs, everything, eps, rng
        )
    except Exception as error:  # autograd fails in many ways
        notes.append(
            f"autograd cannot follow step: {type(error).__name__}: {error}"
        )
        gradient = {}

    probes: list[Probe] = []
    try:
        for name in filter(checked, here):
            for what, d in _directions(name, here[name], rng, n_directions):
                value = complex_step(loss, here, name, d)
                if gradient:
                    floor = float(np.sum(np.abs(d) * gradient_floor[name]))
                else:
                    again = [complex_step(loss, m, name, d) for m in moved]
                    floor = SAFETY * max(abs(a - value) for a in again)
                probes.append(Probe(name, what, d, value, floor))
    except (TypeError, ValueError) as error:
        notes.append(f"complex step fails: {type(error).__name__}: {error}")
        probes = []

    if probes and n_directions:
        told = _not_analytic(loss, here, probes, gradient, kinks or None)
        if told:
            notes.append(told)
            probes = []

    differences: dict[str, tuple[Array, Difference]] = {}
    if n_directions and (kinks or not gradient or not probes):
        for name in filter(checked, here):
            d = rng.standard_normal(here[name].shape)
            found = difference(loss, here, name, d, kinks or None)
            differences[name] = d, found
    return Evidence(
        case,
        loss,
        dtype,
        outputs,
        outputs_floor,
        gradient,
        gradient_floor,
        probes,
        differences,
        notes,
    )


def gradient_floors(
    loss: Loss,
    here: Arrays,
    moved: list[Arrays],
    outputs: Arrays,
    everything: Arrays,
    eps: float,
    rng: np.random.Generator,
) -> Arrays:
    """Measure how far off each gradient can be in a given precision.

    Arguments
        here: the variables; arithmetic is in their precision.
        moved: the variables, several times, each moved by one ``eps``.
        outputs: ``trace/…`` and the rest of what the scan gives here.
        everything: the gradients here, ``outgoing/…`` included.
        eps: the unit of rounding of the precision in question.
    """
    gradient = {k: v for k, v in everything.items() if checked(k)}
    floors = _floor(gradient, [reverse_mode(loss, m) for m in moved])
    sizes, weights = _sizes(loss, everything)
    rounding = _rounding(loss, everything, outputs, sizes, weights, eps)
    for name, bound in rounding.items():
        floors[name] = floors[name] + bound
    for _ in moved:
        errors = _handed_on(loss, sizes, weights, eps, rng)
        for name, carried in reverse_mode(loss, here, errors).items():
            floors[name] += SAFETY * np.abs(carried)
    return floors


def _step_off_kinks(
    loss: Loss, here: Arrays, outputs: Arrays, kinks: tuple[str, ...]
) -> list[str]:
    """Move what rests exactly at a kink to the side where the slope is 0.

    There a ReLU puts out 0 as well, so outputs and gradients are those of
    the case, by the convention that the derivative at the kink is 0; but a
    step to either side no longer decides what is measured.
    """
    notes = []
    for name in kinks:
        at_kink = outputs[f"trace/{name}"] == 0.0
        if at_kink.any() and f"adjoints/{name}" in here:
            probe = {f"adjoints/{name}": np.where(at_kink, -1.0, 0.0)}
            if np.array_equal(loss.run(here | probe, np)[0], outputs["y"]):
                here |= probe
                notes.append(
                    f"{at_kink.sum()} entries of {name} rest exactly at a"
                    " kink; their slope counts as 0"
                )
    return notes


def _not_analytic(
    loss: Loss,
    here: Arrays,
    probes: list[Probe],
    gradient: Arrays,
    kinks: tuple[str, ...] | None,
) -> str:
    """Tell whether complex step follows ``step``; in words where not.

    Where autograd contradicts it, or was not to be had, differences decide.
    """
    first = {probe.name: probe for probe in reversed(probes)}
    for name, probe in first.items():
        if name in gradient:
            terms = gradient[name] * probe.direction
            gap = abs(terms.sum() - probe.value)
            if gap <= probe.floor + 1e-6 * np.abs(terms).sum():
                continue
        d = difference(loss, here, name, probe.direction, kinks)
        if abs(d.left - d.right) > 1e-2 * (abs(d.left) + abs(d.right)):
            continue  # a kink, or too rough to tell
        gap = abs(d.value - probe.value)
        if gap > SAFETY * d.error + 1e-4 * abs(d.value):
            return (
                f"complex step is contradicted by differences (along {name}:"
                f" {probe.value:.6g}, {d.value:.6g}): step is not analytic;"
                " look for abs, conj, sign, or a cast to real"
            )
    return ""


def _sizes(
    loss: Loss, everything: Arrays
) -> tuple[dict[str, Array], dict[str, float]]:
    """Measure each part of the network.

    Returns
        part -> largest gradient of what it hands on, (n_time, n_batch), and
        part -> largest sum of weights.
    """
    size: dict[str, Array] = {}
    for name in loss.outgoing:
        part = name.rpartition("/")[0]
        largest = np.abs(everything[f"outgoing/{name}"]).max(axis=-1)
        size[part] = np.maximum(size.get(part, 0.0), largest)
    weights = dict.fromkeys(size, 1.0)
    for name, value in loss.case.params.items():
        part = name.rpartition("/")[0]
        if value.ndim == 2 and part in size:
            sums = [float(np.abs(value).sum(axis).max()) for axis in (0, 1)]
            weights[part] = max(weights[part], *sums)
    return size, weights


def _handed_on(
    loss: Loss,
    size: dict[str, Array],
    weights: dict[str, float],
    eps: float,
    rng: np.random.Generator,
) -> Arrays:
    """Draw the rounding errors that a backward pass hands on.

    The gradients of a step's pre-activations and states are known to ``eps
    size`` times the weights, and what is wrong with them travels on, back in
    time; where units are saturated it is larger than what travels by right.
    And what a part reads was put out by another, so that the one's ``dx`` is
    the other one's ``dy``.

    Returns
        quantity of the trace -> an error of its gradient.
    """

    def error(bound: Array, shape: tuple[int, ...]) -> Array:
        if loss.case.lengths is not None:  # parts run in their own time
            bound = np.broadcast_to(bound.max(0), bound.shape)
        drawn: Array = eps * bound[..., None] * rng.choice([-1.0, 1.0], shape)
        return drawn

    own = dict.fromkeys(loss.bias_of)
    # Pre-activations without a bias of their own: a_l of a dual module.
    own |= {k: None for k in loss.shapes if k.rpartition("/")[2][:2] == "a_"}
    own |= {k: None for k in loss.outgoing if k in loss.shapes}
    errors = {
        name: error(weights[part] * size[part], loss.shapes[name])
        for name in own
        if (part := name.rpartition("/")[0]) in size
    }
    for name, shape in loss.outgoing.items():
        part, _, last = name.rpartition("/")
        others = [weights[k] * size[k] for k in size if k != part]
        if last == "y" and others:
            errors[name] += error(np.max(others, axis=0), shape)
    return errors


def _rounding(
    loss: Loss,
    everything: Arrays,
    outputs: Arrays,
    size: dict[str, Array],
    weights: dict[str, float],
    eps: float,
) -> dict[str, Array]:
    """Bound what rounding inside a backward step can do to each gradient.

    At step t a backward pass works on the gradients of what the step hands
    on, its output and its state; ``size[t, b]`` is the largest of them in a
    batch row. It multiplies them by derivatives such as 1 - h^2, known to
    ``eps`` and not better where the unit is saturated, and by weights. So no
    gradient formed at that step is known better than ``eps size[t, b]``
    times the weights' sums; other steps do not come into it, and a gradient
    that has vanished on its way back is still checked at its own size.
    """
    case = loss.case
    inputs = dict.fromkeys(size, max(1.0, float(np.abs(case.x).max())))
    read = 0.0
    for part in sorted(size):  # a part reads x, or an earlier part's output
        inputs[part] = max(inputs[part], read)
        for name, value in outputs.items():
            if name.rpartition("/")[0] == f"trace/{part}".rstrip("/"):
                inputs[part] = max(inputs[part], float(np.abs(value).max()))
        read = max(read, inputs[part])

    floors: dict[str, Array] = {}
    at_x = np.max([weights[k] * size[k] for k in size], axis=0)
    if case.lengths is not None:  # parts run in their own time
        at_x = np.broadcast_to(at_x.max(0), at_x.shape)
    floors["x"] = SAFETY * eps * at_x[..., None]
    for name in everything:
        kind, _, rest = name.partition("/")
        part = rest.rpartition("/")[0]
        if part not in size or kind not in ("params", "state", "adjoints"):
            continue
        bound = SAFETY * eps * weights[part]
        if kind == "params":
            total = float(np.linalg.norm(size[part]))
            floors[name] = np.asarray(bound * inputs[part] * total)
        elif kind == "state":
            floors[name] = bound * size[part][0][:, None]
        else:
            floors[name] = bound * size[part][..., None]
    return floors


def _outputs(loss: Loss, variables: Arrays) -> Arrays:
    y, state, trace = loss.run(variables, np)
    return (
        {"y": y}
        | {f"state/{k}": v for k, v in state.items()}
        | {f"trace/{k}": v for k, v in trace.items()}
    )


def _floor(here: Arrays, moved: list[Arrays]) -> Arrays:
    return {
        name: SAFETY * np.max([np.abs(m[name] - value) for m in moved], axis=0)
        for name, value in here.items()
    }


def _directions(
    name: str, variable: Array, rng: np.random.Generator, n: int
) -> list[tuple[str, Array]]:
    """Draw ``n`` random directions, and ``n`` along one unit or step each."""
    shape = variable.shape
    found = [
        (f"random direction {k}", rng.standard_normal(shape)) for k in range(n)
    ]
    along_time = name == "x" or name.startswith("adjoints/")
    axis = 0 if along_time else len(shape) - 1
    for k in rng.permutation(shape[axis])[:n]:
        d = np.zeros(shape)
        where = (k, ...) if along_time else (..., k)
        d[where] = rng.standard_normal(d[where].shape)
        found.append((f"{'t' if along_time else 'unit'}={k}", d))
    return found
