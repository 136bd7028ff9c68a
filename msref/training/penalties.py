"""What is added to the loss to keep weights in shape.

The other classical penalty, L2 weight decay, is added to the gradient and
belongs to the optimisers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np

from msref.arrays import Array, Arrays, namespace
from msref.functional import relu


class Penalty(Protocol):
    """A function of the parameters, and its gradient."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it looks at."""

    def value(self, params: Arrays, xp: ModuleType = np) -> Array:
        """Return the penalty, a scalar."""

    def gradients(self, params: Arrays) -> Arrays:
        """Return name -> gradient, for the parameters it looks at."""


@dataclass(frozen=True)
class Orthogonality:
    """A soft pull towards an orthogonal matrix (the LMN authors' code).

    Equations
        P = strength ||W W^T - I||_F^2                       (1)

    Adjoints
        dW = 4 strength (W W^T - I) W                        (1')

    Arrays
        W (n, n), the parameter called ``name``, such as "core/W_mm"

    Conventions
        The authors' weights are the transpose of ours. The penalty is the
        same number: it depends on the singular values of W alone.
    """

    name: str
    strength: float

    @property
    def names(self) -> tuple[str, ...]:
        """The parameter it looks at."""
        return (self.name,)

    def value(self, params: Arrays, xp: ModuleType = np) -> Array:
        """Return P, a scalar, real or complex or a box."""
        W = params[self.name]
        excess = W @ W.T - xp.eye(len(W), dtype=W.dtype)
        penalty: Array = self.strength * xp.sum(excess**2)  # (1)
        return penalty

    def gradients(self, params: Arrays) -> Arrays:
        """Return the gradient of the one matrix."""
        W = params[self.name]
        excess = W @ W.T - namespace(W).eye(len(W), dtype=W.dtype)
        return {self.name: 4.0 * self.strength * excess @ W}  # (1')


@dataclass(frozen=True)
class Excess:
    """A soft bound on every entry, in place of ``Magnitude``'s hard one.

    Equations
        E = max(0, |W| - bound)                              (1)
        P = strength ||E||^2                                 (2)

    Adjoints
        dE = 2 strength E                                    (2')
        dW = sign(W) dE                                      (1')

    Arrays
        W of any shape, the parameter called ``name``, such as "core/w_hh"

    Conventions
        The IndRNN authors name ||E|| as what may replace their clipping of
        the recurrent weights. The square is our choice: its gradient fades
        as W comes within the bound, where that of the norm has no limit.
        So W settles a little outside, where the loss pulls as hard.

    Raises
        ValueError: a bound or a strength that is not above zero.
    """

    name: str
    bound: float
    strength: float

    def __post_init__(self) -> None:
        for label in ("bound", "strength"):
            if not 0 < getattr(self, label) < math.inf:
                raise ValueError(
                    f"{label} is {getattr(self, label)}, expected above 0"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The parameter it looks at."""
        return (self.name,)

    def value(self, params: Arrays, xp: ModuleType = np) -> Array:
        """Return P, a scalar, real or complex or a box."""
        W = params[self.name]
        # (1): at most one of the two is not zero, and neither needs |W|.
        E = relu(W - self.bound, xp) + relu(-W - self.bound, xp)
        penalty: Array = self.strength * xp.sum(E**2)  # (2)
        return penalty

    def gradients(self, params: Arrays) -> Arrays:
        """Return the gradient of the one parameter."""
        W = params[self.name]
        outside = W - W.clip(-self.bound, self.bound)  # sign(W) E
        return {self.name: 2.0 * self.strength * outside}  # (1') (2')


@dataclass(frozen=True, init=False, repr=False)
class Sum:
    """Several penalties at once, on the same parameters or on others.

    Equations
        P = P_1 + P_2 + ...                                  (1)

    Adjoints
        dW = dP_1 / dW + dP_2 / dW + ...                     (1')

    Raises
        ValueError: there is no penalty.
    """

    parts: tuple[Penalty, ...]

    def __init__(self, *parts: Penalty) -> None:
        if not parts:
            raise ValueError("Sum got no penalties, expected at least one")
        object.__setattr__(self, "parts", parts)

    def __repr__(self) -> str:
        return f"Sum({', '.join(map(repr, self.parts))})"

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that its parts look at, each once."""
        names = [name for part in self.parts for name in part.names]
        return tuple(dict.fromkeys(names))

    def value(self, params: Arrays, xp: ModuleType = np) -> Array:
        """Return P, a scalar, real or complex or a box."""
        first, *others = (part.value(params, xp) for part in self.parts)
        return sum(others, start=first)  # (1)

    def gradients(self, params: Arrays) -> Arrays:
        """Return name -> gradient."""
        grads: Arrays = {}
        for part in self.parts:
            for name, gradient in part.gradients(params).items():
                before = grads.get(name, 0.0)
                grads[name] = before + gradient  # (1')
        return grads
