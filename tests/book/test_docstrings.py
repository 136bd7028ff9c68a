"""Docstrings as reStructuredText: equations keep every character."""

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import msref
from msref.book.docstrings import to_rst

docutils = pytest.importorskip("docutils.core")


def rst(text):
    return "\n".join(to_rst(inspect.cleandoc(text).splitlines()))


def read(text):
    """Return what docutils makes of it, and what it complains about."""
    import io

    told = io.StringIO()
    made = docutils.publish_doctree(
        text, settings_overrides={"warning_stream": told}
    )
    return made, told.getvalue()


PLAIN = st.text(
    alphabet=st.characters(
        codec="ascii", categories=("L", "N", "P", "S", "Zs")
    ),
    min_size=1,
)


@given(PLAIN)
def test_prose_is_read_as_it_is_written(words):
    text = "Begin " + re.sub(r"\s+", " ", words).strip() + " end of it."
    if "``" in text or re.search(r"\*\S", text):
        return  # code and emphasis are markup on purpose
    made, told = read("\n".join(to_rst([text])))
    assert told == ""
    assert made.astext() == text


def test_equations_are_kept_to_the_letter():
    line = "dh_{t-1} += da_t W_hh^T * x_   |q| `r`        (1')"
    made, told = read(rst(f"One.\n\nEquations\n    {line}\n"))
    assert told == ""
    (block,) = made.findall(lambda node: node.tagname == "literal_block")
    assert block.astext() == line


def test_arguments_become_a_list_of_names():
    text = rst("One.\n\nArguments\n    x: the *input*, x_t.\n        more\n")
    assert "``x``" in text
    assert "    the *input*, x\\_t." in text


def test_a_list_below_a_sentence_stands_apart():
    _, told = read(rst("These:\n- one\n  goes on\n- two\n"))
    assert told == ""


@pytest.mark.parametrize("name", sorted(set(msref.__all__) - {"__version__"}))
def test_docutils_reads_all_of_ours_without_complaint(name):
    _, told = read(rst(inspect.getdoc(getattr(msref, name)) or ""))
    assert told == ""
