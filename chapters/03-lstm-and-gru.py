# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 3. LSTM and GRU, and their dialects
#
# Chapter 1 ended with a product of matrices that shrinks. A gate is an answer to
# that. It lets a unit keep its value by multiplying it with a number near one,
# and lets the network decide when.
#
# {cite:t}`hochreiter1997` had the idea; {cite:t}`gers2000` added the gate that
# forgets, and that is what everybody calls LSTM today. {cite:t}`cho2014` found a
# smaller cell with the same purpose. Both exist in dialects: the same name, and
# other numbers. The second half of this chapter is about those.

# %%
from itertools import pairwise

import numpy as np

import msref
from msref.book import cells
from msref.ports import convert
from msref.verification import draw

lstm, gru = msref.LSTM(3, 5), msref.GRU(3, 5)

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "Left, an LSTM: the cell c runs straight through, multiplied by the forget"
    " gate f, and i times g is added; h is o times tanh of c. Right, a GRU: h"
    " runs straight through, mixed by the gate z with the candidate n.",
    width=9,
    height=3.4,
    columns=2,
) as (left, right):
    blue, orange = cells.COLOURS[:2]

    def line(axes, *texts):
        """Draw the memory: boxes in a row, joined by arrows."""
        found = [
            cells.box(axes, 1.6 * k, 2, text, orange)
            for k, text in enumerate(texts)
        ]
        for one, two in pairwise(found):
            cells.arrow(axes, one, two, colour=orange)
        return found

    _, times_f, plus, c = line(
        left, "$c_{t-1}$", "$\\times f$", "$+\\; i\\, g$", "$c_t$"
    )
    times_o = cells.box(left, 4.8, 1, "$\\times o$", blue)
    h = cells.box(left, 4.8, 0, "$h_t$", blue)
    reads = cells.box(left, 1.6, 0, "$x_t,\\; h_{t-1}$")
    cells.arrow(left, c, times_o, "tanh")
    cells.arrow(left, times_o, h)
    cells.arrow(left, reads, times_f, "σ")
    cells.arrow(left, reads, plus, "σ, tanh")
    cells.arrow(left, reads, times_o, "σ")

    _, times_z, plus, _ = line(
        right, "$h_{t-1}$", "$\\times z$", "$+ (1-z)\\, n$", "$h_t$"
    )
    reads = cells.box(right, 1.6, 0, "$x_t,\\; h_{t-1}$")
    n = cells.box(right, 3.2, 1, "$n$", blue)
    cells.arrow(right, reads, times_z, "σ")
    cells.arrow(right, reads, n, "r, tanh")
    cells.arrow(right, n, plus)
    for axes in (left, right):
        cells.bare(axes)

