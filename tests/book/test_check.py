"""The checks of a book: nothing wrong in a good one, each fault is found."""

import json
import shutil
from dataclasses import replace

import nbformat
import pytest
from small_book import ROOT, needs_extra

from msref.book import browser
from msref.book import check as checks
from msref.book.alone import NO_KERNEL
from msref.book.check import Finding
from msref.book.checkout import Checkout
from msref.book.results import read_run
from msref.cli import main

CHROMIUM = browser.installed()
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here"
)
HERE = Checkout(ROOT)


def pages(folder, **texts):
    """Write pages with these contents, by name."""
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(
            "<!doctype html><meta charset=utf-8><meta name=viewport"
            ' content="width=device-width, initial-scale=1">'
            f"<body><article>{text}</article>"
        )
    return folder


def notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


# --- a good book ------------------------------------------------------------


@needs_extra
def test_a_good_book_has_nothing_wrong(book, small):
    found = checks.check(book.folder, checkout=small, progress=False)
    wrong = {each.check: each.wrong for each in found if each.wrong}
    wrong.pop("made from today's files", None)  # somebody may be at work
    assert wrong == {}
    looked = {each.check: each.looked for each in found}
    assert looked["notebooks run by themselves"] == "2 notebooks"
    assert looked["results"] == "1 runs"
    assert int(looked["links and anchors"].split()[0]) > 50
    if CHROMIUM:
        assert looked["formulas and references"] == "3 formulas"
        assert looked["images"] == "1 images"
        assert not any(each.missed for each in found)


@needs_extra
def test_each_fault_of_files_is_found(book, small, tmp_path):
    copy = shutil.copytree(book.folder, tmp_path / "copy")
    page = copy / "02-second.html"
    text = page.read_text().replace('href="index.html"', 'href="nowhere.html"')
    text = text.replace('href="#', 'href="#no-such-')
    page.write_text(text + '<script src="https://example.invalid/x.js">')
    found = checks.links(copy, small).wrong
    assert any("nowhere.html leads nowhere" in line for line in found)
    assert any("no-such-" in line for line in found)
    assert len(found) < len(text)
    (wrong,) = checks.network(copy).wrong
    assert wrong == "02-second.html: https://example.invalid/x.js"
    style = copy / "_static" / "book.css"
    style.write_text("p { background: url('//example.invalid/x.png') }")
    assert len(checks.network(copy).wrong) == 2


def test_links_out_of_the_folder_and_away_from_it(tmp_path):
    pages(
        tmp_path,
        here='<a href="/etc/hostname">root</a> <a href="file:///etc">file</a>'
        ' <a href="https://example.invalid">else</a> <a href="#a" id="a">a</a>'
        ' <a href="there.html#b">b</a> <a href="there.html#c">c</a>',
        there='<p id="b">',
    )
    found = checks.links(tmp_path, HERE)
    assert found.looked == "5 links"
    assert [line.split()[1] for line in found.wrong] == [
        "/etc/hostname",
        "file:///etc",
        "there.html#c,",
    ]


def test_a_link_to_a_chapter_is_let_pass_in_a_draft_without_it(tmp_path):
    link = '<a href="#01-elman.ipynb">chapter 1</a>'
    pages(tmp_path, **{"11-porting": link})
    assert checks.links(tmp_path, HERE).wrong == ()
    pages(tmp_path, **{"01-elman": "here it is"})
    assert len(checks.links(tmp_path, HERE).wrong) == 1


def test_a_large_book_is_wrong(tmp_path, monkeypatch):
    pages(tmp_path, one="text")
    assert checks.size(tmp_path).wrong == ()
    monkeypatch.setattr(checks, "LIMIT", 10)
    assert len(checks.size(tmp_path).wrong) == 1


def test_a_folder_without_a_book_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no book"):
        checks.check(tmp_path, checkout=HERE)


# --- age --------------------------------------------------------------------


@needs_extra
def test_a_book_is_older_than_what_has_changed(book, small):
    path = small.chapters / "02-second.py"
    before, at_first = path.read_text(), checks.sources(book.folder, small)
    try:
        path.write_text(before + "# more\n")
        (small.chapters / "03-third.py").write_text("# new\n")
        wrong = checks.sources(book.folder, small).wrong
    finally:
        path.write_text(before)
        (small.chapters / "03-third.py").unlink()
    found = {line.split()[0] for line in set(wrong) - set(at_first.wrong)}
    assert found == {"chapters/02-second.py", "chapters/03-third.py"}
    assert not any("chapters/" in line for line in at_first.wrong)


