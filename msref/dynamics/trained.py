"""The network whose dynamics are measured: as it runs once it is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from msref.architectures.base import check_tree, evaluating
from msref.arrays import Arrays, under
from msref.dynamics.states import slices
from msref.training.model import Model


def trained(arch: Any, params: Arrays) -> tuple[Any, Arrays]:
    """Return a network as it runs once it is trained, and its parameters.

    Dropout keeps all, and batch norm takes what it observed.

    Arguments
        arch: a network, or a Model: of that, the core.
        params: those of ``arch``, under its names.

    Raises
        TypeError, ValueError: parameters that do not fit ``arch``; a network
            that looks ahead, or has no state.
    """
    core = evaluating(arch.core if isinstance(arch, Model) else arch)
    slices(core)  # it has a state, and no future
    like = next(iter(params.values()), np.empty(0))
    check_tree("params", params, arch.shapes(), like)
    return core, under("core", params) if isinstance(arch, Model) else params
