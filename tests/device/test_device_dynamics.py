"""Attractors, fixed points and warm-up, where the parameters live."""

import guard
import numpy as np
import pytest
import sides
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, SEEDS, Case

from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    Elman,
    MultiScaleLMN,
    Parallel,
    Stack,
)
from msref.dynamics import (
    clusters,
    fixed_points,
    gradient_reach,
    jacobian,
    multistability,
    stabilise,
    vaa,
    vaa_star,
)
from msref.pretraining.warmup import warmup
from msref.pretraining.warmup_loss import warmup_loss

some = settings(max_examples=25)
few = settings(max_examples=6)
NETWORKS = (
    GRU(2, 3),
    LSTM(2, 3),
    Stack(BRC(2, 3), Elman(3, 2)),
    MultiScaleLMN(2, 3, 2, 3),
)
by_network = pytest.mark.parametrize("arch", NETWORKS, ids=repr)


@some
@given(SEEDS, st.integers(1, 6), DTYPES)
def test_vaa_and_clusters(device, seed, n_states, dtype):
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((n_states, 3)).astype(dtype)
    h[rng.integers(n_states)] = h[0]
    assert vaa(device(h)) == vaa(h)
    value, dh = vaa_star(h)
    got, got_dh = vaa_star(device(h))
    device.close(got, value)
    device.same(got_dh, dh)
    labels, n = clusters(device(h))
    assert (labels.tolist(), n) == (clusters(h)[0].tolist(), clusters(h)[1])


@by_network
@some
@given(seed=SEEDS)
def test_a_jacobian(device, arch, seed):
    case = Case(arch, 1, 3, seed)
    expected = jacobian(arch, case.params, case.x[0], case.state, 2)
    params, state = device(case.params), device(case.state)
    device.same(jacobian(arch, params, device(case.x[0]), state, 2), expected)
    alone = {name: value[1] for name, value in state.items()}
    x = device(case.x[0])[1]
    device.same(jacobian(arch, params, x, alone, 2), expected[1])


@by_network
@few
@given(seed=SEEDS)
def test_fixed_points(device, arch, seed):
    params = Case(arch, 1, 1, seed, scale=0.5).params
    x = np.random.default_rng(seed).standard_normal(2)

    def found(params, x):
        rng = np.random.default_rng(seed)
        return fixed_points(arch, params, x, rng=rng, n_starts=6)

    expected = found(params, x)
    for given_x in (x, device(x)):  # a constant input may come from anywhere
        got = found(device(params), given_x)
        if not device.exact:  # who arrives where may hang on a bit
            assert all(point.residual < 1e-9 for point in got)
            continue
        assert len(got) == len(expected)
        for point, other in zip(got, expected, strict=True):
            device.same(point.state, other.state)
            np.testing.assert_array_equal(point.eigenvalues, other.eigenvalues)
            assert (point.kind, point.n_starts) == (other.kind, other.n_starts)


def test_a_singular_jacobian_has_its_shortest_step(device):
    # A memory that keeps what it has: every state is a fixed point.
    arch = LMN(1, 1, 2)
    params = {k: np.zeros(s) for k, s in arch.shapes().items()}
    params["W_mm"] = np.diag([1.0, 0.5])
    start = {"m": np.array([[0.3, -2.0], [1.0, 4.0]])}
    expected = fixed_points(arch, params, np.zeros(1), start)
    got = fixed_points(arch, device(params), np.zeros(1), start)
    assert [p.kind for p in got] == [p.kind for p in expected]
    for point, other in zip(got, expected, strict=True):
        device.same(point.state, other.state)


@by_network
@few
@given(seed=SEEDS)
def test_stabilising(device, arch, seed):
    params = Case(arch, 1, 1, seed, scale=0.5).params
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal((n, 2)) for n in (3, 5, 4)]

    def ends(params, x):
        rng = np.random.default_rng(seed)
        return stabilise(arch, params, x, rng, [3, 9], progress=False)

    expected = ends(params, x)
    device.same(ends(device(params), x), expected)
    device.same(ends(device(params), [device(s) for s in x]), expected)
    measured = [
        multistability(
            arch, p, x, np.random.default_rng(seed), 9, progress=False
        ).vaa
        for p in (params, device(params))
    ]
    np.testing.assert_array_equal(*measured)


def test_the_reach_of_a_gradient_is_measured_on_the_host(device):
    case = Case(GRU(2, 3), 5, 2, 0)
    expected = gradient_reach(case.arch, case.params, case.x, progress=False)
    params, x = device(case.params), device(case.x)
    got = gradient_reach(case.arch, params, x, progress=False)
    np.testing.assert_array_equal(got.norms, expected.norms)


# --- warm-up ----------------------------------------------------------------


@by_network
@some
@given(seed=SEEDS, dtype=DTYPES)
def test_the_loss_of_a_warm_up(device, arch, seed, dtype):
    case = Case(arch, 5, 3, seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    cuts = rng.integers(1, 6, 3)
    parts = arch.parts if isinstance(arch, Stack) else (arch,)
    z = [rng.standard_normal(part.n_in).astype(dtype) for part in parts]
    expected = warmup_loss(arch, case.params, case.x, cuts, z, 3)
    params, x, on_z = device(case.params), device(case.x), [*map(device, z)]
    for told in (cuts, device(cuts)):
        got = warmup_loss(arch, params, x, told, on_z, 3)
        device.close(got[0], expected[0])
        device.same(got[1], expected[1])
        device.close(got[2], expected[2])


@pytest.mark.parametrize("partial", [False, True])
def test_a_warm_up(device, partial):
    arch = Parallel(GRU(2, 3), GRU(2, 3)) if partial else GRU(2, 3)
    params = arch.init(np.random.default_rng(1), np.float32)
    rng = np.random.default_rng(2)
    sequences = [rng.standard_normal((n, 2)) for n in (4, 6, 5, 4)]

    def warmed(params):
        rng = np.random.default_rng(3)
        options = {"n_steps": 4, "partial": partial, "progress": False}
        return warmup(arch, params, sequences, rng, **options)

    (expected, record), (got, got_record) = (
        warmed(params),
        warmed(device(params)),
    )
    assert all(map(device.is_here, got.values()))
    if device.exact:
        device.same(got, expected)
        np.testing.assert_array_equal(got_record.loss, record.loss)


def test_a_warm_up_waits_as_often_for_any_length():
    counts = []
    for n_stable in (3, 30):
        case = Case(GRU(2, 3), 5, 3, 0)
        cuts, z = np.array([5, 3, 5]), np.ones(2)
        with guard.on_a_device():
            move = sides.Side()
            params, x, z = move(case.params), move(case.x), [move(z)]
            with guard.counted() as found:
                warmup_loss(case.arch, params, x, cuts, z, n_stable)
        counts.append((found.reads, found.uploads))
    assert counts[0] == counts[1]
