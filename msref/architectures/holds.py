"""Modules that hold: multiply at their ticks alone, forwards and backwards.

What a module gives to its readers changes at its ticks. So it is multiplied
out there, once, and kept (``Given``). Backwards, the same module is asked for
by its readers step after step, always for the same value. So what they ask is
added up, and multiplied once, where the hold began (``Asked``).

Periods double from module to module. So a module that ticks finds what all
slower ones give in one sum, and what was asked during two of its holds, one
after the other, is what the next slower module was asked by the same readers.

Readers of module j are, at every step, whoever owns the first columns of its
weights W[j] (n_units, n_always + (j + 1) n_units), and modules 0 .. j at
their ticks. A value is read one step late: from the step after it is written
to the next tick, that one included.
"""

from __future__ import annotations

from types import ModuleType

from msref.architectures.clock import Clock
from msref.arrays import Array
from msref.functional import flat

ROWS = 512
"""Holds times sequences in one product for a weight's gradient, about: with
one product per hold, each would be too small for BLAS."""


class Given:
    """What modules give to their readers, while time runs forwards.

    Arguments
        clock: the modules' ticks.
        W: the weights from each module to its readers.
        bias: (width of the last W), added to all that is given.
        m: (n_batch, n_modules n_units), the modules before the first step.
        t0, n_time: the steps.
        xp: the library of all arrays.

    Attributes
        at_every_step: (n_batch, n_always), given to those who always read.
        to_itself: for each module, what it and slower ones give to it.
        written: for each module its value before the first step and at its
            ticks, (1 + n_ticks, n_batch, n_units). Arrays of their own:
            products with columns of ``m`` take longer.
    """

    def __init__(
        self,
        clock: Clock,
        W: list[Array],
        bias: Array,
        m: Array,
        t0: int,
        n_time: int,
        xp: ModuleType,
    ) -> None:
        n, (n_batch, _) = len(W[0]), m.shape
        self.clock, self.W, self.xp, self.t0 = clock, W, xp, t0
        # sums[i]: what modules i and slower give to those that read i
        self.sums = [xp.empty((n_batch, w.shape[1]), m.dtype) for w in W]
        # views are made once: in a loop each costs as much as a small sum
        slower = [*self.sums[1:], bias]
        self.slower = [
            s[..., : w.shape[1]] for s, w in zip(slower, W, strict=True)
        ]
        self.to_itself = [s[:, -n:] for s in self.sums]
        self.at_every_step = self.sums[0][:, : W[0].shape[1] - n]
        self.written = []
        for i in range(len(W)):
            n_ticks = len(range(n_time)[clock.ticks(i, t0)])
            self.written.append(xp.empty((1 + n_ticks, n_batch, n), m.dtype))
            self.written[i][0] = m[:, i * n : (i + 1) * n]
        self.to_write = [iter(written[1:]) for written in self.written]
        for i in reversed(range(len(W))):
            self.renew(i, self.written[i][0])

    def slot(self, i: int) -> Array:
        """Return where module i's next value is written."""
        return next(self.to_write[i])

    def renew(self, i: int, m_i: Array) -> None:
        """Multiply out what module i gives, now that it is m_i.

        Where several modules tick, the slowest comes first.
        """
        self.xp.dot(m_i, self.W[i], out=self.sums[i])
        self.sums[i] += self.slower[i]

    def spread(self, m: Array) -> None:
        """Write all values, at their ticks and held, to m (n_time, ·)."""
        n_time, n = len(m), len(self.W[0])
        for i, written in enumerate(self.written):
            ticks = self.clock.ticks(i, self.t0)
            out = m[..., i * n : (i + 1) * n]
            start = min(ticks.start, n_time)
            n_whole = (n_time - start) // ticks.step
            stop = start + n_whole * ticks.step
            whole = out[start:stop].reshape(n_whole, ticks.step, *out.shape[1:])
            out[:start] = written[0]
            whole[...] = written[1 : 1 + n_whole, None]
            out[stop:] = written[-1]


