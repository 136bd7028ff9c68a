# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 10. Networks made of networks
#
# Layers on top of each other, cells side by side, a second cell that reads from
# the end. None of these is a new network. They are wiring, and wiring has a way
# back of its own: short, and wrong in many first attempts.
#
# The protocol of chapter 0 is what makes it simple. A combination has `init`,
# `step`, `forward` and `backward` like its parts, so it can be a part itself. The
# arrays of part number $k$ carry the prefix `k/`.

# %%
import tracemalloc

import numpy as np

import msref
from msref.architectures.combine import reversal
from msref.book import cells
from msref.verification import draw

blue, orange, green = cells.COLOURS[:3]

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "Left, a stack: x enters f0, its output enters f1, and that gives y. Middle,"
    " parallel: x enters f0 and f1, their outputs are joined. Right,"
    " bidirectional: the same, but the sequence is reversed before f1 and again"
    " after it.",
    width=9,
    height=3.2,
    columns=3,
) as (left, middle, right):
    x = cells.box(left, 0, 0, "$x$")
    f0 = cells.box(left, 0, 1, "$f_0$", blue)
    f1 = cells.box(left, 0, 2, "$f_1$", blue)
    y = cells.box(left, 0, 3, "$y$")
    cells.arrow(left, x, f0)
    cells.arrow(left, f0, f1, "$u_1$")
    cells.arrow(left, f1, y)
    left.update_datalim([(-1, 0), (1, 3)])
    for axes, turns in ((middle, False), (right, True)):
        x = cells.box(axes, 1, 0, "$x$")
        f0 = cells.box(axes, 0, 1.5, "$f_0$", blue)
        f1 = cells.box(axes, 2, 1.5, "$f_1$", blue)
        y = cells.box(axes, 1, 3, "$y = [y_0, y_1]$")
        cells.arrow(axes, x, f0)
        cells.arrow(axes, f0, y)
        how = ("$R$", orange) if turns else ("", cells.INK)
        cells.arrow(axes, x, f1, *how)
        cells.arrow(axes, f1, y, *how)
    for axes in (left, middle, right):
        cells.bare(axes)

# %% [markdown]
# ## Four facts about wires
#
# All that follows is made of these. Each is the chain rule, for one kind of wire.
#
# - **One after the other.** If $y = f_1(f_0(x))$, then first $\mathrm{d}u_1$ is
#   found from $\mathrm{d}y$, then $\mathrm{d}x$ from $\mathrm{d}u_1$: the same
#   parts in the reverse order.
# - **Used twice.** If $x$ enters two places, a change of $x$ changes the loss in
#   both ways at once: $\mathrm{d}x$ is the *sum* of what comes back from both.
# - **Joined.** If $y = [y_0, y_1]$, each entry of $y$ is an entry of one part. So
#   $\mathrm{d}y$ is *cut* where $y$ was joined.
# - **Put in another order.** If $y_i = x_{\pi(i)}$, then $\partial L/\partial
#   x_{\pi(i)} = \mathrm{d}y_i$. The gradient goes back by the inverse order. A
#   reversal is its own inverse.
#
# (arch-stack)=
# ## Stack
#
# ### Forward
#
# :::{beside}
# Each part reads what the one below has put out:
#
# \begin{align*}
# u_0 &= x, \quad u_{k+1} = f_k(u_k), \quad y = u_n \tag{1}
# \end{align*}
#
# `step` goes from layer to layer within one time step.
# +++
# ```{source} msref.Stack.step
# :from: states, traces
# ```
# :::
#
# :::{beside}
# `forward` turns the two loops round. It runs one layer over the whole sequence,
# then the next. A layer needs from the one below only $u_k$ at the same time or
# before, so nothing is missing. And each layer keeps its own fast pass: one large
# product over all time steps, as in chapter 1, and not one small product per
# layer and step.
# +++
# ```{source} msref.Stack.forward
# :from: y, states, tapes
# ```
# :::
#
# ### Backward
#
# :::{beside}
# One after the other, in reverse:
#
# \begin{align*}
# \mathrm{d}u_n &= \mathrm{d}y \\
# \mathrm{d}u_k &= f_k'(\mathrm{d}u_{k+1}) \\
# \mathrm{d}x &= \mathrm{d}u_0 \tag{1'}
# \end{align*}
#
# $f_k'$ is the `backward` of the part. It goes through *all* of its time before
# the layer below begins. The gradient of the final state is cut by prefix, for
# each part its own.
# +++
# ```{source} msref.Stack.backward
# :from: grads: list
# ```
# :::
#
# ### Is it true?

