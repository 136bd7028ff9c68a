# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (warm-up)=
# # 12. Warm-up towards multistability
#
# [Chapter 9](09-bistability.ipynb) ended with a table. New networks of the usual
# cells come to rest in one place, wherever they were before. What they have read
# is lost on the way. Bistable cells are built to have more places.
#
# {cite:t}`vecoven2021warm` and {cite:t}`lambrechts2023` leave the cell as it is.
# They *train* it to end in many places, before it is given a task. That takes
# inputs like those of the task, and no targets. They call it a warm-up.
#
# We know the abstracts of both versions of the paper and the authors' complete
# code. Its text, its tables and its figures are not known to us. So the procedure
# below is that of the code. The gradient is derived here.
#
# No network in this chapter is new. The question is what a hundred steps of
# gradient descent make of an old one. What they are praised for is attractors. We
# shall count those, and then ask whether they are any.

# %%
import codecs
import inspect
import json
from contextlib import ExitStack
from unittest.mock import patch

import autograd
import autograd.numpy as anp
import numpy as np

import msref
from msref.architectures import REGISTRY, is_causal
from msref.arrays import prefixed, under
from msref.book import cells
from msref.book.committed import committed
from msref.data import TMaze, copy_first_input
from msref.dynamics import (
    explore,
    fixed_points,
    multistability,
    separated,
    stabilise,
    vaa,
    vaa_star,
)
from msref.dynamics.stabilising import drawn
from msref.pretraining import double_layer, warmup
from msref.pretraining import warmup_loss as pieces
from msref.training import Adam, Model, QLearning, fit

TOLERANCE = 1e-4

# %% [markdown]
# ## The idea in one picture
#
# A GRU of 16 units, new. Sequences of 20 random numbers. And a warm-up of 100 steps,
# with everything as the authors' code has it.

# %%
gru = msref.GRU(1, 16)
rng = np.random.default_rng(0)
sequences = [x for x, _ in copy_first_input(rng, 600, 20)]
start = gru.init(rng)
warm, record = warmup(
    gru, start, sequences, np.random.default_rng(1), progress=False
)

# %% tags=["hide-input"]
PAIR = {"new": start, "warmed up": warm}
seen = {
    name: explore(
        *(gru, params, sequences, np.random.default_rng(3), 200),
        n_states=64,
        progress=False,
    )
    for name, params in PAIR.items()
}
with cells.drawing(
    "Left, the new network: 64 trajectories run into one point. Middle, the same"
    " network warmed up: 64 trajectories end beside one another. Right, these ends"
    " alone, enlarged: 64 points along a curve.",
    width=9,
    height=3.3,
    columns=3,
) as panels:
    views = [(name, name, True) for name in PAIR]
    views += [("warmed up", "the ends alone", False)]
    for axes, (name, title, with_ways) in zip(panels, views, strict=True):
        found = seen[name]
        if with_ways:
            axes.plot(
                *found.trajectories.transpose(2, 0, 1),
                "-",
                color=cells.COLOURS[0],
                lw=0.6,
                alpha=0.5,
            )
            axes.plot(*found.trajectories[0].T, ".", color=cells.INK, ms=3)
        axes.scatter(
            *found.points.T,
            s=30,
            facecolors="none",
            edgecolors=cells.COLOURS[1],
            zorder=3,
        )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"first direction, {found.explained[0]:.0%}")
    panels[0].set_ylabel("second direction")

# %%
cells.Grid(
    ("network", "prefixes", "different ends after 200 steps"),
    [
        (name, found.trajectories.shape[1], len(found.points))
        for name, found in seen.items()
    ],
)

# %% [markdown]
# A black dot is the state after a piece of a sequence, a *prefix*. From there the
# network reads one and the same constant input for 200 steps. A circle is where it
# is then. In the new network all prefixes are forgotten. In the one warmed up each has
# left something.
#
# The panel on the right shows more than the number. The ends lie close together, on a
# curve. Keep that in mind until we ask {ref}`what was made <warm-remembers>`.
#
# ## Forward
#
# ### From a count to something that slopes
#
# [Chapter 9](09-bistability.ipynb) counted the ends $h_1, \dots, h_n$ by
#
# $$\mathrm{VAA} = \frac1n \sum_{i=1}^n
# \frac{1}{\#\{j : \lVert h_j - h_i \rVert < \varepsilon\}} ,$$
#
# the share of states that are distinct. A count cannot be descended. Move a state
# a little, and nothing changes, or a pair jumps across $\varepsilon$. So the
# derivative is zero wherever there is one.
#
# :::{beside}
# The surrogate squashes the states and replaces "closer than $\varepsilon$", a
# zero or a one, by a *closeness* $C$ that decays:
#
# \begin{align*}
# y_i &= \tanh(h_i) \tag{1} \\
# d_{ij} &= \lVert y_i - y_j \rVert \tag{2} \\
# C_{ij} &= 1 - \frac{\max(d_{ij} - \varepsilon,\, 0)}{d_{ij} + \kappa} \tag{3} \\
# S_i &= \sum_j C_{ij} \tag{4} \\
# \mathrm{VAA}^* &= \frac1n \sum_i \frac{1}{S_i} \tag{5}
# \end{align*}
#
# $\varepsilon = 10^{-4}$ is the tolerance, $\kappa = 10^{-6}$.
# +++
# ```{source} msref.vaa_star
# :from: y = xp.tanh(h)
# :to: # (5)
# ```
# :::
#
# Three things follow from the equations alone.
#
# **What $C$ is.** Within the tolerance, 1. Beyond it, put both terms of (3) over
# one denominator:
#
# $$C = \frac{d + \kappa - d + \varepsilon}{d + \kappa}
# = \frac{\varepsilon + \kappa}{d + \kappa} .$$
#
# At $d = \varepsilon$ that is 1, so $C$ has no jump. At $d = 1$ it is about
# $\varepsilon$, so states that are far apart hardly count each other.
#
# **$\mathrm{VAA}^*$ never promises too much:** $\mathrm{VAA}^* \le \mathrm{VAA}$.
# First, $C_{ij} \ge 1$ where $d_{ij} < \varepsilon$ and $C_{ij} > 0$ elsewhere. So
# $S_i$ is at least the number of $y_j$ closer to $y_i$ than $\varepsilon$, and
# $\mathrm{VAA}^*$ at most the VAA of the $y_i$. Second, the slope of $\tanh$ is at
# most one, so $d_{ij} \le \lVert h_i - h_j \rVert$: squashed states have at least as
# many neighbours. The converse is false. An LSTM's cell $c$ may grow until its
# $\tanh$ is flat, and states that differ are squashed together.

# %%
rng = np.random.default_rng(0)
rows = []
for spread in (1e-4, 1e-2, 1.0, 10.0):
    h = spread * rng.standard_normal((32, 3))
    h[:8] = h[0]  # eight states that agree
    rows.append((spread, vaa_star(h)[0], vaa(np.tanh(h)), vaa(h)))
cells.Grid(("spread of the states", "VAA*", "VAA of tanh h", "VAA"), rows)

# %% [markdown]
# **Where it slopes.** Take two states at distance $d$. Then
# $\mathrm{VAA}^* = 1 / (1 + C)$. Within the tolerance its slope is zero. Beyond,
# $C' = -(\varepsilon + \kappa) / (d + \kappa)^2$, and
#
# $$\frac{\partial\, \mathrm{VAA}^*}{\partial d}
# = \frac{1}{(1 + C)^2}\, \frac{\varepsilon + \kappa}{(d + \kappa)^2} .$$
#
# Just beyond the tolerance this is $1 / 4 (\varepsilon + \kappa)$, a huge number. At
# $d = 1$ it is about $\varepsilon$. So the surrogate pulls hardest at states that
# have *almost* met, lets go of those that are apart, and has nothing to say to
# those that have met.

# %% tags=["hide-input"]
distance = np.geomspace(1e-5, 1.0, 400)
pairs = [vaa_star(np.array([[0.0], [np.arctanh(d)]])) for d in distance[:-1]]
with cells.drawing(
    "Left, VAA* of two states over their distance: one half up to the tolerance,"
    " then rising to one within two decades. Right, its slope: zero up to the"
    " tolerance, largest just beyond, falling by seven decades until distance one.",
    width=9,
    height=3.2,
    columns=2,
) as (left, right):
    left.semilogx(distance[:-1], [value for value, _ in pairs])
    left.set_ylabel("VAA* of two states")
    C = np.where(
        distance > TOLERANCE, (TOLERANCE + 1e-6) / (distance + 1e-6), 1.0
    )
    slope = C / (1 + C) ** 2 / (distance + 1e-6)
    beyond = distance > TOLERANCE
    right.loglog(distance[beyond], slope[beyond])
    right.set_ylabel("its slope")
    right.set_xlim(left.get_xlim())
    for axes in (left, right):
        axes.axvline(TOLERANCE, color=cells.INK, ls=":", lw=1)
        axes.set_xlabel("distance d of the squashed states")

