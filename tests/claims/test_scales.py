"""Networks of one size, how they are trained, and what they remember."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.architectures import LMN, LSTM, ClockworkRNN, Elman, MultiScaleLMN
from msref.claims import scales
from msref.claims.memory import RIDGES, recoverability
from msref.claims.scales import (
    KINDS,
    by_rate,
    classify,
    cost,
    generate,
    labelled,
    memory_as_grown,
    n_weights,
    sized,
    train_network,
)
from msref.data import LabelledSet, waveform
from msref.training import Adam, Batch, DivergedError, Fit, Model


def scaled(waves, n_time=64):
    """Return a stand-in for ``waveform`` with fewer points."""
    return lambda wave, rng: waves(wave, n_time, rng)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(scales, "waveform", scaled(waveform))


# --- networks of one size ---------------------------------------------------

sizes = st.integers(1, 3)


@st.composite
def cores(draw):
    n_in, n_hid, n_mem, g = (draw(sizes) for _ in range(4))
    output = draw(st.sampled_from(["memory", "hidden"]))
    return draw(
        st.sampled_from(
            [
                Elman(n_in, n_hid),
                LSTM(n_in, n_hid),
                LMN(n_in, n_hid, n_mem, output),
                ClockworkRNN(n_in, n_hid, g),
                MultiScaleLMN(n_in, n_hid, n_mem, g, output),
                MultiScaleLMN(n_in, n_hid, n_mem, g, output, True),
            ]
        )
    )


@settings(max_examples=60)
@given(cores(), sizes, st.integers(0, 2**32 - 1))
def test_the_weights_that_count_are_those_that_learn(core, n_out, seed):
    rng = np.random.default_rng(seed)
    model = Model(core, n_out, "squared")
    params = {
        name: 0.5 * rng.standard_normal(shape)
        for name, shape in model.shapes().items()
    }
    n_time = 2 ** getattr(core, "n_modules", 1) + 1  # all have ticked twice
    pairs = [
        (rng.standard_normal((n_time, core.n_in)),
         rng.standard_normal((n_time, n_out)))
        for _ in range(2)
    ]  # fmt: skip
    _, grads = model.loss_and_gradients(params, Batch.of(pairs))
    learning = sum(np.count_nonzero(grad) for grad in grads.values())
    assert n_weights(core, n_out) == learning


TASKS = {  # n_in, n_out, budget, n_modules
    "generate, quick": (1, 1, 250, 9),
    "generate": (1, 1, 1000, 9),
    "digits, quick": (13, 10, 2500, 5),
    "digits": (13, 10, 5000, 5),
    "pen": (2, 10, 5000, 3),
    "rows": (28, 10, 5000, 5),
    "pixels": (1, 10, 5000, 7),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_networks_have_about_the_size_they_should(kind, task):
    n_in, n_out, budget, n_modules = TASKS[task]
    core = sized(kind, n_in, n_out, budget, n_modules)
    assert core.n_in == n_in
    off = abs(n_weights(core, n_out) / budget - 1.0)
    assert off < (0.03 if kind.startswith("mslmn") else 0.18)
    if kind in ("clockwork", "mslmn", "mslmn grown"):
        assert core.n_modules == n_modules
    else:
        assert not hasattr(core, "n_modules")


MAKE = {
    "rnn": lambda n_in, n, g: Elman(n_in, n),
    "lstm": lambda n_in, n, g: LSTM(n_in, n),
    "clockwork": ClockworkRNN,
    "lmn": lambda n_in, n, g: LMN(n_in, n, n),
}


@settings(max_examples=10)
@given(
    st.integers(1, 30), st.integers(1, 10), st.integers(50, 3000),
    st.integers(1, 9),
)  # fmt: skip
def test_no_size_comes_closer_to_the_budget(n_in, n_out, budget, n_modules):
    def off(core):
        return abs(n_weights(core, n_out) - budget)

    for kind, make in MAKE.items():
        core = sized(kind, n_in, n_out, budget, n_modules)
        assert type(core) is type(make(1, 1, 1))
        best = min(off(make(n_in, n, n_modules)) for n in range(1, 80))
        assert off(core) == best
    core = sized("mslmn", n_in, n_out, budget, n_modules)
    assert core == sized("mslmn grown", n_in, n_out, budget, n_modules)
    others = [replace(core, n_hid=n) for n in range(1, 3 * core.n_hid + 9)]
    assert off(core) == min(map(off, others))
    smaller, larger = (
        MultiScaleLMN(n_in, n_modules * m, m, n_modules)
        for m in (max(1, core.n_mem - 1), core.n_mem + 1)
    )
    even = replace(core, n_hid=n_modules * core.n_mem)
    assert off(even) <= min(off(smaller), off(larger))


# --- training ---------------------------------------------------------------


def trained(kind, tmp_path, core=None, awake=True, dtype=np.float64, **options):
    rng = np.random.default_rng(0)
    pair = np.zeros((12, 1)), rng.standard_normal((12, 1))
    return train_network(
        *(kind, core or sized(kind, 1, 1, 40, 3), 1, "squared", awake, dtype),
        every=2,
        rng=rng,
        checkpoint=tmp_path / "fit.safetensors",
        train=[pair],
        valid=[pair],
        optimiser=Adam(0.01),
        n_batch=1,
        **{"n_epochs": 7} | options,
    )


def test_a_grown_network_ends_with_all_its_modules(tmp_path):
    core = MultiScaleLMN(1, 4, 2, 3)
    model, found = trained("mslmn grown", tmp_path, core)
    assert model.core == core
    assert {k: v.shape for k, v in found.params.items()} == model.shapes()
    modules = [record["n_modules"] for record in found.history]
    assert modules == [1, 1, 2, 2, 3, 3, 3]
    assert (tmp_path / "fit.modules").is_dir()
    model, found = trained("mslmn", tmp_path, core)
    assert model.core == core
    assert all("n_modules" not in record for record in found.history)
    assert (tmp_path / "fit.safetensors").is_file()


class Started(Exception):
    """Carries what a training was started with."""


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Return what a training of some kind begins with."""

    def fit(model, params, **options):
        raise Started(params, options)

    def start(kind, awake, dtype=np.float64):
        with pytest.raises(Started) as caught:
            trained(kind, tmp_path, sized(kind, 1, 1, 4000, 3), awake, dtype)
        return caught.value.args

    monkeypatch.setattr(scales, "fit", fit)
    return start


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "mslmn grown"])
def test_networks_without_input_are_woken_by_their_biases(kind, start):
    params, options = start(kind, True)
    asleep, _ = start(kind, False)
    biases = {k: v for k, v in params.items() if k.startswith("core/b_")}
    assert biases
    for name, value in biases.items():
        middle = 5.0 if name == "core/b_f" else 0.0
        assert value.mean() == pytest.approx(middle, abs=0.1)
        assert 0.04 < value.std() < 0.16
        if kind != "clockwork":  # which always draws them
            assert asleep[name].std() == 0.0
    for name in params.keys() - biases.keys():
        np.testing.assert_array_equal(params[name], asleep[name])
    assert options["clip"] == 10.0


