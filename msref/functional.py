"""Non-linearities with their derivatives, and the draws weights start from.

Every function works on real and complex arrays of NumPy and CuPy and on the
boxes of autograd; the caller passes the namespace ``xp``. A comparison looks
at the real part only: then a tiny imaginary step passes through and carries
the derivative of the branch that the real computation takes. ``abs``,
``conj`` and ``sign`` would destroy it silently and do not occur.

A derivative is written as a function of the *output*, which the tape holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from msref.arrays import Array, Arrays
from msref.recurrence import linear_recurrence as linear_recurrence
from msref.recurrence import (
    linear_recurrence_backward as linear_recurrence_backward,
)

# --- non-linearities --------------------------------------------------------


def sigmoid(a: Array, xp: ModuleType = np) -> Array:
    """Return the logistic function 1 / (1 + exp(-a)), any shape.

    Both tails keep their relative accuracy: only exp(-|a|) is formed, so
    nothing overflows, and the left tail is not a difference from one.
    """
    right = xp.real(a) >= 0
    e = xp.exp(xp.where(right, -a, a))  # exp(-|a|) <= 1
    return xp.where(right, 1.0, e) / (1.0 + e)  # type: ignore[no-any-return]


def sigmoid_in_place(a: Array, xp: ModuleType = np) -> None:
    """Overwrite the real array ``a`` with its logistic function.

    Callers silence the harmless overflow of exp(-a) (1 / inf = 0) once
    around their loop, with ``np.errstate(over="ignore")``.
    """
    a *= -1.0  # np.negative is wrong at some strides (NumPy 2.4.6)
    sigmoid_of_minus(a, xp)


def sigmoid_of_minus(a: Array, xp: ModuleType = np) -> None:
    """Overwrite ``a`` with s(-a): for passes whose weights have the sign."""
    xp.exp(a, out=a)
    a += 1.0
    xp.reciprocal(a, out=a)


def d_sigmoid(y: Array) -> Array:
    """Return the logistic function's derivative y (1 - y) at output ``y``."""
    return y * (1.0 - y)


def tanh(a: Array, xp: ModuleType = np) -> Array:
    """Return the hyperbolic tangent, any shape."""
    return xp.tanh(a)  # type: ignore[no-any-return]


def tanh_into(a: Array, out: Array, xp: ModuleType = np) -> None:
    """Write the hyperbolic tangent of the real ``a`` to ``out``, maybe ``a``.

    NumPy has no vector code for tanh in float64: 1 - 2 / (1 + exp(2a)) takes
    less time, once there are enough numbers for a dozen calls (chapter 13 of
    the book times it). It is a difference from one, off by 2 units in the
    last place of 1; so near zero, where that is much, tanh is asked itself.
    What is left is an error of at most 64 units in the last place.

    Callers silence the overflow of exp, as with ``sigmoid_in_place``.
    """
    if xp is not np or a.dtype != np.float64 or a.size < 8192:
        xp.tanh(a, out=out)
        return
    near_zero = np.flatnonzero(np.abs(a) < 2.0**-5)  # 2 to 3 % of the numbers
    tanh_there = np.tanh(a.take(near_zero))
    np.multiply(a, 2.0, out=out)
    np.exp(out, out=out)
    out += 1.0
    np.divide(-2.0, out, out=out)
    out += 1.0
    np.put(out, near_zero, tanh_there)


def d_tanh(y: Array) -> Array:
    """Return the derivative of tanh, 1 - y^2, at output ``y``."""
    return 1.0 - y * y


def relu(a: Array, xp: ModuleType = np) -> Array:
    """Return max(a, 0); a kink at zero, where the derivative counts as 0."""
    return xp.where(xp.real(a) <= 0, 0.0, a)  # type: ignore[no-any-return]


def d_relu(y: Array) -> Array:
    """Return the derivative of the ReLU at output ``y``: 1 where y > 0."""
    return (y > 0).astype(y.dtype)


def identity(a: Array, xp: ModuleType = np) -> Array:
    """Return ``a`` itself."""
    return a


def d_identity(y: Array) -> Array:
    """Return ones, the derivative of the identity."""
    return y * 0.0 + 1.0


@dataclass(frozen=True)
class Activation:
    """A non-linearity ``f(a, xp)`` and its derivative at the output."""

    f: Callable[..., Array]
    derivative: Callable[[Array], Array]
    has_kink: bool = False


ACTIVATIONS = {
    "tanh": Activation(tanh, d_tanh),
    "relu": Activation(relu, d_relu, has_kink=True),
    "sigmoid": Activation(sigmoid, d_sigmoid),
    "linear": Activation(identity, d_identity),
}
"""The activations by name."""


