# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 9. Bistability: BRC, nBRC and MGU
#
# The memories so far keep a value by leaving it alone. A gate that is open, or a
# weight of one, multiplies the old state by one. What disturbs such a memory stays
# in it, and adds up.
#
# There is another way. A switch has two positions. Push it a little and it goes
# back; push it hard and it stays on the other side. It stores one bit, and no small
# disturbance can spoil it. {cite:t}`vecoven2021` built a recurrent cell of such
# units, and call it bio-inspired.
#
# This chapter derives when one unit is such a switch. Then it looks at whole
# networks: where they come to rest, how many places there are, and how to count
# them.

# %%
import numpy as np

import msref
from msref.book import cells
from msref.dynamics import (
    explore,
    fixed_points,
    gradient_reach,
    multistability,
    separated,
    vaa,
)
from msref.verification import draw

brc, nbrc, mgu = msref.BRC(3, 5), msref.NBRC(3, 5), msref.MGU(3, 5)

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "The map from h to tanh of a h, and the diagonal. Left, a below one: they meet"
    " at zero alone, and a staircase of steps leads there from both sides. Right, a"
    " above one: they meet at three points, and the staircases lead to the outer"
    " two.",
    width=9,
    height=4.2,
    columns=2,
) as panels:
    h = np.linspace(-1.1, 1.1, 200)
    for axes, a in zip(panels, (0.8, 1.6), strict=True):
        axes.plot(h, h, "-", color=cells.INK, lw=0.8)
        axes.plot(h, np.tanh(a * h), "-", label=f"tanh({a} h)")
        starts = ((-1, 1), (1, 2)) if a < 1 else ((-0.15, 1), (0.15, 2))
        for start, colour in starts:
            at, way = start, [(start, start)]
            for _ in range(12):
                after = np.tanh(a * at)
                way += [(at, after), (after, after)]
                at = after
            axes.plot(*zip(*way, strict=True), "-", color=cells.COLOURS[colour])
        axes.set_xlabel("$h_{t-1}$")
        axes.set_ylabel("$h_t$")
        axes.set_aspect("equal")
        axes.legend(loc="upper left")

# %% [markdown]
# Both panels show a unit that feeds back on itself, $h_t = \tanh(a\, h_{t-1})$.
# Where the curve meets the diagonal, $h$ stays. Left, with little feedback, every
# start ends at zero: nothing is remembered. Right, with more, where it ends depends
# on which side it began.
#
# ## One unit, derived
#
# Let a unit mix its old state with a candidate, as a gate would, under a constant
# input $u$:
#
# $$h_t = F(h_{t-1}), \qquad F(h) = c\, h + (1 - c) \tanh(a h + u),
# \qquad 0 \le c < 1,\; a > 0 .$$
#
# **Where does it stay?** $F(h) = h$ means $(1-c)(\tanh(ah + u) - h) = 0$, so
#
# $$h = \tanh(a h + u) .$$
#
# $c$ is not in it. It has no say in *where* the unit rests.
#
# **How many places, without input?** Let $u = 0$ and $D(h) = \tanh(ah) - h$.
#
# - If $a \le 1$, then $|\tanh(ah)| < |ah| \le |h|$ for every $h \ne 0$. Zero is
#   the only place.
# - If $a > 1$, $D$ rises from $D(0) = 0$, since $D'(0) = a - 1 > 0$, and ends below
#   zero, since $D(1) = \tanh(a) - 1 < 0$. So it crosses zero in between, at some
#   $h^* > 0$; only once, since $\tanh$ is concave there. By symmetry there is
#   $-h^*$. With zero that makes three.
#
# **Which of them attract?** Near a fixed point, a deviation is multiplied by $F'$
# at each step. At a fixed point $\tanh' = 1 - \tanh^2 = 1 - h^2$, so
#
# $$F'(h) = c + (1 - c)\, a\, (1 - h^2) .$$
#
# At zero this is $1 + (1-c)(a-1)$: below one for $a < 1$, above one for $a > 1$. At
# $h^*$ the concave curve crosses the diagonal from above, so its slope
# $a (1 - h^{*2})$ is below one, and with it $F'$. Hence the switch: **for $a > 1$
# zero repels, $\pm h^*$ attract.** And $1 - F' = (1-c)(1 - a(1-h^2))$: the nearer
# $c$ is to one, the slower. That is its say.
#
# A BRC whose recurrent vectors are zero is such a unit, with $c$ and $a$ set by the
# biases. {py:func}`msref.dynamics.fixed_points` looks for the places by Newton's
# method, with the Jacobian from `backward`, and takes its eigenvalues.


# %%
def frozen(a, c=0.5):
    """Return a BRC of one unit whose gates do not move."""
    arch = msref.BRC(1, 1)
    params = {name: np.zeros(shape) for name, shape in arch.shapes().items()}
    params["W_xm"] += 1.0
    params["b_a"] += np.arctanh(a - 1.0)
    params["b_c"] += np.log(c / (1.0 - c))
    return arch, params


rng = np.random.default_rng(0)
rows = []
for a, c in ((0.8, 0.5), (1.2, 0.5), (1.5, 0.5), (1.5, 0.95), (1.9, 0.5)):
    for point in fixed_points(*frozen(a, c), np.zeros(1), rng=rng):
        h = float(point.state["h"][0])
        derived = c + (1 - c) * a * (1 - h**2)
        found = float(point.eigenvalues[0].real)
        rows.append(
            (a, c, f"{h:.4f}", point.kind, f"{found:.6f}", f"{derived:.6f}")
        )