# %% [markdown]
# The orange line is the memory. Nothing on it is a full matrix and nothing on it
# is squashed: what is kept is kept unit by unit. In the LSTM the memory $c$ is
# hidden, and $h$ is what the network shows. In the GRU both are one.
#
# (arch-lstm)=
# ## LSTM
#
# ### Forward
#
# :::{beside}
# For each $k$ of $i, f, g, o$:
#
# \begin{align*}
# a_k &= x_t W_{xk} + h_{t-1} W_{hk} + b_k \tag{1}
# \end{align*}
#
# Three gates between 0 and 1, and a candidate between -1 and 1:
#
# \begin{align*}
# i, f, o &= \sigma(a_i), \sigma(a_f), \sigma(a_o) \\
# g &= \tanh(a_g) \tag{2}
# \end{align*}
#
# The memory keeps a share $f$ and takes in a share $i$; a share $o$ is shown:
#
# \begin{align*}
# c_t &= f \odot c_{t-1} + i \odot g \tag{3} \\
# h_t &= o \odot \tanh(c_t), \quad y_t = h_t \tag{4}
# \end{align*}
# +++
# ```{source} msref.LSTM.step
# ```
# :::
#
# Each gate has a *name* and arrays of its own. There is no order of gates here.
# Order is what ports get wrong, and it exists only in `msref.ports`.
#
# `forward` stacks the gates while it runs, and `W` holds each gate's $W_{hk}$, $b_k$
# and $W_{xk}$ below each other. So one product of the rows $(h_{t-1}, 1, x_t)$ with
# `W` is all of (1), and nothing is left to be added. The logistic gates `a[:3]` lie
# next to each other and share their calls. Since $\sigma(a) = 1 / (1 + e^{-a})$,
# their part of `W` carries the minus sign: it is set once, and not at every step.
# Gates overwrite their pre-activations.
#
# ```{source} msref.LSTM.forward
# :from: for t in range
# :to: xp.multiply(o[t]
# ```
#
# ### Backward
#
# Two states, so two gradients come from the future: $\mathrm{d}h_t$ and
# $\mathrm{d}c_t$. Go through the equations in reverse. Below, $\mathrm{d}h_t$
# includes $\mathrm{d}y_t$ already.
#
# :::{beside}
# **Through (4).** $h_t$ is a product, so each factor gets the other one:
#
# \begin{align*}
# \mathrm{d}o &= \mathrm{d}h_t \odot \tanh(c_t) \\
# \mathrm{d}c_t &\mathrel{+}= \mathrm{d}h_t \odot o \\
# &\quad \odot (1 - \tanh(c_t)^2) \tag{4'}
# \end{align*}
#
# **Through (3).** Two products, three factors and the old memory:
#
# \begin{align*}
# \mathrm{d}i &= \mathrm{d}c_t \odot g \\
# \mathrm{d}g &= \mathrm{d}c_t \odot i \\
# \mathrm{d}f &= \mathrm{d}c_t \odot c_{t-1} \\
# \mathrm{d}c_{t-1} &= \mathrm{d}c_t \odot f \tag{3'}
# \end{align*}
#
# **Through (2).** $\sigma' = \sigma(1 - \sigma)$, $\tanh' = 1 - \tanh^2$, both
# from the outputs. For $k$ of $i, f, o$, and for $g$:
#
# \begin{align*}
# \mathrm{d}a_k &= \mathrm{d}k \odot k \odot (1 - k) \\
# \mathrm{d}a_g &= \mathrm{d}g \odot (1 - g^2) \tag{2'}
# \end{align*}
#
# **Through (1).** All four gates read the same $h_{t-1}$:
#
# \begin{align*}
# \mathrm{d}h_{t-1} &= \sum_k \mathrm{d}a_k W_{hk}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.LSTM.backward
# :from: dc_by_dh = o
# :to: dh += back[3]
# ```
# :::
#
# What $\mathrm{d}h_t$ and $\mathrm{d}c_t$ are multiplied with comes from the tape, and
# is known before the loop. So `da` holds these factors first, written for a span of
# steps at once. That of the forget gate is $c_{t-1} \odot f \odot (1 - f)$, from
# (3') and (2') together. In the loop one call multiplies three gates by
# $\mathrm{d}c_t$, and then `da` holds what its name says.
#
# Look at the line (3') for the memory. From $c_t$ to $c_{t-1}$ the gradient is
# multiplied by $f$, entry by entry, and by nothing else. If $f$ is one, it
# arrives unchanged, over any number of steps. This is what the LSTM is for. The
# other way back, through the gates, goes on as in chapter 1.
#
# The weights' gradients are sums over all steps, one product each, as before. The
# first row of `dW_xk` is the bias's:
#
# ```{source} msref.LSTM.backward
# :from: dW_h = xp.matmul
# :to: grads[f"W_h{k}"]
# ```
#
# ### Is it true?

# %%
cells.Shown(msref.verify(lstm, cases=2, n_time=8))

# %% [markdown]
# A bug that is easy to make: on the way back, two gates' weights are exchanged.
# All shapes fit.

# %%
cells.Shown(
    msref.verify(
        cells.planted(lstm, "wrong gate's weight", "W_hf, W_hg"),
        cases=1,
        n_time=5,
        n_batch=2,
    )
)

