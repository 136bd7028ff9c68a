"""Non-linearities that ports put in place of the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from msref.arrays import Array
from msref.functional import ACTIVATIONS, relu, sigmoid

Function = Callable[..., Array]


@dataclass(frozen=True)
class Mistaken:
    """A non-linearity in place of another.

    Attributes
        name: in words.
        f: what it computes, ``f(a, xp)``.
        advice: where it comes from, and what to do about it.
    """

    name: str
    f: Function
    advice: str


def _clip(a: Array, low: float, high: float, xp: ModuleType) -> Array:
    a = xp.where(xp.real(a) < low, low, a)
    clipped: Array = xp.where(xp.real(a) > high, high, a)
    return clipped


def _hard_sigmoid(a: Array, xp: ModuleType = np) -> Array:
    return _clip(0.2 * a + 0.5, 0.0, 1.0, xp)


def _relu6_sigmoid(a: Array, xp: ModuleType = np) -> Array:
    return _clip(a / 6.0 + 0.5, 0.0, 1.0, xp)


def _sigmoid_of_twice(a: Array, xp: ModuleType = np) -> Array:
    return sigmoid(2.0 * a, xp)


def _softsign(a: Array, xp: ModuleType = np) -> Array:
    return a / (1.0 + xp.where(xp.real(a) < 0, -a, a))  # type: ignore[no-any-return]


def _half_softsign(a: Array, xp: ModuleType = np) -> Array:
    return 0.5 + 0.5 * _softsign(a, xp)


def _hard_tanh(a: Array, xp: ModuleType = np) -> Array:
    return _clip(a, -1.0, 1.0, xp)


def _rational_tanh(a: Array, xp: ModuleType = np) -> Array:
    """x (27 + x^2) / (27 + 9 x^2), cut at one."""
    square = a * a
    return _clip(a * (27.0 + square) / (27.0 + 9.0 * square), -1.0, 1.0, xp)


def _scaled_tanh(a: Array, xp: ModuleType = np) -> Array:
    return 1.7159 * xp.tanh(2.0 / 3.0 * a)  # type: ignore[no-any-return]


def _tanh(a: Array, xp: ModuleType = np) -> Array:
    return xp.tanh(a)  # type: ignore[no-any-return]


def _nothing(a: Array, xp: ModuleType = np) -> Array:
    return a


OF_SIGMOID = (
    Mistaken(
        "hard sigmoid 0.2 a + 0.5",
        _hard_sigmoid,
        "use the logistic function; 0.2 a + 0.5 cut to 0..1 is the hard"
        " sigmoid of Keras before version 3 and of ONNX",
    ),
    Mistaken(
        "hard sigmoid relu6(a + 3) / 6",
        _relu6_sigmoid,
        "use the logistic function; relu6(a + 3) / 6 is the hard sigmoid of"
        " Keras 3 and PyTorch",
    ),
    Mistaken(
        "sigmoid taken at 2 a",
        _sigmoid_of_twice,
        "the logistic function is (1 + tanh(a / 2)) / 2; (1 + tanh(a)) / 2 is"
        " that of 2 a",
    ),
    Mistaken(
        "softsign for the sigmoid",
        _half_softsign,
        "use the logistic function, not its approximation by a / (1 + |a|)",
    ),
    Mistaken(
        "tanh for the sigmoid",
        _tanh,
        "the gates are logistic, between 0 and 1; tanh is for the candidate",
    ),
    Mistaken(
        "sigmoid missing",
        _nothing,
        "apply the logistic function to the gates' pre-activations",
    ),
)

OF_TANH = (
    Mistaken(
        "ReLU for tanh",
        relu,
        "use tanh; ReLU is what a recurrent layer elsewhere may default to",
    ),
    Mistaken("tanh missing", _nothing, "apply tanh"),
    Mistaken(
        "sigmoid for tanh", sigmoid, "use tanh, not the logistic function"
    ),
    Mistaken(
        "hard tanh for tanh",
        _hard_tanh,
        "use tanh, not a straight line cut at -1 and 1",
    ),
    Mistaken("softsign for tanh", _softsign, "use tanh, not a / (1 + |a|)"),
    Mistaken(
        "tanh by a quotient of polynomials",
        _rational_tanh,
        "use the library's tanh; a (27 + a^2) / (27 + 9 a^2) is an"
        " approximation, up to 0.024 off",
    ),
    Mistaken(
        "tanh scaled, 1.7159 tanh(2 a / 3)",
        _scaled_tanh,
        "use tanh as it is, without a scale inside or outside",
    ),
)

OF_RELU = (
    Mistaken(
        "tanh for ReLU", _tanh, "use a ReLU; tanh is the default elsewhere"
    ),
    Mistaken("ReLU missing", _nothing, "apply the ReLU"),
    Mistaken(
        "leaky ReLU for ReLU",
        lambda a, xp=np: xp.where(xp.real(a) <= 0, 0.01 * a, a),
        "the ReLU is zero left of zero: no leak",
    ),
    Mistaken(
        "softplus for ReLU",
        lambda a, xp=np: xp.log(1.0 + xp.exp(a)),
        "use max(a, 0), not its smooth relative log(1 + exp(a))",
    ),
)

OF_LINEAR = (
    Mistaken("tanh where nothing bends", _tanh, "apply no non-linearity"),
    Mistaken("ReLU where nothing bends", relu, "apply no non-linearity"),
)


def mistaken_for(activation: str) -> tuple[Mistaken, ...]:
    """Return what ports put in place of an activation of ``ACTIVATIONS``."""
    return {
        "tanh": OF_TANH,
        "relu": OF_RELU,
        "sigmoid": OF_SIGMOID,
        "linear": OF_LINEAR,
    }[activation]


def chosen(switches: Any, name: str, activation: str) -> Function:
    """Return the activation that a switch names, or else the right one."""
    f: Function = switches.get(name, ACTIVATIONS[activation].f)
    return f
