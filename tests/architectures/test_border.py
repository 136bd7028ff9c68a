"""Wrong input is named, with what came and what was expected."""

import numpy as np
import pytest

from msref.architectures import (
    GRU,
    LMN,
    LSTM,
    REGISTRY,
    Bidirectional,
    Elman,
    Parallel,
    Stack,
    base,
    is_causal,
)
from msref.architectures.combine import reversal

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
every_with_params = pytest.mark.parametrize(
    "arch", [arch for arch in EXAMPLES if arch.shapes()], ids=repr
)
every_with_state = pytest.mark.parametrize(
    "arch", [arch for arch in EXAMPLES if arch.initial_state(1)], ids=repr
)
N_TIME, N_BATCH = 7, 2


def point(arch, dtype=np.float64):
    params = arch.init(np.random.default_rng(0), dtype)
    x = np.ones((N_TIME, N_BATCH, arch.n_in), dtype)
    return params, x, arch.initial_state(N_BATCH, dtype)


def taped(arch):
    """Return what a backward pass takes, all of it right."""
    params, x, state = point(arch)
    y, final, tape = arch.forward(params, x, state)
    dstate = {k: np.ones_like(v) for k, v in final.items()}
    return params, tape, np.ones_like(y), dstate


def refuses(error, *words):
    """Expect ``error`` to say all of ``words`` and what was expected."""
    pattern = "".join(f"(?=.*{word})" for word in (*words, "expected"))
    return pytest.raises(error, match=f"(?s){pattern}")


def one_entry(tree, value):
    """Return a copy with ``value`` as the last entry of the last array."""
    name = list(tree)[-1]
    wrong = tree[name].copy()
    wrong.flat[-1] = value
    return name, tree | {name: wrong}


# --- x ----------------------------------------------------------------------


@every
@pytest.mark.parametrize(
    "shape_of",
    [
        lambda n: (N_TIME, n),
        lambda n: (n,),
        lambda n: (N_TIME, N_BATCH, n + 1),
        lambda n: (N_TIME, N_BATCH, 0),
        lambda n: (1, N_TIME, N_BATCH, n),
    ],
)
def test_x_of_a_wrong_shape(arch, shape_of):
    params, _, _ = point(arch)
    shape = shape_of(arch.n_in)
    came = str(shape).replace("(", r"\(").replace(")", r"\)")
    with refuses(
        ValueError, f"^x has shape {came}", f"n_time, n_batch, n_in={arch.n_in}"
    ):
        arch.forward(params, np.ones(shape))


@every
@pytest.mark.parametrize("shape", [(0, N_BATCH), (N_TIME, 0)])
def test_x_without_time_steps_or_sequences(arch, shape):
    params, _, _ = point(arch)
    x = np.ones((*shape, arch.n_in))
    with refuses(ValueError, rf"^x has shape \({x.shape[0]}, {x.shape[1]}"):
        arch.forward(params, x)


@every
@pytest.mark.parametrize("dtype", ["int64", "bool", "float16", "complex128"])
def test_x_of_a_wrong_kind(arch, dtype):
    params, x, _ = point(arch)
    with refuses(TypeError, f"^x has dtype {dtype}", "float32 or float64"):
        arch.forward(params, x.astype(dtype))


@every
def test_x_that_is_no_array(arch):
    params, x, _ = point(arch)
    with refuses(TypeError, "^x: got list"):
        arch.forward(params, x.tolist())


@every
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_x_that_is_not_finite_is_named_with_its_first_place(arch, value):
    params, x, _ = point(arch)
    x[3, 1, 0] = x[4, 0, 0] = value
    with refuses(ValueError, f"^x holds {value}", "t=3, batch=1, unit=0"):
        arch.forward(params, x)


# --- parameters -------------------------------------------------------------


@every_with_params
def test_params_with_a_missing_name(arch):
    params, x, _ = point(arch)
    name = list(params)[-1]
    del params[name]
    with refuses(ValueError, "^params", rf"missing \['{name}'\]"):
        arch.forward(params, x)


@every
def test_params_with_an_unknown_name(arch):
    params, x, _ = point(arch)
    params["W_typo"] = np.ones(2)
    with refuses(ValueError, "^params", r"unknown \['W_typo'\]"):
        arch.forward(params, x)


@every
def test_params_of_a_wrong_shape(arch):
    params, x, _ = point(arch)
    for name, value in params.items():
        wrong = np.ones((*value.shape, 1))
        with refuses(ValueError, rf"^params\['{name}'\] has shape .*, 1\)"):
            arch.forward(params | {name: wrong}, x)


