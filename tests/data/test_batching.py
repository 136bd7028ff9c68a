"""Padding, masks, the next-frame task, batches."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.data import mask, minibatches, next_frame, pad

relaxed = settings(deadline=None, max_examples=50)
some_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=12)
seeds = st.integers(0, 2**32 - 1)


def sequences_of(lengths, n_in=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n_time, n_in)) for n_time in lengths]


@relaxed
@given(some_lengths, st.integers(1, 4))
def test_padding_keeps_every_frame_and_adds_zeros(lengths, n_in):
    sequences = sequences_of(lengths, n_in)
    x, found = pad(sequences)
    assert x.shape == (max(lengths), len(lengths), n_in)
    assert x.dtype == np.float64
    assert found.tolist() == lengths
    for b, sequence in enumerate(sequences):
        np.testing.assert_array_equal(x[: lengths[b], b], sequence)
        assert not x[lengths[b] :, b].any()


@relaxed
@given(some_lengths, st.integers(0, 3))
def test_the_mask_marks_the_frames_that_are_real(lengths, extra):
    n_time = max(lengths) + extra
    real = mask(lengths, n_time)
    assert real.shape == (n_time, len(lengths))
    assert real.dtype == bool
    assert real.sum(axis=0).tolist() == lengths
    # A prefix: once false, false ever after.
    assert not (real[1:] & ~real[:-1]).any()


def test_padding_takes_the_type_that_is_asked_for():
    x, _ = pad([np.ones((2, 3), bool), np.zeros((1, 3), int)], np.float32)
    assert x.dtype == np.float32
    assert x[:, 0].all()


@relaxed
@given(st.lists(st.integers(2, 9), min_size=1, max_size=6))
def test_targets_are_the_inputs_one_frame_later(lengths):
    sequences = sequences_of(lengths)
    inputs, targets = next_frame(sequences)
    assert len(inputs) == len(targets) == len(sequences)
    for sequence, x, y in zip(sequences, inputs, targets, strict=True):
        assert x.shape == y.shape == (len(sequence) - 1, 3)
        np.testing.assert_array_equal(np.vstack([x, y[-1:]]), sequence)
        np.testing.assert_array_equal(np.vstack([x[:1], y]), sequence)


@relaxed
@given(some_lengths, st.integers(1, 5), seeds, st.booleans())
def test_batches_hold_every_index_once(lengths, n_batch, seed, bucket):
    rng = np.random.default_rng(seed)
    batches = minibatches(lengths, n_batch, rng, bucket)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    sizes = sorted((len(batch) for batch in batches), reverse=True)
    assert len(sizes) == -(-len(lengths) // n_batch)
    assert all(size == n_batch for size in sizes[:-1])


@relaxed
@given(some_lengths, st.integers(1, 5), seeds)
def test_buckets_do_not_overlap(lengths, n_batch, seed):
    rng = np.random.default_rng(seed)
    array = np.array(lengths)
    batches = minibatches(lengths, n_batch, rng, bucket=True)
    spans = sorted((array[b].min(), array[b].max()) for b in batches)
    for (_, longest), (shortest, _) in itertools.pairwise(spans):
        assert longest <= shortest


def test_batches_depend_on_the_generator_alone():
    lengths = list(range(1, 41))

    def draw(seed, what, bucket=False):
        batches = minibatches(what, 4, np.random.default_rng(seed), bucket)
        return [batch.tolist() for batch in batches]

    for bucket in (False, True):
        assert draw(0, lengths, bucket) == draw(0, lengths, bucket)
        assert draw(0, lengths, bucket) != draw(1, lengths, bucket)
    assert draw(0, lengths) == draw(0, 40)


def test_buckets_of_equal_lengths_are_mixed_anew():
    def company(seed):
        rng = np.random.default_rng(seed)
        batches = minibatches([5] * 40, 4, rng, bucket=True)
        return {frozenset(batch.tolist()) for batch in batches}

    assert company(0) != company(1)


GOOD = np.ones((3, 2))


@pytest.mark.parametrize("function", [pad, next_frame])
@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([], "sequences is empty, expected at least one"),
        ([GOOD, np.ones(3)], r"sequences\[1\] has shape \(3,\) .*\(n_time, n"),
        ([np.ones((3, 1, 2))], r"sequences\[0\] has shape \(3, 1, 2\)"),
        ([np.full((3, 2), "a")], r"sequences\[0\] .* type <U1, expected numb"),
        ([GOOD, np.ones((0, 2))], r"sequences\[1\] has no frames"),
        ([GOOD, np.ones((3, 4))], r"sequences\[1\] .*\(3, 4\).*n_in=2"),
        ([GOOD, GOOD / [[1, 1], [1, np.nan], [1, 1]]],
         r"sequences\[1\] is nan at time 1, input 1"),
        ([np.array([[0.0, -np.inf]] * 2)], "is -inf at time 0, input 1"),
    ],
)  # fmt: skip
def test_bad_sequences_are_named(function, sequences, message):
    with pytest.raises(ValueError, match=message):
        function(sequences)


def test_a_single_frame_has_no_next_one():
    with pytest.raises(ValueError, match=r"sequences\[1\] has 1 frame"):
        next_frame([GOOD, GOOD[:1]])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([], r"lengths has shape \(0,\)"),
        ([[1, 2]], r"lengths has shape \(1, 2\)"),
        ([1.0, 2.0], "type float64, expected integers"),
        ([2, 0], r"lengths\[1\] is 0, expected at least 1"),
        ([2, 7], r"lengths\[1\] is 7, expected at most n_time=5"),
    ],
)
def test_bad_lengths_are_named(lengths, message):
    with pytest.raises(ValueError, match=message):
        mask(lengths, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 0), "n_batch is 0, expected at least 1"),
        ((0, 3), "lengths is 0, expected at least 1"),
        (([], 3), r"lengths has shape \(0,\)"),
        (([4, -1], 3), r"lengths\[1\] is -1"),
    ],
)
def test_bad_batches_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        minibatches(*arguments, np.random.default_rng(0))


def test_buckets_need_lengths():
    with pytest.raises(ValueError, match="bucket=True needs the length"):
        minibatches(5, 2, np.random.default_rng(0), bucket=True)
