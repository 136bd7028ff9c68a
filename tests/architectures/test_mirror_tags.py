"""Each equation (k) has an adjoint (k'), beside the lines that compute them.

A tag in a docstring without its mirror, or a tag that the code has lost, is
a derivation with a hole in it.
"""

import inspect
import io
import re
import textwrap
import tokenize

import pytest

from msref.architectures import REGISTRY

TAG = re.compile(r"\((\d{1,2}'?)\)")  # (2019) is a year
CLASSES = [entry.cls for entry in REGISTRY.values()]
every = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def tags(text):
    return set(TAG.findall(text))


def tags_beside(function):
    """Return the tags in the comments of a function."""
    source = textwrap.dedent(inspect.getsource(function))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [t.string for t in tokens if t.type == tokenize.COMMENT]
    return tags(" ".join(comments))


def equations(cls):
    return {tag for tag in tags(cls.__doc__) if not tag.endswith("'")}


def mirrored(found):
    return {f"{tag}'" for tag in found}


def test_tags_are_found_in_comments_and_nowhere_else():
    def some_function():
        a = "(1)"  # (2), all steps; (1-z) and (1.5) are no tags
        return a, (3)  # (4') (5')

    assert tags_beside(some_function) == {"2", "4'", "5'"}


@every
def test_each_equation_has_an_adjoint(cls):
    assert equations(cls)
    assert tags(cls.__doc__) == equations(cls) | mirrored(equations(cls))


@every
def test_step_carries_each_equation(cls):
    if "raise TypeError(" in inspect.getsource(cls.step):
        pytest.skip("a network that looks ahead has no step")
    assert tags_beside(cls.step) == equations(cls)


@every
def test_forward_carries_each_equation(cls):
    assert tags_beside(cls.forward) == equations(cls)


@every
def test_backward_carries_each_adjoint(cls):
    assert tags_beside(cls.backward) == mirrored(equations(cls))