def test_weights_have_the_type_asked_for(start):
    for dtype in (np.float32, np.float64):
        params, _ = start("lstm", True, dtype)
        assert {value.dtype for value in params.values()} == {np.dtype(dtype)}


def a_fit(loss):
    history = ({"valid_loss": loss},)
    return Fit({}, {}, history, 1, 0.0, False, {})


def test_the_best_rate_wins_and_divergence_is_told():
    losses = {0.1: None, 0.03: 0.5, 0.01: 0.2, 0.003: 0.4, 0.001: None}

    def run(rate):
        if losses[rate] is None:
            raise DivergedError("epoch 1")
        return f"model {rate}", a_fit(losses[rate])

    def score(found):
        return found.history[0]["valid_loss"]

    rate, model, found, diverged = by_rate(list(losses), run, score)
    assert (rate, model) == (0.01, "model 0.01")
    assert found.history[0]["valid_loss"] == 0.2
    assert diverged == [0.1, 0.001]
    with pytest.raises(ValueError, match=r"every rate: \[0\.1, 0\.001\]"):
        by_rate([0.1, 0.001], run, score)


# --- the jobs ---------------------------------------------------------------

GENERATE = {
    "wave": "chirp",
    "budget": 40,
    "n_modules": 3,
    "rates": [0.03, 0.01],
    "n_epochs": 50,
    "seed": 0,
}


