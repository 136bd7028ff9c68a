"""The verify command: exit codes, one-line errors, JSON, planted bugs."""

import io
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from msref.architectures import REGISTRY
from msref.cli import main

READER = Path(__file__).parent / "verification" / "mgu.py"


def shell(*args, **environment):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from msref.cli import main; main()", *args],
        env=os.environ | {"COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def msref(*args):
    """Run the same command in this process: faster."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["msref", *args])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
    return subprocess.CompletedProcess(
        args, code, out.getvalue(), err.getvalue()
    )


def assert_one_line(done, *words):
    """Expect exit code 2 and one line that says what is wrong."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("msref: ")
    for word in words:
        assert word in lines[0]


# --- right and wrong networks -----------------------------------------------


def test_a_right_network_ends_in_zero():
    done = shell("verify", "elman", "--cases", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for example in REGISTRY["elman"].examples:
        assert repr(example) in done.stdout
    assert done.stdout.count("PASS") == 2
    assert "FAIL" not in done.stdout


def test_a_wrong_network_ends_in_one_and_says_where():
    name = f"{READER}:MGU(3, 5, 'wrong gate')"
    done = shell("verify", name, "--cases", "2")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "where it goes wrong" in done.stdout
    assert "(gate f) at t=3" in done.stdout


def test_one_wrong_network_among_right_ones_ends_in_one():
    done = msref(
        "verify", "elman", f"{READER}:MGU(3, 5, 'off by one')", "--cases=1"
    )
    assert done.returncode == 1
    assert done.stdout.count("PASS ") > done.stdout.count("FAIL ") > 0


def test_all_of_the_registry_without_a_name():
    done = msref("verify", "--cases", "1", "--json")
    assert done.returncode == 0
    names = [report["name"] for report in json.loads(done.stdout)["reports"]]
    expected = [repr(a) for e in REGISTRY.values() for a in e.examples]
    assert names == expected


def test_float32_and_seed_reach_the_check():
    done = msref(
        *("verify", "lmn", "--dtype", "float32", "--seed", "40", "--json"),
        *("--cases", "2"),
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["dtype"] == "float32"
    assert 1e-9 < told["relative_error"] < 1e-4
    assert {r["command"] for r in told["reports"]} == {"seeds 40..41"}


def test_verbose_shows_a_row_per_array():
    brief, long = (
        msref("verify", "elman", "--cases=1", *more).stdout
        for more in ([], ["-v"])
    )
    assert "grads/W_hh" in long
    assert "grads/W_hh" not in brief


# --- JSON -------------------------------------------------------------------


def test_json_carries_verdict_error_and_rows():
    done = msref("verify", "gru", "--cases", "2", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert 0 < told["relative_error"] <= 1e-12
    assert len(told["reports"]) == len(REGISTRY["gru"].examples)
    for report in told["reports"]:
        assert report["ok"] is True
        assert report["verdict"] == "PASS"
        assert report["cases"] == 2
        rows = {row["array"]: row for row in report["rows"]}
        assert {"y", "dx", "grads/W_xr", "dstate0/h"} <= set(rows)
        for witness in ("autograd", "complex step"):
            assert rows["grads/W_xr"]["relative_error"][witness] <= 1e-12


@pytest.mark.parametrize("bug", ["wrong gate", "not finite"])
def test_json_of_a_wrong_network_is_still_json(bug):
    name = f"{READER}:MGU(3, 5, {bug!r})"
    done = msref("verify", name, "--cases", "1", "--json")
    assert done.returncode == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    told = json.loads(done.stdout, parse_constant=refuse)
    assert told["ok"] is False
    (report,) = told["reports"]
    assert report["verdict"] == {"not finite": "NAN"}.get(bug, "FAIL")
    wrong = [r["array"] for r in report["rows"] if r["verdict"] != "PASS"]
    assert "grads/b_f" in wrong
    assert report["placement"]["gate"] == "f"


# --- power ------------------------------------------------------------------


def test_power_ends_in_zero_and_tells_the_share():
    done = msref("verify", "elman", "--power")
    assert done.returncode == 0, done.stdout
    share = re.search(r"(\d+) of (\d+) planted bugs\s+caught", done.stdout)
    assert share[1] == share[2]
    assert int(share[1]) > 40
    assert "truncated BPTT" in done.stdout
    assert "MISSED" not in done.stdout


def test_power_as_json():
    done = msref("verify", "lmn", "--power", "--json", "--cases", "1")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["caught"] == told["planted"] > 60
    assert len(told["kinds"]) >= 12
    assert [n["missed"] for n in told["networks"]] == [[], []]


def test_power_of_half_a_network_is_refused():
    assert_one_line(
        msref("verify", f"{READER}:WithoutBackward", "--power"), "no backward"
    )


# --- wrong input ------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["lstmm"], ("'lstmm'", "expected one of elman, lstm")),
        (["elman", "--dtype", "float16"], ("'float16'", "float64 or float32")),
        (["gone.py:A"], ("gone.py does not exist",)),
        ([f"{READER}:Gone"], ("no 'Gone'", "MGU")),
        ([f"{READER}:MGU("], ("expected CLASS",)),
        ([f"{READER}:MGU()"], ("n_in",)),
        ([f"{READER}:MGU(0, 5)"], ()),
        ([f"{READER}:replace"], ()),
    ],
)
def test_wrong_input_ends_in_two_and_one_line(args, words):
    assert_one_line(msref("verify", *args), *words)


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--cases", "-1"], "--cases"),
        (["--cases", "0"], "--cases"),
        (["--cases", "many"], "--cases"),
        (["--seed", "-5"], "--seed"),
        (["--fast"], "--fast"),
    ],
)
def test_wrong_options_end_in_two_and_one_line(args, word):
    assert_one_line(msref("verify", "elman", *args), word)


