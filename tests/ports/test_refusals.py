"""What cannot be, and what the weights do not say: refused, with the reason."""

import re

import numpy as np
import pytest
from portable import parameters

from msref.architectures import (
    GRU,
    LMN,
    LSTM,
    Bidirectional,
    Elman,
    Parallel,
    Stack,
)
from msref.ports import FRAMEWORKS, convert
from msref.ports.cases import both

TORCH = FRAMEWORKS["torch"]


def exported(key, arch, **options):
    zero = ("b_hn",) if key == "nnx" else ()
    params = parameters(arch, 0, zero=zero)
    return FRAMEWORKS[key].export(arch, params, **options)[0]


# --- networks that a framework has not --------------------------------------


@pytest.mark.parametrize(
    ("key", "arch", "said"),
    [
        ("torch", GRU(3, 5, reset="before"), "resets after .* two different"),
        ("cudnn", GRU(3, 5, reset="before"), "no weights make them equal"),
        ("flax", GRU(3, 5, reset="before"), "GRUCell resets after"),
        ("haiku", GRU(3, 5), "GRU resets before"),
        (
            "nnx",
            GRU(3, 5),
            r"b_hn is not zero \(largest entry .*GRUCell has no",
        ),
        ("haiku", Elman(3, 5), "VanillaRNN has relu, .* has tanh"),
        ("equinox", Elman(3, 5), "has no layer for Elman.* has GRUCell"),
        ("equinox", Stack(LSTM(3, 5), LSTM(5, 5)), "export each part"),
        ("haiku", Bidirectional(LSTM(3, 5), LSTM(3, 5)), "no bidirectional"),
        ("torch", Stack(LSTM(3, 5), LSTM(5, 4)), "one kind and size"),
        ("torch", Bidirectional(GRU(3, 5), GRU(3, 4)), "one kind and size"),
        ("torch", Stack(both(LSTM(3, 5)), LSTM(10, 5)), r"\(2 directions\)"),
        ("onnx", Bidirectional(GRU(3, 5), GRU(3, 4)), "directions of a layer"),
        ("torch", Stack(GRU(3, 5), LSTM(5, 5)), "one kind and size"),
    ],
)
def test_what_a_framework_has_not_is_refused_with_the_reason(key, arch, said):
    with pytest.raises(ValueError, match=said):
        FRAMEWORKS[key].export(arch, parameters(arch, 0))


@pytest.mark.parametrize(
    "arch",
    [
        LMN(3, 4, 5),
        Stack(LSTM(3, 4), LMN(4, 5, 2)),
        Parallel(GRU(3, 4), GRU(3, 4)),
        Stack(Stack(LSTM(3, 4), LSTM(4, 4)), LSTM(4, 4)),
    ],
)
@pytest.mark.parametrize("key", FRAMEWORKS)
def test_what_nobody_has_is_refused(key, arch):
    with pytest.raises(ValueError, match="expected Elman, GRU, LSTM, a Stack"):
        FRAMEWORKS[key].export(arch, parameters(arch, 0))


def test_a_layer_is_chosen_and_must_be_there():
    assert set(exported("nnx", LSTM(3, 5), layer="LSTMCell")) > {"if_/kernel"}
    assert "weight_ih" in exported("torch", LSTM(3, 5), layer="LSTMCell")
    with pytest.raises(ValueError, match="expected one of PyTorch's for LSTM"):
        exported("torch", LSTM(3, 5), layer="GRU")
    with pytest.raises(ValueError, match="a single cell"):
        exported("torch", Stack(GRU(3, 5), GRU(5, 5)), layer="GRUCell")


def test_parameters_are_checked_at_the_border():
    params = parameters(LSTM(3, 5), 0)
    with pytest.raises(ValueError, match=r"missing \['W_xi'\]"):
        TORCH.export(
            LSTM(3, 5), {k: v for k, v in params.items() if k != "W_xi"}
        )
    with pytest.raises(ValueError, match=r"params\['b_i'\] holds nan"):
        TORCH.export(LSTM(3, 5), params | {"b_i": np.full(5, np.nan)})
    with pytest.raises(ValueError, match="shape"):
        TORCH.export(LSTM(3, 4), params)


