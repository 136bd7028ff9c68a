"""The loop: it learns, stops, restores, resumes and gives up as it says."""

import itertools
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from msref.architectures import GRU, LMN, LSTM, Bidirectional, Elman
from msref.data import minibatches
from msref.training import (
    SGD,
    Adam,
    ClassAccuracy,
    FrameAccuracy,
    Model,
    Orthogonality,
    Tally,
    evaluate,
    fit,
)


def echoes(seed, n_sequences, delay=1):
    """The task of repeating a bit, ``delay`` frames later."""
    rng = np.random.default_rng(seed)
    pairs = []
    for n_time in rng.integers(4, 9, n_sequences):
        x = rng.integers(0, 2, (n_time, 2)).astype(float)
        target = np.zeros_like(x)
        target[delay:] = x[:-delay]
        pairs.append((x, target))
    return pairs


TRAIN, VALID = echoes(1, 20), echoes(2, 6)


def small_fit(model=None, params=None, seed=3, **options):
    model = model or Model(LSTM(2, 6), 2)
    if params is None:
        params = model.init(np.random.default_rng(0))
    options = {
        "optimiser": Adam(0.02),
        "rng": np.random.default_rng(seed),
        "n_epochs": 4,
        "n_batch": 6,
        "train": TRAIN,
        "valid": VALID,
    } | options
    return fit(model, params, **options)


def timeless(history):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in history]


def assert_same(a, b):
    """Two fits agree in every bit, wall times apart."""
    for mine, other in (
        (a.params, b.params),
        (a.last, b.last),
        (a.optimiser, b.optimiser),
    ):
        assert set(mine) == set(other)
        for name in mine:
            assert mine[name].tobytes() == other[name].tobytes(), name
    assert timeless(a.history) == timeless(b.history)
    assert a.best_epoch == b.best_epoch
    assert a.stopped_early == b.stopped_early


def bits(params):
    return {name: array.tobytes() for name, array in params.items()}


# --- learning ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_learns_to_repeat_a_bit(dtype):
    model = Model(LSTM(2, 6), 2)
    params = model.init(np.random.default_rng(0), dtype)
    result = small_fit(
        model, params, n_epochs=60, clip=1.0, metric=FrameAccuracy()
    )
    assert result.params["core/W_xi"].dtype == dtype
    first, last = result.history[0], result.history[-1]
    assert last["train_loss"] < 0.1 * first["train_loss"]
    assert last["valid_score"] > 0.95 > first["valid_score"]
    assert [r["epoch"] for r in result.history] == list(range(1, 61))
    assert result.seconds == pytest.approx(
        sum(r["seconds"] for r in result.history)
    )
    found = evaluate(model, result.params, VALID, FrameAccuracy(), n_batch=2)
    assert found["score"] == last["valid_score"]
    best = result.history[result.best_epoch - 1]
    assert found["loss"] == pytest.approx(best["valid_loss"], rel=1e-5)


def test_it_learns_a_class_of_the_whole_sequence_with_both_directions():
    rng = np.random.default_rng(0)
    data = []
    for _ in range(40):
        x = rng.standard_normal((rng.integers(2, 7), 2))
        data.append((x, [int(x[0, 0] > 0)]))
    result = small_fit(
        Model(Bidirectional(GRU(2, 4), Elman(2, 3)), 2, "softmax"),
        train=data,
        valid=data,
        n_epochs=30,
        metric=ClassAccuracy(),
        best="highest score",
    )
    assert result.history[result.best_epoch - 1]["valid_score"] >= 0.9


def test_the_training_loss_is_the_mean_over_frames():
    model = Model(Elman(2, 3), 2)
    params = model.init(np.random.default_rng(0))
    still = SGD(1e-300)  # the weights do not move
    result = small_fit(model, params, optimiser=still, n_epochs=1)
    expected = evaluate(model, params, TRAIN)["loss"]
    assert result.history[0]["train_loss"] == pytest.approx(expected)


def test_validation_leaves_the_penalty_out_and_training_does_not():
    plain = Model(LMN(2, 3, 4), 2)
    model = Model(LMN(2, 3, 4), 2, penalty=Orthogonality("core/W_mm", 10.0))
    params = model.init(np.random.default_rng(0))
    still = SGD(1e-300)
    a, b = (
        small_fit(m, params, optimiser=still, n_epochs=1).history[0]
        for m in (plain, model)
    )
    assert a["valid_loss"] == b["valid_loss"]
    assert b["train_loss"] == pytest.approx(
        a["train_loss"] + float(model.penalty.value(params))
    )


