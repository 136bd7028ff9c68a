"""Conversions against recipes and golden values written down separately.

The recipes are those that were checked against the frameworks themselves:
which blocks of PyTorch's rows go where. The golden values are a function's,
so anybody can recompute them; PyTorch agreed with them.
"""

import numpy as np
import pytest

from msref.ports import FRAMEWORKS, convert

D, H = 3, 4


def fill(shape, s):
    """Entry k in C order is 0.6 sin(1.3 k + s)."""
    k = np.arange(np.prod(shape))
    return (0.6 * np.sin(1.3 * k + s)).reshape(shape)


def torch_weights(n_gates, n_in=D, n_hid=H):
    return {
        "weight_ih_l0": fill((n_gates * n_hid, n_in), 1),
        "weight_hh_l0": fill((n_gates * n_hid, n_hid), 2),
        "bias_ih_l0": fill(n_gates * n_hid, 3),
        "bias_hh_l0": fill(n_gates * n_hid, 4),
    }


def rows(array, *blocks):
    """Take blocks of H rows in another order."""
    return np.concatenate([array[k * H : (k + 1) * H] for k in blocks])


LSTM, GRU = torch_weights(4), torch_weights(3)
W, U, B_X, B_H = LSTM.values()
B = B_X + B_H
V, R, C_X, C_H = GRU.values()
C = np.concatenate([(C_X + C_H)[: 2 * H], C_X[2 * H :]])  # n stays apart
C_N = np.concatenate([np.zeros(2 * H), C_H[2 * H :]])


def flax(prefix, array, gates):
    return {
        f"{prefix}{k}/kernel": block.T
        for k, block in zip(gates, np.split(array, len(gates)), strict=True)
    }


def minus_one(b, block):
    less = b.copy()
    less[block * H : (block + 1) * H] -= 1.0
    return less


RECIPES = {
    ("keras", "lstm"): {
        "lstm/lstm_cell/kernel": W.T,
        "lstm/lstm_cell/recurrent_kernel": U.T,
        "lstm/lstm_cell/bias": B,
    },
    ("onnx", "lstm"): {
        "W": rows(W, 0, 3, 1, 2)[None],
        "R": rows(U, 0, 3, 1, 2)[None],
        "B": np.concatenate([rows(B, 0, 3, 1, 2), np.zeros(4 * H)])[None],
    },
    ("haiku", "lstm"): {
        "lstm/linear/w": np.vstack(
            [rows(W, 0, 2, 1, 3).T, rows(U, 0, 2, 1, 3).T]
        ),
        "lstm/linear/b": minus_one(rows(B, 0, 2, 1, 3), 2),
    },
    ("flax", "lstm"): flax("i", W, "ifgo")
    | flax("h", U, "ifgo")
    | {f"h{k}/bias": B[n * H : (n + 1) * H] for n, k in enumerate("ifgo")},
    ("nnx", "lstm"): {
        "dense_i/kernel": W.T,
        "dense_h/kernel": U.T,
        "dense_h/bias": B,
    },
    ("equinox", "lstm"): {"weight_ih": W, "weight_hh": U, "bias": B},
    ("cudnn", "lstm"): {
        "weights": np.concatenate([W.ravel(), U.ravel(), B, np.zeros(4 * H)])
    },
    ("keras", "gru"): {
        "gru/gru_cell/kernel": rows(V, 1, 0, 2).T,
        "gru/gru_cell/recurrent_kernel": rows(R, 1, 0, 2).T,
        "gru/gru_cell/bias": np.stack([rows(C, 1, 0, 2), rows(C_N, 1, 0, 2)]),
    },
    ("onnx", "gru"): {
        "W": rows(V, 1, 0, 2)[None],
        "R": rows(R, 1, 0, 2)[None],
        "B": np.concatenate([rows(C, 1, 0, 2), rows(C_N, 1, 0, 2)])[None],
    },
    ("flax", "gru"): flax("i", V, "rzn")
    | flax("h", R, "rzn")
    | {f"i{k}/bias": C[n * H : (n + 1) * H] for n, k in enumerate("rzn")}
    | {"hn/bias": C_H[2 * H :]},
    ("equinox", "gru"): {
        "weight_ih": V,
        "weight_hh": R,
        "bias": C,
        "bias_n": C_H[2 * H :],
    },
    ("cudnn", "gru"): {
        "weights": np.concatenate([V.ravel(), R.ravel(), C, C_N])
    },
}


