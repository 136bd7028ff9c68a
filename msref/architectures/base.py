"""The one protocol that every architecture follows.

``step`` is the specification, ``scan`` runs it over a sequence, ``forward``
and ``backward`` are the fast implementation. All arrays are time-major,
``x (n_time, n_batch, n_in)``, and travel in dicts under the names of the
equations.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from msref.arrays import Array, Arrays, namespace, on_host

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Gradients:
    """What a backward pass returns: the adjoint of everything it touched.

    Attributes
        params: name -> gradient, shaped like the parameter.
        x: gradient of the input, (n_time, n_batch, n_in).
        state: name -> gradient of the *initial* state.
        adjoints: name -> gradient of each pre-activation at every time
            step, (n_time, n_batch, ·), under its name in the trace.
    """

    params: Arrays
    x: Array
    state: Arrays
    adjoints: Arrays = field(default_factory=dict)


@runtime_checkable
class Architecture(Protocol):
    """Sizes and options of a recurrent network; it never holds arrays."""

    @property
    def n_in(self) -> int:
        """Units of the input."""

    @property
    def n_out(self) -> int:
        """Units of the output."""

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from."""

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame."""

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step: next state, and a trace of every quantity.

        ``x (n_batch, n_in)``; the output is ``trace["y"]``.
        """

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run over a sequence: ``y``, final state, tape for ``backward``."""

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Return all gradients, given those of outputs and final state."""


def is_causal(arch: Any) -> bool:
    """Tell whether an output depends on the past alone.

    Only networks that are not (bidirectional ones) take ``lengths``: right
    padding comes after the frames that count, so a causal network never
    sees it in time.
    """
    return bool(getattr(arch, "causal", True))


def scan(
    arch: Any,
    params: Arrays,
    x: Array,
    state: Arrays | None = None,
    t0: int = 0,
    xp: ModuleType = np,
    lengths: Array | None = None,
) -> tuple[Array, Arrays, Arrays]:
    """Run ``step`` over a sequence: the specification, slow and literal.

    Arguments
        x: (n_time, n_batch, n_in), real or complex, or an autograd box.
        state: initial state; ``None`` for ``arch.initial_state``.
        t0: absolute time of the first frame.
        xp: namespace to compute in.
        lengths: (n_batch,) frames that count, for networks that look ahead.

    Returns
        ``y`` (n_time, n_batch, n_out), the final state, and the trace with
        a leading time axis on every entry.
    """
    if state is None:
        state = arch.initial_state(x.shape[1], np.float64, xp)
    if not is_causal(arch):
        result: tuple[Array, Arrays, Arrays] = arch.scan(
            params, x, state, t0, xp, lengths
        )
        return result
    traces: list[Arrays] = []
    for t in range(x.shape[0]):
        state, trace = arch.step(params, state, x[t], t0 + t, xp)
        traces.append(trace)
    assert state is not None
    stacked = {
        name: xp.stack([trace[name] for trace in traces]) for name in traces[0]
    }
    return stacked["y"], state, stacked


def run_forward(
    arch: Any,
    params: Arrays,
    x: Array,
    state: Arrays | None = None,
    t0: int = 0,
    lengths: Array | None = None,
) -> tuple[Array, Arrays, Arrays]:
    """Call ``arch.forward``, with ``lengths`` where it looks ahead."""
    result: tuple[Array, Arrays, Arrays]
    if is_causal(arch):
        result = arch.forward(params, x, state, t0)
    else:
        result = arch.forward(params, x, state, t0, lengths=lengths)
    return result


# --- what a training draws, or only observes --------------------------------
# Attributes that few architectures have; these functions know what holds for
# the others, so that nobody else asks whether an attribute is there.


def evaluating(arch: Any) -> Any:
    """Return the network as it runs once it is trained; mostly itself."""
    return arch.evaluating() if hasattr(arch, "evaluating") else arch


def buffers(arch: Any) -> tuple[str, ...]:
    """Name the parameters that are observed, never learned by gradient."""
    return tuple(getattr(arch, "buffers", ()))