@every
def test_a_transposed_weight(arch):
    params, x, _ = point(arch)
    for name, value in params.items():
        if value.ndim == 2 and value.shape[0] != value.shape[1]:
            n, m = value.shape
            with refuses(
                ValueError,
                rf"^params\['{name}'\] has shape \({m}, {n}\)",
                rf"expected \({n}, {m}\)",
            ):
                arch.forward(params | {name: value.T}, x)


@every_with_params
def test_mixed_precision_of_params(arch):
    params, x, state = point(arch)
    name = list(params)[-1]
    narrow = params[name].astype(np.float32)
    with refuses(
        TypeError, rf"^params\['{name}'\] has dtype float32", "float64 like x"
    ):
        arch.forward(params | {name: narrow}, x, state)
    with refuses(TypeError, r"^params\['.*'\] has dtype float64", "float32"):
        arch.forward(params, x.astype(np.float32), state)


@every_with_state
def test_mixed_precision_of_the_state(arch):
    params, x, state = point(arch)
    narrow = {k: v.astype(np.float32) for k, v in state.items()}
    with refuses(TypeError, r"^state\['.*'\] has dtype float32", "float64"):
        arch.forward(params, x, narrow)


@every_with_params
def test_params_that_are_no_arrays(arch):
    params, x, _ = point(arch)
    name = next(iter(params))
    with refuses(TypeError, rf"^params\['{name}'\]: got list"):
        arch.forward(params | {name: params[name].tolist()}, x)


@every_with_params
def test_params_that_are_not_finite(arch):
    params, x, _ = point(arch)
    name, wrong = one_entry(params, np.inf)
    place = ", ".join(
        f"axis {k}={n - 1}" for k, n in enumerate(params[name].shape)
    )
    with refuses(ValueError, rf"^params\['{name}'\] holds inf", place):
        arch.forward(wrong, x)


# --- state ------------------------------------------------------------------


@every
def test_state_with_wrong_names(arch):
    params, x, state = point(arch)
    with refuses(ValueError, "^state", r"unknown \['q'\]"):
        arch.forward(params, x, state | {"q": x})


@every_with_state
def test_state_with_a_missing_name(arch):
    params, x, _ = point(arch)
    with refuses(ValueError, "^state", "missing"):
        arch.forward(params, x, {})


@every
def test_state_of_a_wrong_batch(arch):
    params, x, state = point(arch)
    for name, value in state.items():
        wrong = {name: np.ones((N_BATCH + 1, *value.shape[1:]))}
        with refuses(
            ValueError, rf"^state\['{name}'\] has shape \({N_BATCH + 1}"
        ):
            arch.forward(params, x, state | wrong)


@every_with_state
def test_state_that_is_not_finite(arch):
    params, x, state = point(arch)
    name, wrong = one_entry(state, np.nan)
    with refuses(ValueError, rf"^state\['{name}'\] holds nan", "axis 0=1"):
        arch.forward(params, x, wrong)


# --- cotangents -------------------------------------------------------------


@every
def test_dy_of_a_wrong_shape(arch):
    params, tape, dy, _ = taped(arch)
    n = arch.n_out
    for wrong in (dy[:-1], dy[:, :1], dy[..., :-1], dy[0], dy[None]):
        with refuses(ValueError, "^dy has shape", rf"n_out={n}\)"):
            arch.backward(params, tape, wrong)


@every
def test_dy_of_a_wrong_kind(arch):
    params, tape, dy, _ = taped(arch)
    with refuses(TypeError, "^dy has dtype float32", "float64 like x"):
        arch.backward(params, tape, dy.astype(np.float32))
    with refuses(TypeError, "^dy has dtype complex128"):
        arch.backward(params, tape, dy + 0j)
    with refuses(TypeError, "^dy: got list"):
        arch.backward(params, tape, dy.tolist())


@every
def test_dstate_with_an_unknown_name(arch):
    params, tape, dy, dstate = taped(arch)
    with refuses(ValueError, "^dstate", r"unknown \['q'\]"):
        arch.backward(params, tape, dy, dstate | {"q": dy})