# %% [markdown]
# ### The loss
#
# :::{beside}
# The numbers begin again. For a network of layers $j = 1 \dots n$ and sequences
# $i$, each with its own cut $c_i$. Let $F_j(u, z)$ be one step of layer $j$, alone,
# from a state $u$ under an input $z$, and $F_j^M$ be $M$ steps:
#
# \begin{align*}
# s^j_i &= \text{layer } j \text{ after } x_1 \dots x_{c_i} \tag{1} \\
# r^j_i &= F_j^M(s^j_i, z_j) \tag{2} \\
# V_j &= \mathrm{VAA}^*(r^j_1, r^j_2, \dots) \tag{3} \\
# L &= \frac1n \sum_j (V_j - 0.95)^2 \tag{4}
# \end{align*}
#
# All arrays of a layer's state stand side by side in $r$: of an LSTM $h$, then $c$.
# (4) is the function's last line. Note the target. 1 would ask of *every* pair to
# be apart.
# +++
# ```{source} msref.pretraining.warmup_loss.warmup_loss
# :from: with placed("the run to the cuts")
# :to: # (3)
# ```
# :::
#
# In (1) the layers run as a stack. In (2) each runs by itself, on an input of *its
# own* size. When multistability is *measured*, the whole stack runs on, on one $z$.
# These are two different things, and both are as in the authors' code.
#
# ### The procedure
#
# Step $k$, from 0:
#
# 1. Take the next 32 sequences of a shuffled pass.
# 2. Draw $M$ evenly from 1 to $\min(1 + 10 k, 200)$.
# 3. Draw a cut for each sequence, evenly from 1 to its length.
# 4. Draw a constant input $z_j \sim N(0, I)$ for each layer.
# 5. Make one step of Adam, at a rate of $10^{-2}$, on (4).
#
# ```{source} msref.pretraining.warmup._draw
# :from: n_stable = int
# ```
#
# After 100 steps that is all. The read-out takes no part. The record has what
# happened:

# %%
cells.Grid(
    ("step", "M", "VAA*", "loss"),
    [
        (k + 1, record.lengths[k], record.vaa_star[k, 0], record.loss[k])
        for k in (0, 1, 2, 5, 10, 20, 30, 40, 60, 80, 99)
    ],
)

# %% [markdown]
# Read the last two columns together with the second. At a small $M$ the loss is
# small whatever the network does. A single loss says nothing without its $M$, so
# look at means over many steps.
#
# ### What is done differently, and why it is faster
#
# The authors' code runs the prefixes one by one. Here the batch runs as one. Its
# time falls into *segments* between the cuts, the longest sequences come first,
# and each segment runs the rows that are not at their cut yet:
#
# :::{beside}
# No frame beyond a cut is ever computed, so none has to be masked. A segment is an
# ordinary call of `forward`, with an ordinary tape.
# +++
# ```{source} msref.pretraining.warmup_runs.to_the_cuts
# :from: def run(
# ```
# :::

# %%
cuts = np.random.default_rng(0).integers(1, 21, 32)
print(f"{len(np.unique(cuts))} calls of forward instead of {len(cuts)};")
print(f"{cuts.sum()} frames instead of {20 * len(cuts)} in a full batch")

# %% [markdown]
# ## Backward
#
# ### Through VAA*
#
# Start from (5) of the surrogate, and go up. Let $V = \mathrm{VAA}^*$.
#
# :::{beside}
# **Through (5).** $S_i$ stands in one term:
#
# \begin{align*}
# \mathrm{d}S_i &= -\frac{1}{n S_i^2} \tag{5'}
# \end{align*}
#
# **Through (4).** $C_{ij}$ stands in $S_i$ alone, with factor one:
#
# \begin{align*}
# \mathrm{d}C_{ij} &= \mathrm{d}S_i \tag{4'}
# \end{align*}
#
# **Through (3)**, with $C'$ from above, and 0 within the tolerance:
#
# \begin{align*}
# \mathrm{d}d_{ij} &= -\mathrm{d}C_{ij}\,
# \frac{\varepsilon + \kappa}{(d_{ij} + \kappa)^2} \tag{3'}
# \end{align*}
#
# **Through (2).** The gradient of a distance is the unit vector between its ends,
# $\partial d_{ij} / \partial y_i = (y_i - y_j) / d_{ij}$. And $y_i$ is an end of
# $d_{ij}$ and of $d_{ji}$, which differ in what they are worth:
#
# \begin{align*}
# A_{ij} &= (\mathrm{d}d_{ij} + \mathrm{d}d_{ji}) / d_{ij} \\
# \mathrm{d}y_i &= \sum_j A_{ij}\, (y_i - y_j) \tag{2'}
# \end{align*}
#
# That is $(\sum_j A_{ij})\, y_i - \sum_j A_{ij} y_j$: one product of matrices.
#
# **Through (1)**, entry by entry:
#
# \begin{align*}
# \mathrm{d}h_i &= \mathrm{d}y_i \odot (1 - y_i^2) \tag{1'}
# \end{align*}
# +++
# ```{source} msref.vaa_star
# :from: dS = -1.0
# :to: # (1')
# ```
# :::
#
# $A$ is symmetric, so in $\sum_i \mathrm{d}y_i$ everything cancels: states push each
# other apart, and their centre stays. That is a check that costs one line:

# %%
h = 0.1 * np.random.default_rng(0).standard_normal((32, 4))
_, dh = vaa_star(h)
dy = dh / (1 - np.tanh(h) ** 2)
print(f"largest push {np.abs(dy).max():.3g}, sum {np.abs(dy.sum(0)).max():.1g}")

# %% [markdown]
# ### Through the settling, and into the prefixes
#
# :::{beside}
# **Through (4)** and **(3)**, the surrogate's gradient times a number:
#
# \begin{align*}
# \mathrm{d}V_j &= \frac2n (V_j - 0.95) \tag{4'} \\
# \mathrm{d}r^j &= \mathrm{d}V_j \, \frac{\partial\, \mathrm{VAA}^*}
# {\partial r^j} \tag{3'}
# \end{align*}
#
# **Through (2).** Let $u_0 = s^j_i$ and $u_t = F_j(u_{t-1}, z_j)$, so that
# $r^j_i = u_M$. No output of these steps is read. So
# $\mathrm{d}u_M = \mathrm{d}r^j_i$, nothing is added on the way, and
#
# \begin{align*}
# \mathrm{d}u_{t-1} &= \mathrm{d}u_t
# \left(\frac{\partial u_t}{\partial u_{t-1}}\right)^{\!T} \\
# \mathrm{d}s^j_i &= \mathrm{d}u_0 \\
# \mathrm{d}\theta_j &\mathrel{+}= \sum_{t=1}^{M} \mathrm{d}u_t
# \left(\frac{\partial F_j}{\partial \theta_j}\right)^{\!T} \tag{2'}
# \end{align*}
#
# That is the layer's own backward pass, with $\mathrm{d}y = 0$ and $\mathrm{d}r$ as the
# gradient of the final state. What it gives for $z$ is dropped: $z$ was drawn.
#
# **Through (1).** Let $v_t$ be the state of the *whole* network after frame $t$ of
# sequence $i$. Its layers at $t = c_i$ are the $s^j_i$, so there the way back begins:
#
# \begin{align*}
# \mathrm{d}v_{c_i} &= (\mathrm{d}s^1_i, \mathrm{d}s^2_i, \dots) \\
# \mathrm{d}v_{t-1} &= \mathrm{d}v_t
# \left(\frac{\partial v_t}{\partial v_{t-1}}\right)^{\!T} \\
# \mathrm{d}\theta &\mathrel{+}= \sum_{t=1}^{c_i} \mathrm{d}v_t
# \left(\frac{\partial v_t}{\partial \theta}\right)^{\!T} \tag{1'}
# \end{align*}
#
# for each sequence, which begins at a frame of its own.
# +++
# ```{source} msref.pretraining.warmup_loss.warmup_loss
# :from: dr = 2.0
# :to: # (4)
# ```
# :::
#
# Here is (2'). Rows of one clock share a run; without clocks there is one.
#
# ```{source} msref.pretraining.warmup_runs.back_alone
# :from: p = layer.own
# ```
#
# And (1'). The segments go by from the last to the first. In each, the rows that ran
# on bring a gradient from the segment after it, and those that end here begin with
# their $\mathrm{d}s_i$. The layers below get theirs by themselves: it is the whole
# stack that goes back.
#
# ```{source} msref.pretraining.warmup_runs.back_from_the_cuts
# :from: carried = {
# ```
#
# ### Why M begins at 1
#
# Let the network have one place to rest, and let a difference of two states shrink
# there by $\lambda$ per step: $d_M = \lambda^M d_0$. For $d_M \gg \varepsilon$ the
# surrogate is flat, so the gradient is small. Its slope in $d$ grows as
# $\varepsilon / d^2$ while the states approach. At
#
# $$M = \frac{\ln(d_0 / \varepsilon)}{- \ln \lambda}$$
#
# they have met, and then it is *exactly* zero. [Chapter 9](09-bistability.ipynb) has
# $\lambda$ for a new GRU: about $3/4$. So from $d_0 = 1$ this is the case after

