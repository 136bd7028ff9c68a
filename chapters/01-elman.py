# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (arch-elman)=
# # 1. Elman and backpropagation through time
#
# {cite:t}`elman1990` gave a network its own hidden units back as input at the
# next step. That is the whole idea, and it is enough to need everything this
# book is about: a state, a gradient that travels back through time, and the
# question whether it arrives.
#
# This chapter derives that gradient from nothing but the chain rule. Then it
# computes the same gradient in three other ways, and compares.

# %%
import autograd
import autograd.numpy as anp
import numpy as np

import msref
from msref.book import cells
from msref.verification import draw

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "The network unrolled over three steps: each state h receives the input x"
    " below it and the state to its left, and gives the output y above it.",
    height=2.7,
) as axes:
    orange = cells.COLOURS[1]
    before = (-1.2, 1)
    for k, name in enumerate(("t-1", "t", "t+1")):
        x = cells.box(axes, 2 * k, 0, f"$x_{{{name}}}$")
        h = cells.box(axes, 2 * k, 1, f"$h_{{{name}}}$", cells.COLOURS[0])
        y = cells.box(axes, 2 * k, 2, f"$y_{{{name}}}$")
        cells.arrow(axes, x, h, "$W_{xh}$")
        cells.arrow(axes, h, y)
        cells.arrow(axes, before, h, "$W_{hh}$", orange)
        before = h
    cells.arrow(axes, before, (5.2, 1), "$W_{hh}$", orange)
    cells.bare(axes)

