"""Layers without recurrence, and what a training draws or observes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from msref.architectures import (
    LSTM,
    REGISTRY,
    BatchNorm,
    Bidirectional,
    Checkpointed,
    Dropout,
    Elman,
    Linear,
    Parallel,
    Residual,
    Stack,
    buffers,
    draw_state,
    draws,
    evaluating,
    is_causal,
    observe,
    scan,
)
from msref.verification import verify

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
SEEDS = st.integers(0, 2**32 - 1)
RATES = st.sampled_from([0.0, 0.1, 0.5, 0.9])


def leaves(arch):
    if not hasattr(arch, "with_parts"):
        return [arch]
    return [leaf for part in arch.parts for leaf in leaves(part)]


def close(got, expected, rtol=1e-12, atol=1e-13):
    np.testing.assert_allclose(got, expected, rtol, atol)


# --- linear -----------------------------------------------------------------


def test_a_linear_layer_starts_within_its_scale():
    W = Linear(50, 40, scale=0.2).init(np.random.default_rng(0))["W_xy"]
    assert 0.19 < np.abs(W).max() <= 0.2
    params = Linear(50, 40).init(np.random.default_rng(0))
    limit = np.sqrt(6 / 90)
    assert 0.95 * limit < np.abs(params["W_xy"]).max() <= limit
    assert not params["b_y"].any()
    assert list(Linear(50, 40, bias=False).shapes()) == ["W_xy"]


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_that_is_no_range(scale):
    with pytest.raises(ValueError, match=r"scale is .*, expected above 0"):
        Linear(3, 4, scale=scale)


# --- batch normalisation ----------------------------------------------------


def ragged(seed, n_time, n_batch, n):
    """Draw a layer's parameters, a ragged batch and gradients for it."""
    rng = np.random.default_rng(seed)
    params = {
        "gamma": rng.standard_normal(n),
        "beta": rng.standard_normal(n),
        "mean": rng.standard_normal(n),
        "var": np.exp(rng.standard_normal(n)),
    }
    x = 3 * rng.standard_normal((n_time, n_batch, n)) + 2
    lengths = rng.integers(1, n_time + 1, n_batch)
    return params, x, rng.standard_normal(x.shape), lengths


RAGGED = st.builds(
    ragged, SEEDS, st.integers(1, 9), st.integers(1, 4), st.integers(1, 5)
)


def frames_of(x, lengths):
    """Return the frames that count, one after the other."""
    return np.concatenate([x[:n, b] for b, n in enumerate(lengths)])


@given(RAGGED)
def test_a_ragged_batch_is_its_frames_in_a_row(drawn):
    params, x, _, lengths = drawn
    layer = BatchNorm(x.shape[-1])
    y, _, _ = layer.forward(params, x, lengths=lengths)
    frames = frames_of(x, lengths)
    deviation = np.sqrt(frames.var(0) + layer.eps)
    x_hat = (frames - frames.mean(0)) / deviation
    expected = params["gamma"] * x_hat + params["beta"]
    close(frames_of(y, lengths), expected, 1e-9, 1e-11)
    whole = np.full_like(lengths, len(x))
    close(
        layer.forward(params, x, lengths=whole)[0], layer.forward(params, x)[0]
    )


@settings(max_examples=200)
@given(RAGGED, st.booleans(), SEEDS)
def test_batch_norm_backward_is_the_complex_step(drawn, is_ragged, seed):
    """With gradients on padding too; they are followed as well."""
    params, x, dy, lengths = drawn
    lengths = lengths if is_ragged else None
    layer = BatchNorm(x.shape[-1])
    _, _, tape = layer.forward(params, x, lengths=lengths)
    g = layer.backward(params, tape, dy)
    here, rng = {**params, "x": x}, np.random.default_rng(seed)
    for name, gradient in {**g.params, "x": g.x}.items():
        d = rng.standard_normal(gradient.shape)
        there = here | {name: here[name] + 1e-30j * d}
        params_there = {k: there[k] for k in params}
        y = scan(layer, params_there, there["x"], {}, lengths=lengths)[0]
        slope = np.imag(np.sum(dy * y)) / 1e-30
        sizes = np.abs(gradient * d).sum() + np.abs(dy).sum()
        close(np.sum(gradient * d), slope, 1e-9, 1e-11 * sizes)


@given(RAGGED)
def test_frames_that_count_get_the_mean_and_deviation_asked_for(drawn):
    params, x, _, lengths = drawn
    layer = BatchNorm(x.shape[-1], eps=1e-12)
    frames = frames_of(x, lengths)
    assume(len(frames) > 1 and frames.std(0).min() > 0.01)
    y = frames_of(layer.forward(params, x, lengths=lengths)[0], lengths)
    close(y.mean(0), params["beta"], 1e-7, 1e-9)
    close(y.std(0), np.abs(params["gamma"]), 1e-7)


