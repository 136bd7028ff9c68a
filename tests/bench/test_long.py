"""Suite "long": the passes that are timed, and the memory they are held to."""

import numpy as np
import pytest

from msref.bench import SUITES, long
from msref.bench.suite import Measurement
from msref.bench.timing import Timing

CASE = {
    "cell": "LMN",
    "dtype": "float32",
    "n_time": 30,
    "n_batch": 2,
    "n_hid": 4,
    "segment": 8,
}


def test_a_case_tells_times_and_three_peaks(monkeypatch):
    monkeypatch.setattr(long, "peak_memory", lambda job, case, what: 2_500_000)
    row = SUITES["long"].measure(CASE, 1e-6)
    assert list(row.timings) == ["ours", "plain"]
    inputs = 30 * 2 * (2 + 4) * 4 / 1e6
    assert row.values == dict.fromkeys(long.SEEN, 2.5) | {
        "MB of inputs": round(inputs, 1)
    }


@pytest.mark.parametrize("what", long.SEEN)
def test_the_passes_whose_peak_is_taken_find_gradients(what):
    grads = long.peak_job(CASE, what)()
    assert grads.x.shape == (30, 2, 2)
    assert all(np.abs(value).max() > 0 for value in grads.params.values())


def test_peaks_are_taken_in_children():
    job = "msref.bench.long:peak_job"
    case = CASE | {"n_time": 3000, "n_hid": 64, "segment": 100}
    lean, plain = (
        long.peak_memory(job, case, what) for what in ("MB", "MB plain")
    )
    assert plain > 3000 * 2 * 64 * 4
    assert lean < plain


def timing(seconds):
    return Timing(seconds, seconds, seconds, 5)


def row(cell, n_time, ours, lean, with_y):
    values = {"MB": lean, "MB with y": with_y, "MB of inputs": 100.0}
    timings = {"ours": timing(ours), "plain": timing(1.0)}
    return Measurement({"cell": cell, "n_time": n_time}, timings, values)


def test_goals_take_the_worst():
    rows = [
        row("LMN", 1_000_000, 1.2, 30.0, 300.0),
        row("LSTM", 1_000_000, 1.6, 60.0, 9000.0),
        row("IndRNN", 1_000_000, 1.1, 20.0, 3950.0),
        row("LSTM", 100_000, 1.3, 99.0, 900.0),
    ]
    found = [(goal.value, goal.holds) for goal in long.goals(rows)]
    assert found == [
        (1.6, False),
        (60.0, False),
        (99.0, True),
        (4050.0, False),
    ]
    assert all(goal.holds is None for goal in long.goals([]))
    cells = {case["cell"] for case in long.cases("full")}
    assert cells == {"LMN", "IndRNN", "LSTM"}
