"""What an epoch brings: drawn states, buffers, fresh data, and the end."""

import math

import numpy as np
import pytest
from test_fitting import (
    TRAIN,
    VALID,
    Interrupted,
    Listening,
    assert_same,
    bits,
    echoes,
    scripted,
    small_fit,
)

from msref.architectures import LMN, BatchNorm, Dropout, Elman, Stack
from msref.data import minibatches
from msref.training import SGD, Adam, FrameAccuracy, Model, evaluate

STILL = SGD(1e-300)  # the weights do not move


class Worn(Dropout):
    """A dropout that writes down the masks it starts from."""

    worn = ()

    def forward(self, params, x, state=None, t0=0):
        mask = None if state is None else state["mask"]
        Worn.worn.append((self.rate, mask))
        return super().forward(params, x, state, t0)


def worn(core, **options):
    Worn.worn = []
    model = Model(core, 2)
    params = model.init(np.random.default_rng(0))
    small_fit(model, params, **options)
    return Worn.worn


# --- states that are drawn --------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_every_update_draws_a_state_and_validation_none(seed):
    core = Stack(Elman(2, 50), Worn(50, 0.3))
    found = worn(core, n_epochs=3, n_batch=10, seed=seed)
    training = [
        np.asarray(m) for _, m in found if m is not None and not all_on(m)
    ]
    validation = [m for _, m in found if m is None or all_on(m)]
    assert len(training) == 3 * 2
    assert len(validation) == 3
    for mask in training:
        assert mask.shape == (10, 50)
        assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    share = np.mean([(mask == 0).mean() for mask in training])
    assert share == pytest.approx(0.3, abs=4 * (0.21 / 3000) ** 0.5)
    assert len({mask.tobytes() for mask in training}) == 6


def all_on(mask):
    return bool((np.asarray(mask) == 1).all())


def test_states_and_buffers_have_the_type_of_the_data():
    core = Stack(BatchNorm(2), Elman(2, 4), Dropout(4, 0.5))
    model = Model(core, 2)
    params = model.init(np.random.default_rng(0), np.float32)
    result = small_fit(model, params, n_epochs=2)
    assert all(array.dtype == np.float32 for array in result.last.values())


def test_a_core_that_draws_costs_one_key_an_epoch():
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    small_fit(Model(Stack(Elman(2, 3), Dropout(3, 0.5)), 2), rng=rng)
    for _ in range(4):
        minibatches([len(x) for x, _ in TRAIN], 6, same, bucket=True)
        same.integers(2**63)
    assert rng.random() == same.random()


def test_the_state_is_drawn_after_the_noise():
    def noisy(*others):
        ear = Listening(2, 3)
        object.__setattr__(ear, "heard", [])
        model = Model(Stack(ear, LMN(3, 2, 2), *others), 2)
        params = model.init(np.random.default_rng(0))
        small_fit(model, params, noise=0.1, n_epochs=2)
        return [x.tobytes() for x in ear.heard]

    assert noisy() == noisy(Dropout(2, 0.5))


# --- buffers ----------------------------------------------------------------


def frames(pairs):
    return np.concatenate([x for x, _ in pairs])


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_buffers_are_updated_after_every_update(n_epochs):
    model = Model(Stack(BatchNorm(2, momentum=0.2), Elman(2, 3)), 2)
    params = model.init(np.random.default_rng(0))
    result = small_fit(
        model, params, optimiser=STILL, n_batch=20, n_epochs=n_epochs
    )
    kept = 0.8**n_epochs  # one batch, the same in every epoch
    x = frames(TRAIN)
    for name, start, seen in (
        ("core/0/mean", 0.0, x.mean(0)),
        ("core/0/var", 1.0, x.var(0, ddof=1)),
    ):
        expected = kept * start + (1 - kept) * seen
        np.testing.assert_allclose(result.last[name], expected, rtol=1e-12)
    last = result.history[-1]["valid_loss"]
    assert last == pytest.approx(evaluate(model, result.last, VALID)["loss"])
    stale = result.last | {k: params[k] for k in model.buffers}
    assert last != pytest.approx(evaluate(model, stale, VALID)["loss"])