@pytest.mark.parametrize("optimiser", [SGD(0.1, 0.9), Adam(0.02)])
def test_frozen_parameters_stay_bit_for_bit(optimiser):
    frozen = ("core/W_hm", "core/W_mm", "core/b_m")
    model = Model(LMN(2, 3, 4), 2, frozen=frozen)
    params = model.init(np.random.default_rng(0))
    result = small_fit(model, params, optimiser=optimiser, n_epochs=2)
    for name in params:
        same = result.last[name].tobytes() == params[name].tobytes()
        assert same == (name in frozen), name


def test_clipping_is_used():
    a = small_fit(n_epochs=1, optimiser=SGD(0.1))
    b = small_fit(n_epochs=1, optimiser=SGD(0.1), clip=1e-6)
    start = Model(LSTM(2, 6), 2).init(np.random.default_rng(0))
    assert abs(a.last["core/W_xi"] - start["core/W_xi"]).max() > 1e-4
    assert abs(b.last["core/W_xi"] - start["core/W_xi"]).max() < 1e-6


def test_the_same_seed_gives_the_same_bits():
    assert_same(small_fit(), small_fit())
    other = small_fit(seed=4)
    assert bits(other.last) != bits(small_fit().last)


def test_the_given_parameters_are_left_alone():
    model = Model(LSTM(2, 6), 2)
    params = model.init(np.random.default_rng(0))
    before = bits(params)
    small_fit(model, params, n_epochs=1)
    assert bits(params) == before


# --- noise ------------------------------------------------------------------


class Listening(Elman):
    """An Elman network that writes down what it hears."""

    def forward(self, params, x, *arguments):
        self.heard.append(x)
        return super().forward(params, x, *arguments)


def heard(dtype=np.float64, **options):
    """Return what a network hears in a fit, batch by batch."""
    core = Listening(2, 3)
    object.__setattr__(core, "heard", [])
    model = Model(core, 2)
    small_fit(model, model.init(np.random.default_rng(0), dtype), **options)
    assert all(x.dtype == dtype for x in core.heard)
    return core.heard


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_on_the_frames_of_training_and_new_in_every_epoch(dtype):
    one_batch = {"n_batch": 20, "n_epochs": 3}
    silent = heard(dtype, **one_batch)
    found = heard(dtype, noise=0.01, **one_batch)
    for x, clean in zip(found[1::2], silent[1::2], strict=True):
        np.testing.assert_array_equal(x, clean)  # of validation
    n_frames = sum(len(x) for x, _ in TRAIN)
    drawn = []
    for x in found[::2]:
        noise = x - x.round()
        frames = noise.any(-1)
        assert frames.sum() == n_frames
        assert (np.diff(frames.astype(int), axis=0) <= 0).all()  # then padding
        assert not x[~frames].any()
        drawn.append(noise[frames].ravel())
    joint = np.concatenate(drawn)
    assert joint.std() == pytest.approx(0.01, rel=0.15)
    assert abs(joint.mean()) < 4 * 0.01 / joint.size**0.5
    assert np.unique(joint).size > 0.99 * joint.size


def test_noise_is_new_in_every_batch():
    found = heard(noise=0.01, n_epochs=1)[:-1]  # without validation
    drawn = np.concatenate([(x - x.round()).ravel() for x in found])
    drawn = drawn[drawn != 0]
    assert len(found) == 4
    assert np.unique(drawn).size > 0.99 * drawn.size


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_fit_draws_a_shuffle_an_epoch_and_a_key_if_there_is_noise(noise):
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    small_fit(rng=rng, noise=noise)
    for _ in range(4):
        minibatches([len(x) for x, _ in TRAIN], 6, same, bucket=True)
        if noise:
            same.integers(2**63)
    assert rng.random() == same.random()


# --- detached steps ---------------------------------------------------------


class Watched(LMN):
    """An LMN that notes which steps were detached."""

    def backward(self, params, tape, dy, dstate=None, detached=None):
        self.seen.append(detached)
        return super().backward(params, tape, dy, dstate, detached)


