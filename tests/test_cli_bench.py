"""``msref bench`` from the command line."""

import json
import sys
from pathlib import Path

import pytest

import msref.bench
from msref import cli

sys.path.insert(0, str(Path(__file__).parent / "bench"))
import small_suite


def run(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["msref", "bench", *map(str, args)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.fixture
def log(monkeypatch, tmp_path):
    log = []
    suites = {"toy": small_suite.suite(log)}
    monkeypatch.setattr(msref.bench, "SUITES", suites)
    monkeypatch.chdir(tmp_path)
    return log


def test_it_prints_rows_goals_and_notes(log, monkeypatch, capsys, tmp_path):
    code, out, _ = run(monkeypatch, capsys)
    assert code == 0
    assert log == [1, 2, 3]
    assert "toy 2" in out
    assert "CPU time, 1 thread, cpu" in out
    assert "missed: ours / peer, worst of 3 cases: 1.5 (at most 1)" in out
    assert "away: away is not installed (toy 1)" in out
    assert not list(tmp_path.iterdir())


def test_json_is_what_the_files_hold(log, monkeypatch, capsys):
    code, out, _ = run(
        monkeypatch, capsys, "toy", "--json", "--scale=full", "--out=found"
    )
    assert code == 0
    (told,) = json.loads(out)
    where = Path("found") / "toy-full"
    assert told == json.loads((where / "result.json").read_text())
    assert len(told["rows"]) == 4
    assert (where / "table.md").is_file()
    assert (where / "ratios.png").is_file()


def test_only_some_cases(log, monkeypatch, capsys):
    code, _, _ = run(monkeypatch, capsys, "--only", "TOY n_hid=3")
    assert code == 0
    assert log == [3]


WRONG = {
    "unknown suite": (["nope"], "there is no suite 'nope', expected one of"),
    "unknown scale": (["--scale=huge"], "scale is 'huge'"),
    "no time": (["--seconds=-1"], "seconds is -1.0"),
    "no threads": (["--threads=0"], "--threads"),
    "no such device": (["--device=tpu"], "device is 'tpu'"),
    "no such case": (["--only=nope"], "no suite has a case with 'nope'"),
    "target is no folder": (["--out=/dev/null/bench"], "/dev/null"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_line(what, log, monkeypatch, capsys):
    args, part = WRONG[what]
    code, out, err = run(monkeypatch, capsys, *args)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("msref: ")
    assert part in err
    assert not log
