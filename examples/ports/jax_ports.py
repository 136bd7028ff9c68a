"""Networks that nobody ships, in JAX: pure functions over ``lax.scan``.

``lmn``, ``mslmn``, ``clockwork``, ``indrnn``, ``brc``, ``nbrc``: one time step
each, with the parameter names, the conventions and the equations of msref's
classes LMN, MultiScaleLMN, ClockworkRNN, IndRNN, BRC and NBRC. Sequences are
time-major, ``x (n_time, n_batch, n_in)``, weights multiply from the right.

    step = functools.partial(lmn, output="hidden")
    y, state, trace = run(step, params, x, state)

Options that say which parameters there are (``candidate_bias``, ``mixes``,
``learned_start``) show in ``params``; options of the start of a training
(``horizon``, ``reads``, ``recurrent``) concern ``init`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Arrays = dict[str, Array]


def run(
    step: Callable[..., tuple[Array, Arrays]],
    params: Arrays,
    x: Array,
    state: Array,
    t0: int = 0,
) -> tuple[Array, Array, Arrays]:
    """Return y, the final state, and all that the equations name.

    What the caller does not use of the trace, the compiler drops.
    """

    def body(state: Array, frame: Any) -> tuple[Array, Arrays]:
        x_t, t = frame
        return step(params, state, x_t, t)

    times = t0 + jnp.arange(len(x))
    state, trace = lax.scan(body, state, (x, times))
    return trace["y"], state, trace


def lmn(p, m_prev, x, t, output="memory"):
    """Linear Memory Network; state m (n_batch, n_mem)."""
    a = x @ p["W_xh"] + m_prev @ p["W_mh"] + p["b_h"]  # (1)
    h = jnp.tanh(a)  # (2)
    m = h @ p["W_hm"] + m_prev @ p["W_mm"] + p["b_m"]  # (3)
    y = m if output == "memory" else h  # (4)
    return m, {"a": a, "h": h, "m": m, "y": y}


def clock(t, n_modules, n_all, first, origin):
    """Tell which units tick at t, and which rows a column may read."""
    period = 2 ** (first + jnp.arange(n_modules))
    period = jnp.repeat(period, n_all // n_modules)
    ticks = (t + origin) % period == 0
    return ticks, period[:, None] >= period  # from itself and slower


def mslmn(p, m_prev, x, t, n_modules, output="memory", first=0, origin=0):
    """MultiScale LMN; state m (n_batch, n_modules n_mem), fastest first."""
    if "m_0" in p:
        m_prev = m_prev + jnp.where(t == 0, p["m_0"], 0.0)  # (0)
    ticks, read = clock(t, n_modules, len(p["b_m"]), first, origin)
    W_mm = jnp.where(read, p["W_mm"], 0.0)
    a = x @ p["W_xh"] + m_prev @ p["W_mh"] + p["b_h"]  # (1)
    h = jnp.tanh(a)  # (2)
    a_m = h @ p["W_hm"] + m_prev @ W_mm + p["b_m"]  # (3)
    m = jnp.where(ticks, a_m, m_prev)  # (4)
    y = m if output == "memory" else h  # (5)
    return m, {"a": a, "h": h, "a_m": a_m, "m": m, "y": y}


def clockwork(p, h_prev, x, t, n_modules, activation="tanh", first=0, origin=0):
    """Clockwork RNN; state h (n_batch, n_modules n_hid), fastest first."""
    ticks, read = clock(t, n_modules, len(p["b_h"]), first, origin)
    W_hh = jnp.where(read, p["W_hh"], 0.0)
    a = x @ p["W_xh"] + h_prev @ W_hh + p["b_h"]  # (1)
    f_a = jnp.tanh(a) if activation == "tanh" else a
    h = jnp.where(ticks, f_a, h_prev)  # (2)
    return h, {"a": a, "h": h, "y": h}  # (3)


def indrnn(p, h_prev, x, t, activation="relu"):
    """Independently recurrent network; state h (n_batch, n_hid)."""
    mixed = x @ p["W_xh"] + p["b_h"] if "W_xh" in p else x
    a = mixed + p["w_hh"] * h_prev  # (1)
    # jax.nn.relu has derivative 0 at 0; that of jnp.maximum is 1/2.
    h = jax.nn.relu(a) if activation == "relu" else jnp.tanh(a)
    return h, {"a": a, "h": h, "y": h}  # (2)


def brc(p, h_prev, x, t):
    """Bistable recurrent cell; state h (n_batch, n_hid)."""
    return bistable(p, h_prev, x, p["w_hc"] * h_prev, p["w_ha"] * h_prev)


def nbrc(p, h_prev, x, t):
    """Neuromodulated BRC: its gates see all units of the layer."""
    return bistable(p, h_prev, x, h_prev @ p["W_hc"], h_prev @ p["W_ha"])


def bistable(p, h_prev, x, to_c, to_a):
    """Return a step, given what the gates c and a get from the state."""
    a_c = x @ p["W_xc"] + to_c + p["b_c"]  # (1)
    a_a = x @ p["W_xa"] + to_a + p["b_a"]  # (2)
    c, a = jax.nn.sigmoid(a_c), 1.0 + jnp.tanh(a_a)  # (1) (2)
    a_m = x @ p["W_xm"] + a * h_prev  # (3)
    if "b_m" in p:
        a_m = a_m + p["b_m"]  # (3)
    m = jnp.tanh(a_m)  # (3)
    h = c * h_prev + (1.0 - c) * m  # (4)
    trace = {"a_c": a_c, "c": c, "a_a": a_a, "a": a, "a_m": a_m, "m": m}
    return h, trace | {"h": h, "y": h}
