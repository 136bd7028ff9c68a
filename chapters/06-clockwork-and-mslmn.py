# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (arch-clockwork)=
# # 6. Clockwork RNN and MultiScale LMN
#
# In chapter 1 the gradient lost a factor at every step. A gate, chapter 3, can
# make that factor one. Here is the other way out: take fewer steps. A part of
# the state that is computed at every eighth step alone, and held in between,
# loses its factor at every eighth step alone.
#
# {cite:t}`koutnik2014` gave such clocks to the simple network of chapter 1.
# {cite:t}`carta2020` gave them to the {ref}`Linear Memory Network <arch-lmn>`.
# Both save work as well, if the passes are written for it: whatever holds need
# not be multiplied again. Most of this chapter is about how.

# %%
import numpy as np

import msref
from msref.architectures import Clock
from msref.book import cells
from msref.claims.memory import recoverability
from msref.functional import orthogonal
from msref.verification import draw

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
blue, orange, green = cells.COLOURS[:3]
with cells.drawing(
    "Four modules over 17 steps. A dot is a tick: module 0 ticks at every step,"
    " module 1 at every second, module 2 at every fourth, module 3 at every"
    " eighth. In between, a line shows that the module holds.",
    width=8,
    height=2.6,
) as axes:
    four = Clock(4)
    for i in range(4):
        ticks = np.arange(17)[four.ticks(i, 0)]
        axes.hlines(i, 0, 16, color=cells.COLOURS[i], alpha=0.4)
        axes.plot(ticks, [i] * len(ticks), "o", color=cells.COLOURS[i])
    axes.set_yticks(
        range(4), [f"module {i}, period {four.period(i)}" for i in range(4)]
    )
    axes.set_xlabel("time step t")
    axes.grid(False)

# %% tags=["hide-input"]
with cells.drawing(
    "Left, a Clockwork RNN: the input goes to each of three modules, and slower"
    " modules are read by faster ones. Right, a MultiScale LMN: the input goes"
    " to the hidden layer h, which reads all modules of the memory and writes"
    " them; slower modules are read by faster ones.",
    width=9,
    height=3.4,
    columns=2,
) as (left, right):
    for axes, letter in ((left, "h"), (right, "m")):
        places = ((0, 2), (2, 3), (4, 2))
        fast, middle, slow = (
            cells.box(axes, *place, f"${letter}^{i}_t$", orange)
            for i, place in enumerate(places)
        )
        cells.arrow(axes, middle, fast, colour=orange)
        cells.arrow(axes, slow, middle, colour=orange)
        cells.arrow(axes, slow, fast, colour=orange)
        axes.text(3.1, 2.6, f"$W_{{{letter * 2}}}$", color=orange)
        if letter == "h":
            x = cells.box(axes, 2, 0.4, "$x_t$")
            for module in (fast, middle, slow):
                cells.arrow(axes, x, module)
        else:
            h = cells.box(axes, 2, 0.8, "$h_t$", blue)
            x = cells.box(axes, 2, -0.4, "$x_t$")
            cells.arrow(axes, x, h, "$W_{xh}$")
            for module in (fast, slow):
                cells.arrow(axes, h, module, colour=blue)
                cells.arrow(axes, module, h, colour=blue)
            cells.arrow(axes, h, middle, colour=blue)
            cells.arrow(axes, middle, h, colour=blue)
        cells.bare(axes)

