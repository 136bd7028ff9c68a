"""``msref port`` as people call it."""

import dataclasses
import json
import re

import numpy as np
import pytest
from portable import parameters
from typer.testing import CliRunner

from msref.architectures import GRU, LSTM, Bidirectional, Elman
from msref.cli import app
from msref.files import read_arrays, write_arrays
from msref.ports import FRAMEWORKS, HINTS, check


def msref(*args):
    return CliRunner().invoke(app, ["port", *map(str, args)])


def as_json(*args):
    done = msref(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def error_of(*args):
    done = msref(*args)
    assert done.exit_code != 0
    return str(done.exception)


@pytest.fixture
def weights(tmp_path):
    """A GRU of PyTorch in a file."""
    path = tmp_path / "gru.safetensors"
    arrays, _ = FRAMEWORKS["torch"].export(GRU(3, 5), parameters(GRU(3, 5), 0))
    write_arrays(path, arrays)
    return path


def test_weights_are_converted_into_a_file(weights, tmp_path):
    out = tmp_path / "keras.safetensors"
    told = as_json(weights, "--from", "torch", "--to", "keras", "--out", out)
    assert told["network"] == repr(GRU(3, 5))
    assert told["arrays"]["gru/gru_cell/bias"] == [2, 15]
    assert "for keras.layers.GRU(5)" in told["notes"]
    written, _ = read_arrays(out)
    expected, _ = FRAMEWORKS["keras"].export(
        GRU(3, 5), parameters(GRU(3, 5), 0)
    )
    assert set(written) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(written[name], array)


def test_without_a_file_the_arrays_are_shown(weights):
    done = msref(weights, "--from", "torch", "--to", "onnx")
    assert done.exit_code == 0
    assert "(1, 15, 5)" in done.stdout
    assert "linear_before_reset=1" in done.stdout


def test_long_names_are_shown_whole(tmp_path):
    path, both = (
        tmp_path / "two.safetensors",
        Bidirectional(LSTM(3, 5), LSTM(3, 5)),
    )
    write_arrays(path, parameters(both, 0))
    done = msref(path, "--from", "msref", "--to", "keras")
    assert "…" not in done.stdout
    shown = "".join(line.split(" ")[0] for line in done.stdout.splitlines())
    assert "bidirectional/forward_lstm/lstm_cell/recurrent_kernel" in shown


def test_hints_and_layers_are_passed_on(tmp_path):
    path = tmp_path / "rnn.npz"
    arch = Elman(3, 5, activation="relu")
    arrays, _ = FRAMEWORKS["keras"].export(arch, parameters(arch, 0))
    np.savez(path, **arrays)
    way = ("--from", "keras", "--to", "torch")
    assert "hint activation=tanh|relu" in error_of(path, *way)
    hint = ("--hint", "activation=relu", "--layer", "RNNCell")
    told = as_json(path, *way, *hint)
    assert told["network"] == repr(arch)
    assert set(told["arrays"]) == {
        "weight_ih",
        "weight_hh",
        "bias_ih",
        "bias_hh",
    }


def test_gradients_of_two_biases_are_not_summed(tmp_path):
    arch = LSTM(3, 5)
    arrays, _ = FRAMEWORKS["torch"].export(arch, parameters(arch, 0))
    arrays["bias_hh_l0"] = arrays["bias_ih_l0"]  # as gradients are: equal
    path, out = tmp_path / "grads.safetensors", tmp_path / "ours.safetensors"
    write_arrays(path, arrays)
    way = (path, "--from", "torch", "--gradients", "--to")
    as_json(*way, "msref", "--out", out)
    ours, _ = read_arrays(out)
    np.testing.assert_array_equal(ours["b_i"], arrays["bias_ih_l0"][:5])
    assert "expected msref with --gradients" in error_of(*way, "keras")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "expected a file of weights, --from and --to"),
        (("w.npz", "--from", "torch"), "expected a file of weights"),
        (("--conventions", "--check"), "expected one"),
        (("--conventions", "tensor"), "no framework 'tensor'"),
        (("--conventions", "--from", "torch"), "got --from with --conventions"),
        (("--check", "--out", "w.safetensors"), "got --out with --check"),
        (("--check", "cudnn"), "'cudnn' is not run, expected some of torch"),
    ],
)
def test_what_makes_no_sense_is_refused(args, said):
    assert said in error_of(*args)


def test_files_that_are_none_are_refused(weights, tmp_path):
    way = ("--from", "torch", "--to", "keras")
    assert "nowhere" in error_of(tmp_path / "nowhere.npz", *way)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes()[:100])
    assert "broken.safetensors" in error_of(broken, *way)
    out = tmp_path / "out.h5"
    assert "expected a .safetensors" in error_of(weights, *way, "--out", out)
    assert "expected name=value" in error_of(weights, *way, "--hint", "reset")


