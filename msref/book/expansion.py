"""Blocks of a chapter that stand for something else.

A chapter never copies code or numbers. It names them, in blocks of its
Markdown cells, and the build puts in what they stand for:

    ```{source} msref.Elman.backward      code of the package, by name
    :from: for t in                       from the first line with this text
    :to: (1')                             to the first line after with that
    ```

    ```{result} durnn-full                results/durnn-full/result.json
    :claims: a2 a3                        claims, by letter
    :tables: 0                            tables, by number
    :figures: reach-rnn                   figures, by name
    ```

    ```{bench} bench/recurrent-full       results/bench/recurrent-full
    :cases: lstm float32                  table of those with these words
    :goals: torch fused                   goals, likewise; "all" for all
    :figures: ratios                      figures, by name
    ```

    :::{beside}                           two columns, one on a phone
    equations
    +++
    code
    :::

The same block becomes one thing on a page of the book and another in the
notebook that readers download.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import os
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msref.book.benchmarks import Benchmark, read_benchmark
from msref.book.pictures import small
from msref.book.results import Run, read_run

_BLOCK = re.compile(
    r"^```\{(?P<kind>source|result|bench)\} *(?P<name>\S+)\n"
    r"(?P<options>(?::[a-z]+:.*\n)*)```$",
    re.MULTILINE,
)
_BESIDE = re.compile(
    r"^:::\{beside\}\n(?P<left>.*?)^\+\+\+\n(?P<right>.*?)^:::$",
    re.MULTILINE | re.DOTALL,
)
_ROLE = re.compile(r"\{[a-z:]+\}`([^`<]*?)(?:\s*<[^`]*>)?`")
_TARGET = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_DIRECTIVE = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>[\w-]+)\} *(?P<title>.*)$"
)


@dataclass(frozen=True)
class Source:
    """A part of the package, by its dotted name.

    Attributes
        name: as the chapter has it.
        path: the file.
        qualname: the name within the file.
        text: the code, without its indent.
    """

    name: str
    path: Path
    qualname: str
    text: str


def find_source(name: str, start: str = "", end: str = "") -> Source:
    """Find a function, a class or a method of msref, or a part of it.

    Arguments
        name: ``msref.Elman.step``; any path by which it can be imported.
        start, end: parts of the first and the last line wanted.

    Raises
        ValueError: there is no such name, or no line with that text.
    """
    found = inspect.unwrap(_imported(name))
    try:
        text = textwrap.dedent(inspect.getsource(found))
        path = inspect.getsourcefile(found)
    except TypeError:
        raise ValueError(f"{name} is no function, class or method") from None
    assert path is not None
    lines = text.splitlines()
    first = _line(name, lines, start, 0) if start else 0
    last = _line(name, lines, end, first) if end else len(lines) - 1
    part = textwrap.dedent("\n".join(lines[first : last + 1]))
    return Source(name, Path(path), found.__qualname__, part)


def _imported(name: str) -> Any:
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[k:]:
            if not hasattr(found, attribute):
                raise ValueError(f"{name} does not exist: no {attribute}")
            found = getattr(found, attribute)
        return found
    raise ValueError(f"{name} does not exist: no module {parts[0]}")


def _line(name: str, lines: list[str], text: str, first: int) -> int:
    for k in range(first, len(lines)):
        if text in lines[k]:
            return k
    raise ValueError(f"{name} has no line with {text!r}")


def shown(script: str) -> list[tuple[str, list[str]]]:
    """Return the runs that a chapter shows, each with names of figures.

    Arguments
        script: the chapter, as a percent script.
    """
    text = re.sub(r"^# ?", "", script, flags=re.MULTILINE)
    return [
        (found["name"], _options(found).get("figures", "").split())
        for found in _BLOCK.finditer(text)
        if found["kind"] == "result"
    ]


# --- the two ways in which a chapter is shown -------------------------------


@dataclass
class Page:
    """A chapter as a page of the book, in MyST Markdown.

    Attributes
        sources: the folder that the page is written to.
        results: the folder of results.
        used: figures on the page, to be copied beside it.
    """

    sources: Path
    results: Path
    used: list[Path] = field(default_factory=list)

    def expand(self, text: str) -> str:
        """Put in what the blocks of a Markdown cell stand for."""
        return _BLOCK.sub(self._block, _BESIDE.sub(self._beside, text))

    def _beside(self, found: re.Match[str]) -> str:
        return (
            "::::::{container} beside\n"
            f":::::{{container}} beside-left\n{found['left']}:::::\n"
            f":::::{{container}} beside-right\n{found['right']}:::::\n"
            "::::::"
        )

    def _block(self, found: re.Match[str]) -> str:
        options = _options(found)
        if found["kind"] in MEASURED:
            show = MEASURED[found["kind"]]
            return show(self.results, found["name"], options, self._figure)
        start, end = _allowed(found["name"], options, "from", "to")
        source = find_source(found["name"], start, end)
        path = os.path.relpath(source.path, self.sources)
        lines = [
            f"```{{literalinclude}} {path}",
            f":pyobject: {source.qualname}",
            ":language: python",
            ":dedent:",
            f":caption: '`{source.name}`'",
        ]
        lines += [f":start-at: {_quoted(start)}"] * bool(start)
        lines += [f":end-at: {_quoted(end)}"] * bool(end)
        return "\n".join([*lines, "```"])

    def _figure(self, path: Path, alt: str) -> str:
        self.used.append(path)
        place = path.relative_to(self.results).as_posix()
        return (
            f"```{{image}} figures/{place}\n:alt: {alt}\n:class: measured\n```"
        )


@dataclass
class Notebook:
    """A chapter as a notebook that stands alone, in plain Markdown.

    Attributes
        results: the folder of results.
        attached: figures of the cell at hand, name -> bytes in base64.
    """

    results: Path
    attached: dict[str, str] = field(default_factory=dict)

    def expand(self, text: str) -> str:
        """Put in what the blocks stand for; leave MyST's own out."""
        self.attached = {}
        text = _BESIDE.sub(r"\g<left>\n\g<right>", text)
        text = _TARGET.sub("", _BLOCK.sub(self._block, text))
        return _ROLE.sub(r"`\1`", _plain(text))

    def _block(self, found: re.Match[str]) -> str:
        options = _options(found)
        if found["kind"] in MEASURED:
            show = MEASURED[found["kind"]]
            return show(self.results, found["name"], options, self._figure)
        start, end = _allowed(found["name"], options, "from", "to")
        source = find_source(found["name"], start, end)
        return f"`{source.name}`\n\n```python\n{source.text.rstrip()}\n```"

    def _figure(self, path: Path, alt: str) -> str:
        data = base64.b64encode(small(path)).decode()
        self.attached[path.name] = data
        return f"![{alt}](attachment:{path.name})"


