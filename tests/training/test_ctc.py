"""CTC against all paths, one by one, against complex steps and autograd."""

import itertools
import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.architectures import LSTM, Bidirectional, Elman
from msref.training import (
    LOSSES,
    SGD,
    Adam,
    Batch,
    LabelAccuracy,
    Model,
    Tally,
    best_path,
    evaluate,
    fit,
    levenshtein,
)

CTC = LOSSES["ctc"]
STEP = 1e-30


def reads_as(path, merge=True):
    """Return the labels of a path, by its definition."""
    if merge:
        path = [label for label, _ in itertools.groupby(path)]
    return [label for label in path if label != 0]


def needed(labels):
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels))


def over_all_paths(o, labels):
    """Return -log P and its gradient (n_time, n_out), path by path."""
    n_time, n_out = o.shape
    y = o - o.max(-1, keepdims=True)
    y = y - np.log(np.exp(y).sum(-1, keepdims=True))
    steps = np.arange(n_time)
    paths = [
        list(path)
        for path in itertools.product(range(n_out), repeat=n_time)
        if reads_as(path) == list(labels)
    ]
    logs = np.array([y[steps, path].sum() for path in paths])
    log_P = logs.max() + np.log(np.exp(logs - logs.max()).sum())
    gradient = np.exp(y)
    for path, log in zip(paths, logs, strict=True):
        gradient[steps, path] -= np.exp(log - log_P)
    return -log_P, gradient


