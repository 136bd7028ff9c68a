"""Checkpoints: whole or not there, of this fit or refused."""

import errno
import json
import os
import tempfile

import numpy as np
import pytest

import msref.files
from msref.architectures import LMN, Elman
from msref.training import (
    SGD,
    Adam,
    FrameAccuracy,
    Model,
    State,
    Tally,
    fit,
    read_checkpoint,
    write_checkpoint,
)

OWNER = {"model": "m", "n_batch": "3"}


def some_state(generator=np.random.PCG64):
    rng = np.random.default_rng(0)
    params = {"core/W": rng.random((2, 3)), "b": rng.random(4).astype("f4")}
    return State(
        params=params,
        best={k: p + 1 for k, p in params.items()},
        optimiser=Adam().init(params),
        rng=generator(7).state,
        step=3,
        loss=Tally(0.1 + 0.2, 30),
        history=({"epoch": 1, "valid_loss": 1 / 3, "seconds": 0.1},),
        seconds=1.7,
    )


@pytest.mark.parametrize(
    "generator", ["PCG64", "PCG64DXSM", "MT19937", "SFC64", "Philox"]
)
def test_what_is_written_is_read(tmp_path, generator):
    path = tmp_path / "a.safetensors"
    state = some_state(getattr(np.random, generator))
    write_checkpoint(path, state, OWNER)
    found = read_checkpoint(path, OWNER)
    for kind in ("params", "best", "optimiser"):
        mine, other = getattr(state, kind), getattr(found, kind)
        assert set(mine) == set(other)
        for name in mine:
            assert mine[name].dtype == other[name].dtype
            assert mine[name].shape == other[name].shape
            assert mine[name].tobytes() == other[name].tobytes()
    assert (found.step, found.loss, found.history, found.seconds) == (
        state.step,
        state.loss,
        state.history,
        state.seconds,
    )
    a, b = (np.random.Generator(getattr(np.random, generator)()) for _ in "ab")
    a.bit_generator.state, b.bit_generator.state = state.rng, found.rng
    np.testing.assert_array_equal(a.permutation(99), b.permutation(99))


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, some_state(), OWNER)
    with pytest.raises(ValueError, match="n_batch was 3, is 4") as info:
        read_checkpoint(path, OWNER | {"n_batch": "4"})
    assert str(path) in str(info.value)
    assert "model" not in str(info.value)


DATA = [(np.ones((3, 2)) * k, np.ones((3, 1)) * (k > 1)) for k in range(1, 4)]

MODEL = Model(Elman(2, 3), 1)
STATE = Adam().init(MODEL.init(np.random.default_rng(0)))
STATE["t"] = STATE["t"] + 1


def run(path, **changes):
    options = {
        "model": MODEL,
        "seed": 0,
        "start": 0,
        "train": DATA,
        "valid": DATA[:2],
        "optimiser": Adam(),
        "n_epochs": 1,
    } | changes
    model = options.pop("model")
    params = model.init(np.random.default_rng(options.pop("start")))
    rng = np.random.default_rng(options.pop("seed"))
    return fit(model, params, rng=rng, checkpoint=path, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": Model(Elman(2, 4), 1)}, "model was"),
        ({"model": Model(Elman(2, 3), 1, "squared")}, "model was"),
        ({"optimiser": Adam(0.5)}, "optimiser was"),
        ({"optimiser": SGD(0.5)}, "optimiser was"),
        ({"train": DATA[1:]}, "train was"),
        ({"train": DATA[::-1]}, "train was"),
        ({"valid": DATA}, "valid was"),
        ({"seed": 1}, "rng was"),
        ({"start": 1}, "params was"),
        ({"n_batch": 2}, "n_batch was 32, is 2"),
        ({"patience": 3}, "patience was None, is 3"),
        ({"clip": 1.0}, "clip was None, is 1.0"),
        ({"noise": 0.5}, "noise was 0.0, is 0.5"),
        (
            {"model": Model(LMN(2, 3, 2), 1), "detach": 0.5},
            "detach was 0.0, is 0.5",
        ),
        ({"optimiser_state": STATE}, "optimiser_state was"),
        ({"metric": FrameAccuracy()}, "metric was None, is FrameAccuracy"),
    ],
)
def test_a_fit_that_changed_is_refused(tmp_path, change, words):
    path = tmp_path / "a.safetensors"
    same = {"model": change["model"]} if "detach" in change else {}
    run(path, **same)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=words):
        run(path, **change)
    assert path.read_bytes() == before
    run(path, **same)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, some_state(), OWNER)
    data = path.read_bytes()
    for size in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            read_checkpoint(path, OWNER)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, some_state(), OWNER)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(data), 200, replace=False):
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            read_checkpoint(path, OWNER)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    msref.files.write_arrays(path, {"a": np.ones(2)})
    with pytest.raises(ValueError, match="is not a checkpoint"):
        read_checkpoint(path, OWNER)
    path.write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match="is damaged or not"):
        read_checkpoint(path, OWNER)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_checkpoint(tmp_path / "nowhere", OWNER)


@pytest.mark.parametrize(
    ("module", "call", "number"),
    [
        (os, "fsync", errno.ENOSPC),
        (os, "replace", errno.ENOSPC),
        (tempfile, "mkstemp", errno.EROFS),
    ],
)
def test_a_disk_that_takes_nothing_leaves_the_old_checkpoint(
    tmp_path, monkeypatch, module, call, number
):
    path = tmp_path / "a.safetensors"
    run(path)
    before = path.read_bytes()

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, call, refuse)
    with pytest.raises(OSError, match=os.strerror(number)):
        run(path, n_epochs=2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert len(run(path, n_epochs=2).history) == 2


def test_a_disk_that_fills_while_writing(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    run(path)
    before = path.read_bytes()
    fdopen = os.fdopen

    def almost_full(*arguments):
        file = fdopen(*arguments)
        write = file.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, data):
                write(data[:100])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Full()

    monkeypatch.setattr(os, "fdopen", almost_full)
    with pytest.raises(OSError, match="No space left"):
        run(path, n_epochs=2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        run(tmp_path / "missing" / "a.safetensors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            run(tmp_path / "a.safetensors")
    finally:
        tmp_path.chmod(0o700)
