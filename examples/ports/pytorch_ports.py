"""Networks that nobody ships, in PyTorch: modules with autograd.

``LMN``, ``MultiScaleLMN``, ``ClockworkRNN``, ``IndRNN``, ``BRC``, ``NBRC``,
with the parameter names, the conventions and the equations of msref's classes
of the same name: time-major sequences ``x (n_time, n_batch, n_in)``, weights
that multiply from the right.

    network = LMN(params, output="hidden")
    y, state = network(x, state)

Options that say which parameters there are (``candidate_bias``, ``mixes``,
``learned_start``) show in ``params``; options of the start of a training
(``horizon``, ``reads``, ``recurrent``) concern ``init`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Trace = dict[str, list[Tensor]]


class Recurrent(nn.Module):
    """A network that is given by one time step.

    Arguments
        params: name -> array; copied.
    """

    optional: tuple[str, ...] = ()

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        for name in self.optional:
            self.register_parameter(name, None)
        for name, value in params.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))

    def step(
        self, state: Tensor, x: Tensor, t: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the next state, and all that the equations name."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, state: Tensor, t0: int = 0, traced: bool = False
    ) -> Any:
        """Return y and the final state, and the trace if asked for.

        The trace holds a list of tensors per name, one per time step. They
        are those of the computation, so ``torch.autograd.grad`` reaches
        them: that of ``trace["a"]`` is the adjoint of a at every step.
        """
        outputs, trace = [], Trace()
        for t, x_t in enumerate(x, start=t0):
            state, named = self.step(state, x_t, t)
            outputs.append(named["y"])
            if traced:
                for name, value in named.items():
                    trace.setdefault(name, []).append(value)
        y = torch.stack(outputs)
        return (y, state, trace) if traced else (y, state)


class LMN(Recurrent):
    """Linear Memory Network; state m (n_batch, n_mem)."""

    def __init__(
        self, params: Mapping[str, Any], output: str = "memory"
    ) -> None:
        super().__init__(params)
        self.output = output

    def step(self, state, x, t):
        a = x @ self.W_xh + state @ self.W_mh + self.b_h  # (1)
        h = torch.tanh(a)  # (2)
        m = h @ self.W_hm + state @ self.W_mm + self.b_m  # (3)
        y = m if self.output == "memory" else h  # (4)
        return m, {"a": a, "h": h, "m": m, "y": y}


def periods(n_modules: int, n_units: int, first: int) -> Tensor:
    """Return the period of every unit, (n_modules n_units,)."""
    period = 2 ** (first + torch.arange(n_modules))
    return period.repeat_interleave(n_units)


class MultiScaleLMN(Recurrent):
    """MultiScale LMN; state m (n_batch, n_modules n_mem), fastest first."""

    optional = ("m_0",)

    def __init__(
        self,
        params: Mapping[str, Any],
        n_modules: int,
        output: str = "memory",
        first: int = 0,
        origin: int = 0,
    ) -> None:
        super().__init__(params)
        self.output, self.origin = output, origin
        period = periods(n_modules, len(self.b_m) // n_modules, first)
        self.register_buffer("period", period, persistent=False)

    def step(self, state, x, t):
        if self.m_0 is not None and t == 0:
            state = state + self.m_0  # (0)
        ticks = (t + self.origin) % self.period == 0
        read = self.period[:, None] >= self.period  # from itself and slower
        W_mm = torch.where(read, self.W_mm, 0.0)
        a = x @ self.W_xh + state @ self.W_mh + self.b_h  # (1)
        h = torch.tanh(a)  # (2)
        a_m = h @ self.W_hm + state @ W_mm + self.b_m  # (3)
        m = torch.where(ticks, a_m, state)  # (4)
        y = m if self.output == "memory" else h  # (5)
        return m, {"a": a, "h": h, "a_m": a_m, "m": m, "y": y}


class ClockworkRNN(Recurrent):
    """Clockwork RNN; state h (n_batch, n_modules n_hid), fastest first."""

    def __init__(
        self,
        params: Mapping[str, Any],
        n_modules: int,
        activation: str = "tanh",
        first: int = 0,
        origin: int = 0,
    ) -> None:
        super().__init__(params)
        self.activation, self.origin = activation, origin
        period = periods(n_modules, len(self.b_h) // n_modules, first)
        self.register_buffer("period", period, persistent=False)

    def step(self, state, x, t):
        ticks = (t + self.origin) % self.period == 0
        read = self.period[:, None] >= self.period  # from itself and slower
        W_hh = torch.where(read, self.W_hh, 0.0)
        a = x @ self.W_xh + state @ W_hh + self.b_h  # (1)
        f_a = torch.tanh(a) if self.activation == "tanh" else a
        h = torch.where(ticks, f_a, state)  # (2)
        return h, {"a": a, "h": h, "y": h}  # (3)


class IndRNN(Recurrent):
    """Independently recurrent network; state h (n_batch, n_hid)."""

    optional = ("W_xh", "b_h")

    def __init__(
        self, params: Mapping[str, Any], activation: str = "relu"
    ) -> None:
        super().__init__(params)
        self.activation = activation

    def step(self, state, x, t):
        mixed = x if self.W_xh is None else x @ self.W_xh + self.b_h
        a = mixed + self.w_hh * state  # (1)
        h = torch.relu(a) if self.activation == "relu" else torch.tanh(a)
        return h, {"a": a, "h": h, "y": h}  # (2)


class BRC(Recurrent):
    """Bistable recurrent cell; state h (n_batch, n_hid)."""

    optional = ("b_m",)

    def fed_back(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the gates c and a get from the state."""
        return self.w_hc * h, self.w_ha * h

    def step(self, state, x, t):
        to_c, to_a = self.fed_back(state)
        a_c = x @ self.W_xc + to_c + self.b_c  # (1)
        a_a = x @ self.W_xa + to_a + self.b_a  # (2)
        c, a = torch.sigmoid(a_c), 1.0 + torch.tanh(a_a)  # (1) (2)
        a_m = x @ self.W_xm + a * state  # (3)
        if self.b_m is not None:
            a_m = a_m + self.b_m  # (3)
        m = torch.tanh(a_m)  # (3)
        h = c * state + (1.0 - c) * m  # (4)
        trace = {"a_c": a_c, "c": c, "a_a": a_a, "a": a, "a_m": a_m, "m": m}
        return h, trace | {"h": h, "y": h}


class NBRC(BRC):
    """Neuromodulated BRC: its gates see all units of the layer."""

    def fed_back(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the gates c and a get from the state."""
        return h @ self.W_hc, h @ self.W_ha