@every_with_state
def test_dstate_that_does_not_fit(arch):
    params, tape, dy, dstate = taped(arch)
    name = list(dstate)[-1]
    with refuses(ValueError, "^dstate", rf"missing \[.*'{name}'"):
        arch.backward(params, tape, dy, {})
    with refuses(ValueError, rf"^dstate\['{name}'\] has shape \(1,"):
        arch.backward(params, tape, dy, dstate | {name: dstate[name][:1]})
    narrow = dstate[name].astype(np.float32)
    with refuses(TypeError, rf"^dstate\['{name}'\] has dtype float32"):
        arch.backward(params, tape, dy, dstate | {name: narrow})
    name, wrong = one_entry(dstate, -np.inf)
    with refuses(ValueError, rf"^dstate\['{name}'\] holds -inf"):
        arch.backward(params, tape, dy, wrong)


# --- options and connections ------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Elman(3, 5, activation="selu"), ("activation", "'selu'")),
        (lambda: GRU(3, 5, reset="never"), ("reset", "'never'", "'before'")),
        (lambda: LMN(3, 5, 4, output="h"), ("output", "'h'", "'hidden'")),
    ],
)
def test_an_option_that_does_not_exist(make, words):
    with refuses(ValueError, *words):
        make()


def test_a_stack_whose_sizes_do_not_chain():
    with refuses(ValueError, "part 2 with n_in=5", "expected 6", "part 1"):
        Stack(Elman(3, 4), LMN(4, 5, 6), LSTM(5, 2))


@pytest.mark.parametrize("combination", [Parallel, Bidirectional])
def test_parts_that_read_inputs_of_different_sizes(combination):
    with refuses(ValueError, combination.__name__, r"n_in \[3, 4\]"):
        combination(Elman(3, 5), LSTM(4, 5))


@pytest.mark.parametrize("combination", [Stack, Parallel, Bidirectional])
def test_too_few_parts(combination):
    with refuses(ValueError, combination.__name__, "got 1 parts", "two"):
        combination(Elman(3, 5))


def test_a_third_direction():
    with refuses(ValueError, "Bidirectional got 3 parts", "two"):
        Bidirectional(Elman(3, 5), Elman(3, 4), Elman(3, 2))


def test_bidirectional_networks_have_no_step():
    arch = Bidirectional(Elman(3, 5), LSTM(3, 4))
    params, x, state = point(arch)
    with pytest.raises(TypeError, match=r"no step: .* depends on the future"):
        arch.step(params, state, x[0], 0)


# --- lengths ----------------------------------------------------------------

LENGTHS = [
    ([0, 3], "lie in 0..3, expected 1..7"),
    ([-1, 3], "lie in -1..3, expected 1..7"),
    ([2, 8], "lie in 2..8, expected 1..7"),
    ([3], r"shape \(1,\) .* expected \(n_batch=2,\) integers"),
    ([[3, 4]], r"shape \(1, 2\) .* expected \(n_batch=2,\)"),
    ([3.0, 4.0], "dtype float64, expected .* integers"),
    ([True, True], "dtype bool, expected .* integers"),
]


@pytest.mark.parametrize(("lengths", "words"), LENGTHS)
def test_lengths_that_do_not_fit(lengths, words):
    with pytest.raises(ValueError, match=f"^lengths.* {words}"):
        reversal(N_TIME, N_BATCH, np.array(lengths))
    for arch in EXAMPLES:
        if not is_causal(arch):
            params, x, _ = point(arch)
            with pytest.raises(ValueError, match=f"^lengths.* {words}"):
                arch.forward(params, x, lengths=np.array(lengths))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_lengths_may_be_any_integers(dtype):
    arch = Bidirectional(Elman(3, 5), LSTM(3, 4))
    params, x, _ = point(arch)
    lengths = np.array([7, 2], dtype)
    expected = arch.forward(params, x, lengths=np.array([7, 2]))[0]
    y, _, tape = arch.forward(params, x, lengths=lengths)
    np.testing.assert_array_equal(y, expected)
    assert np.isfinite(arch.backward(params, tape, np.ones_like(y)).x).all()


def test_large_arrays_are_looked_through_by_their_sum():
    """Also where the sum of finite numbers is infinite."""
    large = np.full((2**18, 5), 3e38, np.float32)
    assert large.size > base.LARGE
    axes = ("t", "unit")
    base.check_finite("x", large, axes)
    large[70_000, 3] = np.inf
    large[70_001, 0] = -np.inf
    with pytest.raises(ValueError, match=r"x holds inf at \(t=70000, unit=3\)"):
        base.check_finite("x", large, axes)
    large[:] = 0.0
    large[-1, -1] = np.nan
    with pytest.raises(ValueError, match="x holds nan at"):
        base.check_finite("x", large, axes)
