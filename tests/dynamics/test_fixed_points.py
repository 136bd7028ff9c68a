import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent import BISTABLE, NETWORKS, point, with_only

import msref
from msref.architectures import (
    BRC,
    GRU,
    LMN,
    MGU,
    NBRC,
    Bidirectional,
    ClockworkRNN,
    Elman,
    IndRNN,
    Linear,
    MultiScaleLMN,
    scan,
)
from msref.dynamics import fixed_points, joined, period, separated
from msref.dynamics.fixed_points import Period

SEEDS = st.integers(0, 2**16)


def repeated(arch, params, x, state, n_periods):
    """Let the network run under x; the time starts at one period."""
    n = period(arch)
    frames = np.broadcast_to(x, (n * n_periods, len(state), len(x)))
    _, final, _ = arch.forward(params, frames, separated(arch, state), n)
    return joined(arch, final)


# --- known ones -------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "h"), [(1.2, 0.6586), (1.5, 0.8586), (2.0, 0.9575)]
)
def test_a_bistable_unit(a, h):
    params, rng = with_only(BISTABLE, W_hh=a), np.random.default_rng(0)
    points = fixed_points(BISTABLE, params, np.zeros(1), rng=rng)
    assert [p.kind for p in points] == ["stable", "stable", "unstable"]
    found = [float(p.state["h"][0]) for p in points]
    assert sorted(found[:2]) == pytest.approx([-h, h], abs=5e-5)
    assert found[2] == pytest.approx(0.0, abs=1e-12)
    assert points[2].eigenvalues[0] == pytest.approx(a)
    assert points[0].eigenvalues[0] == pytest.approx(a * (1 - found[0] ** 2))


def test_two_units_that_do_not_meet():
    arch = Elman(1, 2)
    params = with_only(arch) | {"W_hh": np.diag([2.0, 1.5])}
    grid = np.array([[a, b] for a in (-0.9, 0, 0.9) for b in (-0.8, 0, 0.8)])
    points = fixed_points(arch, params, np.zeros(1), {"h": grid})
    kinds = [p.kind for p in points]
    assert kinds == ["stable"] * 4 + ["saddle"] * 4 + ["unstable"]
    assert [p.n_starts for p in points] == [1] * 9
    for p in points:
        h = np.sort(np.abs(p.state["h"]))
        moving = {"stable": 2, "saddle": 1, "unstable": 0}[p.kind]
        assert (h > 0.8).sum() == moving


@pytest.mark.parametrize("a", [0.2, 0.9, 1.0])
def test_a_unit_that_is_not(a):
    params, rng = with_only(BISTABLE, W_hh=a), np.random.default_rng(0)
    (only,) = fixed_points(BISTABLE, params, np.zeros(1), rng=rng)
    assert only.kind == ("marginal" if a == 1.0 else "stable")
    assert only.state["h"][0] == pytest.approx(0.0, abs=1e-5)
    assert only.n_starts == 32


@pytest.mark.parametrize("arch", [BRC(1, 1), NBRC(1, 1)])
def test_an_untrained_bistable_cell(arch):
    rng = np.random.default_rng(0)
    params = arch.init(rng) | with_only(
        arch, **dict.fromkeys(feedback(arch), 1.0)
    )
    points = fixed_points(arch, params, np.zeros(1), rng=rng)
    assert [p.kind for p in points] == ["stable", "marginal"]
    assert points[0].state["h"][0] == pytest.approx(0.9197, abs=5e-5)
    assert points[1].state["h"][0] == pytest.approx(0.0, abs=1e-5)


def feedback(arch):
    return [k for k in arch.shapes() if k.lower() in ("w_hc", "w_ha")]


