"""Optimisers against recurrences written out number by number."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.training import SGD, Adam, Slowed, clip_by_global_norm

GRADS = [0.5, -1.25, 3.0, 1e-9]


def run(optimiser, w, grads):
    """Take one-number steps; return the number after each."""
    params = {"w": np.array([w])}
    state = optimiser.init(params)
    path = []
    for g in grads:
        params, state = optimiser.update(params, {"w": np.array([g])}, state)
        path.append(params["w"].item())
    return path


def test_plain_descent():
    path = run(SGD(0.1), 1.0, GRADS)
    assert path == pytest.approx([0.95, 1.075, 0.775, 0.775 - 1e-10])


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_momentum(nesterov, decay):
    w, v, expected = 1.0, 0.0, []
    for dw in GRADS:
        g = dw + decay * w
        v = 0.9 * v + g
        w = w - 0.1 * (g + 0.9 * v if nesterov else v)
        expected.append(w)
    optimiser = SGD(0.1, 0.9, nesterov, decay)
    assert run(optimiser, 1.0, GRADS) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_adam(decay):
    w, m, v, expected = 1.0, 0.0, 0.0, []
    for t, dw in enumerate(GRADS, start=1):
        g = dw + decay * w
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g * g
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        w = w - 0.1 * m_hat / (math.sqrt(v_hat) + 1e-3)
        expected.append(w)
    optimiser = Adam(0.1, 0.8, 0.95, 1e-3, decay)
    assert run(optimiser, 1.0, GRADS) == pytest.approx(expected, rel=1e-14)


def test_the_first_step_of_adam_shows_where_epsilon_stands():
    g, rate, epsilon = 1e-8, 1e-3, 1e-8
    (after,) = run(Adam(rate, epsilon=epsilon), 0.0, [g])
    assert after == pytest.approx(-rate * g / (g + epsilon), rel=1e-12)
    keras = rate * g / (g + epsilon / math.sqrt(1 - 0.999))
    assert abs(after + keras) > 1e-4


def test_decay_is_part_of_the_gradient_and_not_decoupled():
    (coupled,) = run(Adam(0.1, weight_decay=0.5), 2.0, [0.0])
    assert coupled == pytest.approx(2.0 - 0.1)  # AdamW: 2 - 0.1 * 0.5 * 2


@pytest.mark.parametrize("optimiser", [SGD(0.1), SGD(0.1, 0.9), Adam(0.1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_update_is_pure(optimiser, dtype):
    rng = np.random.default_rng(0)
    params = {k: rng.random(s).astype(dtype) for k, s in (("a", 3), ("b", 2))}
    grads = {k: rng.random(p.shape).astype(dtype) for k, p in params.items()}
    state = optimiser.init(params)
    before = [{k: a.copy() for k, a in d.items()} for d in (params, state)]
    for array in (*params.values(), *grads.values(), *state.values()):
        array.flags.writeable = False
    new, new_state = optimiser.update(params, grads, state)
    for d, same in zip((params, state), before, strict=True):
        for k in d:
            np.testing.assert_array_equal(d[k], same[k])
    assert all(new[k].dtype == dtype for k in params)
    assert all(new_state[k].dtype == state[k].dtype for k in state)
    assert set(new_state) == set(state)
    assert all((new[k] != params[k]).all() for k in params)


@pytest.mark.parametrize(
    "optimiser", [SGD(0.1, 0.5, weight_decay=1), Adam(weight_decay=1.0)]
)
def test_without_a_gradient_nothing_moves(optimiser):
    params = {"a": np.ones(2), "still": np.ones(3)}
    state = optimiser.init({"a": params["a"]})
    new, _ = optimiser.update(params, {"a": np.ones(2)}, state)
    assert new["still"] is params["still"]
    assert (new["a"] != 1).all()


@pytest.mark.parametrize("optimiser", [SGD(0.1), SGD(0.1, 0.9), Adam(0.1)])
@pytest.mark.parametrize(
    ("grads", "words"),
    [
        ({"core/W": np.array([1.0, np.nan])}, r"grads\['core/W'\] holds nan"),
        ({"core/W": np.array([np.inf, 1.0])}, r"grads\['core/W'\] holds inf"),
        ({"core/W": np.ones(3)}, r"grads\['core/W'\] has shape \(3,\)"),
        ({"core/V": np.ones(2)}, r"\['core/V'\], which params does not"),
    ],
)
def test_bad_gradients_are_named(optimiser, grads, words):
    params = {"core/W": np.ones(2)}
    with pytest.raises(ValueError, match=words):
        optimiser.update(params, grads, optimiser.init(params))


@pytest.mark.parametrize("optimiser", [SGD(0.1, 0.9), Adam(0.1)])
def test_a_state_of_other_parameters_is_refused(optimiser):
    params = {"a": np.ones(2), "b": np.ones(2)}
    state = optimiser.init({"a": np.ones(2)})
    with pytest.raises(ValueError, match=r"\['a'\], expected \['a', 'b'\]"):
        optimiser.update(params, params, state)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(0.0), "learning_rate"),
        (lambda: SGD(math.nan), "learning_rate"),
        (lambda: Adam(-1.0), "learning_rate"),
        (lambda: SGD(0.1, 1.0), "momentum"),
        (lambda: SGD(0.1, nesterov=True), "nesterov"),
        (lambda: SGD(0.1, weight_decay=-1.0), "weight_decay"),
        (lambda: Adam(beta1=1.0), "beta1"),
        (lambda: Adam(beta2=-0.1), "beta2"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
    ],
)
def test_impossible_options_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1e-200, 1e-3, 1.0, 1e200]),
    st.sampled_from([0.1, 1.0, 3.0]),
)
def test_clipping(seed, scale, share):
    rng = np.random.default_rng(seed)
    unit = {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}
    length = math.sqrt(sum(float((g**2).sum()) for g in unit.values()))
    grads = {k: g * scale for k, g in unit.items()}
    clipped, norm = clip_by_global_norm(grads, share * length * scale)
    assert norm == pytest.approx(length * scale, rel=1e-12)
    for k, g in grads.items():
        np.testing.assert_allclose(clipped[k], g * min(share, 1), rtol=1e-12)


def test_clipping_keeps_what_is_short_enough_bit_by_bit():
    grads = {"a": np.array([3.0, 4.0], np.float32)}
    same, norm = clip_by_global_norm(grads, 5.0)
    assert norm == 5.0
    assert same["a"] is grads["a"]
    shorter, _ = clip_by_global_norm(grads, 1.0)
    assert shorter["a"].dtype == np.float32
    np.testing.assert_allclose(shorter["a"], [0.6, 0.8], rtol=1e-7)
    assert clip_by_global_norm({"a": np.zeros(2)}, 1.0)[1] == 0


def test_clipping_names_a_nan_and_refuses_a_bad_maximum():
    grads = {"core/b": np.array([0.0, np.nan])}
    with pytest.raises(ValueError, match="'core/b' holds nan"):
        clip_by_global_norm(grads, 1.0)
    for maximum in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="maximum"):
            clip_by_global_norm({"a": np.ones(1)}, maximum)


@given(
    st.sampled_from([SGD(0.1, 0.9), Adam(0.1, weight_decay=0.01)]),
    st.floats(1e-3, 1.0),
    st.integers(0, 1000),
)
def test_a_slowed_step_is_a_share_of_the_whole(optimiser, factor, seed):
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(3) for name in ("a", "b", "c")}
    slowed = Slowed(optimiser, ("a", "c"), factor)
    state = optimiser.init({name: params[name] for name in ("a", "b")})
    for _ in range(3):
        grads = {name: rng.standard_normal(3) for name in ("a", "b")}
        whole, expected = optimiser.update(params, grads, state)
        new, state = slowed.update(params, grads, state)
        np.testing.assert_allclose(
            new["a"] - params["a"], factor * (whole["a"] - params["a"])
        )
        np.testing.assert_array_equal(new["b"], whole["b"])
        assert new["c"] is params["c"]  # it has no gradient
        for name, value in expected.items():
            np.testing.assert_array_equal(state[name], value)
        params = new


def test_slowed_starts_as_the_other_and_knows_its_names():
    params = {"a": np.ones(2, np.float32)}
    slowed = Slowed(Adam(0.1), ("a",), 0.5)
    assert list(slowed.init(params)) == list(Adam(0.1).init(params))
    new, _ = slowed.update(params, params, slowed.init(params))
    assert new["a"].dtype == np.float32
    with pytest.raises(ValueError, match=r"names holds \['b'\], expected"):
        Slowed(Adam(0.1), ("b",), 0.5).init(params)
    for factor in (0.0, 1.5, np.nan):
        with pytest.raises(ValueError, match=f"^factor is {factor}, expected"):
            Slowed(Adam(0.1), ("a",), factor)