@pytest.fixture
def updates(monkeypatch):
    """Count updates; interrupt at number ``updates.stop``."""

    class Updates:
        n, stop = 0, None

    update = Adam.update

    def counted(*args):
        Updates.n += 1
        if Updates.n == Updates.stop:
            raise KeyboardInterrupt
        return update(*args)

    monkeypatch.setattr(Adam, "update", counted)
    return Updates


@pytest.mark.parametrize("kind", KINDS)
def test_a_generation_that_is_resumed_ends_the_same(
    kind, short, updates, tmp_path
):
    first = generate(kind, **GENERATE, checkpoint=tmp_path / "a.part")
    assert updates.n == 100
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    # In the second stage of a grown network, at the second rate.
    updates.stop = updates.n + 50 + 12
    with pytest.raises(KeyboardInterrupt):
        generate(kind, **GENERATE, checkpoint=tmp_path / "b.part")
    kept = updates.n
    again = generate(kind, **GENERATE, checkpoint=tmp_path / "b.part")
    assert again == first
    assert updates.n == kept + 50 - 11  # and not from the beginning


@pytest.mark.parametrize("kind", ["lmn", "clockwork", "mslmn grown"])
def test_the_error_is_that_of_what_was_generated(kind, short, tmp_path):
    part = tmp_path / "a.part"
    settings = GENERATE | {"rates": [0.01], "wave": "sum-of-sines"}
    found = generate(kind, **settings, checkpoint=part)
    target = waveform("sum-of-sines", 64)[:, 0]
    lost = np.mean((np.array(found["generated"]) - target) ** 2)
    error = found["normalised_error"]
    assert error == pytest.approx(lost / target.var(), rel=1e-3)
    assert error < 1.1
    assert found["curve"] == sorted(found["curve"], reverse=True)
    if kind == "mslmn grown":  # the best epoch is one with all modules
        assert found["curve"][-1] <= error
    else:
        assert found["curve"][-1] == error
    core = sized(kind, 1, 1, 40, 3)
    assert found["network"] == repr(core)
    assert found["n_weights"] == n_weights(core, 1)
    assert (found["rate"], found["diverged"]) == (0.01, [])


def test_the_better_rate_is_reported(short, tmp_path):
    errors = {}
    for rates in ([0.03], [0.0001], [0.0001, 0.03]):
        settings = GENERATE | {"rates": rates, "seed": 1}
        part = tmp_path / f"{rates}.part"
        found = generate("rnn", **settings, checkpoint=part)
        errors[tuple(rates)] = found["normalised_error"], found["rate"]
        assert found["generated"] is None  # of the first seed alone
    assert errors[0.03,] < errors[0.0001,]
    assert errors[0.0001, 0.03] == errors[0.03,]


def test_all_networks_and_seeds_learn_the_same_waveform(
    short, monkeypatch, tmp_path
):
    targets = []

    def task(target):
        targets.append(target)
        raise Started

    monkeypatch.setattr(scales, "generation_task", task)
    for kind in ("rnn", "mslmn"):
        for seed in (0, 1):
            settings = GENERATE | {"wave": "random-walk-smooth", "seed": seed}
            with pytest.raises(Started):
                generate(kind, **settings, checkpoint=tmp_path / "a.part")
    assert all((target == targets[0]).all() for target in targets)


def test_a_generation_may_be_as_short_as_one_likes(short, tmp_path):
    settings = GENERATE | {"n_epochs": 10}
    generate("rnn", **settings, checkpoint=tmp_path / "a.part")


