"""Deep IndRNNs: what they are made of, and the counts that were published."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msref
from msref.architectures import (
    BatchNorm,
    Dropout,
    IndRNN,
    Linear,
    Residual,
    Stack,
    buffers,
    is_causal,
    plain_indrnn,
    residual_indrnn,
)
from msref.verification import verify

SEEDS = st.integers(0, 2**32 - 1)
BOTH = pytest.mark.parametrize("build", [plain_indrnn, residual_indrnn])


def leaves(arch):
    if not hasattr(arch, "with_parts"):
        return [arch]
    return [leaf for part in arch.parts for leaf in leaves(part)]


def kinds(arch):
    return [type(leaf) for leaf in leaves(arch)]


def units(arch):
    return [leaf for leaf in leaves(arch) if isinstance(leaf, IndRNN)]


def n_learned(arch):
    """Count parameters, with a read-out of ten classes."""
    learned = set(arch.shapes()) - set(buffers(arch))
    n = sum(int(np.prod(arch.shapes()[name])) for name in learned)
    return n + 10 * (arch.n_out + 1)


# --- the half that only remembers -------------------------------------------


@settings(max_examples=50)
@given(SEEDS, st.integers(1, 6), st.sampled_from(["relu", "tanh"]))
def test_without_mixing_it_is_the_network_with_identity_weights(seed, n, f):
    rng = np.random.default_rng(seed)
    alone, whole = IndRNN(n, n, f, mixes=False), IndRNN(n, n, f)
    w = {"w_hh": rng.standard_normal(n)}
    full = {"W_xh": np.eye(n), "b_h": np.zeros(n), **w}
    x, dy = rng.standard_normal((2, 7, 3, n))
    h, dh = ({"h": rng.standard_normal((3, n))} for _ in range(2))
    y, final, tape = alone.forward(w, x, h)
    y_whole, final_whole, tape_whole = whole.forward(full, x, h)
    np.testing.assert_allclose(y, y_whole, 1e-12, 1e-14)
    np.testing.assert_allclose(final["h"], final_whole["h"], 1e-12, 1e-14)
    g = alone.backward(w, tape, dy, dh)
    g_whole = whole.backward(full, tape_whole, dy, dh)
    np.testing.assert_allclose(g.x, g_whole.x, 1e-12, 1e-14)
    np.testing.assert_allclose(
        g.params["w_hh"], g_whole.params["w_hh"], 1e-12, 1e-13
    )
    assert not np.shares_memory(g.x, g.adjoints["a"])


def test_without_mixing_a_unit_reads_its_own_input():
    with pytest.raises(ValueError, match="n_in is 3 and n_hid is 4, expected"):
        IndRNN(3, 4, mixes=False)


# --- published counts -------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "published"),
    [
        (plain_indrnn(1, 128, 6, dropout=0.1), 86_410),
        (plain_indrnn(1, 128, 12), 187_786),
        (residual_indrnn(1, 128, 5, dropout=0.1), 170_890),
    ],
)
def test_parameters_are_as_many_as_the_authors_logs_say(arch, published):
    assert n_learned(arch) == published


def test_five_blocks_have_eleven_recurrences():
    assert len(units(residual_indrnn(1, 8, 5))) == 11


# --- what they are made of --------------------------------------------------


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        ({}, [Linear, IndRNN, BatchNorm]),
        ({"norm": "before"}, [Linear, BatchNorm, IndRNN]),
        ({"norm": None}, [Linear, IndRNN]),
        ({"dropout": 0.2}, [Linear, IndRNN, BatchNorm, Dropout]),
        ({"norm": None, "dropout": 0.2}, [Linear, IndRNN, Dropout]),
    ],
)
def test_layers_stand_in_order(options, layer):
    assert kinds(plain_indrnn(2, 4, 3, **options)) == 3 * layer
    linear, *recurrence = layer
    block = [*recurrence, linear] * 2
    expected = [linear, *block, *block, *recurrence]
    arch = residual_indrnn(2, 4, 2, **options)
    assert kinds(arch) == expected
    assert [type(part) for part in arch.parts[1:3]] == [Residual] * 2
    assert arch.n_in == 2
    assert arch.n_out == 4


@BOTH
def test_options_reach_the_recurrences(build):
    arch = build(
        *(2, 4, 3),
        dropout=0.25,
        activation="tanh",
        horizon=30,
        gamma=5.0,
        reads="last",
    )
    found = units(arch)
    assert {u.activation for u in found} == {"tanh"}
    assert {(u.horizon, u.gamma) for u in found} == {(30, 5.0)}
    assert [u.reads for u in found] == ["all"] * (len(found) - 1) + ["last"]
    rates = {x.rate for x in leaves(arch) if isinstance(x, Dropout)}
    assert rates == {0.25}
    assert {u.reads for u in units(build(2, 4, 3))} == {"all"}
    assert not any(u.mixes for u in found)


@BOTH
@pytest.mark.parametrize("norm", ["after", "before", None])
def test_linear_layers_start_as_the_authors_do(build, norm):
    arch = build(3, 50, 2, norm=norm)
    params = arch.init(np.random.default_rng(0))
    weights = [v for k, v in params.items() if k.endswith("W_xy")]
    assert len(weights) == sum(k is Linear for k in kinds(arch))
    for W in weights:
        limit = 0.3038 / np.sqrt(len(W))
        assert 0.9 * limit < np.abs(W).max() <= limit * 1.0001
    # a mean that is subtracted takes a bias away
    assert any(k.endswith("b_y") for k in params) == (norm != "before")


@settings(max_examples=25)
@given(SEEDS)
def test_without_normalisation_a_plain_one_is_a_stack_of_indrnns(seed):
    rng = np.random.default_rng(seed)
    deep = plain_indrnn(3, 4, 2, norm=None, horizon=20)
    params = {k: rng.standard_normal(s) for k, s in deep.shapes().items()}
    names = {"W_xh": "0/W_xy", "b_h": "0/b_y", "w_hh": "1/w_hh"}
    above = {"W_xh": "2/W_xy", "b_h": "2/b_y", "w_hh": "3/w_hh"}
    usual = {f"0/{k}": params[v] for k, v in names.items()}
    usual |= {f"1/{k}": params[v] for k, v in above.items()}
    x = rng.standard_normal((9, 2, 3))
    expected = Stack(IndRNN(3, 4), IndRNN(4, 4)).forward(usual, x)[0]
    np.testing.assert_allclose(deep.forward(params, x)[0], expected)


def test_blocks_that_add_nothing_leave_the_last_recurrence():
    arch = residual_indrnn(3, 4, 2, norm=None)
    params = arch.init(np.random.default_rng(0))
    for block in (1, 2):
        params[f"{block}/3/W_xy"][...] = 0.0  # L_2
    params = {k: v + 0.1 * (k == "0/b_y") for k, v in params.items()}
    x = np.random.default_rng(1).standard_normal((9, 2, 3))
    rest = Stack(arch.parts[0], arch.parts[-1])
    few = {k: params[k] for k in ("0/W_xy", "0/b_y")}
    few["1/w_hh"] = params["3/w_hh"]
    expected = rest.forward(few, x)[0]
    np.testing.assert_array_equal(arch.forward(params, x)[0], expected)


# --- as any network ---------------------------------------------------------


@BOTH
@pytest.mark.parametrize("norm", ["after", "before", None])
def test_the_witnesses_agree(build, norm):
    arch = build(2, 3, 1, norm=norm, dropout=0.5, activation="tanh")
    report = verify(arch, cases=1, n_time=7)
    assert report.ok, str(report)
    assert is_causal(arch) == (norm is None)


@BOTH
def test_options_that_cannot_be(build):
    with pytest.raises(ValueError, match="norm is 'twice', expected 'after'"):
        build(2, 3, 1, norm="twice")
    with pytest.raises(ValueError, match=r"n_(layers|blocks) is 0"):
        build(2, 3, 0)
    with pytest.raises(ValueError, match=r"rate is 1\.0"):
        build(2, 3, 1, dropout=1.0)
    with pytest.raises(ValueError, match="reads is 'first'"):
        build(2, 3, 1, reads="first")
    assert getattr(msref, build.__name__) is build
