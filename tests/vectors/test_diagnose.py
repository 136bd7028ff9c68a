"""A wrong port is told by its numbers: which mistake, which precision."""

import numpy as np
import pytest
from wrong_ports import ELMAN_BUGS, GRU_BUGS, LSTM_BUGS, elman, gru, lstm

from msref.architectures import REGISTRY
from msref.vectors.backward import run_backward, wrong_backwards
from msref.vectors.catalogue import load
from msref.vectors.compare import compare
from msref.vectors.precision import PRECISIONS, simulated
from msref.vectors.variants import (
    forward_of,
    gradients,
    inputs,
    run_variant,
    variants,
)

PORTS = {
    "lstm": (lstm, LSTM_BUGS),
    "gru": (gru, GRU_BUGS),
    "elman": (elman, ELMAN_BUGS),
}
BUGS = [(cell, bug) for cell, (_, bugs) in PORTS.items() for bug in bugs]
FIRST = [f"{name}/basic" for name in REGISTRY]


def port_of(cell, bug=""):
    vector = load(f"{cell}/basic")
    port, _ = PORTS[cell]
    return vector, port(vector.params, vector.x, vector.state0, bug)


def keys(comparison):
    return [match.keys for match in comparison.diagnosis.matches]


def variant(vector, key):
    (found,) = [v for v in variants(vector.arch) if v.key == key]
    return found


# --- ports that were written apart from msref -------------------------------


@pytest.mark.parametrize("cell", PORTS)
def test_the_ports_are_right_where_they_have_no_bug(cell):
    vector, outputs = port_of(cell)
    assert compare(vector, outputs).ok


def test_the_tables_of_bugs_are_long_enough():
    assert len(LSTM_BUGS) >= 17
    assert len(GRU_BUGS) >= 14
    assert len(ELMAN_BUGS) >= 8


@pytest.mark.parametrize(("cell", "bug"), BUGS)
def test_each_bug_is_named_from_the_outputs_of_the_wrong_port_alone(cell, bug):
    vector, outputs = port_of(cell, bug)
    found = compare(vector, outputs)
    assert not found.ok
    assert keys(found) == [(PORTS[cell][1][bug],)]
    (match,) = found.diagnosis.matches
    assert match.agreeing == match.held == len(outputs)
    assert match.advice[0][1:] in str(found)  # a sentence has a capital


# --- every variant of every network -----------------------------------------


@pytest.mark.parametrize("name", FIRST)
def test_every_variant_is_named_by_its_own_arrays(name):
    """Alone, or among others that this file cannot tell from it."""
    vector = load(name)
    for wrong in variants(vector.arch):
        arrays = run_variant(vector, [wrong])
        found = compare(vector, arrays, seconds=0.0)
        if found.ok:
            assert wrong.needs, wrong.key
        else:
            assert (wrong.key,) in keys(found), wrong.key


def test_what_cannot_be_told_apart_is_named_with_the_array_that_would_tell():
    """The final state does not know in which order the outputs were."""
    vector = load("gru/basic")
    one = variant(vector, "sequence read backwards")
    two = variant(vector, "sequence read backwards, outputs flipped back")
    h = run_variant(vector, [one])["state/h"]
    found = compare(vector, {"state/h": h})
    assert set(keys(found)) == {(one.key,), (two.key,)}
    assert not found.diagnosis.named
    assert "one of 2 mistakes that the arrays given cannot tell" in str(found)
    assert found.diagnosis.told_by.endswith("give it as well")
    told = found.diagnosis.told_by.partition(" ")[0]
    arrays = [run_variant(vector, [v])[told] for v in (one, two)]
    assert not np.allclose(*arrays)


def test_where_no_array_of_this_file_would_tell_another_file_is_named():
    """One step does not know what is fed back."""
    vector = load("gru/one-step")
    one = variant(vector, "initial state ignored")
    two = variant(vector, "state not fed back")
    found = compare(vector, run_variant(vector, [one]))
    assert set(keys(found)) == {(one.key,), (two.key,)}
    said = "the file gru/basic would tell them apart, by "
    assert found.diagnosis.told_by.startswith(said)
    told = found.diagnosis.told_by.removeprefix(said)
    arrays = [run_variant(load("gru/basic"), [v])[told] for v in (one, two)]
    assert not np.allclose(*arrays)


def test_a_mistake_that_leaves_an_array_alone_is_not_seen_in_it():
    """With the state alone, a late output looks like the right network."""
    vector = load("lstm/basic")
    wrong = variant(vector, "c put out for h")
    arrays = run_variant(vector, [wrong])
    assert compare(vector, {"state/h": arrays["state/h"]}).ok
    assert keys(compare(vector, arrays)) == [(wrong.key,)]


# --- two mistakes -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("gru/basic", "reset before the product", "initial state ignored"),
        ("gru/basic", "update gate inverted", "recurrent weights transposed"),
        ("gru/basic", "sequence read backwards", "b_hn dropped"),
        ("elman/basic", "W_hh transposed", "b_h dropped"),
        ("brc/basic", "keep gate inverted", "initial state ignored"),
    ],
)
def test_two_mistakes_at_once_are_named_as_a_pair(name, one, two):
    vector = load(name)
    pair = [variant(vector, one), variant(vector, two)]
    arrays = run_variant(vector, pair)
    given = {k: v for k, v in arrays.items() if not k.startswith("trace/")}
    found = compare(vector, given, seconds=60.0)
    assert {one, two} in [set(match) for match in keys(found)]
    assert found.diagnosis.kind == "pair"


