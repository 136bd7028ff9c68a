"""msref: recurrent networks by hand, with the proof that they are right.

architectures   one file each: equations, forward, backward by hand
verification    independent witnesses for every gradient
pretraining     the closed-form linear autoencoder, growth, warm-up
dynamics        what a network does over time: reach, fixed points, attractors
training        losses, models, optimisers, fitting
data            music, labelled sequences, generated ones, a maze, batches
vectors         golden numbers to port from; where a port goes wrong, and why
ports           weights of other frameworks, both ways
claims          the papers' claims as experiments
"""

from importlib.metadata import version

from msref import ports, vectors
from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    MGU,
    NBRC,
    REGISTRY,
    ULM,
    BatchNorm,
    Bidirectional,
    Checkpointed,
    ClockworkRNN,
    Dropout,
    DuRNN,
    Elman,
    Gradients,
    IndRNN,
    Linear,
    MultiScaleLMN,
    Parallel,
    Residual,
    Stack,
    plain_indrnn,
    residual_indrnn,
    scan,
)
from msref.blas import threads
from msref.dynamics import fixed_points, vaa, vaa_star
from msref.pretraining import LAES, grow, warmup
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
    "BatchNorm",
    "Bidirectional",
    "Checkpointed",
    "ClockworkRNN",
    "Dropout",
    "DuRNN",
    "Elman",
    "Gradients",
    "IndRNN",
    "Linear",
    "MultiScaleLMN",
    "Parallel",
    "Residual",
    "Stack",
    "__version__",
    "fixed_points",
    "grow",
    "plain_indrnn",
    "ports",
    "residual_indrnn",
    "scan",
    "threads",
    "vaa",
    "vaa_star",
    "vectors",
    "verify",
    "warmup",
]

__version__ = version("msref")

checkpointed = Checkpointed
"""``msref.checkpointed(arch, segment)``, as one would say it."""
