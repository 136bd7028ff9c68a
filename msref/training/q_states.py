"""What a Q-learning has come to: its state, how well it plays, its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays, prefixed, under
from msref.training.games import Choose, Environment, play
from msref.training.metrics import Tally
from msref.training.model import Model
from msref.training.replay import Replay
from msref.training.sealed import read_sealed, write_sealed
from msref.training.states import Record


@dataclass(frozen=True, eq=False)
class Learned:
    """What a Q-learning has come to, between two episodes.

    Attributes
        params: of the model, see ``QLearning.model``.
        target: the parameters as they were last copied.
        optimiser: the optimiser's own state.
        replay: the games to learn from.
        rng: state of the bit generator after the last episode.
        episode: episodes done.
        curve: one record for each evaluation, the first before any episode:
            ``episode``; mean ``return`` (sum of rewards) and ``moves`` over
            the goals; ``optimal``, 1 or 0; and, but for the first, ``loss``,
            the mean since the evaluation before.
        loss: since the last evaluation.
        seconds: time spent, without checkpoints.
    """

    params: Arrays
    target: Arrays
    optimiser: Arrays
    replay: Replay
    rng: Mapping[str, Any]
    episode: int = 0
    curve: tuple[Record, ...] = ()
    loss: Tally = field(default_factory=Tally)
    seconds: float = 0.0

    @property
    def optimal_after(self) -> int | None:
        """Episodes before the first optimal evaluation, ``None`` for never."""
        found = (int(r["episode"]) for r in self.curve if r["optimal"])
        return next(found, None)


def follow(model: Model, params: Arrays, n_batch: int) -> Choose:
    """Return the greedy player of ``n_batch`` games, at their start."""
    p, W_yo, b_o = (
        under("core", params),
        params["readout/W_yo"],
        params["readout/b_o"],
    )
    state, t = model.core.initial_state(n_batch, b_o.dtype), 0

    def choose(x: Array) -> Array:
        nonlocal state, t
        state, trace = model.core.step(p, state, x, t)
        t += 1
        chosen: Array = (trace["y"] @ W_yo + b_o).argmax(-1)
        return chosen

    return choose


def evaluation(
    model: Model, params: Arrays, environment: Environment, episode: int
) -> Record:
    """Play every goal once, without chance; see ``Learned.curve``."""
    goals = environment.goals
    greedy = follow(model, params, len(goals))
    games = play(environment, goals, greedy, params["readout/b_o"].dtype)
    returns = [float(game.rewards.sum()) for game in games]
    n_moves = [game.n_moves for game in games]
    best = (environment.best_return, environment.best_moves)
    optimal = all(pair == best for pair in zip(returns, n_moves, strict=True))
    return {
        "episode": episode,
        "return": float(np.mean(returns)),
        "moves": float(np.mean(n_moves)),
        "optimal": float(optimal),
    }


# --- checkpoints ------------------------------------------------------------


def write_learned(
    path: Path | str, learned: Learned, belongs_to: Mapping[str, str]
) -> None:
    """Write a checkpoint; ``belongs_to`` says of which training.

    Raises
        OSError: the file cannot be written; an old one is left as it was.
    """
    arrays = {
        **prefixed("params", learned.params),
        **prefixed("target", learned.target),
        **prefixed("optimiser", learned.optimiser),
        **prefixed("replay", learned.replay.arrays()),
    }
    run = {
        "rng": learned.rng,
        "episode": learned.episode,
        "curve": learned.curve,
        "loss": [learned.loss.hits, learned.loss.total],
        "seconds": learned.seconds,
    }
    write_sealed(path, run, arrays, belongs_to)


def read_learned(
    path: Path | str, belongs_to: Mapping[str, str], capacity: int
) -> Learned:
    """Read what ``write_learned`` wrote.

    Raises
        OSError, ValueError: as ``read_sealed``.
    """
    run, arrays = read_sealed(path, belongs_to)
    return Learned(
        params=under("params", arrays),
        target=under("target", arrays),
        optimiser=under("optimiser", arrays),
        replay=Replay.of(capacity, under("replay", arrays)),
        rng=run["rng"],
        episode=run["episode"],
        curve=tuple(run["curve"]),
        loss=Tally(*run["loss"]),
        seconds=run["seconds"],
    )
