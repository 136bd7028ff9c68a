"""The first divergence, in causal order, and a border that explains itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.architectures import GRU, LSTM, REGISTRY
from msref.vectors.border import is_input
from msref.vectors.catalogue import load, names
from msref.vectors.compare import compare, opened
from msref.vectors.comparison import AGREES
from msref.vectors.judging import agrees, share_of, unit_of
from msref.vectors.order import groups
from msref.vectors.vector import read, write
from msref.vectors.walking import causal_order

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
GRU_BASIC = "gru/basic"


def expected(name=GRU_BASIC):
    return load(name).expected()


def off(name, array, place, by=1.0):
    """Return all expected arrays, one entry of one of them moved."""
    arrays = {k: v.copy() for k, v in expected(name).items()}
    arrays[array][place] += by
    return arrays


# --- causal order -----------------------------------------------------------


@pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
def test_every_quantity_stands_behind_what_it_is_computed_from(arch):
    for group in groups(arch):
        for k, name in enumerate(group.names):
            assert group.upstream[name] <= set(group.names[:k])
    names = [name for group in groups(arch) for name in group.names]
    assert len(set(names)) == len(names)
    assert names[-1] == "y" or "y" in groups(arch)[-1].names


def test_the_order_is_that_of_the_equations_not_of_the_trace():
    (of_gru,) = groups(GRU(3, 5))
    assert of_gru.names.index("r") < of_gru.names.index("a_n")
    assert of_gru.upstream["n"] == {"a_hn", "a_r", "r", "a_n"}
    (of_lstm,) = groups(LSTM(3, 5))
    assert of_lstm.upstream["c"] == {"a_i", "a_f", "a_g", "i", "f", "g"}
    assert "a_o" not in of_lstm.upstream["c"]


@pytest.mark.parametrize("name", [f"{arch}/basic" for arch in REGISTRY])
def test_the_order_holds_every_array_once(name):
    vector = load(name)
    order = causal_order(vector)
    assert sorted(order) == sorted(vector.arrays)
    kinds = [is_input(k) for k in order]
    assert kinds == sorted(kinds, reverse=True)


# --- what agrees ------------------------------------------------------------


@pytest.mark.parametrize("name", [f"{arch}/basic" for arch in REGISTRY])
def test_the_expected_values_agree_with_themselves(name):
    found = compare(name, expected(name))
    assert found.ok
    assert found.missing == ()
    assert found.diagnosis is None
    assert {row.verdict for row in found.rows} == {AGREES}
    assert "all" in str(found)


def test_a_part_is_enough_and_the_rest_is_said_to_be_missing():
    arrays = expected()
    found = compare(GRU_BASIC, {"y": arrays["y"]})
    assert found.ok
    assert "trace/r" in found.missing
    assert len(found.missing) == len(arrays) - 1


def test_the_tolerance_is_relative_and_of_the_candidates_precision():
    vector = load(GRU_BASIC)
    y = vector.arrays["y"]
    assert agrees("y", y * (1 + 4e-13), y, vector)
    assert not agrees("y", y * (1 + 4e-12), y, vector)
    single = (y * (1 + 1e-5)).astype(np.float32)
    assert agrees("y", single, y, vector)
    assert not agrees("y", single.astype(float), y, vector)
    assert unit_of(np.float16) < np.finfo(np.float16).eps
    assert not agrees("y", (1.1 * y).astype(np.float16), y, vector)


def test_an_array_without_a_floor_is_held_to_its_relative_tolerance():
    vector = load("dropout/basic")
    share = share_of("y", vector.arrays["y"], vector.arrays["y"], vector)
    assert share.shape == vector.arrays["y"].shape
    assert share.max() == 0.0


# --- the first divergence ---------------------------------------------------


@settings(max_examples=30)
@given(data=st.data())
def test_a_single_wrong_entry_is_found_where_it_is(data):
    name = data.draw(st.sampled_from(["gru/basic", "lstm/basic", "lmn/basic"]))
    vector = load(name)
    array = data.draw(st.sampled_from([*vector.expected()]))
    shape = vector.arrays[array].shape
    place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    found = compare(name, off(name, array, place), diagnose=False)
    assert found.first.array == array
    assert found.first.place == place
    assert found.first.got == pytest.approx(found.first.expected + 1.0)
    assert [row.array for row in found.rows if row.verdict != AGREES] == [array]


@settings(max_examples=30)
@given(data=st.data())
def test_of_two_wrong_entries_the_first_in_causal_order_is_named(data):
    vector = load(GRU_BASIC)
    (group,) = groups(vector.arch)
    arrays = {k: v.copy() for k, v in vector.expected().items()}
    places = []
    for _ in range(2):
        k = data.draw(st.integers(0, len(group.names) - 2))
        t = data.draw(st.integers(0, vector.n_time - 1))
        arrays[f"trace/{group.names[k]}"][t, 0, 0] += 1.0
        places.append((t, k))
    t, k = min(places)
    found = compare(vector, arrays, diagnose=False)
    assert (found.first.time, found.first.array) == (
        t,
        f"trace/{group.names[k]}",
    )


def test_backwards_the_last_step_comes_first():
    arrays = expected()
    arrays = {k: v.copy() for k, v in arrays.items()}
    for t in (1, 4):
        arrays["adjoints/a_z"][t, 1, 2] += 1.0
    arrays["grads/W_xr"] += 1.0
    found = compare(GRU_BASIC, arrays, diagnose=False)
    assert (found.first.array, found.first.time) == ("adjoints/a_z", 4)
    assert (found.first.batch, found.first.unit) == (1, 2)


def test_upstream_is_what_it_was_computed_from():
    arrays = off(GRU_BASIC, "trace/n", (0, 1, 3))
    given = {k: arrays[k] for k in ("trace/n", "trace/r", "trace/z", "y")}
    found = compare(GRU_BASIC, given, diagnose=False)
    assert found.first.agreed == ("trace/r",)
    assert set(found.first.not_given) == {
        "trace/a_r",
        "trace/a_hn",
        "trace/a_n",
    }
    assert "first divergence: trace/n at t=0, batch=1, unit=3" in str(found)
    assert "before it agreed: trace/r" in str(found)


def test_a_wrong_final_state_alone_says_what_agreed():
    arrays = off(GRU_BASIC, "state/h", (1, 0))
    given = {k: arrays[k] for k in ("y", "state/h")}
    first = compare(GRU_BASIC, given, diagnose=False).first
    assert (first.array, first.time) == ("state/h", None)
    assert (first.batch, first.unit) == (1, 0)
    assert first.agreed == ("y",)


def test_what_is_not_a_number_is_said_and_diverges():
    arrays = off(GRU_BASIC, "y", (2, 0, 1), np.nan)
    found = compare(GRU_BASIC, arrays)
    (row,) = [row for row in found.rows if row.verdict != AGREES]
    assert row.verdict == "not finite"
    assert found.first.time == 2
    json.dumps(found.to_json(), allow_nan=False)


def test_padding_means_nothing():
    for name in names(["bidirectional", "stack"]):
        vector = load(name)
        if vector.lengths is None or vector.counted.all():
            continue
        arrays = {k: v.copy() for k, v in vector.expected().items()}
        arrays["y"][~vector.counted] = np.nan
        arrays["dx"][~vector.counted] += 1.0
        assert compare(vector, arrays).ok
        arrays["y"][0] += 1.0
        assert not compare(vector, arrays, diagnose=False).ok
        return
    pytest.fail("no file has padding")


# --- the border -------------------------------------------------------------


def refused(candidate, match, **options):
    with pytest.raises(ValueError, match=match):
        compare(GRU_BASIC, candidate, **options)


def test_names_that_it_does_not_have_are_refused_with_near_ones():
    y = expected()["y"]
    refused({"trace/rr": y}, "'trace/rr' is no array.*did you mean trace/r")
    refused({"h": y}, "'h' is no array of gru/basic.*state/h")
    refused({"y": y}, "mapping names 'Y'.*did you mean", mapping={"Y": "y"})
    refused({"o": y}, "'yy' .by the mapping of 'o'", mapping={"o": "yy"})
    refused({"y": y, "o": y}, "two arrays are called 'y'", mapping={"o": "y"})


def test_a_mapping_gives_arrays_their_names():
    arrays = expected()
    given = {"out": arrays["y"], "h_n": arrays["state/h"]}
    mapping = {"out": "y", "h_n": "state/h"}
    assert compare(GRU_BASIC, given, mapping=mapping).ok


def test_nothing_expected_is_refused():
    refused({}, "holds none of the expected arrays")
    refused({"x": load(GRU_BASIC).x}, "holds none of the expected arrays")


def test_wrong_shapes_are_refused_and_recognised():
    arrays = expected()
    y, h, W = arrays["y"], arrays["state/h"], arrays["grads/W_xr"]
    refused({"y": y.swapaxes(0, 1)}, r"\(n_batch, n_time, ·\), batch first")
    refused({"grads/W_xr": W.T}, "is transposed")
    refused({"state/h": h[None]}, "axis of length 1 too many")
    refused({"state/h": y}, r"has shape \(6, 2, 5\), expected \(2, 5\).*trace/")
    refused({"y": y[:-1]}, r"has shape \(5, 2, 5\), expected \(6, 2, 5\)$")
    refused({"y": y.astype(str)}, "dtype <U.*expected real numbers")
    refused({"y": y + 1j}, "dtype complex128")


def test_lists_are_arrays_too():
    assert compare(GRU_BASIC, {"y": expected()["y"].tolist()}).ok


def test_a_vector_is_opened_by_its_name_its_files_or_itself(tmp_path):
    vector = load(GRU_BASIC)
    write(vector, tmp_path)
    stem = tmp_path / GRU_BASIC
    for reference in (
        vector,
        GRU_BASIC,
        stem,
        str(stem),
        stem.with_suffix(".json"),
        f"{stem}.safetensors",
    ):
        assert opened(reference).name == GRU_BASIC
    with pytest.raises(ValueError, match="did you mean"):
        opened("gru/basci")
    assert read(stem).name == GRU_BASIC


def test_a_candidate_may_be_a_file(tmp_path):
    path = tmp_path / "port.npz"
    np.savez(path, y=expected()["y"])
    assert compare(GRU_BASIC, path).ok
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="port"):
        compare(GRU_BASIC, path)


# --- what it says -----------------------------------------------------------


def test_json_holds_what_the_text_says():
    found = compare(GRU_BASIC, off(GRU_BASIC, "trace/z", (3, 0, 1)))
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["ok"] is False
    assert told["first"]["array"] == "trace/z"
    assert told["first"]["time"] == 3
    assert len(told["rows"]) == len(found.rows)
    assert told["diagnosis"]["kind"] == "unknown"
    assert compare(GRU_BASIC, expected()).to_json()["first"] is None


@pytest.mark.parametrize("name", ["gru/basic", "stack/basic-2", "linear/basic"])
def test_the_figure_is_drawn(name, tmp_path):
    from msref.vectors.divergence import table

    arrays = off(name, "y", (2, 0, 1))
    found = compare(name, arrays, diagnose=False)
    rows, grid = table(found)
    assert rows == [row.array for row in found.rows]
    assert grid.shape == (len(rows), load(name).n_time)
    assert grid[rows.index("y")].argmax() == 2
    assert grid[rows.index("y"), 2] > 0
    for k, comparison in enumerate((found, compare(name, expected(name)))):
        path = tmp_path / f"{k}.png"
        comparison.draw(path)
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