@settings(max_examples=25)
@given(SEEDS, st.floats(0.1, 0.9))
def test_a_contraction_has_one_point_and_every_start_finds_it(seed, norm):
    arch = Elman(3, 5)
    params, x, _ = point(arch, seed)
    params["W_hh"] *= norm / np.linalg.norm(params["W_hh"], 2)
    rng = np.random.default_rng(seed)
    (only,) = fixed_points(arch, params, x[0, 0], rng=rng, n_starts=8)
    assert (only.kind, only.n_starts) == ("stable", 8)
    assert abs(only.eigenvalues[0]) <= norm


@settings(max_examples=20)
@given(SEEDS, st.sampled_from(["W_mh", "W_hm"]))
def test_a_memory_that_is_linear_altogether(seed, cut):
    arch = LMN(2, 3, 4)
    params, x, _ = point(arch, seed)
    params[cut][...] = 0.0
    (only,) = fixed_points(
        arch, params, x[0, 0], rng=np.random.default_rng(seed), n_starts=5
    )
    h = np.tanh(x[0, 0] @ params["W_xh"] + params["b_h"])
    drive = h @ params["W_hm"] + params["b_m"]
    m = np.linalg.solve((np.eye(4) - params["W_mm"]).T, drive)
    np.testing.assert_allclose(only.state["m"], m, 1e-6, 1e-9)
    expected = np.sort(np.abs(np.linalg.eigvals(params["W_mm"])))[::-1]
    np.testing.assert_allclose(np.abs(only.eigenvalues), expected, 1e-6)


# --- any --------------------------------------------------------------------


@pytest.mark.parametrize("arch", NETWORKS, ids=repr)
def test_a_point_is_where_a_period_leads_back(arch):
    n_found = 0
    for seed in (0, 1):  # at either some networks have no point in reach
        params, x, _ = point(arch, seed)
        rng = np.random.default_rng(seed)
        points = fixed_points(arch, params, x[0, 0], rng=rng, n_starts=4)
        assert sum(p.n_starts for p in points) <= 4
        n_found += len(points)
        for p in points:
            s = joined(arch, p.state)[None]
            back = repeated(arch, params, x[0, 0], s, 1)
            residual = np.linalg.norm(back - s)
            assert residual <= 1e-10 * max(1.0, np.linalg.norm(s)) + 1e-14
            assert residual == pytest.approx(p.residual, rel=0.1, abs=1e-12)
            assert p.eigenvalues.shape == s[0].shape
            assert (np.diff(np.abs(p.eigenvalues)) <= 1e-12).all()
    assert n_found > 0


@pytest.mark.parametrize(
    "arch", [ClockworkRNN(2, 3, 3), MultiScaleLMN(2, 3, 2, 2), GRU(2, 3)]
)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_the_map_is_a_whole_period_and_so_is_its_jacobian(arch, seed):
    params, x, state = point(arch, seed)
    n = period(arch)
    F = Period(arch, params, x[0, 0], n)
    frames = np.broadcast_to(x[0], (n, *x[0].shape))
    s, columns = joined(arch, state), []
    for step in 1e-30j * np.eye(s.shape[1]):
        _, after, _ = scan(arch, params, frames, separated(arch, s + step), n)
        columns.append(np.imag(joined(arch, after)[0]) / 1e-30)
        np.testing.assert_allclose(F(s), np.real(joined(arch, after)), 1e-12)
    expected = np.stack(columns, axis=1)
    np.testing.assert_allclose(F.jacobian(s)[0], expected, 1e-10, 1e-12)


@pytest.mark.parametrize(
    "arch",
    [
        Elman(2, 4),
        GRU(2, 3),
        BRC(2, 3),
        MGU(2, 3),
        ClockworkRNN(2, 2, 3),
        MultiScaleLMN(2, 3, 2, 2, learned_start=True),
    ],
    ids=repr,
)
def test_stable_points_attract_and_others_do_not(arch):
    n_clear = 0
    for seed in range(5):
        params, x, _ = point(arch, seed)
        params = {k: 2.0 * v for k, v in params.items()}
        rng = np.random.default_rng(seed)
        for p in fixed_points(arch, params, x[0, 0], rng=rng, n_starts=6):
            s = joined(arch, p.state)
            largest = abs(p.eigenvalues[0])
            nudge = 1e-7 * rng.standard_normal(s.shape)
            if not (largest < 0.9 or 1.2 < largest < 5.0):
                continue
            n_clear += 1
            n, near = (250 if largest < 0.9 else 100), (s + nudge)[None]
            end = repeated(arch, params, x[0, 0], near, n)[0]
            if p.kind == "stable":
                assert np.linalg.norm(end - s) < 1e-10 * (1 + np.linalg.norm(s))
            else:
                assert p.kind in ("saddle", "unstable")
                assert np.linalg.norm(end - s) > 1e-3
    assert n_clear > 0


