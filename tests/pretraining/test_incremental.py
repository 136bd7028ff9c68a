"""Train, grow, train on; and all of it again after a kill."""

import itertools
import warnings

import numpy as np
import pytest

from msref.architectures import LMN, Bidirectional, MultiScaleLMN
from msref.pretraining import (
    GrowthWarning,
    IncrementalTraining,
    first_module,
    grow,
)
from msref.training import SGD, Adam, DivergedError, Model, fit

RNG = np.random.default_rng(0)
TRAIN = [
    (x, np.cumsum(x, axis=0)[:, :1] / 3)
    for x in (RNG.standard_normal((n, 2)) for n in (12, 20, 9, 16, 30, 11))
]
VALID = TRAIN
ONE = Model(MultiScaleLMN(2, 4, 3, 1), 1, "squared")
BOTH = Model(
    Bidirectional(MultiScaleLMN(2, 4, 3, 1), MultiScaleLMN(2, 3, 2, 1)),
    *(1, "squared"),
)
SCHEDULE = IncrementalTraining(n_modules=3, every=2)


def train(schedule=SCHEDULE, model=ONE, n_epochs=6, seed=1, **options):
    params = model.init(np.random.default_rng(0))
    settings = {"optimiser": Adam(0.02), "n_batch": 3} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrowthWarning)
        return schedule.fit(
            *(model, params, TRAIN, VALID),
            rng=np.random.default_rng(seed),
            n_epochs=n_epochs,
            **settings,
        )


def outcome(result):
    """Return everything but the seconds, comparable to the bit."""
    model, found = result
    arrays = {**found.params, **{f"last/{k}": v for k, v in found.last.items()}}
    history = [
        {k: v for k, v in record.items() if k != "seconds"}
        for record in found.history
    ]
    bits = {k: (v.shape, v.tobytes()) for k, v in arrays.items()}
    return repr(model), bits, history, found.best_epoch, found.stopped_early


@pytest.mark.parametrize("model", [ONE, BOTH], ids=["one", "both"])
def test_modules_come_after_every_so_many_epochs(model):
    grown, found = train(model=model)
    assert [r["n_modules"] for r in found.history] == [1, 1, 2, 2, 3, 3]
    assert [r["epoch"] for r in found.history] == [1, 2, 3, 4, 5, 6]
    assert {k: v.shape for k, v in found.params.items()} == grown.shapes()
    cores = getattr(grown.core, "parts", (grown.core,))
    assert [core.n_modules for core in cores] == [3] * len(cores)
    assert found.best_epoch in (5, 6)
    for name, value in found.last.items():  # all parameters learn
        assert value.any(), name


@pytest.mark.parametrize("optimiser", [Adam(0.02), SGD(0.05, 0.9)])
def test_it_is_fits_with_growths_between_them(optimiser):
    _, found = train(optimiser=optimiser)
    rng = np.random.default_rng(1)
    sequences = [x for x, _ in TRAIN]
    model, params = ONE, ONE.init(np.random.default_rng(0))
    params = first_module(model, params, sequences, rng=rng)
    losses, state = [], None
    for stage in range(3):
        if stage:
            n, _ = model.core.n_modules * 3, model.core.n_hid
            model, params = grow(model, params, sequences, rng=rng)
            state = {
                k: _moved(v, model.shapes()[k.partition("/")[2]])
                if "/" in k
                else v
                for k, v in state.items()
            }
            assert len(params["readout/W_yo"]) == n + 3
        part = fit(
            *(model, params, TRAIN, VALID),
            optimiser=optimiser,
            optimiser_state=state,
            rng=rng,
            n_epochs=2,
            n_batch=3,
        )
        params, state = part.last, part.optimiser
        losses += [r["valid_loss"] for r in part.history]
    assert losses == [r["valid_loss"] for r in found.history]


def _moved(moment, shape):
    whole = np.zeros(shape)
    whole[tuple(slice(n) for n in moment.shape)] = moment
    return whole


def test_growth_alone_does_not_move_the_validation_loss():
    """With a rate so small that nothing learns, the loss is one number."""
    _, found = train(optimiser=SGD(1e-12))
    losses = [r["valid_loss"] for r in found.history]
    assert np.ptp(losses) < 1e-9
    _, moved = train(
        IncrementalTraining(3, 2, refit=True), optimiser=SGD(1e-12)
    )
    refitted = [r["valid_loss"] for r in moved.history]
    assert refitted[0] < losses[0]
    assert refitted[2] < refitted[0]


