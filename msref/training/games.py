"""Games: where they are played, who chooses the moves, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from msref.arrays import Array


class Environment(Protocol):
    """A game without chance, once its goal is known; see ``TMaze``."""

    @property
    def goals(self) -> tuple[str, ...]:
        """The goals of which each game has one."""

    @property
    def n_actions(self) -> int:
        """Moves to choose from."""

    @property
    def n_observations(self) -> int:
        """Numbers in an observation."""

    @property
    def horizon(self) -> int:
        """Moves after which a game is broken off."""

    @property
    def best_return(self) -> float:
        """The largest sum of rewards."""

    @property
    def best_moves(self) -> int:
        """Moves of the shortest game with that sum."""

    @property
    def exploration(self) -> Array:
        """Probabilities (n_actions,) of the moves of one who looks around."""

    def reset(self, goal: str) -> Any:
        """Return the place where a game starts; it has an ``ended``."""

    def observe(self, place: Any) -> Array:
        """Return what is seen there, (n_observations,)."""

    def step(self, place: Any, action: int) -> tuple[Any, float]:
        """Return where a move leads, and its reward."""


Choose = Callable[[Array], Array]
"""Frames (n_batch, n_in), the next of each game -> moves (n_batch,)."""


@dataclass(frozen=True, eq=False)
class Game:
    """All moves from the start of a game to its end.

    Equations (o is an observation; move n is a_n and is rewarded r_n)
        x_0 = (0, 0, o_0),   x_n = (one-hot a_n, r_n, o_n)

    Frame x_n is what is new after move n, which was chosen knowing x_0 to
    x_{n-1}. Source: the warm-up paper (Lambrechts et al., 2023), from its
    authors' code.

    Attributes
        x: (n_moves + 1, n_in), n_in = n_actions + 1 + n_observations.
        actions: (n_moves,) of int.
        rewards: (n_moves,) of float64.
        ended: the last move ended it; a game that was broken off did not end.
    """

    x: Array
    actions: Array
    rewards: Array
    ended: bool

    @property
    def n_moves(self) -> int:
        """Moves that were made."""
        return len(self.actions)


def play(
    environment: Environment,
    goals: Sequence[str],
    choose: Choose,
    dtype: npt.DTypeLike = np.float64,
) -> list[Game]:
    """Play one game for each goal, side by side, each to its end.

    Arguments
        choose: asked before every move, for all games at once; what it says
            of a game that has ended is not read.
    """
    n_actions, n = environment.n_actions, len(goals)
    n_in = n_actions + 1 + environment.n_observations
    places = [environment.reset(goal) for goal in goals]
    x = np.zeros((environment.horizon + 1, n, n_in), dtype)
    actions: list[list[int]] = [[] for _ in goals]
    rewards: list[list[float]] = [[] for _ in goals]
    for b, place in enumerate(places):
        x[0, b, n_actions + 1 :] = environment.observe(place)
    for t in range(environment.horizon):
        if all(place.ended for place in places):
            break
        chosen = choose(x[t])
        for b, place in enumerate(places):
            if place.ended:
                continue
            action = int(chosen[b])
            places[b], reward = environment.step(place, action)
            x[t + 1, b, action] = 1.0
            x[t + 1, b, n_actions] = reward
            x[t + 1, b, n_actions + 1 :] = environment.observe(places[b])
            actions[b].append(action)
            rewards[b].append(reward)
    return [
        Game(
            x[: len(actions[b]) + 1, b].copy(),
            np.array(actions[b]),
            np.array(rewards[b]),
            bool(place.ended),
        )
        for b, place in enumerate(places)
    ]


def draw_goal(environment: Environment, rng: np.random.Generator) -> str:
    """Draw one of the goals, all alike."""
    return environment.goals[rng.integers(len(environment.goals))]


def explorer(environment: Environment, rng: np.random.Generator) -> Choose:
    """Return the player who draws moves from the exploration policy."""
    edges = np.cumsum(environment.exploration)[:-1]
    return lambda x: np.searchsorted(edges, rng.random(len(x)), side="right")