def test_a_gate_that_closes_is_no_fixed_point():
    """Far out, c is 1 to rounding and keeps every state: r fades out."""
    arch = BRC(1, 1)
    params = arch.init(np.random.default_rng(0))
    far = {"h": np.linspace(4.0, 16.0, 9)[:, None]}
    assert fixed_points(arch, params, np.zeros(1), far) == ()
    # where nothing but rounding speaks, nobody can tell
    (stuck,) = fixed_points(
        arch, params, np.zeros(1), {"h": np.full((1, 1), 50.0)}
    )
    assert stuck.kind == "marginal"


def test_without_a_point_there_is_none():
    arch = IndRNN(1, 2)  # it counts: h grows by one per step
    params = with_only(arch, w_hh=1.0, b_h=1.0)
    rng = np.random.default_rng(0)
    assert fixed_points(arch, params, np.zeros(1), rng=rng) == ()


def test_a_line_of_points_gives_one_per_start():
    arch = IndRNN(1, 3)  # sums, which nothing is added to
    params = with_only(arch, w_hh=1.0)
    starts = {"h": np.random.default_rng(0).uniform(1, 2, (6, 3))}
    points = fixed_points(arch, params, np.zeros(1), starts)
    assert [p.kind for p in points] == ["marginal"] * 6


def test_given_starts_are_where_it_starts():
    params = with_only(BISTABLE, W_hh=2.0)
    starts = {"h": np.array([[0.9], [0.8], [-0.9]])}
    points = fixed_points(BISTABLE, params, np.zeros(1), starts)
    found = {round(float(p.state["h"][0]), 4): p.n_starts for p in points}
    assert found == {0.9575: 2, -0.9575: 1}
    narrow = {k: v.astype("f4") for k, v in params.items()}
    again = fixed_points(
        BISTABLE, narrow, np.zeros(1, "f4"), {"h": starts["h"].astype("f4")}
    )
    assert again[0].state["h"].dtype == np.float64
    assert len(again) == 2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"x": np.zeros(2)}, ValueError, r"x has shape \(2,\)"),
        ({"x": np.zeros(1, int)}, TypeError, "x has dtype int64"),
        ({"rng": None}, ValueError, "states and rng are None"),
        ({"states": {}}, ValueError, "states is empty"),
        ({"states": {"h": np.zeros((2, 3))}}, ValueError, r"state\['h'\] has"),
        ({"n_starts": 0}, ValueError, "n_starts is 0"),
        ({"n_iterations": 0}, ValueError, "n_iterations is 0"),
        ({"n_iterations": 2.5}, TypeError, "n_iterations is 2.5"),
        ({"tolerance": 0.0}, ValueError, "tolerance is 0.0"),
        ({"arch": Linear(1, 1)}, ValueError, "has no state"),
        (
            {"arch": Bidirectional(Elman(1, 1), Elman(1, 1))},
            ValueError,
            "looks ahead",
        ),
    ],
)
def test_what_cannot_be_is_named(changes, error, words):
    rng, params = np.random.default_rng(0), with_only(BISTABLE)
    arguments = {"arch": BISTABLE, "params": params, "x": np.zeros(1)}
    with pytest.raises(error, match=words):
        fixed_points(**arguments | {"rng": rng} | changes)


def test_it_is_public():
    assert msref.fixed_points is fixed_points
