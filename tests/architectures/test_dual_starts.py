"""The starts of IndRNN and DuRNN, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref import DuRNN, IndRNN


@given(
    st.integers(0, 10_000),
    st.integers(1, 1000),
    st.floats(1.0, 10.0),
    st.sampled_from(["all", "last"]),
)
def test_independent_weights_start_in_their_range(seed, horizon, gamma, reads):
    options = {"horizon": horizon, "gamma": gamma, "reads": reads}
    rng = np.random.default_rng(seed)
    reach = gamma ** (1 / horizon)
    for arch, name in (
        (IndRNN(2, 200, **options), "w_hh"),
        (DuRNN(2, 3, 200, **options), "w_ll"),
    ):
        drawn = arch.init(rng)[name]
        lowest = 1 / reach if reads == "last" else 0.0
        assert arch.reach == reach
        assert lowest <= drawn.min() <= drawn.max() <= reach
        # Of 200 even draws, none lies in the last tenth with a probability
        # of 1e-9.
        width = reach - lowest
        assert drawn.min() <= lowest + width / 10
        assert drawn.max() >= reach - width / 10


@pytest.mark.parametrize("reads", ["all", "last"])
def test_without_a_horizon_they_end_at_one(reads):
    for arch, name in (
        (IndRNN(2, 200, reads=reads), "w_hh"),
        (DuRNN(2, 3, 200, reads=reads), "w_ll"),
    ):
        drawn = arch.init(np.random.default_rng(0))[name]
        if reads == "last":
            np.testing.assert_array_equal(drawn, 1.0)
        else:
            assert 0 <= drawn.min() < 0.1
            assert 0.9 < drawn.max() <= 1


@given(st.integers(0, 10_000), st.floats(0.1, 3.0), st.floats(-5.0, 5.0))
def test_the_short_part_starts_orthogonal_and_the_gate_where_told(
    seed, short, gate_bias
):
    arch = DuRNN(2, 5, 3, short=short, gate_bias=gate_bias)
    params = arch.init(np.random.default_rng(seed))
    values = np.linalg.svd(params["W_ss"], compute_uv=False)
    np.testing.assert_allclose(values, short)
    np.testing.assert_array_equal(params["b_q"], gate_bias)
    for name in ("b_s", "b_v"):
        np.testing.assert_array_equal(params[name], 0.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"selection": "half"}, r"selection is 'half', expected one of \("),
        ({"output": "none"}, r"output is 'none', expected one of \("),
        ({"activation": "elu"}, r"activation is 'elu', expected one of \("),
        ({"reads": "first"}, r"reads is 'first', expected one of \("),
        ({"short": 0.0}, "short is 0.0, expected above 0"),
        ({"gamma": 0.5}, "gamma is 0.5, expected at least 1"),
        ({"horizon": 0}, "horizon is 0, expected at least 1"),
        ({"gate_bias": np.nan}, "gate_bias is nan, expected a finite number"),
    ],
)
def test_options_of_the_dual_module_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        DuRNN(2, 3, 4, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation": "elu"}, "activation is 'elu', expected 'relu'"),
        ({"reads": "first"}, "reads is 'first', expected 'all', 'last'"),
        ({"gamma": 0.5}, "gamma is 0.5, expected at least 1"),
        ({"horizon": 0}, "horizon is 0, expected at least 1"),
    ],
)
def test_options_of_the_independent_network_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        IndRNN(2, 3, **options)
