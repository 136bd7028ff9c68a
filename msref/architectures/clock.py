"""Clocks: which modules of a network work at a time step, and who reads whom.

Modules are sorted by their periods, fastest first, each period twice the one
before. So the modules that tick at a time step are always the first few, and
between two ticks of a module all slower ones stand still.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from msref.architectures.base import check_sizes
from msref.arrays import Array


@dataclass(frozen=True)
class Clock:
    """Periods that double from module to module.

    Equations
        period_i = 2^(first + i),   i = 0 .. n_modules - 1
        module i ticks at t  <=>  (t + origin) mod period_i = 0

    Attributes
        n_modules: number of modules, g.
        first: binary logarithm of the fastest module's period. The authors'
            code has 0, so that module ticks at every step.
        origin: what t = 0 is called. Counted from 0, as in the authors'
            code, all modules tick on the first frame; counted from 1, module
            i waits for frame period_i. The Clockwork paper does not say; the
            other's text is not known to us.
    """

    n_modules: int
    first: int = 0
    origin: int = 0

    def __post_init__(self) -> None:
        check_sizes(n_modules=self.n_modules)
        for name, most in (("first", 30), ("origin", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(
                value, int | np.integer
            ):
                raise TypeError(f"{name} is {value!r}, expected a whole number")
            if not 0 <= value <= most:
                raise ValueError(f"{name} is {value}, expected 0..{most}")

    def period(self, i: int) -> int:
        """Return the period of module i."""
        return 1 << (int(self.first) + i)

    def n_active(self, t: int) -> int:
        """Return how many modules, the fastest, tick at time t."""
        t = int(t) + self.origin
        if t == 0:
            return self.n_modules
        zero_bits = (t & -t).bit_length() - 1
        return min(max(zero_bits + 1 - self.first, 0), self.n_modules)

    def ticks(self, i: int, t0: int) -> slice:
        """Return the ticks of module i in a sequence that begins at t0."""
        period = self.period(i)
        return slice(-(t0 + self.origin) % period, None, period)

    def schedule(self, t0: int, n_time: int) -> list[int]:
        """Return how many modules tick at each step of a sequence."""
        active = np.zeros(n_time, int)
        for i in range(self.n_modules):
            active[self.ticks(i, t0)] += 1
        return [int(n) for n in active]

    def working(self, t: int, n_units: int, xp: ModuleType = np) -> Array:
        """Return (n_modules n_units,) of bool: the units that tick at t."""
        units: Array = xp.arange(self.n_modules * n_units)
        return units < self.n_active(t) * n_units

    def readers(self, n_units: int, xp: ModuleType = np) -> Array:
        """Return the mask of a recurrence, true where a row may be read.

        Module i reads itself and slower modules. Weights multiply from the
        right here, from row to column: the mask is block *lower* triangular,
        where the papers, with columns, have it block upper triangular.
        """
        module: Array = xp.arange(self.n_modules * n_units) // n_units
        return module[:, None] >= module
