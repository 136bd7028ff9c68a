"""What every architecture promises, at random sizes, lengths and seeds.

The witnesses stand in this file: autograd and complex steps of the scan of
``step``. ``msref.verification`` is not used, so each can find the other out.
"""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import (
    DTYPES,
    SEEDS,
    biases,
    cases,
    couples_sequences,
    looks_ahead,
    names,
)

from msref.architectures import REGISTRY, is_causal, run_forward, scan
from msref.architectures.combine import reversal

STEP = 1e-30


def is_added_to(arch):
    """Tell whether a bias can probe its pre-activations at a single step."""
    return is_causal(arch) and bool(biases(arch))


def keeps_apart(arch):
    """Tell whether each sequence of a batch stands alone."""
    return not couples_sequences(arch)


def may_be_padded(arch):
    """Tell whether each sequence stands alone, at its own length."""
    return looks_ahead(arch) and keeps_apart(arch)


every = pytest.mark.parametrize("name", list(REGISTRY))
every_causal = pytest.mark.parametrize("name", names(is_causal))
every_biased = pytest.mark.parametrize("name", names(is_added_to))
every_apart = pytest.mark.parametrize("name", names(keeps_apart))
# How many cases of each registered name.
many, half, some = (settings(max_examples=n) for n in (200, 100, 50))


# --- running and comparing --------------------------------------------------


def forward(case):
    return run_forward(
        case.arch, case.params, case.x, case.state, case.t0, case.lengths
    )


def backward(case, tape=None):
    """Return every gradient under its name."""
    if tape is None:
        tape = forward(case)[2]
    g = case.arch.backward(case.params, tape, case.dy, case.dstate)
    return {"x": g.x} | {
        f"{tree}/{name}": value
        for tree in ("params", "state", "adjoints")
        for name, value in getattr(g, tree).items()
    }


def without_adjoints(gradient):
    return {k: v for k, v in gradient.items() if "adjoints/" not in k}


def specified(case, point, xp=np):
    """Return y, final state and trace of the scan of ``step``."""
    params, state = (
        {k: point[f"{tree}/{k}"] for k in getattr(case, tree)}
        for tree in ("params", "state")
    )
    return scan(case.arch, params, point["x"], state, case.t0, xp, case.lengths)


def loss(case, point, xp=np):
    """Return sum(dy * y) + sum(dstate * final state) of the scan."""
    y, state, _ = specified(case, point, xp)
    value = xp.sum(case.dy * y)
    for name, dstate in case.dstate.items():
        value = value + xp.sum(dstate * state[name])
    return value


def assert_close(got, expected, rtol=1e-9, atol=1e-12):
    """Compare named arrays; ``atol`` counts in the largest entry of all."""
    assert set(got) == set(expected)
    largest = max([1.0, *(np.abs(v).max() for v in expected.values())])
    for name, value in expected.items():
        np.testing.assert_allclose(
            got[name], value, rtol, atol * largest, err_msg=name
        )


def assert_same_bits(got, expected):
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


# --- forward ----------------------------------------------------------------


@every
@many
@given(data=st.data())
def test_forward_is_the_scan_of_step(name, data):
    case = data.draw(cases(name))
    y, state, tape = forward(case)
    y_scan, state_scan, trace = specified(case, case.point())
    shared = set(tape) & set(trace)
    assert shared, "the tape names no quantity of the equations"
    assert y.shape == case.dy.shape
    assert_close({"y": y}, {"y": y_scan})
    assert_close(state, state_scan)
    assert_close({k: tape[k] for k in shared}, {k: trace[k] for k in shared})


@every
@some
@given(data=st.data())
def test_without_a_state_a_run_starts_at_the_initial_one(name, data):
    case = data.draw(cases(name, dtype=data.draw(DTYPES)))
    start = case.arch.initial_state(case.n_batch, case.dtype)
    y, state, _ = forward(case.but(state=None))
    y_start, state_start, _ = forward(case.but(state=start))
    assert_same_bits({"y": y, **state}, {"y": y_start, **state_start})