# %%
stack = msref.Stack(msref.LSTM(3, 4), msref.LMN(4, 5, 2))
cells.Shown(msref.verify(stack, cases=1, n_time=6))

# %% [markdown]
# A stack needs no bug of its own. But bugs of its parts travel. Here the upper
# layer forgets to hand its gradient down:

# %%
two = msref.Stack(msref.Elman(3, 4), msref.Elman(4, 5))
wrong = cells.planted(two, "input path dropped", "1/W_xh")
cells.Shown(msref.verify(wrong, cases=1, n_time=4, n_batch=2))

# %% [markdown]
# Everything of layer 1 is right, everything of layer 0 is wrong, from the last
# step on. So the fault is between the two, in what layer 1 returns as `dx`.
#
# (arch-parallel)=
# ## Parallel
#
# ### Forward and backward
#
# :::{beside}
# All parts read the same input. Their outputs are joined:
#
# \begin{align*}
# y &= [f_0(x), f_1(x), \dots] \tag{1}
# \end{align*}
#
# {cite:t}`lambrechts2023` build a layer so, of two cells, of which one is warmed
# up and the other not.
# +++
# ```{source} msref.Parallel.forward
# :from: ys, states, tapes
# ```
# :::
#
# :::{beside}
# Joined forwards, so cut backwards. Used by all parts, so summed:
#
# \begin{align*}
# [\mathrm{d}y_0, \mathrm{d}y_1, \dots] &= \mathrm{d}y \\
# \mathrm{d}x &= \sum_k f_k'(\mathrm{d}y_k) \tag{1'}
# \end{align*}
# +++
# ```{source} msref.Parallel.backward
# :from: grads: list
# ```
# :::
#
# The recurrent weights of the two parts together are a matrix of two blocks on
# the diagonal. No unit of one part ever reads the state of the other. So
# {py:class}`msref.Parallel` costs less than one large cell of as many units, and
# can do less.
#
# ### Is it true?

# %%
parallel = msref.Parallel(msref.GRU(3, 4), msref.LMN(3, 2, 5))
report = msref.verify(parallel, cases=2, n_time=6)
print(report.verdict, f"{report.relative_error:.1e}")

# %% [markdown]
# The bug that belongs to this wire: the gradient of the input from the first part
# alone.

# %%
pair = msref.Parallel(msref.Elman(3, 4), msref.Elman(3, 5))
wrong = cells.Riddle(cells.planted(pair, "fan-out dropped", "dx"))
cells.Shown(msref.verify(wrong, cases=1, n_time=4, n_batch=2))

# %% [markdown]
# Every weight's gradient is right, and a training of this layer alone would not
# notice. It is felt only by what stands *below*.
#
# (arch-bidirectional)=
# ## Bidirectional
#
# ### Forward
#
# :::{beside}
# {cite:t}`schuster1997`: a second network reads the sequence from its end. $R$
# reverses each sequence in time:
#
# \begin{align*}
# y &= [f_0(x),\; R\, f_1(R x)] \tag{1}
# \end{align*}
#
# The second $R$ puts outputs back, so that both halves of $y_t$ belong to frame
# $t$. Each $y_t$ has read the past through $f_0$ and the future through $f_1$.
#
# There is no `step`: what is put out at time $t$ depends on what has not come
# yet. The specification is `scan` over the whole sequence.
# +++
# ```{source} msref.Bidirectional.scan
# :from: R = reversal
# ```
# :::
#
# ### Sequences of different lengths
#
# A batch is padded at its end. If the *padded* batch is reversed, $f_1$ reads the
# padding first, and its state is no longer the start when the sequence begins.
# So each sequence is turned within its own length, and padding stays where it is:

