"""The vectors' commands: what they print, where they write, how they end."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from msref import cli
from msref.vectors import catalogue, load, names, read
from msref.vectors.vector import files


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*args):
        monkeypatch.setattr(sys, "argv", ["msref", "vectors", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return command


def words(text):
    return " ".join(text.split())


# --- list and show ----------------------------------------------------------


def test_the_list_names_files_and_what_breaks(run):
    code, out, err = run("list", "lstm", "*/ragged")
    assert (code, err) == (0, "")
    for name in names(["lstm", "*/ragged"]):
        assert name in out
    assert "elman" not in out
    assert out.rstrip().endswith(" MB")


def test_the_list_as_json_holds_sizes_and_kills(run):
    code, out, _ = run("list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == names()
    for row in rows:
        vector = load(row["name"])
        paths = files(row["name"])
        assert row["bytes"] == sum(p.stat().st_size for p in paths)
        assert row["arrays"] == len(vector.arrays)
        assert row["n_time"] == vector.n_time
        assert row["flags"] == list(vector.manifest["flags"])
        kills = vector.manifest["kills"]
        assert row["kills"] == len(kills["variants"]) + len(kills["backward"])


def test_a_vector_is_explained(run):
    code, out, _ = run("show", "gru/cut-sequence")
    assert code == 0
    manifest = load("gru/cut-sequence").manifest
    told = words(out)
    said = [manifest["breaks"], manifest["architecture"]["call"]]
    said += [f"{k}: {v}" for k, v in manifest["flags"].items()]
    said += [f"{k}: {v}" for k, v in manifest["conventions"].items()]
    said += [e["text"] for e in manifest["equations"]]
    said += [e["text"] for e in manifest["adjoint_equations"]]
    for text in said:
        assert words(text) in told
    for name in load("gru/cut-sequence").arrays:
        assert f"\n{name} " in out


def test_the_manifest_as_json(run):
    code, out, _ = run("show", "gru/basic", "--json")
    assert code == 0
    assert json.loads(out) == load("gru/basic").manifest


def test_one_array_is_printed_with_all_digits(run):
    array = load("elman/basic").arrays["trace/h"]
    _, out, _ = run("show", "elman/basic", "--array", "trace/h")
    assert out.startswith("trace/h (6, 2, 5)")
    numbers = out.partition("\n")[2].replace("[", " ").replace("]", " ")
    printed = np.array([float(word) for word in numbers.split()])
    np.testing.assert_array_equal(printed, array.ravel())
    _, out, _ = run("show", "elman/basic", "--array", "trace/h", "--json")
    told = json.loads(out)
    np.testing.assert_array_equal(np.array(told["values"]), array)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["show", "gru/bacis"], "did you mean gru/"),
        (["show", "gru/basic", "--array", "h"], "has no array 'h', expected"),
        (["list", "nothing/*"], "is no vector of msref"),
        (["write", "gru"], "either --out FOLDER or --regenerate"),
        (["check", "gru/x"], "is no vector of msref"),
        (["compare", "gru/bacis", "missing.npz"], "did you mean gru/"),
        (["compare", "gru/basic", "missing.npz"], "does not exist"),
        (["compare", "gru/basic", "x.npz", "--map", "h"], "NAME=REFERENCE"),
    ],
)
def test_wrong_input_ends_in_one_line(run, args, message):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


# --- write and check --------------------------------------------------------


def test_copies_are_written(run, tmp_path):
    folder = tmp_path / "new" / "folder"
    code, out, _ = run("write", "elman/b*", "brc/one-step", "--out", folder)
    assert code == 0
    wanted = names(["elman/b*", "brc/one-step"])
    assert out == f"{len(wanted)} vectors in {folder}\n"
    for name in wanted:
        here, there = files(name), files(name, folder)
        for one, two in zip(here, there, strict=True):
            assert one.read_bytes() == two.read_bytes()
        assert read(folder / name).name == name


@pytest.mark.parametrize("form", ["npz", "json"])
def test_copies_in_other_formats(run, tmp_path, form):
    code, _, _ = run(
        "write", "brc/one-step", "--out", tmp_path, "--format", form
    )
    assert code == 0
    assert (tmp_path / "brc" / f"one-step.{form}").is_file()


def test_another_format_is_refused(run, tmp_path):
    code, _, err = run("write", "brc", "--out", tmp_path, "--format", "pkl")
    assert code == 2
    assert "expected one of safetensors, npz, json" in err


def test_the_packages_files_are_made_anew_in_place(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        catalogue.write_all, "__defaults__", (tmp_path,), raising=True
    )
    code, _, _ = run("write", "linear/one-step", "--regenerate")
    assert code == 0
    here, there = files("linear/one-step"), files("linear/one-step", tmp_path)
    for one, two in zip(here, there, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_check_says_how_much_it_made_anew(run):
    code, out, err = run("check", "linear", "dropout")
    wanted = names(["linear", "dropout"])
    assert (code, err) == (0, "")
    assert out == f"{len(wanted)} vectors made anew: the same to the byte\n"


def test_check_ends_in_one_where_something_differs(run, monkeypatch):
    real = catalogue.expected

    def off(*args):
        found = real(*args)
        found.arrays["y"][0, 0, 0] += 1.0
        return found

    monkeypatch.setattr(catalogue, "expected", off)
    code, out, _ = run("check", "linear/one-step")
    assert code == 1
    assert "linear/one-step: y is " in out
    code, out, _ = run("check", "linear/one-step", "--json")
    told = json.loads(out)
    assert code == 1
    assert not told["ok"]
    assert told["checked"] == 1
    assert any("y is " in line for line in told["differences"])


# --- compare ----------------------------------------------------------------


def candidate(path, name, **changed):
    path.parent.mkdir(parents=True, exist_ok=True)
    expected = load(name).expected()
    save_file(
        {k: changed.get(k, lambda v: v)(v) for k, v in expected.items()}, path
    )


def test_a_right_port_ends_in_zero_a_wrong_one_in_one(run, tmp_path):
    candidate(tmp_path / "right.safetensors", "gru/basic")
    candidate(tmp_path / "wrong.safetensors", "gru/basic", y=lambda y: 2 * y)
    right = ["compare", "gru/basic", tmp_path / "right.safetensors"]
    wrong = ["compare", "gru/basic", tmp_path / "wrong.safetensors"]
    code, out, _ = run(*right)
    assert code == 0
    assert out
    code, out, _ = run(*wrong, "--no-diagnose")
    assert code == 1
    assert "first divergence: y at t=0" in out
    code, out, _ = run(*wrong, "--no-diagnose", "--json")
    assert code == 1
    assert isinstance(json.loads(out), dict)


def test_a_reference_may_be_a_file_of_the_reader(run, tmp_path):
    run("write", "brc/one-step", "--out", tmp_path)
    candidate(tmp_path / "mine.safetensors", "brc/one-step")
    for suffix in ("", ".safetensors", ".json"):
        reference = tmp_path / "brc" / f"one-step{suffix}"
        code, _, _ = run("compare", reference, tmp_path / "mine.safetensors")
        assert code == 0


def test_arrays_may_have_other_names(run, tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, output=load("brc/one-step").arrays["y"])
    code, _, err = run("compare", "brc/one-step", path)
    assert code == 2
    assert "output" in err
    code, _, _ = run("compare", "brc/one-step", path, "--map", "output=y")
    assert code == 0


def test_folders_are_compared_file_by_file(run, tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for name in ("brc/one-step", "brc/one-row"):
        candidate(mine / f"{name}.safetensors", name)
    run("write", "brc", "--out", theirs)
    for reference in ("brc", "*", theirs):
        code, out, _ = run("compare", reference, mine, "--json")
        assert code == 0
        assert len(json.loads(out)) == 2
    code, out, _ = run("compare", theirs, mine)
    assert code == 0
    assert "2 of 12 vectors compared; no candidate for brc/basic" in words(out)
    candidate(mine / "brc/bias.safetensors", "brc/bias", y=lambda y: -y)
    code, out, _ = run("compare", "brc", mine, "--no-diagnose")
    assert code == 1
    code, _, err = run("compare", "gru", mine)
    assert code == 2
    assert "such as gru/basic.npz" in err
    code, _, err = run("compare", "brc", mine, "--figure", tmp_path / "x.png")
    assert code == 2
    assert "--figure shows one vector" in err


def test_a_candidate_under_a_misspelt_name_is_not_passed_over(run, tmp_path):
    candidate(tmp_path / "brc/one-step.safetensors", "brc/one-step")
    (tmp_path / "report.json").write_text("{}")  # no candidate, no harm
    (tmp_path / "gru").mkdir()
    (tmp_path / "gru/bais.json").touch()  # not asked for
    code, out, _ = run("compare", "brc", tmp_path)
    assert code == 0
    assert "1 of 12 vectors compared" in out
    (tmp_path / "brc/one-rwo.json").touch()
    code, _, err = run("compare", "brc", tmp_path)
    assert code == 2
    assert "did you mean brc/one-row" in words(err)


def test_of_a_crowded_folder_some_names_are_enough(run, tmp_path):
    for k in range(1000):
        (tmp_path / f"{k}.json").touch()
    code, _, err = run("compare", "brc", tmp_path)
    assert code == 2
    assert "and 992 more" in words(err)
    assert len(err) < 500
