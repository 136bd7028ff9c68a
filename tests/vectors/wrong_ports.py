"""Ports as people write them, each with a switch for every classical bug.

They share no code with msref: fused weights in PyTorch's layout, two bias
vectors, plain loops. So what names their bugs is not what made them.

``LSTM_BUGS`` and its like say for each bug which diagnosis is right.
"""

import numpy as np

LSTM_ORDERS = {
    "written i f g o, read i o f g": "igof",
    "written i o f g, read i f g o": "iofg",
    "f and g swapped (Haiku)": "igfo",
    "g and o swapped (MIOpen)": "ifog",
    "i and f swapped (OpenVINO)": "figo",
    "i and o swapped": "ofgi",
}
GRU_ORDERS = {"z and r swapped (ONNX)": "zrn", "r and n swapped": "nzr"}

LSTM_BUGS = {
    "written i f g o, read i o f g": "gates permuted: f with those of g, g with"
    " those of o, o with those of f",
    "written i o f g, read i f g o": "gates permuted: f with those of o, g with"
    " those of f, o with those of g",
    "f and g swapped (Haiku)": "gates f and g swapped",
    "g and o swapped (MIOpen)": "gates g and o swapped",
    "i and f swapped (OpenVINO)": "gates i and f swapped",
    "i and o swapped": "gates i and o swapped",
    "recurrent kernel transposed": "recurrent weights transposed",
    "input kernel reshaped": "fused input weights reshaped instead of"
    " transposed",
    "recurrent bias dropped": "biases halved",
    "biases dropped": "all biases dropped",
    "biases doubled": "all biases doubled",
    "forget bias added": "1 added to the bias of f while running",
    "initial state ignored": "initial state ignored",
    "h and c swapped at the start": "initial h and c swapped",
    "h and c swapped at the end": "final h and c swapped",
    "c not fed back": "c not fed back",
    "h not fed back": "h not fed back",
    "tanh of c missing": "tanh missing (tanh(c))",
    "hard sigmoid": "hard sigmoid 0.2 a + 0.5 (i, f, o)",
    "relu6": "hard sigmoid relu6(a + 3) / 6 (i, f, o)",
    "sigmoid of twice": "sigmoid taken at 2 a (i, f, o)",
    "relu": "ReLU for tanh (g and tanh(c))",
    "i = 1 - f": "input gate coupled, i = 1 - f",
    "f = 1 - i": "forget gate coupled, f = 1 - i",
    "backwards": "sequence read backwards",
    "backwards, flipped": "sequence read backwards, outputs flipped back",
    "batch and time swapped": "batch and time swapped",
    "final state of the step before": "final state of the step before",
    "stuck": "every step from the initial state",
}
GRU_BUGS = {
    "z and r swapped (ONNX)": "gates r and z swapped",
    "r and n swapped": "gates r and n swapped",
    "z and r swapped in the recurrent part": "gates r and z swapped in the"
    " recurrent weights alone",
    "reset before": "reset before the product",
    "b_hn outside": "b_hn outside the reset",
    "biases swapped": "b_n and b_hn swapped",
    "recurrent bias dropped": "b_hn dropped",
    "biases doubled": "all biases doubled",
    "z writes": "update gate inverted",
    "reset on the input too": "reset applied to the input as well",
    "reset missing": "reset gate missing",
    "old state added whole": "old state added whole",
    "recurrent kernel transposed": "recurrent weights transposed",
    "input kernel reshaped": "fused input weights reshaped instead of"
    " transposed",
    "hard sigmoid": "hard sigmoid 0.2 a + 0.5 (r, z)",
    "relu6": "hard sigmoid relu6(a + 3) / 6 (r, z)",
    "sigmoid of twice": "sigmoid taken at 2 a (r, z)",
    "relu": "ReLU for tanh (n)",
    "initial state ignored": "initial state ignored",
    "backwards": "sequence read backwards",
    "backwards, flipped": "sequence read backwards, outputs flipped back",
    "batch and time swapped": "batch and time swapped",
    "final state of the step before": "final state of the step before",
}
ELMAN_BUGS = {
    "recurrent kernel transposed": "W_hh transposed",
    "input kernel reshaped": "W_xh reshaped instead of transposed",
    "recurrent bias dropped": "biases halved",
    "biases dropped": "b_h dropped",
    "biases doubled": "b_h doubled",
    "relu": "ReLU for tanh (h)",
    "logistic": "sigmoid for tanh (h)",
    "activation missing": "tanh missing (h)",
    "memory outside": "memory outside the activation",
    "initial state ignored": "initial state ignored",
    "backwards": "sequence read backwards",
    "backwards, flipped": "sequence read backwards, outputs flipped back",
    "batch and time swapped": "batch and time swapped",
    "final state of the step before": "final state of the step before",
}


def logistic(a):
    return 1.0 / (1.0 + np.exp(-a))


def rectified(a):
    return np.maximum(a, 0.0)


GATES = {
    "hard sigmoid": lambda a: np.clip(0.2 * a + 0.5, 0.0, 1.0),
    "relu6": lambda a: np.minimum(np.maximum(a + 3.0, 0.0), 6.0) / 6.0,
    "sigmoid of twice": lambda a: (np.tanh(a) + 1.0) / 2.0,
}


