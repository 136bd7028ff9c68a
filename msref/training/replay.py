"""Games that were played, kept to learn from.

What is drawn, and from what, is as in the warm-up paper (Lambrechts et al.,
2023), from its authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msref.arrays import Array, Arrays
from msref.training.games import (
    Environment,
    Game,
    draw_goal,
    explorer,
    play,
)


@dataclass(frozen=True, eq=False)
class Moves:
    """Moves side by side, each with all that came before and one frame more.

    Attributes
        x: (n_time, n_batch, n_in), zeros after the frame behind the move.
        n_before: (n_batch,), frames before the move; x[n_before] follows it.
        actions: (n_batch,) of int.
        rewards: (n_batch,) of float64.
        ended: (n_batch,) of bool: the game ended with this move.
    """

    x: Array
    n_before: Array
    actions: Array
    rewards: Array
    ended: Array

    def __getitem__(self, part: slice) -> Moves:
        """Return some of the moves, without frames that none of them needs."""
        n_before = self.n_before[part]
        return Moves(
            self.x[: n_before.max() + 1, part],
            n_before,
            self.actions[part],
            self.rewards[part],
            self.ended[part],
        )


@dataclass(frozen=True, eq=False)
class Replay:
    """The latest games, to draw moves from.

    A move and its history are a part of its game, so that nothing is stored
    twice. When moves get too many, the oldest game goes as a whole: that is
    our choice; the authors' buffer forgets move by move.

    Attributes
        capacity: moves, at most.
        games: the oldest first.
    """

    capacity: int
    games: tuple[Game, ...] = ()

    @property
    def n_moves(self) -> int:
        """Moves in all games together."""
        return sum(game.n_moves for game in self.games)

    def with_game(self, game: Game) -> Replay:
        """Return the replay with one game more, and as few less as fit."""
        games = (*self.games, game)
        n_moves = self.n_moves + game.n_moves
        while n_moves > self.capacity:
            n_moves -= games[0].n_moves
            games = games[1:]
        return Replay(self.capacity, games)

    def histories(self) -> list[Array]:
        """Return what was known before each move: n_moves views (n, n_in)."""
        return [
            game.x[:n] for game in self.games for n in range(1, len(game.x))
        ]

    def draw(self, rng: np.random.Generator, n_batch: int) -> Moves:
        """Draw moves evenly, with repetition.

        Raises
            ValueError: there is no move.
        """
        if not self.games:
            raise ValueError("the replay holds no game, expected at least one")
        ends = np.cumsum([game.n_moves for game in self.games])
        numbers = rng.integers(ends[-1], size=n_batch)
        which = np.searchsorted(ends, numbers, side="right")
        drawn = [self.games[k] for k in which]
        starts = np.concatenate([[0], ends[:-1]])[which]
        n_before = numbers - starts + 1  # the first move has seen one frame
        n_in = drawn[0].x.shape[1]
        x = np.zeros((n_before.max() + 1, n_batch, n_in), drawn[0].x.dtype)
        each = list(zip(drawn, n_before, strict=True))
        for b, (game, n) in enumerate(each):
            x[: n + 1, b] = game.x[: n + 1]
        return Moves(
            x,
            n_before,
            np.array([game.actions[n - 1] for game, n in each]),
            np.array([game.rewards[n - 1] for game, n in each]),
            np.array([game.ended and n == game.n_moves for game, n in each]),
        )

    def arrays(self) -> Arrays:
        """Return the games as arrays, end to end."""
        return {
            "x": np.concatenate([game.x for game in self.games]),
            "actions": np.concatenate([game.actions for game in self.games]),
            "rewards": np.concatenate([game.rewards for game in self.games]),
            "n_moves": np.array([game.n_moves for game in self.games]),
            "ended": np.array([game.ended for game in self.games]),
        }

    @classmethod
    def of(cls, capacity: int, arrays: Arrays) -> Replay:
        """Return the replay whose ``arrays`` these are."""
        ends = np.cumsum(arrays["n_moves"])
        frames = np.split(arrays["x"], (ends + np.arange(1, len(ends) + 1)))
        actions = np.split(arrays["actions"], ends)
        rewards = np.split(arrays["rewards"], ends)
        return cls(
            capacity,
            tuple(
                Game(frames[k], actions[k], rewards[k], bool(ended))
                for k, ended in enumerate(arrays["ended"])
            ),
        )


def filled(
    capacity: int,
    environment: Environment,
    rng: np.random.Generator,
    dtype: npt.DTypeLike = np.float64,
) -> Replay:
    """Explore until another game might not fit.

    Raises
        ValueError: ``capacity`` is below the moves of a single game.
    """
    if capacity < environment.horizon:
        raise ValueError(
            f"capacity is {capacity}, expected at least the horizon of a game,"
            f" {environment.horizon}"
        )
    explore = explorer(environment, rng)
    replay = Replay(capacity)
    while replay.n_moves + environment.horizon <= capacity:
        goal = draw_goal(environment, rng)
        [game] = play(environment, [goal], explore, dtype)
        replay = replay.with_game(game)
    return replay