def observe(arch: Any, params: Arrays, tape: Arrays) -> Arrays:
    """Return the new values of buffers after a training pass.

    Arguments
        tape: of the forward pass that trained.
    """
    observed: Arrays = {}
    if hasattr(arch, "observe"):
        observed = arch.observe(params, tape)
    return observed


def draws(arch: Any) -> bool:
    """Tell whether a training draws the state that a pass starts from."""
    return bool(getattr(arch, "draws", hasattr(arch, "draw_state")))


def draw_state(
    arch: Any,
    rng: np.random.Generator,
    n_batch: int,
    dtype: npt.DTypeLike = np.float64,
) -> Arrays:
    """Draw the state a training pass starts from.

    It is the initial state where the network draws none.
    """
    state: Arrays
    if draws(arch):
        state = arch.draw_state(rng, n_batch, dtype)
    else:
        state = arch.initial_state(n_batch, dtype)
    return state


# --- the border: every check once, before any arithmetic --------------------


def check_forward(
    arch: Architecture, params: Arrays, x: Array, state: Arrays | None
) -> tuple[ModuleType, Arrays]:
    """Check the inputs of a forward pass.

    Returns
        The namespace of ``x``, and the initial state (zeros for ``None``).

    Raises
        TypeError: no array, or not float32 or float64 throughout.
        ValueError: a name, a shape or a value that cannot be; the message
            names the argument, what came and what was expected.
    """
    xp = _namespace_of("x", x)
    n_in = f"n_in={arch.n_in}"
    check_shape("x", x, ("n_time", "n_batch", n_in), (None, None, arch.n_in))
    check_float("x", x)
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(
            f"x has shape {x.shape}, expected at least one time step and one"
            " sequence"
        )
    check_finite("x", x, ("t", "batch", "unit"))
    check_tree("params", params, arch.shapes(), x)
    if state is None:
        return xp, arch.initial_state(x.shape[1], x.dtype, xp)
    check_tree("state", state, _state_shapes(arch, x.shape[1]), x)
    return xp, state


def check_backward(
    arch: Architecture, tape: Arrays, dy: Array, dstate: Arrays | None
) -> tuple[ModuleType, Arrays]:
    """Check the cotangents of a backward pass.

    Returns
        The namespace of ``dy``, and fresh arrays with the gradient of the
        final state (zeros for ``None``), which the pass may overwrite.

    Raises
        TypeError, ValueError: as ``check_forward``.
    """
    xp = _namespace_of("dy", dy)
    x = tape["x"]
    names = ("n_time", "n_batch", f"n_out={arch.n_out}")
    check_shape("dy", dy, names, (*x.shape[:2], arch.n_out))
    check_float("dy", dy, x)
    check_finite("dy", dy, ("t", "batch", "unit"))
    shapes = _state_shapes(arch, x.shape[1])
    if dstate is None:
        return xp, {k: xp.zeros(s, dy.dtype) for k, s in shapes.items()}
    check_tree("dstate", dstate, shapes, x)
    return xp, {name: dstate[name].copy() for name in shapes}


def check_detached(detached: Array | None, n_time: int) -> Array | None:
    """Check which steps of a backward pass are detached; see ``LMN``.

    Returns
        the same on the host, since the loop over time asks at every step.

    Raises
        TypeError, ValueError: not (n_time,) of bool.
    """
    if detached is None:
        return None
    _namespace_of("detached", detached)
    if detached.dtype != bool:
        raise TypeError(f"detached has dtype {detached.dtype}, expected bool")
    check_shape("detached", detached, (f"n_time={n_time}",), (n_time,))
    return on_host(detached)


def check_lengths(
    lengths: Array | None, n_time: int, n_batch: int
) -> Array | None:
    """Check how many frames of each sequence count; ``None`` for all.

    Raises
        ValueError: lengths of a wrong shape, kind or range.
    """
    if lengths is None:
        return None
    lengths = on_host(lengths)
    if lengths.shape != (n_batch,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"lengths has shape {lengths.shape} and dtype {lengths.dtype},"
            f" expected (n_batch={n_batch},) integers"
        )
    if lengths.min() < 1 or lengths.max() > n_time:
        raise ValueError(
            f"lengths lie in {lengths.min()}..{lengths.max()}, expected"
            f" 1..{n_time}"
        )
    return lengths


