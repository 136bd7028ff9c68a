"""A small book, built once for all tests of it."""

import pytest
from small_book import small_checkout

from msref.book import build


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    return small_checkout(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def book(small, tmp_path_factory):
    made = tmp_path_factory.mktemp("book") / "made"
    return build(made, ("01", "02"), checkout=small)