def test_a_shift_of_all_frames_has_no_gradient():
    """So a bias below is of no use."""
    arch = Stack(Linear(2, 3), BatchNorm(3))
    params = arch.init(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((6, 2, 2))
    y, _, tape = arch.forward(params, x, lengths=np.array([6, 4]))
    dy = np.random.default_rng(2).standard_normal(y.shape)
    g = arch.backward(params, tape, dy).params
    assert np.abs(g["0/b_y"]).max() < 1e-13 < np.abs(g["0/W_xy"]).min()


@given(RAGGED, st.sampled_from([0.1, 0.3, 1.0]))
def test_what_batch_norm_observes(drawn, momentum):
    params, x, _, lengths = drawn
    layer = BatchNorm(x.shape[-1], momentum=momentum)
    before = {k: v.copy() for k, v in params.items()}
    _, _, tape = layer.forward(params, x, lengths=lengths)
    found = observe(layer, params, tape)
    frames = frames_of(x, lengths)
    expected = {"mean": frames.mean(0), "var": params["var"]}
    if len(frames) > 1:
        expected["var"] = frames.var(0, ddof=1)
    for name, value in expected.items():
        moved = (1 - momentum) * params[name] + momentum * value
        close(found[name], moved, 1e-9)
        np.testing.assert_array_equal(params[name], before[name])
        assert not np.shares_memory(found[name], params[name])
    assert observe(evaluating(layer), params, tape) == {}


def test_what_was_observed_is_what_a_trained_layer_uses():
    params, x, _, _ = ragged(0, 40, 30, 3)
    layer = BatchNorm(3, momentum=1.0)
    y, _, tape = layer.forward(params, x)
    params |= layer.observe(params, tape)
    trained = evaluating(layer)
    assert is_causal(trained)
    assert not is_causal(layer)
    assert evaluating(trained) == trained
    close(trained.forward(params, x)[0], y, 1e-2, 1e-3)  # n / (n - 1)
    one = trained.forward(params, x[5:6, 2:3])[0]
    close(one, trained.forward(params, x)[0][5:6, 2:3])


def test_float32_statistics_stay_float32():
    params, x, dy, lengths = ragged(3, 9, 4, 3)
    narrow = {k: v.astype(np.float32) for k, v in params.items()}
    layer = BatchNorm(3)
    y, _, tape = layer.forward(narrow, x.astype(np.float32), lengths=lengths)
    g = layer.backward(narrow, tape, dy.astype(np.float32))
    arrays = [y, g.x, *tape.values(), *g.params.values()]
    arrays += observe(layer, narrow, tape).values()
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    wide = layer.forward(params, x, lengths=lengths)
    close(y, wide[0], 1e-4, 1e-5)
    close(g.x, layer.backward(params, wide[2], dy).x, 1e-3, 1e-5)


def test_batch_statistics_have_no_step():
    layer = BatchNorm(3)
    params = layer.init(np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"no step .* depends on the future"):
        layer.step(params, {}, np.zeros((2, 3)), 0)


def test_a_variance_below_zero_is_refused_where_it_is_read():
    layer = BatchNorm(3)
    params = layer.init(np.random.default_rng(0))
    params["var"][1] = -0.5
    x = np.ones((4, 2, 3))
    layer.forward(params, x)
    with pytest.raises(ValueError, match=r"'var'\] holds -0.5 at \(axis 0=1\)"):
        evaluating(layer).forward(params, x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"statistics": "time"}, "statistics is 'time', expected 'batch'"),
        ({"momentum": 0.0}, "momentum is 0.0, expected above 0"),
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"eps": 0.0}, "eps is 0.0, expected above 0"),
        ({"eps": np.nan}, "eps is nan"),
        ({"n": 0}, "n is 0, expected at least 1"),
    ],
)
def test_options_of_batch_norm_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        BatchNorm(**{"n": 3} | options)


# --- dropout ----------------------------------------------------------------


@given(SEEDS, RATES, st.sampled_from(["float32", "float64"]))
def test_one_mask_for_all_steps(seed, rate, dtype):
    layer, rng = Dropout(7, rate), np.random.default_rng(seed)
    x = rng.uniform(1, 2, (9, 4, 7)).astype(dtype)
    state = layer.draw_state(rng, 4, dtype)
    assert state["mask"].dtype == dtype
    kept = np.asarray(1 / (1 - rate), dtype)
    assert np.isin(state["mask"], [0, kept]).all()
    y, final, _ = layer.forward({}, x, state)
    np.testing.assert_array_equal(y, x * state["mask"])
    np.testing.assert_array_equal(final["mask"], state["mask"])
    assert not np.shares_memory(final["mask"], state["mask"])


