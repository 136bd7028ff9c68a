"""Our docstrings as reStructuredText, which autodoc reads.

They are plain text: prose, lists, indented equations, and sections that are a
title with an indented body below it. Nothing in them is markup but double
backquotes and *emphasis*; an underscore or an asterisk of an equation must
not become any.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

_TITLE = re.compile(r"[A-Z][\w ,]*(?: ?\(.*\))?:?$")
_ENTRY = re.compile(r"(?:[*\w./, |-]|``[^`]*``)+: ")
_ITEM = re.compile(r"(?:- |\d+\. )")
_FORMULAS = ("Equation", "Adjoint", "Array", "Derivative")
_LISTS = ("Arguments", "Attributes", "Raises", "Returns", "Warns", "Yields")
_KEPT = re.compile(r"``[^`]+``|(?<![\w*])\*[^\s*][^*]*?[^\s*]\*(?![\w*])")


def to_rst(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText."""
    found: list[str] = []
    for title, body in _blocks(lines):
        if title:
            found += [f".. rubric:: {_escaped(title)}", ""]
            found += [*_section(title, body), ""]
        elif body[0].startswith(" "):
            found += [*_literal(body), ""]
        else:
            found += [*map(_escaped, body), ""]
    return found


def _blocks(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, body): sections, and blocks of text without a title."""
    block: list[str] = []
    k = 0
    while k < len(lines):
        line = lines[k]
        below = lines[k + 1] if k + 1 < len(lines) else ""
        is_title = _TITLE.match(line) and below.startswith("    ")
        is_set_in = line.startswith("    " if block else " ")
        begins = _ITEM.match(line) and block and not _ITEM.match(block[0])
        ends = not line.strip() or is_set_in or is_title or begins
        if block and ends:
            yield "", block
            block = []
        if not line.strip():
            k += 1
        elif is_set_in:
            body, k = _indented(lines, k)
            yield "", body
        elif is_title:
            body, k = _indented(lines, k + 1)
            yield line.rstrip(":"), body
        else:
            block.append(line)
            k += 1
    if block:
        yield "", block


def _indented(lines: list[str], k: int) -> tuple[list[str], int]:
    body = []
    while k < len(lines) and (not lines[k].strip() or lines[k][0] == " "):
        body.append(lines[k])
        k += 1
    while body and not body[-1].strip():
        body.pop()
    return body, k


def _section(title: str, body: list[str]) -> list[str]:
    text = textwrap.dedent("\n".join(body)).splitlines()
    if title.startswith(_FORMULAS):
        return _literal(body)
    if title.startswith(_LISTS) and _ENTRY.match(text[0]):
        return _entries(text)
    return to_rst(text)


def _entries(text: list[str]) -> list[str]:
    """Return ``name: what it is`` as a definition list."""
    found: list[str] = []
    for line in text:
        if _ENTRY.match(line):
            name, _, what = line.partition(": ")
            found += [f"``{name.replace('`', '')}``", f"    {_escaped(what)}"]
        elif line.strip():
            found.append(f"    {_escaped(line.strip())}")
        else:
            found.append("")
    return found


def _literal(body: list[str]) -> list[str]:
    text = textwrap.dedent("\n".join(body)).splitlines()
    return [".. code-block:: text", "", *(f"    {line}" for line in text)]


def _escaped(text: str) -> str:
    """Escape all that would be markup but code and emphasis."""
    item = _ITEM.match(text)
    if item:
        return item[0] + _escaped(text[item.end() :])
    parts, start = [], 0
    for kept in _KEPT.finditer(text):
        parts += [_plain(text[start : kept.start()]), kept[0]]
        start = kept.end()
    return "".join([*parts, _plain(text[start:])])


def _plain(text: str) -> str:
    return re.sub(r"([\\*_|`])", r"\\\1", text)


class _Name:
    """Prints as the name of a module or a class, nothing around it."""

    def __init__(self, value: Any) -> None:
        self.name = value.__name__

    def __repr__(self) -> str:
        return str(self.name)


def signature(named: Any) -> tuple[str, str] | None:
    """Return arguments and result as they are written in the source.

    What the annotations stand for, ``dict[str, ndarray[…]]`` for Arrays, is
    longer and says less.

    Returns
        ``None`` where there is nothing to call.
    """
    try:
        found = inspect.signature(named)
    except (TypeError, ValueError):
        return None
    told = [
        each.replace(default=_Name(each.default))
        if inspect.ismodule(each.default)
        or (inspect.isclass(each.default) and each.default is not each.empty)
        else each
        for each in found.parameters.values()
    ]
    found = found.replace(parameters=told)
    result = found.return_annotation
    is_told = result is not inspect.Signature.empty
    is_class = inspect.isclass(named)
    plain = str(found.replace(return_annotation=inspect.Signature.empty))
    plain = re.sub(r"(: |-> )'([^']*)'", r"\1\2", plain)
    shown = (
        result if isinstance(result, str) else getattr(result, "__name__", "")
    )
    return plain, shown if is_told and not is_class else ""