# %%
print(f"{np.log(1 / TOLERANCE) / -np.log(0.75):.0f} steps")

# %% [markdown]
# And so it is. One batch of 32 prefixes and one $z$, the new GRU, several $M$. The
# gradient is taken apart into what comes from the layer alone, (2'), and what comes
# from the prefixes, (1'):

# %%
rng = np.random.default_rng(5)
x = np.stack(sequences[:32], axis=1)
cuts = rng.integers(1, 21, 32)


def size(grads):
    """Return the norm of all gradients together."""
    return np.sqrt(sum((g**2).sum() for g in grads.values()))


rows = []
for M in (1, 5, 10, 15, 20, 25, 30, 35, 40, 200):
    point = (gru, start, x, cuts, [np.array([0.5])], M)
    _, whole, V = pieces.warmup_loss(*point)
    with patch.object(pieces, "back_from_the_cuts", lambda *_: None):
        _, alone, _ = pieces.warmup_loss(*point)
    prefixes = {name: whole[name] - alone[name] for name in whole}
    rows.append((M, V[0], size(whole), size(alone), size(prefixes)))
cells.Grid(("M", "VAA*", "gradient", "of it by (2')", "by (1')"), rows)

# %% [markdown]
# So there is a window. Below it the states are still apart, and the network seems to
# remember. Above it they have met, and nothing can be learned. A warm-up begins
# below. Where states have almost met within the $M$ that is drawn, the gradient moves
# them apart again, and the window moves up. Starting with $M = 200$, nothing would
# happen.
#
# ## Is it true?
#
# A third way to the same numbers: say the loss once more, slowly, from nothing but
# `step`. Each sequence runs by itself, to its cut; each layer runs alone; VAA* is
# written down from (1) to (5). This function knows nothing of segments, of tapes or
# of adjoints. Autograd differentiates it, and so does the complex step.
#
# To place a mistake we want more than the gradient of the parameters. So all that is
# handed on gets a name. `r` and `s` are added to the states in (2) and (1), as zeros:
# their gradients are $\mathrm{d}r$ and $\mathrm{d}s$. And the parameters come twice,
# once for the prefixes, (1), and once for the settling, (2).

# %%
network = msref.Stack(msref.GRU(1, 3), msref.LSTM(3, 2))
rng = np.random.default_rng(0)
params = {
    name: value + 0.3 * rng.standard_normal(value.shape)
    for name, value in network.init(rng).items()
}
N, M = 4, 5
x = rng.standard_normal((7, N, 1))
cuts = np.array([3, 7, 1, 5])
z = [rng.standard_normal(1), rng.standard_normal(3)]
WIDE = 0.02  # a tolerance within which some states meet, and others do not

inputs = {f"(1) {k}": v for k, v in params.items()}
inputs |= {f"(2) {k}": v for k, v in params.items()}
for name, value in network.initial_state(N).items():
    inputs |= {f"s {name}": value, f"r {name}": value}


def having(start, named):
    """Return what begins so, without that."""
    return {k[len(start) :]: v for k, v in named.items() if k.startswith(start)}


def slowly(named, xp=np):
    """Return the loss and V, by the scan of ``step``."""
    ends = [
        msref.scan(network, having("(1) ", named), x[:cut, [i]], xp=xp)[1]
        for i, cut in enumerate(cuts)
    ]
    V = []
    for k, layer in enumerate(network.parts):
        own = having(f"(2) {k}/", named)
        constant = np.tile(z[k], (M, 1, 1))
        rows = []
        for i, end in enumerate(ends):
            s = {
                name: end[f"{k}/{name}"] + named[f"s {k}/{name}"][i]
                for name in layer.initial_state(1)
            }
            _, r, _ = msref.scan(layer, own, constant, s, cuts[i], xp)
            rows.append(
                xp.concatenate(
                    [r[name][0] + named[f"r {k}/{name}"][i] for name in r]
                )
            )
        V.append(vaa_star_slowly(xp.stack(rows), xp))
    V = xp.stack(V)
    return xp.mean((V - 0.95) ** 2), V


def vaa_star_slowly(h, xp):
    """Return VAA*; where states meet there is no root of zero."""
    y = xp.tanh(h)
    squares = ((y[:, None] - y[None]) ** 2).sum(-1)
    near = xp.real(squares) <= WIDE**2
    d = xp.sqrt(xp.where(near, 1.0, squares))
    C = xp.where(near, 1.0, 1.0 - (d - WIDE) / (d + 1e-6))
    return xp.mean(1.0 / C.sum(1))


# %% [markdown]
# Both witnesses, once for all that follows:

# %%
_, V = slowly(inputs)
by_autograd = autograd.grad(lambda named: slowly(named, anp)[0])(inputs)
by_complex_step = {}
for name, value in inputs.items():
    by_complex_step[name] = np.empty_like(value)
    for place in np.ndindex(value.shape):
        moved = value.astype(complex)
        moved[place] += 1e-30j
        loss = slowly(inputs | {name: moved})[0]
        by_complex_step[name][place] = loss.imag / 1e-30

# %% [markdown]
# And by hand. What `warmup_loss` hands from piece to piece is written down on the
# way. The same place lets us plant bugs: a line that is run on the arguments of a
# piece, before it is called.

# %% tags=["hide-input"]
PIECES = (
    *("to_the_cuts", "alone", "vaa_star", "separated"),
    *("back_alone", "back_from_the_cuts"),
)


def by_hand(piece="", line=""):
    """Return all adjoints and V; a line may spoil what a piece is given."""
    found, order = {}, np.argsort(-cuts, kind="stable")

    def keep(kind, state):
        for name, value in state.items():
            found[f"{kind} {name}"] = np.empty_like(value)
            found[f"{kind} {name}"][order] = value

    def watched(name):
        right = getattr(pieces, name)
        names = list(inspect.signature(right).parameters)

        def watching(*arguments):
            given = dict(zip(names, arguments, strict=False))
            if name == "back_alone":
                keep("r", prefixed(given["layer"].path[:-1], given["dfinal"]))
            if name == "back_from_the_cuts":
                keep("s", given["dreached"])
                for k, g in given["grads"].items():
                    found[f"(2) {k}"] = g.copy()
            if name == piece:
                exec(line, {"np": np}, given)
            return right(*[given[k] for k in names[: len(arguments)]])

        return patch.object(pieces, name, watching)

    with ExitStack() as patched:
        for name in PIECES:
            patched.enter_context(watched(name))
        _, grads, V_found = pieces.warmup_loss(
            network, params, x, cuts, z, M, tolerance=WIDE
        )
    for name, g in grads.items():
        found[f"(1) {name}"] = g - found[f"(2) {name}"]
    return found, V_found


GROUPS = {
    **{f"dr {k}": ("(3')", [f"r {k}"]) for k in network.initial_state(1)},
    **{f"ds {k}": ("(2')", [f"s {k}"]) for k in network.initial_state(1)},
    **{
        f"dparams {k}/ by ({n}')": (
            f"({n}')",
            [name for name in inputs if name.startswith(f"({n}) {k}/")],
        )
        for n in (2, 1)
        for k in (0, 1)
    },
}


