"""The linear algebra under the autoencoder: products, squares, subspaces."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_laes import histories, make, some_data, spectrum

from msref.pretraining import LAES
from msref.pretraining.laes_choice import choose
from msref.pretraining.laes_histories import Histories
from msref.pretraining.laes_krylov import leading_eigenpairs
from msref.pretraining.laes_routes import ROUTES, leading_singular_pairs
from msref.pretraining.laes_squares import gram_matrix, kernel_matrix


@st.composite
def some_histories(draw):
    """Sequences, longest first as the operator sorts them, and a width."""
    data = sorted(draw(some_data), key=len, reverse=True)
    width = draw(st.integers(1, len(data[0])))
    return Histories(data, width), histories(data, width)


@given(some_histories())
@settings(max_examples=150)
def test_the_squares_need_no_histories(pair):
    operator, xi = pair
    tight = {"atol": 1e-13 * max(1.0, np.abs(xi).max() ** 2 * max(xi.shape))}
    np.testing.assert_array_equal(operator.dense(), xi)
    np.testing.assert_allclose(gram_matrix(operator), xi.T @ xi, **tight)
    np.testing.assert_allclose(kernel_matrix(operator), xi @ xi.T, **tight)


@given(some_histories(), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_the_products_need_no_histories(pair, n_columns, seed):
    operator, xi = pair
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((xi.shape[1], n_columns))
    v = rng.standard_normal((xi.shape[0], n_columns))
    scale = max(1.0, np.linalg.norm(xi))
    np.testing.assert_allclose(operator.times(u), xi @ u, atol=1e-13 * scale)
    np.testing.assert_allclose(
        operator.transposed_times(v), xi.T @ v, atol=1e-13 * scale
    )
    np.testing.assert_allclose(
        operator.normal_times(u), xi.T @ (xi @ u), atol=1e-13 * scale**2
    )
    r = operator.triangle(u)
    np.testing.assert_allclose(
        r.T @ r, (xi @ u).T @ (xi @ u), atol=1e-13 * scale**2
    )


def test_cut_into_many_groups_and_parts_it_is_the_same_matrix(monkeypatch):
    data = make(0, [30, 29, 28, 20, 12, 12, 12, 3, 1], 3)
    u = np.random.default_rng(1).standard_normal((90, 7))
    whole = Histories(data, 30).normal_times(u)
    module = "msref.pretraining.laes_histories."
    monkeypatch.setattr(module + "ENTRIES", 1)
    monkeypatch.setattr(module + "BUFFER", 1)
    monkeypatch.setattr("msref.pretraining.laes_squares.ENTRIES", 1)
    cut = Histories(data, 30)
    np.testing.assert_allclose(cut.normal_times(u), whole, atol=1e-11)
    xi = cut.dense()
    np.testing.assert_allclose(gram_matrix(cut), xi.T @ xi, atol=1e-12)
    r = cut.triangle(u)
    np.testing.assert_allclose(r.T @ r, u.T @ whole, atol=1e-11)


@given(some_histories(), st.integers(1, 30))
@settings(max_examples=150)
def test_every_route_finds_the_leading_subspace(pair, n_pairs):
    operator, xi = pair
    _, singular, u_t = np.linalg.svd(xi, full_matrices=False)
    n_pairs = min(n_pairs, len(singular))
    gap = singular[n_pairs - 1] - np.append(singular, 0.0)[n_pairs]
    assume(gap > 1e-3 * singular[0])
    projector = u_t[:n_pairs].T @ u_t[:n_pairs]
    for route in ROUTES:
        found, u = leading_singular_pairs(operator, n_pairs, route, 1e-13)
        np.testing.assert_allclose(
            found, singular[:n_pairs], atol=1e-12 * singular[0]
        )
        np.testing.assert_allclose(u.T @ u, np.eye(n_pairs), atol=1e-12)
        np.testing.assert_allclose(u @ u.T, projector, atol=1e-9)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("n_pairs", [5, 12, 18, 24, 27])
def test_faint_directions_are_found_in_order(route, n_pairs):
    """Singular values over eleven decades, cut anywhere."""
    scales = 10.0 ** -np.linspace(0, 11, 5)
    data = [x * scales for x in make(3, [9, 8, 7, 3], 5)]
    operator, xi = Histories(data, 9), histories(data)
    singular = spectrum(xi)
    found, u = leading_singular_pairs(operator, n_pairs, route, 1e-14)
    rounding = 1e-14 * singular[0]
    np.testing.assert_allclose(found, singular[:n_pairs], atol=rounding)
    image = np.linalg.norm(xi @ u, axis=0)
    np.testing.assert_allclose(found, image, atol=rounding)
    lost = np.linalg.norm(xi - (xi @ u) @ u.T)
    assert lost <= np.linalg.norm(singular[n_pairs:]) * (1 + 1e-4) + rounding


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("seed", "lengths", "n_in", "kind", "decades"),
    [
        (5001567, [20, 16], 2, "offset", [0, 0]),
        (8001919, [24, 5, 16, 10, 12], 4, "gaussian", [2, 2.5, 2.2, 3.5, 3.5]),
    ],
)
def test_the_faintest_directions_are_found(
    route, seed, lengths, n_in, kind, decades
):
    """Found by chance among ten thousand: the last one used to be lost."""
    scales = 10.0 ** (-np.outer(decades, np.arange(n_in)))
    data = make(seed, lengths, n_in, kind)
    data = [x * scale for x, scale in zip(data, scales, strict=True)]
    singular = spectrum(histories(data))
    singular = singular[singular > 1e-13 * singular[0]]
    assert singular[-1] < 1e-9 * singular[0]
    found, _ = leading_singular_pairs(
        Histories(data, max(lengths)), len(singular), route, 1e-13
    )
    faint = singular < 1e-6 * singular[0]
    np.testing.assert_allclose(
        found[faint], singular[faint], atol=3e-15 * singular[0]
    )


@pytest.mark.parametrize("route", ROUTES)
def test_every_copy_of_a_singular_value_is_found(route):
    """A Krylov space sees a multiple value as often as its block is wide."""
    impulse, rest = np.zeros((20, 2)), np.zeros((60, 2))
    impulse[0, 0] = 3.0
    rest[:, 1] = 0.1 * np.random.default_rng(0).standard_normal(60)
    operator = Histories([rest, impulse], 60)
    expected = spectrum(histories([rest, impulse]))[:30]
    assert np.sum(np.isclose(expected, 3.0)) == 20
    found, _ = leading_singular_pairs(operator, 30, route, 1e-13)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def symmetric(values, seed=0):
    n = len(values)
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n))).Q
    return (q * values) @ q.T


@pytest.mark.parametrize("capacity", [1, 60, 500])
def test_lanczos_finds_the_leading_pairs_however_often_it_restarts(capacity):
    expected = 0.97 ** np.arange(400)
    m = symmetric(expected)
    values, u = leading_eigenpairs(lambda z: m @ z, 400, 12, capacity)
    np.testing.assert_allclose(values, expected[:12], atol=1e-13)
    np.testing.assert_allclose(m @ u, u * values, atol=1e-12)
    np.testing.assert_allclose(u.T @ u, np.eye(12), atol=1e-12)


def test_lanczos_says_so_if_it_does_not_converge(monkeypatch):
    monkeypatch.setattr("msref.pretraining.laes_krylov.RESTARTS", 1)
    m = symmetric(np.linspace(1, 2, 300))
    with pytest.raises(np.linalg.LinAlgError, match=r"no 4 .* in 1 restarts"):
        leading_eigenpairs(lambda z: m @ z, 300, 4, 1)


def test_lanczos_ends_where_nothing_is_left():
    expected = np.concatenate([np.arange(5, 0, -1), np.zeros(95)])
    m = symmetric(expected)
    values, u = leading_eigenpairs(lambda z: m @ z, 100, 20, 100)
    np.testing.assert_allclose(values[:5], expected[:5], atol=1e-13)
    assert np.abs(values[5:]).max() < 1e-13
    np.testing.assert_allclose(m @ u, u * values, atol=1e-12)
    values, _ = leading_eigenpairs(np.zeros_like, 30, 4, 30)
    np.testing.assert_array_equal(values, 0.0)


def test_a_large_krylov_fit_equals_the_dense_one():
    """Big enough for many blocks, several looks and both sides of Ξ."""
    for lengths, n_in in (([60] * 30, 6), ([300, 200], 3)):
        data = make(0, lengths, n_in, "smooth")
        xi = Histories(data, max(lengths))
        expected = spectrum(xi.dense())[:40]
        found, u = leading_singular_pairs(xi, 40, "krylov", 1e-13)
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        image = np.linalg.norm(xi.dense() @ u, axis=0)
        np.testing.assert_allclose(image, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("lengths", "n_in", "n_mem", "route"),
    [
        ([20] * 30, 4, 30, "dense"),
        ([28] * 1000, 28, 64, "gram"),
        ([500, 500], 10, 200, "kernel"),
        ([129] * 20 + [57] * 196, 51, 50, "krylov"),
        ([20000], 4, 64, "krylov"),
    ],
)
def test_the_choice_follows_the_sizes(lengths, n_in, n_mem, route):
    xi = Histories([np.zeros((n, n_in)) for n in lengths], max(lengths))
    chosen, why = choose("auto", xi, n_mem)
    assert chosen == route
    assert why.startswith(route)
    assert f"{xi.shape[0]} x {xi.shape[1]}" in why


@pytest.mark.parametrize("route", ["dense", "gram", "kernel"])
def test_a_matrix_that_is_too_large_is_refused(route):
    data = [np.ones((9000, 1))]
    with pytest.raises(ValueError, match=f"'{route}'.* 618 MiB .*at most 512"):
        LAES(2, route=route).fit(data)
    assert LAES(2).fit(data).route == "krylov"