@given(SEEDS, RATES, st.integers(1, 8))
def test_chunks_keep_the_mask_when_the_state_is_handed_on(seed, rate, cut):
    layer, rng = Dropout(5, rate), np.random.default_rng(seed)
    x, start = rng.standard_normal((9, 3, 5)), layer.draw_state(rng, 3)
    early, middle, _ = layer.forward({}, x[:cut], start)
    late, _, _ = layer.forward({}, x[cut:], middle, cut)
    whole = layer.forward({}, x, start)[0]
    np.testing.assert_array_equal(np.concatenate([early, late]), whole)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_expectation_of_a_mask_is_one(rate):
    n = 100_000
    mask = Dropout(100, rate).draw_state(np.random.default_rng(0), n // 100)
    spread = np.sqrt(rate / (1 - rate) / n)  # of the mean of n entries
    assert abs(mask["mask"].mean() - 1) <= 5 * spread
    per_unit = np.abs(mask["mask"].mean(0) - 1).max()
    assert per_unit <= 5 * np.sqrt(rate / (1 - rate) / (n // 100))


def test_nothing_is_dropped_without_a_drawn_mask():
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    layer = Dropout(3, 0.5)
    np.testing.assert_array_equal(layer.forward({}, x)[0], x)
    assert evaluating(layer) == layer


def test_both_precisions_draw_the_same_mask():
    masks = [
        Dropout(9, 0.3).draw_state(np.random.default_rng(1), 5, dtype)["mask"]
        for dtype in (np.float32, np.float64)
    ]
    np.testing.assert_array_equal(masks[0] > 0, masks[1] > 0)


@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan])
def test_a_rate_that_cannot_be(rate):
    with pytest.raises(ValueError, match=r"rate is .*, expected at least 0"):
        Dropout(3, rate)


# --- residual ---------------------------------------------------------------


def test_a_branch_that_says_nothing_leaves_the_input():
    arch = Residual(Linear(4, 4))
    zeros = {k: np.zeros(s) for k, s in arch.shapes().items()}
    x, dy = np.random.default_rng(0).standard_normal((2, 5, 2, 4))
    y, _, tape = arch.forward(zeros, x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(arch.backward(zeros, tape, dy).x, dy)


@pytest.mark.parametrize(
    "arch",
    [
        Residual(Linear(4, 4)),
        Residual(Residual(Linear(4, 4))),
        Residual(Bidirectional(Elman(5, 2), LSTM(5, 3))),
        Residual(Stack(BatchNorm(4), Dropout(4, 0.5), LSTM(4, 3), Elman(3, 4))),
    ],
    ids=repr,
)
def test_residual_connections_around_anything(arch):
    report = verify(arch, cases=2, n_time=6)
    assert report.ok, str(report)
    params = arch.init(np.random.default_rng(0))
    assert set(params) == set(arch.arch.shapes())
    x = np.random.default_rng(1).standard_normal((5, 3, arch.n_in))
    y, inner = arch.forward(params, x)[0], arch.arch.forward(params, x)[0]
    np.testing.assert_array_equal(y, x + inner)


@pytest.mark.parametrize("n_around", [1, 2, 3])
def test_a_tape_entry_y_of_the_branch_comes_back_to_it(n_around):
    class Reading(Linear):
        def backward(self, params, tape, dy, dstate=None):
            expected = tape["x"] @ params["W_xy"] + params["b_y"]
            np.testing.assert_allclose(tape["y"], expected)
            return super().backward(params, tape, dy, dstate)

    arch = Reading(4, 4)
    for _ in range(n_around):
        arch = Residual(arch)
    params = arch.init(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((3, 2, 4))
    y, _, tape = arch.forward(params, x)
    branch = x @ params["W_xy"] + params["b_y"]
    for depth in range(n_around):  # f(x), x + f(x), 2 x + f(x)
        name = "/".join(["residual"] * (depth + 1))
        close(tape[name], branch + depth * x)
    trace = scan(arch, params, x)[2]
    assert {*trace, "x"} == {*tape, "x"}
    for name, value in trace.items():
        close(tape[name], value)
    g = arch.backward(params, tape, y)
    close(g.x, n_around * y + y @ params["W_xy"].T)


def test_a_branch_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"n_in=3 and n_out=4, expected equal"):
        Residual(Elman(3, 4))


# --- what a training draws or observes --------------------------------------

BLOCK = Stack(BatchNorm(4), Dropout(4, 0.5), Elman(4, 3))
BRANCH = Stack(Elman(4, 3), BatchNorm(3), Linear(3, 4))
WHOLES = [
    *EXAMPLES,
    Parallel(BLOCK, Linear(4, 2), Residual(Dropout(4, 0.3))),
    Bidirectional(Residual(Stack(BLOCK, Linear(3, 4))), BLOCK),
    Checkpointed(evaluating(BLOCK), 3),
    Stack(Checkpointed(evaluating(Residual(BRANCH))), Residual(BRANCH)),
]
every_whole = pytest.mark.parametrize("arch", WHOLES, ids=repr)


def layers(arch):
    """List the networks without parts, also those that are checkpointed."""
    if isinstance(arch, Checkpointed):
        return layers(arch.arch)
    if hasattr(arch, "with_parts"):
        return [leaf for part in arch.parts for leaf in layers(part)]
    return [arch]


@every_whole
def test_buffers_are_the_statistics_and_nothing_else(arch):
    shapes = arch.shapes()
    named = {k for k in shapes if k.rpartition("/")[2] in ("mean", "var")}
    assert set(buffers(arch)) == named
    assert len(buffers(arch)) == len(named)


@every_whole
def test_a_training_pass_observes_what_batch_statistics_there_are(arch):
    params = arch.init(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((6, 3, arch.n_in))
    tape = arch.forward(params, x)[2]
    found = observe(arch, params, tape)
    of_batch = [
        leaf
        for leaf in layers(arch)
        if isinstance(leaf, BatchNorm) and leaf.statistics == "batch"
    ]
    assert len(found) == 2 * len(of_batch)
    assert set(found) <= set(buffers(arch))
    for name, value in found.items():
        assert value.shape == params[name].shape
        assert not np.array_equal(value, params[name])


@every_whole
def test_a_trained_network_observes_nothing_and_has_the_same_names(arch):
    trained = evaluating(arch)
    assert trained.shapes() == arch.shapes()
    assert buffers(trained) == buffers(arch)
    assert list(trained.initial_state(2)) == list(arch.initial_state(2))
    assert not any(
        isinstance(leaf, BatchNorm) and leaf.statistics == "batch"
        for leaf in layers(trained)
    )
    if not any(isinstance(leaf, BatchNorm) for leaf in layers(arch)):
        assert trained == arch
    params = trained.init(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((4, 2, arch.n_in))
    assert observe(trained, params, trained.forward(params, x)[2]) == {}


@every_whole
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_drawn_state_is_the_initial_one_but_for_masks(arch, dtype):
    drops = any(isinstance(leaf, Dropout) for leaf in layers(arch))
    assert draws(arch) == drops
    drawn = draw_state(arch, np.random.default_rng(0), 20, dtype)
    start = arch.initial_state(20, dtype)
    assert list(drawn) == list(start)
    for name, value in start.items():
        assert drawn[name].dtype == dtype
        assert drawn[name].shape == value.shape
        is_mask = name.rpartition("/")[2] == "mask"
        assert np.array_equal(drawn[name], value) != is_mask


class Nervous(Elman):
    """A network that calms down once it is trained."""

    def evaluating(self):
        return Elman(self.n_in, self.n_hid)


@pytest.mark.parametrize(
    "around",
    [
        lambda arch: Stack(Elman(2, 4), arch),
        lambda arch: Parallel(arch, Elman(4, 2)),
        lambda arch: Bidirectional(Elman(4, 2), arch),
        Residual,
        Checkpointed,
    ],
)
def test_what_is_around_hands_on_that_the_training_is_over(around):
    assert evaluating(around(Nervous(4, 4))) == around(Elman(4, 4))


def test_parts_draw_one_after_the_other():
    arch = Parallel(Dropout(3, 0.5), Elman(3, 4), Residual(Dropout(3, 0.2)))
    drawn = draw_state(arch, np.random.default_rng(0), 6)
    rng = np.random.default_rng(0)
    for k in (0, 2):
        rate = (0.5, None, 0.2)[k]
        expected = Dropout(3, rate).draw_state(rng, 6)["mask"]
        np.testing.assert_array_equal(drawn[f"{k}/mask"], expected)


def test_a_network_whose_batch_statistics_are_cut_is_refused():
    with pytest.raises(ValueError, match="looks ahead"):
        Checkpointed(BLOCK)
    assert not is_causal(Residual(Stack(BLOCK, Linear(3, 4))))
    assert is_causal(evaluating(Residual(Stack(BLOCK, Linear(3, 4)))))
