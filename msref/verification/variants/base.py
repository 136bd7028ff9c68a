"""What a wrong variant is, and how several are planted in one network.

A variant is a mistake that people make when they write a network down again
elsewhere: gates in another order, a matrix transposed, the other reset. It
changes the *specification*: what it makes is again a network that ``scan``
runs, and its numbers are those of a port with that mistake. So a port can be
told by its numbers which mistake is in it.

Four wrappers make all of them, and all of them compose:

- ``Around``: the right network, on wrong inputs, or its outputs mistaken;
- ``Stepped``: the right step, on a wrong state or at a wrong time;
- ``Switched``: the step written out once more, with switches for what can
  be wrong in it;
- ``Rewired``: the same for what is no step: layers that see a whole sequence,
  and the wiring of several networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from msref.architectures import scan
from msref.arrays import Array, Arrays

Plant = Callable[[Any], Any]
Result = tuple[Array, Arrays, Arrays]


@dataclass(frozen=True)
class Variant:
    """A known mistake of ports.

    Attributes
        key: the mistake in words; no two of an architecture are equal.
        kind: the kind of mistake, shared by many.
        where: the arrays or the place it was made at.
        advice: a sentence to the porter, what to change.
        plant: makes the wrong network of the right one.
        path: numbers of the parts that lead to the network it is planted in.
        needs: what inputs must have to show it, in words; mostly nothing.
    """

    key: str
    kind: str
    where: str
    advice: str
    plant: Plant = field(repr=False, compare=False)
    path: tuple[int, ...] = ()
    needs: str = ""

    def of_part(self, k: int) -> Variant:
        """Return the same mistake, made in part ``k`` of a network."""
        return replace(
            self,
            key=f"{k}: {self.key}" if not self.path else f"{k}/{self.key}",
            where=f"{k}/{self.where}",
            path=(k, *self.path),
        )


def planted(arch: Any, variants: Iterable[Variant]) -> Any:
    """Return the network with all of these mistakes in it.

    Where two of them change the same arrays, the first is made first.
    """
    for variant in variants:
        arch = _at(arch, variant.path, variant.plant)
    return arch


def _at(arch: Any, path: tuple[int, ...], plant: Plant) -> Any:
    """Plant at the end of a path; what is wrong already stays around it."""
    if isinstance(arch, Around | Stepped):
        return replace(arch, arch=_at(arch.arch, path, plant))
    if path:
        parts = list(arch.parts)
        parts[path[0]] = _at(parts[path[0]], path[1:], plant)
        return arch.with_parts(*parts)
    return plant(arch)


# --- the right network, run in a wrong way ----------------------------------


@dataclass(frozen=True)
class Inputs:
    """What a network is run on, all sequences at once."""

    params: Arrays
    x: Array
    state: Arrays
    t0: int
    xp: ModuleType
    lengths: Array | None


@dataclass(frozen=True)
class Around:
    """A network that is run on other inputs, or whose outputs are mistaken."""

    arch: Any
    before: Callable[[Any, Inputs], Inputs] | None = None
    after: Callable[[Any, Inputs, Result], Result] | None = None
    instead: Callable[[Any, Inputs], Result] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    @property
    def causal(self) -> bool:
        """Whether it may be run step by step: it may not."""
        return False

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> Result:
        """Run the network over a whole sequence, in the wrong way."""
        given = Inputs(params, x, state, t0, xp, lengths)
        run = given if self.before is None else self.before(self.arch, given)
        result = (self.instead or scanned)(self.arch, run)
        if self.after is None:
            return result
        return self.after(self.arch, given, result)


def scanned(arch: Any, run: Inputs) -> Result:
    """Run the scan of ``step`` on these inputs."""
    return scan(arch, run.params, run.x, run.state, run.t0, run.xp, run.lengths)


@dataclass(frozen=True)
class Stepped:
    """A network whose step is handed a wrong state, or a wrong time."""

    arch: Any
    before: Callable[[Any, Arrays, Arrays, int], tuple[Arrays, int]]

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
        """Compute one time step from what it is handed instead."""
        state, t = self.before(self.arch, params, state, t)
        result: tuple[Arrays, Arrays] = self.arch.step(params, state, x, t, xp)
        return result


# --- the network written out once more --------------------------------------

Switches = Mapping[str, Any]


@dataclass(frozen=True)
class Switched:
    """A network whose step is written out again, with switches."""

    arch: Any
    rewritten: Callable[..., tuple[Arrays, Arrays]]
    switches: Switches

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
        """Compute one time step with what is switched on."""
        return self.rewritten(self.arch, self.switches, params, state, x, t, xp)


@dataclass(frozen=True)
class Rewired:
    """A network whose run over a sequence is written out, with switches."""

    arch: Any
    rewritten: Callable[..., Result]
    switches: Switches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    @property
    def causal(self) -> bool:
        """Whether it may be run step by step: it may not."""
        return False

    def with_parts(self, *parts: Any) -> Rewired:
        """Return the same wiring of other parts."""
        return replace(self, arch=self.arch.with_parts(*parts))

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> Result:
        """Run over a whole sequence with what is switched on."""
        run = Inputs(params, x, state, t0, xp, lengths)
        return self.rewritten(self.arch, self.switches, run)


# --- makers -----------------------------------------------------------------


def on_params(change: Callable[..., Arrays]) -> Plant:
    """Make a mistake in the weights: ``change(params, xp)`` returns new ones.

    What it leaves out stays as it is.
    """

    def before(arch: Any, run: Inputs) -> Inputs:
        return replace(run, params=run.params | change(run.params, run.xp))

    return lambda arch: Around(arch, before)


def before_run(before: Callable[[Any, Inputs], Inputs]) -> Plant:
    """Make a mistake in what a network is run on."""
    return lambda arch: Around(arch, before)


def after_run(after: Callable[[Any, Inputs, Result], Result]) -> Plant:
    """Make a mistake in what is taken for the output or the state."""
    return lambda arch: Around(arch, None, after)


def around(
    before: Callable[[Any, Inputs], Inputs],
    after: Callable[[Any, Inputs, Result], Result],
) -> Plant:
    """Make a mistake before the run, and another after it."""
    return lambda arch: Around(arch, before, after)


def instead_of_run(instead: Callable[[Any, Inputs], Result]) -> Plant:
    """Run the network in another way."""
    return lambda arch: Around(arch, None, None, instead)


def at_each_step(
    before: Callable[[Any, Arrays, Arrays, int], tuple[Arrays, int]],
) -> Plant:
    """Make a mistake in what each step is handed."""
    return lambda arch: Stepped(arch, before)


def switched(
    rewritten: Callable[..., tuple[Arrays, Arrays]], **switches: Any
) -> Plant:
    """Turn switches on in a step that is written out again."""

    def plant(arch: Any) -> Any:
        if isinstance(arch, Switched):
            return replace(arch, switches={**arch.switches, **switches})
        return Switched(arch, rewritten, switches)

    return plant


def rewired(rewritten: Callable[..., Result], **switches: Any) -> Plant:
    """Turn switches on in a run that is written out again."""

    def plant(arch: Any) -> Any:
        if isinstance(arch, Rewired):
            return replace(arch, switches={**arch.switches, **switches})
        return Rewired(arch, rewritten, switches)

    return plant


def with_output(result: Result, y: Array) -> Result:
    """Return a result with another output."""
    _, state, trace = result
    return y, state, trace | {"y": y}
