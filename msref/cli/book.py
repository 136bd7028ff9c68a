"""``msref book``: the chapters, as pages to be read."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from msref.cli.console import Json, err, out, print_json


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
    as_json: Json = False,
) -> None:
    """Build the book out of a checkout, into a folder to be read offline.

    Every cell of its chapters runs, and a warning is an error.
    """
    from msref.book import build
    from msref.book.checkout import find

    checkout = find()
    made = build(
        folder or checkout.chapters / "_build" / "html",
        tuple(chapters or ()),
        checkout=checkout,
        progress=None
        if as_json
        else lambda what: err.print(f"{what} …", style="dim"),
    )
    if as_json:
        print_json(
            {
                "ok": made.ok,
                "folder": str(made.folder),
                "pages": made.pages,
                "bytes": made.size,
                "warnings": list(made.warnings),
                "seconds": made.seconds,
            }
        )
    for line in () if as_json else made.warnings:
        print(line, file=sys.stderr)
    if not made.ok:
        raise typer.Exit(1)
    if not as_json:
        out.print(
            f"{made.pages} pages, {made.size / 1e6:.1f} MB, no warnings,"
            f" {made.seconds:.0f} s: {made.folder / 'index.html'}"
        )
    if show:
        webbrowser.open((made.folder / "index.html").as_uri())
