"""Manifests as JSON: read with suspicion, written alike every time.

``data/schema.json`` is a JSON Schema, for every language that has a
validator. It is also the one source of what is checked here: the keywords
that it uses are few, and each is a line below.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent / "data" / "schema.json"

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def text_of(manifest: dict[str, Any]) -> str:
    """Return the manifest as text: keys sorted, one entry per line."""
    return _text(manifest, 0) + "\n"


def _text(value: Any, level: int) -> str:
    """Indent by one; what is short, or a list of numbers, takes one line."""
    flat = json.dumps(
        value,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    short = level > 0 and len(flat) <= 120
    if not isinstance(value, dict | list) or short:
        return flat
    if isinstance(value, list) and not any(
        isinstance(v, dict | str) for v in value
    ):
        return flat
    inside = "\n" + " " * (level + 1)
    if isinstance(value, dict):
        lines = [
            f"{json.dumps(k, ensure_ascii=False)}: {_text(v, level + 1)}"
            for k, v in sorted(value.items())
        ]
        return "{" + inside + ("," + inside).join(lines) + inside[:-1] + "}"
    lines = [_text(v, level + 1) for v in value]
    return "[" + inside + ("," + inside).join(lines) + inside[:-1] + "]"


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of manifests."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text("utf-8"))
    return found


def problems(manifest: Any) -> list[str]:
    """Return what is wrong with a manifest by the schema, in words."""
    return _problems(manifest, schema(), "manifest")


def _problems(value: Any, rule: Any, where: str) -> list[str]:
    """Check one value against one rule of the schema."""
    if rule is False:
        return [f"{where} is not expected"]
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    if "anyOf" in rule:
        tries = [_problems(value, one, where) for one in rule["anyOf"]]
        return min(tries, key=len)
    found = [
        f"{where} {said}"
        for key, limit in rule.items()
        if key in KEYWORDS and (said := KEYWORDS[key](value, limit))
    ]
    if found:
        return found
    if isinstance(value, dict):
        named = rule.get("properties", {})
        other = rule.get("additionalProperties", {})
        for key, inner in value.items():
            found += _problems(
                inner, named.get(key, other), f"{where}[{key!r}]"
            )
    if isinstance(value, list) and "items" in rule:
        for k, inner in enumerate(value):
            found += _problems(inner, rule["items"], f"{where}[{k}]")
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type(value: Any, name: str) -> str:
    right = isinstance(value, _TYPES[name])
    right = right and not (isinstance(value, bool))
    return "" if right else f"is {_shown(value)}, expected {name}"


def _required(value: Any, names: list[str]) -> str:
    missing = [k for k in names if isinstance(value, dict) and k not in value]
    return f"lacks {', '.join(missing)}" if missing else ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KEYWORDS: dict[str, Callable[[Any, Any], str]] = {
    "type": _type,
    "required": _required,
    "const": lambda v, c: "" if v == c else f"is {_shown(v)}, expected {c!r}",
    "enum": lambda v, e: "" if v in e else f"is {_shown(v)}, expected {e}",
    "minimum": lambda v, m: (
        f"is {v}, expected at least {m}" if _number(v) and v < m else ""
    ),
    "maximum": lambda v, m: (
        f"is {v}, expected at most {m}" if _number(v) and v > m else ""
    ),
    "minLength": lambda v, m: (
        f"has {len(v)} characters, expected at least {m}"
        if isinstance(v, str) and len(v) < m
        else ""
    ),
    "minItems": lambda v, m: (
        f"has {len(v)} items, expected at least {m}"
        if isinstance(v, list) and len(v) < m
        else ""
    ),
    "maxItems": lambda v, m: (
        f"has {len(v)} items, expected at most {m}"
        if isinstance(v, list) and len(v) > m
        else ""
    ),
    "pattern": lambda v, p: (
        f"is {_shown(v)}, expected a match of {p}"
        if isinstance(v, str) and not re.search(p, v)
        else ""
    ),
}
"""Keyword -> what is wrong with a value by it, or nothing."""