@st.composite
def cases(draw, dtype=np.float64, scales=(0.1, 1.0, 30.0, 1000.0)):
    """Predictions and labels of a few short sequences of other lengths."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_out, n_in = draw(st.integers(2, 4)), 1
    pairs = []
    for n_time in draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)):
        labels = rng.integers(1, n_out, draw(st.integers(1, n_time)))
        while needed(labels) > n_time:
            labels = labels[:-1]
        pairs.append((np.zeros((n_time, n_in)), labels))
    batch = Batch.of(pairs)
    scale = draw(st.sampled_from(scales))
    o = scale * rng.standard_normal((*batch.mask.shape, n_out))
    return o.astype(dtype), batch.target, batch.mask


def sequences(o, target, mask):
    """Yield the predictions and labels of each sequence."""
    for b in range(o.shape[1]):
        end = 1 + np.flatnonzero(mask[:, b])[-1]
        yield o[:end, b], target[mask[:, b], b]


# --- value and gradient -----------------------------------------------------


@settings(max_examples=80)
@given(cases())
def test_it_is_the_sum_over_all_paths(case):
    o = case[0]
    value, do = CTC(*case)
    total = 0.0
    for b, (frames, labels) in enumerate(sequences(*case)):
        nll, gradient = over_all_paths(frames, labels)
        share = 1 / len(labels) / o.shape[1]
        total += nll * share
        expected = np.zeros_like(do[:, b])
        expected[: len(frames)] = gradient * share
        np.testing.assert_allclose(do[:, b], expected, rtol=1e-9, atol=1e-12)
        assert not do[len(frames) :, b].any()
    assert value == pytest.approx(total, rel=1e-12, abs=1e-14)
    assert CTC.value(*case) == pytest.approx(value, rel=1e-14, abs=0)


@settings(max_examples=40)
@given(cases())
def test_the_gradient_is_that_of_a_complex_step(case):
    o, target, mask = case
    _, do = CTC(*case)
    witness = np.empty_like(o)
    for i in np.ndindex(o.shape):
        probe = o.astype(complex)
        probe[i] += 1j * STEP
        witness[i] = CTC.value(probe, target, mask).imag / STEP
    np.testing.assert_allclose(do, witness, rtol=1e-9, atol=1e-12)


@settings(max_examples=40)
@given(cases())
def test_the_gradient_is_that_of_autograd(case):
    o, target, mask = case
    _, do = CTC(*case)
    witness = autograd.grad(lambda o: CTC.value(o, target, mask, anp))(o)
    np.testing.assert_allclose(do, witness, rtol=1e-9, atol=1e-12)


@settings(max_examples=40)
@given(cases(np.float32))
def test_float32_is_float64_rounded(case):
    o, target, mask = case
    value, do = CTC(*case)
    value64, do64 = CTC(o.astype(np.float64), target, mask)
    assert do.dtype == np.float32
    assert value == value64 == CTC.value(*case)
    np.testing.assert_array_equal(do, do64.astype(np.float32))


def test_values_by_hand():
    one = np.zeros((1, 1, 3))
    value, do = CTC(one, np.array([[2]]))
    assert value == pytest.approx(np.log(3))
    np.testing.assert_allclose(do[0, 0], [1 / 3, 1 / 3, -2 / 3])
    # 3 frames and 2 labels: 11 2, 1 22, 1 0 2, 0 1 2, 1 2 0 of 27 paths
    frames, mask = np.zeros((3, 1, 3)), np.array([[False], [True], [True]])
    value, _ = CTC(frames, np.array([[9], [1], [2]]), mask)
    assert value == pytest.approx(np.log(27 / 5) / 2)
    # equal labels: 1 0 1 alone
    value, _ = CTC(frames, np.array([[9], [1], [1]]), mask)
    assert value == pytest.approx(np.log(27) / 2)


# --- what does not matter ---------------------------------------------------


@settings(max_examples=30)
@given(cases(), st.sampled_from([np.nan, np.inf, 1e300, -1e300]))
def test_padding_may_hold_anything(case, junk):
    o, target, mask = case
    value, do = CTC(*case)
    frames = mask[::-1].cumsum(0)[::-1] > 0
    o = np.where(frames[..., None], o, junk)
    target = np.where(mask, target, 99)
    pad = ((0, 2), (0, 0), (0, 0))
    longer = (
        np.pad(o, pad, constant_values=junk),
        np.pad(target, pad[:2], constant_values=-5),
        np.pad(mask, pad[:2]),
    )
    same, d_same = CTC(*longer)
    assert same == pytest.approx(value, rel=1e-14, abs=0)
    np.testing.assert_allclose(d_same[:-2], do, rtol=1e-12, atol=1e-16)
    assert not d_same[-2:].any()


@settings(max_examples=30)
@given(cases(), st.randoms())
def test_the_order_of_the_sequences_does_not_matter(case, random):
    order = list(range(case[0].shape[1]))
    random.shuffle(order)
    value, do = CTC(*case)
    same, d_same = CTC(*(a[:, order] for a in case))
    assert same == pytest.approx(value, rel=1e-14, abs=0)
    np.testing.assert_allclose(d_same, do[:, order], rtol=1e-12, atol=1e-16)


def test_the_places_of_labels_do_not_matter_but_that_of_the_last():
    o = np.random.default_rng(0).standard_normal((5, 1, 4))
    target = np.zeros((5, 1), int)
    mask = np.zeros((5, 1), bool)
    target[[2, 3], 0], mask[[2, 3], 0] = [3, 1], True
    value, do = CTC(o, target, mask)
    apart = np.zeros((5, 1), int)
    mask[[0, 2], 0] = True, False
    apart[[0, 3], 0] = [3, 1]
    same, d_same = CTC(o, apart, mask)
    assert same == value
    np.testing.assert_array_equal(d_same, do)
    assert do[:4].all()
    assert not do[4].any()


def test_a_sequence_without_labels_counts_as_nothing():
    rng = np.random.default_rng(0)
    o, target = rng.standard_normal((4, 2, 3)), rng.integers(1, 3, (4, 2))
    o[:, 1] = np.nan
    mask = np.array([[False, True, False, True], [False] * 4]).T
    value, do = CTC(o, target, mask)
    alone, d_alone = CTC(o[:, :1], target[:, :1], mask[:, :1])
    assert value == alone
    np.testing.assert_array_equal(do[:, :1], d_alone)
    assert not do[:, 1].any()
    assert CTC.n_terms(mask, o.shape) == 1
    assert CTC.n_terms(None, o.shape) == 2


def test_inputs_are_left_alone():
    o, target = np.ones((3, 2, 4)), np.array([[1, 2], [2, 3], [3, 1]])
    mask = np.array([[True, False], [False, True], [True, True]])
    before = [a.copy() for a in (o, target, mask)]
    CTC(o, target, mask)
    for a, b in zip((o, target, mask), before, strict=True):
        np.testing.assert_array_equal(a, b)


# --- long sequences and large numbers ---------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_sequences_have_as_many_paths_as_can_be_counted(dtype):
    n_time, n_out = (500, 320), 30
    labels = [np.arange(120) % 29 + 1, np.arange(100) // 2 % 29 + 1]
    pairs = [(np.zeros((n, 1)), y) for n, y in zip(n_time, labels, strict=True)]
    batch = Batch.of(pairs)
    o = np.full((*batch.mask.shape, n_out), 0.7, dtype)
    expected = 0.0
    for n, y in zip(n_time, labels, strict=True):
        n_paths = math.comb(n + 2 * len(y) - needed(y), 2 * len(y))
        expected += (n * math.log(n_out) - math.log(n_paths)) / len(y) / 2
    value, do = CTC(o, batch.target, batch.mask)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(do.sum(-1), 0.0, atol=1e-9)
    assert do[:320].any(-1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(dtype):
    path = [1, 1, 0, 1, 2, 0]
    o = np.full((6, 1, 4), -1000.0, dtype)
    o[np.arange(6), 0, path] = 1000.0
    mask = np.array([[False] * 3 + [True] * 3]).T
    target = np.array([[0, 0, 0, 1, 1, 2]]).T
    value, do = CTC(o, target, mask)
    assert value == 0
    assert not do.any()
    target[5] = 3
    value, do = CTC(o, target, mask)
    assert np.isfinite(do).all()
    nll, gradient = over_all_paths(o[:, 0].astype(float), [1, 1, 3])
    assert value == pytest.approx(nll / 3, rel=1e-12)
    np.testing.assert_allclose(do[:, 0], gradient / 3, rtol=1e-6, atol=1e-12)


# --- the border -------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=5), st.integers(0, 2))
def test_too_few_frames_are_refused_and_just_enough_are_not(labels, spare):
    enough = needed(labels)

    def loss(n_time):
        x = np.zeros((n_time, 1))
        batch = Batch.of([(np.zeros((9, 1)), [1]), (x, labels)])
        return CTC(np.zeros((9, 2, 3)), batch.target, batch.mask)

    value, _ = loss(enough)
    assert np.isfinite(value)
    if len(labels) <= enough - 1:
        words = f"sequence 1 has {enough - 1} frames, expected at least"
        with pytest.raises(ValueError, match=f"{words} {enough}"):
            loss(enough - 1)


Z, Y = np.zeros((3, 2, 4)), np.array([[1, 2], [2, 3], [1, 2]])


@pytest.mark.parametrize(
    ("o", "target", "mask", "error", "words"),
    [
        (Z[0], Y, None, ValueError, "prediction has shape"),
        (Z.astype(int), Y, None, TypeError, "prediction has dtype"),
        (Z, Y.astype(float), None, TypeError, "expected integers"),
        (Z, Y[:2], None, ValueError, "target has shape"),
        (Z, Y, Y, ValueError, "mask has dtype"),
        (Z, Y, Y > 4, ValueError, "keeps no frame"),
        (Z, Y + 1, None, ValueError, "2..4, expected 0..3"),
        (Z, Y - 1, None, ValueError, r"the blank, at \(t=0, batch=0\)"),
        (Z, 0 * Y + 1, None, ValueError, "has 3 frames, expected at least 5"),
    ],
)
def test_what_does_not_fit_is_refused(o, target, mask, error, words):
    with pytest.raises(error, match=words):
        CTC(o, target, mask)


def test_a_nan_before_the_labels_is_no_padding():
    o = Z.copy()
    o[0, 1, 3] = np.nan
    mask = np.array([[False, False], [True, True], [True, True]])
    with pytest.raises(ValueError, match="t=0, batch=1, unit=3"):
        CTC(o, Y, mask)


# --- reading ----------------------------------------------------------------


def logits_of(path, n_out=5):
    return np.eye(n_out)[path] + 0.1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.booleans())
def test_the_best_path_is_read_by_its_definition(path, merge):
    read = best_path(logits_of(path), merge=merge)
    assert read.tolist() == reads_as(path, merge)


def test_best_paths_by_hand():
    path = logits_of([0, 3, 3, 0, 3, 1, 1, 0, 0, 2])
    assert best_path(path).tolist() == [3, 3, 1, 2]
    assert best_path(path, merge=False).tolist() == [3, 3, 3, 1, 1, 2]
    assert best_path(path, 4).tolist() == [3]
    assert best_path(path, 1).tolist() == []
    with pytest.raises(ValueError, match="logits has shape"):
        best_path(path[0])
    with pytest.raises(ValueError, match="length is 11"):
        best_path(path, 11)
    with pytest.raises(ValueError, match="length is 0"):
        best_path(path, 0)
    with pytest.raises(ValueError, match="t=1, unit=0"):
        best_path(np.where(np.arange(10)[:, None] == 1, np.nan, path))


def distance(a, b):
    """The definition, as a recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        distance(a[1:], b) + 1,
        distance(a, b[1:]) + 1,
        distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


