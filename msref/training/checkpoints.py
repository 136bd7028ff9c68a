"""The whole state of a fit, in a file that is either whole or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from msref.arrays import Array, Arrays, prefixed, under
from msref.files import read_arrays, write_arrays
from msref.training.metrics import Tally
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
        "belongs_to": dict(belongs_to),
        "rng": state.rng,
        "step": state.step,
        "loss": [state.loss.hits, state.loss.total],
        "history": state.history,
        "seconds": state.seconds,
    }
    text = json.dumps(run, default=np.ndarray.tolist, allow_nan=False)
    write_arrays(path, arrays, {"run": text, "sha256": seal(text, arrays)})


def read_checkpoint(path: Path | str, belongs_to: Mapping[str, str]) -> State:
    """Read what ``write_checkpoint`` wrote.

    Raises
        OSError: the file cannot be read.
        ValueError: the file is damaged, is no checkpoint, or belongs to
            another fit; the message names the file and what differs.
    """
    arrays, metadata = read_arrays(path)
    if set(metadata) != {"run", "sha256"}:
        raise ValueError(f"{path} is not a checkpoint of msref")
    if metadata["sha256"] != seal(metadata["run"], arrays):
        raise ValueError(f"{path} is damaged: its checksum does not fit")
    run = json.loads(metadata["run"])
    compare(path, run["belongs_to"], belongs_to)
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
    rng = json.dumps(start.rng, default=np.ndarray.tolist)
    train = described([array for pair in plan.train for array in pair])
    # An entry only where it says something: older checkpoints have none.
    enough = {} if plan.enough is None else {"enough": str(plan.enough)}
    return {
        "model": repr(plan.model),
        "optimiser": repr(plan.optimiser),
        "train": train if plan.fresh is None else f"new, first {train}",
        "valid": described([array for pair in plan.valid for array in pair]),
        "params": described(in_order(start.params)),
        "optimiser_state": described(in_order(start.optimiser)),
        "rng": hashlib.sha256(rng.encode()).hexdigest(),
        "n_batch": str(plan.n_batch),
        "patience": str(plan.patience),
        "clip": str(plan.clip),
        "metric": getattr(plan.metric, "__qualname__", repr(plan.metric)),
        "best": plan.best,
        "noise": str(plan.noise),
        "detach": str(plan.detach),
        **enough,
    }


def in_order(arrays: Arrays) -> list[Array]:
    """Return the arrays by name."""
    return [arrays[name] for name in sorted(arrays)]


def described(arrays: list[Array]) -> str:
    """Return how many, how large, and a digest of them."""
    n_entries = sum(array.size for array in arrays)
    return f"{len(arrays)} arrays, {n_entries} numbers, {_digest(arrays)[:16]}"


def _digest(arrays: Iterable[Array]) -> str:
    """Return the SHA-256 of shapes, types and values."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.shape}{array.dtype.str}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def seal(text: str, arrays: Arrays) -> str:
    """Return the digest by which a damaged file is known."""
    names = sorted(arrays)
    content = json.dumps([text, names, _digest(arrays[k] for k in names)])
    return hashlib.sha256(content.encode()).hexdigest()


def compare(
    path: Path | str, found: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    """Require what a checkpoint belongs to.

    Raises
        ValueError: something was different; all that was is named.
    """
    differing = [
        f"{key} was {found.get(key)}, is {expected.get(key)}"
        for key in sorted({*found, *expected})
        if found.get(key) != expected.get(key)
    ]
    if differing:
        raise ValueError(
            f"{path} is the checkpoint of another fit: {'; '.join(differing)}."
            " Start the fit it belongs to, or name another file"
        )