# --- backward against independent witnesses ---------------------------------


@every
@half
@given(data=st.data())
def test_backward_is_autograd_of_the_scan(name, data):
    case = data.draw(cases(name))
    gradient = autograd.grad(lambda point: loss(case, point, anp))
    with np.errstate(over="ignore"):  # its tanh' at 400 is 1 / inf, rightly 0
        witness = gradient(case.point())
    assert_close(without_adjoints(backward(case)), witness)


@every
@many
@given(data=st.data())
def test_backward_is_the_complex_step_of_the_scan(name, data):
    """Along a direction in all arrays together, and in one array alone."""
    case = data.draw(cases(name))
    rng = np.random.default_rng(data.draw(SEEDS))
    here, gradient = case.point(), backward(case)
    one = data.draw(st.sampled_from(sorted(here)))
    for moved in (list(here), [one]):
        directions = {k: rng.standard_normal(here[k].shape) for k in moved}
        there = {k: here[k] + 1j * STEP * d for k, d in directions.items()}
        slope = np.imag(loss(case, here | there)) / STEP
        terms = [(gradient[k] * d).ravel() for k, d in directions.items()]
        terms = np.concatenate(terms)
        size = 1.0 + np.abs(terms).sum()
        assert terms.sum() == pytest.approx(slope, rel=1e-9, abs=1e-12 * size)


@every_biased
@some
@given(data=st.data())
def test_adjoints_are_what_a_bias_of_one_step_would_receive(name, data):
    """Add i h d to a bias at step t: what it moves by d has that adjoint."""
    case = data.draw(cases(name, is_added_to))
    rng = np.random.default_rng(data.draw(SEEDS))
    at = data.draw(st.integers(0, case.n_time - 1))
    gradient = backward(case)
    bias = data.draw(st.sampled_from(biases(case.arch)))
    d = rng.standard_normal((case.n_batch, case.params[bias].size))
    state, value, traces = case.state, 0.0, []
    for t in range(case.n_time):
        probe = 1j * STEP * d if t == at else 0.0
        params = case.params | {bias: case.params[bias] + probe}
        state, trace = case.arch.step(params, state, case.x[t], case.t0 + t)
        value = value + np.sum(case.dy[t] * trace["y"])
        traces.append(trace)
    value += sum(np.sum(v * state[k]) for k, v in case.dstate.items())
    found = 0
    for key in gradient:
        traced = key.removeprefix("adjoints/")
        if not key.startswith("adjoints/") or traced not in traces[at]:
            continue
        moved = np.imag(traces[at][traced]) / STEP
        if moved.shape != d.shape or not np.allclose(moved, d, 1e-12, 0):
            continue
        terms = gradient[key][at] * d
        size = 1.0 + np.abs(gradient[key]).sum()
        slope = np.imag(value) / STEP
        assert terms.sum() == pytest.approx(slope, rel=1e-9, abs=1e-12 * size)
        found += 1
    assert found, f"{bias} moves no quantity that has an adjoint"


# --- time and batch ---------------------------------------------------------


@every_causal
@many
@given(data=st.data())
def test_a_sequence_can_be_cut_anywhere(name, data):
    case = data.draw(cases(name, is_causal))
    assume(case.n_time > 1)
    cut = data.draw(st.integers(1, case.n_time - 1))
    y, final, _ = forward(case)
    early = case.but(x=case.x[:cut], dy=case.dy[:cut])
    y_early, middle, _ = forward(early)
    late = case.but(
        x=case.x[cut:], dy=case.dy[cut:], state=middle, t0=case.t0 + cut
    )
    y_late, final_late, _ = forward(late)
    assert_close({"y": np.concatenate([y_early, y_late])}, {"y": y})
    assert_close(final_late, final)

    g_late = backward(late)
    link = {k: g_late[f"state/{k}"] for k in middle}
    g_early = backward(early.but(dstate=link))
    joined = {}
    for key in g_late:
        if key.startswith("params/"):
            joined[key] = g_early[key] + g_late[key]
        elif key.startswith("state/"):
            joined[key] = g_early[key]
        else:
            joined[key] = np.concatenate([g_early[key], g_late[key]])
    assert_close(joined, backward(case))


