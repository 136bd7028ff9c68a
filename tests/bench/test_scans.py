"""Suite "recurrence": who agrees is timed, and the goals look at one case."""

import numpy as np
import pytest

from msref.bench import SUITES, scans
from msref.bench.suite import Measurement
from msref.bench.timing import Timing

SOON = 1e-6
CASE = {"n_time": 40, "n": 3, "dtype": "float64"}


def timing(seconds):
    return Timing(seconds, seconds, seconds, 5)


def test_all_that_are_there_agree_and_are_timed():
    row = SUITES["recurrence"].measure(CASE, SOON)
    assert row.timings["ours"].runs >= 3
    assert "plain loop" in row.timings
    for peer in scans.PEERS:
        note = row.notes.get(peer, "")
        assert (peer in row.timings) == (note == ""), note
        assert note == "" or "is not installed" in note


def test_one_that_disagrees_is_not_timed(monkeypatch):
    def wrong(given):
        y, da, db, dy0 = scans.plain(given)()
        da[7] *= 1.01
        return lambda: (y, da, db, dy0)

    monkeypatch.setattr(scans, "PEERS", {"wrong": wrong})
    row = scans.measure(CASE, SOON)
    assert list(row.timings) == ["ours"]
    assert row.notes["wrong"].startswith("disagrees: a differs by ")


def test_pytorch_is_spared_graphs_of_a_million_steps(monkeypatch):
    monkeypatch.setattr(scans, "UNROLLED", 39)
    row = scans.measure(CASE, SOON)
    assert row.notes["torch loop"] == "not run beyond 39 steps"


def test_the_goals_stand_at_one_size():
    at = dict(zip(CASE, scans.LARGEST, strict=True))
    assert at in scans.cases("full")
    timings = {"ours": timing(1.0), "jax scan": timing(4.0)}
    timings |= {"jax associative": timing(4.0)}
    rows = [Measurement(CASE, {"ours": timing(1.0)}), Measurement(at, timings)]
    found = [(goal.value, goal.holds) for goal in scans.goals(rows)]
    assert found == [(0.25, True), (0.25, False), (None, None)]
    assert all(goal.holds is None for goal in scans.goals(rows[:1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_drawn_has_the_precision_and_can_be_drawn_again(dtype):
    first, again = (scans.draw(CASE | {"dtype": dtype}) for _ in range(2))
    for name, value in first.items():
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, again[name])
