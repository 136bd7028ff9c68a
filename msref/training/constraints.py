"""Bounds that weights keep: projections applied after every update.

A gradient that is carried through k time steps is multiplied k times by the
recurrent weights. Where these are bounded, so is its growth; a projection
puts them back within the bound, at the start and after each update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from msref.architectures.base import check_finite
from msref.arrays import Array, namespace


class Constraint(Protocol):
    """A bound on a parameter, and the way back within it."""

    @property
    def keeps_zeros(self) -> bool:
        """Whether entries that are zero stay so."""

    def project(self, W: Array) -> Array:
        """Return W within the bound, unchanged if it is there.

        What is returned may be W itself, and W is never written to.
        """

    def measure(self, W: Array) -> float:
        """Return what the bound is on; at most the bound after ``project``."""


Constraints = tuple[tuple[str, Constraint], ...]
"""Names of parameters, each with its bound."""


@dataclass(frozen=True)
class Magnitude:
    """Every entry within -bound .. bound (Li et al., 2018, for IndRNN).

    Equation
        W <- clip(W, -bound, bound)

    Measures max |W|. Along a unit with the recurrent weight u the gradient
    over T steps is at most |u|^T: ``over(T, gamma)`` keeps it below gamma.
    """

    bound: float

    keeps_zeros: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bound(self.bound)

    @classmethod
    def over(cls, horizon: int, gamma: float = 2.0) -> Magnitude:
        """Return the bound gamma^(1 / horizon) of the paper."""
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}, expected at least 1")
        if not gamma > 0:
            raise ValueError(f"gamma is {gamma}, expected above 0")
        return cls(gamma ** (1.0 / horizon))

    def project(self, W: Array) -> Array:
        """Return W clipped."""
        bound = W.dtype.type(self.bound)
        if float(bound) > self.bound:  # rounded up to single precision
            bound = np.nextafter(bound, W.dtype.type(0))
        return W.clip(-bound, bound)

    def measure(self, W: Array) -> float:
        """Return max |W|."""
        return float(abs(W).max())


@dataclass(frozen=True)
class Elementwise:
    """Every entry of a matrix within bound / n, n the number of its rows.

    Equation
        W_ij <- clip(W_ij, -bound / n, bound / n)

    Measures n max |W|, which is above the largest column sum of |W| and, if
    W is square, above its spectral norm: crude, and cheap.
    """

    bound: float

    keeps_zeros: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bound(self.bound)

    def project(self, W: Array) -> Array:
        """Return W clipped."""
        _check_matrix(W)
        return Magnitude(self.bound / len(W)).project(W)

    def measure(self, W: Array) -> float:
        """Return n max |W|."""
        return len(W) * float(abs(W).max())


@dataclass(frozen=True)
class SingularValues:
    """Every singular value of a matrix at most bound, the rest untouched.

    Equation
        W = U S V^T,   W <- U min(S, bound) V^T

    The nearest matrix, in squares, whose spectral norm is within the bound.
    Measures the spectral norm, by a singular value decomposition in float64.
    What is clipped ends below the bound by a relative sqrt(n) units of
    rounding of W, n its smaller size: as far as rounding the entries can
    move a singular value, so that a second projection changes nothing. In
    float32 and with 64 rows that is 1e-6, where a bound of 2^(1 / 5000) is
    1.4e-4 above one.
    """

    bound: float

    keeps_zeros: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_bound(self.bound)

    def project(self, W: Array) -> Array:
        """Return W with its singular values clipped."""
        _check_matrix(W)
        check_finite("W", W, ("row", "column"))  # the SVD would not say so
        xp = namespace(W)
        u, s, v_t = xp.linalg.svd(W.astype(np.float64), full_matrices=False)
        if float(s[0]) <= self.bound:
            return W
        inside = self.bound * (1.0 - _margin(W))
        clipped: Array = (u * xp.minimum(s, inside)) @ v_t
        return clipped.astype(W.dtype)

    def measure(self, W: Array) -> float:
        """Return the largest singular value."""
        W = W.astype(np.float64)
        return float(namespace(W).linalg.svd(W, compute_uv=False)[0])


@dataclass(frozen=True)
class SpectralNorm:
    """The spectral norm of a matrix at most bound, by scaling all of it.

    Equation
        W <- W min(1, bound / sigma),   sigma = ||W||_2

    sigma comes from a power iteration on W^T W, n <- W^T W n / |W^T W n|, in
    float64, from the longest row of W and a fixed vector without zeros on; it
    ends when sigma has stopped to grow. It approaches ||W||_2 from below, the
    slower the closer together the largest singular values lie.
    ``SingularValues`` has no such limit.
    """

    bound: float
    n_iterations: int = 1000

    keeps_zeros: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bound(self.bound)
        if self.n_iterations < 1:
            raise ValueError(
                f"n_iterations is {self.n_iterations}, expected at least 1"
            )

    def project(self, W: Array) -> Array:
        """Return W, scaled if its norm is too large."""
        _check_matrix(W)
        sigma = self.measure(W)
        if sigma <= self.bound:
            return W
        inside = self.bound * (1.0 - _margin(W))
        scaled: Array = W.astype(np.float64) * (inside / sigma)
        return scaled.astype(W.dtype)

    def measure(self, W: Array) -> float:
        """Return sigma."""
        xp = namespace(W)
        W = W.astype(np.float64)
        longest = W[int((W * W).sum(1).argmax())]
        size = float(xp.linalg.norm(longest))
        sigma = 0.0
        if size == 0.0:
            return sigma
        n = longest / size + 0.1 * xp.cos(xp.arange(len(longest)))
        n = n / float(xp.linalg.norm(n))
        for _ in range(self.n_iterations):
            image = W @ n
            grown = float(xp.linalg.norm(image))
            back = W.T @ image
            n = back / float(xp.linalg.norm(back))
            if grown <= sigma * (1.0 + float(np.finfo(np.float64).eps)):
                break
            sigma = grown
        return sigma


def bounds(
    core: Any,
    matrices: Constraint | None,
    vectors: Constraint | None,
    prefix: str = "core",
) -> Constraints:
    """Bound what a network names in ``constrained``.

    Arguments
        matrices, vectors: for names of either kind; ``None`` for no bound.
        prefix: what a Model puts before the names of its core.

    Raises
        ValueError: the network names nothing.
    """
    names = getattr(core, "constrained", ())
    if not names:
        raise ValueError(f"{core!r} names no parameters to be constrained")
    shapes = core.shapes()
    start = f"{prefix}/" if prefix else ""
    found = []
    for name in names:
        constraint = matrices if len(shapes[name]) == 2 else vectors
        if constraint is not None:
            found.append((f"{start}{name}", constraint))
    return tuple(found)


def _margin(W: Array) -> float:
    """Return how far rounding may move a singular value, relative.

    Rounding the entries moves it by at most half a unit times the Frobenius
    norm, and that is at most sqrt(n) times the spectral norm; what float64
    itself adds grows with n.
    """
    n = min(W.shape)
    eps = float(np.finfo(W.dtype).eps)
    return float(n**0.5 * eps + 16 * n * np.finfo(np.float64).eps)


def _check_bound(bound: float) -> None:
    if not 0 < bound < np.inf:
        raise ValueError(f"bound is {bound}, expected above 0")


def _check_matrix(W: Array) -> None:
    if W.ndim != 2:
        raise ValueError(f"W has shape {W.shape}, expected a matrix")