# %% [markdown]
# Left the Clockwork RNN, right the MultiScale LMN. An orange arrow is read *one
# step later*, and only when the module at its head ticks; each module also reads
# itself. On the right, $h_t$ is computed at every step: it reads all modules as
# they were before it, and writes those that tick.
#
# ## The clock
#
# Module $i$ has the period $\tau_i = 2^i$, and ticks at $t$ if $\tau_i$ divides
# $t$. Two things follow, and both passes are built on them.
#
# - If a module ticks, so do all faster ones. The modules that tick are always
#   the *first few*, a slice and not a list.
# - Between two ticks of a module, all slower ones stand still.
#
# How many tick? $\tau_i$ divides $t$ if $t$ ends in at least $i$ zero bits. So
# the number is that of the zero bits and one more, up to $g$, the number of
# modules.
#
# ```{source} msref.architectures.Clock.n_active
# ```
#
# `first` and `origin` are conventions: the period of the fastest module, and
# whether the first frame is called 0 or 1.
#
# ### What a step costs
#
# Count blocks of $W_{hh}$, each the weights from one module to another. Module
# $i$ reads $g - i$ of them, itself and the slower ones.
#
# - The literal step multiplies all $g^2$, zeros included.
# - Computing only what ticks takes $\sum_i (g - i)\, 2^{-i} = 2g - 2 + 2^{1-g}$
#   per step. That is less, but it still grows with $g$.
# - The rest is waste of another kind. The fast module reads the slow one at every
#   step, and finds the same numbers. What a module *gives* changes at its own
#   ticks alone. Multiply it out there, keep the product: module $j$ gives to
#   $j + 1$ modules at every $2^j$-th step, so
#
# $$\sum_{j=0}^{g-1} \frac{j+1}{2^j} \;<\; \sum_{j=0}^{\infty} \frac{j+1}{2^j}
# = \frac{1}{(1 - \frac12)^2} = 4 ,$$
#
# however many modules there are. Counted over 512 steps:

# %%
rows = []
for g in (1, 2, 3, 5, 9):
    clock = Clock(g)
    active = [clock.n_active(t) for t in range(512)]
    reads = [sum(g - i for i in range(a)) for a in active]
    gives = [sum(j + 1 for j in range(a)) for a in active]
    rows.append((g, np.mean(active), g * g, np.mean(reads), np.mean(gives)))
heads = "modules g", "ticking", "blocks, all", "read at ticks", "given at ticks"
cells.Grid(heads, rows)

