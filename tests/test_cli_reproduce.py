"""Wrong input ends in one line and exit code 2, and leaves nothing behind."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

import msref.claims
from msref import cli

sys.path.insert(0, str(Path(__file__).parent / "claims"))
import small_paper


def run(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["msref", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.fixture
def small(monkeypatch, tmp_path):
    paper = small_paper.paper(tmp_path / "log")
    monkeypatch.setattr(msref.claims, "PAPERS", {"small": paper})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "small-quick"


def test_it_prints_claims_and_says_where_the_numbers_are(
    small, monkeypatch, capsys
):
    code, out, _ = run(monkeypatch, capsys, "reproduce", "small", "--workers=1")
    assert code == 0
    assert "(a) holds: squares add up" in out
    assert "28" in out
    assert (small / "result.json").is_file()
    code, out, _ = run(monkeypatch, capsys, "reproduce", "--workers=1")
    assert "8 of 8 jobs were finished before" in out


def test_json_is_the_result_file(small, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "reproduce", "--json", "--seeds=1")
    assert code == 0
    told = json.loads(out)
    assert told == [json.loads((small / "result.json").read_text())]
    assert told[0]["seeds"] == [0]


WRONG = {
    "unknown paper": (["nope"], "there is no paper 'nope'"),
    "unknown scale": (["--scale=huge"], "scale is 'huge'"),
    "no seeds": (["--seeds=0"], "--seeds"),
    "unknown option": (["--nope"], "--nope"),
    "no such data": (["--data=nope.mat"], "nope.mat"),
    "data for none": (
        ["mslmn", "--data=nope.mat"],
        "mslmn has data of its own",
    ),
    "target is no folder": (["--out=/dev/null/runs"], "/dev/null"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_line(what, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    args, part = WRONG[what]
    code, out, err = run(monkeypatch, capsys, "reproduce", *args)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("msref: ")
    assert part in err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("scale", ["quick", "full"])
@pytest.mark.parametrize(
    "content", [b"", b"not a matrix", b"MATLAB 5.0 MAT-file" + b"\0" * 400]
)
def test_damaged_data_stops_before_any_job(
    scale, content, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    Path("JSB_Chorales.mat").write_bytes(content)
    code, _, err = run(
        monkeypatch,
        capsys,
        "reproduce",
        "--data=JSB_Chorales.mat",
        f"--scale={scale}",
    )
    assert code == 2
    assert err.count("\n") == 1
    assert "JSB_Chorales.mat" in err
    assert not list(tmp_path.rglob("*.json"))


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    small, monkeypatch, capsys
):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run(monkeypatch, capsys, "reproduce", "--workers=1")
    assert code == 2
    assert "No space left on device" in err
    assert err.count("\n") == 1
    left = [p.name for p in small.rglob("*") if p.is_file()]
    assert not [name for name in left if name.endswith((".json", ".part"))]


def test_a_read_only_folder_is_named(small, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    code, _, err = run(monkeypatch, capsys, "reproduce")
    assert code == 2
    assert "cannot be written to" in err
    assert not list(small.rglob("*.json"))