def test_patience_cannot_end_it_before_the_last_module():
    options = {"patience": 1, "optimiser": SGD(1e-300)}
    _, found = train(IncrementalTraining(3, 4), n_epochs=50, **options)
    assert found.stopped_early
    modules = [r["n_modules"] for r in found.history]
    assert modules == [1] * 4 + [2] * 4 + [3] * 2


@pytest.mark.parametrize("stop_at", range(1, 6))
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, stop_at):
    expected = outcome(train(noise=0.1))

    def stop(record):
        if record["epoch"] == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(noise=0.1, checkpoint=tmp_path / "run", report=stop)
    seen = []
    result = train(noise=0.1, checkpoint=tmp_path / "run", report=seen.append)
    assert outcome(result) == expected
    assert [r["epoch"] for r in seen] == list(range(stop_at + 1, 7))
    assert [r["n_modules"] for r in seen] == [1, 1, 2, 2, 3, 3][stop_at:]
    again = train(noise=0.1, checkpoint=tmp_path / "run")
    assert outcome(again) == expected
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == [f"modules-{g}.safetensors" for g in (1, 2, 3)]


@pytest.mark.parametrize(
    "other",
    [
        (IncrementalTraining(3, 1), {"n_epochs": 6}),
        (IncrementalTraining(3, 1), {"n_epochs": 3}),
        (IncrementalTraining(4, 1), {"n_epochs": 9}),
    ],
)
def test_checkpoints_of_another_schedule_are_refused(tmp_path, other):
    train(checkpoint=tmp_path)
    schedule, options = other
    with pytest.raises(ValueError, match="belongs to another schedule"):
        train(schedule, checkpoint=tmp_path, **options)


def test_a_divergence_says_at_how_many_modules():
    calls = []

    class Exploding(SGD):
        def update(self, params, grads, state):
            calls.append(1)
            scale = 1e300 if len(calls) > 6 else 1.0
            grads = {k: scale * v for k, v in grads.items()}
            return super().update(params, grads, state)

    words = "with 2 modules, after 2 epochs: epoch 2, step"
    with pytest.raises(DivergedError, match=words):
        train(optimiser=Exploding(1e-3))


@pytest.mark.parametrize("name", ["optimiser_state", "title"])
def test_what_the_schedule_sets_itself_is_refused(name):
    with pytest.raises(TypeError, match=f"{name} came as an argument"):
        train(**{name: None})


def test_it_can_start_from_modules_as_they_are():
    model, found = train(IncrementalTraining(2, 3, begin=False), n_epochs=5)
    assert model.core.n_modules == 2
    plain = fit(
        *(ONE, ONE.init(np.random.default_rng(0)), TRAIN, VALID),
        optimiser=Adam(0.02),
        rng=np.random.default_rng(1),
        n_epochs=3,
        n_batch=3,
    )
    for ours, theirs in itertools.islice(
        zip(found.history, plain.history, strict=False), 3
    ):
        assert ours["valid_loss"] == theirs["valid_loss"]


def test_progress_names_the_modules(capfd):
    train(progress=True)
    shown = capfd.readouterr().err
    for g in (1, 2, 3):
        assert f"fit, {g} of 3 modules" in shown


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: IncrementalTraining(0, 2), "n_modules is 0"),
        (lambda: IncrementalTraining(2, 0), "every is 0"),
        (lambda: IncrementalTraining(2, 2, crop=0), "crop is 0"),
        (lambda: IncrementalTraining(2, 2, ridge=-1.0), "ridge is -1.0"),
        (lambda: train(n_epochs=4), "n_epochs is 4, expected more than 2"),
        (
            lambda: train(model=Model(MultiScaleLMN(2, 3, 2, 4), 1, "squared")),
            "has 4 modules, expected at most n_modules=3",
        ),
        (
            lambda: train(model=Model(MultiScaleLMN(2, 3, 2, 2), 1, "squared")),
            "network has 2 modules, expected 1",
        ),
        (
            lambda: train(
                model=Model(
                    Bidirectional(
                        MultiScaleLMN(2, 3, 2, 1), MultiScaleLMN(2, 3, 2, 2)
                    ),
                    *(1, "squared"),
                )
            ),
            r"directions of \[1, 2\] modules",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_other_networks_are_refused():
    with pytest.raises(TypeError, match="expected a MultiScaleLMN"):
        train(model=Model(LMN(2, 3, 4), 1, "squared"))
