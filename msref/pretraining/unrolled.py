"""Networks with a memory that works before they are trained.

    lmn_from_unrolled   a trained unrolled network, as an LMN
    lmn_from_inputs     an LMN whose memory holds the past inputs
    elman_from_inputs   the same with one layer for both
    lmn_orthogonal      an LMN whose memory is kept orthogonal
    lmn_delay_line      an LMN whose memory holds the last hidden vectors

Each returns a model and its parameters, ready for ``msref.training.fit``.
With A, B the linear autoencoder (``LAES``) of some sequences and

    R_k = [A^T; A^T B^T; …; A^T (B^T)^{k-1}],                              (1)

R_k times a memory is the last k frames of its sequence, newest first. So a
layer that reads k frames becomes one that reads the memory: the product of
its weights with R_k (Sperduti, 2015). That is all that happens here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from msref.architectures.base import check_tree
from msref.architectures.elman import Elman
from msref.architectures.lmn import LMN
from msref.architectures.ulm import ULM
from msref.arrays import Array, Arrays, under
from msref.data.batching import pad
from msref.functional import orthogonal
from msref.pretraining.laes import LAES
from msref.pretraining.laes_sequences import AnySequences, as_sequences
from msref.training.evaluation import check_pairs
from msref.training.model import Model
from msref.training.penalties import Orthogonality

Start = tuple[Model, Arrays]
"""A model, and the parameters to train it from."""

TOGETHER = 64
"""Sequences of similar length that run side by side."""


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
        i: y[:, : ulm.n_hid].copy() for i, y in _outputs(model, params, frames)
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
            for i, y in _outputs(model, params, frames)
        }
        targets = [wanted[i] for i in range(len(frames))]
        new |= _refitted(start, new, frames, targets, ridge)
    return start, new


def lmn_from_inputs(
    sequences: AnySequences,
    n_mem: int,
    n_out: int,
    rng: np.random.Generator,
    *,
    loss: str = "bernoulli",
    centre: bool = True,
    scale: float = 1.0,
    targets: Sequence[Array] | None = None,
    ridge: float = 0.0,
) -> Start:
    """Build a Linear Memory Network that remembers its inputs.

    Equations, with A, B, bias the LAES of the inputs and s = scale
        W_xh = s A^T,   W_mh = 0,   b_h = 0                                (8)
        W_hm = I / s,   W_mm = B^T,   b_m = bias                           (9)
        W_yo = argmin Σ |m_t W_yo - target_t|^2 + ridge |W_yo|^2,
        b_o = 0                                                           (10)

        With n_hid = n_mem, tanh stands between A x_t and the memory alone.
        Where it is in its linear part, m_t is the state of the LAES; the
        difference vanishes like s^2.

    Arguments
        sequences: inputs, as for ``hidden_sequences``.
        rng: draws the read-out where there are no targets.
        loss, n_out: those of the Model.
        centre: subtract the mean input, in the bias.
        targets: one for each sequence, of k frames that belong to its last k
            inputs: (k, n_out), or (k,) classes, fitted as zeros and ones.

    Returns
        a Model of LMN(n_in, n_mem, n_mem).

    Raises
        TypeError, ValueError: sequences, targets or sizes that do not fit,
            scale not above zero or infinite, ridge below zero.

    Source
        Carta, Sperduti & Bacciu (NeurIPS workshop, 2020), from the authors'
        code, with s = 1; s is derived here. There, (10) is fitted to states
        of the LAES, at the last frame. Here it is fitted to those of the
        network itself (our choice), which for s -> 0 are the same.
    """
    if not 0.0 < scale < np.inf:
        raise ValueError(f"scale is {scale}, expected a number above 0")
    laes = LAES(n_mem, centre=centre).fit(sequences)
    memory = laes.matrices()
    model = Model(LMN(laes.n_in, n_mem, n_mem), n_out, loss)
    params = model.init(rng, laes.A.dtype) | {
        "core/W_xh": scale * memory["W_xm"],  # (8)
        "core/W_mh": np.zeros((n_mem, n_mem), laes.A.dtype),  # (8)
        "core/W_hm": np.eye(n_mem, dtype=laes.A.dtype) / scale,  # (9)
        "core/W_mm": memory["W_mm"],  # (9)
        "core/b_m": memory["b_m"],  # (9)
    }
    return model, params | _read(model, params, sequences, targets, ridge)


def elman_from_inputs(
    sequences: AnySequences,
    n_hid: int,
    n_out: int,
    rng: np.random.Generator,
    *,
    loss: str = "bernoulli",
    centre: bool = True,
    scale: float = 1.0,
    targets: Sequence[Array] | None = None,
    ridge: float = 0.0,
) -> Start:
    """Build an Elman network that remembers its inputs.

    Equations, as for ``lmn_from_inputs``
        W_xh = s A^T,   W_hh = B^T,   b_h = s bias                        (11)

        h_t / s is the state of the LAES where tanh is linear. Unlike in the
        LMN, what is remembered passes through tanh again at every frame.

    Arguments, Returns, Raises
        as ``lmn_from_inputs``, with a Model of Elman(n_in, n_hid).

    Source
        Pasa & Sperduti (2014), who do not centre and draw the read-out
        small (their script, as far as it could be identified); centred,
        with the read-out of (10), in the code of Carta, Sperduti & Bacciu.
        s is derived here.
    """
    if not 0.0 < scale < np.inf:
        raise ValueError(f"scale is {scale}, expected a number above 0")
    laes = LAES(n_hid, centre=centre).fit(sequences)
    memory = laes.matrices()
    model = Model(Elman(laes.n_in, n_hid), n_out, loss)
    params = model.init(rng, laes.A.dtype) | {
        "core/W_xh": scale * memory["W_xm"],  # (11)
        "core/W_hh": memory["W_mm"],  # (11)
        "core/b_h": scale * memory["b_m"],  # (11)
    }
    return model, params | _read(model, params, sequences, targets, ridge)


def lmn_orthogonal(
    n_in: int,
    n_hid: int,
    n_mem: int,
    n_out: int,
    rng: np.random.Generator,
    *,
    strength: float,
    loss: str = "bernoulli",
    dtype: npt.DTypeLike = np.float64,
) -> Start:
    """Build an LMN whose memory starts, and is kept, near orthogonal.

    Equation
        W_mm W_mm^T = I;  loss += strength |W_mm W_mm^T - I|_F^2          (12)

    Source
        the authors' code, with strength between 1e-4 and 1e-1; everything
        else is drawn as ``LMN.init`` and ``Model.init`` draw it.
    """
    penalty = Orthogonality("core/W_mm", strength)
    model = Model(LMN(n_in, n_hid, n_mem), n_out, loss, penalty=penalty)
    params = model.init(rng, dtype)
    return model, params | {"core/W_mm": orthogonal(rng, n_mem, dtype)}


def lmn_delay_line(
    n_in: int,
    n_hid: int,
    n_window: int,
    n_out: int,
    rng: np.random.Generator,
    *,
    loss: str = "bernoulli",
    dtype: npt.DTypeLike = np.float64,
) -> Start:
    """Build an LMN whose memory is the last hidden vectors, verbatim.

    Equation
        m_t = [h_t, h_{t-1}, …, h_{t-k+1}],  k = n_window                 (13)

        W_hm writes h_t into the newest slot, W_mm moves every slot to the
        next older one, b_m = 0; all three are frozen. n_mem = k n_hid.

    Source
        The abstract of Carta, Sperduti & Bacciu (2021) names a delay line
        as a memory to compare with; its definition is not known to us, this
        one is our reading.
    """
    if n_window < 1:
        raise ValueError(f"n_window is {n_window}, expected at least 1")
    n_mem = n_window * n_hid
    memory = {
        "core/W_hm": np.eye(n_hid, n_mem, dtype=dtype),  # (13)
        "core/W_mm": np.eye(n_mem, k=n_hid, dtype=dtype),  # (13)
        "core/b_m": np.zeros(n_mem, dtype),  # (13)
    }
    core = LMN(n_in, n_hid, n_mem)
    model = Model(core, n_out, loss, frozen=tuple(memory))
    return model, model.init(rng, dtype) | memory


# --- least squares ----------------------------------------------------------


def _read(
    model: Model,
    params: Arrays,
    sequences: AnySequences,
    targets: Sequence[Array] | None,
    ridge: float,
) -> Arrays:
    """Return the read-out of (10), or nothing where there are no targets."""
    if not ridge >= 0.0:
        raise ValueError(f"ridge is {ridge}, expected at least 0")
    if targets is None:
        return {}
    frames, _ = as_sequences(sequences)
    if len(targets) != len(frames):
        raise ValueError(
            f"there are {len(targets)} targets, expected one for each of"
            f" {len(frames)} sequences"
        )
    pairs = check_pairs("data", list(zip(frames, targets, strict=True)), model)
    wanted = [target for _, target in pairs]
    if model.loss_function.classes:
        wanted = [np.eye(model.n_out)[target] for target in wanted]
    names = ("readout/W_yo", "readout/b_o")
    zero = {name: np.zeros_like(params[name]) for name in names}
    return zero | _refitted(model, params | zero, frames, wanted, ridge)


def _refitted(
    model: Model,
    params: Arrays,
    frames: list[Array],
    targets: list[Array],
    ridge: float,
) -> Arrays:
    """Return W_yo + D, the read-out that fits the targets better.

    Equation
        D = argmin Σ |y_t (W_yo + D) + b_o - target_t|^2 + ridge |D|^2, the
        shortest one if there are many; the sum runs over the last frames of
        each sequence, as many as its target has.
    """
    W_yo, b_o = params["readout/W_yo"], params["readout/b_o"]
    found = {
        i: y[-len(targets[i]) :].copy()
        for i, y in _outputs(model, params, frames)
    }
    y = np.concatenate([found[i] for i in range(len(frames))])
    missing = np.concatenate(targets).astype(y.dtype) - (y @ W_yo + b_o)
    u, s, v_t = np.linalg.svd(y, full_matrices=False)
    known = s > max(y.shape) * np.finfo(y.dtype).eps * s[0]
    gain = np.divide(s, s**2 + ridge, out=np.zeros_like(s), where=known)
    return {"readout/W_yo": W_yo + v_t.T @ (gain[:, None] * (u.T @ missing))}


def _outputs(
    model: Model, params: Arrays, frames: list[Array]
) -> Iterator[tuple[int, Array]]:
    """Yield the number of each sequence with the core's outputs on it."""
    core, own = model.core, under("core", params)
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    for first in range(0, len(order), TOGETHER):
        batch = order[first : first + TOGETHER]
        dtype = params["readout/b_o"].dtype
        x, lengths = pad([frames[i] for i in batch], dtype)
        y, _, _ = core.forward(own, x)
        for b, i in enumerate(batch):
            yield i, y[: lengths[b], b]


# --- the border -------------------------------------------------------------


def _unrolled(model: Model, params: Arrays) -> ULM:
    """Return the core, if it is a ULM and the parameters are the model's."""
    if not isinstance(model.core, ULM):
        raise TypeError(f"the core is {model.core!r}, expected a ULM")
    check_tree("params", params, model.shapes(), next(iter(params.values())))
    return model.core
