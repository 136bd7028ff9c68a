"""Metrics against plain loops and against arithmetic by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.training import (
    ClassAccuracy,
    FrameAccuracy,
    Tally,
    class_accuracy,
    frame_accuracy,
)

FORMS = ("pooled", "per-frame", "raw-output")


def plain(logits, target, mask, form):
    """The three forms, loop by loop, with probabilities written out."""
    n_time, n_batch, n_notes = logits.shape
    tp = notes = floored = 0
    weighted = weights = 0.0
    for b in range(n_batch):
        shares, length = [], 0
        for t in range(n_time):
            if not mask[t, b]:
                continue
            length += 1
            hits = total = 0
            for k in range(n_notes):
                o = logits[t, b, k]
                if form == "raw-output":
                    predicted = o > 0.5
                else:
                    predicted = 1 / (1 + math.exp(-o)) > 0.5
                played = target[t, b, k] == 1
                hits += predicted and played
                total += predicted or played
            tp += hits
            notes += total
            floored += max(total, 1)
            if total > 0:
                shares.append(hits / total)
        if shares:
            weighted += length * sum(shares) / len(shares)
            weights += length
    if form == "pooled":
        return tp, notes
    if form == "raw-output":
        return tp, floored
    return weighted, weights


@st.composite
def rolls(draw):
    shape = tuple(draw(st.integers(1, n)) for n in (6, 4, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.1, 0.5]))
    logits = rng.standard_normal(shape) - draw(st.sampled_from([0, 2, 9]))
    target = (rng.random(shape) < density).astype(float)
    mask = rng.random(shape[:2]) < 0.7
    mask.flat[0] = True
    return logits, target, mask


@settings(max_examples=150, deadline=None)
@given(rolls(), st.sampled_from(FORMS))
def test_a_form_is_its_plain_loop(roll, form):
    tally = FrameAccuracy(form)(*roll)
    hits, total = plain(*roll, form)
    assert tally.hits == pytest.approx(hits, rel=1e-12)
    assert tally.total == total
    if total:
        assert frame_accuracy(*roll, form) == pytest.approx(hits / total)


@settings(max_examples=50, deadline=None)
@given(rolls(), st.sampled_from(FORMS), st.integers(0, 4))
def test_batches_add_up(roll, form, cut):
    logits, target, mask = roll
    whole = FrameAccuracy(form)(logits, target, mask)
    parts = Tally()
    for batch in (slice(None, cut), slice(cut, None)):
        if mask[:, batch].any():
            part = logits[:, batch], target[:, batch], mask[:, batch]
            parts += FrameAccuracy(form)(*part)
    assert parts.hits == pytest.approx(whole.hits, rel=1e-12)
    assert parts.total == whole.total


def test_the_forms_by_hand():
    # Frames of sequence 0: 1 of 2 notes hit; silent and rightly so; missed.
    # Sequence 1, one frame long: hit, but the logit 0.3 is a probability
    # of 0.57.
    target = np.zeros((3, 2, 2))
    target[0, 0] = 1, 0
    target[2, 0] = 0, 1
    target[0, 1] = 1, 0
    logits = np.full((3, 2, 2), -1.0)
    logits[0, 0] = 1, 1
    logits[0, 1] = 0.3, -1
    mask = np.array([[True, True], [True, False], [True, False]])
    roll = logits, target, mask
    assert frame_accuracy(*roll) == pytest.approx(2 / 4)
    per_frame = (3 * (1 / 2 + 0) / 2 + 1 * 1) / (3 + 1)
    assert frame_accuracy(*roll, "per-frame") == pytest.approx(per_frame)
    assert frame_accuracy(*roll, "raw-output") == pytest.approx(1 / 5)


def test_silence_rightly_predicted():
    silent = np.zeros((4, 2, 3))
    assert FrameAccuracy()(silent - 1, silent) == Tally(0, 0)
    assert FrameAccuracy("per-frame")(silent - 1, silent) == Tally(0, 0)
    assert FrameAccuracy("raw-output")(silent - 1, silent) == Tally(0, 8)
    assert frame_accuracy(silent - 1, silent, form="raw-output") == 0
    with pytest.raises(ValueError, match="0 / 0"):
        frame_accuracy(silent - 1, silent)


def test_a_probability_of_exactly_one_half_is_no_note():
    ones = np.ones((1, 1, 1))
    assert frame_accuracy(0 * ones, ones) == 0
    assert frame_accuracy(0.5 * ones, ones, form="raw-output") == 0


def test_class_accuracy_by_hand():
    logits = np.array([[[1.0, 2.0], [3.0, 0.0]], [[0.0, 0.0], [9.0, 8.0]]])
    target = np.array([[1, 1], [0, 1]])
    assert class_accuracy(logits, target) == 2 / 4
    last = np.array([[True, False], [False, True]])
    assert ClassAccuracy()(logits, target, last) == Tally(1, 2)


def test_padding_may_hold_anything():
    logits = np.array([[[2.0, -1.0]], [[np.nan, np.inf]]])
    target = np.array([[[1.0, 0.0]], [[np.nan, 7.0]]])
    mask = np.array([[True], [False]])
    for form in FORMS:
        assert frame_accuracy(logits, target, mask, form) == 1
    classes = np.array([[0], [-5]])
    assert class_accuracy(logits, classes, mask) == 1


def test_what_does_not_fit_is_refused():
    o = np.zeros((2, 1, 3))
    with pytest.raises(ValueError, match="form is 'mean'"):
        FrameAccuracy("mean")
    with pytest.raises(ValueError, match="target has shape"):
        frame_accuracy(o, o[:1])
    with pytest.raises(ValueError, match="expected notes"):
        frame_accuracy(o, o + 0.5)
    with pytest.raises(ValueError, match="prediction holds nan"):
        frame_accuracy(o + np.nan, o)
    with pytest.raises(ValueError, match="keeps no frame"):
        frame_accuracy(o, o, np.zeros((2, 1), bool))
    with pytest.raises(TypeError, match="expected integers"):
        class_accuracy(o, np.zeros((2, 1)))
