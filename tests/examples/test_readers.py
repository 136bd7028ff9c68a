"""The readers without msref: each compiled and run where it can be."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

ROOT = Path(__file__).parents[2]
READERS = ROOT / "examples" / "readers"
VECTOR = ROOT / "msref" / "vectors" / "data" / "elman" / "basic.safetensors"
CHECKS_SHA256 = {"py", "mjs"}  # the others' libraries have none


def run(*command):
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def tool(*names):
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"needs {' or '.join(names)}")


@pytest.fixture(scope="module", params=["py", "mjs", "cpp", "rs"])
def reader(request, tmp_path_factory):
    """Return a language, and a function that runs its reader on a file."""
    language = request.param
    source = READERS / f"reader.{language}"
    program = tmp_path_factory.mktemp(language) / "reader"
    if language == "py":
        command = [sys.executable, source]
    elif language == "mjs":
        command = [tool("node"), source]
    else:
        if language == "cpp":
            build = [tool("g++", "clang++"), "-std=c++17", "-Wall", "-Wextra"]
        else:
            build = [tool("rustc"), "--edition", "2021", "-D", "warnings"]
        done = run(*build, source, "-o", program)
        assert (done.returncode, done.stderr) == (0, "")
        command = [program]
    return language, lambda path: run(*command, path)


def written(folder, bytes_, manifest):
    path = folder / "basic.safetensors"
    path.write_bytes(bytes_)
    manifest["checksum"] = hashlib.sha256(bytes_).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))
    return path


@pytest.fixture
def manifest():
    return json.loads(VECTOR.with_suffix(".json").read_text("utf-8"))


def test_every_array_is_listed_and_y_recomputed(reader, manifest):
    _, read = reader
    done = read(VECTOR)
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    listed = [row for row in lines if row.startswith("  ")]
    assert len(listed) == len(manifest["arrays"])
    assert head == f"{manifest['name']} - {manifest['breaks']}"
    for name, entry in manifest["arrays"].items():
        (line,) = (row for row in listed if row.split()[0] == name)
        sizes = line.split(maxsplit=1)[1].strip("()[]").rstrip(",")
        assert [int(n) for n in sizes.split(",")] == entry["shape"]
    assert lines[-1].startswith("y recomputed: largest difference ")
    assert float(lines[-1].split()[-1]) <= 1e-12


@pytest.mark.parametrize(
    ("array", "off"),
    [("y", 1e-11), ("y", np.nan), ("params/W_hh", 1e-3), ("state0/h", 1e-3)],
)
def test_another_number_anywhere_fails(reader, manifest, tmp_path, array, off):
    _, read = reader
    arrays = load(VECTOR.read_bytes())
    changed = arrays[array].copy()
    changed.flat[0] += off
    done = read(written(tmp_path, save(arrays | {array: changed}), manifest))
    assert done.returncode == 1
    assert "y recomputed" in done.stdout


def test_a_changed_file_is_noticed_or_the_checksum_printed(
    reader, manifest, tmp_path
):
    language, read = reader
    data = bytearray(VECTOR.read_bytes())
    path = written(tmp_path, bytes(data), manifest)
    data[-1] ^= 1
    path.write_bytes(data)
    done = read(path)
    if language in CHECKS_SHA256:
        assert done.returncode == 1
        assert "is not the file that its manifest describes" in done.stderr
    else:
        assert f"sha256 (not checked) {manifest['checksum']}" in done.stdout


@pytest.mark.parametrize("kept", [0, 7, 100, -8])
def test_a_truncated_file_is_refused(reader, manifest, tmp_path, kept):
    _, read = reader
    done = read(written(tmp_path, VECTOR.read_bytes()[:kept], manifest))
    assert done.returncode in (1, 2)
    assert done.stderr
    assert "y recomputed" not in done.stdout
