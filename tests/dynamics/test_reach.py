import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent import NETWORKS, point

from msref.architectures import (
    GRU,
    LSTM,
    Bidirectional,
    Checkpointed,
    ClockworkRNN,
    DuRNN,
    Elman,
    IndRNN,
    Linear,
    Parallel,
    Residual,
    Stack,
)
from msref.dynamics import (
    gradient_bound,
    gradient_reach,
    jacobian,
    joined,
    separated,
    slices,
)

SEEDS = st.integers(0, 2**16)


def product(arch, params, x, state, t0, name):
    """Multiply the Jacobians of the steps, the last one first."""
    Js = []
    for t, frame in enumerate(x):
        Js.append(jacobian(arch, params, frame, state, t0 + t))
        _, state, _ = arch.forward(params, frame[None], state, t0 + t)
    part = slice(None) if name is None else slices(arch)[name]
    P = np.stack([np.eye(Js[0].shape[1])] * x.shape[1])
    norms = []
    for J in reversed(Js):
        norms.append(np.linalg.svd(P[:, part, part])[1].max(axis=1))
        P = P @ J
    return np.array(norms)


@pytest.mark.parametrize("arch", NETWORKS, ids=repr)
def test_it_is_the_norm_of_a_product_of_jacobians(arch):
    params, x, state = point(arch, 1, n_time=7, n_batch=3)
    for name in [*state, None]:
        reach = gradient_reach(arch, params, x, name, state=state, t0=2)
        expected = product(arch, params, x, state, 2, name)
        np.testing.assert_allclose(reach.norms, expected, 1e-10, 1e-200)
        assert (reach.lags == np.arange(7)).all()
        assert (reach.norms[0] == 1.0).all()


BOUNDED = [
    (Elman(3, 4), "h"),
    (Elman(3, 4, activation="relu"), "h"),
    (IndRNN(3, 4), "h"),
    (IndRNN(3, 4, activation="tanh", horizon=9), "h"),
    (IndRNN(4, 4, mixes=False), "h"),
    *((DuRNN(3, 4, 5), name) for name in "sl"),
    *((DuRNN(3, 5, 4, activation="tanh", horizon=9), name) for name in "sl"),
    (Stack(GRU(2, 3), DuRNN(3, 4, 2), IndRNN(6, 3)), "1/s"),
    (Stack(GRU(2, 3), DuRNN(3, 4, 2), IndRNN(6, 3)), "2/h"),
    (Parallel(Elman(2, 3), Checkpointed(IndRNN(2, 4))), "1/h"),
    (Residual(Stack(Elman(2, 3), Linear(3, 2))), "0/h"),
]


@pytest.mark.parametrize(("arch", "name"), BOUNDED, ids=repr)
@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.5, 1.0, 2.0]))
def test_no_sequence_exceeds_the_bound(arch, name, seed, scale):
    params, x, state = point(arch, seed, n_time=9, n_batch=2)
    params = {k: scale * v for k, v in params.items()}
    reach = gradient_reach(arch, params, x, name, state=state)
    assert reach.bound is not None
    assert (reach.norms <= reach.bound[:, None] * (1 + 1e-9)).all()
    assert reach.bound[0] == 1.0


@pytest.mark.parametrize(
    "arch", [IndRNN(1, 1), Elman(1, 1, activation="relu"), DuRNN(1, 1, 1)]
)
@settings(max_examples=20)
@given(st.floats(0.1, 3.0))
def test_a_unit_that_stays_active_reaches_the_bound(arch, weight):
    params = {k: np.full(v, weight) for k, v in arch.shapes().items()}
    x = np.ones((12, 2, 1))
    for name in arch.initial_state(1):
        reach = gradient_reach(arch, params, x, name)
        np.testing.assert_allclose(reach.norms[:, 0], reach.bound, 1e-12)
        np.testing.assert_allclose(reach.bound, weight ** np.arange(12.0))


