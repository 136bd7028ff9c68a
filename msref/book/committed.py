"""Files of the checkout that a chapter shows, in the book and away from it.

A cell asks for a file by its name. While the book is built it comes from the
checkout. A notebook that was downloaded has no checkout: the build finds the
names in its cells and puts in a cell that brings those files along.
"""

from __future__ import annotations

import ast
import base64
import json
import lzma
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msref.book.checkout import Checkout, find

_RESULT = "/result.json"
_HEAVY = "jobs"
"""What each job of a run found: most of its bytes, and shown by no chapter."""

_brought: dict[str, str] = {}


def committed(name: str) -> str:
    """Return the text of a file of the checkout.

    Arguments
        name: from its root, ``examples/readers/reader.py``; written out in
            the call, so that the build finds it.

    Raises
        FileNotFoundError: this is no checkout, or it has no such file; and
            the notebook did not bring it along.
    """
    return _brought[name] if name in _brought else _read(find(), name)


def committed_runs() -> list[dict[str, Any]]:
    """Return what the runs that are committed say, by name; not their jobs."""
    texts = {k: v for k, v in _brought.items() if k.endswith(_RESULT)}
    return [json.loads(text) for text in (texts or _runs(find())).values()]


def _runs(checkout: Checkout) -> dict[str, str]:
    """Read the runs of papers' claims, by name; other results are none."""
    found = {}
    for path in sorted(checkout.results.glob(f"*{_RESULT}")):
        name = path.relative_to(checkout.root).as_posix()
        text = _read(checkout, name)
        if "claims" in json.loads(text):
            found[name] = text
    return found


def _read(checkout: Checkout, name: str) -> str:
    text = (checkout.root / name).read_text("utf-8")
    if not name.endswith(_RESULT):
        return text
    told = json.loads(text)
    return json.dumps({k: v for k, v in told.items() if k != _HEAVY})


# --- taken along ------------------------------------------------------------


def bring(packed: str) -> None:
    """Unpack what a notebook brings along; ``committed`` then has it."""
    text = lzma.decompress(base64.b64decode(packed)).decode()
    _brought.update(json.loads(text))


def luggage(checkout: Checkout, sources: Iterable[str]) -> str:
    """Return a cell that brings along what the cells ask for, or nothing.

    Arguments
        sources: the code cells of a chapter.

    Raises
        FileNotFoundError: a cell asks for a file that the checkout has not.
    """
    wanted = {name for source in sources for name in _asked(checkout, source)}
    if not wanted:
        return ""
    packed = _packed({name: _read(checkout, name) for name in sorted(wanted)})
    lines = "\n".join(textwrap.wrap(packed, 100))
    return (
        "# The files of msref's repository that are shown below, packed.\n"
        "from msref.book.committed import bring\n\n"
        f'bring("""\n{lines}\n""")'
    )


def _packed(texts: Mapping[str, str]) -> str:
    return base64.b64encode(lzma.compress(json.dumps(texts).encode())).decode()


def _asked(checkout: Checkout, source: str) -> Iterator[str]:
    """Find the calls of ``committed``, ``Listing`` and ``committed_runs``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        if called == "committed_runs":
            yield from _runs(checkout)
        elif called in ("committed", "Listing"):
            yield ast.literal_eval(node.args[0])
