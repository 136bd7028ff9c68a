"""Jobs are timed in turn, as long as asked for; memory in a child."""

import gc
import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.bench import Conditions, Timing, interleaved, peak_memory
from msref.bench.conditions import current, held


class Clock:
    """Seconds that pass only where a job says so."""

    def __init__(self):
        self.now = 0.0
        self.ran = []

    def __call__(self):
        return self.now

    def job(self, name, *costs):
        costs = iter([*costs, *[costs[-1]] * 1000])

        def run():
            self.ran.append(name)
            self.now += next(costs)

        return run


def test_jobs_take_turns_after_one_warm_up_each():
    clock = Clock()
    jobs = {name: clock.job(name, 1.0) for name in "ab"}
    found = interleaved(jobs, seconds=5.5, at_least=1, clock=clock)
    assert "".join(clock.ran) == "ab" + "ab" * 3
    assert [timing.runs for timing in found.values()] == [3, 3]


def test_rounds_are_made_even_if_the_time_is_up():
    clock = Clock()
    jobs = {"slow": clock.job("s", 100.0)}
    assert interleaved(jobs, seconds=1, clock=clock)["slow"].runs == 5
    found = interleaved(jobs, seconds=1, at_least=2, clock=clock)
    assert found["slow"].runs == 2


def test_compilation_is_not_counted():
    clock = Clock()
    job = clock.job("compiled", 50.0, 1.0)
    found = interleaved({"": job}, seconds=0, clock=clock)
    assert found[""] == Timing(1.0, 1.0, 1.0, 5)


def test_what_a_job_returns_is_released_within_its_time():
    clock = Clock()

    class Result:
        def __del__(self):
            clock.now += 1.0

    found = interleaved({"large": Result, "": int}, seconds=0, clock=clock)
    assert [timing.median for timing in found.values()] == [1.0, 0.0]


def test_a_clock_that_stands_still_ends():
    assert interleaved({"": int}, seconds=1, clock=lambda: 0.0)[""].median == 0


def test_a_job_that_fails_leaves_the_collector_as_it_was():
    calls = []

    def fail():
        calls.append(None)
        if len(calls) > 1:
            raise KeyError("job")

    with pytest.raises(KeyError):
        interleaved({"": fail}, seconds=1)
    assert gc.get_freeze_count() == 0
    with pytest.raises(ValueError, match="at_least is 0, expected"):
        interleaved({}, seconds=1, at_least=0)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1))
def test_half_of_the_runs_lie_between_the_quartiles(seconds):
    timing = Timing.of(seconds)
    assert timing.runs == len(seconds)
    assert min(seconds) <= timing.low <= timing.median
    assert timing.median <= timing.high <= max(seconds)
    a_quarter = math.ceil((len(seconds) - 1) / 4)
    assert sum(s < timing.low for s in seconds) <= a_quarter
    assert sum(s > timing.high for s in seconds) <= a_quarter
    assert timing.median == pytest.approx(np.median(seconds))


def test_the_clock_is_that_of_the_conditions():
    assert Conditions(1).clock is time.process_time
    assert Conditions(2).clock is time.perf_counter
    assert current() == Conditions()
    with held(Conditions(2)):
        found = interleaved({"": lambda: time.sleep(0.01)}, seconds=0)
    assert found[""].low > 0.009  # no CPU time, but wall
    assert current() == Conditions()


# --- memory -----------------------------------------------------------------


@pytest.fixture
def jobs(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return "jobs_to_measure"


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account")
@pytest.mark.parametrize("set_up", [(1, 1), (80_000_000, 90_000_000)])
def test_what_a_job_needs_is_counted_and_its_set_up_is_not(jobs, set_up):
    n_bytes = 50_000_000
    grown = peak_memory(f"{jobs}:filled", *set_up, n_bytes)
    assert 0.99 * n_bytes <= grown < 1.1 * n_bytes  # the system rounds


def test_a_child_that_fails_says_why_in_one_line(jobs):
    with pytest.raises(OSError, match=r"failing .*: ValueError: too bad$"):
        peak_memory(f"{jobs}:failing", "too bad")
    with pytest.raises(OSError, match="ended with 3, perhaps for want of"):
        peak_memory(f"{jobs}:silent", 3)


@pytest.mark.parametrize("job", ["nothing", "module:", ":function"])
def test_a_job_is_a_function_of_a_module(job):
    with pytest.raises(ValueError, match="expected 'module:function'"):
        peak_memory(job)
