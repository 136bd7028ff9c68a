"""Batch normalisation, over time and batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import numpy.typing as npt

from msref.architectures.base import (
    Gradients,
    Shapes,
    check_backward,
    check_forward,
    check_lengths,
    check_sizes,
)
from msref.arrays import Array, Arrays
from msref.functional import flat


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation (Ioffe & Szegedy, ICML 2015), of sequences.

    Each unit gets mean beta and deviation gamma over all frames of a batch.
    So each frame depends on all others, later ones and other sequences
    included; a trained network uses what it has observed instead.

    Equations (sums over time and batch; N frames count)
        m = sum_t w_t x_t,   v = sum_t w_t (x_t - m)^2          (1)
            with w_t = 1 / N on frames that count, 0 on padding
        x_hat_t = (x_t - m) / sqrt(v + eps)                     (2)
        y_t = gamma * x_hat_t + beta                            (3)
        with running statistics (1) is m = mean, v = var

    Adjoints
        dx_hat_t = gamma * dy_t                                 (3')
        dgamma = sum_t dy_t * x_hat_t,   dbeta = sum_t dy_t     (3')
        dx_t = dx_hat_t / sqrt(v + eps)                         (2')
        dm = -sum_t dx_hat_t / sqrt(v + eps)                    (2')
        dv = -sum_t dx_hat_t * x_hat_t / (2 (v + eps))          (2')
        dx_t += w_t (dm + 2 (x_t - m) * dv)                     (1')
        with running statistics (1') is dmean = dm, dvar = dv

    Arrays
        gamma (n), beta (n), and the buffers mean (n), var (n)
        no state

    Cost
        about 6 n_time n_batch n operations forward, 10 backward; the tape
        holds n_time n_batch n numbers besides x.

    Conventions
        That v depends on m does not show in (1'): the derivative
        -2 sum_t w_t (x_t - m) is zero. Padding is normalised like the rest
        but does not count; its outputs mean nothing, yet a gradient that
        they are given is followed. With ``statistics`` "batch" mean and var
        are not read, their gradients are zero, and there is no ``step``;
        with "running" every frame stands alone. ``observe`` moves them:
        mean <- (1 - momentum) mean + momentum m, var likewise by v N / (N-1),
        as PyTorch does; of a single frame var learns nothing (our choice).
        ``evaluating`` turns to running statistics.

    Start
        gamma one, beta zero; mean zero, var one.
    """

    n: int
    statistics: str = "batch"
    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_sizes(n=self.n)
        if self.statistics not in ("batch", "running"):
            raise ValueError(
                f"statistics is {self.statistics!r}, expected 'batch' or"
                " 'running'"
            )
        if not 0 < self.momentum <= 1:
            raise ValueError(
                f"momentum is {self.momentum}, expected above 0, at most 1"
            )
        if not 0 < self.eps < np.inf:
            raise ValueError(f"eps is {self.eps}, expected above 0")

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return self.n

    @property
    def n_out(self) -> int:
        """Units of the output."""
        return self.n

    @property
    def causal(self) -> bool:
        """Whether an output depends on the past alone."""
        return self.statistics == "running"

    @property
    def buffers(self) -> tuple[str, ...]:
        """Parameters that are observed, never learned by gradient."""
        return ("mean", "var")

    @property
    def positive(self) -> tuple[str, ...]:
        """Parameters that have to be above zero."""
        return ("var",)

    def evaluating(self) -> BatchNorm:
        """Return the layer as it runs once trained: what it has observed."""
        return replace(self, statistics="running")

    def shapes(self) -> Shapes:
        """Return name -> shape of every parameter."""
        return dict.fromkeys(("gamma", "beta", "mean", "var"), (self.n,))

    def init(
        self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64
    ) -> Arrays:
        """Return the parameters a training starts from: nothing is drawn."""
        zeros, ones = np.zeros(self.n, dtype), np.ones(self.n, dtype)
        return {
            "gamma": ones,
            "beta": zeros,
            "mean": zeros.copy(),
            "var": ones.copy(),
        }

    def initial_state(
        self,
        n_batch: int,
        dtype: npt.DTypeLike = np.float64,
        xp: ModuleType = np,
    ) -> Arrays:
        """Return the state before the first frame: there is none."""
        return {}

    def step(
        self,
        params: Arrays,
        state: Arrays,
        x: Array,
        t: int,
        xp: ModuleType = np,
    ) -> tuple[Arrays, Arrays]:
        """Compute one time step, with running statistics."""
        self._check_step()
        m, v = params["mean"], params["var"]  # (1)
        x_hat = (x - m) / xp.sqrt(v + self.eps)  # (2)
        y = params["gamma"] * x_hat + params["beta"]  # (3)
        return {}, {"m": m, "v": v, "x_hat": x_hat, "y": y}

    def scan(
        self,
        params: Arrays,
        x: Array,
        state: Arrays,
        t0: int = 0,
        xp: ModuleType = np,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Compute all time steps, with statistics of the batch.

        The trace has m and v (n) once: they are those of every step.
        """
        w = xp.asarray(_shares(x.shape[0], x.shape[1], lengths))
        m = xp.sum(w * x, axis=(0, 1))  # (1)
        v = xp.sum(w * (x - m) ** 2, axis=(0, 1))  # (1)
        x_hat = (x - m) / xp.sqrt(v + self.eps)  # (2)
        y = params["gamma"] * x_hat + params["beta"]  # (3)
        return y, {}, {"m": m, "v": v, "x_hat": x_hat, "y": y}

    def forward(
        self,
        params: Arrays,
        x: Array,
        state: Arrays | None = None,
        t0: int = 0,
        lengths: Array | None = None,
    ) -> tuple[Array, Arrays, Arrays]:
        """Normalise all frames at once."""
        xp, _ = check_forward(self, params, x, state)
        tape = {"x": x}
        if self.statistics == "batch":
            w = _shares(x.shape[0], x.shape[1], lengths)
            w = xp.asarray(w, dtype=x.dtype)
            m = flat(w)[:, 0] @ flat(x)  # (1)
            x_hat = x - m  # (2)
            v = flat(w)[:, 0] @ flat(x_hat**2)  # (1)
            tape |= {"w": w, "m": m, "v": v}
        else:
            _check_variance(params["var"])
            x_hat = x - params["mean"]  # (2)
            v = params["var"]
        x_hat /= xp.sqrt(v + self.eps)  # (2)
        y = x_hat * params["gamma"]  # (3)
        y += params["beta"]  # (3)
        return y, {}, tape | {"x_hat": x_hat}

    def backward(
        self,
        params: Arrays,
        tape: Arrays,
        dy: Array,
        dstate: Arrays | None = None,
    ) -> Gradients:
        """Return all gradients: of each frame, then through m and v."""
        xp, _ = check_backward(self, tape, dy, dstate)
        x_hat = tape["x_hat"]
        of_batch = self.statistics == "batch"
        v = tape["v"] if of_batch else params["var"]
        s = 1.0 / xp.sqrt(v + self.eps)

        dgamma = flat(dy * x_hat).sum(0)  # (3')
        dbeta = flat(dy).sum(0)  # (3')
        dx_hat = params["gamma"] * dy  # (3')
        dx = s * dx_hat  # (2')
        dm = -s * flat(dx_hat).sum(0)  # (2')
        dv = -0.5 * s * s * flat(dx_hat * x_hat).sum(0)  # (2')
        grads = {"gamma": dgamma, "beta": dbeta}
        if of_batch:
            dx += tape["w"] * (dm + 2.0 * (tape["x"] - tape["m"]) * dv)  # (1')
            grads |= {"mean": xp.zeros_like(dm), "var": xp.zeros_like(dv)}
        else:
            grads |= {"mean": dm, "var": dv}  # (1')
        return Gradients(grads, dx, {})

    def observe(self, params: Arrays, tape: Arrays) -> Arrays:
        """Return mean and var after a training pass; see Conventions.

        With running statistics nothing is observed.
        """
        if self.statistics == "running":
            return {}
        mean, var, k = params["mean"], params["var"], self.momentum
        n = int((tape["w"] > 0).sum())
        found = {"mean": (1.0 - k) * mean + k * tape["m"], "var": var.copy()}
        if n > 1:
            found["var"] = (1.0 - k) * var + k * (n / (n - 1)) * tape["v"]
        return found

    def _check_step(self) -> None:
        if self.statistics == "batch":
            raise TypeError(
                "BatchNorm has no step with statistics of the batch: its output"
                " depends on the future; use msref.scan or forward"
            )


def _shares(n_time: int, n_batch: int, lengths: Array | None) -> Array:
    """Return w (n_time, n_batch, 1): 1 / N, and 0 on padding."""
    lengths = check_lengths(lengths, n_time, n_batch)
    if lengths is None:
        return np.full((n_time, n_batch, 1), 1.0 / (n_time * n_batch))
    counts = np.arange(n_time)[:, None, None] < lengths[:, None]
    shares: Array = counts / int(lengths.sum())
    return shares


def _check_variance(var: Array) -> None:
    if (var < 0).any():
        unit = int((var < 0).argmax())
        raise ValueError(
            f"params['var'] holds {float(var[unit])} at (axis 0={unit}),"
            " expected at least 0"
        )
