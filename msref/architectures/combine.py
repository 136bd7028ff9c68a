"""Networks made of networks: stacked, side by side, in both directions.

They follow the protocol of their parts. The arrays of part number k carry
the prefix ``k/``: ``"0/W_xh"``. Nothing is computed here but wiring, so the
backward passes hand gradients over and add where a value was used twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    Gradients,
    Shapes,
    check_backward,
    check_forward,
    check_lengths,
    draw_state,
    draws,
    evaluating,
    is_causal,
    observe,
    run_forward,
    scan,
)
from msref.arrays import Array, Arrays, prefixed, under


@dataclass(frozen=True, init=False, repr=False)
class _Combined:
    """What the combinators share: parts, and names with a prefix."""

    parts: tuple[Any, ...]

    def __init__(self, *parts: Any) -> None:
        if len(parts) < 2:
            raise ValueError(
                f"{type(self).__name__} got {len(parts)} parts, expected at"
                " least two"
            )
        object.__setattr__(self, "parts", parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"

    def with_parts(self, *parts: Any) -> Self:
        """Return the same combination of other parts."""
        return type(self)(*parts)

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return int(self.parts[0].n_in)

    @property
    def causal(self) -> bool:
        """Whether an output depends on the past alone."""
        return all(is_causal(part) for part in self.parts)

    @property
    def kinks(self) -> tuple[str, ...]:
        """Traced quantities at whose zero the output has no derivative."""
        return self._of_parts("kinks")

    @property
    def constrained(self) -> tuple[str, ...]:
        """Parameters that carry the parts' states through time."""
        return self._of_parts("constrained")

    @property
    def masked(self) -> tuple[str, ...]:
        """Parameters of which some entries are never read."""
        return self._of_parts("masked")

    @property
    def positive(self) -> tuple[str, ...]:
        """Parameters that have to be above zero."""
        return self._of_parts("positive")

    @property
    def buffers(self) -> tuple[str, ...]:
        """Parameters that are observed, never learned by gradient."""
        return self._of_parts("buffers")

    @property
    def draws(self) -> bool:
        """Whether a training draws the state that a pass starts from."""
        return any(draws(part) for part in self.parts)

    def evaluating(self) -> Self:
        """Return the combination of the parts as they run once trained."""
        return self.with_parts(*[evaluating(part) for part in self.parts])

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        return {
            f"{k}/{name}": shape
            for k, part in enumerate(self.parts)
            for name, shape in part.shapes().items()
        }

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Draw the parameters a training starts from, part by part."""
        return _join([part.init(rng, dtype) for part in self.parts])

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the parts' states before the first frame."""
        return _join([p.initial_state(n_batch, dtype, xp) for p in self.parts])

    def draw_state(
        self,
        rng: np.random.Generator,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
    ) -> Arrays:
        """Draw the state a training pass starts from, part by part."""
        return _join([draw_state(p, rng, n_batch, dtype) for p in self.parts])

    def observe(self, params: Arrays, tape: Arrays) -> Arrays:
        """Return the new values of the parts' buffers."""
        return _join(
            [
                observe(part, under(str(k), params), under(str(k), tape))
                for k, part in enumerate(self.parts)
            ]
        )

    def _of_parts(self, attribute: str) -> tuple[str, ...]:
        """Collect names that the parts give in an attribute."""
        return tuple(
            f"{k}/{name}"
            for k, part in enumerate(self.parts)
            for name in getattr(part, attribute, ())
        )

    def _same_n_in(self) -> None:
        sizes = [part.n_in for part in self.parts]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"{type(self).__name__} got parts with n_in {sizes}, expected"
                " equal sizes: every part reads the same input"
            )


def _join(trees: list[Arrays]) -> Arrays:
    return {
        name: array
        for k, tree in enumerate(trees)
        for name, array in prefixed(str(k), tree).items()
    }


