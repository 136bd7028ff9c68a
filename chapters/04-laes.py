# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (laes)=
# # 4. The linear autoencoder for sequences
#
# In the last chapters a network had a state, and we asked what was left in it of
# the past. Now we turn the question round. We have a state of $p$ numbers. It may
# depend on the past in a *linear* way only. What is the best that it can hold?
#
# To this there is an answer in closed form. No gradient is followed, and nothing
# is drawn at random. {cite:t}`sperduti2006` found it, and {cite:t}`pasa2014`
# started networks with it. Of these papers we have titles and abstracts, and
# code. So the derivation on this page is ours, and it is complete.
#
# A closed form has no `step`, no `forward` and no `backward`. In their place
# stand the model, the derivation, and a check that the result is exact.

# %%
import time

import autograd
import autograd.numpy as anp
import numpy as np
from scipy.optimize import minimize

from msref import LAES
from msref.book import cells
from msref.data import load_chorales
from msref.pretraining.laes_choice import seconds
from msref.pretraining.laes_histories import Histories
from msref.pretraining.laes_krylov import nothing_missed
from msref.pretraining.laes_routes import residual

blue, orange = cells.COLOURS[:2]

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "Left, the encoder: each frame x enters the state y through A, and each state"
    " enters the next through B. Right, the decoder: from the last state, A"
    " transposed gives the last frame and B transposed the state before, and so"
    " on to the first frame.",
    width=9,
    height=2.4,
    columns=2,
) as (left, right):
    for axes, is_encoder in ((left, True), (right, False)):
        states = [
            cells.box(axes, 2 * k, 1, f"$y_{k + 1}$", blue) for k in range(3)
        ]
        for k, y in enumerate(states):
            hat = "" if is_encoder else r"\hat "
            x = cells.box(axes, 2 * k, 0, f"${hat}x_{k + 1}$")
            if is_encoder:
                cells.arrow(axes, x, y, "$A$")
            else:
                cells.arrow(axes, y, x, "$A^T$")
            if k and is_encoder:
                cells.arrow(axes, states[k - 1], y, "$B$", orange)
            elif k:
                cells.arrow(axes, y, states[k - 1], "$B^T$", orange)
        cells.bare(axes)

# %% [markdown]
# Left, the encoder reads a sequence. Right, the decoder starts from the last
# state alone, and the sequence comes out again, newest frame first.
#
# ## The model
#
# This chapter uses the papers' convention: a frame $x_t$ is a *column* of $n$
# numbers, and weights multiply from the left. Everything else in this book uses
# rows. The two are related by transposing, and `matrices` does it.
#
# :::{beside}
# With $A\ (p \times n)$, $B\ (p \times p)$ and $y_0 = 0$:
#
# \begin{align*}
# y_t &= A x_t + B y_{t-1} \tag{1}
# \end{align*}
#
# A mean $\mu$ may be subtracted from each frame. That is a bias, since
# $A(x_t - \mu) = A x_t + b$ with $b = -A \mu$.
#
# The first line of the code computes $A x_t + b$ for all frames in one product.
# Only $B y_{t-1}$ has to wait.
# +++
# ```{source} msref.LAES.encode
# :from: xp = namespace(x)
# ```
# :::
#
# :::{beside}
# The decoder has no weights of its own. It uses the same two, transposed. From a
# state it reads a frame, and steps back to the state before:
#
# \begin{align*}
# \hat x_t &= A^T y_t, \qquad \hat y_{t-1} = B^T y_t \\
# \hat x_{t-j} &= A^T (B^T)^j\, y_t \tag{2}
# \end{align*}
#
# The mean is added at the end. In the code a batch of states is a matrix with a
# state per *row*, so $A^T y$ becomes `y @ a`.
# +++
# ```{source} msref.LAES.decode
# :from: xp = namespace(y)
# ```
# :::
#
# Which $A$ and $B$ lose the least? It is not obvious that the weights of the
# encoder should serve the decoder at all. That will come out of the derivation.
#
# ## Histories
#
# Look at the state as a function of everything read so far. Let $T$ be the length
# of the longest sequence. The *history* of a frame is the column of all frames up
# to it, newest first, filled up with zeros:
#
# $$\xi_t = [x_t;\; x_{t-1};\; \dots;\; x_1;\; 0;\; \dots;\; 0] \in
# \mathbb{R}^{Tn} .$$
#
# A linear state without a bias is a linear function of the history:
# $y_t = [A,\, BA,\, B^2A,\, \dots]\, \xi_t$. All histories of all sequences, a
# row for each frame, make the matrix $\Xi$:
#
# \begin{align*}
# \Xi &= V \Lambda U^T \tag{3}
# \end{align*}
#
# On the right is its singular value decomposition, which we shall need. Here is
# $\Xi$ from the definition, entry by entry, for three short sequences. A second
# matrix, $R$, says which row is the frame before: $R_{ik} = 1$ if frame $k$
# precedes frame $i$ *in the same sequence*.


