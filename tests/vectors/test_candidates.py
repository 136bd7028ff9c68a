"""What a stranger's file may hold, and what it may do: nothing."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save

from msref import untrusted
from msref.vectors import candidate_files, export, load, read_candidate

NUMBERS = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements={"allow_nan": False, "allow_infinity": False},
)
NAMES = st.text("abc_/0", min_size=1, max_size=6)


def safetensors_bytes(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(start, stop, dtype="F64", shape=None):
    shape = [(stop - start) // 8] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def npz_bytes(members, method=zipfile.ZIP_STORED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return packed.getvalue()


def npy_bytes(array, **options):
    packed = io.BytesIO()
    np.save(packed, array, **options)
    return packed.getvalue()


class Trap:
    """Whoever unpickles this is told so."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


# --- what goes in comes out -------------------------------------------------


@given(st.dictionaries(NAMES, NUMBERS, max_size=4))
def test_safetensors_and_npz_come_out_as_they_went_in(arrays):
    read = [untrusted.safetensors_arrays(save(arrays), "file")]
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    read.append(untrusted.npz_arrays(packed.getvalue(), "file"))
    for found in read:
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


@given(NUMBERS.filter(lambda a: a.size > 0))
def test_json_holds_the_same_numbers(array):
    tree = {"trace": {"a": array.tolist()}, "y": 1.5}
    text = json.dumps(tree).encode()
    found = untrusted.json_arrays(untrusted.parse_json(text, "file"), "file")
    assert set(found) == {"trace/a", "y"}
    np.testing.assert_array_equal(found["trace/a"], array)
    assert found["y"] == 1.5


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", ">f4", "<i2", "|b1"])
def test_an_npz_may_be_written_by_any_machine(order, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)
    data = npz_bytes([("a.npy", npy_bytes(array))])
    found = untrusted.npz_arrays(data, "file")["a"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative


def test_bfloat16_is_read():
    body = np.array([0x3F80, 0xC0A0], "<u2").tobytes()  # 1 and -5
    data = safetensors_bytes({"a": entry(0, 4, "BF16", [2])}, body)
    found = untrusted.safetensors_arrays(data, "file")["a"]
    np.testing.assert_array_equal(found, np.array([1, -5], np.float32))


def test_each_kind_of_file_is_read(tmp_path):
    arrays = {"y": load("brc/one-step").arrays["y"]}
    (tmp_path / "a.safetensors").write_bytes(save(arrays))
    np.savez(tmp_path / "a.npz", **arrays)
    text = json.dumps({"y": arrays["y"].tolist()})
    (tmp_path / "a.json").write_text(text)
    for suffix in untrusted.SUFFIXES:
        found = read_candidate(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(found["y"], arrays["y"])


def test_candidates_in_a_folder_are_named_like_the_vectors(tmp_path):
    for name in ("lstm/basic.npz", "gru/bias.json", "gru/bias.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = candidate_files(tmp_path)
    assert found == {
        "lstm/basic": tmp_path / "lstm/basic.npz",
        "gru/bias": tmp_path / "gru/bias.safetensors",  # the JSON explains it
    }
    (tmp_path / "lstm/basic.safetensors").touch()
    with pytest.raises(ValueError, match="one candidate for lstm/basic"):
        candidate_files(tmp_path)
    with pytest.raises(ValueError, match="holds no candidate"):
        candidate_files(tmp_path / "nothing")


# --- what is refused --------------------------------------------------------


def refused(tmp_path, suffix, data, message, **options):
    path = tmp_path / f"candidate{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as told:
        read_candidate(path, **options)
    assert str(path) in str(told.value)


FLOATS = np.ones(2).tobytes()
BAD_SAFETENSORS = {
    "empty": (b"", "header has 0 bytes"),
    "no header": (b"\0" * 8, "not valid JSON"),
    "pickle": (pickle.dumps(Trap()), "expected at most"),
    "long header": (struct.pack("<Q", 1 << 60) + b"{}", "expected at most"),
    "twice": (
        safetensors_bytes(
            b'{"a":%s,"a":%s}' % ((json.dumps(entry(0, 16)).encode(),) * 2),
            FLOATS,
        ),
        "'a' stands there twice",
    ),
    "overlap": (
        safetensors_bytes({"a": entry(0, 8), "b": entry(0, 8)}, FLOATS[:8]),
        "damaged",
    ),
    "hole": (safetensors_bytes({"a": entry(8, 16)}, FLOATS), "damaged"),
    "outside": (safetensors_bytes({"a": entry(0, 16)}, FLOATS[:8]), "damaged"),
    "more": (safetensors_bytes({"a": entry(0, 8)}, FLOATS), "damaged"),
    "backwards": (safetensors_bytes({"a": entry(8, 0)}, FLOATS), "damaged"),
    "vast": (
        safetensors_bytes(
            {"a": entry(0, 16, shape=[1 << 40, 1 << 40])}, FLOATS
        ),
        "damaged",
    ),
    "shape": (
        safetensors_bytes({"a": entry(0, 16, shape=[3])}, FLOATS),
        "damaged",
    ),
    "negative": (
        safetensors_bytes({"a": entry(0, 16, shape=[-1, -2])}, FLOATS),
        "damaged",
    ),
    "dtype": (
        safetensors_bytes({"a": entry(0, 16, "F8_E4M3", [16])}, FLOATS),
        "a has dtype F8_E4M3, expected one of",
    ),
    "axes": (
        safetensors_bytes({"a": entry(0, 8, shape=[1] * 100)}, FLOATS[:8]),
        "a: maximum supported dimension",
    ),
    "vast by none": (
        safetensors_bytes({"a": entry(0, 0, shape=[0, 1 << 40, 1 << 40])}),
        "a: array is too big",
    ),
    "name": (
        safetensors_bytes({"\x1b[2J": entry(0, 16, "F8_E4M3", [16])}, FLOATS),
        r"'\\x1b\[2J' has dtype",  # not the code that clears a terminal
    ),
}


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_bad_safetensors_are_refused(tmp_path, case):
    refused(tmp_path, ".safetensors", *BAD_SAFETENSORS[case])


def arrays_or_refusal(read, data, **options):
    """Return what is read, or nothing if it is refused by name."""
    try:
        return read(data, "file: ", **options)
    except ValueError as error:
        told = str(error)
    assert told.startswith("file: ")
    return {}


@given(st.data())
def test_no_flipped_byte_of_a_header_does_harm(data):
    """Whatever happens to the file, arrays or a ValueError come back."""
    whole = bytearray(save({"a": np.ones((2, 3)), "b": np.ones(4)}))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    found = arrays_or_refusal(untrusted.safetensors_arrays, bytes(whole[:cut]))
    assert sum(array.size for array in found.values()) <= len(whole)


@given(st.data())
def test_no_flipped_byte_of_an_archive_does_harm(data):
    packed = io.BytesIO()
    np.savez_compressed(packed, a=np.ones((2, 3)), b=np.arange(4))
    whole = bytearray(packed.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    found = arrays_or_refusal(untrusted.npz_arrays, bytes(whole), most=10_000)
    assert sum(array.nbytes for array in found.values()) <= 10_000


def lying_header(shape):
    """Make an .npy file whose header promises more than it holds."""
    header = npy_bytes(np.ones(2))
    return header.replace(b"(2,), }" + b" " * 8, b"(%s), }" % shape)


BAD_NPZ = {
    "no archive": (b"nothing", "damaged or not an .npz file"),
    "bare pickle": (pickle.dumps(Trap()), "damaged or not an .npz file"),
    "objects": (
        npz_bytes(
            [("a.npy", npy_bytes(np.array([Trap()]), allow_pickle=True))]
        ),
        "objects are never unpickled",
    ),
    "pickle": (npz_bytes([("a.npy", pickle.dumps(Trap()))]), "is no .npy"),
    "other files": (npz_bytes([("a.txt", b"hello")]), "a.txt is no array"),
    "complex": (
        npz_bytes([("a.npy", npy_bytes(np.ones(2, complex)))]),
        "expected real numbers",
    ),
    "text": (
        npz_bytes([("a.npy", npy_bytes(np.array(["x"])))]),
        "real numbers",
    ),
    "half": (
        npz_bytes([("a.npy", npy_bytes(np.ones(9))[:-8])]),
        "has 64 bytes",
    ),
    "code": (
        npz_bytes(
            [
                (
                    "a.npy",
                    npy_bytes(np.ones(2)).replace(
                        b"'fortran_order': False", b"'fortran_order':exit()"
                    ),
                )
            ]
        ),
        "is no .npy array",
    ),
    "brackets": (
        npz_bytes([("a.npy", b"\x93NUMPY\1\0\x28\x23" + b"(" * 8999 + b"\n")]),
        "is no .npy array",
    ),
    "true": (
        npz_bytes(
            [
                (
                    "a.npy",
                    npy_bytes(np.ones(1)).replace(b"(1,), }   ", b"(True,), }"),
                )
            ]
        ),
        r"shape is \(True,\), expected whole numbers",
    ),
    "name": (
        npz_bytes([("\x1b[2J.txt", b"hello")]),
        r"'\\x1b\[2J.txt' is no array",
    ),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_archives_are_refused(tmp_path, case):
    refused(tmp_path, ".npz", *BAD_NPZ[case])


def test_a_name_twice_in_an_archive_is_refused(tmp_path):
    member = ("a.npy", npy_bytes(np.ones(2)))
    with pytest.warns(UserWarning, match="Duplicate"):
        data = npz_bytes([member, member])
    refused(tmp_path, ".npz", data, "stands there twice")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    array = np.zeros(1 << 17)  # 1 MiB that packs to 1 kB
    data = npz_bytes([("a.npy", npy_bytes(array))] * 1, zipfile.ZIP_DEFLATED)
    assert len(data) < array.nbytes / 100
    opened = []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *a: opened.append(a))
    refused(
        tmp_path, ".npz", data, "when unpacked, expected at most", most=1 << 16
    )
    assert not opened


def test_all_arrays_together_are_limited(tmp_path):
    members = [(f"{k}.npy", npy_bytes(np.zeros(1000))) for k in "abc"]
    data = npz_bytes(members, zipfile.ZIP_DEFLATED)
    assert len(untrusted.npz_arrays(data, "file", most=1 << 15)) == 3
    refused(tmp_path, ".npz", data, "c has 8128 bytes", most=20_000)


@pytest.mark.parametrize("suffix", untrusted.SUFFIXES)
def test_a_large_file_is_refused_unread(tmp_path, suffix):
    refused(tmp_path, suffix, b" " * 100, "expected at most 50", most=50)


def test_a_header_that_lies_about_its_size_is_refused(tmp_path):
    data = npz_bytes([("a.npy", lying_header(b"99999999999,"))])
    refused(tmp_path, ".npz", data, "expected 799999999992 for shape")


BAD_JSON = {
    "list": (b"[1, 2]", "a list, expected an object"),
    "ragged": (b'{"a": [[1, 2], [3]]}', "a is no array"),
    "text": (b'{"a": ["1"]}', "a holds str, expected numbers"),
    "name": (b'{"\\u001b[2J": ["1"]}', r"'\\x1b\[2J' holds str"),
    "surrogate": (b'{"\\ud800": ["1"]}', r"'\\ud800' holds str"),
    "arrays": (b'{"manifest": {}, "arrays": [1]}', "a list, expected an obj"),
    "bool": (b'{"a": [true]}', "a holds bool"),
    "null": (b'{"a": null}', "a holds NoneType"),
    "nan": (b'{"a": [NaN]}', "holds NaN"),
    "infinity": (b'{"a": [1e999]}', "a overflows"),
    "long": (b'{"a": [%s]}' % (b"9" * 400), "a is no array"),
    "twice": (b'{"a": 1, "a": 2}', "'a' stands there twice"),
    "same": (b'{"a/b": 1, "a": {"b": 2}}', "a/b stands there twice"),
    "deep": (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "24 levels"),
    "bytes": (b"\xff\xfe", "not valid JSON"),
}


def test_a_name_twice_among_many_is_found_at_once(tmp_path):
    names = [*range(50_000), 49_999]  # minutes, were each counted
    inner = ",".join(f'"{name}":0' for name in names)
    data = f"{{{inner}}}".encode()
    refused(tmp_path, ".json", data, "'49999' stands there twice")


def test_json_may_have_the_form_in_which_vectors_are_written(tmp_path):
    vector = load("brc/one-step")
    (path,) = export(vector, tmp_path, "json")
    found = read_candidate(path)
    assert set(found) == set(vector.arrays)
    for name, array in vector.arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_refused(tmp_path, case):
    refused(tmp_path, ".json", *BAD_JSON[case])


def test_other_files_are_refused(tmp_path):
    refused(tmp_path, ".pkl", pickle.dumps(Trap()), "a .pkl file, expected")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_candidate(tmp_path / "missing.npz")
