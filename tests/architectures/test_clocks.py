"""Clocks, and the two networks that have them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msref
from msref.architectures import (
    LMN,
    Clock,
    ClockworkRNN,
    Elman,
    MultiScaleLMN,
)
from msref.verification import verify
from msref.verification.mutants import power

CLOCKS = st.builds(
    Clock, st.integers(1, 6), st.integers(0, 3), st.integers(0, 1)
)
TIMES = st.integers(0, 2000)
SIZES = st.integers(1, 4)


@st.composite
def networks(draw, start=None):
    """Draw a network with a clock, all its options included."""
    clock = draw(CLOCKS)
    options = dataclasses.asdict(clock)
    n_in, n_hid = draw(SIZES), draw(SIZES)
    if draw(st.booleans()):
        activation = draw(st.sampled_from(["tanh", "linear"]))
        return ClockworkRNN(n_in, n_hid, activation=activation, **options)
    output = draw(st.sampled_from(["memory", "hidden"]))
    learned = draw(st.booleans())
    return MultiScaleLMN(
        *(n_in, n_hid, draw(SIZES)),
        output=output,
        learned_start=learned,
        **options,
    )


# --- clocks -----------------------------------------------------------------


@given(CLOCKS, TIMES)
def test_a_module_ticks_when_its_period_divides_the_time(clock, t):
    for i in range(clock.n_modules):
        due = (t + clock.origin) % 2 ** (clock.first + i) == 0
        assert due == (i < clock.n_active(t))
        assert clock.period(i) == 2 ** (clock.first + i)


@given(CLOCKS, TIMES, st.integers(1, 200))
def test_ticks_are_those_of_the_single_times(clock, t0, n_time):
    times = np.arange(n_time)
    for i in range(clock.n_modules):
        due = [t for t in times if clock.n_active(t0 + t) > i]
        assert list(times[clock.ticks(i, t0)]) == due


def test_two_modules_tick_per_step_on_average():
    active = [Clock(9).n_active(t) for t in range(512)]
    assert np.mean(active) == pytest.approx(1.996, abs=5e-4)
    assert active[0] == 9
    assert [Clock(9, origin=1).n_active(t) for t in range(4)] == [1, 2, 1, 3]
    assert [Clock(3, first=1).n_active(t) for t in range(5)] == [3, 0, 1, 0, 2]


@given(CLOCKS, SIZES)
def test_a_module_reads_itself_and_slower_ones(clock, n_units):
    mask = clock.readers(n_units)
    for read, reader in np.ndindex(mask.shape):
        assert mask[read, reader] == (read // n_units >= reader // n_units)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_modules": 0}, "n_modules is 0, expected at least 1"),
        ({"n_modules": 2, "origin": 2}, "origin is 2, expected 0..1"),
        ({"n_modules": 2, "first": -1}, "first is -1, expected 0..30"),
    ],
)
def test_a_clock_that_cannot_be(wrong, words):
    for make in (
        lambda: Clock(**wrong),
        lambda: ClockworkRNN(2, 3, **wrong),
        lambda: MultiScaleLMN(2, 3, 4, **wrong),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(TypeError, match="first is 'a'"):
        Clock(2, first="a")


# --- the networks -----------------------------------------------------------


@settings(max_examples=25)
@given(networks(), st.integers(0, 2**32 - 1))
def test_all_witnesses_agree_whatever_the_clock(arch, seed):
    report = verify(arch, cases=1, seed=seed)
    assert report.ok, str(report)


@pytest.mark.parametrize("n_modules", range(1, 7))
@pytest.mark.parametrize("output", ["memory", "hidden"])
def test_one_to_six_modules(n_modules, output):
    arch = MultiScaleLMN(3, 4, 2, n_modules, output, learned_start=True)
    assert verify(arch, cases=3).ok
    for activation in ("tanh", "linear"):
        assert verify(ClockworkRNN(3, 2, n_modules, activation), cases=2).ok


@pytest.mark.parametrize(
    "arch",
    [
        ClockworkRNN(3, 2, 5),
        MultiScaleLMN(3, 4, 2, 6),
        MultiScaleLMN(3, 5, 2, 4, "hidden", learned_start=True, origin=1),
    ],
    ids=repr,
)
def test_every_planted_bug_is_caught(arch):
    trials = power(arch)
    assert not [trial for trial in trials if not trial.caught_by]
    assert {
        "held module passes no gradient",
        "a module reads a faster one",
        "slowest module first",
        "clock off by one",
        "clock off by one backwards",
        "masked weights learn",
    } <= {trial.kind for trial in trials}


@given(networks(), st.integers(0, 99), st.integers(1, 40), st.data())
def test_held_modules_stand_still_and_masked_weights_do_nothing(
    arch, seed, n_time, data
):
    rng = np.random.default_rng(seed)
    t0 = data.draw(TIMES)
    params = arch.init(rng)
    x = rng.standard_normal((n_time, 2, arch.n_in))
    y, final, tape = arch.forward(params, x, t0=t0)
    memory, W = ("m", "W_mm") if "m" in final else ("h", "W_hh")
    n_units = params[W].shape[0] // arch.n_modules
    for t in range(n_time):
        held = ~arch.clock.working(t0 + t, n_units)
        before = tape[f"{memory}_prev"][t]
        assert np.array_equal(tape[memory][t][:, held], before[:, held])

    faster = ~arch.clock.readers(n_units)
    spoilt = params | {W: params[W] + 5.0 * faster}
    assert np.array_equal(y, arch.forward(spoilt, x, t0=t0)[0])
    dy = rng.standard_normal(y.shape)
    right = arch.backward(params, tape, dy)
    assert not right.params[W][faster].any()
    wrong = arch.backward(spoilt, tape, dy)
    assert all(np.array_equal(right.params[k], wrong.params[k]) for k in params)


@given(SIZES, SIZES, SIZES, st.sampled_from(["memory", "hidden"]))
def test_one_module_is_an_lmn(n_in, n_hid, n_mem, output):
    rng = np.random.default_rng(n_in)
    one, lmn = (
        MultiScaleLMN(n_in, n_hid, n_mem, 1, output),
        LMN(n_in, n_hid, n_mem, output),
    )
    params = lmn.init(rng)
    x = rng.standard_normal((7, 2, n_in))
    (y, final, tape), (z, last, other) = (
        arch.forward(params, x, t0=3) for arch in (one, lmn)
    )
    np.testing.assert_allclose(y, z, 1e-12, 1e-14)
    np.testing.assert_allclose(final["m"], last["m"], 1e-12, 1e-14)
    dy = rng.standard_normal(y.shape)
    g, h = one.backward(params, tape, dy), lmn.backward(params, other, dy)
    for name in params:
        np.testing.assert_allclose(g.params[name], h.params[name], 1e-10, 1e-12)


def test_one_module_of_a_clockwork_rnn_is_an_elman_network():
    rng = np.random.default_rng(0)
    one, elman = ClockworkRNN(2, 5, 1), Elman(2, 5)
    params = elman.init(rng)
    x = rng.standard_normal((6, 3, 2))
    y, z = one.forward(params, x)[0], elman.forward(params, x)[0]
    np.testing.assert_allclose(y, z, 1e-13, 1e-15)


def test_the_example_of_the_clockwork_paper():
    """At t = 6 the modules with periods 1 and 2 fire, 4 and 8 do not."""
    arch = ClockworkRNN(1, 1, 4)
    x = np.random.default_rng(0).standard_normal((7, 1, 1))
    _, _, tape = arch.forward(arch.init(np.random.default_rng(1)), x)
    moved = (tape["h"][6] != tape["h_prev"][6])[0]
    assert list(moved) == [True, True, False, False]


def test_by_hand_at_two_modules():
    """One unit each: three steps worked out from the equations."""
    arch = MultiScaleLMN(1, 1, 1, 2)
    params = {
        "W_xh": np.array([[0.5]]),
        "W_mh": np.array([[1.0], [-1.0]]),
        "b_h": np.array([0.0]),
        "W_hm": np.array([[1.0, 2.0]]),
        "W_mm": np.array([[0.5, 9.0], [0.25, 0.5]]),
        "b_m": np.array([0.0, 0.1]),
    }
    x = np.array([1.0, 0.0, -1.0])[:, None, None]
    h0 = np.tanh(0.5)
    m0 = (h0, 2 * h0 + 0.1)
    h1 = np.tanh(m0[0] - m0[1])
    m1 = (h1 + 0.5 * m0[0] + 0.25 * m0[1], m0[1])
    h2 = np.tanh(-0.5 + m1[0] - m1[1])
    m2 = (
        h2 + 0.5 * m1[0] + 0.25 * m1[1],
        2 * h2 + 0.5 * m1[1] + 0.1,
    )
    y, _, _ = arch.forward(params, x)
    np.testing.assert_allclose(y[:, 0], [m0, m1, m2], 1e-14)


@pytest.mark.parametrize(
    "arch", [ClockworkRNN(2, 3, 4), MultiScaleLMN(2, 3, 2, 4)]
)
def test_a_modules_start_is_as_its_docstring_says(arch):
    params = arch.init(np.random.default_rng(0))
    W = params.get("W_mm", params.get("W_hh"))
    n_units = len(W) // 4
    assert (W != 0).sum() == 10 * n_units**2  # g (g + 1) / 2 blocks


# --- p-detach ---------------------------------------------------------------


@pytest.mark.parametrize("t0", [0, 5])
@pytest.mark.parametrize("arch", [LMN(2, 3, 4), MultiScaleLMN(2, 3, 2, 3)])
def test_detached_steps_send_nothing_through_the_hidden_layer(arch, t0):
    """The gradient is that of a network that reads a recorded memory there."""
    rng = np.random.default_rng(2)
    params = arch.init(rng)
    x = rng.standard_normal((9, 2, 2))
    y, _, tape = arch.forward(params, x, t0=t0)
    dy = rng.standard_normal(y.shape)
    dstate = {"m": rng.standard_normal(tape["m"][0].shape)}
    detached = rng.random(9) < 0.5
    assert detached.any()
    assert not detached.all()
    g = arch.backward(params, tape, dy, dstate, detached=detached)
    whole = arch.backward(params, tape, dy, dstate)
    assert not np.allclose(g.x, whole.x)

    def loss(p, x, start):
        state, total = start, 0.0
        for t in range(9):
            # the hidden layer's read of the recorded memory, constant
            now = dict(p)
            if detached[t]:
                free = now["W_mh"]
                now["W_mh"] = 0 * free
                now["b_h"] = tape["m_prev"][t] @ free + now["b_h"]
            state, trace = arch.step(now, state, x[t], t0 + t)
            total = total + np.sum(dy[t] * trace["y"])
        return total + np.sum(dstate["m"] * state["m"])

    start = arch.initial_state(2)
    for name, value in {**params, "x": x, "m": start["m"]}.items():
        d = rng.standard_normal(value.shape)
        moved = value + 1e-30j * d
        where = {
            "x": (params, moved, start),
            "m": (params, x, {"m": moved}),
        }.get(name, (params | {name: moved}, x, start))
        slope = np.imag(loss(*where)) / 1e-30
        ours = g.x if name == "x" else g.state.get(name, g.params.get(name))
        assert np.sum(ours * d) == pytest.approx(slope, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("arch", [LMN(2, 3, 4), MultiScaleLMN(2, 3, 2, 3)])
@pytest.mark.parametrize(
    ("detached", "error", "words"),
    [
        (np.ones(5), TypeError, "detached has dtype float64, expected bool"),
        (np.ones(5, int), TypeError, "detached has dtype int64"),
        (np.ones(6, bool), ValueError, r"detached has shape \(6,\)"),
        ([True] * 5, TypeError, "detached"),
    ],
)
def test_a_wrong_choice_of_steps_is_named(arch, detached, error, words):
    params = arch.init(np.random.default_rng(0))
    y, _, tape = arch.forward(params, np.ones((5, 2, 2)))
    with pytest.raises(error, match=words):
        arch.backward(params, tape, y, detached=detached)


def test_nothing_detached_is_the_gradient():
    arch = MultiScaleLMN(2, 3, 2, 3)
    params = arch.init(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((5, 2, 2))
    y, _, tape = arch.forward(params, x)
    one = arch.backward(params, tape, y)
    two = arch.backward(params, tape, y, detached=np.zeros(5, bool))
    assert all(np.array_equal(one.params[k], two.params[k]) for k in params)


def test_a_learned_start_is_read_at_time_zero_alone():
    arch = MultiScaleLMN(2, 3, 2, 3, learned_start=True)
    rng = np.random.default_rng(0)
    params = arch.init(rng) | {"m_0": rng.standard_normal(6)}
    x = rng.standard_normal((5, 2, 2))
    shifted = {"m": np.broadcast_to(params["m_0"], (2, 6)).copy()}
    plain = dataclasses.replace(arch, learned_start=False)
    rest = {k: v for k, v in params.items() if k != "m_0"}
    y, _, tape = arch.forward(params, x)
    np.testing.assert_array_equal(y, plain.forward(rest, x, shifted)[0])
    late = arch.forward(params, x, t0=8)
    np.testing.assert_array_equal(late[0], plain.forward(rest, x, t0=8)[0])
    assert not arch.backward(params, late[2], y).params["m_0"].any()
    g = arch.backward(params, tape, y)
    np.testing.assert_array_equal(g.params["m_0"], g.state["m"].sum(0))
    assert np.abs(g.params["m_0"]).min() > 0


def test_they_are_public():
    assert msref.ClockworkRNN is ClockworkRNN
    assert msref.MultiScaleLMN is MultiScaleLMN