# %%
def histories(sequences):
    """Return Ξ and R, from their definitions."""
    longest, n = max(map(len, sequences)), sequences[0].shape[1]
    rows, before = [], []
    for x in sequences:
        for t in range(len(x)):
            frames = [
                x[t - j] if j <= t else np.zeros(n) for j in range(longest)
            ]
            before.append(len(rows) - 1 if t else None)
            rows.append(np.concatenate(frames))
    R = np.zeros((len(rows), len(rows)))
    for i, k in enumerate(before):
        if k is not None:
            R[i, k] = 1.0
    return np.array(rows), R


rng = np.random.default_rng(0)
n = 2
sequences = [rng.standard_normal((n_time, n)) for n_time in (5, 3, 4)]
Xi, R = histories(sequences)
P_A = np.eye(Xi.shape[1], n)  # writes a frame into the newest slot
P_B = np.eye(Xi.shape[1], k=-n)  # moves every frame one slot further
print(Xi.shape, "equal:", np.array_equal(R @ Xi, Xi @ P_B))

# %% tags=["hide-input"]
with cells.drawing(
    "The matrix of histories of three sequences, and the same one frame earlier:"
    " its rows moved down inside each sequence, which is the same as its columns"
    " moved to the left by one frame.",
    width=9,
    height=3.8,
    columns=2,
) as both:
    from matplotlib.colors import to_rgb

    for axes, matrix, title in zip(
        both, (Xi, R @ Xi), (r"$\Xi$", r"$R\,\Xi = \Xi P_B$"), strict=True
    ):
        shown = np.zeros((*matrix.shape, 4))
        shown[..., :3] = np.where(
            (matrix > 0)[..., None], to_rgb(blue), to_rgb(orange)
        )
        shown[..., 3] = np.minimum(np.abs(matrix) / 1.5, 1.0)
        axes.pcolormesh(shown)
        axes.invert_yaxis()
        axes.set_title(title)
        axes.set_xticks(
            np.arange(5) * n + n / 2, [f"delay {j}" for j in range(5)]
        )
        axes.set_yticks([2.5, 6.5, 10], ["first", "second", "third"])
        for row in (5, 8):
            axes.axhline(row, color=cells.INK, linewidth=0.8, linestyle="-")
        axes.grid(False)

