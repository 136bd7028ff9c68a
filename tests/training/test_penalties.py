"""Penalties against complex steps, autograd and the bounds they soften."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.architectures import DuRNN, IndRNN
from msref.training import (
    SGD,
    Batch,
    Excess,
    Magnitude,
    Model,
    Orthogonality,
    Sum,
)

SEEDS = st.integers(0, 999)
BOUNDS = st.sampled_from([0.1, 0.5, 1.0, 1.00139])
PENALTIES = st.sampled_from(
    [
        Excess("W", 0.4, 0.7),
        Excess("w", 0.9, 3.0),
        Orthogonality("W", 0.3),
        Sum(Excess("W", 0.4, 0.7)),
        Sum(Excess("w", 0.4, 0.7), Orthogonality("W", 0.3)),
        Sum(
            Excess("W", 0.4, 0.7),
            Sum(Orthogonality("W", 0.3), Excess("W", 1.0, 2.0)),
        ),
    ]
)


def some_params(seed):
    rng = np.random.default_rng(seed)
    W, w = rng.standard_normal((4, 4)), rng.standard_normal(5)
    return {"W": W, "w": w}


@given(PENALTIES, SEEDS)
def test_gradients_are_complex_steps_and_those_of_autograd(penalty, seed):
    params = some_params(seed)
    grads = penalty.gradients(params)
    assert set(grads) == set(penalty.names)
    witness = autograd.grad(lambda p: penalty.value(p, anp))(params)
    rng = np.random.default_rng(seed)
    for name, gradient in grads.items():
        np.testing.assert_allclose(gradient, witness[name], 1e-12, 1e-14)
        along = rng.standard_normal(gradient.shape)
        probe = params | {name: params[name] + 1e-30j * along}
        slope = penalty.value(probe).imag / 1e-30
        found = (gradient * along).sum()
        assert found == pytest.approx(slope, rel=1e-11, abs=1e-13)


@given(SEEDS, BOUNDS, st.sampled_from(["float32", "float64"]))
def test_an_excess_is_the_distance_from_the_bound(seed, bound, dtype):
    params = {k: W.astype(dtype) for k, W in some_params(seed).items()}
    for name, W in params.items():
        penalty = Excess(name, bound, 0.3)
        within = params | {name: Magnitude(bound).project(W)}
        away = np.linalg.norm((W - within[name]).astype(float))
        P = float(penalty.value(params))
        rtol = 100 * float(np.finfo(dtype).eps)
        assert pytest.approx(0.3 * away**2, rel=rtol, abs=rtol) == P
        assert penalty.value(within) == 0
        assert not penalty.gradients(within)[name].any()
        gradient = penalty.gradients(params)[name]
        assert gradient.dtype == dtype
        outside = abs(W) > bound
        assert (np.sign(gradient[outside]) == np.sign(W[outside])).all()
        assert not gradient[~outside].any()


@given(SEEDS, BOUNDS)
def test_going_down_an_excess_ends_at_the_bound(seed, bound):
    penalty, optimiser = Excess("w", bound, 0.25), SGD(1.0)
    params = start = some_params(seed)
    for _ in range(60):  # each halves what is outside
        params, _ = optimiser.update(params, penalty.gradients(params), {})
    found, expected = params["w"], Magnitude(bound).project(start["w"])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_sum_adds_what_its_parts_say():
    params = some_params(0)
    a, b = Orthogonality("W", 0.3), Excess("W", 0.4, 0.7)
    both = Sum(a, b, Excess("w", 0.2, 0.1))
    assert both.names == ("W", "w")
    np.testing.assert_allclose(
        both.gradients(params)["W"],
        a.gradients(params)["W"] + b.gradients(params)["W"],
        rtol=1e-14,
    )
    assert eval(repr(both)) == both
    assert both != Sum(a, b)


@pytest.mark.parametrize(
    ("core", "penalty"),
    [
        (IndRNN(2, 4, "tanh"), Excess("core/w_hh", 0.05, 2.0)),
        (
            DuRNN(2, 3, 4, activation="tanh"),
            Sum(
                Excess("core/w_ll", 0.05, 2.0),
                Orthogonality("core/W_ss", 0.1),
            ),
        ),
    ],
    ids=["indrnn", "durnn"],
)
def test_a_model_learns_with_it(core, penalty):
    free = Model(core, 1, "squared")
    model = Model(core, 1, "squared", penalty=penalty)
    rng = np.random.default_rng(0)
    params = model.init(rng)
    batch = Batch.of([(rng.random((6, 2)), rng.random((6, 1)))])
    value, grads = model.loss_and_gradients(params, batch)
    plain, grads_plain = free.loss_and_gradients(params, batch)
    assert value - plain == pytest.approx(float(penalty.value(params)))
    assert value > plain
    witness = autograd.grad(lambda p: model.objective(p, batch, anp))(params)
    for name in grads:
        moved = not np.array_equal(grads[name], grads_plain[name])
        assert moved == (name in penalty.names)
        np.testing.assert_allclose(grads[name], witness[name], 1e-10, 1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Excess("w", 0.0, 1.0), "bound is 0.0, expected above 0"),
        (lambda: Excess("w", np.nan, 1.0), "bound is nan"),
        (lambda: Excess("w", 1.0, -1.0), "strength is -1.0, expected above"),
        (lambda: Excess("w", 1.0, np.inf), "strength is inf"),
        (Sum, "Sum got no penalties"),
        (
            lambda: Model(IndRNN(2, 3), 1, penalty=Sum(Excess("w", 1.0, 1.0))),
            "the penalty is on 'w'",
        ),
    ],
)
def test_impossible_penalties_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
