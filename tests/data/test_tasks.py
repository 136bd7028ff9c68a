"""Waveforms and memory tasks are what their equations say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import (
    WAVEFORMS,
    addition_task,
    copy_task,
    generation_task,
    warped_copy_task,
    waveform,
)
from msref.training import Batch

SIZES = {
    "seed": st.integers(0, 2**32 - 1),
    "n_symbols": st.integers(1, 6),
    "n_classes": st.integers(1, 5),
    "delay": st.integers(1, 9),
}


def drawn(kind, n_time=320, seed=0):
    return waveform(kind, n_time, np.random.default_rng(seed))


# --- waveforms --------------------------------------------------------------


@given(st.sampled_from(WAVEFORMS), st.integers(64, 700))
def test_a_waveform_reaches_both_ends_and_no_further(kind, n_time):
    w = drawn(kind, n_time)
    assert w.shape == (n_time, 1)
    assert w.dtype == np.float64
    assert (w.min(), w.max()) == (-1, 1)


def test_there_are_five_and_no_two_are_alike():
    waves = np.array([drawn(kind)[:, 0] for kind in WAVEFORMS])
    assert len(waves) == 5
    correlation = np.corrcoef(waves) - np.eye(5)
    assert np.abs(correlation).max() < 0.6


def on_a_line(w, expected):
    """Expect that scaling and shifting is all that lies between the two."""
    assert abs(np.corrcoef(w[:, 0], expected)[0, 1]) == pytest.approx(1)


def test_the_waveforms_follow_their_equations():
    s = np.arange(320) / 320
    sin, cos, pi = np.sin, np.cos, np.pi
    on_a_line(drawn("chirp"), sin(2 * pi * (3 * s + 6 * s**2)))
    on_a_line(
        drawn("amplitude-modulated"),
        (1 + 0.8 * cos(6 * pi * s)) * sin(40 * pi * s),
    )
    parts = [(1, 2.3, 0), (0.7, 5.9, 1), (0.5, 13.1, 2), (0.3, 29.7, 3)]
    on_a_line(
        drawn("sum-of-sines"),
        sum(a * sin(2 * pi * f * s + shift) for a, f, shift in parts),
    )
    beat = [11 * t / 320 % 1 + 13 * t / 320 % 1 for t in range(320)]
    on_a_line(drawn("sawtooth-beat"), beat)


def test_the_walk_is_drawn_and_smooth():
    one, same, other = (
        drawn("random-walk-smooth", seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.abs(np.diff(one[:, 0])).max() < 0.1
    roughness = np.diff(one[:, 0], 2).std() / np.diff(one[:, 0]).std()
    assert roughness < 0.5  # of a bare walk it is the root of 2
    with pytest.raises(ValueError, match="rng is None"):
        waveform("random-walk-smooth")


def test_the_others_are_the_same_every_time():
    for kind in WAVEFORMS[:-1]:
        np.testing.assert_array_equal(waveform(kind), drawn(kind))


def test_a_generation_has_no_input():
    target = waveform("chirp", 100)
    x, same = generation_task(target)
    assert x.shape == (100, 1)
    assert not x.any()
    assert same is target
    batch = Batch.of([(x, same)])
    assert batch.target.shape == (100, 1, 1)
    assert batch.mask.all()


# --- copy -------------------------------------------------------------------


def assert_one_hot(x):
    np.testing.assert_array_equal(np.sort(x, axis=1)[:, :-1], 0)
    np.testing.assert_array_equal(x.sum(axis=1), 1)


@given(**SIZES)
def test_copy_repeats_the_symbols_after_the_delimiter(
    seed, n_symbols, n_classes, delay
):
    rng = np.random.default_rng(seed)
    blank, delimiter = n_classes, n_classes + 1
    for x, target in copy_task(rng, 3, n_symbols, n_classes, delay):
        assert x.shape == (2 * n_symbols + delay, n_classes + 2)
        assert_one_hot(x)
        shown = x.argmax(axis=1)
        symbols = shown[:n_symbols]
        assert symbols.max() < n_classes
        np.testing.assert_array_equal(
            shown[n_symbols:],
            [blank] * (delay - 1) + [delimiter] + [blank] * n_symbols,
        )
        np.testing.assert_array_equal(
            target, [blank] * (n_symbols + delay) + symbols.tolist()
        )


@given(**SIZES)
def test_warped_copy_repeats_the_symbols_in_their_order(
    seed, n_symbols, n_classes, delay
):
    delay += n_symbols - 1
    rng = np.random.default_rng(seed)
    blank, delimiter = n_classes, n_classes + 1
    for x, target in warped_copy_task(rng, 3, n_symbols, n_classes, delay):
        assert x.shape == (delay + 1 + n_symbols, n_classes + 2)
        assert_one_hot(x)
        shown = x.argmax(axis=1)
        assert shown[delay] == delimiter
        symbols = [k for k in shown[:delay] if k != blank]
        assert len(symbols) == n_symbols
        assert max(symbols) < n_classes
        assert (shown[delay + 1 :] == blank).all()
        np.testing.assert_array_equal(target, [blank] * (delay + 1) + symbols)


def test_symbols_and_places_are_drawn_evenly():
    rng = np.random.default_rng(0)
    pairs = warped_copy_task(rng, 2000, 2, 4, 5)
    shown = np.array([x[:5].argmax(axis=1) for x, _ in pairs])
    np.testing.assert_allclose(np.mean(shown != 4, axis=0), 0.4, atol=0.05)
    symbols = np.array([target[-2:] for _, target in pairs])
    np.testing.assert_allclose(
        np.bincount(symbols.ravel()) / symbols.size, 0.25, atol=0.03
    )


# --- addition ---------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_the_target_is_the_sum_of_the_two_marked_numbers(seed, n_time):
    for x, target in addition_task(np.random.default_rng(seed), 4, n_time):
        assert x.shape == (n_time, 2)
        assert target.shape == (1, 1)
        first, second = np.flatnonzero(x[:, 1])
        assert x[first, 1] == x[second, 1] == 1
        assert target[0, 0] == pytest.approx(x[first, 0] + x[second, 0])
        assert x[:, 0].min() >= 0
        assert x[:, 0].max() < 1


def test_to_answer_one_misses_by_a_sixth():
    pairs = addition_task(np.random.default_rng(0), 5000, 10)
    missed = np.mean([(target - 1) ** 2 for _, target in pairs])
    assert missed == pytest.approx(1 / 6, abs=0.01)
    marks = np.mean([x[:, 1] for x, _ in pairs], axis=0)
    np.testing.assert_allclose(marks, 0.2, atol=0.03)


# --- all of them ------------------------------------------------------------

TASKS = [
    lambda rng: copy_task(rng, 5, 3, 4, 6),
    lambda rng: warped_copy_task(rng, 5, 3, 4, 6),
    lambda rng: addition_task(rng, 5, 12),
]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_drawn_by_the_generator_and_can_be_trained_on(task):
    one, same, other = (task(np.random.default_rng(i)) for i in (0, 0, 1))
    batches = [Batch.of(pairs) for pairs in (one, same, other)]
    np.testing.assert_array_equal(batches[0].x, batches[1].x)
    np.testing.assert_array_equal(batches[0].target, batches[1].target)
    assert not np.array_equal(batches[0].x, batches[2].x)
    counted = [len(target) for _, target in one]
    np.testing.assert_array_equal(batches[0].mask.sum(axis=0), counted)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: waveform("music"), "kind is 'music', expected one of chirp"),
        (lambda: waveform("chirp", 63), "n_time is 63, expected at least 64"),
        (lambda: generation_task(np.ones(5)), r"shape \(5,\), expected \(n_ti"),
        (lambda: generation_task(np.ones((0, 1))), r"shape \(0, 1\)"),
        (lambda: copy_task(RNG, 0, 1, 1, 1), "n_sequences is 0, .*least 1"),
        (lambda: copy_task(RNG, 1, 0, 1, 1), "n_symbols is 0"),
        (lambda: copy_task(RNG, 1, 1, 0, 1), "n_classes is 0"),
        (lambda: copy_task(RNG, 1, 1, 1, 0), "delay is 0"),
        (lambda: warped_copy_task(RNG, 1, 3, 1, 2), "delay is 2, .*least 3"),
        (lambda: warped_copy_task(RNG, 1, 3, 0, 5), "n_classes is 0"),
        (lambda: addition_task(RNG, 0, 5), "n_sequences is 0"),
        (lambda: addition_task(RNG, 1, 1), "n_time is 1, expected at least 2"),
    ],
)  # fmt: skip
def test_other_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
