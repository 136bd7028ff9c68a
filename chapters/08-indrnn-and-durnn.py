# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 8. Independent and dual recurrence
#
# [Chapter 1](01-elman.ipynb) ended with a product of matrices. Over $k$ steps
# the gradient is multiplied by $W_{hh}$ again and again, and nothing but the
# norm of a product of matrices says what is left.
#
# {cite:t}`li2018` take the matrix away. Each unit keeps *one number* as its
# recurrent weight and remembers itself alone. A product of numbers is easy: it
# can be bounded exactly, unit by unit. {cite:t}`zhang2021` put such units
# behind a small network with a full matrix, so that one module has a short and a
# long memory.
#
# ## What is known, and what is ours
#
# The two networks of this chapter do not stand on the same ground, and you should
# know that before the first equation.
#
# **IndRNN.** Two papers could be read {cite:p}`li2018,li2019deep`, and the authors'
# code with its training logs. Equations, bounds and starts below are theirs. Their
# published numbers are tables, and for the adding problem curves.
#
# **The dual module.** The abstract could be read, and nothing else. It names the
# parts:
#
# - a short-term part with full recurrent connections, which are constrained;
# - a long-term part with independent recurrent connections;
# - a selection mechanism between the two;
# - modules can be stacked, and sequences of over 5000 steps are handled.
#
# Everything else is **ours**: the equations, the gate that selects, how the matrix
# is constrained, the output, the activation, the start, the training. The paper's
# own are not known to us, and neither are its tasks, its tables, its ablations or
# any code.
#
# So the second half is about *a* dual module that satisfies the abstract. It is
# no reproduction of the paper, and no number measured with it says anything
# about the paper's. {py:class}`msref.DuRNN` keeps every part in lines of its own:
# whoever has the paper can put its equations in their place.
#
# The chapter ends with layers that have no recurrence, which deep networks of
# this kind are built with.

# %%
from itertools import pairwise

import numpy as np

import msref
from msref.book import cells
from msref.training.constraints import Magnitude
from msref.verification import draw

indrnn, dual = msref.IndRNN(3, 5), msref.DuRNN(3, 4, 5)

# %% [markdown]
# (arch-indrnn)=
# ## IndRNN
#
# ### The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "Three units over three steps. Left, Elman: every unit receives from every"
    " unit of the step before. Right, IndRNN: each unit receives from itself"
    " alone.",
    width=9,
    height=3.2,
    columns=2,
) as panels:
    for axes, title, full in zip(
        panels, ("Elman", "IndRNN"), (True, False), strict=True
    ):
        rows = [
            [
                cells.box(
                    axes,
                    2 * k,
                    -unit,
                    f"$h^{unit + 1}_{{{name}}}$",
                    cells.COLOURS[0],
                )
                for k, name in enumerate(("t-1", "t", "t+1"))
            ]
            for unit in range(3)
        ]
        for i, one in enumerate(rows):
            for j, two in enumerate(rows):
                if full or i == j:
                    for k in range(2):
                        cells.arrow(
                            axes, one[k], two[k + 1], colour=cells.COLOURS[1]
                        )
        axes.text(2, 0.8, title, ha="center", fontsize=11)
        axes.update_datalim([(2, 1)])
        cells.bare(axes)

# %% [markdown]
# On the left, what happened in one unit reaches all the others a step later. On
# the right there are as many memories as units, and none disturbs another. Do
# they ever meet? Yes: in the input weights of the next layer. An IndRNN of one
# layer is weak. It is made to be stacked.
#
# ### Forward
#
# :::{beside}
# \begin{align*}
# a_t &= x_t W_{xh} + b_h + w_{hh} \odot h_{t-1} \tag{1} \\
# h_t &= f(a_t), \qquad y_t = h_t \tag{2}
# \end{align*}
#
# $w_{hh}$ is a vector. $f$ is a ReLU, as in all experiments of both papers, or
# tanh.
#
# Without `mixes`, $x_t$ goes in as it is: unit $i$ reads input $i$. This is the
# half that remembers. The authors' code divides the layer so, because something
# may then stand between $x_t W$ and the recurrence.
# +++
# ```{source} msref.IndRNN.step
# ```
# :::
#
# It is an Elman network whose $W_{hh}$ is diagonal, and nothing else:

# %%
case = draw(indrnn, seed=0, n_time=6, n_batch=2)
shared = {k: v for k, v in case.params.items() if k != "w_hh"}
diagonal = shared | {"W_hh": np.diag(case.params["w_hh"])}
y, _, _ = indrnn.forward(case.params, case.x, case.state)
y_elman, _, _ = msref.Elman(3, 5, activation="relu").forward(
    diagonal, case.x, case.state
)
print("largest difference:", np.abs(y - y_elman).max())

