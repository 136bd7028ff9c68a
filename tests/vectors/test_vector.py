"""Vectors as files: what goes in comes out, and nothing else does."""

import copy
import hashlib
import json
import re

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.vectors import Vector, export, load, read, write
from msref.vectors.schema import KEYWORDS, problems, schema, text_of
from msref.vectors.vector import array_bytes, files

SMALL = "brc/one-step"


@pytest.fixture
def written(tmp_path):
    """A vector in a folder of its own, and the paths of both files."""
    vector = load(SMALL)
    return vector, *write(vector, tmp_path)


def edited(path, change):
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(text_of(manifest))


def resealed(numbers, said, arrays):
    """Write other arrays, and a manifest that believes them."""
    numbers.write_bytes(array_bytes(arrays))
    checksum = hashlib.sha256(numbers.read_bytes()).hexdigest()
    edited(said, lambda m: m.update(checksum=checksum))


# --- what goes in comes out -------------------------------------------------


def test_a_vector_is_read_as_it_was_written(written):
    vector, numbers, said = written
    for path in (numbers, said, numbers.with_suffix("")):
        again = read(path)
        assert again.manifest == vector.manifest
        assert list(again.expected()) == list(vector.expected())
        for name, array in vector.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)
            assert again.arrays[name].dtype == array.dtype
    assert numbers.read_bytes() == files(SMALL)[0].read_bytes()
    assert said.read_bytes() == files(SMALL)[1].read_bytes()


def test_the_views_are_the_arrays():
    vector = load("bidirectional/ragged")
    arch = vector.arch
    assert set(vector.params) == set(arch.shapes())
    assert set(vector.state0) == set(vector.dstate)
    assert vector.x.shape == (vector.n_time, vector.n_batch, arch.n_in)
    assert vector.dy.shape == (vector.n_time, vector.n_batch, arch.n_out)
    assert vector.counted.sum() == vector.lengths.sum()
    inputs = set(vector.arrays) - set(vector.expected())
    assert inputs == (
        {f"params/{k}" for k in vector.params}
        | {f"state0/{k}" for k in vector.state0}
        | {f"dstate/{k}" for k in vector.dstate}
        | {"x", "dy", "lengths"}
    )
    assert load("elman/basic").counted.all()


def test_expected_arrays_come_in_causal_order():
    names = list(load("gru/cut-sequence").expected())
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in names))
    assert kinds == [
        *("trace", "y", "state", "adjoints", "cut", "dcut"),
        *("dx", "dstate0", "grads"),
    ]
    assert names.index("trace/a_n") < names.index("trace/n") < names.index("y")
    assert names.index("adjoints/a_n") < names.index("adjoints/a_r")


def test_text_is_json_with_sorted_keys_and_short_lines():
    manifest = load(SMALL).manifest
    text = text_of(manifest)
    assert json.loads(text) == manifest
    keys = re.findall(r'^ "(\w+)"', text, re.MULTILINE)
    assert keys == sorted(manifest)
    assert '\n  "y": {"dtype":"float64","' in text


@pytest.mark.parametrize("form", ["npz", "json"])
def test_exported_numbers_are_the_same(tmp_path, form):
    vector = load("bidirectional/ragged")
    paths = export(vector, tmp_path, form)
    if form == "npz":
        with np.load(paths[0], allow_pickle=False) as file:
            arrays = dict(file)
        manifest = json.loads(paths[1].read_text())
    else:
        content = json.loads(paths[0].read_text())
        manifest = content["manifest"]
        arrays = {
            name: np.array(value, manifest["arrays"][name]["dtype"])
            for name, value in content["arrays"].items()
        }
    assert manifest == vector.manifest
    assert set(arrays) == set(vector.arrays)
    for name, array in vector.arrays.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_exporting_in_another_form_is_refused(tmp_path):
    with pytest.raises(ValueError, match="format is 'pickle', expected one of"):
        export(load(SMALL), tmp_path, "pickle")
    assert not list(tmp_path.iterdir())