# %% [markdown]
# The mean number of ticking modules is $\sum_i 2^{-i} < 2$. The last column is
# what msref's passes do.
#
# ## Clockwork RNN
#
# ### Forward
#
# :::{beside}
# A module reads the input, itself and the slower modules:
#
# \begin{align*}
# a^i_t &= x_t W^i_{xh} + b^i_h \\
# &\quad + \sum_{j \ge i} h^j_{t-1} W^{ji}_{hh} \tag{1}
# \end{align*}
#
# If it ticks it is computed, else it holds:
#
# \begin{align*}
# h^i_t &= \begin{cases} f(a^i_t) & i \text{ ticks at } t \\
# h^i_{t-1} & \text{else} \end{cases} \tag{2} \\
# y_t &= h_t \tag{3}
# \end{align*}
# +++
# ```{source} msref.ClockworkRNN.step
# ```
# :::
#
# `step` is literal: it computes $a$ for every module and throws most of it away.
# `readers` is the mask of (1). States are rows here and weights multiply from the
# right, so the mask is block *lower* triangular. In the papers states are columns
# and it is block *upper* triangular. It is the same rule.
#
# `forward` differs in four ways.
#
# - $x_t W^i_{xh}$ is computed before the loop, for each module at its ticks
#   alone, in one product.
# - What holds is not touched. A module's values at its ticks stand in an array of
#   their own, and are spread over the time that they hold once, at the end.
# - $f$ overwrites $a_t$ with $h_t$ there.
# - A module's products with $W_{hh}$ are made when it ticks. This is `given`.
#
# :::{beside}
# Let $s_i$ be what the modules $i, i+1, \dots$ give, in sum, to the modules
# $0 \dots i$. Let $W_j$ be the weights from module $j$ to the modules $0 \dots j$,
# and $s'_{i+1}$ be $s_{i+1}$ without its last block. Then
#
# $$s_i = h^i\, W_i + s'_{i+1} .$$
#
# The last block of $s_i$ is the sum in (1), complete, for module $i$. When does
# $s_i$ change? When some module $j \ge i$ ticks. Then $i$ ticks as well, by the
# first rule. So it is enough to renew $s_i$ when module $i$ ticks, from the
# slowest that ticks down to the fastest. `sums[i]` is $s_i$, `slower[i]` is
# $s'_{i+1}$ (for the slowest module the bias), and `to_itself[i]` that last block.
# +++
# ```{source} msref.architectures.holds.Given.renew
# ```
# ```{source} msref.ClockworkRNN.forward
# :from: given = Given
# :to: given.spread
# ```
# :::
#
# ### Backward
#
# Where does $h^j_t$ go? It is put out. If module $j$ holds at $t+1$, it *is*
# $h^j_{t+1}$. And it is read, at $t+1$, by those of the modules $i \le j$ that
# tick. So its gradient has three terms. Let $\mathrm{d}h_t$ collect them.
#
# :::{beside}
# **Through (3):**
#
# \begin{align*}
# \mathrm{d}h_t &\mathrel{+}= \mathrm{d}y_t \tag{3'}
# \end{align*}
#
# **Through (2).** A switch has two cases. If $i$ ticks, $h^i_t$ is made of
# $a^i_t$, and the old value is gone: nothing returns to it this way.
#
# \begin{align*}
# \mathrm{d}a^i_t &= \mathrm{d}h^i_t \odot f'(a^i_t), &
# \mathrm{d}h^i_{t-1} &= 0 \tag{2'}
# \end{align*}
#
# If $i$ holds, $h^i_t$ is the old value, and $a^i_t$ goes nowhere.
#
# \begin{align*}
# \mathrm{d}a^i_t &= 0, & \mathrm{d}h^i_{t-1} &= \mathrm{d}h^i_t \tag{2'}
# \end{align*}
#
# **Through (1)**, to all that was read:
#
# \begin{align*}
# \mathrm{d}h^j_{t-1} &\mathrel{+}= \sum_{i \le j} \mathrm{d}a^i_t\, (W^{ji}_{hh})^T
# \tag{1'}
# \end{align*}
# +++
# ```{source} msref.ClockworkRNN.backward
# :from: for t in reversed
# :to: dh[:, block[i]] += back
# ```
# :::
#
# The hold needs no line of its own: `dh` of a module that does not tick is left
# as it is, and stands there for $t-1$.
#
# (1') looks different in the code, for the same reason as forwards. Say module
# $j$ was written at step $s$ and holds until $e$. Then $h^j_{t-1} = h^j_s$ for
# all $t$ in $s+1 \dots e$, and what (1') sends back in these steps all ends in
# $\mathrm{d}h^j_s$, because a hold passes it on unchanged:
#
# \begin{align*}
# \mathrm{d}h^j_s &\mathrel{+}= \sum_{t=s+1}^{e} \sum_{i \le j}
# \mathrm{d}a^i_t\, (W^{ji}_{hh})^T \\
# &= \sum_{i \le j} \Bigl( \sum_{t=s+1}^{e} \mathrm{d}a^i_t \Bigr) (W^{ji}_{hh})^T .
# \end{align*}
#
# Add first, multiply once. `asked` keeps the bracket of each hold, and the product
# is made at the step that wrote $h^j_s$. The same bracket gives the weights'
# gradient, $(h^j_s)^T$ times it; there many holds share one product (`_learn`).
#
# :::{beside}
# $\mathrm{d}a^i_t$ is asked of *every* module $j \ge i$, and written down for
# module $i$ alone. For periods double: a hold of module $j$ is two holds of module
# $j - 1$, one after the other. What the faster modules asked in it is the sum of
# what they asked in these two halves. Forwards, sums run from slow to fast;
# backwards the same sums run from fast to slow. At the first step all sums are
# due (`finish`): they belong to the state before it.
# +++
# ```{source} msref.architectures.holds.Asked.sent_back
# :from: q, sums = self._hold
# :to: back: Array
# ```
# :::
#
# What is left is one product per module, over its own ticks:
#
# ```{source} msref.ClockworkRNN.backward
# :from: dx = xp.zeros
# ```
#
# `W_hh` is stored whole. Outside the mask its gradient is zero: only the blocks of
# `dW` are filled in.
#
# ### Is it true?

# %%
clockwork = msref.ClockworkRNN(2, 2, 3)
cells.Shown(msref.verify(clockwork, cases=2, n_time=9))

# %% [markdown]
# And with other options: one module, a linear network, counting from 1, a fastest
# module that rests, up to six modules.


# %%
def verified(name, *options):
    """Verify every example of the registry."""
    rows = []
    for arch in msref.REGISTRY[name].examples:
        found = msref.verify(arch, cases=1, n_time=6, n_batch=2)
        shown = [getattr(arch, option) for option in options]
        rows.append((*shown, found.verdict, found.relative_error))
    return cells.Grid((*options, "verdict", "relative error"), rows)


verified("clockwork", "n_modules", "activation", "first", "origin")