class Asked:
    """What readers ask of the modules, while time runs backwards.

    Arguments
        clock: the modules' ticks.
        W: the weights from each module to its readers.
        m_prev: (n_time, n_batch, n_modules n_units), what is read.
        t0: time of the first step.
        xp: the library of all arrays.

    Attributes
        dW: the gradient of each of ``W``, complete after ``finish``.
    """

    def __init__(
        self,
        clock: Clock,
        W: list[Array],
        m_prev: Array,
        t0: int,
        xp: ModuleType,
    ) -> None:
        (n_time, n_batch, _), n = m_prev.shape, len(W[0])
        self.xp, self.m_prev, self.u0 = xp, m_prev, t0 + clock.origin
        self.shift = [clock.first + i for i in range(len(W))]
        self.fastest = clock.period(0)
        self.n_units, n_always = n, W[0].shape[1] - n
        # transposed in memory: small products take less time
        self.W_T = [xp.ascontiguousarray(w.T) for w in W]
        self.dW = [xp.zeros_like(w) for w in W]
        # sums[i][q % len]: asked in hold q of module i. The length is even,
        # so two holds that make up one of module i + 1 are neighbours; with
        # four, a new one can be begun before the last two are added.
        self.sums = []
        for i, w in enumerate(W):
            first, last = self._hold(i, -1), self._hold(i, n_time - 1)
            most = min(ROWS // n_batch, last - first + 3)
            n_holds = max(most - most % 2, 4)
            self.sums.append(xp.zeros((n_holds, n_batch, w.shape[1]), w.dtype))
        # views are made once, as in Given: whose columns these are
        self.of_all = self.sums[0][..., :n_always]
        self.of_itself = [sums[..., -n:] for sums in self.sums]
        self.of_faster = [sums[..., :-n] for sums in self.sums]

    def by_all(self, t: int, da: Array | float) -> None:
        """Add what those ask at step t who read at every step."""
        slot = self.of_all[self._hold(0, t - 1) % len(self.of_all)]
        if (self.u0 + t) % self.fastest == 0 or t == len(self.m_prev) - 1:
            slot[...] = da  # the last step of a hold is the first one here
        else:
            slot += da

    def by_itself(self, i: int, t: int, da: Array) -> None:
        """Add what module i asks of itself at step t, a tick."""
        of_itself = self.of_itself[i]
        of_itself[self._hold(i, t - 1) % len(of_itself)] = da

    def sent_back(self, i: int, t: int) -> Array:
        """Return the gradient of module i, written at t, from its readers.

        Where several modules tick, the fastest comes first.
        """
        q, sums = self._hold(i, t), self.sums[i]
        sent = sums[(k := q % len(sums))]
        if i:
            halves = self.sums[i - 1]
            one, two = halves[(j := 2 * q % len(halves))], halves[j + 1]
            self.xp.add(one, two, out=self.of_faster[i][k])
        if k == 0:
            self._learn(i, t)
        back: Array = self.xp.dot(sent, self.W_T[i])
        return back

    def finish(self) -> list[Array]:
        """Return the gradient of all modules before the first step."""
        back = []
        for i, sums in enumerate(self.sums):
            q = self._hold(i, -1)
            back.append(self.sent_back(i, -1))
            if q % len(sums):
                self._learn(i, -1)
            if q % 2:  # the half before this one lies before the sequence
                sums[(q - 1) % len(sums)] = 0.0
        return back

    def _hold(self, i: int, t: int) -> int:
        """Return the number of module i's hold that goes on after step t."""
        return self.u0 + t >> self.shift[i]

    def _learn(self, i: int, t: int) -> None:
        """Add to dW what the holds from that of step t on were asked."""
        sums, period, n = self.sums[i], 1 << self.shift[i], self.n_units
        read = self.m_prev[..., i * n : (i + 1) * n]
        q = self._hold(i, t)
        k, step = q % len(sums), q * period + 1 - self.u0
        if step < 0:  # this hold began before the sequence
            self.dW[i] += read[0].T @ sums[k]
            k, step = k + 1, step + period
        read = read[step::period][: len(sums) - k]
        if len(read):
            self.dW[i] += flat(read).T @ flat(sums[k : k + len(read)])
