"""The linear algebra under the autoencoder: products, squares, subspaces."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_laes import histories, make, some_data, spectrum

from msref.pretraining import LAES
from msref.pretraining.laes_choice import choices
from msref.pretraining.laes_histories import Histories
from msref.pretraining.laes_krylov import leading_eigenpairs, nothing_missed
from msref.pretraining.laes_routes import (
    ROUTES,
    leading_singular_pairs,
    orthonormal,
    residual,
    settle,
)
from msref.pretraining.laes_squares import (
    gram_matrix,
    kernel_matrix,
    mirror,
)


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
    for build, expected in (
        (gram_matrix, xi.T @ xi),
        (kernel_matrix, xi @ xi.T),
    ):
        square = build(operator)
        mirror(square)
        np.testing.assert_allclose(square, expected, **tight)


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
    np.testing.assert_allclose(
        operator.kernel_times(v), xi @ (xi.T @ v), atol=1e-13 * scale**2
    )
    r = operator.triangle(u)
    np.testing.assert_allclose(
        r.T @ r, (xi @ u).T @ (xi @ u), atol=1e-13 * scale**2
    )


def test_mirroring_crosses_its_blocks():
    square = np.random.default_rng(0).standard_normal((150, 150))
    expected = np.triu(square) + np.triu(square, 1).T
    mirror(square)
    np.testing.assert_array_equal(square, expected)


@pytest.mark.parametrize("few", [0, 99])
def test_both_layouts_of_a_product_are_the_same_matrix(few, monkeypatch):
    monkeypatch.setattr("msref.pretraining.laes_histories.FEW", few)
    rng = np.random.default_rng(0)
    data = make(0, [30, 29, 29, 28, 12, 3, 3], 3)
    for width in (30, 11, 1):
        operator, xi = Histories(data, width), histories(data, width)
        u = rng.standard_normal((xi.shape[1], 5))
        v = rng.standard_normal((xi.shape[0], 5))
        for ours, expected in (
            (operator.times(u), xi @ u),
            (operator.transposed_times(v), xi.T @ v),
            (operator.normal_times(u), xi.T @ (xi @ u)),
            (operator.kernel_times(v), xi @ (xi.T @ v)),
        ):
            np.testing.assert_allclose(ours, expected, atol=1e-10)


def test_frames_are_changed_when_they_are_used():
    data = make(0, [7, 5, 5], 3)
    mean, active = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    lazy = Histories(data, 4, mean=mean, active=active, scale=2.0)
    eager = [(x - mean)[:, active] / 2.0 for x in data]
    np.testing.assert_array_equal(lazy.dense(), histories(eager, 4))
    g = np.triu(gram_matrix(lazy))
    expected = np.triu(histories(eager, 4).T @ histories(eager, 4))
    np.testing.assert_allclose(g, expected, atol=1e-12)


@pytest.mark.parametrize("spectra", [0, 3000, 2**28])
def test_cut_into_many_groups_and_parts_it_is_the_same_matrix(
    spectra, monkeypatch
):
    data = make(0, [30, 29, 28, 20, 12, 12, 12, 3, 1], 3)
    u = np.random.default_rng(1).standard_normal((90, 7))
    whole = Histories(data, 30).normal_times(u)
    module = "msref.pretraining.laes_histories."
    monkeypatch.setattr(module + "ENTRIES", 1)
    monkeypatch.setattr(module + "BUFFER", 1)
    monkeypatch.setattr(module + "SPECTRA", spectra)
    monkeypatch.setattr("msref.pretraining.laes_squares.ENTRIES", 1)
    cut = Histories(data, 30)
    np.testing.assert_allclose(cut.normal_times(u), whole, atol=1e-11)
    xi = cut.dense()
    kernel = cut.kernel_times(xi @ u)
    np.testing.assert_allclose(kernel, xi @ whole, atol=1e-9)
    g = np.triu(gram_matrix(cut))
    np.testing.assert_allclose(g, np.triu(xi.T @ xi), atol=1e-12)
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
        found[faint], singular[faint], atol=1e-14 * singular[0]
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


@pytest.mark.parametrize("route", ROUTES)
def test_every_copy_of_a_faint_singular_value_is_found(route):
    """The square has lost them; the search in what is left may miss some."""
    impulse, rest = np.zeros((20, 3)), np.zeros((60, 3))
    impulse[0, 0] = 1e-7
    noise = np.random.default_rng(0).standard_normal((60, 2))
    rest[:, 1:] = noise * [1.0, 1e-9]
    xi = Histories([rest, impulse], 60)
    expected = spectrum(histories([rest, impulse]))[:80]
    assert np.sum(np.isclose(expected, 1e-7)) == 20
    found, _ = leading_singular_pairs(xi, 80, route, 1e-13)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_a_search_that_is_not_certain_is_followed_by_another():
    """The first one brings the fifth direction instead of the fourth.

    The second finds that; the third, that nothing is left above the last.
    """
    data = make(0, [20, 15], 3)
    _, singular, u_t = np.linalg.svd(histories(data), full_matrices=False)
    brought = [(4, False), (3, True), (4, True)]

    def search(u, n_pairs, nothing):
        k, sure = brought.pop(0)
        return singular[k : k + 1] ** 2, u_t[k : k + 1].T, sure

    found, _ = settle(
        Histories(data, 20),
        singular[:3] ** 2,
        u_t[:3].T,
        4,
        1e-13,
        True,
        search,
    )
    assert not brought
    np.testing.assert_allclose(found, singular[:4], rtol=1e-12)


def symmetric(values, seed=0):
    n = len(values)
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n))).Q
    return (q * values) @ q.T


@pytest.mark.parametrize("capacity", [1, 60, 500])
def test_lanczos_finds_the_leading_pairs_however_often_it_restarts(capacity):
    expected = 0.97 ** np.arange(400)
    m = symmetric(expected)
    values, u, certain = leading_eigenpairs(lambda z: m @ z, 400, 12, capacity)
    assert certain
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
    values, u, _ = leading_eigenpairs(lambda z: m @ z, 100, 20, 100)
    np.testing.assert_allclose(values[:5], expected[:5], atol=1e-13)
    assert np.abs(values[5:]).max() < 1e-13
    np.testing.assert_allclose(m @ u, u * values, atol=1e-12)
    values, _, _ = leading_eigenpairs(np.zeros_like, 30, 4, 30)
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
    ("copies", "block", "all_found"),
    [
        (3, 1, False),
        (3, 2, True),
        (12, 1, False),
        (12, 2, False),
        (12, 8, True),
    ],
)
def test_a_missed_copy_is_told(copies, block, all_found):
    """A block sees as many copies as it is wide, rounding errors some more."""
    m = symmetric(np.concatenate([np.full(copies, 2.0), 0.8 ** np.arange(200)]))
    values, u, certain = leading_eigenpairs(
        lambda z: m @ z, len(m), copies + 1, 400, block=block
    )
    assert (np.sum(np.isclose(values, 2.0)) == copies) == all_found
    assert certain == all_found
    np.testing.assert_allclose(m @ u, u * values, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.0, 1.0))
@settings(max_examples=60)
def test_nothing_is_never_called_missed_when_it_was(seed, known, flatness):
    """Leave out one eigenvector of those that a span should hold."""
    rng = np.random.default_rng(seed)
    expected = np.sort(flatness + (1 - flatness) * rng.random(120))[::-1]
    q = np.linalg.qr(rng.standard_normal((120, 120))).Q
    m = (q * expected) @ q.T
    one = int(rng.integers(known))
    left_out = np.delete(q[:, :known], one, axis=1).T.copy()
    at = expected[known - 1] - 1e-12
    assert not nothing_missed(lambda z: m @ z, left_out, at)
    gap = expected[known - 1] - expected[known]
    if gap > 0.05 * expected[0]:
        assert nothing_missed(lambda z: m @ z, q[:, :known].T.copy(), at)


@given(some_histories(), st.sampled_from(ROUTES), st.integers(1, 20))
@settings(max_examples=100)
def test_the_residual_is_that_of_the_triplets(pair, route, n_pairs):
    operator, xi = pair
    n_pairs = min(n_pairs, *xi.shape)
    found, u = leading_singular_pairs(operator, n_pairs, route, 1e-13)
    kept = found > 1e-3 * spectrum(xi)[0]
    found, u = found[kept], u[:, kept]
    assume(len(found))

    def worst(singular):
        v = xi @ u / singular
        left = np.linalg.norm(xi.T @ v - u * singular, axis=0)
        right = np.abs(np.linalg.norm(xi @ u, axis=0) - singular)
        assert np.all(right <= left + 1e-13 * singular[0])
        return left.max() / singular[0], np.linalg.norm(left) / singular[0]

    told = residual(operator, found, u)
    assert told <= 1e-11
    assert told >= 0.5 * worst(found)[0] - 1e-12
    # A wrong value is told as large as it is.
    wrong = found.copy()
    wrong[-1] *= 1.01
    one, all_of_them = worst(wrong)
    told = residual(operator, wrong, u)
    assert 0.9 * one <= told <= 2.0 * all_of_them


def test_a_turned_direction_shows_in_the_residual():
    operator = Histories(make(0, [20, 15], 3), 20)
    found, u = leading_singular_pairs(operator, 5, "dense", 1e-13)
    turned = u.copy()
    turned[:, 2] += 1e-6 * np.random.default_rng(0).standard_normal(len(u))
    assert residual(operator, found, u) < 1e-13
    assert 1e-7 < residual(operator, found, turned) < 1e-4


@pytest.mark.parametrize("apart", [1e-13, 1e-10, 1e-3])
def test_nearly_orthogonal_columns_are_made_so(apart):
    rng = np.random.default_rng(0)
    z = np.linalg.qr(rng.standard_normal((1500, 20))).Q
    z += apart * rng.standard_normal(z.shape)
    u = orthonormal(3.0 * z)
    np.testing.assert_allclose(u.T @ u, np.eye(20), atol=1e-14)
    np.testing.assert_allclose(u @ (u.T @ z), z, atol=1e-14)


@pytest.mark.parametrize("kind", ["gaussian", "one-hot"])
@pytest.mark.parametrize(("lengths", "n_in"), [([40] * 40, 6), ([900], 2)])
def test_flat_spectra_converge(lengths, n_in, kind):
    """Of white noise all singular values are nearly alike."""
    data = make(0, lengths, n_in, kind)
    xi = Histories(data, max(lengths))
    expected = spectrum(xi.dense())[:25]
    found, u = leading_singular_pairs(xi, 25, "krylov", 1e-13)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    assert residual(xi, found, u) < 1e-12


@pytest.mark.parametrize("route", ["gram", "kernel"])
def test_large_squares_are_left_to_lanczos(route, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("LAPACK was asked")

    module = "msref.pretraining.laes_routes."
    monkeypatch.setattr(module + "scipy.linalg.eigh", refused)
    lengths = [60] * 20 if route == "kernel" else [60] * 30
    data = make(0, lengths, 21 if route == "kernel" else 18, "smooth")
    found, _ = leading_singular_pairs(Histories(data, 60), 5, route, 1e-13)
    expected = spectrum(Histories(data, 60).dense())[:5]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


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
    first, *others = choices("auto", xi, n_mem, 2**30)
    assert first.route == route
    assert first.why.startswith(route)
    assert f"{xi.shape[0]} x {xi.shape[1]}" in first.why
    assert all(first.memory <= 2**30 for choice in (first, *others))
    assert route not in [choice.route for choice in others]


@pytest.mark.parametrize("route", ["dense", "gram", "kernel"])
def test_a_route_that_takes_too_much_memory_is_refused(route):
    data = [np.ones((900, 1))]
    with pytest.raises(
        ValueError,
        match=f"memory is 4 MiB.*'{route}', expected at least .*'krylov'",
    ):
        LAES(2, route=route, memory=2**22).fit(data)
    laes = LAES(2, memory=2**22).fit(data)
    assert laes.route == "krylov"
    assert laes.memory_needed <= 2**22
    with pytest.raises(ValueError, match=r"at least .* krylov needs"):
        LAES(2, memory=2**16).fit(data)


def test_the_next_route_is_taken_if_one_does_not_converge(monkeypatch):
    """Seen: one that cannot restart, on a set where it would come first."""
    module = "msref.pretraining.laes_krylov."
    monkeypatch.setattr(module + "RESTARTS", 0)
    monkeypatch.setattr("msref.pretraining.laes_routes.capacity", lambda *_: 1)
    monkeypatch.setattr("msref.pretraining.laes_choice.SMALL", 0.0)
    cost = {"krylov": 1.0, "gram": 2.0, "kernel": 3.0, "dense": 4.0}
    monkeypatch.setattr(
        "msref.pretraining.laes_choice.seconds", lambda *_: cost
    )
    data = make(0, [30] * 20, 6)
    laes = LAES(20).fit(data)
    assert laes.route == "gram"
    assert laes.why.startswith("krylov failed, no 20 eigenpairs converged")
    expected = spectrum(histories(data))[:20]
    np.testing.assert_allclose(laes.singular_values, expected, rtol=1e-11)
    with pytest.raises(np.linalg.LinAlgError, match="in 0 restarts"):
        LAES(20, route="krylov").fit(data)


GROWN = """
import resource, sys
import numpy as np
from msref import LAES
n_time, n_batch, n_in, n_mem, width, route, dtype = sys.argv[1:]
shape = int(n_time), int(n_batch), int(n_in)
x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
LAES(2, route=route).fit(x[:9, :2])
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
laes = LAES(int(n_mem), route=route, width=int(width)).fit(x)
print(peak() - before, laes.memory_needed, x.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB")
@pytest.mark.parametrize(
    ("n_time", "n_batch", "n_in", "n_mem", "width", "route", "dtype"),
    [
        (40, 30, 20, 20, 40, "dense", "float64"),
        (20, 40_000, 4, 30, 20, "gram", "float32"),
        (20, 40_000, 4, 30, 20, "krylov", "float64"),
        (3000, 1, 2, 10, 3000, "kernel", "float64"),
        (20_000, 1, 2, 8, 500, "krylov", "float64"),
    ],
)
def test_memory_stays_below_what_is_told(
    n_time, n_batch, n_in, n_mem, width, route, dtype
):
    arguments = (n_time, n_batch, n_in, n_mem, width, route, dtype)
    done = subprocess.run(
        [sys.executable, "-c", GROWN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    grown, told, size = map(int, done.stdout.split())
    assert grown <= told
    # The sequences are not copied: 60,000 digits fill half a gigabyte.
    if n_batch == 40_000:
        assert grown < 4 * size + 2**26
