"""Write down what CuPy offers of all that msref uses.

    python scripts/cupy_names.py [NAME ...]

Reads the installed CuPy, and needs no GPU: functions ("stack",
"linalg.svd"), methods of an array ("ndarray.sum") and its attributes, with
the names of their parameters. Those in the file stay, the given ones are
added. The guard in ``tests/device`` knows CuPy by this file alone.
"""

from __future__ import annotations

import inspect
import json
import operator
import re
import sys
from pathlib import Path
from typing import Any

from msref.files import write_json

FILE = Path(__file__).parents[1] / "tests" / "device" / "cupy_names.json"


def described(cupy: Any, name: str) -> str:
    """Return the parameters of a function, "ufunc n_in n_out", "attribute".

    Raises
        AttributeError: CuPy has no such name.
    """
    found = operator.attrgetter(name)(cupy)
    if isinstance(found, cupy.ufunc):
        return f"ufunc {found.nin} {found.nout}"
    if not callable(found):
        return "attribute"
    if name.startswith("ndarray."):  # compiled: the signature is in the text
        first = found.__doc__.partition("\n")[0]
        text = re.search(r"\((.*)\)", first)[1]
        # "int axis=-1": no default of these has a comma of its own.
        names = [part.partition("=")[0].split()[-1] for part in text.split(",")]
        return ", ".join(names[1:])
    return ", ".join(names_of(inspect.signature(found)))


def names_of(signature: inspect.Signature) -> list[str]:
    """Return the names, with ``*`` before those that are keywords only."""
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names.append(f"*{parameter.name}")
        elif parameter.kind is parameter.VAR_KEYWORD:
            names.append(f"**{parameter.name}")
        else:
            keyword = parameter.kind is parameter.KEYWORD_ONLY
            if keyword and not any(n.startswith("*") for n in names):
                names.append("*")
            names.append(parameter.name)
    return names


def main() -> None:
    """Read the names, ask CuPy, write the file."""
    import cupy

    known = json.loads(FILE.read_text())["names"] if FILE.exists() else {}
    names = sorted({*known, *sys.argv[1:]})
    told = {name: described(cupy, name) for name in names}
    write_json(FILE, {"cupy": cupy.__version__, "names": told})


if __name__ == "__main__":
    main()