@pytest.mark.parametrize("optimiser", [Adam(0.02), SGD(0.1, 0.9, False, 0.5)])
def test_no_optimiser_keeps_anything_of_a_buffer(optimiser):
    model = Model(Stack(BatchNorm(2), Elman(2, 3)), 2)
    result = small_fit(model, optimiser=optimiser, n_epochs=1)
    learned = set(model.shapes()) - {"core/0/mean", "core/0/var"}
    names = {k.partition("/")[2] for k in result.optimiser} - {""}
    assert names == learned
    # Weight decay would shrink them.
    model = Model(Stack(BatchNorm(2, momentum=0.2), Elman(2, 3)), 2)
    result = small_fit(model, optimiser=optimiser, n_batch=20, n_epochs=1)
    np.testing.assert_allclose(
        result.last["core/0/mean"], 0.2 * frames(TRAIN).mean(0), rtol=1e-12
    )


def test_frozen_buffers_observe_nothing():
    core = Stack(BatchNorm(2), Elman(2, 3), BatchNorm(3))
    model = Model(core, 2, frozen=("core/0",))
    params = model.init(np.random.default_rng(0))
    last = small_fit(model, params, n_epochs=2).last
    for name in params:
        same = last[name].tobytes() == params[name].tobytes()
        assert same == name.startswith("core/0/"), name


# --- both, interrupted ------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("optimiser", [Adam(0.02), SGD(0.1, 0.9)])
@pytest.mark.parametrize("fresh", [False, True])
def test_ctrl_c_anywhere_gives_the_same_bits(tmp_path, noise, optimiser, fresh):
    def attempt(**options):
        inner = Stack(BatchNorm(2), Interrupted(2, 3), Dropout(3, 0.4))
        model = Model(inner, 2)
        params = model.init(np.random.default_rng(0))
        return small_fit(
            model,
            params,
            train=anew if fresh else TRAIN,
            optimiser=optimiser,
            n_epochs=3,
            noise=noise,
            **options,
        )

    path = tmp_path / "fit.safetensors"
    Interrupted.left = math.inf
    expected = attempt()
    for allowed in (0, 1, 3, 5, 3):  # of 15: four batches, one validation
        Interrupted.left = allowed
        with pytest.raises(KeyboardInterrupt):
            attempt(checkpoint=path, checkpoint_every=10**9)
    Interrupted.left = 99
    assert_same(attempt(checkpoint=path), expected)
    assert Interrupted.left == 99 - 3  # no update is made twice


def test_two_fits_in_a_row_with_drawn_states_are_one():
    model = Model(Stack(BatchNorm(2), Elman(2, 3), Dropout(3, 0.4)), 2)
    params = model.init(np.random.default_rng(0))
    whole = small_fit(model, params, n_epochs=4)
    rng = np.random.default_rng(3)
    first = small_fit(model, params, rng=rng, n_epochs=2)
    second = small_fit(
        model,
        first.last,
        rng=rng,
        n_epochs=2,
        optimiser_state=first.optimiser,
    )
    assert bits(second.last) == bits(whole.last)


# --- fresh data -------------------------------------------------------------


def anew(epoch):
    return echoes(100 + epoch, 20)


def test_a_function_of_one_set_is_that_set():
    assert_same(small_fit(train=lambda epoch: TRAIN), small_fit())


def test_every_epoch_hears_its_own_sequences():
    asked = []

    def train(epoch):
        asked.append(epoch)
        return anew(epoch)

    ear = Listening(2, 3)
    object.__setattr__(ear, "heard", [])
    small_fit(Model(ear, 2), train=train, n_epochs=3, n_batch=20)
    assert asked == [1, 2, 3]
    for epoch, x in enumerate(ear.heard[::2], 1):  # then validation
        expected = sorted(pair[0].tobytes() for pair in anew(epoch))
        found = []
        for b in range(20):
            lengths = [len(pair[0]) for pair in anew(epoch)]
            found.append(x[: sorted(lengths)[b], b].tobytes())
        assert sorted(found) == expected


