# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 2. How to check a gradient
#
# A gradient by hand is easy to get wrong and hard to see wrong. Training with a
# wrong one often still works, only worse. So it is checked against another
# derivative, and the check decides what mistakes can survive.
#
# This chapter is about the check itself. What does it compare with? When do two
# numbers count as equal? At which point does it look? Each answer below is
# measured: we plant mistakes and see which of them a check lets pass.

# %%
from dataclasses import replace

import numpy as np

import msref
from msref.book import cells
from msref.verification import draw, gather, judge
from msref.verification.bugs import windowed
from msref.verification.mutants import mutants

network = msref.Elman(3, 5)

# %% [markdown]
# ## The common check, written out
#
# Most checkers follow one recipe. They take central differences of the loss,
# entry by entry, and accept if
#
# $$|\text{got} - \text{expected}| \le \text{atol} + \text{rtol}\,|\text{expected}| .$$
#
# PyTorch's `gradcheck` has the defaults $\varepsilon = 10^{-6}$, atol
# $10^{-5}$, rtol $10^{-3}$. Here is that recipe with those numbers, for any
# array of a case.

# %%
EPS, ATOL, RTOL = 1e-6, 1e-5, 1e-3


def loss(case, **moved):
    params = case.params | {k: v for k, v in moved.items() if k != "x"}
    x = moved.get("x", case.x)
    y, state, _ = msref.scan(network, params, x, case.state)
    return np.sum(case.dy * y) + np.sum(case.dstate["h"] * state["h"])


def differences(case, name, value, eps=EPS):
    found = np.empty_like(value)
    for place in np.ndindex(value.shape):
        d = np.zeros_like(value)
        d[place] = eps
        up, down = (loss(case, **{name: value + s * d}) for s in (1, -1))
        found[place] = (up - down) / (2 * eps)
    return found


def common_check(got, expected):
    return bool(
        np.all(np.abs(got - expected) <= ATOL + RTOL * np.abs(expected))
    )


# %% [markdown]
# Its loss runs `step`, so it is independent of `backward`, as it should be. What
# follows is not about that. It is about the two tolerances.
#
# ## What a tolerance lets pass
#
# Take the right gradient of $W_{hh}$ and multiply it by $1 + \delta$. From
# which $\delta$ on does each check object? msref's rule is
#
# $$|\text{got} - \text{expected}| \le \text{rtol}\,\max(|\text{got}|, |\text{expected}|) + \text{floor} ,$$
#
# with rtol $= 4096$ units of rounding. The floor is no constant: it is computed
# at each case from the witness's own error.

# %%
case = draw(network, seed=1, n_time=12, n_batch=2)
evidence = gather(network, case)
_, _, tape = network.forward(case.params, case.x, case.state)
right = network.backward(case.params, tape, case.dy, case.dstate)
W_hh = case.params["W_hh"]
by_differences = differences(case, "W_hh", W_hh)


def ours(gradients):
    """Say whether msref's check accepts."""

    class Given(msref.Elman):
        def backward(self, *args):
            return gradients(*args)

    found = judge(Given(3, 5), evidence)
    return not any(f.comparison.verdict in ("FAIL", "NAN") for f in found)


def scaled(delta):
    def gradients(*args):
        g = network.backward(*args)
        return replace(
            g, params=g.params | {"W_hh": (1 + delta) * g.params["W_hh"]}
        )

    return gradients


cells.Grid(
    ("relative error δ", "common check", "msref"),
    [
        (
            f"1e{k}",
            "passes"
            if common_check(
                (1 + 10.0**k) * right.params["W_hh"], by_differences
            )
            else "fails",
            "passes" if ours(scaled(10.0**k)) else "fails",
        )
        for k in range(-1, -15, -1)
    ],
)

# %% [markdown]
# An error of a thousandth passes the common check. That is not far-fetched: it is
# what a bug in a rare branch, or in a small term, looks like.
#
# ## The blind spot: what vanishes
#
# An absolute tolerance has a worse effect. In a recurrent network the gradient
# of a far step is small. Everything below atol counts as equal to everything
# else below atol, so zero is as good as the truth. A pass that stops after some
# hops, *truncated* backpropagation taken for the whole, differs only in these
# terms.
#
# Below, $\lVert W_{hh} \rVert = 0.5$, 24 steps, and a loss on the last output
# alone. `windowed` is a backward pass that follows each output back through
# `hops` hops and no further. Both checks look at the gradients of the weights.

# %%
case = draw(network, seed=3, n_time=24, n_batch=2)
shrunk = 0.5 * W_hh / np.linalg.norm(W_hh, 2)
case = replace(case, params=case.params | {"W_hh": shrunk}).last_output_alone()
evidence = gather(network, case)
expected = {
    name: differences(case, name, value) for name, value in case.params.items()
}


def truncated(hops):
    def gradients(params, tape, dy, dstate):
        return windowed(network, params, tape, dy, dstate, hops)

    return gradients