def run_with(tmp_path, change, figures=":figures: recall-noise"):
    """Copy a run; ``change`` what is written there of it."""
    name = "lmn-quick"
    folder = tmp_path / "results" / name
    shutil.copytree(ROOT / "results" / name, folder)
    told = json.loads((folder / "result.json").read_text())
    change(told, folder)
    (folder / "result.json").write_text(json.dumps(told))
    (tmp_path / "chapters").mkdir()
    script = f"# ```{{result}} {name}\n# {figures}\n# ```\n"
    (tmp_path / "chapters" / "05-lmn.py").write_text(script)
    (tmp_path / "05-lmn.html").write_text("")
    return checks.results(tmp_path, Checkout(tmp_path), progress=False)


def test_a_run_of_today_is_current(tmp_path):
    found = run_with(tmp_path, lambda told, folder: None)
    assert (found.looked, found.told, found.wrong) == ("1 runs", (), ())


def test_a_figure_that_is_drawn_otherwise_today_is_wrong(tmp_path):
    def other(told, folder):
        shutil.copy(folder / "reconstruction.png", folder / "recall-noise.png")

    (line,) = run_with(tmp_path, other).wrong
    assert line.startswith("lmn-quick: recall-noise.png is drawn otherwise")


def test_jobs_and_claims_of_another_code_are_told(tmp_path):
    def change(told, folder):
        told["jobs"][next(iter(told["jobs"]))]["fingerprint"] = "0" * 16
        told["claims"][1]["verdict"] = "not comparable"

    found = run_with(tmp_path, change, figures=":tables: 0")
    assert found.wrong == ()
    line, jobs = found.told
    assert "the code of 1 of 22 jobs has changed since" in line
    first = next(iter(read_run(ROOT / "results", "lmn-quick").told["jobs"]))
    assert jobs == f"lmn-quick: changed: {first}"
    key = read_run(ROOT / "results", "lmn-quick").told["claims"][1]["key"]
    assert line.endswith(f"today's code decides or words otherwise: {key}")


def test_numbers_that_todays_code_cannot_read_are_told():
    run = read_run(ROOT / "results", "lmn-quick")
    jobs = {k: job | {"result": {}} for k, job in run.told["jobs"].items()}
    older = replace(run, told=run.told | {"jobs": jobs})
    assert older.judged is None
    assert not older.is_current
    assert "cannot decide the claims" in older.freshness


# --- notebooks --------------------------------------------------------------


@needs_extra
def test_a_notebook_that_needs_the_checkout_fails(tmp_path):
    place = tmp_path / "notebooks"
    place.mkdir()
    notebook(place / "good.ipynb", "import msref", "import os\nos.listdir()")
    notebook(
        place / "needs.ipynb",
        "from msref.book.checkout import find\nfind().chapters",
    )
    notebook(place / "raises.ipynb", "1 / 0")
    found = checks.notebooks(tmp_path, progress=False)
    assert found.looked == "3 notebooks"
    needs, raises = found.wrong
    assert needs.startswith("needs.ipynb: FileNotFoundError: there are no ch")
    assert raises == "raises.ipynb: ZeroDivisionError: division by zero"


@needs_extra
@pytest.mark.parametrize(("deaths", "wrong"), [(0, 0), (2, 0), (3, 1)])
def test_a_kernel_that_could_not_begin_is_started_again(
    tmp_path, monkeypatch, deaths, wrong
):
    nbclient = pytest.importorskip("nbclient")
    place, outcomes = tmp_path / "notebooks", iter([True] * deaths + [False])
    place.mkdir()
    notebook(place / "a.ipynb", "1")

    async def execute(self, **more):
        if next(outcomes):
            raise RuntimeError(NO_KERNEL)

    monkeypatch.setattr(nbclient.NotebookClient, "async_execute", execute)
    found = checks.notebooks(tmp_path, progress=False)
    assert found.wrong == (f"a.ipynb: {NO_KERNEL}, 3 times",) * wrong


# --- in a browser -----------------------------------------------------------