# --- what is refused --------------------------------------------------------


def test_a_changed_number_is_refused(written):
    _, numbers, _ = written
    data = bytearray(numbers.read_bytes())
    data[-1] ^= 1
    numbers.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"safetensors: checksum is .* were ch"
    ):
        read(numbers)


def test_another_vectors_numbers_are_refused(written):
    _, numbers, _ = written
    numbers.write_bytes(files("brc/one-row")[0].read_bytes())
    with pytest.raises(ValueError, match="checksum"):
        read(numbers)


def test_truncated_numbers_are_refused(written):
    _, numbers, said = written
    numbers.write_bytes(numbers.read_bytes()[:-8])
    checksum = hashlib.sha256(numbers.read_bytes()).hexdigest()
    edited(said, lambda m: m.update(checksum=checksum))
    with pytest.raises(ValueError, match="damaged"):
        read(numbers)


def test_a_renamed_vector_is_refused(written):
    _, numbers, said = written
    for path in (numbers, said):
        path.rename(path.with_name(f"basic{path.suffix}"))
    with pytest.raises(ValueError, match="expected one that ends in 'basic'"):
        read(numbers.with_name("basic.json"))


def test_a_missing_file_is_named(written):
    _, numbers, said = written
    numbers.unlink()
    with pytest.raises(FileNotFoundError, match=r"one-step\.safetensors"):
        read(said)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused(written, bad):
    vector, numbers, said = written
    arrays = {k: v.copy() for k, v in vector.arrays.items()}
    arrays["y"][0, 1, 2] = bad
    resealed(numbers, said, arrays)
    with pytest.raises(ValueError, match=rf"y holds {bad} at \[0, 1, 2\]"):
        read(numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("y"), r"missing \['y'\]"),
        (lambda a: a.update(z=a["y"]), r"unknown \['z'\]"),
        (lambda a: a.update(y=a["y"][0]), r"y is \('float64', \[2, 5\]\)"),
        (lambda a: a.update(y=a["y"].astype("f4")), r"y is \('float32', "),
    ],
    ids=["missing", "unknown", "shape", "dtype"],
)
def test_arrays_that_the_manifest_does_not_know_are_refused(
    written, change, message
):
    vector, numbers, said = written
    arrays = dict(vector.arrays)
    change(arrays)
    resealed(numbers, said, arrays)
    with pytest.raises(ValueError, match=message):
        read(numbers)


def test_shapes_have_to_be_those_of_the_network(written):
    vector, numbers, said = written
    arrays = dict(vector.arrays) | {"params/b_c": np.ones(4)}
    edited(said, lambda m: m["arrays"]["params/b_c"].update(shape=[4]))
    resealed(numbers, said, arrays)
    with pytest.raises(
        ValueError, match=r"b_c has shape \(4,\), expected \(5,"
    ):
        read(numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema="msref-vectors/2"), r"\['schema'\] is"),
        (lambda m: m.pop("breaks"), "lacks breaks"),
        (lambda m: m.update(extra=1), r"\['extra'\] is not expected"),
        (lambda m: m.update(name="../../etc/x"), r"\['name'\] is"),
        (lambda m: m["architecture"].update(name="os"), "'os', expected one"),
        (lambda m: m["architecture"].update(example=7), "example is 7 of brc"),
        (lambda m: m["architecture"].update(call="BRC(9, 9)"), "other version"),
        (lambda m: m["arrays"]["y"].update(role="input"), "y is input, exp"),
        (lambda m: m["arrays"]["y"].update(order=0), "each once"),
        (lambda m: m["arrays"]["y"].update(dtype="object"), "'object'"),
        (lambda m: m["tolerances"]["floors"].pop("y"), "differ in y"),
        (lambda m: m["tolerances"]["floors"].update(y=[1.0] * 9), "9 floors"),
        (lambda m: m.update(name="brc/one"), "expected one that ends in"),
    ],
)
def test_a_wrong_manifest_is_refused(written, change, message):
    _, _, said = written
    edited(said, change)
    with pytest.raises(ValueError, match=message):
        read(said)