# %% [markdown]
# Blue is above zero, orange below. A diagonal repeats itself, since a frame that
# was read once is seen again from each later one. That is a lot of copies, and
# the fast routes below live on it.
#
# ## The shift
#
# Two matrices move frames around. $P_A$ writes a frame into the newest slot of an
# empty history. $P_B$ moves every frame one slot further; what was oldest
# drops out. So a history grows by
#
# $$\xi_t = P_A\, x_t + P_B\, \xi_{t-1} , \qquad P_A^T \xi_t = x_t , \qquad
# P_B^T \xi_t = \xi_{t-1} .$$
#
# The last two say that reading and moving *back* are the transposes. The third
# is true because $\Xi$ keeps all $T$ delays: the slot that becomes free at the
# far end should hold what is older than the first frame, and that is zero. For
# all frames at once it reads $R\, \Xi = \Xi P_B$, as the cell found and the right
# picture shows: moving the rows down is moving the columns to the left.
#
# ## The closed form
#
# ### Which directions to keep
#
# A state of $p$ numbers cannot hold a history of $Tn$. Let it hold the
# coordinates of $\xi_t$ in $p$ orthonormal directions, the columns of a matrix
# $U$:
#
# $$y_t = U^T \xi_t , \qquad \text{and back: } \hat\xi_t = U y_t = U U^T \xi_t .$$
#
# How much is lost? Since $U U^T$ is an orthogonal projection, Pythagoras says
# $\sum_t \lVert \xi_t - UU^T\xi_t \rVert^2 = \lVert \Xi \rVert^2 - \lVert \Xi U
# \rVert^2$. So the best directions make $\lVert \Xi U \rVert$ as large as it can
# be. Those are the right singular vectors in (3) with the largest singular
# values; what is lost is the sum of the squares of the others.
#
# ### A and B
#
# The state has to be computed one frame at a time, without looking at the
# history again. Put the growth of a history into $y_t = U^T \xi_t$:
#
# $$y_t = U^T P_A\, x_t + U^T P_B\, \xi_{t-1} .$$
#
# The first term is $A x_t$ if $A = U^T P_A$. In the second, $\xi_{t-1}$ is
# needed, and only $y_{t-1}$ is there. But $U y_{t-1}$ is our best guess of
# $\xi_{t-1}$. Take it:
#
# :::{beside}
# \begin{align*}
# A &= U^T P_A, \qquad B = U^T P_B\, U \tag{4}
# \end{align*}
#
# $P_A$ picks the first $n$ rows of $U$. $P_B U$ is $U$ moved down by $n$ rows. So
# the product in $B$ is that of $U$ without its first $n$ rows and $U$ without its
# last $n$ rows.
# +++
# ```{source} msref.LAES.fit
# :from: a[:rank, columns]
# :to: b[:rank, :rank]
# ```
# :::
#
# This is the whole method. A decomposition, and two slices of it.
#
# ### When it is exact
#
# Let $p$ be the rank of $\Xi$. Then every history of the training set lies in the
# span of $U$, that is $U U^T \xi_t = \xi_t$. Nothing was guessed in (4), and
# $y_t = U^T \xi_t$ holds at every step, by induction from $y_0 = 0$. The
# decoder (2) takes it apart:
#
# \begin{align*}
# A^T y_t &= P_A^T\, U U^T \xi_t = P_A^T\, \xi_t = x_t \tag{5} \\
# B^T y_t &= U^T P_B^T\, U U^T \xi_t = U^T P_B^T\, \xi_t = U^T \xi_{t-1} = y_{t-1} \tag{6}
# \end{align*}
#
# So the transposes *are* the decoder. Every frame of every prefix of every
# sequence comes back. Line (6) is where all delays are needed.
#
# ### The form of the papers
#
# The authors' code computes $B = \Lambda^{-1} V^T R\, V \Lambda$ instead. It is the
# same matrix. From (3), $V\Lambda = \Xi U$ and $V^T \Xi = \Lambda U^T$, also if
# only $p$ triplets are kept. Therefore
#
# $$\Lambda^{-1} V^T R\, V \Lambda = \Lambda^{-1} V^T R\, \Xi\, U
# = \Lambda^{-1} V^T\, \Xi P_B\, U = \Lambda^{-1} \Lambda U^T P_B\, U = B .$$
#
# Ours needs no $V$, which has a row for every frame, and no division. We shall
# see what the division can do.
#
# ## Geometry
#
# **It cannot blow up.** $U$ has orthonormal columns and $P_B$ moves entries or
# drops them. Neither makes anything longer, so $\lVert B \rVert_2 \le 1$ for
# every $p$. More is true. Every entry of a history comes from the new frame
# or from the old history, so $P_A P_A^T + P_B P_B^T = I$. Since $U U^T \preceq I$,
#
# $$A A^T + B B^T = U^T \left( P_A P_A^T + P_B\, U U^T P_B^T \right) U \preceq
# U^T U = I .$$
#
# What a new frame gains, the past must give up.
#
# **With all directions it is the shift itself.** If the rank is $Tn$, then
# $U U^T = I$ and the inequality is an equality. $B$ is $P_B$ seen in other
# coordinates, and like it nilpotent: its $T$-th power is zero. Every sequence up to length $T$ comes back, also one that was never seen. Of a longer
# one, the last $T$ frames do.
#
# **The coordinates mean nothing.** For an orthogonal $Q$, the pair $QA$,
# $QBQ^T$ gives states $Q y_t$ and the same frames back. Even the signs of
# singular vectors are arbitrary. So never compare $A$ or $B$ of two programs.
# Compare what they give back, or $A^T (B^T)^j B^i A$, from which $Q$ cancels.
#
# ## Is it true?
#
# ### From nothing but an SVD
#
# The next cell uses the definition above and `numpy.linalg.svd`. It has both
# forms of $B$, and no code of msref. The decoder runs over every prefix of every
# sequence.

# %%
V, sizes, U_T = np.linalg.svd(Xi, full_matrices=False)
rank = int(np.sum(sizes > 1e-13 * sizes[0]))


def by_hand(p):
    U = U_T[:p].T
    return U.T @ P_A, U.T @ P_B @ U


def of_papers(p, V=V, sizes=sizes, U_T=U_T, R=R):
    A = U_T[:p, :n]
    return A, (V[:, :p].T @ R @ V[:, :p]) * sizes[:p] / sizes[:p, None]


def every_prefix(A, B, sequences):
    """Return the largest error at each lag, over all prefixes."""
    worst = np.zeros(max(map(len, sequences)))
    for x in sequences:
        y = np.zeros(len(A))
        for t in range(len(x)):
            y = A @ x[t] + B @ y
            back = y
            for j in range(t + 1):
                error = np.abs(A.T @ back - x[t - j]).max()
                worst[j] = max(worst[j], error)
                back = B.T @ back
    return worst


rows = []
for p in (2, 4, 6, rank - 1, rank):
    (A, B), (_, other) = by_hand(p), of_papers(p)
    rows.append(
        (
            f"{p}, the rank" if p == rank else p,
            np.abs(B - other).max(),
            np.linalg.norm(B, 2),
            every_prefix(A, B, sequences).max(),
        )
    )
cells.Grid(
    ("units", "difference of the two forms of B", "norm of B", "worst entry"),
    rows,
)

