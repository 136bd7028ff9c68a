"""Blocks of a chapter: code by name, results with where they are from."""

import inspect
import re
from pathlib import Path

import pytest

import msref
from msref.book.expansion import Notebook, Page, find_source

RESULTS = Path(__file__).parents[2] / "results"
SOURCE = "```{source} msref.Elman.step\n```"


def page(tmp_path):
    return Page(tmp_path, RESULTS)


@pytest.mark.parametrize(
    "name", ["msref.Elman.step", "msref.architectures.elman.Elman.step"]
)
def test_code_is_found_by_any_of_its_names(name):
    found = find_source(name)
    assert found.qualname == "Elman.step"
    assert found.path.name == "elman.py"
    assert found.text.startswith("def step(")
    assert inspect.getsource(msref.Elman.step).strip()[:9] == found.text[:9]


def test_a_decorated_function_is_found_in_its_own_file():
    found = find_source("msref.threads")
    assert found.path.name == "blas.py"
    assert found.qualname == "threads"


def test_a_part_is_cut_out_and_moved_to_the_margin():
    part = find_source("msref.Elman.backward", "for t in", "# (1')").text
    lines = part.splitlines()
    assert lines[0].startswith("for t in reversed")
    assert lines[-1].endswith("# (1')")
    assert len(lines) < len(
        find_source("msref.Elman.backward").text.split("\n")
    )
    assert all("# (1')" not in line for line in lines[:-1])
    assert find_source("msref.scan", "def scan", "def scan").text == "def scan("


@pytest.mark.parametrize(
    ("name", "start", "message"),
    [
        ("msref.Elman.leap", "", "no leap"),
        ("msref.REGISTRY", "", "no function, class or method"),
        ("nowhere.at.all", "", "no module nowhere"),
        ("msref.Elman.step", "no such line", "no line with"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name, start, message):
    with pytest.raises(ValueError, match=message):
        find_source(name, start)


def test_a_page_includes_the_code_and_does_not_copy_it(tmp_path):
    text = page(tmp_path).expand(SOURCE)
    found = re.search(r"\{literalinclude\} (\S+)\n:pyobject: (\S+)", text)
    assert (tmp_path / found[1]).resolve().name == "elman.py"
    assert found[2] == "Elman.step"
    assert "def step" not in text


def test_a_notebook_stands_alone():
    text = Notebook(RESULTS).expand(
        "(arch-elman)=\n# Title\n\n:::{beside}\nleft\n+++\n"
        + SOURCE
        + "\n:::\n\n:::{dropdown} Solution\n:open:\nfolded\n:::\n"
        + "{py:func}`msref.scan` and {ref}`there <arch-gru>`"
    )
    assert "def step(" in text
    assert "**Solution**" in text
    assert "`msref.scan` and `there`" in text
    for mark in (":::", "+++", "{", "arch-elman", ":open:"):
        assert mark not in text.replace('{"', "").replace("}, {", ""), mark


def test_the_two_columns_are_left_and_right(tmp_path):
    text = page(tmp_path).expand(":::{beside}\nl\n+++\nr\n:::\nafter")
    assert re.search(r"beside-left\nl\n:{5}\n", text)
    assert re.search(r"beside-right\nr\n:{5}\n:{6}\nafter", text)


def test_results_are_shown_with_date_version_and_command(tmp_path):
    made = page(tmp_path)
    text = made.expand(
        "```{result} durnn-full\n:claims: a2\n:tables: 0\n"
        ":figures: reach-rnn\n```"
    )
    assert "verdict: **holds**" in text
    assert "`msref reproduce durnn --scale full`" in text
    assert "by msref 0.1.0" in text
    assert [path.name for path in made.used] == ["reach-rnn.png"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```{result} no-such-run\n```", "no run 'no-such-run'"),
        ("```{result} durnn-full\n:claims: z9\n```", "no claim 'z9'"),
        ("```{result} durnn-full\n:tables: 99\n```", "table is 99"),
        ("```{result} durnn-full\n:figures: none\n```", "no figure 'none'"),
        ("```{result} durnn-full\n:graphs: none\n```", "option 'graphs'"),
        ("```{source} msref.scan\n:lines: 1\n```", "option 'lines'"),
    ],
)
def test_a_block_that_stands_for_nothing_is_refused(tmp_path, block, message):
    with pytest.raises(ValueError, match=message):
        page(tmp_path).expand(block)
    with pytest.raises(ValueError, match=message):
        Notebook(RESULTS).expand(block)