@every_causal
@some
@given(data=st.data())
def test_outputs_do_not_depend_on_what_comes_later(name, data):
    case = data.draw(cases(name, is_causal))
    cut = data.draw(st.integers(1, case.n_time))
    later = case.x.copy()
    later[cut:] = 7.0
    y, y_other = forward(case)[0], forward(case.but(x=later))[0]
    assert_close({"y": y_other[:cut]}, {"y": y[:cut]})


def rows(case, which):
    """Return the case of some sequences of the batch."""
    lengths = None if case.lengths is None else case.lengths[which]
    return case.but(
        x=case.x[:, which],
        state={k: v[which] for k, v in case.state.items()},
        dy=case.dy[:, which],
        dstate={k: v[which] for k, v in case.dstate.items()},
        lengths=lengths,
    )


def outcome(case):
    """Return all outputs and gradients, the batch on the leading axis."""
    y, state, _ = forward(case)
    g = backward(case)
    named = {f"final/{k}": v for k, v in state.items()}
    named |= {k: v for k, v in g.items() if k.startswith(("params", "state"))}
    over_time = {"y": y} | {k: v for k, v in g.items() if k not in named}
    return named | {k: np.swapaxes(v, 0, 1) for k, v in over_time.items()}


@every
@some
@given(data=st.data())
def test_a_permuted_batch_gives_permuted_results(name, data):
    case = data.draw(cases(name))
    order = data.draw(st.permutations(range(case.n_batch)))
    expected = {
        k: v if k.startswith("params/") else v[order]
        for k, v in outcome(case).items()
    }
    assert_close(outcome(rows(case, order)), expected)


@every_apart
@some
@given(data=st.data())
def test_a_batch_is_its_sequences_one_by_one(name, data):
    case = data.draw(cases(name, keeps_apart))
    alone = [outcome(rows(case, [b])) for b in range(case.n_batch)]
    joined = {
        k: sum(one[k] for one in alone)
        if k.startswith("params/")
        else np.concatenate([one[k] for one in alone])
        for k in alone[0]
    }
    assert_close(outcome(case), joined)


# --- backward with itself ---------------------------------------------------


@every
@some
@given(data=st.data())
def test_backward_is_linear_in_its_cotangents(name, data):
    case = data.draw(cases(name))
    other = case.but(
        dy=np.cos(case.dy), dstate={k: v**2 for k, v in case.dstate.items()}
    )
    both = case.but(
        dy=2 * case.dy - 3 * other.dy,
        dstate={k: 2 * v - 3 * other.dstate[k] for k, v in case.dstate.items()},
    )
    one, two = backward(case), backward(other)
    assert_close(backward(both), {k: 2 * one[k] - 3 * two[k] for k in one})


@every
@some
@given(data=st.data())
def test_backward_scales_exactly_by_powers_of_two(name, data):
    """No clipping, no threshold, no absolute tolerance hides in it."""
    case = data.draw(cases(name))
    factor = 2.0 ** data.draw(st.sampled_from([-80, -3, 5, 60]))
    scaled = case.but(
        dy=factor * case.dy,
        dstate={k: factor * v for k, v in case.dstate.items()},
    )
    expected = {k: factor * v for k, v in backward(case).items()}
    assert_same_bits(backward(scaled), expected)


@every
@some
@given(data=st.data())
def test_no_final_gradient_is_a_zero_one(name, data):
    case = data.draw(cases(name, dtype=data.draw(DTYPES)))
    zeros = {k: np.zeros_like(v) for k, v in case.dstate.items()}
    assert_same_bits(
        backward(case.but(dstate=None)), backward(case.but(dstate=zeros))
    )