# %% [markdown]
# The same three weights serve at every step. What happened at one step reaches
# a later one along the orange arrows alone, once through $W_{hh}$ and once
# through the activation for each step in between.
#
# ## Forward
#
# A frame $x_t$ is a row of numbers, and so is the state $h_t$. The function $f$
# is tanh (or a ReLU) of each entry.
#
# :::{beside}
# \begin{align*}
# a_t &= x_t W_{xh} + h_{t-1} W_{hh} + b_h \tag{1} \\
# h_t &= f(a_t), \qquad y_t = h_t \tag{2}
# \end{align*}
#
# $a_t$ is the pre-activation. `step` returns it in its trace, beside the state,
# because everything that follows is checked against it.
# +++
# ```{source} msref.Elman.step
# ```
# :::
#
# `forward` computes the same for a whole sequence. It differs in four ways.
#
# - $x_t W_{xh} + b_h$ does not depend on the state. It is done for all steps in
#   one matrix product before the loop starts. A large product costs less per
#   number than many small ones. The bias comes along: `with_one` puts a column of
#   ones before $x$, and $b_h$ stands above $W_{xh}$.
# - Only $h_{t-1} W_{hh}$ is left in the loop. All steps write it to one buffer.
# - $a_t$ and $h_t$ share their memory: $f$ overwrites $a_t$ with $h_t$. The way
#   back does not need $a_t$, as we shall see.
# - `f` is `tanh_into`, or a ReLU. In large arrays of float64 tanh is computed as
#   $1 - 2 / (1 + e^{2a})$, which is faster ([chapter 13](13-speed.ipynb) times
#   both). Near zero, where that difference would lose digits, NumPy's is asked.
#
# ```{source} msref.Elman.forward
# :from: h = xp.empty(
# :to: return y
# ```
#
# ## The chain rule over time, on one page
#
# Let $L$ be a loss: any number that depends on the outputs and on the final
# state. For a quantity $q$ we write $\mathrm{d}q$ for the gradient of $L$ with
# respect to $q$, an array of the same shape. What we are given is $\mathrm{d}y_t$
# for every step, and the gradient of the final state.
#
# We need one fact about a product of a row and a matrix. If $b = x A$, then
# $b_j = \sum_i x_i A_{ij}$, and the chain rule says
#
# $$\frac{\partial L}{\partial x_i} = \sum_j \mathrm{d}b_j A_{ij},
# \qquad \frac{\partial L}{\partial A_{ij}} = x_i\, \mathrm{d}b_j ,$$
#
# or, in whole arrays, $\mathrm{d}x = \mathrm{d}b\, A^T$ and
# $\mathrm{d}A = x^T \mathrm{d}b$.
#
# Now take the equations in reverse. Where does $h_t$ go? It is the output
# $y_t$, and it enters $a_{t+1}$. These are the only two places, so its gradient
# has two terms. Call the second one $\mathrm{d}h_t$: what comes back *from the
# future*. At the last step it is the gradient of the final state.
#
# :::{beside}
# **Through (2).** Each entry of $h_t$ depends on one entry of $a_t$, with slope
# $f'$:
#
# \begin{align*}
# \mathrm{d}a_t &= f'(a_t) \odot (\mathrm{d}y_t + \mathrm{d}h_t) \tag{2'}
# \end{align*}
#
# **Through (1)**, to the state before it:
#
# \begin{align*}
# \mathrm{d}h_{t-1} &= \mathrm{d}a_t\, W_{hh}^T \tag{1'}
# \end{align*}
#
# Two lines, repeated from the last step to the first. That is backpropagation
# through time {cite:p}`werbos1990`.
# +++
# ```{source} msref.Elman.backward
# :from: da = xp.empty(
# :to: xp.dot(da_t
# ```
# :::
#
# In the code, `da` first holds the slopes $f'$, written for a span of many steps in
# few calls. The loop multiplies them by what comes from the outputs and from the
# future, and then `da` holds $\mathrm{d}a_t$. `dh` is one array for all steps.
#
# :::{beside}
# **Through (1)**, to what is the same at every step. A weight is used at all of
# them, so its gradient is the sum over all of them:
#
# \begin{align*}
# \mathrm{d}W_{xh} &= \sum_t x_t^T \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}W_{hh} &= \sum_t h_{t-1}^T \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}b_h &= \sum_t \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}x_t &= \mathrm{d}a_t\, W_{xh}^T \tag{1'}
# \end{align*}
#
# None of these is needed on the way, so they wait until the loop is over. Then
# each is one product over all steps and sequences. The column of ones serves
# again: it makes the first row of `dW_x` the bias's sum.
# +++
# ```{source} msref.Elman.backward
# :from: dW_x = with_one
# :to: x=(flat
# ```
# :::
#
# One thing is left. tanh has the slope $f'(a) = 1 - \tanh(a)^2 = 1 - h^2$, and a
# ReLU has slope 1 where its output is positive and 0 elsewhere. Both can be
# computed from the *output*. That is why `forward` may overwrite $a_t$.
#
# ## Four ways to one gradient
#
# So much for the derivation. Now we compute $\mathrm{d}W_{hh}$ in four ways, at
# one random point: twelve steps, and a loss that reads every output and the
# final state.
#
# The first three differentiate the function below. It runs `step` and knows
# nothing of `backward`.

# %%
network = msref.Elman(3, 5)
case = draw(network, seed=1, n_time=12, n_batch=2)


def loss(W_hh, xp=np):
    params = case.params | {"W_hh": W_hh}
    y, state, _ = msref.scan(network, params, case.x, case.state, xp=xp)
    return xp.sum(case.dy * y) + xp.sum(case.dstate["h"] * state["h"])


W = case.params["W_hh"]


def entry_by_entry(derivative):
    """Call derivative(direction) for a direction along each entry of W."""
    found = np.empty_like(W)
    for place in np.ndindex(W.shape):
        direction = np.zeros_like(W)
        direction[place] = 1.0
        found[place] = derivative(direction)
    return found


# %% [markdown]
# **Differences.** Move one entry by $\pm\varepsilon$ and see by how much the
# loss changes. The error has two parts. One is that of the formula,
# proportional to $\varepsilon^2$. The other is rounding: two nearly equal
# losses are subtracted, and what is lost there grows as $1/\varepsilon$.


# %%
def by_differences(step):
    return entry_by_entry(
        lambda d: (loss(W + step * d) - loss(W - step * d)) / (2 * step)
    )


