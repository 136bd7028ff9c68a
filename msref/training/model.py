"""A recurrent core, a linear read-out and a loss: what is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    Shapes,
    buffers,
    check_tree,
    draws,
    evaluating,
    observe,
    run_forward,
    scan,
)
from msref.arrays import (
    Array,
    Arrays,
    count,
    moved,
    namespace,
    prefixed,
    under,
)
from msref.data.batching import pad
from msref.functional import flat, glorot_uniform
from msref.training.constraints import Constraints
from msref.training.ctc import temporal_classification
from msref.training.losses import (
    LossFunction,
    bernoulli_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from msref.training.penalties import Penalty

LOSSES: dict[str, LossFunction] = {
    loss.name: loss
    for loss in (
        mean_squared_error,
        bernoulli_cross_entropy,
        softmax_cross_entropy,
        temporal_classification,
    )
}
"""The losses by name."""

Pair = tuple[Array, Array]
"""An input (n_time, n_in) and its target; see ``Batch.of``."""

AnyPair = tuple[Array, Array | int]
"""The same, or with a single class as the target."""


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, and which of their frames count.

    Attributes
        x: (n_time, n_batch, n_in).
        target: (n_time, n_batch, n_out), or (n_time, n_batch) of int.
        mask: (n_time, n_batch) of bool; ``None`` for all true.
        lengths: (n_batch,) of int, where a core that looks ahead has to
            know; ``None`` for n_time. On the host, whose loops ask.
    """

    x: Array
    target: Array
    mask: Array | None = None
    lengths: Array | None = None

    @classmethod
    def of(
        cls, pairs: Sequence[AnyPair], dtype: npt.DTypeLike = np.float64
    ) -> Batch:
        """Put pairs side by side, padded with zeros.

        A target that is shorter than its input belongs to the last frames
        of it, so that a class of the whole sequence is a target of one frame.
        The labels of ``ctc`` go the same way, k of them in any k frames or
        more: the loss reads them off in order, and their places say nothing
        but where the sequence ends.

        Arguments
            pairs: inputs (n_time_b, n_in), each with its target of k frames,
                1 <= k <= n_time_b: (k, n_out) of numbers, or (k,) of int;
                a single int is a frame.

        Raises
            ValueError: as ``pad``, and for targets of other shapes.
        """
        x, lengths = pad([x for x, _ in pairs], dtype)
        xp = namespace(x)
        targets = [moved(target, xp) for _, target in pairs]
        targets = [t.reshape(1) if t.ndim == 0 else t for t in targets]
        if targets[0].ndim == 1:
            dtype = np.result_type(*(t.dtype for t in targets))
        target = xp.zeros((*x.shape[:2], *targets[0].shape[1:]), dtype)
        mask = xp.zeros(x.shape[:2], bool)
        for b, (end, frames) in enumerate(zip(lengths, targets, strict=True)):
            start = end - len(frames)
            if not 0 <= start < end or frames.shape[1:] != target.shape[2:]:
                raise ValueError(
                    f"the target of sequence {b} has shape {frames.shape},"
                    f" expected 1 to {end} frames like those of the others"
                )
            target[start:end, b] = frames
            mask[start:end, b] = True
        return cls(x, target, mask, lengths)

    def beside(self, params: Arrays) -> Batch:
        """Return the batch where parameters live; lengths stay put."""
        xp = namespace(*params.values())
        mask = None if self.mask is None else moved(self.mask, xp)
        return Batch(
            moved(self.x, xp), moved(self.target, xp), mask, self.lengths
        )

    @property
    def n_frames(self) -> int:
        """Frames that count."""
        n_time, n_batch, _ = self.x.shape
        return n_time * n_batch if self.mask is None else int(self.mask.sum())


