"""Model gradients against autograd and complex steps of the scan."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from msref.architectures import (
    GRU,
    LMN,
    LSTM,
    BatchNorm,
    Bidirectional,
    Dropout,
    Elman,
    Linear,
    Parallel,
    Residual,
    Stack,
)
from msref.architectures.base import draw_state
from msref.training import Batch, Magnitude, Model, Orthogonality

CORES = [
    Elman(3, 4),
    Elman(3, 4, activation="relu"),
    LSTM(3, 4),
    GRU(3, 4, reset="before"),
    LMN(3, 4, 5),
    LMN(3, 4, 5, output="hidden"),
    Stack(LSTM(3, 4), LMN(4, 5, 2)),
    Parallel(GRU(3, 4), LMN(3, 2, 5)),
    Bidirectional(LSTM(3, 4), Elman(3, 5)),
    Stack(Bidirectional(Elman(3, 3), GRU(3, 4)), GRU(7, 3)),
]
LENGTHS = (6, 3, 1)


def some_batch(model, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    pairs = []
    for n_time in LENGTHS:
        if model.loss_function.classes:
            target = rng.integers(0, model.n_out, n_time)
        else:
            target = rng.random((n_time, model.n_out))
        pairs.append((rng.standard_normal((n_time, model.n_in)), target))
    return Batch.of(pairs, dtype)


def some_params(model, seed=1):
    """Random everywhere: zero biases would hide half of the mistakes."""
    rng = np.random.default_rng(seed)
    return {
        name: 0.4 * rng.standard_normal(shape)
        for name, shape in model.shapes().items()
    }


@pytest.mark.parametrize("loss", ["squared", "bernoulli", "softmax"])
@pytest.mark.parametrize("core", CORES, ids=repr)
def test_all_gradients_are_those_of_autograd(core, loss):
    model = Model(core, 2, loss)
    params, batch = some_params(model), some_batch(model)
    value, grads = model.loss_and_gradients(params, batch)
    L, witness = autograd.value_and_grad(
        lambda params: model.objective(params, batch, anp)
    )(params)
    assert value == pytest.approx(float(L), rel=1e-13)
    assert set(grads) == set(params) == set(model.shapes())
    for name, gradient in grads.items():
        assert gradient.any(), name
        np.testing.assert_allclose(
            gradient, witness[name], rtol=1e-10, atol=1e-14, err_msg=name
        )


@pytest.mark.parametrize("core", [LMN(3, 4, 5), CORES[-2]], ids=repr)
def test_a_complex_step_along_any_parameter(core):
    model = Model(core, 2, "softmax", penalty=None)
    params, batch = some_params(model), some_batch(model)
    _, grads = model.loss_and_gradients(params, batch)
    rng = np.random.default_rng(2)
    for name, W in params.items():
        along = rng.standard_normal(W.shape)
        probe = params | {name: W + 1e-30j * along}
        slope = model.objective(probe, batch).imag / 1e-30
        assert (grads[name] * along).sum() == pytest.approx(slope, rel=1e-11)


@pytest.mark.parametrize("core", CORES, ids=repr)
def test_padding_changes_nothing(core):
    model = Model(core, 2, "bernoulli")
    params, batch = some_params(model), some_batch(model)
    value, grads = model.loss_and_gradients(params, batch)
    rng = np.random.default_rng(3)
    longer = [((0, 4), (0, 0), (0, 0))[:n] for n in (3, 3, 2)]
    x, target, mask = (
        np.pad(a, pad)
        for a, pad in zip(
            (batch.x, batch.target, batch.mask), longer, strict=True
        )
    )
    x = np.where(mask[..., None], x, 5 * rng.standard_normal(x.shape))
    target = np.where(mask[..., None], target, rng.random(target.shape))
    other = Batch(x, target, mask, batch.lengths)
    value_too, grads_too = model.loss_and_gradients(params, other)
    assert value_too == pytest.approx(value, rel=1e-14)
    for name in grads:
        np.testing.assert_allclose(
            grads_too[name], grads[name], rtol=1e-12, atol=1e-16, err_msg=name
        )


@pytest.mark.parametrize("core", CORES, ids=repr)
def test_a_batch_is_the_mean_of_its_sequences(core):
    model = Model(core, 2, "bernoulli")
    params, batch = some_params(model), some_batch(model)
    value, grads = model.loss_and_gradients(params, batch)
    total, total_grads = 0.0, {k: np.zeros_like(g) for k, g in grads.items()}
    for b, n_time in enumerate(LENGTHS):
        alone = Batch(
            batch.x[:n_time, b : b + 1], batch.target[:n_time, b : b + 1]
        )
        v, g = model.loss_and_gradients(params, alone)
        total += v * n_time / sum(LENGTHS)
        for name in g:
            total_grads[name] += g[name] * n_time / sum(LENGTHS)
    assert value == pytest.approx(total, rel=1e-13)
    for name in grads:
        np.testing.assert_allclose(
            grads[name], total_grads[name], rtol=1e-11, atol=1e-15
        )


def test_prediction_is_the_read_out_of_the_core():
    model = Model(LSTM(3, 4), 2)
    params, batch = some_params(model), some_batch(model)
    core = {k[5:]: v for k, v in params.items() if k.startswith("core/")}
    y, _, _ = model.core.forward(core, batch.x)
    expected = y @ params["readout/W_yo"] + params["readout/b_o"]
    o = model.predict(params, batch.x)
    np.testing.assert_allclose(o, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_init(dtype):
    model = Model(LSTM(3, 4), 2)
    params = model.init(np.random.default_rng(0), dtype)
    assert {k: p.shape for k, p in params.items()} == model.shapes()
    assert all(p.dtype == dtype for p in params.values())
    assert not params["readout/b_o"].any()
    assert abs(params["readout/W_yo"]).max() <= 1  # sqrt(6 / (4 + 2))
    again = model.init(np.random.default_rng(0), dtype)
    for name in params:
        np.testing.assert_array_equal(params[name], again[name])
    batch = some_batch(model, dtype=dtype)
    value, grads = model.loss_and_gradients(params, batch)
    assert np.isfinite(value)
    assert all(g.dtype == dtype for g in grads.values())


# --- frozen parameters and penalties ----------------------------------------

DELAY = ("core/W_hm", "core/W_mm", "core/b_m")


def test_frozen_parameters_have_no_gradient_and_the_rest_is_the_same():
    free = Model(LMN(3, 4, 5), 2)
    model = replace(free, frozen=DELAY)
    params, batch = some_params(model), some_batch(model)
    value, grads = model.loss_and_gradients(params, batch)
    value_free, grads_free = free.loss_and_gradients(params, batch)
    assert value == value_free
    assert set(grads) == set(params) - set(DELAY)
    for name in grads:
        np.testing.assert_array_equal(grads[name], grads_free[name])
    assert model.n_params(params) == free.n_params(params)
    n_frozen = 4 * 5 + 5 * 5 + 5
    assert (
        model.n_params(params) - model.n_params(params, frozen=False)
        == n_frozen
    )


def test_a_frozen_core_is_never_run_backward():
    class Silent(Elman):
        def backward(self, *arguments):
            raise AssertionError("the core is frozen")

    model = Model(Silent(3, 4), 2, frozen=("core",))
    params, batch = some_params(model), some_batch(model)
    _, grads = model.loss_and_gradients(params, batch)
    assert set(grads) == {"readout/W_yo", "readout/b_o"}


def test_the_first_parts_of_names_freeze_whole_parts_only():
    stack = Stack(Elman(3, 4), Elman(4, 2))
    model = Model(stack, 2, frozen=("core/0", "readout/b_o"))
    params = some_params(model)
    kept = {"core/1/W_xh", "core/1/W_hh", "core/1/b_h", "readout/W_yo"}
    assert set(model.trainable(params)) == kept
    with pytest.raises(ValueError, match="frozen holds 'core/W_h'"):
        Model(Elman(3, 4), 2, frozen=("core/W_h",))


def test_the_penalty_adds_its_value_and_gradient():
    free = Model(LMN(3, 4, 5), 2)
    model = replace(free, penalty=Orthogonality("core/W_mm", 0.3))
    params, batch = some_params(model), some_batch(model)
    W = params["core/W_mm"]
    value, grads = model.loss_and_gradients(params, batch)
    value_free, grads_free = free.loss_and_gradients(params, batch)
    P = 0.3 * np.linalg.norm(W @ W.T - np.eye(5)) ** 2
    assert value == pytest.approx(value_free + P, rel=1e-13)
    witness = autograd.grad(lambda p: model.objective(p, batch, anp))(params)
    for name in grads:
        np.testing.assert_allclose(
            grads[name], witness[name], rtol=1e-10, atol=1e-14
        )
    assert (grads["core/W_mm"] != grads_free["core/W_mm"]).any()
    Q, _ = np.linalg.qr(W)
    orthogonal = params | {"core/W_mm": Q}
    assert model.penalty.value(orthogonal) < 1e-28


def test_a_penalty_on_a_frozen_matrix_moves_nothing():
    model = Model(
        LMN(3, 4, 5), 2, frozen=DELAY, penalty=Orthogonality("core/W_mm", 0.3)
    )
    _, grads = model.loss_and_gradients(some_params(model), some_batch(model))
    assert "core/W_mm" not in grads


# --- cores that draw and observe --------------------------------------------

DRAWING = [
    Stack(BatchNorm(3), Elman(3, 4), Dropout(4, 0.5)),
    Stack(Dropout(3, 0.3), LSTM(3, 4), Residual(BatchNorm(4)), Linear(4, 5)),
    Bidirectional(
        Stack(BatchNorm(3), GRU(3, 4), Dropout(4, 0.5)),
        Stack(Dropout(3, 0.3), Elman(3, 5)),
    ),
]


def drawn_state(model, batch, seed=4):
    rng = np.random.default_rng(seed)
    return draw_state(model.core, rng, batch.x.shape[1], batch.x.dtype)


def positive(model, seed=1):
    """Random parameters whose running variances are variances."""
    params = some_params(model, seed)
    variances = [name for name in model.buffers if name.endswith("/var")]
    return params | {name: 0.5 + params[name] ** 2 for name in variances}


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("core", DRAWING, ids=repr)
def test_training_is_the_objective_from_the_drawn_state(core, loss):
    model = Model(core, 2, loss)
    params, batch = positive(model), some_batch(model)
    state = drawn_state(model, batch)
    assert model.draws
    value, grads, _ = model.training_pass(params, batch, state=state)
    L, witness = autograd.value_and_grad(
        lambda params: model.objective(params, batch, anp, state)
    )(params)
    assert value == pytest.approx(float(L), rel=1e-12)
    assert set(grads) == set(params) - set(model.buffers)
    for name, gradient in grads.items():
        np.testing.assert_allclose(
            gradient, witness[name], rtol=1e-9, atol=1e-13, err_msg=name
        )
    again, same = model.loss_and_gradients(params, batch, state=state)
    assert again == value
    assert all((same[name] == grads[name]).all() for name in grads)
    other, _ = model.loss_and_gradients(params, batch)
    assert other != pytest.approx(value)


@pytest.mark.parametrize("core", DRAWING, ids=repr)
def test_a_prediction_is_of_one_sequence_alone(core):
    model = Model(core, 2)
    params, batch = positive(model), some_batch(model)
    o = model.predict(params, batch.x, batch.lengths)
    for b, n_time in enumerate(LENGTHS):
        alone = model.predict(params, batch.x[:n_time, b : b + 1])
        np.testing.assert_allclose(o[:n_time, b], alone[:, 0], rtol=1e-12)
    for name in model.buffers:
        moved = params | {name: params[name] + 1.0}
        other = model.predict(moved, batch.x, batch.lengths)
        assert not np.allclose(o, other), name


def test_a_pass_observes_the_frames_that_count():
    core = Stack(BatchNorm(3, momentum=0.25), Elman(3, 4))
    model = Model(core, 2)
    params, batch = positive(model), some_batch(model)
    before = {name: array.copy() for name, array in params.items()}
    _, _, found = model.training_pass(params, batch)
    frames = batch.x[batch.mask]
    assert set(found) == set(model.buffers) == {"core/0/mean", "core/0/var"}
    for name, seen in (
        ("core/0/mean", frames.mean(0)),
        ("core/0/var", frames.var(0, ddof=1)),
    ):
        expected = 0.75 * params[name] + 0.25 * seen
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)
    for name, array in before.items():
        np.testing.assert_array_equal(params[name], array)


def test_what_is_not_drawn_and_not_observed():
    model = Model(LSTM(3, 4), 2)
    assert not model.draws
    assert model.buffers == ()
    batch = some_batch(model)
    assert model.training_pass(some_params(model), batch)[2] == {}
    state = {"h": np.ones((3, 4)), "c": np.ones((3, 4))}
    one, _ = model.loss_and_gradients(some_params(model), batch, state=state)
    two, _ = model.loss_and_gradients(some_params(model), batch)
    assert one != two
    with pytest.raises(ValueError, match=r"state holds the names \['h'\]"):
        model.training_pass(
            some_params(model), batch, state={"h": np.ones((3, 4))}
        )


def test_buffers_are_not_learned():
    core = Stack(BatchNorm(3), Elman(3, 4))
    model = Model(core, 2)
    params = positive(model)
    assert set(params) - set(model.trainable(params)) == set(model.buffers)
    everything = model.n_params(params)
    assert everything - model.n_params(params, frozen=False) == 2 * 3
    frozen = replace(model, frozen=("core/0/mean", "core/0/gamma"))
    assert everything - frozen.n_params(params, frozen=False) == 3 * 3
    _, _, found = frozen.training_pass(params, some_batch(model))
    assert set(found) == {"core/0/var"}
    with pytest.raises(ValueError, match="the penalty is on 'core/0/var', a b"):
        replace(model, penalty=Orthogonality("core/0/var", 0.1))
    bound = (("core/0/mean", Magnitude(1.0)),)
    with pytest.raises(ValueError, match="constraints are on 'core/0/mean', a"):
        replace(model, constraints=bound)


# --- batches ----------------------------------------------------------------


def test_a_short_target_belongs_to_the_last_frames():
    rng = np.random.default_rng(0)
    xs = [rng.random((n, 2)) for n in (4, 2)]
    batch = Batch.of([(xs[0], [3]), (xs[1], 1)])
    expected = np.zeros((4, 2), bool)
    expected[3, 0] = expected[1, 1] = True
    np.testing.assert_array_equal(batch.mask, expected)
    np.testing.assert_array_equal(batch.target[expected.nonzero()], [1, 3])
    np.testing.assert_array_equal(batch.lengths, [4, 2])
    assert batch.n_frames == 2
    np.testing.assert_array_equal(batch.x[:2, 1], xs[1])


def test_targets_that_do_not_fit_are_refused():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="target of sequence 1"):
        Batch.of([(x, [1]), (x, [1, 2, 3, 4])])
    with pytest.raises(ValueError, match="target of sequence 0"):
        Batch.of([(x, np.ones((0, 2)))])
    with pytest.raises(ValueError, match="target of sequence 1"):
        Batch.of([(x, np.ones((3, 2))), (x, np.ones((3, 1)))])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_out": 0}, "n_out is 0"),
        ({"n_out": 2, "loss": "hinge"}, "loss is 'hinge'"),
        ({"n_out": 2, "frozen": ("W_xh",)}, "frozen holds 'W_xh'"),
        (
            {"n_out": 2, "penalty": Orthogonality("core/W", 1.0)},
            "penalty is on 'core/W'",
        ),
    ],
)
def test_impossible_models_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Model(Elman(3, 4), **options)


def test_wrong_parameters_and_inputs_are_named():
    model = Model(Elman(3, 4), 2)
    params, batch = some_params(model), some_batch(model)
    short = {k: v for k, v in params.items() if k != "readout/b_o"}
    with pytest.raises(ValueError, match=r"missing \['readout/b_o'\]"):
        model.predict(short, batch.x)
    with pytest.raises(TypeError, match="expected float32"):
        model.predict(params, batch.x.astype(np.float32))
    with pytest.raises(ValueError, match="x holds nan"):
        model.predict(params, batch.x * np.nan)
    params["core/W_hh"][0, 1] = np.nan
    with pytest.raises(ValueError, match=r"params\['core/W_hh'\] holds nan"):
        model.predict(params, batch.x)
