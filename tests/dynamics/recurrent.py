"""Every registered network that has a state and no future, at a point."""

import numpy as np

from msref.architectures import REGISTRY, is_causal

NETWORKS = [
    arch
    for entry in REGISTRY.values()
    for arch in entry.examples
    if is_causal(arch) and arch.initial_state(1)
]


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