# --- inputs, bits, layout, precision ----------------------------------------


@every
@some
@given(data=st.data())
def test_inputs_are_never_written_to_and_bits_repeat(name, data):
    case = data.draw(cases(name, dtype=data.draw(DTYPES)))
    for array in case.arrays().values():
        array.flags.writeable = False
    y, state, tape = forward(case)
    kept = {k: v.copy() for k, v in tape.items()}
    first = {"y": y.copy()} | {k: v.copy() for k, v in state.items()}
    trees = case.params, case.state, case.dstate, tape
    objects = [list(tree.items()) for tree in trees]
    g = backward(case, tape)
    assert_same_bits(tape, kept)
    assert_same_bits(backward(case, tape), g)
    for tree, before in zip(trees, objects, strict=True):
        assert all(tree[k] is v for k, v in before)
        assert len(tree) == len(before)
    y, state, tape = forward(case)
    assert_same_bits({"y": y, **state}, first)
    assert_same_bits(tape, kept)


@every
@some
@given(data=st.data())
def test_results_are_new_arrays(name, data):
    """Writing into what came out changes nothing that was put in."""
    case = data.draw(cases(name))
    before = {k: v.copy() for k, v in case.arrays().items()}
    y, state, tape = forward(case)
    kept = {k: v.copy() for k, v in tape.items()}
    for array in [*backward(case, tape).values(), *state.values()]:
        array[...] = np.nan
    assert_same_bits(tape, kept)
    y[...] = np.nan
    assert_same_bits(case.arrays(), before)


@every
@some
@given(data=st.data())
def test_memory_layout_does_not_matter(name, data):
    """Strided, reversed and column-major views give the same numbers."""
    case = data.draw(cases(name))

    def strided(value):
        wide = np.full((*value.shape[:-1], 2 * value.shape[-1]), np.nan)
        wide[..., ::2] = value
        return wide[..., ::2]

    laid_out = case.but(
        params={k: np.asfortranarray(v) for k, v in case.params.items()},
        x=strided(case.x),
        state={k: v[::-1].copy()[::-1] for k, v in case.state.items()},
        dy=np.asfortranarray(case.dy),
        dstate={k: strided(v) for k, v in case.dstate.items()},
    )
    assert_close(outcome(laid_out), outcome(case))


@every
@some
@given(data=st.data())
def test_float32_stays_float32_and_near_float64(name, data):
    case = data.draw(cases(name, dtype="float32", n_time=9, scale=0.9))
    y, state, tape = forward(case)
    g = backward(case)
    floats = {"y": y, **state, **{f"tape/{k}": v for k, v in tape.items()}, **g}
    for key, array in floats.items():
        if array.dtype.kind == "f":
            assert array.dtype == np.float32, key
    wide = case.wide()
    y64, state64, _ = forward(wide)
    trace = specified(wide, wide.point())[2]
    kinks = [trace[k] for k in getattr(case.arch, "kinks", ())]
    assume(all(np.abs(a).min() > 1e-4 for a in kinks))
    assert_close({"y": y, **state}, {"y": y64, **state64}, 1e-4, 1e-5)
    assert_close(g, backward(wide), 1e-3, 1e-4)


# --- step -------------------------------------------------------------------


@every_causal
@some
@given(data=st.data())
def test_step_leaves_inputs_alone_and_keeps_their_precision(name, data):
    dtype = data.draw(st.sampled_from(["float32", "float64", "complex128"]))
    real = "float32" if dtype == "float32" else "float64"
    case = data.draw(cases(name, is_causal, dtype=real))
    point = {k: v.astype(dtype) for k, v in case.arrays().items()}
    for array in point.values():
        array.flags.writeable = False
    params, state = (
        {k: point[f"{tree}/{k}"] for k in getattr(case, tree)}
        for tree in ("params", "state")
    )
    before = [*params.items(), *state.items()]
    given_state = state
    state, trace = case.arch.step(params, state, point["x"][0], case.t0)
    after = [*params.items(), *given_state.items()]
    assert all(a is b for (_, a), (_, b) in zip(before, after, strict=True))
    assert set(state) == set(case.state)
    assert trace["y"].shape == (case.n_batch, case.arch.n_out)
    for key, array in (state | trace).items():
        assert array.dtype == dtype, key
    plain = case.arch.step(case.params, case.state, case.x[0], case.t0)[1]
    for key, array in trace.items():
        np.testing.assert_allclose(np.real(array), plain[key], 1e-12, 1e-15)
        assert not np.imag(array).any()