def fused(params, gates, bug):
    """Return weight_ih, weight_hh, bias_ih, bias_hh, as a loader has them."""
    taken = (LSTM_ORDERS if gates == "ifgo" else GRU_ORDERS).get(bug, gates)
    of_h = taken
    if bug == "z and r swapped in the recurrent part":
        of_h = "zrn"
    zeros = np.zeros_like(params[f"b_{gates[0]}"])
    W = np.concatenate([params[f"W_x{k}"].T for k in taken])
    R = np.concatenate([params[f"W_h{k}"].T for k in of_h])
    b_ih = np.concatenate([params[f"b_{k}"] for k in taken])
    b_hh = np.concatenate([params.get(f"b_h{k}", zeros) for k in taken])
    if "b_hn" not in params:  # spread over both, as a converter may
        b_ih, b_hh = b_ih / 2.0, b_hh + b_ih / 2.0
    if bug == "input kernel reshaped":
        W = W.reshape(W.T.shape).T
    if bug == "recurrent kernel transposed":
        R = np.concatenate([block.T for block in np.split(R, len(gates))])
    if bug in ("recurrent bias dropped", "biases dropped"):
        b_hh = 0.0 * b_hh
    if bug == "biases dropped":
        b_ih = 0.0 * b_ih
    if bug == "biases doubled":
        b_ih, b_hh = 2.0 * b_ih, 2.0 * b_hh
    if bug == "forget bias added":
        b_ih = b_ih + np.repeat([0.0, 1.0, 0.0, 0.0], len(zeros))
    return W, R, b_ih, b_hh


def run(step, x, state, bug):
    """Run ``step(frame, state) -> state`` over time; h is the output."""
    if bug == "initial state ignored":
        state = [np.zeros_like(s) for s in state]
    if bug == "batch and time swapped":
        x = x.swapaxes(0, 1)
        state = [np.zeros((x.shape[1], s.shape[1])) for s in state]
    if bug.startswith("backwards"):
        x = x[::-1]
    outputs, first, before = [], state, state
    for frame in x:
        before = first if bug == "stuck" else state
        state = step(frame, before)
        outputs.append(state[0])
    y = np.stack(outputs)
    if bug == "backwards, flipped":
        y = y[::-1]
    if bug == "batch and time swapped":
        return {"y": y.swapaxes(0, 1)}
    if bug == "final state of the step before":
        state = before
    if bug == "h and c swapped at the end":
        state = state[::-1]
    found = dict(zip(("state/h", "state/c"), state, strict=False))
    return {"y": y} | found


def lstm(params, x, state, bug=""):
    """Run an LSTM."""
    W, R, b_ih, b_hh = fused(params, "ifgo", bug)
    gate = GATES.get(bug, logistic)
    bend = rectified if bug == "relu" else np.tanh

    def step(frame, state):
        h, c = state
        if bug == "c not fed back":
            c = 0.0 * c
        if bug == "h not fed back":
            h = 0.0 * h
        a = frame @ W.T + b_ih + h @ R.T + b_hh
        i, f, g, o = np.split(a, 4, axis=1)
        i, f, g, o = gate(i), gate(f), bend(g), gate(o)
        if bug == "i = 1 - f":
            i = 1.0 - f
        if bug == "f = 1 - i":
            f = 1.0 - i
        c = f * c + i * g
        return [o * (c if bug == "tanh of c missing" else bend(c)), c]

    start = [state["h"], state["c"]]
    if bug == "h and c swapped at the start":
        start = start[::-1]
    return run(step, x, start, bug)


def gru(params, x, state, bug=""):
    """Run a GRU, reset after the product."""
    W, R, b_ih, b_hh = fused(params, "rzn", bug)
    gate = GATES.get(bug, logistic)
    bend = rectified if bug == "relu" else np.tanh
    n_hid = len(b_ih) // 3
    if bug == "biases swapped":
        b_ih, b_hh = np.split(b_ih, 3), np.split(b_hh, 3)
        b_ih[2], b_hh[2] = b_hh[2], b_ih[2]
        b_ih, b_hh = np.concatenate(b_ih), np.concatenate(b_hh)
    b_hn, R_n = b_hh[-n_hid:], R[-n_hid:]

    def step(frame, state):
        (h,) = state
        r_x, z_x, n_x = np.split(frame @ W.T + b_ih, 3, axis=1)
        r_h, z_h, n_h = np.split(h @ R.T + b_hh, 3, axis=1)
        r, z = gate(r_x + r_h), gate(z_x + z_h)
        a = n_x + r * n_h
        if bug == "reset before":
            a = n_x + (r * h) @ R_n.T + b_hn
        if bug == "b_hn outside":
            a = n_x + r * (h @ R_n.T) + b_hn
        if bug == "reset on the input too":
            a = r * (n_x + n_h)
        if bug == "reset missing":
            a = n_x + n_h
        n = bend(a)
        if bug == "z writes":
            z = 1.0 - z
        if bug == "old state added whole":
            return [(1.0 - z) * n + h]
        return [(1.0 - z) * n + z * h]

    return run(step, x, [state["h"]], bug)


def elman(params, x, state, bug=""):
    """Run an Elman network."""
    W, R, b_ih, b_hh = fused(params, "h", bug)
    bend = {
        "relu": rectified,
        "logistic": logistic,
        "activation missing": lambda a: a,
    }.get(bug, np.tanh)

    def step(frame, state):
        (h,) = state
        if bug == "memory outside":
            return [bend(frame @ W.T + b_ih + b_hh) + h @ R.T]
        return [bend(frame @ W.T + b_ih + h @ R.T + b_hh)]

    return run(step, x, [state["h"]], bug)
