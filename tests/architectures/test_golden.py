"""Values that other implementations agree on, and sums done by hand."""

import numpy as np
import pytest

from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    MGU,
    NBRC,
    Elman,
    IndRNN,
)


def fill(shape, s):
    """Entry k in C order is 0.6 sin(1.3 k + s)."""
    return 0.6 * np.sin(1.3 * np.arange(np.prod(shape)) + s).reshape(shape)


X = fill((3, 1, 2), 0.5)


def by_gate(gates):
    """Split fused (gates * 2, 2) arrays, gates in rows, ``W @ x``, by gate."""
    n = 2 * len(gates)
    fused = fill((n, 2), 1), fill((n, 2), 2), fill(n, 3), fill(n, 4)
    return {
        gate: tuple(array[2 * k : 2 * k + 2] for array in fused)
        for k, gate in enumerate(gates)
    }


def lstm():
    params = {}
    for gate, (W, U, b_x, b_h) in by_gate("ifgo").items():
        params[f"W_x{gate}"], params[f"W_h{gate}"] = W.T, U.T
        params[f"b_{gate}"] = b_x + b_h  # both biases are simply added
    return LSTM(2, 2), params


def gru(reset):
    params = {}
    for gate, (W, U, b_x, b_h) in by_gate("rzn").items():
        params[f"W_x{gate}"], params[f"W_h{gate}"] = W.T, U.T
        params[f"b_{gate}"] = b_x + b_h
        if gate == "n" and reset == "after":
            # r multiplies b_h: it cannot be folded into b_x
            params["b_n"], params["b_hn"] = b_x, b_h
    return GRU(2, 2, reset), params


def matrix(s):
    return fill((2, 2), s).T


def bistable():
    """Everything that the two bistable cells share."""
    params = {f"W_x{k}": matrix(s) for s, k in enumerate("cam", 1)}
    return params | {f"b_{k}": fill(2, s) for s, k in enumerate("cam", 6)}


GOLDEN = {
    "lstm": (
        *lstm(),
        {"h": [0.10484434, -0.14881147], "c": [0.44663925, -0.27368046]},
        [0.02265528, 0.02080279],
    ),
    "gru after": (
        *gru("after"),
        {"h": [0.51662749, -0.09877649]},
        [0.0401016, 0.03897607],
    ),
    "gru before": (
        *gru("before"),
        {"h": [0.55534487, -0.30453562]},
        [0.04832469, 0.01187016],
    ),
    "brc": (
        BRC(2, 2),
        bistable() | {"w_hc": fill(2, 4), "w_ha": fill(2, 5)},
        {"h": [0.61850132, 0.19576601]},
        [-0.22754358, 0.14070089],
    ),
    "nbrc": (
        NBRC(2, 2),
        bistable() | {"W_hc": matrix(4), "W_ha": matrix(5)},
        {"h": [0.62324121, 0.18954597]},
        [-0.23375927, 0.14909702],
    ),
    "mgu": (
        MGU(2, 2),
        {"W_xf": matrix(1), "W_hf": matrix(2), "b_f": fill(2, 3)}
        | {"W_xm": matrix(4), "W_hm": matrix(5), "b_m": fill(2, 6)},
        {"h": [-0.1481316, 0.30526254]},
        [-0.0787184, -0.07945838],
    ),
    "indrnn": (
        IndRNN(2, 2, "relu"),
        {"W_xh": matrix(1), "w_hh": fill(2, 2), "b_h": fill(2, 3)},
        {"h": [0.15416628, 0.0]},
        [0.15028126, 0.13317811],
    ),
}


@pytest.mark.parametrize("name", list(GOLDEN))
def test_golden_values(name):
    """Final state, and the gradient of sum(h_T) at the first input."""
    arch, params, final, dx = GOLDEN[name]
    y, state, tape = arch.forward(params, X)
    for key, value in final.items():
        np.testing.assert_allclose(state[key][0], value, atol=1e-8, rtol=0)
    np.testing.assert_array_equal(y[-1], state["h"])
    dy = np.zeros_like(y)
    dy[-1] = 1.0
    g = arch.backward(params, tape, dy)
    np.testing.assert_allclose(g.x[0, 0], dx, atol=1e-8, rtol=0)
    zeros = {k: np.zeros_like(v) for k, v in state.items()}
    as_state = zeros | {"h": np.ones_like(state["h"])}
    g = arch.backward(params, tape, np.zeros_like(y), as_state)
    np.testing.assert_allclose(g.x[0, 0], dx, atol=1e-8, rtol=0)


def test_folding_the_inner_bias_of_a_gru_changes_it():
    arch, params = gru("after")
    folded = params | {
        "b_n": params["b_n"] + params["b_hn"],
        "b_hn": np.zeros(2),
    }
    y, y_folded = (arch.forward(p, X)[0] for p in (params, folded))
    assert np.abs(y - y_folded).max() > 0.05


