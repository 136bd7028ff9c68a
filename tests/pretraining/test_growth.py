"""One more module: what it holds, and that nothing else changes."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import msref
from msref.architectures import (
    LMN,
    Bidirectional,
    MultiScaleLMN,
    Stack,
)
from msref.arrays import under
from msref.data import pad
from msref.pretraining import (
    LAES,
    GrowthWarning,
    embedded,
    first_module,
    grow,
)
from msref.training import SGD, Adam, Batch, Model

SIZES = st.integers(1, 5)
SEEDS = st.integers(0, 2**32 - 1)
many = settings(max_examples=200)


@st.composite
def cores(draw, n_in=None, n_modules=None):
    n_modules = draw(st.integers(1, 4)) if n_modules is None else n_modules
    return MultiScaleLMN(
        *(n_in or draw(SIZES), draw(SIZES), draw(SIZES), n_modules),
        output=draw(st.sampled_from(["memory", "hidden"])),
        learned_start=draw(st.booleans()),
        origin=draw(st.integers(0, 1)),
    )


@st.composite
def models(draw, n_modules=None):
    """Draw a model with one direction or two."""
    core = draw(cores(n_modules=n_modules))
    if draw(st.booleans()):
        other = draw(cores(core.n_in, n_modules))
        core = Bidirectional(core, other)
    return Model(core, draw(SIZES), "squared")


def drawn(shapes, rng):
    """Draw parameters, no bias and no mask left at zero by chance."""
    return {k: 0.6 * rng.standard_normal(s) for k, s in shapes.items()}


def corpus(rng, n_in, longest=40):
    lengths = rng.integers(1, longest, rng.integers(1, 6))
    return [rng.standard_normal((n, n_in)) for n in lengths]


def quietly(function, *args, **options):
    """Call, whatever the data could not fill."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrowthWarning)
        return function(*args, **options)


def hidden(model, params, x):
    """Return the hidden vectors of every direction on one sequence."""
    core, own = model.core, under("core", params)
    if isinstance(core, MultiScaleLMN):
        parts = [(core, own, x)]
    else:
        parts = [
            (part, under(str(k), own), x[::-1] if k else x)
            for k, part in enumerate(core.parts)
        ]
    return [
        (part, own, part.forward(own, x[:, None])[2]) for part, own, x in parts
    ]


# --- what holds always ------------------------------------------------------


@many
@given(models(), SEEDS)
def test_growing_changes_no_output_and_no_hidden_vector(model, seed):
    rng = np.random.default_rng(seed)
    params, sequences = drawn(model.shapes(), rng), corpus(rng, model.n_in)
    larger, new = quietly(grow, model, params, sequences, rng=rng)
    assert {k: v.shape for k, v in new.items()} == larger.shapes()
    x, lengths = pad([*corpus(rng, model.n_in), *sequences])
    before = model.predict(params, x, lengths)
    after = larger.predict(new, x, lengths)
    scale = np.abs(before).max()
    np.testing.assert_allclose(after, before, 1e-11, 1e-12 * scale)
    for s in sequences:
        pairs = zip(
            hidden(model, params, s), hidden(larger, new, s), strict=True
        )
        for (_, _, old), (_, _, tape) in pairs:
            np.testing.assert_allclose(tape["h"], old["h"], 1e-10, 1e-12)


@many
@given(models(), SEEDS)
def test_the_new_module_holds_the_code_of_every_nth_hidden_vector(model, seed):
    rng = np.random.default_rng(seed)
    params, sequences = drawn(model.shapes(), rng), corpus(rng, model.n_in)
    larger, new = quietly(grow, model, params, sequences)
    for part, own, tape in hidden(larger, new, sequences[0]):
        i, n = part.n_modules - 1, part.n_mem
        A, B = own["W_hm"][:, i * n :].T, own["W_mm"][i * n :, i * n :].T
        code, reach = np.zeros(n), 1.0
        for t, h in enumerate(tape["h"][:, 0]):
            if (t + part.origin) % 2**i == 0:
                code = A @ h + B @ code
            reach = max(reach, np.abs(code).max())
            module = tape["m"][t, 0, i * n :]
            np.testing.assert_allclose(module, code, 1e-10, 1e-11 * reach)
        assert np.linalg.norm(B, 2) <= 1 + 1e-12
        assert not own["W_mh"][i * n :].any()
        assert not own["b_m"][i * n :].any()


