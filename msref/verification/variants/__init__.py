"""Known wrong variants of every network: the conventions that ports get wrong.

``variants(arch)`` names them all, ``planted(arch, [variant, …])`` makes the
wrong network, which ``msref.scan`` runs. They are what ``msref.vectors``
diagnoses a port by, and the wrong forward passes of
``msref.verification.mutants``: one list serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msref.architectures import (
    BRC,
    GRU,
    LMN,
    LSTM,
    MGU,
    NBRC,
    ULM,
    BatchNorm,
    Bidirectional,
    ClockworkRNN,
    Dropout,
    DuRNN,
    Elman,
    IndRNN,
    Linear,
    MultiScaleLMN,
    Stack,
)
from msref.verification.variants.base import Variant, planted
from msref.verification.variants.bistable import of_bistable
from msref.verification.variants.clocked import of_clockwork, of_mslmn
from msref.verification.variants.dual import of_durnn
from msref.verification.variants.gru import of_gru, of_mgu
from msref.verification.variants.layers import (
    of_batchnorm,
    of_dropout,
    of_linear,
)
from msref.verification.variants.lstm import of_lstm
from msref.verification.variants.memories import of_lmn, of_ulm
from msref.verification.variants.recurrent import of_elman, of_indrnn
from msref.verification.variants.runs import (
    INPUT_LATE,
    of_axes,
    of_runs,
    remembers,
)
from msref.verification.variants.weights import of_weights
from msref.verification.variants.wiring import of_wiring

__all__ = ["Variant", "planted", "variants"]

_OWN: dict[type, Callable[[Any], Iterator[Variant]]] = {
    Elman: of_elman,
    LSTM: of_lstm,
    GRU: of_gru,
    MGU: of_mgu,
    BRC: of_bistable,
    NBRC: of_bistable,
    LMN: of_lmn,
    ULM: of_ulm,
    IndRNN: of_indrnn,
    DuRNN: of_durnn,
    ClockworkRNN: of_clockwork,
    MultiScaleLMN: of_mslmn,
    Linear: of_linear,
    BatchNorm: of_batchnorm,
    Dropout: of_dropout,
}


def variants(arch: Any) -> list[Variant]:
    """Return all known wrong variants of a network, and of its parts.

    A network of your own has those that every network can have.
    """
    found = list(_of_network(arch))
    if remembers(arch):  # else every frame stands alone, in any order
        found += of_axes()
    return found


def _of_network(arch: Any, inside: bool = False) -> Iterator[Variant]:
    if hasattr(arch, "with_parts"):
        yield from of_wiring(arch)
        for k, part in enumerate(arch.parts):
            for variant in _of_network(part, True):
                if not _is_known(arch, k, variant):
                    yield variant.of_part(k)
    else:
        own = _OWN.get(type(arch))
        if own is not None:
            yield from own(arch)
        yield from of_weights(arch)
    yield from of_runs(arch, inside)


def _is_known(arch: Any, k: int, variant: Variant) -> bool:
    """Tell whether a mistake in part k is one of the wiring, or of part k-1."""
    if variant.path:
        return False
    if isinstance(arch, Stack):
        return k > 0 and variant.kind == INPUT_LATE
    return (
        isinstance(arch, Bidirectional)
        and k == 1
        and variant.kind == "sequence read backwards"
    )
