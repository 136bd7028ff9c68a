"""Networks to look at: the registered ones at a point, and tiny ones."""

import numpy as np

from msref.architectures import (
    GRU,
    REGISTRY,
    BatchNorm,
    Dropout,
    Elman,
    Stack,
    is_causal,
)

NETWORKS = [
    arch
    for entry in REGISTRY.values()
    for arch in entry.examples
    if is_causal(arch) and arch.initial_state(1)
]

OBSERVING = Stack(BatchNorm(2), GRU(2, 3), Dropout(3, 0.5))
"""It runs in another way once it is trained."""

BISTABLE = Elman(1, 1)
"""One unit: two stable points at a weight W_hh above 1, one below."""


def with_only(arch, **values):
    """Return parameters that are zero, but for those named: one value each."""
    zeros = {k: np.zeros(v) for k, v in arch.shapes().items()}
    return zeros | {k: np.full_like(zeros[k], v) for k, v in values.items()}


def point(arch, seed, n_time=1, n_batch=1):
    """Draw parameters, an input and a state; masked weights stay zero."""
    rng = np.random.default_rng(seed)
    params = {
        name: start * rng.uniform(0.5, 1.5, start.shape)
        if start.all()
        else np.where(np.ptp(start) > 0, start, rng.normal(0, 0.5, start.shape))
        for name, start in arch.init(rng).items()
    }
    x = rng.standard_normal((n_time, n_batch, arch.n_in))
    state = {
        name: rng.standard_normal(array.shape)
        for name, array in arch.initial_state(n_batch).items()
    }
    return params, x, state
