"""A linear autoencoder for sequences, fitted in closed form.

A state y_t that is a linear function of the last state and the new frame, and
from which the whole sequence comes out again, newest frame first. No gradient
is followed: the best subspace for the histories of the training set is a
singular value decomposition, and encoder and decoder are read off from it.

    laes.py            the model: fit, encode, decode
    laes_sequences.py  what may be fitted
    laes_choice.py     which of four routes to the decomposition is cheapest
    laes_routes.py     the four routes, and how no digit is lost on them
    laes_squares.py    the two Gram matrices, built without Ξ
    laes_histories.py  Ξ as an operator
    laes_convolutions.py  its products, in the frequency domain
    laes_krylov.py     block Lanczos, and how it knows that nothing is missing
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays, moved, namespace, on_host
from msref.pretraining.laes_choice import Choice, choices
from msref.pretraining.laes_histories import Histories
from msref.pretraining.laes_routes import (
    ROUTES,
    leading_singular_pairs,
    residual,
)
from msref.pretraining.laes_sequences import (
    AnySequences,
    as_sequences,
    as_stacks,
    check_count,
    check_floats,
    left_padded,
)

FITTED = (
    *("A", "B", "mean", "bias", "singular_values", "rank"),
    *("why", "memory_needed", "residual", "n_in"),
)


class NotFittedError(ValueError, AttributeError):
    """A result of ``fit`` was asked for before ``fit``."""


class LAES:
    """Linear autoencoder for sequences (Sperduti, 2006; in closed form).

    Equations
        y_t = A (x_t - mean) + B y_{t-1},  y_0 = 0                         (1)
            = A x_t + B y_{t-1} + bias,    bias = -A mean
        x_{t-j} ≈ A^T (B^T)^j y_t + mean,  j = 0, 1, ...                   (2)

        Ξ = V Λ U^T, a row per frame: [x_t, x_{t-1}, ..., x_{t-width+1}]   (3)
        A = U^T P_A,  B = U^T P_B U                                        (4)

        P_A writes a frame into the newest slot of a history, P_B moves all
        frames one slot further and drops the oldest, so that the state is
        the history in the coordinates of U: y_t = U^T ξ_t.

    Shapes
        A (n_mem, n_in), B (n_mem, n_mem), mean (n_in,), bias (n_mem,),
        singular_values (n_mem,). This is the papers' column convention;
        ``matrices`` has them for networks that multiply from the right.

    What it guarantees
        If n_mem >= the rank of Ξ, every prefix of every training sequence
        comes back, with errors below 1e-12 of the largest entry;
        what lies above n_mem or the rank is padded with zeros. The spectral
        norm of B is at most 1, whatever n_mem. Below the rank the subspace
        is the best one for the histories; that A and B of (4) are the best
        encoder is not implied. A, B are unique up to an orthogonal change
        of basis of the state, so compare reconstructions, never weights.

    Arguments
        n_mem: size of the state.
        centre: subtract the mean frame first. It costs nothing in a network
            (it is the bias) and saves a direction per delay.
        route: "dense", "gram", "kernel", "krylov" or "auto", which takes the
            one that is estimated to be fastest within ``memory``, and the
            next one if it should not converge.
        width: how many delays Ξ keeps; None keeps all, that is, as many as
            the longest sequence has frames. Whole sequences are used in
            either case, they are not cropped. With fewer delays, exactness
            means: if the rank is width * n_in, which enough frames see to,
            and n_mem too, the last ``width`` frames of any sequence come
            back exactly; older ones are lost.
        tolerance: singular values below this share of the largest count as
            zero. Every route finds them to 1e-12 of the largest or better.
        memory: bytes that ``fit`` may take on top of the sequences; 1 GiB.
            A list is copied once, by length; that is not counted.

    After ``fit``
        A, B, mean, bias, singular_values, rank (of the n_mem directions how
        many are not padding), route and why (the route taken, and a sentence
        about its cost), memory_needed (bytes it took at most), residual (of
        the singular triplets, both sides, as a share of the largest singular
        value; see ``laes_routes.residual``), n_in.

    Cost
        Time: see ``laes_choice.seconds``; memory: see ``memory``. ``fit``
        computes in float64; A, B, mean and bias have the dtype of the
        sequences.

    Raises
        TypeError, ValueError: an argument of the wrong type or value; the
            message names it.

    Source
        (1)-(3) Sperduti (2006, 2013), Pasa and Sperduti (2014). B there is
        Λ^-1 V^T R V Λ, R the shift by one frame; (4) equals it for every
        n_mem if all delays are kept, and needs no division: derived here.
    """

    A: Array
    B: Array
    mean: Array
    bias: Array
    singular_values: Array
    rank: int
    why: str
    memory_needed: int
    residual: float
    n_in: int

    def __init__(
        self,
        n_mem: int,
        *,
        centre: bool = False,
        route: str = "auto",
        width: int | None = None,
        tolerance: float = 1e-13,
        memory: int = 2**30,
    ) -> None:
        check_count("n_mem", n_mem)
        check_count("memory", memory)
        if width is not None:
            check_count("width", width)
        if route not in ("auto", *ROUTES):
            raise ValueError(
                f"route is {route!r}, expected 'auto' or one of {ROUTES}"
            )
        if not 0.0 < tolerance < 1.0:
            raise ValueError(
                f"tolerance is {tolerance}, expected a number between 0 and 1"
            )
        self.n_mem, self.centre, self.width = int(n_mem), centre, width
        self.tolerance, self.memory = tolerance, int(memory)
        self.route = self._asked = route

    def __repr__(self) -> str:
        return (
            f"LAES({self.n_mem}, centre={self.centre}, route={self._asked!r},"
            f" width={self.width}, tolerance={self.tolerance},"
            f" memory={self.memory})"
        )

    def __getattr__(self, name: str) -> Any:
        if name in FITTED:
            raise NotFittedError(
                f"{name} exists only after fit(sequences), which was not"
                " called yet"
            )
        raise AttributeError(f"LAES has no attribute {name!r}")

    def fit(self, sequences: AnySequences) -> LAES:
        """Fit A and B to ``sequences`` and return ``self``.

        Arguments
            sequences: a list of arrays (n_time_q, n_in) of any lengths, or
                one array (n_time, n_batch, n_in); float32 or float64.

        Raises
            TypeError, ValueError: see ``as_sequences``; or no route, or not
                the one asked for, fits into ``memory``.
            numpy.linalg.LinAlgError: no route converges.
        """
        stacks, dtype = as_stacks(sequences)
        n_in, n_mem = stacks[0].shape[2], self.n_mem
        mean, largest = _mean_and_largest(stacks, self.centre)
        # A note that never sounds is a zero column at every delay of Ξ, and
        # squares of very large or small entries would leave the float range.
        active = largest > 0.0
        active[0] |= not active.any()
        scale = _scale(float(largest.max()))
        longest = stacks[0].shape[1]
        width = longest if self.width is None else min(self.width, longest)
        xi = Histories(stacks, width, mean=mean, active=active, scale=scale)

        n_pairs = min(n_mem, *xi.shape)
        choice, singular, u = self._decompose(xi, n_pairs)
        rank = int(np.sum(singular > self.tolerance * singular[:1]))
        singular, u = singular[:rank], u[:, :rank]

        xp = xi.xp
        a, b = xp.zeros((n_mem, n_in)), xp.zeros((n_mem, n_mem))
        columns = xp.asarray(np.flatnonzero(active))
        a[:rank, columns] = u[: xi.n_in].T  # (4)
        b[:rank, :rank] = u[xi.n_in :].T @ u[: -xi.n_in]  # (4)
        self.A, self.B = a.astype(dtype), b.astype(dtype)
        mean = moved(mean, xp)
        self.mean, self.bias = mean.astype(dtype), (-a @ mean).astype(dtype)
        self.singular_values = np.zeros(n_mem)
        self.singular_values[:rank] = scale * singular
        self.rank, self.residual = rank, residual(xi, singular, u)
        self.route, self.why, self.n_in = choice.route, choice.why, n_in
        self.memory_needed = choice.memory
        return self

    def _decompose(
        self, xi: Histories, n_pairs: int
    ) -> tuple[Choice, Array, Array]:
        """Return the singular pairs by the first route that converges."""
        failures = ""
        possible = choices(self._asked, xi, n_pairs, self.memory)
        for choice in possible:
            try:
                singular, u = leading_singular_pairs(
                    xi,
                    n_pairs,
                    choice.route,
                    self.tolerance,
                    choice.basis_bytes,
                )
            except np.linalg.LinAlgError as error:
                if choice is possible[-1]:
                    raise
                failures += f"{choice.route} failed, {error}; then "
            else:
                choice = replace(choice, why=failures + choice.why)
                return choice, singular, u
        raise AssertionError("choices returns at least one")

    def truncated(self, n_mem: int) -> LAES:
        """Return the LAES of fewer units that a fit of that size would give.

        The leading directions do not depend on how many are kept, so A, B
        and bias are the leading parts of these; derived here from (4).

        Raises
            TypeError, ValueError: ``n_mem`` is no size, or above ours.
        """
        check_count("n_mem", n_mem)
        if n_mem > len(self.A):
            raise ValueError(
                f"n_mem is {n_mem}, expected at most {len(self.A)}, the size"
                " that was fitted"
            )
        small = copy(self)
        small.n_mem, small.rank = n_mem, min(n_mem, self.rank)
        small.A, small.B = self.A[:n_mem], self.B[:n_mem, :n_mem]
        small.bias = self.bias[:n_mem]
        small.singular_values = self.singular_values[:n_mem]
        return small

    def encode(self, x: Array) -> Array:
        """Return the states y of equation (1) at every time step.

        Arguments
            x: (n_time, n_in) or (n_time, n_batch, n_in), NumPy or CuPy.

        Returns
            y (n_time, n_mem) or (n_time, n_batch, n_mem).
        """
        layouts = ("n_time", "n_in"), ("n_time", "n_batch", "n_in")
        check_floats("x", x, *layouts, last=self.n_in)
        xp = namespace(x)
        a, b, bias = (moved(v, xp) for v in (self.A, self.B, self.bias))
        y: Array = x @ a.T + bias
        for t in range(1, len(x)):
            y[t] += y[t - 1] @ b.T
        return y

    def decode(self, y: Array, n_time: int) -> Array:
        """Return the last ``n_time`` frames before a state, newest first.

        Arguments
            y: a state (n_mem,) or states (n_batch, n_mem).

        Returns
            x (n_time, n_in) or (n_time, n_batch, n_in); x[j] is equation
            (2), the frame j steps before the state. ``x[::-1]`` is in the
            order of time.
        """
        check_floats("y", y, ("n_mem",), ("n_batch", "n_mem"), last=len(self.A))
        check_count("n_time", n_time)
        xp = namespace(y)
        a, b, mean = (moved(v, xp) for v in (self.A, self.B, self.mean))
        frames = []
        for _ in range(n_time):
            frames.append(y @ a)
            y = y @ b
        x: Array = xp.stack(frames) + mean
        return x

    def reconstruction_error(self, sequences: AnySequences) -> float:
        """Return how much of ``sequences`` their last states have lost.

        Equation
            sqrt(Σ_q Σ_t |x_t - x̂_t|^2 / Σ_q Σ_t |x_t - mean|^2), with x̂
            decoded by (2) from the last state of the sequence; ``mean`` is
            that of the training set, zero if it was not centred. A state
            that remembers nothing has the error 1.
        """
        lost = total = 0.0
        a, b, mean = map(on_host, (self.A, self.B, self.mean))
        frames, _ = as_sequences(sequences, self.n_in)
        for x, exists in left_padded([x - mean for x in frames]):
            y = np.zeros((x.shape[1], len(self.A)))
            for x_t in x:
                y = x_t @ a.T + y @ b.T  # (1)
            for x_t, exists_t in zip(x[::-1], exists[::-1], strict=True):
                lost += float(np.sum((x_t - y @ a)[exists_t] ** 2))  # (2)
                y = y @ b
            total += float(np.sum(x**2))
        return (lost / total) ** 0.5 if total else 0.0

    def matrices(self) -> Arrays:
        """Return a linear memory m_t = x_t W_xm + m_{t-1} W_mm + b_m.

        Shapes
            W_xm (n_in, n_mem) = A^T, W_mm (n_mem, n_mem) = B^T,
            b_m (n_mem,) = bias: the layout of msref's networks.
        """
        return {
            "W_xm": self.A.T.copy(order="C"),
            "W_mm": self.B.T.copy(order="C"),
            "b_m": self.bias.copy(),
        }

    def recall(self, k: int) -> Array:
        """Return [A^T; A^T B^T; ...; A^T (B^T)^{k-1}] (k * n_in, n_mem).

        Times a state, it gives the last ``k`` centred frames, newest first,
        in one vector: a layer that reads these frames becomes one that reads
        the state (Sperduti, 2015).
        """
        check_count("k", k)
        blocks = [self.A.T]
        for _ in range(k - 1):
            blocks.append(blocks[-1] @ self.B.T)
        recalled: Array = namespace(self.A).concatenate(blocks)
        return recalled


def _mean_and_largest(stacks: list[Array], centre: bool) -> tuple[Array, Array]:
    """Return the mean frame, or zero, and the largest |x - mean| per input."""
    n_in = stacks[0].shape[2]
    mean = np.zeros(n_in)
    if centre:
        n_frames = sum(x.shape[0] * x.shape[1] for x in stacks)
        for x in stacks:
            total = on_host(x.sum(axis=(0, 1), dtype=np.float64))
            mean += total / n_frames
    # Two passes and no copy: |x - mean| would be as large as the sequences.
    highest = np.max([on_host(x.max(axis=(0, 1))) for x in stacks], axis=0)
    lowest = np.min([on_host(x.min(axis=(0, 1))) for x in stacks], axis=0)
    return mean, np.maximum(highest - mean, mean - lowest)


def _scale(largest: float) -> float:
    """Return a power of two to divide by: 1 unless squares could overflow."""
    if 1e-60 < largest < 1e60:
        return 1.0
    return float(np.ldexp(1.0, int(np.frexp(largest)[1]) - 1))
