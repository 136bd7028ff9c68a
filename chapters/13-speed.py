# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (speed)=
# # 13. Speed
#
# All chapters before this one asked whether a pass is *right*. This one asks what it
# costs. Where does the time go? How close is it to what the machine allows? Who is
# faster? And what was tried for nothing?
#
# There are two kinds of times on this page. Those under a cell were taken when this
# page was built, on whatever machine that was, in a few seconds. Those with a line
# of provenance below them come from {ref}`msref bench <speed-measured>`, which took its
# time. Trust the second kind more, and the order of things more than the digits.

# %%
import codecs
import inspect
import json
import math
import os
import resource
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

import msref
from msref import functional
from msref.architectures import lstm as lstm_file
from msref.bench import Conditions, Measurement, interleaved
from msref.bench.conditions import held
from msref.bench.peers import Point
from msref.bench.products import products
from msref.bench.suite import geometric_mean, ratios
from msref.book import cells
from msref.book.committed import committed

DTYPES = ("float32", "float64")


def timed(jobs, seconds=0.5):
    """Return name -> median in ms: in turn, one thread, one core, CPU time."""
    with held(Conditions()):
        found = interleaved(jobs, seconds=seconds)
    return {name: 1e3 * timing.median for name, timing in found.items()}


# %% [markdown]
# ## The idea in one picture
#
# Take an LSTM, forwards and backwards, 20 steps of 32 sequences. Time its matrix
# products alone, then its curves (σ and tanh) alone. What is left of the passes is
# the rest: multiplying and adding entry by entry, copying, and Python.

# %% tags=["hide-input"]
N_TIME, N_BATCH = 20, 32


def parts(n_hid, dtype):
    """Return ms in products, in curves, and in the rest of both passes."""
    arch = msref.LSTM(32, n_hid)
    at = Point.draw(arch, N_TIME, N_BATCH, dtype)
    gates = np.random.default_rng(0).standard_normal((4, N_TIME, 32, n_hid))
    gates = gates.astype(dtype)
    room = np.empty_like(gates)

    def passes():
        _, _, tape = arch.forward(at.params, at.x)
        return arch.backward(at.params, tape, at.dy)

    def fill():
        room[...] = gates

    def curves():
        fill()
        for t in range(N_TIME):
            functional.sigmoid_of_minus(room[:3, t])
            functional.tanh_into(room[3, t], room[3, t])
            functional.tanh_into(gates[3, t], room[0, t])

    jobs = {"passes": passes, "curves": curves, "fill": fill} | products(at)
    ms = timed(jobs, 0.3)
    least = min(value for name, value in ms.items() if "limit" in name)
    bent = ms["curves"] - ms["fill"]
    return least, bent, ms["passes"] - least - bent


HIDDEN = (32, 128, 512)
share = {
    dtype: np.array([parts(n_hid, dtype) for n_hid in HIDDEN])
    for dtype in DTYPES
}
with cells.drawing(
    "Stacked bars for float32 and float64 at 32, 128 and 512 hidden units: the"
    " products' share of the time grows with the number of units, that of curves"
    " and of the rest shrinks.",
    width=9,
    height=3.0,
    columns=2,
) as panels:
    names = ("matrix products", "σ and tanh", "the rest")
    for axes, (dtype, ms) in zip(panels, share.items(), strict=True):
        bars = ms / ms.sum(1, keepdims=True)
        start = np.zeros(len(HIDDEN))
        for k, name in enumerate(names):
            axes.barh(
                [str(n) for n in HIDDEN],
                bars[:, k],
                left=start,
                color=cells.COLOURS[k],
                label=name,
            )
            start = start + bars[:, k]
        for row, total in enumerate(ms.sum(1)):
            axes.text(1.02, row, f"{total:.3g} ms", va="center", fontsize=9)
        axes.set_title(dtype, fontsize=10)
        axes.set_xlim(0, 1.22)
        axes.set_xticks([0, 0.5, 1])
        axes.set_xlabel("share of the time")
        axes.grid(visible=False)
    panels[0].set_ylabel("hidden units")
    handles = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(*handles, loc="outside upper center", ncols=3)

# %% tags=["hide-input"]
cells.Grid(
    ("precision", "hidden units", *(f"{name}, ms" for name in names)),
    [
        (dtype, n_hid, *ms)
        for dtype, found in share.items()
        for n_hid, ms in zip(HIDDEN, found, strict=True)
    ],
)

# %% [markdown]
# The blue part cannot be avoided by anybody who uses the same BLAS. A product costs
# $n_\text{hid}^2$ per sequence and step, all else $n_\text{hid}$. So large networks
# are near the limit whatever one does, and small ones are where layout counts.
#
# **What BLAS can do.** The blue part itself is not one speed. Between two steps stands
# a curve, so a recurrent product has as many rows as there are sequences, and no
# more. That is little work for the size of the weights:


# %% tags=["hide-input"]
def rate(n_rows, n_inner, n_columns, dtype):
    """Return how many GFLOP/s a product of these sizes comes to."""
    rng = np.random.default_rng(0)
    one = rng.standard_normal((n_rows, n_inner)).astype(dtype)
    two = rng.standard_normal((n_inner, n_columns)).astype(dtype)
    out = np.empty((n_rows, n_columns), dtype)
    flops = 2 * n_rows * n_inner * n_columns
    repeats = math.ceil(1e8 / flops)

    def job():
        for _ in range(repeats):
            np.dot(one, two, out=out)

    return repeats * flops / timed({"": job}, 0.2)[""] / 1e6


