"""Losses, models, optimisers, the fitting loop and its checkpoints."""

from msref.training.checkpoints import read_checkpoint, write_checkpoint
from msref.training.evaluation import evaluate
from msref.training.fitting import Fit, fit
from msref.training.losses import (
    LOSSES,
    Loss,
    bernoulli_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from msref.training.metrics import (
    ClassAccuracy,
    FrameAccuracy,
    Metric,
    Tally,
    class_accuracy,
    frame_accuracy,
)
from msref.training.model import Batch, Model, Pair
from msref.training.optimisers import (
    SGD,
    Adam,
    Optimiser,
    clip_by_global_norm,
)
from msref.training.penalties import Orthogonality, Penalty
from msref.training.states import DivergedError, Record, State

__all__ = [
    "LOSSES",
    "SGD",
    "Adam",
    "Batch",
    "ClassAccuracy",
    "DivergedError",
    "Fit",
    "FrameAccuracy",
    "Loss",
    "Metric",
    "Model",
    "Optimiser",
    "Orthogonality",
    "Pair",
    "Penalty",
    "Record",
    "State",
    "Tally",
    "bernoulli_cross_entropy",
    "class_accuracy",
    "clip_by_global_norm",
    "evaluate",
    "fit",
    "frame_accuracy",
    "mean_squared_error",
    "read_checkpoint",
    "softmax_cross_entropy",
    "write_checkpoint",
]
