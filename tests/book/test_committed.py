"""What a notebook brings along from the checkout."""

import json

import pytest
from small_book import ROOT

from msref.book import committed as module
from msref.book.checkout import Checkout
from msref.book.committed import committed, committed_runs, luggage

HERE = Checkout(ROOT)
READER = "examples/readers/reader.py"
ONNX = "results/vectors-onnx/result.json"


@pytest.fixture
def away(monkeypatch):
    """Take the checkout away, and what was brought along before."""

    def none():
        raise FileNotFoundError("there are no chapters here")

    monkeypatch.setattr(module, "find", none)
    monkeypatch.setattr(module, "_brought", {})


def test_without_checkout_and_luggage_there_is_no_file(away):
    with pytest.raises(FileNotFoundError):
        committed(READER)
    with pytest.raises(FileNotFoundError):
        committed_runs()


def test_a_notebook_has_what_its_cells_ask_for_and_no_more(away):
    cells = [f"cells.Listing({READER!r}, is_open=True)"]
    cells += [f"told = json.loads(\n    committed({ONNX!r})\n)"]
    exec(luggage(HERE, cells), {})
    assert committed(READER) == (ROOT / READER).read_text()
    assert json.loads(committed(ONNX))["paper"] == "vectors-onnx"
    with pytest.raises(FileNotFoundError):
        committed("examples/readers/reader.rs")


def test_runs_are_those_with_claims_and_without_their_jobs(away):
    exec(luggage(HERE, ["runs = committed_runs()"]), {})
    runs = committed_runs()
    paths = (ROOT / "results").glob("*/result.json")
    every = [json.loads(path.read_text()) for path in sorted(paths)]
    wanted = [told for told in every if "claims" in told]
    assert [run["claims"] for run in runs] == [w["claims"] for w in wanted]
    assert not any("jobs" in run for run in runs)


def test_in_the_checkout_and_away_from_it_runs_are_the_same(monkeypatch):
    monkeypatch.setattr(module, "_brought", {})
    here = committed_runs()
    exec(luggage(HERE, ["committed_runs()"]), {})
    assert committed_runs() == here


def test_cells_that_ask_for_nothing_bring_nothing():
    assert luggage(HERE, ["import msref", "print(1)"]) == ""


def test_a_file_that_is_not_there_stops_the_build():
    with pytest.raises(FileNotFoundError, match=r"none\.py"):
        luggage(HERE, ["committed('examples/none.py')"])