def report(piece="", line=""):
    """Compare with both witnesses, in the order of the way back."""
    found, V_found = by_hand(piece, line)
    rows = []
    for k in (0, 1):
        error = abs(V_found[k] / V[k] - 1)
        rows.append((f"V {k}", "(3)", V_found[k] / V[k], error, "-"))
    for what, (equation, names) in GROUPS.items():
        came = sum(np.abs(found[name]).sum() for name in names)
        expected = sum(np.abs(by_autograd[name]).sum() for name in names)
        errors = [
            max(
                np.abs(found[name] - witness[name]).max()
                / np.abs(witness[name]).max()
                for name in names
            )
            for witness in (by_autograd, by_complex_step)
        ]
        rows.append((what, equation, came / expected, *errors))
    return cells.Grid(
        ("what", "equation", "size", "off autograd", "off complex step", ""),
        [(*row, "WRONG" if row[3] > 1e-9 else "agrees") for row in rows],
    )


report()

# %% [markdown]
# *Size* is what came, as a share of what was expected. *Off* is the largest
# difference, relative to the largest entry. Every adjoint agrees with both
# witnesses to rounding, those on the way included.
#
# Now a bug. Take the states at the cuts for constants, as if the network that led
# there could not be changed. In a framework it is one `detach`. All shapes fit, the
# loss is right, and it even goes down.

# %%
report(
    "back_from_the_cuts",
    "dreached = {k: np.zeros_like(v) for k, v in dreached.items()}",
)

# %% [markdown]
# The table reads like the way back. $V$, $\mathrm{d}r$, $\mathrm{d}s$ are right, and so
# is what the settling owes to the parameters. The first wrong line is (1'), and its
# size is zero: nothing went into the prefixes.
#
# The package's own test does this for every architecture of the registry that has a
# state, with clocks, in stacks and in segments, and plants more such bugs.
#
# (warm-remembers)=
# ## What it remembers
#
# ### How many, while it is warmed up
#
# A warm-up of fewer steps, from the same generator, is the beginning of the longer
# one. So the network can be looked at on its way:

# %%
MOMENTS = (20, 200, 2000)


def groups(arch, params, moments=MOMENTS, n_estimates=3):
    """Return how many groups of 32 states there are, about, at each M."""
    return multistability(
        *(arch, params, sequences, np.random.default_rng(2), moments),
        n_estimates=n_estimates,
        progress=False,
    ).n_attractors


on_its_way = {0: start, 100: warm}
for n_steps in (5, 10, 20, 40, 70):
    on_its_way[n_steps], _ = warmup(
        *(gru, start, sequences, np.random.default_rng(1)),
        n_steps=n_steps,
        progress=False,
    )
counted = {n: groups(gru, on_its_way[n]) for n in sorted(on_its_way)}

# %% tags=["hide-input"]
with cells.drawing(
    "Groups of 32 states over steps of warm-up, at three M. At M = 20 there are many"
    " from the beginning; at 200 they come later, and at 2000 later still and"
    " fewer.",
    height=3.0,
) as axes:
    for k, M_seen in enumerate(MOMENTS):
        axes.plot(
            list(counted),
            [found[k] for found in counted.values()],
            cells.DASHES[k],
            color=cells.COLOURS[k],
            marker=".",
            label=f"M = {M_seen}",
        )
    axes.set_xlabel("steps of warm-up")
    axes.set_ylabel("groups of 32 states")
    axes.legend()

# %%
cells.Grid(
    ("steps of warm-up", *(f"groups at M = {m}" for m in MOMENTS)),
    [(n, *found) for n, found in counted.items()],
)

# %% [markdown]
# The window moves up, as derived. The warm-up has seen $M$ up to 200, and at 200 it
# has reached what it was asked for. At 2000 nobody asked.
#
# ### Are they attractors?
#
# Follow the largest distance between any two states for longer, under three
# different constant inputs $z$.

# %%
moments = tuple(np.unique(np.geomspace(1, 10_000, 60).astype(int)).tolist())
apart = {}
for name, params_seen in PAIR.items():
    ends = stabilise(
        *(gru, params_seen, sequences, np.random.default_rng(4), moments),
        n_estimates=3,
        n_states=16,
        progress=False,
    )
    gaps = ends[:, :, :, None] - ends[:, :, None]
    apart[name] = np.linalg.norm(gaps, axis=-1).max((2, 3)), ends[-1]

# %% tags=["hide-input"]
with cells.drawing(
    "The largest distance between 16 states over M, on a logarithmic scale, for"
    " three inputs. In the new network it falls below the tolerance at once. In the"
    " one warmed up it falls, too, along lines that become straight, and takes many"
    " hundreds of steps or thousands.",
    height=3.4,
) as axes:
    for k, (name, (gap, _)) in enumerate(apart.items()):
        lines = axes.plot(
            moments,
            np.maximum(gap, 1e-9),
            cells.DASHES[k],
            color=cells.COLOURS[k],
        )
        lines[0].set_label(name)
    axes.axhline(TOLERANCE, color=cells.INK, ls=":", lw=1, label="tolerance")
    axes.axvline(200, color=cells.INK, ls="-", lw=0.5, label="longest M it saw")
    axes.set_yscale("log")
    axes.set_ylim(1e-7, 10)
    axes.set_xlabel("M, steps of constant input")
    axes.set_ylabel("largest distance")
    axes.legend()

# %% [markdown]
# Straight lines on this scale are exponential decay. So here nothing is kept for
# ever: the states meet, only slowly. The slowest eigenvalue $\lambda$ of the point
# where they meet says how slowly.
# {py:func}`msref.dynamics.fixed_points` finds it; from the distance $D$ at $M = 200$
# we can say when they will have met:
#
# $$M \approx 200 + \frac{\ln (D / \varepsilon)}{-\ln \lambda} .$$

# %%
gap, ends = apart["warmed up"]
rng = np.random.default_rng(4)  # as above: the same z
z_seen = drawn(gru, sequences, rng, 3, 16, whole=False)[1].z
late = int(np.searchsorted(moments, 200))
rows = []
for k, z_k in enumerate(z_seen):
    points = fixed_points(gru, warm, z_k, separated(gru, ends[k]))
    slowest = max(abs(point.eigenvalues[0]) for point in points)
    waits = np.log(gap[late, k] / TOLERANCE) / -np.log(slowest)
    met = np.flatnonzero(gap[:, k] < TOLERANCE)
    rows.append(
        (
            f"{z_k[0]:+.2f}",
            len(points),
            points[0].kind,
            f"{slowest:.5f}",
            gap[late, k],
            f"{moments[late] + waits:,.0f}",
            f"{moments[met[0]]:,}" if met.size else "not yet",
        )
    )
cells.Grid(
    (
        *("z", "points found", "kind", "slowest |eigenvalue|"),
        *("distance at 200", "should meet at M", "met at M"),
    ),
    rows,
)

# %% [markdown]
# (*Met at* is the first look that found them so.) This small GRU did not get many
# attractors. It got a slow direction. Its VAA at
# $M = 200$ is 1 all the same, and had to be. For which $\lambda$ is a difference of
# $d_0$ still above $\varepsilon$ after $M$ steps?
#
# $$\lambda \ge (\varepsilon / d_0)^{1/M} .$$
#
# That is all that a VAA at $M$ can say of a decay:

# %%
cells.Grid(
    ("M", "λ that passes for an attractor, from a distance of 1"),
    [(m, f"{TOLERANCE ** (1 / m):.5f}") for m in (20, 200, 2000, 10_000)],
)

# %% [markdown]
# For a task of 100 steps the difference between a direction that is slow enough and
# many attractors is one of words. For a memory that is to last, it is not. So: **no VAA
# without its $M$**, and no word on attractors without `fixed_points`. Whether the
# larger networks of the experiments below do better is a question for their tables,
# which have two $M$.
#
# ### Which prefix ends where
#
# The ends of the picture lie on a curve. Where on it does a prefix end? Take the
# direction in which 400 ends vary most, and read off it what is known of each prefix.
# $R^2$ is that of the other way round, from the whole end by a linear read-out, fitted
# on one half of the prefixes and measured on the other.


# %%
def read_out(states, wanted):
    """Return R² of a linear read-out, and what it says of the second half."""
    scale = max(states.std(), 1e-12)
    a = np.c_[(states - states.mean(0)) / scale, np.ones(len(states))]
    half = len(a) // 2
    gram = a[:half].T @ a[:half] + 1e-6 * np.eye(a.shape[1])
    said = a[half:] @ np.linalg.solve(gram, a[:half].T @ wanted[:half])
    missed = wanted[half:] - said
    against = wanted[half:] - wanted[half:].mean()
    return 1 - (missed**2).sum() / (against**2).sum(), said


