"""``msref vectors``: ground truth to port from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from msref.cli.console import Json, bar, out, plain_table, print_json, writable

if TYPE_CHECKING:
    from msref.vectors import Vector

vectors_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help='Names ("lstm/basic"), architectures ("lstm") or patterns'
        ' ("*/ragged"); all by default.'
    ),
]


@vectors_app.command("list")
def vectors_list_command(names: Names = None, as_json: Json = False) -> None:
    """Show which vectors there are, and what breaks if one fails."""
    from msref.vectors import catalogue

    rows = [_row(catalogue.load(name)) for name in catalogue.names(names or ())]
    if as_json:
        print_json(rows)
        return
    columns = ("vector", "T", "B", "arrays", "kB", "kills", "breaks")
    table = plain_table(*columns, numbers=columns[1:6])
    for row in rows:
        table.add_row(
            row["name"],
            str(row["n_time"]),
            str(row["n_batch"]),
            str(row["arrays"]),
            f"{row['bytes'] / 1000:.0f}",
            "" if row["kills"] is None else str(row["kills"]),
            row["breaks"],
        )
    out.print(table)
    total = sum(row["bytes"] for row in rows) / 1e6
    print(f"\n{len(rows)} vectors, {total:.1f} MB")


def _row(vector: Vector) -> dict[str, Any]:
    from msref.vectors.vector import files

    manifest = vector.manifest
    kills = manifest.get("kills")
    return {
        "name": vector.name,
        "purpose": manifest["purpose"],
        "breaks": manifest["breaks"],
        "call": manifest["architecture"]["call"],
        **manifest["sizes"],
        "arrays": len(vector.arrays),
        "bytes": sum(path.stat().st_size for path in files(vector.name)),
        "kills": kills and len(kills["variants"]) + len(kills["backward"]),
        "flags": list(manifest["flags"]),
    }


@vectors_app.command("show")
def vectors_show_command(
    name: Annotated[str, typer.Argument(help='As in "lstm/basic".')],
    array: Annotated[
        str | None, typer.Option(help="Print the numbers of this array.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain a vector: what it is for, what its numbers mean."""
    from msref.vectors import catalogue

    vector = catalogue.load(name)
    if array is not None:
        _show_array(vector, array, as_json)
    elif as_json:
        print_json(vector.manifest)
    else:
        _show(vector)


def _show_array(vector: Vector, name: str, as_json: bool) -> None:
    if name not in vector.arrays:
        raise ValueError(
            f"{vector.name} has no array {name!r}, expected one of"
            f" {', '.join(vector.arrays)}"
        )
    value = vector.arrays[name]
    if as_json:
        print_json({"shape": list(value.shape), "values": value.tolist()})
        return
    print(f"{name} {value.shape}")
    with np.printoptions(precision=17, threshold=value.size + 1, linewidth=100):
        print(value)


def _show(vector: Vector) -> None:
    """Print the manifest for people."""
    m = vector.manifest
    said = m["architecture"]
    sizes = ", ".join(f"{k} {v}" for k, v in m["sizes"].items())
    year = f" ({said['year']})" if said["year"] else ""
    out.print(f"{vector.name}: {m['breaks']}\n")
    out.print(f"{said['call']}\n{said['paper']}{year}")
    out.print(f"{sizes}, first frame at time {m['t0']}\n")
    for title in ("equations", "adjoint_equations"):
        out.print(title.replace("_", " "))
        for equation in m[title]:
            out.print(f"  {equation['text']}  ({equation['tag']})")
    for title in ("conventions", "flags"):
        out.print(f"\n{title}")
        for key, text in m[title].items():
            out.print(f"  {key}: {text}")
    floors = m["tolerances"]["floors"]
    out.print(f"\ntolerance\n  {m['tolerances']['formula']}")
    out.print(f"  rtol_eps {m['tolerances']['rtol_eps']}\n")
    columns = ("array", "role", "shape", "largest", "floor")
    table = plain_table(*columns, numbers=columns[3:])
    for name in [k for k in vector.arrays if k not in floors] + list(
        vector.expected()
    ):
        entry = m["arrays"][name]
        shape = ", ".join(map(str, entry["shape"]))
        largest = np.abs(vector.arrays[name]).max(initial=0.0)
        floor = floors.get(name)
        if isinstance(floor, list):
            floor = max(floor)
        table.add_row(
            name,
            entry["role"],
            f"({shape})",
            f"{largest:.3g}",
            "" if floor is None else f"{floor:g}",
        )
    out.print(table)


@vectors_app.command("write")
def vectors_write_command(
    names: Names = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where copies are written.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="safetensors, npz or json.")
    ] = "safetensors",
    regenerate: Annotated[
        bool,
        typer.Option(help="Make the package's own files anew, from step."),
    ] = False,
) -> None:
    """Copy vectors into a folder, or make those of the package anew."""
    from msref.vectors import catalogue
    from msref.vectors.export import export
    from msref.vectors.vector import DATA

    wanted = catalogue.names(names or ())
    if regenerate == (folder is not None):
        raise ValueError("write needs either --out FOLDER or --regenerate")
    with bar("vectors", len(wanted), quiet=False) as show:
        if folder is not None:
            for done, name in enumerate(wanted):
                show(done, len(wanted))
                export(catalogue.load(name), writable(folder), form)
        else:
            for done, _ in enumerate(catalogue.write_all(wanted)):
                show(done + 1, len(wanted))
    where = DATA if folder is None else folder
    print(f"{len(wanted)} vectors in {where}")