cells.Grid(
    ("product", "sizes", "float32, GFLOP/s", "float64, GFLOP/s"),
    [
        (name, " × ".join(map(str, sizes)), *(rate(*sizes, d) for d in DTYPES))
        for name, sizes in (
            ("a step, 1 sequence", (1, 128, 512)),
            ("a step, 8 sequences", (8, 128, 512)),
            ("a step, 32 sequences", (32, 128, 512)),
            ("a weight's gradient, 100 such steps", (128, 3200, 512)),
        )
    ],
)

# %% [markdown]
# The last line is what a product can reach when all time steps take part at once.
# From it the two rules of the passes follow. What does not wait for the step before
# is done for many steps in one call. What does wait is done in as few calls as
# possible, on memory that lies in one piece.
#
# ## Forward
#
# [Chapter 3](03-lstm-and-gru.ipynb) has the equations of the LSTM, with their tags.
# Here is what `forward` does with them. Each trick stands beside its line, and the
# table below says what it gives *here*.
#
# :::{beside}
# **1. One product per step.** A row of $z$ is $(h_{t-1}, 1, x_t)$. The weights of the
# state, the bias and those of the input stand below each other. So (1) is a single
# call, for four gates, instead of eight products and eight sums.
#
# **2. Gates stand on the first axis.** The three logistic ones are one contiguous
# array at every step, and share their calls. Side by side in a row of $4 n_\text{hid}$
# numbers they would be slices with gaps between.
#
# **3. The sign is in the weights.** $\sigma(a) = 1 / (1 + e^{-a})$. The minus is
# multiplied into $W$ once. What is left of σ is three calls: exp, add, reciprocal.
# +++
# ```{source} msref.LSTM.forward
# :from: z[:, : self.n_hid], z
# :to: sigmoid_of_minus
# ```
# :::
#
# :::{beside}
# **4. Everything is written to where it stays.** The tape is one array per name for
# all steps, and the calls write into it. No step makes an array of its own.
#
# **5. tanh by exp,** in float64 and for 8192 numbers or more, where NumPy has no
# vector code for tanh. Near zero, where $1 - 2 / (1 + e^{2a})$ loses digits, tanh is
# asked itself.
# +++
# ```{source} msref.LSTM.forward
# :from: tanh_into(g_t
# :to: out=h[t + 1]
# ```
# :::

# %% tags=["hide-input"]
STEPS, ROWS, UNITS = 40, 32, 128