def test_the_architecture_is_never_executed(written, tmp_path):
    _, _, said = written
    trap = tmp_path / "trap"
    call = f"open({str(trap)!r}, 'w')"
    edited(said, lambda m: m["architecture"].update(call=call))
    with pytest.raises(ValueError, match="is of another version"):
        read(said)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": 1, "name": 2}', "'name' stands there twice"),
        ('{"t0": NaN}', "holds NaN"),
        ('{"t0": ' + "[" * 30 + "]" * 30 + "}", "more than 24 levels"),
        ("[" * 100_000, "levels|valid JSON"),
        ("{", "valid JSON"),
        ("[]", "expected object"),
        (" " * (1 << 20) + "{}", "expected at most 1048576"),
    ],
    ids=["twice", "nan", "deep", "deeper", "half", "list", "large"],
)
def test_a_manifest_that_is_no_manifest_is_refused(written, text, message):
    _, _, said = written
    said.write_text(text)
    with pytest.raises(ValueError, match=message):
        read(said)


def test_what_breaks_the_rules_is_not_written(tmp_path):
    vector = load(SMALL)
    wrong = Vector(
        vector.name, vector.manifest, vector.arrays | {"y": np.ones(3)}
    )
    with pytest.raises(ValueError, match="y is"):
        write(wrong, tmp_path)
    moved = Vector("../x", vector.manifest, vector.arrays)
    with pytest.raises(ValueError, match=r"expected '\.\./x'"):
        write(moved, tmp_path)
    assert not list(tmp_path.iterdir())


# --- the schema -------------------------------------------------------------


def test_the_schema_is_a_schema_and_uses_known_keywords():
    jsonschema.Draft202012Validator.check_schema(schema())
    known = {*KEYWORDS, "properties", "additionalProperties", "items"}
    known |= {"anyOf", "$ref", "$defs", "$id", "$schema", "title"}
    known |= {"description"}

    def keywords(rule):
        if not isinstance(rule, dict):
            return
        for key, value in rule.items():
            yield key
            if key in ("properties", "$defs"):
                for inner in value.values():
                    yield from keywords(inner)
            elif key in ("items", "additionalProperties"):
                yield from keywords(value)
            elif key == "anyOf":
                for inner in value:
                    yield from keywords(inner)

    assert set(keywords(schema())) <= known


def places(value, path=()):
    """List the path of every value inside a JSON value."""
    yield path
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, v in inner:
            yield from places(v, (*path, key))


MANIFEST = load("elman/cut-sequence").manifest
other_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**70),
    st.floats(-2, 2).filter(lambda v: not v.is_integer()),
    st.text(max_size=3),
    st.sampled_from(
        ["float64", "input", "1", "elman/x", "0/1'", [], {}, [1.5]]
    ),
    st.lists(st.integers(-1, 3), max_size=5),
)


@given(st.data())
def test_our_validator_agrees_with_the_packages(data):
    manifest = copy.deepcopy(MANIFEST)
    *path, last = data.draw(st.sampled_from(list(places(manifest))[1:]))
    inside = manifest
    for key in path:
        inside = inside[key]
    what = data.draw(st.sampled_from(["replace", "delete", "add"]))
    if what == "replace":
        inside[last] = data.draw(other_values)
    elif what == "delete":
        del inside[last]
    elif isinstance(inside, dict):
        inside[data.draw(st.sampled_from(["new", "cut", "kills"]))] = data.draw(
            other_values
        )
    else:
        inside.append(data.draw(other_values))
    valid = jsonschema.Draft202012Validator(schema()).is_valid(manifest)
    assert (not problems(manifest)) == valid