cells.Grid(("a", "c", "h", "kind", "eigenvalue, found", "derived"), rows)

# %% [markdown]
# ### Writing a bit
#
# Now an input. It tilts the curve, and if it is strong enough, one of the two
# places disappears and the unit has to go to the other. When? Just before, the
# curve *touches* the diagonal: they meet, and both have slope one. With
# $m = \tanh(ah + u) = h$,
#
# $$a (1 - m^2) = 1 \;\Rightarrow\; m^* = \pm\sqrt{1 - 1/a}, \qquad
# u = \operatorname{artanh}(m) - a m ,$$
#
# so the input has to exceed
#
# $$u^* = a\, m^* - \operatorname{artanh} m^*, \qquad m^* = \sqrt{1 - 1/a} .$$
#
# Let the input rise slowly and fall again, and see where the unit is:


# %%
def threshold(a):
    """Return m* and u*."""
    m = np.sqrt(1 - 1 / a)
    return m, a * m - np.arctanh(m)


edge, needed = threshold(1.5)
arch, params = frozen(1.5)
up = np.linspace(-0.4, 0.4, 81)
levels = np.stack([up, up[::-1]], axis=1)  # one sequence rises, one falls
n_held = 50
held = np.repeat(levels, n_held, axis=0)[..., None]
y, _, _ = arch.forward(params, held, {"h": np.array([[-1.0], [1.0]])})
rested = y[n_held - 1 :: n_held, :, 0]
jumps = 1 + np.abs(np.diff(rested, axis=0)).argmax(0)
print(f"u* = {needed:.4f}")
for k, name in enumerate(("rising", "falling")):
    print(f"{name}, it jumped at u = {levels[jumps[k], k]:.2f}")

# %% tags=["hide-input"]
with cells.drawing(
    "The state over a slowly moving input: going up, it stays below until the"
    " positive threshold and then jumps; going down, it stays above until the"
    " negative one. Between the two dotted thresholds there are two states.",
    height=3.2,
) as axes:
    for k, name in enumerate(("rising", "falling")):
        axes.plot(levels[:, k], rested[:, k], label=f"input {name}")
    for at in (needed, -needed):
        axes.axvline(at, color=cells.INK, ls=":", lw=1)
    axes.set_xlabel("input u")
    axes.set_ylabel("state h")
    axes.legend(loc="center left")

# %% [markdown]
# Between the thresholds the state depends on the past: that is the memory. Beyond
# them it does not: that is how it is written.
#
# ### What a switch forgives
#
# While $|u_t| \le u^*$, *whatever else the input does*, a unit above $m^*$ stays
# above it. The proof is one line. $\tanh$ rises, so for $h \ge m^*$
#
# $$\tanh(a h + u) \ge \tanh(a m^* - u^*) = \tanh(\operatorname{artanh} m^*) = m^* ,$$
#
# and mixing two numbers above $m^*$ gives one above it. Compare a perfect linear
# memory, $h_t = h_{t-1} + u_t$, under the same noise:

# %%
rng = np.random.default_rng(1)
n_time = 3000
times = np.array([1.0, 2.0, 4.0])[:, None]
noise = times * needed * rng.uniform(-1, 1, (n_time, 3, 1))
y, _, _ = arch.forward(params, noise, {"h": np.ones((3, 1))})
flips = (np.diff(np.sign(y), axis=0) != 0).sum(0)
linear = 1.0 + np.cumsum(noise, axis=0)
print(f"m* = {edge:.3f}")
cells.Grid(
    ("noise up to", "the switch", "flips", "linear memory"),
    [
        (
            f"{times[k, 0]:.0f} u*",
            f"{y[:, k].min():.3f} .. {y[:, k].max():.3f}",
            int(flips[k, 0]),
            f"{linear[:, k].min():.1f} .. {linear[:, k].max():.1f}",
        )
        for k in range(3)
    ],
)

# %% [markdown]
# Noise may even exceed the threshold for moments. What flips a switch is a push that
# is strong *and* lasts.
#
# ### What it costs
#
# At $\pm h^*$ every small deviation shrinks by the factor $F' < 1$ at each step.
# That is the forgiveness. It is also a gradient that vanishes: the state after $k$
# steps depends on a small change now only through $F'^{\,k}$. The bit is there for
# ever and the gradient does not see it. Both follow from one eigenvalue, so they
# cannot be had apart {cite:p}`bengio1994`.

# %%
still = np.zeros((201, 1, 1))
rows = []
for c in (0.5, 0.95):
    arch, params = frozen(1.5, c)
    sides = {"h": np.array([[-0.8], [0.8]])}
    y, _, _ = arch.forward(params, np.zeros((201, 2, 1)), sides)
    upper = {"h": sides["h"][1:]}
    found = gradient_reach(arch, params, still, state=upper, progress=False)
    ends = ", ".join(f"{h:.4f}" for h in y[-1, :, 0])
    rows.append((c, found.median[20], found.median[200], ends))
cells.Grid(
    (
        "c",
        "gradient left after 20 steps",
        "after 200",
        "state after 201 steps, from -0.8 and 0.8",
    ),
    rows,
)