def test_steps_are_detached_at_random_anew_in_every_batch():
    Watched.seen = []
    model = Model(Watched(2, 3, 2), 2)
    params = model.init(np.random.default_rng(0))
    small_fit(model, params, detach=0.25, n_epochs=40)
    drawn = np.concatenate(Watched.seen)
    assert drawn.dtype == bool
    assert drawn.mean() == pytest.approx(0.25, abs=0.05)
    assert not all(
        np.array_equal(a, b)
        for a, b in itertools.pairwise(Watched.seen)
        if len(a) == len(b)
    )
    Watched.seen = []
    small_fit(model, params, n_epochs=1)
    assert Watched.seen == [None] * 4


def test_detached_fits_resume_to_the_bit(tmp_path):
    def attempt(**options):
        model = Model(LMN(2, 3, 2), 2)
        params = model.init(np.random.default_rng(0))
        rng = np.random.default_rng(1)
        return small_fit(model, params, rng=rng, detach=0.5, **options)

    path = tmp_path / "fit.safetensors"
    attempt(n_epochs=2, checkpoint=path)
    resumed = attempt(n_epochs=4, checkpoint=path)
    assert_same(resumed, attempt(n_epochs=4))
    assert bits(resumed.last) != bits(small_fit(n_epochs=4).last)


# --- going on ---------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("optimiser", [Adam(0.02), SGD(0.1, 0.9), SGD(0.1)])
def test_two_fits_in_a_row_are_one(tmp_path, optimiser, noise):
    options = {"optimiser": optimiser, "noise": noise}
    whole = small_fit(n_epochs=4, **options)
    path = tmp_path / "fit.safetensors"
    for _ in range(2):  # the second time, the first fit is only read
        rng = np.random.default_rng(3)
        first = small_fit(rng=rng, n_epochs=2, checkpoint=path, **options)
        before = bits(first.optimiser)
        second = small_fit(
            params=first.last,
            optimiser_state=first.optimiser,
            rng=rng,
            n_epochs=2,
            **options,
        )
        assert bits(second.last) == bits(whole.last)
        assert bits(second.optimiser) == bits(whole.optimiser)
        assert bits(first.optimiser) == before
        losses = [
            (record["train_loss"], record["valid_loss"])
            for record in (*first.history, *second.history)
        ]
        assert losses == [
            (record["train_loss"], record["valid_loss"])
            for record in whole.history
        ]


def test_without_its_state_adam_goes_elsewhere():
    rng = np.random.default_rng(3)
    first = small_fit(rng=rng, n_epochs=2)
    second = small_fit(params=first.last, rng=rng, n_epochs=2)
    assert bits(second.last) != bits(small_fit(n_epochs=4).last)


def change_state(**changes):
    model = Model(LSTM(2, 6), 2)
    state = Adam().init(model.init(np.random.default_rng(0)))
    state = state | {k.replace("__", "/"): v for k, v in changes.items()}
    return {k: v for k, v in state.items() if v is not None}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, r"optimiser_state holds the names \[\], expected"),
        (change_state(t=None), "optimiser_state holds the names"),
        (change_state(u=np.zeros(1)), "optimiser_state holds the names"),
        (change_state(t=np.zeros(1)), r"\['t'\] has shape \(1,\) and type fl"),
        (change_state(m__readout__b_o=np.zeros(3)), "b_o'] has shape"),
        (change_state(m__readout__b_o=np.full(2, np.nan)), "b_o'] holds nan"),
    ],
)
def test_a_state_of_another_optimiser_is_refused(state, words):
    with pytest.raises(ValueError, match=words):
        small_fit(optimiser_state=state)


# --- stopping ---------------------------------------------------------------


def scripted(scores):
    """A metric whose value per epoch is written down beforehand."""
    left = iter(scores)
    return lambda o, target, mask: Tally(next(left), 1)


@pytest.mark.parametrize(
    ("best", "scores", "epoch"),
    [
        ("highest score", [1, 3, 2, 3, 2, 9], 2),
        ("lowest score", [5, 4, 1, 2, 1, 3, 0], 3),
    ],
)
def test_patience_stops_and_the_best_parameters_come_back(best, scores, epoch):
    options = {"valid": VALID[:1], "best": best}
    result = small_fit(
        n_epochs=9, patience=3, metric=scripted(scores), **options
    )
    assert result.best_epoch == epoch
    assert len(result.history) == epoch + 3
    assert result.stopped_early
    shorter = small_fit(n_epochs=epoch, metric=scripted(scores), **options)
    assert bits(result.params) == bits(shorter.last)
    assert bits(result.last) != bits(shorter.last)
    assert not shorter.stopped_early


