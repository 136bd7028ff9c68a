"""The script that rebuilds the embedded set, on scores of a few notes."""

import importlib.util
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_chorales.py"
NAMES = ("Soprano", "Alto", "Tenor", "Bass")


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_chorales", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def note(pitch, duration, inside=""):
    """Return a note such as "C4" or "F#4", or a rest "-"."""
    sounds = "<rest/>"
    if pitch != "-":
        alter = "<alter>1</alter>" if "#" in pitch else ""
        sounds = (
            f"<pitch><step>{pitch[0]}</step>{alter}"
            f"<octave>{pitch[-1]}</octave></pitch>"
        )
    if duration:
        sounds += f"<duration>{duration}</duration>"
    return f"<note>{inside}{sounds}</note>"


def part(*measures, divisions=4):
    attributes = f"<attributes><divisions>{divisions}</divisions></attributes>"
    body = "".join(f"<measure>{m}</measure>" for m in measures)
    return ElementTree.fromstring(
        f"<part>{body.replace('<measure>', '<measure>' + attributes, 1)}</part>"
    )


def score(parts):
    root = ElementTree.Element("score-partwise")
    names = ElementTree.SubElement(root, "part-list")
    for name, _ in parts:
        entry = ElementTree.SubElement(names, "score-part")
        ElementTree.SubElement(entry, "part-name").text = name
    root.extend(element for _, element in parts)
    return root


def piece(*sopranos):
    """Return pitches (n_time, 4) with one quarter per soprano pitch."""
    pitches = np.full((4 * len(sopranos), 4), 50, np.int8)
    pitches[:, 0] = np.repeat(sopranos, 4)
    return pitches


def test_notes_have_their_times_and_numbers(build):
    measures = (
        note("C4", 4),
        note("-", 2) + note("F#4", 0, "<grace/>") + note("F#3", 6),
        "<forward><duration>8</duration></forward>" + note("B2", 4),
    )
    notes, end = build.read_part(part(*measures))
    assert notes == [(0, 1, 60), (1.5, 3, 54), (5, 6, 47)]
    assert end == 6
    halved, _ = build.read_part(part(*measures, divisions=8))
    assert halved == [(0, 0.5, 60), (0.75, 1.5, 54), (2.5, 3, 47)]


def test_a_second_voice_is_refused(build):
    back = "<backup><duration>4</duration></backup>"
    for second in (back, note("E4", 4, "<chord/>")):
        with pytest.raises(ValueError, match="more than one voice"):
            build.read_part(part(note("C4", 4) + second))


def test_frames_hold_what_sounds_when_they_begin(build):
    # A frame lasts 4 of 16 divisions; D4 sounds between two frames.
    fast = note("C4", 5) + note("D4", 2) + note("E4", 9)
    voices = {name: part(note("A3", 16), divisions=16) for name in NAMES}
    voices["Alto"] = part(fast, divisions=16)
    voices["Horn 1"] = part(note("G5", 16), divisions=16)
    parts = sorted(voices.items(), key=lambda item: item[0] != "Horn 1")
    pitches = build.read_voices(score(parts))
    assert pitches[:, 1].tolist() == [60, 60, 64, 64]
    assert (pitches[:, [0, 2, 3]] == 57).all()


def test_only_four_voices_will_do(build):
    silent = part(note("-", 4))
    doubled = [(f"{name} Oboe", silent) for name in NAMES]
    assert build.read_voices(score(doubled)) is not None
    assert build.read_voices(score(doubled[:3])) is None
    five = [("Soprano 1", silent), ("Soprano 2", silent), *doubled[1:]]
    assert build.read_voices(score(five)) is None


def test_silence_is_cut_in_whole_quarters(build):
    pitches = np.zeros((20, 4), np.int8)
    pitches[6, 2] = pitches[13, 0] = 60
    np.testing.assert_array_equal(build.trim(pitches), pitches[4:16])


def test_copies_and_interludes_are_left_out(build):
    def sung(first, *rest):
        music = part(note(first, 4) + "".join(note(p, 4) for p in rest))
        return score([(name, music) for name in NAMES])

    scores = {
        "a": sung("C4", "D4"),
        "b": sung("C4", "D4"),
        "c": sung("E4", "F#4"),
        "d": sung("C4", "E4"),
        "e": sung("C4", "-", "D4", "G4"),
        "f": sung("C4", "-", "D4"),
    }
    assert list(build.select(scores)) == ["a", "d", "e"]


def test_families_share_a_number_or_a_tune(build):
    rng = np.random.default_rng(0)
    tunes = [rng.integers(60, 80, 20) for _ in range(4)]
    pieces = {
        "bwv1.1": piece(*tunes[0]),
        "bwv2": piece(*tunes[1]),
        "bwv1.5": piece(*tunes[2]),
        # 17 notes of the second tune, higher, with a rest in it.
        "bwv3": piece(72, 71, *tunes[1][:9] + 2, 0, *tunes[1][9:17] + 2, 60),
        "bwv4": piece(*tunes[3]),
        # 16 notes are 15 steps only.
        "bwv5": piece(*tunes[3][:16]),
        "bwv6": piece(*tunes[0][3:], *tunes[1][2:]),
    }
    assert sorted(build.families(pieces)) == [
        ["bwv1.1", "bwv1.5", "bwv2", "bwv3", "bwv6"],
        ["bwv4"],
        ["bwv5"],
    ]


def test_the_split_keeps_its_shares_whatever_the_order(build):
    rng = np.random.default_rng(0)
    pieces = {
        f"bwv{i // 3 if i < 9 else i}.{i}": piece(*rng.integers(60, 80, 20))
        for i in range(100)
    }
    parts = build.split(pieces)
    dealt = [list(parts.values()).count(p) for p in ("train", "valid", "test")]
    assert dealt == [60, 20, 20]
    assert build.split(dict(reversed(pieces.items()))) == parts


def test_another_wheel_is_refused(build, tmp_path):
    wheel = tmp_path / "music21-0.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"music21-0\.whl has SHA-256 .*expec"):
        build.read_scores(wheel)


@pytest.mark.skipif(
    "MSREF_MUSIC21_WHEEL" not in os.environ,
    reason="set MSREF_MUSIC21_WHEEL to the pinned wheel of music21",
)
def test_the_rebuilt_set_has_the_same_bytes(build, tmp_path):
    scores = build.read_scores(Path(os.environ["MSREF_MUSIC21_WHEEL"]))
    build.write(tmp_path / "chorales.npz", build.select(scores))
    rebuilt = (tmp_path / "chorales.npz").read_bytes()
    assert rebuilt == build.OUTPUT.read_bytes()
