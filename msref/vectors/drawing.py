"""Drawing the inputs of golden vectors.

Everything is drawn in float64 and rounded to float32: a port in single
precision starts from the same numbers. The generator is asked for nothing
but ``random``, so that the numbers hang on its bits alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from msref.architectures import is_causal
from msref.arrays import Array, Arrays
from msref.verification import Case

Rng = np.random.Generator


def single(value: Array) -> Array:
    """Round to float32, in float64."""
    rounded: Array = np.asarray(value, np.float32).astype(np.float64)
    return rounded


def between(rng: Rng, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Draw sizes in ``low`` .. ``high`` with random signs."""
    size = low + (high - low) * rng.random(shape)
    return np.where(rng.random(shape) < 0.5, -size, size)


def parts(arch: Any) -> dict[str, Any]:
    """Return prefix -> part of a network made of networks, itself first."""
    found = {"": arch}
    inner = getattr(arch, "parts", ())
    if hasattr(arch, "arch"):  # around one network, under its own names
        inner = getattr(arch.arch, "parts", ())
    for k, part in enumerate(inner):
        for prefix, value in parts(part).items():
            found[f"{k}/{prefix}"] = value
    return found


def sizes(arch: Any, least: int) -> tuple[int, int]:
    """Choose n_time and n_batch: small, and unlike every other size."""
    taken = {arch.n_in, arch.n_out} | {
        n for shape in arch.shapes().values() for n in shape
    }
    n_time = next(n for n in range(least, 99) if n not in taken)
    free = [n for n in (2, 3, 4) if n not in {*taken, n_time}]
    return n_time, free[0] if free else 2


def parameters(arch: Any, rng: Rng) -> Arrays:
    """Draw parameters: no bias zero, no gate saturated, masks kept."""
    params: Arrays = {}
    start = arch.init(np.random.default_rng(0))
    for name, shape in arch.shapes().items():
        if len(shape) == 2:
            params[name] = (2 * rng.random(shape) - 1) * 1.6 / shape[0] ** 0.5
        elif name in getattr(arch, "positive", ()):
            params[name] = 0.5 + 1.5 * rng.random(shape)
        else:
            params[name] = between(rng, shape, 0.2, 0.8)
        if name in getattr(arch, "masked", ()):
            params[name] = np.where(start[name] == 0, 0.0, params[name])
    for prefix, part in parts(arch).items():
        kinks: tuple[str, ...] = getattr(part, "kinks", ())
        if prefix and kinks and not hasattr(part, "parts"):
            # Other layers read it and need it alive: a ReLU that is zero for
            # good hides what is wrong before and behind it.
            for name in part.shapes():
                if name.startswith(("b_", "w_")):
                    params[prefix + name] = np.abs(params[prefix + name])
    return params


def state_of(arch: Any, n_batch: int, rng: Rng) -> Arrays:
    """Draw a state; a dropout's mask drops some units and keeps some."""
    state: Arrays = {}
    for name, zeros in arch.initial_state(n_batch).items():
        value = between(rng, zeros.shape, 0.2, 0.8)
        if name.rpartition("/")[2] == "mask":
            value = np.where(value < 0.0, 0.0, 4.0 / 3.0)
            value.flat[0], value.flat[-1] = 0.0, 4.0 / 3.0
        state[name] = value
    return state


def everything(
    arch: Any,
    rng: Rng,
    n_time: int | None = None,
    n_batch: int | None = None,
    t0: int = 0,
) -> Case:
    """Draw a case with every number in play, the final state's included.

    A clocked network runs until a period of 8 has come round.
    """
    least = 9 if getattr(arch, "n_modules", 0) > 2 else 5
    chosen = sizes(arch, least)
    n_time, n_batch = n_time or chosen[0], n_batch or chosen[1]
    drawn = Case(
        params=parameters(arch, rng),
        state=state_of(arch, n_batch, rng),
        x=between(rng, (n_time, n_batch, arch.n_in), 0.1, 1.5),
        dy=between(rng, (n_time, n_batch, arch.n_out), 0.1, 1.0),
        dstate={
            k: between(rng, v.shape, 0.1, 1.0)
            for k, v in arch.initial_state(n_batch).items()
        },
        t0=t0,
        lengths=None if is_causal(arch) else np.full(n_batch, n_time),
    )
    return rounded(drawn)


