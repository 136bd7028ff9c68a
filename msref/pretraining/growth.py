"""A MultiScale LMN grows: one more module, twice as slow as the slowest.

grow            a module more, from the closed form
first_module    the same for the very first one
embedded        where old weights, or their moments, are in the new ones
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from msref.architectures import Bidirectional, MultiScaleLMN
from msref.architectures.base import check_sizes, check_tree
from msref.arrays import Array, Arrays, under
from msref.functional import glorot_normal
from msref.pretraining.laes import LAES
from msref.pretraining.laes_sequences import AnySequences, as_sequences
from msref.pretraining.readout import outputs, read_out
from msref.training.model import Model

CROP = 500
"""Frames of a sub-sampled sequence that the authors' code keeps."""


class GrowthWarning(UserWarning):
    """A new module has units that the data could not fill."""


def grow(
    network: Any,
    params: Arrays,
    sequences: AnySequences,
    *,
    crop: int | None = CROP,
    targets: Sequence[Array] | None = None,
    ridge: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[Any, Arrays]:
    """Add a module that remembers every 2^g-th hidden vector.

    Equations, g the modules so far, A and B the LAES (``n_mem`` units, not
    centred) of the hidden vectors h at the ticks of the new module
        W_hm <- [W_hm, A^T]          W_mm <- [W_mm, 0; 0, B^T]           (1)
        W_mh <- [W_mh; 0]            b_m <- [b_m, 0]                     (2)
        W_yo <- [W_yo; 0]            m_0 <- [m_0, 0]                     (3)
        In a bidirectional network both directions grow, and the zero rows
        of W_yo come behind the rows of their direction.

    What it guarantees
        No output and no hidden vector changes: nothing reads the new module
        yet. Its state at its ticks is the LAES code of the sub-sampled
        hidden sequence, and stands still in between (units that ``rng``
        fills hold something else). Afterwards all its weights can learn,
        those between old and new modules too; names that a Model freezes
        are frozen in the new rows as well.

    Arguments
        network: a MultiScaleLMN, a Bidirectional of two, or a Model with
            such a core.
        params: its parameters.
        sequences: a list of inputs (n_time_q, n_in), or one array
            (n_time, n_batch, n_in).
        crop: fit the LAES to so many sub-sampled frames of each sequence,
            the first ones; ``None`` for all.
        targets: of a Model, one for each sequence: then the read-out is
            fitted to them by least squares (classes as zeros and ones), and
            the output does change. ``None``, the default, leaves it alone.
        ridge: strength that holds such a read-out to zero.
        rng: draws the input weights of units that the LAES cannot fill
            (Glorot-normal, gain 0.9); nothing reads them yet. With ``None``
            they are zero, and then these units can never learn.

    Returns
        the network with one module more, and its parameters.

    Warns
        GrowthWarning: all hidden vectors are zero, no frame falls on a tick
            of the module, or the rank of their histories is below n_mem; the
            message says what became of the module.

    Raises
        TypeError: another network; targets without a Model.
        ValueError: parameters, sequences or targets that do not fit.

    Source
        (1)-(3) Carta, Sperduti & Bacciu (2020), from the authors' code,
        which crops at 500 frames. That code wipes the backward half of a
        bidirectional read-out, and calls an ``update_readout`` that is
        nowhere defined: what ``targets`` do is our choice, and so is
        ``rng``.
    """
    frames = _checked(network, params, sequences, crop, targets)
    parts = _parts(network)
    grown = [
        replace(part.core, n_modules=part.core.n_modules + 1) for part in parts
    ]
    larger = _with_cores(network, grown)
    new = embedded(network, larger, params)
    for part in parts:
        i, n_mem = part.core.n_modules, part.core.n_mem
        module = slice(i * n_mem, (i + 1) * n_mem)
        W_hm, W_mm = _module(part, params, i, frames, crop, rng)
        new[f"{part.path}W_hm"][:, module] = W_hm  # (1)
        new[f"{part.path}W_mm"][module, module] = W_mm  # (1)
    return larger, _read_out(larger, new, frames, targets, ridge)


def first_module(
    network: Any,
    params: Arrays,
    sequences: AnySequences,
    *,
    crop: int | None = CROP,
    targets: Sequence[Array] | None = None,
    ridge: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Arrays:
    """Lay the only module of a network as ``grow`` lays the next ones.

    Before it the network is the functional layer alone, without memory:
    h_t = tanh(x_t W_xh + b_h). So W_mh, b_m and m_0 are zero afterwards, and
    W_yo is zero if the memory is what it reads.

    Arguments, warnings and errors as ``grow``; and a network of more than
    one module is a ValueError.

    Returns
        the parameters.

    Source
        The authors' code starts so, from a random functional layer. Without
        input and b_h that layer is silent, and there is nothing to fit: draw
        b_h first.
    """
    frames = _checked(network, params, sequences, crop, targets)
    new = {name: value.copy() for name, value in params.items()}
    for part in _parts(network):
        if part.core.n_modules != 1:
            raise ValueError(
                f"network has {part.core.n_modules} modules, expected 1"
            )
        unread = ["W_mh", "b_m", *["m_0"] * part.core.learned_start]
        for name in unread:
            new[part.path + name][...] = 0.0  # (2)
        W_hm, W_mm = _module(part, new, 0, frames, crop, rng)
        new[f"{part.path}W_hm"], new[f"{part.path}W_mm"] = W_hm, W_mm  # (1)
        if isinstance(network, Model) and part.core.output == "memory":
            new["readout/W_yo"][...] = 0.0  # (3)
    return new | _read_out(network, new, frames, targets, ridge)


def embedded(network: Any, larger: Any, arrays: Arrays) -> Arrays:
    """Put arrays of a network where they belong in the larger one.

    Arguments
        network, larger: before and after ``grow``.
        arrays: any of the network's parameters by name, or arrays shaped
            like them; names with other things in front (``v/…``) are those
            of an optimiser's moments. What has no such name is kept.

    Returns
        new arrays, shaped like the larger network's parameters, zero where
        nothing was before: also the moments that new weights start with.
    """
    old_shapes, new_shapes = network.shapes(), larger.shapes()
    rows, start = [], 0
    for old, new in zip(_parts(network), _parts(larger), strict=True):
        rows.append(start + np.arange(old.core.n_out))
        start += new.core.n_out
    placed = {}
    for key, array in arrays.items():
        name = key if key in old_shapes else key.partition("/")[2]
        if name not in old_shapes:
            placed[key] = array
            continue
        whole = np.zeros(new_shapes[name], array.dtype)
        where: list[Any] = [slice(size) for size in old_shapes[name]]
        if name == "readout/W_yo":
            where[0] = np.concatenate(rows)
        whole[tuple(where)] = array
        placed[key] = whole
    return placed


def modules_of(network: Any) -> int:
    """Return how many modules a network has that can grow.

    Raises
        TypeError: another network.
        ValueError: two directions of different numbers of modules.
    """
    found = {part.core.n_modules for part in _parts(network)}
    if len(found) > 1:
        raise ValueError(
            f"network has directions of {sorted(found)} modules, expected"
            " equal numbers"
        )
    return found.pop()


# --- the module -------------------------------------------------------------


class _Part(NamedTuple):
    """One direction: what its names begin with, and whether it is reversed."""

    path: str
    core: MultiScaleLMN
    reads_backwards: bool


def _parts(network: Any) -> list[_Part]:
    """Return the directions of a network that can grow."""
    core, path = network, ""
    if isinstance(network, Model):
        core, path = network.core, "core/"
    if isinstance(core, MultiScaleLMN):
        return [_Part(path, core, False)]
    if isinstance(core, Bidirectional) and all(
        isinstance(part, MultiScaleLMN) for part in core.parts
    ):
        return [
            _Part(f"{path}{k}/", part, k == 1)
            for k, part in enumerate(core.parts)
        ]
    raise TypeError(
        f"network is {network!r}, expected a MultiScaleLMN, a Bidirectional of"
        " two, or a Model of these"
    )


def _with_cores(network: Any, cores: list[MultiScaleLMN]) -> Any:
    """Return the same network of other cores."""
    if isinstance(network, Model):
        return replace(network, core=_with_cores(network.core, cores))
    if isinstance(network, Bidirectional):
        return network.with_parts(*cores)
    return cores[0]


def _module(
    part: _Part,
    params: Arrays,
    i: int,
    frames: list[Array],
    crop: int | None,
    rng: np.random.Generator | None,
) -> tuple[Array, Array]:
    """Return A^T and B^T of module i, fitted to what it would hear."""
    core = replace(part.core, output="hidden")
    own = under(part.path.rstrip("/"), params) if part.path else params
    heard = [x[::-1] for x in frames] if part.reads_backwards else frames
    hidden = dict(outputs(core, own, heard))
    ticks = core.clock.ticks(i, 0)
    kept = [hidden[q][ticks][:crop] for q in range(len(frames))]
    kept = [h for h in kept if len(h)]
    where = f"module {i} (period {core.clock.period(i)})"
    if part.path:
        where += f" of {part.path.rstrip('/')}"
    silence = np.zeros((1, core.n_hid), own["W_hm"].dtype)
    laes = LAES(core.n_mem).fit(kept or [silence])
    memory = laes.matrices()
    W_hm, W_mm = memory["W_xm"], memory["W_mm"]
    if laes.rank < core.n_mem:
        _say_what_is_missing(where, kept, laes.rank, core, rng is not None)
        if rng is not None:
            drawn = glorot_normal(rng, W_hm.shape, W_hm.dtype, gain=0.9)
            W_hm[:, laes.rank :] = drawn[:, laes.rank :]
    return W_hm, W_mm


def _say_what_is_missing(
    where: str,
    kept: list[Array],
    rank: int,
    core: MultiScaleLMN,
    drawn: bool,
) -> None:
    n_frames = sum(map(len, kept))
    if n_frames == 0:
        why = "no frame of any sequence falls on one of its ticks"
    elif not any(h.any() for h in kept):
        why = (
            f"all {n_frames} hidden vectors at its ticks are zero: a network"
            " without input and b_h is silent, draw b_h first"
        )
    else:
        why = (
            f"the histories of its {n_frames} hidden vectors, in {len(kept)}"
            f" sequences, have rank {rank}"
        )
    fate = "were drawn at random" if drawn else "are zero and cannot learn"
    warnings.warn(
        f"{where}: {why}; {core.n_mem - rank} of {core.n_mem} units {fate}",
        GrowthWarning,
        stacklevel=4,
    )


# --- the border -------------------------------------------------------------


def _checked(
    network: Any,
    params: Arrays,
    sequences: AnySequences,
    crop: int | None,
    targets: Sequence[Array] | None,
) -> list[Array]:
    """Return the sequences, if everything fits."""
    _parts(network)
    if crop is not None:
        check_sizes(crop=crop)
    if targets is not None and not isinstance(network, Model):
        raise TypeError(
            f"targets came with {network!r}, expected a Model: nothing else"
            " has a read-out"
        )
    check_tree("params", params, network.shapes(), next(iter(params.values())))
    frames, _ = as_sequences(sequences, network.n_in)
    return frames


def _read_out(
    network: Any,
    params: Arrays,
    frames: list[Array],
    targets: Sequence[Array] | None,
    ridge: float,
) -> Arrays:
    """Return the parameters, with a new read-out where targets are given."""
    if targets is None:
        return params
    return params | read_out(network, params, frames, targets, ridge)