def forward_tricks(dtype):
    """Return trick -> the plain way and ours, of 40 steps, 32 × 128."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape, np.dtype(dtype).type)

    x, h = draw(STEPS, ROWS, UNITS), draw(STEPS, ROWS, UNITS)
    p = {f"W_{s}{k}": draw(UNITS, UNITS) for s in "xh" for k in "ifgo"}
    p |= {f"b_{k}": draw(UNITS) for k in "ifgo"}
    W = functional.joined(p, "ifog")
    z = np.ones((ROWS, 2 * UNITS + 1), dtype)
    a = np.empty((4, STEPS, ROWS, UNITS), dtype)
    drawn, stacked = draw(3, ROWS, UNITS), np.empty((3, ROWS, UNITS), dtype)
    wide = np.empty((ROWS, 4 * UNITS), dtype)[:, : 3 * UNITS]
    c, room = np.empty_like(h), np.empty_like(h[0])
    large, out = draw(4 * ROWS, UNITS), np.empty((4 * ROWS, UNITS), dtype)

    def products_apart(t):
        for k in "ifgo":
            x[t] @ p[f"W_x{k}"] + h[t] @ p[f"W_h{k}"] + p[f"b_{k}"]

    def product_at_once(t):
        z[:, :UNITS], z[:, UNITS + 1 :] = h[t], x[t]
        np.matmul(z, W, out=a[:, t])

    def gates_beside(t):
        wide[...] = 0.5
        functional.sigmoid_of_minus(wide)

    def gates_stacked(t):
        stacked[...] = 0.5
        functional.sigmoid_of_minus(stacked)

    def sigmoid_whole(t):
        functional.sigmoid(drawn)

    def new_arrays(t):
        return x[t] * h[t - 1] + h[t] * x[t - 1]

    def written(t):
        np.multiply(x[t], h[t - 1], out=c[t])
        np.multiply(h[t], x[t - 1], out=room)
        c[t] += room

    def tanh_asked(t):
        np.tanh(large, out=out)

    def tanh_by_exp(t):
        functional.tanh_into(large, out)

    tricks = {
        "1 eight products → one": (products_apart, product_at_once),
        "2 gates side by side → stacked": (gates_beside, gates_stacked),
        "3 σ with its sign → in the weights": (sigmoid_whole, gates_stacked),
        "4 new arrays → into the tape": (new_arrays, written),
        "5 tanh of 4 × 4096 numbers → by exp": (tanh_asked, tanh_by_exp),
    }

    def over_time(way):
        return lambda: [way(t) for t in range(STEPS)]

    return {name: [*map(over_time, ways)] for name, ways in tricks.items()}


def compared(tricks):
    """Return, for each trick, µs per step in both ways, and their ratio."""
    jobs = {(name, k): tricks[name][k] for name in tricks for k in range(2)}
    us = {key: 1e3 * ms / STEPS for key, ms in timed(jobs, 1.0).items()}
    return {n: (us[n, 0], us[n, 1], us[n, 1] / us[n, 0]) for n in tricks}


def grid_of(tricks):
    """Compare in both precisions."""
    found = {dtype: compared(tricks(dtype)) for dtype in DTYPES}
    return cells.Grid(
        (
            "plain → ours",
            *(f"{d}, {w}" for d in DTYPES for w in ("µs", "µs", "ratio")),
        ),
        [
            (name, *found["float32"][name], *found["float64"][name])
            for name in found["float32"]
        ],
    )


grid_of(forward_tricks)

# %% [markdown]
# In float32 the fifth line is the same call twice. So how far its ratio is from one
# says how far to trust the others. A ratio near one is a trick that gives nothing *at
# this size, on this machine*.
#
# ## Backward
#
# Put (2') of chapter 3 into (3') and (4'). With $\bar h_t$ for all that arrives at
# $h_t$, that is $dy_t$ and what the next step sends back:
#
# :::{beside}
# \begin{align*}
# da_o &= \bar h_t \odot \underbrace{\tanh c_t \, o (1-o)}_{\text{known}} \tag{4'} \\
# dc_t &= f_{t+1} \odot dc_{t+1} \\
#      &\, + \bar h_t \odot \underbrace{o \, (1 - \tanh^2 c_t)}_{\text{known}} \tag{4'} \\
# da_i &= dc_t \odot \underbrace{g \, i (1-i)}_{\text{known}} \tag{3'}
# \end{align*}
#
# and the same for $f$ and $g$. What stands over a brace is computed from the tape, before
# the loop begins. The loop only multiplies by what is not known: $\bar h_t$ and $dc_t$.
#
# **1. Factors before the loop,** for a *span* of steps at a time. A step at a time
# would be five calls per step and more. All of time at once would need temporaries as
# long as time, too long for the cache.
# +++
# ```{source} msref.LSTM.backward
# :from: for start, stop in spans
# :to: xp.multiply(g[s]
# ```
# ```{source} msref.functional.spans
# :from: n_steps = max
# ```
# :::
#
# :::{beside}
# **2. The factor's place becomes the adjoint's.** `da` holds the factor until the loop
# multiplies it. Three gates are multiplied by $dc_t$ in one call.
#
# Then one product per step sends all four adjoints back (1').
# +++
# ```{source} msref.LSTM.backward
# :from: for t in reversed
# :to: dh += back[3]
# ```
# :::
#
# :::{beside}
# **3. Weights wait.** $dW = \sum_t z_t^\top da_t$ is a sum over time that no step needs.
# So it is one product over all steps, with the long side inside: the last line of the
# table on BLAS. A column of ones beside $x$ makes the gradient of the bias its first
# row.
# +++
# ```{source} msref.LSTM.backward
# :from: dW_h = xp.matmul
# :to: dW_x = xp.matmul
# ```
# :::


# %% tags=["hide-input"]
def backward_tricks(dtype):
    """Return trick -> the plain way and ours, of a whole pass."""
    rng = np.random.default_rng(1)
    draw = rng.standard_normal
    h, g, i = (draw((STEPS, ROWS, UNITS)).astype(dtype) for _ in range(3))
    da = draw((4, STEPS, ROWS, UNITS)).astype(dtype)
    dW, out = np.zeros((4, UNITS, UNITS), dtype), np.empty_like(h)

    def factor_by_step():
        for t in range(STEPS):
            np.multiply(i[t], functional.d_tanh(g[t]), out=out[t])

    def factor_by_span():
        for start, stop in functional.spans(STEPS, ROWS * UNITS):
            s = slice(start, stop)
            np.multiply(i[s], functional.d_tanh(g[s]), out=out[s])

    def weights_by_step():
        for t in range(STEPS):
            np.add(dW, np.matmul(h[t].T, da[:, t]), out=dW)

    def weights_after():
        np.matmul(functional.flat(h).T, da.reshape(4, -1, UNITS))

    return {
        "1 factors by step → by span": (factor_by_step, factor_by_span),
        "3 weights by step → after the loop": (weights_by_step, weights_after),
    }


grid_of(backward_tricks)

# %% [markdown]
# At one unit and one sequence all of this is nothing, and what is left is Python:
#
# ```{bench} bench/overhead-full
# :cases: all
# ```
#
# No layout helps there. A batch does.
#
# ## Is it true?
#
# Speed without truth is worthless. The passes above are the passes that
# `msref verify` judges; there is no slow and safe twin for it to look at.

# %%
small = {"cases": 1, "n_time": 6, "n_batch": 2}
report = msref.verify(msref.LSTM(3, 5), **small)
assert report.ok
cells.Shown(report)

# %% [markdown]
# Tricks for speed have a bug of their own. Fresh memory is dear, as we shall see. So
# a pass is given a *workspace*: arrays that are kept from call to call. One line of
# `LSTM.forward` is enough.

# %%
LINE = "a = xp.empty((4, n_time, *step), x.dtype)"
text = textwrap.dedent(inspect.getsource(msref.LSTM.forward))
assert text.count(LINE) == 1


def forward_with(line, **names):
    """Return the real forward pass with another line instead of ``LINE``."""
    known = dict(vars(lstm_file)) | names
    exec(text.replace(LINE, line), known)
    return known["forward"]


kept = {}


def room(shape, dtype):
    """Return room for an array: what was kept, if it is large enough."""
    size = math.prod(shape)
    if dtype not in kept or kept[dtype].size < size:
        kept[dtype] = np.empty(size, dtype)
    return kept[dtype][:size].reshape(shape)


class Thrifty(msref.LSTM):
    """An LSTM whose gates are in a workspace."""

    forward = forward_with(LINE.replace("xp.empty", "room"), room=room)


report = msref.verify(Thrifty(3, 5), **small)
wrong = [row.array for row in report.rows if row.verdict != "PASS"]
assert wrong == ["whatever runs in between", "cut anywhere"]
cells.Shown(report)

# %% [markdown]
# Every output is right. Every gradient is right, by both witnesses. Two lines fail.
# *Whatever runs in between* runs forward on a second batch before it goes back over the
# first. *Cut anywhere* runs forward over two halves of a sequence, and only then back
# over both. Either way new gates were written over a tape that was still needed. A
# training that goes forward, back, forward, back would never notice. One that runs two
# batches forward before it goes back over both would learn from the wrong one.
#
# There is a version that hides better: a workspace *for each shape*.

# %%
by_shape = {}


def room_by_shape(shape, dtype):
    """Return room for an array: what was kept of exactly this shape."""
    return by_shape.setdefault((shape, dtype), np.empty(shape, dtype))


class Hiding(msref.LSTM):
    """An LSTM whose gates are in a workspace for each shape."""

    forward = forward_with(LINE.replace("xp.empty", "room"), room=room_by_shape)


found = []
for n_time in (5, 2):
    report = msref.verify(Hiding(3, 5), cases=1, n_time=n_time, n_batch=2)
    wrong = [row.array for row in report.rows if row.verdict != "PASS"]
    found.append((n_time, report.verdict, ", ".join(wrong) or "–"))
assert [verdict for _, verdict, _ in found] == ["FAIL", "FAIL"]
assert "cut" not in found[0][2]
assert "cut" in found[1][2]
cells.Grid(("n_time", "verdict", "what fails"), found)

# %% [markdown]
# Five steps cannot be cut into halves of one length, so both halves have rooms of
# their own, and *cut anywhere* sees nothing. Two steps can. While this chapter was
# written it was the only line of its kind, and `msref verify` said PASS to this network
# at every odd length. So the other line was added: its second batch has the sizes of
# the first. A PASS is always one about the cases that were run.
#
# msref's passes keep nothing between calls. That is a choice, and the price of it
# comes {ref}`further down <speed-traps>`.
#
# ## What it remembers: long sequences
#
# Time is also spent on memory. Two passes are laid out for sequences of a million
# steps.
#
# **A linear recurrence** $y_t = a_t \odot y_{t-1} + b_t$ has no curve between its
# steps. So it need not go step by step: time is cut into chunks that run side by
# side, and joined. {py:func}`msref.functional.linear_recurrence` does that, and
# [chapter 8](08-indrnn-and-durnn.ipynb) uses it. {py:class}`msref.BRC` is not linear
# forwards, but its way *back* is: $dh_{t-1} = J_t \odot dh_t + dy_{t-1}$, where $J_t$
# is known from the tape. [Chapter 9](09-bistability.ipynb) has it.
#
# ```{bench} bench/recurrence-full
# :cases: all
# :goals: all
# ```
#
# A loop in NumPy (*plain loop*) takes more than five times as long. A compiled loop
# (*jax scan*) is faster than ours in every line. Forwards it needs two operations per
# number, and goes through memory once. Ours needs five, since each chunk runs twice,
# and each operation is a pass of its own. Of what was tried in plain NumPy it is the
# fastest that keeps the accuracy of a loop; the rest is in a table below.
#
# **Checkpoints** trade time for memory: keep the states at some cuts, and make the
# tape of a segment again when it is needed. [Chapter 10](10-combinators.ipynb)
# derives that, and how long a segment should be.
#
# ```{bench} bench/long-full
# :cases: all
# :goals: all
# ```
#
# *MB* is the peak above the input when no output is kept and its gradient is
# asked for segment by segment; *MB with y* when both are whole; *MB plain* that of the
# network alone. Under *plain* stands the price, in time.
#
# (speed-measured)=
# ## Measured
#
# `msref bench` runs every job of a case in turn, in one process, on one core, with
# one thread, after the gradients of all of them were found to agree. It counts CPU
# time. The gradient of the input is part of everybody's work. Before any of it was
# written, goals were set. Here is how that ended.

# %% tags=["hide-input"]
TOLD = [
    json.loads(text)
    for text in (
        committed("results/bench/recurrent-full/result.json"),
        committed("results/bench/cells-full/result.json"),
        committed("results/bench/recurrence-full/result.json"),
        committed("results/bench/long-full/result.json"),
        committed("results/bench/laes-full/result.json"),
        committed("results/bench/growth-full/result.json"),
    )
]
verdicts = {
    told["suite"]: [goal["holds"] for goal in told["goals"]] for told in TOLD
}
cells.Grid(
    ("suite", "what is measured", "goals", "reached", "missed"),
    [
        (
            told["suite"],
            told["title"],
            len(verdicts[told["suite"]]),
            verdicts[told["suite"]].count(True),
            verdicts[told["suite"]].count(False),
        )
        for told in TOLD
    ],
)

# %% tags=["remove-input"]
of_passes = TOLD[0]["goals"] + TOLD[1]["goals"]
reached = [goal["text"] for goal in of_passes if goal["holds"]]
assert len(reached) == 1
assert reached[0].startswith("IndRNN / torch eager")
assert all(verdicts["laes"])
value = {goal["text"]: goal["value"] for told in TOLD for goal in told["goals"]}
(route,) = (v for text, v in value.items() if text.startswith("chosen route"))
assert 1.45 < route < 1.55  # chapter 4 says 1.5
scans = [Measurement.from_dict(row) for row in TOLD[2]["rows"]]
assert max(ratios(scans, "plain loop")) < 0.2
assert min(ratios(scans, "jax scan")) > 1

# %% [markdown]
# All goals of the closed form are reached. There a better algorithm was to be found.
# The goals of the passes are missed, except one, an IndRNN against eager PyTorch. There
# everybody has the same algorithm, step by step, and what decides is how well the steps
# are compiled.
#
# ### Elman, LSTM, GRU
#
# ```{bench} bench/recurrent-full
# :goals: all
# ```

# %% tags=["hide-input"]
recurrent = [Measurement.from_dict(row) for row in TOLD[0]["rows"]]
PEERS = ("torch fused", "torch eager", "jax scan", "autograd")
CELLS = ("Elman", "LSTM", "GRU")
SHAPES = list(
    dict.fromkeys(
        "×".join(
            str(row.case[n]) for n in ("n_time", "n_batch", "n_in", "n_hid")
        )
        for row in recurrent
    )
)
with cells.drawing(
    "For Elman, LSTM and GRU: our time over that of four peers, a line per shape;"
    " filled dots float32, rings float64. Most lie to the left of one; PyTorch's"
    " fused LSTM in float32 lies to the right, JAX around one.",
    width=9.5,
    height=3.9,
    columns=3,
) as panels:
    for axes, cell in zip(panels, CELLS, strict=True):
        for k, peer in enumerate(PEERS):
            for dtype, face in zip(
                DTYPES, (cells.COLOURS[k], "none"), strict=True
            ):
                own = [
                    r
                    for r in recurrent
                    if (r.case["cell"], r.case["dtype"]) == (cell, dtype)
                ]
                dots = [
                    (ratio, line + 0.17 * (k - 1.5))
                    for line, row in enumerate(own)
                    if (ratio := row.ratio(peer)) is not None
                ]
                axes.semilogx(
                    *zip(*dots, strict=True),
                    "osD^"[k],
                    color=cells.COLOURS[k],
                    markerfacecolor=face,
                    ms=5,
                    label=peer if dtype == "float32" else None,
                )
        axes.axvline(1.0, color=cells.INK, ls=":", lw=1)
        axes.set_title(cell, fontsize=10)
        axes.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        axes.minorticks_off()
        axes.set_xlim(0.085, 2.4)
        axes.set_yticks(range(len(SHAPES)), SHAPES if cell == "Elman" else [])
        axes.invert_yaxis()
        axes.set_xlabel("our time / theirs")
    handles = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(*handles, loc="outside upper center", ncols=4)

# %% [markdown]
# :::{dropdown} All 36 cases
# ```{bench} bench/recurrent-full
# :cases: all
# ```
# :::
#
# Why missed? Ask first how much there was to win. The *limit* is the time of the
# products alone. Nothing that uses this BLAS can be faster. So the ratio of the
# limit to a peer is what our ratio would be if everything else cost nothing.


# %% tags=["hide-input"]
def mean(rows, peer):
    """Return our geometric mean over a peer's, or a dash."""
    return geometric_mean(ratios(rows, peer)) or "–"