def rounded(case: Case) -> Case:
    """Return the case with all its numbers rounded to float32."""
    return replace(
        case,
        params={k: single(v) for k, v in case.params.items()},
        state={k: single(v) for k, v in case.state.items()},
        x=single(case.x),
        dy=single(case.dy),
        dstate={k: single(v) for k, v in case.dstate.items()},
    )


# --- one for each purpose ---------------------------------------------------


def zeros(tree: Arrays) -> Arrays:
    """Return zeros of the same names and shapes."""
    return {k: np.zeros_like(v) for k, v in tree.items()}


def basic(arch: Any, rng: Rng) -> Case:
    """Give no gradient at the final state yet."""
    case = everything(arch, rng)
    return replace(case, dstate=zeros(case.dstate))


def gates_apart(arch: Any, rng: Rng) -> Case:
    """Set the gates' biases far apart, input weights of unlike sizes."""
    case = everything(arch, rng)
    gates = [k for k in case.params if k.startswith("b_") and k != "b_hn"]
    if getattr(arch, "kinks", ()):
        gates.reverse()  # the first is a ReLU's, and would let it die
    params = case.params
    for k, bias in enumerate(gates):
        apart = 1.5 * k - 0.75 * (len(gates) - 1)
        params[bias] = apart + 0.2 * params[bias]
        for kind in ("W_x", "W_h", "w_h"):
            name = f"{kind}{bias[2:]}"
            if name in params:
                params[name] = params[name] * (0.4 + 0.4 * k)
    return rounded(case)


def frames_of_zeros(arch: Any, rng: Rng) -> Case:
    """Let biases alone drive the network."""
    case = everything(arch, rng, n_time=4)
    return replace(case, x=np.zeros_like(case.x), state=zeros(case.state))


def final_state_alone(arch: Any, rng: Rng) -> Case:
    """Ask for the gradient of the final state and of no output."""
    case = everything(arch, rng, n_time=4)
    return replace(case, dy=np.zeros_like(case.dy))


def last_output_alone(arch: Any, rng: Rng) -> Case:
    """Ask for the gradient of the last output, over more steps than basic."""
    return everything(arch, rng, n_time=10).last_output_alone()


def cut(arch: Any, rng: Rng) -> Case:
    """Begin late, at an odd time, in a state that is not zero."""
    return everything(arch, rng, n_time=6, t0=5)


def one_step(arch: Any, rng: Rng) -> Case:
    """Run a single frame."""
    return everything(arch, rng, n_time=1)


def one_row(arch: Any, rng: Rng) -> Case:
    """Run a single sequence."""
    return everything(arch, rng, n_time=3, n_batch=1)


def no_state(arch: Any, rng: Rng) -> Case:
    """Start from the network's own initial state."""
    case = everything(arch, rng, n_time=4)
    return replace(case, state=arch.initial_state(case.n_batch))


def saturated(arch: Any, rng: Rng) -> Case:
    """Read frames of all sizes; the largest overflows exp in float64."""
    case = everything(arch, rng, n_time=6)
    size = np.array([1.0, 12.0, 60.0, 1e4, 1.0, 12.0])
    return rounded(replace(case, x=case.x * size[:, None, None]))


KEEPS = {
    "LSTM": ("b_f", 1.0),
    "GRU": ("b_z", 1.0),
    "MGU": ("b_f", -1.0),
    "BRC": ("b_c", 1.0),
    "NBRC": ("b_c", 1.0),
}
"""Which bias makes a gate keep the old state, and in which direction."""


def _recurrent(params: Arrays) -> list[str]:
    """Name the weights that read a state; W_xh reads x."""
    return [k for k in params if k[:2] in ("W_", "w_") and k[2] != "x"]


def vanishing(arch: Any, rng: Rng) -> Case:
    """Run so long that the gradient is all but gone at the first frame."""
    case = everything(arch, rng, n_time=24, n_batch=2).last_output_alone()
    params = case.params
    params |= {k: 0.5 * params[k] for k in _recurrent(params)}
    if type(arch).__name__ in KEEPS:
        name, sign = KEEPS[type(arch).__name__]
        params[name] = -sign * (0.5 + np.abs(params[name]))
    if "b_a" in params:  # a below 1: no state holds itself up
        params["b_a"] = -0.5 - np.abs(params["b_a"])
    return rounded(case)