prefixes = explore(
    *(gru, warm, sequences, np.random.default_rng(3), 1),
    n_states=400,
    progress=False,
).start
lengths = prefixes.cuts[0]
read = [
    sequences[q][:cut, 0]
    for q, cut in zip(prefixes.which[0], lengths, strict=True)
]
known = {
    "its length": lengths.astype(float),
    "its last frame": np.array([frames[-1] for frames in read]),
    "its first frame": np.array([frames[0] for frames in read]),
    "the sum of its frames": np.array([frames.sum() for frames in read]),
}
at = {
    name: stabilise(
        *(gru, params_seen, sequences, np.random.default_rng(3), (0, 200)),
        n_states=400,
        progress=False,
    )[:, 0]
    for name, params_seen in PAIR.items()
}

# %% tags=["hide-input"]
last = at["warmed up"][1] - at["warmed up"][1].mean(0)
direction = np.linalg.svd(last, full_matrices=False)[2][0]
position = last @ direction * np.sign(direction[np.abs(direction).argmax()])
with cells.drawing(
    "Where 400 prefixes end along the curve, a dot for each. Left, over the length of"
    " the prefix, right, over the sum of its frames.",
    width=9,
    height=3.2,
    columns=2,
) as panels:
    for axes, name in zip(
        panels, ("its length", "the sum of its frames"), strict=True
    ):
        axes.plot(known[name], position, ".", color=cells.COLOURS[0], ms=4)
        axes.set_xlabel(f"of the prefix, {name}")
        axes.set_ylabel("place on the curve")

# %%
cells.Grid(
    (
        "of a prefix",
        *(
            f"R², {name}, {m}"
            for name in PAIR
            for m in ("at its cut", "M = 200")
        ),
    ),
    [
        (
            what,
            *(
                max(0.0, read_out(states, wanted)[0])
                for both in at.values()
                for states in both
            ),
        )
        for what, wanted in known.items()
    ],
)

# %% [markdown]
# After 200 steps the new network knows nothing. The one warmed up does. Best of all
# it knows how *long* the prefix was. It knows something of the sum of the frames,
# and of the first one. The last frame, which it still had at its cut, is lost.
#
# Nobody asked for any of this. The network was asked to end in different places, and to
# *differ* is all it has learned. What a task may ask, it has to be taught.
#
# And compare the two columns at the cut. There the new network has the last frame
# almost exactly, and the one warmed up has it less well. Something has been paid.
#
# ### How far a gradient comes

# %% tags=["hide-input"]
networks = {name: (gru, params_seen) for name, params_seen in PAIR.items()}
noise = np.random.default_rng(0).standard_normal((121, 4, 1))
with cells.drawing(
    "Left, the gradient of the state over the lag, under noise: in the new network"
    " it vanishes within tens of steps, in the one warmed up hardly. Right, how"
    " well the input k steps back can be read: the new network is better at every"
    " short lag.",
    width=9,
    height=3.6,
    columns=2,
) as (left, right):
    arrived = cells.reach_plot(left, networks, noise)
    read_back = cells.recall_plot(right, networks, 20)

# %%
cells.Grid(
    (
        *("network", "gradient left after 20 steps", "after 50", "after 120"),
        *("R² of the last frame", "sum of R², in steps"),
    ),
    [
        (
            name,
            *(arrived[name][k] for k in (20, 50, 120)),
            *(read_back[name][0], sum(read_back[name])),
        )
        for name in PAIR
    ],
)

# %% [markdown]
# This is what a warm-up does for learning, whatever becomes of the states in the end.
# A slow direction carries the *gradient*. In the new network a loss at the end of a
# long sequence does not see its beginning. In the other it does, and so the network
# can be taught what to keep.
#
# The right panel is the price, in this network. A state that stays where it is takes
# up less of what is new. We come back to it with {ref}`double layers <warm-precision>`.
#
# ## The papers' claims, measured
#
# The claims below are sentences of the abstracts, and questions of ours. The numbers
# of the paper are not known to us. Some of what stands beside ours was measured by
# running the authors' code: few seeds, small networks. Here are two layers of 32
# units instead of 256, less data, fewer updates, a higher rate. So a verdict says what
# was found in *this* setting, and neither confirms nor refutes a table that we have
# not seen.
#
# ### Multistability, before and after
#
# ```{result} warmup-full
# :claims: a1 a2 a3 a4
# :tables: 0
# :figures: vaa-200 vaa-2000
# ```
#
# What fails the second claim is the BRC, which starts with several ends. Read the third
# together with the straight lines above: it is the same question, asked of larger
# networks. The table compares each row with what the authors' code
# came to. And here is where 32 prefixes end in one of the networks, after 2000 steps
# of one input, before and after the warm-up:
#
# ```{result} warmup-full
# :figures: attractors-before attractors-after
# ```
#
# After it there seem to be two places far apart, and at one of them a short line. The
# title counts every circle on the line.
#
# ### Recall
#
# Two tasks. *Copy first input*: the first of many numbers has to be given back at the
# end. *Denoising*: five marked numbers out of a hundred, in their order. Each cell
# learns from three starts, on the same sequences: as it starts, warmed up, and as
# double layers of which one half is warmed up. The errors:
#
# ```{result} warmup-full
# :tables: 1
# :figures: learning-copy-100 learning-denoising-100
# ```
#
# The claim is that a warm-up lowers the error. It was asked for each task and cell.
# *Better* means: by more than the spread over runs explains. *On average* means: not by
# so much.

# %% tags=["hide-input"]
run = json.loads(committed("results/warmup-full/result.json"))
asked = {claim["key"]: claim for claim in run["claims"]}
TASKS = {
    **{f"b{T}": f"copy, T = {T}" for T in (50, 100, 300, 600)},
    "bn": "denoising, T = 100",
}
CELLS = ("gru", "lstm", "mgu", "brc", "nbrc", "chrono")


def in_short(claim):
    """Return a verdict in a word or two."""
    if claim["verdict"] == "holds":
        return "better"
    if claim["reason"].startswith("better"):
        return "on average"
    if claim["verdict"] == "not comparable":
        return "?"
    return "no"


cells.Grid(
    ("warmed up, against as it starts", *TASKS.values()),
    [
        (cell, *(in_short(asked[f"{task}-{cell}"]) for task in TASKS))
        for cell in CELLS
    ],
)

# %% [markdown]
# Read the table of errors for the size. Where a cell starts with one stable state and
# has to keep one number for long, as GRU and MGU do in the copy task, a warm-up changes
# everything: up to 300 steps, from the constant answer to thousandths of it. In
# denoising *which* numbers to keep has to be told apart, and there the same two cells,
# and the LSTM, end worse than they do without. The LSTM with the chrono start, drawn
# twice, learns next to nothing in these budgets, warmed up or not. Its input gates are
# nearly closed (see {ref}`below <chrono-start>`).
#
# ### Multistability and learning
#
# Two different things are claimed: that networks with a high VAA have a low error, and
# that a network which is *not* warmed up learns once its VAA has risen. Neither says
# which is the cause.
#
# ```{result} warmup-full
# :claims: c1 c2
# :figures: together beside-gru beside-chrono
# ```
#
# Look at the first figure. At a VAA of 1 stand errors of every size, and the smallest
# stand only there. The last figure is a warning. The chrono LSTM has a high VAA from
# the beginning, with a warm-up or without, and its error stays where it was. To
# differ is not to know.
#
# ### Precision, and double layers
#
# A short task, in which little has to be kept and that exactly. And the double layers
# against plain ones in the tasks above, at two lengths and in denoising.
#
# ```{result} warmup-full
# :claims: d1 d2 d3 b100-double b600-double bn-double
# :figures: learning-short-5
# ```
#
# ### A maze
#
# An agent sees at the start of a corridor which way to turn at its end, and finds
# out by itself that this matters. How it learns stands {ref}`below <warm-agent>`.
#
# ```{result} warmup-full
# :claims: e1 e2 e3
# :tables: 3
# :figures: returns
# ```
#
# ### What it takes
#
# ```{result} warmup-full
# :claims: f
# :tables: 4
# ```
#
# ## Using it
#
# ### On a network of your own
#
# {py:func}`msref.pretraining.warmup` takes a network or a
# {py:class}`msref.training.Model`, its parameters, and inputs. It gives new parameters
# and a record; the old ones are not changed. Inputs should be like those of the task,
# lengths included: *reachable* means, by these. What a model has frozen stays, and its
# constraints hold.
#
# Here the GRU of this chapter learns to give back the first of 50 numbers, with the
# same updates from both starts. Always to answer 0 has an error of 1.

# %%
model = Model(gru, 1, "squared")
drawn_params = model.init(np.random.default_rng(0))
valid = copy_first_input(np.random.default_rng(9), 200, 50)