def test_by_default_the_lowest_validation_loss_is_the_best():
    overfit = {"train": TRAIN[:2], "valid": VALID, "n_epochs": 60}
    result = small_fit(optimiser=Adam(0.1), patience=5, **overfit)
    losses = [r["valid_loss"] for r in result.history]
    assert result.best_epoch == losses.index(min(losses)) + 1
    assert len(losses) == result.best_epoch + 5 < 60
    found = evaluate(Model(LSTM(2, 6), 2), result.params, VALID)["loss"]
    assert found == pytest.approx(min(losses), rel=1e-12)


# --- giving up --------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 1.0])
def test_divergence_names_epoch_and_step(clip):
    model = Model(LMN(2, 3, 4), 2, "squared")
    with pytest.raises(ValueError, match=r"epoch \d+, (step \d+|validation): "):
        small_fit(model, optimiser=SGD(1e200), clip=clip, n_epochs=9)


def test_a_loss_that_overflows_is_divergence():
    model = Model(Elman(2, 3), 2, "squared")
    data = [(x, target * 1e160) for x, target in TRAIN]
    with pytest.raises(ValueError, match="epoch 1, step 1: the loss is inf"):
        small_fit(model, train=data, valid=VALID)


def test_a_score_of_nothing_names_the_epoch():
    silent = [(x, 0 * target) for x, target in VALID]
    still = SGD(1e-300)
    model = Model(Elman(2, 3), 2)
    params = model.init(np.random.default_rng(0))
    params["readout/b_o"] -= 50
    with pytest.raises(ValueError, match=r"epoch 1, validation: .* 0 / 0"):
        small_fit(
            model, params, optimiser=still, valid=silent, metric=FrameAccuracy()
        )