def test_the_search_for_pairs_ends_in_time_and_says_so():
    vector = load("lstm/basic")
    seen = []
    found = compare(
        vector,
        {"y": vector.arrays["y"] + 0.1},
        seconds=0.2,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert found.diagnosis.kind == "unknown"
    assert "then the time of 0.2 s was up" in str(found)
    assert "no known variant; 0 of 1 arrays agree" in str(found)
    assert seen[0][0] == 0
    assert seen[0][1] > 1000


def test_outputs_alone_decide_where_the_trace_has_other_names():
    vector = load("gru/basic")
    wrong = variant(vector, "gates r and z swapped")
    arrays = run_variant(vector, [wrong])
    arrays["trace/r"], arrays["trace/z"] = arrays["trace/z"], arrays["trace/r"]
    found = compare(vector, arrays, seconds=0.0)
    assert keys(found) == [(wrong.key,)]
    assert "other quantities seem to stand under these names" in str(found)


# --- gradients --------------------------------------------------------------


def test_a_wrong_forward_pass_is_named_by_its_gradients_alone():
    vector = load("gru/basic")
    wrong = variant(vector, "b_hn outside the reset")
    assert keys(compare(vector, gradients(vector, [wrong]))) == [(wrong.key,)]


def test_gradients_that_are_right_for_the_wrong_network_are_said_to_be():
    vector = load("elman/basic")
    wrong = variant(vector, "W_hh transposed")
    given = run_variant(vector, [wrong]) | gradients(vector, [wrong])
    assert "gradients are right for the network" in str(compare(vector, given))
    given["dx"] = -given["dx"]
    assert "differ even for the network" in str(compare(vector, given))


@pytest.mark.parametrize(
    ("name", "stride"), [("gru/cut-sequence", 5), ("elman/basic", 1)]
)
def test_every_wrong_backward_pass_is_named(name, stride):
    """Or the first of several that make the same numbers."""
    vector = load(name)
    right = {k: vector.arrays[k] for k in ("y", "state/h")}
    bugs = list(wrong_backwards(vector))
    n_named = 0
    for bug in bugs[::stride]:
        found = compare(vector, right | bug.arrays)
        if found.ok:  # this file has no gradient at the final state
            continue
        assert found.diagnosis.kind == "backward"
        (match,) = found.diagnosis.matches
        first = next(b for b in bugs if b.key in match.keys)
        for array, value in first.arrays.items():
            np.testing.assert_allclose(bug.arrays[array], value, 1e-9, 1e-12)
        n_named += 1
    assert n_named >= 10


def test_the_length_of_a_truncation_is_found():
    vector = load("lstm/basic")
    (bug,) = [
        w
        for w in wrong_backwards(vector)
        if w.key == "gradient cut every 2 steps"
    ]
    found = compare(vector, bug.arrays | {"y": vector.arrays["y"]})
    assert keys(found) == [("gradient cut every 2 steps",)]
    assert "the forward pass agrees" in found.diagnosis.notes


def test_an_output_sent_back_through_no_step_is_a_cut_at_every_step():
    bugs = {w.key: w.arrays for w in wrong_backwards(load("lstm/basic"))}
    one = bugs["each output sent back through 0 steps"]
    for array, value in bugs["gradient cut every 1 steps"].items():
        np.testing.assert_allclose(one[array], value, 1e-12, 1e-15)
    assert "each output sent back through 4 steps" in bugs
    assert "each output sent back through 5 steps" not in bugs  # all of six


def test_the_right_backward_pass_has_no_diagnosis():
    vector = load("gru/basic")
    found = compare(vector, run_backward(vector.arch, vector))
    assert found.ok
    assert found.diagnosis is None


# --- precision --------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm/basic", "gru/basic-2", "mslmn/basic-4"])
@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: p.what)
def test_each_precision_is_told_by_the_size_of_its_errors(name, precision):
    vector = load(name)
    arrays = simulated(vector, precision)
    found = compare(vector, {"y": arrays["y"]}, seconds=0.0)
    assert found.diagnosis.kind == "precision"
    assert found.precision == precision.name
    assert precision.what in str(found)


@pytest.mark.parametrize("name", ["elman/basic", "lstm/basic", "stack/basic-2"])
def test_a_run_in_float32_is_called_that(name):
    vector = load(name)
    single = {k: v.astype(np.float32) for k, v in inputs(vector).items()}
    arrays = forward_of(vector.arch, vector, single)
    assert {v.dtype for v in arrays.values()} == {np.dtype(np.float32)}
    assert compare(vector, arrays).ok
    found = compare(vector, {k: v.astype(float) for k, v in arrays.items()})
    assert found.precision == "float32"
    assert "double precision" in str(found)