# %% [markdown]
# A gate $c$ near one brings $F'$ near one, and the gradient lasts longer. So the
# gradient has its time while $c$ is open to nothing new, and the bit stays when that
# time is over.
#
# (arch-brc)=
# ## BRC
#
# ### Forward
#
# A layer of such units. Now the input and the unit's own state move its gates.
#
# :::{beside}
# \begin{align*}
# a_c &= x_t W_{xc} + w_{hc} \odot h_{t-1} + b_c \\
# c &= \sigma(a_c) \tag{1} \\
# a_a &= x_t W_{xa} + w_{ha} \odot h_{t-1} + b_a \\
# a &= 1 + \tanh(a_a) \tag{2} \\
# a_m &= x_t W_{xm} + a \odot h_{t-1} + b_m \\
# m &= \tanh(a_m) \tag{3} \\
# h_t &= c \odot h_{t-1} + (1 - c) \odot m \tag{4}
# \end{align*}
#
# $c$ keeps. $a$ lies between 0 and 2, so a unit can be made a switch, and unmade,
# by its input. $w_{hc}$ and $w_{ha}$ are vectors: no unit of a layer sees another.
# +++
# ```{source} msref.BRC.step
# ```
# :::
#
# So `forward` needs no matrix in its loop. The three input products of all steps
# are one product before it, biases included. The loop is element-wise and works
# in place. $\sigma(u) = 1 / (1 + e^{-u})$, so the weights of $c$ carry the sign.
# (4) is $m + c (h - m)$: one product less.
#
# ```{source} msref.BRC.forward
# :from: for t in range
# :to: xp.add(m_t, part, out=h[t + 1])
# ```
#
# ### Backward
#
# $h_{t-1}$ stands in all four equations, so its gradient has four terms.
# $\mathrm{d}h_t$ includes $\mathrm{d}y_t$.
#
# :::{beside}
# **Through (4)**, three factors:
#
# \begin{align*}
# \mathrm{d}m &= \mathrm{d}h_t \odot (1 - c) \\
# \mathrm{d}c &= \mathrm{d}h_t \odot (h_{t-1} - m) \\
# \mathrm{d}h_{t-1} &= \mathrm{d}h_t \odot c \tag{4'}
# \end{align*}
#
# **Through (3)**, where $a$ and $h_{t-1}$ are multiplied:
#
# \begin{align*}
# \mathrm{d}a_m &= \mathrm{d}m \odot (1 - m^2) \\
# \mathrm{d}a &= \mathrm{d}a_m \odot h_{t-1} \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_m \odot a \tag{3'}
# \end{align*}
#
# **Through (2)**, with $\tanh(a_a) = a - 1$:
#
# \begin{align*}
# \mathrm{d}a_a &= \mathrm{d}a \odot (1 - (a - 1)^2) \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_a \odot w_{ha} \tag{2'}
# \end{align*}
#
# **Through (1):**
#
# \begin{align*}
# \mathrm{d}a_c &= \mathrm{d}c \odot c \odot (1 - c) \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_c \odot w_{hc} \tag{1'}
# \end{align*}
# +++
# ```{source} msref.BRC.backward
# :from: for start, stop in spans
# :to: da[:, s] *= dh_s
# ```
# :::
#
# All these lines multiply $\mathrm{d}h_t$ with something from the tape, entry by
# entry. So the code makes the factors first (`to_c`, `to_a`, `to_m`; here
# $f_k$), for many steps at once, and adds up the four ways from $h_t$ to $h_{t-1}$:
#
# \begin{align*}
# \mathrm{d}a_k &= \mathrm{d}h_t \odot f_k , \\
# J_t &= c + f_m \odot a \\
# &\quad + f_a \odot w_{ha} + f_c \odot w_{hc} .
# \end{align*}
#
# Two calls per step are left, $\mathrm{d}h_{t-1} = J_t \odot \mathrm{d}h_t +
# \mathrm{d}y_{t-1}$. And $J_t$ has a meaning: where the recurrent vectors are zero
# and $m = h_{t-1}$, it is the $F'$ from above.
#
# The weights' gradients are sums over all steps. A vector's is a sum of products
# entry by entry:
#
# :::{beside}
# \begin{align*}
# \mathrm{d}w_{hc} &= \sum_t \mathrm{d}a_c \odot h_{t-1} \tag{1'} \\
# \mathrm{d}w_{ha} &= \sum_t \mathrm{d}a_a \odot h_{t-1} \tag{2'}
# \end{align*}
#
# and for each $k$ of $c, a, m$
#
# \begin{align*}
# \mathrm{d}W_{xk} &= \sum_t x_t^T \mathrm{d}a_k, \quad
# \mathrm{d}b_k = \sum_t \mathrm{d}a_k \\
# \mathrm{d}x_t &\mathrel{+}= \mathrm{d}a_k W_{xk}^T
# \end{align*}
# +++
# ```{source} msref.BRC.backward
# :from: grads: Arrays
# :to: dx += da_k
# ```
# :::
#
# ### Is it true?

# %%
cells.Shown(msref.verify(brc, cases=2, n_time=8))

# %% [markdown]
# A bug that leaves every adjoint right: on the way to the input, two gates' weights
# are exchanged. No hop back in time uses them, so nothing but `dx` is wrong.

# %%
cells.Shown(
    msref.verify(
        cells.planted(brc, "wrong gate's weight", "W_xc, W_xa"),
        cases=1,
        n_time=5,
        n_batch=2,
    )
)

# %% [markdown]
# ### Where a new BRC rests
#
# The authors start with $w_{hc} = w_{ha} = 1$ and biases zero. Without input, then,
# the feedback of a unit depends on its state: $a = 1 + \tanh h$. It rests where
#
# $$h = \tanh((1 + \tanh h)\, h) .$$
#
# At zero, $a = 1$: exactly at the edge between one place and three. Expand there,
# $\tanh h \approx h$ and $c \approx 1/2$:
#
# $$F(h) - h = (1 - c)(m - h) \approx \tfrac12 h^2 .$$
#
# Above zero the unit moves up, away. Below zero it moves up too, *towards* zero. So
# zero attracts from one side and repels on the other; and on the side where it
# attracts, $h_t - h_{t-1} \approx h^2/2$ is solved by $h_t \approx -2/t$. That is
# no exponential. The unit forgets, but slower and slower.

