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
from functools import cached_property

import numpy as np

from msref.arrays import Array, moved, namespace
from msref.pretraining.laes_convolutions import Few, Group, Many, fft_length
from msref.pretraining.laes_sequences import stacked

SIMILAR = 0.8
"""Sequences at least this long, against the longest, share a transform."""

ENTRIES = 2**21
"""Entries of the frames that are transformed together, about."""

BUFFER = 2**20
"""Entries of the largest temporary array of one product, about: 8 MiB. Much
more is out of the cache, and slower."""

SPECTRA = 2**28
"""Bytes of spectra that are kept from one product to the next (256 MiB)."""

FEW = 4
"""Up to that many sequences are transformed one by one."""


class Histories:
    """The data matrix Ξ of a linear autoencoder, by its products.

    Equation
        row of frame t = [x_t, x_{t-1}, ..., x_{t-width+1}], zero before x_1

    Shapes
        Ξ (n_rows, n_cols) with n_rows = Σ_q n_time_q and
        n_cols = width * n_in. Rows: sequence after sequence, the longest
        first, time running inside. Columns: delay after delay.

    Arguments
        sequences: arrays (n_time, n_in), or stacks of sequences of one
            length, (n_sequences, n_time, n_in). They are not copied.
        width: how many delays count.
        mean, active, scale: x becomes (x - mean)[active] / scale, piece by
            piece, when it is used; given on the host.

    Products are computed where the sequences live.

    Cost
        A product with b columns takes O(n_rows b (n_in + log n_time)), where
        the explicit product takes 2 n_rows n_cols b. Memory: the spectra,
        two to four times the sequences and at most 256 MiB (beyond, they are
        computed for each product), and temporaries of about 64 MiB.

    Source
        The matrix: Sperduti (2006), Pasa and Sperduti (2014). The products in
        the frequency domain: derived here.
    """

    def __init__(
        self,
        sequences: list[Array],
        width: int,
        *,
        mean: Array | float = 0.0,
        active: Array | None = None,
        scale: float = 1.0,
    ) -> None:
        self.stacks = stacked(sequences)
        self.width = width
        xp = self.xp = namespace(*self.stacks)
        self._mean: Array | None = None
        if np.any(mean):
            self._mean = moved(mean, xp)
        self._active: Array | None = None
        if active is not None and not active.all():
            self._active = moved(np.flatnonzero(active), xp)
        self._scale = scale
        n_in = self.stacks[0].shape[2]
        self.n_in = n_in if active is None else int(active.sum())
        self.n_sequences = sum(map(len, self.stacks))
        self.longest = self.stacks[0].shape[1]
        n_rows = sum(x.shape[0] * x.shape[1] for x in self.stacks)
        self.shape = (n_rows, width * self.n_in)

    def frames(self, part: Array) -> Array:
        """Return the frames of a part of a stack, as they stand in Ξ."""
        x = part.astype(np.float64, copy=False)
        if self._mean is not None:
            x = x - self._mean
        if self._active is not None:
            x = x[..., self._active]
        return x if self._scale == 1.0 else x / self._scale

    def parts(self, entries: int) -> Iterator[Array]:
        """Yield all frames (n, n_time, n_in), ``entries`` of Ξ's at a time."""
        for stack in self.stacks:
            step = max(1, entries // (stack.shape[1] * stack.shape[2]))
            for start in range(0, len(stack), step):
                yield self.frames(stack[start : start + step])

    def dense(self) -> Array:
        """Return Ξ itself (n_rows, n_cols)."""
        xi: Array = self.xp.zeros((self.shape[0], self.width, self.n_in))
        start = 0
        for x in self.parts(ENTRIES):
            n, n_time, n_in = x.shape
            rows = xi[start : start + n * n_time]
            rows = rows.reshape(n, n_time, self.width, n_in)
            for delay in range(min(self.width, n_time)):
                rows[:, delay:, delay] = x[:, : n_time - delay]
            start += n * n_time
        return xi.reshape(self.shape)

    def times(self, u: Array) -> Array:
        """Return Ξ u (n_rows, b) for ``u`` (n_cols, b)."""
        out: Array = self.xp.empty((self.shape[0], u.shape[1]))
        for group in self.groups():
            for part in group.columns(u.shape[1], BUFFER):
                out[group.rows, part] = group.times(self._delays(u[:, part]))
        return out

    def transposed_times(self, v: Array) -> Array:
        """Return Ξ^T v (n_cols, b) for ``v`` (n_rows, b)."""
        out: Array = self.xp.zeros((self.width, self.n_in, v.shape[1]))
        for group in self.groups():
            for part in group.columns(v.shape[1], BUFFER):
                u = group.transposed_times(v[group.rows, part])
                out[: group.width, :, part] += u
        return out.reshape(self.shape[1], -1)

    def normal_times(self, u: Array) -> Array:
        """Return Ξ^T Ξ u (n_cols, b); no array with n_rows rows is made."""
        out: Array = self.xp.zeros((self.width, self.n_in, u.shape[1]))
        for group in self.groups():
            for part in group.columns(u.shape[1], BUFFER):
                u_part = self._delays(u[:, part])
                out[: group.width, :, part] += group.normal_times(u_part)
        return out.reshape(self.shape[1], -1)

    def kernel_times(self, v: Array) -> Array:
        """Return Ξ Ξ^T v (n_rows, b); Ξ^T v stays as its transform left it."""
        out: Array = self.xp.empty((v.shape[1], self.shape[0])).T
        for part in self._longest.columns(v.shape[1], BUFFER):
            # The longest sequences come first: no other needs more delays.
            groups = self.groups()
            first = next(groups)
            u = first.transposed_times(v[first.rows, part])
            for group in groups:
                more = group.transposed_times(v[group.rows, part])
                u[: group.width] += more
            for group in self.groups():
                out[group.rows, part] = group.times(u)
        return out

    def triangle(self, u: Array) -> Array:
        """Return R (b, b) of Ξ u = Q R, without storing Q or Ξ u.

        A QR factorisation of [R_so_far; next rows] has the R of all rows.
        """
        xp = self.xp
        r: Array = xp.zeros((0, u.shape[1]))
        for group in self.groups():
            rows = xp.empty((group.n_rows, u.shape[1]))
            for part in group.columns(u.shape[1], BUFFER):
                rows[:, part] = group.times(self._delays(u[:, part]))
            r = xp.linalg.qr(xp.concatenate([r, rows]), mode="r")
        return r

    def _delays(self, u: Array) -> Array:
        return u.reshape(self.width, self.n_in, -1)

    # --- sequences that are transformed together ----------------------------

    def groups(self) -> Iterator[Group]:
        """Yield the groups, longest sequences first, with their spectra.

        The spectra of the first are kept, as many as SPECTRA allows.
        """
        for index in range(len(self._plan)):
            yield self._kept.get(index) or self._group(index)

    @property
    def _longest(self) -> Group:
        return next(self.groups())

    @cached_property
    def _kept(self) -> dict[int, Group]:
        kept, room = {}, SPECTRA
        for index in range(len(self._plan)):
            room -= self.spectrum_bytes(index)
            if room < 0:
                break
            kept[index] = self._group(index)
        return kept

    def _group(self, index: int) -> Group:
        pieces, first_row = self._plan[index]
        few = self.xp is np and sum(map(len, pieces)) <= FEW
        kind = Few if few else Many
        return kind.of([self.frames(x) for x in pieces], first_row, self.width)

    @cached_property
    def _plan(self) -> list[tuple[list[Array], int]]:
        """Parts of stacks that share a transform, and their first row."""
        plan: list[tuple[list[Array], int]] = []
        row = n_time = room = 0
        for stack in self.stacks:
            start = 0
            while start < len(stack):
                if not room or stack.shape[1] < SIMILAR * n_time:
                    n_time = stack.shape[1]
                    room = max(1, ENTRIES // (n_time * self.n_in))
                    plan.append(([], row))
                piece = stack[start : start + room]
                plan[-1][0].append(piece)
                start, room = start + len(piece), room - len(piece)
                row += len(piece) * piece.shape[1]
        return plan

    def spectrum_bytes(self, index: int | None = None) -> int:
        """Return the size of the spectra of a group, or of all, in bytes."""
        if index is None:
            return sum(map(self.spectrum_bytes, range(len(self._plan))))
        pieces, _ = self._plan[index]
        n_fft = fft_length(pieces[0].shape[1], self.width)
        return 16 * (n_fft // 2 + 1) * sum(map(len, pieces)) * self.n_in

    def largest_group_bytes(self) -> int:
        """Return what the largest group takes while its product runs."""
        largest = 0
        for index, (pieces, _) in enumerate(self._plan):
            n_fft = fft_length(pieces[0].shape[1], self.width)
            across = max(sum(map(len, pieces)), self.n_in)
            temporaries = 40 * n_fft * across
            largest = max(largest, self.spectrum_bytes(index) + temporaries)
        return largest