@pytest.mark.parametrize("name", ["elman/basic", "lstm/basic", "lmn/basic"])
def test_a_run_in_float16_is_called_that(name):
    """NumPy's own half precision, which sums up in another order."""
    vector = load(name)
    half = {k: v.astype(np.float16) for k, v in inputs(vector).items()}
    arrays = forward_of(vector.arch, vector, half)
    assert {v.dtype for v in arrays.values()} == {np.dtype(np.float16)}
    given = {k: v.astype(float) for k, v in arrays.items()}
    found = compare(vector, given, seconds=0.0)
    assert found.precision == "float16"


def test_the_state_at_a_cut_may_be_among_what_is_single():
    vector = load("gru/cut-sequence")
    given = {
        k: vector.arrays[k].astype(np.float32).astype(float)
        for k in ("cut/h", "y", "state/h")
    }
    assert compare(vector, given).precision == "float32"


def test_a_wrong_variant_in_single_precision_is_named_too():
    vector = load("gru/basic")
    wrong = variant(vector, "reset before the product")
    arrays = run_variant(vector, [wrong])
    single = {k: v.astype(np.float32) for k, v in arrays.items()}
    found = compare(vector, single)
    assert keys(found) == [(wrong.key,)]
    assert found.precision == "float32"
    widened = {k: v.astype(np.float64) for k, v in single.items()}
    found = compare(vector, widened)
    assert keys(found) == [(wrong.key,)]
    assert "to single precision" in str(found)


def test_single_precision_of_the_backward_pass_alone_is_said():
    vector = load("elman/basic")
    g = run_backward(vector.arch, vector)
    given = {k: v.astype(np.float32).astype(float) for k, v in g.items()}
    found = compare(vector, given | {"y": vector.arrays["y"]})
    assert "single precision in the backward pass" in str(found)


def test_other_inputs_are_said_before_anything_else():
    vector = load("gru/basic")
    given = {"x": vector.x[::-1], "y": vector.arrays["y"] + 1.0}
    found = compare(vector, given)
    assert found.first.array == "x"
    assert "the port ran on other inputs: x" in str(found)


# --- gradients that are off by a factor, and errors that are no roundings ---


def gradients_of(vector):
    return {
        name: value
        for name, value in vector.expected().items()
        if name.startswith(("grads/", "dx", "dstate0/"))
    }


@pytest.mark.parametrize("name", ["gru/basic", "lmn/basic-2", "brc/bias"])
def test_one_factor_of_all_gradients_is_named(name):
    vector = load(name)
    n_time, n_batch, n_out = vector.dy.shape
    for factor, called in (
        (1.0 / (n_time * n_batch * n_out), "1 / (n_time n_batch n_out)"),
        (1.0 / n_batch, "1 / n_batch"),
        (-1.0, "-1"),
        (0.3, "0.3"),
    ):
        given = {k: factor * v for k, v in gradients_of(vector).items()}
        found = compare(vector, given).diagnosis
        assert found.matches[0].keys == (f"all gradients times {called}",)


def test_factors_and_axes_of_single_gradients_are_named():
    vector = load("gru/basic")
    given = gradients_of(vector)
    given["dx"] = np.zeros_like(given["dx"])
    given["grads/b_r"] = 2 * given["grads/b_r"]
    given["grads/W_hr"] = given["grads/W_hr"].T
    found = compare(vector, given).diagnosis
    assert found.matches[0].keys == (
        "dx times 0",
        "grads/b_r times 2",
        "grads/W_hr transposed",
    )
    given["grads/W_hz"] = given["grads/W_hz"] + 1e-3
    assert compare(vector, given).diagnosis.kind == "unknown"


@pytest.mark.parametrize("cell", ["gru", "lstm", "elman", "lmn"])
def test_an_offset_or_a_factor_is_no_rounding(cell):
    vector = load(f"{cell}/basic")
    y = vector.expected()["y"]
    for size in (1e-3, 1e-5, 1e-7):
        for wrong in (y + size, y * (1 + size)):
            assert compare(vector, {"y": wrong}).diagnosis.kind == "unknown"


def test_one_entry_that_is_off_is_no_precision():
    vector = load("gru/basic")
    given = vector.expected()
    given["grads/W_hr"] = given["grads/W_hr"].copy()
    given["grads/W_hr"][0, 0] *= 1 + 1e-9
    found = compare(vector, given)
    assert found.diagnosis.kind == "unknown"
    text = str(found)
    got, expected = text.split("got ")[1].splitlines()[0].split(", expected ")
    assert got != expected
    single = {
        k: v.astype(np.float32).astype(np.float64)
        for k, v in gradients_of(vector).items()
    }
    assert compare(vector, single).diagnosis.precision == "float32"


def test_a_bias_that_was_never_loaded_has_a_gradient_of_its_own():
    vector = load("lstm/basic")
    wrong = variant(vector, "b_f dropped")
    given = run_variant(vector, [wrong]) | {
        k: v
        for k, v in gradients(vector, [wrong]).items()
        if k.startswith("grads/")
    }
    given["grads/b_f"] = given["grads/b_f"] + 1.0
    assert "gradients are right" in str(compare(vector, given))