words = st.lists(st.integers(1, 3), max_size=5)


@given(words, words)
def test_levenshtein_is_its_recursion(a, b):
    assert levenshtein(a, b) == distance(a, b) == levenshtein(b, a)


def test_levenshtein_by_hand():
    assert levenshtein(list(b"kitten"), list(b"sitting")) == 3
    assert levenshtein(np.arange(40), np.arange(1, 40)) == 1


def test_label_accuracy_by_hand():
    paths = [[1, 1, 0, 2, 3], [0, 2, 2, 2, 0], [4, 3, 2, 1, 4]]
    o = np.stack([logits_of(path) for path in paths], axis=1)
    x = np.zeros((5, 1))
    batch = Batch.of([(x, [1, 2, 3, 4]), (x[:4], [2, 1]), (x[:2], [1])])
    read = 1 - 1 / 4, 1 - 1 / 2, 1 - 2 / 1  # 123 for 1234, 2 for 21, 43 for 1
    tally = LabelAccuracy()(o, batch.target, batch.mask)
    assert tally == Tally(sum(read), 3)
    read = 1 - 2 / 4, 1 - 2 / 2, 1 - 2 / 1  # 1123, 222, 43
    tally = LabelAccuracy("released")(o, batch.target, batch.mask)
    assert tally == Tally(sum(read), 3)
    with pytest.raises(ValueError, match="form is 'pooled'"):
        LabelAccuracy("pooled")
    with pytest.raises(ValueError, match="the blank"):
        LabelAccuracy()(o, batch.target * 0, batch.mask)


