"""A run keeps every row, goes on where it was, and writes what it found."""

import json
import sys
from pathlib import Path

import pytest

from msref.bench import Conditions, run
from msref.bench.figure import draw_ratios
from msref.bench.running import rows_of

sys.path.insert(0, str(Path(__file__).parent))
import small_suite


def test_a_run_tells_conditions_rows_and_goals(tmp_path):
    shown = []
    told = run(
        small_suite.suite([]),
        folder=tmp_path,
        progress=lambda *at: shown.append(at),
    )
    assert shown == [(1, 3), (2, 3), (3, 3)]
    assert told == json.loads((tmp_path / "result.json").read_text())
    assert told["finished"]
    assert told["clock"] == "CPU"
    assert told["settings"]["threads"] == 1
    assert len(told["load"]) == 4
    assert [row.ratio("peer") for row in rows_of(told)] == [0.5, 1.0, 1.5]
    mean, worst = told["goals"]
    assert mean["value"] == pytest.approx(0.75 ** (1 / 3))
    assert (mean["holds"], worst["holds"]) == (True, False)
    assert not list(tmp_path.glob("*.part"))


def test_the_table_says_the_same_in_markdown(tmp_path):
    told = run(small_suite.suite([]), folder=tmp_path)
    text = (tmp_path / "table.md").read_text()
    heads = "| case | ours, ms | spread | limit / ours | peer | MB | route |"
    assert heads in text
    assert "| toy 2 | 2 | ±10 % | 0.25 | 1.00 | 3 | short |" in text
    assert "missed: ours / peer, worst of 3 cases: 1.5 (at most 1)" in text
    assert "reached: ours / peer, geometric mean" in text
    assert "away: away is not installed (toy 1)" in text
    assert "under a peer: our time / its time" in text
    assert told["machine"]["processor"] in text
    assert "![a toy](ratios.png)" in text
    png = (tmp_path / "ratios.png").read_bytes()
    assert png.startswith(b"\x89PNG")


def test_the_figure_stands_on_its_rows(tmp_path):
    log = []
    rows = rows_of(run(small_suite.suite(log)))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    draw_ratios(rows, paths[0])
    draw_ratios(rows[:1], paths[1])
    assert paths[0].read_bytes() != paths[1].read_bytes()


@pytest.fixture
def interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(small_suite.suite([], fail_at=3), folder=tmp_path)
    told = json.loads((tmp_path / "result.json").read_text())
    assert len(told["rows"]) == 2
    assert not told["finished"]
    return tmp_path


def test_an_interrupted_run_goes_on(interrupted):
    log = []
    told = run(small_suite.suite(log), folder=interrupted)
    assert log == [3]
    assert told["finished"]
    assert [row["case"]["n_hid"] for row in told["rows"]] == [1, 2, 3]


def test_a_finished_run_is_measured_again(interrupted):
    run(small_suite.suite([]), folder=interrupted)
    log = []
    run(small_suite.suite(log), folder=interrupted)
    assert log == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"scale": "full"},
        {"seconds": 1.0},
        {"conditions": Conditions(2)},
        {"only": "toy"},
    ],
)
def test_rows_of_other_settings_are_not_taken_over(interrupted, change):
    log = []
    run(small_suite.suite(log), folder=interrupted, **change)
    assert log[:3] == [1, 2, 3]


def test_rows_of_other_code_are_not_taken_over(interrupted, monkeypatch):
    monkeypatch.setattr("msref.bench.running._digest", lambda: "other")
    log = []
    run(small_suite.suite(log), folder=interrupted)
    assert log == [1, 2, 3]


def test_wall_time_has_no_goals():
    told = run(small_suite.suite([]), conditions=Conditions(2))
    assert told["clock"] == "wall"
    assert told["goals"] == []


def test_cases_are_chosen_by_their_words():
    log = []
    run(small_suite.suite(log), only="n_hid=2")
    assert log == [2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scale": "huge"}, "scale is 'huge', expected quick or full"),
        ({"seconds": 0.0}, "seconds is 0.0, expected above 0"),
        ({"only": "nope"}, "suite toy has no case with 'nope'"),
    ],
)
def test_wrong_options_stop_before_any_case(options, text):
    log = []
    with pytest.raises(ValueError, match=text):
        run(small_suite.suite(log), **options)
    assert not log
