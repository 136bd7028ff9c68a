"""What only many numbers reach: several spans, another way to tanh."""

import numpy as np
import pytest

from msref import functional
from msref.architectures import GRU, LSTM, MGU, Elman, scan

NETWORKS = [
    Elman(3, 64),
    Elman(3, 64, activation="relu"),
    LSTM(3, 64),
    GRU(3, 64),
    GRU(3, 64, reset="before"),
    MGU(3, 64),
]
each = pytest.mark.parametrize("arch", NETWORKS, ids=repr)


def point(arch, n_time, n_batch, scale=1.0):
    """Draw parameters, input, state and both cotangents."""
    rng = np.random.default_rng(n_time)

    def like(shapes):
        return {k: scale * rng.standard_normal(s) for k, s in shapes.items()}

    shapes = {k: v.shape for k, v in arch.initial_state(n_batch).items()}
    small = {k: v / 8 for k, v in like(arch.shapes()).items()}
    x = rng.standard_normal((n_time, n_batch, arch.n_in))
    dy = rng.standard_normal((n_time, n_batch, arch.n_out))
    return small, x, like(shapes), dy, like(shapes)


@each
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_how_time_is_cut_into_spans_does_not_matter(arch, steps, monkeypatch):
    params, x, state, dy, dstate = point(arch, 7, 2)
    tape = arch.forward(params, x, state)[2]
    whole = arch.backward(params, tape, dy, dstate)
    for name in ("IN_CACHE", "OF_PRODUCTS"):
        monkeypatch.setattr(functional, name, steps * 2 * arch.n_hid)
    cut = arch.backward(params, tape, dy, dstate)
    np.testing.assert_array_equal(cut.x, whole.x)
    for got, expected in (
        (cut.params, whole.params),
        (cut.state, whole.state),
        (cut.adjoints, whole.adjoints),
    ):
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value, name)


@each
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_many_units_are_the_scan_of_step(arch, scale):
    params, x, state, _, _ = point(arch, 4, 128, scale)
    y, final, tape = arch.forward(params, x, state)
    _, expected, trace = scan(arch, params, x, state)
    for name in set(tape) & set(trace):
        np.testing.assert_allclose(
            tape[name], trace[name], rtol=1e-12, atol=1e-13 * scale
        )
    np.testing.assert_array_equal(y, tape["h"])
    for name, value in expected.items():
        np.testing.assert_allclose(
            final[name], value, rtol=1e-12, atol=1e-13 * scale
        )