# %%
lengths = np.array([5, 3])
frames = np.arange(5)[:, None].repeat(2, axis=1)  # frame number t
R = reversal(5, 2, lengths)
print("frames of sequence 0, reversed:", frames[R][:, 0])
print("frames of sequence 1, reversed:", frames[R][:, 1])

# %%
both_ways = msref.Bidirectional(msref.LSTM(3, 4), msref.Elman(3, 5))
case = draw(both_ways, seed=0, n_time=5, n_batch=2)


def outputs(lengths, padding):
    """Run with other numbers in the padding of sequence 1."""
    x = case.x.copy()
    x[3:, 1] = padding
    y, _, _ = both_ways.forward(case.params, x, case.state, lengths=lengths)
    return y[:3, 1]


for told in (lengths, None):
    moved = np.abs(outputs(told, 0.0) - outputs(told, 9.0)).max()
    print(f"lengths {told}: padding moves outputs by {moved:.2g}")

# %% [markdown]
# The released code of the MultiScale LMN reverses the padded batch. We do not.
#
# ### Backward
#
# :::{beside}
# Cut, put in the other order, and sum. $R$ is its own inverse, so it stands in
# the same places:
#
# \begin{align*}
# [\mathrm{d}y_0, \mathrm{d}y_1] &= \mathrm{d}y \\
# \mathrm{d}x &= f_0'(\mathrm{d}y_0) + R\, f_1'(R\, \mathrm{d}y_1) \tag{1'}
# \end{align*}
# +++
# ```{source} msref.Bidirectional.backward
# :from: R = (tape
# ```
# :::
#
# ### Is it true?

# %%
report = msref.verify(both_ways, cases=2, n_time=6)
print(report.verdict, f"{report.relative_error:.1e}")
nested = msref.REGISTRY["stack"].examples[1]
report = msref.verify(nested, cases=2, n_time=6)
print(report.verdict, f"{report.relative_error:.1e}", report.name)

# %% [markdown]
# The second is a bidirectional layer below a causal one: combinations are parts.
# Exercise 1 plants the bug that belongs to $R$.
#
# (checkpointed)=
# ## Checkpointed
#
# ### What it keeps
#
# A tape grows with time. For a long sequence it is most of the memory that a
# training needs. {py:class}`msref.Checkpointed` keeps no tape. It keeps the state
# at a few cuts, and makes the tape of a segment again when the way back comes to
# it (the method of Chen, Xu, Zhang and Guestrin, 2016; for recurrent networks of
# Gruslys and others, 2016).
#
# :::{beside}
# For segment $k$ of the time:
#
# \begin{align*}
# y_k,\, s_{k+1} &= f(x_k, s_k) \tag{1}
# \end{align*}
# +++
# ```{source} msref.Checkpointed.forward
# :from: for k, now
# :to: del out, segment
# ```
# :::
#
# :::{beside}
# From the last segment to the first: forwards again, for the tape; then back. A
# weight is used in every segment, so its gradients are summed.
#
# \begin{align*}
# \mathrm{d}x_k,\, \mathrm{d}s_k,\, \mathrm{d}W \mathrel{+}=
# f'(\mathrm{d}y_k, \mathrm{d}s_{k+1}) \tag{1'}
# \end{align*}
# +++
# ```{source} msref.Checkpointed.backward
# :from: segments = list
# :to: del y, dy_now
# ```
# :::
#
# ### How long a segment should be
#
# Let a step of tape take $a$ bytes and a state $b$. With segments of $s$ of $n$
# steps, what is held at once is
#
# \begin{align*}
# M(s) &= a s + b \frac{n}{s} , \\
# M'(s) &= a - b \frac{n}{s^2} = 0 \;\Rightarrow\; s = \sqrt{\frac{b}{a}\, n} .
# \end{align*}
#
# So memory grows as $\sqrt{n}$ and no longer as $n$. By default $s$ is about
# $\sqrt n$, which is best for $a = b$. Otherwise it takes more than the least by
# the factor
#
# $$\frac{M(\sqrt n)}{\min M} = \frac{(a + b) \sqrt n}{2 \sqrt{a b\, n}}
# = \frac{a + b}{2 \sqrt{a b}} .$$
#
# The price is one forward pass more. Besides, each segment costs as much as some
# dozens of steps of a small network. Where time matters more than the last
# megabytes, take longer ones.
#
# ### What is still as long as time
#
# $x$, $y$ and both their gradients. `keep_y=False` returns no $y$. Then `dy` is a
# function: `backward` calls it with the outputs of a segment. And `dx=x` writes
# the gradient of the input over the input. What is left is $x$ alone.
#
# ### Is it true?

