"""Closed forms and procedures that start a network before training."""

from msref.pretraining.laes import LAES
from msref.pretraining.starts import (
    elman_from_inputs,
    lmn_delay_line,
    lmn_from_inputs,
    lmn_orthogonal,
)
from msref.pretraining.unrolled import hidden_sequences, lmn_from_unrolled

__all__ = [
    "LAES",
    "elman_from_inputs",
    "hidden_sequences",
    "lmn_delay_line",
    "lmn_from_inputs",
    "lmn_from_unrolled",
    "lmn_orthogonal",
]