def a_set():
    """Return sequences whose class is the sign of their first frame.

    One label of the test part is wrong, so that no network is right there.
    """
    rng = np.random.default_rng(0)

    def part(n):
        xs = [rng.standard_normal((rng.integers(5, 9), 2)) for _ in range(n)]
        for x in xs:
            x[0, 0] += 2.0 * np.sign(x[0, 0])
        return tuple((x, int(x[0, 0] > 0)) for x in xs)

    train, valid, ((x, label), *test) = part(40), part(20), part(17)
    parts = train, valid, ((x, 1 - label), *test)
    return LabelledSet("made up", "here", "none", ("low", "high"), *parts)


CLASSIFY = {
    "dataset": "made up",
    "budget": 150,
    "n_modules": 2,
    "rates": [0.03],
    "n_epochs": 6,
    "n_batch": 8,
    "noise": 0.3,
    "lags": [4, 2],
    "seed": 0,
}


@pytest.fixture
def made_up(monkeypatch):
    """Classify a set of ours; return the networks that were tested."""
    found = a_set()
    tested = []
    evaluate = scales.evaluate

    def recorded(model, params, *args):
        tested.append((model, params))
        return evaluate(model, params, *args)

    monkeypatch.setattr(scales, "labelled", {"made up": found}.__getitem__)
    monkeypatch.setattr(scales, "evaluate", recorded)
    return tested


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_are_told_apart_on_their_last_frames(
    kind, made_up, updates, tmp_path
):
    first = classify(kind, **CLASSIFY, checkpoint=tmp_path / "a.part")
    assert updates.n == 6 * 5
    again = classify(kind, **CLASSIFY, checkpoint=tmp_path / "a.part")
    assert updates.n == 6 * 5
    assert again == first
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    model, params = made_up[0]
    assert {value.dtype for value in params.values()} == {np.dtype("float32")}
    wrong = [
        model.predict(params, x[:, None].astype(np.float32))[-1, 0].argmax()
        != label
        for x, label in a_set().test
    ]
    assert first["test_error"] == pytest.approx(np.mean(wrong))
    assert 0 < np.sum(wrong) < 17
    assert len(first["curve"]) == 6
    assert first["curve"][first["best_epoch"] - 1] == first["valid_error"]
    last = first["curve"][3:] if kind == "mslmn grown" else first["curve"]
    assert min(last) == first["valid_error"]
    assert ("memory" in first) == kind.startswith("mslmn")
    if "memory" in first:
        assert first["memory"]["lags"] == [0, 2, 4]
        assert np.shape(first["memory"]["r2"]) == (2, 3)


def test_a_task_that_can_be_learned_is_learned(made_up, tmp_path):
    settings = CLASSIFY | {"n_epochs": 30, "noise": 0.0, "lags": None}
    found = classify("mslmn", **settings, checkpoint=tmp_path / "a.part")
    assert found["valid_error"] <= 0.05
    assert 0.0 < found["test_error"] < 0.12
    assert "memory" not in found


def test_noise_is_for_training(made_up, updates, tmp_path):
    for noise in (0.0, 0.3):
        settings = CLASSIFY | {"noise": noise}
        classify("rnn", **settings, checkpoint=tmp_path / f"{noise}.part")
    still, noisy = (params["core/W_xh"] for _, params in made_up)
    assert (still != noisy).any()