@many
@given(models(n_modules=1), SEEDS)
def test_a_grown_module_is_the_laes_of_what_it_hears(model, seed):
    rng = np.random.default_rng(seed)
    params, sequences = drawn(model.shapes(), rng), corpus(rng, model.n_in)
    crop = int(rng.integers(1, 12))
    _, new = quietly(grow, model, params, sequences, crop=crop)
    for k, (part, _, _) in enumerate(hidden(model, params, sequences[0])):
        heard = [hidden(model, params, s)[k][2]["h"][:, 0] for s in sequences]
        kept = [h[part.origin :: 2][:crop] for h in heard]
        kept = [h for h in kept if len(h)]
        assume(kept)
        laes = LAES(part.n_mem).fit(kept)
        path = (
            "core/" if isinstance(model.core, MultiScaleLMN) else f"core/{k}/"
        )
        ours = new[f"{path}W_hm"][:, part.n_mem :]
        module = slice(part.n_mem, None)
        memory = new[f"{path}W_mm"][module, module]
        # equal up to the basis of the state: compare what does not know it
        np.testing.assert_allclose(ours @ ours.T, laes.A.T @ laes.A, 1e-7, 1e-8)
        np.testing.assert_allclose(
            ours @ memory @ ours.T, laes.A.T @ laes.B.T @ laes.A, 1e-7, 1e-8
        )


@given(models(n_modules=1), SEEDS)
def test_the_first_module_is_laid_on_the_functional_layer_alone(model, seed):
    rng = np.random.default_rng(seed)
    params, sequences = drawn(model.shapes(), rng), corpus(rng, model.n_in)
    new = quietly(first_module, model, params, sequences)
    for part, own, tape in hidden(model, new, sequences[0]):
        a = sequences[0] @ own["W_xh"] + own["b_h"]
        if part is not getattr(model.core, "parts", (part,))[0]:
            a = a[::-1]
        np.testing.assert_allclose(tape["h"][:, 0], np.tanh(a), 1e-12, 1e-14)
        A, B = own["W_hm"].T, own["W_mm"].T
        code = np.zeros(part.n_mem)
        for h, m in zip(tape["h"][:, 0], tape["m"][:, 0], strict=True):
            code = A @ h + B @ code
            np.testing.assert_allclose(m, code, 1e-10, 1e-11)
        if part.output == "memory":
            assert not new["readout/W_yo"].any()


@given(models(), SEEDS)
def test_moments_of_new_weights_are_zero_and_old_ones_move_along(model, seed):
    rng = np.random.default_rng(seed)
    params = drawn(model.shapes(), rng)
    larger, _ = quietly(grow, model, params, corpus(rng, model.n_in))
    marked = {
        k: np.arange(1.0, v.size + 1).reshape(v.shape)
        for k, v in params.items()
    }
    placed = embedded(model, larger, marked)
    for name, old in marked.items():
        new = placed[name]
        assert new.shape == larger.shapes()[name]
        assert np.count_nonzero(new) == old.size
        np.testing.assert_array_equal(new[new != 0], old.ravel())
    # the same places as those that the parameters went to
    np.testing.assert_array_equal(
        embedded(model, larger, params)["readout/W_yo"] != 0,
        placed["readout/W_yo"] != 0,
    )
    for optimiser in (Adam(), SGD(0.1, 0.9)):
        state = optimiser.init(params)
        grown = embedded(model, larger, state)
        fresh = optimiser.init(placed)
        assert {k: v.shape for k, v in grown.items()} == {
            k: v.shape for k, v in fresh.items()
        }


# --- the read-out -----------------------------------------------------------


def test_a_refitted_read_out_is_better_on_its_targets_and_asked_for():
    rng = np.random.default_rng(0)
    model = Model(MultiScaleLMN(2, 4, 3, 1), 2, "squared")
    params, sequences = drawn(model.shapes(), rng), corpus(rng, 2)
    targets = [np.roll(x, 3, axis=0) for x in sequences]
    larger, kept = quietly(grow, model, params, sequences)
    _, fitted = quietly(grow, model, params, sequences, targets=targets)
    batch = Batch.of(list(zip(sequences, targets, strict=True)))
    before, after = (
        larger.loss_and_gradients(p, batch)[0] for p in (kept, fitted)
    )
    assert after < 0.5 * before
    assert all(
        np.array_equal(kept[k], fitted[k])
        for k in kept
        if not k.startswith("readout")
    )


def test_the_first_gradient_reaches_read_out_and_hidden_layer_not_the_code():
    rng = np.random.default_rng(1)
    model = Model(MultiScaleLMN(2, 4, 3, 2), 2, "squared")
    params, sequences = drawn(model.shapes(), rng), corpus(rng, 2)
    larger, new = quietly(grow, model, params, sequences)
    batch = Batch.of([(x, x) for x in sequences])
    _, g = larger.loss_and_gradients(new, batch)
    module = slice(6, 9)
    assert g["readout/W_yo"][module].any()
    assert g["core/W_mh"][module].any()
    assert not g["core/W_hm"][:, module].any()
    assert not g["core/W_mm"][module, module].any()


