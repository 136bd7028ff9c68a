"""The networks that the claims on dual memories compare, by kind."""

from __future__ import annotations

from math import log
from typing import Any

from msref.architectures import LSTM, DuRNN, Elman, IndRNN, Stack
from msref.training import Constraint, Magnitude, SingularValues, bounds

SHORT = 0.9
"""The largest singular value of the short part, in its start and as its
bound: our choice. After 44 steps less than a hundredth is left."""

GAMMA = 2.0
"""How much a gradient may grow over the horizon (Li et al., 2018)."""

DUAL_KINDS = {
    "indrnn": "IndRNN, two layers",
    "durnn": "our dual module",
    "durnn open": "dual, gate always open",
    "durnn none": "dual, no selection",
    "durnn free": "dual, no constraint",
    "durnn shared": "one shared state",
}
"""The networks with a long part of independent units, and the ablations."""

NAMES = {"rnn": "RNN", "lstm": "LSTM", **DUAL_KINDS}
"""All of them, in the order of the tables."""


def core_of(
    kind: str,
    n_in: int,
    n_hid: int,
    horizon: int | None = None,
    reads: str = "last",
) -> Any:
    """Return the network of a kind.

    Our dual module has as many short as long units, and gives out both. Over
    more than 50 steps its gate begins nearly closed, open by about 50 /
    horizon: what it lets through of all steps stays the same.

    Kinds
        indrnn: two layers; the first selects, as the second cannot alone.
        durnn open, durnn none: no gate, and nothing of the short part that
            reaches the long one; see ``DuRNN``.
        durnn free: as durnn, but no bound is kept in training.
        durnn shared: one state for short and long, with full connections:
            the short part alone, which is an Elman network with a ReLU. Its
            bound is that of the long part, or it could not but forget.

    Arguments
        horizon: time steps over which a gradient may double; ``None`` for
            any number over which it must not grow.
        reads: "last" for networks that are read at their last step alone;
            see ``IndRNN``.

    Raises
        ValueError: there is no such kind.
    """
    if kind == "rnn":
        return Elman(n_in, n_hid)
    if kind == "lstm":
        return LSTM(n_in, n_hid)
    if kind == "indrnn":
        first = IndRNN(n_in, n_hid, horizon=horizon, gamma=GAMMA)
        second = IndRNN(n_hid, n_hid, horizon=horizon, gamma=GAMMA, reads=reads)
        return Stack(first, second)
    if kind == "durnn shared":
        return Elman(n_in, n_hid, "relu")
    if kind not in DUAL_KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {list(NAMES)}")
    selection = kind.removeprefix("durnn").strip()
    return DuRNN(
        n_in,
        n_hid,
        n_hid,
        selection=selection if selection in ("open", "none") else "gate",
        short=SHORT,
        horizon=horizon,
        gamma=GAMMA,
        reads=reads,
        gate_bias=0.0 if horizon is None else -max(0.0, log(horizon / 50)),
    )


def constraints_of(
    kind: str, core: Any, horizon: int | None = None
) -> tuple[tuple[str, Constraint], ...]:
    """Return the bounds that a network keeps in training; RNN and LSTM none.

    Independent weights within gamma^(1 / horizon), the short part's full
    matrix within ``SHORT`` in its largest singular value.
    """
    if kind not in DUAL_KINDS or kind == "durnn free":
        return ()
    long = 1.0 if horizon is None else Magnitude.over(horizon, GAMMA).bound
    short = long if kind == "durnn shared" else SHORT
    return bounds(core, SingularValues(short), Magnitude(long))
