"""The embedded chorales, and the reader of the canonical sets."""

import dataclasses
import hashlib
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from msref.data import (
    MusicSet,
    find_polyphonic,
    load_chorales,
    load_polyphonic,
    music,
)

FOLDER = Path(music.__file__).parent
EMBEDDED = FOLDER / "chorales.npz"
PARTS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def chorales():
    return load_chorales()


@pytest.fixture(scope="module")
def pieces():
    """Pitches (n_time, 4) and part of each piece, by name."""
    with np.load(EMBEDDED, allow_pickle=False) as file:
        pitches = np.split(file["pitches"], np.cumsum(file["lengths"])[:-1])
        names, parts = file["names"].tolist(), file["parts"].tolist()
    assert len(set(names)) == len(names) == len(pitches) == 396
    return dict(zip(names, zip(pitches, parts, strict=True), strict=True))


def rolls(music_set):
    return [roll for part in PARTS for roll in getattr(music_set, part)]


def test_checksums_are_those_of_the_licence_and_the_script():
    licence = (FOLDER / "chorales.LICENSE.txt").read_text("utf-8")
    digest = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    assert digest in "".join(licence.split())
    script = FOLDER.parents[1] / "scripts" / "build_chorales.py"
    if script.exists():  # not beside an installed package
        (wheel,) = (
            line.split('"')[1]
            for line in script.read_text("utf-8").splitlines()
            if line.startswith("SHA256 = ")
        )
        assert wheel in "".join(licence.split())


def test_facts_of_the_embedded_set(chorales):
    facts = chorales.describe()
    table = [
        [facts[part][key] for key in ("sequences", "frames", "empty_frames")]
        for part in PARTS
    ]
    assert table == [[238, 12981, 109], [79, 4620, 61], [79, 4297, 40]]
    train = facts["train"]
    assert (train["shortest"], train["longest"]) == (24, 160)
    assert train["mean_length"] == pytest.approx(12981 / 238)
    assert train["notes_per_frame"] == pytest.approx(3.8705, abs=5e-5)


def test_rolls_are_binary_with_four_voices_at_most(chorales):
    for roll in rolls(chorales):
        assert roll.dtype == np.float64
        assert roll.ndim == 2
        assert roll.shape[1] == 88
        assert np.isin(roll, (0, 1)).all()
        assert roll.sum(axis=1).max() <= 4
    sounding = np.flatnonzero(sum(roll.sum(axis=0) for roll in rolls(chorales)))
    assert 21 + sounding.min() >= 36
    assert 21 + sounding.max() == 81


def test_a_known_chorale_opens_as_bach_wrote_it(chorales, pieces):
    # "Aus meines Herzens Grunde": G major, g' d' b G in the upbeat.
    part = pieces["bwv269"][1]
    same_part = [name for name in pieces if pieces[name][1] == part]
    roll = getattr(chorales, part)[same_part.index("bwv269")]
    assert (21 + np.flatnonzero(roll[0])).tolist() == [43, 59, 62, 67]


def test_silence_is_cut_at_both_ends(chorales):
    fine = load_chorales(4)
    for roll in rolls(fine):
        assert len(roll) % 4 == 0
        assert roll[:4].any()
        assert roll[-4:].any()