# --- networks that look ahead -----------------------------------------------

every_ahead = pytest.mark.parametrize("name", names(looks_ahead))
every_padded = pytest.mark.parametrize("name", names(may_be_padded))


@every_ahead
@some
@given(data=st.data())
def test_what_padding_holds_does_not_matter(name, data):
    case = data.draw(cases(name, looks_ahead))
    real = (np.arange(case.n_time)[:, None] < case.lengths)[..., None]
    plain = case.but(
        x=np.where(real, case.x, 0.0),
        dy=np.where(real, case.dy, 0.0),
        dstate={k: np.zeros_like(v) for k, v in case.dstate.items()},
    )
    junk = data.draw(st.sampled_from([1.0, -1e3]))
    other = plain.but(x=np.where(real, case.x, junk))
    one, two = (
        {"y": np.where(real, forward(c)[0], 0.0), **without_adjoints(g)}
        for c, g in ((c, backward(c)) for c in (plain, other))
    )
    assert_close(two, one)
    assert not np.where(real, 0.0, one["x"]).any()


@every_padded
@some
@given(data=st.data())
def test_padding_never_reaches_what_counts(name, data):
    """A padded batch is its sequences, each alone at its own length."""
    case = data.draw(cases(name, may_be_padded))
    real = np.arange(case.n_time)[:, None] < case.lengths
    zeros = {k: np.zeros_like(v) for k, v in case.dstate.items()}
    junk = data.draw(st.sampled_from([0.0, 1.0, -1e3]))
    padded = case.but(
        x=np.where(real[..., None], case.x, junk),
        dy=np.where(real[..., None], case.dy, 0.0),
        dstate=zeros,
    )
    y, g = forward(padded)[0], backward(padded)
    total = {k: np.zeros_like(v) for k, v in case.params.items()}
    for b, length in enumerate(case.lengths):
        alone = rows(padded, [b]).but(
            x=case.x[:length, [b]],
            dy=case.dy[:length, [b]],
            lengths=None,
        )
        g_alone = backward(alone)
        assert_close({"y": y[:length, [b]]}, {"y": forward(alone)[0]})
        assert_close({"x": g["x"][:length, [b]]}, {"x": g_alone["x"]})
        assert not g["x"][length:, b].any()
        for k in case.state:
            expected = g_alone[f"state/{k}"]
            assert_close({k: g[f"state/{k}"][[b]]}, {k: expected})
        for k in total:
            total[k] += g_alone[f"params/{k}"]
    assert_close({k: g[f"params/{k}"] for k in total}, total)


@some
@given(data=st.data())
def test_reversal_turns_each_sequence_round_within_its_length(data):
    lengths = np.array(data.draw(st.lists(st.integers(1, 9), min_size=1)))
    n_time = lengths.max() + data.draw(st.integers(0, 3))
    x = np.arange(n_time * lengths.size * 2.0).reshape(n_time, -1, 2)
    R = reversal(n_time, lengths.size, lengths)
    np.testing.assert_array_equal(x[R][R], x)
    for b, length in enumerate(lengths):
        np.testing.assert_array_equal(x[R][:length, b], x[:length, b][::-1])
        np.testing.assert_array_equal(x[R][length:, b], x[length:, b])
    whole = reversal(n_time, lengths.size)
    np.testing.assert_array_equal(x[whole], x[::-1])
