"""Rows, their ratios, and goals."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.bench.suite import (
    Measurement,
    at_least,
    at_most,
    fits,
    geometric_mean,
    label,
    ratio_goals,
    sizes_of,
)
from msref.bench.timing import Timing

CASE = {"cell": "LSTM", "dtype": "float32", "n_time": 100, "n_hid": 8}
SECONDS = st.floats(1e-6, 1e3)


def row(**medians):
    names = {name.replace("__", ", "): s for name, s in medians.items()}
    return Measurement(CASE, {k: Timing(s, s, s, 5) for k, s in names.items()})


def test_a_ratio_is_ours_over_the_best_variant_of_a_peer():
    found = row(ours=2.0, torch=4.0, jax=9.0, jax__hoisted=8.0, jaxed=1.0)
    assert found.ratio("torch") == 0.5
    assert found.ratio("jax") == 0.25
    assert found.best("jax").median == 8.0
    assert found.ratio("autograd") is None
    assert row(torch=1.0).ratio("torch") is None


def test_the_share_is_the_faster_limit_over_ours():
    assert row(ours=4.0, limit__a=3.0, limit__b=2.0).share == 0.5
    assert row(ours=4.0).share is None


@given(st.lists(SECONDS, min_size=1, max_size=5), SECONDS)
def test_goals_hold_the_mean_and_the_worst_against_their_limits(ours, theirs):
    rows = [row(ours=s, torch=theirs) for s in ours]
    ratios = [s / theirs for s in ours]
    expected = math.prod(ratios) ** (1 / len(ratios))
    for limit in (expected * 0.999, expected * 1.001):
        mean, worst = ratio_goals(rows, "torch", limit, limit)
        assert mean.value == pytest.approx(expected)
        assert mean.holds == (limit > expected)
        assert worst.value == pytest.approx(max(ratios))
        assert worst.holds == (max(ratios) <= limit)
        assert f"of {len(rows)} cases" in mean.text


def test_what_was_not_measured_neither_holds_nor_fails():
    mean, worst = ratio_goals([row(ours=1.0)], "torch", 1.0, 1.0)
    assert (mean.value, mean.holds) == (worst.value, worst.holds) == (None,) * 2
    assert at_least("share", None, 0.75).holds is None
    assert geometric_mean([]) is None


def test_limits_themselves_are_allowed():
    assert at_most("", 1.0, 1.0).holds
    assert not at_most("", 1.1, 1.0).holds
    assert at_least("", 1.0, 1.0).holds
    assert not at_least("", 0.9, 1.0).holds
    assert at_least("", 1.0, 1.0).sense == "at least"


def test_a_row_survives_json():
    found = Measurement(
        CASE,
        {"ours": Timing(1.5, 1.0, 2.0, 7)},
        {"MB": 3.5, "route": "FFT", "residual": math.nan},
        {"torch": "torch is not installed"},
    )
    text = json.dumps(found.to_dict(), allow_nan=False)
    again = Measurement.from_dict(json.loads(text))
    assert again.to_dict() == found.to_dict()
    assert again.values["residual"] == "nan"
    assert (again.timings, again.notes) == (found.timings, found.notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("lstm", True),
        ("LSTM n_time=100", True),
        ("float32 n_hid=8", True),
        ("gru", False),
        ("lstm float64", False),
    ],
)
def test_a_case_fits_if_it_has_every_word(text, expected):
    assert fits(CASE, text) == expected


def test_labels_are_words_and_sizes():
    assert label(CASE) == "LSTM float32 100×8"
    assert sizes_of(CASE) == "n_time × n_hid"
    assert label({"network": "lstm"}) == "lstm"