def test_coarser_grids_are_the_finer_ones_thinned(chorales):
    fine = rolls(load_chorales(4))
    assert sum(map(len, fine)) == 87592
    for frames_per_quarter in (1, 2):
        coarse = rolls(load_chorales(frames_per_quarter))
        for few, many in zip(coarse, fine, strict=True):
            np.testing.assert_array_equal(few, many[:: 4 // frames_per_quarter])


@pytest.mark.parametrize("frames", [0, 3, 8, -1, 1.5, "1"])
def test_other_grids_are_refused(frames):
    with pytest.raises(ValueError, match=r"frames_per_quarter is .*1, 2 or 4"):
        load_chorales(frames)


def test_no_work_and_no_tune_is_in_two_parts(pieces):
    parts_with = defaultdict(set)
    for name, (pitches, part) in pieces.items():
        assert part in PARTS
        parts_with[name.split(".")[0]].add(part)
        soprano = [int(pitch) for pitch in pitches[::4, 0] if pitch]
        for start in range(len(soprano) - 16):
            phrase = soprano[start : start + 17]
            tune = tuple(pitch - phrase[0] for pitch in phrase)
            parts_with[tune].add(part)
    torn = [key for key, parts in parts_with.items() if len(parts) > 1]
    assert torn == []


def test_no_piece_is_there_twice(pieces):
    seen = {}
    for name, (pitches, _) in pieces.items():
        lowest = pitches[pitches > 0].min()
        key = np.where(pitches > 0, pitches - lowest, -1).tobytes()
        assert seen.setdefault(key, name) == name


def test_a_set_is_frozen_and_prints_in_one_line(chorales):
    with pytest.raises(dataclasses.FrozenInstanceError):
        chorales.name = "other"
    assert len(repr(chorales)) < 120


def cells(*sequences):
    out = np.empty((1, len(sequences)), object)
    out[0] = [*sequences]
    return out


def write_mat(path, **replaced):
    """Write a small set with rolls of 3, 5, 4 and 6 frames; return them."""
    rng = np.random.default_rng(0)
    train = [rng.integers(0, 2, (n, 88), np.uint8) for n in (3, 5)]
    valid = [rng.integers(0, 2, (4, 88), np.uint8)]
    test = [rng.integers(0, 2, (6, 88), np.uint8)]
    content = {
        "traindata": cells(*train),
        "validdata": cells(*valid),
        "testdata": cells(*test),
    }
    content = {k: v for k, v in (content | replaced).items() if v is not None}
    scipy.io.savemat(path, content, do_compression=True)
    return train, valid, test


def test_reads_what_was_written(tmp_path):
    path = tmp_path / "JSB_Chorales.mat"
    expected = write_mat(path)
    read = load_polyphonic(path)
    assert isinstance(read, MusicSet)
    assert (read.name, read.source) == ("jsb", "JSB_Chorales.mat")
    for part, rolls_of_part in zip(PARTS, expected, strict=True):
        found = getattr(read, part)
        assert len(found) == len(rolls_of_part)
        for roll, wanted in zip(found, rolls_of_part, strict=True):
            assert roll.dtype == np.float64
            assert roll.flags.c_contiguous
            np.testing.assert_array_equal(roll, wanted)


def test_a_truncated_file_is_named_wherever_it_was_cut(tmp_path):
    whole, cut = tmp_path / "whole.mat", tmp_path / "cut.mat"
    write_mat(whole)
    data = whole.read_bytes()
    for size in (*range(0, 140, 7), *range(140, len(data), 29), len(data) - 1):
        cut.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"cut\.mat (is damaged|has no)"):
            load_polyphonic(cut)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "notes.mat"
    path.write_text("do re mi fa sol\n" * 40)
    with pytest.raises(ValueError, match=r"notes\.mat is damaged or not a MAT"):
        load_polyphonic(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mat"):
        load_polyphonic(tmp_path / "absent.mat")
    with pytest.raises(OSError, match=tmp_path.name):
        load_polyphonic(tmp_path)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"validdata": None}, "has no validdata, expected the cell arrays"),
        ({"testdata": np.ones((2, 88))}, r"testdata is an array \(2, 88\) of"),
        ({"traindata": cells()}, "traindata is an array"),
        ({"traindata": cells(np.ones((2, 88)), np.ones((3, 87)))},
         r"traindata\[1\] has shape \(3, 87\), expected \(n_time, 88\)"),
        ({"traindata": cells(np.ones((0, 88)))}, r"traindata\[0\] has shape"),
        ({"validdata": cells(np.full((2, 88), 2))}, r"validdata\[0\] holds"),
        ({"validdata": cells(np.full((2, 88), np.nan))}, "zeros and ones"),
        ({"validdata": cells("a" * 88)}, r"validdata\[0\] has shape"),
    ],
)  # fmt: skip
def test_wrong_content_is_named(tmp_path, replaced, message):
    path = tmp_path / "wrong.mat"
    write_mat(path, **replaced)
    with pytest.raises(ValueError, match=message) as caught:
        load_polyphonic(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_finds_the_canonical_files(tmp_path):
    for name in ("Piano_midi.mat", "JSB_Chorales.mat", "other.mat"):
        write_mat(tmp_path / name)
    assert find_polyphonic(tmp_path) == {
        "jsb": tmp_path / "JSB_Chorales.mat",
        "piano": tmp_path / "Piano_midi.mat",
    }
    one = tmp_path / "Piano_midi.mat"
    assert find_polyphonic(str(one)) == {"piano": one}
    other = tmp_path / "other.mat"
    assert find_polyphonic(other) == {"other": other}


def test_finding_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds none of JSB_Chorales"):
        find_polyphonic(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        find_polyphonic(tmp_path / "absent")


def repeat_last_frame(sequences):
    """Return TP / (TP + FP + FN), pooled, of predicting the frame before."""
    both = sum(np.sum(s[1:] * s[:-1]) for s in sequences)
    either = sum(np.sum(np.maximum(s[1:], s[:-1])) for s in sequences)
    return both / either


CANONICAL_FACTS = {
    # sequences, train frames, lengths, empty train frames, repeat last frame
    "jsb": ((229, 76, 77), 13807, (25, 60.3, 129), 18, 0.222),
    "muse": ((524, 135, 124), 245202, (9, 467.9, 3457), 12962, 0.382),
    "nottingham": ((694, 173, 170), 176561, (40, 254.4, 1788), 487, 0.649),
    "piano": ((87, 12, 25), 75911, (111, 872.5, 3857), 4917, 0.352),
}


@pytest.mark.skipif(
    "MSREF_MUSIC" not in os.environ,
    reason="set MSREF_MUSIC to the folder of the canonical .mat files",
)
@pytest.mark.parametrize("name", CANONICAL_FACTS)
def test_facts_of_the_canonical_sets(name):
    path = find_polyphonic(os.environ["MSREF_MUSIC"])[name]
    read = load_polyphonic(path)
    counts, frames, lengths, empty, accuracy = CANONICAL_FACTS[name]
    facts = read.describe()
    train = facts["train"]
    assert read.name == name
    assert tuple(facts[part]["sequences"] for part in PARTS) == counts
    assert train["frames"] == frames
    assert (train["shortest"], train["longest"]) == (lengths[0], lengths[2])
    assert train["mean_length"] == pytest.approx(lengths[1], abs=0.06)
    assert train["empty_frames"] == empty
    assert repeat_last_frame(read.test) == pytest.approx(accuracy, abs=5e-4)
