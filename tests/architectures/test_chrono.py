"""Chrono starts: what the gates keep before anything is learned."""

import numpy as np
import pytest

from msref.architectures import GRU, LSTM


def init(arch, seed=0, dtype=np.float64):
    return arch.init(np.random.default_rng(seed), dtype)


def steps_to_one_over_e(arch, seed=0):
    """Simulate each unit alone: zero weights and input, a memory of one."""
    params = init(arch, seed)
    params = {
        name: np.zeros_like(W) if name.startswith("W") else W
        for name, W in params.items()
    }
    state = {
        name: np.ones_like(value)
        for name, value in arch.initial_state(1).items()
    }
    x = np.zeros((1, 1, arch.n_in))
    _, state, _ = arch.forward(params, x, state)
    kept = state["c" if "c" in state else "h"][0]
    return -1.0 / np.log(kept)  # g and n are zero: it falls geometrically


@pytest.mark.parametrize("arch", [LSTM(3, 5), GRU(3, 5), GRU(3, 5, "before")])
def test_without_chrono_the_draws_are_as_ever(arch):
    rng = np.random.default_rng(0)
    params = arch.init(rng)
    chrono = type(arch)(3, 5, chrono=50)
    for name, W in init(chrono).items():
        if name.startswith("W"):
            np.testing.assert_array_equal(W, params[name])
    expected = {"b_f": 1.0} if isinstance(arch, LSTM) else {}
    for name, b in params.items():
        if name.startswith("b"):
            np.testing.assert_array_equal(b, expected.get(name, 0.0))
    # nothing was drawn but matrices: sizes 3 x 5 evenly, 5 x 5 normally
    again = np.random.default_rng(0)
    gates = "ifgo" if isinstance(arch, LSTM) else "rzn"
    for k in gates:
        bound = np.sqrt(6 / 8)
        drawn = again.uniform(-bound, bound, (3, 5))
        np.testing.assert_array_equal(drawn, params[f"W_x{k}"])
    again.standard_normal((len(gates), 5, 5))
    assert rng.bit_generator.state == again.bit_generator.state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_lstm_keeps_and_lets_in_with_opposite_biases(dtype):
    params = init(LSTM(2, 500, chrono=40), dtype=dtype)
    b_f = params["b_f"]
    assert all(value.dtype == dtype for value in params.values())
    assert b_f.min() >= 0
    assert np.log(30) < b_f.max() < np.log(39) + 1e-6
    np.testing.assert_array_equal(params["b_i"], -b_f)
    assert not params["b_g"].any()
    assert not params["b_o"].any()


def test_a_gru_has_it_in_the_update_gate_alone():
    params = init(GRU(2, 500, chrono=40))
    assert params["b_z"].min() >= 0
    assert np.log(30) < params["b_z"].max() < np.log(39)
    for name in ("b_r", "b_n", "b_hn"):
        assert not params[name].any()


def test_times_are_uniform_up_to_the_longest_dependency():
    """1 / (1 - f) is uniform in 2 .. T: it covers the range evenly."""
    times = 1 + np.exp(init(LSTM(1, 500, chrono=600))["b_f"])
    for share in (0.1, 0.5, 0.9):
        expected = 2 + share * 598
        assert np.quantile(times, share) == pytest.approx(expected, abs=50)


def many(cell, **options):
    """Return the times of 4,000 units, of 20 at once: matrices are small."""
    arch = cell(1, 20, **options)
    times = [steps_to_one_over_e(arch, seed) for seed in range(200)]
    return np.concatenate(times)


@pytest.mark.parametrize(
    ("cell", "options", "median"),
    [
        (LSTM, {"chrono": 600}, 299),
        (LSTM, {"chrono": 600, "double_bias": True}, 67_000),
        (GRU, {"chrono": 600}, 299),
    ],
)
def test_how_long_a_unit_remembers(cell, options, median):
    """The figures were simulated elsewhere; 4,000 units are within a tenth."""
    times = many(cell, **options)
    assert np.median(times) == pytest.approx(median, rel=0.1)


def test_two_bias_vectors_multiply_the_times():
    b_f = init(LSTM(2, 500, chrono=40, double_bias=True))["b_f"]
    assert np.log(30) * 2 * 0.9 < b_f.max() < 2 * np.log(39)
    b_i = init(LSTM(2, 500, chrono=40, double_bias=True))["b_i"]
    np.testing.assert_array_equal(b_i, -b_f)


@pytest.mark.parametrize(
    ("cell", "options", "error", "words"),
    [
        (LSTM, {"chrono": 1}, ValueError, "chrono is 1, expected at least 2"),
        (GRU, {"chrono": 1}, ValueError, "chrono is 1, expected at least 2"),
        (LSTM, {"chrono": 0}, ValueError, "chrono is 0"),
        (GRU, {"chrono": 2.5}, TypeError, "chrono is 2.5"),
        (LSTM, {"double_bias": True}, ValueError, "double_bias needs chrono"),
    ],
)
def test_what_cannot_be_is_named(cell, options, error, words):
    with pytest.raises(error, match=words):
        cell(2, 3, **options)


@pytest.mark.parametrize(
    "arch", [LSTM(2, 3, chrono=9, double_bias=True), GRU(2, 3, chrono=9)]
)
def test_the_option_is_in_the_constructor_call(arch):
    assert eval(repr(arch)) == arch
    assert arch != type(arch)(2, 3)