# %%
print(msref.verify(msref.Checkpointed(msref.LSTM(3, 5), 3), cases=1).verdict)

# Not an LSTM: its pass asks the system for memory that it never touches.
plain = msref.LMN(16, 64, 64)


def measure(arch, n_time, lean=False):
    """Return gradients of the sum of all outputs, and the peak in MB."""
    rng = np.random.default_rng(0)
    params = arch.init(rng)
    x, dy = rng.standard_normal((n_time, 8, 16)), np.ones((n_time, 8, 64))
    tracemalloc.start()
    if lean:
        _, _, tape = arch.forward(params, x, keep_y=False)
        gradients = arch.backward(
            params, tape, lambda y, now: np.ones_like(y), dx=x
        )
    else:
        _, _, tape = arch.forward(params, x)
        gradients = arch.backward(params, tape, dy)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return gradients, peak


def apart(gradients, others):
    """Return the largest difference of two gradients, relative."""
    pairs = [(g, others.params[k]) for k, g in gradients.params.items()]
    pairs.append((gradients.x, others.x))
    return max(np.abs(g - o).max() / np.abs(g).max() for g, o in pairs)


rows = []
for n_time in (100, 400, 1600):
    whole, held = measure(plain, n_time)
    cut, less = measure(msref.Checkpointed(plain), n_time)
    lean, least = measure(msref.Checkpointed(plain), n_time, lean=True)
    gap = max(apart(whole, cut), apart(whole, lean))
    rows.append((n_time, held, less, least, gap))
cells.Grid(
    (
        *("steps", "MB", "MB, checkpointed", "MB, x alone kept"),
        "largest relative difference",
    ),
    rows,
)

# %% [markdown]
# Counted is the peak of a forward and a backward pass, without $x$ and $\mathrm{d}y$
# that go in. Checkpointed, four times the steps still take nearly four times as
# much in the end: outputs and the gradient of the input are whole. Where $x$ alone
# is kept, the growth from 400 to 1600 steps is twice that from 100 to 400. This is
# $\sqrt n$, on top of the weights and their gradients. The gradients are the same
# to rounding, and not to the bit, since sums over time are taken in another order.
#
# Now the length of a segment, at 1600 steps; the default is 40. Beside it stands
# $M(s)$ with a constant, fitted by least squares.

# %%
sizes = np.array([10, 20, 40, 80, 160])
peaks = [
    measure(msref.Checkpointed(plain, int(size)), 1600, lean=True)[1]
    for size in sizes
]
terms = np.stack([sizes, 1600 / sizes, np.ones(5)], axis=1)
(a, b, c), *_ = np.linalg.lstsq(terms, peaks)
print(
    f"a / b = {a / b:.2f}, so the best segment has {(1600 * b / a) ** 0.5:.1f}"
)
cells.Grid(
    ("steps of a segment", "MB, x alone kept", "a s + b n / s + c"),
    list(zip(sizes, peaks, terms @ [a, b, c], strict=True)),
)

# %% [markdown]
# A step of tape takes several times the bytes of a state, so a segment shorter
# than the default is best, and the default is not far from it.
#
# ## What they remember
#
# A stack's layers remember each for itself; the upper ones see the past through
# the lower ones as well. A bidirectional network knows the future, too. The
# figure shows the gradient of one output in the middle of a sequence for each
# frame: how much that output depends on what was, and what will be.

