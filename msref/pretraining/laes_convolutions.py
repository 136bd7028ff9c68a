"""Products of one group of sequences with their histories, as convolutions.

Sequences of similar length share a transform. Two layouts do the same:

    Many   frequency outside: one product of matrices per frequency
    Few    time inside: long transforms run over contiguous memory (two to
           three times faster at 20,000 steps), and a loop over sequences and
           inputs multiplies whole spectra; on the host alone
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.fft

from msref.arrays import Array, namespace
from msref.pretraining.laes_algebra import irfft, rfft


def fft_length(n_time: int, width: int) -> int:
    """Return a length at which a circular convolution is the linear one."""
    n_delays = min(n_time, width)
    return int(scipy.fft.next_fast_len(n_time + n_delays - 1, real=True))


@dataclass(frozen=True)
class _Layout:
    """What both layouts know: ``lengths`` has (n_sequences, n_time) pairs."""

    first_row: int
    width: int
    n_fft: int
    lengths: list[tuple[int, int]]
    spectrum: Array

    @property
    def n_rows(self) -> int:
        return sum(n * n_time for n, n_time in self.lengths)

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + self.n_rows)

    def pieces(self) -> Iterator[tuple[slice, slice, int]]:
        """Yield sequences, rows and n_time of what has one length."""
        sequence = row = 0
        for n, n_time in self.lengths:
            yield (
                slice(sequence, sequence + n),
                slice(row, row + n * n_time),
                n_time,
            )
            sequence, row = sequence + n, row + n * n_time

    def columns(self, n_columns: int, buffer: int) -> Iterator[slice]:
        """Cut columns so that a product's temporaries stay below a buffer."""
        n_sequences = sum(n for n, _ in self.lengths)
        n_in = self.spectrum.size // (n_sequences * (self.n_fft // 2 + 1))
        step = max(1, buffer // (self.n_fft * max(n_sequences, n_in)))
        for start in range(0, n_columns, step):
            yield slice(start, min(start + step, n_columns))


class Many(_Layout):
    """Spectrum (n_frequencies, n_sequences, n_in)."""

    @classmethod
    def of(cls, pieces: list[Array], first_row: int, width: int) -> Many:
        """Transform frames (n, n_time, n_in), the longest first."""
        n_time, n_in = pieces[0].shape[1:]
        lengths = [(len(x), x.shape[1]) for x in pieces]
        xp = namespace(*pieces)
        x = xp.zeros((n_time, sum(map(len, pieces)), n_in))
        start = 0
        for piece in pieces:
            n = len(piece)
            x[: piece.shape[1], start : start + n] = piece.swapaxes(0, 1)
            start += n
        n_fft = fft_length(n_time, width)
        spectrum = rfft(x, n_fft, axis=0)
        return cls(first_row, min(width, n_time), n_fft, lengths, spectrum)

    def times(self, u: Array) -> Array:
        """Rows of Ξ u (n_rows, b): Σ_j u_j x_{t-j}, a convolution."""
        v = self._over_time(u)
        out: Array = namespace(u).empty((self.n_rows, u.shape[2]))
        for sequences, rows, n_time in self.pieces():
            some = v[:n_time, sequences].swapaxes(0, 1)
            out[rows] = some.reshape(-1, u.shape[2])
        return out

    def transposed_times(self, v: Array) -> Array:
        """Its share of Ξ^T v (width, n_in, b): Σ_t x_{t-j} v_t."""
        longest, n_sequences = self.lengths[0][1], self.spectrum.shape[1]
        grid = namespace(v).zeros((longest, n_sequences, v.shape[1]))
        for sequences, rows, n_time in self.pieces():
            some = v[rows].reshape(-1, n_time, v.shape[1])
            grid[:n_time, sequences] = some.swapaxes(0, 1)
        return self._over_delays(grid)

    def normal_times(self, u: Array) -> Array:
        """Its share of Ξ^T Ξ u (width, n_in, b)."""
        v = self._over_time(u)
        for sequences, _, n_time in self.pieces():
            # Past its end a sequence still has a history, but no row.
            v[n_time:, sequences] = 0.0
        return self._over_delays(v)

    def _over_time(self, u: Array) -> Array:
        u_hat = rfft(u[: self.width], self.n_fft, axis=0)
        v = irfft(self.spectrum @ u_hat, self.n_fft, axis=0)
        return v[: self.lengths[0][1]]

    def _over_delays(self, v: Array) -> Array:
        xp, v_hat = namespace(v), rfft(v, self.n_fft, axis=0)
        # conj(X)^T V = conj(X^T conj(V)): the small factor is conjugated.
        u_hat = self.spectrum.swapaxes(1, 2) @ xp.conj(v_hat, out=v_hat)
        u = irfft(xp.conj(u_hat, out=u_hat), self.n_fft, axis=0)
        return u[: self.width]


class Few(_Layout):
    """Spectrum (n_sequences, n_in, n_frequencies).

    Vectors are kept as rows, time or delay running inside; what goes in and
    comes out are their transposes, without a copy.
    """

    @classmethod
    def of(cls, pieces: list[Array], first_row: int, width: int) -> Few:
        """Transform frames (n, n_time, n_in), the longest first."""
        n_time = pieces[0].shape[1]
        lengths = [(1, x.shape[1]) for x in pieces for _ in x]
        n_fft = fft_length(n_time, width)
        spectrum = np.concatenate(
            [scipy.fft.rfft(x.swapaxes(1, 2), n_fft) for x in pieces]
        )
        return cls(first_row, min(width, n_time), n_fft, lengths, spectrum)

    def times(self, u: Array) -> Array:
        """Rows of Ξ u (n_rows, b): Σ_j u_j x_{t-j}, a convolution."""
        rows_of_u = np.ascontiguousarray(u[: self.width].T)
        u_hat = scipy.fft.rfft(rows_of_u.swapaxes(0, 1), self.n_fft)
        out = np.empty((u.shape[2], self.n_rows))
        for x_hat, (_, rows, n_time) in zip(
            self.spectrum, self.pieces(), strict=True
        ):
            v_hat = x_hat[0] * u_hat[0]
            for x, u_i in zip(x_hat[1:], u_hat[1:], strict=True):
                v_hat += x * u_i
            v = scipy.fft.irfft(v_hat, self.n_fft, overwrite_x=True)
            out[:, rows] = v[:, :n_time]
        return out.T

    def transposed_times(self, v: Array) -> Array:
        """Its share of Ξ^T v (width, n_in, b): Σ_t x_{t-j} v_t."""
        _, n_in, n_frequencies = self.spectrum.shape
        u_hat = np.zeros((n_in, v.shape[1], n_frequencies), complex)
        for x_hat, (_, rows, _) in zip(
            self.spectrum, self.pieces(), strict=True
        ):
            v_hat = scipy.fft.rfft(v[rows].T, self.n_fft)
            np.conj(v_hat, out=v_hat)  # as in Many
            for x, u_i in zip(x_hat, u_hat, strict=True):
                u_i += x * v_hat
        np.conj(u_hat, out=u_hat)
        u = scipy.fft.irfft(u_hat, self.n_fft, overwrite_x=True)
        return np.asarray(u[..., : self.width].transpose(2, 0, 1))

    def normal_times(self, u: Array) -> Array:
        """Its share of Ξ^T Ξ u (width, n_in, b)."""
        return self.transposed_times(self.times(u))


Group: TypeAlias = Many | Few
