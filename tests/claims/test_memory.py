import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.claims.memory import _delay_line, recoverability, states


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=1))
def test_states_are_those_of_the_recurrence(seed, lengths):
    rng = np.random.default_rng(seed)
    memory = {
        "W_xm": rng.standard_normal((3, 4)),
        "W_mm": rng.standard_normal((4, 4)) / 2,
        "b_m": rng.standard_normal(4),
    }
    sequences = [rng.standard_normal((n, 3)) for n in lengths]
    for x, found in zip(sequences, states(memory, sequences), strict=True):
        m = np.zeros(4)
        for x_t, m_t in zip(x, found, strict=True):
            m = x_t @ memory["W_xm"] + m @ memory["W_mm"] + memory["b_m"]
            np.testing.assert_allclose(m_t, m, rtol=1e-12, atol=1e-12)


def sets(rng, n_in):
    return [
        [rng.standard_normal((40, n_in)) for _ in range(n)]
        for n in (30, 10, 10)
    ]


def test_a_delay_line_holds_its_frames_and_nothing_else():
    parts = sets(np.random.default_rng(0), 3)
    memory = _delay_line(parts[0], 6)
    pairs = [list(zip(states(memory, p), p, strict=True)) for p in parts]
    r2 = recoverability(*pairs, max_lag=4)
    np.testing.assert_allclose(r2[:2], 1.0, atol=1e-6)
    assert max(r2[2:]) < 0.02


def test_a_partial_slot_holds_the_units_that_vary_most():
    rng = np.random.default_rng(0)
    parts = [[x * [1.0, 3.0, 0.1] for x in p] for p in sets(rng, 3)]
    memory = _delay_line(parts[0], 4)
    m = states(memory, [parts[0][0]])[0]
    x = parts[0][0]
    np.testing.assert_array_equal(m[5], [*x[5][[1, 0, 2]], x[4][1]])


def test_a_state_that_knows_nothing_has_no_recall():
    rng = np.random.default_rng(0)
    parts = sets(rng, 3)
    pairs = [[(rng.standard_normal((len(x), 5)), x) for x in p] for p in parts]
    assert recoverability(*pairs, max_lag=2) == pytest.approx(
        [0, 0, 0], abs=0.02
    )