def test_fresh_sequences_are_taken_up_where_the_fit_was(tmp_path):
    path = tmp_path / "fit.safetensors"
    small_fit(train=anew, n_epochs=2, checkpoint=path)
    longer = small_fit(train=anew, n_epochs=4, checkpoint=path)
    assert_same(longer, small_fit(train=anew, n_epochs=4))
    assert bits(longer.last) != bits(small_fit(train=anew(1)).last)


@pytest.mark.parametrize(
    "other", [lambda epoch: anew(epoch + 1), anew(1)], ids=["later", "list"]
)
def test_the_checkpoint_of_other_sequences_is_refused(tmp_path, other):
    path = tmp_path / "fit.safetensors"
    small_fit(train=anew, n_epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match="train was new, first 40 arrays"):
        small_fit(train=other, n_epochs=2, checkpoint=path)


X, Y = TRAIN[0]


@pytest.mark.parametrize(
    ("epoch", "pairs", "words"),
    [
        (1, [], r"train\(1\) is empty"),
        (1, [(X, Y), (X[:, :1], Y)], r"train\(1\)\[1\]: x has shape"),
        (2, TRAIN[1:], r"train\(2\) gives 19 sequences, expected 20 as"),
        (3, [*TRAIN, (X, Y)], r"train\(3\) gives 21 sequences, expected 20"),
        (3, [*TRAIN[1:], (X, Y + 1)], r"train\(3\)\[19\]: .* expected 0..1"),
    ],
)
def test_fresh_sequences_that_do_not_fit_are_refused(epoch, pairs, words):
    seen = []
    with pytest.raises(ValueError, match=words):
        small_fit(
            train=lambda now: pairs if now == epoch else TRAIN,
            report=seen.append,
        )
    assert len(seen) == epoch - 1


# --- good enough ------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "scores", "enough", "epoch"),
    [
        ("highest score", [1, 3, 2, 4, 9], 3, 2),
        ("highest score", [1, 3, 2, 4, 9], 3.5, 4),
        ("lowest score", [5, 4, 1, 2, 0], 4.5, 2),
        ("lowest score", [5, 4, 1, 2, 0], 1, 3),
    ],
)
def test_it_stops_after_the_first_epoch_that_is_good_enough(
    tmp_path, best, scores, enough, epoch
):
    options = {"valid": VALID[:1], "best": best, "n_epochs": 5}
    path = tmp_path / "fit.safetensors"
    for metric in (scripted(scores), scripted([])):  # then only read
        result = small_fit(
            metric=metric, enough=enough, checkpoint=path, **options
        )
        assert len(result.history) == result.best_epoch == epoch
        assert result.reached
        assert not result.stopped_early
        assert bits(result.params) == bits(result.last)


def test_by_default_enough_is_a_validation_loss():
    losses = [r["valid_loss"] for r in small_fit(n_epochs=6).history]
    assert losses == sorted(losses, reverse=True)  # so any may be named
    result = small_fit(n_epochs=6, enough=losses[2], metric=FrameAccuracy())
    assert len(result.history) == 3
    assert result.reached


def test_what_is_never_reached_changes_nothing():
    plain = small_fit()
    assert not plain.reached
    never = small_fit(enough=0.0)
    assert_same(never, plain)
    assert not never.reached
    scores = [1, 3, 2, 2, 9]
    result = small_fit(
        valid=VALID[:1],
        best="highest score",
        metric=scripted(scores),
        enough=5,
        patience=2,
        n_epochs=5,
    )
    assert result.stopped_early
    assert not result.reached


@pytest.mark.parametrize("enough", [math.nan, math.inf])
def test_enough_is_a_number(enough):
    with pytest.raises(ValueError, match=f"enough is {enough}"):
        small_fit(enough=enough)


def test_the_checkpoint_of_another_end_is_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    small_fit(checkpoint=path, n_epochs=1)
    with pytest.raises(ValueError, match=r"enough was None, is 0\.5"):
        small_fit(checkpoint=path, n_epochs=1, enough=0.5)
    small_fit(checkpoint=path, n_epochs=1)