# %% [markdown]
# Both forms agree at every size. The norm never exceeds one. At the rank, and
# not before, the error falls to rounding.
#
# ### The package against it
#
# `LAES` takes other ways to the same numbers. The coordinates may differ, so we
# compare the recall $[A^T;\, A^T B^T;\, \dots]$ times its transpose: what comes
# back of each history.

# %%
A, B = by_hand(rank)
fitted = LAES(rank).fit(sequences)
recall = np.concatenate(
    [A.T @ np.linalg.matrix_power(B.T, j) for j in range(5)]
)
print("rank", fitted.rank)
print(np.abs(recall @ recall.T - fitted.recall(5) @ fitted.recall(5).T).max())

# %% [markdown]
# ### By least squares, which know nothing of this
#
# If the state holds the frame $j$ steps back, a regression of $x_{t-j}$ on $y_t$
# finds it. It uses neither $U$ nor the decoder. Its error is a lower limit: no
# linear read-out of these states does better on these frames. Three chorales, at
# the rank and at a quarter of it:

# %%
chorales = load_chorales()
three = list(chorales.train[:3])
frames = sum(map(len, three))
exact = LAES(frames).fit(three)


def errors_at(laes, lag):
    """Return the relative error of the decoder, and of least squares."""
    y = np.concatenate([laes.encode(x)[lag:] for x in three])
    x = np.concatenate([x[: len(x) - lag] for x in three])
    decoded = laes.decode(y, lag + 1)[lag]
    fit = np.linalg.lstsq(y, x)[0]
    return [
        np.linalg.norm(found - x) / np.linalg.norm(x)
        for found in (decoded, y @ fit)
    ]


