"""The labelled sets: their formats, their splits, one scale for channels."""

import dataclasses
import gzip
import io

import made_up
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import (
    LabelledSet,
    labelled,
    load_mnist,
    load_pen_digits,
    load_spoken_digits,
    load_vowels,
    packages,
)
from msref.training import Batch

PARTS = ("train", "valid", "test")


# --- made-up files in the formats of the real ones --------------------------


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def digits_file(n=200):
    """Sequence i begins with the number i and belongs to digit i % 10."""
    lengths = 1 + np.arange(n) % 4
    frames = np.zeros((lengths.sum(), 13), np.float32)
    frames[np.cumsum(lengths) - lengths, 0] = np.arange(n)
    return npz(X=frames, y=np.arange(n) % 10, lengths=lengths)


def vowels_file(n_speaker=10, first=0):
    lines = ["# words", "@problemName Made up", "@data"]
    for i in range(first, first + 9 * n_speaker):
        channels = [f"{i}.5,0.25"] + ["0,1"] * 11
        lines.append(":".join([*channels, str(1 + (i - first) // n_speaker)]))
    return ("\n".join(lines) + "\n").encode()


def pen_file(n=150):
    lines = [
        ", ".join(map(str, [i % 101, i // 101, *[5] * 14, i % 10]))
        for i in range(n)
    ]
    return ("\n".join(lines) + "\n").encode()


def mnist_file(n=100):
    """Image i has the value i in its upper right corner."""
    images = np.zeros((n, 785), int)
    images[:, 27] = np.arange(n)
    images[:, 784] = np.sort(np.arange(n) % 10)
    lines = "\n".join(",".join(map(str, row)) for row in images)
    return gzip.compress(lines.encode())


FILES = {
    "spoken-digits": digits_file(),
    "vowels-train": vowels_file(),
    "vowels-test": vowels_file(3, first=1000),
    "pen-digits": pen_file(),
    "mnist-5k": mnist_file(),
}
LOADERS = {
    "spoken-digits": load_spoken_digits,
    "vowels-train": load_vowels,
    "vowels-test": load_vowels,
    "pen-digits": load_pen_digits,
    "mnist-5k": load_mnist,
}


@pytest.fixture
def keep(monkeypatch, tmp_path):
    """Put files where fetched files are kept, with the right checksums."""
    monkeypatch.setenv("MSREF_DATA", str(tmp_path))
    table = {}
    monkeypatch.setattr(packages, "PACKAGED", table)
    monkeypatch.setattr(labelled, "PACKAGED", table)

    def put(**files):
        for name, data in files.items():
            entry = made_up.packaged(data, name, f"made_up/{name}.dat")
            table[name] = entry
            entry.path().parent.mkdir(exist_ok=True)
            entry.path().write_bytes(data)

    put(**FILES)
    return put


def numbers(part):
    """Return the number that each sequence carries, and its label."""
    return [(x[0, 0], label) for x, label in part]


# --- the loaders ------------------------------------------------------------


def test_spoken_digits_are_split_by_class_in_the_order_of_the_file(keep):
    read = load_spoken_digits()
    assert [len(getattr(read, part)) for part in PARTS] == [160, 20, 20]
    begin = {"train": 0, "valid": 160, "test": 180}
    for part, first in begin.items():
        pairs = getattr(read, part)
        expected = [(i, i % 10) for i in range(first, first + len(pairs))]
        assert numbers(pairs) == expected
        for (x, _), (i, _) in zip(pairs, expected, strict=True):
            assert x.shape == (1 + i % 4, 13)
            assert x.dtype == np.float64


def test_vowels_keep_the_official_test_part(keep):
    read = load_vowels()
    assert numbers(read.test) == [(1000.5 + i, i // 3) for i in range(27)]
    assert numbers(read.train) == [
        (i + 0.5, i // 10) for i in range(90) if i % 10 < 8
    ]
    assert numbers(read.valid) == [
        (i + 0.5, i // 10) for i in range(90) if i % 10 >= 8
    ]
    x = read.train[0][0]
    assert x.shape == (2, 12)
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x[1], [0.25] + [1] * 11)
    assert read.classes[8] == "speaker 9"


def test_pen_digits_are_points_as_they_stand(keep):
    read = load_pen_digits()
    assert [len(getattr(read, part)) for part in PARTS] == [100, 10, 40]
    for part, first in {"train": 0, "valid": 100, "test": 110}.items():
        for i, (x, label) in enumerate(getattr(read, part), first):
            assert label == i % 10
            np.testing.assert_array_equal(x[0], [i % 101, i // 101])
            np.testing.assert_array_equal(x[1:], np.full((7, 2), 5))


@pytest.mark.parametrize(
    ("frames", "shape", "place"),
    [("rows", (28, 28), (0, 27)), ("pixels", (784, 1), (27, 0))],
)
def test_mnist_is_read_by_rows_or_by_pixels(keep, frames, shape, place):
    read = load_mnist(frames)
    assert read.name == f"mnist-{frames}"
    assert [len(getattr(read, part)) for part in PARTS] == [80, 10, 10]
    found = sorted(
        (round(255 * x[place]), label, x.shape, round(255 * x.sum()))
        for part in PARTS
        for x, label in getattr(read, part)
    )
    assert found == [(i, i // 10, shape, i) for i in range(100)]


def test_mnist_in_another_way_is_refused(keep):
    with pytest.raises(ValueError, match=r"frames is 'columns', expected 'row"):
        load_mnist("columns")


@pytest.mark.parametrize("name", LOADERS)
def test_a_set_says_what_it_is_and_can_be_trained_on(keep, name):
    read = LOADERS[name]()
    assert "made-up==1.0" in read.source
    assert ".dat" in read.source
    assert read.licence == "none"
    assert len(repr(read)) < 400
    for part in PARTS:
        facts = read.describe()[part]
        pairs = getattr(read, part)
        assert facts["sequences"] == len(pairs)
        assert facts["shortest"] <= facts["mean_length"] <= facts["longest"]
        assert facts["largest_class"] >= facts["smallest_class"] >= 1
    batch = Batch.of(read.valid)
    assert batch.target.dtype.kind == "i"
    assert batch.mask.sum() == len(read.valid)  # the last frame of each
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.name = "other"


PEN = ",".join(["1"] * 16)
VOWEL = ":".join(["1,2"] * 12)
DAMAGED = {
    "no archive": ("spoken-digits", b"no archive", ""),
    "half an archive": ("spoken-digits", digits_file()[:900], ""),
    "no labels": ("spoken-digits", npz(X=np.ones((2, 13)), lengths=[2]), "y"),
    "objects": (
        "spoken-digits",
        npz(X=np.array([None]), y=[0], lengths=[1]),
        "allow_pickle",
    ),
    "12 channels": (
        "spoken-digits",
        npz(X=np.ones((2, 12)), y=[0], lengths=[2]),
        r"shape \(2, 12\), expected \(n_frames, 13\)",
    ),
    "lengths": (
        "spoken-digits",
        npz(X=np.ones((2, 13)), y=[0], lengths=[3]),
        "do not add up to 2",
    ),
    "NaN": (
        "spoken-digits",
        npz(X=np.full((2, 13), np.nan), y=[0], lengths=[2]),
        "NaN",
    ),
    "label 10": (
        "spoken-digits",
        npz(X=np.ones((2, 13)), y=[10], lengths=[2]),
        r"a label is not in 0\.\.9",
    ),
    "two labels": (
        "spoken-digits",
        npz(X=np.ones((2, 13)), y=[1, 1], lengths=[2]),
        "1 sequences and 2 labels",
    ),
    "no data line": ("vowels-train", b"1:2\n", "no line '@data'"),
    "no sequence": ("vowels-train", b"@data\n", "no sequence"),
    "11 channels": (
        "vowels-test",
        b"@data\n" + VOWEL[4:].encode() + b":1\n",
        "11 channels, expected 12",
    ),
    "uneven channels": (
        "vowels-test",
        f"@data\n{VOWEL},3:1\n".encode(),
        "",
    ),
    "speaker 10": ("vowels-test", f"@data\n{VOWEL}:10\n".encode(), r"0\.\.8"),
    "missing value": (
        "vowels-test",
        f"@data\n{VOWEL}:1\n".replace("1,2", "?,2", 1).encode(),
        "",
    ),
    "empty": ("pen-digits", b"\n", "empty"),
    "16 numbers": ("pen-digits", PEN.encode(), "16 numbers, expected 17"),
    "101": ("pen-digits", f"{PEN[:-1]}101,0".encode(), r"1\.\.101, .*0\.\.100"),
    "fraction": ("pen-digits", f"{PEN[:-1]}1.5,0".encode(), ""),
    "not compressed": ("mnist-5k", b"1,2,3", "gzip"),
    "half compressed": ("mnist-5k", mnist_file()[:-20], ""),
    "few pixels": ("mnist-5k", gzip.compress(b"1,2,3"), "3 numbers"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_content_is_named(keep, case):
    name, data, message = DAMAGED[case]
    keep(**{name: data})
    with pytest.raises(
        ValueError, match=rf"{name}\.dat is damaged: .*{message}"
    ):
        LOADERS[name]()


# --- one scale --------------------------------------------------------------


def small_set(rng, scale=1.0, shift=0.0):
    def part(n):
        lengths = rng.integers(2, 6, n)
        return tuple(
            (rng.standard_normal((length, 3)) * scale + shift, i % 2)
            for i, length in enumerate(lengths)
        )

    return LabelledSet(
        "small", "here", "none", ("a", "b"), part(6), part(2), part(3)
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
)
def test_the_scale_and_the_offset_of_a_channel_do_not_matter(
    seed, scale, shift
):
    factors = np.array([1.0, scale, -scale])
    plain = small_set(np.random.default_rng(seed)).standardised()
    moved = small_set(np.random.default_rng(seed), factors, shift)
    moved = moved.standardised()
    signs = np.array([1, 1, -1])
    for part in PARTS:
        pairs = zip(getattr(plain, part), getattr(moved, part), strict=True)
        for (x, label), (x2, label2) in pairs:
            assert label == label2
            np.testing.assert_allclose(x2 * signs, x, rtol=0, atol=1e-8)


def test_training_frames_have_mean_zero_and_deviation_one():
    raw = small_set(np.random.default_rng(0), 7.0, -300.0)
    after = raw.standardised()
    frames = np.concatenate([x for x, _ in after.train])
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-12)
    # The other parts move with the training part, not by themselves.
    others = np.concatenate([x for x, _ in after.test])
    assert abs(others.mean()) > 1e-3
    assert (after.name, after.classes) == (raw.name, raw.classes)
    assert raw.train[0][0].mean() < -200  # the raw set is as it was


def test_a_constant_channel_is_only_centred():
    train = tuple((np.full((5, 2), (0.1, i)), 0) for i in range(3))
    test = ((np.full((5, 2), (0.3, 1.0)), 0),)
    flat = LabelledSet("flat", "here", "none", ("a",), train, train, test)
    after = flat.standardised()
    for x, _ in after.train:
        np.testing.assert_allclose(x[:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(after.test[0][0][:, 0], 0.2, rtol=1e-12)