# --- models -----------------------------------------------------------------

CORES = [
    Elman(3, 4),
    Bidirectional(LSTM(3, 4), Elman(3, 5)),
]


def pulses(seed, n_sequences):
    """The task of naming pulses in order, each in one of three inputs."""
    rng = np.random.default_rng(seed)
    pairs = []
    for n_time in rng.integers(6, 11, n_sequences):
        labels = rng.integers(1, 4, rng.integers(1, 4))
        x = np.zeros((n_time, 3))
        x[rng.choice(n_time // 2, len(labels), False) * 2, labels - 1] = 1
        pairs.append((x, x.argmax(1)[x.any(1)] + 1))
    return pairs


@pytest.mark.parametrize("core", CORES, ids=repr)
def test_gradients_of_a_model_are_those_of_its_objective(core):
    model = Model(core, 4, "ctc")
    batch = Batch.of(pulses(1, 4))
    rng = np.random.default_rng(2)
    params = {
        name: 0.4 * rng.standard_normal(shape)
        for name, shape in model.shapes().items()
    }
    value, grads = model.loss_and_gradients(params, batch)
    L, witness = autograd.value_and_grad(
        lambda params: model.objective(params, batch, anp)
    )(params)
    assert value == pytest.approx(float(L), rel=1e-12)
    for name, W in params.items():
        assert grads[name].any(), name
        np.testing.assert_allclose(
            grads[name], witness[name], rtol=1e-9, atol=1e-13, err_msg=name
        )
        along = rng.standard_normal(W.shape)
        probe = params | {name: W + 1j * STEP * along}
        slope = model.objective(probe, batch).imag / STEP
        assert (grads[name] * along).sum() == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("core", CORES, ids=repr)
def test_a_model_learns_to_name_pulses(core, dtype):
    model = Model(core, 4, "ctc")
    result = fit(
        model,
        model.init(np.random.default_rng(0), dtype),
        pulses(1, 40),
        pulses(2, 10),
        optimiser=Adam(0.05),
        rng=np.random.default_rng(3),
        n_epochs=40,
        n_batch=8,
        clip=10.0,
        metric=LabelAccuracy(),
        best="highest score",
    )
    scores = [record["valid_score"] for record in result.history]
    assert scores[0] < 0.5
    assert scores[result.best_epoch - 1] > 0.95
    assert all(W.dtype == dtype for W in result.params.values())


def test_losses_of_a_fit_and_an_evaluation_are_means_over_sequences():
    model = Model(Elman(3, 4), 4, "ctc")
    params = model.init(np.random.default_rng(0))
    data = pulses(1, 7)
    alone = [evaluate(model, params, [pair])["loss"] for pair in data]
    result = fit(
        model,
        params,
        data,
        data,
        optimiser=SGD(1e-300),  # the weights do not move
        rng=np.random.default_rng(3),
        n_epochs=1,
        n_batch=3,
    )
    mean = pytest.approx(np.mean(alone), rel=1e-12)
    assert result.history[0]["train_loss"] == mean
    assert result.history[0]["valid_loss"] == mean
    assert evaluate(model, params, data, n_batch=2)["loss"] == mean


def test_labels_that_cannot_be_are_named_before_a_fit():
    model = Model(Elman(3, 4), 4, "ctc")
    data = [*pulses(1, 2), (np.zeros((3, 3)), [2, 2, 1])]
    words = r"data\[2\]: sequence 0 has 3 frames, expected at least 4"
    with pytest.raises(ValueError, match=words):
        evaluate(model, model.init(np.random.default_rng(0)), data)
