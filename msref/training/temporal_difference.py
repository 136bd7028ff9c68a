"""The loss of Q-learning, with its gradient by hand."""

from __future__ import annotations

import numpy as np

from msref.arrays import Array, Arrays, prefixed, under
from msref.training.model import Model
from msref.training.replay import Moves


def td_targets(
    model: Model, params: Arrays, moves: Moves, gamma: float
) -> Array:
    """Return what the values of the moves should be.

    Equations (h_{n+1} = x_0 … x_n is what is known after move n, r_n its
    reward, q^- the model's output after the last frame of a history)
        g_n = r_n + gamma max_a q^-(h_{n+1})_a
        g_n = r_n where the game ended with move n

    Arguments
        params: those of q^-.
        gamma: discount of later rewards.

    Returns
        g (n_batch,).
    """
    q = model.predict(params, moves.x)
    best = q[moves.n_before, np.arange(len(moves.n_before))].max(-1)
    later = np.where(moves.ended, 0.0, best)
    g: Array = (moves.rewards + gamma * later).astype(q.dtype)
    return g


def td_loss(
    model: Model, params: Arrays, moves: Moves, g: Array
) -> tuple[float, Arrays]:
    """Return L, and name -> gradient of every parameter.

    Equations (h_n = x_0 … x_{n-1} is what was known before move n, a_n)
        y = core(h_n), its last frame                                 (1)
        q = y W_yo + b_o                                              (2)
        L = mean over the batch of (q_{a_n} - g_n)^2                  (3)

    Adjoints (g is held fixed)
        dq_a = 2 (q_a - g_n) / n_batch for a = a_n, 0 for the others  (3')
        dW_yo = sum y^T dq,   db_o = sum dq,   dy = dq W_yo^T         (2')
        dparams = core's own backward pass of dy, 0 at other frames   (1')

    Of a history, the last move alone has a part in the loss: each move is
    drawn by itself.

    Arguments
        g: (n_batch,), see ``td_targets``.
    """
    last, each = moves.n_before - 1, np.arange(len(g))
    p, W_yo = under("core", params), params["readout/W_yo"]
    ys, _, tape = model.core.forward(p, moves.x[: last.max() + 1])  # (1)
    y = ys[last, each]  # (1)
    q = y @ W_yo + params["readout/b_o"]  # (2)
    wrong = q[each, moves.actions] - g
    L = float(np.mean(wrong**2))  # (3)

    dq = np.zeros_like(q)
    dq[each, moves.actions] = 2.0 * wrong / len(g)  # (3')
    readout = {"W_yo": y.T @ dq, "b_o": dq.sum(0)}  # (2')
    dys = np.zeros_like(ys)
    dys[last, each] = dq @ W_yo.T  # (2')
    core = model.core.backward(p, tape, dys)  # (1')
    return L, prefixed("core", core.params) | prefixed("readout", readout)
