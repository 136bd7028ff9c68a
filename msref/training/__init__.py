"""Losses, models, optimisers, the fitting loop and its checkpoints."""

from msref.training.checkpoints import read_checkpoint, write_checkpoint
from msref.training.constraints import (
    Constraint,
    Elementwise,
    Magnitude,
    SingularValues,
    SpectralNorm,
    bounds,
)
from msref.training.ctc import (
    CTC,
    best_path,
    levenshtein,
    temporal_classification,
)
from msref.training.divergence import DivergedError
from msref.training.evaluation import evaluate
from msref.training.fitting import Fit, fit
from msref.training.games import Environment, Game
from msref.training.losses import (
    Loss,
    LossFunction,
    bernoulli_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from msref.training.metrics import (
    ClassAccuracy,
    FrameAccuracy,
    LabelAccuracy,
    Metric,
    Tally,
    class_accuracy,
    frame_accuracy,
)
from msref.training.model import LOSSES, AnyPair, Batch, Model, Pair
from msref.training.optimisers import (
    SGD,
    Adam,
    Optimiser,
    Slowed,
    clip_by_global_norm,
)
from msref.training.penalties import Excess, Orthogonality, Penalty, Sum
from msref.training.q_learning import QLearning
from msref.training.q_states import Learned
from msref.training.replay import Replay
from msref.training.states import Record, State

__all__ = [
    "CTC",
    "LOSSES",
    "SGD",
    "Adam",
    "AnyPair",
    "Batch",
    "ClassAccuracy",
    "Constraint",
    "DivergedError",
    "Elementwise",
    "Environment",
    "Excess",
    "Fit",
    "FrameAccuracy",
    "Game",
    "LabelAccuracy",
    "Learned",
    "Loss",
    "LossFunction",
    "Magnitude",
    "Metric",
    "Model",
    "Optimiser",
    "Orthogonality",
    "Pair",
    "Penalty",
    "QLearning",
    "Record",
    "Replay",
    "SingularValues",
    "Slowed",
    "SpectralNorm",
    "State",
    "Sum",
    "Tally",
    "bernoulli_cross_entropy",
    "best_path",
    "bounds",
    "class_accuracy",
    "clip_by_global_norm",
    "evaluate",
    "fit",
    "frame_accuracy",
    "levenshtein",
    "mean_squared_error",
    "read_checkpoint",
    "softmax_cross_entropy",
    "temporal_classification",
    "write_checkpoint",
]
