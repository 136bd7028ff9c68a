"""A file is whole or not there, whatever happens while it is written."""

import builtins
import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from msref.files import (
    read_arrays,
    read_json,
    whole,
    write_arrays,
    write_json,
    write_text,
)

some = settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def old(tmp_path):
    """A file that is there already, alone in its folder."""
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


def assert_untouched(path):
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


# --- whole ------------------------------------------------------------------


def test_the_file_appears_when_all_is_written(old):
    with whole(old) as file:
        file.write(b"new, half")
        file.flush()
        assert old.read_text() == "old"
        assert len(os.listdir(old.parent)) == 2  # beside it: one file system
        file.write(b" and whole")
    assert old.read_text() == "new, half and whole"
    assert os.listdir(old.parent) == [old.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_file(old, error):
    def interrupted():
        with whole(old) as file:
            file.write(b"new")
            raise error("in between")

    with pytest.raises(error):
        interrupted()
    assert_untouched(old)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("tempfile.mkstemp", errno.EACCES),
        ("tempfile.mkstemp", errno.EROFS),
        ("os.fsync", errno.ENOSPC),
        ("os.fsync", errno.EIO),
        ("os.replace", errno.EACCES),
        ("os.chmod", errno.EPERM),
    ],
)
def test_a_refusing_disk_leaves_the_old_file(old, monkeypatch, function, code):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code), str(old))

    monkeypatch.setattr(f"msref.files.{function}", refuse)
    with pytest.raises(OSError, match=old.name) as caught:
        write_text(old, "new")
    assert caught.value.errno == code
    assert_untouched(old)


def test_a_disk_that_fills_up_leaves_the_old_file(old, monkeypatch):
    real = os.fdopen

    def almost_full(handle, mode):
        file = real(handle, mode, buffering=0)

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, data):
                file.write(data[:10])
                raise OSError(errno.ENOSPC, "No space left on device")

        return Full()

    monkeypatch.setattr("msref.files.os.fdopen", almost_full)
    with pytest.raises(OSError, match="No space left"):
        write_arrays(old, {"a": np.ones(100)})
    assert_untouched(old)


def test_a_kill_leaves_the_old_file(old):
    code = (
        "import os, sys\nfrom msref.files import whole\n"
        "with whole(sys.argv[1]) as file:\n"
        "    file.write(b'new'); file.flush(); os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(old)], timeout=60)
    assert done.returncode == 9
    assert old.read_text() == "old"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "file", "text")


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_mode_is_that_of_any_other_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    mode = (tmp_path / "file").stat().st_mode & 0o777
    assert mode == 0o666 & ~mask


def test_paths_may_be_strings_and_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text("ä.txt", "größer")
    assert (tmp_path / "ä.txt").read_bytes().decode() == "größer"


# --- JSON -------------------------------------------------------------------


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


@some
@given(value=VALUES)
def test_json_comes_back_as_it_went(tmp_path, value):
    write_json(tmp_path / "some.json", value)
    back = read_json(tmp_path / "some.json")
    assert back == value
    assert json.dumps(back) == json.dumps(value)  # 1 is not 1.0, nor True


@pytest.mark.parametrize("value", [np.nan, np.inf, {"a": [-np.inf]}])
def test_json_refuses_what_is_not_a_number(old, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old, value)
    assert_untouched(old)


@pytest.mark.parametrize(
    "text", [b"", b'{"a": 1', b"{'a': 1}", b"\xff\xfe", b"[1] 2", b"\x00"]
)
def test_damaged_json_is_named_with_its_place(tmp_path, text):
    path = tmp_path / "damaged.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"damaged\.json is not valid JSON"):
        read_json(path)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        read_json(tmp_path / "missing.json")


# --- arrays -----------------------------------------------------------------

DTYPES = st.sampled_from(["f4", "f8", "i4", "i8", "u1", "bool", "f2"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: npst.arrays(
        np.dtype(dtype), npst.array_shapes(min_dims=0, max_dims=3, min_side=0)
    )
)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9).filter(
    lambda name: name != "__metadata__"
)


@some
@example(arrays={"a": np.array(2.0), "b": np.zeros((0, 3))}, metadata={})
@given(
    arrays=st.dictionaries(NAMES, ARRAYS, max_size=4),
    metadata=st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"))),
)
def test_arrays_come_back_as_they_went(tmp_path, arrays, metadata):
    path = tmp_path / "some.safetensors"
    write_arrays(path, arrays, metadata)
    back, told = read_arrays(path)
    assert told == metadata
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_arrays_of_any_layout_are_written_row_by_row(tmp_path):
    a = np.arange(24.0).reshape(2, 3, 4)
    views = {"f": np.asfortranarray(a), "t": a.T, "s": a[:, ::2], "r": a[::-1]}
    write_arrays(tmp_path / "views", views)
    back, metadata = read_arrays(tmp_path / "views")
    assert metadata == {}
    for name, view in views.items():
        np.testing.assert_array_equal(back[name], view)


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    arrays = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)}
    contents, metadata = [], dict.fromkeys("bdacfehg", "text")
    for name in ("one", "two"):
        write_arrays(tmp_path / name, arrays, metadata)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


WHOLE_FILE = {"W": np.arange(6.0).reshape(2, 3), "b": np.ones(3, np.float32)}


@some
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_named_wherever_it_ends(tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    write_arrays(path, WHOLE_FILE)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=r"cut\.safetensors is damaged or not"):
        read_arrays(path)


@pytest.mark.parametrize("content", [b"not arrays at all", b"\xff" * 64])
def test_another_kind_of_file_is_named(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other is damaged or not a \.safe"):
        read_arrays(path)


def test_no_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(FileNotFoundError, match=path.name):
            read_arrays(path)


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return builtins.exec, ("raise SystemExit('unpickled')",)

    path = tmp_path / "trap"
    with path.open("wb") as file:
        np.save(file, np.array([Trap()]), allow_pickle=True)
    with pytest.raises(ValueError, match="trap is damaged"):
        read_arrays(path)