def _options(found: re.Match[str]) -> dict[str, str]:
    pairs = re.findall(r"^:([a-z]+): *(.*)$", found["options"], re.MULTILINE)
    return {key: value.strip() for key, value in pairs}


def _allowed(what: str, options: dict[str, str], *names: str) -> list[str]:
    for name in options:
        if name not in names:
            raise ValueError(
                f"{what} has the option {name!r}, expected {', '.join(names)}"
            )
    return [options.get(name, "") for name in names]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _result(
    results: Path,
    name: str,
    options: dict[str, str],
    figure: Callable[[Path, str], str],
) -> str:
    """Return claims, tables and figures of a run, and where they are from."""
    claims, tables, figures = _allowed(
        name, options, "claims", "tables", "figures"
    )
    run = read_run(results, name)
    shown = [run.claims(claims.split())] if claims else []
    shown += [run.table(int(number)) for number in tables.split()]
    return _with_figures(shown, run, f"run {name}", figures, figure)


def _bench(
    results: Path,
    name: str,
    options: dict[str, str],
    figure: Callable[[Path, str], str],
) -> str:
    """Return tables, goals and figures of a suite, and how it was measured."""
    cases, goals, figures = _allowed(name, options, "cases", "goals", "figures")
    found = read_benchmark(results, name)
    shown = [found.table(cases)] if cases else []
    shown += [found.goals(goals)] if goals else []
    return _with_figures(shown, found, f"benchmark {name}", figures, figure)


def _with_figures(
    shown: list[str],
    found: Run | Benchmark,
    what: str,
    names: str,
    figure: Callable[[Path, str], str],
) -> str:
    """Put figures below what is shown, and where all of it is from."""
    for name in names.split():
        alt = f"Figure {name} of the {what}: {found.told['title']}"
        shown.append(figure(found.figure(name), alt))
    return "\n\n".join([*shown, f"*{found.provenance}*"])


MEASURED = {"result": _result, "bench": _bench}
"""Kind of block -> what shows something that was measured."""


def _plain(text: str) -> str:
    """Turn MyST's directives into bold titles with their text below."""
    lines, fences = [], []
    for line in text.splitlines():
        opened = _DIRECTIVE.match(line)
        if opened:
            fences.append(opened["fence"])
            title = opened["title"] or opened["kind"].capitalize()
            lines.append(f"**{title}**")
        elif fences and line.strip() == fences[-1]:
            fences.pop()
        elif not (fences and re.match(r":[a-z-]+:", line)):
            lines.append(line)
    return "\n".join(lines)