@dataclass(frozen=True)
class Model:
    """A core, read out linearly at every frame, and what it should learn.

    Equations
        y = core(x)                                          (1)
        o_t = y_t W_yo + b_o                                 (2)
        L = loss(o, target, mask) + penalty(params)          (3)

    Adjoints
        do = dloss / do                                      (3')
        dy_t = do_t W_yo^T                                   (2')
        dW_yo = sum_t y_t^T do_t,   db_o = sum_t do_t        (2')
        dparams = core's own backward pass of dy             (1')
        dparams += dpenalty / dparams                        (3')

    Arrays
        core/… those of the core
        readout/W_yo (core.n_out, n_out), readout/b_o (n_out)

    Attributes
        core: an architecture.
        n_out: units of the read-out.
        loss: a name in ``LOSSES``.
        frozen: names that have no gradient and are never updated, or the
            first parts of names: "core/W_mm", "core/0", "core". Buffers that
            are frozen do not observe anything either.
        penalty: added to the loss in training; validation leaves it out.
        constraints: names of parameters, each with its bound; a fit projects
            them at the start and after every update, but for frozen ones:
            these stay what they are, within their bounds or not. See
            ``msref.training.constraints.bounds``.

    Conventions
        A core may compute one thing in training and another afterwards, such
        as ``BatchNorm`` and ``Dropout``. ``objective``, ``training_pass`` and
        ``loss_and_gradients`` are training; ``predict`` and what is built on
        it, validation too, run ``evaluating(core)``.
        Buffers are arrays among the parameters that a training pass observes
        and no gradient moves. They are as if frozen: no gradient, no
        optimiser's state, no penalty, no bound.

    Start
        The core draws first, then W_yo Glorot-uniform; b_o is zero.

    Raises
        TypeError: constraints that are not pairs of a name and a bound.
        ValueError: n_out below 1; a loss, a frozen name, or a name in the
            penalty or the constraints that does not exist; a penalty or a
            constraint on a buffer; a penalty, or a constraint that fills
            zeros, on weights that are masked; a constraint of matrices on a
            vector; two constraints on one parameter.
    """

    core: Any
    n_out: int
    loss: str = "bernoulli"
    frozen: tuple[str, ...] = ()
    penalty: Penalty | None = None
    constraints: Constraints = ()

    def __post_init__(self) -> None:
        if self.n_out < 1:
            raise ValueError(f"n_out is {self.n_out}, expected at least 1")
        if self.loss not in LOSSES:
            raise ValueError(
                f"loss is {self.loss!r}, expected one of {sorted(LOSSES)}"
            )
        names = self.shapes()
        for start in self.frozen:
            if not any(_starts(name, start) for name in names):
                raise ValueError(
                    f"frozen holds {start!r}, expected names in {sorted(names)}"
                    " or their first parts"
                )
        for name in self.penalty.names if self.penalty else ():
            if name not in names:
                raise ValueError(
                    f"the penalty is on {name!r}, expected a name in"
                    f" {sorted(names)}"
                )
        self._check_constraints(names)
        self._check_buffers()
        self._check_masked()

    def _check_constraints(self, shapes: Shapes) -> None:
        """Require pairs of a name, each once, and a bound that fits it."""
        seen: set[str] = set()
        if not isinstance(self.constraints, tuple):
            raise TypeError(
                f"constraints are {self.constraints!r}, expected a tuple of"
                " pairs (name, constraint), such as bounds(core, …) gives"
            )
        for name, constraint in self.constraints:
            if name not in shapes:
                raise ValueError(
                    f"constraints hold {name!r}, expected names in"
                    f" {sorted(shapes)}"
                )
            if name in seen:
                raise ValueError(
                    f"constraints hold {name!r} twice, expected each name once"
                )
            seen.add(name)
            try:
                constraint.project(np.zeros((1,) * len(shapes[name])))
            except ValueError as error:
                raise ValueError(
                    f"{constraint!r} is on {name!r} of shape {shapes[name]},"
                    f" which it cannot bound: {error}"
                ) from error

    def _check_buffers(self) -> None:
        """Refuse what would have to move arrays that no gradient moves."""
        penalised = self.penalty.names if self.penalty else ()
        for label, names in (
            ("the penalty is", penalised),
            ("constraints are", [name for name, _ in self.constraints]),
        ):
            for name in names:
                if name in self.buffers:
                    raise ValueError(
                        f"{label} on {name!r}, a buffer: expected a parameter"
                        " that is learned"
                    )

    def _check_masked(self) -> None:
        """Refuse what would fill entries of weights that are never read."""
        masked = [f"core/{name}" for name in getattr(self.core, "masked", ())]
        for name in self.penalty.names if self.penalty else ():
            if name in masked:
                raise ValueError(
                    f"the penalty is on {name!r}, of which some entries are"
                    " never read: it would be of another matrix"
                )
        for name, constraint in self.constraints:
            if name in masked and not constraint.keeps_zeros:
                raise ValueError(
                    f"{constraint!r} is on {name!r}, of which some entries are"
                    " never read and zero: it would fill them"
                )

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return int(self.core.n_in)

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the arrays that are observed, and not learned."""
        return tuple(f"core/{name}" for name in buffers(self.core))

    @property
    def draws(self) -> bool:
        """Whether a training pass starts from a state that is drawn."""
        return draws(self.core)

    @property
    def loss_function(self) -> LossFunction:
        """The loss itself."""
        return LOSSES[self.loss]

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        core = {f"core/{k}": shape for k, shape in self.core.shapes().items()}
        W_yo, b_o = (self.core.n_out, self.n_out), (self.n_out,)
        return {**core, "readout/W_yo": W_yo, "readout/b_o": b_o}

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from (see Start)."""
        params = prefixed("core", self.core.init(rng, dtype))
        shape = (self.core.n_out, self.n_out)
        params["readout/W_yo"] = glorot_uniform(rng, shape, dtype)
        params["readout/b_o"] = np.zeros(self.n_out, dtype)
        return params

    def trainable(self, params: Arrays) -> Arrays:
        """Return what is learned: neither frozen parameters nor buffers."""
        fixed = {*self.buffers, *self._frozen_among(params)}
        return {k: array for k, array in params.items() if k not in fixed}

    def projected(self, params: Arrays) -> Arrays:
        """Return the parameters, each that is learned within its bound."""
        within, frozen = dict(params), self._frozen_among(params)
        for name, constraint in self.constraints:
            if name not in frozen:
                within[name] = constraint.project(within[name])
        return within

    def n_params(self, params: Arrays, frozen: bool = True) -> int:
        """Count the numbers in ``params``.

        Arguments
            frozen: count all, buffers too; ``False`` for those learned alone.
                Buffers are not learned.
        """
        return count(params if frozen else self.trainable(params))

    def objective(
        self,
        params: Arrays,
        batch: Batch,
        xp: ModuleType = np,
        state: Arrays | None = None,
    ) -> Array:
        """Return L of training by scanning ``step``: the specification.

        Slow and literal, for complex numbers and autograd boxes too;
        nothing is checked.

        Arguments
            state: as in ``training_pass``.
        """
        p, x, lengths = under("core", params), batch.x, batch.lengths
        y, _, _ = scan(self.core, p, x, state, xp=xp, lengths=lengths)
        o = y @ params["readout/W_yo"] + params["readout/b_o"]  # (2)
        L = self.loss_function.value(o, batch.target, batch.mask, xp)  # (3)
        return L + self.penalty.value(params, xp) if self.penalty else L

    def predict(
        self, params: Arrays, x: Array, lengths: Array | None = None
    ) -> Array:
        """Return o (n_time, n_batch, n_out), the logits of a cross-entropy.

        The core runs as after training: nothing is dropped, and what was
        observed takes the place of the batch's own mean and variance.

        Raises
            TypeError, ValueError: as the core's forward pass.
        """
        o, _, _ = self._forward(evaluating(self.core), params, x, lengths)
        return o

    def loss_and_gradients(
        self,
        params: Arrays,
        batch: Batch,
        detached: Array | None = None,
        state: Arrays | None = None,
    ) -> tuple[float, Arrays]:
        """Return the L and the gradients of a ``training_pass``."""
        L, grads, _ = self.training_pass(params, batch, detached, state)
        return L, grads

    def training_pass(
        self,
        params: Arrays,
        batch: Batch,
        detached: Array | None = None,
        state: Arrays | None = None,
    ) -> tuple[float, Arrays, Arrays]:
        """Run a batch forward and back, as it is in training.

        Arguments
            detached: (n_time,) of bool, handed to the core's backward pass
                where it is given; see ``LMN``.
            state: the core's initial state, such as a drawn one; ``None`` for
                its ``initial_state``.

        Returns
            L; name -> gradient of every parameter that is learned; name ->
            new value of every buffer that the pass observed, frozen ones
            left out.

        Raises
            TypeError, ValueError: as the core's forward pass and the loss.
        """
        o, y, tape = self._forward(
            self.core, params, batch.x, batch.lengths, state
        )
        L, do = self.loss_function(o, batch.target, batch.mask)  # (3) (3')

        trainable = self.trainable(params)
        grads = {
            "readout/W_yo": flat(y).T @ flat(do),  # (2')
            "readout/b_o": flat(do).sum(0),  # (2')
        }
        if under("core", trainable):  # an echo state network is done here
            dy = do @ params["readout/W_yo"].T  # (2')
            options = {} if detached is None else {"detached": detached}
            core = self.core.backward(  # (1')
                under("core", params), tape, dy, **options
            )
            grads |= prefixed("core", core.params)
        if self.penalty:
            xp = namespace(*params.values())
            L += float(self.penalty.value(params, xp))  # (3)
            for name, d_penalty in self.penalty.gradients(params).items():
                if name in trainable:
                    grads[name] = grads[name] + d_penalty  # (3')
        grads = {name: grads[name] for name in trainable}
        return L, grads, self._observed(params, tape)

    def _observed(self, params: Arrays, tape: Arrays) -> Arrays:
        """Return the new values of the buffers that are not frozen."""
        new = observe(self.core, under("core", params), tape)
        new = prefixed("core", new)
        frozen = self._frozen_among(new)
        return {k: array for k, array in new.items() if k not in frozen}

    def _frozen_among(self, names: Iterable[str]) -> set[str]:
        return {
            name
            for name in names
            if any(_starts(name, start) for start in self.frozen)
        }

    def _forward(
        self,
        core: Any,
        params: Arrays,
        x: Array,
        lengths: Array | None,
        state: Arrays | None = None,
    ) -> tuple[Array, Array, Arrays]:
        """Return o, and what the way back needs: y and the core's tape."""
        check_tree("params", params, self.shapes(), x)
        p = under("core", params)
        y, _, tape = run_forward(core, p, x, state, lengths=lengths)  # (1)
        W_yo = params["readout/W_yo"]
        o = (flat(y) @ W_yo).reshape(*x.shape[:2], self.n_out)  # (2)
        o += params["readout/b_o"]  # (2)
        return o, y, tape


def _starts(name: str, start: str) -> bool:
    return f"{name}/".startswith(f"{start.rstrip('/')}/")