def best(rows, peer):
    """Return the same if all but the products cost nothing."""
    both = [(r.ratio(peer), r.share) for r in rows]
    return geometric_mean([a * b for a, b in both if a is not None]) or "–"


groups = {
    f"{cell} {dtype}": [
        r
        for r in recurrent
        if (r.case["cell"], r.case["dtype"]) == (cell, dtype)
    ]
    for cell in CELLS
    for dtype in DTYPES
}
groups |= {
    f"{n_hid} units": [r for r in recurrent if r.case["n_hid"] == n_hid]
    for n_hid in (128, 256, 512)
}
groups["all"] = recurrent
cells.Grid(
    (
        "geometric mean over",
        "products' share",
        *(f"{peer}: ours" for peer in PEERS[:3]),
        *(f"{peer}: limit" for peer in PEERS[:3]),
    ),
    [
        (
            name,
            geometric_mean([r.share for r in rows]),
            *(mean(rows, peer) for peer in PEERS[:3]),
            *(best(rows, peer) for peer in PEERS[:3]),
        )
        for name, rows in groups.items()
    ],
)

# %% tags=["remove-input"]
overall, lstm32 = groups["all"], groups["LSTM float32"]
assert mean(groups["512 units"], "jax scan") < mean(overall, "jax scan") < 1
assert (
    mean(lstm32, "torch fused")
    > 1
    > mean(groups["LSTM float64"], "torch fused")
)
assert all(mean(rows, "torch eager") < 1 for rows in groups.values())
assert 0.95 < mean(groups["128 units"], "jax scan") < 1.1
assert best(overall, "torch fused") < 0.60
assert best(overall, "torch eager") < 0.52
assert best(overall, "jax scan") < 0.72

