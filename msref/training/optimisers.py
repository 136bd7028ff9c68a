"""Optimisers: pure functions of parameters, gradients and their own state.

``update`` returns new arrays and leaves the old ones alone, so a training
can be stopped between any two updates. Parameters without a gradient are
passed through untouched, weight decay included.

Weight decay is L2 as in the authors' code: ``weight_decay * W`` is added to
the gradient, biases included, before anything else happens to it. In Adam it
is thus divided by the gradient's own size like all the rest. The decoupled
form (AdamW: Loshchilov & Hutter, 2019) shrinks W itself instead; for SGD
without momentum the two differ by a factor, the learning rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from msref.architectures.base import (
    all_finite,
    axes_of,
    check_finite,
    check_kind,
)
from msref.arrays import Array, Arrays, namespace, prefixed, under


class Optimiser(Protocol):
    """Rates and options; the arrays live in the state."""

    def init(self, params: Arrays) -> Arrays:
        """Return the state before the first update of ``params``."""

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        """Return the parameters and the state after one update."""


@dataclass(frozen=True)
class SGD:
    """Gradient descent, with momentum (as PyTorch writes it).

    Equations (W is any parameter, dW its gradient)
        g_t = dW + weight_decay W_{t-1}
        v_t = momentum v_{t-1} + g_t
        W_t = W_{t-1} - learning_rate v_t
        nesterov: W_t = W_{t-1} - learning_rate (g_t + momentum v_t)

    Arrays
        state velocity/W, shaped like W; none without momentum

    Conventions
        Sutskever et al. (2013) have the learning rate inside v: the same
        steps, as long as the rate does not change.
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.weight_decay)
        _check_share("momentum", self.momentum)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum, got momentum 0")

    def init(self, params: Arrays) -> Arrays:
        """Return the state before the first update of ``params``."""
        if self.momentum == 0:
            return {}
        return prefixed("velocity", _zeros(params))

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        """Return the parameters and the state after one update.

        Raises
            ValueError: gradients that do not fit the parameters or the
                state, NaN or infinity in a gradient; it is named.
        """
        _check_gradients(params, grads)
        if self.momentum != 0:
            _check_state(state, ("velocity",), grads)
        new, new_state = dict(params), {}
        for name, dW in grads.items():
            W = params[name]
            g = dW + self.weight_decay * W
            step = g
            if self.momentum != 0:
                v = self.momentum * state[f"velocity/{name}"] + g
                step = g + self.momentum * v if self.nesterov else v
                new_state[f"velocity/{name}"] = v
            new[name] = W - self.learning_rate * step
        return new, new_state


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba, 2015, algorithm 1).

    Equations (W is any parameter, dW its gradient)
        g_t = dW + weight_decay W_{t-1}
        m_t = beta1 m_{t-1} + (1 - beta1) g_t
        v_t = beta2 v_{t-1} + (1 - beta2) g_t^2
        W_t = W_{t-1} - learning_rate (m_t / (1 - beta1^t))
                        / (sqrt(v_t / (1 - beta2^t)) + epsilon)

    Arrays
        state m/W and v/W, shaped like W; t (1,) of int, updates so far

    Conventions
        epsilon is added after the bias correction, as in algorithm 1 and in
        PyTorch. TensorFlow and Keras add theirs before it (the "epsilon hat"
        of the paper's section 2), which makes it larger by a factor of
        1 / sqrt(1 - beta2^t), about 32 at the first update, and Keras starts
        from 1e-7: tiny gradients take other steps there.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.weight_decay)
        _check_share("beta1", self.beta1)
        _check_share("beta2", self.beta2)
        if not 0 < self.epsilon < np.inf:
            raise ValueError(f"epsilon is {self.epsilon}, expected above 0")

    def init(self, params: Arrays) -> Arrays:
        """Return the state before the first update of ``params``."""
        m, v = prefixed("m", _zeros(params)), prefixed("v", _zeros(params))
        xp = namespace(*params.values())
        return {**m, **v, "t": xp.zeros(1, np.int64)}

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        """Return the parameters and the state after one update.

        Raises
            ValueError: gradients that do not fit the parameters or the
                state, NaN or infinity in a gradient; it is named.
        """
        _check_gradients(params, grads)
        _check_state(state, ("m", "v"), grads)
        t = int(state["t"][0]) + 1
        new, new_state = dict(params), {"t": state["t"] + 1}
        for name, dW in grads.items():
            W = params[name]
            g = dW + self.weight_decay * W
            m = self.beta1 * state[f"m/{name}"] + (1 - self.beta1) * g
            v = self.beta2 * state[f"v/{name}"] + (1 - self.beta2) * g**2
            scale = (v / (1 - self.beta2**t)) ** 0.5 + self.epsilon
            step = m / (1 - self.beta1**t) / scale
            new[name] = W - self.learning_rate * step
            new_state[f"m/{name}"], new_state[f"v/{name}"] = m, v
        return new, new_state


