import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import msref
from msref.dynamics.multistability import clusters, vaa, vaa_star

SEEDS = st.integers(0, 999)


def groups(rng, n, k, n_hid, apart=1.0):
    """Draw n states, each at one of k points that lie well apart."""
    points = apart * np.eye(max(k, n_hid))[:k, : max(k, n_hid)]
    which = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return points[rng.permutation(which)]


@given(SEEDS, st.integers(1, 12), st.integers(1, 6), st.integers(1, 5))
def test_it_counts_groups_that_are_well_apart(seed, n, k, n_hid):
    rng = np.random.default_rng(seed)
    k = min(k, n)
    h = groups(rng, n, k, n_hid)
    close = h + 1e-6 * rng.uniform(-1, 1, h.shape)
    assert vaa(close) == pytest.approx(k / n, rel=1e-12)
    # C is 1 within the tolerance; outside it keeps tolerance / d
    assert vaa_star(close)[0] == pytest.approx(k / n, rel=3e-3)


@given(SEEDS, st.integers(1, 12), st.integers(1, 6))
def test_clusters_are_numbered_as_they_appear(seed, n, k):
    rng = np.random.default_rng(seed)
    k = min(k, n)
    which = rng.permutation(
        np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    )
    h = np.eye(k)[which] + 1e-6 * rng.uniform(-1, 1, (n, k))
    labels, n_groups = clusters(h)
    assert n_groups == k == round(n * vaa(h))
    assert ((labels[:, None] == labels) == (which[:, None] == which)).all()
    _, first = np.unique(labels, return_index=True)
    assert (np.diff(first) > 0).all()
    assert labels[0] == 0


def test_a_chain_is_one_cluster():
    h = np.array([[0.0], [2.0], [0.4], [0.8], [2.5]])
    labels, n_groups = clusters(h, tolerance=0.5)
    assert (labels.tolist(), n_groups) == ([0, 1, 0, 0, 2], 3)


def test_the_tolerance_is_strict_and_counts_every_state_itself():
    h = np.array([[0.0], [0.5], [2.0]])
    assert vaa(h, tolerance=0.5) == 1.0
    assert vaa(h, tolerance=0.6) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert vaa(h, tolerance=9.0) == pytest.approx(1 / 3)
    assert vaa(h[:1]) == 1.0


def test_states_too_far_apart_to_be_squared_are_apart():
    h = np.array([[1e200], [-1e200], [1e200]])
    assert vaa(h) == pytest.approx(2 / 3)
    assert clusters(h)[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("tolerance", "value"), [(1e-4, 0.99968123), (0.5, 0.39114588)]
)
def test_a_value_that_another_implementation_agrees_on(tolerance, value):
    h = 0.6 * np.sin(1.3 * np.arange(12) + 0.2).reshape(4, 3)
    assert vaa_star(h, tolerance)[0] == pytest.approx(value, abs=1e-8)


def literal(h, tolerance, kappa=1e-6):
    """VAA* as its equations say it, for complex numbers too."""
    y = np.tanh(h)
    n, total = len(h), 0.0
    for i in range(n):
        S = 0.0
        for j in range(n):
            d = np.sqrt(((y[i] - y[j]) ** 2).sum()) if i != j else 0.0
            beyond = d - tolerance if np.real(d) > tolerance else 0.0
            S = S + 1.0 - beyond / (d + kappa)
        total = total + 1.0 / S
    return total / n


@given(
    SEEDS, st.integers(1, 7), st.integers(1, 4), st.sampled_from([1e-4, 0.2])
)
def test_the_surrogate_and_its_gradient(seed, n, n_hid, tolerance):
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((n, n_hid)) * rng.choice([0.02, 0.3, 2.0])
    value, dh = vaa_star(h, tolerance)
    assert value == pytest.approx(literal(h, tolerance), rel=1e-12)
    for _ in range(2):
        direction = rng.standard_normal(h.shape)
        slope = np.imag(literal(h + 1e-30j * direction, tolerance)) / 1e-30
        assert np.sum(dh * direction) == pytest.approx(
            slope, rel=1e-8, abs=1e-10 * (1 + np.abs(dh).sum())
        )


def test_where_all_agree_there_is_no_gradient():
    h = np.full((4, 3), 0.3) + 1e-6 * np.arange(12).reshape(4, 3)
    value, dh = vaa_star(h)
    assert value == pytest.approx(0.25)
    assert not dh.any()


def test_single_precision_stays_so():
    h = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    value, dh = vaa_star(h)
    assert dh.dtype == np.float32
    wide, dwide = vaa_star(h.astype(float))
    assert value == pytest.approx(wide, rel=1e-5)
    np.testing.assert_allclose(dh, dwide, 1e-3, 1e-5 * np.abs(dwide).max())


@pytest.mark.parametrize("function", [vaa, vaa_star, clusters])
@pytest.mark.parametrize(
    ("h", "tolerance", "error", "words"),
    [
        (np.ones(3), 1e-4, ValueError, r"h has shape \(3,\)"),
        (np.ones((0, 3)), 1e-4, ValueError, "at least one state"),
        (np.ones((2, 3), int), 1e-4, TypeError, "h has dtype int64"),
        (np.full((2, 3), np.nan), 1e-4, ValueError, "h holds nan"),
        (np.ones((2, 3)), 0.0, ValueError, "tolerance is 0.0"),
    ],
)
def test_what_cannot_be_is_named(function, h, tolerance, error, words):
    with pytest.raises(error, match=words):
        function(h, tolerance)


def test_they_are_public():
    assert msref.vaa is vaa
    assert msref.vaa_star is vaa_star
