"""The known wrong variants: each is wrong, each is another, all compose."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    MGU,
    NBRC,
    REGISTRY,
    ULM,
    BatchNorm,
    Bidirectional,
    ClockworkRNN,
    DuRNN,
    Elman,
    IndRNN,
    MultiScaleLMN,
    scan,
)
from msref.vectors.catalogue import load, names
from msref.vectors.judging import agreeing, is_forward
from msref.vectors.variants import gradients, planted, run_variant, variants
from msref.verification import draw
from msref.verification.variants.base import Switched
from msref.verification.variants.bistable import bistable_step
from msref.verification.variants.clocked import clockwork_step, mslmn_step
from msref.verification.variants.dual import durnn_step
from msref.verification.variants.gates import (
    GRU_ORDERS,
    LSTM_ORDERS,
)
from msref.verification.variants.gru import gru_step, mgu_step
from msref.verification.variants.layers import normalised
from msref.verification.variants.lstm import lstm_step
from msref.verification.variants.memories import lmn_step, ulm_step
from msref.verification.variants.recurrent import elman_step, indrnn_step
from msref.verification.variants.wiring import bidirectional

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
BASIC = [name for name in names() if load(name).manifest["purpose"] == "basic"]
STEPS = {
    Elman: elman_step,
    LSTM: lstm_step,
    GRU: gru_step,
    MGU: mgu_step,
    BRC: bistable_step,
    NBRC: bistable_step,
    LMN: lmn_step,
    ULM: ulm_step,
    IndRNN: indrnn_step,
    DuRNN: durnn_step,
    ClockworkRNN: clockwork_step,
    MultiScaleLMN: mslmn_step,
}
REWRITTEN = [arch for arch in EXAMPLES if type(arch) in STEPS]
SMOOTH = [
    arch
    for arch in EXAMPLES
    if not hasattr(arch, "parts") and not getattr(arch, "kinks", ())
]


def variant(arch, key):
    (found,) = [v for v in variants(arch) if v.key == key]
    return found


# --- a step written out again is the step -----------------------------------


@pytest.mark.parametrize("arch", REWRITTEN, ids=repr)
@pytest.mark.parametrize("seed", [0, 1])
def test_with_no_switch_on_it_is_the_networks_own_step(arch, seed):
    case = draw(arch, seed, n_time=9, n_batch=2)
    args = case.params, case.x, case.state, case.t0
    y, state, trace = scan(Switched(arch, STEPS[type(arch)], {}), *args)
    right_y, right_state, right = scan(arch, *args)
    np.testing.assert_allclose(y, right_y, 1e-12, 1e-14)
    assert set(state) == set(right_state)
    for name, value in right_state.items():
        np.testing.assert_allclose(state[name], value, 1e-12, 1e-14)
    assert set(trace) == set(right)
    for name, value in right.items():
        np.testing.assert_allclose(trace[name], value, 1e-12, 1e-14)


def test_what_is_no_step_is_the_same_with_no_switch_on_it():
    for arch in EXAMPLES:
        rewritten = {BatchNorm: normalised, Bidirectional: bidirectional}
        if type(arch) not in rewritten:
            continue
        from msref.verification.variants.base import Rewired

        case = draw(arch, 3, n_time=5, n_batch=3)
        args = case.params, case.x, case.state, case.t0, np, case.lengths
        again = scan(Rewired(arch, rewritten[type(arch)], {}), *args)
        right = scan(arch, *args)
        np.testing.assert_allclose(again[0], right[0], rtol=1e-14)
        for name in again[2]:
            np.testing.assert_allclose(again[2][name], right[2][name], 1e-14)


# --- each is wrong, and another ---------------------------------------------


@pytest.mark.parametrize("name", BASIC)
def test_every_variant_shows_on_the_basic_file_unless_it_needs_more(name):
    vector = load(name)
    right = {k: v for k, v in vector.arrays.items() if is_forward(k)}
    assert agreeing(run_variant(vector), right, vector)[1] == []
    for wrong in variants(vector.arch):
        arrays = run_variant(vector, [wrong])
        seen = "y" not in arrays or agreeing(arrays, right, vector)[1]
        assert seen or wrong.needs, wrong.key


@pytest.mark.parametrize("name", BASIC)
def test_mostly_the_output_or_the_final_state_shows_it(name):
    """What a ReLU cuts off may show in the trace alone."""
    vector = load(name)
    kinks = getattr(vector.arch, "kinks", ())
    for wrong in variants(vector.arch):
        arrays = run_variant(vector, [wrong])
        outputs = {
            k: v for k, v in arrays.items() if k == "y" or k[:6] == "state/"
        }
        bad = agreeing(outputs, vector.arrays, vector)[1]
        assert bad or "y" not in arrays or wrong.needs or kinks, wrong.key


@every
def test_no_two_variants_have_one_name(arch):
    found = variants(arch)
    assert len({v.key for v in found}) == len(found)
    assert len({(v.kind, v.where) for v in found}) == len(found)
    for v in found:
        assert v.advice
        assert len(v.advice) > 8


@pytest.mark.parametrize("arch", SMOOTH, ids=repr)
def test_no_two_variants_of_a_network_are_one_function(arch):
    """Nothing hides behind small weights; a ReLU may hide a state for good."""
    case = draw(arch, 6, n_time=17, n_batch=3)
    params = {
        k: v if k == "var" else 0.8 * v / np.sqrt(np.mean(v[v != 0] ** 2))
        for k, v in case.params.items()
    }
    args = params, case.x, case.state, 0, np, case.lengths
    runs = []
    for wrong in variants(arch):
        if wrong.needs or hasattr(arch, "draw_state"):
            continue
        with np.errstate(all="ignore"):
            y, state, _ = scan(planted(arch, [wrong]), *args)
        runs.append((wrong.key, y, state))
    for k, (key, y, state) in enumerate(runs):
        for other, y2, state2 in runs[:k]:
            same = y.shape == y2.shape and np.allclose(y, y2, 1e-9, 1e-12)
            same = same and all(
                np.allclose(v, state2[n], 1e-9, 1e-12)
                for n, v in state.items()
                if n in state2
            )
            assert not same, (key, other)


def test_the_counts_that_were_asked_for():
    assert len(variants(LSTM(3, 5))) >= 17
    assert len(variants(GRU(3, 5))) >= 14
    assert len(variants(Elman(3, 5))) >= 8


# --- orders of gates --------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "orders"), [(LSTM(3, 5), LSTM_ORDERS), (GRU(3, 5), GRU_ORDERS)]
)
def test_every_confusion_of_two_libraries_orders_is_a_variant(arch, orders):
    right = next(iter(orders))
    for written in orders:
        for read in orders:
            if written == read:
                continue
            taken = "".join(
                dict(zip(read, written, strict=True))[k] for k in right
            )
            said = (
                f"written as {' '.join(written)} ({orders[written]}) and read"
                f" as {' '.join(read)} ({orders[read]})"
            )
            told = [v for v in variants(arch) if said in v.advice]
            assert told, (written, read)
            case = draw(arch, 1, n_time=2, n_batch=2)
            wrong = planted(arch, told[:1])
            y = scan(wrong, case.params, case.x, case.state)[0]
            moved = dict(case.params)
            for k, j in zip(right, taken, strict=True):
                for kind in ("W_x", "W_h", "b_"):
                    moved[f"{kind}{k}"] = case.params[f"{kind}{j}"]
            again = scan(arch, moved, case.x, case.state)[0]
            np.testing.assert_allclose(y, again, rtol=1e-13)


def test_the_second_bias_goes_along_with_its_gate():
    arch = GRU(2, 3)
    case = draw(arch, 0, n_time=3, n_batch=2)
    both = variant(arch, "gates r and n swapped")
    alone = variant(arch, "gates r and n swapped, b_hn in its place")
    args = case.params, case.x, case.state
    assert not np.allclose(
        scan(planted(arch, [both]), *args)[0],
        scan(planted(arch, [alone]), *args)[0],
    )
    case.params["b_hn"] *= 0.0
    np.testing.assert_array_equal(
        scan(planted(arch, [both]), *args)[0],
        scan(planted(arch, [alone]), *args)[0],
    )


# --- they compose -----------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_any_two_of_them_run_together(data):
    arch = data.draw(st.sampled_from(EXAMPLES))
    known = variants(arch)
    one, two = (data.draw(st.sampled_from(known)) for _ in range(2))
    case = draw(arch, 5, n_time=4, n_batch=3)
    wrong = planted(arch, [one, two])
    with np.errstate(all="ignore"):
        y, _, trace = scan(
            wrong,
            case.params,
            case.x,
            case.state,
            case.t0,
            np,
            case.lengths,
        )
    assert y.shape == (*case.x.shape[:2], arch.n_out)
    assert trace["y"] is y or np.array_equal(trace["y"], y, equal_nan=True)


def test_two_mistakes_are_both_in_effect():
    vector = load("lstm/basic")
    one = variant(vector.arch, "gates i and f swapped")
    two = variant(vector.arch, "forget gate coupled, f = 1 - i")
    pair = run_variant(vector, [one, two])
    p = vector.params
    swapped = dict(p)
    for kind in ("W_x", "W_h", "b_"):
        swapped[f"{kind}i"], swapped[f"{kind}f"] = p[f"{kind}f"], p[f"{kind}i"]
    alone = planted(vector.arch, [two])
    y = scan(alone, swapped, vector.x, vector.state0)[0]
    np.testing.assert_array_equal(pair["y"], y)
    again = run_variant(vector, [two, one])
    np.testing.assert_array_equal(pair["y"], again["y"])


def test_two_switches_of_one_step_are_both_on():
    vector = load("lstm/basic")
    one = variant(vector.arch, "tanh missing (tanh(c))")
    two = variant(vector.arch, "forget gate coupled, f = 1 - i")
    runs = [
        run_variant(vector, wrong)
        for wrong in ([one, two], [two, one], [one], [two])
    ]
    both, again, *alone = runs
    np.testing.assert_array_equal(both["y"], again["y"])
    np.testing.assert_allclose(both["trace/f"], 1.0 - both["trace/i"])
    h = both["trace/o"] * both["trace/c"]
    np.testing.assert_allclose(both["y"], h)
    for other in alone:
        assert not np.allclose(both["y"], other["y"])


def test_the_right_network_is_left_alone():
    arch = REGISTRY["stack"].examples[0]
    before = repr(arch)
    case = draw(arch, 0, n_time=3, n_batch=2)
    kept = {k: v.copy() for k, v in case.params.items()}
    for wrong in variants(arch):
        scan(planted(arch, [wrong]), case.params, case.x, case.state)
    assert repr(arch) == before
    for name, value in kept.items():
        np.testing.assert_array_equal(case.params[name], value)


# --- parts ------------------------------------------------------------------


def test_a_combined_network_has_the_mistakes_of_its_parts():
    arch = REGISTRY["stack"].examples[1]
    keys = {v.key for v in variants(arch)}
    assert "0/1: reset before the product" in keys
    assert "1: reset before the product" in keys
    assert "0: outputs of the reverse direction not flipped back" in keys
    assert "initial state ignored" in keys
    wrong = variant(arch, "0/1: reset before the product")
    assert wrong.path == (0, 1)
    case = draw(arch, 2, n_time=4, n_batch=2)
    args = case.params, case.x, case.state, 0, np, case.lengths
    trace, right = scan(planted(arch, [wrong]), *args)[2], scan(arch, *args)[2]
    np.testing.assert_array_equal(trace["0/0/h"], right["0/0/h"])
    assert not np.allclose(trace["0/1/h"], right["0/1/h"])


# --- derivatives ------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["gru/basic", "mslmn/basic-4", "stack/basic-2"]
)
def test_every_variant_can_be_differentiated(name):
    vector = load(name)
    expected = {
        k for k in vector.arrays if k.startswith(("grads/", "dx", "dstate0/"))
    }
    for wrong in variants(vector.arch)[::3]:
        found = gradients(vector, [wrong])
        assert set(found) == expected
        for key, value in found.items():
            assert value.shape == vector.arrays[key].shape


def test_the_gradients_of_no_mistake_are_the_expected_ones():
    vector = load("lstm/cut-sequence")
    good, bad = agreeing(gradients(vector), vector.arrays, vector)
    assert not bad
    assert len(good) == 15


def test_a_derivative_of_a_variant_is_that_of_its_scan():
    vector = load("elman/basic")
    wrong = variant(vector.arch, "W_hh transposed")
    g = gradients(vector, [wrong])
    arch = planted(vector.arch, [wrong])

    def loss(x):
        y, state, _ = scan(arch, vector.params, x, vector.state0, 0, anp)
        return anp.sum(vector.dy * y) + anp.sum(vector.dstate["h"] * state["h"])

    np.testing.assert_allclose(g["dx"], autograd.grad(loss)(vector.x), 1e-12)