# %% [markdown]
# `forward` has even less to do in its loop than Elman's: a product of numbers, an
# addition and a comparison per unit and step, no matrix at all. $x_t W_{xh}$ is one
# product for a *span* of steps, not for all, so that the loop finds it in the cache.
# $f$ overwrites $a_t$.
#
# ```{source} msref.IndRNN.forward
# :from: # tiled
# :to: f(h_t, h_t)
# ```
#
# ### Backward
#
# :::{beside}
# $h_t$ goes to two places: it is the output, and it enters $a_{t+1}$. Call what
# comes back from the second $\mathrm{d}h_t$.
#
# **Through (2)**, entry by entry:
#
# \begin{align*}
# \mathrm{d}a_t &= f'(a_t) \odot (\mathrm{d}y_t + \mathrm{d}h_t) \tag{2'}
# \end{align*}
#
# **Through (1)**, to the state before it. Unit $i$ of $h_{t-1}$ enters unit $i$
# of $a_t$ only, with the slope $w_{hh,i}$:
#
# \begin{align*}
# \mathrm{d}h_{t-1} &= \mathrm{d}a_t \odot w_{hh} \tag{1'}
# \end{align*}
# +++
# ```{source} msref.IndRNN.backward
# :from: for start, stop in spans
# :to: xp.multiply(w_hh, da_t, out=dh)
# ```
# :::
#
# :::{beside}
# **Through (1)**, to what is the same at every step. $w_{hh,i}$ is multiplied
# with $h_{t-1,i}$ at every step and in every sequence:
#
# \begin{align*}
# \mathrm{d}w_{hh} &= \sum_t \mathrm{d}a_t \odot h_{t-1} \tag{1'} \\
# \mathrm{d}W_{xh} &= \sum_t x_t^T \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}b_h &= \sum_t \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}x_t &= \mathrm{d}a_t W_{xh}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.IndRNN.backward
# :from: da_s = flat
# :to: dx[s] = da[s]
# ```
# :::
#
# ### How large may a recurrent weight be?
#
# Follow the way back over $k$ steps, through (1') and (2') in turn. Unit $i$ of
# $h_T$ depends on unit $i$ of $h_{T-k}$ alone, and
#
# $$\frac{\partial h_{T,i}}{\partial h_{T-k,i}}
# = w_{hh,i}^{\,k} \prod_{t=T-k+1}^{T} f'(a_{t,i}) .$$
#
# The slope of a ReLU is 1 or 0. So while the unit stays active, the gradient is
# $w^k$ *exactly*; once it was inactive, nothing arrives. With tanh, $w^k$ is the
# most that arrives.
#
# Say that over $T$ steps the gradient may grow at most by a factor $\gamma$. Then
#
# $$|w|^T \le \gamma \iff |w| \le \gamma^{1/T} .$$
#
# This is the paper's bound, with $\gamma = 2$ in its adding problem. It is kept by
# clipping the *weights* after each update, not the gradients. A lower bound is
# found in the same way: a unit still passes on a share $1/\gamma$ after $T$ steps
# if $|w| \ge \gamma^{-1/T}$. It is not enforced. A unit that forgets harms no
# other one, and some should forget.

# %%
cells.Grid(
    ("steps T", "γ", "at least, to remember", "at most"),
    [
        (T, gamma, f"{1 / bound:.6f}", f"{bound:.6f}")
        for T in (100, 784, 5000)
        for gamma in (2, 5)
        for bound in [Magnitude.over(T, gamma).bound]
    ],
)

# %% [markdown]
# The longer the sequence, the narrower the window around one. That has a
# consequence for the start. Drawn uniformly from 0 to $\gamma^{1/T}$, hardly any
# unit lies in the window, and a network that is read at its last step alone has
# nothing to learn from. So its last layer starts *in* the window: `reads="last"`.
# The authors say this of their own layers; ports that missed it failed at 5000
# steps.
#
# ### Is it true?

# %%
cells.Shown(msref.verify(indrnn, cases=2, n_time=8))

# %% [markdown]
# The last line is about the ReLU. At zero it has no derivative, and a difference
# whose two points lie on either side of a zero is no witness. The report counts
# those places and takes smaller steps there.
#
# Now a bug. $\mathrm{d}w_{hh}$ is formed with $h_t$ where $h_{t-1}$ belongs. Both
# are in the tape, and they have one shape.

