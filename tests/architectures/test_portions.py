"""Passes work through time in portions; how large these are must not show.

Sequences in other tests are short, and fit into one portion.
"""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref import functional
from msref.architectures import (
    BRC,
    NBRC,
    ClockworkRNN,
    DuRNN,
    IndRNN,
    MultiScaleLMN,
    holds,
)

SPANNED = [
    BRC(2, 3),
    BRC(2, 3, candidate_bias=False),
    NBRC(2, 3),
    DuRNN(2, 3, 2, "tanh"),
    DuRNN(2, 3, 2, selection="open", output="long"),
    DuRNN(2, 2, 3, selection="none"),
    IndRNN(2, 3),
    IndRNN(3, 3, "tanh", mixes=False),
]


def gradients(arch, n_time, t0=0, n_batch=2):
    """Run both passes from a random point."""
    rng = np.random.default_rng(n_time + t0)
    params = {
        name: 0.3 * rng.standard_normal(shape)
        for name, shape in arch.shapes().items()
    }
    x = rng.standard_normal((n_time, n_batch, arch.n_in))
    state, dstate = (
        {
            name: rng.standard_normal(value.shape)
            for name, value in arch.initial_state(n_batch).items()
        }
        for _ in "01"
    )
    y, final, tape = arch.forward(params, x, state, t0)
    g = arch.backward(params, tape, rng.standard_normal(y.shape), dstate)
    return {"y": y, "x": g.x} | final | g.params | g.adjoints | g.state


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], 1e-10, 1e-12)


@pytest.mark.parametrize("arch", SPANNED, ids=repr)
@pytest.mark.parametrize("size", [1, 13, 25])
def test_spans_of_time(arch, size):
    whole = gradients(arch, 11)
    with patch.multiple(functional, IN_CACHE=size, OF_PRODUCTS=size):
        assert_same(gradients(arch, 11), whole)


@given(
    st.integers(1, 5),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(1, 70),
    st.integers(0, 40),
    st.integers(1, 30),
)
def test_holds_of_modules(n_modules, first, origin, n_time, t0, rows):
    clock = {"n_modules": n_modules, "first": first, "origin": origin}
    for arch in (ClockworkRNN(1, 2, **clock), MultiScaleLMN(1, 2, 1, **clock)):
        with patch.object(holds, "ROWS", 10**6):
            whole = gradients(arch, n_time, t0)
        with patch.object(holds, "ROWS", rows):
            assert_same(gradients(arch, n_time, t0), whole)
