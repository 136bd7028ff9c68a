"""Build the book: chapters in, a folder of pages out.

Everything is gathered in a temporary folder first: the chapters with their
blocks expanded, the reference, the index of architectures. The book appears
when all of it has been made; an old one stays until then.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msref
from msref import files
from msref.book.alone import NO_KERNEL, STARTS
from msref.book.checkout import PLACE, Checkout, find
from msref.book.committed import luggage
from msref.book.expansion import Notebook, Page
from msref.book.index import architectures, verdicts
from msref.book.pictures import small
from msref.book.reference import write_reference
from msref.book.results import read_run

NEEDED = (
    "sphinx",
    "myst_nb",
    "jupytext",
    "furo",
    "sphinx_design",
    "sphinxcontrib.bibtex",
)
MARK = ".msref-book"
"""A file that says that a folder is a book, and may be replaced by one. It
holds the digests of what the book was made from."""

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "JUPYTER_PLATFORM_DIRS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
WHOLE = ("architectures", "reference/index")
"""Pages that a draft does not have."""

LEFT_OUT = ("myst.xref_missing", "ref.ref", "ref.doc")
"""Warnings that a draft has because it points to what is left out."""

_MADE = {"_build", "__pycache__"}
_UNCOLOURED = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Built:
    """A book that was built.

    Attributes
        folder: where it is; ``index.html`` is the way in.
        pages: how many pages it has.
        size: bytes of all its files.
        warnings: what was said on the way; a book with warnings is not put
            in its place.
        seconds: how long it took.
    """

    folder: Path
    pages: int
    size: int
    warnings: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Tell whether nothing was wrong."""
        return not self.warnings