def fresh(epoch):
    """Return 640 sequences that were never seen."""
    return copy_first_input(np.random.default_rng(100 + epoch), 640, 50)


curves = {}
for name, params_seen in PAIR.items():
    learned = fit(
        *(model, drawn_params | prefixed("core", params_seen), fresh, valid),
        optimiser=Adam(0.003),
        rng=np.random.default_rng(3),
        n_epochs=8,
        n_batch=32,
        clip=10.0,
        progress=False,
    )
    curves[name] = [epoch["valid_loss"] for epoch in learned.history]
cells.Grid(
    ("error after updates", *(str(20 * (k + 1)) for k in range(8))),
    [(name, *curve) for name, curve in curves.items()],
)

# %% [markdown]
# One network and one seed: a look and no experiment. The experiment is above. But mark
# what this network has, a slow direction and no second attractor. For 50 steps
# it is enough.
#
# ### What VAA takes for an attractor
#
# VAA counts states that differ after $M$ steps. There are four reasons to differ, and
# attractors are one of them.
#
# - The states are *on their way*, as above. Ask at a larger $M$.
# - They are on a *cycle*, at different phases. It never ends, whatever the $M$. The
#   fixed point inside has a pair of complex eigenvalues beyond one.
# - They *grow*. There is no end at all.
#
# An Elman network shows the second. Its full matrix can turn the state.

# %%
short = [frames[:10] for frames in sequences[:64]]
elman = msref.Elman(1, 16)
turned, _ = warmup(
    *(elman, elman.init(np.random.default_rng(0)), short),
    np.random.default_rng(1),
    n_batch=16,
    progress=False,
)
found = explore(
    *(elman, turned, short, np.random.default_rng(0), 3000), progress=False
)
points = fixed_points(
    elman, turned, found.start.z[0], separated(elman, found.states)
)
print(f"{len(found.states)} different ends of {len(found.labels)};")
for point in points:
    print(
        f"{point.n_starts} of them lead to a {point.kind} by Newton's method,"
        f" eigenvalue {point.eigenvalues[0]:.2f}"
    )

# %% [markdown]
# All of its ends differ, and at none of them does it rest.
#
# ### Every architecture
#
# The procedure needs a state and a backward pass, and nothing else. So it runs on every
# network of the registry that has both. One network each, about 16 units, sequences
# of 10 numbers, 16 states to be told apart. First those with gates.


# %%
def both(arch):
    """Warm a new network up; return groups of 16 states, before and after."""
    before = arch.init(np.random.default_rng(0))
    after, _ = warmup(
        *(arch, before, short, np.random.default_rng(1)),
        n_batch=16,
        longest=100,
        progress=False,
    )
    found = []
    for params_seen, m in ((before, 100), (after, 100), (after, 1000)):
        try:
            seen_now = multistability(
                *(arch, params_seen, short, np.random.default_rng(2), m),
                n_estimates=2,
                n_states=16,
                progress=False,
            )
            found.append(f"{seen_now.n_attractors[0]:.1f}")
        except ValueError:
            found.append("grows beyond all numbers")
    return found


HEADS = ("network", "new, M = 100", "warmed up, 100", "warmed up, 1000")
GATED = {
    "lstm": msref.LSTM(1, 16),
    "mgu": msref.MGU(1, 16),
    "brc": msref.BRC(1, 16),
    "nbrc": msref.NBRC(1, 16),
}
cells.Grid(HEADS, [(name, *both(arch)) for name, arch in GATED.items()])

# %% [markdown]
# Networks made of networks. In a stack each layer settles by itself.

# %%
COMBINED = {
    "gru": gru,
    "stack": msref.Stack(
        msref.Elman(1, 16), msref.Linear(16, 4), msref.MGU(4, 16)
    ),
    "parallel": msref.Parallel(msref.Elman(1, 8), msref.MGU(1, 8)),
    "residual": msref.Residual(
        msref.Stack(msref.Elman(1, 16), msref.Linear(16, 1))
    ),
}
cells.Grid(HEADS, [(name, *both(arch)) for name, arch in COMBINED.items()])

# %% [markdown]
# And those without gates.

# %%
UNGATED = {
    "elman": msref.Elman(1, 16),
    "lmn": msref.LMN(1, 8, 16),
    "ulm": msref.ULM(1, 4, 4),
    "clockwork": msref.ClockworkRNN(1, 8, 2),
    "mslmn": msref.MultiScaleLMN(1, 8, 8, 2),
    "indrnn": msref.IndRNN(1, 16),
    "indrnn, tanh": msref.IndRNN(1, 16, activation="tanh"),
    "durnn": msref.DuRNN(1, 8, 8),
}
cells.Grid(HEADS, [(name, *both(arch)) for name, arch in UNGATED.items()])

# %%
tried = {name.partition(",")[0] for name in (*GATED, *COMBINED, *UNGATED)}
for name, entry in REGISTRY.items():
    if name not in tried:
        one = entry.examples[0]
        why = "looks ahead" if not is_causal(one) else "has no state to rest in"
        print(f"{name} {why}")

# %% [markdown]
# Look at each row twice. A large number at both $M$ is no proof, as the Elman network
# has just shown. A small one after the warm-up is none of the contrary: one start, one
# set of inputs. What the table does show is that the last two columns can differ by
# everything.
#
# Clocks add one thing. The time goes on from the cuts, so states on one and the same
# cycle are seen at different phases, and the loss may count them as several.
# `multistability` waits until all are at the same phase, and may find fewer.
#
# ### A linear memory
#
# What if nothing squashes? Let $m_t = m_{t-1} W + u_t$, with any input $u_t$. Take two
# states under the same input. Their difference is
#
# $$\delta_t = (m_{t-1} - m'_{t-1})\, W = \delta_{t-1} W ,$$
#
# without $u$ and without $m$. So what becomes of it was decided by $W$ alone.
#
# - All eigenvalues inside the unit circle: all states meet. VAA is at its floor.
# - One outside: differences along it grow for ever, and the states with them. VAA is
#   1, and there is no place to rest.
# - One *on* the circle: differences along it are kept as they are. A line of resting
#   places, or a circle; not several apart from one another.
#
# Places apart are excluded at once: to rest under a constant $u$ is to solve
# $m (I - W) = u$, a linear equation. It has one solution, or none, or a line of them.
# **A linear memory cannot be multistable.** A warm-up does not know that. It is asked
# for states that differ after $M$ steps, and there is one way to give it that:

# %%
linear = msref.ClockworkRNN(1, 16, 1, activation="linear")
before = linear.init(np.random.default_rng(0))
after, told = warmup(
    *(linear, before, short, np.random.default_rng(1)),
    n_batch=16,
    progress=False,
)
for name, params_seen in (("new", before), ("warmed up", after)):
    radius = np.abs(np.linalg.eigvals(params_seen["W_hh"])).max()
    print(f"{name}: largest |eigenvalue| {radius:.4f}")
print(f"VAA* of its last step: {told.vaa_star[-1, 0]:.3f}")
try:
    multistability(
        *(linear, after, short, np.random.default_rng(2), 10_000),
        progress=False,
    )
except ValueError as error:
    print("measured:", error)

# %% [markdown]
# An LMN is more than that: its memory is linear, but what is written into it is a
# function, with $\tanh$, of what was in it. The loop through $W_{mh}$ can make
# several places. Where $W_{mh}$ is zero it cannot. An IndRNN with ReLUs is linear
# unit by unit while the unit is active. So for networks with a linear part look at
# eigenvalues after a warm-up, or keep them bounded while it runs: a `Model` with a
# constraint is projected after each step.
#
# (chrono-start)=
# ### The chrono start, and two bias vectors
#
# {cite:t}`tallec2018` slow a cell down by its biases alone. In an LSTM with
# $x = h = 0$ and a closed input gate, $c_t = f\, c_{t-1}$ with $f = \sigma(b_f)$. With
# $b_f = \log v$ that is
#
# $$\begin{aligned} f &= \frac{v}{1 + v}, \\ f^t &= e^{-1} \text{ at }
# t = \frac{1}{\ln(1 + 1/v)} \approx v + \tfrac12 , \end{aligned}$$
#
# and $v$ is drawn evenly from 1 to $T - 1$, where $T$ is the longest dependency
# expected. The input gate gets $-b_f$: what is slow to forget is slow to write. In a
# GRU only $b_z$ is set, to $+\log v$ where $z$ keeps, and to $-\log v$ where it
# writes.
#
# Now the trap. PyTorch, cuDNN and ONNX have *two* bias vectors, which are summed.
# Several public codes, the authors' of the warm-up among them, write a draw into
# both. Then $b_f = \log v_1 + \log v_2 = \log (v_1 v_2)$: a *product* of two times.