# %%
one = msref.BRC(1, 1)
start = one.init(np.random.default_rng(0))
points = fixed_points(one, start, np.zeros(1), rng=np.random.default_rng(0))
cells.Grid(
    ("h", "kind", "eigenvalue", "starts that ended here"),
    [
        (
            f"{abs(p.state['h'].item()):.4f}",
            p.kind,
            f"{p.eigenvalues[0].real:.6f}",
            p.n_starts,
        )
        for p in points
    ],
)

# %%
y, _, _ = one.forward(
    start, np.zeros((10_000, 1, 1)), {"h": np.array([[-0.5]])}
)
cells.Grid(
    ("steps t", "h, from -0.5", "-2 / t"),
    [
        (t, f"{y[t - 1].item():.6f}", f"{-2 / t:.6f}")
        for t in (10, 100, 1000, 10_000)
    ],
)

# %% [markdown]
# (arch-nbrc)=
# ## nBRC
#
# ### Forward
#
# :::{beside}
# The neuromodulated cell differs in two products. The gates of a unit see *all*
# units of the layer; the state itself is still fed back unit by unit.
#
# \begin{align*}
# a_c &= x_t W_{xc} + h_{t-1} W_{hc} + b_c \\
# c &= \sigma(a_c) \tag{1} \\
# a_a &= x_t W_{xa} + h_{t-1} W_{ha} + b_a \\
# a &= 1 + \tanh(a_a) \tag{2} \\
# a_m &= x_t W_{xm} + a \odot h_{t-1} + b_m \\
# m &= \tanh(a_m) \tag{3} \\
# h_t &= c \odot h_{t-1} + (1 - c) \odot m \tag{4}
# \end{align*}
# +++
# ```{source} msref.NBRC.step
# ```
# :::
#
# So `forward` has a product in its loop again, one call for both gates. All other
# lines are those of the BRC:
#
# ```{source} msref.NBRC.forward
# :from: xp.matmul(h_prev, W_h
# :to: gates[:2, t]
# ```
#
# ### Backward
#
# :::{beside}
# (4') and (3') are those of the BRC. Through (2) and (1), every unit of $h_{t-1}$
# enters every gate:
#
# \begin{align*}
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_a W_{ha}^T \tag{2'} \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_c W_{hc}^T \tag{1'} \\
# \mathrm{d}W_{ha} &= \sum_t h_{t-1}^T \mathrm{d}a_a \tag{2'} \\
# \mathrm{d}W_{hc} &= \sum_t h_{t-1}^T \mathrm{d}a_c \tag{1'}
# \end{align*}
# +++
# ```{source} msref.NBRC.backward
# :from: keep =
# :to: xp.dot(da_c[t], W_hc_T)
# ```
# :::
#
# What went entry by entry still does, `keep`, and its factors are made ahead. The
# two products have to wait for $\mathrm{d}h_t$.
#
# ### Is it true?

# %%
cells.Shown(msref.verify(nbrc, cases=2, n_time=8))

# %% [markdown]
# The transposed weight of chapter 1, in a gate. The last step agrees. One hop
# earlier everything is wrong.

# %%
cells.Shown(
    msref.verify(
        cells.planted(nbrc, "transposed weight", "W_ha"),
        cases=1,
        n_time=5,
        n_batch=2,
    )
)

# %% [markdown]
# (arch-mgu)=
# ## MGU
#
# ### Forward
#
# The minimal gated unit {cite:p}`zhou2016` is a GRU with one gate. It lets the new
# in, and it says how much of the old the candidate sees. Nothing in it aims at
# bistability; it is here to compare.
#
# :::{beside}
# \begin{align*}
# f &= \sigma(x_t W_{xf} + h_{t-1} W_{hf} + b_f) \tag{1} \\
# q &= f \odot h_{t-1} \tag{2} \\
# m &= \tanh(x_t W_{xm} + q W_{hm} + b_m) \tag{3} \\
# h_t &= (1 - f) \odot h_{t-1} + f \odot m \tag{4}
# \end{align*}
#
# $f$ *writes*: at $f = 0$ nothing changes.
# +++
# ```{source} msref.MGU.step
# ```
# :::
#
# $q$ has to wait for $f$, so `forward` needs two products per step, one after the
# other. The first multiplies a row $(h_{t-1}, 1, x_t)$ and so holds all of (1),
# with its sign. What $m$ gets from $x$ is one product for all steps.
#
# ```{source} msref.MGU.forward
# :from: for t in range
# :to: xp.add(part, h[t], out=h[t + 1])
# ```
#
# ### Backward
#
# :::{beside}
# **Through (4):**
#
# \begin{align*}
# \mathrm{d}m &= \mathrm{d}h_t \odot f \\
# \mathrm{d}f &= \mathrm{d}h_t \odot (m - h_{t-1}) \\
# \mathrm{d}h_{t-1} &= \mathrm{d}h_t \odot (1 - f) \tag{4'}
# \end{align*}
#
# **Through (3):**
#
# \begin{align*}
# \mathrm{d}a_m &= \mathrm{d}m \odot (1 - m^2) \\
# \mathrm{d}q &= \mathrm{d}a_m W_{hm}^T \tag{3'}
# \end{align*}
#
# **Through (2).** The one gate is used twice, so $\mathrm{d}f$ gets a second term:
#
# \begin{align*}
# \mathrm{d}f &\mathrel{+}= \mathrm{d}q \odot h_{t-1} \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}q \odot f \tag{2'}
# \end{align*}
#
# **Through (1):**
#
# \begin{align*}
# \mathrm{d}a_f &= \mathrm{d}f \odot f \odot (1 - f) \\
# \mathrm{d}h_{t-1} &\mathrel{+}= \mathrm{d}a_f W_{hf}^T \tag{1'}
# \end{align*}
# +++
# ```{source} msref.MGU.backward
# :from: s = slice
# :to: dh += part
# ```
# :::
#
# Again the factors of the tape come first. $\mathrm{d}f$ has two terms, and so has
# $\mathrm{d}a_f$: a factor times $\mathrm{d}h_t$, and `by_dq`, another one times
# $\mathrm{d}q$.
#
# ### Is it true?