def scalars(**values):
    """Make a network of one unit: matrices (1, 1), biases (1)."""
    return {
        name: np.full((1, 1) if name.startswith("W") else 1, value)
        for name, value in values.items()
    }


def column(*values):
    return np.array(values).reshape(-1, 1, 1)


def test_elman_by_hand():
    """tanh(log 2) = 3/5 and tanh(log 3) = 4/5 make everything rational."""
    log2, log3 = np.log(2), np.log(3)
    params = scalars(W_xh=2.0, W_hh=5.0, b_h=1.0)
    x = column((log2 - 6) / 2, (log3 - 4) / 2)  # with h_0 = 1
    y, state, tape = Elman(1, 1).forward(params, x, {"h": np.ones((1, 1))})
    np.testing.assert_allclose(y.ravel(), [3 / 5, 4 / 5], rtol=1e-14)
    assert state["h"] == y[-1]

    dstate = {"h": np.full((1, 1), 7.0)}
    g = Elman(1, 1).backward(params, tape, column(11.0, 13.0), dstate)
    da_2 = (1 - 16 / 25) * (13 + 7)
    da_1 = (1 - 9 / 25) * (11 + 5 * da_2)
    np.testing.assert_allclose(g.adjoints["a"].ravel(), [da_1, da_2])
    np.testing.assert_allclose(g.x.ravel(), [2 * da_1, 2 * da_2])
    np.testing.assert_allclose(g.state["h"].item(), 5 * da_1)
    np.testing.assert_allclose(g.params["b_h"].item(), da_1 + da_2)
    np.testing.assert_allclose(g.params["W_hh"].item(), da_1 + da_2 * 3 / 5)
    expected = x[0].item() * da_1 + x[1].item() * da_2
    np.testing.assert_allclose(g.params["W_xh"].item(), expected)


def test_elman_with_relu_by_hand():
    arch = Elman(1, 1, activation="relu")
    params = scalars(W_xh=2.0, W_hh=-1.0, b_h=0.5)
    y, _, tape = arch.forward(params, column(1.0, 1.5, 0.2))
    np.testing.assert_allclose(y.ravel(), [2.5, 1.0, 0.0])  # a_3 = -0.1
    g = arch.backward(params, tape, column(1.0, 1.0, 1.0))
    np.testing.assert_allclose(g.adjoints["a"].ravel(), [0.0, 1.0, 0.0])
    np.testing.assert_allclose(g.params["W_hh"].item(), 2.5)
    np.testing.assert_allclose(g.params["b_h"].item(), 1.0)


@pytest.mark.parametrize("output", ["memory", "hidden"])
def test_lmn_by_hand(output):
    """Two steps with h = 3/5, 4/5; the memory is linear, so never squashed."""
    log2, log3 = np.log(2), np.log(3)
    arch = LMN(1, 1, 1, output)
    params = scalars(W_xh=1.0, W_mh=2.0, b_h=3.0, W_hm=5.0, W_mm=-4.0, b_m=6.0)
    m_0, m_1 = 0.5, 5 * 3 / 5 - 4 * 0.5 + 6  # 7
    m_2 = 5 * 4 / 5 - 4 * m_1 + 6  # -18
    x = column(log2 - 3 - 2 * m_0, log3 - 3 - 2 * m_1)
    y, state, tape = arch.forward(params, x, {"m": np.full((1, 1), m_0)})
    outputs = [m_1, m_2] if output == "memory" else [3 / 5, 4 / 5]
    np.testing.assert_allclose(y.ravel(), outputs, rtol=1e-13)
    np.testing.assert_allclose(state["m"].item(), -18.0, rtol=1e-13)

    dstate = {"m": np.full((1, 1), 7.0)}
    g = arch.backward(params, tape, column(11.0, 13.0), dstate)
    on_m, on_h = (1, 0) if output == "memory" else (0, 1)
    dm_2 = 7 + 13 * on_m
    da_2 = (1 - 16 / 25) * (5 * dm_2 + 13 * on_h)
    dm_1 = -4 * dm_2 + 2 * da_2 + 11 * on_m
    da_1 = (1 - 9 / 25) * (5 * dm_1 + 11 * on_h)
    expected = {
        "W_xh": x[0].item() * da_1 + x[1].item() * da_2,
        "W_mh": m_0 * da_1 + m_1 * da_2,
        "b_h": da_1 + da_2,
        "W_hm": 3 / 5 * dm_1 + 4 / 5 * dm_2,
        "W_mm": m_0 * dm_1 + m_1 * dm_2,
        "b_m": dm_1 + dm_2,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(
            g.params[name].item(), value, rtol=1e-12, err_msg=name
        )
    np.testing.assert_allclose(g.x.ravel(), [da_1, da_2], rtol=1e-12)
    np.testing.assert_allclose(g.adjoints["a"].ravel(), [da_1, da_2])
    np.testing.assert_allclose(g.adjoints["m"].ravel(), [dm_1, dm_2])
    np.testing.assert_allclose(g.state["m"].item(), -4 * dm_1 + 2 * da_1)
