"""Linear recurrences: the loop, its gradients, and no step lost between."""

import tracemalloc
from dataclasses import dataclass

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from msref import functional, recurrence
from msref.recurrence import linear_recurrence, linear_recurrence_backward

STEP = 1e-30
KINDS = ["varies", "constant", "row", "spread over the batch", "number"]
SIZES = [(), (1,), (3,), (64,), (2, 5), (3, 1, 2)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Chunks and blocks at sizes whose gradients a witness can compute."""
    monkeypatch.setattr(recurrence, "BLOCK", 2**12)
    monkeypatch.setattr(recurrence, "FEWEST", 16)


@dataclass
class Case:
    a: np.ndarray
    b: np.ndarray
    y0: np.ndarray | None
    dy: np.ndarray


@st.composite
def cases(draw, most=700, dtypes=(np.float64, np.float32)):
    n_time = draw(st.sampled_from([1, 2, 3, 15, 16, 17, 64, 101, 600]))
    n_time = min(most, n_time + draw(st.integers(0, 60)))
    rest = draw(st.sampled_from(SIZES))
    largest = draw(st.sampled_from([0.5, 1.0, 1.02]))
    kind = draw(st.sampled_from(KINDS))
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = {
        "varies": (n_time, *rest),
        "constant": rest,
        "row": (1, *rest),
        "spread over the batch": (n_time, *(1,) * (len(rest) > 0), *rest[1:]),
        "number": (),
    }[kind]
    a = rng.uniform(-largest, largest, shape)
    if draw(st.booleans()):
        a = np.where(rng.random(shape) < 0.2, 0.0, a)
    b, dy = rng.standard_normal((2, n_time, *rest))
    y0 = rng.standard_normal(rest) if draw(st.booleans()) else None
    return Case(
        np.asarray(a, dtype),
        b.astype(dtype),
        None if y0 is None else np.asarray(y0, dtype),
        dy.astype(dtype),
    )


def loop(a, b, y0, xp=np):
    """Compute (1) as it is written, one step after the other."""
    a = a + 0.0 * b
    y = 0.0 * b[0] if y0 is None else y0
    steps = []
    for t in range(len(b)):
        y = a[t] * y + b[t]
        steps.append(y)
    return xp.stack(steps)


def size(case):
    """Return the sums of the sizes of all terms, in extended precision."""
    y0 = None if case.y0 is None else abs(case.y0).astype(np.longdouble)
    return loop(
        abs(case.a).astype(np.longdouble), abs(case.b).astype(np.longdouble), y0
    )


# --- forward ----------------------------------------------------------------


@settings(max_examples=200)
@given(case=cases())
def test_it_is_the_loop(case):
    got = linear_recurrence(case.a, case.b, case.y0)
    exact = loop(case.a.astype(np.longdouble), case.b, case.y0)
    eps = np.finfo(case.b.dtype).eps
    assert got.dtype == case.b.dtype
    assert got.shape == case.b.shape
    assert np.all(abs(got - exact) <= 40 * eps * size(case))


@settings(max_examples=50)
@given(case=cases(), data=st.data())
def test_it_may_be_cut_anywhere(case, data):
    cut = data.draw(st.integers(0, len(case.b)))
    whole = linear_recurrence(case.a, case.b, case.y0)
    a = np.broadcast_to(case.a, case.b.shape)
    y0, parts = case.y0, []
    for now in (slice(0, cut), slice(cut, None)):
        if len(case.b[now]):
            parts.append(linear_recurrence(a[now], case.b[now], y0))
            y0 = parts[-1][-1]
    eps = np.finfo(case.b.dtype).eps
    error = abs(np.concatenate(parts) - whole)
    assert np.all(error <= 80 * eps * size(case))


@settings(max_examples=50)
@given(case=cases())
def test_views_are_read_as_they_are_and_nothing_is_written(case):
    def backwards(array):
        return None if array is None else array[::-1].copy()[::-1]

    def turned(array):
        return np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0)

    given_ = [None if v is None else v.copy() for v in vars(case).values()]
    y = linear_recurrence(case.a, case.b, case.y0)
    g = linear_recurrence_backward(case.a, y, case.dy, case.y0)
    a = backwards(case.a) if case.a.ndim else case.a
    z = linear_recurrence(a, turned(case.b), case.y0)
    h = linear_recurrence_backward(a, turned(y), backwards(case.dy), case.y0)
    np.testing.assert_array_equal(y, z)
    eps = np.finfo(y.dtype).eps
    for ours, theirs in zip(h, g, strict=True):
        tall = 100 * eps * abs(theirs).max()  # sums over time in other order
        np.testing.assert_allclose(ours, theirs, 0, tall)
    for before, after in zip(given_, vars(case).values(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fast_decay_over_many_steps_stays_accurate(dtype, monkeypatch):
    """The product of all factors is zero long before: nothing divides."""
    monkeypatch.undo()  # at the real sizes of blocks
    rng = np.random.default_rng(0)
    b = rng.standard_normal((100_000, 3)).astype(dtype)
    a = rng.uniform(0, 0.02, b.shape).astype(dtype)
    got = linear_recurrence(a, b)
    case = Case(a, b, None, b)
    error = abs(got - loop(a.astype(np.longdouble), b, None))
    assert np.all(error <= 10 * np.finfo(dtype).eps * size(case))


def test_blocks_meet_at_their_real_size(monkeypatch):
    monkeypatch.undo()
    b = np.ones((300_001, 2))
    got = linear_recurrence(np.array([1.0, -1.0]), b)
    t = np.arange(1.0, 300_002)
    np.testing.assert_array_equal(got, np.stack([t, t % 2], axis=1))


def test_products_that_overflow_do_not_reach_what_they_multiply():
    """A unit at rest stays at rest, however large its factors."""
    a = np.full((500, 2), 1e6, np.float32)
    a[:, 1] = 0.5
    b = np.zeros((500, 2), np.float32)
    b[:, 1] = 1.0
    y = linear_recurrence(a, b)
    np.testing.assert_array_equal(y[:, 0], 0.0)
    np.testing.assert_allclose(y[20:, 1], 2.0, 1e-5)
    a[400:] = 0.0
    b[399, 0] = 3.0
    np.testing.assert_array_equal(linear_recurrence(a, b)[399:401, 0], [3, 0])


def test_what_overflows_is_infinite_from_there_on():
    a, b = np.full((300, 1), 10.0), np.ones((300, 1))
    b[0] = 1e200
    with pytest.warns(RuntimeWarning, match="overflow"):
        y = linear_recurrence(a, b)
    assert np.isfinite(y[:109]).all()
    assert np.isinf(y[109:]).all()


# --- backward ---------------------------------------------------------------


@settings(max_examples=60)
@given(case=cases(most=90, dtypes=(np.float64,)))
@example(case=Case(np.ones((1, 1)), np.ones((1, 1)), None, np.ones((1, 1))))
def test_both_witnesses_agree(case):
    y0 = np.zeros(case.b.shape[1:]) if case.y0 is None else case.y0

    def loss(a, b, y0, xp=anp):
        return (loop(a, b, y0, xp) * case.dy).sum()

    y = linear_recurrence(case.a, case.b, case.y0)
    got = linear_recurrence_backward(case.a, y, case.dy, case.y0)
    point = (case.a, case.b, y0)
    by_graph = autograd.grad(loss, (0, 1, 2))(*point)
    scale = autograd.grad(  # the sizes of all the terms that add up
        lambda a, b, y0: (loop(a, b, y0, anp) * abs(case.dy)).sum(), (0, 1, 2)
    )(*(abs(v) for v in point))
    rng = np.random.default_rng(0)
    for i, (ours, theirs, tall) in enumerate(
        zip(got, by_graph, scale, strict=True)
    ):
        assert ours.shape == point[i].shape
        assert np.all(abs(ours - theirs) <= 1e-13 * np.asarray(tall))
        way = rng.standard_normal(point[i].shape)
        moved = list(point)
        moved[i] = point[i] + 1j * STEP * way
        slope = np.imag(loss(*moved, xp=np)) / STEP
        assert abs((ours * way).sum() - slope) <= 1e-12 * np.sum(
            tall * abs(way)
        )


@settings(max_examples=60)
@given(case=cases())
def test_the_backward_pass_is_the_adjoint_of_the_forward_pass(case):
    """<dy, J b'> = <J^T dy, b'> for what y is linear in, at all sizes."""
    y0 = np.ones(case.b.shape[1:], case.b.dtype)
    y = linear_recurrence(case.a, case.b, y0)
    _, db, dy0 = linear_recurrence_backward(case.a, y, case.dy, y0)
    there = np.sum(case.dy * y, dtype=np.longdouble)
    back = np.sum(db * case.b, dtype=np.longdouble) + np.sum(dy0 * y0)
    tall = np.sum(abs(case.dy) * size(Case(case.a, case.b, y0, case.dy)))
    assert abs(there - back) <= 200 * np.finfo(y.dtype).eps * tall


@settings(max_examples=60)
@given(case=cases())
def test_factors_that_are_shared_get_the_sum(case):
    y = linear_recurrence(case.a, case.b, case.y0)
    spread = np.broadcast_to(case.a, case.b.shape)
    da, db, dy0 = linear_recurrence_backward(case.a, y, case.dy, case.y0)
    each, same, first = linear_recurrence_backward(spread, y, case.dy, case.y0)
    np.testing.assert_array_equal(db, same)
    np.testing.assert_array_equal(dy0, first)
    axes = tuple(
        i for i in range(-each.ndim, 0) if -i > da.ndim or da.shape[i] == 1
    )
    total = each.astype(np.float64).sum(axes).reshape(da.shape)
    tall = abs(each).sum(axes).reshape(da.shape)
    assert da.dtype == each.dtype
    assert np.all(abs(da - total) <= 300 * np.finfo(da.dtype).eps * tall)


@pytest.mark.parametrize("shape", [(200_000, 8), (8,), (200_000, 1)])
def test_memory_is_that_of_the_results(monkeypatch, shape):
    monkeypatch.undo()
    b = np.ones((200_000, 8))
    a = np.full(shape, 0.9)
    tracemalloc.start()
    y = linear_recurrence(a, b)
    _, forward = tracemalloc.get_traced_memory()
    linear_recurrence_backward(a, y, b)
    _, both = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert forward < b.nbytes + 4 * recurrence.BLOCK
    assert both < 2 * b.nbytes + a.nbytes + 4 * recurrence.BLOCK


# --- the border -------------------------------------------------------------


def test_what_does_not_fit_is_refused():
    a, b = np.ones((5, 3)), np.ones((5, 3))
    for bad in (np.ones((4, 3)), np.ones(5), np.ones((5, 5, 3))):
        with pytest.raises(ValueError, match="a has shape"):
            linear_recurrence(bad, b)
    with pytest.raises(ValueError, match="y0 has shape"):
        linear_recurrence(a, b, np.ones((5, 3)))
    with pytest.raises(ValueError, match="at least one time step"):
        linear_recurrence(a, np.ones((0, 3)))
    with pytest.raises(TypeError, match=r"a has dtype float32, .*float64"):
        linear_recurrence(a.astype(np.float32), b)
    with pytest.raises(TypeError, match="b has dtype int"):
        linear_recurrence(a, b.astype(int))
    with pytest.raises(TypeError, match="expected an array"):
        linear_recurrence(0.5, b)
    with pytest.raises(ValueError, match="y has shape"):
        linear_recurrence_backward(a, np.ones((4, 3)), b)
    assert functional.linear_recurrence is linear_recurrence
    assert functional.linear_recurrence_backward is linear_recurrence_backward