# %% tags=["hide-input"]
rng = np.random.default_rng(0)
n_time, at = 41, 20
shown = {
    "one layer": msref.GRU(1, 24),
    "stack of 2": msref.Stack(msref.GRU(1, 24), msref.GRU(24, 24)),
    "stack of 4": msref.Stack(
        msref.GRU(1, 24), *[msref.GRU(24, 24) for _ in range(3)]
    ),
    "bidirectional": msref.Bidirectional(msref.GRU(1, 12), msref.GRU(1, 12)),
}
x = rng.standard_normal((n_time, 16, 1))
dy = np.zeros((n_time, 16, 24))
dy[at] = rng.standard_normal((16, 24))
depends = {}
for label, arch in shown.items():
    params = arch.init(np.random.default_rng(1))
    _, _, tape = arch.forward(params, x)
    found = arch.backward(params, tape, dy).x
    depends[label] = np.sqrt(np.mean(found**2, axis=(1, 2)))
with cells.drawing(
    "Size of the gradient over the distance in time. One layer falls at once; a"
    " stack of two falls later; the bidirectional network has both sides.",
    height=3.2,
) as axes:
    for k, (label, size) in enumerate(depends.items()):
        seen = size > 0
        axes.semilogy(
            *((np.arange(n_time) - at)[seen], size[seen]),
            cells.DASHES[k],
            color=cells.COLOURS[k],
            label=label,
        )
    axes.set_xlabel("frame, from the output's own")
    axes.set_ylabel("size of the gradient")
    axes.legend()

# %%
cells.Grid(
    ("network", "10 steps before, of its largest", "10 steps after"),
    [
        (label, size[at - 10] / size.max(), size[at + 10] / size.max())
        for label, size in depends.items()
    ],
)

# %% [markdown]
# The networks are untrained. For the three causal ones the gradient after the
# output's own frame is not small but zero.
#
# Why does a stack reach further back? Count the ways. From frame $t - k$ to output
# $t$ a gradient takes $k$ hops in time, and it climbs $L - 1$ times from one layer
# to the next. It may climb at any of the steps, so there are
#
# $$\binom{k + L - 1}{L - 1}$$
#
# ways. If a hop shrinks a gradient by $\lambda$, and the ways add up without
# cancelling, the sum is $\binom{k + L - 1}{L - 1}\, \lambda^k$. From $k = 0$ to
# $k = 1$ it changes by the factor $L \lambda$: one layer falls from the start, four
# rise first if $\lambda > 1/4$. In the end $\lambda^k$ wins. So depth moves the
# fall, and does not stop it.
#
# How well can the input $k$ steps back be read from the *whole* state, all layers
# together? (A bidirectional network has no state that moves with time, so it is
# not in this figure.)

# %% tags=["hide-input"]
# Stacks and pairs of as many units in all: 48.
compared = {
    "one layer of 48": msref.GRU(1, 48),
    "stack of 24 + 24": msref.Stack(msref.GRU(1, 24), msref.GRU(24, 24)),
    "parallel, 24 + 24": msref.Parallel(msref.GRU(1, 24), msref.GRU(1, 24)),
}
with cells.drawing(
    "R² of reading the input k steps back from the whole state, for one layer, a"
    " stack and a pair side by side, with 48 units each.",
    height=3.2,
) as axes:
    read_back = cells.recall_plot(
        axes,
        {
            label: (arch, arch.init(np.random.default_rng(2)))
            for label, arch in compared.items()
        },
        30,
    )

# %%
cells.Grid(
    ("network", "sum of R², in steps"),
    [(label, sum(found)) for label, found in read_back.items()],
)

