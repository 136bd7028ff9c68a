"""The whole state of a fit, in a file that is either whole or not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msref.arrays import prefixed, under
from msref.training.metrics import Tally
from msref.training.sealed import (
    described,
    described_rng,
    described_tree,
    read_sealed,
    write_sealed,
)
from msref.training.states import Plan, State


def write_checkpoint(
    path: Path | str, state: State, belongs_to: Mapping[str, str]
) -> None:
    """Write a state; ``belongs_to`` is the fingerprint of its fit.

    Raises
        OSError: the file cannot be written; an old one is left as it was.
    """
    arrays = {
        **prefixed("params", state.params),
        **prefixed("best", state.best),
        **prefixed("optimiser", state.optimiser),
    }
    run = {
        "rng": state.rng,
        "step": state.step,
        "loss": [state.loss.hits, state.loss.total],
        "history": state.history,
        "seconds": state.seconds,
    }
    write_sealed(path, run, arrays, belongs_to)


def read_checkpoint(path: Path | str, belongs_to: Mapping[str, str]) -> State:
    """Read what ``write_checkpoint`` wrote.

    Raises
        OSError, ValueError: as ``read_sealed``.
    """
    run, arrays = read_sealed(path, belongs_to)
    return State(
        params=under("params", arrays),
        best=under("best", arrays),
        optimiser=under("optimiser", arrays),
        rng=run["rng"],
        step=run["step"],
        loss=Tally(*run["loss"]),
        history=tuple(run["history"]),
        seconds=run["seconds"],
    )


def fingerprint(plan: Plan, start: State) -> dict[str, str]:
    """Return what makes two fits the same, in words and digests.

    Of sequences that are new in every epoch, those of the first stand for
    all: they depend on the epoch's number alone.

    Arguments
        start: the state before the first update.
    """
    train = described([array for pair in plan.train for array in pair])
    # An entry only where it says something: older checkpoints have none.
    enough = {} if plan.enough is None else {"enough": str(plan.enough)}
    return {
        "model": repr(plan.model),
        "optimiser": repr(plan.optimiser),
        "train": train if plan.fresh is None else f"new, first {train}",
        "valid": described([array for pair in plan.valid for array in pair]),
        "params": described_tree(start.params),
        "optimiser_state": described_tree(start.optimiser),
        "rng": described_rng(start.rng),
        "n_batch": str(plan.n_batch),
        "patience": str(plan.patience),
        "clip": str(plan.clip),
        "metric": getattr(plan.metric, "__qualname__", repr(plan.metric)),
        "best": plan.best,
        "noise": str(plan.noise),
        "detach": str(plan.detach),
        **enough,
    }
