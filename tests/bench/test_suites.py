"""The suites themselves, at tiny sizes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import msref
from msref.bench import SUITES, growth, recurrent, run
from msref.bench.suite import SCALES, Measurement, label
from msref.bench.timing import Timing

SOON = 1e-6


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("key", SUITES)
def test_cases_are_json_and_pairwise_different(key, scale):
    cases = SUITES[key].cases(scale)
    assert json.loads(json.dumps(cases)) == cases
    assert len({label(case) for case in cases}) == len(cases)
    assert SUITES[key].key == key


def test_the_recurrent_suite_is_the_36_cases():
    full, quick = (recurrent.cases(scale) for scale in ("full", "quick"))
    assert len(full) == 3 * 6 * 2
    assert len(quick) == 12
    assert all(case in full for case in quick)
    texts = [goal.text for goal in recurrent.goals([])]
    assert len(texts) == 7
    assert all(goal.holds is None for goal in recurrent.goals([]))


SIZES = {"n_time": 7, "n_batch": 2, "n_in": 3, "n_hid": 4}
MODULES = SIZES | {"n_mem": 2, "n_modules": 3}
TINY = [
    ("recurrent", "GRU", SIZES),
    ("cells", "BRC", SIZES),
    ("cells", "MultiScaleLMN", MODULES),
]


@pytest.mark.parametrize(("key", "cell", "sizes"), TINY)
def test_a_case_is_timed_with_whom_there_is(key, cell, sizes):
    case = {"cell": cell, "dtype": "float64"} | sizes
    row = SUITES[key].measure(case, SOON)
    assert row.timings["ours"].runs >= 5
    assert all("disagrees" not in note for note in row.notes.values())
    for peer in ("torch eager", "jax scan"):
        noted = [name for name in row.notes if name.startswith(peer)]
        assert (row.ratio(peer) is None) == bool(noted)
    if key == "recurrent":
        assert row.share is not None
        assert row.ratio("autograd") is not None


# --- growth and overhead ----------------------------------------------------


@given(st.floats(-1, 3), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_the_exponent_of_a_power_is_found(k, start, n_sizes):
    costs = start * 2.0 ** (k * np.arange(n_sizes))
    assert growth.exponent(costs.tolist()) == pytest.approx(k, abs=1e-3)


def row(over, time, memory):
    values = {"time exponent": time, "memory exponent": memory}
    timings = {"×1": Timing(1, 1, 1, 5), "×2": Timing(2, 2, 2, 5)}
    return Measurement(
        {"cell": "toy", "over": over, "times": 2}, timings, values
    )


def test_goals_look_at_the_worst_exponent_over_time():
    rows = [
        row("n_time", 1.04, 0.9),
        row("n_time", 1.0, 1.06),
        row("n_hid", 2.0, 1.9),
    ]
    time, memory = growth.goals(rows)
    assert (time.value, time.holds) == (1.04, True)
    assert (memory.value, memory.holds) == (1.06, False)
    assert all(goal.holds is None for goal in growth.goals([]))


def test_growth_measures_time_and_memory_as_sizes_double(monkeypatch, tmp_path):
    monkeypatch.setattr(
        growth,
        "peak_memory",
        lambda job, cell, n_time, *_: 1000 * n_time,
    )
    monkeypatch.setattr(growth, "START", dict.fromkeys(growth.START, 4))
    told = run(
        SUITES["growth"], seconds=SOON, folder=tmp_path, only="over=n_time"
    )
    assert [r["case"]["cell"] for r in told["rows"]] == list(growth.CELLS)
    for found in told["rows"]:
        assert list(found["timings"]) == ["×1", "×2", "×4", "×8"]
        assert found["values"]["memory exponent"] == 1.0
        assert np.isfinite(found["values"]["time exponent"])
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_passes_run_at_the_sizes_asked_for():
    grads = growth.passes("MultiScaleLMN", 6, 2, 8, 3)()
    assert grads.x.shape == (6, 2, 4)
    assert grads.params["W_mm"].shape == (6, 6)


def test_overhead_has_all_networks_with_units_at_size_one():
    names = [case["network"] for case in growth.overhead_cases("quick")]
    assert {"lstm", "gru", "elman", "mslmn", "durnn", "nbrc"} <= set(names)
    for name in names:
        arch = growth.smallest(name)
        assert arch.n_in == 1
        largest = max(max(shape) for shape in arch.shapes().values())
        assert largest == 1
    assert not isinstance(growth.smallest("lstm"), msref.GRU)


def test_overhead_tells_microseconds_a_step(monkeypatch):
    monkeypatch.setattr(growth, "N_STEPS", 3)
    found = growth.measure_overhead({"network": "elman"}, SOON)
    seconds = sum(timing.median for timing in found.timings.values())
    assert found.values["µs a step"] == pytest.approx(1e6 * seconds / 3, 0.1)