# %%
cells.Shown(msref.verify(mgu, cases=2, n_time=8))

# %% [markdown]
# What $f$ carries back is lost:

# %%
cells.Shown(
    msref.verify(
        cells.planted(mgu, "recurrent path dropped", "W_hf"),
        cases=1,
        n_time=5,
        n_batch=2,
    )
)

# %% [markdown]
# ## All three are GRUs
#
# With a small identity, $1 + \tanh u = 2\,\sigma(2u)$, the feedback of an nBRC
# becomes
#
# $$a \odot h = 2\,\sigma(2 a_a) \odot h = (r \odot h)\, (2I), \qquad r = \sigma(2 a_a) .$$
#
# That is the candidate of a GRU: a reset gate $r$ with twice the weights, and the
# matrix $W_{hn} = 2I$. For the BRC, take diagonal matrices in the gates. And the
# MGU is a GRU with $r = f$ and $z = 1 - f = \sigma(-a_f)$. Not nearly: exactly.


# %%
def as_gru(arch, p):
    """Return the weights of the GRU that computes the same."""

    def matrix(w):
        return np.diag(w) if w.ndim == 1 else w

    gates = {"r": ("a", 2), "z": ("c", 1)}
    inner = 2 * np.eye(arch.n_hid)
    if isinstance(arch, msref.MGU):
        gates = {"r": ("f", 1), "z": ("f", -1)}
        inner = p["W_hm"]
    found = {"W_xn": p["W_xm"], "W_hn": inner, "b_n": p["b_m"]}
    for gate, (ours, factor) in gates.items():
        recurrent = p.get(f"W_h{ours}", p.get(f"w_h{ours}"))
        found[f"W_x{gate}"] = factor * p[f"W_x{ours}"]
        found[f"W_h{gate}"] = factor * matrix(recurrent)
        found[f"b_{gate}"] = factor * p[f"b_{ours}"]
    return found


rows = []
for arch in (brc, nbrc, mgu):
    case = draw(arch, seed=0, n_time=30, n_batch=2)
    y, _, _ = arch.forward(case.params, case.x, case.state)
    shared = as_gru(arch, case.params)
    for reset in ("before", "after"):
        gru = msref.GRU(3, 5, reset=reset)
        extra = {"b_hn": np.zeros(5)} if reset == "after" else {}
        y_gru, _, _ = gru.forward(shared | extra, case.x, case.state)
        rows.append((type(arch).__name__, reset, np.abs(y - y_gru).max()))
cells.Grid(("cell", "GRU, reset", "largest difference of an output"), rows)

# %% [markdown]
# The MGU needs the dialect with the reset before the product. For the two bistable
# cells both dialects are right: $W_{hn}$ is diagonal there, so it does not matter
# on which side of it the gate stands.
#
# Two things follow. A GRU *can* be bistable; what these cells bring is not a new
# kind of function but a place to start from, and fewer weights. And a framework
# without these cells can run them.
#
# ## Whole networks at rest
#
# ### Where they start
#
# Take new weights, no input, biases zero. At $h = 0$ every logistic gate is $1/2$.
# What is the Jacobian of a step there? The gates' own slopes do not count, because
# they are multiplied by $h = 0$ or $m - h = 0$. What is left:
#
# - MGU: $\tfrac12 I + \tfrac14 W_{hm}$. GRU: the same with $W_{hn}$.
# - BRC and nBRC: $\tfrac12 I + \tfrac12 \cdot 1 \cdot I = I$.
#
# A Glorot-uniform $W_{hm}$ has entries of variance $1/n$, and eigenvalues of
# magnitude one or little more; an orthogonal $W_{hn}$ has exactly one. Then those of
# the Jacobian lie about $3/4$ or below. Zero attracts, and what was put in is
# forgotten. An eigenvalue of $W_{hm}$ would have to exceed two to change that. The bistable cells start with the Jacobian of a
# perfect memory, exactly at the edge.

# %%
rng = np.random.default_rng(2)
rows = []
zero = np.zeros(1)
for arch in (
    msref.MGU(1, 16),
    msref.GRU(1, 16),
    msref.BRC(1, 16),
    msref.NBRC(1, 16),
):
    params = arch.init(rng)
    at_zero = {"h": np.zeros((1, 16))}
    (point,) = fixed_points(arch, params, zero, at_zero)
    inner = params.get("W_hm", params.get("W_hn", 2 * np.eye(16)))
    derived = np.abs(np.linalg.eigvals(np.eye(16) / 2 + inner / 4)).max()
    found = np.abs(point.eigenvalues[0])
    rows.append(
        (type(arch).__name__, f"{found:.6f}", f"{derived:.6f}", point.kind)
    )