# %%
rng = np.random.default_rng(0)
v = rng.uniform(1, 599, (2, 100_000))
for name, times in (("one draw", v[0]), ("two draws", v[0] * v[1])):
    f = times / (1 + times)
    print(f"{name}: median time {np.median(-1 / np.log(f)):,.0f} steps")

# %% [markdown]
# To repeat the paper's comparison, draw twice (`double_bias=True`). For a memory of 600
# steps, write one vector and zero the other.
#
# Is such a start multistable? Its states differ for long. That is what it is made for.

# %%
rows = []
for name, arch in {
    "LSTM": msref.LSTM(1, 16),
    "chrono": msref.LSTM(1, 16, chrono=600),
    "chrono, two draws": msref.LSTM(1, 16, chrono=600, double_bias=True),
    "GRU, chrono": msref.GRU(1, 16, chrono=600),
}.items():
    params_seen = arch.init(np.random.default_rng(1))
    at_cut = stabilise(
        *(arch, params_seen, short, np.random.default_rng(2), 0),
        progress=False,
    )[0, 0]
    gaps = np.linalg.norm(at_cut[:, None] - at_cut, axis=-1)
    rows.append(
        (
            name,
            np.median(gaps[np.triu_indices(len(gaps), 1)]),
            *groups(arch, params_seen, n_estimates=1),
        )
    )
cells.Grid(
    (
        *("new network", "distance of two states at the cut, median"),
        *(f"groups of 32 at M = {m}" for m in MOMENTS),
    ),
    rows,
)

# %% [markdown]
# The chrono start is slow by construction: a cell whose eigenvalues are below one and
# close to it. Nothing in it is a second place to rest. With two draws the input gates
# are so nearly closed that hardly anything is written, and many states agree within
# the tolerance from the beginning.
#
# (warm-precision)=
# ### Precision: two halves
#
# The abstract says itself that a warm-up may cost precision, and has a remedy. A
# layer is two cells of half the width, side by side ({ref}`Parallel
# <arch-parallel>`), and only the first is warmed up. In the second half of each layer
# nothing settles, and (3) does not look at it.
#
# :::{beside}
# `double_layer` builds such a layer, and `warmup(..., partial=True)` lets the first
# part settle alone. In a stack a gradient still reaches the second halves of *lower*
# layers, through the prefixes, (1'). In the topmost layer it does not.
# +++
# ```{source} msref.pretraining.double_layer
# :from: widths = {
# ```
# :::
#
# Three networks of 32 units: new, warmed up, and double with one half warmed up.

# %%
wide = msref.GRU(1, 32)
new = wide.init(np.random.default_rng(0))
whole, _ = warmup(
    wide, new, sequences, np.random.default_rng(1), progress=False
)

# %%
double = double_layer(wide)
halves = double.init(np.random.default_rng(0))
half, _ = warmup(
    *(double, halves, sequences, np.random.default_rng(1)),
    partial=True,
    progress=False,
)
cells.Grid(
    ("part", "changed", "groups of 32 at M = 200", "at M = 2000"),
    [
        (
            name,
            any(
                (half[key] != halves[key]).any()
                for key in half
                if key.startswith(f"{k}/")
            ),
            *groups(double.parts[k], under(str(k), half), MOMENTS[1:], 2),
        )
        for k, name in enumerate(("first half", "second half"))
    ],
)

# %% tags=["hide-input"]
networks = {
    "new": (wide, new),
    "warmed up": (wide, whole),
    "double, one half": (double, half),
    "its second half": (double.parts[1], under("1", half)),
}
with cells.drawing(
    "How well the input k steps back can be read, for the three networks of 32"
    " units, and for the second half of the double one alone. The double one lies"
    " above its half.",
    height=3.2,
) as axes:
    read_back = cells.recall_plot(axes, networks, 20)

# %%
cells.Grid(
    (
        "read from",
        *(f"R² at lag {k}" for k in (0, 1, 2, 4)),
        "sum of R², in steps",
    ),
    [
        (name, *(r2[k] for k in (0, 1, 2, 4)), sum(r2))
        for name, r2 in read_back.items()
    ],
)

# %% [markdown]
# The second half is, number by number, the new network it was. A read-out of both
# halves may always read from it alone. So what such a layer recalls is at least
# what a new network of half the width recalls, but for the fitting of more weights.
# That holds whatever the warm-up makes of the first half, and it is a guarantee
# that the network in the second row does not have. How much that row loses, if
# anything, differs from one start to the next.
#
# This is untrained. What it does for a task is among the claims above.
#
# (warm-agent)=
# ### An agent
#
# {py:class}`msref.data.TMaze` shows the goal in the first cell alone. Then comes a
# corridor, and at its end the choice. An agent's network reads its last move, the
# reward and what it sees, and gives a value for each move.
#
# :::{beside}
# A *history* $h_n$ is all frames before move $n$. What its value should be is found
# from the next one, by an older copy $q^-$ of the network:
#
# \begin{align*}
# g_n &= r_n + \gamma \max_a q^-(h_{n+1})_a
# \end{align*}
#
# and $g_n = r_n$ where the game ended. Then
#
# \begin{align*}
# y &= \text{core}(h_n), \text{ its last frame} \tag{1} \\
# q &= y W_{yo} + b_o \tag{2} \\
# L &= \text{mean of } (q_{a_n} - g_n)^2 \tag{3}
# \end{align*}
#
# with $g$ held fixed, and the way back is short. $\mathrm{d}q$ is zero but for the move
# that was made, $\mathrm{d}y$ is zero but for the last frame:
#
# \begin{align*}
# \mathrm{d}q_{a_n} &= 2\, (q_{a_n} - g_n) / n \tag{3'} \\
# \mathrm{d}W_{yo} &= \textstyle\sum y^T \mathrm{d}q \\
# \mathrm{d}y &= \mathrm{d}q\, W_{yo}^T \tag{2'}
# \end{align*}
#
# and (1') is the core's own backward pass.
# +++
# ```{source} msref.training.temporal_difference.td_loss
# :from: last, each =
# ```
# :::
#
# The goal is $L$ moves away from the choice, and the gradient has to come back all
# the way. So much for the motive. The inputs of the warm-up are the histories that
# the replay begins with, from a player who moves at random. Each *is* a prefix, so it
# is not cut again: `whole=True`.

# %%
maze, agent = TMaze(5), QLearning(capacity=1024)
histories = agent.fill(maze, np.random.default_rng(0))
player = msref.GRU(maze.n_actions + 1 + maze.n_observations, 16)
clueless = player.init(np.random.default_rng(1))
ready, _ = warmup(
    *(player, clueless, histories, np.random.default_rng(2)),
    whole=True,
    progress=False,
)
rows = []
for name, params_seen in (("new", clueless), ("warmed up", ready)):
    for m in (0, 200):
        rng = np.random.default_rng(3)  # the same histories each time
        ends = stabilise(
            *(player, params_seen, histories, rng, m),
            n_states=400,
            whole=True,
            progress=False,
        )[0, 0]
        which = drawn(
            *(player, histories, np.random.default_rng(3), 1, 400),
            whole=True,
        )[1].which[0]
        # The first frame shows the goal: +1 for up, -1 for down.
        goal = np.array(
            [2 * histories[q][0, maze.n_actions + 1] - 1 for q in which]
        )
        r2, said = read_out(ends, goal)
        right = np.mean(np.sign(said) == goal[200:])
        rows.append((name, m, round(400 * vaa(ends)), f"{right:.0%}"))
always = max(np.mean(goal[200:] == 1), np.mean(goal[200:] == -1))
print(f"{len(histories)} histories of up to {max(map(len, histories))} frames")
print(f"always the same answer: {always:.0%}")
cells.Grid(("network", "M", "groups of 400", "goal read from the ends"), rows)

# %% [markdown]
# The same lesson as with the prefixes. After a warm-up many histories end in
# different places. Whether the *goal* is among what makes them differ, nobody has
# told the network. That is left to the learning, which can now reach so far.
#
# ### What to report, and what goes wrong
#
# The tolerance and $M$ belong to every VAA. One network, nine answers:

# %%
rows = []
for tolerance in (1e-6, 1e-4, 1e-2):
    found = multistability(
        *(gru, warm, sequences, np.random.default_rng(2), MOMENTS),
        tolerance=tolerance,
        n_estimates=3,
        progress=False,
    )
    rows.append((tolerance, *found.n_attractors))
cells.Grid(("tolerance", *(f"groups of 32 at M = {m}" for m in MOMENTS)), rows)

