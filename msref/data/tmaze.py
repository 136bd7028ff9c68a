"""A T-maze: a corridor, a sign at its start, a choice at its end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from msref.arrays import Array
from msref.data.tasks import at_least

GOALS = ("up", "down")
ACTIONS = ("right", "up", "left", "down")
OBSERVATIONS = ("up", "down", "corridor", "junction")

_TREASURE, _PENALTY = 4.0, -0.1


@dataclass(frozen=True)
class Place:
    """Where one is in a maze.

    Attributes
        goal: "up" or "down", the arm with the treasure.
        cell: 0 at the start, to length at the junction.
        arm: the arm that was entered, "" before; there the game ends.
    """

    goal: str
    cell: int = 0
    arm: str = ""

    @property
    def ended(self) -> bool:
        """Whether an arm was entered: no move is possible any more."""
        return self.arm != ""


@dataclass(frozen=True)
class TMaze:
    """A maze in which one has to remember which way to turn at the end.

                                          +----------+
                                          |    up    |
        +-------+-------+---+-------------+----------+
        | start |   1   | … | length - 1  | junction |
        +-------+-------+---+-------------+----------+
                                          |   down   |
                                          +----------+

    The start shows where the treasure is, and no other cell does. Nothing is
    random: a goal and the moves decide all that follows.

        observed  the goal at the start, "corridor" in cells 1 to length - 1,
                  "junction" at the junction; one-hot in the order of
                  ``OBSERVATIONS``
        moves     0 to 3 as in ``ACTIONS``; a move into a wall does nothing
        reward    4 for the arm of the goal, -0.1 for the other arm and for a
                  move into a wall, 0 otherwise
        end       an arm was entered, or ``horizon`` moves were made; the
                  player counts them

    A wall lets one stay where one is; whoever comes back to the start sees
    the goal again. Source: the benchmark of the warm-up paper (Lambrechts et
    al., 2023), from its authors' code, without the chance that moves fail
    there. Our choice: in an arm nothing is observed, which is four zeros
    (there, the junction), and no move is possible.

    Attributes
        length: cells before the junction, at least 1; there, at least 2.

    Raises
        ValueError: ``length`` is below 1.
    """

    length: int = 10

    def __post_init__(self) -> None:
        at_least(1, length=self.length)

    @property
    def goals(self) -> tuple[str, ...]:
        """What ``reset`` takes."""
        return GOALS

    @property
    def n_actions(self) -> int:
        """Moves to choose from."""
        return len(ACTIONS)

    @property
    def n_observations(self) -> int:
        """Numbers in an observation."""
        return len(OBSERVATIONS)

    @property
    def horizon(self) -> int:
        """Moves after which a game is broken off: 3 length - 1."""
        return 3 * self.length - 1

    @property
    def best_return(self) -> float:
        """The largest sum of rewards: the treasure, and no wall."""
        return _TREASURE

    @property
    def best_moves(self) -> int:
        """Moves of the shortest way to the treasure: length + 1."""
        return self.length + 1

    @property
    def exploration(self) -> Array:
        """Probabilities (n_actions,) of the moves of one who looks around.

        1/2 for right, 1/6 for each of the others.
        """
        return np.array([3.0, 1.0, 1.0, 1.0]) / 6.0

    def reset(self, goal: str) -> Place:
        """Return the start of a maze whose treasure is "up" or "down".

        Raises
            ValueError: ``goal`` is something else.
        """
        if goal not in GOALS:
            raise ValueError(f"goal is {goal!r}, expected 'up' or 'down'")
        return Place(goal)

    def observe(self, place: Place) -> Array:
        """Return what is seen there, (n_observations,)."""
        if place.ended:
            return np.zeros(self.n_observations)
        if place.cell == 0:
            seen = place.goal
        else:
            seen = "junction" if place.cell == self.length else "corridor"
        return np.array([float(seen == name) for name in OBSERVATIONS])

    def step(self, place: Place, action: int) -> tuple[Place, float]:
        """Return where a move leads, and its reward.

        Raises
            ValueError: the game is over, or there is no such move.
        """
        if place.ended:
            raise ValueError(f"{place} is at the end, expected a place before")
        if not 0 <= action < len(ACTIONS):
            raise ValueError(
                f"action is {action}, expected 0..{len(ACTIONS) - 1}"
            )
        move = ACTIONS[action]
        if move in GOALS and place.cell == self.length:
            found = move == place.goal
            return replace(place, arm=move), _TREASURE if found else _PENALTY
        cell = place.cell + {"right": 1, "left": -1}.get(move, 0)
        if cell == place.cell or not 0 <= cell <= self.length:
            return place, _PENALTY
        return replace(place, cell=cell), 0.0
