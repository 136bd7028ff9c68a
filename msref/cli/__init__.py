"""The commands: parse, call, print.

Exit codes: 0 all is well; 1 a check failed; 2 the input was wrong; 130 the
run was interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from msref.blas import one_thread_unless_chosen
from msref.cli.bench import bench_command
from msref.cli.book import book_command
from msref.cli.data import data_app
from msref.cli.port import port_command
from msref.cli.reproduce import reproduce_command
from msref.cli.vectors import vectors_app
from msref.cli.verify import verify_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Recurrent networks by hand, with the proof that they are right.",
)
app.command("verify")(verify_command)
app.command("reproduce")(reproduce_command)
app.command("bench")(bench_command)
app.command("book")(book_command)
app.command("port")(port_command)
app.add_typer(data_app, name="data", help="Data sets inside packages.")
app.add_typer(vectors_app, name="vectors", help="Ground truth to port from.")


def main() -> None:
    """Run the command line; wrong input ends in one line and exit code 2."""
    try:
        with one_thread_unless_chosen():
            code = app(standalone_mode=False) or 0
        if code == 130:
            _say("interrupted; reproduce goes on where it was", code)
        sys.exit(code)
    except typer.Abort:
        sys.exit(_say("interrupted", 130))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; reproduce goes on where it was", 130))
    except Exception as error:
        if hasattr(error, "format_message"):  # of the command line's parser
            sys.exit(_say(error.format_message(), 2))
        expected = (ValueError, TypeError, OSError, ModuleNotFoundError)
        if os.environ.get("MSREF_TRACEBACK") or not isinstance(error, expected):
            raise
        sys.exit(_say(str(error) or type(error).__name__, 2))


def _say(text: str, code: int) -> int:
    """Print one line to stderr; a help page stays as it is."""
    if text.lstrip().startswith("Usage:"):
        print(text, file=sys.stderr)
    else:
        print(f"msref: {' '.join(text.split())}", file=sys.stderr)
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"msref {version('msref')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    pass
