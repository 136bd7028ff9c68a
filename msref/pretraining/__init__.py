"""Closed forms and procedures that start a network before training."""

from msref.pretraining.growth import (
    GrowthWarning,
    embedded,
    first_module,
    grow,
)
from msref.pretraining.incremental import IncrementalTraining
from msref.pretraining.laes import LAES
from msref.pretraining.starts import (
    elman_from_inputs,
    lmn_delay_line,
    lmn_from_inputs,
    lmn_orthogonal,
)
from msref.pretraining.unrolled import hidden_sequences, lmn_from_unrolled
from msref.pretraining.warmup import Warmup, double_layer, warmup

__all__ = [
    "LAES",
    "GrowthWarning",
    "IncrementalTraining",
    "Warmup",
    "double_layer",
    "elman_from_inputs",
    "embedded",
    "first_module",
    "grow",
    "hidden_sequences",
    "lmn_delay_line",
    "lmn_from_inputs",
    "lmn_from_unrolled",
    "lmn_orthogonal",
    "warmup",
]
