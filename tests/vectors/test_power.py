"""Each file is worth what it reveals; together they reveal everything."""

import importlib.util
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from msref import cli
from msref.architectures import REGISTRY
from msref.vectors import onnx_power as onnx
from msref.vectors.backward import ADVICE, backward_keys, wrong_backwards
from msref.vectors.catalogue import load, names
from msref.vectors.power import kills, markdown, survivors, table
from msref.vectors.variants import run_variant, variants
from msref.vectors.vector import Vector
from msref.verification.mutants import mutants

has_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None,
    reason="needs onnx: pip install 'msref[ports]'",
)


def told(vector):
    return set(vector.manifest["kills"]["variants"])


@pytest.mark.parametrize(
    "name", ["elman/basic", "gru/one-step", "brc/basic-2", "batchnorm/basic"]
)
def test_a_manifest_says_what_its_file_reveals(name):
    vector = load(name)
    assert vector.manifest["kills"] == kills(vector)


def test_all_mistakes_of_all_architectures_are_revealed():
    left = survivors(table())
    assert set(left) == set(REGISTRY)
    assert {arch: keys for arch, keys in left.items() if keys} == {}


@pytest.mark.parametrize("arch", ["lstm", "gru", "elman"])
def test_the_cells_that_everybody_ports_are_revealed_by_their_basic_file(arch):
    vector = load(f"{arch}/basic")
    missed = {v.key for v in variants(vector.arch)} - told(vector)
    assert missed == set()


def test_a_file_that_reveals_little_is_counted_so():
    """One step without a state sees no recurrence."""
    vector = load("lstm/one-step")
    zeros = {
        k: np.zeros_like(v) if k.startswith("state0/") else v
        for k, v in vector.arrays.items()
    }
    blind = Vector(vector.name, vector.manifest, zeros)
    blind.arrays.update(run_variant(blind))
    found = set(kills(blind)["variants"])
    assert "W_hi transposed" not in found
    assert "initial state ignored" not in found
    assert "gates i and f swapped" in found


def test_the_table_counts_every_mistake_once():
    for power in table(["gru"]):
        network = REGISTRY[power.arch].examples[power.example]
        n = len(variants(network)) + len(backward_keys(network))
        assert len(set(power.mistakes)) == len(power.mistakes) == n
        assert power.killed <= set(power.mistakes)
        assert set(power.by_file) <= set(names(["gru"]))
        assert power.survivors == ()


def test_a_mistake_that_no_file_reveals_would_survive():
    (first, *_) = table(["elman"])
    more = (*first.mistakes, "an invisible mistake")
    blind = replace(first, mistakes=more)
    assert blind.survivors == ("an invisible mistake",)
    assert survivors([blind]) == {"elman": ["an invisible mistake"]}


@pytest.mark.parametrize(
    "arch", [a for e in REGISTRY.values() for a in e.examples[:1]], ids=repr
)
def test_every_kind_of_wrong_backward_pass_has_an_advice(arch):
    kinds = {m.kind for m in mutants(arch) if m.pass_ == "backward"}
    assert kinds <= set(ADVICE)


def test_a_single_step_is_cut_by_nothing():
    kinds = {bug.kind for bug in wrong_backwards(load("gru/one-step"))}
    assert "truncated BPTT" not in kinds
    assert "wrong gate" in kinds


def test_the_table_can_be_printed():
    text = markdown(table(["elman", "gru"]))
    lines = text.splitlines()
    assert any(line.startswith("| elman ") for line in lines)
    assert any("gru/basic" in line for line in lines)
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert widths == {6, 7}


# --- ONNX's own vectors -----------------------------------------------------


@has_onnx
def test_onnx_s_own_vectors_are_measured_the_same_way():
    found = {power.operator: power for power in onnx.onnx_power()}
    assert set(found) == {"RNN", "GRU", "LSTM"}
    for power in found.values():
        assert len(power.cases) >= 6
        assert set(power.survivors) < set(power.mistakes)
    assert "initial state ignored" in found["LSTM"].survivors
    assert "gates i and f swapped" in found["LSTM"].survivors
    assert "recurrent weights transposed" in found["GRU"].survivors
    assert len(found["LSTM"].survivors) > len(found["LSTM"].mistakes) / 2
    text = markdown(table(["lstm"]), list(found.values()))
    assert "ONNX" in text


def test_without_onnx_it_says_what_is_missing(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(onnx.importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"msref\[ports\]"):
        onnx.onnx_power()


# --- the command ------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*args):
        words = ["msref", "vectors", "power", *map(str, args)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return command


def test_the_command_prints_the_tables_and_ends_well(run, tmp_path):
    code, out, _ = run("lstm")
    assert code == 0
    assert out == markdown(table(["lstm"])) + "\n"
    path = tmp_path / "power.md"
    code, out, _ = run("lstm", "--markdown", path)
    assert (code, out) == (0, "")
    assert path.read_text() == markdown(table(["lstm"]))


def test_the_command_measures_anew_and_prints_json(run):
    code, out, _ = run("linear", "--measure", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["survivors"] == {"linear": []}
    network = told["networks"][0]
    said = load("linear/basic").manifest["kills"]
    expected = {
        *said["variants"],
        *(f"backward: {k}" for k in said["backward"]),
    }
    assert set(network["by_file"]["linear/basic"]) == expected


def test_a_survivor_ends_the_command_with_one(run, monkeypatch):
    (first, *_) = table(["linear"])
    blind = replace(first, mistakes=(*first.mistakes, "never seen"))
    monkeypatch.setattr(
        "msref.vectors.power.table", lambda *args, **options: [blind]
    )
    code, out, _ = run("linear")
    assert code == 1
    assert "linear: no file reveals never seen" in out
