"""Q-learning with a recurrent network, replay and a target network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    NotFiniteError,
    buffers,
    check_sizes,
    check_tree,
    draws,
    is_causal,
)
from msref.arrays import Array, Arrays
from msref.progress import bar
from msref.training.divergence import placed
from msref.training.games import Environment, draw_goal, explorer, play
from msref.training.metrics import Tally
from msref.training.model import Model
from msref.training.optimisers import Adam, Optimiser
from msref.training.q_states import (
    Learned,
    evaluation,
    follow,
    read_learned,
    write_learned,
)
from msref.training.replay import filled
from msref.training.sealed import described_rng, described_tree
from msref.training.temporal_difference import td_loss, td_targets


@dataclass(frozen=True)
class QLearning:
    """Deep recurrent Q-learning (Hausknecht & Stone, 2015), small.

    The loss and its gradients are those of ``temporal_difference``. An
    episode: a goal is drawn evenly, a game is played and kept, then there
    are ``n_updates`` updates. The moves of a game are greedy, but with
    probability ``epsilon`` one is drawn from the environment's exploration
    policy. Before the first episode, the replay is filled by that policy.

    Conventions
        Source: the warm-up paper (Lambrechts et al., 2023), from its
        authors' code. There, too, evaluations are greedy, so all games with
        one goal are the same: we play one for each goal, in one batch, which
        says as much as the 50 there. There, too, a game that was broken off
        at the horizon has not ended, so that its target looks at a history
        longer than any whose value is learned. In a maze of length 2, with 5
        moves to the horizon, we saw an optimal player lost again by this; in
        one of length 10 we did not. No gradient is clipped.

    Attributes
        gamma: discount of later rewards.
        epsilon: share of moves that explore.
        capacity: moves in the replay; see ``Replay``.
        n_batch: moves in a batch.
        n_updates: updates after each episode.
        copy_every: episodes between two copies of the parameters.
        evaluate_every: episodes between two evaluations.
        optimiser: makes the updates.

    Raises
        TypeError: a number that has to be whole and is not.
        ValueError: a number out of its range.
    """

    gamma: float = 0.98
    epsilon: float = 0.2
    capacity: int = 8192
    n_batch: int = 32
    n_updates: int = 10
    copy_every: int = 20
    evaluate_every: int = 20
    optimiser: Optimiser = field(default_factory=Adam)

    def __post_init__(self) -> None:
        for name in ("gamma", "epsilon"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected 0..1")
        sizes = ("capacity", "n_batch", "n_updates")
        for name in (*sizes, "copy_every", "evaluate_every"):
            check_sizes(**{name: getattr(self, name)})

    def model(self, arch: Any, environment: Environment) -> Model:
        """Return the core with a read-out of one value for each move.

        Its parameters are those of ``train``; its loss is not used.

        Raises
            TypeError: the core looks ahead, or has layers that draw or
                observe.
            ValueError: the core has another n_in than a frame of ``Game``.
        """
        if not is_causal(arch):
            raise TypeError(
                f"{arch!r} looks ahead, expected a network that can choose a"
                " move before it knows what follows"
            )
        if draws(arch) or buffers(arch):
            raise TypeError(
                f"{arch!r} draws or observes in training, expected a network"
                " of parameters that are learned alone"
            )
        n_in = environment.n_actions + 1 + environment.n_observations
        if arch.n_in != n_in:
            raise ValueError(
                f"{arch!r} has n_in={arch.n_in}, expected {n_in}: a move of"
                f" {environment.n_actions}, its reward, an observation of"
                f" {environment.n_observations}"
            )
        return Model(arch, environment.n_actions, "squared")

    def fill(
        self,
        environment: Environment,
        rng: np.random.Generator,
        dtype: npt.DTypeLike = np.float64,
    ) -> list[Array]:
        """Return the histories that a training starts from.

        They are what a warm-up needs. ``train`` fills its replay first of
        all: with a generator in the same state it draws these again.

        Returns
            h_n of every move of the filled replay, (n, n_in); they are views
            of fewer arrays.

        Raises
            ValueError: the replay cannot hold a single game.
        """
        return filled(self.capacity, environment, rng, dtype).histories()

    def train(
        self,
        arch: Any,
        params: Arrays,
        environment: Environment,
        rng: np.random.Generator,
        n_episodes: int = 2000,
        report: Callable[[Learned], None] | None = None,
        progress: bool | None = None,
        checkpoint: Path | str | None = None,
    ) -> Learned:
        """Learn from ``n_episodes`` games.

        Arguments
            arch: the core; see ``model``.
            params: of ``model(arch, environment)``, where to start; their
                dtype is that of the whole training.
            rng: draws, in this order, the replay, and for each episode its
                goal, its moves, and all its batches at once; left where the
                last episode left it.
            report: called after each evaluation with what there is; the last
                record of its ``curve`` is new.
            progress: show a bar; ``None`` for where stderr is a terminal.
            checkpoint: a file, written at each evaluation, at the end, and
                at Ctrl-C. Where it exists, the training goes on from there,
                with the same bits as without a break; everything else has to
                be as it was at the beginning, but ``n_episodes`` may have
                grown. One that is beyond ``n_episodes`` is refused.

        Raises
            TypeError, ValueError: arguments or a checkpoint that do not fit.
            DivergedError: NaN or infinity on the way, with the episode; a
                ValueError, too.
            OSError: the checkpoint cannot be written or read.
        """
        check_sizes(n_episodes=n_episodes)
        model = self.model(arch, environment)
        like = params.get("readout/b_o", np.empty(0))
        check_tree("params", params, model.shapes(), like)
        belongs_to = self._fingerprint(model, environment, params, rng)
        if checkpoint is not None and Path(checkpoint).exists():
            learned = read_learned(checkpoint, belongs_to, self.capacity)
            if learned.episode > n_episodes:
                raise ValueError(
                    f"{checkpoint} is after {learned.episode} episodes,"
                    f" expected at most n_episodes={n_episodes}"
                )
        else:
            learned = self._start(model, params, environment, rng)
            if report is not None:
                report(learned)
        rng.bit_generator.state = learned.rng

        def save() -> None:
            if checkpoint is not None:
                write_learned(checkpoint, learned, belongs_to)

        with bar(progress, "Q-learning", n_episodes) as show:
            show(learned.episode, _latest(learned))
            try:
                while learned.episode < n_episodes:
                    learned = self._episode(model, learned, environment, rng)
                    show(learned.episode, _latest(learned))
                    if learned.episode % self.evaluate_every == 0:
                        if report is not None:
                            report(learned)
                        save()
            except KeyboardInterrupt:
                save()
                raise
        save()
        return learned

    # --- the parts of a training --------------------------------------------

    def _start(
        self,
        model: Model,
        params: Arrays,
        environment: Environment,
        rng: np.random.Generator,
    ) -> Learned:
        """Return the state before the first episode, evaluated."""
        began = time.perf_counter()
        dtype = params["readout/b_o"].dtype
        learned = Learned(
            params=dict(params),
            target=dict(params),
            optimiser=self.optimiser.init(params),
            replay=filled(self.capacity, environment, rng, dtype),
            rng=rng.bit_generator.state,
            curve=(evaluation(model, params, environment, 0),),
        )
        return replace(learned, seconds=time.perf_counter() - began)

    def _episode(
        self,
        model: Model,
        learned: Learned,
        environment: Environment,
        rng: np.random.Generator,
    ) -> Learned:
        """Play, learn; copy and evaluate where it is time."""
        began = time.perf_counter()
        episode = learned.episode + 1
        with placed(f"episode {episode}"):
            learned = self._updated(model, learned, environment, rng)
        if episode % self.copy_every == 0:
            learned = replace(learned, target=learned.params)
        if episode % self.evaluate_every == 0:
            record = evaluation(model, learned.params, environment, episode)
            record["loss"] = learned.loss.value
            curve = (*learned.curve, record)
            learned = replace(learned, curve=curve, loss=Tally())
        return replace(
            learned,
            rng=rng.bit_generator.state,
            episode=episode,
            seconds=learned.seconds + time.perf_counter() - began,
        )

    def _updated(
        self,
        model: Model,
        learned: Learned,
        environment: Environment,
        rng: np.random.Generator,
    ) -> Learned:
        """Play a game, and make the updates of its episode."""
        params, optimiser = learned.params, learned.optimiser
        greedy = follow(model, params, 1)
        explore = explorer(environment, rng)

        def choose(x: Array) -> Array:
            chosen = greedy(x)  # always: the network has to see each frame
            return explore(x) if rng.random() < self.epsilon else chosen

        dtype = params["readout/b_o"].dtype
        [game] = play(environment, [draw_goal(environment, rng)], choose, dtype)
        replay = learned.replay.with_game(game)
        # The target network rests meanwhile: one pass serves all updates.
        moves = replay.draw(rng, self.n_updates * self.n_batch)
        g = td_targets(model, learned.target, moves, self.gamma)
        loss = learned.loss
        for start in range(0, len(g), self.n_batch):
            part = slice(start, start + self.n_batch)
            L, grads = td_loss(model, params, moves[part], g[part])
            if not math.isfinite(L):
                raise NotFiniteError(
                    f"the loss is {L}, expected a finite number"
                )
            params, optimiser = self.optimiser.update(params, grads, optimiser)
            loss += Tally(L, 1)
        return replace(
            learned,
            params=params,
            optimiser=optimiser,
            replay=replay,
            loss=loss,
        )

    def _fingerprint(
        self,
        model: Model,
        environment: Environment,
        params: Arrays,
        rng: np.random.Generator,
    ) -> dict[str, str]:
        """Return what makes two trainings the same."""
        return {
            "agent": repr(self),
            "model": repr(model),
            "environment": repr(environment),
            "params": described_tree(params),
            "rng": described_rng(rng.bit_generator.state),
        }


def _latest(learned: Learned) -> str:
    """Say what the last evaluation found."""
    found = learned.curve[-1]
    return f"return {found['return']:.2f}, moves {found['moves']:.1f}"
