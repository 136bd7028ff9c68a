"""Warm-up: a network learns to end in many states, before it learns a task.

warmup          the procedure: parameters and sequences in, parameters out
double_layer    a layer of two halves, of which one can be warmed up alone

What each step of it descends, with the gradient by hand, is in
``warmup_loss.py``; the runs that this takes are in ``warmup_runs.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from msref.architectures import Parallel
from msref.architectures.base import check_sizes
from msref.arrays import Array, Arrays, moved, namespace, prefixed, under
from msref.data.batching import minibatches, pad
from msref.dynamics.trained import trained
from msref.pretraining.laes_sequences import AnySequences, as_sequences
from msref.pretraining.warmup_layers import Layer, remembering
from msref.pretraining.warmup_loss import check_goal, warmup_loss
from msref.progress import bar
from msref.training.divergence import placed
from msref.training.model import Model
from msref.training.optimisers import Adam


@dataclass(frozen=True)
class Warmup:
    """What a warm-up did, step by step.

    Attributes
        loss: (n_steps,), before the update of each step. It is noisy: every
            step has another M.
        vaa_star: (n_steps, n_layers), VAA* of each layer, bottom to top.
        lengths: (n_steps,) of int, M, the steps of constant input.
        tolerance: within which ``vaa_star`` takes states for the same.
        seconds: time spent.
    """

    loss: Array
    vaa_star: Array
    lengths: Array
    tolerance: float
    seconds: float


def warmup(
    arch: Any,
    params: Arrays,
    sequences: AnySequences,
    rng: np.random.Generator,
    *,
    n_steps: int = 100,
    rate: float = 1e-2,
    n_batch: int = 32,
    increment: int = 10,
    longest: int = 200,
    tolerance: float = 1e-4,
    target: float = 0.95,
    partial: bool = False,
    whole: bool = False,
    progress: bool | None = None,
) -> tuple[Arrays, Warmup]:
    """Give a network many stable states (Lambrechts et al., 2023).

    Procedure, for k = 0 .. n_steps - 1
        1. take the next n_batch sequences
        2. draw M evenly from 1 .. min(1 + increment k, longest)
        3. draw for each sequence a cut evenly from 1 .. its length
        4. draw for each layer a constant input z, standard normal
        5. make one step of Adam on ``warmup_loss``

    All is drawn from ``rng``, in this order, the layers from the lowest on;
    1 draws a permutation of the sequences whenever all have been taken, and
    the last batch before that may be smaller. A single sequence that is left
    over has VAA* 1 and no gradient.

    Arguments
        arch: a causal network, or a Model with such a core: its read-out and
            what is frozen stay, its constraints hold, its penalty is left
            out. Batch norm and dropout run as they do after training; buffers
            stay.
        params: its parameters; they are not changed.
        sequences: inputs, a list of (n_time_q, n_in) or one array
            (n_time, n_batch, n_in); at least two.
        rate: learning rate of Adam, above 0.
        increment, longest: how M grows. VAA* has no gradient once all states
            agree, so M begins at 1, where they still differ.
        tolerance, target, partial: as in ``warmup_loss``.
        whole: do not cut, and draw no cuts: each sequence is a prefix
            already, such as the histories of an agent.
        progress: show a bar; ``None`` for where stderr is a terminal.

    Returns
        new parameters, where the old ones live, and the record. What is
        drawn is drawn on the host.

    Raises
        TypeError, ValueError: arguments that do not fit, a network that
            looks ahead or has no state, one of which everything is frozen.
        DivergedError: NaN or infinity on the way, with step and place; a
            ValueError, too.

    Conventions
        It takes minutes and writes no checkpoint: Ctrl-C loses this run and
        nothing else.

        VAA* may reach its target by states that are only slow to meet. Look
        at the network afterwards at several M, above ``longest`` too
        (``msref.dynamics``).

        Clocks go on from the cuts, which are different times: while a layer
        settles on z, its sequences are at different phases, and VAA* may
        take one cycle, seen at several phases, for several states.
        ``msref.dynamics.multistability`` looks at all of them at the same
        phase, and may find fewer.

    What networks without gates do with it
        VAA counts states that differ, stable or not. Measured by us (one
        layer of 32 units, sequences of 20 normal numbers, two seeds each),
        afterwards, at M = 200 and 2000:
        - A linear memory has one state of rest or runs away. W_mm of an LMN
          got an eigenvalue of 1.6 to 1.8: VAA is 1 at 200, and an overflow
          comes before 2000. With singular values kept within 1 by a Model's
          constraints it is 1, then 0.4 to 1; slow rotations of m and the
          loop through the tanh of h look the same to VAA.
        - A ReLU unit of an IndRNN with a weight of 1 is a sum, beyond it runs
          away. At weights up to 1.08 VAA is 0.8, then 0.03 to 0.8; with
          weights kept within 1 it is 0.95 or more at both. With tanh such
          units stayed monostable: 0.03.
        - A DuRNN has a full recurrence, too. With tanh VAA is 1, even at
          2000; with ReLUs 1, then 0.06 to 1.

    Source
        The authors' code; all defaults are its own. The histories of its
        agent are warmed up on ``whole``.
    """
    # A bare network is the core of a model whose read-out nobody uses.
    model = arch if isinstance(arch, Model) else Model(arch, 1)
    core, _ = trained(arch, params)
    layers = remembering(core, partial)
    check_sizes(
        n_steps=n_steps, n_batch=n_batch, increment=increment, longest=longest
    )
    check_goal(target, tolerance)
    if not 0 < rate < np.inf:
        raise ValueError(f"rate is {rate}, expected above 0")
    frames, _ = as_sequences(sequences, core.n_in)
    if min(len(frames), n_batch) < 2:
        raise ValueError(
            f"there are {len(frames)} sequences in batches of {n_batch},"
            " expected at least 2: one state alone differs from no other"
        )
    params = model.projected(
        dict(params) if model is arch else prefixed("core", params)
    )
    learned = prefixed("core", under("core", model.trainable(params)))
    if not learned:
        raise ValueError("all of the core is frozen, expected a part to learn")
    optimiser = Adam(rate)
    state = optimiser.init(learned)
    like = next(iter(learned.values()))
    batches = _batches(len(frames), n_batch, rng)

    began = time.perf_counter()
    loss, lengths = np.zeros(n_steps), np.zeros(n_steps, int)
    V = np.zeros((n_steps, len(layers)))
    with bar(progress, "warm-up", n_steps) as show:
        for k in range(n_steps):
            batch = [frames[i] for i in next(batches)]
            most = min(1 + increment * k, longest)
            point = _draw(batch, layers, most, rng, like, whole)
            lengths[k] = point.n_stable
            with placed(f"step {k + 1}"):
                loss[k], grads, V[k] = warmup_loss(
                    core,
                    under("core", params),
                    *point,
                    target=target,
                    tolerance=tolerance,
                    partial=partial,
                )
                grads = prefixed("core", grads)
                grads = {name: grads[name] for name in learned}
                params, state = optimiser.update(params, grads, state)
                params = model.projected(params)
            show(k + 1)
    record = Warmup(loss, V, lengths, tolerance, time.perf_counter() - began)
    return (params if model is arch else under("core", params)), record


WIDTHS = ("n_hid", "n_mem", "n_short", "n_long")
"""What a half has half of, where a network has it."""


def double_layer(cell: Any) -> Parallel:
    """Return two cells of half the width, side by side.

    Warmed up with ``partial``, one half is to remember and the other to stay
    precise.

    Arguments
        cell: a network with ``n_hid``, such as a GRU, or with several widths,
            such as an LMN: each is halved. An odd one loses a unit, as in the
            authors' code.

    Raises
        TypeError: a network without a width.
        ValueError: a width below 2.
    """
    widths = {k: getattr(cell, k) // 2 for k in WIDTHS if hasattr(cell, k)}
    if not widths:
        raise TypeError(f"cell is {cell!r}, expected a network with n_hid")
    half = replace(cell, **widths)
    return Parallel(half, half)


# --- a step -----------------------------------------------------------------


class _Point(NamedTuple):
    """What is drawn for a step; see ``warmup_loss``."""

    x: Array
    cuts: Array
    z: list[Array]
    n_stable: int


def _draw(
    batch: list[Array],
    layers: list[Layer],
    most: int,
    rng: np.random.Generator,
    like: Array,
    whole: bool,
) -> _Point:
    """Draw M, cuts and constant inputs, in this order, for a parameter."""
    n_stable = int(rng.integers(1, most, endpoint=True))
    cuts = np.array([len(x) for x in batch])
    if not whole:
        cuts = rng.integers(1, cuts, endpoint=True)
    z = [rng.standard_normal(layer.arch.n_in) for layer in layers]
    prefixes = [x[:cut] for x, cut in zip(batch, cuts, strict=True)]
    xp, dtype = namespace(like), like.dtype
    x = moved(pad(prefixes, dtype)[0], xp)
    z = [moved(z_l.astype(dtype), xp) for z_l in z]
    return _Point(x, cuts, z, n_stable)


def _batches(
    n_sequences: int, n_batch: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield batches of all sequences, in another order in each pass."""
    while True:
        yield from minibatches(n_sequences, n_batch, rng)
