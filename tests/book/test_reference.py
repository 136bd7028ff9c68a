"""The reference: every public name, once, and none without a docstring."""

import importlib
import re
import types

import pytest

import msref
from msref.book import reference


def test_every_public_name_is_documented():
    assert reference.undocumented() == []


def test_every_public_name_is_described_in_one_place(tmp_path):
    count = reference.write_reference(tmp_path / "reference")
    text = "".join(p.read_text() for p in (tmp_path / "reference").iterdir())
    described = re.findall(
        r"^\.\. (?:auto(?:class|function)|py:data):: (\S+)", text, re.MULTILINE
    )
    assert len(described) == len(set(described)) == count
    things = set()
    for full in described:
        module, _, name = full.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        assert (name, id(value)) not in things, full
        things.add((name, id(value)))
    pages = {module.__name__ for module in reference.modules()}
    for name in msref.__all__:
        if not name.startswith("__"):
            assert f"msref.{name}" in pages | set(described)
    for module in reference.modules():
        for name in reference.public(module):
            tail = re.compile(rf"\.{re.escape(name)}\b")
            assert tail.search(text), (module.__name__, name)


def test_a_name_without_docstring_stops_it(monkeypatch, tmp_path):
    bare = types.ModuleType("msref.bare")
    bare.__file__ = reference.__file__
    exec("def told():\n    'Said.'\ndef untold(): pass", bare.__dict__)
    bare.told.__module__ = bare.untold.__module__ = "msref.bare"
    monkeypatch.setattr(reference, "modules", lambda: [bare])
    assert reference.public(bare) == ["told", "untold"]
    with pytest.raises(ValueError, match=r"no docstring: msref\.bare\.untold"):
        reference.write_reference(tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def test_constants_are_described_by_the_string_below_them():
    text = reference._constant(msref, "REGISTRY")
    assert "reading order" in text
