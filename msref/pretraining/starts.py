"""Networks with a memory that works before they are trained.

    lmn_from_inputs     an LMN whose memory holds the past inputs
    elman_from_inputs   the same with one layer for both
    lmn_orthogonal      an LMN whose memory is kept orthogonal
    lmn_delay_line      an LMN whose memory holds the last hidden vectors

Each returns a model and its parameters, ready for ``msref.training.fit``.
``unrolled.py`` has the start from a trained unrolled network; the equations
are numbered on from there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from msref.architectures.elman import Elman
from msref.architectures.lmn import LMN
from msref.arrays import Array, Arrays
from msref.functional import orthogonal
from msref.pretraining.laes import LAES
from msref.pretraining.laes_sequences import AnySequences
from msref.pretraining.readout import read_out
from msref.training.model import Model
from msref.training.penalties import Orthogonality

Start = tuple[Model, Arrays]
"""A model, and the parameters to train it from."""


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
    return model, params | read_out(model, params, sequences, targets, ridge)


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
    return model, params | read_out(model, params, sequences, targets, ridge)


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
