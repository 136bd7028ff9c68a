"""A network by its name: from the registry, or out of a reader's own file."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from msref.architectures import REGISTRY

SIZES = (3, 5, 4, 6, 2, 7)
"""Sizes for a class's required arguments, pairwise different on purpose."""


def load(name: str) -> list[Any]:
    """Return the networks that a name stands for.

    Arguments
        name: a short name of the registry, which stands for its examples; or
            ``path/to/file.py:MyCell`` for a class or an instance there, or
            ``path/to/file.py:MyCell(3, 5)`` for a constructor call with
            plain values. A class is made with sizes 3, 5, 4, … for the
            arguments that it requires.

    Raises
        ValueError: no such name, or the file has no such class; the message
            names what there is.
        OSError: the file cannot be read.
        TypeError: the class cannot be made with such arguments.
    """
    path, colon, call = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        if name in REGISTRY:
            return list(REGISTRY[name].examples)
        raise ValueError(
            f"there is no architecture {name!r}, expected one of"
            f" {', '.join(REGISTRY)}, or FILE.py:CLASS"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    found, args, kwargs = _parse(call)
    module = _run_file(Path(path))
    if not hasattr(module, found):
        classes = [k for k, v in vars(module).items() if inspect.isclass(v)]
        raise ValueError(
            f"{path} has no {found!r}, expected one of {', '.join(classes)}"
        )
    made = getattr(module, found)
    if not (inspect.isclass(made) or inspect.isfunction(made)):
        return [made]
    if args is None:
        args = [size for size, _ in zip(SIZES, _required(made), strict=False)]
    return [made(*args, **kwargs)]


def _parse(call: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """Split ``MyCell(3, reset="after")`` into name and plain values."""
    try:
        tree = ast.parse(call, mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, None, {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            args = [ast.literal_eval(arg) for arg in tree.args]
            kwargs = {
                str(k.arg): ast.literal_eval(k.value) for k in tree.keywords
            }
            return tree.func.id, args, kwargs
    except (SyntaxError, ValueError):
        pass
    raise ValueError(
        f"{call!r} is no class, expected CLASS or CLASS(plain values)"
    )


def _run_file(path: Path) -> Any:
    name = f"_msref_reader_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(
            f"{path} line {error.lineno} is no Python: {error.msg}"
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _required(made: Any) -> list[str]:
    return [
        k
        for k, p in inspect.signature(made).parameters.items()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
