"""The pages of the reference: every public name, each in one place.

A package's public names are those of its ``__all__``; of a module without
one, what it defines that does not begin with an underscore. A name that
several packages offer is described by the first of them, the others point to
it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import msref
from msref import files

HIDDEN = ("cli", "progress", "untrusted")
"""What is no part of the interface."""


def modules() -> list[ModuleType]:
    """List msref and what it consists of, as far as it is public."""
    below = [
        importlib.import_module(f"msref.{found.name}")
        for found in pkgutil.iter_modules(msref.__path__)
        if found.name not in HIDDEN
    ]
    return [msref, *below]


def public(module: ModuleType) -> list[str]:
    """List the public names of a package or a module, but not modules."""
    if hasattr(module, "__all__"):
        return [
            name
            for name in module.__all__
            if not name.startswith("__")
            and not inspect.ismodule(getattr(module, name))
        ]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            getattr(value, "__module__", None) == module.__name__
            or name in _constants(module)
        )
        and not inspect.ismodule(value)
    ]


def undocumented() -> list[str]:
    """List the public names that nothing is written about."""
    return [
        f"{module.__name__}.{name}"
        for module in modules()
        for name in public(module)
        if not _described(module, name)
    ]


def write_reference(folder: Path) -> int:
    """Write a page per module, and their index.

    Returns
        How many names are described.

    Raises
        ValueError: a public name has no docstring; the message lists all.
    """
    missing = undocumented()
    if missing:
        raise ValueError(f"no docstring: {', '.join(missing)}")
    folder.mkdir(parents=True)
    described: dict[tuple[str, int], str] = {}
    pages, count = [], 0
    for module in modules():
        text, n = _page(module, described)
        count += n
        pages.append(module.__name__)
        files.write_text(folder / f"{module.__name__}.rst", text)
    files.write_text(folder / "index.rst", _index(pages, count))
    return count


def _index(pages: list[str], count: int) -> str:
    entries = "\n".join(f"    {page}" for page in pages)
    return (
        "Reference\n=========\n\n"
        f"All {count} public names, made from their docstrings. A name without"
        " one stops the build.\n\n"
        f".. toctree::\n    :maxdepth: 1\n\n{entries}\n"
    )


def _page(
    module: ModuleType, described: dict[tuple[str, int], str]
) -> tuple[str, int]:
    """Return the page of a module, and how many names it describes."""
    name = module.__name__
    lines = [name, "=" * len(name), "", f".. automodule:: {name}", ""]
    elsewhere, own = [], []
    for each in public(module):
        value = getattr(module, each)
        key = each, id(value)
        if key in described:
            elsewhere.append(f"- :py:obj:`{described[key]}`")
            continue
        described[key] = f"{name}.{each}"
        own += _entry(module, each, value)
    if elsewhere:
        lines += ["Described elsewhere:", "", *elsewhere, ""]
    return "\n".join([*lines, *own]) + "\n", sum(
        1 for x in own if x[:2] == ".."
    )


def _entry(module: ModuleType, name: str, value: Any) -> list[str]:
    full = f"{module.__name__}.{name}"
    if inspect.isclass(value):
        is_error = issubclass(value, Exception)
        option = "    :show-inheritance:" if is_error else "    :members:"
        return [f".. autoclass:: {full}", option, ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {full}", ""]
    text = _constant(module, name).splitlines()
    shown = [f"    {line}" for line in text]
    return [f".. py:data:: {full}", "", *shown, ""]


# --- what is written about a name -------------------------------------------


def _described(module: ModuleType, name: str) -> bool:
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return bool((value.__doc__ or "").strip())
    return bool(_constant(module, name))


def _constant(module: ModuleType, name: str) -> str:
    """Return the text below a constant, in the module that defines it."""
    value = getattr(module, name)
    every = [module]
    if hasattr(module, "__path__"):
        every += [
            importlib.import_module(f"{module.__name__}.{found.name}")
            for found in pkgutil.iter_modules(module.__path__)
        ]
    for each in every:
        if getattr(each, name, None) is value and name in _constants(each):
            return _constants(each)[name]
    return ""


@functools.cache
def _constants(module: ModuleType) -> dict[str, str]:
    """Return name -> text of the strings below a module's constants."""
    body = ast.parse(Path(str(module.__file__)).read_text("utf-8")).body
    found: dict[str, str] = {}
    for node, below in itertools.pairwise(body):
        match node, below:
            case (
                ast.Assign() | ast.AnnAssign(),
                ast.Expr(ast.Constant(str(text))),
            ):
                for each in ast.walk(node):
                    if isinstance(each, ast.Name) and isinstance(
                        each.ctx, ast.Store
                    ):
                        found[each.id] = inspect.cleandoc(text)
    return found