cells.Grid(
    ("cell, 16 units", "largest |eigenvalue| at 0", "derived", "kind"), rows
)

# %% [markdown]
# *Derived* is $\tfrac12 I + \tfrac14 W$ for all of them: for BRC and nBRC with
# $W = 2I$, as the GRUs that they are.
#
# ### Phase portraits
#
# With two units the whole state is a plane, and one can look. An arrow says where
# the next step leads. The lines are where one of the two units does not move; where
# they cross, the network rests.

# %% tags=["hide-input"]
KINDS = {
    "stable": ("o", cells.COLOURS[0], 60),
    "marginal": ("D", cells.COLOURS[2], 40),
    "saddle": ("X", cells.COLOURS[1], 50),
    "unstable": ("s", cells.COLOURS[3], 40),
}


def portrait(axes, arch, params, title):
    """Draw arrows, nullclines and fixed points without input; count them."""
    at = np.linspace(-1.1, 1.1, 23)
    grid = np.stack(np.meshgrid(at, at), axis=-1)
    flat = grid.reshape(-1, 2)
    after, _ = arch.step(params, {"h": flat}, np.zeros((len(flat), 1)), 0)
    move = (after["h"] - flat).reshape(grid.shape)
    size = np.linalg.norm(move, axis=-1, keepdims=True)
    arrows = move / np.maximum(size, 1e-12) * np.minimum(size, 0.15) ** 0.5
    axes.quiver(
        *(grid[..., 0], grid[..., 1], arrows[..., 0], arrows[..., 1]),
        color=cells.INK,
        alpha=0.45,
        width=0.004,
    )
    fine = np.linspace(-1.1, 1.1, 401)
    dense = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    after, _ = arch.step(params, {"h": dense}, np.zeros((len(dense), 1)), 0)
    still = (after["h"] - dense).reshape(401, 401, 2)
    for unit in range(2):
        axes.contour(
            *(fine, fine, still[..., unit], [0.0]),
            colors=[cells.INK],
            linewidths=0.8,
            linestyles=["-" if unit == 0 else "--"],
        )
    rng = np.random.default_rng(0)
    found = fixed_points(arch, params, np.zeros(1), rng=rng, n_starts=128)
    for kind, (marker, colour, area) in KINDS.items():
        places = [p.state["h"] for p in found if p.kind == kind]
        if places:
            axes.scatter(
                *np.array(places).T,
                marker=marker,
                color=colour,
                s=area,
                label=kind,
                zorder=3,
            )
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("unit 1")
    axes.set_ylabel("unit 2")
    axes.set_aspect("equal")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncol=2)
    kinds = [p.kind for p in found]
    return [kinds.count(kind) for kind in KINDS]


counted = {}
two = msref.MGU(1, 2)
drawn = two.init(np.random.default_rng(2))
with cells.drawing(
    "Left, a new MGU of two units: all arrows lead to zero. Right, the same MGU"
    " with four times the identity as W_hm: four stable points near the corners,"
    " saddles between them, and zero repels.",
    width=9,
    height=5.0,
    columns=2,
) as (left, right):
    counted["MGU, new"] = portrait(left, two, drawn, "MGU, new")
    counted["MGU, W_hm = 4 I"] = portrait(
        right, two, drawn | {"W_hm": 4 * np.eye(2)}, "MGU, $W_{hm} = 4I$"
    )

# %% tags=["hide-input"]
with cells.drawing(
    "Left, a new BRC of two units: each unit has a point at 0.92 and one at zero"
    " that attracts from below alone, so the plane has four. Right, a new nBRC:"
    " stable points and saddles at places that depend on the weights.",
    width=9,
    height=5.0,
    columns=2,
) as (left, right):
    for axes, arch, name in (
        (left, msref.BRC(1, 2), "BRC, new"),
        (right, msref.NBRC(1, 2), "nBRC, new"),
    ):
        params = arch.init(np.random.default_rng(2))
        counted[name] = portrait(axes, arch, params, name)

# %%
cells.Grid(
    ("network, 2 units, no input", *KINDS),
    [(name, *found) for name, found in counted.items()],
)

# %% [markdown]
# The BRC's portrait is the product of two lines: what a unit does, it does whatever
# the other does, so $n$ units of two places have $2^n$ together. The nBRC's units
# bend each other's lines. And the MGU: new, it has one place to rest; with a matrix
# that is large enough it is as multistable as the others. It can be. It does not
# start so. [Chapter 12](12-warm-up.ipynb) makes such networks multistable by
# training, before they are given a task.
#
# `fixed_points` finds what its starts lead to. It does not say that there is nothing
# else.
#
# ### Attractors, counted
#
# With more units one cannot look. But one can start the network at many states, let
# it run, and count in how many places they end. {cite:t}`lambrechts2023` count so:
#
# $$\mathrm{VAA} = \frac1n \sum_{i=1}^n
# \frac{1}{\#\{j : \lVert h_j - h_i \rVert < \varepsilon\}} .$$
#
# Why does this count? Let the $n$ states fall into $k$ groups, each narrower than
# $\varepsilon$ and further than $\varepsilon$ from the others. Each of the $n_g$
# members of a group contributes $1/n_g$, so each *group* contributes 1, and
# $\mathrm{VAA} = k/n$. It lies between $1/n$, all in one place, and 1.

# %%
places = np.array([[0.0, 0.0], [0.9, 0.0], [0.9, 0.9]])
states = places[[0, 0, 0, 1, 1, 2, 2, 2]]
print("3 groups of 8 states:", vaa(states), "=", 3 / 8)