# %% [markdown]
# The last step agrees in all gates. One hop earlier all are wrong: the fault is
# in what carries the gradient back, (1'), and not in a gate's own derivative.
#
# (arch-gru)=
# ## GRU
#
# ### Forward, in two dialects
#
# There are two GRUs. They come from two versions of one paper, and differ in
# where the reset gate $r$ stands: on the state *before* the product with
# $W_{hn}$, or on the result *after* it.
#
# :::{beside}
# \begin{align*}
# r &= \sigma(x_t W_{xr} + h_{t-1} W_{hr} + b_r) \tag{1} \\
# z &= \sigma(x_t W_{xz} + h_{t-1} W_{hz} + b_z) \tag{2}
# \end{align*}
#
# Reset **after** the product:
#
# \begin{align*}
# a_{hn} &= h_{t-1} W_{hn} + b_{hn} \tag{3} \\
# n &= \tanh(x_t W_{xn} + b_n \\
# &\quad + r \odot a_{hn}) \tag{4}
# \end{align*}
#
# Reset **before** the product:
#
# \begin{align*}
# q &= r \odot h_{t-1} \tag{5} \\
# n &= \tanh(x_t W_{xn} \\
# &\quad + q W_{hn} + b_n) \tag{6}
# \end{align*}
#
# Both:
#
# \begin{align*}
# h_t &= (1 - z) \odot n + z \odot h_{t-1} \tag{7}
# \end{align*}
# +++
# ```{source} msref.GRU.step
# ```
# :::
#
# Here $z$ *keeps*: at $z = 1$ nothing changes. In other libraries it writes.
#
# In `forward`, $r$ and $z$ are one product of the rows $(h_{t-1}, 1, x_t)$, as the
# gates of the LSTM are, sign included. $n$ needs its two parts apart, because $r$
# stands between them. What it gets from $x$ is one product for all steps. What it
# gets from the state is a product of its own at each step; `u` is $a_{hn}$, or $q$.
# With the reset before it, that product has to wait for $r$. (7) is computed as
# $n + z \odot (h - n)$: one multiplication less.
#
# ```{source} msref.GRU.forward
# :from: row[:, :n_hid]
# :to: # (7), as n
# ```
#
# ### Backward
#
# :::{beside}
# **Through (7)**, where $\mathrm{d}h_t$ includes $\mathrm{d}y_t$:
#
# \begin{align*}
# \mathrm{d}n &= \mathrm{d}h_t \odot (1 - z) \\
# \mathrm{d}z &= \mathrm{d}h_t \odot (h_{t-1} - n) \\
# \mathrm{d}h_{t-1} &= \mathrm{d}h_t \odot z \tag{7'}
# \end{align*}
#
# **After.** Through (4), then (3):
#
# \begin{align*}
# \mathrm{d}a_n &= \mathrm{d}n \odot (1 - n^2) \\
# \mathrm{d}r &= \mathrm{d}a_n \odot a_{hn} \\
# \mathrm{d}a_{hn} &= \mathrm{d}a_n \odot r \tag{4'} \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_{hn} W_{hn}^T \tag{3'}
# \end{align*}
#
# **Before.** Through (6), then (5):
#
# \begin{align*}
# \mathrm{d}q &= \mathrm{d}a_n W_{hn}^T \tag{6'} \\
# \mathrm{d}r &= \mathrm{d}q \odot h_{t-1} \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}q \odot r \tag{5'}
# \end{align*}
#
# **Through (2) and (1)**, both:
#
# \begin{align*}
# \mathrm{d}a_z &= \mathrm{d}z \odot z \odot (1 - z) \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_z W_{hz}^T \tag{2'} \\
# \mathrm{d}a_r &= \mathrm{d}r \odot r \odot (1 - r) \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_r W_{hr}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.GRU.backward
# :from: s = slice
# :to: dh += back_k
# ```
# :::
#
# As in the LSTM, `da` holds the factors first. With the reset after it they make
# everything a multiple of $\mathrm{d}h_t$. With the reset before it, $\mathrm{d}a_r$
# has to wait for $\mathrm{d}q$, at each step.
#
# The state $h_{t-1}$ enters (7), (2), (1) and the candidate. So its gradient has
# four terms, and each line above for $\mathrm{d}h_{t-1}$ adds one. A missing one
# is easy to overlook: the others go on, and a training still goes down.
#
# ### Is it true?

