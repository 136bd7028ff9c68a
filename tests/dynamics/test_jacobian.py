import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent import NETWORKS, point

from msref.architectures import (
    GRU,
    LSTM,
    Bidirectional,
    ClockworkRNN,
    DuRNN,
    Elman,
    Linear,
    MultiScaleLMN,
    Parallel,
    Stack,
)
from msref.dynamics import jacobian, joined, period, separated, slices
from msref.dynamics.jacobian import pulled_back

SEEDS = st.integers(0, 2**16)


def by_complex_step(arch, params, x, state, t):
    """Differentiate ``step`` itself: (n_batch, n_state, n_state)."""
    columns = []
    for name, array in state.items():
        for j in range(array.shape[1]):
            moved = {k: v.astype(complex) for k, v in state.items()}
            moved[name][:, j] += 1e-30j
            after, _ = arch.step(params, moved, x, t)
            columns.append(np.imag(joined(arch, after)) / 1e-30)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("arch", NETWORKS, ids=repr)
@settings(max_examples=20)
@given(seed=SEEDS, t=st.sampled_from([0, 1, 2, 8, 1003]))
def test_it_is_the_derivative_of_a_step(arch, seed, t):
    params, x, state = point(arch, seed, n_batch=2)
    J = jacobian(arch, params, x[0], state, t)
    expected = by_complex_step(arch, params, x[0], state, t)
    np.testing.assert_allclose(J, expected, 1e-11, 1e-13)


def test_a_state_alone_has_a_jacobian_without_a_batch():
    arch = LSTM(3, 4)
    params, x, state = point(arch, 0, n_batch=3)
    J = jacobian(arch, params, x[0], state)
    alone = {name: array[1] for name, array in state.items()}
    np.testing.assert_array_equal(
        jacobian(arch, params, x[0, 1], alone),
        jacobian(
            arch, params, x[0, 1:2], {k: v[1:2] for k, v in state.items()}
        )[0],
    )
    np.testing.assert_allclose(
        jacobian(arch, params, x[0, 1], alone), J[1], 1e-12, 1e-15
    )


def test_rows_and_columns_have_names():
    arch = DuRNN(2, 3, 4, activation="tanh")
    where = slices(arch)
    assert where == {"s": slice(0, 3), "l": slice(3, 7)}
    params, x, state = point(arch, 3)
    J = jacobian(arch, params, x[0], state)[0]
    assert not J[where["s"], where["l"]].any()  # the long part gives nothing
    assert J[where["l"], where["s"]].any()
    off_diagonal = J[where["l"], where["l"]] * (1 - np.eye(4))
    assert not off_diagonal.any()
    vector = joined(arch, state)
    assert all((separated(arch, vector)[k] == state[k]).all() for k in state)


def test_a_clock_is_read():
    arch = ClockworkRNN(2, 3, 2)
    params, x, state = point(arch, 1)
    held = jacobian(arch, params, x[0], state, t=1)[0][3:]
    np.testing.assert_array_equal(held, np.eye(6)[3:])
    assert not np.array_equal(jacobian(arch, params, x[0], state)[0][3:], held)


@pytest.mark.parametrize(
    ("arch", "steps"),
    [
        (GRU(2, 3), 1),
        (ClockworkRNN(2, 3, 4, first=1), 16),
        (Stack(GRU(2, 3), MultiScaleLMN(3, 2, 2, 3)), 4),
        (
            Parallel(
                MultiScaleLMN(2, 2, 2, 2),
                Stack(ClockworkRNN(2, 3, 4), GRU(12, 2)),
            ),
            8,
        ),
    ],
)
def test_the_period_is_that_of_the_slowest_module(arch, steps):
    assert period(arch) == steps


def test_rows_are_cut_where_they_are_many(monkeypatch):
    arch = GRU(2, 3)
    params, x, state = point(arch, 0, n_batch=5)
    whole = jacobian(arch, params, x[0], state)
    monkeypatch.setitem(pulled_back.__globals__, "LARGEST", 2 * 3 * 3)
    calls = []
    monkeypatch.setattr(GRU, "forward", spy(GRU.forward, calls))
    np.testing.assert_allclose(
        jacobian(arch, params, x[0], state), whole, 1e-12, 1e-15
    )
    assert [call.shape[1] for call in calls] == [6, 6, 3]


def spy(method, calls):
    def called(self, params, x, *rest):
        calls.append(x)
        return method(self, params, x, *rest)

    return called


def test_single_precision_stays_so():
    arch = Elman(2, 3)
    params, x, state = point(arch, 0)
    narrow = [
        {k: v.astype("f4") for k, v in tree.items()} for tree in (params, state)
    ]
    J = jacobian(arch, narrow[0], x[0].astype("f4"), narrow[1])
    assert J.dtype == np.float32
    np.testing.assert_allclose(
        J, jacobian(arch, params, x[0], state), 1e-5, 1e-6
    )


def test_what_cannot_be_is_named():
    arch = Elman(2, 3)
    params, x, state = point(arch, 0)
    with pytest.raises(ValueError, match="looks ahead"):
        jacobian(Bidirectional(arch, arch), params, x[0], state)
    with pytest.raises(ValueError, match="has no state"):
        jacobian(Linear(2, 3), params, x[0], {})
    with pytest.raises(ValueError, match=r"state\['h'\] has shape"):
        jacobian(arch, params, x[0], {"h": np.zeros((1, 4))})
    with pytest.raises(ValueError, match="x has shape"):
        jacobian(arch, params, x[0][:, :1], state)