# --- weights that are not what they should be -------------------------------


def changed(name, change, key="torch", arch=None):
    weights = exported(key, arch or LSTM(3, 5))
    return weights | {name: change(weights[name])}


@pytest.mark.parametrize(
    ("weights", "error", "said"),
    [
        (
            changed("weight_ih_l0", lambda a: a.T),
            ValueError,
            "ih .4H, D",
        ),
        (changed("bias_ih_l0", lambda a: a[:5]), ValueError, "expected those"),
        (changed("bias_ih_l0", lambda a: a * np.inf), ValueError, "inf"),
        (changed("bias_ih_l0", lambda a: a.astype("f4")), TypeError, "float64"),
        (
            changed("bias_ih_l0", lambda a: a.astype(int)),
            TypeError,
            "float32",
        ),
        ({}, ValueError, "none at all"),
        ({"fc.weight": np.zeros((2, 3))}, ValueError, "hint prefix"),
        ({"weight_hr_l0": np.zeros((2, 3))}, ValueError, "proj_size"),
        ({"weight_ih_l0": np.zeros((20, 3))}, ValueError, "weight_hh"),
    ],
)
def test_wrong_weights_are_refused(weights, error, said):
    with pytest.raises(error, match=said):
        TORCH.load(weights)


def test_half_of_the_biases_is_not_no_bias():
    weights = exported("torch", LSTM(3, 5))
    del weights["bias_hh_l0"]
    with pytest.raises(ValueError, match="bias_hh"):
        TORCH.load(weights)
    del weights["bias_ih_l0"]
    _, params, notes = TORCH.load(weights)
    assert not params["b_f"].any()
    assert notes == ("there are no biases: they are zero",)


def test_missing_layers_and_directions_are_named():
    weights = exported("torch", Stack(GRU(3, 5), GRU(5, 5), GRU(5, 5)))
    rest = {k: v for k, v in weights.items() if "l1" not in k}
    with pytest.raises(ValueError, match=r"layers \[0, 2\].* from 0 to 2"):
        TORCH.load(rest)
    weights = exported("torch", Bidirectional(GRU(3, 5), GRU(3, 5)))
    rest = {k: v for k, v in weights.items() if "reverse" in k}
    with pytest.raises(ValueError, match="backwards in time only"):
        TORCH.load(rest)


def test_layers_that_do_not_fit_onto_each_other_are_refused():
    below, above = exported("flax", LSTM(3, 5)), exported("flax", LSTM(4, 5))
    weights = {f"layers_0/cell/{k}": v for k, v in below.items()}
    weights |= {f"layers_1/cell/{k}": v for k, v in above.items()}
    with pytest.raises(ValueError, match="n_in=4, expected 5"):
        FRAMEWORKS["flax"].load(weights)


def test_peepholes_and_states_are_refused():
    weights = exported("onnx", LSTM(3, 5))
    with pytest.raises(ValueError, match="peepholes"):
        FRAMEWORKS["onnx"].load(weights | {"P": np.ones((1, 15))})
    with pytest.raises(ValueError, match="a state, not a weight"):
        FRAMEWORKS["onnx"].load(weights | {"initial_h": np.ones((1, 2, 5))})
    with pytest.raises(ValueError, match="1 or 2 directions"):
        FRAMEWORKS["onnx"].load({k: v[0] for k, v in weights.items()})