class Stack(_Combined):
    """Layers: each part reads the output of the one before.

    Equations (for part k, with f_k its own)
        u_0 = x,   u_{k+1} = f_k(u_k),   y = u_n                (1)

    Adjoints
        du_n = dy,   du_k = f_k'(du_{k+1}),   dx = du_0         (1')

    Arrays
        those of the parts, ``0/…`` nearest to the input.

    Raises
        ValueError: a part's n_in is not the n_out of the one before.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        for k, (below, above) in enumerate(itertools.pairwise(parts)):
            if below.n_out != above.n_in:
                raise ValueError(
                    f"Stack got part {k + 1} with n_in={above.n_in}, expected"
                    f" {below.n_out}, the n_out of part {k}"
                )

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return int(self.parts[-1].n_out)

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step of every layer, bottom to top."""
        states, traces = [], []
        for k, part in enumerate(self.parts):
            p, s = under(str(k), params), under(str(k), state)
            s, trace = part.step(p, s, x, t, xp)
            x = trace["y"]  # (1)
            states.append(s)
            traces.append(trace)
        return _join(states), {**_join(traces), "y": x}

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run each layer over the whole sequence, where one looks ahead."""
        states, traces = [], []
        for k, part in enumerate(self.parts):
            p, s = under(str(k), params), under(str(k), state)
            x, s, trace = scan(part, p, x, s, t0, xp, lengths)  # (1)
            states.append(s)
            traces.append(trace)
        return x, _join(states), {**_join(traces), "y": x}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run each layer over the whole sequence."""
        _, state = check_forward(self, params, x, state)
        y, states, tapes = x, [], []
        for k, part in enumerate(self.parts):
            p, s = under(str(k), params), under(str(k), state)
            y, s, tape = run_forward(part, p, y, s, t0, lengths)  # (1)
            states.append(s)
            tapes.append(tape)
        return y, _join(states), {**_join(tapes), "x": x}

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run each layer back through time, top to bottom."""
        _, dstate = check_backward(self, tape, dy, dstate)
        grads: list[Gradients] = []
        for k, part in reversed(list(enumerate(self.parts))):
            p, tape_k = under(str(k), params), under(str(k), tape)
            grads.append(
                part.backward(p, tape_k, dy, under(str(k), dstate))  # (1')
            )
            dy = grads[-1].x
        return _join_gradients(grads[::-1], dy)


class Parallel(_Combined):
    """Parts side by side: all read the input, outputs are concatenated.

    Equations (for part k, with f_k its own)
        y = [f_0(x), f_1(x), …]                                 (1)

    Adjoints
        dx = sum_k f_k'(dy_k),   dy = [dy_0, dy_1, …]           (1')

    Arrays
        those of the parts, ``0/…``, ``1/…``.

    Raises
        ValueError: the parts differ in n_in.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._same_n_in()

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return sum(part.n_out for part in self.parts)

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step of every part."""
        states, traces = [], []
        for k, part in enumerate(self.parts):
            p, s = under(str(k), params), under(str(k), state)
            s, trace = part.step(p, s, x, t, xp)
            states.append(s)
            traces.append(trace)
        y = xp.concatenate([trace["y"] for trace in traces], axis=-1)  # (1)
        return _join(states), {**_join(traces), "y": y}

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run each part over the whole sequence, where one looks ahead."""
        ys, states, traces = [], [], []
        for k, part in enumerate(self.parts):
            p, s = under(str(k), params), under(str(k), state)
            y, s, trace = scan(part, p, x, s, t0, xp, lengths)
            ys.append(y)
            states.append(s)
            traces.append(trace)
        y = xp.concatenate(ys, axis=-1)  # (1)
        return y, _join(states), {**_join(traces), "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run each part over the whole sequence."""
        xp, state = check_forward(self, params, x, state)
        ys, states, tapes = [], [], []
        for k, part in enumerate(self.parts):
            p, s = under(str(k), params), under(str(k), state)
            y, s, tape = run_forward(part, p, x, s, t0, lengths)
            ys.append(y)
            states.append(s)
            tapes.append(tape)
        y = xp.concatenate(ys, axis=-1)  # (1)
        return y, _join(states), {**_join(tapes), "x": x}

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run each part back through time; the input's gradients add up."""
        xp, dstate = check_backward(self, tape, dy, dstate)
        grads: list[Gradients] = []
        dx = xp.zeros_like(tape["x"])
        start = 0
        for k, part in enumerate(self.parts):
            p, tape_k = under(str(k), params), under(str(k), tape)
            dy_k = dy[..., start : start + part.n_out]  # (1')
            start += part.n_out
            grads.append(part.backward(p, tape_k, dy_k, under(str(k), dstate)))
            dx += grads[-1].x  # (1')
        return _join_gradients(grads, dx)


class Bidirectional(_Combined):
    """Two networks, one reading forwards, one backwards in time.

    Equations (R reverses each sequence within its own length)
        y = [f_0(x), R f_1(R x)]                                (1)

    Adjoints (R is its own inverse, and its own transpose)
        dx = f_0'(dy_0) + R f_1'(R dy_1),   dy = [dy_0, dy_1]   (1')

    Arrays
        those of the parts, ``0/…`` forwards, ``1/…`` backwards in time; the
        trace, tape, adjoints and state of part 1 run in *its* time, first
        the last frame.

    Conventions
        With ``lengths (n_batch,)``, frames from ``lengths[b]`` on are
        padding: they stay where they are, so that part 1 starts at the last
        frame that counts. (The released code of the multi-scale LMN reverses
        the padded batch.) Outputs on padding are defined and mean nothing;
        final states are those after all ``n_time`` frames, padding included.
        The network has no ``step``: its output depends on the future.

    Raises
        ValueError: not two parts, or they differ in n_in.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        if len(parts) != 2:
            raise ValueError(
                f"Bidirectional got {len(parts)} parts, expected two"
            )
        self._same_n_in()

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return sum(part.n_out for part in self.parts)

    @property
    def causal(self) -> bool:
        """Whether an output depends on the past alone: it does not."""
        return False

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Refuse: there is no single step in time."""
        raise TypeError(
            "Bidirectional has no step: its output depends on the future; use"
            " msref.scan or forward"
        )

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run the specification of both parts over the whole sequence."""
        R = reversal(x.shape[0], x.shape[1], lengths, xp)
        p0, p1 = under("0", params), under("1", params)
        s0, s1 = under("0", state), under("1", state)
        y0, s0, trace0 = scan(self.parts[0], p0, x, s0, t0, xp, lengths)
        y1, s1, trace1 = scan(self.parts[1], p1, x[R], s1, t0, xp, lengths)
        y = xp.concatenate([y0, y1[R]], axis=-1)  # (1)
        return y, _join([s0, s1]), {**_join([trace0, trace1]), "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Run both parts over the whole sequence."""
        xp, state = check_forward(self, params, x, state)
        R = reversal(x.shape[0], x.shape[1], lengths, xp)
        p0, p1 = under("0", params), under("1", params)
        s0, s1 = under("0", state), under("1", state)
        y0, s0, tape0 = run_forward(self.parts[0], p0, x, s0, t0, lengths)
        y1, s1, tape1 = run_forward(self.parts[1], p1, x[R], s1, t0, lengths)
        y = xp.concatenate([y0, y1[R]], axis=-1)  # (1)
        tape = {**_join([tape0, tape1]), "x": x, "reversal": R[0]}
        return y, _join([s0, s1]), tape

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Run both parts back through their own time."""
        xp, dstate = check_backward(self, tape, dy, dstate)
        R = (tape["reversal"], xp.asarray(_columns(dy.shape[1])))
        n_0 = self.parts[0].n_out
        dy0, dy1 = dy[..., :n_0], dy[..., n_0:][R]  # (1')
        grads = [
            part.backward(
                under(str(k), params),
                under(str(k), tape),
                dy_k,
                under(str(k), dstate),
            )
            for k, (part, dy_k) in enumerate(
                zip(self.parts, (dy0, dy1), strict=True)
            )
        ]
        return _join_gradients(grads, grads[0].x + grads[1].x[R])  # (1')


def reversal(
    n_time: int,
    n_batch: int,
    lengths: Array | None = None,
    xp: ModuleType = np,
) -> tuple[Array, Array]:
    """Return the index R such that ``x[R]`` reverses each sequence.

    Arguments
        lengths: (n_batch,) integers in 1..n_time; ``None`` for n_time.
            Frames from ``lengths[b]`` on stay where they are.
        xp: the library of x.

    Raises
        ValueError: lengths of a wrong shape, kind or range.
    """
    t = np.arange(n_time)[:, None]
    lengths = check_lengths(lengths, n_time, n_batch)
    if lengths is None:
        source = np.repeat(t[::-1], n_batch, axis=1)
    else:
        source = np.where(t < lengths, lengths - 1 - t, t)
    return xp.asarray(source), xp.asarray(_columns(n_batch))


def _columns(n_batch: int) -> Array:
    return np.arange(n_batch)[None, :]


def _join_gradients(grads: list[Gradients], dx: Array) -> Gradients:
    return Gradients(
        params=_join([g.params for g in grads]),
        x=dx,
        state=_join([g.state for g in grads]),
        adjoints=_join([g.adjoints for g in grads]),
    )
