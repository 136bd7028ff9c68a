"""Tasks that ask at the end for what came long ago."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import (
    copy_first_input,
    denoising,
    pixel_order,
    pixel_sequences,
)
from msref.training import Batch

SEEDS = st.integers(0, 2**32 - 1)


# --- noise ------------------------------------------------------------------


@given(SEEDS, st.integers(1, 5), st.integers(1, 30))
def test_the_first_input_is_asked_for_last(seed, n_sequences, n_time):
    pairs = copy_first_input(np.random.default_rng(seed), n_sequences, n_time)
    batch = Batch.of(pairs)
    assert batch.x.shape == (n_time, n_sequences, 1)
    np.testing.assert_array_equal(batch.target[-1], batch.x[0])
    assert not batch.mask[:-1].any()
    assert batch.mask[-1].all()


@given(SEEDS, st.integers(1, 6), st.integers(0, 9), st.integers(0, 20))
def test_marked_values_are_repeated_in_order(seed, n_marked, zone, spare):
    pad, n_time = n_marked + zone, 2 * n_marked + zone + spare
    rng = np.random.default_rng(seed)
    [(x, target)] = denoising(rng, 1, n_time, pad, n_marked)
    assert x.shape == (n_time, 2)
    marked = np.flatnonzero(x[:, 1] == 1)
    assert len(marked) == n_marked
    assert marked.max() < n_time - pad
    np.testing.assert_array_equal(target, x[marked, :1])
    assert np.flatnonzero(x[:, 1] == -1).tolist() == [n_time - n_marked]
    assert np.count_nonzero(x[:, 1]) == n_marked + 1
    assert (x[:, 0] != 0).all()
    batch = Batch.of([(x, target)])
    np.testing.assert_array_equal(batch.target[-n_marked:, 0], target)
    assert batch.mask.sum() == batch.mask[-n_marked:].sum() == n_marked


def test_the_defaults_are_those_of_the_authors_code():
    [(x, _)] = copy_first_input(np.random.default_rng(0), 1)
    assert x.shape == (100, 1)
    [(x, target)] = denoising(np.random.default_rng(0), 1)
    assert (x.shape, target.shape) == ((100, 2), (5, 1))
    assert x[95, 1] == -1


def test_noise_is_standard_normal_and_marks_fall_anywhere():
    rng = np.random.default_rng(0)
    x = np.array([x for x, _ in copy_first_input(rng, 400, 50)])
    assert abs(x.mean()) < 0.03
    assert abs(x.std() - 1) < 0.03
    x = np.array([x for x, _ in denoising(rng, 2000, 20)])
    share = (x[..., 1] == 1).mean(axis=0)
    np.testing.assert_allclose(share[:15], 1 / 3, atol=0.05)
    assert not share[15:].any()


@pytest.mark.parametrize("task", [copy_first_input, denoising])
def test_a_seed_decides_and_more_sequences_begin_the_same(task):
    few = task(np.random.default_rng(0), 2)
    many = task(np.random.default_rng(0), 4)
    for (x, target), (same, also) in zip(few, many[:2], strict=True):
        np.testing.assert_array_equal(x, same)
        np.testing.assert_array_equal(target, also)
    assert not np.array_equal(many[0][0], many[1][0])


# --- images -----------------------------------------------------------------


def images(seed, n_images=3, shape=(4, 4)):
    rng = np.random.default_rng(seed)
    return [(rng.integers(256, size=shape) / 255, k) for k in range(n_images)]


@given(SEEDS, st.booleans(), st.booleans(), st.integers(0, 3))
def test_every_pixel_is_read_once_in_the_order(seed, rows, permuted, black):
    order = np.random.default_rng(seed).permutation(16) if permuted else None
    pairs = images(seed)
    made = pixel_sequences(pairs, order=order, rows=rows, black=black)
    assert [label for _, label in made] == [label for _, label in pairs]
    for (x, _), (image, _) in zip(made, pairs, strict=True):
        assert x.shape == ((4 + black, 4) if rows else (16 + black, 1))
        n_frames = len(x) - black
        assert not x[n_frames:].any()
        read = x[:n_frames].reshape(-1)
        expected = image.reshape(-1) - 0.5
        np.testing.assert_array_equal(
            read, expected if order is None else expected[order]
        )


def test_the_class_belongs_to_the_last_black_frame():
    batch = Batch.of(pixel_sequences(images(0), black=2))
    assert batch.target[-1].tolist() == [0, 1, 2]
    assert batch.mask.sum(axis=0).tolist() == [1, 1, 1]
    assert batch.mask[-1].all()


def test_the_pixels_have_one_order_everywhere():
    order = pixel_order()
    assert sorted(order) == list(range(784))
    assert order[:8].tolist() == [269, 11, 403, 600, 196, 608, 657, 150]
    np.testing.assert_array_equal(order, pixel_order(784, 0))
    assert not np.array_equal(order, pixel_order(784, 1))


RNG = np.random.default_rng(0)
ODD = [(np.zeros((2, 3)), 0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: copy_first_input(RNG, 0), "n_sequences is 0"),
        (lambda: copy_first_input(RNG, 1, 0), "n_time is 0"),
        (lambda: denoising(RNG, 0), "n_sequences is 0"),
        (lambda: denoising(RNG, 1, 10, 5, 0), "n_marked is 0"),
        (lambda: denoising(RNG, 1, 20, 4, 5), "pad is 4, expected at least 5"),
        (lambda: denoising(RNG, 1, 9, 5, 5), "n_time is 9, .*least 10"),
        (lambda: pixel_order(0), "n_pixels is 0"),
        (lambda: pixel_sequences(ODD, rows=True), "square image, .* 6 pixels"),
        (lambda: pixel_sequences(ODD, black=-1), "black is -1"),
        (lambda: pixel_sequences([]), "images is empty"),
        (lambda: pixel_sequences(ODD, order=[0, 1]), r"permutation of 0\.\.5"),
        (lambda: pixel_sequences(ODD, order=[0.5] * 6), "type float64"),
        (lambda: pixel_sequences([(np.full(4, 255), 0)]), r"images\[0\].*0..1"),
        (lambda: pixel_sequences([(np.full(4, np.nan), 0)]), r"images\[0\]"),
        (lambda: pixel_sequences(ODD + images(0)), r"images\[1\] has 16 pixel"),
    ],
)
def test_what_makes_no_task_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