# %% [markdown]
# The states come from inputs: that is what *reachable* means. Each is where a piece
# of a sequence leads, followed by $M$ steps of one constant input, a random one. (A
# random one, not zero. Since it is the same for all, it does not tell them apart.)
# Here is one such run, seen along the two directions in which the states vary most.

# %% tags=["hide-input"]
rng = np.random.default_rng(1)
arch = msref.NBRC(1, 8)
params = arch.init(rng)
sequences = rng.standard_normal((20, 100, 1))
found = explore(arch, params, sequences, rng, 2000, n_states=64, progress=False)
with cells.drawing(
    "Sixty-four trajectories in a plane; each ends in one of three points, marked"
    " by circles.",
    height=4,
) as axes:
    for k in range(found.trajectories.shape[1]):
        axes.plot(
            *found.trajectories[:, k].T,
            "-",
            color=cells.COLOURS[found.labels[k] % len(cells.COLOURS)],
            lw=0.7,
            alpha=0.6,
        )
    axes.scatter(
        *found.points.T, s=80, facecolors="none", edgecolors=cells.INK, zorder=3
    )
    axes.set_xlabel(
        f"first direction, {found.explained[0]:.0%} of the variance"
    )
    axes.set_ylabel(f"second, {found.explained[1]:.0%}")

# %%
points = fixed_points(
    arch, params, found.start.z[0], separated(arch, found.states)
)
cells.Grid(
    ("ended here", "kind", "largest |eigenvalue|"),
    [
        (
            int((found.labels == k).sum()),
            nearest.kind,
            f"{abs(nearest.eigenvalues[0]):.4f}",
        )
        for k, end in enumerate(found.states)
        for nearest in [
            min(points, key=lambda p: np.linalg.norm(p.state["h"] - end))
        ]
    ],
)

# %% [markdown]
# A group is not yet an attractor: its states might be on their way still. So the
# table asks, from each end, for the fixed point there. With eigenvalues below
# one, it is one.
#
# How long is long enough? The VAA of one network at several $M$:

# %%
rng = np.random.default_rng(0)
arch = msref.NBRC(1, 16)
params = arch.init(rng)
sequences = rng.standard_normal((20, 100, 1))
moments = (20, 200, 2000)
measured = multistability(
    arch, params, sequences, rng, moments, n_estimates=3, progress=False
)
cells.Grid(
    ("M", "VAA, mean of 3", "spread", "groups, about"),
    list(
        zip(
            moments,
            measured.mean,
            measured.spread,
            measured.n_attractors,
            strict=True,
        )
    ),
)

# %% [markdown]
# After few steps all states are still different, and the VAA is large without any
# attractor. **A VAA means nothing without its $M$.** How large an $M$ is large enough,
# and what else a VAA takes for an attractor, is asked in
# [chapter 12](12-warm-up.ipynb).
#
# ## What they remember

# %% tags=["hide-input"]
rng = np.random.default_rng(0)
kinds = {
    "GRU": msref.GRU(1, 24),
    "MGU": msref.MGU(1, 24),
    "BRC": msref.BRC(1, 24),
    "nBRC": msref.NBRC(1, 24),
}
networks = {name: (arch, arch.init(rng)) for name, arch in kinds.items()}
x = rng.standard_normal((80, 4, 1))
with cells.drawing(
    "Left, how much of the gradient of the state is left over the lag. Right, how"
    " well the input k steps back can be read from the state.",
    width=9,
    height=3.6,
    columns=2,
) as (left, right):
    arrived = cells.reach_plot(left, networks, x)
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
# Under an input that never rests, the bistable cells still pass on more gradient
# than the others at long lags. But the linear read-out on the right hardly sees
# it: it asks for the *value* of an old input, and a switch keeps no values.
#
# ## The papers' claims, measured
#
# Of the paper on BRC and nBRC the equations, the code and the set-ups are known to
# us. Its tables are not. So no number of it can be compared here, and its tasks were
# not run for this chapter. The MGU's paper was not measured either.
#
# What can be measured at once is what the paper's title says of a unit, and what the
# abstract of {cite:t}`lambrechts2023` says of networks that are new: that standard
# cells usually have one stable equilibrium, and that other ways to start have more.

# %%
rows = []
for name, kind in {
    "LSTM": msref.LSTM,
    **{k: type(a) for k, a in kinds.items()},
}.items():
    means = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        arch = kind(1, 16)
        params = arch.init(rng)
        sequences = rng.standard_normal((20, 100, 1))
        means.append(
            multistability(
                *(arch, params, sequences, rng, (200, 2000)),
                n_estimates=2,
                progress=False,
            ).n_attractors
        )
    short, long = np.mean(means, axis=0)
    more = "more than one" if long > 1.001 else "one"
    rows.append((name, short, long, more))
cells.Grid(
    (
        "new network",
        "groups of 32 at M = 200",
        "at M = 2000",
        "equilibria reached",
    ),
    rows,
)