def test_the_sets_are_scaled_and_shaped(monkeypatch):
    found = a_set()
    for name in ("load_spoken_digits", "load_pen_digits"):
        monkeypatch.setattr(scales, name, lambda: found)
    for name in ("digits", "pen"):
        frames = np.concatenate([x for x, _ in labelled(name).train])
        np.testing.assert_allclose(frames.mean(0), 0.0, atol=1e-12)
        np.testing.assert_allclose(frames.std(0), 1.0, atol=1e-12)

    rng = np.random.default_rng(0)
    rows = [((rng.random((28, 28)), k),) for k in range(3)]
    images = LabelledSet("images", "here", "none", ("0", "1", "2"), *rows)
    monkeypatch.setattr(scales, "load_mnist", {"rows": images}.__getitem__)
    assert labelled("rows") is images
    pixels = labelled("pixels")
    for whole, halved in zip(
        (*images.train, *images.valid, *images.test),
        (*pixels.train, *pixels.valid, *pixels.test),
        strict=True,
    ):
        assert halved[1] == whole[1]
        assert halved[0].shape == (196, 1)
        for k in (0, 15, 195):
            i, j = 2 * (k // 14), 2 * (k % 14)
            block = whole[0][i : i + 2, j : j + 2]
            assert halved[0][k, 0] == pytest.approx(block.mean())


# --- memory and cost --------------------------------------------------------


def directly(parts, k, period):
    """Return R2 of x_{t-k} from m_t, frame by frame."""
    rows = [
        [
            (m[t], x[t - k])
            for m, x in pairs
            for t in range(k, len(m))
            if t % period == 0
        ]
        for pairs in parts
    ]
    (m, x), *held = [tuple(map(np.array, zip(*r, strict=True))) for r in rows]
    centred = m - m.mean(0)
    gram = centred.T @ centred
    fits = []
    for ridge in RIDGES:
        strength = ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        W = np.linalg.solve(gram + strength, centred.T @ (x - x.mean(0)))
        r2 = [
            1.0
            - np.sum((y - x.mean(0) - (s - m.mean(0)) @ W) ** 2)
            / np.sum((y - y.mean(0)) ** 2)
            for s, y in held
        ]
        fits.append(r2)
    return max(0.0, max(fits, key=lambda r2: r2[0])[1])


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3))
def test_recoverability_at_ticks_is_what_a_direct_fit_finds(
    seed, period, every
):
    rng = np.random.default_rng(seed)

    def part(n):
        xs = [rng.standard_normal((rng.integers(3, 30), 2)) for _ in range(n)]
        xs.append(rng.standard_normal((30, 2)))  # one is long enough
        return [
            (
                np.cumsum(x, 0) @ rng.standard_normal((2, 3))
                + rng.standard_normal((len(x), 3)),
                x,
            )
            for x in xs
        ]

    parts = part(8), part(5), part(5)
    found = recoverability(*parts, max_lag=7, every=every, period=period)
    expected = [directly(parts, k, period) for k in range(0, 8, every)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_module_just_grown_holds_the_frames_at_its_ticks():
    found = memory_as_grown(4, 4, 3, 9, 0)
    r2 = np.array(found["memory"]["r2"])
    assert found["memory"]["lags"] == list(range(10))
    assert r2.shape == (3, 10)
    for i, curve in enumerate(r2):
        teeth = np.arange(10) % 2**i == 0
        assert curve[~teeth].max(initial=0.0) < 0.02
        kept = curve[teeth]
        assert kept[:3].min() > 0.15
        assert kept[-1] < kept[0] + 0.02
    assert r2[0, 8] < 0.1 < 0.3 < r2[2, 8]
    assert found["network"] == repr(MultiScaleLMN(2, 4, 4, 3))
    assert memory_as_grown(4, 4, 3, 9, 0) == found
    other = memory_as_grown(4, 4, 3, 2, 1)
    assert not np.allclose(np.array(other["memory"]["r2"]), r2[:, :3])


def test_times_are_those_of_every_number_of_modules():
    modules = [1, 2, 4]
    networks = ["memory", "hidden", "clockwork"]
    found = cost(networks, modules, 4, 3, 2, 16, 3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["modules"] == modules
    assert found["shape"] == {"n_hid": 4, "n_mem": 3, "n_batch": 2,
                              "n_time": 16}  # fmt: skip
    for network in networks:
        told = found[network]
        assert min(told["forward_ms"] + told["backward_ms"]) > 0
        assert told["ratio"][1] == 1.0
        for ratio, (low, high) in zip(
            told["ratio"], told["ratio_quartiles"], strict=True
        ):
            assert low <= ratio <= high