# %%
for reset in ("after", "before"):
    report = msref.verify(msref.GRU(3, 5, reset=reset), cases=2, n_time=8)
    print(f"{report.verdict}  {report.name}: {report.relative_error:.1e}")

# %% [markdown]
# The missing term, planted: what $r$ carries back to $h_{t-1}$.

# %%
cells.Shown(
    msref.verify(
        cells.planted(gru, "recurrent path dropped", "W_hr"),
        cases=1,
        n_time=5,
        n_batch=2,
    )
)

# %% [markdown]
# ## What they remember
#
# Three starts of the same cells, beside the network of chapter 1. *chrono*
# {cite:p}`tallec2018` draws the bias of the gate that keeps so that the units'
# times are spread up to a longest one, here 100 steps.

# %% tags=["hide-input"]
rng = np.random.default_rng(0)
starts = {
    "Elman": msref.Elman(1, 24),
    "LSTM": msref.LSTM(1, 24),
    "GRU": msref.GRU(1, 24),
    "LSTM, chrono": msref.LSTM(1, 24, chrono=100),
}
networks = {name: (arch, arch.init(rng)) for name, arch in starts.items()}
x = rng.standard_normal((80, 4, 1))
follow = {"LSTM": "c", "LSTM, chrono": "c"}
with cells.drawing(
    "Left, how much of the gradient of the state is left over the lag. Right, how"
    " well the input k steps back can be read from the state.",
    width=9,
    height=3.6,
    columns=2,
) as (left, right):
    arrived = cells.reach_plot(left, networks, x, follow)
    read_back = cells.recall_plot(right, networks, 40)

# %%
cells.Grid(
    (
        "start",
        "gradient left after 20 steps",
        "after 70",
        "sum of R², in steps",
    ),
    [
        (name, arrived[name][20], arrived[name][70], sum(read_back[name]))
        for name in networks
    ],
)

# %% [markdown]
# Left: for the LSTM, the gradient of the memory $c$ alone; for the others, of
# $h$. Right: from the whole state, $h$ and $c$ together where there are two. The
# two figures do not say the same. A gradient that survives says that the memory
# *could* be trained to hold something. What can be read back says what it holds
# now, with weights that nobody trained.
#
# ## The papers' claims, measured
#
# The adding problem: two numbers are marked in a long sequence, and their sum is
# wanted at its end. The claims are those of papers that compare with an LSTM.
#
# ```{result} durnn-full
# :claims: a2 a3
# :tables: 0
# :figures: learning-100 reach-lstm
# ```
#
# ## The dialects
#
# ### How far apart the two resets are
#
# The same weights, the same input, the other reset:

# %%
case = draw(gru, seed=0, n_time=6, n_batch=2)
before = msref.GRU(3, 5, reset="before")
shared = {name: case.params[name] for name in before.shapes()}
y_after, _, _ = gru.forward(case.params, case.x, case.state)
y_before, _, _ = before.forward(shared, case.x, case.state)
no_bias = case.params | {"b_hn": np.zeros(5)}
y_no_bias, _, _ = gru.forward(no_bias, case.x, case.state)

cells.Grid(
    ("reset after, compared with", "largest difference of an output"),
    [
        ("reset before, b_hn left out there", np.abs(y_after - y_before).max()),
        (
            "reset before, and b_hn zero in both",
            np.abs(y_no_bias - y_before).max(),
        ),
    ],
)

# %% [markdown]
# These are two functions. No weights make them equal, but for special cases. A
# port that has the wrong one does not crash and is not visibly broken: its
# outputs lie in the same range.
#
# ### Which way z points
#
# $z$ keeps in PyTorch, Keras and ONNX, and writes in Haiku. Since
# $\sigma(-a) = 1 - \sigma(a)$, one becomes the other by negating `W_xz`, `W_hz`
# and `b_z`.

# %%
negated = shared | {k: -shared[k] for k in ("W_xz", "W_hz", "b_z")}


