"""The data commands: what is here, what is fetched, what goes wrong."""

import json
import sys
from pathlib import Path

import pytest

from msref import cli
from msref.data import PACKAGED, packages

sys.path.insert(0, str(Path(__file__).parent / "data"))
import made_up


def run(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["msref", "data", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.fixture
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MSREF_DATA", str(folder))
    return folder


@pytest.fixture
def links(monkeypatch, tmp_path):
    """Two made-up data sets, and a folder for the wheel of one of them."""
    folder = tmp_path / "links"
    made_up.offline(monkeypatch, folder)
    here = made_up.packaged()
    lost = made_up.packaged(name="lost", member="made_up/lost.dat")
    table = {entry.name: entry for entry in (here, lost)}
    monkeypatch.setattr(packages, "PACKAGED", table)
    return folder


def test_the_list_names_package_licence_and_place(cache, monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "list")
    assert (code, err) == (0, "")
    for entry in PACKAGED.values():
        assert entry.name in out
        assert entry.requirement in out
        assert f"{entry.size:,}" in out
    assert out.count("absent") == len(PACKAGED)
    assert out.splitlines()[-1] == f"kept in {cache}"
    assert not cache.exists()  # to look is not to write


def test_the_list_as_json(cache, links, monkeypatch, capsys):
    path = cache / "made-up-1.0" / "some.dat"
    path.parent.mkdir(parents=True)
    states = {}
    for data in (made_up.DATA, b"half"):
        path.write_bytes(data)
        code, out, err = run(monkeypatch, capsys, "list", "--json")
        assert (code, err) == (0, "")
        here, lost = json.loads(out)
        states[data] = here["state"]
        assert here["path"] == str(path)
        assert here["package"] == "made-up==1.0"
        assert here["size"] == len(made_up.DATA)
        assert lost["state"] == "absent"
    assert states == {made_up.DATA: "whole", b"half": "damaged"}


def test_fetch_prints_a_path_and_another_folder_is_another_place(
    cache, links, tmp_path, monkeypatch, capsys
):
    made_up.wheel(links)
    other = tmp_path / "other"
    args = ("fetch", "made-up", "--folder", other)
    code, out, err = run(monkeypatch, capsys, *args)
    path = other / "made-up-1.0" / "some.dat"
    assert (code, out, err) == (0, f"made-up  {path}\n", "")
    assert path.read_bytes() == made_up.DATA
    assert not cache.exists()


def test_what_was_fetched_stays_when_the_next_one_fails(
    cache, links, monkeypatch, capsys
):
    made_up.wheel(links)
    code, out, err = run(monkeypatch, capsys, "fetch")
    assert code == 2
    path = cache / "made-up-1.0" / "some.dat"
    assert out == f"made-up  {path}\n"
    assert path.read_bytes() == made_up.DATA
    (line,) = err.splitlines()
    assert line.startswith("msref: made_up-1.0-py3-none-any.whl has no made_up")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["fetch", "nope"],
            "no data set 'nope', expected one of spoken-digits",
        ),
        (["fetch", "--folder"], "--folder"),
        (["fetch", "mnist-5k", "--folder", "/dev/null/x"], "/dev/null/x"),
        (["nope"], "nope"),
    ],
)
def test_wrong_input_ends_in_one_line(cache, monkeypatch, capsys, args, words):
    code, out, err = run(monkeypatch, capsys, *args)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("msref: ")
    assert words in line
