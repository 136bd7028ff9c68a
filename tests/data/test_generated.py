"""The generated sequences have the statistics that they promise."""

import numpy as np
import pytest

from msref.data import autoregressive, random_sequences


def test_noise_is_white():
    x = np.array(random_sequences(np.random.default_rng(0), 50, 100, 3))
    assert x.shape == (50, 100, 3)
    assert np.mean(x) == pytest.approx(0, abs=0.03)
    assert np.var(x) == pytest.approx(1, abs=0.05)
    assert np.mean(x[:, 1:] * x[:, :-1]) == pytest.approx(0, abs=0.03)
    assert np.mean(x[1:] * x[:-1]) == pytest.approx(0, abs=0.03)


def test_lengths_are_drawn_from_both_ends():
    rng = np.random.default_rng(0)
    lengths = {len(x) for x in random_sequences(rng, 60, (2, 4), 1)}
    assert lengths == {2, 3, 4}


def test_autoregressive_signals_are_stationary_and_slow():
    rng = np.random.default_rng(0)
    x = autoregressive(rng, 4000, 12, 1, n_latent=1, rho=(0.9, 0.9), noise=0.0)
    s = np.array(x)[:, :, 0]
    s /= s.std()
    # Variance one at the start as at the end, correlation rho per lag.
    np.testing.assert_allclose(s.var(axis=0), 1, atol=0.1)
    for lag in (1, 2, 5):
        correlation = np.mean(s[:, lag:] * s[:, :-lag])
        assert correlation == pytest.approx(0.9**lag, abs=0.05)


def test_autoregressive_sequences_lie_near_the_latent_subspace():
    rng = np.random.default_rng(0)
    x = autoregressive(rng, 20, 50, 12, n_latent=3, noise=1e-6)
    assert len(x) == 20
    assert x[0].shape == (50, 12)
    singular = np.linalg.svd(np.concatenate(x), compute_uv=False)
    assert singular[2] > 1
    assert singular[3] < 1e-3
    assert singular[11] > 1e-6  # the noise is there


@pytest.mark.parametrize("generate", [random_sequences, autoregressive])
def test_the_generator_decides(generate):
    one, same, other = (
        generate(np.random.default_rng(seed), 2, 5, 3) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])
