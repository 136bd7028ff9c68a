"""``msref port``: weights from one framework to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.text import Text

from msref.arrays import Arrays
from msref.cli.console import Json, bar, out, plain_table, print_json

NAMES = "torch, keras, flax, nnx, haiku, equinox, onnx, cudnn or msref"


def port_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WEIGHTS",
            help="File of weights: .safetensors, .npz or .json. With"
            " --conventions or --check: frameworks; all by default.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help=f"Framework: {NAMES}.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", help="Framework, likewise.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Which layer of the target.")
    ] = None,
    hint: Annotated[
        list[str] | None,
        typer.Option(
            help="name=value, what the weights do not say: prefix, layer,"
            " reset, activation; layers (keras, haiku); parts (msref); n_in,"
            " n_hid, n_layers, n_directions (cudnn). As often as needed.",
        ),
    ] = None,
    gradients: Annotated[
        bool,
        typer.Option("--gradients", help="They are gradients; to msref only."),
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--out", help="A .safetensors file.")
    ] = None,
    conventions: Annotated[
        bool,
        typer.Option("--conventions", help="Print how frameworks lay out."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Run the frameworks that are installed."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert the weights of a recurrent network between frameworks.

    \b
    msref port lstm.safetensors --from torch --to keras --out k.safetensors
    msref port model.npz --from torch --hint prefix=encoder.rnn. --to onnx
    msref port rnn.json --from keras --hint activation=relu --to flax
    msref port --conventions haiku
    msref port --check torch
    """
    if conventions and check:
        raise ValueError("got --conventions and --check, expected one")
    alone = "--conventions" if conventions else "--check" if check else ""
    options: dict[str, object] = {"--from": source, "--to": target}
    options |= {"--layer": layer, "--hint": hint}
    options |= {"--gradients": gradients, "--out": file}
    for option, value in options.items():
        if alone and value:
            raise ValueError(
                f"got {option} with {alone}, expected names of frameworks only"
            )
    if conventions:
        _print_conventions(names or [], as_json)
        return
    if check:
        _print_check(names or [], as_json)
        return
    if len(names or []) != 1 or source is None or target is None:
        raise ValueError(
            "expected a file of weights, --from and --to; or --conventions;"
            " or --check"
        )
    _convert(
        Path((names or [])[0]),
        (source, target),
        layer,
        _hints(hint or []),
        gradients,
        file,
        as_json,
    )


def _hints(given: list[str]) -> dict[str, str]:
    """Take ``name=value`` apart, each name once."""
    hints: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise ValueError(f"hint is {each!r}, expected name=value")
        if key in hints:
            raise ValueError(
                f"hint {key} is {hints[key]!r} and {value!r}, expected one"
            )
        hints[key] = value
    return hints


def _convert(
    path: Path,
    ways: tuple[str, str],
    layer: str | None,
    hints: dict[str, str],
    gradients: bool,
    file: Path | None,
    as_json: bool,
) -> None:
    from msref.files import write_arrays
    from msref.ports import framework
    from msref.untrusted import read_named_arrays

    source, target = framework(ways[0]), framework(ways[1])
    if gradients and target.key != "msref":
        raise ValueError(
            f"--to is {target.key!r}, expected msref with --gradients: only"
            " our names say what a gradient of a folded bias is"
        )
    if file is not None and file.suffix != ".safetensors":
        raise ValueError(f"--out is {file}, expected a .safetensors file")
    if file is not None and file.exists() and file.samefile(path):
        raise ValueError(
            f"--out is {file}, which is read from, expected another file"
        )
    source.check_hints(hints)
    given, widened = _floats(read_named_arrays(path), path)
    arch, params, read = source.load(given, gradients=gradients, **hints)
    arrays, written = target.export(arch, params, layer)
    notes = [*widened, *read, *written]
    if file is not None:
        write_arrays(file, arrays)
    if as_json:
        shapes = {k: list(v.shape) for k, v in arrays.items()}
        told: dict[str, Any] = {"from": source.key, "to": target.key}
        told |= {"network": repr(arch), "notes": notes, "arrays": shapes}
        print_json(told | {"out": None if file is None else str(file)})
        return
    out.print(f"{arch!r}\n")
    _print_arrays(arrays)
    out.print()
    for note in notes:
        out.print(f"- {note}")
    if file is not None:
        out.print(f"\n{len(arrays)} arrays in {file}")


