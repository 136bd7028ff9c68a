"""Results on the page: the command that made them, and how fresh they are."""

import copy
import re
from pathlib import Path

import pytest

from msref.book.expansion import _BLOCK
from msref.book.results import Run, read_run

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.py"))


def test_the_command_names_scale_data_and_seeds():
    run = read_run(RESULTS, "lmn-full-jsb_chorales")
    assert run.command == (
        "msref reproduce lmn --scale full --data JSB_Chorales.mat"
    )
    other = copy.deepcopy(read_run(RESULTS, "durnn-quick").told)
    other["seeds"] = [0, 1, 2]
    assert Run(RESULTS, other).command.endswith("--scale quick --seeds 3")


def test_a_job_with_another_fingerprint_counts_as_changed():
    run = read_run(RESULTS, "durnn-quick")
    told = copy.deepcopy(run.told)
    key = next(iter(told["jobs"]))
    told["jobs"][key]["fingerprint"] = "0" * 16
    older = Run(run.folder, told)
    assert key in older.changed()
    assert "older than the code" in older.freshness
    gone = copy.deepcopy(run.told)
    gone["jobs"]["no-such-job"] = {"fingerprint": "1"}
    assert "no-such-job" in Run(run.folder, gone).changed()


def test_without_the_data_it_is_said_that_nothing_was_compared():
    run = read_run(RESULTS, "lmn-full-jsb_chorales")
    assert run.changed() is None
    assert "not compared" in run.freshness


def shown_runs():
    found = set()
    for path in CHAPTERS:
        text = re.sub(r"^# ?", "", path.read_text(), flags=re.MULTILINE)
        blocks = _BLOCK.finditer(text)
        found |= {b["name"] for b in blocks if b["kind"] == "result"}
    return sorted(found)


def test_chapters_show_results():
    assert shown_runs()


@pytest.mark.parametrize("name", shown_runs())
def test_no_figure_of_a_chapter_is_older_than_its_code_unsaid(name):
    run = read_run(RESULTS, name)
    changed = run.changed()
    assert run.freshness in run.provenance
    if changed is None:
        assert "not compared" in run.freshness
    elif changed:
        assert f"{len(changed)} of {len(run.told['jobs'])}" in run.freshness
    else:
        assert "that of today" in run.freshness