# %% [markdown]
# Three things can be read off.
#
# **It is not the products.** With nothing but products, the goals for the means would
# be reached (the columns *limit*). What misses them is the rest: curves, and
# multiplying and adding entry by entry. NumPy makes one pass over memory for each
# operation. A compiler such as XLA can make one loop of all that belongs to a step,
# and keep the numbers in registers meanwhile. So JAX is level with us at 128 units,
# and behind where products rule, at 512.
#
# **One peer is faster:** PyTorch's fused LSTM in float32. It is the one cell and
# precision that PyTorch hands to a library of its own kind, oneDNN. Why it gains
# most at 5000 short steps was not profiled. A likely cause is that it packs the
# weights once for all steps, where NumPy hands them to BLAS anew at each.
#
# **The goals came from a prototype.** It did not compute the gradient of the input. It
# kept its arrays from call to call, and its peers asked for fresh ones. Here ours are
# new at every call, and nobody pays for {ref}`fresh memory <speed-traps>`.
#
# ### Other memories
#
# ```{bench} bench/cells-full
# :goals: all
# ```
#
# :::{dropdown} All 24 cases
# ```{bench} bench/cells-full
# :cases: all
# ```
# :::
#
# [Multi-scale memories](06-clockwork-and-mslmn.ipynb) gain most: their slow modules
# are touched at their ticks alone. That is a saving of the equations, which no
# compiler finds by itself. (At one sequence, where Python is most of the time, JAX's
# compiled loop is faster in float32 all the same.) BRC and nBRC gain least on eager
# PyTorch in float64, the precision in which NumPy's tanh is slowest.