def both(hops):
    _, _, tape = network.forward(case.params, case.x, case.state)
    got = truncated(hops)(case.params, tape, case.dy, case.dstate).params
    common = all(common_check(got[name], expected[name]) for name in expected)
    return [
        hops,
        "passes" if common else "fails",
        "passes" if ours(truncated(hops)) else "fails",
    ]


cells.Grid(
    ("hops followed back, of 23", "common check", "msref"),
    [both(hops) for hops in (3, 6, 8, 10, 12, 14, 18, 22, 23)],
)

# %% [markdown]
# 23 hops are the whole way, and there both are right to pass. msref objects to
# every other one, because a relative comparison has no size below which it stops
# looking. The picture shows how: the size of what arrives, by lag, beside the
# absolute tolerance.

# %% tags=["hide-input"]
_, _, tape = network.forward(case.params, case.x, case.state)
whole = network.backward(case.params, tape, case.dy, case.dstate).x
cut = truncated(10)(case.params, tape, case.dy, case.dstate).x


def by_lag(dx):
    return np.linalg.norm(dx.reshape(len(dx), -1), axis=1)[::-1]


with cells.drawing(
    "Norm of the input's gradient over the lag, falling exponentially; the"
    " truncated one ends after lag 10; a line marks the absolute tolerance.",
) as axes:
    axes.semilogy(by_lag(whole), ".-", label="whole")
    shown = by_lag(cut)
    axes.semilogy(
        np.where(shown > 0, shown, np.nan),
        "o",
        fillstyle="none",
        label="10 hops",
    )
    axes.axhline(ATOL, color=cells.COLOURS[2], linestyle=":", label="atol 1e-5")
    axes.set_xlabel("lag, steps")
    axes.set_ylabel("norm of the gradient of x")
    axes.legend()

# %% [markdown]
# ## Differences return exactly zero
#
# Farther back, it is not the tolerance any more but the method. A derivative as
# small as the one below moves the loss by far less than its last digit.

# %%
case = draw(network, seed=4, n_time=60, n_batch=1)
case = replace(
    case, params=case.params | {"W_hh": 0.8 * shrunk}
).last_output_alone()
_, _, tape = network.forward(case.params, case.x, case.state)
by_hand = network.backward(case.params, tape, case.dy, case.dstate).x[0, 0, 0]

d = np.zeros_like(case.x)
d[0, 0, 0] = 1.0
cells.Grid(
    ("derivative by the first input, 60 steps back", "value"),
    [
        ("by hand", f"{by_hand:.15e}"),
        (
            "complex step, 1e-30",
            f"{loss(case, x=case.x + 1e-30j * d).imag / 1e-30:.15e}",
        ),
        *(
            (
                f"differences, step {eps:.0e}",
                (
                    loss(case, x=case.x + eps * d)
                    - loss(case, x=case.x - eps * d)
                )
                / (2 * eps),
            )
            for eps in (1e-4, 1e-6)
        ),
    ],
)

# %% [markdown]
# The complex step and the gradient by hand agree in nearly all digits. This is
# why it is a witness here, and differences are not, where there is a choice.
#
# The complex step has a price: the function must be analytic, as it is written.
# `abs`, `conj`, a cast to real, or a sigmoid built on `abs` break it *silently*.
# So `msref.functional` owns every activation and is tested with complex numbers;
# and `gather` compares the complex step with autograd before it believes either.
#
# ## Kinks
#
# A ReLU has no derivative at zero, and is not analytic. There, differences are
# the second witness, and they have a trap of their own. If an entry changes sign
# between the two evaluations, the quotient is the slope of neither side.
#
# How often does that happen? Count the sign changes in the two traces. No
# tolerance is needed: either a pre-activation has changed its sign or not.

# %%
rectified = msref.Elman(3, 40, activation="relu")
case = draw(rectified, seed=0, n_time=40, n_batch=4)
direction = np.random.default_rng(1).standard_normal(case.x.shape)
_, _, tape = rectified.forward(case.params, case.x, case.state)
slope = np.sum(
    rectified.backward(case.params, tape, case.dy, case.dstate).x * direction
)


def at(s):
    y, state, trace = msref.scan(
        rectified, case.params, case.x + s * direction, case.state
    )
    value = np.sum(case.dy * y) + np.sum(case.dstate["h"] * state["h"])
    return value, trace["a"]


def row(eps):
    (up, a_up), (down, a_down) = at(eps), at(-eps)
    flips = int(np.sum(np.sign(a_up) != np.sign(a_down)))
    error = abs((up - down) / (2 * eps) / slope - 1)
    return f"{eps:.0e}", flips, error


cells.Grid(
    (
        "step",
        f"sign changes, of {at(0.0)[1].size}",
        "relative error of the quotient",
    ),
    [row(10.0**k) for k in range(-1, -8, -1)],
)