# %%
cells.Shown(
    msref.verify(
        cells.planted(indrnn, "off by one in time", "h_prev"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# All adjoints agree at every step: the way back is right. One sum that is made of
# them is wrong, and it is wrong at the last step already.
#
# (arch-durnn)=
# ## A dual module
#
# ### The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "One step of the dual module. Below, the short memory s goes on through a"
    " full matrix W_ss. Above, the long memory l goes on unit by unit, times w."
    " Between them the candidate v and the gate q, both computed from x and s.",
    width=7,
    height=4,
) as axes:
    blue, orange, green = cells.COLOURS[:3]
    x = cells.box(axes, 2.2, -0.2, "$x_t$")
    s_before = cells.box(axes, 0, 1, "$s_{t-1}$", blue)
    s = cells.box(axes, 2.2, 1, "$s_t$", blue)
    v = cells.box(axes, 1.5, 2.1, "$v_t$", green)
    q = cells.box(axes, 2.9, 2.1, "$q_t$", green)
    l_before = cells.box(axes, 0, 3.2, "$l_{t-1}$", orange)
    plus = cells.box(axes, 2.2, 3.2, "$+\\; q_t \\odot v_t$", orange)
    l_now = cells.box(axes, 4.4, 3.2, "$l_t$", orange)
    cells.arrow(axes, s_before, s, "$W_{ss}$", blue)
    cells.arrow(axes, s, (4.4, 1), "$W_{ss}$", blue)
    cells.arrow(axes, x, s)
    cells.arrow(axes, s, v)
    cells.arrow(axes, s, q, "σ")
    cells.arrow(axes, v, plus)
    cells.arrow(axes, q, plus)
    cells.arrow(axes, l_before, plus, "$\\odot\\, w_{ll}$", orange)
    cells.arrow(axes, plus, l_now, "f", orange)
    cells.bare(axes)

# %% [markdown]
# Blue below: an Elman network, with a matrix of small norm, so that it is quick to
# forget. Orange above: an IndRNN. Green: what the long part is given. The gate
# $q$ decides how much of the candidate $v$ goes in. $x_t$ enters all three; the
# arrows to $v$ and $q$ are left out. Nothing goes from above to below.
#
# ### Forward
#
# :::{beside}
# **Short** (the abstract: full connections, constrained):
#
# \begin{align*}
# a_s &= x_t W_{xs} + s_{t-1} W_{ss} + b_s \tag{1} \\
# s_t &= f(a_s) \tag{2}
# \end{align*}
#
# **Selection** (the abstract: a mechanism between the parts; the gate is ours):
#
# \begin{align*}
# a_q &= x_t W_{xq} + s_t W_{sq} + b_q \tag{3} \\
# q_t &= \sigma(a_q) \tag{4} \\
# v_t &= x_t W_{xv} + s_t W_{sv} + b_v \tag{5}
# \end{align*}
#
# **Long** (the abstract: independent connections):
#
# \begin{align*}
# a_l &= q_t \odot v_t + w_{ll} \odot l_{t-1} \tag{6} \\
# l_t &= f(a_l) \tag{7}
# \end{align*}
#
# **Output** (ours: both, or one of them):
#
# \begin{align*}
# y_t &= [s_t, l_t] \tag{8}
# \end{align*}
# +++
# ```{source} msref.DuRNN.step
# ```
# :::
#
# `forward` uses that nothing goes from $l$ to $s$. So $s$ can run ahead, and only
# this needs a product per step. Then $v$ and $q$ of many steps at once (`_read`),
# then $l$, entry by entry. How far ahead? Not to the end but for a span of steps,
# so that nothing except the tape grows with time. `step` does the same in another
# order.
#
# ```{source} msref.DuRNN.forward
# :from: for start, stop in
# :to: axis=-1, out=y
# ```
#
# ### Backward
#
# In reverse, and again span by span, the last one first: the long part, then what
# lies between the parts, for all steps of the span at once, then the short part.
#
# :::{beside}
# **Through (8).** $\mathrm{d}l_t$ is what comes back from the future. The output
# adds its share:
#
# \begin{align*}
# \mathrm{d}l_t &\mathrel{+}= \mathrm{d}y^l_t, \quad
# \mathrm{d}s_t \mathrel{+}= \mathrm{d}y^s_t \tag{8'}
# \end{align*}
#
# **Through (7)** and **(6)**:
#
# \begin{align*}
# \mathrm{d}a_l &= f'(a_l) \odot \mathrm{d}l_t \tag{7'} \\
# \mathrm{d}l_{t-1} &= \mathrm{d}a_l \odot w_{ll} \tag{6'}
# \end{align*}
# +++
# ```{source} msref.DuRNN.backward
# :from: for start, stop in spans
# :to: xp.multiply(w_ll, da_t
# ```
# :::
#
# :::{beside}
# **Through (6)**, to the two factors of the product:
#
# \begin{align*}
# \mathrm{d}v_t &= \mathrm{d}a_l \odot q_t, \quad
# \mathrm{d}q_t = \mathrm{d}a_l \odot v_t \tag{6'}
# \end{align*}
#
# **Through (4)**, with $\sigma' = \sigma (1 - \sigma)$. The code has
# $\mathrm{d}v_t$ already, and $\mathrm{d}q_t \odot q_t = \mathrm{d}v_t \odot v_t$:
#
# \begin{align*}
# \mathrm{d}a_q &= \mathrm{d}q_t \odot q_t \odot (1 - q_t) \tag{4'}
# \end{align*}
#
# **Through (5)** and **(3)**, to what $v$ and $q$ have read:
#
# \begin{align*}
# \mathrm{d}x_t &\mathrel{+}= \mathrm{d}v_t W_{xv}^T, \quad
# \mathrm{d}s_t \mathrel{+}= \mathrm{d}v_t W_{sv}^T \tag{5'} \\
# \mathrm{d}x_t &\mathrel{+}= \mathrm{d}a_q W_{xq}^T, \quad
# \mathrm{d}s_t \mathrel{+}= \mathrm{d}a_q W_{sq}^T \tag{3'}
# \end{align*}
# +++
# ```{source} msref.DuRNN.backward
# :from: now = {name: da
# :to: dx[start:stop], ds_all
# ```
# ```{source} msref.DuRNN._read_back
# :from: dv, shape
# :to: ds += xp.dot
# ```
# :::
#
# :::{beside}
# **Through (2)** and **(1)**: chapter 1, with everything that came from above
# already in $\mathrm{d}s_t$.
#
# \begin{align*}
# \mathrm{d}a_s &= f'(a_s) \odot \mathrm{d}s_t \tag{2'} \\
# \mathrm{d}s_{t-1} &= \mathrm{d}a_s W_{ss}^T \\
# \mathrm{d}x_t &\mathrel{+}= \mathrm{d}a_s W_{xs}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.DuRNN.backward
# :from: if self.output != "long"
# :to: dx[start:stop] += back
# ```
# :::
#
# :::{beside}
# **The weights** are used at every step. Their gradients are sums over all of
# them:
#
# \begin{align*}
# \mathrm{d}w_{ll} &= \textstyle\sum_t \mathrm{d}a_l \odot l_{t-1} \tag{6'} \\
# \mathrm{d}W_{sv} &= \textstyle\sum_t s_t^T \mathrm{d}v_t \tag{5'} \\
# \mathrm{d}W_{sq} &= \textstyle\sum_t s_t^T \mathrm{d}a_q \tag{3'} \\
# \mathrm{d}W_{ss} &= \textstyle\sum_t s_{t-1}^T \mathrm{d}a_s \tag{1'}
# \end{align*}
#
# and for each $k$ of $s, q, v$, with $\mathrm{d}v_t$ in the place of
# $\mathrm{d}a_v$,
#
# \begin{align*}
# \mathrm{d}W_{xk} &= \textstyle\sum_t x_t^T \mathrm{d}a_k , &
# \mathrm{d}b_k &= \textstyle\sum_t \mathrm{d}a_k .
# \end{align*}
# +++
# ```{source} msref.DuRNN.backward
# :from: product = (
# :to: grads[f"W_s{k}"]
# ```
# :::
#
# $W_{sq}$ and $W_{sv}$ meet $s_t$; $W_{ss}$ meets $s_{t-1}$. Both are in the tape.
#
# The bounds follow at once. Since $|f'| \le 1$, the gradient over $k$ steps is at
# most $\lVert W_{ss} \rVert^k$ in the short part, and $|w_{ll}|^k$ along a unit of
# the long one. A norm below one makes the short part forget: to fall below
# $\varepsilon$ within $\tau$ steps, $\lVert W_{ss} \rVert \le \varepsilon^{1/\tau}$
# is enough.
#
# ### Is it true?

# %%
cells.Shown(msref.verify(dual, cases=2, n_time=8))

# %% [markdown]
# A bug that is easy to make in code with gates: the gate is treated as a constant.
# $\mathrm{d}q_t = \mathrm{d}a_l \odot v_t$ is forgotten.

# %%
cells.Shown(
    msref.verify(
        cells.planted(dual, "gate held constant", "a_q"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# The long part does not notice: `w_ll`, `W_xv`, `W_sv` and `b_v` pass. The gate's
# own gradients are zero, and through the gate everything below is wrong.
#
# ## What they remember
#
# For 100 steps, at the start, untrained. The dual module is followed in both of
# its parts. Thin lines are the bounds.

# %% tags=["hide-input"]
rng = np.random.default_rng(0)
n_time = 100
module = msref.DuRNN(1, 24, 24, horizon=n_time, reads="last")
started = {
    "IndRNN": msref.IndRNN(1, 24, horizon=n_time),
    "IndRNN, last": msref.IndRNN(1, 24, horizon=n_time, reads="last"),
    "dual, s": module,
    "dual, l": module,
}
drawn = {arch: arch.init(rng) for arch in dict.fromkeys(started.values())}
networks = {name: (arch, drawn[arch]) for name, arch in started.items()}
x = rng.standard_normal((n_time, 4, 1))
with cells.drawing(
    "Left, the gradient of the state over the lag: those of the IndRNNs and of the"
    " long part stay near one, that of the short part falls fast. Right, how well"
    " the input k steps back can be read from the state.",
    width=9,
    height=3.8,
    columns=2,
) as (left, right):
    arrived = cells.reach_plot(
        left, networks, x, {"dual, s": "s", "dual, l": "l"}
    )
    left.set_ylim(1e-8, 10)
    left.set_xlim(0, 95)
    named = dict(zip(*left.get_legend_handles_labels()[::-1], strict=True))
    left.legend([named[name] for name in networks], networks, loc="lower right")
    whole = {
        "dual" if name == "dual, l" else name: network
        for name, network in networks.items()
        if name != "dual, s"
    }
    read_back = cells.recall_plot(right, whole, 40)

# %%
cells.Grid(
    ("state", "gradient left after 20 steps", "after 90"),
    [(name, median[20], median[90]) for name, median in arrived.items()],
)

# %%
cells.Grid(
    ("network", "R², 1 step back", "5 steps", "sum of R², in steps"),
    [(name, r2[1], r2[5], sum(r2)) for name, r2 in read_back.items()],
)

# %% [markdown]
# The size of a gradient on the left is that of the unit where most arrives: one
# slow unit is enough. In the IndRNN with the first start a few are slow, with the
# second all of them are.
#
# Look at the two figures together. The network whose units all keep their
# gradients can tell almost nothing about single inputs. All its weights are close
# to one, so each unit holds nearly the same thing: the *sum* of all that came in.
# A sum is what the adding problem asks for, if only the right numbers get in. To
# tell inputs apart, units must forget at different rates, as with the other start, or
# something must mix them, as the matrix of the short part does. A gradient that
# arrives and a past that can be read are two things.
#
# ## Layers without recurrence
#
# Deep networks of such units are built of more than recurrence. Between two
# recurrences stands a linear map, in which the units meet. Normalisation keeps
# their sizes in range. Dropout and a way around are common. From left to right:

# %% tags=["hide-input"]
with cells.drawing(
    "Above, a plain layer: linear, recurrence, batch norm, dropout, one after the"
    " other. Below, a residual block: recurrence, norm, dropout and linear map,"
    " all of it twice, and the input added to what comes out.",
    width=8,
    height=3,
) as axes:

    def row(y, *texts):
        """Draw parts in a row, the recurrence in orange."""
        found = []
        for k, text in enumerate(texts):
            colour = cells.COLOURS[text == "remember"]
            found.append(cells.box(axes, 2 * k, y, text, colour))
        for one, two in pairwise(found):
            cells.arrow(axes, one, two)
        cells.arrow(axes, (-1.6, y), found[0])
        cells.arrow(axes, found[-1], (9.4, y))
        return found

    row(1.6, "linear", "remember", "norm", "drop")
    *_, total = row(0, "remember", "norm", "drop", "linear", "$+$")
    axes.plot([-1.2, -1.2, 8], [0, -0.8, -0.8], color=cells.COLOURS[2], lw=1.2)
    cells.arrow(axes, (8, -0.8), total, colour=cells.COLOURS[2])
    axes.text(3, 0.5, "all four twice", ha="center", fontsize=9)
    cells.bare(axes)

# %%
layers = msref.plain_indrnn(2, 4, 2, horizon=100, dropout=0.1, reads="last")
print(*layers.parts, sep="\n")

# %% [markdown]
# The parts follow the same protocol as every network: `step`, `forward`,
# `backward`. A recurrence without `mixes` is all that is left of an IndRNN.
#
# (arch-linear)=
# ### Linear
#
# :::{beside}
# \begin{align*}
# y_t &= x_t W_{xy} + b_y \tag{1}
# \end{align*}
#
# Backwards, from the product of a row and a matrix in chapter 1:
#
# \begin{align*}
# \mathrm{d}x_t &= \mathrm{d}y_t W_{xy}^T \tag{1'} \\
# \mathrm{d}W_{xy} &= \sum_t x_t^T \mathrm{d}y_t, \quad
# \mathrm{d}b_y = \sum_t \mathrm{d}y_t \tag{1'}
# \end{align*}
# +++
# ```{source} msref.Linear.step
# :from: y = x @
# ```
# ```{source} msref.Linear.backward
# :from: grads =
# ```
# :::
#
# It has no state and remembers nothing. So `forward` is one product of all frames
# of all sequences, and no frame waits for another. Two linear layers in a row are
# one: $(x A) B = x (AB)$. In PyTorch `weight` is $W_{xy}^T$.

# %%
cells.Shown(
    msref.verify(
        cells.planted(
            msref.Linear(3, 5), "only the first step accumulated", "grads"
        ),
        cases=1,
        n_time=5,
        n_batch=2,
    )
)

# %% [markdown]
# The planted bug is one of loops over time: `=` was written for `+=`. Of the sum
# over all steps, the last one that was assigned is left, and going backwards this
# is the first.
#
# (arch-batchnorm)=
# ### Batch normalisation
#
# {cite:t}`ioffe2015` give each unit of a batch mean $\beta$ and deviation
# $\gamma$. (Here $\gamma$ is a parameter, and not the bound from above.) In a
# sequence, *the batch* is all frames of all sequences. $w_t$ is $1/N$ for each of
# the $N$ frames that count, and zero on padding.
#
# :::{beside}
# \begin{align*}
# m &= \sum_t w_t x_t, \quad v = \sum_t w_t (x_t - m)^2 \tag{1} \\
# \hat x_t &= (x_t - m) / \sqrt{v + \varepsilon} \tag{2} \\
# y_t &= \gamma \odot \hat x_t + \beta \tag{3}
# \end{align*}
#
# **Through (3):**
#
# \begin{align*}
# \mathrm{d}\gamma &= \sum_t \mathrm{d}y_t \odot \hat x_t, \quad
# \mathrm{d}\beta = \sum_t \mathrm{d}y_t \\
# \mathrm{d}\hat x_t &= \gamma \odot \mathrm{d}y_t \tag{3'}
# \end{align*}
#
# **Through (2)**, to $x_t$ where it stands, to $m$ and to $v$. The derivative of
# $(v + \varepsilon)^{-1/2}$ is $-\frac12 (v + \varepsilon)^{-3/2}$, and
# $x_t - m$ is $\hat x_t \sqrt{v + \varepsilon}$:
#
# \begin{align*}
# \mathrm{d}x_t &= \mathrm{d}\hat x_t / \sqrt{v + \varepsilon} \\
# \mathrm{d}m &= -\sum_t \mathrm{d}\hat x_t / \sqrt{v + \varepsilon} \\
# \mathrm{d}v &= -\sum_t \mathrm{d}\hat x_t \odot \hat x_t
# / (2 (v + \varepsilon)) \tag{2'}
# \end{align*}
#
# **Through (1).** $x_t$ enters $m$ with weight $w_t$, and $v$ with
# $2 w_t (x_t - m)$:
#
# \begin{align*}
# \mathrm{d}x_t &\mathrel{+}= w_t (\mathrm{d}m + 2 (x_t - m) \odot \mathrm{d}v)
# \tag{1'}
# \end{align*}
# +++
# ```{source} msref.BatchNorm.scan
# :from: w = xp.asarray(_shares
# :to: # (3)
# ```
# ```{source} msref.BatchNorm.backward
# :from: x_hat = tape
# :to: grads |=
# ```
# :::
#
# Does $v$ not depend on $m$ as well? It does, but $\partial v / \partial m =
# -2 \sum_t w_t (x_t - m)$, and that is zero: the deviations from a mean sum to
# nothing.
#
# Two things follow that can be checked. Adding a constant to all inputs of a unit
# changes no output, so the gradients $\mathrm{d}x_t$ of a unit must sum to zero.
# Multiplying all deviations by one factor changes next to nothing (nothing, were
# $\varepsilon$ zero), so $\sum_t \mathrm{d}x_t \odot (x_t - m)$ must be small. And
# one thing that surprises: an output depends on *later* frames.

# %%
norm = msref.BatchNorm(4)
norm_case = draw(norm, seed=0, n_time=6, n_batch=2)
params, x, dy = norm_case.params, norm_case.x, norm_case.dy
y, _, tape = norm.forward(params, x)
dx = norm.backward(params, tape, dy).x
later = x.copy()
later[-1] += 1
seen = {
    name: np.abs(
        layer.forward(params, later)[0][0] - layer.forward(params, x)[0][0]
    ).max()
    for name, layer in (("batch", norm), ("running", norm.evaluating()))
}
cells.Grid(
    ("what", "largest, over the units"),
    [
        ("|dx|", np.abs(dx).max()),
        ("|sum of dx|", np.abs(dx.sum((0, 1))).max()),
        (
            "|sum of dx (x - m)|",
            np.abs((dx * (x - tape["m"])).sum((0, 1))).max(),
        ),
        ("change of the first output, last frame moved", seen["batch"]),
        ("the same with running statistics", seen["running"]),
    ],
)

# %% [markdown]
# With statistics of the batch there can be no `step`, and a network that predicts
# must not use it: it would see what it predicts. A trained network runs with what
# it has observed, `evaluating()`; then $m$ and $v$ are constants and (1') is gone.
# For language the authors of IndRNN take the statistics per time step. What it
# remembers: nothing from one call to the next but the observed mean and variance.
#
# (arch-dropout)=
# ### Dropout
#
# {cite:t}`gal2016` drop a unit for a *whole sequence*. What is drawn is a network,
# and that network reads all of it. Li et al. do the same.
#
# :::{beside}
# The mask is the layer's *state*. It is drawn before the first frame and never
# changes:
#
# \begin{align*}
# m_t &= m_{t-1} \tag{1} \\
# y_t &= x_t \odot m_t \tag{2}
# \end{align*}
#
# Backwards:
#
# \begin{align*}
# \mathrm{d}x_t &= \mathrm{d}y_t \odot m_t \\
# \mathrm{d}m_t &\mathrel{+}= \mathrm{d}y_t \odot x_t \tag{2'} \\
# \mathrm{d}m_{t-1} &= \mathrm{d}m_t \tag{1'}
# \end{align*}
# +++
# ```{source} msref.Dropout.step
# :from: mask = state
# ```
# ```{source} msref.Dropout.backward
# :from: dx =
# ```
# :::
#
# A mask holds 0 with probability $p$, and $1/(1-p)$ otherwise, so that the
# expectation of $y$ is $x$. As a state it is the perfect memory: by (1') its
# gradient arrives unchanged over any lag. Whoever cuts a sequence into pieces
# hands the state on, and so keeps the mask.

# %%
drop = msref.Dropout(4, 0.25)
rng = np.random.default_rng(3)
ones = np.ones((200, 1, 4))
kept = [drop.forward({}, ones, drop.draw_state(rng, 1))[0] for _ in range(2000)]
print("one mask, first and last step:", *(kept[0][t, 0] for t in (0, -1)))
print("mean of 2000 masks:", np.mean([y[0, 0] for y in kept], 0).round(2))

# %% [markdown]
# (arch-residual)=
# ### Residual connection
#
# {cite:t}`he2016` let a network learn what is to be *added* to its input.
#
# :::{beside}
# \begin{align*}
# r &= f(x) \tag{1} \\
# y_t &= x_t + r_t \tag{2}
# \end{align*}
#
# $f$ is any network, over the whole sequence. Backwards,
#
# \begin{align*}
# \mathrm{d}r_t &= \mathrm{d}y_t, \quad \mathrm{d}x_t = \mathrm{d}y_t
# \tag{2'} \\
# \mathrm{d}x &\mathrel{+}= f'(\mathrm{d}r) \tag{1'}
# \end{align*}
#
# where $f'(\mathrm{d}r)$ stands for the network's own `backward`.
# +++
# ```{source} msref.Residual.forward
# :from: r, state, tape
# :to: y = x + r
# ```
# ```{source} msref.Residual.backward
# :from: g: Gradients
# ```
# :::
#
# It remembers what the network inside remembers. What it adds is a way around, in
# depth and not in time: over many blocks the gradient is a product of factors
# $I + J_k$ where it was a product of $J_k$. Small $J_k$ are then harmless. The
# same layers with and without, linear maps as small as the authors' code draws
# them, and no normalisation that would make up for it:

# %%
n_hid = 16
layer = msref.Stack(
    msref.IndRNN(n_hid, n_hid, horizon=20, mixes=False),
    msref.Linear(n_hid, n_hid, scale=np.sqrt(6 / (65 * n_hid))),
)


def share_left(parts, depth):
    """Return |dx| / |dy| through a stack, for one random loss."""
    arch = msref.Stack(*[parts] * depth)
    rng = np.random.default_rng(1)
    params = arch.init(rng)
    x, dy = rng.standard_normal((2, 20, 4, n_hid))
    _, _, tape = arch.forward(params, x)
    dx = arch.backward(params, tape, dy).x
    return np.linalg.norm(dx) / np.linalg.norm(dy)


cells.Grid(
    ("depth", "|dx| / |dy|, plain", "residual"),
    [
        (
            depth,
            share_left(layer, depth),
            share_left(msref.Residual(layer), depth),
        )
        for depth in (2, 4, 8, 16)
    ],
)

# %% [markdown]
# ### Are they true?
#
# All examples of the registry, among them a residual connection around four
# layers:

# %%
for name in ("linear", "batchnorm", "dropout", "residual"):
    for arch in msref.REGISTRY[name].examples:
        report = msref.verify(arch, cases=2, n_time=6)
        print(f"{report.verdict}  {report.relative_error:.0e}  {report.name}")

# %% [markdown]
# ## The papers' claims, measured
#
# ### IndRNN
#
# The adding problem again: two marked numbers, at unknown places, over up to 5000
# steps.
#
# ```{result} durnn-full
# :claims: a1 a2 a3 a5
# :tables: 0
# :figures: learning-5000 reach-indrnn weights-indrnn
# ```
#
# The middle figure shows what the bound does: no line crosses the dotted ones.
# Where a solid line drops, a ReLU that carried the gradient has been
# inactive. The last figure is the same network's recurrent weights. The second
# layer has stayed in the window around one; the first holds all rates.
#
# Images, read one pixel at a time, by four layers with batch normalisation:
#
# ```{result} durnn-full
# :claims: c1 c2 c3 c4
# :tables: 4
# :figures: pixels permuted
# ```
#
# The residual and the dense networks of the paper were not measured.
#
# ### The dual module
#
# Of ours. The paper's abstract says that it copes with more than 5000 steps and
# does not lose on short sequences.
#
# ```{result} durnn-full
# :claims: a4 b1 b2
# :tables: 3
# :figures: reach-durnn gates
# ```
#
# The second figure is the gate of the trained module: almost closed everywhere,
# and opened further at the marks. Is it the gate that makes the difference? Parts
# were taken out, one at a time:
#
# ```{result} durnn-full
# :claims: d1a d1b d2a d2b d3a d3b
# :tables: 5
# :figures: ablation
# ```
#
# Most of these do *not hold here*. The differences are what the table says, but
# two or three runs are few, and a difference within the spread over runs is not
# counted. What the paper's own ablations say is not known to us.
#
# ### A second look, smaller
#
# The quick run of the same claims has shorter sequences, smaller networks and
# images at half resolution. These verdicts are other ones there, and so depend on
# the scale:
#
# ```{result} durnn-quick
# :claims: c1 c3 d2b
# ```
#
# ## Porting notes
#
# No framework ships an IndRNN or a dual module that we know of, so there is no
# table of dialects. But two code bases of the IndRNN's authors and their papers
# differ, and whoever compares numbers has to know it:
#
# - **γ.** The papers' adding problem and the Theano code have 2. The PyTorch code
#   has 5 by default, and the logs of its digits say so, too. Where states are
#   carried across batches, its bound is fixed at 0.99.
# - **The sign.** The paper writes the interval $(0, 2^{1/T})$. The code clips
#   symmetrically: weights may become negative, and some do.
# - **When.** The Theano code clips *before* each update, so the weights may end a
#   little outside. {py:mod}`msref.training.constraints` projects after it.
# - **The last layer's start.** In the published plain PyTorch network, the test
#   that should give the last layer its long memory looks for a name that no
#   parameter has. We read that; it does not fire. It does in the residual and the
#   dense networks.
# - **Weights.** Theirs are (out, in): transpose. $w_{hh}$ and the bias stay.
# - **The ReLU at zero** has slope 0 here, and in the authors' kernel.
# - **Biases.** `Linear`, then a recurrence without `mixes`, is one IndRNN. Its
#   bias is that of the linear layer.
#
# Golden vectors to hold a port against, each named after what it finds:

# %%
cells.vectors_grid("indrnn")

# %%
cells.vectors_grid("durnn")

# %%
names = msref.vectors.catalogue.names
plain = ("linear", "batchnorm", "dropout", "residual")
cells.Grid(
    ("layer", "vectors"), [(name, ", ".join(names([name]))) for name in plain]
)

# %% [markdown]
# Check in this order: one step from a state that is not zero; that a unit does
# not see its neighbour (change one entry of $h_0$ and look at the others); the
# gradient of $w_{hh}$; a long sequence with weights near one, in float64. A ReLU
# state can grow like $\gamma$ times the sum of the inputs, and what is lost to
# rounding there looks like a bug. For the dual module, compare $s$ first. It does
# not depend on anything else.
#
# ## Exercises
#
# **1.** One of the two memories is cut in the middle of the sequence on the way
# back. Which one? Say it before you look at `dstate0`.

# %%
first = cells.riddle(dual, "n fgngr'f cngu qebccrq", "f")
cells.Shown(msref.verify(first, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# The short one, $s$. `a_q`, `v` and everything that is formed from them agree, so
# the long part is right over all steps. `a_s` is right down to lag 2 and wrong from
# lag 3 on. Had $l$ been cut, the gate and the candidate would be wrong as well,
# since $\mathrm{d}a_l$ enters both.
# :::
#
# **2.** A batch normalisation. Which of the three ways to $x_t$ is missing?

# %%
second = cells.riddle(norm, "inevnapr uryq pbafgnag", "i")
wrong = second.backward(params, tape, dy, {}).x
cells.Grid(
    ("what", "largest, over the units"),
    [
        ("|sum of dx|", np.abs(wrong.sum((0, 1))).max()),
        (
            "|sum of dx (x - m)|",
            np.abs((wrong * (x - tape["m"])).sum((0, 1))).max(),
        ),
    ],
)

# %% [markdown]
# :::{dropdown} Solution
# The way through $v$. The gradients still sum to zero, as they must if $m$ is
# followed. But their product with $x - m$ is not small any more: this gradient
# thinks that stretching the inputs of a unit would change the outputs.
# :::
#
# **3.** Which equation is wrong here? Note which array is wrong and which passes.

# %%
third = cells.riddle(indrnn, "qrevingvir qebccrq", "u")
cells.Shown(msref.verify(third, cases=1, n_time=5, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# (2'). Nothing comes through at all: every gradient is zero, at the last step
# already. The slope of the ReLU was taken at an output of zero, where it is zero.
# In chapter 1 the same bug, with tanh, gave gradients that were too large: there
# the slope at zero is one.
# :::
#
# **4.** How close to one must a weight be, so that over 1000 steps a gradient is
# neither more than doubled nor less than halved? Compute it, then set all of
# $w_{hh}$ to the upper end and measure.

# %%
horizon = 1000
bound = Magnitude.over(horizon).bound
held = msref.IndRNN(1, 4, horizon=horizon)
params = held.init(np.random.default_rng(0)) | {"w_hh": np.full(4, bound)}
params["b_h"] += 1.0  # every unit stays active
silence = np.zeros((horizon + 1, 1, 1))
found = msref.dynamics.gradient_reach(held, params, silence, progress=False)
print(f"{1 / bound:.6f} .. {bound:.6f}; arrived: {found.norms[-1, 0]:.6f}")

# %% [markdown]
# :::{dropdown} Solution
# $2^{1/1000}$ at most and $2^{-1/1000}$ at least, the two numbers that are
# printed. The bias keeps all units active, so the gradient over 1000 steps is
# $(2^{1/1000})^{1000} = 2$, up to rounding.
# :::
#
# **5.** With $f$ the identity, show that an Elman network whose $W_{hh}$ can be
# diagonalised is two layers: an independent recurrence and a linear map.
#
# :::{dropdown} Solution
# Let $W_{hh} = S\, \mathrm{diag}(u)\, S^{-1}$, and $g_t = h_t S$. Multiply
# $h_t = x_t W_{xh} + h_{t-1} W_{hh} + b_h$ by $S$ from the right:
#
# $$g_t = x_t (W_{xh} S) + g_{t-1} \odot u + b_h S .$$
#
# That is an IndRNN without activation, and $h_t = g_t S^{-1}$ is a linear layer.
# $u$ and $S$ may be complex. So without activation, independence costs nothing
# but the layer that mixes; with a ReLU between the steps this is no longer true.
# :::