# %% [markdown]
# **Complex step.** Move the entry by $i\varepsilon$ instead, into the complex
# plane. For an analytic function
#
# $$L(w + i\varepsilon) = L(w) + i\varepsilon L'(w) - \tfrac12 \varepsilon^2 L''(w) - \dots$$
#
# so the imaginary part, divided by $\varepsilon$, is the derivative
# {cite:p}`squire1998`. Nothing is subtracted. $\varepsilon$ can be $10^{-30}$,
# and the error of the formula is then $10^{-60}$.


# %%
def by_complex_step(step):
    return entry_by_entry(lambda d: loss(W + 1j * step * d).imag / step)


# %% [markdown]
# **Automatic differentiation.** The library autograd records each operation of
# `step` and applies the chain rule to the record.

# %%
automatic = autograd.grad(lambda w: loss(w, anp))(W)

# %% [markdown]
# **By hand**, the fourth way: `forward` and `backward`.

# %%
_, _, tape = network.forward(case.params, case.x, case.state)
by_hand = network.backward(case.params, tape, case.dy, case.dstate).params[
    "W_hh"
]

# %% [markdown]
# The largest difference to the gradient by hand, relative to its largest entry:


# %%
def error(found):
    return np.abs(found - by_hand).max() / np.abs(by_hand).max()


cells.Grid(
    ("way", "largest relative difference"),
    [
        ("differences, step 1e-2", error(by_differences(1e-2))),
        ("differences, step 1e-5", error(by_differences(1e-5))),
        ("differences, step 1e-10", error(by_differences(1e-10))),
        ("complex step, 1e-30", error(by_complex_step(1e-30))),
        ("autograd", error(automatic)),
    ],
)

# %% tags=["hide-input"]
steps = 10.0 ** -np.arange(1, 16)
with cells.drawing(
    "Error over step: that of differences falls to about 1e-10 and rises"
    " again; that of the complex step falls to 1e-15 and stays there.",
    height=3.0,
) as axes:
    axes.loglog(
        steps, [error(by_differences(s)) for s in steps], label="differences"
    )
    axes.loglog(
        steps, [error(by_complex_step(s)) for s in steps], label="complex step"
    )
    axes.invert_xaxis()
    axes.set_xlabel("step")
    axes.set_ylabel("largest relative difference")
    axes.legend()

# %% [markdown]
# Why do they agree? Because there is only one derivative. The loss is one
# function of $W_{hh}$, made of sums, products and tanh. The ways share that
# function and nothing else: differences need only its values, the complex step
# its values off the real line, autograd the chain rule applied by a machine,
# and `backward` the chain rule applied by us. A mistake in one of them would
# have to be made in all of them to go unseen.
#
# Autograd and the complex step agree with us to rounding. So in this book they
# are the *witnesses*. Differences are kept for functions that are not analytic,
# such as a ReLU. {doc}`02-checking-a-gradient` says why differences alone are
# not enough.
#
# ## Is it true?
#
# {py:func}`msref.verify` does this for every array, at several random points
# with random sizes, against all witnesses.

# %%
cells.Shown(msref.verify(network, cases=3))

# %% [markdown]
# Now a bug. Many first attempts multiply by $W_{hh}$ where $W_{hh}^T$ belongs.
# Both products have the same shape, so nothing crashes, and a training still
# goes down for a while.

