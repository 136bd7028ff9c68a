"""The equations of a network by tag, as its docstring has them."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

from msref.vectors.drawing import parts

_HEAD = re.compile(
    r"^(Equations|Adjoints|Arrays|Cost|Conventions|Start|Raises)"
)
_TAGS = re.compile(r"\s*((?:\(\d{1,2}'?\)\s*)+)$")


def section(cls: type, name: str) -> tuple[str, str]:
    """Return the remark beside a heading of a docstring, and what follows."""
    lines = inspect.cleandoc(cls.__doc__ or "").splitlines()
    start = next((k for k, s in enumerate(lines) if s.startswith(name)), None)
    if start is None:
        return "", ""
    body = []
    for line in lines[start + 1 :]:
        if _HEAD.match(line):
            break
        body.append(line)
    remark = lines[start].removeprefix(name).strip()
    return remark.removeprefix("(").removesuffix(")"), "\n".join(body)


def tagged(body: str) -> list[tuple[str, str]]:
    """Split a section into (tag, equation), both without line breaks.

    A line without a tag belongs to the next one that has a tag; it belongs
    to the one before where it stands further in, or where none follows. A
    line that ends in a colon is a case, and says so before each equation.
    """
    found: list[tuple[str, str]] = []
    case, waiting, indent, last = "", "", 0, 0
    for line in body.splitlines():
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        tags = _TAGS.search(text)
        if not text or (depth == 0 and not waiting):
            continue
        if text.endswith(":") and not tags:
            case = f"{text} "
        elif tags:
            equation = f"{waiting} {text[: tags.start()]}".strip()
            tag = " ".join(re.findall(r"\d+'?", tags[1]))
            found.append((tag, case + _spaced(equation)))
            waiting, last = "", depth
        elif found and not waiting and depth > last:
            found[-1] = (found[-1][0], f"{found[-1][1]}; {_spaced(text)}")
        else:
            waiting, indent = f"{waiting} {text}", depth
    if waiting and found and indent:
        found[-1] = (found[-1][0], f"{found[-1][1]}; {_spaced(waiting)}")
    return found


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def equations(arch: Any, name: str) -> list[dict[str, str]]:
    """Return the "Equations" or "Adjoints" of a network and of its parts.

    The tag of a part's equation carries the part's prefix, like its arrays:
    "0/1" is equation 1 of part 0.
    """
    found = []
    for prefix, part in parts(arch).items():
        for tag, text in tagged(section(type(part), name)[1]):
            own = " ".join(f"{prefix}{t}" for t in tag.split())
            found.append({"tag": own, "text": text})
    return found


def prose(cls: type, name: str) -> str:
    """Return a section in one line per paragraph."""
    body = textwrap.dedent(section(cls, name)[1]).strip()
    return " ".join(_spaced(p) for p in body.split("\n\n"))