# %% [markdown]
# - **A bistable cell allows for long-lasting memory** *(Vecoven et al. 2021, title)*:
#   for one unit derived above, and seen in the noise that a switch forgives.
# - **Standard cells have one stable equilibrium at the start** *(Lambrechts et al.,
#   abstract)*: the last column, for two new networks of each kind with 16 units.
# - **Others have more**: the last column again, for BRC and nBRC.
#
# Two networks of one size are a look and no experiment. With the authors' warm-up,
# more cells and more runs, it is made in [chapter 12](12-warm-up.ipynb).
#
# ## Porting notes
#
# What bistable cells are called elsewhere:
#
# | here | original code | torchrecurrent |
# |---|---|---|
# | $c$, $a$, candidate | z, r, h | fused in the order **a, c, h** |
# | $W_{xk}$, (in, out) | `kernelz`, `kernelr`, `kernelh`, (in, out) | (3 H, in) |
# | $w_{hc}$, $w_{ha}$, or $W_{hc}$, $W_{ha}$ | `memoryz`, `memoryr`, used as `h @ memory` | (2 H) or (2 H, H) |
# | biases | of z and r; **none** on the candidate | three, and two recurrent ones |
#
# - **The candidate's bias** $b_m$ is that of the warm-up authors' code. The original
#   has none: `candidate_bias=False`, or a zero.
# - **Starts differ.** The nBRC's recurrent matrices are orthogonal in the authors'
#   code of 2020 (`recurrent="orthogonal"`) and Glorot-uniform in that of 2021.
#   torchrecurrent draws the BRC's recurrent vectors from a normal distribution; all
#   versions of the authors have ones.
# - **The MGU of Flax** has the roles swapped, $h_t = f \odot h_{t-1} + (1-f) \odot m$,
#   and a forget bias of one. Negating the gate's weights does not translate it:
#   it turns $f$ in (4) round, and the $f$ in (2) as well.
# - **No such cell at all?** Load it as a GRU, by `as_gru` above.

# %%
case = draw(nbrc, seed=0, n_time=6, n_batch=2)
weights = as_gru(nbrc, case.params) | {"b_hn": np.zeros(5)}
exported, notes = msref.ports.FRAMEWORKS["torch"].export(
    msref.GRU(3, 5), weights
)
print({name: array.shape for name, array in exported.items()})
print(*notes, sep="\n")

# %% [markdown]
# That is right for running it. Trained further, it would be a GRU: nothing keeps
# $W_{hn}$ at $2I$.
#
# Golden vectors, each named after what it finds:

# %%
cells.vectors_grid("brc")

# %%
names = msref.vectors.catalogue.names
cells.Grid(
    ("cell", "vectors"),
    [(name, ", ".join(names([name]))) for name in ("nbrc", "mgu")],
)

# %% [markdown]
# First things to check: one step from a state that is *not* zero (at zero, $a$ has
# no effect at all); that $a$ exceeds one somewhere; which way $c$ or $f$ points;
# then a long run without input, where an error of a gate adds up.
#
# ## Exercises
#
# **1.** Outputs in the right range, all gradients right for the tape. Which equation of `step` is another one? What can this cell no longer do?

# %%
first = cells.riddle(brc, "nabgure rdhngvba", "n, fvtzbvq")
cells.Shown(msref.verify(first, cases=1, n_time=5, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# (2). The feedback is $\sigma(a_a)$ where it should be $1 + \tanh(a_a)$: the reset
# gate of a GRU, between 0 and 1. By the derivation above, a unit with $a \le 1$ has
# one place to rest. The cell has lost its memory and kept its looks. Only `y` and
# the final state fail, because the bug was planted in the forward pass and the tape
# is right.
# :::
#
# **2.** Which line of the MGU's `backward` is wrong? Compare the last step with the
# one before.

# %%
second = cells.riddle(mgu, "genafcbfrq jrvtug", "J_uz")
cells.Shown(msref.verify(second, cases=1, n_time=5, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# (3'): $\mathrm{d}q$ was formed with $W_{hm}$ and not with $W_{hm}^T$. At the last
# step `a_m` is right and `a_f` is wrong already: $\mathrm{d}q$ enters
# $\mathrm{d}f$ within the same step, by (2'). One hop earlier `a_m` is wrong, too.
# Had $W_{hf}$ been transposed, both would be right at the last step.
# :::
#
# **3.** A unit with $a = 1.2$: how strong must an input be to flip it? Compute it,
# then find the strength by trying.

# %%
arch, params = frozen(1.2)
_, needed = threshold(1.2)
tried = np.arange(0.05, 0.065, 0.0005)
push = np.broadcast_to(-tried[:, None], (2000, len(tried), 1))
_, ends, _ = arch.forward(params, push, {"h": np.ones((len(tried), 1))})
flipped = tried[ends["h"][:, 0] < 0]
print(f"u* = {needed:.4f}, smallest that flipped it: {flipped.min():.4f}")

# %% [markdown]
# :::{dropdown} Solution
# $u^* = a m^* - \operatorname{artanh} m^*$ with $m^* = \sqrt{1 - 1/1.2}$: the first
# number printed. The smallest strength tried that flips it lies just above. Close to
# the threshold the flip takes very long: the curve almost touches the diagonal, and
# the unit has to pass through the gap.
# :::
#
# **4.** Let the bit be erased. A BRC unit holds $+h^*$. Choose an input that makes it
# forget which side it was on, without pushing it to either.

# %%
arch, params = frozen(1.5)
params = params | {"W_xm": np.zeros((1, 1)), "W_xa": np.ones((1, 1))}
pulse = np.zeros((600, 2, 1))
pulse[100:200] = -2.0
sides = {"h": np.array([[-1.0], [1.0]])}
y, _, _ = arch.forward(params, pulse, sides)
for t in (99, 199, 399, 599):
    print(f"after {t + 1} steps:", y[t, :, 0])

# %% [markdown]
# :::{dropdown} Solution
# An input that lowers $a$ below one. While it lasts, zero is the only place to rest
# and both sides go there. After it, zero repels again, and the tiny rest that is left
# grows back to its old side! With rounding alone as a barrier, to erase means to wait
# long enough, or to push.
# :::
