"""Warm-up: its gradient against two witnesses, its draws, what it does."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msref
from msref.architectures import (
    GRU,
    LMN,
    LSTM,
    MGU,
    REGISTRY,
    BatchNorm,
    Bidirectional,
    Checkpointed,
    ClockworkRNN,
    DuRNN,
    Elman,
    IndRNN,
    Linear,
    MultiScaleLMN,
    Parallel,
    Stack,
    is_causal,
    scan,
)
from msref.data.batching import pad
from msref.pretraining import Warmup, double_layer, warmup, warmup_runs
from msref.pretraining import warmup_loss as module
from msref.pretraining.warmup_loss import warmup_loss
from msref.training import Adam, DivergedError, Magnitude, Model, bounds

STEP = 1e-30


def remembers(arch):
    return is_causal(arch) and bool(arch.initial_state(1) and arch.shapes())


DOUBLE = Stack(double_layer(GRU(2, 6)), double_layer(LSTM(6, 5)))
NETWORKS = [
    *(a for e in REGISTRY.values() for a in e.examples if remembers(a)),
    Stack(GRU(2, 4), LSTM(4, 3)),
    Stack(MGU(2, 3), ClockworkRNN(3, 2, 3), LMN(6, 2, 3)),
    Stack(Checkpointed(Elman(2, 3), 2), IndRNN(3, 4)),
    Checkpointed(Stack(GRU(2, 3), MultiScaleLMN(3, 2, 2, 2)), 3),
    DOUBLE,
]


# --- the loss, said once more, and slowly -----------------------------------


def vaa_star(h, tolerance, xp):
    """VAA* in any namespace; where states agree there is no root of zero."""
    y = xp.tanh(h)
    squares = ((y[:, None] - y[None]) ** 2).sum(-1)
    near = xp.real(squares) <= tolerance**2
    d = xp.sqrt(xp.where(near, 1.0, squares))
    C = xp.where(near, 1.0, 1.0 - (d - tolerance) / (d + 1e-6))
    return xp.mean(1.0 / C.sum(1))


def layers_of(arch, partial):
    """List what the names of a layer begin with, and the layer."""
    if isinstance(arch, Checkpointed):
        return layers_of(arch.arch, partial)
    layers = [("", arch)]
    if isinstance(arch, Stack):
        layers = [(f"{k}/", part) for k, part in enumerate(arch.parts)]
    layers = [(path, part) for path, part in layers if remembers(part)]
    if partial:
        layers = [
            (f"{path}0/", bare(part).parts[0])
            if isinstance(bare(part), Parallel)
            else (path, part)
            for path, part in layers
        ]
    return layers


def bare(arch):
    """Return what stands in any number of segments."""
    return bare(arch.arch) if isinstance(arch, Checkpointed) else arch


def own(path, tree):
    return {
        name.removeprefix(path): value
        for name, value in tree.items()
        if name.startswith(path)
    }


def literal(case, params, xp=np):
    """Return loss and V, each sequence by itself, by the scan of ``step``."""
    V = []
    ends = [
        scan(case.arch, params, case.x[:cut, [i]], xp=xp)[1]
        for i, cut in enumerate(case.cuts.tolist())
    ]
    for (path, layer), z in zip(
        layers_of(case.arch, case.partial), case.z, strict=True
    ):
        p = own(path, params)
        x = np.tile(z, (case.n_stable, 1, 1))
        finals = []
        for cut, end in zip(case.cuts.tolist(), ends, strict=True):
            state = scan(layer, p, x, own(path, end), cut, xp)[1]
            parts = [state[name] for name in layer.initial_state(1)]
            finals.append(xp.concatenate(parts, axis=-1)[0])
        V.append(vaa_star(xp.stack(finals), case.tolerance, xp))
    V = xp.stack(V)
    return xp.mean((V - case.target) ** 2), V


class Case:
    """A network at a point, with everything that a step draws."""

    def __init__(self, arch, seed, tolerance=0.02, partial=False):
        rng, n_batch = np.random.default_rng(seed), 3
        self.arch, self.tolerance, self.partial = arch, tolerance, partial
        self.params = {
            name: value + 0.3 * rng.standard_normal(value.shape)
            for name, value in arch.init(rng).items()
        }
        for name in getattr(arch, "positive", ()):
            self.params[name] = np.exp(self.params[name] - 1.0)
        self.x = rng.standard_normal((6, n_batch, arch.n_in))
        self.cuts = rng.integers(1, 6, n_batch, endpoint=True)
        self.n_stable = int(rng.integers(1, 5, endpoint=True))
        self.target = float(rng.choice([0.95, 0.3]))
        layers = layers_of(arch, partial)
        self.z = [rng.standard_normal(layer.n_in) for _, layer in layers]

    def by_hand(self):
        return warmup_loss(
            self.arch,
            self.params,
            self.x,
            self.cuts,
            self.z,
            self.n_stable,
            target=self.target,
            tolerance=self.tolerance,
            partial=self.partial,
        )

    def by_autograd(self):
        with np.errstate(over="ignore"):
            return autograd.grad(lambda p: literal(self, p, anp)[0])(
                self.params
            )

    def slope(self, direction):
        there = {
            name: value + 1j * STEP * direction[name]
            for name, value in self.params.items()
        }
        return np.imag(literal(self, there)[0]) / STEP


def largest(grads):
    return max(np.abs(g).max() for g in grads.values())


def compare(case, seed=0, rtol=1e-8):
    """Compare value and gradient with both witnesses."""
    loss, grads, V = case.by_hand()
    expected, V_expected = literal(case, case.params)
    assert loss == pytest.approx(expected, rel=1e-10, abs=1e-14)
    np.testing.assert_allclose(V, V_expected, 1e-10)

    witness = case.by_autograd()
    assert set(grads) == set(witness) == set(case.params)
    size = largest(witness)
    for name, g in witness.items():
        np.testing.assert_allclose(
            grads[name], g, rtol, rtol * size + 1e-16, err_msg=name
        )
    rng = np.random.default_rng(seed)
    direction = {
        name: rng.standard_normal(value.shape)
        for name, value in case.params.items()
    }
    terms = np.concatenate([(grads[k] * direction[k]).ravel() for k in grads])
    assert terms.sum() == pytest.approx(
        case.slope(direction), rel=rtol, abs=rtol * np.abs(terms).sum() + 1e-16
    )


@pytest.mark.parametrize("arch", NETWORKS, ids=repr)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), tolerance=st.sampled_from([0.02, 1e-4]))
def test_the_gradient_is_that_of_the_literal_loss(arch, seed, tolerance):
    compare(Case(arch, seed, tolerance), seed)


@pytest.mark.parametrize(
    "arch",
    [
        DOUBLE,
        double_layer(MGU(2, 6)),
        Stack(MGU(2, 4), double_layer(GRU(4, 6)), Elman(6, 2)),
        Stack(Parallel(ClockworkRNN(2, 2, 3), LMN(2, 3, 2)), GRU(8, 3)),
        Checkpointed(DOUBLE, 2),
        Stack(Checkpointed(double_layer(MGU(2, 6)), 2), GRU(6, 3)),
        Checkpointed(Checkpointed(double_layer(GRU(2, 4)), 2), 3),
    ],
    ids=repr,
)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_gradient_of_a_partial_warm_up(arch, seed):
    compare(Case(arch, seed, partial=True), seed)


def test_the_witnesses_have_something_to_see():
    sizes = [
        largest(Case(arch, seed).by_hand()[1])
        for arch in NETWORKS
        for seed in range(5)
    ]
    assert np.median(sizes) > 1e-3
    assert np.mean(np.array(sizes) > 1e-5) > 0.8


# --- planted bugs -----------------------------------------------------------


def without_the_prefix(monkeypatch):
    monkeypatch.setattr(module, "back_from_the_cuts", lambda *_: None)


def without_lower_layers(monkeypatch):
    right = module.back_from_the_cuts

    def wrong(arch, params, segments, dreached, grads):
        before = {k: v.copy() for k, v in grads.items()}
        right(arch, params, segments, dreached, grads)
        for name in grads:
            if name.startswith("0/"):
                grads[name][...] = before[name]

    monkeypatch.setattr(module, "back_from_the_cuts", wrong)


def at_another_time(monkeypatch):
    right = module.back_from_the_cuts

    def wrong(arch, params, segments, dreached, grads):
        moved = {k: np.roll(v, 1, axis=0) for k, v in dreached.items()}
        right(arch, params, segments, moved, grads)

    monkeypatch.setattr(module, "back_from_the_cuts", wrong)


def without_the_stabilisation(monkeypatch):
    right = module.back_alone

    def wrong(layer, params, runs, dfinal, grads, dreached):
        nothing = {k: np.zeros_like(v) for k, v in grads.items()}
        right(layer, params, runs, dfinal, nothing, dreached)

    monkeypatch.setattr(module, "back_alone", wrong)


def without_the_memory_cell(monkeypatch):
    right = module.separated

    def wrong(arch, vector):
        return {
            name: value * (name != "c")
            for name, value in right(arch, vector).items()
        }

    monkeypatch.setattr(module, "separated", wrong)


def with_a_clock_that_begins_anew(monkeypatch):
    monkeypatch.setattr(warmup_runs, "period", lambda _: 1)


def with_the_second_half_too(monkeypatch):
    right = module.remembering

    def wrong(arch, partial):
        layers = right(arch, False)
        return [
            module.Layer(f"{layer.path}1/", layer.arch.parts[1])
            for layer in layers
        ]

    monkeypatch.setattr(module, "remembering", wrong)


TWO = Stack(GRU(2, 4), LSTM(4, 3))
BUGS = [
    (without_the_prefix, TWO, False),
    (without_the_prefix, MultiScaleLMN(2, 3, 2, 2), False),
    (without_lower_layers, TWO, False),
    (without_lower_layers, DOUBLE, True),
    (at_another_time, TWO, False),
    (without_the_stabilisation, TWO, False),
    (without_the_memory_cell, LSTM(2, 4), False),
    (with_a_clock_that_begins_anew, ClockworkRNN(2, 3, 3), False),
    (with_a_clock_that_begins_anew, MultiScaleLMN(2, 3, 2, 3), False),
    (with_the_second_half_too, DOUBLE, True),
]


@pytest.mark.parametrize(
    ("plant", "arch", "partial"),
    BUGS,
    ids=[f"{plant.__name__}-{arch}" for plant, arch, _ in BUGS],
)
def test_planted_bugs_are_caught(plant, arch, partial, monkeypatch):
    case = Case(arch, 3, partial=partial)
    compare(case)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        compare(case)


# --- what the loss reads ----------------------------------------------------


def test_frames_behind_the_cut_are_not_read():
    case = Case(TWO, 0)
    loss, grads, V = case.by_hand()
    for i, cut in enumerate(case.cuts):
        case.x[cut:, i] = 9.0
    again, grads_again, V_again = case.by_hand()
    assert again == loss
    np.testing.assert_array_equal(V_again, V)
    for name, g in grads.items():
        np.testing.assert_array_equal(grads_again[name], g)


def test_of_a_partial_warm_up_the_top_second_half_has_no_gradient():
    _, grads, _ = Case(DOUBLE, 0, partial=True).by_hand()
    for name, g in grads.items():
        assert bool(g.any()) != name.startswith("1/1/"), name


def test_segments_do_not_change_a_partial_warm_up():
    found, _ = small(DOUBLE, partial=True)
    again, _ = small(Checkpointed(DOUBLE, 2), start(DOUBLE), partial=True)
    for name, value in found.items():
        np.testing.assert_allclose(again[name], value, 1e-9, 1e-12)


def test_the_first_part_of_a_layer_keeps_its_segments():
    layer = Checkpointed(double_layer(GRU(2, 6)), 4)
    [first, above] = module.remembering(Stack(layer, GRU(6, 3)), True)
    assert first == ("0/0/", Checkpointed(GRU(2, 3), 4))
    assert above == ("1/", GRU(6, 3))


def test_masked_weights_have_no_gradient():
    arch = ClockworkRNN(2, 2, 3)
    _, grads, _ = Case(arch, 0).by_hand()
    read = arch.clock.readers(arch.n_hid)
    assert grads["W_hh"][read].all()
    assert not grads["W_hh"][~read].any()


def test_single_precision_stays_so():
    case = Case(TWO, 0, tolerance=0.2)
    wide_loss, wide, _ = case.by_hand()
    case.params = {k: v.astype(np.float32) for k, v in case.params.items()}
    case.x = case.x.astype(np.float32)
    case.z = [z.astype(np.float32) for z in case.z]
    loss, grads, _ = case.by_hand()
    assert loss == pytest.approx(wide_loss, rel=1e-4)
    size = largest(wide)
    for name, g in grads.items():
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, wide[name], 1e-3, 1e-3 * size)


# --- the procedure ----------------------------------------------------------


def noise(seed, n_sequences=12, shortest=3, longest=8, n_in=2):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest, n_sequences, endpoint=True)
    return [rng.standard_normal((length, n_in)) for length in lengths]


def start(arch, seed=0, dtype=np.float64):
    return arch.init(np.random.default_rng(seed), dtype)


def small(arch, params=None, seed=2, sequences=None, **options):
    options = {"n_steps": 4, "n_batch": 5, "increment": 3} | options
    return warmup(
        arch,
        start(arch) if params is None else params,
        noise(1) if sequences is None else sequences,
        np.random.default_rng(seed),
        **options,
    )


def test_it_does_what_it_says_draw_by_draw():
    params, sequences = start(TWO), noise(1)
    found, record = small(TWO, params, sequences=sequences, longest=5)

    rng = np.random.default_rng(2)
    adam = Adam(1e-2)
    state = adam.init(params)
    waiting, loss, V, lengths, sizes = [], [], [], [], []
    for k in range(4):
        if not waiting:
            order = rng.permutation(12)
            waiting = [order[:5], order[5:10], order[10:]]
        batch = waiting.pop(0)
        M = int(rng.integers(1, min(1 + 3 * k, 5), endpoint=True))
        cuts = rng.integers(1, [len(sequences[i]) + 1 for i in batch])
        z = [rng.standard_normal(2), rng.standard_normal(4)]
        x = np.zeros((8, len(batch), 2))
        for column, i in enumerate(batch):
            x[: len(sequences[i]), column] = sequences[i]
        loss_k, grads, V_k = warmup_loss(TWO, params, x, cuts, z, M)
        params, state = adam.update(params, grads, state)
        loss.append(loss_k)
        V.append(V_k)
        lengths.append(M)
        sizes.append(len(batch))
    assert sizes == [5, 5, 2, 5]
    assert isinstance(record, Warmup)
    np.testing.assert_array_equal(record.loss, loss)
    np.testing.assert_array_equal(record.vaa_star, V)
    np.testing.assert_array_equal(record.lengths, lengths)
    assert record.tolerance == 1e-4
    assert record.seconds > 0
    for name, value in params.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_parameters_it_was_given_stay():
    params = start(TWO)
    before = {name: value.copy() for name, value in params.items()}
    found, _ = small(TWO, params)
    for name, value in before.items():
        np.testing.assert_array_equal(params[name], value)
        assert not np.array_equal(found[name], value)


@pytest.mark.parametrize(
    "arch", [a for a in NETWORKS if not isinstance(a, Stack)], ids=repr
)
def test_every_network_with_a_state_can_be_warmed_up(arch):
    found, record = small(arch, sequences=noise(1, n_in=arch.n_in))
    assert {k: v.shape for k, v in found.items()} == arch.shapes()
    assert np.isfinite(record.loss).all()
    assert (record.vaa_star > 0).all()
    for name in getattr(arch, "masked", ()):
        kept = start(arch)[name] == 0
        assert not found[name][kept].any()


def test_single_precision_parameters_stay_so():
    found, _ = small(TWO, start(TWO, dtype=np.float32))
    assert {value.dtype for value in found.values()} == {np.dtype("float32")}


def test_sequences_may_be_one_array():
    sequences = noise(1, shortest=6, longest=6)
    one, _ = small(TWO, sequences=sequences)
    other, _ = small(TWO, sequences=np.stack(sequences, axis=1))
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)


def test_histories_may_be_left_whole():
    """Nothing is drawn but the order, M and z."""
    sequences = noise(1, n_sequences=5)
    _, record = small(TWO, sequences=sequences, whole=True, n_steps=1)
    rng = np.random.default_rng(2)
    batch = [sequences[i] for i in rng.permutation(5)]
    M = int(rng.integers(1, 1, endpoint=True))
    z = [rng.standard_normal(2), rng.standard_normal(4)]
    x, cuts = pad(batch)
    loss, _, V = warmup_loss(TWO, start(TWO), x, cuts, z, M)
    assert record.loss.tolist() == [loss]
    np.testing.assert_array_equal(record.vaa_star[0], V)


def test_of_a_model_the_core_is_warmed_up():
    model = Model(TWO, 3)
    params = start(model)
    found, record = small(model, params)
    core = {k: v for k, v in params.items() if k.startswith("core/")}
    bare, again = small(TWO, {k[5:]: v for k, v in core.items()})
    np.testing.assert_array_equal(record.loss, again.loss)
    for name, value in params.items():
        expected = bare[name[5:]] if name in core else value
        np.testing.assert_array_equal(found[name], expected)


def test_what_a_model_freezes_stays_and_what_it_bounds_holds():
    core = Stack(GRU(2, 4), IndRNN(4, 3))
    constraints = bounds(core, None, Magnitude(0.7))
    model = Model(core, 1, frozen=("core/0/W_hn",), constraints=constraints)
    params = start(model)
    found, _ = small(model, params, n_steps=15)
    np.testing.assert_array_equal(found["core/0/W_hn"], params["core/0/W_hn"])
    assert not np.array_equal(found["core/0/W_hr"], params["core/0/W_hr"])
    assert np.abs(params["core/1/w_hh"]).max() > 0.7
    assert np.abs(found["core/1/w_hh"]).max() <= 0.7


def test_buffers_stay():
    core = Stack(BatchNorm(2), GRU(2, 4))
    params = start(core)
    found, record = small(core, params)
    assert record.vaa_star.shape == (4, 1)
    for name in ("0/mean", "0/var"):
        np.testing.assert_array_equal(found[name], params[name])
    assert not np.array_equal(found["0/gamma"], params["0/gamma"])


def test_it_makes_a_network_multistable():
    """Of the size that a test may take; the claims have whole networks."""
    arch = GRU(2, 16)
    sequences = noise(3, n_sequences=320, shortest=8, longest=8)
    params = start(arch)

    def attractors(p, n_stable):
        x = np.stack(sequences[:32], axis=1)
        _, state, _ = arch.forward(p, x)
        z = np.random.default_rng(7).standard_normal(2)
        held = np.broadcast_to(z, (n_stable, 32, 2))
        return msref.vaa(arch.forward(p, held, state)[1]["h"])

    assert attractors(params, 200) == pytest.approx(1 / 32)
    found, record = small(
        arch,
        params,
        sequences=sequences,
        n_steps=80,
        n_batch=32,
        increment=10,
        longest=40,
    )
    assert attractors(params, 40) < 0.2
    assert attractors(found, 40) > 0.8
    assert record.vaa_star[-20:].mean() > 0.7


def test_a_double_layer_has_two_halves():
    assert double_layer(GRU(3, 8, "before")) == Parallel(
        GRU(3, 4, "before"), GRU(3, 4, "before")
    )
    assert double_layer(LSTM(3, 7)).n_out == 6
    assert double_layer(LMN(3, 8, 6)) == Parallel(LMN(3, 4, 3), LMN(3, 4, 3))
    assert double_layer(DuRNN(3, 4, 6)).n_out == DuRNN(3, 4, 6).n_out
    with pytest.raises(ValueError, match="n_hid is 0, expected at least 1"):
        double_layer(GRU(3, 1))
    with pytest.raises(TypeError, match="expected a network with n_hid"):
        double_layer(TWO)


def test_it_shows_its_progress(capsys):
    small(TWO, progress=True)
    assert "warm-up" in capsys.readouterr().err
    small(TWO, progress=False)
    assert capsys.readouterr().err == ""


# --- what cannot be ---------------------------------------------------------


def test_a_bug_is_no_divergence(monkeypatch):
    def broken(*_):
        raise ValueError("shapes do not fit")

    monkeypatch.setattr(module, "back_alone", broken)
    words = r"^step 1: layer 0, 1 steps of constant input: shapes do not fit"
    with pytest.raises(ValueError, match=words) as info:
        small(TWO)
    assert not isinstance(info.value, DivergedError)


def test_divergence_is_named_with_step_and_place():
    arch = Stack(GRU(2, 3), LMN(3, 2, 2))
    params = start(arch)
    params["1/W_mm"] = 1e200 * np.eye(2)
    with pytest.raises(DivergedError, match=r"^step 1: the run to the cuts: "):
        small(arch, params)
    params["1/W_mm"] = 1e20 * np.eye(2)
    place = r"^step \d+: layer 1, \d+ steps of constant input: .*(inf|nan)"
    with pytest.raises(DivergedError, match=place):
        small(arch, params, n_steps=20, increment=10)


@pytest.mark.parametrize(
    ("arch", "options", "error", "words"),
    [
        (Bidirectional(GRU(2, 3), GRU(2, 4)), {}, ValueError, "looks ahead"),
        (TWO, {"partial": True}, ValueError, "expected a layer that is Par"),
        (
            Parallel(Linear(2, 3), GRU(2, 3)),
            {"partial": True},
            ValueError,
            r"^partial is True, .*Linear.* has no state",
        ),
        (TWO, {"n_steps": 0}, ValueError, "n_steps is 0"),
        (TWO, {"increment": 0.5}, TypeError, "increment is 0.5"),
        (TWO, {"longest": 0}, ValueError, "longest is 0"),
        (TWO, {"n_batch": 1}, ValueError, "in batches of 1, expected at leas"),
        (TWO, {"rate": 0.0}, ValueError, r"^rate is 0.0"),
        (TWO, {"rate": np.nan}, ValueError, "^rate is nan"),
        (TWO, {"target": 1.5}, ValueError, "target is 1.5"),
        (TWO, {"tolerance": -1.0}, ValueError, "tolerance is -1.0"),
        (TWO, {"params": {"W": np.ones(2)}}, ValueError, "params holds"),
        (TWO, {"params": {}}, ValueError, "params holds"),
        (TWO, {"sequences": noise(1, n_in=3)}, ValueError, "n_in=2"),
        (TWO, {"sequences": noise(1)[:1]}, ValueError, "there are 1 sequence"),
        (Model(TWO, 1, frozen=("core",)), {}, ValueError, "core is frozen"),
    ],
)
def test_arguments_that_do_not_fit(arch, options, error, words):
    with pytest.raises(error, match=words):
        small(arch, **options)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"cuts": np.array([1, 2, 7])}, ValueError, "in 1..6"),
        ({"cuts": np.array([1, 0, 2])}, ValueError, "in 1..6"),
        ({"cuts": np.ones(3)}, TypeError, "cuts has dtype float64"),
        ({"cuts": np.ones(2, int)}, ValueError, r"cuts has shape \(2,\)"),
        ({"n_stable": 0}, ValueError, "n_stable is 0"),
        ({"z": [np.ones(2)]}, ValueError, "z has 1 inputs, expected 2"),
        ({"z": [np.ones(2), np.ones(3)]}, ValueError, r"z\[1\] has shape"),
        ({"x": np.ones((6, 3, 3))}, ValueError, "x has shape"),
        ({"target": 0.0}, ValueError, "target is 0"),
    ],
)
def test_a_loss_that_cannot_be(change, error, words):
    case = Case(TWO, 0)
    vars(case).update(change)
    with pytest.raises(error, match=words):
        case.by_hand()


def test_it_is_public():
    assert msref.warmup is warmup