# %% tags=["remove-input"]
memories = [Measurement.from_dict(row) for row in TOLD[1]["rows"]]
of_cell = {
    (cell, dtype): [
        r
        for r in memories
        if (r.case["cell"], r.case["dtype"]) == (cell, dtype)
    ]
    for cell in ("MultiScaleLMN", "IndRNN", "BRC", "NBRC", "DuRNN")
    for dtype in DTYPES
}
for dtype in DTYPES:
    for peer in ("torch eager", "jax scan"):
        gains = {
            c: mean(r, peer) for (c, d), r in of_cell.items() if d == dtype
        }
        assert min(gains, key=gains.get) == "MultiScaleLMN", (
            dtype,
            peer,
            gains,
        )
eager64 = {
    c: mean(r, "torch eager") for (c, d), r in of_cell.items() if "64" in d
}
assert {*sorted(eager64, key=eager64.get)[-2:]} == {"BRC", "NBRC"}
(alone,) = (
    r for r in of_cell["MultiScaleLMN", "float32"] if r.case["n_batch"] == 1
)
assert alone.ratio("jax scan") > 1

# %% [markdown]
# ### The closed form
#
# [Chapter 4](04-laes.ipynb) has the routes to it. Here are their times. *residual* is
# that of the singular triplets, *off* the distance of the singular values from those of
# an independent method, *MB* the peak beside the sequences, *MB stated* what was
# promised before.
#
# ```{bench} bench/laes-full
# :goals: all
# ```
#
# :::{dropdown} Against the data matrix, where that fits into memory
# ```{bench} bench/laes-full
# :cases: peers
# ```
# :::
#
# :::{dropdown} Against our own other routes, at sizes that their choice was not made for
# ```{bench} bench/laes-full
# :cases: routes
# ```
# :::
#
# ### What a larger network costs
#
# ```{bench} bench/growth-full
# :goals: all
# :figures: growth
# ```
#
# ### What was tried
#
# What was faster beside the version before it was kept. The code of the other lines is
# gone, so nobody can measure them again: take them as advice, not as evidence.
#
# | where | tried | kept |
# |---|---|---|
# | LSTM, GRU | one product per gate for $h$, 1 and $x$ together | yes |
# | | sign of the logistic gates in their weights | yes |
# | | each gate in an array of its own | no, equal |
# | | one exp for all four gates of an LSTM | no, loses digits near zero |
# | all | the tape as one block of memory | no, slower where other jobs run |
# | multi-scale LMN | values of a module in an array of its own, spread over `y` once at the end | yes |
# | | gradients of weights from a ring of 512 rows | yes |
# | | all that was asked kept to the end, one product | no, page faults |
# | | matrices of small products copied, so that none is transposed | yes |
# | | features on the leading axis | no, turning `dy` and `y` costs what it gains |
# | LMN | products with $W_{mh}$ and $W_{mm}$ as one | yes |
# | BRC | the way back as a linear recurrence | yes |
# | BRC, nBRC | $a = 2\sigma(2u)$, with both gates by one exp | no, `msref verify nbrc` said FAIL |
# | IndRNN, DuRNN | products and sums a span of steps at a time | yes |
# | BRC, multi-scale LMN | the same | no, equal |
# | ReLU | the larger of two arrays, not of an array and 0 | yes |
# | linear recurrence | a block turned in the cache, not while reading | yes |
# | | chunks joined by the same scan | yes |
# | | Blelloch's recursion | no, slower |
# | | products of all $a_t$, and a division | no, NaN |
# | LAES | a bound instead of a second search | yes |
# | | complex products as real ones | no, slower |
#
# The line with FAIL is what this book is about. The specification says $a = 1 +
# \tanh u$. The faster $2\sigma(2u)$ is the same number. Where $\tanh u$ is close to
# $-1$ it even keeps digits that the specification loses. So the two disagree by a
# little more than rounding allows, and a pass that disagrees with its specification is
# not a pass. Changing the specification to suit the speed was not on offer.
#
# (speed-traps)=
# ## Three traps
#
# ### Fresh memory
#
# A large array comes from the system, not from the process's own store: with glibc, at
# the latest from 32 MB on. The system gives pages, and each page costs a *fault* when
# it is first touched. When the array is dropped the pages go back, and the next call
# pays again.