def _namespace_of(name: str, *arrays: Array) -> ModuleType:
    """Return the arrays' library; an error names the argument."""
    try:
        return namespace(*arrays)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _state_shapes(arch: Architecture, n_batch: int) -> Shapes:
    return {k: v.shape for k, v in arch.initial_state(n_batch).items()}


def check_sizes(**sizes: int) -> None:
    """Require whole numbers of at least one unit.

    Raises
        TypeError, ValueError: naming the size and what came.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"{name} is {size!r}, expected a whole number")
        if size < 1:
            raise ValueError(f"{name} is {size}, expected at least 1")


def check_shape(
    name: str,
    array: Array,
    names: tuple[str, ...],
    expected: tuple[int | None, ...],
) -> None:
    """Compare a shape with the expected one; ``None`` fits any size."""
    shape = array.shape
    fits = len(shape) == len(expected) and all(
        want in (None, got) for got, want in zip(shape, expected, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} has shape {shape}, expected ({', '.join(names)})"
            + (
                f" = {expected}"
                if all(size is not None for size in expected)
                else ""
            )
        )


def check_float(name: str, array: Array, like: Array | None = None) -> None:
    """Require float32 or float64, and the precision of ``like``."""
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name} has dtype {array.dtype}, expected float32 or float64"
        )
    if like is not None and array.dtype != like.dtype:
        raise TypeError(
            f"{name} has dtype {array.dtype}, expected {like.dtype} like x"
        )


class NotFiniteError(ValueError):
    """NaN or infinity, where only finite numbers can be computed with."""


LARGE = 2**20
"""Numbers, from which on a sum is faster than an array of truth values, which
would take a quarter of their memory."""


def check_finite(name: str, array: Array, axes: tuple[str, ...]) -> None:
    """Refuse NaN and infinity, naming the first place.

    Raises
        NotFiniteError: there are some; a ValueError, too.
    """
    xp = namespace(array)
    if array.size > LARGE:
        with np.errstate(over="ignore", invalid="ignore"):
            total = array.sum()  # NaN and infinity stay in every sum
        if bool(xp.isfinite(total)):
            return
    finite = xp.isfinite(array)
    if not bool(finite.all()):
        first = [int(i) for i in np.argwhere(~on_host(finite))[0]]
        place = ", ".join(
            f"{axis}={i}" for axis, i in zip(axes, first, strict=True)
        )
        raise NotFiniteError(
            f"{name} holds {float(array[tuple(first)])} at ({place}), expected"
            " finite numbers"
        )


def all_finite(tree: Mapping[str, Array]) -> bool:
    """Tell whether there is no NaN and no infinity in arrays of one side.

    A device is asked once, and not for each array.
    """
    xp = namespace(*tree.values())
    finite = [xp.isfinite(array).all() for array in tree.values()]
    return bool(functools.reduce(operator.and_, finite, True))


def axes_of(array: Array) -> tuple[str, ...]:
    """Name the axes of an array that has no names for them."""
    return tuple(f"axis {i}" for i in range(array.ndim))


def check_tree(
    label: str, tree: Mapping[str, Array], shapes: Shapes, like: Array
) -> None:
    """Compare names, shapes, dtypes and values of a dict of arrays."""
    if set(tree) != set(shapes):
        missing = sorted(set(shapes) - set(tree))
        unknown = sorted(set(tree) - set(shapes))
        raise ValueError(
            f"{label} holds the names {sorted(tree)}, expected"
            f" {sorted(shapes)}: missing {missing}, unknown {unknown}"
        )
    for name, shape in shapes.items():
        check_kind(f"{label}['{name}']", tree[name], shape, like)
    if not all_finite(tree):
        for name in shapes:
            array = tree[name]
            check_finite(f"{label}['{name}']", array, axes_of(array))


def check_kind(
    where: str, array: Array, shape: tuple[int, ...], like: Array
) -> None:
    """Require a shape, and the library and precision of ``like``."""
    _namespace_of(where, array, like)
    if array.shape != shape:
        raise ValueError(f"{where} has shape {array.shape}, expected {shape}")
    check_float(where, array, like)
