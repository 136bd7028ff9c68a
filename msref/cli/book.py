"""``msref book``: the chapters, as pages to be read."""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from msref.cli.console import Json, err, out, plain_table, print_json

if TYPE_CHECKING:
    from msref.book.check import Finding
    from msref.book.checkout import Checkout


def book_command(
    chapters: Annotated[
        list[str] | None,
        typer.Argument(
            help="Starts of chapters' names, as 01: a draft of those, without"
            " the reference; all by default."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the book; chapters/_build/html by default."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--open", help="Open it in a browser.")
    ] = False,
    with_check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check it: links, results, notebooks, and each page in"
            " Chromium, if that is installed.",
        ),
    ] = False,
    with_build: Annotated[
        bool,
        typer.Option(
            "--build/--no-build",
            help="With --check: build it first, or check the one there is.",
        ),
    ] = True,
    needs_browser: Annotated[
        bool,
        typer.Option(
            "--require-browser",
            help="With --check: it is an error that there is no Chromium.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the book out of a checkout, into a folder to be read offline.

    Every cell of its chapters runs, and a warning is an error. With --check,
    exit code 1 says that something is wrong with what was built.
    """
    from msref.book.checkout import find

    _check_options(with_check, with_build, needs_browser, chapters)
    checkout = find()
    folder = folder or checkout.chapters / "_build" / "html"
    told: dict[str, Any] = {"ok": True, "folder": str(folder)}
    if with_build:
        told |= _build(folder, tuple(chapters or ()), checkout, as_json)
    if with_check and told["ok"]:
        told |= _check(folder, checkout, needs_browser, as_json)
    if as_json:
        print_json(told)
    if not told["ok"]:
        raise typer.Exit(1)
    if show:
        webbrowser.open((folder / "index.html").resolve().as_uri())


def _check_options(
    with_check: bool,
    with_build: bool,
    needs_browser: bool,
    chapters: list[str] | None,
) -> None:
    for option, given in (
        ("--no-build", not with_build),
        ("--require-browser", needs_browser),
    ):
        if given and not with_check:
            raise ValueError(f"got {option} without --check")
    if chapters and not with_build:
        raise ValueError("got chapters with --no-build, expected none")


def _build(
    folder: Path, only: tuple[str, ...], checkout: Checkout, quiet: bool
) -> dict[str, Any]:
    from msref.book import build

    def say(what: str) -> None:
        err.print(f"{what} …", style="dim")

    made = build(
        folder, only, checkout=checkout, progress=None if quiet else say
    )
    for line in () if quiet else made.warnings:
        print(line, file=sys.stderr)
    if made.ok and not quiet:
        out.print(
            f"{made.pages} pages, {made.size / 1e6:.1f} MB, no warnings,"
            f" {made.seconds:.0f} s: {made.folder / 'index.html'}"
        )
    return {
        "ok": made.ok,
        "folder": str(made.folder),
        "pages": made.pages,
        "bytes": made.size,
        "warnings": list(made.warnings),
        "seconds": made.seconds,
    }


def _check(
    folder: Path, checkout: Checkout, needs_browser: bool, quiet: bool
) -> dict[str, Any]:
    from msref.book.check import check

    found = check(folder, checkout=checkout, progress=False if quiet else None)
    ok = not any(each.wrong for each in found)
    ok &= not (needs_browser and any(each.missed for each in found))
    if not quiet:
        _print_findings(found)
    return {"ok": ok, "checks": [asdict(each) for each in found]}


def _print_findings(found: list[Finding]) -> None:
    """Print a table of the checks; below it, line by line what they found."""
    table = plain_table("", "check", "looked at", "wrong", "told")
    for each in found:
        word = "FAIL" if each.wrong else "–" if each.missed else "PASS"
        tone = {"FAIL": "red", "PASS": "green"}.get(word, "yellow")
        counts = [str(len(lines) or "") for lines in (each.wrong, each.told)]
        table.add_row(
            Text(word, style=tone),
            *(each.check, each.looked or f"not checked: {each.missed}"),
            *counts,
        )
    out.print(table)
    for each in found:
        for word, lines in (("wrong", each.wrong), ("told", each.told)):
            if lines:
                out.print(f"\n{each.check}, {word}:", style="bold")
            for line in lines:
                out.print(f"  {line}", soft_wrap=True)