def softmax(a: Array, xp: ModuleType = np) -> Array:
    """Return exp(a) / sum(exp(a)) over the last axis."""
    e = xp.exp(a - xp.max(xp.real(a), axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)  # type: ignore[no-any-return]


def log_softmax(a: Array, xp: ModuleType = np) -> Array:
    """Return a - log(sum(exp(a))) over the last axis."""
    shifted = a - xp.max(xp.real(a), axis=-1, keepdims=True)
    total = xp.sum(xp.exp(shifted), axis=-1, keepdims=True)
    return shifted - xp.log(total)  # type: ignore[no-any-return]


def softplus(a: Array, xp: ModuleType = np) -> Array:
    """Return log(1 + exp(a)); its derivative is the logistic function."""
    right = xp.real(a) >= 0
    tail = xp.log1p(xp.exp(xp.where(right, -a, a)))
    return xp.where(right, a, 0.0) + tail  # type: ignore[no-any-return]


# --- time and batch as one axis ---------------------------------------------


def flat(x: Array) -> Array:
    """View ``(n_time, n_batch, n)`` as ``(n_time * n_batch, n)``.

    One matrix product then serves all time steps: ``flat(x) @ W`` projects
    every frame, ``flat(x).T @ flat(da)`` sums the outer products over time
    and batch that make up a weight's gradient.
    """
    return x.reshape(-1, x.shape[-1])


def with_one(x: Array, xp: ModuleType = np) -> Array:
    """Copy ``(n_time, n_batch, n)`` to ``(n_time * n_batch, 1 + n)``.

    The first column is 1: a product with it has the bias, and the bias's
    gradient, in its first row.
    """
    shape = x.shape[0] * x.shape[1], 1 + x.shape[2]
    rows: Array = xp.empty(shape, x.dtype)
    rows[:, 0] = 1.0
    rows[:, 1:] = flat(x)
    return rows


# --- for the passes ----------------------------------------------------------


def activation_into(
    activation: str, like: Array, xp: ModuleType = np
) -> Callable[[Array, Array], object]:
    """Return ``f(a, out)``: it writes an activation to ``out``, maybe ``a``.

    Its arrays have the shape and dtype of ``like``. Callers silence the
    overflow of exp, as with ``tanh_into``.

    Raises
        ValueError: the activation is neither "tanh" nor "relu".
    """
    if activation == "tanh":
        return lambda a, out: tanh_into(a, out, xp)
    if activation != "relu":
        raise ValueError(
            f"activation is {activation!r}, expected 'tanh' or 'relu'"
        )
    # not 0.0: in float32 the larger of two arrays takes NumPy less time than
    # that of an array and a number (chapter 13 of the book times it)
    zeros = xp.zeros_like(like)
    return lambda a, out: xp.maximum(a, zeros, out=out)


def joined(params: Arrays, gates: str, xp: ModuleType = np) -> Array:
    """Return the affine maps of gates, (n_gates, n_hid + 1 + n_in, n_hid).

    W_hk, b_k and W_xk stand below each other: a product with rows
    (h_{t-1}, 1, x_t) is the whole pre-activation.
    """
    n_in, n_hid = params[f"W_x{gates[0]}"].shape
    shape = len(gates), n_hid + 1 + n_in, n_hid
    W: Array = xp.empty(shape, params[f"W_x{gates[0]}"].dtype)
    for k, W_k in zip(gates, W, strict=True):
        W_k[:n_hid] = params[f"W_h{k}"]
        W_k[n_hid] = params[f"b_{k}"]
        W_k[n_hid + 1 :] = params[f"W_x{k}"]
    return W


IN_CACHE = 16384
"""Numbers of an array that a few of its kind leave room for in the cache."""

OF_PRODUCTS = 262144
"""Numbers of an array of a span that has matrix products of its own."""


def spans(
    n_time: int, size: int, *, has_products: bool = False
) -> Iterator[tuple[int, int]]:
    """Cut time into spans, the last first: where each starts, where it stops.

    What backward needs at all steps is computed a span at a time: in fewer
    calls than step by step, and without temporaries as long as the sequence.
    ``size`` is the count of numbers at one step. A span is longer if there is
    a matrix product for each.
    """
    n_steps = max(1, (OF_PRODUCTS if has_products else IN_CACHE) // size)
    for stop in range(n_time, 0, -n_steps):
        yield max(0, stop - n_steps), stop


# --- draws that weights start from ------------------------------------------
# Drawn in float64 and cast, so that both precisions start from equal numbers.


def glorot_uniform(
    rng: np.random.Generator,
    shape: tuple[int, int],
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Draw U(-r, r), r = sqrt(6 / (n_from + n_to)) (Glorot & Bengio, 2010)."""
    r = np.sqrt(6.0 / sum(shape))
    drawn: Array = rng.uniform(-r, r, shape).astype(dtype)
    return drawn


def glorot_normal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    dtype: npt.DTypeLike = np.float64,
    gain: float = 1.0,
) -> Array:
    """Draw N(0, s^2), s = gain sqrt(2 / (n_from + n_to)), same source."""
    s = gain * np.sqrt(2.0 / sum(shape))
    drawn: Array = s * rng.standard_normal(shape)
    return drawn.astype(dtype)


def orthogonal(
    rng: np.random.Generator, n: int, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Draw a random orthogonal (n, n) matrix, uniform over the group.

    The QR factorisation of a Gaussian matrix, signs fixed by the diagonal
    of R (Mezzadri, 2007); as a start of recurrent weights: Saxe et al., 2014.
    """
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    drawn: Array = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return drawn.astype(dtype)