# %% [markdown]
# - **The number of states is a ceiling.** Of 32 states no more than 32 ends are found,
#   and VAA cannot exceed 1. Give $n$ with it.
# - **Estimates differ.** Each has its own $z$, and a network may have many ends under
#   one input and one under another. Look at the spread, too.
# - **Groups that are no groups.** Along a curve each state may be close to the next and
#   the first far from the last. VAA gives a number that need not be whole;
#   {py:func}`msref.dynamics.clusters` takes the chain for one group.
# - **The warm-up's own record is no measurement.** It is VAA*, at the $M$ that was
#   drawn, layer by layer, of the sequences it has seen.
# - **An LSTM's** VAA can be 1 while VAA* is not: its $c$ is unbounded, and VAA* sees
#   $\tanh c$.
# - **Another machine, another network.** A hundred steps of Adam on a slope like
#   that of the second figure amplify rounding. The same seed gives the same bits with
#   the same code on the same processor; elsewhere it gives a network of the same kind.
# - **Some starts fail.** A loss that stays near $(1/n - 0.95)^2$ means that all
#   states still meet. Try more units, another draw, a smaller `increment`.
#
# The last but one, seen. The start is moved by one part in $10^{12}$:

# %%
moved, _ = warmup(
    *(gru, {name: value * (1 + 1e-12) for name, value in start.items()}),
    *(sequences, np.random.default_rng(1)),
    progress=False,
)
cells.Grid(
    (
        "from",
        "W_hn[0, 0] after",
        *(f"groups of 32 at M = {m}" for m in MOMENTS),
    ),
    [
        (name, f"{after['W_hn'][0, 0]:.4f}", *groups(gru, after))
        for name, after in (("the start", warm), ("beside it", moved))
    ],
)

# %% [markdown]
# ## Porting notes
#
# There is no framework with a warm-up. There is the authors' code. What differs:
#
# | | authors' code | msref |
# |---|---|---|
# | prefixes | run one by one | one batch, in segments |
# | measuring draws sequences | with replacement | without |
# | $M$ when measuring | 10,000; 200 for agents, with 200 histories | yours, several along one run |
# | one more step $h_{M+1}$ | computed, not used | - |
# | NaN | the run is given up | an error with step and place |
# | clocks | there are none | go on from the cuts; phases meet before measuring |
# | LSTM | PyTorch's start, without a forget offset | forget bias 1 |
# | chrono | two draws | one; two with `double_bias` |
# | double layers in the maze | the option is read and not passed on | passed on |
#
# First things to check, in this order:
#
# 1. VAA* of the states below, at two tolerances, and its gradient by the complex step.
# 2. That equal states give no NaN: there $d = 0$ is divided by.
# 3. A warm-up input that is constant and *not* zero; one for each layer, of its size.
# 4. The gradient with cuts that differ. With full sequences alone, a gradient that
#    enters at the wrong frame goes unseen.
# 5. The gradient without what comes through the prefixes, and that it differs.
# 6. That the read-out has no gradient and does not move.
#
# The states are $0.6 \sin(1.3 k + 0.2)$, with $k = 0 \dots 11$ row by row:

# %%
states = 0.6 * np.sin(1.3 * np.arange(12) + 0.2).reshape(4, 3)
for tolerance in (1e-4, 0.5):
    value, gradient = vaa_star(states, tolerance)
    print(
        f"tolerance {tolerance:g}: VAA* {value:.8f},"
        f" first row of its gradient {np.array2string(gradient[0], precision=8)}"
    )

# %% [markdown]
# ## Exercises
#
# The report from above, with a line that spoils what one piece of `warmup_loss` is
# given. Name and line are in rot13, so that you do not read them by accident. Say which
# piece it is, and what went wrong, before you unfold the solution.


# %%
def riddle(piece, line):
    """Return the report on a bug whose name and line are in rot13."""
    return report(*(codecs.decode(text, "rot13") for text in (piece, line)))


# %% [markdown]
# **1.** While the layers settle, the GRU's is fine, and the LSTM's is not.

# %%
riddle(
    "frcnengrq",
    "irpgbe = irpgbe * (ac.nenatr(irpgbe.funcr[1]) < nepu.a_uvq)",
)

# %% [markdown]
# :::{dropdown} Solution
# $\mathrm{d}r$ of `1/c` is zero: the gradient of the end states was handed to $h$ and
# not to $c$. $V$ is right, since $c$ was there on the way forward. All that follows
# in that layer is wrong, and by (1') the layer below as well. A GRU has one array of
# state and cannot show this.
# :::
#
# **2.** Only the last lines are wrong. What is missing?

# %%
riddle(
    "onpx_sebz_gur_phgf",
    "qernpurq = {x: i * x.fgnegfjvgu('0/') sbe x, i va qernpurq.vgrzf()}",
)

# %% [markdown]
# :::{dropdown} Solution
# (1') of layer 1 is zero, and that of layer 0 is wrong without being zero. Of what the
# settling owes to the states at the cuts, layer 0's part arrives in the prefixes. The
# upper layer's is lost: what it owes to its own parameters there, and through them to
# the layer below. So only $\mathrm{d}s$ of layer 0 was handed on.
# :::
#
# **3.** The same lines, and yet another mistake. Look at the sizes.

# %%
riddle(
    "onpx_sebz_gur_phgf",
    "qernpurq = {x: ac.ebyy(i, 1, nkvf=0) sbe x, i va qernpurq.vgrzf()}",
)

# %% [markdown]
# :::{dropdown} Solution
# Nothing is zero; the sizes are of the right order. All of $\mathrm{d}s$ arrives, but
# at the wrong place: each sequence got the gradient of another one, which enters
# at a cut that is not its own. It happens where the batch was sorted by length on the
# way forward, and the gradient was not.
# :::
#
# **4.** Here the first line is wrong already. Does that say that the gradient is wrong?

# %%
riddle("nybar", "m = 0 * m")

# %% [markdown]
# :::{dropdown} Solution
# It does not. $V$ is wrong: another function was computed. It may well have the right
# gradient, of *that* function. The layers settled on an input of zero instead of $z$.
# A report that compares with a specification cannot say whether what was meant
# is wrong or what was done; but since (3) fails before any adjoint, the way forward
# is where to look. With $z = 0$ on both sides everything would agree.
# :::
#
# **5.** A warm-up that never sees an $M$ above 20. Before you run it: what will the
# groups be at $M = 20$, at 200 and at 2000?

# %%
hasty, _ = warmup(
    *(gru, start, sequences, np.random.default_rng(1)),
    longest=20,
    progress=False,
)
print("groups at M = 20, 200, 2000:", groups(gru, hasty))

# %% [markdown]
# :::{dropdown} Solution
# It gets what it was asked for, and no more. For 20 steps an eigenvalue of
# $10^{-4/20} \approx 0.63$ passes, and a new GRU has more than that. The first number
# was nearly there before.
# :::
#
# **6.** $n$ states, all at the same distance $d$ from each other, with
# $d > \varepsilon$. What is $\mathrm{VAA}^*$? How far apart must 32 states be for it to
# reach 0.95?

# %%
n = 32
needed = (n - 1) * (TOLERANCE + 1e-6) / (1 / 0.95 - 1) - 1e-6
states = np.arctanh(needed / np.sqrt(2) * np.eye(n))
print(f"d = {needed:.4f}: VAA* = {vaa_star(states)[0]:.4f}")

# %% [markdown]
# :::{dropdown} Solution
# $S_i = 1 + (n - 1) C$ for all $i$, so $\mathrm{VAA}^* = 1 / (1 + (n - 1)\,
# (\varepsilon + \kappa) / (d + \kappa))$. Set it to
# 0.95 and solve for $d$: the number printed, several hundred tolerances. Not far,
# for states between -1 and 1. This is why the ends in the first picture could lie so
# close together: nothing asked for more.
# :::
#
# **7.** Write down $\mathrm{d}s$ for a layer with one point of rest and an eigenvalue
# $\lambda < 1$. Why does the share of (1') in the table of
# gradients fall as $M$ grows?
#
# :::{dropdown} Solution
# $\mathrm{d}s = \mathrm{d}r\, J_M^T \cdots J_1^T$, a product of $M$ Jacobians, so its
# size falls as $\lambda^M$. The parameters act at *every* step: the last steps of the
# settling reach $r$ through few Jacobians. So what goes into the prefixes is
# forgotten like the prefixes themselves, and the settling is not. A network that is
# multistable has $\lambda$ near one, and (1') comes into its own: where a prefix ends
# then depends on how it was read.
# :::
