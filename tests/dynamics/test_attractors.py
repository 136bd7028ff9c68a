import importlib
import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent import BISTABLE, NETWORKS, OBSERVING, point, with_only

import msref.dynamics
from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    Bidirectional,
    ClockworkRNN,
    IndRNN,
    Linear,
    Stack,
    evaluating,
    scan,
)
from msref.dynamics import (
    Multistability,
    clusters,
    explore,
    fixed_points,
    joined,
    multistability,
    period,
    stabilise,
    vaa,
)
from msref.training import Model

SEEDS = st.integers(0, 2**16)


def sequences(rng, n, n_in, longest=9):
    lengths = rng.integers(1, longest + 1, n)
    return [rng.standard_normal((length, n_in)) for length in lengths]


def literal(arch, params, inputs, rng, n_steps, n_states, whole=False):
    """One estimate, sequence by sequence, in the words of the procedure."""
    which = rng.choice(len(inputs), min(n_states, len(inputs)), replace=False)
    lengths = np.array([len(inputs[i]) for i in which])
    cuts = lengths if whole else rng.integers(1, lengths + 1)
    z = rng.standard_normal(arch.n_in)
    ends = []
    for i, cut in zip(which, cuts, strict=True):
        wait = -cut % period(arch)
        frames = [*inputs[i][:cut], *[z] * (wait + n_steps)]
        _, state, _ = scan(arch, params, np.array(frames)[:, None])
        ends.append(joined(arch, state)[0])
    return np.array(ends)


@pytest.mark.parametrize("arch", NETWORKS, ids=repr)
def test_it_is_what_the_procedure_says(arch):
    params, _, _ = point(arch, 2)
    inputs = sequences(np.random.default_rng(0), 6, arch.n_in)
    for n_steps, whole in ((3, False), (0, True)):
        rng, again = np.random.default_rng(5), np.random.default_rng(5)
        found = stabilise(
            arch, params, inputs, rng, n_steps, n_states=4, whole=whole
        )
        expected = literal(arch, params, inputs, again, n_steps, 4, whole)
        np.testing.assert_allclose(found[0, 0], expected, 1e-9, 1e-12)
        assert rng.random() == again.random()


def test_several_estimates_and_moments_are_one_run():
    arch = Stack(GRU(2, 3), ClockworkRNN(3, 2, 2))
    params, _, _ = point(arch, 0)
    inputs = sequences(np.random.default_rng(1), 5, 2)
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    found = stabilise(
        arch, params, inputs, rng, (0, 4, 130), n_estimates=3, n_states=9
    )
    assert found.shape == (3, 3, 5, 7)  # there are no nine sequences
    for e in range(3):
        state = again.bit_generator.state
        for m, n_steps in enumerate((0, 4, 130)):
            again.bit_generator.state = state
            expected = literal(arch, params, inputs, again, n_steps, 9)
            np.testing.assert_allclose(found[m, e], expected, 1e-9, 1e-12)


def test_sequences_may_be_one_array():
    arch = GRU(2, 3)
    params, _, _ = point(arch, 0)
    x = np.random.default_rng(1).standard_normal((9, 5, 2))
    one, other = (
        stabilise(arch, params, inputs, np.random.default_rng(3), 4)
        for inputs in (x, [*x.swapaxes(0, 1)])
    )
    np.testing.assert_array_equal(one, other)


def test_a_run_in_small_pieces_is_the_same(monkeypatch):
    arch = LSTM(2, 3)
    params, _, _ = point(arch, 0)
    inputs = sequences(np.random.default_rng(1), 5, 2)

    def run():
        return stabilise(arch, params, inputs, np.random.default_rng(3), 50)

    whole = run()
    monkeypatch.setitem(stabilise.__globals__, "LARGEST", 70)
    lengths = []
    forward = LSTM.forward

    def spied(self, params, x, *rest):
        lengths.append(len(x))
        return forward(self, params, x, *rest)

    monkeypatch.setattr(LSTM, "forward", spied)
    np.testing.assert_allclose(run(), whole, 1e-12, 1e-14)
    assert max(lengths) == 2  # 70 numbers are two steps of 5 states of 6


@settings(max_examples=25)
@given(SEEDS)
def test_a_bistable_unit_remembers_a_sign(seed):
    # z moves its points a little
    params = with_only(BISTABLE, W_hh=2.0, W_xh=0.01)
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], 12)
    inputs = [np.array([[30.0 * s], *[[0.0]] * 5]) for s in signs]
    found = multistability(
        BISTABLE, params, inputs, rng, 300, n_estimates=3, n_states=12
    )
    assert found.mean[0] == pytest.approx(len({*signs}) / 12)
    assert found.n_attractors == pytest.approx([len({*signs})])