def test_a_read_out_can_be_fitted_to_single_classes():
    rng = np.random.default_rng(3)
    model = Model(MultiScaleLMN(2, 4, 3, 1), 3, "softmax")
    params, sequences = drawn(model.shapes(), rng), corpus(rng, 2)
    for few in (sequences, sequences[:1]):
        labels = [q % 3 for q in range(len(few))]
        _, one = quietly(grow, model, params, few, targets=labels)
        arrays = [np.array([label]) for label in labels]
        _, two = quietly(grow, model, params, few, targets=arrays)
        np.testing.assert_array_equal(one["readout/W_yo"], two["readout/W_yo"])


def test_names_that_are_frozen_stay_so():
    model = Model(MultiScaleLMN(2, 4, 3, 1), 1, frozen=("core/W_mm",))
    params = model.init(np.random.default_rng(0))
    larger, new = quietly(grow, model, params, [np.ones((9, 2))])
    assert larger.frozen == model.frozen
    assert "core/W_mm" not in larger.trainable(new)


# --- what the data cannot fill ----------------------------------------------


def test_a_silent_hidden_layer_is_said():
    model = MultiScaleLMN(1, 3, 2, 1)
    params = model.init(np.random.default_rng(0))
    silence = [np.zeros((9, 1))]
    with pytest.warns(
        GrowthWarning,
        match="module 1 .period 2.: all 5 hidden vectors at its ticks are zero",
    ):
        larger, new = grow(model, params, silence)
    assert not new["W_hm"][:, 2:].any()
    y = larger.forward(new, np.ones((3, 1, 1)))[0]
    assert np.isfinite(y).all()
    with pytest.warns(GrowthWarning, match="2 of 2 units are zero and cannot"):
        first_module(model, params, silence)


def test_too_few_frames_are_said_and_random_units_fill_the_rest():
    rng = np.random.default_rng(0)
    model = MultiScaleLMN(2, 5, 4, 2)
    params = drawn(model.shapes(), rng)
    few = [rng.standard_normal((7, 2))]  # ticks at 0 and 4
    with pytest.warns(GrowthWarning, match="of its 2 hidden .* have rank 2"):
        _, new = grow(model, params, few)
    assert new["W_hm"][:, 8:10].any(0).all()
    assert not new["W_hm"][:, 10:].any()
    with pytest.warns(GrowthWarning, match="2 of 4 units were drawn"):
        _, other = grow(model, params, few, rng=rng)
    assert np.array_equal(other["W_hm"][:, 8:10], new["W_hm"][:, 8:10])
    assert other["W_hm"][:, 10:].all()


def test_sequences_too_short_for_any_tick():
    model = MultiScaleLMN(2, 5, 4, 3, origin=1)
    params = drawn(model.shapes(), np.random.default_rng(0))
    with pytest.warns(
        GrowthWarning, match="no frame of any sequence falls on one of its"
    ):
        grow(model, params, [np.ones((7, 2))])  # the first tick is at 7


# --- the border -------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        LMN(2, 3, 4),
        Stack(MultiScaleLMN(2, 3, 4, 1), LMN(4, 3, 2)),
        Model(LMN(2, 3, 4), 2),
        Bidirectional(MultiScaleLMN(2, 3, 4, 1), LMN(2, 3, 5)),
    ],
    ids=repr,
)
def test_other_networks_cannot_grow(network):
    params = network.init(np.random.default_rng(0))
    with pytest.raises(TypeError, match="expected a MultiScaleLMN"):
        grow(network, params, [np.ones((3, 2))])


def test_what_does_not_fit_is_named():
    core = MultiScaleLMN(2, 3, 4, 2)
    params = core.init(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"n_in=2"):
        grow(core, params, [np.ones((3, 5))])
    with pytest.raises(ValueError, match="missing"):
        grow(core, {"b_h": params["b_h"]}, [np.ones((3, 2))])
    with pytest.raises(TypeError, match="nothing else has a read-out"):
        grow(core, params, [np.ones((3, 2))], targets=[np.ones((3, 2))])
    with pytest.raises(ValueError, match="network has 2 modules, expected 1"):
        first_module(core, params, [np.ones((3, 2))])
    with pytest.raises(ValueError, match="crop is 0, expected at least 1"):
        grow(core, params, [np.ones((3, 2))], crop=0)


def test_params_are_left_alone_and_grow_is_public():
    core = MultiScaleLMN(2, 3, 4, 1)
    params = core.init(np.random.default_rng(0))
    before = {k: v.copy() for k, v in params.items()}
    quietly(msref.grow, core, params, [np.ones((9, 2))])
    quietly(first_module, core, params, [np.ones((9, 2))])
    assert all(np.array_equal(params[k], before[k]) for k in before)