# %%
cells.Shown(
    msref.verify(
        cells.planted(network, "transposed weight", "W_hh"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# The report does not only say FAIL. It goes back in time as the pass does, and
# names the first adjoint that is wrong: at the last step everything agrees, one
# hop earlier it does not. So the fault is in the hop, which is (1').
#
# ## What it remembers
#
# Follow the way back for $k$ steps. Each adds one factor:
#
# $$\frac{\partial h_T}{\partial h_{T-k}} = \prod_{t=T-k+1}^{T} W_{hh}\,
# \mathrm{diag}\, f'(a_t) ,$$
#
# a product of $k$ matrices, in the order of time. Since $|f'| \le 1$ for tanh
# and for a ReLU, its norm is at most $\lVert W_{hh}\rVert^k$. If that norm is
# below one, the gradient vanishes, at least that fast
# {cite:p}`bengio1994`. If it is above one, the gradient *may* explode. The
# figure shows both sides, for one drawing of $W_{hh}$ that is orthogonal and
# then scaled.

# %% tags=["hide-input"]
rng = np.random.default_rng(2)
wide = msref.Elman(1, 32)
start = wide.init(rng)
scaled = {
    f"‖W‖ = {norm}": (wide, start | {"W_hh": norm * start["W_hh"]})
    for norm in (1.0, 0.9, 0.7)
}
x = 0.5 * rng.standard_normal((60, 4, 1))
with cells.drawing(
    "Left, the gradient over the lag, for three norms of the recurrent weight,"
    " each below its bound. Right, how well the input k steps back can be read"
    " from the state.",
    width=9,
    height=3.6,
    columns=2,
) as (left, right):
    arrived = cells.reach_plot(left, scaled, x)
    read_back = cells.recall_plot(right, scaled, 40)

# %%
cells.Grid(
    (
        "network",
        "gradient left after 20 steps",
        "after 50",
        "sum of R², in steps",
    ),
    [
        (name, arrived[name][20], arrived[name][50], sum(read_back[name]))
        for name in scaled
    ],
)

# %% [markdown]
# Left: thin lines are the bound. tanh makes the gradient smaller than it,
# because its slope is below one wherever a unit is not near zero. Right: how
# well the input $k$ steps back can be read linearly from the state. The sum of
# these R² is the memory's capacity in steps {cite:p}`jaeger2001`. For a state
# of $n$ units driven by independent numbers it cannot exceed $n$, here 32. The
# network is untrained; this is what its start offers.
#
# ## The paper's claims, measured
#
# The paper showed what such a network finds in small sequences. We have not
# measured its experiments. What was measured here is how the network, called
# RNN in the table, fares where others claim that it fails: the adding problem,
# in which two numbers must be kept over the whole sequence.
#
# ```{result} durnn-full
# :claims: a2
# :figures: reach-rnn
# ```
#
# The figure is the reach of the gradient in a trained network, before and after
# the training.
#
# ## Porting notes
#
# The network has few conventions, and three of them matter: which side the
# weight multiplies from, how many biases there are, and whether time or batch
# comes first.

# %%
cells.conventions_grid("elman")

# %% [markdown]
# W is the framework's array. Two biases that are summed are one bias: add them.
# (While *training*, two copies of a bias move twice as fast as one.) Golden
# vectors to hold a port against, each named after what it finds:

# %%
cells.vectors_grid("elman")

# %% [markdown]
# Check in this order: one step; a sequence; a start from a state that is not
# zero; the gradient of the input; the gradients of the weights; the gradient
# when only the *final state* carries one. Use different sizes for input, state,
# batch and time. If two are equal, a transposed array fits.
#
# ## Exercises
#
# Each network below has one bug in `backward`. Its name is written in rot13, so
# that you do not read it by accident. Run the report and say what is wrong
# before you unfold the solution.
#
# **1.** Which equation is wrong, and what would training with it look like?

# %%
first = cells.riddle(network, "ovnf tenqvrag zvffvat")
cells.Shown(msref.verify(first, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# Every adjoint agrees at every step, so the way back in time is right. Only
# `db_h` is wrong, and what came is zero: it was never formed from the adjoints.
# Training goes on with a bias that stays where it started.
# :::
#
# **2.** Here the errors are not where the bug is. Look at the lags.

# %%
second = cells.riddle(network, "OCGG guebhtu n jvaqbj")
cells.Shown(msref.verify(second, cases=1, n_time=8, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# The gradient of the last output arrives up to lag 3 and is exactly zero from
# lag 4 on. Each output is followed back through three hops and no further:
# truncated backpropagation through time, taken for the whole.
# :::
#
# **3.** One more. Compare the adjoints at the last step.

# %%
third = cells.riddle(network, "qrevingvir qebccrq")
cells.Shown(msref.verify(third, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# The adjoint is wrong at the last step already, before any hop back in time. So
# the fault is in (2'), not in (1'): the slope $1 - h^2$ was left out.
# :::
#
# **4.** Write your own network with `init`, `step`, `forward` and `backward`,
# and run `msref verify mycell.py:MyCell`. Only the first two are required.