def test_the_known_floor_and_more():
    """An untrained GRU has one attractor, an untrained BRC has several."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((20, 1)) for _ in range(40)]
    gru, brc = Stack(GRU(1, 12), GRU(12, 12)), Stack(BRC(1, 12), BRC(12, 12))
    floor = multistability(gru, gru.init(rng), inputs, rng, (200, 600))
    assert floor.mean == pytest.approx([1 / 32, 1 / 32])
    assert floor.spread == pytest.approx([0, 0])
    more = multistability(brc, brc.init(rng), inputs, rng, (200, 2000))
    assert (more.mean > 2 / 32).all()
    assert more.mean[0] >= more.mean[1]


def test_a_linear_memory_ends_where_all_others_end():
    arch = LMN(1, 3, 4)
    rng = np.random.default_rng(0)
    params = arch.init(rng) | {"W_mh": np.zeros((4, 3))}
    params["W_mm"] *= 0.9 / np.abs(np.linalg.eigvals(params["W_mm"])).max()
    inputs = sequences(rng, 8, 1)
    found = multistability(arch, params, inputs, rng, 400, n_states=8)
    assert found.mean[0] == 1 / 8


@given(SEEDS, st.integers(1, 9), st.floats(0.05, 3.0))
def test_the_number_of_attractors_and_its_bounds(seed, n, spread):
    """Between the clusters and the most states that are all apart."""
    h = spread * np.random.default_rng(seed).standard_normal((n, 2))
    found = Multistability((5,), 0.5, np.array([[vaa(h, 0.5)]]), n)
    apart = np.linalg.norm(h[:, None] - h, axis=2) >= 0.5
    most = max(
        len(some)
        for size in range(1, n + 1)
        for some in itertools.combinations(range(n), size)
        if all(apart[i, j] for i, j in itertools.combinations(some, 2))
    )
    assert found.n_attractors.shape == (1,)
    assert clusters(h, 0.5)[1] <= found.n_attractors[0] * (1 + 1e-12)
    assert found.n_attractors[0] <= most * (1 + 1e-12)


def test_the_number_of_attractors_is_of_each_moment():
    shares = np.array([[1.0, 0.5], [0.25, 0.25]])
    found = Multistability((5, 9), 1e-4, shares, 8)
    assert found.n_attractors.tolist() == [6.0, 2.0]


def at(function, arch, params, seed=0):
    """Return what a function finds, as arrays."""
    rng = np.random.default_rng(seed)
    if function is fixed_points:
        x = np.full(2, 0.3)
        points = fixed_points(arch, params, x, rng=rng, n_starts=2)
        assert points
        return [a for p in points for a in (*p.state.values(), p.eigenvalues)]
    inputs = sequences(np.random.default_rng(3), 6, 2)
    found = function(arch, params, inputs, rng, 4)
    if function is explore:
        return [found.states, found.trajectories]
    return [found.vaa if function is multistability else found]


MEASURES = [stabilise, explore, multistability, fixed_points]


@pytest.mark.parametrize("function", MEASURES)
def test_a_network_runs_as_after_training_alone_or_in_a_model(function):
    model = Model(OBSERVING, 3)
    params = model.init(np.random.default_rng(0))
    params["core/0/mean"] += [0.5, -1.0]
    params["core/0/var"] *= 4.0
    bare = {k[5:]: v for k, v in params.items() if k.startswith("core/")}
    expected = at(function, evaluating(OBSERVING), bare)
    for arch, p in ((OBSERVING, bare), (model, params)):
        for mine, other in zip(at(function, arch, p), expected, strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("function", MEASURES)
def test_parameters_of_something_else_are_refused(function):
    model = Model(OBSERVING, 3)
    params = model.init(np.random.default_rng(0))
    bare = {k[5:]: v for k, v in params.items() if k.startswith("core/")}
    for arch, p in ((OBSERVING, params), (model, bare), (model, {})):
        with pytest.raises(ValueError, match=r"^params holds the names"):
            at(function, arch, p)
    wrong = params | {"readout/b_o": np.full(3, np.nan)}
    with pytest.raises(ValueError, match=r"^params\['readout/b_o'\] holds nan"):
        at(function, model, wrong)


def test_the_result_says_how_it_was_measured():
    arch = GRU(1, 3)
    rng = np.random.default_rng(0)
    found = multistability(
        arch,
        arch.init(rng),
        sequences(rng, 5, 1),
        rng,
        (0, 300),
        tolerance=1e-3,
        n_estimates=4,
        n_states=3,
    )
    words = repr(found)
    assert "at M=0" in words
    assert "0.333 ± 0.000 at M=300" in words
    assert "4 estimates of 3 states, tolerance 0.001" in words
    assert found.vaa.shape == (2, 4)
    np.testing.assert_allclose(found.mean, found.vaa.mean(1))
    np.testing.assert_allclose(found.spread, found.vaa.std(1, ddof=1))
    once = multistability(
        arch, arch.init(rng), sequences(rng, 5, 1), rng, n_estimates=1
    )
    assert once.spread.tolist() == [0.0]


@settings(max_examples=25)
@given(SEEDS, st.sampled_from([1, 7, 150]))
def test_a_picture_shows_the_ways_and_where_they_end(seed, n_steps):
    arch = BRC(2, 3)
    rng = np.random.default_rng(seed)
    params, inputs = arch.init(rng), sequences(rng, 7, 2)
    again = np.random.default_rng(seed + 1)
    seen = explore(
        arch, params, inputs, np.random.default_rng(seed + 1), n_steps
    )
    ends = literal(arch, params, inputs, again, n_steps, 32)
    labels, n = clusters(ends)
    np.testing.assert_array_equal(seen.labels, labels)
    assert len(seen.states) == len(seen.points) == n
    for k in range(n):
        np.testing.assert_allclose(
            seen.states[k], ends[labels == k][0], 1e-9, 1e-12
        )
    assert seen.times[0] == 0
    assert seen.times[-1] == n_steps
    assert (np.diff(seen.times) > 0).all()
    assert seen.trajectories.shape == (len(seen.times), 7, 2)

    def project(s):
        return (s - seen.centre) @ seen.directions.T

    np.testing.assert_allclose(seen.trajectories[-1], project(ends), 0, 1e-9)
    np.testing.assert_allclose(seen.points, project(seen.states), 0, 1e-9)
    flat = seen.trajectories.reshape(-1, 2)
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-9)
    assert abs(flat[:, 0] @ flat[:, 1]) <= 1e-9 * (flat**2).sum()
    assert (flat[:, 0] ** 2).sum() >= (flat[:, 1] ** 2).sum()
    assert 0 <= seen.explained.sum() <= 1 + 1e-12
    np.testing.assert_allclose(
        seen.directions @ seen.directions.T, np.eye(2), atol=1e-12
    )


def test_a_picture_of_a_single_unit_is_a_line():
    rng = np.random.default_rng(0)
    params = with_only(BISTABLE, W_hh=2.0, W_xh=1.0)
    seen = explore(BISTABLE, params, sequences(rng, 4, 1), rng)
    assert seen.explained == pytest.approx([1.0, 0.0])
    assert not seen.trajectories[..., 1].any()


def test_states_that_grow_can_be_seen_too():
    arch, rng = IndRNN(1, 2), np.random.default_rng(0)
    params = with_only(arch, w_hh=3.0, W_xh=1.0, b_h=1.0)
    seen = explore(arch, params, [np.ones((3, 1))] * 4, rng, 600)
    assert np.abs(seen.trajectories).max() > 1e200
    assert seen.explained.sum() == pytest.approx(1.0)


def test_a_state_that_grows_is_named():
    arch = IndRNN(1, 2)
    params = with_only(arch, w_hh=3.0, b_h=1.0)
    inputs = [np.ones((3, 1))]
    with pytest.raises(ValueError, match="no longer finite 703 steps after"):
        multistability(arch, params, inputs, np.random.default_rng(0), 10_000)


def test_single_precision_is_widened():
    arch = GRU(1, 3)
    rng = np.random.default_rng(0)
    params = {k: v.astype("f4") for k, v in arch.init(rng).items()}
    inputs = sequences(rng, 3, 1)
    found = stabilise(arch, params, inputs, rng, 5)
    assert found.dtype == np.float64


def test_a_bar_can_be_shown(capfd):
    arch = GRU(1, 3)
    rng = np.random.default_rng(0)
    stabilise(arch, arch.init(rng), sequences(rng, 3, 1), rng, 5, progress=True)
    err = capfd.readouterr().err
    assert "to the attractors" in err
    assert "100%" in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_steps": -1}, "n_steps is -1"),
        ({"n_steps": 2.5}, "n_steps is 2.5"),
        ({"n_steps": ()}, r"n_steps is \(\)"),
        ({"n_steps": (4, 4)}, "increasing"),
        ({"n_estimates": 0}, "n_estimates is 0"),
        ({"n_states": 0}, "n_states is 0"),
        ({"inputs": []}, "sequences is empty"),
        ({"inputs": [np.ones((3, 2))]}, r"inputs\[0\] has 2 units"),
        ({"arch": Linear(1, 3)}, "has no state"),
        ({"arch": Bidirectional(GRU(1, 3), GRU(1, 3))}, "looks ahead"),
    ],
)
def test_what_cannot_be_is_named(changes, words):
    arch, rng = GRU(1, 3), np.random.default_rng(0)
    arguments = {"arch": arch, "params": arch.init(rng), "rng": rng}
    arguments |= {"inputs": [np.ones((3, 1))], "n_steps": 3}
    with pytest.raises(ValueError, match=words):
        multistability(**arguments | changes)


@pytest.mark.parametrize("name", ["multistability", "jacobian", "fixed_points"])
def test_functions_share_names_with_their_files(name):
    assert inspect.ismodule(importlib.import_module(f"msref.dynamics.{name}"))
    assert inspect.isfunction(getattr(msref.dynamics, name))
