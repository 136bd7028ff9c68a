"""Losses against complex steps, autograd, extreme logits and arithmetic."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.training import (
    LOSSES,
    Loss,
    bernoulli_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)

NAMES = sorted(k for k, loss in LOSSES.items() if isinstance(loss, Loss))
STEP = 1e-30


@st.composite
def cases(draw, dtype=np.float64):
    """A loss, and a batch for it whose mask keeps at least one frame."""
    loss = LOSSES[draw(st.sampled_from(NAMES))]
    shape = tuple(draw(st.integers(1, n)) for n in (4, 3, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0.1, 1.0, 30.0]))
    o = (scale * rng.standard_normal(shape)).astype(dtype)
    if loss.classes:
        target = rng.integers(0, shape[2], shape[:2])
    elif draw(st.booleans()):
        target = rng.integers(0, 2, shape).astype(dtype)
    else:
        target = rng.random(shape).astype(dtype)
    if draw(st.booleans()):
        return loss, o, target, None
    mask = rng.random(shape[:2]) < 0.6
    mask.flat[rng.integers(mask.size)] = True
    return loss, o, target, mask


def complex_step(loss, o, target, mask):
    gradient = np.empty_like(o)
    for i in np.ndindex(o.shape):
        probe = o.astype(complex)
        probe[i] += 1j * STEP
        gradient[i] = loss.value(probe, target, mask).imag / STEP
    return gradient


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_gradient_is_that_of_a_complex_step(case):
    loss, o, target, mask = case
    _, do = loss(o, target, mask)
    witness = complex_step(loss, o, target, mask)
    np.testing.assert_allclose(do, witness, rtol=1e-12, atol=1e-16)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_gradient_is_that_of_autograd(case):
    loss, o, target, mask = case
    value, do = loss(o, target, mask)
    witness = autograd.grad(lambda o: loss.value(o, target, mask, anp))(o)
    np.testing.assert_allclose(do, witness, rtol=1e-9, atol=1e-14)
    assert value == float(loss.value(o, target, mask, anp))


@settings(max_examples=40, deadline=None)
@given(cases(np.float32))
def test_float32_stays_float32_and_near_float64(case):
    loss, o, target, mask = case
    value, do = loss(o, target, mask)
    wide = target if loss.classes else target.astype(np.float64)
    value64, do64 = loss(o.astype(np.float64), wide, mask)
    assert do.dtype == np.float32
    np.testing.assert_allclose(value, value64, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(do, do64, rtol=1e-4, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_mask_is_the_same_as_leaving_frames_out(case):
    loss, o, target, mask = case
    keep = np.ones(o.shape[:2], bool) if mask is None else mask
    value, do = loss(o, target, mask)
    alone, d_alone = loss(o[keep][:, None], target[keep][:, None])
    np.testing.assert_allclose(value, alone, rtol=1e-13)
    np.testing.assert_allclose(do[keep][:, None], d_alone, rtol=1e-13)
    assert not do[~keep].any()


@settings(max_examples=30, deadline=None)
@given(cases(), st.sampled_from([np.nan, np.inf, 1e300, -1e300]))
def test_padding_may_hold_anything(case, junk):
    loss, o, target, mask = case
    mask = np.ones(o.shape[:2], bool) if mask is None else mask
    mask = np.concatenate([mask, np.zeros((2, mask.shape[1]), bool)])
    pad = ((0, 2), (0, 0), (0, 0))
    o = np.pad(o, pad, constant_values=junk)
    target = np.pad(target, pad[: target.ndim], constant_values=9)
    value, do = loss(o, target, mask)
    same, d_same = loss(o[:-2], target[:-2], mask[:-2])
    np.testing.assert_allclose(value, same, rtol=1e-15)
    np.testing.assert_array_equal(do[:-2], d_same)
    assert not do[-2:].any()


def test_a_sequence_that_is_all_padding_counts_as_nothing():
    o = np.array([[[0.3], [5.0]], [[-0.2], [7.0]]])
    target = np.zeros_like(o)
    mask = np.array([[True, False], [True, False]])
    value, do = mean_squared_error(o, target, mask)
    assert value == pytest.approx((0.09 + 0.04) / 2)
    np.testing.assert_allclose(do[:, 0], [[0.3], [-0.2]])
    assert not do[:, 1].any()


@given(cases())
def test_the_terms_of_the_mean_are_the_frames_that_count(case):
    loss, o, _, mask = case
    n_frames = o[..., 0].size if mask is None else mask.sum()
    assert loss.n_terms(mask, o.shape) == n_frames


def test_values_by_hand():
    o, target = np.array([[[1.0, -2.0]]]), np.array([[[0.0, 1.0]]])
    assert mean_squared_error(o, target)[0] == pytest.approx(5.0)
    zeros = np.zeros((3, 2, 4))
    value, do = bernoulli_cross_entropy(zeros, zeros + 1.0)
    assert value == pytest.approx(np.log(2))
    np.testing.assert_allclose(do, -0.5 / (3 * 2 * 4))
    value, _ = softmax_cross_entropy(zeros, np.ones((3, 2), int))
    assert value == pytest.approx(np.log(4))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [40.0, 1000.0])
def test_extreme_logits(name, dtype, size):
    loss = LOSSES[name]
    o = np.array([[[size, -size], [-size, size]]], dtype)
    right, wrong = np.array([[0, 1]]), np.array([[1, 0]])
    if not loss.classes:
        right, wrong = np.eye(2, dtype=dtype)[[0, 1]], np.eye(2)[[1, 0]]
        right, wrong = right[None], wrong[None].astype(dtype)
    for target in (right, wrong):
        value, do = loss(o, target)
        assert np.isfinite(value)
        assert np.isfinite(do).all()
        if dtype == np.float64:
            witness = complex_step(loss, o, target, None)
            np.testing.assert_allclose(do, witness, rtol=1e-12)
    expected = {"bernoulli": size, "softmax": 2 * size}
    if name in expected:
        assert loss(o, wrong)[0] == pytest.approx(expected[name])
        assert 0 <= loss(o, right)[0] < 1e-15


def test_a_certain_and_right_unit_keeps_its_tiny_loss_and_gradient():
    o, target = np.array([[[40.0]]]), np.array([[[1.0]]])
    value, do = bernoulli_cross_entropy(o, target)
    assert value == pytest.approx(np.exp(-40.0), rel=1e-12)
    assert do.item() == pytest.approx(-np.exp(-40.0), rel=1e-12)


Z = np.zeros((3, 2, 4))
C = np.zeros((3, 2), int)


@pytest.mark.parametrize(
    ("loss", "o", "target", "mask", "error", "words"),
    [
        ("squared", Z[0], Z[0], None, ValueError, "prediction has shape"),
        ("squared", Z[:0], Z[:0], None, ValueError, "no numbers"),
        ("squared", Z.astype(int), Z, None, TypeError, "prediction has dtype"),
        ("squared", Z, Z[:2], None, ValueError, "target has shape"),
        ("squared", Z, Z.astype("f4"), None, TypeError, "target has dtype"),
        ("squared", Z + np.nan, Z, None, ValueError, "prediction holds nan"),
        ("squared", Z, Z + np.inf, None, ValueError, "target holds inf"),
        ("bernoulli", Z, Z + 2, None, ValueError, r"2.0..2.0, expected 0..1"),
        ("bernoulli", Z, Z - 1, None, ValueError, "expected 0..1"),
        ("softmax", Z, C.astype(float), None, TypeError, "expected integers"),
        ("softmax", Z, C + 4, None, ValueError, "4..4, expected 0..3"),
        ("softmax", Z, C - 1, None, ValueError, "expected 0..3"),
        ("softmax", Z, Z, None, ValueError, "target has shape"),
        ("squared", Z, Z, C, ValueError, "mask has dtype"),
        ("squared", Z, Z, C[:1] == 0, ValueError, "mask has shape"),
        ("squared", Z, Z, C == 1, ValueError, "keeps no frame"),
    ],
)
def test_what_does_not_fit_is_refused(loss, o, target, mask, error, words):
    with pytest.raises(error, match=words):
        LOSSES[loss](o, target, mask)


def test_the_place_of_a_nan_is_named():
    o = Z.copy()
    o[2, 1, 3] = np.nan
    with pytest.raises(ValueError, match="t=2, batch=1, unit=3"):
        mean_squared_error(o, Z)


def test_inputs_are_left_alone():
    rng = np.random.default_rng(0)
    o, target = rng.random((3, 2, 4)), rng.random((3, 2, 4))
    mask = rng.random((3, 2)) < 0.5
    before = [a.copy() for a in (o, target, mask)]
    bernoulli_cross_entropy(o, target, mask)
    for a, b in zip((o, target, mask), before, strict=True):
        np.testing.assert_array_equal(a, b)
