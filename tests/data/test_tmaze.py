"""The T-maze: walls, rewards, what is seen, and the way to the treasure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import TMaze
from msref.data.tmaze import ACTIONS, GOALS, OBSERVATIONS, Place
from msref.training.games import explorer, play

LENGTHS = st.integers(1, 12)
GOAL = st.sampled_from(GOALS)
MOVES = st.lists(st.sampled_from(ACTIONS), max_size=40)


def walk(maze, goal, moves):
    """Return the places on a way, and the rewards on it."""
    places, rewards = [maze.reset(goal)], []
    for move in moves:
        if places[-1].ended:
            break
        place, reward = maze.step(places[-1], ACTIONS.index(move))
        places.append(place)
        rewards.append(reward)
    return places, rewards


def seen(maze, place):
    return [OBSERVATIONS[k] for k in np.flatnonzero(maze.observe(place))]


@given(LENGTHS, GOAL)
def test_the_shortest_way_has_the_best_return(length, goal):
    maze = TMaze(length)
    places, rewards = walk(maze, goal, ["right"] * length + [goal])
    assert places[-1].ended
    assert len(rewards) == maze.best_moves == length + 1
    assert sum(rewards) == maze.best_return == 4.0
    other = next(g for g in GOALS if g != goal)
    places, rewards = walk(maze, goal, ["right"] * length + [other])
    assert places[-1].ended
    assert rewards == [0.0] * length + [-0.1]


@given(LENGTHS, GOAL, MOVES)
def test_every_move_on_every_way(length, goal, moves):
    maze = TMaze(length)
    places, rewards = walk(maze, goal, moves)
    steps = zip(places, places[1:], moves, rewards, strict=False)
    for before, after, move, reward in steps:
        assert after.goal == goal
        along = {"right": 1, "left": -1}.get(move, 0)
        at_junction = before.cell == length
        if at_junction and move in GOALS:
            assert (after.arm, after.cell) == (move, length)
            assert reward == (4.0 if move == goal else -0.1)
        elif along and 0 <= before.cell + along <= length:
            assert after.cell == before.cell + along
            assert reward == 0.0
            assert not after.ended
        else:
            assert after == before
            assert reward == -0.1


@given(LENGTHS, GOAL, MOVES)
def test_the_goal_is_seen_at_the_start_alone(length, goal, moves):
    maze = TMaze(length)
    for place in walk(maze, goal, moves)[0]:
        if place.ended:
            expected = []
        elif place.cell == 0:
            expected = [goal]
        else:
            expected = ["junction" if place.cell == length else "corridor"]
        assert seen(maze, place) == expected
        assert maze.observe(place).shape == (maze.n_observations,)
        assert maze.observe(place).max(initial=0) == len(expected)


def test_the_default_is_that_of_the_authors_code():
    maze = TMaze()
    assert (maze.length, maze.horizon) == (10, 29)
    assert maze.n_actions == len(ACTIONS) == 4
    assert maze.n_observations == len(OBSERVATIONS) == 4
    assert ACTIONS == ("right", "up", "left", "down")
    np.testing.assert_allclose(maze.exploration, [1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert maze.exploration.sum() == pytest.approx(1)


def test_explorers_move_as_the_policy_says():
    maze = TMaze(3)
    moves = explorer(maze, np.random.default_rng(0))(np.zeros((30_000, 9)))
    share = np.bincount(moves, minlength=4) / len(moves)
    np.testing.assert_allclose(share, maze.exploration, atol=0.01)


@given(LENGTHS, GOAL)
def test_a_game_without_an_end_is_broken_off(length, goal):
    maze = TMaze(length)
    [game] = play(maze, [goal], lambda x: np.array([ACTIONS.index("left")]))
    assert game.n_moves == maze.horizon == 3 * length - 1
    assert not game.ended
    np.testing.assert_array_equal(game.rewards, -0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TMaze(0), "length is 0, expected at least 1"),
        (lambda: TMaze().reset("left"), "goal is 'left', expected 'up' or"),
        (lambda: TMaze().step(Place("up"), 4), r"action is 4, expected 0..3"),
        (lambda: TMaze().step(Place("up"), -1), "action is -1"),
        (lambda: TMaze().step(Place("up", 10, "down"), 0), "at the end"),
    ],
)
def test_what_is_no_game_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