fewer = exact.truncated(exact.rank // 4)
cells.Grid(
    ("units", "lag", "decoder", "least squares"),
    [
        (laes.n_mem, lag, *errors_at(laes, lag))
        for laes in (exact, fewer)
        for lag in (0, 5, 10)
    ],
)

# %% [markdown]
# At the rank both are exact: a regression that was told nothing finds every
# frame in the state, without error. Below the rank the decoder is one possible
# read-out of the states, and not the best one.
#
# ### Best directions, but not best encoder
#
# The directions are the best ones for the histories. Does it follow that $A$ and
# $B$ of (4) give the smallest error after encoding *and* decoding? It does not:
# below the rank, what was guessed at one step enters the next. So start from
# (4), and let a minimiser change $A$ and $B$, the decoder still tied.


# %%
def lost(flat, p):
    """Return the squared error over all prefixes, as a share of Ξ's."""
    A, B = flat[: p * n].reshape(p, n), flat[p * n :].reshape(p, p)
    error = 0.0
    for x in sequences:
        states = [anp.dot(A, x[0])]
        for frame in x[1:]:
            states.append(anp.dot(A, frame) + anp.dot(B, states[-1]))
        back = anp.stack(states)
        for j in range(len(x)):
            found = anp.dot(back[j:], A)
            error = error + anp.sum((found - x[: len(x) - j]) ** 2)
            back = anp.dot(back, B)
    return error / np.sum(Xi**2)


rows = []
for p in (2, 4, 6):
    start = np.concatenate([part.ravel() for part in by_hand(p)])
    found = minimize(lost, start, (p,), jac=autograd.grad(lost), tol=1e-9)
    rows.append((p, lost(start, p) ** 0.5, found.fun**0.5))
cells.Grid(("units", "error of the closed form", "after descent"), rows)

# %% [markdown]
# There is something to gain. At the rank there is not, for zero is zero. The
# closed form is the exact answer to the question about directions, and a good
# start for the other one.
#
# ### Three mistakes
#
# Now let us make the mistakes that ports make. The table has the error of the
# first frame of each sequence, right after it was read, and then the error at
# each lag over all prefixes. The first is $A^T A x_1$ and knows nothing of $B$. So
# the table says not only *that* something is wrong, but also which of the two.

# %%
crossing = np.eye(len(Xi), k=-1)  # the row before, whosever frame it is
V_3, sizes_3, U_T_3 = np.linalg.svd(Xi[:, : 3 * n], full_matrices=False)
U_3, P_B_3 = U_T_3.T, np.eye(3 * n, k=-n)

tried = {
    "as derived": by_hand(rank),
    "R crosses into the sequence before": of_papers(rank, R=crossing),
    "one unit too many, divided by noise": of_papers(rank + 1),
    "three delays, form of the papers": of_papers(3 * n, V_3, sizes_3, U_T_3),
    "three delays, form (4)": (U_T_3[:, :n], U_3.T @ P_B_3 @ U_3),
}


def judged(tried):
    first = [x[:1] for x in sequences]
    return cells.Grid(
        ("what", "norm of B", "first frame", *(f"lag {j}" for j in range(5))),
        [
            (
                name,
                np.linalg.norm(B, 2),
                every_prefix(A, B, first)[0],
                *every_prefix(A, B, sequences),
            )
            for name, (A, B) in tried.items()
        ],
    )


judged(tried)

# %% [markdown]
# - Where $R$ **crosses** from one sequence into another, the first frames are
#   right and the norm of $B$ is far above one, which the geometry forbids. So it
#   is $B$, and it is not of the form (4).
# - **One unit too many** in the form of the papers: the last singular value is
#   rounding noise, and $B$ is divided by it. In (4) nothing is divided.
# - **Fewer delays than frames**: then $R\,\Xi = \Xi P_B$ does not hold, and the two
#   forms differ. That of the papers loses everything a little. With (4) the
#   last three frames are exact, and what is older is gone. The derivation says
#   so: (6) fails only for the slot at the far end.
#
# `LAES` uses (4), and pads with zeros above the rank.
#
# ## What it remembers
#
# ### A chorale, coming back
#
# The three chorales above, of which the rank is the number of frames. Here is the
# second of them: as it was read, and as it is decoded from its *last state*, with
# half of the units, and with all.

# %% tags=["hide-input"]
piece = three[1]
shown = {"read": piece}
for units in (exact.rank // 2, exact.rank):
    laes = exact.truncated(units)
    decoded = laes.decode(laes.encode(piece)[-1], len(piece))[::-1]
    shown[f"{units} units"] = decoded
with cells.drawing(
    "Piano rolls of a chorale: as it was read, and decoded from the last state"
    " with half of the units and with all. With all it is the same; with half"
    " it is blurred, and shadows of other notes appear.",
    width=9,
    height=3.6,
    columns=3,
) as several:
    for axes, (title, roll) in zip(several, shown.items(), strict=True):
        cells.roll_plot(axes, roll)
        axes.set_ylim(38, 84)
        axes.set_title(title)

# %%
rows = []
for units in (exact.rank // 4, exact.rank // 2, exact.rank):
    laes = exact.truncated(units)
    decoded = laes.decode(laes.encode(piece)[-1], len(piece))[::-1]
    parts = [
        np.linalg.norm((decoded - piece)[part]) / np.linalg.norm(piece[part])
        for part in (slice(0, 16), slice(16, 32), slice(32, None))
    ]
    rows.append((units, *parts))
cells.Grid(("units", "error of frames 0 to 15", "16 to 31", "32 to 47"), rows)

# %% [markdown]
# Below the rank nothing comes back sharp, and nothing is gone altogether; the
# last frames come back best. In a delay line of the same size the last one or two
# would be exact, and all others zero. The directions with large singular values are what many histories share,
# such as notes that sound often, at any time.
#
# ### Over the lag
#
# Now all chorales of the training set, and what comes back of others. The decoder
# is (2). Nothing is fitted to the test set.


# %%
trained = LAES(100, centre=True).fit(list(chorales.train))
sizes_tried, max_lag = (25, 50, 100), 24
print(trained.why.replace("; ", ";\n"))


def r2_over_lag(laes, pieces):
    """Return the share of the variance that the decoder explains, over lag."""
    gone, total = np.zeros(max_lag + 1), np.zeros(max_lag + 1)
    for x in pieces:
        decoded = laes.decode(laes.encode(x), max_lag + 1)
        for lag in range(max_lag + 1):
            gone[lag] += np.sum((decoded[lag, lag:] - x[: len(x) - lag]) ** 2)
            total[lag] += np.sum((x[: len(x) - lag] - laes.mean) ** 2)
    return 1 - gone / total


curves = {
    units: r2_over_lag(trained.truncated(units), chorales.test)
    for units in sizes_tried
}

# %% tags=["hide-input"]
with cells.drawing(
    "Left, how much of the frame k steps back comes out of the decoder, on test"
    " pieces, for 25, 50 and 100 units: the curves are low and nearly flat."
    " Right, the eigenvalues of B for 100 units: most of them near the unit"
    " circle, none outside.",
    width=9,
    height=3.8,
    columns=2,
) as (left, right):
    for k, (units, curve) in enumerate(curves.items()):
        left.plot(
            curve,
            cells.DASHES[k],
            color=cells.COLOURS[k],
            label=f"{units} units",
        )
    left.set_ylim(0, 0.6)
    left.set_xlabel("lag k, steps")
    left.set_ylabel("R² of the decoded frame")
    left.legend()
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    eigenvalues = np.linalg.eigvals(trained.B)
    right.plot(circle.real, circle.imag, "-", color=cells.INK, linewidth=0.8)
    right.plot(
        *(eigenvalues.real, eigenvalues.imag, "o"), color=orange, markersize=4
    )
    right.set_aspect("equal")
    right.set_title("eigenvalues of B, 100 units")

# %%
moduli = np.abs(eigenvalues)
print(f"moduli of the eigenvalues: {moduli.min():.2f} to {moduli.max():.2f}")
cells.Grid(
    (
        "units",
        "R² at lag 0",
        "at lag 8",
        "at lag 24",
        "error of training pieces",
    ),
    [
        (
            units,
            *(curve[lag] for lag in (0, 8, 24)),
            trained.truncated(units).reconstruction_error(list(chorales.train)),
        )
        for units, curve in curves.items()
    ],
)

# %% [markdown]
# The curves are low, and fall slowly. A state that is told to hold *whole*
# histories spends its units on the far past as on the near. The eigenvalues of
# $B$ say how: each is a rotation by its angle that shrinks by its modulus. They
# lie near the circle, at many angles. Whether that is what a network needs is
# another question. The next chapter returns to it.
#
# ## The fast routes
#
# So far $\Xi$ was built and decomposed. For the chorales it would have a row per
# frame and a column per note and delay. Most of these entries are copies. There
# are three ways around, and all of them are exact.
#
# ### The square of it: gram
#
# $G = \Xi^T \Xi$ has the same $U$: $G = U \Lambda^2 U^T$. In blocks of $n$,
# $G_{ij} = \sum_t x_{t-i}\, x_{t-j}^T$, over all $t$ where both exist. Now compare
# with the block one further down the diagonal, $G_{i+1,j+1} = \sum_t x_{t-i-1}\,
# x_{t-j-1}^T$: the same products, one frame earlier. Only the last $t$ of each
# sequence is missing from it. With $z$ the last history of a sequence $q$:
#
# :::{beside}
# \begin{align*}
# G_{ij} &= \sum_q z^q_i\, z^{q\,T}_j + G_{i+1,j+1} \tag{7}
# \end{align*}
#
# One product for each sequence, instead of one for each frame, and a sum along
# the diagonals from the far corner. $G$ is symmetric, and the upper triangle is
# enough. If delays are cut off, the far border is computed, and the rest follows.
# +++
# ```{source} msref.pretraining.laes_squares.gram_matrix
# :from: if xi.width
# :to: g[start:older
# ```
# :::
#
# ### The other square: kernel
#
# $K = \Xi\, \Xi^T = V \Lambda^2 V^T$ has a row and a column per frame. It is small
# where there are few frames with long histories. Two histories are multiplied by
# multiplying their newest frames, and then the histories before them:
#
# :::{beside}
# \begin{align*}
# K_{ts} &= x_t \cdot x_s + K_{t-1,\,s-1} \tag{8}
# \end{align*}
#
# where both have a frame before. Then $U = \Xi^T V$, made orthonormal.
# +++
# ```{source} msref.pretraining.laes_squares.kernel_matrix
# :from: add_square
# :to: k[t, t:] +=
# ```
# :::
#
# ### Nothing at all: krylov
#
# For few directions of a large $\Xi$, it is enough to be able to *multiply* with
# it. Block column $j$ of $\Xi$ is the sequence, delayed by $j$. So $\Xi u = \sum_j
# x_{t-j} \cdot u_j$ is a convolution over time, and that is a product in the
# frequency domain. Sequences of similar length share it:
#
# ```{source} msref.pretraining.laes_convolutions.Many._over_time
# ```
#
# Block Lanczos does the rest: multiply a few vectors again and again, and look for
# the eigenvectors in their span. The two routes above end in the same way, where few
# directions of a large square are wanted.
#
# ### The same answer, at different prices
#
# `LAES` estimates what each route would take, and picks the fastest that fits into
# `memory`, 1 GiB unless told. If it should not converge, the next one is taken. Two
# sets: many short sequences, and a few long ones. (The times are those of the
# processor that built this page, the best of three.)


# %%
def compared(name, data, units):
    width = max(map(len, data))
    estimate = seconds(Histories(data, width), units)
    reference = LAES(units, route="dense").fit(data).recall(width)
    told = LAES(units).fit(data).route
    for route in estimate:
        took = []
        for _ in range(3):
            began = time.process_time()
            laes = LAES(units, route=route).fit(data)
            took.append(time.process_time() - began)
        recall = laes.recall(width)
        probe = np.ones(len(recall))
        apart = recall @ (recall.T @ probe) - reference @ (reference.T @ probe)
        yield (
            name,
            f"{route}, chosen" if route == told else route,
            f"{estimate[route]:.2g} s",
            f"{min(took):.2g} s",
            f"{laes.memory_needed / 2**20:.0f} MiB",
            np.abs(apart).max(),
            laes.residual,
        )


def smooth(n_time, n_in):
    return np.cumsum(rng.standard_normal((n_time, n_in)), axis=0)


many = [smooth(40, 10) for _ in range(40)]
few = [smooth(250, 8) for _ in range(2)]
cells.Grid(
    (
        *("data", "route", "estimate", "took", "memory, at most"),
        *("apart from dense", "residual"),
    ),
    [*compared("40 of 40", many, 20), *compared("2 of 250", few, 20)],
)

# %% [markdown]
# The estimates have to be right in their order only. `msref bench laes` times all
# routes at six sizes that the constants were not fitted to: the worst choice takes 1.5
# times as long as the fastest route. Where $\Xi$ is large, so is the gain: for 64
# directions of 100 sequences, 100 frames of 28 numbers each, krylov takes less than a
# hundredth of the processor time of an SVD of $\Xi$.
# [Chapter 13](13-speed.ipynb) has the figures.
#
# ### What it says of itself
#
# After a fit, `why` has the route and what the others would have cost, and
# `memory_needed` the bytes it stayed below. Less memory, another route; too little is an error:

# %%
for mebibytes in (1024, 7, 4):
    try:
        laes = LAES(20, memory=mebibytes * 2**20).fit(few)
        print(f"{mebibytes} MiB:", laes.why.replace("; ", ";\n    "))
    except ValueError as error:
        print(f"{mebibytes} MiB:", error)

# %% [markdown]
# And the `residual` of the table, which asks (3) for each triplet, with $v_i = \Xi u_i
# / \lambda_i$:
#
# $$\max_i\, \lVert \Xi^T v_i - \lambda_i u_i \rVert\, /\, \lambda_1 .$$
#
# It is estimated by one more product, from random sums of all triplets. Now leave one
# out: take all of the first seven but the fourth.

# %%
xi = Histories(few, 250)
_, found, U_T_few = np.linalg.svd(xi.dense(), full_matrices=False)
seven, six = np.arange(7), np.array([0, 1, 2, 4, 5, 6])
cells.Grid(
    ("triplets", "residual", "nothing missed"),
    [
        (
            name,
            residual(xi, found[kept], U_T_few[kept].T),
            nothing_missed(xi.normal_times, U_T_few[kept], found[6] ** 2),
        )
        for name, kept in (("all seven", seven), ("without one", six))
    ],
)

# %% [markdown]
# The residual is as small as before. It says that each triplet is one, and not that
# they are the *leading* ones. Lanczos has the same blind spot: a multiple eigenvalue
# is found about as often as a block has vectors, and a further copy is orthogonal to
# all that was multiplied. The last column is how it knows.
#
# :::{dropdown} How can one know that nothing was missed?
# Let $S$ be $\Xi^T \Xi$ with all directions in the span taken out on both sides, and
# $w$ a random vector outside of it. Lanczos steps from $w$, with couplings $\beta_j$,
# give a small tridiagonal matrix with eigenvalues $\theta_j$. Let $\pi(x) = \prod_j
# (x - \theta_j)$. After $k$ steps $\lVert \pi(S) w \rVert = \lVert w \rVert\, \beta_1
# \cdots \beta_k$. Suppose that $S y = \lambda y$ with $\lVert y \rVert = 1$ and
# $\lambda \ge \ell$, which is above all $\theta_j$. Then
#
# $$\begin{aligned} \lVert \pi(S) w \rVert &\ge \lvert y \cdot \pi(S) w \rvert \\
# &= \pi(\lambda)\, \lvert y \cdot w \rvert \ge \pi(\ell)\, \lvert y \cdot w
# \rvert . \end{aligned}$$
#
# So $\lvert y \cdot w \rvert \le \lVert w \rVert\, \beta_1 \cdots \beta_k /
# \pi(\ell)$. But $y \cdot w$ is a Gaussian number: it is below $10^{-9}$ with less
# than that probability. As soon as the right side is, there is no such $\lambda$.
#
# ```{source} msref.pretraining.laes_krylov.nothing_missed
# :from: couplings += np.log(beta)
# :to: return True
# ```
#
# Each step takes one product with one vector. Where this is not decided, a second
# search runs in what the first has left.
# :::
#
# ### A square keeps half of the digits
#
# In $G$ the singular values stand squared. A float has 16 digits; so a singular
# value below $10^{-8}$ of the largest has a square below rounding, and its
# direction is noise. Here is a set whose inputs have very different sizes. First
# the eigenvalues of $G$ as they are, then what `LAES` makes of the same route.

# %%
scales = 10.0 ** -np.linspace(0, 11, 5)
uneven = [rng.standard_normal((8, 5)) * scales for _ in range(6)]
Xi_uneven, _ = histories(uneven)
true = np.linalg.svd(Xi_uneven, compute_uv=False)
naive = np.linalg.eigvalsh(Xi_uneven.T @ Xi_uneven)[::-1]
settled = LAES(len(true), route="gram", tolerance=1e-14).fit(uneven)
cells.Grid(
    ("singular value", "of Ξ itself", "root of an eigenvalue", "LAES by gram"),
    [
        (
            k,
            true[k],
            np.sqrt(max(naive[k], 0.0)),
            settled.singular_values[k],
        )
        for k in (0, 8, 16, 24, 32, 39)
    ],
)

# %% [markdown]
# The plain root is right for the large ones and wrong for the small ones. `LAES`
# throws such eigenvectors away, and looks for the missing directions in what the
# others leave of $\Xi$. What is left is small, and has its digits. A few rounds
# give all of them. It matters where every prefix should come back.
#
# ## The papers' claims, measured
#
# Two claims are about the encoding alone. The first is the theorem; the second
# compares it with memories that learn nothing. A third part has no claim: what
# can be predicted from the states of an LAES by a ridge regression.
#
# ```{result} lmn-full-jsb_chorales
# :claims: a b d
# :tables: 0 1 3
# :figures: reconstruction recall-jsb recall-noise
# ```
#
# On music, the LAES holds more of the far past than the others, and less of the
# last frames. White noise has no directions that matter more than others. There
# nothing is gained, as it should be: the three sums are nearly the same.
#
# The result tables of the papers are not known to us, nor are the sizes they
# used. The delay line is our reading of one sentence in an abstract.
#
# ## Porting notes
#
# An LAES is two matrices and a bias. What to take over into a network that
# multiplies from the right:

# %%
cells.Grid(
    ("array", "is", "shape"),
    [
        (name, text, array.shape)
        for (name, array), text in zip(
            trained.matrices().items(), ("A^T", "B^T", "-A mean"), strict=True
        )
    ],
)

# %% [markdown]
# There are no golden vectors of an LAES, and there cannot be: a change of basis
# is as good an answer. Check in this order:
#
# 1. $\lVert B \rVert_2 \le 1$. Above it, the shift crosses a border or something
#    was divided by noise.
# 2. At the rank, the first frame of each sequence; then lag 1; then every prefix.
#    Use sequences of *different* lengths. With equal ones, a shift that crosses
#    the borders may still pass.
# 3. Below the rank, what is decoded, against another program. Never $A$ or $B$.
#    Where two singular values at the cut are equal, not even that is determined.
# 4. With a mean: the first frames. A bias that was forgotten is seen there.
#
# The authors' code calls the mean `whiten`. It subtracts the mean and does
# nothing else. Its thresholds for singular values are absolute numbers; ours are
# shares of the largest.
#
# ## Exercises
#
# **1.** Each line below has one thing changed. The code is folded away. Say
# which matrix it is, and what was done to it, before you look.

# %% tags=["hide-input"]
A, B = by_hand(rank)
judged({"first": (U_T[:rank, -n:], B), "second": (A, B.T)})

# %% [markdown]
# :::{dropdown} Solution
# In the first, the first frame is wrong already, so it is $A$: it was taken from
# the oldest slot of $U$ instead of the newest. In the second, the first frame is
# right, so it is $B$, and its norm is one as before: it was transposed. The
# encoder then moves histories back, and the decoder moves them on.
# :::
#
# **2.** Symbols are given as one-hot frames: one of three entries is one. There are
# 30 random sequences of seven symbols. How large is the rank? And if the mean is
# subtracted?

# %% tags=["hide-input"]
symbols = [np.eye(3)[rng.integers(0, 3, 7)] for _ in range(30)]
print([LAES(30, centre=centre).fit(symbols).rank for centre in (False, True)])

# %% [markdown]
# :::{dropdown} Solution
# 21 and 14. A history has seven slots of three numbers. A one-hot frame sums to
# one, and so does the mean of many. Their difference sums to zero. So it lies in
# a plane, and each slot has one direction less.
# :::
#
# **3.** Six sequences of length 5 with two inputs fill all ten directions. Then $B$
# is nilpotent, and all its eigenvalues are zero. What will `eigvals` print?

# %%
equal = LAES(10).fit([rng.standard_normal((5, 2)) for _ in range(6)])
print("rank", equal.rank)
print("fifth power", np.abs(np.linalg.matrix_power(equal.B, 5)).max())
print("eigenvalues", np.abs(np.linalg.eigvals(equal.B)).max())

# %% [markdown]
# :::{dropdown} Solution
# Numbers just below $10^{-3}$, though the fifth power is zero to rounding. The
# characteristic polynomial is $\lambda^{10}$. $B$ is made of two chains of length
# five, and rounding by $\varepsilon$ turns $\lambda^5 = 0$ into $\lambda^5 =
# \varepsilon$. The fifth root of $10^{-16}$ is $10^{-3.2}$. Do not judge a
# memory by the eigenvalues of $B$ when it is close to a shift.
# :::
#
# **4.** Prove that $\lVert y_t \rVert \le \lVert \xi_t \rVert$ for any sequence, seen
# or not, and any $p$. (Use $A A^T + B B^T \preceq I$, and that the norm of a
# matrix is that of its transpose.)
#
# :::{dropdown} Solution
# $[A\; B]$ has norm at most one, since $[A\; B][A\; B]^T = A A^T + B B^T \preceq
# I$. So $\lVert y_t \rVert^2 \le \lVert x_t \rVert^2 + \lVert y_{t-1} \rVert^2$, and
# $y_0 = 0$. Add up.
# :::
