# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 5. From a window to a memory: the Linear Memory Network
#
# The network of chapter 1 has one matrix for two jobs. $W_{hh}$ computes
# something new from the past, and it also has to keep the past. Whatever it
# keeps goes through tanh at every step.
#
# {cite:t}`bacciu2019` take the two jobs apart. A *functional component* computes,
# with tanh; a *memory* remembers, and is linear. And a linear memory is what
# [chapter 4](04-laes.ipynb) has in closed form. So the network need not learn to
# remember from nothing: first train one whose memory is a plain window onto the
# last few steps, then turn the window into a memory. This chapter goes that way,
# step by step, on chorales.
#
# Of the papers only abstracts and the authors' code are known to us. The
# equations are those of the code; the derivations are ours.

# %%
import base64

import numpy as np

import msref
from msref import LAES
from msref.arrays import under
from msref.book import cells
from msref.claims.memory import recoverability
from msref.data import load_chorales, next_frame
from msref.pretraining import (
    hidden_sequences,
    lmn_from_unrolled,
    lmn_orthogonal,
)
from msref.training import Adam, FrameAccuracy, Model, evaluate, fit

blue, orange = cells.COLOURS[:2]

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "Left, the unrolled network: h reads the input and a window of the hidden"
    " vectors before it; the window moves one slot further, and h takes the"
    " first. Right, the Linear Memory Network: h reads the input and a memory m,"
    " and the memory is carried on by a matrix and written by h.",
    width=9,
    height=2.8,
    columns=2,
) as (left, right):
    slots = "$h_{t-1} | h_{t-2} | h_{t-3}$", "$h_t | h_{t-1} | h_{t-2}$"
    for axes, (old, new), names in (
        (left, slots, ("$W_{wh}$", "first slot", "one slot on")),
        (right, ("$m_{t-1}$", "$m_t$"), ("$W_{mh}$", "$W_{hm}$", "$W_{mm}$")),
    ):
        x = cells.box(axes, 0, 0, "$x_t$")
        h = cells.box(axes, 0, 1, "$h_t$", blue)
        before = cells.box(axes, -2, 2, old, orange)
        after = cells.box(axes, 2, 2, new, orange)
        cells.arrow(axes, x, h, "$W_{xh}$")
        cells.arrow(axes, before, h)
        cells.arrow(axes, h, after)
        cells.arrow(axes, before, after, names[2], orange)
        axes.text(-1.3, 1.3, names[0], ha="right", fontsize=9)
        axes.text(1.3, 1.3, names[1], fontsize=9)
        cells.bare(axes)

# %% [markdown]
# Left, the past is a row of slots, here three, and $W_{wh}$ reads them all. Right,
# the past is one vector. Nothing on the orange line is squashed.
#
# (arch-ulm)=
# ## The unrolled network (ULM)
#
# ### Forward
#
# The state is a window $w$ onto the last $k-1$ hidden vectors, newest first, one
# beside the other in a row.
#
# :::{beside}
# \begin{align*}
# a_t &= x_t W_{xh} + w_{t-1} W_{wh} + b_h \tag{1} \\
# h_t &= \tanh(a_t) \tag{2} \\
# y_t &= [h_t,\; w_{t-1}] \tag{3} \\
# w_t &= y_t \text{ without its last block} \tag{4}
# \end{align*}
#
# So $y_t = [h_t, h_{t-1}, \dots, h_{t-k+1}]$. Whoever reads $y_t$ sees the last
# $k$ hidden vectors as they were.
# +++
# ```{source} msref.ULM.step
# ```
# :::
#
# `forward` computes $x_t W_{xh} + b_h$ for all steps first, as before. And it has
# no window: (3) and (4) only move blocks, so $w_t$ is a *view* of the first $k-1$
# blocks of $y_t$. tanh writes its result where the output wants it.
#
# ```{source} msref.ULM.forward
# :from: y = xp.zeros
# :to: (3)
# ```
#
# ### Backward
#
# :::{beside}
# **Through (4).** $w_t$ is a part of $y_t$. Its gradient, from the future, is added
# to that part:
#
# \begin{align*}
# \mathrm{d}y_t &\mathrel{+}= [\mathrm{d}w_t,\; 0] \tag{4'}
# \end{align*}
#
# **Through (3).** $y_t$ was put together of two; its gradient is taken apart:
#
# \begin{align*}
# [\mathrm{d}h_t,\; \mathrm{d}w_{t-1}] &= \mathrm{d}y_t \tag{3'}
# \end{align*}
#
# **Through (2) and (1)**, as in chapter 1:
#
# \begin{align*}
# \mathrm{d}a_t &= \mathrm{d}h_t \odot (1 - h_t^2) \tag{2'} \\
# \mathrm{d}w_{t-1} &\mathrel{+}= \mathrm{d}a_t W_{wh}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.ULM.backward
# :from: da = d_tanh
# :to: (1')
# ```
# :::
#
# There are two ways back. (3') moves a gradient one slot, unchanged, until it
# has been in all of them. (1') goes through the hidden layer, and starts anew.
#
# The authors' code lets no gradient into the oldest slot. Then what comes out is
# the derivative of no function, and nothing could witness it. Ours is the
# derivative of (1)-(4).
#
# ### Is it true?