def test_the_examples_of_the_help_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "check", lambda *args, **options: [])
    rnn, lstm = Elman(3, 5, activation="relu"), LSTM(3, 5)
    torch, _ = FRAMEWORKS["torch"].export(lstm, parameters(lstm, 0))
    keras, _ = FRAMEWORKS["keras"].export(rnn, parameters(rnn, 0))
    write_arrays("lstm.safetensors", torch)
    np.savez("model.npz", **{f"encoder.rnn.{k}": v for k, v in torch.items()})
    lists = {k: v.tolist() for k, v in keras.items()}
    (tmp_path / "rnn.json").write_text(json.dumps(lists))
    shown = msref("--help").stdout
    lines = [line.split() for line in shown.splitlines()]
    examples = [line[2:] for line in lines if line[:2] == ["msref", "port"]]
    assert len(examples) == 5
    for example in examples:
        done = msref(*example)
        assert done.exit_code == 0, (example, done.exception)
    assert (tmp_path / "k.safetensors").exists()


def test_the_help_names_every_hint():
    shown = " ".join(msref("--help").stdout.split())
    for hint in {*HINTS, *(h for p in FRAMEWORKS.values() for h in p.hints)}:
        assert re.search(rf"\b{hint}\b", shown.partition("--hint <")[2])
    for key in FRAMEWORKS:
        assert re.search(rf"\b{key}\b", shown.partition("--from <")[2])


def test_the_file_that_is_read_is_not_written_over(weights, tmp_path):
    before = weights.read_bytes()
    way = (weights, "--from", "torch", "--to", "keras", "--out")
    same = tmp_path / "sub" / ".." / weights.name
    same.parent.parent.mkdir()
    for out in (weights, same):
        assert "which is read from" in error_of(*way, out)
    assert weights.read_bytes() == before


def test_hints_that_clash_are_refused(weights):
    way = (weights, "--from", "torch", "--to", "keras", "--hint")
    twice = ("reset=after", "--hint", "reset=before")
    assert "'after' and 'before', expected one" in error_of(*way, *twice)
    for name in ("gradients", "weights", "self"):
        assert f"no hint '{name}'" in error_of(*way, f"{name}=1")


def test_whole_numbers_of_json_are_weights(tmp_path):
    path = tmp_path / "lstm.json"
    arrays, _ = FRAMEWORKS["torch"].export(
        LSTM(3, 5), parameters(LSTM(3, 5), 0)
    )
    lists = {k: v.tolist() for k, v in arrays.items()}
    lists["bias_hh_l0"] = [0] * 20  # as JavaScript writes 0.0
    path.write_text(json.dumps(lists))
    out = tmp_path / "out.safetensors"
    as_json(path, "--from", "torch", "--to", "msref", "--out", out)
    written, _ = read_arrays(out)
    for name, array in parameters(LSTM(3, 5), 0).items():
        np.testing.assert_array_equal(written[name], array)


def test_half_precision_is_widened_and_said(tmp_path):
    params = parameters(LSTM(3, 5), 0, np.float16)
    path, out = tmp_path / "half.npz", tmp_path / "out.safetensors"
    np.savez(path, **params)
    way = (path, "--from", "msref", "--to", "msref", "--out", out)
    assert any("widened to float32" in n for n in as_json(*way)["notes"])
    written, _ = read_arrays(out)
    for name, array in params.items():
        assert written[name].dtype == np.float32
        np.testing.assert_array_equal(written[name], array)


def test_conventions_are_printed_and_told():
    shown = msref("--conventions")
    assert shown.exit_code == 0
    for port in FRAMEWORKS.values():
        assert port.title in shown.stdout
    one = msref("--conventions", "haiku").stdout
    assert "reset before, z writes" in one
    assert "(D+H, 4H)" in one
    assert "PyTorch" not in one
    rows = as_json("--conventions", "onnx")
    assert {row["gates"] for row in rows} == {"h", "z r h", "i o f c"}


def test_a_check_that_differs_ends_in_one(monkeypatch):
    row = check.Row("torch", "LSTM", "LSTM", "torch 0", forward=0.5)
    for verdict, code in ((check.AGREES, 0), (check.DIFFERS, 1)):
        rows = [dataclasses.replace(row, verdict=verdict)]
        monkeypatch.setattr(check, "check", lambda *a, rows=rows, **k: rows)
        done = msref("--check")
        assert done.exit_code == code
        assert verdict in done.stdout
        assert msref("--check", "--json").exit_code == code