def remembering(arch: Any, rng: Rng) -> Case:
    """Let all rows read the same; they differ by where they start."""
    case = everything(arch, rng, n_time=16, n_batch=2)
    params = case.params
    quiet = [k for k in params if k.startswith(("W_", "b_"))]
    params |= {k: 0.2 * params[k] for k in quiet}
    if type(arch).__name__ in KEEPS:
        name, sign = KEEPS[type(arch).__name__]
        params[name] = params[name] + 4.0 * sign
    if "b_a" in params:  # two states hold themselves up where a > 1
        params |= {"b_a": params["b_a"] + 2.0, "b_c": params["b_c"] - 4.0}
    params |= {k: np.ones_like(params[k]) for k in params if k[2:] in _HOLDS}
    if "W_mm" in params:
        params["W_mm"] = np.eye(len(params["W_mm"]))
    x = np.repeat(case.x[:, :1], case.n_batch, axis=1)
    state = {k: np.abs(v) for k, v in case.state.items()}
    for value in state.values():
        value[1] *= -1.0 if "b_a" in params else 0.25
    return rounded(replace(case, x=x, state=state))


_HOLDS = ("hh", "ll")  # of vectors: a unit that adds up what it reads


def near_kink(arch: Any, rng: Rng) -> Case:
    """Steer pre-activations to both sides of the kink, a thousandth off.

    Each of the first units reads one input and no other, so that its
    pre-activation can be set.
    """
    case = everything(arch, rng)
    kink = arch.kinks[0]
    weight = f"W_x{kink[2:] or 'h'}"
    n = min(case.params[weight].shape)
    case.params[weight][:, :n] = np.eye(len(case.params[weight]), n)
    params = {k: v.astype(np.longdouble) for k, v in case.params.items()}
    state = {k: v.astype(np.longdouble) for k, v in case.state.items()}
    row, unit = np.arange(case.n_batch)[:, None], np.arange(n)
    x = case.x.copy()
    for t in range(case.n_time):
        k = t + row + unit
        target = np.where(k % 2 == 0, 1e-3, 0.5) * np.where(k % 4 < 2, 1, -1)
        x[t, :, :n] = 0.0
        rest = arch.step(params, state, x[t].astype(np.longdouble), t)[1][kink]
        x[t, :, :n] = single(target - rest[:, :n])
        state = arch.step(params, state, x[t].astype(np.longdouble), t)[0]
    return replace(case, x=x)


def at_kink(arch: Any, rng: Rng) -> Case:
    """Let every other unit start exactly at the kink."""
    case = everything(arch, rng)
    bias = f"b_{arch.kinks[0][2:] or 'h'}"
    case.params[bias][::2] = 0.0
    case.x[0] = 0.0
    return replace(case, state=zeros(case.state))


def ragged(arch: Any, rng: Rng) -> Case:
    """Pad the batch with numbers that nobody may look at."""
    case = everything(arch, rng, n_time=6, n_batch=3)
    lengths = np.array([6, 1, 4])
    padding = (np.arange(6)[:, None] >= lengths)[..., None]
    return rounded(
        replace(
            case,
            x=np.where(padding, 9.0 * case.x, case.x),
            dy=np.where(padding, 0.0, case.dy),
            dstate=zeros(case.dstate),
            lengths=lengths,
        )
    )


def phases(arch: Any, rng: Rng) -> Case:
    """Run through a whole round of the slowest module, from an odd time."""
    slowest = 1 << (arch.first + arch.n_modules - 1)
    return everything(arch, rng, n_time=slowest + 1, n_batch=2, t0=5)


def unread(arch: Any, rng: Rng) -> Case:
    """Fill what no module reads with numbers."""
    case = everything(arch, rng)
    for name in arch.masked:
        value = case.params[name]
        other = between(rng, value.shape, 0.5, 1.0)
        case.params[name] = np.where(value == 0.0, other, value)
    return rounded(case)


def constant_unit(arch: Any, rng: Rng) -> Case:
    """Let the first unit be the same in all frames: its variance is zero."""
    case = everything(arch, rng)
    case.x[..., 0] = 0.5
    return case