def _floats(arrays: Arrays, path: Path) -> tuple[Arrays, list[str]]:
    """Widen what files hold and networks do not; say so."""
    found, notes = dict(arrays), dict[str, None]()
    for name, array in arrays.items():
        if array.dtype == np.float16:
            found[name] = array.astype(np.float32)
            notes["float16 is widened to float32, which is exact"] = None
        elif path.suffix == ".json":  # which writes 0.0 as 0
            found[name] = array.astype(np.float64)
    return found, list(notes)


def _print_arrays(arrays: Arrays) -> None:
    table = plain_table("array", "shape", "dtype", "largest")
    table.columns[0].overflow = "fold"  # names are to be copied
    for name, array in arrays.items():
        largest = f"{np.abs(array).max():.3g}"
        table.add_row(name, str(array.shape), str(array.dtype), largest)
    out.print(table)


def _print_conventions(names: list[str], as_json: bool) -> None:
    """Print the tables that convert."""
    from msref.ports import FRAMEWORKS, conventions, framework

    ports = [framework(name) for name in names or FRAMEWORKS]
    if as_json:
        print_json(conventions(ports))
        return
    for port in ports:
        rows = conventions([port])
        head = f"{rows[0]['product']}, x {rows[0]['x']}, {rows[0]['source']}"
        out.print(Text.assemble((port.title, "bold"), f"  {head}"))
        columns = ("layer", "gates", "function", "biases", "state")
        table = plain_table(*columns)
        for row in rows:
            own = row["source"]
            only = "" if own == rows[0]["source"] else f" ({own})"
            table.add_row(
                row["layer"] + only,
                row["gates"],
                _function(row),
                row["biases"],
                f"({row['state']})",
            )
        out.print(table)
        for row in rows if names else []:
            out.print(Text(f"\n{row['layer']}", "bold"))
            arrays = plain_table("array", "shape")
            for name, shape in row["arrays"].items():
                arrays.add_row(name, shape)
            out.print(arrays)
            if row["remark"]:
                out.print(f"- {row['remark']}")
        out.print()
    out.print(
        "D inputs, H hidden units, T steps, B sequences. Gates in the order"
        " in which they are stacked or listed.\nBiases: with x, with h; x + h"
        " are summed; that of h in n: x, h is inside the product with r."
        "\nExecuted: by msref port --check; read: in sources or documents."
    )
    if not names:
        out.print("With the name of a framework: its arrays and remarks.")


def _function(row: dict[str, Any]) -> str:
    """Say what the layer computes, where layers of its kind differ."""
    if row["reset"]:
        return f"reset {row['reset']}, z {row['z']}"
    added = [f"{k} + {v:g}" for k, v in row["added"].items()]
    return row["activation"] or ", ".join(added)


def _print_check(names: list[str], as_json: bool) -> None:
    """Run the frameworks and print how well they agree."""
    from msref.ports.check import ABSENT, DIFFERS, check

    with bar("frameworks", 1, as_json) as show:
        rows = check(names, progress=show)
    if as_json:
        print_json([row.to_dict() for row in rows])
    style = {DIFFERS: "bold red", ABSENT: "bold yellow"}
    errors = ("forward", "state", "params", "x", "start")
    for name in dict.fromkeys(row.framework for row in rows):
        group = [row for row in rows if row.framework == name]
        if as_json:
            continue
        if all(row.verdict == ABSENT for row in group):
            told = (f"{ABSENT}: ", style[ABSENT]), group[0].remark, "\n"
            out.print(Text.assemble((f"{name}  ", "bold"), *told))
            continue
        head = f"  {group[0].precision}; {group[0].runs}"
        out.print(Text.assemble((name, "bold"), head))
        table = plain_table(
            "verdict", "layer", "network", *errors, numbers=errors
        )
        for column in table.columns[1:3]:
            column.overflow = "fold"
        for row in group:
            found = [getattr(row, error) for error in errors]
            table.add_row(
                Text(row.verdict, style.get(row.verdict, "bold green")),
                row.layer,
                row.network,
                *("-" if e is None else f"{e:.0e}" for e in found),
            )
        out.print(table)
        for remark in dict.fromkeys(row.remark for row in group if row.remark):
            out.print(f"- {remark}")
        out.print()
    if not as_json:
        out.print(
            "Largest error relative to an array's largest entry: of outputs,"
            " final states;\nof gradients by parameters, input, initial states."
        )
    if not all(row.ok for row in rows):
        raise typer.Exit(1)
