"""The one formula by which two numbers count as equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.verification.tolerance import (
    FAIL,
    NAN,
    PASS,
    UNDECIDED,
    VERDICTS,
    ZERO,
    compare,
    doubtful,
    relative_tolerance,
    worst,
)

some = settings(max_examples=200)
seeds = st.integers(0, 2**32 - 1)
DTYPES = [np.float64, np.float32]


def arrays(seed, shape=(3, 2)):
    return np.random.default_rng(seed).standard_normal(shape)


def test_the_numbers_of_the_docstring():
    assert relative_tolerance(np.float64) == pytest.approx(9.1e-13, rel=0.01)
    assert relative_tolerance(np.float32) == pytest.approx(4.9e-4, rel=0.01)
    assert doubtful(np.float64) == pytest.approx(4.5e-3, rel=0.01)
    assert doubtful(np.float32) == pytest.approx(9.2e-2, rel=0.01)


# --- each verdict -----------------------------------------------------------


def test_equal_passes_and_different_fails():
    expected = arrays(0)
    assert compare(expected, expected, 0.0, np.float64).verdict == PASS
    got = expected.copy()
    got[2, 1] *= 1.001
    found = compare(got, expected, 0.0, np.float64)
    assert found.verdict == FAIL
    assert found.place == (2, 1)
    assert (found.got, found.expected) == (got[2, 1], expected[2, 1])
    assert found.scale == np.abs(expected).max()
    assert found.error == pytest.approx(
        np.abs(got - expected).max() / found.scale
    )
    assert found.excess > 1.0


def test_zeros_test_nothing():
    zeros = np.zeros((2, 3))
    assert compare(zeros, zeros, 0.0, np.float64).verdict == ZERO


def test_a_number_where_zero_belongs_is_wrong_and_so_is_the_reverse():
    zeros, one = np.zeros((2, 3)), np.zeros((2, 3))
    one[1, 2] = 1e-300
    for got, expected in ((one, zeros), (zeros, one)):
        found = compare(got, expected, 0.0, np.float64)
        assert found.verdict == FAIL
        assert found.place == (1, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_called_so(value):
    expected = arrays(0)
    got = expected.copy()
    got[1, 0] = value
    found = compare(got, expected, 0.0, np.float64)
    assert found.verdict == NAN
    assert found.place == (1, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_witness_that_is_not_finite_decides_nothing(value):
    expected = arrays(0)
    got = expected.copy()
    expected[1, 0] = value
    found = compare(got, expected, 0.0, np.float64)
    assert found.verdict == UNDECIDED
    floor = np.zeros((3, 2))
    floor[0, 0] = value
    assert compare(got, got, floor, np.float64).verdict == UNDECIDED


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_imprecise_witness_decides_nothing(dtype):
    expected = arrays(0)
    scale = np.abs(expected).max()
    for share, verdict in ((0.99, PASS), (1.01, UNDECIDED)):
        floor = share * doubtful(dtype) * scale
        assert compare(expected, expected, floor, dtype).verdict == verdict


def test_another_shape_is_wrong():
    for got in (np.ones((2, 3)), np.ones(6), np.ones((3, 2, 1))):
        found = compare(got, np.ones((3, 2)), 0.0, np.float64)
        assert found.verdict == FAIL
        assert found.excess == np.inf


# --- the formula ------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@some
@given(seed=seeds, floor=st.sampled_from([0.0, 1e-9, 1e-4]))
def test_the_allowed_difference_is_the_one_documented(dtype, seed, floor):
    expected = arrays(seed)
    rtol = relative_tolerance(dtype)
    for share, verdict in ((0.98, PASS), (1.02, FAIL)):
        got = expected.copy()
        size = np.abs(expected[1, 1])
        got[1, 1] += share * (rtol * size + floor)
        found = compare(got, expected, floor, dtype)
        assert found.verdict == verdict
        assert found.excess == pytest.approx(share, rel=0.01)
        assert found.place == (1, 1)


@some
@given(
    seed=seeds,
    power=st.integers(-900, 900),
    error=st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1.0]),
    floor=st.sampled_from([0.0, 1e-10, 1e-2]),
)
def test_tiny_arrays_are_checked_as_hard_as_large_ones(
    seed, power, error, floor
):
    """Scaling by a power of two changes nothing: no constant is in it."""
    expected = arrays(seed)
    got = expected * (1.0 + error * arrays(seed + 1))
    factor = 2.0**power
    one = compare(got, expected, floor, np.float64)
    two = compare(factor * got, factor * expected, factor * floor, np.float64)
    assert two.verdict == one.verdict
    assert two.place == one.place
    assert two.excess == one.excess
    assert two.error == one.error


@pytest.mark.parametrize("scale", [1e-24, 1e-300, 1.0, 1e300])
def test_a_wrong_digit_shows_at_any_scale(scale):
    expected = scale * arrays(0)
    right, wrong = expected * (1 + 1e-15), expected * (1 + 1e-11)
    assert compare(right, expected, 0.0, np.float64).verdict == PASS
    assert compare(wrong, expected, 0.0, np.float64).verdict == FAIL


def test_the_floor_counts_entry_by_entry():
    expected = np.array([1.0, 1.0])
    got = np.array([1.0, 1.0 + 1e-6])
    near, far = np.array([0.0, 1e-5]), np.array([1e-5, 0.0])
    assert compare(got, expected, near, np.float64).verdict == PASS
    assert compare(got, expected, far, np.float64).verdict == FAIL


def test_precision_decides_the_tolerance():
    expected = arrays(0)
    got = expected * (1 + 1e-6)
    assert compare(got, expected, 0.0, np.float32).verdict == PASS
    assert compare(got, expected, 0.0, np.float64).verdict == FAIL
    narrow = compare(got.astype(np.float32), expected, 0.0, np.float32)
    assert narrow.verdict == PASS


@some
@given(verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1))
def test_the_gravest_verdict_counts(verdicts):
    order = {ZERO: 0, PASS: 1, UNDECIDED: 2, NAN: 3, FAIL: 4}
    assert order[worst(verdicts)] == max(map(order.get, verdicts))