X, Y = TRAIN[0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_epochs": 0}, ValueError, "n_epochs is 0"),
        ({"n_batch": 0}, ValueError, "n_batch is 0"),
        ({"patience": 0}, ValueError, "patience is 0"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every is 0"),
        ({"best": "least"}, ValueError, "best is 'least'"),
        ({"best": "highest score"}, ValueError, "needs a metric"),
        ({"clip": -1.0}, ValueError, "maximum is -1"),
        ({"noise": -0.1}, ValueError, "noise is -0.1"),
        ({"noise": math.nan}, ValueError, "noise is nan"),
        ({"noise": math.inf}, ValueError, "noise is inf"),
        ({"detach": -0.1}, ValueError, "detach is -0.1"),
        ({"detach": 1.1}, ValueError, "detach is 1.1"),
        ({"detach": 0.5}, ValueError, "which LSTM.* cannot do"),
        ({"train": []}, ValueError, "train is empty"),
        ({"valid": []}, ValueError, "valid is empty"),
        ({"train": [(X, Y), (X[:, :1], Y)]}, ValueError, r"train\[1\]: x has"),
        ({"train": [(X, Y), (X, Y[:, :1])]}, ValueError, r"train\[1\]: target"),
        ({"valid": [(X[:2], Y)]}, ValueError, r"valid\[0\]: the target"),
        ({"valid": [(X, Y + 1)]}, ValueError, r"valid\[0\]: .* expected 0..1"),
        ({"valid": [(X * np.nan, Y)]}, ValueError, r"valid\[0\]: .*nan"),
        ({"params": {"a": X}}, ValueError, "params holds the names"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        small_fit(**options)


# --- showing ----------------------------------------------------------------


def test_reports_come_once_an_epoch():
    seen = []
    result = small_fit(report=seen.append, n_epochs=3)
    assert tuple(seen) == result.history


@pytest.mark.parametrize("progress", [True, False, None])
def test_the_bar_shows_only_where_it_is_wanted(progress, capfd):
    small_fit(progress=progress, n_epochs=1)
    out, err = capfd.readouterr()
    assert not out
    assert bool(err) == (progress is True)


@pytest.mark.parametrize("metric", [None, FrameAccuracy()])
def test_the_bar_shows_its_title_and_what_validation_found(metric, capfd):
    result = small_fit(
        progress=True, title="step [b]", metric=metric, n_epochs=2
    )
    _, err = capfd.readouterr()
    assert "step [b]" in err
    shown = " ".join(err.split())  # whatever the width
    assert f"valid_loss {result.history[-1]['valid_loss']:.4g}" in shown
    assert ("valid_score" in shown) == (metric is not None)


# --- resuming ---------------------------------------------------------------


@pytest.mark.parametrize("optimiser", [Adam(0.02), SGD(0.1, 0.9, True), SGD(1)])
@pytest.mark.parametrize("generator", ["PCG64", "MT19937", "SFC64", "Philox"])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_ctrl_c_anywhere_and_resuming_gives_the_same_bits(
    tmp_path, optimiser, generator, noise
):
    def attempt(core, **options):
        rng = np.random.Generator(getattr(np.random, generator)(5))
        model = Model(core, 2)
        params = model.init(np.random.default_rng(0))
        return small_fit(
            model,
            params,
            rng=rng,
            optimiser=optimiser,
            patience=3,
            n_epochs=3,
            noise=noise,
            **options,
        )

    path = tmp_path / "fit.safetensors"
    Interrupted.left = math.inf
    expected = attempt(Interrupted(2, 3))
    for allowed in (0, 1, 3, 5, 3):  # of 15: four batches, one validation
        Interrupted.left = allowed
        with pytest.raises(KeyboardInterrupt):
            attempt(Interrupted(2, 3), checkpoint=path, checkpoint_every=10**9)
    Interrupted.left = 99
    assert_same(attempt(Interrupted(2, 3), checkpoint=path), expected)
    assert Interrupted.left == 99 - 3  # no update is made twice
    assert_same(attempt(Interrupted(2, 3), checkpoint=path), expected)


class Interrupted(Elman):
    """An Elman network that somebody presses Ctrl-C on."""

    left = math.inf

    def forward(self, *arguments):
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        Interrupted.left -= 1
        return super().forward(*arguments)


def test_more_epochs_may_be_asked_for_later(tmp_path):
    path = tmp_path / "fit.safetensors"
    small_fit(n_epochs=2, checkpoint=path)
    longer = small_fit(n_epochs=5, checkpoint=path)
    assert_same(longer, small_fit(n_epochs=5))


def test_a_finished_fit_is_not_run_again(tmp_path):
    path = tmp_path / "fit.safetensors"
    first = small_fit(checkpoint=path)
    seen = []
    again = small_fit(checkpoint=path, report=seen.append)
    assert_same(first, again)
    assert again.seconds == first.seconds
    assert not seen


# The child is as slow as a real training, so that a signal finds it at work.

CHILD = """
import os, pickle, signal, sys, time
sys.path.insert(0, {folder!r})
import test_fitting

class Slow(test_fitting.Slow):
    def forward(self, *arguments):
        time.sleep(0.004)
        return super().forward(*arguments)

path, result, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
fsync, calls = os.fsync, []

def kill_while_writing(handle):
    calls.append(handle)
    if len(calls) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(handle)

os.fsync = kill_while_writing
found = test_fitting.long_fit(Slow(2, 3), checkpoint=path, checkpoint_every=1)
with open(result, "wb") as file:
    pickle.dump(found, file)
"""


class Slow(Elman):
    """Not slow; named like the child's network, so that they are equal."""


def long_fit(core, **options):
    return small_fit(
        Model(core, 2),
        n_epochs=20,
        n_batch=2,
        patience=11,
        metric=FrameAccuracy(),
        best="lowest score",  # so an early epoch is the best
        clip=0.5,
        noise=0.1,
        **options,
    )


def test_killed_at_any_moment_and_resumed_it_gives_the_same_bits(tmp_path):
    path, result = tmp_path / "fit.safetensors", tmp_path / "result.pickle"
    code = CHILD.format(folder=os.path.dirname(__file__))
    seed = time.time_ns()
    print("seed", seed)  # shown if the test fails
    moment = random.Random(seed)

    def start(kill_at=0):
        arguments = [sys.executable, "-c", code, path, result, kill_at]
        return subprocess.Popen(
            [str(a) for a in arguments], stderr=subprocess.DEVNULL
        )

    def kill_after_a_while(child, number):
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert child.poll() is None
            time.sleep(0.002)
        time.sleep(moment.uniform(0, 0.15))
        child.send_signal(number)
        assert child.wait(30) == -number

    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        kill_after_a_while(start(), number)
    for _ in range(2):
        child = start(kill_at=moment.randint(2, 15))
        assert child.wait(30) == -signal.SIGKILL
    assert not result.exists()
    assert start().wait(60) == 0
    with open(result, "rb") as file:
        found = pickle.load(file)
    assert found.best_epoch < len(found.history)
    assert found.stopped_early
    assert_same(found, long_fit(Slow(2, 3)))
