"""Deep networks of independently recurrent layers, plain and residual.

Built as the authors of the IndRNN build theirs: a linear layer mixes the
units, an ``IndRNN`` that does not mix remembers, and batch normalisation
stands on either side of the recurrence. Both functions return a ``Stack``;
the read-out belongs to the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from msref.architectures.base import check_sizes
from msref.architectures.batchnorm import BatchNorm
from msref.architectures.combine import Stack
from msref.architectures.dropout import Dropout
from msref.architectures.indrnn import IndRNN
from msref.architectures.linear import Linear
from msref.architectures.residual import Residual

NORMS = ("after", "before", None)


def plain_indrnn(
    n_in: int,
    n_hid: int,
    n_layers: int,
    *,
    norm: str | None = "after",
    dropout: float = 0.0,
    activation: str = "relu",
    horizon: int | None = None,
    gamma: float = 2.0,
    reads: str = "all",
) -> Stack:
    """Stack layers that mix, remember, and normalise (Li et al., 2018).

    Equations (for each layer)
        u = R(u W_xy + b_y)
        R = drop(norm(IndRNN(·))), or drop(IndRNN(norm(·)))

    Arguments
        n_in, n_hid, n_layers: units of the input, of each layer; layers.
        norm: where batch normalisation stands, "after" the recurrence
            (faster, say the authors; their choice for classification) or
            "before" (theirs where states are carried over); ``None``: nowhere.
        dropout: share of units dropped, one mask per sequence; 0: no layer.
        activation, horizon, gamma: of every ``IndRNN``.
        reads: "last" for a network that is read at its last step alone; then
            the last recurrent layer starts with a long memory, the others do
            not.

    Returns
        a flat stack: "0/W_xy", "1/w_hh", "2/gamma" (``norm`` "after"), …

    Raises
        TypeError, ValueError: sizes or options that cannot be.

    Start
        W_xy uniform within sqrt(6 / (65 n)), n its inputs, as the hidden
        layers of the authors' PyTorch code; for the first layer as well (our
        choice). The linear layers have a bias, as the authors' counts of
        parameters say, but not with ``norm`` "before": subtracting the mean
        would take it away again (our choice).
    """
    check_sizes(n_in=n_in, n_hid=n_hid, n_layers=n_layers)
    _check_norm(norm)
    parts: list[Any] = []
    for k in range(n_layers):
        long = reads if k == n_layers - 1 else "all"
        unit = IndRNN(n_hid, n_hid, activation, horizon, gamma, long, False)
        parts += [_linear(n_in if k == 0 else n_hid, n_hid, norm)]
        parts += [*_recurrence(unit, norm), *_dropped(n_hid, dropout)]
    return Stack(*parts)


def residual_indrnn(
    n_in: int,
    n_hid: int,
    n_blocks: int,
    *,
    norm: str | None = "after",
    dropout: float = 0.0,
    activation: str = "relu",
    horizon: int | None = None,
    gamma: float = 2.0,
    reads: str = "all",
) -> Stack:
    """Stack residual blocks of two recurrences each (Li et al., 2018).

    Equations (L linear, R a recurrence with its normalisation)
        u = L_0(x)
        u = u + L_2(drop(R_2(L_1(drop(R_1(u))))))       for each block
        y = drop(R(u))

    There are 2 n_blocks + 1 recurrent layers: 11 of 5 blocks.

    Arguments, Raises, Start
        as ``plain_indrnn``; L_1, L_2 and R are the block's own. With
        ``reads`` "last" it is the last R that starts with a long memory.

    Returns
        a stack of L_0, the blocks (each a ``Residual`` around a ``Stack``)
        and the layers of the last R: "0/W_xy", "1/0/w_hh", …
    """
    check_sizes(n_in=n_in, n_hid=n_hid, n_blocks=n_blocks)
    _check_norm(norm)

    def remembering(long: str) -> list[Any]:
        unit = IndRNN(n_hid, n_hid, activation, horizon, gamma, long, False)
        return [*_recurrence(unit, norm), *_dropped(n_hid, dropout)]

    half = [*remembering("all"), _linear(n_hid, n_hid, norm)]
    blocks = [Residual(Stack(*half, *half))] * n_blocks
    return Stack(_linear(n_in, n_hid, norm), *blocks, *remembering(reads))


def _linear(n_in: int, n_out: int, norm: str | None) -> Linear:
    scale = float(np.sqrt(6.0 / (65.0 * n_in)))
    return Linear(n_in, n_out, bias=norm != "before", scale=scale)


def _recurrence(unit: IndRNN, norm: str | None) -> list[Any]:
    """Put the batch normalisation on its side of the recurrence."""
    if norm is None:
        return [unit]
    sides = [unit, BatchNorm(unit.n_out)]
    return sides if norm == "after" else sides[::-1]


def _dropped(n: int, rate: float) -> list[Any]:
    return [] if rate == 0 else [Dropout(n, rate)]


def _check_norm(norm: str | None) -> None:
    if norm not in NORMS:
        raise ValueError(
            f"norm is {norm!r}, expected 'after', 'before' or None"
        )