FAULTS = {
    "dollar": ("formulas and references", "<p>so $a_t = b$ it stays</p>"),
    "begin": ("formulas and references", r"<p>\begin{align} a \end{align}</p>"),
    "role": ("formulas and references", "<p>see {ref}`arch-gru`</p>"),
    "span": ("formulas and references", '<span class="math">a</span>'),
    "image": ("images", '<img src="none.png">'),
    "said": ("errors in the browser", "<script>console.error('no')</script>"),
    "thrown": ("errors in the browser", "<script>nothing.at.all()</script>"),
    "asked": (
        "requests to a network",
        "<script>fetch('https://example.invalid/').catch(() => 0)</script>",
    ),
    "wide": (
        "nothing over the edge at 1280 px",
        '<table style="width: 2000px"><tr><td>a wide table</table>',
    ),
    "code": (
        "nothing over the edge at 390 px",
        f"<pre>{'a long line ' * 9}</pre>",
    ),
}
GOOD = (
    "<p>It costs $5.</p><code>$a$ and {ref}`b`</code>"
    '<div style="overflow-x: auto"><table style="width: 2000px"><tr><td>wide'
    "</table></div>"
    '<div style="overflow: auto"><pre style="overflow: auto; width: 2000px">'
    f"{'code ' * 500}</pre></div>"
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    pages(folder, good=GOOD, **{k: text for k, (_, text) in FAULTS.items()})
    return checks.rendered(folder, CHROMIUM, progress=False)


@needs_extra
@needs_browser
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_on_a_page_is_found(seen, name):
    check, _ = FAULTS[name]
    (found,) = (each for each in seen if each.check == check)
    assert any(line.startswith(f"{name}.html: ") for line in found.wrong)


@needs_extra
@needs_browser
def test_nothing_else_is_found_and_what_scrolls_is_told(seen):
    for found in seen:
        blamed = {line.partition(".html")[0] for line in found.wrong}
        ours = {k for k, (check, _) in FAULTS.items() if check == found.check}
        if found.check.endswith("390 px"):
            ours.add("wide")
        if found.check == "errors in the browser":
            ours |= {"image", "asked"}  # the browser complains of these, too
        assert blamed == ours, found.check
    assert seen[-1].told == ("good.html: 1 tables, 1 code scroll",)


def test_without_a_browser_it_is_said_what_was_not_checked(tmp_path):
    found = checks.rendered(tmp_path, None)
    assert [each.check for each in found] == list(checks.SEEN)
    assert all("no browser" in each.missed for each in found)


@needs_extra
def test_a_browser_that_does_not_start_is_an_error(tmp_path):
    pages(tmp_path, one="text")
    with pytest.raises(OSError, match="the browser ended with 1"):
        checks.rendered(tmp_path, shutil.which("false"), progress=False)


# --- the command ------------------------------------------------------------


def command(monkeypatch, capsys, found, *words):
    monkeypatch.setattr("msref.book.check.check", lambda *_, **more: found)
    monkeypatch.setattr("sys.argv", ["msref", "book", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr()


FOUND = [
    Finding("links", "9 links", told=("a line scrolls",)),
    Finding("pages", "", missed="no browser"),
]
WRONG = [*FOUND, Finding("images", "2 images", ("x.png is missing",))]


@pytest.mark.parametrize(
    ("found", "words", "code"),
    [
        (FOUND, [], 0),
        (FOUND, ["--require-browser"], 1),
        (WRONG, [], 1),
    ],
)
def test_the_exit_code_says_whether_something_is_wrong(
    monkeypatch, capsys, found, words, code
):
    words = ["--check", "--no-build", *words]
    got, printed = command(monkeypatch, capsys, found, *words)
    assert got == code
    assert "not checked: no browser" in printed.out
    assert "a line scrolls" in printed.out
    assert ("x.png is missing" in printed.out) == (found is WRONG)
    got, printed = command(monkeypatch, capsys, found, *words, "--json")
    told = json.loads(printed.out)
    assert (got, told["ok"]) == (code, not code)
    assert [each["check"] for each in told["checks"]][:2] == ["links", "pages"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--no-build"], "--no-build without --check"),
        (["--require-browser"], "--require-browser without --check"),
        (["01", "--check", "--no-build"], "chapters with --no-build"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    monkeypatch, capsys, words, message
):
    code, printed = command(monkeypatch, capsys, [], *words)
    assert code == 2
    assert message in printed.err
