"""The closed-form autoencoder, fitted where its sequences live.

Factorisations are not the same functions there, so results agree to
rounding, and states up to a change of their basis.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from msref.arrays import on_host
from msref.pretraining import LAES
from msref.pretraining.laes_routes import ROUTES

some = settings(max_examples=8)
lengths = st.lists(st.integers(1, 12), min_size=1, max_size=7)


def drawn(seed, n_times, n_in=3):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n_in)) for n in n_times]


def near(got, expected, rtol=1e-9):
    size = np.abs(expected).max(initial=1e-300)
    np.testing.assert_allclose(on_host(got), expected, 0, rtol * size)


@pytest.mark.parametrize("route", [*ROUTES, "auto"])
@some
@given(
    SEEDS, lengths, st.integers(1, 8), st.booleans(),
    st.sampled_from([None, 1, 4]),
)  # fmt: skip
def test_it_is_fitted_on_the_device(
    device, route, seed, n_times, n_mem, centre, width
):
    sequences = drawn(seed, n_times)
    options = {"route": route, "centre": centre, "width": width}
    expected = LAES(n_mem, **options).fit(sequences)
    got = LAES(n_mem, **options).fit([device(x) for x in sequences])
    for name in ("A", "B", "mean", "bias"):
        assert device.is_here(getattr(got, name))
    near(got.singular_values, expected.singular_values)
    assert got.rank == expected.rank
    assert got.residual < 1e-10
    # What is told apart is equal: a gap, and the subspace is the same.
    values = expected.singular_values
    full = got.rank < n_mem
    if full or (n_mem > 1 and values[-2] - values[-1] > 1e-3 * values[0]):
        x = sequences[0]
        for laes, its in ((got, device(x)), (expected, x)):
            near(laes.mean, expected.mean)
            assert laes.encode(its).shape == (len(x), n_mem)
    if full and width is None:
        longest = max(sequences, key=len)
        state = got.encode(device(longest))[-1]
        near(got.decode(state, len(longest)), longest[::-1], 1e-8)
    error = expected.reconstruction_error(sequences)
    assert abs(got.reconstruction_error(sequences) - error) < 1e-6 + error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_array_of_sequences(device, dtype):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((9, 4, 2)).astype(dtype)
    expected, got = LAES(5).fit(x), LAES(5).fit(device(x))
    near(got.singular_values, expected.singular_values, 1e-5)
    assert got.A.dtype == dtype
    matrices = got.matrices()
    assert all(map(device.is_here, matrices.values()))
    assert device.is_here(got.recall(3))
    assert got.truncated(2).A.shape == (2, 2)


def test_what_was_fitted_on_one_side_encodes_on_the_other(device):
    sequences = drawn(0, [6, 4])
    here = LAES(4).fit(sequences)
    there = LAES(4).fit([device(x) for x in sequences])
    y = here.encode(sequences[0])
    near(here.encode(device(sequences[0])), y)
    assert device.is_here(here.decode(device(y), 3))
    assert isinstance(there.encode(sequences[0]), np.ndarray)


def test_silent_inputs_and_large_numbers(device):
    x = np.random.default_rng(0).standard_normal((8, 4)) * 1e70
    x[:, 2] = 0.0
    expected, got = LAES(6).fit([x]), LAES(6).fit([device(x)])
    near(got.singular_values, expected.singular_values)
    assert not on_host(got.A)[:, 2].any()