@dataclass(frozen=True)
class Slowed:
    """Another optimiser, whose steps are shorter for some parameters.

    Equation (W a parameter in ``names``, W' where the optimiser puts it)
        W_t = W_{t-1} + factor (W'_t - W_{t-1})

    For recurrent weights over long times: where a memory of T steps needs
    a weight within about 1 / T of one, Adam's steps, as long as the learning
    rate, throw it out.

    Arguments
        optimiser: the other one; its state is the state.
        names: parameters as the model names them, "core/w_hh".
        factor: above 0, at most 1.
    """

    optimiser: Optimiser
    names: tuple[str, ...]
    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 1:
            raise ValueError(
                f"factor is {self.factor}, expected above 0, at most 1"
            )

    def init(self, params: Arrays) -> Arrays:
        """Return the state before the first update of ``params``.

        Raises
            ValueError: a name that is not among the parameters.
        """
        unknown = sorted(set(self.names) - set(params))
        if unknown:
            raise ValueError(
                f"names holds {unknown}, expected names in {sorted(params)}"
            )
        return self.optimiser.init(params)

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        """Return the parameters and the state after one update.

        Raises
            ValueError: as the optimiser's own update.
        """
        new, state = self.optimiser.update(params, grads, state)
        for name in set(self.names) & set(grads):
            W = params[name]
            new[name] = W + self.factor * (new[name] - W)
        return new, state


def clip_by_global_norm(grads: Arrays, maximum: float) -> tuple[Arrays, float]:
    """Shorten all gradients together (Pascanu, Mikolov & Bengio, 2013).

    Equations
        norm = sqrt(sum of the squares of all entries of all arrays)
        dW <- dW min(1, maximum / norm)

    The entries are divided by the largest one before they are squared: so
    neither a huge gradient overflows nor a tiny one vanishes. PyTorch
    divides by norm + 1e-6.

    Returns
        The gradients, and the norm before they were shortened.

    Raises
        ValueError: ``maximum`` is not positive, NaN or infinity in a
            gradient; it is named.
    """
    if not maximum > 0:
        raise ValueError(f"maximum is {maximum}, expected above 0")
    _check_finite(grads)
    largest = max(_numbers(abs(g).max() for g in grads.values()), default=0.0)
    if largest == 0:
        return grads, 0.0
    squares = sum(_numbers(((g / largest) ** 2).sum() for g in grads.values()))
    norm = largest * squares**0.5
    if norm <= maximum:
        return grads, norm
    return {name: g * (maximum / norm) for name, g in grads.items()}, norm


def _numbers(scalars: Iterable[Array]) -> list[float]:
    """Read one number of each array; a device is asked once for all."""
    read = list(scalars)
    if not read:
        return []
    numbers: list[float] = namespace(*read).stack(read).tolist()
    return numbers


def _zeros(params: Arrays) -> Arrays:
    return {name: namespace(W).zeros_like(W) for name, W in params.items()}


def _check_rates(learning_rate: float, weight_decay: float) -> None:
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate is {learning_rate}, expected above 0")
    if not 0 <= weight_decay < np.inf:
        raise ValueError(f"weight_decay is {weight_decay}, expected 0 or above")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}, expected in 0..1, without 1")


def _check_finite(grads: Arrays) -> None:
    if not all_finite(grads):
        for name, g in grads.items():
            check_finite(f"the gradient of '{name}'", g, axes_of(g))


def _check_gradients(params: Arrays, grads: Arrays) -> None:
    unknown = sorted(set(grads) - set(params))
    if unknown:
        raise ValueError(f"grads holds {unknown}, which params does not")
    for name, g in grads.items():
        check_kind(f"grads['{name}']", g, params[name].shape, params[name])
    if not all_finite(grads):
        for name, g in grads.items():
            check_finite(f"grads['{name}']", g, axes_of(g))


def _check_state(
    state: Mapping[str, Array], kinds: tuple[str, ...], grads: Arrays
) -> None:
    for kind in kinds:
        names = set(under(kind, state))
        if names != set(grads):
            raise ValueError(
                f"the optimiser's state holds '{kind}' of {sorted(names)},"
                f" expected {sorted(grads)}, the names of the gradients"
            )
