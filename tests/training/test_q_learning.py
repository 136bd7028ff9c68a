"""Q-learning: its games, its targets, its gradient, its resumption."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.architectures import (
    GRU,
    LSTM,
    Bidirectional,
    Dropout,
    Elman,
    Stack,
)
from msref.data import TMaze
from msref.data.tmaze import ACTIONS, GOALS
from msref.training import Adam, Batch, DivergedError, Game, QLearning, Replay
from msref.training.games import draw_goal, explorer, play
from msref.training.q_states import evaluation, follow
from msref.training.replay import filled
from msref.training.temporal_difference import td_loss, td_targets

SEEDS = st.integers(0, 2**32 - 1)
MAZE = TMaze(3)
CORE = Stack(GRU(9, 4), GRU(4, 3))
AGENT = QLearning(capacity=60, n_batch=5, n_updates=3)
MODEL = AGENT.model(CORE, MAZE)


def awake(seed, model=MODEL):
    """Draw parameters of which none is zero."""
    rng = np.random.default_rng(seed)
    return {k: rng.standard_normal(s) for k, s in model.shapes().items()}


def some_moves(seed, n_batch=6, maze=MAZE):
    rng = np.random.default_rng(seed)
    return filled(60, maze, rng).draw(rng, n_batch)


# --- games and replay -------------------------------------------------------


@given(SEEDS, st.integers(1, 6))
def test_a_frame_holds_move_reward_and_observation(seed, length):
    maze, rng = TMaze(length), np.random.default_rng(seed)
    for goal, game in zip(
        GOALS, play(maze, GOALS, explorer(maze, rng)), strict=True
    ):
        place = maze.reset(goal)
        np.testing.assert_array_equal(game.x[0, :5], 0)
        np.testing.assert_array_equal(game.x[0, 5:], maze.observe(place))
        assert len(game.x) == game.n_moves + 1 == len(game.rewards) + 1
        for n, action in enumerate(game.actions, 1):
            place, reward = maze.step(place, action)
            expected = [*np.eye(4)[action], reward, *maze.observe(place)]
            np.testing.assert_array_equal(game.x[n], expected)
            assert game.rewards[n - 1] == reward
        assert game.ended == place.ended
        assert game.ended or game.n_moves == maze.horizon


def numbered(n_games, seed=0):
    """Return games whose frames and actions tell which they are."""
    rng = np.random.default_rng(seed)
    games = []
    for k in range(n_games):
        n = int(rng.integers(1, 6))
        x = np.column_stack([np.full(n + 1, k), np.arange(n + 1)])
        number = 10 * k + np.arange(n)
        ended = bool(rng.integers(2))
        games.append(Game(x.astype(float), number, number / 4, ended))
    return games


@given(SEEDS, st.integers(1, 12), st.integers(5, 30))
def test_the_replay_keeps_the_latest_games_whole(seed, n_games, capacity):
    games = numbered(n_games, seed)
    replay = Replay(capacity)
    for game in games:
        replay = replay.with_game(game)
        assert replay.n_moves <= capacity
        assert replay.games[-1] is game
    kept = len(replay.games)
    assert list(replay.games) == games[n_games - kept :]
    if kept < n_games:  # not one game too many was dropped
        assert replay.n_moves + games[n_games - kept - 1].n_moves > capacity
    histories = replay.histories()
    assert len(histories) == replay.n_moves
    expected = [g.x[:n] for g in replay.games for n in range(1, len(g.x))]
    for found, want in zip(histories, expected, strict=True):
        np.testing.assert_array_equal(found, want)


@given(SEEDS, st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_a_drawn_move_brings_its_own_history(seed, n_games, n_batch, n_part):
    replay = Replay(99, tuple(numbered(n_games, seed)))
    moves = replay.draw(np.random.default_rng(seed), n_batch)
    parts = [moves, moves[-n_part:]]
    np.testing.assert_array_equal(
        parts[1].x, moves.x[: len(parts[1].x), -n_part:]
    )
    for part in parts:
        assert len(part.x) == part.n_before.max() + 1
        for b, n in enumerate(part.n_before):
            game = replay.games[part.actions[b] // 10]
            assert game.actions[n - 1] == part.actions[b]
            assert game.rewards[n - 1] == part.rewards[b]
            np.testing.assert_array_equal(part.x[: n + 1, b], game.x[: n + 1])
            assert not part.x[n + 1 :, b].any()
            assert part.ended[b] == (game.ended and n == game.n_moves)


def test_moves_are_drawn_evenly():
    replay = Replay(99, tuple(numbered(5)))
    moves = replay.draw(np.random.default_rng(0), 40_000)
    _, counts = np.unique(moves.actions, return_counts=True)
    assert len(counts) == replay.n_moves
    np.testing.assert_allclose(counts / 40_000, 1 / len(counts), rtol=0.1)


def test_a_full_replay_has_no_room_for_a_game_and_both_goals():
    replay = filled(200, MAZE, np.random.default_rng(0))
    assert 200 - MAZE.horizon < replay.n_moves <= 200
    shown = {tuple(game.x[0, 5:7]) for game in replay.games}
    assert shown == {(1, 0), (0, 1)}


def test_a_replay_is_its_arrays():
    replay = filled(60, MAZE, np.random.default_rng(0), np.float32)
    again = Replay.of(60, replay.arrays())
    assert len(again.games) == len(replay.games) > 1
    for game, same in zip(replay.games, again.games, strict=True):
        assert game.ended == same.ended
        for name in ("x", "actions", "rewards"):
            mine, other = getattr(game, name), getattr(same, name)
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, other)


# --- targets and gradients --------------------------------------------------


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=25)
def test_a_target_looks_ahead_unless_the_game_ended(seed, gamma):
    params, moves = awake(seed), some_moves(seed)
    g = td_targets(MODEL, params, moves, gamma)
    for b, n in enumerate(moves.n_before):
        expected = moves.rewards[b]
        if not moves.ended[b]:
            q = MODEL.predict(params, moves.x[: n + 1, [b]])[-1, 0]
            expected += gamma * q.max()
        assert g[b] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_of_a_move_that_ended_the_game_only_the_reward_counts():
    way = [*["right"] * MAZE.length, "up"]
    numbers = [ACTIONS.index(move) for move in way]
    after = iter(numbers)
    [game] = play(MAZE, ["up"], lambda x: np.array([next(after)]))
    moves = Replay(9, (game,)).draw(np.random.default_rng(0), 50)
    g = td_targets(MODEL, awake(0), moves, 0.98)
    last = moves.n_before == len(way)
    assert last.any()
    assert (moves.ended == last).all()
    np.testing.assert_array_equal(g[last], 4.0)
    assert not np.isin(g[~last], [0.0, 4.0]).any()


def as_batch(model, params, moves, g):
    """Return the batch whose squared error, times n_out, is the loss.

    Where no move was chosen, the target is what the model says.
    """
    each = np.arange(len(g))
    o = model.predict(params, moves.x)
    mask = np.zeros(o.shape[:2], bool)
    mask[moves.n_before - 1, each] = True
    target = o.copy()
    target[moves.n_before - 1, each, moves.actions] = g
    return Batch(moves.x, target, mask)


@pytest.mark.parametrize("core", [CORE, LSTM(9, 3), Elman(9, 4)], ids=repr)
@given(seed=SEEDS)
@settings(max_examples=8)
def test_the_gradient_is_that_of_complex_steps(core, seed):
    model = AGENT.model(core, MAZE)
    params, moves = awake(seed, model), some_moves(seed)
    g = np.random.default_rng(seed).standard_normal(len(moves.actions))
    L, grads = td_loss(model, params, moves, g)
    batch = as_batch(model, params, moves, g)
    assert 4 * model.objective(params, batch) == pytest.approx(L, rel=1e-12)
    assert set(grads) == set(params)
    rng = np.random.default_rng(seed + 1)
    for name, W in params.items():
        direction = rng.standard_normal(W.shape)
        moved = params | {name: W + 1e-30j * direction}
        slope = 4 * model.objective(moved, batch).imag / 1e-30
        mine = (grads[name] * direction).sum()
        scale = np.abs(grads[name] * direction).sum()
        assert mine == pytest.approx(slope, rel=1e-9, abs=1e-9 * scale)


# --- playing ----------------------------------------------------------------


def test_a_player_is_greedy_and_remembers():
    params = awake(3)
    games = play(MAZE, GOALS, follow(MODEL, params, 2))
    for game in games:
        q = MODEL.predict(params, game.x[:-1, None])[:, 0]
        np.testing.assert_array_equal(q.argmax(-1), game.actions)


class Scripted:
    """A core that says by heart what is best in a maze of length 3."""

    n_in, n_out = 9, 4

    def __init__(self, moves):
        self.moves = moves

    def shapes(self):
        return {}

    def initial_state(self, n_batch, dtype=np.float64, xp=np):
        return {"goal": np.zeros((n_batch, 2))}

    def step(self, params, state, x, t, xp=np):
        goal = state["goal"] if t else x[:, 5:7]
        y = np.zeros((len(x), 4))
        for b, is_up in enumerate(goal[:, 0] == 1):
            move = self.moves[t % len(self.moves)]
            move = ("up" if is_up else "down") if move == "goal" else move
            y[b, ACTIONS.index(move)] = 1
        return {"goal": goal}, {"y": y}


@pytest.mark.parametrize(
    ("moves", "total", "n_moves", "optimal"),
    [
        (["right"] * 3 + ["goal"], 4.0, 4, 1),
        (["right"] * 3 + ["up"], (4.0 - 0.1) / 2, 4, 0),
        (["left"] + ["right"] * 3 + ["goal"], 3.9, 5, 0),
        (["right", "left"] + ["right"] * 3 + ["goal"], 4.0, 6, 0),
        (["left"], -0.8, 8, 0),
    ],
)
def test_an_evaluation_knows_the_optimal_player(moves, total, n_moves, optimal):
    model = AGENT.model(Scripted(moves), MAZE)
    params = {"readout/W_yo": np.eye(4), "readout/b_o": np.zeros(4)}
    record = evaluation(model, params, MAZE, 40)
    assert record["return"] == pytest.approx(total)
    assert (record["moves"], record["optimal"]) == (n_moves, optimal)
    assert record["episode"] == 40


# --- training ---------------------------------------------------------------

SMALL = replace(AGENT, copy_every=3, evaluate_every=2)


def trained(n_episodes, agent=SMALL, seed=5, dtype=np.float64, **options):
    rng = np.random.default_rng(seed)
    params = MODEL.init(np.random.default_rng(0), dtype)
    return agent.train(CORE, params, MAZE, rng, n_episodes, **options), rng


def assert_same(one, other):
    for name in ("params", "target", "optimiser"):
        mine, his = getattr(one, name), getattr(other, name)
        assert set(mine) == set(his)
        for key in mine:
            assert mine[key].dtype == his[key].dtype
            assert mine[key].tobytes() == his[key].tobytes(), (name, key)
    for key, array in one.replay.arrays().items():
        np.testing.assert_array_equal(array, other.replay.arrays()[key])
    assert one.curve == other.curve
    assert (one.episode, one.loss) == (other.episode, other.loss)
    assert one.rng == other.rng


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_training_goes_on_with_the_same_bits(tmp_path, dtype):
    path = tmp_path / "q.safetensors"
    whole, rng = trained(8, dtype=dtype)
    for n_episodes in (1, 4, 4, 5, 8, 8):
        part, other = trained(n_episodes, dtype=dtype, checkpoint=path)
        assert part.episode == n_episodes
    assert_same(part, whole)
    assert rng.random() == other.random()
    assert part.params["core/0/W_xr"].dtype == dtype


class Interrupted(Adam):
    """An optimiser that somebody presses Ctrl-C on."""

    left = math.inf

    def update(self, *arguments):
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        Interrupted.left -= 1
        return super().update(*arguments)


def test_ctrl_c_loses_the_episode_at_most(tmp_path):
    path = tmp_path / "q.safetensors"
    agent = replace(SMALL, optimiser=Interrupted(), evaluate_every=100)
    Interrupted.left = math.inf
    whole, _ = trained(5, agent)
    for allowed in (1, 4, 8):  # of 15, three an episode
        Interrupted.left = allowed
        with pytest.raises(KeyboardInterrupt):
            trained(5, agent, checkpoint=path)
    Interrupted.left = 6
    again, _ = trained(5, agent, checkpoint=path)
    assert Interrupted.left == 0
    assert_same(again, whole)


def test_reports_copies_and_records_come_in_time():
    seen = []
    learned, _ = trained(7, report=seen.append)
    assert [s.episode for s in seen] == [0, 2, 4, 6]
    assert [r["episode"] for r in learned.curve] == [0, 2, 4, 6]
    assert [s.curve[-1]["episode"] for s in seen] == [0, 2, 4, 6]
    assert "loss" not in learned.curve[0]
    assert all(r["loss"] > 0 for r in learned.curve[1:])
    assert learned.loss.total == AGENT.n_updates  # those of episode 7
    copied, _ = trained(6)
    for name, W in copied.params.items():
        np.testing.assert_array_equal(learned.target[name], W)
        assert not np.array_equal(learned.params[name], W)
    start = MODEL.init(np.random.default_rng(0))
    for name, W in trained(2)[0].target.items():
        np.testing.assert_array_equal(W, start[name])


def test_two_episodes_written_out():
    """The draws in the order that they are said to have; nothing copied."""
    agent = replace(SMALL, epsilon=0.5)
    found, _ = trained(2, agent)
    rng = np.random.default_rng(5)
    replay = filled(60, MAZE, rng)
    explore = explorer(MAZE, rng)
    target = params = MODEL.init(np.random.default_rng(0))
    state = agent.optimiser.init(params)
    for _ in range(2):
        greedy = follow(MODEL, params, 1)

        def choose(x, greedy=greedy):
            chosen = greedy(x)
            return explore(x) if rng.random() < 0.5 else chosen

        goal = draw_goal(MAZE, rng)
        replay = replay.with_game(*play(MAZE, [goal], choose))
        moves = replay.draw(rng, 15)
        g = td_targets(MODEL, target, moves, agent.gamma)
        for start in (0, 5, 10):
            part = slice(start, start + 5)
            _, grads = td_loss(MODEL, params, moves[part], g[part])
            params, state = agent.optimiser.update(params, grads, state)
    for name, W in params.items():
        np.testing.assert_array_equal(W, found.params[name])


def test_histories_for_a_warm_up_are_those_a_training_starts_from():
    seen = []
    trained(1, report=seen.append, seed=9)
    histories = SMALL.fill(MAZE, np.random.default_rng(9))
    expected = seen[0].replay.histories()
    assert len(histories) == len(expected) > 50
    for history, same in zip(histories, expected, strict=True):
        np.testing.assert_array_equal(history, same)


def test_a_small_maze_is_learned():
    maze, core = TMaze(2), GRU(9, 16)
    agent = QLearning(capacity=1000)
    rng = np.random.default_rng(0)
    params = agent.model(core, maze).init(rng, np.float32)
    learned = agent.train(core, params, maze, rng, 100)
    assert learned.curve[0]["optimal"] == 0
    assert learned.optimal_after is not None
    at = learned.optimal_after // agent.evaluate_every
    assert learned.curve[at]["return"] == 4.0
    assert not any(r["optimal"] for r in learned.curve[:at])


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "q.safetensors"
    trained(2, checkpoint=path)
    before = path.read_bytes()
    for agent, seed, words in [
        (replace(SMALL, gamma=0.5), 5, "agent was .*gamma=0.5"),
        (SMALL, 6, "rng was"),
    ]:
        with pytest.raises(ValueError, match=words):
            trained(3, agent, seed, checkpoint=path)
    with pytest.raises(ValueError, match="params was"):
        trained(3, dtype=np.float32, checkpoint=path)
    assert path.read_bytes() == before
    damaged = bytearray(before)
    damaged[len(before) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"q\.safetensors is damaged"):
        trained(3, checkpoint=path)


def test_a_checkpoint_of_more_episodes_is_refused(tmp_path):
    path = tmp_path / "q.safetensors"
    trained(4, checkpoint=path)
    before, rng = path.read_bytes(), np.random.default_rng(5)
    params = MODEL.init(np.random.default_rng(0))
    words = r"q\.safetensors is after 4 episodes, .* n_episodes=3"
    with pytest.raises(ValueError, match=words):
        SMALL.train(CORE, params, MAZE, rng, 3, checkpoint=path)
    assert path.read_bytes() == before
    assert rng.random() == np.random.default_rng(5).random()


def test_a_training_that_diverges_says_where():
    agent = replace(SMALL, optimiser=Adam(1e300))
    with pytest.raises(DivergedError, match=r"episode [12]: "):
        trained(4, agent)


class Confused(Adam):
    """An optimiser with a bug."""

    def update(self, *arguments):
        raise ValueError("shapes do not fit")


def test_a_bug_is_no_divergence():
    agent = replace(SMALL, optimiser=Confused())
    with pytest.raises(ValueError, match=r"^episode 1: shapes do no") as info:
        trained(1, agent)
    assert not isinstance(info.value, DivergedError)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: QLearning(gamma=1.5), ValueError, "gamma is 1.5"),
        (lambda: QLearning(epsilon=-1), ValueError, "epsilon is -1"),
        (lambda: QLearning(n_updates=0), ValueError, "n_updates is 0"),
        (lambda: QLearning(n_batch=2.5), TypeError, "n_batch is 2.5"),
        (lambda: QLearning(copy_every=0), ValueError, "copy_every is 0"),
        (lambda: trained(0), ValueError, "n_episodes is 0"),
        (
            lambda: trained(1, replace(SMALL, capacity=7)),
            ValueError,
            "capacity is 7, .* 8",
        ),
        (
            lambda: AGENT.model(GRU(8, 2), MAZE),
            ValueError,
            "n_in=8, expected 9",
        ),
        (
            lambda: AGENT.model(Bidirectional(GRU(9, 2), GRU(9, 2)), MAZE),
            TypeError,
            "looks ahead",
        ),
        (
            lambda: AGENT.model(Stack(GRU(9, 2), Dropout(2, 0.5)), MAZE),
            TypeError,
            "draws or observes",
        ),
        (
            lambda: Replay(9).draw(np.random.default_rng(0), 1),
            ValueError,
            "holds no game",
        ),
        (
            lambda: AGENT.train(CORE, {}, MAZE, np.random.default_rng(0), 1),
            ValueError,
            "params",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
