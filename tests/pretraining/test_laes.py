"""The linear autoencoder keeps what its docstring promises, on every route."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from msref.pretraining import LAES
from msref.pretraining.laes import NotFittedError
from msref.pretraining.laes_routes import MEASURABLE, ROUTES

KINDS = ("gaussian", "one-hot", "silent", "smooth", "offset")

some_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7)
some_data = st.builds(
    lambda seed, lengths, n_in, kind: make(seed, lengths, n_in, kind),
    st.integers(0, 2**32 - 1),
    some_lengths,
    st.integers(1, 4),
    st.sampled_from(KINDS),
)


def make(seed, lengths, n_in, kind="gaussian"):
    rng = np.random.default_rng(seed)
    if kind == "one-hot":
        eye = np.eye(n_in)
        return [eye[rng.integers(0, n_in, n)] for n in lengths]
    x = [rng.standard_normal((n, n_in)) for n in lengths]
    if kind == "silent":
        silent = rng.random(n_in) < 0.5
        return [np.where(silent, 0.0, q) for q in x]
    if kind == "smooth":
        return [np.cumsum(q, axis=0) for q in x]
    if kind == "offset":
        return [q + 3.0 for q in x]
    return x


def histories(sequences, width=None):
    """Ξ from its definition, entry by entry."""
    width = width or max(map(len, sequences))
    rows = []
    for x in sequences:
        for t in range(len(x)):
            frames = [
                x[t - j] if j <= t else np.zeros(x.shape[1])
                for j in range(width)
            ]
            rows.append(np.concatenate(frames))
    return np.array(rows)


def rank_of(xi):
    singular = np.linalg.svd(xi, compute_uv=False)
    return int(np.sum(singular > 1e-13 * singular[0]))


def spectrum(xi):
    return np.linalg.svd(xi, compute_uv=False)


def largest(sequences):
    return max(np.abs(x).max() for x in sequences)


def invariants(laes, k):
    """Numbers that no change of basis of the state can alter."""
    recall = laes.recall(k)
    return recall @ recall.T


def prefix_error(laes, sequences):
    """Largest error over all frames of all prefixes of all sequences."""
    worst = 0.0
    for x in sequences:
        y = laes.encode(x)
        for t in range(len(x)):
            back = laes.decode(y[t], t + 1)
            worst = max(worst, np.abs(back - x[t::-1]).max())
    return worst


@given(some_data, st.booleans())
# Singular values down to 4e-7 and 1e-10 of the first: Ξ^T Ξ has lost them.
@example(make(1, [2, 8, 8, 3], 4), False)
@example(make(5001567, [20, 16], 2, "offset"), False)
@settings(max_examples=150)
def test_at_full_rank_every_prefix_comes_back(data, centre):
    mean = np.concatenate(data).mean(axis=0) if centre else 0.0
    rank = rank_of(histories([x - mean for x in data]))
    for route in ROUTES:
        laes = LAES(max(rank, 1), centre=centre, route=route).fit(data)
        assert laes.route == route
        assert laes.rank <= max(rank, 1)
        assert prefix_error(laes, data) <= 1e-12 * max(largest(data), 1e-300)


@given(some_data, st.integers(1, 40))
@settings(max_examples=120)
def test_the_routes_agree_below_the_rank(data, n_mem):
    width = max(map(len, data))
    singular = np.append(spectrum(histories(data)), 0.0)
    n_mem = min(n_mem, len(singular) - 1)
    # A tie at the cut leaves the subspace undetermined.
    assume(singular[n_mem - 1] - singular[n_mem] > 1e-2 * singular[0])
    fitted = {r: LAES(n_mem, route=r).fit(data) for r in ROUTES}
    expected = invariants(fitted["dense"], width)
    for laes in fitted.values():
        np.testing.assert_allclose(
            laes.singular_values, singular[:n_mem], atol=1e-12 * singular[0]
        )
        np.testing.assert_allclose(invariants(laes, width), expected, atol=1e-9)
        share = singular[n_mem - 1] / singular[0]
        assert laes.residual < 1e-13 / max(share, MEASURABLE)


@given(some_data, st.sampled_from(ROUTES), st.booleans())
@settings(max_examples=120)
def test_the_encoder_cannot_blow_up(data, route, centre):
    n_cols = max(map(len, data)) * data[0].shape[1]
    for n_mem in {1, n_cols // 2 + 1, n_cols}:
        laes = LAES(n_mem, route=route, centre=centre).fit(data)
        assert np.linalg.norm(laes.B, 2) <= 1 + 1e-13
        both = laes.A @ laes.A.T + laes.B @ laes.B.T
        assert np.linalg.eigvalsh(both).max() <= 1 + 1e-13
        if laes.rank == n_cols:
            np.testing.assert_allclose(both, np.eye(n_mem), atol=1e-13)


def test_of_full_column_rank_nothing_is_left_over():
    laes = LAES(10).fit(make(0, [5] * 6, 2))
    assert laes.rank == 10
    both = laes.A @ laes.A.T + laes.B @ laes.B.T
    np.testing.assert_allclose(both, np.eye(10), atol=1e-13)
    assert np.abs(np.linalg.matrix_power(laes.B, 5)).max() < 1e-13
    assert np.abs(np.linalg.matrix_power(laes.B, 4)).max() > 0.01


@pytest.mark.parametrize("route", ROUTES)
def test_of_full_column_rank_unseen_sequences_come_back(route):
    laes = LAES(10, route=route).fit(make(0, [5] * 6, 2))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 2))
    back = laes.decode(laes.encode(x)[-1], 5)
    np.testing.assert_allclose(back, x[::-1], atol=1e-13)

    x = rng.standard_normal((9, 2))
    back = laes.decode(laes.encode(x)[-1], 9)
    np.testing.assert_allclose(back[:5], x[:3:-1], atol=1e-13)
    assert np.abs(back[5:]).max() < 1e-13


@given(some_data, st.integers(1, 30))
def test_equals_the_form_of_the_papers_at_every_size(data, n_mem):
    """B = Λ^-1 V^T R V Λ, with V, Λ, U from the explicit Ξ."""
    xi = histories(data)
    v, singular, u_t = np.linalg.svd(xi, full_matrices=False)
    n_mem = min(n_mem, rank_of(xi))
    gaps = singular - np.append(singular[1:], 0.0)
    assume(n_mem and gaps[n_mem - 1] > 1e-2 * singular[0])
    v, singular, u_t = v[:, :n_mem], singular[:n_mem], u_t[:n_mem]
    previous = np.zeros((len(xi), n_mem))
    row = 0
    for x in data:
        previous[row + 1 : row + len(x)] = v[row : row + len(x) - 1]
        row += len(x)
    laes = LAES(n_mem, route="dense").fit(data)
    paper = LAES(n_mem).fit(data)
    paper.A = u_t[:, : data[0].shape[1]]
    paper.B = (v.T @ previous) * singular / singular[:, None]
    k = max(map(len, data))
    np.testing.assert_allclose(
        invariants(laes, k), invariants(paper, k), atol=1e-10
    )


@given(some_data, st.sampled_from(ROUTES))
def test_at_full_rank_the_states_are_v_times_lambda(data, route):
    xi = histories(data)
    laes = LAES(max(1, rank_of(xi)), route=route).fit(data)
    y = np.concatenate([laes.encode(x) for x in data])
    scale = max(spectrum(xi)[0] ** 2, 1e-300)
    np.testing.assert_allclose(y @ y.T, xi @ xi.T, atol=1e-12 * scale)
    np.testing.assert_allclose(
        y.T @ y, np.diag(laes.singular_values**2), atol=1e-12 * scale
    )


@given(some_data, st.integers(0, 2**32 - 1))
def test_a_change_of_basis_of_the_state_changes_nothing(data, seed):
    laes, turned = (LAES(5).fit(data) for _ in range(2))
    normal = np.random.default_rng(seed).standard_normal((5, 5))
    q = np.linalg.qr(normal).Q
    turned.A, turned.B = q @ laes.A, q @ laes.B @ q.T
    turned.bias = q @ laes.bias
    for x in data:
        np.testing.assert_allclose(
            turned.decode(turned.encode(x)[-1], len(x)),
            laes.decode(laes.encode(x)[-1], len(x)),
            atol=1e-12 * max(1.0, largest(data)),
        )


@given(some_data, st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_rotated_inputs_give_rotated_reconstructions(data, n_mem, seed):
    n_in = data[0].shape[1]
    normal = np.random.default_rng(seed).standard_normal((n_in, n_in))
    q = np.linalg.qr(normal).Q
    singular = np.append(spectrum(histories(data)), np.zeros(n_mem))
    assume(singular[n_mem - 1] - singular[n_mem] > 1e-2 * singular[0])
    one, other = LAES(n_mem).fit(data), LAES(n_mem).fit([x @ q for x in data])
    for x in data:
        np.testing.assert_allclose(
            other.decode(other.encode(x @ q)[-1], len(x)),
            one.decode(one.encode(x)[-1], len(x)) @ q,
            atol=1e-9 * largest(data),
        )


@given(some_data)
def test_centring_is_a_bias(data):
    laes = LAES(6, centre=True).fit(data)
    mean = np.concatenate(data).mean(axis=0)
    np.testing.assert_allclose(laes.mean, mean, atol=1e-14 * largest(data))
    np.testing.assert_allclose(laes.bias, -laes.A @ laes.mean, atol=1e-14)
    plain = LAES(6).fit([x - mean for x in data])
    np.testing.assert_array_equal(plain.mean, 0.0)
    np.testing.assert_array_equal(plain.bias, 0.0)
    for x in data:
        np.testing.assert_allclose(
            laes.encode(x), plain.encode(x - mean), atol=1e-12 * largest(data)
        )


def test_centring_one_hot_frames_saves_a_direction_per_delay():
    data = make(0, [7] * 30, 3, "one-hot")
    assert LAES(21).fit(data).rank == 21
    assert LAES(21, centre=True).fit(data).rank == 14


@given(some_data, st.sampled_from(ROUTES))
def test_above_the_rank_there_are_only_zeros(data, route):
    rank = rank_of(histories(data)) if largest(data) else 0
    exact = LAES(max(rank, 1), route=route).fit(data)
    padded = LAES(rank + 4, route=route).fit(data)
    assert padded.rank == rank
    for array in (padded.A, padded.B, padded.B.T, padded.singular_values):
        np.testing.assert_array_equal(array[rank:], 0.0)
    k = max(map(len, data))
    # A direction is known to rounding over its share of the largest.
    singular = padded.singular_values[: max(rank, 1)]
    share = singular[-1] / singular[0] if rank else 1.0
    np.testing.assert_allclose(
        invariants(padded, k),
        invariants(exact, k),
        atol=max(1e-8, 1e-13 / share),
    )
    assert prefix_error(padded, data) <= 1e-12 * max(largest(data), 1e-300)


@given(some_data, st.integers(1, 5), st.sampled_from(ROUTES))
@settings(max_examples=120)
def test_a_window_keeps_exactly_its_last_frames(data, width, route):
    width = min(width, max(map(len, data)))
    n_mem = width * data[0].shape[1]
    laes = LAES(n_mem, width=width, route=route).fit(data)
    singular = spectrum(histories(data, width))
    np.testing.assert_allclose(
        laes.singular_values[: len(singular)],
        singular[:n_mem],
        atol=1e-12 * max(singular[0], 1e-300),
    )
    assume(laes.rank == n_mem)
    for x in data:
        k = min(width, len(x))
        back = laes.decode(laes.encode(x)[-1], len(x))
        error = np.abs(back[:k] - x[::-1][:k]).max()
        assert error <= 1e-12 * max(largest(data), 1e-300)


def test_a_window_in_the_form_of_the_papers_would_lose_frames():
    """Why B is U^T P_B U: the other form is wrong on cut delays."""
    data = make(0, [12, 9, 10, 12], 2)
    laes = LAES(8, width=4).fit(data)
    xi = histories(data, 4)
    v, singular, u_t = np.linalg.svd(xi, full_matrices=False)
    starts = np.cumsum([0, *map(len, data[:-1])])
    previous = np.roll(v, 1, axis=0)
    previous[starts] = 0.0
    paper = LAES(8).fit(data)
    paper.A = u_t[:, :2]
    paper.B = (v.T @ previous) * singular / singular[:, None]
    errors = [
        max(
            np.abs(m.decode(m.encode(x)[-1], 4) - x[:-5:-1]).max() for x in data
        )
        for m in (laes, paper)
    ]
    assert errors[0] < 1e-13
    assert errors[1] > 0.1


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("decades", [4, 8, 11])
@pytest.mark.parametrize("lengths", [[9, 7, 8, 3], [9, 7, 8, 9] * 3])
def test_badly_scaled_inputs_lose_no_digits(route, decades, lengths):
    """Columns from 1 down to 10^-decades; a plain Gram matrix stops at 8."""
    scales = 10.0 ** -np.linspace(0, decades, 5)
    data = [x * scales for x in make(3, lengths, 5)]
    rank = rank_of(histories(data))
    laes = LAES(rank, route=route, tolerance=1e-14).fit(data)
    assert laes.rank == rank
    for x in data:
        back = laes.decode(laes.encode(x)[-1], len(x))
        error = np.abs(back - x[::-1]).max(axis=0)
        assert (error <= 1e-13).all()
        assert (error <= 1e-3 * scales).all()


@given(
    st.integers(0, 2**32 - 1),
    st.dictionaries(st.integers(1, 15), st.floats(0, 4), min_size=1),
    st.integers(2, 4),
)
@example(5004367, {10: 0.5, 8: 0.98, 15: 3.08, 9: 3.56}, 4)
@settings(max_examples=100)
def test_steep_spectra_lose_nothing(seed, decades_by_length, n_in):
    """Inputs of different size: singular values down to rounding errors."""
    lengths, decades = zip(*decades_by_length.items(), strict=True)
    scales = 10.0 ** (-np.outer(decades, np.arange(n_in)))
    data = make(seed, lengths, n_in, "smooth")
    data = [x * scale for x, scale in zip(data, scales, strict=True)]
    singular = spectrum(histories(data))
    share = singular / singular[0]
    assume(not np.any((share > 1e-15) & (share < 1e-12)))
    rank = int(np.sum(share > 1e-13))
    for route in ROUTES:
        laes = LAES(rank, route=route).fit(data)
        assert laes.rank == rank
        np.testing.assert_allclose(
            laes.singular_values, singular[:rank], atol=1e-12 * singular[0]
        )
        assert prefix_error(laes, data) <= 1e-12 * largest(data)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("factor", [1e-180, 1e150, 2.0**-1000])
def test_the_unit_of_the_data_does_not_matter(route, factor):
    data = make(0, [6, 4, 5], 2)
    one = LAES(8, route=route).fit(data)
    other = LAES(8, route=route).fit([x * factor for x in data])
    np.testing.assert_allclose(
        invariants(one, 6), invariants(other, 6), atol=1e-12
    )
    np.testing.assert_allclose(
        other.singular_values, one.singular_values * factor, rtol=1e-12
    )


@pytest.mark.parametrize("route", ROUTES)
def test_notes_that_never_sound_cost_and_change_nothing(route):
    data = make(0, [8, 5, 6], 2)
    wide = [np.zeros((len(x), 6)) for x in data]
    for w, x in zip(wide, data, strict=True):
        w[:, [1, 4]] = x
    narrow, laes = (LAES(7, route=route).fit(x) for x in (data, wide))
    np.testing.assert_array_equal(laes.A[:, [0, 2, 3, 5]], 0.0)
    np.testing.assert_array_equal(laes.A[:, [1, 4]], narrow.A)
    np.testing.assert_array_equal(laes.B, narrow.B)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("centre", [False, True])
def test_data_without_any_signal_have_rank_zero(route, centre):
    data = [np.full((4, 3), 2.0 * centre), np.full((2, 3), 2.0 * centre)]
    laes = LAES(5, route=route, centre=centre).fit(data)
    assert laes.rank == 0
    assert not laes.A.any()
    assert not laes.B.any()
    assert prefix_error(laes, data) == 0.0
    assert laes.reconstruction_error(data) == 0.0


@pytest.mark.parametrize("route", ROUTES)
def test_repeated_singular_values_are_all_found(route):
    """One impulse: Ξ is the identity, every direction counts the same."""
    impulse = np.eye(1, 40).T
    laes = LAES(25, route=route).fit([impulse])
    np.testing.assert_allclose(laes.singular_values, 1.0, atol=1e-13)
    assert prefix_error(LAES(40, route=route).fit([impulse]), [impulse]) < 1e-13


@given(some_data, st.integers(1, 9))
def test_a_batch_is_encoded_row_by_row(data, n_mem):
    laes = LAES(n_mem, centre=True).fit(data)
    shortest = min(map(len, data))
    x = np.stack([q[:shortest] for q in data], axis=1)
    y = laes.encode(x)
    assert y.shape == (shortest, len(data), n_mem)
    back = laes.decode(y[-1], 3)
    assert back.shape == (3, *x.shape[1:])
    for i in range(len(data)):
        tight = {"atol": 1e-12 * max(1.0, largest(data))}
        np.testing.assert_allclose(y[:, i], laes.encode(x[:, i]), **tight)
        np.testing.assert_allclose(
            back[:, i], laes.decode(y[-1, i], 3), **tight
        )


def test_one_array_is_a_list_of_equal_lengths():
    x = np.random.default_rng(0).standard_normal((6, 4, 2))
    one, other = LAES(5).fit(x), LAES(5).fit([x[:, i] for i in range(4)])
    np.testing.assert_array_equal(one.A, other.A)
    np.testing.assert_array_equal(one.B, other.B)


@given(some_data, st.integers(1, 12), st.booleans())
def test_the_reconstruction_error_is_its_definition(data, n_mem, centre):
    laes = LAES(n_mem, centre=centre).fit(data)
    lost = total = 0.0
    for x in data:
        back = laes.decode(laes.encode(x)[-1], len(x))[::-1]
        lost += np.sum((x - back) ** 2)
        total += np.sum((x - laes.mean) ** 2)
    assume(total > 1e-20 * largest(data) ** 2)
    error = laes.reconstruction_error(data)
    assert error == pytest.approx(np.sqrt(lost / total), abs=1e-7)
    laes.A = np.zeros_like(laes.A)
    assert laes.reconstruction_error(data) == pytest.approx(1.0)


def test_the_matrices_are_a_memory_that_multiplies_from_the_right():
    data = make(0, [6, 9], 3)
    laes = LAES(7, centre=True).fit(data)
    params = laes.matrices()
    m = np.zeros(7)
    for x, y in zip(data[1], laes.encode(data[1]), strict=True):
        m = x @ params["W_xm"] + m @ params["W_mm"] + params["b_m"]
        np.testing.assert_allclose(m, y, atol=1e-13)


@given(some_data, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_layer_of_frames_becomes_a_layer_of_the_state(data, k, seed):
    """Σ_j F_j x_{t-j} = [F_0 ... F_{k-1}] recall(k) y_t at full rank."""
    laes = LAES(max(1, rank_of(histories(data)))).fit(data)
    n_in = data[0].shape[1]
    f = np.random.default_rng(seed).standard_normal((4, k * n_in))
    for x in data:
        frames = np.zeros((k, n_in))
        newest = x[::-1][:k]
        frames[: len(newest)] = newest
        np.testing.assert_allclose(
            f @ laes.recall(k) @ laes.encode(x)[-1],
            f @ frames.ravel(),
            atol=1e-11 * max(1.0, largest(data)),
        )


@pytest.mark.parametrize("route", ROUTES)
def test_float32_stays_float32(route):
    data = [x.astype(np.float32) for x in make(0, [6, 4, 7], 3)]
    laes = LAES(17, centre=True, route=route).fit(data)
    for array in (laes.A, laes.B, laes.mean, laes.bias):
        assert array.dtype == np.float32
    y = laes.encode(data[0])
    assert y.dtype == np.float32
    assert laes.decode(y[-1], 3).dtype == np.float32
    assert prefix_error(laes, data) < 1e-5
    assert LAES(2).fit([data[0], data[1].astype(float)]).A.dtype == float


@pytest.mark.parametrize("route", ROUTES)
def test_the_same_data_give_the_same_bits(route):
    data = make(0, [20, 13, 17], 4)
    np.random.seed(5)  # noqa: NPY002
    one = LAES(9, route=route).fit(data)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    other = LAES(9, route=route).fit(data)
    np.testing.assert_array_equal(one.A, other.A)
    np.testing.assert_array_equal(one.B, other.B)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_fit_leaves_the_data_alone_and_can_be_repeated():
    data = make(0, [6, 4, 7], 3)
    before = [x.copy() for x in data]
    laes = LAES(5, centre=True)
    assert laes.fit(data) is laes
    for x, y in zip(data, before, strict=True):
        np.testing.assert_array_equal(x, y)
    first = laes.A
    assert laes.fit(make(1, [5] * 4, 2)).A.shape == (5, 2)
    np.testing.assert_array_equal(laes.fit(data).A, first)


def test_it_says_what_it_did():
    laes = LAES(4).fit(make(0, [6, 4, 7], 3))
    assert laes.route == "dense"
    assert "4 directions of Ξ (17 x 21)" in laes.why
    assert eval(repr(laes), {"LAES": LAES}).tolerance == laes.tolerance
    assert "width=None" in repr(laes)


X = np.ones((4, 3))


@pytest.mark.parametrize(
    ("sequences", "error", "words"),
    [
        ([], ValueError, "sequences is empty"),
        (X, ValueError, r"sequences has shape \(4, 3\).*n_batch"),
        ("song", TypeError, "sequences is a str"),
        ([X, X[:0]], ValueError, r"sequences\[1\] has shape \(0, 3\)"),
        ([X, X[:, :2]], ValueError, r"\[1\] has shape \(4, 2\).*n_in=3\)"),
        ([X[0]], ValueError, r"\[0\] has shape \(3,\), expected \(n_time, n"),
        ([X.tolist()], TypeError, "got list, expected an array"),
        ([X.astype(int)], TypeError, r"\[0\] has dtype int64, expected float"),
        ([X > 0], TypeError, "has dtype bool"),
        ([X, X + 0j], TypeError, r"\[1\] has dtype complex128"),
        (
            [X, np.where(np.eye(4, 3, -2), np.nan, X)],
            ValueError,
            r"\[1\] has nan at \(2, 0\)",
        ),
        (
            [np.where(np.eye(4, 3), -np.inf, X)],
            ValueError,
            r"\[0\] has -inf at \(0, 0\)",
        ),
        (np.full((2, 3, 1), np.nan), ValueError, r"sequences\[:, 0\] has nan"),
        (np.ones((2, 0, 1)), ValueError, "sequences is empty"),
    ],
)
def test_data_it_cannot_take_are_named(sequences, error, words):
    with pytest.raises(error, match=words):
        LAES(2).fit(sequences)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"n_mem": 0}, ValueError, "n_mem is 0, expected at least 1"),
        ({"n_mem": 2.5}, TypeError, "n_mem is 2.5 of type float"),
        ({"n_mem": 2, "width": 0}, ValueError, "width is 0"),
        ({"n_mem": 2, "width": "all"}, TypeError, "width is 'all'"),
        ({"n_mem": 2, "route": "qr"}, ValueError, "route is 'qr'.*'krylov'"),
        ({"n_mem": 2, "tolerance": 0.0}, ValueError, "tolerance is 0.0"),
        ({"n_mem": 2, "tolerance": 1.0}, ValueError, "tolerance is 1.0"),
    ],
)
def test_settings_it_cannot_take_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        LAES(**arguments)


def test_wrong_arrays_and_counts_are_named():
    laes = LAES(2).fit([X])
    bad = [
        (laes.encode, (X[:, :2],), r"x has shape \(4, 2\).*n_in=3"),
        (laes.encode, (X[0],), r"x has shape \(3,\), expected \(n_time, n_in"),
        (laes.encode, (X * np.nan,), r"x has nan at \(0, 0\)"),
        (laes.decode, (X, 2), r"y has shape \(4, 3\).*n_mem=2"),
        (laes.decode, (X[0, :2], 0), "n_time is 0"),
        (laes.recall, (0,), "k is 0"),
        (laes.reconstruction_error, ([X[:, :1]],), r"n_in=3"),
    ]
    for method, arguments, words in bad:
        with pytest.raises(ValueError, match=words):
            method(*arguments)


def test_before_fit_there_is_nothing():
    laes = LAES(2)
    assert laes.route == "auto"
    assert not hasattr(laes, "A")
    for use in (
        lambda: laes.B,
        lambda: laes.encode(X),
        lambda: laes.decode(X[0], 1),
        lambda: laes.recall(1),
        lambda: laes.matrices(),
        lambda: laes.reconstruction_error([X]),
    ):
        with pytest.raises(NotFittedError, match="only after fit"):
            use()
    with pytest.raises(AttributeError, match="no attribute 'C'"):
        _ = laes.C