def writes(params, h, x):
    _, trace = before.step(params, {"h": h}, x, 0)
    return (1 - trace["z"]) * h + trace["z"] * trace["n"]


keeps, _ = before.step(shared, case.state, case.x[0], 0)
print(np.abs(keeps["h"] - writes(negated, case.state["h"], case.x[0])).max())

# %% [markdown]
# ### Biases that can be folded, and one that cannot
#
# PyTorch has two bias vectors per gate, `bias_ih` and `bias_hh`. For every gate
# of an LSTM they are added, so one of them is redundant. So it is for $r$ and
# $z$ of a GRU. For $n$, with the reset after the product, the second stands
# *inside* the product with $r$: it is our `b_hn`, and folding it is wrong. In
# the table above, the first row holds that difference, too.
#
# ### The tables
#
# Read off the layouts that convert, not typed. First the LSTM:

# %%
cells.conventions_grid("lstm")

# %% [markdown]
# And the GRU:

# %%
cells.conventions_grid("gru")

# %% [markdown]
# W is the framework's array: `W x` means that it stands on the left of a column,
# with shape (out, in); `x W` that it stands on the right of a row.
#
# ## Porting notes
#
# {py:mod}`msref.ports` takes weights over, and says what it did.

# %%
lstm_case = draw(lstm, seed=0, n_time=6, n_batch=2)
weights, notes = msref.ports.FRAMEWORKS["torch"].export(lstm, lstm_case.params)
print({name: array.shape for name, array in weights.items()})
print(*notes, sep="\n")
weights, notes = convert(weights, "torch", "onnx")
print({name: array.shape for name, array in weights.items()})
print(*notes, sep="\n")

# %% [markdown]
# First things to check, in this order:
#
# 1. One step from a state that is *not* zero, with biases that are not zero. A
#    zero state hides the reset, and zero biases hide where they stand.
# 2. The gates one by one, under their names. Two exchanged gates are seen at
#    once, and are hard to see in the outputs.
# 3. The final state: $(h, c)$ or $(c, h)$.
# 4. The gradient of the final state, alone. For an LSTM of $h$ and of $c$.
#
# The golden vectors hold all of these numbers, at every step.

# %%
cells.vectors_grid("lstm")

# %%
cells.vectors_grid("gru")

# %% [markdown]
# ## Exercises
#
# **1.** Which state's path is cut? The report says where it begins.

# %%
first = cells.riddle(lstm, "n fgngr'f cngu qebccrq", "p")
cells.Shown(msref.verify(first, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# What `c` carries back across the middle of the sequence is dropped. `da_o` is
# formed from `dh` alone, so at the step where the path is cut the output gate is
# still right, and the other three are wrong.
# :::
#
# **2.** A convention, not a gradient: the outputs of `forward` are wrong. Which
# line of `step` is another one there?

# %%
second = cells.riddle(gru, "gur bgure erfrg", "nsgre")
cells.Shown(msref.verify(second, cases=1, n_time=4, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# It resets before the product and not after it. The outputs and the final state
# differ from the scan of `step`. The gradients pass: the bug was planted in the
# outputs alone, on a tape that is right. So the report blames `forward`.
# :::
#
# **3.** With the forget gate at one and the input gate at zero, an LSTM keeps $c$
# for ever. What is then the gradient of $c_T$ with respect to $c_0$? Check your
# answer with {py:func}`msref.dynamics.gradient_reach`, and biases `b_f` of 40 and
# `b_i` of -40.

# %%
held = lstm_case.params | {"b_f": np.full(5, 40.0), "b_i": np.full(5, -40.0)}
noise = np.random.default_rng(0).standard_normal((200, 1, 3))
found = msref.dynamics.gradient_reach(lstm, held, noise, "c", progress=False)
print(found.norms[-1])

# %% [markdown]
# :::{dropdown} Solution
# The identity, up to rounding: its norm is one at every lag. The equation (3')
# multiplies by $f$, which is one, and the way through the gates is closed: at a
# pre-activation of 40, the slope of the logistic function is nothing.
# :::
