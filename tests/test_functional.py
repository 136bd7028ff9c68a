"""Non-linearities: right in both tails, for real, complex and boxed numbers."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from msref.functional import (
    ACTIVATIONS,
    activation_into,
    flat,
    glorot_normal,
    glorot_uniform,
    joined,
    log_softmax,
    orthogonal,
    relu,
    sigmoid,
    sigmoid_in_place,
    softmax,
    softplus,
    spans,
    tanh_into,
    with_one,
)

STEP = 1e-30
EPS = np.finfo(np.float64).eps
some = settings(max_examples=100)
numbers = st.floats(-300, 300, allow_subnormal=False)
ELEMENTWISE = {name: a.f for name, a in ACTIVATIONS.items()} | {
    "softplus": softplus
}
OVER_ROWS = {"softmax": softmax, "log_softmax": log_softmax}
ALL = ELEMENTWISE | OVER_ROWS
each = pytest.mark.parametrize("name", list(ELEMENTWISE))
each_of_all = pytest.mark.parametrize("name", list(ALL))


def exact(name, a):
    """Return value and derivative in extended precision."""
    a = np.asarray(a, np.longdouble)
    one = np.longdouble(1)
    e = np.exp(-np.abs(a))
    slope = e / (one + e) ** 2
    return {
        "sigmoid": lambda: (np.where(a >= 0, one, e) / (one + e), slope),
        "tanh": lambda: (np.tanh(a), one / np.cosh(a) ** 2),
        "relu": lambda: (np.maximum(a, 0), (a > 0) * one),
        "linear": lambda: (a, a * 0 + one),
        "softplus": lambda: (
            np.maximum(a, 0) + np.log1p(e),
            np.where(a >= 0, one, e) / (one + e),
        ),
    }[name]()


def by_complex_step(f, a):
    return np.imag(f(a + 1j * STEP)) / STEP


# --- values and derivatives, both tails -------------------------------------


@each
@some
@given(a=numbers)
def test_values_keep_their_relative_accuracy(name, a):
    value, _ = exact(name, a)
    got = ELEMENTWISE[name](np.array(a))
    np.testing.assert_allclose(got, float(value), rtol=8 * EPS, atol=0)


@each
@some
@given(a=numbers)
def test_a_complex_step_keeps_the_derivative_accurate(name, a):
    """Also where it is e^-300: the witness of verify stands on this."""
    _, slope = exact(name, a)
    got = by_complex_step(ELEMENTWISE[name], np.array(a))
    np.testing.assert_allclose(got, float(slope), rtol=1e-13, atol=0)


@each
@some
@given(a=numbers)
def test_autograd_follows_and_agrees(name, a):
    _, slope = exact(name, a)
    got = autograd.grad(lambda a: ELEMENTWISE[name](a, anp))(a)
    np.testing.assert_allclose(got, float(slope), rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@some
@given(a=npst.arrays(float, (3, 2), elements=numbers))
def test_the_derivative_at_the_output_is_that_of_a_complex_step(name, a):
    """To one rounding of 1: y is that near to its limit, no nearer."""
    f, derivative = ACTIVATIONS[name].f, ACTIVATIONS[name].derivative
    y = f(a)
    np.testing.assert_allclose(
        derivative(y), by_complex_step(f, a), rtol=1e-13, atol=4 * EPS
    )
    assert derivative(y).dtype == np.float64
    assert derivative(y).shape == a.shape


@pytest.mark.parametrize(
    ("a", "expected"),
    [(-36.0, np.exp(-36.0)), (-40.0, np.exp(-40.0)), (-700.0, np.exp(-700.0))],
)
def test_the_left_tail_is_no_difference_from_one(a, expected):
    """(1 + tanh(a/2)) / 2 is off by 4 % at -36 and is 0 at -40."""
    assert sigmoid(np.array(a)) == pytest.approx(expected, rel=1e-15)
    assert softplus(np.array(a)) == pytest.approx(expected, rel=1e-15)
    in_place = np.array([a])
    sigmoid_in_place(in_place)
    assert in_place[0] == pytest.approx(expected, rel=1e-15)


@some
@given(a=npst.arrays(float, (2, 4), elements=numbers))
def test_softmax_and_its_logarithm(a):
    wide = a.astype(np.longdouble)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    scale = max(1.0, np.abs(a).max())
    got = softmax(a)
    np.testing.assert_allclose(got, p.astype(float), rtol=8 * EPS * scale)
    np.testing.assert_allclose(got.sum(axis=-1), 1.0, rtol=4 * EPS)
    np.testing.assert_allclose(
        log_softmax(a), log_p.astype(float), rtol=8 * EPS, atol=8 * EPS * scale
    )


@pytest.mark.parametrize("name", list(OVER_ROWS))
@some
@given(
    a=npst.arrays(float, 4, elements=st.floats(-30, 30)), k=st.integers(0, 3)
)
def test_softmax_has_the_derivative_of_the_textbook(name, a, k):
    f = OVER_ROWS[name]
    p = softmax(a)
    textbook = np.eye(4)[k] - p
    if name == "softmax":
        textbook = p[k] * textbook
    d = np.cos(np.arange(4.0))
    along = np.imag(f(a + 1j * STEP * d)[k]) / STEP
    np.testing.assert_allclose(along, textbook @ d, rtol=1e-12, atol=1e-15)
    boxed = autograd.grad(lambda a: f(a, anp)[k])(a)
    np.testing.assert_allclose(boxed, textbook, rtol=1e-12, atol=1e-15)


# --- extremes, kinds, precision ---------------------------------------------


@each_of_all
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_extremes_are_finite_and_silent(name, dtype):
    a = np.array([[-1000.0, 1000.0, 0.0, -0.0, 1e-30]], dtype)
    got = ALL[name](a)
    assert np.isfinite(got).all()
    assert got.dtype == dtype
    assert got.shape == a.shape


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_values_at_the_extremes(dtype):
    a = np.array([-1000.0, 1000.0, 0.0], dtype)
    assert sigmoid(a).tolist() == [0.0, 1.0, 0.5]
    assert relu(a).tolist() == [0.0, 1000.0, 0.0]
    assert softplus(a).tolist()[:2] == [0.0, 1000.0]
    assert softmax(a).tolist() == [0.0, 1.0, 0.0]
    assert log_softmax(a).tolist() == [-2000.0, 0.0, -1000.0]
    with np.errstate(over="ignore"):
        sigmoid_in_place(a)
    assert a.tolist() == [0.0, 1.0, 0.5]


@each_of_all
@some
@given(a=npst.arrays(np.float32, (2, 3), elements=st.floats(-80, 80, width=32)))
def test_float32_stays_float32_and_near_float64(name, a):
    got = ALL[name](a)
    assert got.dtype == np.float32
    wide = ALL[name](a.astype(np.float64))
    # The logarithm of a probability near 1 is a difference from 0.
    single = np.finfo("f4")
    atol = 4 * single.eps if name == "log_softmax" else single.tiny
    np.testing.assert_allclose(got, wide, rtol=2e-5, atol=atol)


@each_of_all
def test_inputs_are_left_alone(name):
    a = np.linspace(-3, 3, 12).reshape(3, 4)
    a.flags.writeable = False
    ALL[name](a)


def test_at_the_kink_the_derivative_counts_as_zero():
    y = relu(np.array([0.0, -0.0]))
    assert y.tolist() == [0.0, 0.0]
    assert ACTIVATIONS["relu"].derivative(y).tolist() == [0.0, 0.0]
    assert autograd.grad(lambda a: relu(a, anp))(0.0) == 0.0


def test_smooth_activations_are_not_said_to_have_a_kink():
    kinks = [name for name, a in ACTIVATIONS.items() if a.has_kink]
    assert kinks == ["relu"]


# --- in place ---------------------------------------------------------------


@some
@given(
    a=npst.arrays(
        st.sampled_from([np.float32, np.float64]),
        npst.array_shapes(max_dims=3, max_side=5),
        elements=st.floats(-80, 80, width=32),
    )
)
def test_in_place_is_the_same(a):
    expected = sigmoid(a)
    sigmoid_in_place(a)
    rtol = 4 * np.finfo(a.dtype).eps
    np.testing.assert_allclose(a, expected, rtol=rtol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", range(1, 20))
def test_in_place_is_the_same_at_any_stride(dtype, stride):
    """NumPy 2.4 negates wrongly where steps are itemsize entries apart."""
    wide = np.linspace(-5, 5, 9 * stride).astype(dtype)
    untouched = np.ones(wide.size, bool)
    untouched[::stride] = False
    before, view = wide.copy(), wide[::stride]
    sigmoid_in_place(view)
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(view, sigmoid(before[::stride]), rtol=rtol)
    np.testing.assert_array_equal(wide[untouched], before[untouched])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_an_activation_is_written_where_it_is_asked_to(name, dtype):
    a = np.array([[-2.0, -0.0, 0.5], [np.nan, 3.0, np.inf]], dtype)
    expected, out = ACTIVATIONS[name].f(a), np.empty_like(a)
    f = activation_into(name, a)
    f(a, out)
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == dtype
    f(a, a)
    np.testing.assert_array_equal(a, expected)


def test_an_activation_that_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="'sigmoid', expected 'tanh' or 're"):
        activation_into("sigmoid", np.zeros(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [64, 8192])  # below and above the threshold
@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-9, 0.03, 0.3, 3.0, 400.0])
def test_tanh_into_is_tanh_to_64_units_in_the_last_place(dtype, size, scale):
    rng = np.random.default_rng(size)
    a = (scale * rng.standard_normal((size // 8, 8))).astype(dtype)
    wide = np.tanh(a.astype(np.longdouble))
    out, itself = np.empty_like(a), a.copy()
    strided = np.empty((size // 8, 16), dtype)[:, ::2]
    with np.errstate(over="ignore", under="ignore"):
        tanh_into(a, out)
        tanh_into(a, strided)
        tanh_into(itself, itself)
    units = np.abs(out - wide) / np.spacing(np.abs(wide.astype(dtype)))
    assert units.max() <= 64
    np.testing.assert_array_equal(strided, out)
    np.testing.assert_array_equal(itself, out)


# --- the memory of a pass ---------------------------------------------------


@some
@given(
    n_time=st.integers(1, 60),
    size=st.sampled_from([1, 300, 4000, 10**6]),
    has_products=st.booleans(),
)
def test_spans_are_all_of_time_from_its_end(n_time, size, has_products):
    seen = []
    most = 262144 if has_products else 16384
    for start, stop in spans(n_time, size, has_products=has_products):
        assert start < stop
        assert stop - start == 1 or (stop - start) * size <= most
        assert start == 0 or (stop - start + 1) * size > most
        seen += reversed(range(start, stop))
    assert seen == [*reversed(range(n_time))]


def test_rows_times_joined_weights_are_the_pre_activations():
    rng = np.random.default_rng(0)
    params = {f"W_x{k}": rng.standard_normal((2, 3)) for k in "ab"}
    params |= {f"W_h{k}": rng.standard_normal((3, 3)) for k in "ab"}
    params |= {f"b_{k}": rng.standard_normal(3) for k in "ab"}
    h, x = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    rows = np.concatenate([h, np.ones((5, 1)), x], axis=1)
    for k, W in zip("ba", joined(params, "ba"), strict=True):
        a = x @ params[f"W_x{k}"] + h @ params[f"W_h{k}"] + params[f"b_{k}"]
        np.testing.assert_allclose(rows @ W, a, rtol=1e-13)


def test_with_one_has_ones_before_the_rest():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    rows = with_one(x)
    assert rows.dtype == x.dtype
    assert (rows[:, 0] == 1.0).all()
    np.testing.assert_array_equal(rows[:, 1:], flat(x))


# --- time and batch as one axis; draws --------------------------------------


def test_flat_is_a_view():
    x = np.arange(24.0).reshape(2, 3, 4)
    flat(x)[4] = -1.0
    assert (x[1, 1] == -1.0).all()
    assert flat(x).shape == (6, 4)
    W = np.ones((4, 2))
    np.testing.assert_array_equal((flat(x) @ W).reshape(2, 3, 2), x @ W)


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_orthogonal_draws_are_orthogonal(n):
    W = orthogonal(np.random.default_rng(n), n)
    np.testing.assert_allclose(W @ W.T, np.eye(n), atol=1e-14 * n)


def test_orthogonal_draws_cover_the_whole_group():
    """Uniform over the group: both determinants, entries around zero."""
    rng = np.random.default_rng(0)
    drawn = np.array([orthogonal(rng, 3) for _ in range(500)])
    right_handed = (np.linalg.det(drawn) > 0).mean()
    assert 0.4 < right_handed < 0.6
    np.testing.assert_allclose(drawn.mean(0), 0.0, atol=0.1)
    np.testing.assert_allclose((drawn**2).mean(0), 1 / 3, atol=0.06)


@pytest.mark.parametrize("gain", [1.0, 0.9])
def test_glorot_draws_have_their_spread(gain):
    rng, shape = np.random.default_rng(0), (60, 90)
    variance = 2 / 150
    assert glorot_uniform(rng, shape).var() == pytest.approx(variance, rel=0.1)
    normal = glorot_normal(rng, shape, gain=gain)
    assert normal.var() == pytest.approx(gain**2 * variance, rel=0.1)


@pytest.mark.parametrize("draw", [glorot_uniform, glorot_normal, orthogonal])
def test_float32_draws_are_rounded_float64_draws(draw):
    size = 4 if draw is orthogonal else (3, 4)
    wide = draw(np.random.default_rng(3), size)
    narrow = draw(np.random.default_rng(3), size, np.float32)
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))