@pytest.mark.parametrize(("target", "cell"), RECIPES)
def test_weights_of_pytorch_go_where_the_recipe_says(target, cell):
    given = {"lstm": LSTM, "gru": GRU}[cell]
    weights, notes = convert(given, "torch", target)
    expected = RECIPES[target, cell]
    assert set(weights) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=0, atol=1e-15)
    assert any("summed" in note for note in notes)


def test_a_gru_of_haiku_writes_where_ours_keeps():
    """From a GRU of Keras that resets before: order z r a, z negated."""
    kernel, recurrent = fill((D, 3 * H), 1), fill((H, 3 * H), 2)
    bias = fill(3 * H, 3)
    paths = ("kernel", "recurrent_kernel", "bias")
    given = dict(zip(paths, (kernel, recurrent, bias), strict=True))
    weights, notes = convert(given, "keras", "haiku")
    sign = np.where(np.arange(3 * H) < H, -1.0, 1.0)
    np.testing.assert_array_equal(weights["gru/w_i"], sign * kernel)
    np.testing.assert_array_equal(weights["gru/w_h"], sign * recurrent)
    np.testing.assert_array_equal(weights["gru/b"], sign * bias)
    assert any("negated" in note for note in notes)


def from_cudnn(kernel):
    """What Keras 2 does with a gate's kernel of its cuDNN layers."""
    return kernel.T.reshape(kernel.shape, order="F")


def test_kernels_of_the_old_cudnn_layers_hold_memory_not_a_transpose():
    """Read as a transpose they are another network, without an error."""
    kernel, recurrent = fill((D, 3 * H), 1), fill((H, 3 * H), 2)
    bias = fill((2, 3 * H), 3)
    old = {"kernel": kernel, "recurrent_kernel": recurrent}
    old["bias"] = bias.ravel()
    weights, _ = convert(old, "keras", "keras", layer="CuDNNGRU")
    by_gate = [from_cudnn(k) for k in np.split(kernel, 3, axis=1)]
    folded = bias[0].copy()
    folded[: 2 * H] += bias[1, : 2 * H]
    expected = {
        "kernel": np.hstack(by_gate),
        "recurrent_kernel": np.hstack(
            [k.T for k in np.split(recurrent, 3, axis=1)]
        ),
        "bias": np.stack([folded, bias[1] * (np.arange(3 * H) >= 2 * H)]),
    }
    for name, array in expected.items():
        got = weights[f"gru/gru_cell/{name}"]
        np.testing.assert_allclose(got, array, rtol=0, atol=1e-15)


# T = 3, B = 1, D = H = 2; zero initial state; loss sum(h_T)
X = fill((3, 1, 2), 0.5)


@pytest.mark.parametrize(
    ("n_gates", "h", "dx"),
    [
        (4, [0.10484434, -0.14881147], [0.02265528, 0.02080279]),
        (3, [0.51662749, -0.09877649], [0.0401016, 0.03897607]),
    ],
)
def test_golden_values_of_pytorch(n_gates, h, dx):
    weights = torch_weights(n_gates, 2, 2)
    arch, params, _ = FRAMEWORKS["torch"].load(weights)
    y, state, tape = arch.forward(params, X)
    np.testing.assert_allclose(state["h"][0], h, atol=5e-9)
    if "c" in state:
        c = [0.44663925, -0.27368046]
        np.testing.assert_allclose(state["c"][0], c, atol=5e-9)
    ones = {k: np.ones_like(v) * (k == "h") for k, v in state.items()}
    grads = arch.backward(params, tape, np.zeros_like(y), ones)
    np.testing.assert_allclose(grads.x[0, 0], dx, atol=5e-9)


def test_golden_values_of_the_reset_before():
    """The same arrays as those of ONNX: z r h, one sum of biases."""
    w = torch_weights(3, 2, 2)
    order = [2, 3, 0, 1, 4, 5]
    b = [w["bias_ih_l0"][order], w["bias_hh_l0"][order]]
    weights = {
        "W": w["weight_ih_l0"][None, order],
        "R": w["weight_hh_l0"][None, order],
        "B": np.concatenate(b)[None],
    }
    arch, params, _ = FRAMEWORKS["onnx"].load(weights, reset="before")
    y, state, tape = arch.forward(params, X)
    h = [0.55534487, -0.30453562]
    np.testing.assert_allclose(state["h"][0], h, atol=5e-9)
    ones = {"h": np.ones_like(state["h"])}
    grads = arch.backward(params, tape, np.zeros_like(y), ones)
    dx = [0.04832469, 0.01187016]
    np.testing.assert_allclose(grads.x[0, 0], dx, atol=5e-9)