def test_a_layer_is_picked_out_of_a_larger_model():
    inner = exported("torch", LSTM(3, 5))
    weights = {f"encoder.rnn.{k}": v for k, v in inner.items()}
    weights["encoder.fc.weight"] = np.zeros((2, 5), int)
    with pytest.raises(ValueError, match="hint prefix"):
        TORCH.load({k: v for k, v in weights.items() if "rnn" in k})
    arch, params, _ = TORCH.load(weights, prefix="encoder.rnn.")
    assert arch == LSTM(3, 5)
    assert set(params) == set(arch.shapes())
    with pytest.raises(ValueError, match="starts with 'decoder"):
        TORCH.load(weights, prefix="decoder.")


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("torch", "encoder.rnn."),
        ("flax", "params/LSTMCell_0/"),
        ("nnx", "encoder/"),
        ("equinox", ".cells.0."),
        ("onnx", "decoder/"),
        ("msref", "params/"),
    ],
)
def test_the_prefix_that_is_missing_is_named(key, prefix):
    port = FRAMEWORKS[key]
    hints = {"reset": "after"} if key == "onnx" else {}
    inner = exported(key, LSTM(3, 5))
    weights = {prefix + name: array for name, array in inner.items()}
    with pytest.raises(ValueError, match=re.escape(f"hint prefix={prefix} ")):
        port.load(weights)
    with pytest.raises(ValueError, match=re.escape(f"hint prefix={prefix} ")):
        port.load(weights, prefix=prefix[:-1])  # the dot forgotten
    arch, _, _ = port.load(weights, prefix=prefix, **hints)
    assert arch == LSTM(3, 5)
    two = weights | {f"b.{name}": array for name, array in inner.items()}
    with pytest.raises(ValueError, match=re.escape(f"={prefix}|b. picks")):
        port.load(two)


@pytest.mark.parametrize(
    ("key", "dense"),
    [
        ("keras", ("dense/kernel", "dense/bias")),
        ("haiku", ("linear/w", "linear/b")),
    ],
)
def test_a_layer_that_does_not_recur_is_named(key, dense):
    """It is not a question of the order of the layers."""
    weights = exported(key, LSTM(3, 5))
    weights |= {dense[0]: np.ones((5, 2)), dense[1]: np.ones(2)}
    layer = dense[0].split("/")[0] if key == "keras" else ""
    with pytest.raises(ValueError, match=f"layer '{layer}': got .*prefix=…"):
        FRAMEWORKS[key].load(weights)
    for prefix in ("lstm", "lstm/"):
        arch, _, _ = FRAMEWORKS[key].load(weights, prefix=prefix)
        assert arch == LSTM(3, 5)


def test_no_prefix_is_named_that_would_not_help():
    """Keras finds its layers behind any path: cutting it off is no use."""
    inner = exported("keras", LSTM(3, 5))
    weights = {f"sequential/{name}": array for name, array in inner.items()}
    assert FRAMEWORKS["keras"].load(weights)[0] == LSTM(3, 5)
    norm = weights | {"sequential/batch_normalization/gamma": np.ones(5)}
    with pytest.raises(
        ValueError, match=r"gamma' is no weight.*prefix=… picks"
    ):
        FRAMEWORKS["keras"].load(norm)


def test_names_of_the_old_keras_end_in_a_number():
    weights = exported("keras", LSTM(3, 5))
    old = {f"{name}:0": array for name, array in weights.items()}
    arch, params, _ = FRAMEWORKS["keras"].load(old)
    assert arch == LSTM(3, 5)
    for name, array in parameters(arch, 0).items():
        np.testing.assert_array_equal(params[name], array)


