"""What a reader sees: every page of a book in a browser, at two widths.

A page may be right as a file and wrong on the screen: a formula that stays as
it was typed, a script that fails, a table that pushes the page aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msref.book.browser import Browser, browsing

WIDTHS = (1280, 390)
"""A screen and a phone, in pixels."""

_SCRIPT = Path(__file__).with_name("look.js").read_text("utf-8").rstrip(";\n")


@dataclass(frozen=True)
class Seen:
    """What was seen of a page.

    Attributes
        page: its name in the book.
        formulas, images: how many.
        unrendered: text that was to become a formula or a link.
        missing: images that are not there.
        console: errors that were reported.
        requests: addresses on a network that were asked for.
        over: width of the window -> what reaches over the edge of the page.
        inside: width -> kind of element -> those that scroll by themselves.
    """

    page: str
    formulas: int
    images: int
    unrendered: tuple[str, ...]
    missing: tuple[str, ...]
    console: tuple[str, ...]
    requests: tuple[str, ...]
    over: dict[int, tuple[str, ...]]
    inside: dict[int, dict[str, list[str]]]


async def look(
    program: str, folder: Path, show: Callable[[int, str], None]
) -> list[Seen]:
    """Look at every page of a book.

    Arguments
        program: path of Chromium.
        folder: of the book.
        show: called with the number of pages seen, and the name of the next.

    Raises
        OSError: the browser does not start, or ends.
    """
    pages = sorted(folder.rglob("*.html"))
    seen = []
    async with browsing(program) as browser:
        for k, path in enumerate(pages):
            name = path.relative_to(folder).as_posix()
            show(k, name)
            seen.append(await _seen(browser, path, name))
    return seen


async def _seen(browser: Browser, path: Path, name: str) -> Seen:
    await browser.size(WIDTHS[0])
    await browser.open(path)
    found = await browser.ask(f"{_SCRIPT}.look()")
    over, inside = {}, {}
    for width in WIDTHS:
        await browser.size(width)
        measured = await browser.ask(f"{_SCRIPT}.measure()")
        over[width] = tuple(measured["over"])
        inside[width] = measured["inside"]
    return Seen(
        page=name,
        formulas=found["formulas"],
        images=found["images"],
        unrendered=tuple(found["unrendered"]),
        missing=tuple(found["missing"]),
        console=tuple(filter(None, map(_complaint, browser.events))),
        requests=tuple(filter(None, map(_request, browser.events))),
        over=over,
        inside=inside,
    )


def _complaint(event: dict[str, Any]) -> str:
    """Return what an event complains about, or nothing."""
    told = event.get("params", {})
    match event.get("method"):
        case "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            thrown = details.get("exception", {})
            return str(thrown.get("description") or details["text"])
        case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert"):
            said = [a.get("value", a.get("description")) for a in told["args"]]
            return " ".join(map(str, said))
        case "Log.entryAdded" if told["entry"]["level"] == "error":
            return f"{told['entry']['text']} {told['entry'].get('url', '')}"
    return ""


def _request(event: dict[str, Any]) -> str:
    """Return the address of a request that leaves the folder, or nothing."""
    if event.get("method") != "Network.requestWillBeSent":
        return ""
    address = str(event["params"]["request"]["url"])
    here = ("file:", "data:", "blob:", "about:")
    return "" if address.startswith(here) else address