@pytest.mark.parametrize(
    ("arch", "name"),
    [(LSTM(2, 3), "h"), (GRU(2, 3), "h"), (Stack(GRU(2, 3), GRU(3, 3)), "0/h")],
)
def test_nothing_is_claimed_where_nothing_is_known(arch, name):
    params, x, _ = point(arch, 0, n_time=3)
    assert gradient_reach(arch, params, x, name).bound is None
    assert gradient_bound(arch, params, None, np.arange(3)) is None


def test_chosen_lags_are_those_of_all_of_them():
    arch = ClockworkRNN(2, 3, 3)
    params, x, _ = point(arch, 4, n_time=11, n_batch=3)
    whole = gradient_reach(arch, params, x)
    assert whole.name == "h"  # the only one
    some = gradient_reach(arch, params, x, lags=[9, 0, 4])
    np.testing.assert_allclose(some.norms, whole.norms[[9, 0, 4]], 1e-13)
    assert some.lags.tolist() == [9, 0, 4]
    np.testing.assert_array_equal(whole.median, np.median(whole.norms, 1))
    np.testing.assert_array_equal(whole.largest, np.max(whole.norms, 1))


def test_no_lag_is_too_far_on_the_way():
    arch = IndRNN(1, 2)
    params = {"W_xh": np.ones((1, 2)), "b_h": np.ones(2)}
    x = np.ones((600, 1, 1))
    # 8^-450 is no number of float64: what comes back from there is exact
    for w, lag in (([0.125, 0.5], 599), ([0.125, 0.125], 450)):
        reach = gradient_reach(
            arch, params | {"w_hh": np.array(w)}, x, lags=[lag]
        )
        assert reach.norms[0, 0] == reach.bound[0] == max(w) ** lag
    arch = IndRNN(1, 2, activation="tanh")  # held at zero, where it is steep
    growing = params | {"b_h": np.zeros(2), "w_hh": np.array([1.0, 8.0])}
    reach = gradient_reach(arch, growing, 0 * x, lags=[300, 345])
    assert reach.norms[:, 0].tolist() == [8.0**300, np.inf]
    assert reach.bound.tolist() == [8.0**300, np.inf]


def test_it_is_measured_in_double_precision():
    arch = Elman(2, 3)
    params, x, _ = point(arch, 0, n_time=5)
    narrow = {k: v.astype("f4") for k, v in params.items()}
    reach = gradient_reach(arch, narrow, x.astype("f4"))
    wide = {k: v.astype(float) for k, v in narrow.items()}
    expected = gradient_reach(arch, wide, x.astype("f4").astype(float))
    np.testing.assert_array_equal(reach.norms, expected.norms)
    assert reach.norms.dtype == np.float64


def test_a_bar_can_be_shown(capfd):
    arch = Elman(2, 3)
    params, x, _ = point(arch, 0, n_time=5)
    gradient_reach(arch, params, x, progress=True)
    assert "gradient reach" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "c"}, r"name is 'c', expected one of \['h'\]"),
        ({"lags": [0, 5]}, r"lags lie in 0..5, expected 0..4"),
        ({"lags": [-1]}, "lags lie in -1"),
        ({"lags": []}, r"lags has shape \(0,\)"),
        ({"lags": [0.5]}, "lags has shape"),
        ({"arch": Bidirectional(Elman(2, 3), Elman(2, 3))}, "looks ahead"),
        ({"arch": Linear(2, 3)}, "has no state"),
        ({"x": np.zeros((5, 2))}, "x has shape"),
    ],
)
def test_what_cannot_be_is_named(changes, words):
    arch = Elman(2, 3)
    params, x, _ = point(arch, 0, n_time=5)
    arguments = {"arch": arch, "params": params, "x": x} | changes
    with pytest.raises(ValueError, match=words):
        gradient_reach(**arguments)


def test_states_and_vectors():
    arch = LSTM(2, 3)
    _, _, state = point(arch, 0, n_batch=2)
    again = separated(arch, joined(arch, state))
    assert list(again) == list(state)