def test_wrong_input_ends_the_process_in_two_and_one_line():
    assert_one_line(shell("verify", "lstmm"), "'lstmm'")
    assert_one_line(shell("verify", "elman", "--cases", "-1"), "--cases")


def test_a_network_that_crashes_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(READER.parent)!r})\n"
        "from mgu import MGU\n"
        "class Mine(MGU):\n"
        "    def backward(self, params, tape, dy, dstate=None):\n"
        "        return 1 / 0\n"
    )
    done = shell("verify", f"{path}:Mine")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "mine.py:Mine raised ZeroDivisionError: division by zero" in line
    assert "(line 6: return 1 / 0)" in line
    done = shell("verify", f"{path}:Mine", MSREF_TRACEBACK="1")
    assert "Traceback" in done.stderr


def test_a_network_that_lacks_something_is_one_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    n_in = 3\n    n_out = 5\n")
    assert_one_line(msref("verify", f"{path}:Mine"), "Mine has no init")
    path.write_text("class Mine(:\n")
    assert_one_line(msref("verify", f"{path}:Mine"), "line 1 is no Python")
    path.write_text("import no_such_module_at_all\n")
    assert_one_line(msref("verify", f"{path}:Mine"), "no_such_module_at_all")


def test_half_a_network_is_checked_as_far_as_it_goes():
    done = msref("verify", f"{READER}:WithoutBackward", "-v", "--cases=1")
    assert done.returncode == 0
    assert "no backward: no gradient is checked" in done.stdout
    done = msref("verify", f"{READER}:Bare", "--cases=1")
    assert done.returncode == 1
    assert "UNDECIDED" in done.stdout
    assert "there is no forward" in done.stdout
    assert "Traceback" not in done.stderr


def test_version_and_help():
    assert msref("--version").stdout.strip() == f"msref {version('msref')}"
    done = msref("verify", "--help")
    assert done.returncode == 0
    for option in ("--cases", "--seed", "--dtype", "--power", "--json"):
        assert option in done.stdout