# %%
ulm = msref.ULM(3, 4, 3)
cells.Shown(msref.verify(ulm, cases=2, n_time=8))

# %% [markdown]
# A bug: (1') is forgotten, so only the window itself carries gradients back.

# %%
cells.Shown(
    msref.verify(
        cells.planted(ulm, "recurrent path dropped", "W_wh"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# Look at the last table. The output of this network shows the last three hidden
# vectors. Without (1') the gradient of an output arrives at these three and is
# then exactly zero. A window is a memory of fixed length; whatever is older has
# come through tanh.
#
# (arch-lmn)=
# ## The Linear Memory Network (LMN)
#
# ### Forward
#
# :::{beside}
# The functional component reads the input and the memory:
#
# \begin{align*}
# a_t &= x_t W_{xh} + m_{t-1} W_{mh} + b_h \tag{1} \\
# h_t &= \tanh(a_t) \tag{2}
# \end{align*}
#
# The memory is written by it, and keeps what it has:
#
# \begin{align*}
# m_t &= h_t W_{hm} + m_{t-1} W_{mm} + b_m \tag{3} \\
# y_t &= m_t \quad\text{or}\quad y_t = h_t \tag{4}
# \end{align*}
#
# The papers call the first output LMN-B and the second LMN-A.
# +++
# ```{source} msref.LMN.step
# ```
# :::
#
# The order matters. $h_t$ reads the memory *before* it is written, and the memory
# is written by $h_t$, not by $h_{t-1}$. So an input is in the memory after one
# step.
#
# `forward` computes $x_t W_{xh}$ for all steps first. Two small products per step
# are left, and each waits for the one before. $m_{t-1}$ is read by $h_t$ and by
# the memory itself, so $W_{mh}$ and $W_{mm}$ stand side by side: one product gives
# both their share, `to_h` and `to_itself`, biases included. This saves a call, not
# a multiplication.
#
# ```{source} msref.LMN.forward
# :from: # what the memory gives
# :to: y = m[1:]
# ```
#
# ### Backward
#
# Where does $m_t$ go? It is the output, it enters $m_{t+1}$, and it enters
# $a_{t+1}$. Three places, three terms.
#
# :::{beside}
# **Through (4)**, if the memory is the output. $\mathrm{d}m_t$ already holds what
# came from the future:
#
# \begin{align*}
# \mathrm{d}m_t &\mathrel{+}= \mathrm{d}y_t \tag{4'}
# \end{align*}
#
# **Through (3)**, to both that it is made of:
#
# \begin{align*}
# \mathrm{d}h_t &= \mathrm{d}m_t W_{hm}^T \\
# \mathrm{d}m_{t-1} &= \mathrm{d}m_t W_{mm}^T \tag{3'}
# \end{align*}
#
# **Through (2)**, with the slope from the output:
#
# \begin{align*}
# \mathrm{d}a_t &= \mathrm{d}h_t \odot (1 - h_t^2) \tag{2'}
# \end{align*}
#
# **Through (1)**, to the memory once more:
#
# \begin{align*}
# \mathrm{d}m_{t-1} &\mathrel{+}= \mathrm{d}a_t W_{mh}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.LMN.backward
# :from: # da_t and dm_t side by side
# :to: xp.dot(da_dm[t], W_m_T)
# ```
# :::
#
# (3') and (1') both send something to $m_{t-1}$. In the code $\mathrm{d}a_t$ and
# $\mathrm{d}m_t$ lie side by side, so the two are one product,
#
# $$\mathrm{d}m_{t-1} = [\mathrm{d}a_t,\; \mathrm{d}m_t]\,
# [W_{mh},\; W_{mm}]^T .$$
#
# The slopes of (2') are computed for all steps before the loop.
#
# :::{beside}
# The weights' gradients are sums over all steps. There are two right-hand sides,
# $\mathrm{d}a$ and $\mathrm{d}m$, since the memory is its own pre-activation:
#
# \begin{align*}
# \mathrm{d}W_{xh} &= \sum_t x_t^T \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}W_{mh} &= \sum_t m_{t-1}^T \mathrm{d}a_t \tag{1'} \\
# \mathrm{d}W_{hm} &= \sum_t h_t^T \mathrm{d}m_t \tag{3'} \\
# \mathrm{d}W_{mm} &= \sum_t m_{t-1}^T \mathrm{d}m_t \tag{3'}
# \end{align*}
# +++
# ```{source} msref.LMN.backward
# :from: dW_m = flat
# :to: },
# ```
# :::
#
# Two of the four are one product again, and the biases' gradients, sums of
# $\mathrm{d}a_t$ and $\mathrm{d}m_t$, are one sum.
# $\mathrm{d}x_t = \mathrm{d}a_t W_{xh}^T$, as in chapter 1.
#
# Leave the way through $h$ out for a moment. Then $\mathrm{d}m_{t-k} =
# \mathrm{d}m_t (W_{mm}^T)^k$, a power of *one* matrix, without slopes in between. If
# it is orthogonal, the gradient arrives whole. `detached` leaves that way out at
# chosen steps. The authors draw them while training, and call it p-detach.
#
# ### Is it true?

# %%
lmn = msref.LMN(3, 4, 5)
for output in ("memory", "hidden"):
    report = msref.verify(msref.LMN(3, 4, 5, output=output), cases=2, n_time=8)
    print(f"{report.verdict}  {report.name}: {report.relative_error:.1e}")

# %% [markdown]
# The bug that suggests itself: the memory is linear, so surely its gradient is
# $\mathrm{d}m_t W_{mm}^T$ and no more. The second way back, (1'), is forgotten.

# %%
cells.Shown(
    msref.verify(
        cells.planted(lmn, "recurrent path dropped", "W_mh"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# At the last step everything agrees. One hop earlier `m` is wrong, and with it
# `a`. The gradients by lag have about the right size: no one would notice, and a
# training would go on.
#
# ## From the window to the memory
#
# ### The derivation
#
# Take a trained unrolled network, and run it over its training set. Fit an LAES
# to its *hidden sequences*. With $A$, $B$ of that LAES, chapter 4 says that a state
# gives back the last $k$ frames, newest first. In rows, with a memory $m_t$ and
#
# \begin{align*}
# R_k = [A^T;\; A^T B^T;\; \dots;\; A^T (B^T)^{k-1}] , \qquad
# [h_t,\, \dots,\, h_{t-k+1}] &= m_t R_k^T , \tag{5}
# \end{align*}
#
# exactly so if the memory has as many units as the rank.
#
# :::{beside}
# The memory itself is the encoder, transposed:
#
# \begin{align*}
# W_{hm} &= A^T, \qquad W_{mm} = B^T \tag{6}
# \end{align*}
#
# A layer that reads the window reads $w_{t-1} W_{wh}$, and by (5) that is
# $m_{t-1} R_{k-1}^T W_{wh}$. So is the read-out $V$ of $y_t$:
#
# \begin{align*}
# W_{mh} &= R_{k-1}^T W_{wh}, \qquad W_{yo} = R_k^T V \tag{7}
# \end{align*}
#
# (The numbers beside the lines are those of its docstring.) Everything else is
# kept. The terms with `offset` and `e` are zero unless a mean
# is subtracted; exercise 3 is about them.
# +++
# ```{source} msref.pretraining.lmn_from_unrolled
# :from: new = {
# :to: "readout/b_o"
# ```
# :::
#
# A window becomes a memory by two products. That a layer on frames can become a
# layer on a state is due to {cite:t}`sperduti2015`; (7) is derived here from it,
# since the formula that the paper prints is not known to us.
#
# ### The check
#
# Four short chorales and an unrolled network with random weights, in double
# precision. The new network has another architecture, other weights and another
# state. It should give the same outputs.

# %%
chorales = load_chorales()
short = sorted(chorales.train, key=len)[:4]
rng = np.random.default_rng(0)
window = Model(msref.ULM(88, 12, 4), 88)
params = window.init(rng)
hidden = hidden_sequences(window, params, short)
rank = LAES(sum(map(len, short))).fit(hidden).rank


def apart(model, params, other, others, sequences):
    """Return the largest difference of two models' outputs, relative."""
    found = [
        (model.predict(params, x[:, None]), other.predict(others, x[:, None]))
        for x in sequences
    ]
    worst = max(np.abs(one - two).max() for one, two in found)
    return worst / max(np.abs(one).max() for one, _ in found)


rows = []
for n_mem in (5, 15, 30, 60, rank - 1, rank):
    memory, new = lmn_from_unrolled(window, params, short, n_mem)
    name = f"{n_mem}, the rank" if n_mem == rank else n_mem
    rows.append((name, apart(window, params, memory, new, short)))
cells.Grid(("units of memory", "largest difference of an output"), rows)

# %% [markdown]
# With fewer units than the rank the two drift apart smoothly. At the rank they
# are equal to rounding: this is one function, in two networks.
#
# ## On chorales
#
# ### Train the window
#
# The task is to predict the next frame of a chorale, a frame per quarter note. The
# read-out starts from how often each note sounds, which saves a few epochs. The
# training here takes seconds, so do not expect much of it; the long runs are
# below.


# %%
def pairs(pieces):
    inputs, targets = next_frame([x.astype(np.float32) for x in pieces])
    return list(zip(inputs, targets, strict=True))


def trained(model, params, n_epochs, rate):
    return fit(
        *(model, params, train, valid),
        optimiser=Adam(rate),
        rng=np.random.default_rng(0),
        n_epochs=n_epochs,
        n_batch=8,
        clip=10.0,
        progress=False,
    ).params


train, valid, test = map(pairs, (chorales.train, chorales.valid, chorales.test))
often = np.concatenate(chorales.train).mean(axis=0).clip(1e-4, None)
unrolled = Model(msref.ULM(88, 40, 5), 88)
start = unrolled.init(np.random.default_rng(0), np.float32)
start["readout/b_o"] = np.log(often / (1 - often)).astype(np.float32)
window_params = trained(unrolled, start, 8, 5e-3)
networks = {"ULM, trained": (unrolled, window_params)}

# %% [markdown]
# ### Turn it into a memory
#
# The LAES is fitted to the hidden sequences of every second piece. 100 units are
# far below the rank of all these histories. The new network cannot be the same
# function, only near it.

# %%
inputs = [x for x, _ in train]
memory, converted = lmn_from_unrolled(unrolled, window_params, inputs[::2], 100)
networks["LMN of it, 100 units"] = (memory, converted)

# %% [markdown]
# ### Train the memory

# %%
tuned = trained(memory, converted, 8, 3e-3)
networks["the same, trained on"] = (memory, tuned)


def scores(model, params):
    found = evaluate(model, params, test, FrameAccuracy())
    return found["loss"], f"{100 * found['score']:.1f} %"


cells.Grid(
    ("network", "test loss", "frame accuracy"),
    [(name, *scores(*network)) for name, network in networks.items()],
)

# %% [markdown]
# The step from the first row to the second loses a good part of what was
# learned, and further training has to win it back. Why so much? The window has
# 5 times 40 numbers, and the LAES was asked for *whole* histories. Most of what
# it keeps, the window never reads. Suppose that one asked it for five frames
# only, by its argument `width`:

# %%
hidden = hidden_sequences(unrolled, window_params, inputs[:20])


def lost_of_window(laes, k=5):
    """Return the relative error of the last k hidden vectors."""
    lost = total = 0.0
    for h in hidden:
        decoded = laes.decode(laes.encode(h), k)
        for lag in range(k):
            lost += np.sum((decoded[lag, lag:] - h[: len(h) - lag]) ** 2)
            total += np.sum(h[: len(h) - lag] ** 2)
    return (lost / total) ** 0.5


cells.Grid(
    ("units", "delays", "error of the last five hidden vectors"),
    [
        (
            units,
            width or "all",
            lost_of_window(LAES(units, width=width).fit(hidden)),
        )
        for width in (None, 5)
        for units in (50, 100, 200)
    ],
)

# %% [markdown]
# With 200 units and five delays nothing is lost: that is the window itself, in
# other coordinates. With fewer, it is the best for what the window reads. The
# papers' procedure keeps all delays, and so does `lmn_from_unrolled`. Which of
# the two makes the better *start* for a training is not answered by this table,
# and not known to us.
#
# ### What it predicts
#
# A chorale of the test set. Left, what sounds. Right, the probability of each note
# as the trained LMN sees it one frame before.

# %% tags=["hide-input"]
piece = next(x for x in chorales.test if 36 <= len(x) <= 44)
logits = memory.predict(tuned, piece[:-1, None].astype(np.float32))[:, 0]
with cells.drawing(
    "Two piano rolls. Left, a chorale. Right, the predicted probability of every"
    " note at every frame: bands around the notes that sound, darker where the"
    " network is sure.",
    width=9,
    height=3.4,
    columns=2,
) as (left, right):
    cells.roll_plot(left, piece)
    left.set_title("what sounds")
    cells.roll_plot(right, 1 / (1 + np.exp(-logits)), start=1, colour=orange)
    right.set_title("probability, one frame before")
    for axes in (left, right):
        axes.set_ylim(38, 84)
        axes.set_xlim(0, len(piece))

# %% [markdown]
# ### What it continues
#
# Now the network hears the first 16 frames and goes on by itself. Each further
# frame is drawn, and given to it as if it had been read. Chorales have four
# voices, so four notes are drawn: to each logit a random number is added
# (Gumbel's distribution makes the choice follow the probabilities), and the four
# largest win. Less `warmth` is less chance. All of this is our choice.


# %%
def continued(model, params, begun, n_frames, rng, warmth=1.0):
    """Return the beginning, and what the network adds to it."""
    core, state = under("core", params), model.core.initial_state(1, np.float32)
    roll = [*begun]
    for t in range(len(begun) + n_frames - 1):
        frame = roll[t][None].astype(np.float32)
        state, trace = model.core.step(core, state, frame, t)
        if t + 1 >= len(begun):
            logits = trace["y"][0] @ params["readout/W_yo"]
            logits = logits + params["readout/b_o"]
            chance = warmth * rng.gumbel(size=logits.size)
            new = np.zeros(88)
            new[np.argsort(logits + chance)[-4:]] = 1.0
            roll.append(new)
    return np.array(roll)


n_begun, n_more = 16, 24
rolls = {"what Bach wrote": piece[: n_begun + n_more]}
for name in ("ULM, trained", "the same, trained on"):
    rolls[name.replace("the same", "LMN")] = continued(
        *networks[name], piece[:n_begun], n_more, np.random.default_rng(3)
    )

# %% tags=["hide-input"]
with cells.drawing(
    "Three piano rolls that begin with the same 16 frames: the chorale as it was"
    " written, and as the two networks go on, in another colour.",
    width=9,
    height=3.6,
    columns=3,
) as several:
    for axes, (title, roll) in zip(several, rolls.items(), strict=True):
        cells.roll_plot(axes, roll[:n_begun])
        cells.roll_plot(axes, roll[n_begun:], n_begun, orange)
        axes.set_title(title)
        axes.set_ylim(38, 84)


# %%
def in_numbers(roll):
    """Return two shares of the notes after the beginning, in percent."""
    tones = np.flatnonzero(roll[:n_begun].any(axis=0)) % 12
    t, key = np.nonzero(roll[n_begun:])
    known = np.isin(key % 12, tones).mean()
    held = roll[n_begun - 1 + t, key].mean()
    return f"{100 * known:.0f} %", f"{100 * held:.0f} %"


cells.Grid(
    ("", "tones that the beginning has, too", "sound in the frame before"),
    [(name, *in_numbers(roll)) for name, roll in rolls.items()],
)

# %% [markdown]
# The networks stay with the tones of the beginning, and move less than Bach
# does. Where they stand in a phrase they do not show. They were trained for
# seconds.
#
# ### To listen to
#
# A file of the standard MIDI format is a header and a track. The track is a list
# of events, each after a number of ticks since the one before; the number is
# written seven bits to a byte, and all bytes but the last have the eighth bit
# set. A roll does not say whether a note that sounds in two frames is held or
# struck again. We hold it.


# %%
def midi(roll, ticks=96, per_minute=88):
    """Return a piano roll as a MIDI file, a frame to a quarter note."""
    tempo = round(60e6 / per_minute)  # microseconds of a quarter
    events = [(0, b"\xff\x51\x03" + tempo.to_bytes(3, "big"))]
    silence = np.zeros((1, 88), int)
    sounds = np.concatenate([silence, roll > 0, silence]).astype(int)
    for t, change in enumerate(np.diff(sounds, axis=0)):
        for key in np.flatnonzero(change < 0):
            events.append((t * ticks, bytes([0x80, 21 + key, 0])))
        for key in np.flatnonzero(change > 0):
            events.append((t * ticks, bytes([0x90, 21 + key, 80])))
    track, now = b"", 0
    for tick, event in [*events, (len(roll) * ticks, b"\xff\x2f\x00")]:
        track += variable(tick - now) + event
        now = tick
    head = b"".join(n.to_bytes(2, "big") for n in (0, 1, ticks))
    chunks = (b"MThd", head), (b"MTrk", track)
    return b"".join(
        kind + len(body).to_bytes(4, "big") + body for kind, body in chunks
    )


def variable(n):
    """Return a number, seven bits to a byte."""
    last = bytes([n & 0x7F])
    while n := n >> 7:
        last = bytes([0x80 | n & 0x7F]) + last
    return last


# %% tags=["hide-input"]
class Listen:
    """Links to files that lie in the page itself."""

    def __init__(self, rolls):
        self.rolls = rolls

    def __repr__(self):
        return ", ".join(
            f"{name}: {len(midi(roll))} bytes"
            for name, roll in self.rolls.items()
        )

    def _repr_html_(self):
        links = []
        for k, (name, roll) in enumerate(self.rolls.items()):
            data = base64.b64encode(midi(roll)).decode()
            links.append(
                f'<a download="chorale-{k}.mid"'
                f' href="data:audio/midi;base64,{data}">{name}</a>'
                f" ({len(midi(roll))} bytes)"
            )
        return "<p>MIDI files: " + " · ".join(links) + "</p>"


Listen(rolls)

# %% [markdown]
# ## What it remembers
#
# Four memories of 40 hidden and 100 memory units, on the same pieces: a standard
# start, an orthogonal one, that of the pre-training, and the last one after
# training. Left, how much of the gradient of $m$ arrives. Right, how well the
# frame $k$ steps back can be read from $m$, linearly, on pieces of the test set.

# %%
standard = Model(msref.LMN(88, 40, 100), 88)
turned, orthogonal_start = lmn_orthogonal(
    88, 40, 100, 88, np.random.default_rng(0), strength=1e-3
)
starts = {
    "standard": (standard, standard.init(np.random.default_rng(0))),
    "orthogonal": (turned, orthogonal_start),
    "pre-trained": (memory, converted),
    "and trained": (memory, tuned),
}


def states(model, params, pieces):
    """Return m and x of each piece."""
    core = under("core", {k: v.astype(float) for k, v in params.items()})
    return [
        (model.core.forward(core, x[:, None])[2]["m"][:, 0], x) for x in pieces
    ]


lags = range(0, 25, 4)
readable = {
    name: recoverability(
        *(
            states(*start, part)
            for part in (
                chorales.train[:120],
                chorales.valid[:40],
                chorales.test[:40],
            )
        ),
        max_lag=24,
        every=4,
    )
    for name, start in starts.items()
}

# %% tags=["hide-input"]
x = np.stack([piece[:30] for piece in chorales.test[:3]], axis=1)
with cells.drawing(
    "Left, the gradient of the memory over the lag, for four networks. Right, how"
    " well the frame k steps back can be read from the memory.",
    width=9,
    height=3.8,
    columns=2,
) as (left, right):
    arrived = cells.reach_plot(
        left,
        {
            name: (model.core, under("core", params))
            for name, (model, params) in starts.items()
        },
        x,
    )
    for k, (name, curve) in enumerate(readable.items()):
        right.plot(*(lags, curve, cells.DASHES[k]), marker=".", label=name)
    right.set_xlabel("lag k, steps")
    right.set_ylabel("R² of reading $x_{t-k}$")
    right.set_ylim(-0.03, 1.0)
    right.legend()

# %%
cells.Grid(
    (
        *("memory", "gradient left after 10 steps", "after 25"),
        *("R² at lag 0", "at lag 8", "at lag 24"),
    ),
    [
        (
            name,
            *(arrived[name][k] for k in (10, 25)),
            *(readable[name][k // 4] for k in (0, 8, 24)),
        )
        for name in starts
    ],
)

# %% [markdown]
# Two things are worth a look.
#
# - **Orthogonal** says that $W_{mm}$ keeps every gradient. The gradient of $m$
#   grows nevertheless. The other way, through $h$ and back by $W_{mh}$ and
#   $W_{hm}$, adds to it at every step. What such a network holds depends on its
#   whole past so wildly that nothing can be read from it on new pieces. A
#   linear memory is not a harmless one. Exercise 4 goes on from here.
# - **Pre-trained**, the gradient stays near one, and the curve on the right is
#   flattest: this memory was asked for all lags. Training moves it towards what
#   the task needs, the last frames.
#
# ## The papers' claims, measured
#
# The papers say that the pre-trained network is better than the same network
# without pre-training, than an RNN and an LSTM of its size, and than an LSTM of
# five times its size. What we find is less.
#
# ```{result} lmn-full-jsb_chorales
# :claims: c1 c2 c3
# :tables: 2
# :figures: accuracy-jsb learning-jsb
# ```
#
# The result tables of the papers are not known to us, and neither are their
# sizes, rates, windows and lengths of training. So this is no refutation. With
# what is known, the advantage was not there.
#
# On the chorales that come with msref, which this page uses, the run is short:
#
# ```{result} lmn-quick
# :tables: 2
# ```
#
# ## Porting notes
#
# No framework ships these networks, so there is no table of conventions. What a
# port can get wrong:
#
# 1. The order in a step: read $m_{t-1}$, compute $h_t$, then write $m_t$ from *this*
#    $h_t$.
# 2. Nothing is squashed on the memory. A tanh there still trains.
# 3. Which output: $m$ (LMN-B) or $h$ (LMN-A). If $h$ and $m$ have the same size, the
#    wrong one fits.
# 4. $W_{mh}$ and $W_{hm}$ have each other's shapes, transposed. In a framework that
#    stores (out, in), one may be taken for the other.
# 5. In the ULM, newest first, in the window and in the output.
# 6. In both, biases: the 2018 code has one for each matrix; add them.
# 7. The authors' plain class draws the biases from $N(0, 1)$. Ours start at zero.
#
# Golden vectors to hold a port against:

# %%
cells.vectors_grid("lmn")

# %%
cells.vectors_grid("ulm")

# %% [markdown]
# Check in this order: one step from a memory that is *not* zero; a sequence; the
# gradient of $m_0$ with $W_{mh} = 0$, and then without that; the gradients of
# $W_{mh}$ and $W_{mm}$, which need $m_{t-1}$ and not $m_t$.
#
# ## Exercises
#
# **1.** One line of `backward` is missing. Which one?

# %%
first = cells.riddle(lmn, "erpheerag cngu qebccrq", "J_uz")
cells.Shown(msref.verify(first, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# At the last step `m` is right and `a` is zero, before any hop. So nothing goes
# from $m_t$ to $h_t$: the first line of (3') is missing. The functional component
# would never learn.
# :::
#
# **2.** All adjoints are right here.

# %%
second = cells.riddle(lmn, "bss ol bar va gvzr", "z_ceri")
cells.Shown(msref.verify(second, cases=1, n_time=6, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# Only $\mathrm{d}W_{mh}$ and $\mathrm{d}W_{mm}$ are wrong. Both are formed with
# $m_{t-1}$, and the report says that they are wrong from the last step on. They
# were formed with the memories of another step: the tape is off by one.
# :::
#
# **3.** An LAES may subtract the mean of its frames. The window of a ULM starts
# with zeros, though, and a zero is not the mean. `lmn_from_unrolled` therefore
# fits the LAES to sequences that begin with these zeros, and adds terms to three
# biases. A port leaves this out, and only puts the mean where it is read. How far
# off is it, and for how long?

# %%
memory_c, good = lmn_from_unrolled(window, params, short, 140, centre=True)
laes = LAES(140, centre=True).fit(
    [
        np.concatenate([np.zeros((3, 12)), h])
        for h in hidden_sequences(window, params, short)
    ]
)
mean = np.tile(laes.mean, 4)
naive = good | {
    "core/b_m": laes.matrices()["b_m"],
    "core/b_h": params["core/b_h"] + mean[:36] @ params["core/W_wh"],
    "readout/b_o": params["readout/b_o"] + mean @ params["readout/W_yo"],
}
x = short[0][:, None]
right = window.predict(params, x)
cells.Grid(
    ("frame", "as it should be", "mean alone"),
    [
        (
            t,
            *(
                np.abs(memory_c.predict(p, x) - right)[t].max()
                for p in (good, naive)
            ),
        )
        for t in (0, 1, 2, 3, 10, 20)
    ],
)

# %% [markdown]
# :::{dropdown} Solution
# It is wrong from the first frame on, and it stays wrong: the hidden vectors of
# the first frames are read back later. At time zero the memory should say "three
# zeros were here". With a mean, zero frames have a code that is not zero, and
# the memory starts at zero. So its zero has to be moved there.
# :::
#
# **4.** Take the orthogonal start and set $W_{mh}$ to zero. What is then the
# gradient of $m$ after 25 steps? Derive it, then look.

# %%
core = under("core", orthogonal_start)
deaf = core | {"W_mh": np.zeros_like(core["W_mh"])}
pieces = np.stack([piece[:30] for piece in chorales.test[:3]], axis=1)
found = msref.dynamics.gradient_reach(
    turned.core, deaf, pieces, lags=[25], progress=False
)
print(found.norms)

# %% [markdown]
# :::{dropdown} Solution
# One. The way through $h$ is closed, so $\mathrm{d}m_{t-25} = \mathrm{d}m_t
# (W_{mm}^T)^{25}$, and a power of an orthogonal matrix is orthogonal. It does not
# depend on the input: that is what a linear memory means. But $h_t$ no longer
# knows the past, so nothing can be computed from it.
# :::