# %% [markdown]
# ## The papers' claims, measured
#
# Of {cite:t}`schuster1997` we know title and year; its experiments were not
# measured here. Stacks are the networks in which IndRNN and the dual module were
# measured ([chapter 8](08-indrnn-and-durnn.ipynb)). Layers of two cells, of which
# one is warmed up, are measured by `msref reproduce warmup`. The claim on
# {py:class}`msref.Checkpointed` is our own: what it needs for 5000 steps.
#
# ```{result} durnn-full
# :claims: a5
# :tables: 1
# ```
#
# ## Porting notes
#
# What goes wrong in wiring, framework by framework:
#
# - In PyTorch, the output of a bidirectional layer at time $t$ is
#   $[y_{0,t}, y_{1,t}]$, with the second half put back in order, as here. Its
#   final states are those after the last frame read: for the second direction
#   that is the first frame. ONNX has an axis for the direction and joins
#   nothing.
# - Padding: ONNX has `sequence_lens`, PyTorch packed sequences, Keras masks. To
#   agree with them, hold the state after the last frame that counts, and begin
#   the second direction there. Here `lengths` does the second; final states are
#   those after all frames, padding included.
# - In a stack, the prefix `0/` is nearest to the input.
#
# {py:mod}`msref.ports` takes stacks and both directions over, and says what has
# no place:

# %%
same = msref.Bidirectional(msref.GRU(3, 5), msref.GRU(3, 5))
params = draw(same, seed=0, n_time=4, n_batch=2).params
weights, notes = msref.ports.FRAMEWORKS["torch"].export(same, params)
print({name: array.shape for name, array in weights.items()})
print(*notes, sep="\n")
try:
    msref.ports.FRAMEWORKS["haiku"].export(same, params)
except ValueError as error:
    print(error)

# %%
cells.vectors_grid("stack")

# %%
cells.vectors_grid("parallel")

# %%
cells.vectors_grid("bidirectional")

# %% [markdown]
# Check first that the *second half* of the output belongs to the same frame as
# the first, then `ragged`, then the gradient of the input.
#
# ## Exercises
#
# **1.** Two Elman networks, one in each direction. At some lags the gradient is
# right. Why there? (For networks that look ahead, the report draws lengths, too.)

# %%
two_ways = msref.Bidirectional(msref.Elman(3, 4), msref.Elman(3, 5))
first = cells.riddle(two_ways, "erirefny sbetbggra", "E")
print("lengths:", draw(two_ways, seed=0, n_time=5, n_batch=2).lengths)
cells.Shown(msref.verify(first, cases=1, n_time=5, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# Part 0 is right throughout, part 1 is wrong, and so is their sum `dx`. Forwards
# all agrees: outputs were put back in order. On the way back they were not, $R$
# is missing in (1'). Both sequences have 3 frames that count. The last two steps,
# lags 0 and 1, are padding, which $R$ leaves where it is. Of the other three, $R$
# exchanges the first and the last, lags 4 and 2, and these are wrong. It leaves
# the middle one, lag 3.
# :::
#
# **2.** Which gradients are right here, and which line of (1') is short of a term?

# %%
second = cells.riddle(two_ways, "sna-bhg qebccrq", "qk")
cells.Shown(msref.verify(second, cases=1, n_time=5, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# All adjoints and all weights are right. Only `dx` is wrong: it holds what comes
# back through $f_0$, and not what comes back through $f_1$.
# :::
#
# **3.** The stack of two Elman networks. In which layer is the fault? (The end of
# the report alone; its head would tell.)

# %%
third = cells.riddle(two, "erpheerag cngu qebccrq", "1/J_uu")
report = str(msref.verify(third, cases=1, n_time=5, n_batch=2))
print("where it goes wrong" + report.partition("where it goes wrong")[2])

# %% [markdown]
# :::{dropdown} Solution
# In layer 1, at its first hop back in time: the last step is right in both
# layers. Layer 0 is wrong as well, but only because its gradients come from
# layer 1.
# :::
#
# **4.** Derive the best segment if a step of tape takes nine times the bytes of a
# state. By what factor is $s = \sqrt n$ worse?
#
# :::{dropdown} Solution
# $a = 9b$: $s = \sqrt{n}/3$, $M = 9b\sqrt n/3 + 3b\sqrt n = 6b\sqrt n$. With
# $s = \sqrt n$ it is $9b\sqrt n + b\sqrt n = 10b\sqrt n$, which is more by
# $5/3$.
# :::
