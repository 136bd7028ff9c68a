"""The architectures: one file each, one protocol for all.

``REGISTRY`` maps each short name to its entry. The properties, ``msref
verify``, the vectors and the index of chapters run over it: a new
architecture is one file and one entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msref.architectures.base import (
    Architecture,
    Gradients,
    buffers,
    draw_state,
    draws,
    evaluating,
    is_causal,
    observe,
    run_forward,
    scan,
)
from msref.architectures.batchnorm import BatchNorm
from msref.architectures.brc import BRC
from msref.architectures.checkpointed import Checkpointed
from msref.architectures.clock import Clock
from msref.architectures.clockwork import ClockworkRNN
from msref.architectures.combine import Bidirectional, Parallel, Stack
from msref.architectures.dropout import Dropout
from msref.architectures.durnn import DuRNN
from msref.architectures.elman import Elman
from msref.architectures.gru import GRU
from msref.architectures.indrnn import IndRNN
from msref.architectures.indrnn_layers import plain_indrnn, residual_indrnn
from msref.architectures.linear import Linear
from msref.architectures.lmn import LMN
from msref.architectures.lstm import LSTM
from msref.architectures.mgu import MGU
from msref.architectures.mslmn import MultiScaleLMN
from msref.architectures.nbrc import NBRC
from msref.architectures.residual import Residual
from msref.architectures.ulm import ULM

__all__ = [
    "BRC",
    "GRU",
    "LMN",
    "LSTM",
    "MGU",
    "NBRC",
    "REGISTRY",
    "ULM",
    "Architecture",
    "BatchNorm",
    "Bidirectional",
    "Checkpointed",
    "Clock",
    "ClockworkRNN",
    "Dropout",
    "DuRNN",
    "Elman",
    "Entry",
    "Gradients",
    "IndRNN",
    "Linear",
    "MultiScaleLMN",
    "Parallel",
    "Residual",
    "Stack",
    "buffers",
    "draw_state",
    "draws",
    "evaluating",
    "is_causal",
    "observe",
    "plain_indrnn",
    "residual_indrnn",
    "run_forward",
    "scan",
]


@dataclass(frozen=True)
class Entry:
    """An architecture of the registry.

    Attributes
        cls: its class.
        paper, year: where it comes from.
        examples: small configured instances, sizes pairwise different, that
            every check runs over.
    """

    cls: type
    paper: str
    year: int | None
    examples: tuple[Any, ...]


REGISTRY: dict[str, Entry] = {
    "elman": Entry(
        Elman,
        "Elman, Finding structure in time",
        1990,
        (Elman(3, 5), Elman(4, 3, activation="relu")),
    ),
    "lstm": Entry(
        LSTM,
        "Hochreiter & Schmidhuber, Long short-term memory;"
        " Gers, Schmidhuber & Cummins, Learning to forget",
        1997,
        (LSTM(3, 5),),
    ),
    "gru": Entry(
        GRU,
        "Cho et al., Learning phrase representations using RNN"
        " encoder-decoder for statistical machine translation",
        2014,
        (GRU(3, 5), GRU(4, 3, reset="before")),
    ),
    "lmn": Entry(
        LMN,
        "Bacciu, Carta & Sperduti, Linear Memory Networks",
        2019,
        (LMN(3, 5, 4), LMN(4, 3, 6, output="hidden")),
    ),
    "ulm": Entry(
        ULM,
        "Bacciu, Carta & Sperduti, Linear Memory Networks",
        2019,
        (ULM(3, 2, 4), ULM(4, 3, 2)),
    ),
    "clockwork": Entry(
        ClockworkRNN,
        "Koutník, Greff, Gomez & Schmidhuber, A Clockwork RNN",
        2014,
        (
            ClockworkRNN(3, 4, 1),
            ClockworkRNN(3, 4, 2, activation="linear", origin=1),
            ClockworkRNN(2, 4, 3, first=1),
            ClockworkRNN(3, 2, 4),
            ClockworkRNN(4, 2, 5, activation="linear"),
            ClockworkRNN(4, 3, 6),
        ),
    ),
    "mslmn": Entry(
        MultiScaleLMN,
        "Carta, Sperduti & Bacciu, Incremental Training of a Recurrent"
        " Neural Network Exploiting a Multi-Scale Dynamic Memory",
        2020,
        (
            MultiScaleLMN(3, 5, 4, 1, output="hidden", learned_start=True),
            MultiScaleLMN(3, 5, 4, 2, output="hidden", origin=1),
            MultiScaleLMN(4, 5, 2, 3),
            MultiScaleLMN(2, 5, 3, 4, learned_start=True, first=1),
            MultiScaleLMN(3, 4, 2, 5, output="hidden", learned_start=True),
            MultiScaleLMN(3, 4, 2, 6, learned_start=True),
        ),
    ),
    "indrnn": Entry(
        IndRNN,
        "Li, Li, Cook, Zhu & Gao, Independently Recurrent Neural Network"
        " (IndRNN): building a longer and deeper RNN",
        2018,
        (
            IndRNN(3, 5),
            IndRNN(4, 3, activation="tanh", horizon=20, reads="last"),
            IndRNN(4, 4, horizon=9, mixes=False),
            IndRNN(3, 3, activation="tanh", mixes=False),
        ),
    ),
    "durnn": Entry(
        DuRNN,
        "Zhang, Li, Ye, Zhu & Li, Learning Various Length Dependence by Dual"
        " Recurrent Neural Networks",
        2021,
        (
            DuRNN(3, 4, 5),
            DuRNN(4, 3, 5, activation="tanh", output="long"),
            DuRNN(5, 3, 4, selection="open", output="short"),
            DuRNN(4, 5, 3, activation="tanh", selection="open"),
            DuRNN(3, 5, 4, selection="none", horizon=9),
            DuRNN(5, 4, 3, selection="none", output="long", reads="last"),
            DuRNN(4, 3, 6, activation="tanh", selection="none", output="long"),
        ),
    ),
    "mgu": Entry(
        MGU,
        "Zhou, Wu, Zhang & Zhou, Minimal gated unit for recurrent neural"
        " networks",
        2016,
        (MGU(3, 5),),
    ),
    "brc": Entry(
        BRC,
        "Vecoven, Ernst & Drion, A bio-inspired bistable recurrent cell allows"
        " for long-lasting memory",
        2021,
        (BRC(3, 5), BRC(4, 3, candidate_bias=False)),
    ),
    "nbrc": Entry(
        NBRC,
        "Vecoven, Ernst & Drion, A bio-inspired bistable recurrent cell allows"
        " for long-lasting memory",
        2021,
        (
            NBRC(3, 5),
            NBRC(4, 3, candidate_bias=False, recurrent="orthogonal"),
        ),
    ),
    "linear": Entry(
        Linear,
        "common practice, no single source",
        None,
        (Linear(3, 5), Linear(4, 3, bias=False, scale=0.5)),
    ),
    "batchnorm": Entry(
        BatchNorm,
        "Ioffe & Szegedy, Batch normalization: accelerating deep network"
        " training by reducing internal covariate shift",
        2015,
        (BatchNorm(4), BatchNorm(3, statistics="running", eps=0.01)),
    ),
    "dropout": Entry(
        Dropout,
        "Gal & Ghahramani, A theoretically grounded application of dropout in"
        " recurrent neural networks",
        2016,
        (Dropout(4, 0.25),),
    ),
    "residual": Entry(
        Residual,
        "He, Zhang, Ren & Sun, Deep residual learning for image recognition",
        2016,
        (
            Residual(Stack(Elman(4, 3), Linear(3, 4))),
            Residual(
                Stack(
                    BatchNorm(4),
                    IndRNN(4, 3, horizon=9),
                    Dropout(3, 0.5),
                    Linear(3, 4),
                )
            ),
        ),
    ),
    "stack": Entry(
        Stack,
        "common practice, no single source",
        None,
        (
            Stack(LSTM(3, 4), LMN(4, 5, 2)),
            Stack(Bidirectional(Elman(2, 3), GRU(2, 4)), GRU(7, 3)),
            Stack(
                Linear(2, 4, bias=False),
                BatchNorm(4, eps=0.01),
                IndRNN(4, 4, activation="tanh", mixes=False),
                BatchNorm(4, statistics="running", eps=0.01),
                Dropout(4, 0.5),
            ),
        ),
    ),
    "parallel": Entry(
        Parallel,
        "Lambrechts et al., Warming up recurrent neural networks to maximise"
        " reachable multistability greatly improves learning",
        2021,
        (Parallel(GRU(3, 4), LMN(3, 2, 5)),),
    ),
    "bidirectional": Entry(
        Bidirectional,
        "Schuster & Paliwal, Bidirectional recurrent neural networks",
        1997,
        (Bidirectional(LSTM(3, 4), Elman(3, 5)),),
    ),
}
"""Short name -> entry, in reading order."""