# %% [markdown]
# The quotient is wrong while units flip, and right as soon as none does. msref
# shrinks the step until there is none, and says in its report how many there
# were. Libraries that loosen the tolerance instead accept the wrong slope
# together with the right one.
#
# ## Where one looks
#
# A check looks at a point. At a poor point, mistakes do not show. Below are some
# common points. All bugs that msref knows for this network, in `forward` and in
# `backward`, are planted in turn and held against exact witnesses at that point.
# So whatever survives was hidden by the point alone.


# %%
def zeros_for(names):
    def change(case):
        fresh = {
            k: np.zeros_like(v) for k, v in case.params.items() if k in names
        }
        return replace(case, params=case.params | fresh)

    return change


def constant(case):
    same = {k: np.full_like(v, 0.3) for k, v in case.params.items()}
    return replace(case, params=same)


def still(case):
    nothing = {k: np.zeros_like(v) for k, v in case.state.items()}
    return replace(case, state=nothing)


def no_final(case):
    return replace(case, dstate={k: 0 * v for k, v in case.dstate.items()})


habits = {
    "msref's own point": (8, lambda case: case),
    "constant weights": (8, constant),
    "zero biases": (8, zeros_for(["b_h"])),
    "zero initial state": (8, still),
    "no gradient at the final state": (8, no_final),
    "a loss on the last output alone": (
        8,
        lambda case: case.last_output_alone(),
    ),
    "one time step": (1, lambda case: case),
}
planted = list(mutants(network))


def survivors(n_time, change):
    told = gather(network, change(draw(network, 0, n_time=n_time, n_batch=3)))
    return [
        f"{mutant.kind} ({mutant.where})"
        for mutant in planted
        if not any(
            f.comparison.verdict in ("FAIL", "NAN") for f in judge(mutant, told)
        )
    ]


hidden = {habit: survivors(*how) for habit, how in habits.items()}
cells.Grid(
    ("point", f"survive, of {len(planted)}", "for example"),
    [
        (habit, len(alive), ", ".join(alive[:3]) or "–")
        for habit, alive in hidden.items()
    ],
)

# %% [markdown]
# This is why {py:func}`msref.verification.draw` draws every array at random,
# biases and initial state too; gives every output *and* the final state a
# gradient; and makes all sizes different, so that a transposed matrix does not
# fit by chance.
#
# ## What the report says
#
# A check that says "not equal" leaves the work to you. The report below says
# which array, at which time step, how many hops back, and what is still right.
# It finds the step by looking at the adjoints of the pre-activations. Each is
# compared with a probe added to that pre-activation at that step.

# %%
gru = msref.GRU(3, 5)
cells.Shown(
    msref.verify(
        cells.planted(gru, "recurrent path dropped", "W_hz"),
        cases=1,
        n_time=6,
        n_batch=2,
    )
)

# %% [markdown]
# The verdicts are words, and there are five of them.
#
# | verdict | meaning |
# |---|---|
# | PASS | equal |
# | FAIL | not equal |
# | UNDECIDED | the witness's own error is too large to tell |
# | ZERO | both exactly zero everywhere, so nothing was tested |
# | NAN | not finite |
#
# A checker that has no word for UNDECIDED must call it PASS or FAIL, and it knows
# neither.
#
# ## How good is the check itself?
#
# Plant every known bug and count. `msref verify --power` does so for the whole
# registry. Here is one network.

# %%
from msref.verification.mutants import power  # noqa: E402

trials = power(network)
caught = sum(bool(trial.caught_by) for trial in trials)
print(f"{caught} of {len(trials)} planted bugs caught in {network}")

# %% [markdown]
# ## Exercises
#
# **1.** The common check above passes a gradient that is wrong by a thousandth.
# Would `rtol = 1e-9` mend it? Try it, and look at the right gradient first.
#
# :::{dropdown} Solution
# No. The figure of chapter 1 shows how wrong differences are by themselves, at any
# step. A tolerance below that fails gradients that are right, and the smallest
# entries first. The tolerance must follow from the error of the witness, so a
# better witness has to come first.
# :::
#
# **2.** Which bug is in this network? Decide first which rows of the report you
# need. The names are in rot13.

# %%
riddle = cells.riddle(gru, "bss ol bar va gvzr")
cells.Shown(msref.verify(riddle, cases=1, n_time=5, n_batch=2))

# %% [markdown]
# :::{dropdown} Solution
# `h_t` was used where `h_{t-1}` belongs. The adjoint of the update gate is the
# first to be wrong, at the last step, because `dz` holds `h_{t-1} - n`. The
# weights' gradients follow.
# :::
#
# **3.** Why is a check of the gradient of `x` alone not enough, although every
# adjoint enters it?
#
# :::{dropdown} Solution
# Because nothing that is formed *from* the adjoints is seen: a weight's gradient
# summed over the wrong states, a bias that is never collected, the gradient of
# the initial state.
# :::
