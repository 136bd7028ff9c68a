"""Check a book that is built: as files, in a browser, as notebooks.

What is *wrong* has to be mended. What is *told* is no mistake, and a reader
should know it: results whose code has changed since, lines that scroll.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image

from msref import files
from msref.book import browser
from msref.book.alone import run_alone
from msref.book.build import MARK, digests
from msref.book.checkout import Checkout, find
from msref.book.expansion import shown
from msref.book.rendered import WIDTHS, Seen, look
from msref.book.results import read_run
from msref.progress import bar

ROUNDING = 12
"""By how much a colour may differ, of 255: processors round differently."""

LIMIT = 15_000_000
"""Bytes of a book."""


@dataclass(frozen=True)
class Finding:
    """What a check of a book found.

    Attributes
        check: what was checked.
        looked: how many were looked at, and of what.
        wrong: what has to be mended, a line each.
        told: what is not wrong, and worth knowing.
        missed: why it was not checked; empty if it was.
    """

    check: str
    looked: str
    wrong: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    missed: str = ""


def check(
    folder: Path,
    *,
    checkout: Checkout | None = None,
    program: str | None = None,
    progress: bool | None = None,
) -> list[Finding]:
    """Check a book.

    Arguments
        folder: of the book.
        checkout: that it was made from; by default the one that is found.
        program: path of Chromium; by default the one that is installed.
            Without one, what needs a browser is not checked.
        progress: show bars; ``None`` for where stderr is a terminal.

    Raises
        FileNotFoundError: there is no book in the folder.
        OSError: the browser does not start, or ends.
    """
    checkout = checkout or find()
    if not (folder / MARK).is_file():
        raise FileNotFoundError(f"{folder} holds no book; msref book makes one")
    found = [links(folder, checkout), network(folder), size(folder)]
    found.append(sources(folder, checkout))
    found.append(results(folder, checkout, progress))
    found.append(notebooks(folder, progress))
    found += rendered(folder, program or browser.installed(), progress)
    return found


# --- as files ---------------------------------------------------------------


class Links(HTMLParser):
    """What a page names, points to, and loads.

    Arguments
        text: of the page, as HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        """Take down what a tag names, points to or loads."""
        values = {name: value for name, value in attrs if value}
        self.ids |= {values[k] for k in ("id", "name") if k in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loads.append(values["href"])
        elif "src" in values:
            self.loads.append(values["src"])


def _pages(folder: Path) -> dict[str, Links]:
    return {
        path.relative_to(folder).as_posix(): Links(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.html"))
    }


def links(folder: Path, checkout: Checkout) -> Finding:
    """Check that each link, anchor and file within a book leads somewhere.

    Links to a chapter that a draft left out are let pass.
    """
    pages, wrong, looked = _pages(folder), [], 0
    ids = {(folder / k).resolve(): page.ids for k, page in pages.items()}
    stems = [path.stem for path in checkout.scripts()]
    left_out = {f"#{s}.ipynb" for s in stems if f"{s}.html" not in pages}
    for page, found in pages.items():
        for link in found.links + found.loads:
            parts = urlsplit(link)
            is_elsewhere = parts.scheme in ("http", "https", "mailto", "data")
            if is_elsewhere or link in left_out:
                continue
            looked += 1
            here = folder / page
            target = here.parent / unquote(parts.path) if parts.path else here
            anchors = ids.get(target.resolve(), {unquote(parts.fragment)})
            is_ours = not parts.scheme and not parts.path.startswith("/")
            if not (is_ours and target.is_file()):
                wrong.append(f"{page}: {link} leads nowhere")
            elif parts.fragment and unquote(parts.fragment) not in anchors:
                wrong.append(f"{page}: {link}, there is no such anchor")
    return Finding("links and anchors", f"{looked} links", tuple(wrong))


def network(folder: Path) -> Finding:
    """Check that no page and no style sheet loads from a network."""
    loads = [(p, link) for p, x in _pages(folder).items() for link in x.loads]
    for path in sorted(folder.rglob("*.css")):
        name, text = path.relative_to(folder).as_posix(), path.read_text()
        found = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", text)
        loads += [(name, link) for link in found]
    wrong = [
        f"{name}: {link}"
        for name, link in loads
        if link.startswith("//") or urlsplit(link).scheme not in ("", "data")
    ]
    return Finding("loaded from a network", f"{len(loads)} files", tuple(wrong))


def size(folder: Path) -> Finding:
    """Check that a book is small enough to be handed on."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    is_large = sum(sizes) > LIMIT
    wrong = [f"more than {LIMIT / 1e6:.0f} MB"] * is_large
    looked = f"{sum(sizes) / 1e6:.1f} MB"
    return Finding("size", looked, tuple(wrong))


# --- as old as the code -----------------------------------------------------


def sources(folder: Path, checkout: Checkout) -> Finding:
    """Check that a book was made from the files that are there now.

    Cells run while it is made, and code is put in then. So no figure of a
    cell is older than the code on the page, if this holds.
    """
    before, now = files.read_json(folder / MARK), digests(checkout)
    names = sorted(before.keys() | now.keys())
    wrong = [
        f"{name} is not as it was when the book was made"
        for name in names
        if before.get(name) != now.get(name)
    ]
    return Finding("made from today's files", f"{len(now)} files", tuple(wrong))


def results(
    folder: Path, checkout: Checkout, progress: bool | None = None
) -> Finding:
    """Check the results that a book shows against the code of today.

    Arguments
        folder, checkout, progress: as of ``check``.

    Returns
        *wrong* is a figure that today's code draws otherwise from the same
        numbers. *told* is a run with jobs whose code has changed, or with
        claims that today's code decides or words otherwise; its pages say
        so, too.
    """
    told, wrong, used = [], [], _shown(folder, checkout)
    with bar(progress, "results", len(used)) as show:
        for k, (name, figures) in enumerate(sorted(used.items())):
            show(k, name)
            run = read_run(checkout.results, name)
            if not run.is_current:
                told.append(f"{name}: {run.freshness}")
                jobs = run.changed() or []
                told += [f"{name}: changed: {', '.join(jobs)}"] * bool(jobs)
            with tempfile.TemporaryDirectory() as work:
                drawn = run.redrawn(Path(work)) if figures else {}
                compared = [
                    _compared(run.figure(each), drawn)
                    for each in sorted(figures)
                ]
            wrong += [f"{name}: {said}" for said in compared if said]
            show(k + 1, name)
    return Finding("results", f"{len(used)} runs", tuple(wrong), tuple(told))


def _shown(folder: Path, checkout: Checkout) -> dict[str, set[str]]:
    """Return the runs that the chapters of a book show, with figures."""
    found: dict[str, set[str]] = {}
    for path in checkout.scripts():
        if (folder / f"{path.stem}.html").is_file():
            for run, figures in shown(path.read_text("utf-8")):
                found.setdefault(run, set()).update(figures)
    return found


def _compared(path: Path, drawn: dict[str, Path]) -> str:
    """Say how a figure differs from that of today, or nothing."""
    if path.stem not in drawn:
        return f"{path.name} is drawn no more"
    with Image.open(path) as then, Image.open(drawn[path.stem]) as now:
        one, other = np.asarray(then, float), np.asarray(now, float)
    if one.shape == other.shape and np.abs(one - other).max() <= ROUNDING:
        return ""
    return f"{path.name} is drawn otherwise by the code of today"


# --- as notebooks -----------------------------------------------------------


def notebooks(folder: Path, progress: bool | None = None) -> Finding:
    """Check that each notebook runs where there is no checkout."""
    paths = sorted((folder / "notebooks").glob("*.ipynb"))
    with bar(progress, "notebooks", len(paths)) as show:
        failed = asyncio.run(run_alone(paths, show))
    wrong = [f"{name}: {why}" for name, why in sorted(failed.items())]
    return Finding(
        "notebooks run by themselves", f"{len(paths)} notebooks", tuple(wrong)
    )


# --- in a browser -----------------------------------------------------------

SEEN = (
    "formulas and references",
    "images",
    "errors in the browser",
    "requests to a network",
    *(f"nothing over the edge at {width} px" for width in WIDTHS),
)


def rendered(
    folder: Path, program: str | None, progress: bool | None = None
) -> list[Finding]:
    """Look at every page in a browser, without network, at two widths.

    Arguments
        folder, progress: as of ``check``.
        program: path of Chromium; ``None`` to say that there is none.

    Raises
        OSError: the browser does not start, or ends.
    """
    if program is None:
        why = f"no browser, none of {', '.join(browser.PROGRAMS)}"
        return [Finding(check, "", missed=why) for check in SEEN]
    total = len(list(folder.rglob("*.html")))
    with bar(progress, "pages in a browser", total) as show:
        seen = asyncio.run(look(program, folder, show))
    pages = f"{len(seen)} pages"
    formulas = sum(page.formulas for page in seen)
    images = sum(page.images for page in seen)
    found = [
        (f"{formulas} formulas", [(s, s.unrendered) for s in seen]),
        (f"{images} images", [(s, s.missing) for s in seen]),
        (pages, [(s, s.console) for s in seen]),
        (pages, [(s, s.requests) for s in seen]),
        *((pages, [(s, s.over[width]) for s in seen]) for width in WIDTHS),
    ]
    told = [(), (), (), (), *(_scrolling(seen, width) for width in WIDTHS)]
    return [
        Finding(check, looked, _lines(wrong), more)
        for check, (looked, wrong), more in zip(SEEN, found, told, strict=True)
    ]


def _lines(found: Iterable[tuple[Seen, tuple[str, ...]]]) -> tuple[str, ...]:
    return tuple(f"{s.page}: {each}" for s, every in found for each in every)


def _scrolling(seen: list[Seen], width: int) -> tuple[str, ...]:
    """Count what scrolls by itself, by page and kind."""
    lines = []
    for page in seen:
        inside = page.inside[width]
        counts = [f"{len(found)} {kind}" for kind, found in inside.items()]
        if counts:
            lines.append(f"{page.page}: {', '.join(counts)} scroll")
    return tuple(lines)