class Tensor:
    """Of a framework, with a gradient on it."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("detach it first")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([np.zeros(3)], "weights is a list, expected a dict"),
        ({1: np.zeros(3)}, "is 1, expected text"),
        ({"lstm": {"w": np.zeros(3)}}, "lstm is a dict.* joined with slash"),
        ({"weight_ih": Tensor()}, "weight_ih is a Tensor.*: detach it first"),
        ({"weight_ih": np.zeros(3, "f2")}, "float16, expected float32"),
    ],
)
@pytest.mark.parametrize("key", FRAMEWORKS)
def test_what_are_no_named_arrays_is_refused(key, weights, said):
    with pytest.raises(TypeError, match=said):
        FRAMEWORKS[key].load(weights)


@pytest.mark.parametrize("key", FRAMEWORKS)
def test_a_prefix_of_nothing_is_named(key):
    many = {f"a{k}": np.zeros(3) for k in range(50)}
    with pytest.raises(ValueError, match=r"starts with 'zz', .* and 42 more"):
        FRAMEWORKS[key].load(many, prefix="zz")


# --- what the weights do not say --------------------------------------------


@pytest.mark.parametrize(
    ("key", "arch", "said"),
    [
        ("torch", Elman(3, 5), r"hint activation=tanh\|relu"),
        ("keras", Elman(3, 5), r"hint activation=tanh\|relu"),
        ("onnx", GRU(3, 5), r"hint reset=after\|before"),
        ("keras", Stack(GRU(3, 5), LSTM(5, 5)), "hint layers=gru,lstm"),
        ("haiku", Stack(LSTM(3, 5), GRU(5, 5, "before")), "hint layers="),
        ("cudnn", GRU(3, 5), r"hint layer=RNN_TANH\|RNN_RELU\|GRU\|LSTM"),
        ("msref", Stack(GRU(4, 4), GRU(4, 4)), r"hint parts=layers\|dir"),
    ],
)
def test_what_the_weights_do_not_say_has_to_be_hinted(key, arch, said):
    with pytest.raises(ValueError, match=said):
        FRAMEWORKS[key].load(exported(key, arch))


def test_keras_without_bias_does_not_say_the_reset():
    weights = exported("keras", GRU(3, 5))
    del weights["gru/gru_cell/bias"]
    with pytest.raises(ValueError, match=r"hint reset=after\|before"):
        FRAMEWORKS["keras"].load(weights)
    arch, _, _ = FRAMEWORKS["keras"].load(weights, reset="before")
    assert arch == GRU(3, 5, reset="before")


def test_a_flat_bias_of_keras_may_be_of_cudnn():
    """Two layers of one shape, whose kernels are read differently."""
    weights = exported("keras", GRU(3, 5))
    name = "gru/gru_cell/bias"
    flat = weights | {name: weights[name].ravel()}
    keras = FRAMEWORKS["keras"]
    with pytest.raises(ValueError, match=r"hint layer=GRU with .*\|CuDNNGRU"):
        keras.load(flat)
    arch, params, _ = keras.load(flat, layer="GRU with a flat bias")
    for k, array in parameters(arch, 0).items():
        np.testing.assert_array_equal(params[k], array)
    _, other, _ = keras.load(flat, layer="CuDNNGRU")
    assert not np.allclose(other["W_xz"], params["W_xz"])


def test_hints_that_are_none_are_refused():
    weights = exported("torch", LSTM(3, 5))
    with pytest.raises(ValueError, match="no hint 'resets' for PyTorch"):
        TORCH.load(weights, resets="after")
    with pytest.raises(ValueError, match="reset is 'never', expected one of"):
        TORCH.load(weights, reset="never")
    with pytest.raises(ValueError, match="layer is 'LTSM', expected one of"):
        TORCH.load(weights, layer="LTSM")
    with pytest.raises(ValueError, match=r"layer is 'GRU', .* of: LSTM"):
        TORCH.load(weights, layer="GRU")
    gru = exported("torch", GRU(3, 5))
    with pytest.raises(ValueError, match="reset is 'before', and PyTorch"):
        TORCH.load(gru, reset="before")
    plain = exported("torch", Elman(3, 5))
    with pytest.raises(ValueError, match="activation is 'gelu', expected"):
        TORCH.load(plain, activation="gelu")
    stack = exported("keras", Stack(GRU(3, 5), LSTM(5, 5)))
    with pytest.raises(ValueError, match="layers is 'gru', expected all of"):
        FRAMEWORKS["keras"].load(stack, layers="gru")
    packed = exported("cudnn", LSTM(3, 5))
    cudnn = FRAMEWORKS["cudnn"]
    with pytest.raises(ValueError, match="hints n_in=… and n_hid=…"):
        cudnn.load(packed, layer="LSTM")
    with pytest.raises(ValueError, match="n_in is 'three', expected a whole"):
        cudnn.load(packed, layer="LSTM", n_in="three", n_hid=5)
    with pytest.raises(ValueError, match=r"expected \(n_weights=\d+"):
        cudnn.load(packed, layer="LSTM", n_in=3, n_hid=4)
    with pytest.raises(ValueError, match="'weights' alone"):
        cudnn.load(gru, layer="GRU", n_in=3, n_hid=5)
    with pytest.raises(ValueError, match="parts is 'both', expected layers"):
        FRAMEWORKS["msref"].load(exported("msref", LSTM(3, 5)), parts="both")


def test_frameworks_that_are_none_are_refused():
    with pytest.raises(ValueError, match="no framework 'tensor', expected one"):
        convert(exported("torch", LSTM(3, 5)), "torch", "tensor")
