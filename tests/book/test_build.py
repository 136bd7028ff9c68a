"""The chain: two chapters become pages that open from disk."""

import html
import importlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from small_book import SECOND, small_checkout

from msref.book import Built, build, checkout
from msref.cli import main

chain = importlib.import_module("msref.book.build")  # build is its function
MISSING = [name for name in chain.NEEDED if not chain._is_there(name)]
needs_extra = pytest.mark.skipif(
    bool(MISSING), reason=f"the extra 'book' is not installed: {MISSING}"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRAFT = ("01", "02")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    place = tmp_path_factory.mktemp("book")
    there = small_checkout(place / "checkout")
    return build(place / "made", DRAFT, checkout=there)


class Links(HTMLParser):
    """What a page names, points to, and loads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.images = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[k] for k in ("id", "name") if values.get(k)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag in ("script", "img") and values.get("src"):
            self.loads.append(values["src"])
        elif tag == "link" and values.get("rel") == "stylesheet":
            self.loads.append(values["href"])


def pages(folder):
    return {
        path.relative_to(folder).as_posix(): Links(path.read_text("utf-8"))
        for path in folder.rglob("*.html")
    }


def broken(folder):
    """List links and files that lead nowhere inside a book."""
    every = pages(folder)
    found = []
    for page, links in every.items():
        for link in links.links + links.loads:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (folder / page).parent / unquote(parts.path)
            if parts.path and not target.is_file():
                found.append((page, link))
            name = target.resolve() if parts.path else folder / page
            if parts.fragment and name.suffix == ".html":
                where = name.relative_to(folder.resolve()).as_posix()
                if unquote(parts.fragment) not in every[where].ids:
                    found.append((page, link))
    return found


# --- what is built ----------------------------------------------------------


@needs_extra
def test_two_chapters_are_built_without_a_warning(book):
    assert book.warnings == ()
    assert book.ok
    assert book.pages >= 4
    assert 1e6 < book.size < 15e6


@needs_extra
def test_every_link_and_every_anchor_leads_somewhere(book):
    assert broken(book.folder) == []


@needs_extra
def test_a_broken_link_would_be_found(book, tmp_path):
    copy = shutil.copytree(book.folder, tmp_path / "copy")
    page = copy / "02-second.html"
    text = page.read_text().replace('href="index.html"', 'href="nowhere.html"')
    page.write_text(text.replace('href="#', 'href="#no-such-'))
    assert {link.partition("#")[0] for _, link in broken(copy)} == {
        "",
        "nowhere.html",
    }


@needs_extra
def test_nothing_is_loaded_from_a_network(book):
    for page, links in pages(book.folder).items():
        for load in links.loads:
            assert not urlsplit(load).scheme, (page, load)
            assert not load.startswith("//"), (page, load)
    styles = "".join(p.read_text() for p in book.folder.rglob("*.css"))
    assert not re.search(r"url\(\s*['\"]?https?:|@import", styles)


@needs_extra
def test_code_comes_from_the_package_and_results_say_where_from(book):
    page = (book.folder / "01-first.html").read_text()
    plain = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert "dh = da[t] @ W_hh_T  # (1')" in plain
    assert "msref reproduce durnn --scale quick" in plain
    assert "PASS" in plain
    assert "durnn-quick/reach-rnn" in page or "reach-rnn.png" in page


@needs_extra
def test_figures_take_the_colour_of_the_page(book):
    page = (book.folder / "01-first.html").read_text()
    assert 'aria-label="a line"' in page
    assert "currentColor" in page


@needs_extra
def test_every_chapter_is_a_notebook_that_runs(book, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    paths = sorted((book.folder / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in paths] == ["01-first", "02-second"]
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        text = "\n".join(cell.source for cell in notebook.cells)
        assert "{source}" not in text
        assert "{result}" not in text
        NotebookClient(notebook, timeout=120).execute(cwd=str(tmp_path))
    assert json.loads(paths[0].read_text())["cells"][0]["attachments"]


@needs_extra
def test_a_book_is_replaced_and_anything_else_is_left(book, tmp_path):
    with pytest.raises(ValueError, match="no book of ours"):
        build(book.folder.parent / "checkout", DRAFT)
    assert (book.folder.parent / "checkout" / "chapters").is_dir()


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


# --- in a browser -----------------------------------------------------------


@needs_extra
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_formulas_are_drawn_without_network(book, tmp_path):
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *("--enable-logging=stderr", "--v=0"),
            *("--virtual-time-budget=30000", "--dump-dom"),
            f"--user-data-dir={tmp_path / 'profile'}",
            (book.folder / "01-first.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    dom = done.stdout
    assert dom.count("<mjx-container") == 2
    assert "data-mjx-error" not in dom
    body = re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    body = re.sub(r"<mjx-container.*?</mjx-container>", "", body, flags=re.S)
    assert "\\begin" not in body
    assert "\\(" not in body
    errors = [x for x in done.stderr.splitlines() if "CONSOLE" in x]
    assert errors == []


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