# %%
trap = Point.draw(msref.LSTM(1, 128), 784, 32, "float32")


def both():
    _, _, tape = trap.arch.forward(trap.params, trap.x)
    return trap.arch.backward(trap.params, tape, trap.dy)


def costs(memory, runs=5):
    """Return medians of user and system time, ms, and page faults."""
    seen = []
    with held(Conditions(memory=memory)):
        both()
        for _ in range(runs):
            before = resource.getrusage(resource.RUSAGE_SELF)
            both()
            after = resource.getrusage(resource.RUSAGE_SELF)
            seen.append(
                (
                    1e3 * (after.ru_utime - before.ru_utime),
                    1e3 * (after.ru_stime - before.ru_stime),
                    after.ru_minflt - before.ru_minflt,
                )
            )
    user, system, faults = np.median(seen, axis=0)
    return user, system, int(faults)


cells.Grid(
    ("memory", "user, ms", "system, ms", "page faults"),
    [(memory, *costs(memory)) for memory in ("fresh", "kept")],
)

# %% [markdown]
# The arithmetic is the same in both lines. How dear a fault is depends on what lies
# below the system. On a virtual machine whose host takes free memory away, it can cost
# many times what it does elsewhere. Then who is faster depends on who waited longer
# for his turn: the host takes back what one job has dropped while another runs.
#
# So `msref bench` keeps what the process has, for all of them, and says so;
# `--memory fresh` measures the other way.
#
# ```{source} msref.bench.conditions._kept_memory
# :from: libc.mallopt(M_MMAP_MAX, 0)
# :to: libc.mallopt(M_TRIM_THRESHOLD, -1)
# ```
#
# The smaller cases once more, with fresh memory; for them it decides little:
#
# ```{bench} bench-fresh/recurrent-quick
# :cases: all
# :goals: all
# ```
#
# ### Two threads
#
# BLAS splits a product between all cores, and its threads wait for each other
# *busily*. If another process wants a core, one thread waits whole time slices for a
# partner that is not running. It does so at every step. Here is one product of a step,
# beside what runs on this machine anyway, and beside one process more per core that
# wants all of it, in wall time:


# %%
@contextmanager
def company(n_processes):
    """Keep cores busy until the block ends."""
    busy = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(busy) for _ in range(n_processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


h = np.random.default_rng(0).standard_normal((32, 128)).astype("float32")
W = np.random.default_rng(1).standard_normal((128, 512)).astype("float32")


def hundred():
    for _ in range(100):
        h @ W


def wall(n_threads):
    """Return the median for one product, in µs."""
    with msref.threads(n_threads):
        clock = time.perf_counter
        found = interleaved({"": hundred}, seconds=0.3, clock=clock)
    return 1e6 * found[""].median / 100


beside = {"what runs anyway": 0, "a process per core": os.cpu_count() or 1}
rows = []
for name, n_processes in beside.items():
    with company(n_processes):
        rows.append((name, wall(1), wall(2)))
cells.Grid(
    ("beside it", "one thread, µs", "two threads, µs", "times as long"),
    [(name, one, two, two / one) for name, one, two in rows],
)

# %% [markdown]
# With company, one thread gets its share of the machine and no more, so its times
# grow too. The last column is what the second thread adds. Who else wants a core is not
# ours to know.
#
# The smaller cases of the first suite, two threads for all, in wall time:
#
# ```{bench} bench-threads-2/recurrent-quick
# :cases: all
# ```
#
# What follows: importing msref sets nothing, the process is yours. Its commands take
# one thread unless you chose. Around a training, choose:
#
# ```python
# with msref.threads(1):
#     fit(model, ...)
# ```
#
# More cores are used by more processes. `msref reproduce` does that.
#
# ### Not every call is fast
#
# NumPy has vector code for tanh in float32, and for exp in both. For tanh in float64 it
# has none, at least on the processor of the tables above. And to take the larger of two
# arrays is another loop than to take that of an array and a number:

# %%
numbers = np.random.default_rng(0).standard_normal(2**16)
CURVES = {
    "np.multiply": lambda a, out: np.multiply(a, a, out=out),
    "np.exp": lambda a, out: np.exp(a, out=out),
    "np.tanh": lambda a, out: np.tanh(a, out=out),
    "tanh_into": functional.tanh_into,
    "np.maximum, with 0.0": lambda a, out: np.maximum(a, 0.0, out=out),
    "np.maximum, with zeros": lambda a, out: np.maximum(
        a, zeros[a.dtype.name], out=out
    ),
}
inputs = {dtype: numbers.astype(dtype) for dtype in DTYPES}
outputs = {dtype: np.empty_like(a) for dtype, a in inputs.items()}
zeros = {dtype: np.zeros_like(a) for dtype, a in inputs.items()}
ns = timed(
    {
        (name, dtype): lambda f=f, d=dtype: f(inputs[d], outputs[d])
        for name, f in CURVES.items()
        for dtype in DTYPES
    }
)
cells.Grid(
    ("ns per number", *DTYPES),
    [
        (name, *(1e6 * ns[name, dtype] / numbers.size for dtype in DTYPES))
        for name in CURVES
    ],
)

# %% [markdown]
# `tanh_into` wins some of it back, and pays for its accuracy near zero. A ReLU has an
# array of zeros beside it.
#
# ```{source} msref.functional.tanh_into
# :from: near_zero = np.flatnonzero
# ```
#
# ## Porting notes: measuring your own
#
# 1. **Check first.** Time only what agrees with its peers. `msref bench` leaves out,
#    and names, whoever's gradients differ.
# 2. **In turn.** A B C A B C, in one process. What disturbs the machine then disturbs
#    all.
# 3. **CPU time, one thread, one core.** Wall time is what you feel, and on a machine
#    that others use it is what *they* do. With more threads only wall time says
#    anything.
# 4. **Medians,** and say how far the quartiles are apart. A minimum flatters whoever
#    varies most.
# 5. **One run before that does not count.** Compilers, caches, imports.
# 6. **The same work.** Does the peer compute the gradient of the input? Does it make
#    its outputs anew?
# 7. **Say how memory was held,** and print system time apart.
# 8. **Know the limit.** A ratio to a peer says who is better. A ratio to the products
#    alone says how much is left.
#
# Points 2 to 5 are this loop:
#
# ```{source} msref.bench.timing.interleaved
# :from: while jobs and
# :to: spent[name].append
# ```
#
# To have it for a cell of yours:

# %%
mine = Point.draw(msref.MGU(16, 64), 50, 16, "float32")


def our_passes():
    _, _, tape = mine.arch.forward(mine.params, mine.x)
    return mine.arch.backward(mine.params, tape, mine.dy)


with held(Conditions()):
    timing = interleaved({"MGU": our_passes}, seconds=0.3)["MGU"]
spread = (timing.high - timing.low) / 2 / timing.median
print(f"{1e3 * timing.median:.2f} ms ± {spread:.0%}, {timing.runs} runs")

# %% [markdown]
# ## Exercises
#
# **1.** What does the specification cost? {py:func}`msref.scan` runs `step` over a
# sequence. Time it beside `forward`, as above, at 1 and at 32 sequences. Guess the
# two ratios before.
#
# :::{dropdown} Solution
# The next cell. The fewer sequences, the more of the time is Python. `step` has more
# calls, since each gate has its own, and it keeps a trace of everything.
# :::

# %% tags=["hide-cell"]
slow_and_fast = []
for n_batch in (1, 32):
    at = Point.draw(msref.LSTM(16, 64), 50, n_batch, "float32")
    start = at.arch.initial_state(n_batch, "float32")
    ms = timed(
        {
            "scan": lambda at=at, s=start: msref.scan(
                at.arch, at.params, at.x, s
            ),
            "forward": lambda at=at: at.arch.forward(at.params, at.x),
        }
    )
    slow_and_fast.append((n_batch, *ms.values(), ms["scan"] / ms["forward"]))
cells.Grid(("sequences", "scan, ms", "forward, ms", "ratio"), slow_and_fast)

# %% [markdown]
# **2.** The loop of `LSTM.backward` works in place, so its lines have an order. Here
# two neighbours have changed places, for the sake of a tidier loop. Which? Read the
# report from the adjoints.

# %%
BACK = textwrap.dedent(inspect.getsource(msref.LSTM.backward))


def backward_with(*lines):
    """Return the real backward pass with lines replaced, told in rot13."""
    old, new = (codecs.decode(line, "rot13") for line in lines)
    assert BACK.count(old) == 1
    known = dict(vars(lstm_file))
    exec(BACK.replace(old, new), known)
    return known["backward"]


class Tidier(msref.LSTM):
    """An LSTM with two lines in another order."""

    backward = backward_with(
        "qn_vst *= qp  # (3') (2')\n            qp *= s[g]  # (3')",
        "qp *= s[g]  # (3')\n            qn_vst *= qp  # (3') (2')",
    )


report = msref.verify(Tidier(3, 5), **small)
assert not report.ok
cells.Shown(report)

# %% [markdown]
# :::{dropdown} Solution
# `dc *= f[t]` came before `da_ifg *= dc`. So the three gates at step $t$ were
# multiplied by $f_t \odot dc_t$, which belongs to step $t - 1$. The adjoint of $o$ at
# the last step is right: it does not pass through $c$. Those of $i$, $f$ and $g$ are
# wrong from the last step on, the first that is computed.
# :::
#
# **3.** This one says PASS. It has a bug all the same, one that a layout in spans
# invites. Find a call that makes it fail, then the line.


# %%
class Forgetful(msref.LSTM):
    """An LSTM with a bug that small cases do not have."""

    backward = backward_with(
        "f = fyvpr(fgneg, fgbc)",
        "f = fyvpr(fgneg, fgbc)\n        qu = qu * (fgbc == a_gvzr)",
    )


report = msref.verify(Forgetful(3, 5), **small)
assert report.ok
print(report.verdict)

# %% [markdown]
# :::{dropdown} Solution
# A span has `IN_CACHE // (n_batch * n_hid)` steps: with 2 sequences of 5 units, more
# than a thousand. So the small case is a single span. Either verify more steps than
# that, which takes long, or make the spans short, as the next cell does. The bug: at
# the end of a span what is sent back is dropped, so that the gradient of the
# recurrent weights is truncated at every border. The tests of msref run every pass
# with spans of a few steps, for this reason.
# :::

# %% tags=["hide-cell"]
with patch.object(functional, "IN_CACHE", 2 * 2 * 5):
    report = msref.verify(Forgetful(3, 5), **small)
    sane = msref.verify(msref.LSTM(3, 5), **small)
assert sane.ok
assert not report.ok
cells.Shown(report)