# %% [markdown]
# The bug that this pass invites: a module that holds passes no gradient on. The
# state is right, the outputs are right, and a training goes down.

# %%
cells.Shown(
    msref.verify(
        cells.planted(clockwork, "held module passes no gradient"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# Look at where it goes wrong. Two units make a module, so unit 4 is in the
# slowest one. At $t=5$ it holds, and at $t=4$ it ticks. What should have come
# back to it through the hold was lost.
#
# Look at the lags, too. Lags 2 and 4 are right. These are the steps $t=3$ and
# $t=1$, at which only module 0 ticks. No other module reads it. So what comes
# back to it there comes from itself alone, which never holds. This is the
# triangle of (1), seen from behind.
#
# (arch-mslmn)=
# ## MultiScale LMN
#
# ### Forward
#
# :::{beside}
# The hidden layer reads the input and the whole memory:
#
# \begin{align*}
# a_t &= x_t W_{xh} + m_{t-1} W_{mh} + b_h \tag{1} \\
# h_t &= \tanh(a_t) \tag{2}
# \end{align*}
#
# The memory is linear. A module reads $h_t$, itself and the slower modules, if
# it ticks:
#
# \begin{align*}
# a^i_m &= h_t W^i_{hm} + b^i_m \\
# &\quad + \sum_{j \ge i} m^j_{t-1} W^{ji}_{mm} \tag{3} \\
# m^i_t &= \begin{cases} a^i_m & i \text{ ticks at } t \\
# m^i_{t-1} & \text{else} \end{cases} \tag{4} \\
# y_t &= m_t \;\text{ or }\; h_t \tag{5}
# \end{align*}
#
# With `learned_start`, once, before the frame at $t = 0$:
#
# \begin{align*}
# m_{-1} &= m_0 + \text{the given state} \tag{0}
# \end{align*}
# +++
# ```{source} msref.MultiScaleLMN.step
# ```
# :::
#
# There is one difference to the Clockwork RNN that matters more than the rest. A
# slow module here reads $h_t$, and $h_t$ has read the fast ones. So what a fast
# module holds *can* reach a slow one, through the hidden layer. In the Clockwork
# RNN it never does.
#
# `forward` is built like the one above. Now a module gives to $h$ as well, so the
# weights $W^j_{mh}$ and $W^{ji}_{mm}$ are put side by side, and one product
# serves both readers. $h_t$ reads at every step, from `given.at_every_step`, the
# sum over all modules. `W_hm_T` is a copy, made so that the modules that tick are
# its first *rows*, in one piece.
#
# ```{source} msref.MultiScaleLMN.forward
# :from: h = xp.empty
# :to: given.spread
# ```
#
# Multiplications per step and sequence: $n_{in} n_{hid}$ for the input;
# $2\, n_{hid} n_{mem}$ from the memory to $h$, since two modules tick on average;
# as many from $h$ to the memory; and $4\, n_{mem}^2$ within it. There is no $g$ in
# that sum. What grows with $g$ is the memory itself, put out at every step.
#
# ### Backward
#
# $m^j_t$ has four places to go: the output, its hold, $h_{t+1}$, and the modules
# that read it. $h_t$ has two: the output, if that is what is put out, and the
# modules that tick at $t$. Go through the equations in reverse.
#
# :::{beside}
# **Through (5)**, one of the two:
#
# \begin{align*}
# \mathrm{d}m_t &\mathrel{+}= \mathrm{d}y_t \quad\text{or}\quad
# \mathrm{d}h_t = \mathrm{d}y_t \tag{5'}
# \end{align*}
#
# **Through (4)**, the switch again, now without a slope:
#
# \begin{align*}
# \text{tick: } \mathrm{d}a^i_m &= \mathrm{d}m^i_t,
# & \mathrm{d}m^i_{t-1} &= 0 \\
# \text{hold: } \mathrm{d}a^i_m &= 0,
# & \mathrm{d}m^i_{t-1} &= \mathrm{d}m^i_t \tag{4'}
# \end{align*}
#
# **Through (3)**, to $h_t$ of the same step and to the memory before it:
#
# \begin{align*}
# \mathrm{d}h_t &\mathrel{+}= \mathrm{d}a_m W_{hm}^T \\
# \mathrm{d}m^j_{t-1} &\mathrel{+}= \sum_{i \le j} \mathrm{d}a^i_m\,
# (W^{ji}_{mm})^T \tag{3'}
# \end{align*}
#
# **Through (2)**, then **(1)**:
#
# \begin{align*}
# \mathrm{d}a_t &= \mathrm{d}h_t \odot (1 - h_t^2) \tag{2'} \\
# \mathrm{d}m_{t-1} &\mathrel{+}= \mathrm{d}a_t W_{mh}^T \tag{1'}
# \end{align*}
#
# **Through (0)**, at $t = 0$ alone; every sequence starts from the same $m_0$:
#
# \begin{align*}
# \mathrm{d}m_0 &= \textstyle\sum_{\text{batch}} \mathrm{d}m_{-1} \tag{0'}
# \end{align*}
# +++
# ```{source} msref.MultiScaleLMN.backward
# :from: for t in reversed
# :to: dm_i += back
# ```
# :::
#
# `asked` collects for two readers now. $\mathrm{d}a_t$, what $h_t$ asks, is asked
# of all modules; it starts at the fastest (`by_all`) and is handed on, like the
# rest. Then one product with module $i$'s weights, transposed, is (1') and (3') at
# once.
#
# The order in the loop is not free. $h_t$ was computed *before* $m_t$, from the
# same step. So $\mathrm{d}a_m$ has to be complete before $\mathrm{d}h_t$, and
# $\mathrm{d}h_t$ before anything goes to $m_{t-1}$.
#
# The weights' gradients are sums over all steps, or over a module's ticks:
#
# ```{source} msref.MultiScaleLMN.backward
# :from: grads = {
# :to: grads["b_m"][block[i]]
# ```
#
# `detached` is an option of the authors' code called p-detach: at some steps
# nothing is sent back through $W_{mh}$ into the memory. What comes out then is
# not the gradient of any loss, so no witness can confirm it.
#
# ### Is it true?

# %%
mslmn = msref.MultiScaleLMN(2, 3, 2, 3)
cells.Shown(msref.verify(mslmn, cases=2, n_time=9))

# %%
verified("mslmn", "n_modules", "output", "learned_start", "first", "origin")

# %% [markdown]
# A planted bug: nothing comes back through $W_{hm}$.

# %%
cells.Shown(
    msref.verify(
        cells.planted(mslmn, "recurrent path dropped", "W_hm"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# The report places it exactly. At the last step, before any hop, `a` is wrong and
# `a_m` is right. Between $\mathrm{d}a_m$ and $\mathrm{d}a_t$ there are two lines,
# (3') and (2'). And `a` is zero, not merely scaled: nothing arrived, so it is
# (3').
#
# ## What they remember
#
# ### The diagonal, and fewer factors
#
# Take the Clockwork RNN. $h^i_t$ depends on module $i$ and slower ones, so
# $\partial h_t / \partial h_{t-1}$ is block triangular. So is a product of such
# matrices, and its diagonal blocks are the products of theirs. In a step in which
# $i$ holds, its diagonal block is the identity. In one in which it ticks, it is
# $W^{ii}_{hh}\, \mathrm{diag}\, f'(a^i_t)$. Hence
#
# \begin{align*}
# \frac{\partial h^i_T}{\partial h^i_{T-k}} &= \prod_{\text{ticks } t}
# W^{ii}_{hh}\, \mathrm{diag}\, f'(a^i_t) , \\
# \text{norm} &\le \lVert W^{ii}_{hh} \rVert^{\,n_i(k)} ,
# \end{align*}
#
# the product taken over the ticks in the steps $T-k+1 \dots T$. There are
# $n_i(k)$ of them, which is $k / \tau_i$ up to one. There is nothing else: a way
# that leaves module $i$ for a faster one never comes back.
#
# Below are 24 units in one module, in three and in six. Each diagonal block is
# orthogonal, scaled to norm 0.7, and the modules read themselves alone, so that
# nothing but the diagonal is there. Thin lines are $0.7^{n}$, $n$ that of the
# slowest module.


# %%
def with_blocks(network, params, norm, alone=False):
    """Make the diagonal blocks orthogonal, of one norm."""
    rng = np.random.default_rng(1)
    (name,) = network.constrained
    n_modules = network.n_modules
    W = params[name].copy() * (not alone)
    size = len(W) // n_modules
    for i in range(n_modules):
        module = slice(i * size, (i + 1) * size)
        W[module, module] = norm * orthogonal(rng, size)
    return params | {name: W}


rng = np.random.default_rng(0)
modules = {}
for g in (1, 3, 6):
    network = msref.ClockworkRNN(1, 24 // g, g)
    params = with_blocks(network, network.init(rng), 0.7, alone=True)
    modules[f"{g} module{'s' * (g > 1)}"] = network, params
x = 0.5 * rng.standard_normal((97, 4, 1))

# %% tags=["hide-input"]
with cells.drawing(
    "The gradient over the lag on a logarithmic axis: with one module it falls"
    " steadily, with three in steps of four, with six in steps of 32.",
    height=3.4,
) as axes:
    arrived = cells.reach_plot(axes, modules, x)
    for k, (network, _) in enumerate(modules.values()):
        slowest = network.n_modules - 1
        ticks = [network.clock.n_active(96 - j) > slowest for j in range(96)]
        axes.plot(
            *(range(97), 0.7 ** np.cumsum([0, *ticks]), "-"),
            color=cells.COLOURS[k],
            alpha=0.4,
            linewidth=1,
        )
    axes.set_ylim(1e-16, 3)

# %%
cells.Grid(
    ("Clockwork RNN", "slowest period", "left after 32 steps", "after 96"),
    [
        (
            name,
            network.clock.period(network.n_modules - 1),
            arrived[name][32],
            arrived[name][96],
        )
        for name, (network, _) in modules.items()
    ],
)

# %% [markdown]
# The MultiScale LMN has no slope on this way, since its memory is linear. It has
# a second way, through $h$, that is open at every step and crosses between
# modules. So we know of no such bound for it.
#
# ### What falls between two ticks
#
# A slow module of a Clockwork RNN sees the input at its ticks. What comes in
# between it does not see, and cannot learn from the faster modules, for it does
# not read them. So an input at an odd step is only ever in module 0, and is
# forgotten as fast as module 0 forgets. The left figure shows it: how much of the
# gradient of the last state reaches the input $k$ steps back. The last step is
# one at which all modules tick.
#
# The right figure reads $x_{t-k}$ back from the state, linearly, at such steps.
# All three networks have 24 units of state, and nobody trained them. The diagonal
# blocks of the Clockwork RNN, in one module and in four, are orthogonal with norm
# 0.9; the MultiScale LMN has its own start. This is one drawing of each.


# %%
def input_reach(network, params, x):
    """Follow every unit of the last state back to the input."""
    (name,) = network.initial_state(1)
    n_units = network.initial_state(1)[name].shape[1]
    y, _, tape = network.forward(params, np.repeat(x, n_units, axis=1))
    found = network.backward(
        params, tape, np.zeros_like(y), {name: np.eye(n_units)}
    )
    return np.linalg.norm(found.x, axis=(1, 2))[::-1]


def recall(network, params, max_lag):
    """Return R² of reading the past, at steps where all modules tick."""
    rng = np.random.default_rng(0)
    (name,) = network.initial_state(1)
    sets = []
    for n in (60, 20, 20):
        x = rng.standard_normal((257, n, 1))
        states = network.forward(params, x)[2][name]
        sets.append([(states[:, b], x[:, b]) for b in range(n)])
    period = network.clock.period(network.n_modules - 1)
    return recoverability(*sets, max_lag, period=period)


rng = np.random.default_rng(3)
one, four = msref.ClockworkRNN(1, 24, 1), msref.ClockworkRNN(1, 6, 4)
slow = msref.MultiScaleLMN(1, 24, 6, 4)
starts = {
    "one module": (one, with_blocks(one, one.init(rng), 0.9)),
    "Clockwork RNN, 4": (four, with_blocks(four, four.init(rng), 0.9)),
    "MultiScale LMN, 4": (slow, slow.init(rng)),
}
x = 0.5 * rng.standard_normal((65, 1, 1))
to_input = {name: input_reach(*start, x) for name, start in starts.items()}
read_back = {name: recall(*start, 40) for name, start in starts.items()}

# %% tags=["hide-input"]
with cells.drawing(
    "Left, the gradient that reaches the input; right, R squared of reading it"
    " back. With one module both fall smoothly. With four they are combs: high"
    " at multiples of eight, lower at other multiples of four and of two, and"
    " lowest at odd lags.",
    width=9,
    height=3.6,
    columns=2,
) as (left, right):
    for k, name in enumerate(starts):
        style = {"color": cells.COLOURS[k], "marker": ".", "label": name}
        style["linewidth"] = 0.8
        left.semilogy(to_input[name][:41], cells.DASHES[k], **style)
        right.plot(read_back[name], cells.DASHES[k], **style)
    left.set_ylabel("size of the gradient of $x_{T-k}$")
    right.set_ylabel("R² of reading $x_{t-k}$")
    for axes in (left, right):
        axes.set_xlabel("lag k, steps")
        axes.legend()

# %%
kinds = {
    "odd lags": range(1, 40, 2),
    "2 but not 4": range(2, 40, 4),
    "4 but not 8": range(4, 40, 8),
    "multiples of 8": range(8, 41, 8),
}
cells.Grid(
    ("mean of R² over lags to 40", *kinds, "sum over all"),
    [
        (
            name,
            *(np.mean([r2[k] for k in lags]) for lags in kinds.values()),
            sum(r2[1:]),
        )
        for name, r2 in read_back.items()
    ],
)

# %% [markdown]
# In the MultiScale LMN the way through $h$ is there: on the left its comb is the
# shallowest. But an untrained network makes little use of it, as the right figure
# says.
#
# Look at the last column. With clocks the sum is not of another size. These
# networks do not remember *more*; they remember fewer moments of a longer past.
# That is a good bargain if what matters changes slowly, and a bad one if it may
# come at any single step.
#
# ## The papers' claims, measured
#
# **Sequence generation.** No input; a waveform of 320 points is to be learned by
# heart.
#
# ```{result} mslmn-full
# :claims: a1 a2 a3
# :tables: 0
# :figures: generation generation-learning
# ```
#
# **Labels of whole sequences.** The paper's tasks were spoken words and online
# handwriting. Its tables could not be obtained, so the published numbers are not
# known to us. Ours are other data of the same kinds.
#
# ```{result} mslmn-full
# :claims: b1 c1 c2 c3
# :tables: 1
# :figures: learning-pixels
# ```
#
# Of these four, the one that holds is the one with the longest sequences. On the
# other three an LSTM has the lower error. The small scale has half of the weights
# and fewer epochs. There one of the four is closer: the MultiScale LMN is ahead of
# the LSTM on average, but not by more than the spread.
#
# ```{result} mslmn-quick
# :claims: c2
# ```
#
# **Cost.**
#
# ```{result} mslmn-full
# :claims: e
# :figures: cost
# ```
#
# The claim's bound is for the MultiScale LMN; the Clockwork RNN, listed beside it,
# lies a little above. It has no hidden layer whose cost would stay the same, so
# there all the work is in blocks, and these rise from 2 to 4.
#
# ## Porting notes
#
# {py:mod}`msref.ports` knows of no framework that has either network, so there are
# no weights to take over. These are the conventions in which the sources differ:
#
# | | msref | Clockwork paper | code of the MultiScale LMN's authors |
# |---|---|---|---|
# | modules | from 0, period $2^i$ | from 1, period $2^{i-1}$ | from 0, period $2^i$ |
# | the first frame | $t = 0$; `origin=1` for 1 | not said | $t = 0$ |
# | product, mask of the recurrence | `h @ W`, lower triangular | `W h`, upper | `W h`, upper |
# | activation of the Clockwork RNN | tanh, or `"linear"` | tanh | none: it is linear |
# | units that do not divide evenly | not possible | more for the faster modules | not known |
# | learned first state | any batch | none | one sequence at a time |
# | output of the MultiScale LMN | `"memory"`, `"hidden"` | | memory; hidden as `alt_mode` |
#
# The row on the activation is not a detail: a comparison with that linear network
# is not one with the paper's.
#
# What counting from 1 changes: the same weights, the same input; the largest
# difference of an output at each of nine steps.

# %%
case = draw(msref.MultiScaleLMN(2, 3, 2, 3), seed=0, n_time=9, n_batch=2)
outputs = [
    msref.MultiScaleLMN(2, 3, 2, 3, origin=origin).forward(
        case.params, case.x, case.state
    )[0]
    for origin in (0, 1)
]
print(np.abs(outputs[0] - outputs[1]).max(axis=(1, 2)).round(3))

# %% [markdown]
# And what is lost if a sequence is cut and the clock starts again. `t0` says what
# time it is:

# %%
first, state, _ = mslmn.forward(case.params, case.x[:3], case.state)
whole = mslmn.forward(case.params, case.x, case.state)[0]
rows = []
for label, t0 in (("t0 = 3", 3), ("no t0", 0)):
    second = mslmn.forward(case.params, case.x[3:], state, t0)[0]
    rows.append((label, np.abs(second - whole[3:]).max()))
cells.Grid(("second part", "largest difference to the whole"), rows)

# %% [markdown]
# First things to check, in this order:
#
# 1. Which modules tick, at $t = 0 \dots 8$. Print the pattern, compare it with
#    the first picture.
# 2. One step at an odd $t$, from a state that is not zero: a module that holds
#    must hold.
# 3. A matrix with numbers where the mask is zero. They must not be read, and must
#    get no gradient: a framework's optimiser would move them.
# 4. A sequence that starts at $t_0 \ne 0$.
# 5. The gradient of the final state alone, at a step where the slow modules hold.
#
# The golden vectors hold all of these numbers, at every step. First those of the
# Clockwork RNN:

# %%
cells.vectors_grid("clockwork")

# %% [markdown]
# And of the MultiScale LMN:

# %%
cells.vectors_grid("mslmn")

# %% [markdown]
# ## Exercises
#
# Each network has one bug, named in rot13. Say what is wrong before you unfold
# the solution.
#
# **1.** Every adjoint is right. What is not?

# %%
one = cells.riddle(clockwork, "znfxrq jrvtugf yrnea")
cells.Shown(msref.verify(one, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# `dW_hh` was formed as one product over everything, and the mask was forgotten.
# The report names an entry in the row of a module 0 unit and the column of a
# module 2 unit: from fast to slow, where nothing is read. The expected gradient is
# zero. Forwards nobody notices, since the entry is not read. But a weight decay, a
# norm for clipping or a port that does read it will.
# :::
#
# **2.** It is wrong at the last step, before any hop. Which modules tick at
# $t = 5$, and what does the report say of unit 3?

# %%
two = cells.riddle(clockwork, "pybpx bss ol bar onpxjneqf")
cells.Shown(msref.verify(two, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# At $t = 5$ only module 0 ticks. Unit 3 is in module 1, which holds, so its
# pre-activation goes nowhere and its adjoint is zero. It came as another number:
# `backward` takes the step for one at which module 1 ticks. Its clock is one step
# off that of `forward`. The line "cut anywhere" fails as well: it runs the
# sequence in two parts, and the parts are off at other places.
# :::
#
# **3.** Now the outputs are wrong, and from the second step on. Look at what came.

# %%
three = cells.riddle(clockwork, "nabgure pybpx", "erfgvat")
cells.Shown(msref.verify(three, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# Zeros came where a module holds: it was reset when it should have kept its value.
# All adjoints agree because the bug was planted in the outputs alone, on a tape
# that is right.
# :::
#
# **4.** A linear Clockwork RNN whose modules read themselves alone, with
# $W^{ii}_{hh} = 0.5\, I$ in each of four modules. It has run to $t = 24$. How
# large is the gradient of the slowest module's state with respect to itself 20
# steps before, and that of the fastest? Count ticks, then run the cell.

# %%
network = msref.ClockworkRNN(1, 1, 4, activation="linear")
held = network.init(rng) | {"W_hh": 0.5 * np.eye(4)}
state = {"h": np.zeros((4, 4))}
y, _, tape = network.forward(held, np.zeros((20, 4, 1)), state, t0=5)
back = network.backward(held, tape, np.zeros_like(y), {"h": np.eye(4)})
print(np.diag(back.state["h"]))

# %% [markdown]
# :::{dropdown} Solution
# The steps are $t = 5 \dots 24$. The slowest module has period 8 and ticks at 8,
# 16 and 24: three factors. The others tick at 5, 10 and 20 of the steps. So the
# gradients are $0.5^{20}$, $0.5^{10}$, $0.5^{5}$ and $0.5^{3}$, as printed.
# :::
#
# The memory of a MultiScale LMN need not be there from the start.
# [Chapter 7](07-growth.ipynb) adds it module by module.