@vectors_app.command("check")
def vectors_check_command(names: Names = None, as_json: Json = False) -> None:
    """Make vectors anew and hold the files against them, to the last bit."""
    from msref.vectors import catalogue
    from msref.vectors.expected import is_wide

    wanted = catalogue.names(names or ())
    found = [] if names else catalogue.strangers()
    with bar("vectors", len(wanted), quiet=as_json) as show:
        for done, name in enumerate(wanted):
            show(done, len(wanted))
            found += catalogue.check(name)
    if as_json:
        print_json(
            {
                "ok": not found,
                "checked": len(wanted),
                "to_the_byte": is_wide(),
                "differences": found,
            }
        )
    else:
        for line in found:
            print(line)
        how = "to the byte" if is_wide() else "to 1e-13; no 80-bit numbers here"
        state = f"{len(found)} differences" if found else f"the same {how}"
        print(f"{len(wanted)} vectors made anew: {state}")
    raise typer.Exit(1 if found else 0)


@vectors_app.command("compare")
def vectors_compare_command(
    reference: Annotated[
        str,
        typer.Argument(
            help="A vector of msref, a file, or a folder; with a folder of"
            ' candidates also an architecture or "*".'
        ),
    ],
    candidate: Annotated[
        Path,
        typer.Argument(
            help="What the port computed: .safetensors, .npz or .json, or a"
            " folder of them (lstm/basic.npz, …)."
        ),
    ],
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Another name: --map weight_ih=grads/W_xh; many."
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw the error over time and arrays (PNG)."),
    ] = None,
    diagnose: Annotated[
        bool, typer.Option(help="Look for the convention that explains it.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Find the first number of a port that is wrong, and say why."""
    from msref.vectors.compare import compare

    renamed = _mapping(mapping or [])
    found = []
    pairs = _pairs(reference, candidate)
    if figure is not None and len(pairs) > 1:
        raise ValueError(
            f"--figure shows one vector, but {candidate} holds {len(pairs)}"
        )
    for vector, path in pairs:
        with bar("pairs of mistakes", 1, quiet=as_json) as show:
            comparison = compare(
                vector,
                path,
                mapping=renamed,
                diagnose=diagnose,
                progress=show,
            )
        found.append(comparison)
        if figure is not None:
            comparison.draw(figure)
        if not as_json:
            print(comparison)
    if as_json:
        told = [comparison.to_json() for comparison in found]
        print_json(told if candidate.is_dir() else told[0])
    elif candidate.is_dir():
        print(_left_out(reference, [vector.name for vector, _ in pairs]))
    raise typer.Exit(0 if all(comparison.ok for comparison in found) else 1)


@vectors_app.command("power")
def vectors_power_command(
    archs: Annotated[
        list[str] | None, typer.Argument(help="Architectures; all by default.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(help="Run every mistake again; else what manifests say."),
    ] = False,
    onnx: Annotated[
        bool,
        typer.Option(help="Measure ONNX's own vectors, too (needs onnx)."),
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which known mistakes each vector reveals, and what none does."""
    from msref.files import write_text
    from msref.vectors import power as measured
    from msref.vectors.onnx_power import onnx_power

    with bar("vectors", 1, quiet=as_json) as show:
        powers = measured.table(archs or (), measure=measure, progress=show)
    theirs = onnx_power() if onnx else []
    left = measured.survivors(powers)
    text = measured.markdown(powers, theirs)
    if markdown is not None:
        write_text(markdown, text)
    if as_json:
        print_json(measured.as_json(powers, theirs))
    elif markdown is None:
        print(text)
    for arch, keys in left.items():
        if keys and not as_json:
            print(f"{arch}: no file reveals {'; '.join(keys)}")
    raise typer.Exit(1 if any(left.values()) else 0)


def _mapping(said: list[str]) -> dict[str, str]:
    """Read ``candidate name=reference name``."""
    pairs = [entry.partition("=") for entry in said]
    for entry, (_, equals, _) in zip(said, pairs, strict=True):
        if not equals:
            raise ValueError(f"--map is {entry!r}, expected NAME=REFERENCE")
    return {name: reference for name, _, reference in pairs}


def _pairs(reference: str, candidate: Path) -> list[tuple[Vector, Path]]:
    """Pair references with candidate files."""
    from msref.vectors import candidate_files, catalogue, read

    if not candidate.is_dir():
        here = any(Path(f"{reference}{k}").is_file() for k in ("", ".json"))
        vector = read(reference) if here else catalogue.load(reference)
        return [(vector, candidate)]
    files = candidate_files(candidate)
    if Path(reference).is_dir():
        return [
            (read(Path(reference) / name), path) for name, path in files.items()
        ]
    wanted = catalogue.names([reference])
    for name in files:  # gate-oder, say: it would be passed over in silence
        beside = name.rpartition("/")[0] in {
            k.rpartition("/")[0] for k in wanted
        }
        if beside and name not in catalogue.plans():
            catalogue.load(name)  # which says what there is
    pairs = [(catalogue.load(k), files[k]) for k in wanted if k in files]
    if not pairs:
        raise ValueError(
            f"{candidate} holds {_some(list(files))}, expected candidates for"
            f" {reference}, such as {wanted[0]}.npz"
        )
    return pairs


def _left_out(reference: str, compared: list[str]) -> str:
    """Say which files of the reference no candidate was held against."""
    from msref.vectors import catalogue

    folder = Path(reference)
    if folder.is_dir():
        paths = sorted(folder.rglob("*.safetensors"))
        wanted = [
            path.relative_to(folder).with_suffix("").as_posix()
            for path in paths
        ]
    else:
        wanted = catalogue.names([reference])
    left = [name for name in wanted if name not in compared]
    said = f"{len(compared)} of {len(wanted)} vectors compared"
    return f"{said}; no candidate for {_some(left)}" if left else said


def _some(names: list[str], most: int = 8) -> str:
    """List names, of many the first."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
