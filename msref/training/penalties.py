"""What is added to the loss to keep weights in shape.

The other classical penalty, L2 weight decay, is added to the gradient and
belongs to the optimisers.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np

from msref.arrays import Array, Arrays, namespace


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