def build(
    folder: Path,
    only: tuple[str, ...] = (),
    *,
    checkout: Checkout | None = None,
    progress: Callable[[str], None] | None = None,
) -> Built:
    """Build the book into a folder that opens from disk, without network.

    Arguments
        folder: of the book; a book that is there is replaced.
        only: starts of chapters' names, ``("01", "03")``: a draft of those,
            without reference and without verdicts. Empty for all.
        checkout: with the chapters; by default the one that is found.
        progress: called with what is being done, in words.

    Raises
        ModuleNotFoundError: the extra ``book`` is not installed.
        FileNotFoundError: there are no chapters here.
        ValueError: a block of a chapter that stands for nothing, a public
            name without docstring, a folder that holds something else.
    """
    _check_extra()
    start = time.perf_counter()
    checkout = checkout or find()
    sources = digests(checkout)
    folder = folder.resolve()
    is_other = folder.exists() and any(folder.iterdir())
    if is_other and not (folder / MARK).is_file():
        raise ValueError(
            f"{folder} holds something that is no book of ours, expected an"
            " empty or a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    say = progress or (lambda _: None)
    with tempfile.TemporaryDirectory(
        prefix=".msref-book-", dir=folder.parent
    ) as work:
        place = Path(work)
        scripts = _stage(checkout, place, only, say)
        say(f"running {len(scripts)} chapters and writing pages")
        warnings = _sphinx(checkout, place, bool(only))
        made = place / "html"
        pages = len(list(made.rglob("*.html")))
        size = sum(p.stat().st_size for p in made.rglob("*") if p.is_file())
        if not warnings:
            files.write_json(made / MARK, sources)
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    seconds = time.perf_counter() - start
    return Built(folder, pages, size, tuple(warnings), round(seconds, 1))


def digests(checkout: Checkout) -> dict[str, str]:
    """Return the digest of each file that a book is made from, by name."""
    package = Path(msref.__file__).parent
    found = {}
    for root, names in (
        (checkout.chapters, "**/*.*"),
        (checkout.results, "*/*.*"),
        (checkout.results, "bench*/*/*.*"),
        (package, "**/*.py"),
    ):
        for path in sorted(root.glob(names)):
            inside = path.relative_to(root)
            if path.is_file() and not _MADE & set(inside.parts):
                found[f"{root.name}/{inside.as_posix()}"] = _digest(path)
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _check_extra() -> None:
    missing = [name for name in NEEDED if not _is_there(name)]
    if missing:
        raise ModuleNotFoundError(
            f"the book needs {', '.join(missing)}: install the extra with"
            " python -m pip install -e '.[book]'"
        )


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


# --- what Sphinx reads ------------------------------------------------------


def _stage(
    checkout: Checkout,
    place: Path,
    only: tuple[str, ...],
    say: Callable[[str], None],
) -> list[Path]:
    """Write everything that Sphinx reads; return the chapters."""
    sources, extra = place / "pages", place / "extra"
    (extra / "notebooks").mkdir(parents=True)
    sources.mkdir()
    for path in (*checkout.chapters.glob("*.md"), *_bibliography(checkout)):
        shutil.copy(path, sources)
    if only:
        index = sources / "index.md"
        kept = index.read_text("utf-8").splitlines()
        kept = [line for line in kept if line not in WHOLE]
        files.write_text(index, "\n".join(kept) + "\n")
    scripts = checkout.scripts(only)
    for path in scripts:
        _chapter(path, checkout, sources, extra / "notebooks")
    if not only:
        say("writing the reference")
        write_reference(sources / "reference")
        say("verifying every architecture")
        names = [p.parent.name for p in checkout.results.glob("*/result.json")]
        runs = [read_run(checkout.results, name) for name in sorted(names)]
        text = architectures(scripts, runs, verdicts())
        files.write_text(sources / "architectures.md", text)
    return scripts


def _bibliography(checkout: Checkout) -> list[Path]:
    return sorted(checkout.chapters.glob("*.bib"))


def _chapter(
    path: Path, checkout: Checkout, sources: Path, notebooks: Path
) -> None:
    """Write a chapter as a page that is still to run, and as a notebook."""
    jupytext: Any = importlib.import_module("jupytext")
    page, notebook = Page(sources, checkout.results), Notebook(checkout.results)
    name = f"{path.stem}.ipynb"
    script = jupytext.read(path, fmt="py:percent")
    script.metadata["kernelspec"] = _kernel()
    alone = jupytext.read(path, fmt="py:percent")
    alone.metadata["kernelspec"] = _kernel()
    for k, cell in enumerate(script.cells):
        if cell.cell_type != "markdown":
            continue
        try:
            text = page.expand(cell.source)
            alone.cells[k].source = notebook.expand(cell.source)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        if notebook.attached:
            alone.cells[k]["attachments"] = {
                figure: {"image/png": data}
                for figure, data in notebook.attached.items()
            }
        cell.source = _with_download(text, name) if k == 0 else text
    for figure in page.used:
        where = sources / "figures" / figure.relative_to(checkout.results)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(small(figure))
    _with_luggage(alone, checkout)
    jupytext.write(script, sources / name, fmt="ipynb")
    jupytext.write(alone, notebooks / name, fmt="ipynb")


def _kernel() -> dict[str, str]:
    return {"name": "python3", "display_name": "Python 3", "language": "python"}


def _with_download(text: str, name: str) -> str:
    """Put the link to the notebook below the title."""
    lines = text.splitlines()
    title = next((k for k, x in enumerate(lines) if x.startswith("# ")), None)
    if title is None:
        raise ValueError(f"{name}: the first cell has no title '# …'")
    link = (
        f'<p class="download"><a href="notebooks/{name}" download>This chapter'
        " as a notebook</a></p>"
    )
    return "\n".join([*lines[: title + 1], "", link, "", *lines[title + 1 :]])


def _with_luggage(notebook: Any, checkout: Checkout) -> None:
    """Put a cell before all others with the files that they ask for."""
    cells = [k for k, c in enumerate(notebook.cells) if c.cell_type == "code"]
    text = luggage(checkout, [notebook.cells[k].source for k in cells])
    if text:
        nbformat: Any = importlib.import_module("nbformat")
        hidden = {"jupyter": {"source_hidden": True}}
        cell = nbformat.v4.new_code_cell(text, metadata=hidden)
        notebook.cells.insert(cells[0], cell)


# --- Sphinx -----------------------------------------------------------------


def _sphinx(checkout: Checkout, place: Path, is_draft: bool) -> list[str]:
    """Run Sphinx, in a process of its own; return its warnings."""
    told = place / "warnings.txt"
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-b", "html"]
    command += ["-c", str(checkout.chapters), "-w", str(told)]
    command += ["-d", str(place / "doctrees"), "-j", "auto"]
    if is_draft:
        command += ["-D", f"suppress_warnings={','.join(LEFT_OUT)}"]
    command += [str(place / "pages"), str(place / "html")]
    places = {
        PLACE: str(checkout.root.resolve()),
        "MSREF_BOOK_EXTRA": str(place / "extra"),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
    }
    env = os.environ | ENVIRONMENT | places
    for _ in range(STARTS):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if not (done.returncode and NO_KERNEL in done.stderr):
            break
    warnings = told.read_text("utf-8") if told.is_file() else ""
    if done.returncode and not warnings.strip():
        raise OSError(f"Sphinx ended with {done.returncode}: {done.stderr}")
    _tidy(place / "html")
    here = str(place / "pages") + os.sep
    return [
        _UNCOLOURED.sub("", line).replace(here, "")
        for line in warnings.splitlines()
        if line.strip()
    ]


def _tidy(made: Path) -> None:
    """Remove what no reader needs."""
    for name in (
        ".buildinfo",
        "objects.inv",
        ".doctrees",
        "jupyter_execute",
        "_sources",
    ):
        path = made / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
