"""The histories of a set of sequences, Ξ, as a matrix that is never built.

Every frame of every sequence has a history, the frames up to it, newest
first. Ξ holds one history per row, so a short song of a hundred frames
already fills a hundred thousand entries, most of them copies of each other:
block column j of Ξ is block column 0 delayed by j frames. A product with Ξ is
therefore a convolution in time, and a convolution is cheap in the frequency
domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from msref.arrays import Array

SIMILAR = 0.8
"""Sequences at least this long, against the longest, share a transform."""

ENTRIES = 2**17
"""Time steps times sequences that are transformed together, about."""

BUFFER = 2**22
"""Entries of the largest temporary array of one product, about."""


class Histories:
    """The data matrix Ξ of a linear autoencoder, by its products.

    Equation
        row of frame t = [x_t, x_{t-1}, ..., x_{t-width+1}], zero before x_1

    Shapes
        Ξ (n_rows, n_cols) with n_rows = Σ_q n_time_q and
        n_cols = width * n_in. Rows: sequence after sequence, the longest
        first, time running inside. Columns: delay after delay.

    Cost
        A product with b columns takes O(n_rows b (n_in + log n_time)), where
        the explicit product takes 2 n_rows n_cols b. Memory: three times
        that of the sequences, and temporaries of 64 MB.

    Source
        The matrix: Sperduti (2006), Pasa and Sperduti (2014). The products in
        the frequency domain: derived here.
    """

    def __init__(self, sequences: list[Array], width: int) -> None:
        self.sequences = sorted(sequences, key=len, reverse=True)
        self.width = width
        self.n_in = sequences[0].shape[1]
        self.shape = (sum(map(len, sequences)), width * self.n_in)

    def dense(self) -> Array:
        """Return Ξ itself (n_rows, n_cols)."""
        n_rows, n_in = self.shape[0], self.n_in
        xi = np.zeros((n_rows, self.width, n_in))
        start = 0
        for x in self.sequences:
            rows = xi[start : start + len(x)]
            for delay in range(min(self.width, len(x))):
                rows[delay:, delay] = x[: len(x) - delay]
            start += len(x)
        return xi.reshape(self.shape)

    def times(self, u: Array) -> Array:
        """Return Ξ u (n_rows, b) for ``u`` (n_cols, b)."""
        out = np.empty((self.shape[0], u.shape[1]))
        for part in self._parts(u.shape[1]):
            u_part = u[:, part].reshape(self.width, self.n_in, -1)
            for group in self._groups:
                out[group.rows, part] = group.times(u_part)
        return out

    def transposed_times(self, v: Array) -> Array:
        """Return Ξ^T v (n_cols, b) for ``v`` (n_rows, b)."""
        out = np.zeros((self.width, self.n_in, v.shape[1]))
        for part in self._parts(v.shape[1]):
            for group in self._groups:
                delays = slice(group.width)
                out[delays, :, part] += group.transposed_times(
                    v[group.rows, part]
                )
        return out.reshape(self.shape[1], -1)

    def normal_times(self, u: Array) -> Array:
        """Return Ξ^T Ξ u (n_cols, b); no array with n_rows rows is made."""
        out = np.zeros((self.width, self.n_in, u.shape[1]))
        for part in self._parts(u.shape[1]):
            u_part = u[:, part].reshape(self.width, self.n_in, -1)
            for group in self._groups:
                delays = slice(group.width)
                out[delays, :, part] += group.transposed_times(
                    group.times(u_part)
                )
        return out.reshape(self.shape[1], -1)

    def triangle(self, u: Array) -> Array:
        """Return R (b, b) of Ξ u = Q R, without storing Q or Ξ u.

        A QR factorisation of [R_so_far; next rows] has the R of all rows.
        """
        r: Array = np.zeros((0, u.shape[1]))
        for group in self._groups:
            rows = np.empty((group.n_rows, u.shape[1]))
            for part in self._parts(u.shape[1]):
                rows[:, part] = group.times(
                    u[:, part].reshape(self.width, self.n_in, -1)
                )
            r = np.asarray(np.linalg.qr(np.concatenate([r, rows]), mode="r"))
        return r

    @cached_property
    def _groups(self) -> list[_Group]:
        groups = []
        first = row = 0
        while first < len(self.sequences):
            n_time = len(self.sequences[first])
            width = min(self.width, n_time)
            n_fft = scipy.fft.next_fast_len(n_time + width - 1, real=True)
            last = first
            while (
                last < len(self.sequences)
                and len(self.sequences[last]) >= SIMILAR * n_time
                and (last - first) * n_fft <= ENTRIES
            ):
                last += 1
            group = _Group.of(self.sequences[first:last], row, width, n_fft)
            groups.append(group)
            first, row = last, row + group.n_rows
        return groups

    def _parts(self, n_columns: int) -> Iterator[slice]:
        """Cut columns so that a product's temporaries stay below BUFFER."""
        largest = max(
            group.n_fft * max(group.mask.shape[0], self.n_in)
            for group in self._groups
        )
        step = max(1, BUFFER // largest)
        for start in range(0, n_columns, step):
            yield slice(start, min(start + step, n_columns))


@dataclass(frozen=True)
class _Group:
    """Sequences of similar length, transformed together.

    spectrum (n_frequencies, n_sequences, n_in); mask (n_sequences, n_time)
    is true where a frame exists. The transform is long enough, n_time +
    width - 1, for the circular convolution to be the linear one.
    """

    first_row: int
    width: int
    n_fft: int
    mask: Array
    spectrum: Array

    @classmethod
    def of(
        cls, sequences: list[Array], first_row: int, width: int, n_fft: int
    ) -> _Group:
        n_time, n_in = sequences[0].shape
        x = np.zeros((n_time, len(sequences), n_in))
        mask = np.zeros((len(sequences), n_time), dtype=bool)
        for i, sequence in enumerate(sequences):
            x[: len(sequence), i] = sequence
            mask[i, : len(sequence)] = True
        spectrum = scipy.fft.rfft(x, n_fft, axis=0)
        return cls(first_row, width, n_fft, mask, spectrum)

    @property
    def n_rows(self) -> int:
        return int(self.mask.sum())

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + self.n_rows)

    def times(self, u: Array) -> Array:
        """Rows of Ξ u (n_rows, b): Σ_j u_j x_{t-j}, a convolution."""
        n_time = self.mask.shape[1]
        u_hat = scipy.fft.rfft(u[: self.width], self.n_fft, axis=0)
        v = scipy.fft.irfft(self.spectrum @ u_hat, self.n_fft, axis=0)
        # Past its end a padded sequence still has a history, but no row.
        return np.asarray(v[:n_time].swapaxes(0, 1)[self.mask])

    def transposed_times(self, v: Array) -> Array:
        """Its share of Ξ^T v (width, n_in, b): Σ_t x_{t-j} v_t."""
        n_sequences, n_time = self.mask.shape
        grid = np.zeros((n_sequences, n_time, v.shape[1]))
        grid[self.mask] = v
        v_hat = scipy.fft.rfft(grid.swapaxes(0, 1), self.n_fft, axis=0)
        # conj(X)^T V = conj(X^T conj(V)): the small factor is conjugated.
        u_hat = self.spectrum.swapaxes(1, 2) @ v_hat.conj()
        u = scipy.fft.irfft(u_hat.conj(), self.n_fft, axis=0)
        return np.asarray(u[: self.width])
