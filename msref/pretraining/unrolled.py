"""From a trained unrolled network to a Linear Memory Network.

With A, B the linear autoencoder (``LAES``) of some sequences and

    R_k = [A^T; A^T B^T; …; A^T (B^T)^{k-1}],                              (1)

R_k times a memory is the last k frames of its sequence, newest first. So a
layer that reads k frames becomes one that reads the memory: the product of
its weights with R_k (Sperduti, 2015). That is all that happens here.
"""

from __future__ import annotations

import numpy as np

from msref.architectures.base import check_tree
from msref.architectures.lmn import LMN
from msref.architectures.ulm import ULM
from msref.arrays import Array, Arrays, under
from msref.pretraining.laes import LAES
from msref.pretraining.laes_sequences import AnySequences, as_sequences
from msref.pretraining.readout import outputs, refitted
from msref.pretraining.starts import Start
from msref.training.model import Model


def hidden_sequences(
    model: Model, params: Arrays, sequences: AnySequences
) -> list[Array]:
    """Run an unrolled network and return h_t at every frame.

    Arguments
        model, params: a Model whose core is a ULM.
        sequences: a list of inputs (n_time_q, n_in), or one array
            (n_time, n_batch, n_in).

    Returns
        a list of (n_time_q, n_hid), in the order of ``sequences``. Padding
        comes after the last frame and never reaches them.

    Raises
        TypeError: the core is no ULM, or sequences are not float32 or 64.
        ValueError: parameters or sequences that do not fit the model.
    """
    ulm = _unrolled(model, params)
    frames, _ = as_sequences(sequences, ulm.n_in)
    found = {
        i: y[:, : ulm.n_hid].copy()
        for i, y in outputs(ulm, under("core", params), frames)
    }
    return [found[i] for i in range(len(frames))]


def lmn_from_unrolled(
    model: Model,
    params: Arrays,
    sequences: AnySequences,
    n_mem: int,
    *,
    centre: bool = False,
    refit: bool = False,
    ridge: float = 0.0,
) -> Start:
    """Turn a trained unrolled network into a Linear Memory Network.

    Equations, with A, B, mean, bias = -A mean the LAES of the hidden
    sequences, k = n_window, V the read-out and c its bias
        W_hm = A^T,   W_mm = B^T                                           (2)
        W_mh = R_{k-1}^T W_wh,   W_yo = R_k^T V                            (3)
        e_0 = 0,   e_{j+1} = B e_j + bias                                  (4)
        b_m = e_k - e_{k-1}                                                (5)
        b_h += (mean + R_{k-1} e_{k-1}) W_wh                               (6)
        b_o = c + (mean + R_k e_{k-1}) V                                   (7)

        What (4)-(7) add is zero unless ``centre``. The window of the unrolled
        network starts with zeros, and e_{k-1} is the memory of k - 1 zeros:
        not zero itself where a mean is subtracted. So the LAES is fitted to
        hidden sequences that begin with these zeros, and the memory of the
        LMN, which has to start at zero, is the state of the LAES minus
        e_{k-1}.

    What it guarantees
        The LMN is the unrolled network that reads, instead of each h_{t-j},
        what the LAES recalls of it. If n_mem >= the rank of the histories of
        hidden vectors, that is the same, and so are the outputs on
        ``sequences``, to rounding. Below it the difference grows smoothly.

    Arguments
        model, params: a trained Model whose core is a ULM.
        sequences: inputs it was trained on, as for ``hidden_sequences``.
        centre: fit the LAES to centred hidden vectors.
        refit: after (3), change W_yo so that the outputs on ``sequences``
            come closest to those of the unrolled network, in squares; never
            worse there than without.
        ridge: strength that holds the refitted W_yo to that of (3).

    Returns
        a Model of LMN(n_in, n_hid, n_mem), with the same read-out size and
        loss. Frozen names and a penalty belong to other weights and stay
        behind.

    Raises
        TypeError, ValueError: as ``hidden_sequences`` and ``LAES``, or ridge
            is below zero.

    Source
        The procedure: Bacciu, Carta & Sperduti (2019), from the authors'
        code. (3): derived here from Sperduti (2015); the formula that the
        paper prints is not known to us. (4)-(7): derived here; the mean
        alone, without e, would be wrong in the first frames and in all that
        follows from them. The refit is our choice.
    """
    if not ridge >= 0.0:
        raise ValueError(f"ridge is {ridge}, expected at least 0")
    ulm = _unrolled(model, params)
    hidden = hidden_sequences(model, params, sequences)
    empty = np.zeros((ulm.n_window, ulm.n_hid), hidden[0].dtype)
    laes = LAES(n_mem, centre=centre).fit(
        [np.concatenate([empty[1:], h]) for h in hidden]
    )
    R, memory = laes.recall(ulm.n_window), laes.matrices()  # (1)
    *_, e, e_next = laes.encode(empty)  # (4)
    offset = np.tile(laes.mean, ulm.n_window) + R @ e
    read = slice(0, -ulm.n_hid)  # the newest k - 1 of k frames
    W_wh, V = params["core/W_wh"], params["readout/W_yo"]

    start = Model(LMN(ulm.n_in, ulm.n_hid, n_mem), model.n_out, model.loss)
    new = {
        "core/W_xh": params["core/W_xh"].copy(),
        "core/W_mh": R[read].T @ W_wh,  # (3)
        "core/b_h": params["core/b_h"] + offset[read] @ W_wh,  # (6)
        "core/W_hm": memory["W_xm"],  # (2)
        "core/W_mm": memory["W_mm"],  # (2)
        "core/b_m": e_next - e,  # (5)
        "readout/W_yo": R.T @ V,  # (3)
        "readout/b_o": params["readout/b_o"] + offset @ V,  # (7)
    }
    if refit:
        frames, _ = as_sequences(sequences)
        wanted = {
            i: y @ V + params["readout/b_o"]
            for i, y in outputs(ulm, under("core", params), frames)
        }
        targets = [wanted[i] for i in range(len(frames))]
        new |= refitted(start, new, frames, targets, ridge)
    return start, new


def _unrolled(model: Model, params: Arrays) -> ULM:
    """Return the core, if it is a ULM and the parameters are the model's."""
    if not isinstance(model.core, ULM):
        raise TypeError(f"the core is {model.core!r}, expected a ULM")
    check_tree("params", params, model.shapes(), next(iter(params.values())))
    return model.core
