"""The chain: two chapters become pages that open from disk."""

import html
import importlib
import json
import re
import subprocess

import pytest
from small_book import SECOND, needs_extra, small_checkout

from msref.book import Built, build, checkout
from msref.book.alone import NO_KERNEL
from msref.book.expansion import find_source
from msref.cli import main

chain = importlib.import_module("msref.book.build")  # build is its function
DRAFT = ("01", "02")


# --- what is built ----------------------------------------------------------


@needs_extra
def test_two_chapters_are_built_without_a_warning(book):
    assert book.warnings == ()
    assert book.ok
    assert book.pages >= 4
    assert 1e6 < book.size < 15e6


@needs_extra
def test_code_comes_from_the_package_and_results_say_where_from(book):
    page = (book.folder / "01-first.html").read_text()
    plain = html.unescape(re.sub(r"<[^>]+>", "", page))
    shown = find_source("msref.Elman.backward", "for t in rev", "(1')").text
    assert shown.splitlines()[-1].strip() in plain
    assert "msref reproduce durnn --scale quick" in plain
    assert "PASS" in plain
    assert "durnn-quick/reach-rnn" in page or "reach-rnn.png" in page


@needs_extra
def test_figures_take_the_colour_of_the_page(book):
    page = (book.folder / "01-first.html").read_text()
    assert 'aria-label="a line"' in page
    assert "currentColor" in page


@needs_extra
def test_every_chapter_is_a_notebook_without_our_blocks(book):
    paths = sorted((book.folder / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in paths] == ["01-first", "02-second"]
    for path in paths:
        cells = json.loads(path.read_text())["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
        assert "{source}" not in text
        assert "{result}" not in text
    assert json.loads(paths[0].read_text())["cells"][0]["attachments"]


@needs_extra
def test_anything_else_than_a_book_is_left(small):
    with pytest.raises(ValueError, match="no book of ours"):
        build(small.root, DRAFT)
    assert small.chapters.is_dir()


@needs_extra
def test_a_book_tells_what_it_was_made_from(book):
    told = json.loads((book.folder / chain.MARK).read_text())
    assert "chapters/01-first.py" in told
    assert "msref/book/build.py" in told
    assert "results/durnn-quick/result.json" in told


@needs_extra
def test_a_warning_keeps_the_book_from_its_place(tmp_path):
    bad = SECOND.replace("Folded.", "{py:foo}`no such role`")
    there = small_checkout(tmp_path / "checkout", **{"02-second": bad})
    made = build(tmp_path / "made", ("02",), checkout=there)
    assert not made.ok
    assert any("py:foo" in line for line in made.warnings)
    assert not (tmp_path / "made").exists()


@needs_extra
def test_a_cell_that_raises_stops_the_book(tmp_path):
    bad = SECOND.replace("print(1 + 1)", "1 / 0")
    there = small_checkout(tmp_path / "checkout", **{"02-second": bad})
    made = build(tmp_path / "made", ("02",), checkout=there)
    assert any("ZeroDivisionError" in line for line in made.warnings)
    assert not (tmp_path / "made").exists()


@needs_extra
@pytest.mark.parametrize("deaths", [1, 3])
def test_sphinx_runs_again_if_a_kernel_could_not_begin(
    tmp_path, monkeypatch, deaths
):
    there = small_checkout(tmp_path / "checkout")
    run, told = subprocess.run, []

    def once_more(command, **more):
        told.append(command)
        if len(told) > deaths:
            return run(command, **more)
        return subprocess.CompletedProcess(command, 2, "", f"a: {NO_KERNEL}")

    monkeypatch.setattr(chain.subprocess, "run", once_more)
    if deaths == 3:
        with pytest.raises(OSError, match=NO_KERNEL):
            build(tmp_path / "made", ("02",), checkout=there)
    else:
        assert build(tmp_path / "made", ("02",), checkout=there).ok
        assert len(told) == 2


# --- what goes wrong before -------------------------------------------------


def test_without_the_extra_one_line_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(chain, "_is_there", lambda name: False)
    with pytest.raises(ModuleNotFoundError, match=r"\[book\]"):
        build(tmp_path / "made")


def test_outside_a_checkout_it_is_said_what_is_needed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "site" / "msref" / "__init__.py"
    monkeypatch.setattr(checkout.msref, "__file__", str(package))
    with pytest.raises(FileNotFoundError, match="checkout"):
        checkout.find()


def test_an_unknown_chapter_is_named_with_those_there_are(tmp_path):
    there = small_checkout(tmp_path / "checkout")
    with pytest.raises(ValueError, match=r"'07'.*01-first, 02-second"):
        there.scripts(("07",))
    assert [p.stem for p in there.scripts(("02",))] == ["02-second"]


def test_the_command_prints_json(monkeypatch, capsys):
    def built(folder, only, **more):
        assert only == ("01",)
        return Built(folder, 3, 10, ("w",), 1.0)

    monkeypatch.setattr("msref.book.build", built)
    monkeypatch.setattr("sys.argv", ["msref", "book", "01", "--json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 1
    assert told["ok"] is False
    assert told["warnings"] == ["w"]
