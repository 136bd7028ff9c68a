"""msref: recurrent networks by hand, with the proof that they are right.

architectures   one file each: equations, forward, backward by hand
verification    independent witnesses for every gradient
pretraining     the closed-form linear autoencoder, starts from it, growth
training        losses, models, optimisers, fitting
data            music, labelled sequences, generated ones, batches
claims          the papers' claims as experiments
"""

from importlib.metadata import version

from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    MGU,
    NBRC,
    REGISTRY,
    ULM,
    Bidirectional,
    Checkpointed,
    ClockworkRNN,
    DuRNN,
    Elman,
    Gradients,
    IndRNN,
    MultiScaleLMN,
    Parallel,
    Stack,
    scan,
)
from msref.pretraining import LAES, grow, vaa, vaa_star
from msref.verification import verify

__all__ = [
    "BRC",
    "GRU",
    "LAES",
    "LMN",
    "LSTM",
    "MGU",
    "NBRC",
    "REGISTRY",
    "ULM",
    "Bidirectional",
    "Checkpointed",
    "ClockworkRNN",
    "DuRNN",
    "Elman",
    "Gradients",
    "IndRNN",
    "MultiScaleLMN",
    "Parallel",
    "Stack",
    "__version__",
    "grow",
    "scan",
    "vaa",
    "vaa_star",
    "verify",
]

__version__ = version("msref")
