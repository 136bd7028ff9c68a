# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (porting)=
# # 11. Porting a network
#
# You have a network in one library, and want it in another. Or you write it
# anew, in a language that has none. It runs, and its numbers look like numbers.
# Are they the right ones?
#
# Two things go wrong. The weights are laid out in another way, or the cell is
# another cell under the same name. Neither crashes. This chapter is about
# finding out in minutes: tables of conventions that are also the code that
# converts, files of numbers to hold a port against, and a comparison that names
# the first wrong number and, mostly, the mistake.

# %%
import codecs
import json
import types
from decimal import Decimal, getcontext

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm

import msref
from msref.book import cells
from msref.book.committed import committed
from msref.ports import FRAMEWORKS, conventions
from msref.vectors import catalogue, compare, load
from msref.vectors.divergence import table as over_time
from msref.vectors.power import BACKWARD, survivors
from msref.vectors.power import table as power_table
from msref.vectors.purposes import PURPOSES
from msref.verification import draw
from msref.verification.variants import variants

blue, orange, green = cells.COLOURS[:3]

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "A golden vector holds inputs and expected numbers. The inputs go into the"
    " port; its numbers and the expected ones go into compare, which names the"
    " first difference and the mistake.",
    height=2.6,
) as axes:
    vector = cells.box(axes, 0, 1, "golden vector", orange)
    port = cells.box(axes, 3, 2, "your port", blue)
    found = cells.box(axes, 6, 1, "compare", orange)
    first = cells.box(axes, 9, 1.6, "first divergence")
    named = cells.box(axes, 9, 0.4, "known mistake")
    cells.arrow(axes, vector, port, "weights, x, state")
    cells.arrow(axes, port, found, "y, gates, gradients")
    cells.arrow(axes, vector, found, "what they should be", orange)
    cells.arrow(axes, found, first)
    cells.arrow(axes, found, named)
    cells.bare(axes)

# %% [markdown]
# A vector is not a pair of input and output. It holds every quantity that the
# equations name, at every time step, and every gradient. So a comparison can say
# *where* two networks part, and not only that they do.
#
# ## What the name of a cell does not say
#
# "A GRU with 5 units" leaves open:
#
# - the side from which a weight multiplies, and with it its shape;
# - in which order the gates lie in a fused array, and along which axis;
# - whether there is one bias per gate or two, and where the second one stands;
# - whether the reset comes before or after the recurrent product;
# - whether $z$ keeps the old state or writes the new one;
# - what is added while the network runs, and is not in the weights;
# - the order of two states, and of the axes of $x$.
#
# Each of these choices keeps all shapes, or can be made to fit by a transpose.
# So each of them goes wrong in silence.
#
# ### The tables
#
# A framework's layout is data, a {py:class}`msref.ports.Layout`. The method
# below turns pieces, one matrix or bias per gate, into an array of a framework;
# `read` is its inverse. It knows nothing of any framework. The table tells it.
#
# ```{source} msref.ports.Slot.write
# ```
#
# What follows is that data, printed, where the rows differ. A wrong entry would
# convert wrongly, so it cannot be wrong in one place and right in the other.
# First the Elman network:

# %%
cells.conventions_grid("elman")

# %% [markdown]
# The GRU:

# %%
cells.conventions_grid("gru")

# %% [markdown]
# And the LSTM:

# %%
cells.conventions_grid("lstm")

# %% [markdown]
# `W x`: the array stands on the left of a column, its shape is (out, in). `x W`:
# it stands on the right of a row. *biases*: with which product, that of the
# input or that of the state; two of them are summed, but for $n$ of a GRU whose
# reset comes after. *added while running*: not in the array, but in the sum.
# *state*: the order in which a layer gives and takes its two states.
#
# ### The arrays
#
# The same rows with names and shapes. D is the number of inputs, H that of
# units. *executed* means that {py:mod}`msref.ports` has run that library and
# compared (`msref port --check`); *read* that its documentation or source was
# read and it was not run; *ours* that the form is our own.


# %%
def short(arrays):
    """Write name and shape; of many alike, the first and the last."""
    said = [f"{name} {shape}" for name, shape in arrays.items()]
    return ", ".join(said if len(said) < 6 else [said[0], "…", said[-1]])


cells.Grid(
    ("framework", "layer", "arrays", "state", "source", "remark"),
    [
        (
            *(row["framework"], row["layer"], short(row["arrays"])),
            *(row["state"], row["source"], row["remark"]),
        )
        for row in conventions(list(FRAMEWORKS.values()))
    ],
)

# %% [markdown]
# ### There and back, and what has no place there
#
# Converting to a framework and back has to return the same weights. Below, each
# cell goes through each framework, with random weights and no bias zero. The
# number is the largest difference after the way back. *hint*: the arrays alone
# do not say which network they are of; it has to be told. *refused*: no weights
# of that layer give this function.

# %%
networks = {
    "RNN_TANH": msref.Elman(3, 5),
    "RNN_RELU": msref.Elman(3, 5, activation="relu"),
    "GRU": msref.GRU(3, 5),
    "GRU, reset before": msref.GRU(3, 5, reset="before"),
    "LSTM": msref.LSTM(3, 5),
}
refusals = []


def there_and_back(label, network, key):
    """Convert to a framework and back; say what became of the weights."""
    params = draw(network, seed=0, n_time=4, n_batch=2).params
    try:
        weights, _ = FRAMEWORKS[key].export(network, params)
    except ValueError as error:
        refusals.append((FRAMEWORKS[key].title, label, error))
        return "refused"
    sizes = {"layer": label, "n_in": network.n_in, "n_hid": network.n_hid}
    hints = sizes if key == "cudnn" else {}
    for name in ("activation", "reset") if key != "cudnn" else ():
        hints |= (
            {name: getattr(network, name)} if hasattr(network, name) else {}
        )
    for told in ({}, hints):
        try:
            _, back, _ = FRAMEWORKS[key].load(weights, **told)
        except ValueError:
            continue
        gap = max(np.abs(back[k] - params[k]).max() for k in params)
        return f"{gap:.1g}" + (", hint" if told else "")
    return "lost"


cells.Grid(
    ("cell", *(framework.title for framework in FRAMEWORKS.values())),
    [
        (label, *(there_and_back(label, network, k) for k in FRAMEWORKS))
        for label, network in networks.items()
    ],
)

# %% [markdown]
# The one number that is not zero is rounding: that framework stores $b_f - 1$
# and adds the 1 while it runs. The reasons for what was refused:

# %%
cells.Grid(
    ("framework", "cell", "why"),
    [
        (title, label, str(why).partition(": ")[0])
        for title, label, why in refusals
    ],
)

# %% [markdown]
# Of these, one is dangerous. A layer without the bias inside the reset takes
# every other array of a GRU, and all shapes fit. One may think of adding the two
# biases of $n$, as is right for $r$ and $z$. By how much is it wrong?

# %%
gru = networks["GRU"]
case = draw(gru, seed=0, n_time=6, n_batch=2)
summed = case.params["b_n"] + case.params["b_hn"]
folded = case.params | {"b_n": summed, "b_hn": 0.0 * summed}
y, _, _ = gru.forward(case.params, case.x, case.state)
y_folded, _, _ = gru.forward(folded, case.x, case.state)
print(f"{np.abs(y - y_folded).max():.2f} of {np.abs(y).max():.2f}")

# %% [markdown]
# (golden-vectors)=
# ## Golden vectors
#
# ### What a file holds
#
# Take `gru/basic`. Each array has a name with a prefix that says what it is for.

# %%
vector = load("gru/basic")
meaning = {
    "params": "the weights, each gate for itself",
    "x": "the input",
    "state0": "the state before the first frame",
    "trace": "each quantity of the equations, at every step",
    "y": "the output",
    "state": "the state after the last frame",
    "dy": "the gradient of the loss for every output",
    "dstate": "the gradient of the loss for the final state",
    "adjoints": "the gradient for each pre-activation, at every step",
    "grads": "the gradients of the weights",
    "dx": "the gradient of the input",
    "dstate0": "the gradient of the initial state",
}
held = {}
for name, array in vector.arrays.items():
    held.setdefault(name.partition("/")[0], []).append((name, array.shape))
cells.Grid(
    ("arrays", "number", "the first", "what"),
    [
        (group, len(held[group]), "{} {}".format(*held[group][0]), what)
        for group, what in meaning.items()
    ],
)

# %% [markdown]
# The first four rows but the trace, and the two gradients of the loss, are what
# a port is given. All others are what it has to find. The loss is
#
# $$L = \sum_t \langle \mathrm{d}y_t, y_t \rangle
# + \langle \mathrm{d}s_T, s_T \rangle ,$$
#
# so that $\mathrm{d}y$ and $\mathrm{d}s_T$ are its gradients, whatever they are.
# There is no mean in it. A port that divides by the batch or by the time has all
# gradients wrong by one factor, and is told so.
#
# Beside the numbers stands a manifest, in JSON. It holds the equations and their
# adjoints, the conventions, where the numbers come from, and how far a port may
# be off:

# %%
print(vector.manifest["conventions"]["precision"])
print(vector.manifest["tolerances"]["formula"])
for equation in vector.manifest["equations"]:
    print(f"({equation['tag']})  {equation['text']}")

# %% [markdown]
# The inputs are made so that mistakes show. The manifest says how, in flags. Each
# flag is tested, and without it a class of mistakes is not seen:

# %%
cells.Grid(("flag", "what it says"), vector.manifest["flags"].items())

# %% [markdown]
# ### Are they true?
#
# A wrong golden number would be worse than none. The expected values are not
# those of `forward` and `backward`. They come from `step` and the witnesses of
# chapter 1, in 80 bits, rounded once. Gradients are found in two ways, by
# reverse-mode differentiation and by the complex step, which had to agree to

# %%
print(vector.manifest["provenance"]["agreement"])

# %% [markdown]
# And here is a way that shares nothing with them, not even NumPy: an Elman
# network in decimal arithmetic of 50 digits, rounded to binary at the end. The
# conversion of a binary number to a decimal one is exact, so the inputs are the
# same to the last digit.

# %%
getcontext().prec = 50
elman = load("elman/basic")


def exactly(array):
    """Turn floats into decimals, without an error."""
    return np.vectorize(Decimal, otypes=[object])(array)


def tanh(a):
    doubled = (2 * a).exp()
    return (doubled - 1) / (doubled + 1)


W_xh, W_hh, b_h = (exactly(elman.params[k]) for k in ("W_xh", "W_hh", "b_h"))
h, outputs = exactly(elman.state0["h"]), []
for x_t in exactly(elman.x):
    h = np.vectorize(tanh, otypes=[object])(x_t @ W_xh + h @ W_hh + b_h)
    outputs.append(h)
decimal = np.array(outputs).astype(float)
same = decimal == elman.arrays["y"]
print(f"{same.sum()} of {same.size} outputs are the same to the last bit")

# %% [markdown]
# ### What each is for
#
# A file is named after what breaks if it fails. A port tries them in this order,
# and the first that fails says what to look at.

# %%
files = [plan.purpose for plan in catalogue.plans().values()]
cells.Grid(
    ("purpose", "files", "what is wrong if it fails and basic agrees"),
    [
        (purpose.name, files.count(purpose), purpose.breaks)
        for purpose in PURPOSES
    ],
)

# %% [markdown]
# ### Read without us
#
# The arrays are in the safetensors format: eight bytes with the length of a
# header, the header in JSON, then the numbers. It takes a page to read in any
# language. Each program below reads a file with nothing but its language's own
# library (the first with NumPy), and recomputes the outputs of `elman/basic`.
# The test suite runs each of them where its compiler is.

# %%
cells.Listing("examples/readers/reader.py", is_open=True)

# %%
cells.Listing("examples/readers/reader.mjs")

# %%
cells.Listing("examples/readers/reader.cpp")

# %%
cells.Listing("examples/readers/reader.rs")

# %% [markdown]
# ## A first divergence, step by step
#
# Here is a GRU as somebody may write it, from the paper that resets before the
# product. It is compared with the network of `gru/basic`, which resets after it.


# %%
def logistic(a):
    return 1.0 / (1.0 + np.exp(-a))


def my_gru(p, x, h, is_right=False):
    """Run a GRU; return what it computed, under the vector's names."""
    found = {name: [] for name in ("r", "z", "n", "h")}
    for x_t in x:
        r = logistic(x_t @ p["W_xr"] + h @ p["W_hr"] + p["b_r"])
        z = logistic(x_t @ p["W_xz"] + h @ p["W_hz"] + p["b_z"])
        read = (r * h) @ p["W_hn"] + p["b_hn"]  # the mistake
        if is_right:
            read = r * (h @ p["W_hn"] + p["b_hn"])
        n = np.tanh(x_t @ p["W_xn"] + p["b_n"] + read)
        h = (1.0 - z) * n + z * h
        for name, value in zip(found, (r, z, n, h), strict=True):
            found[name].append(value)
    trace = {f"trace/{k}": np.stack(v) for k, v in found.items()}
    return trace | {"y": trace["trace/h"], "state/h": h}


mine = my_gru(vector.params, vector.x, vector.state0["h"])
right = vector.arrays["y"]
print(f"largest output {np.abs(mine['y']).max():.3f}", end=", ")
print(f"expected {np.abs(right).max():.3f}", end=", ")
print(f"correlation {np.corrcoef(mine['y'].ravel(), right.ravel())[0, 1]:.3f}")

# %% [markdown]
# The outputs have the right size, and they go up and down with the right ones.
# Nothing in a plot of them would look odd.
#
# **Step 1: hand over what you have.** With the outputs alone, the comparison
# cannot say where in the step it went wrong: everything before `y` was not
# given. It knows the mistake all the same.

# %%
print(compare(vector, {"y": mine["y"]}))

# %% [markdown]
# How? Not by guessing. Each known mistake is planted in our network, the wrong
# network is run on the same inputs, and its numbers are held against yours. A
# mistake is named when *all* arrays given agree with the network that makes it,
# to the tolerance of the file. If several do, all are named, together with what
# would tell them apart. How many were tried here:

# %%
tried = variants(vector.arch)
print(len(tried), "wrong variants, such as:")
for variant in tried[:: len(tried) // 6]:
    print(" ", variant.key)

# %% [markdown]
# **Step 2: give the trace.** Suppose that the mistake were none of the known
# ones. Then the first divergence is what there is to work with. Name what your
# code computes on the way, as the equations do:

# %%
found = compare(vector, mine, diagnose=False)
print(found)

# %% [markdown]
# Read it so: at this time step, $r$ agreed, and $n$ did not. By (3) and (4) of
# the manifest, $n$ is computed from $a_n$, and that from $x_t$, $h_{t-1}$, $r$
# and the weights and biases of $n$. At $t = 0$ the input, the old state, the
# weights and the biases are the file's own. So the error cannot have come from
# elsewhere. It is in (3) or in (4). Had $a_{hn}$ been given, too, we would know
# in which.
#
# This holds for every vector. Arrays are walked in the order in which one is
# computed from the others, step by step, and backwards the other way round:
#
# ```{source} msref.vectors.walking.first_divergence
# ```
#
# If all that a quantity is computed from agrees and the quantity does not, the
# fault lies in its own equation. What was not given is listed, because then this
# conclusion reaches only as far back as the last array that was.
#
# **Step 3: look at the whole.** The figure has a row per array and a column per
# step, and shows how many powers of ten each error is above its tolerance; where
# there is no number, it is white. One wrong quantity infects what is computed
# from it: $h$ and $y$ in the same step, all others from the next step on. What
# stays blue in the first column is not to blame.

# %% tags=["hide-input"]
names, grid = over_time(found)
with cells.drawing(
    "Error over tolerance for each array and time step. r and z agree at the first"
    " step; n, h and y do not; at the second step all differ.",
    height=2.8,
) as axes:
    colours = LinearSegmentedColormap.from_list("", [blue, "#ffffff", orange])
    image = axes.pcolormesh(
        np.ma.masked_invalid(grid),
        cmap=colours,
        norm=TwoSlopeNorm(0.0, -4.0, 12.0),
        edgecolors=cells.INK,
        linewidth=0.2,
    )
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set_xticks(np.arange(grid.shape[1]) + 0.5, range(grid.shape[1]))
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_xlabel("time step")
    bar = axes.figure.colorbar(image, ax=axes)
    bar.set_label("log10(error / tolerance)")
    bar.outline.set_visible(False)
    start = names.index(found.first.array)
    axes.plot(found.first.time + 0.5, start + 0.5, "s", color=cells.INK, ms=5)

# %% [markdown]
# The square marks the first divergence. (`msref vectors compare --figure`
# writes this figure for any port.)
#
# **Step 4: mend it, and ask again.**

# %%
mended = my_gru(vector.params, vector.x, vector.state0["h"], is_right=True)
print(compare(vector, mended))

# %% [markdown]
# **Step 5: the other files, and the gradients.** Here is a port whose forward
# pass is right and which takes no gradient of the final state. `basic` does not
# see that: its loss reads the outputs alone. The file that is named after it does.

# %%
gru = vector.arch


def ignores_dstate(name):
    """Go forwards and back, but drop the gradient of the final state."""
    v = load(name)
    y, state, tape = gru.forward(v.params, v.x, v.state0, v.t0)
    gradients = gru.backward(v.params, tape, v.dy)
    found = {f"grads/{k}": g for k, g in gradients.params.items()}
    return found | {"y": y, "state/h": state["h"], "dx": gradients.x}


for name in ("gru/basic", "gru/final-state-gradient"):
    print(compare(name, ignores_dstate(name)), end="\n\n")

# %% [markdown]
# **And if only the precision is wrong?** The tolerance goes by the type of what
# is given. Numbers that were computed in single precision and are written down
# as double ones are recognised by the size of their errors.

# %%
low = {k: v.astype(np.float32) for k, v in vector.params.items()}
start = {"h": vector.state0["h"].astype(np.float32)}
y, _, _ = gru.forward(low, vector.x.astype(np.float32), start)
print(compare(vector, {"y": y}))
print(compare(vector, {"y": y.astype(np.float64)}))

# %% [markdown]
# ## Does it name the mistakes that people make?
#
# The variants above were planted by us, in our own `step`. That a variant is
# recognised from its own numbers proves little. So the test suite has three
# ports that share no code with msref: fused weights in PyTorch's layout, two
# bias vectors, plain loops. Each has a switch for every mistake in the list
# below: the conventions above taken the other way, other activations, states and
# time handled wrongly.
#
# Every port runs on `basic`. Only its outputs and its final state are handed
# over, no trace. *named* means: one mistake was named, and it is the right one.

# %%
wrong_ports = types.ModuleType("wrong_ports")
exec(committed("tests/vectors/wrong_ports.py"), wrong_ports.__dict__)

PORTS = {
    "elman": (wrong_ports.elman, wrong_ports.ELMAN_BUGS),
    "gru": (wrong_ports.gru, wrong_ports.GRU_BUGS),
    "lstm": (wrong_ports.lstm, wrong_ports.LSTM_BUGS),
}
rows = []
for cell, (port, bugs) in PORTS.items():
    v = load(f"{cell}/basic")
    for bug, expected in bugs.items():
        found = compare(v, port(v.params, v.x, v.state0, bug))
        keys = [" and ".join(m.keys) for m in found.diagnosis.matches]
        off = found.first.array
        if found.first.time is not None:
            off += f" at t = {found.first.time}"
        rows.append((cell, bug, off, "; ".join(keys), keys == [expected]))
cells.Grid(
    ("cell", "bugs", "seen", "named"),
    [
        (
            cell,
            len(bugs),
            sum(row[0] == cell for row in rows),
            sum(row[0] == cell and row[4] for row in rows),
        )
        for cell, (_, bugs) in PORTS.items()
    ],
)

# %% [markdown]
# All of them, one by one:

# %%
cells.Grid(
    ("cell", "the bug", "first off at", "compare says"),
    [row[:4] for row in rows],
)

# %% [markdown]
# "Every" mistake is a claim that nobody can make. These lists hold what we
# found. A mistake outside of them gets a first divergence and the words "no
# known variant", which is less, and still a place to look at.
#
# (power)=
# ## How strong is a file?
#
# A file that everybody passes is worthless. So each file has a *power*: the
# known mistakes that it reveals. A mistake counts as revealed if a port that
# makes it is off by more than the tolerance, somewhere in the file. It was
# measured for every file by running every mistake; the result stands in its
# manifest. Here it is by architecture:

# %%
powers = power_table()
left = survivors(powers)


def sizes(arch):
    """Count networks, files, wrong variants and wrong backward passes."""
    own = [p for p in powers if p.arch == arch]
    known = {key for p in own for key in p.mistakes}
    backward = sum(key.startswith(BACKWARD) for key in known)
    n_files = sum(len(p.by_file) for p in own)
    return len(own), n_files, len(known) - backward, backward


cells.Grid(
    (
        *("architecture", "networks", "files", "wrong variants"),
        *("wrong backward passes", "revealed by no file"),
    ),
    [(arch, *sizes(arch), len(missed)) for arch, missed in left.items()],
)

# %% [markdown]
# And by file, for three cells:

# %%
cells.Grid(
    ("file", "reveals", "of", "misses, for example"),
    [
        (
            name,
            len(killed),
            len(p.mistakes),
            next((k for k in p.mistakes if k not in killed), ""),
        )
        for p in powers
        if p.arch in ("elman", "gru", "lstm")
        for name, killed in p.by_file.items()
    ],
)

# %% [markdown]
# The last column is why there is more than one file. `one-step` cannot see what
# happens between two steps. `bias` feeds frames of zeros, so a wrong input
# weight is not felt there.
#
# ### ONNX's own vectors, measured the same way
#
# ONNX ships node tests for its three recurrent operators: what an implementation
# has to reproduce to be called one. We ran the known mistakes on their inputs
# and held the numbers against their outputs, at their own tolerance. First the
# right network had to reproduce each case. (Gradients are not part of ONNX, so
# only wrong forward passes count here.)

# %%
measured = json.loads(committed("results/vectors-onnx/result.json"))
CELL = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}
PARTS = ("bidirectional", "stack")


def also_ours(power):
    """Say which mistakes our files of that cell know, and reveal."""
    archs = (CELL[power["operator"]], *PARTS)
    own = [p for p in powers if p.arch in archs]
    return set().union(*(p.killed for p in own))


cells.Grid(
    (
        *("operator", "cases", "mistakes tried", "not revealed"),
        *("of these, revealed by ours", "not tried on ours"),
    ),
    [
        (
            *(power["operator"], len(power["cases"]), len(power["mistakes"])),
            len(power["survivors"]),
            sum(key in also_ours(power) for key in power["survivors"]),
            sum(key not in also_ours(power) for key in power["survivors"]),
        )
        for power in measured["onnx"]
    ],
)

# %% tags=["hide-input"]
versions = ", ".join(f"{k} {v}" for k, v in measured["versions"].items())
print(f"Measured {measured['date'][:10]} by {versions}: {measured['command']}")
for power in measured["onnx"]:
    missed = set(power["survivors"]) - also_ours(power)
    print(
        f"{power['operator']}, not tried on ours: {', '.join(sorted(missed))}"
    )

# %% [markdown]
# The last column is what our networks cannot make. It takes peepholes, a second
# bias that is summed, square input weights or directions of one size, and ours
# have none of these. What passes all of ONNX's cases, by operator:

# %% tags=["hide-output"]
cells.Grid(
    ("operator", "a port with this mistake passes"),
    [
        (power["operator"], key)
        for power in measured["onnx"]
        for key in power["survivors"]
    ],
)

# %% [markdown]
# Why? Their inputs say it:

# %%
cells.Grid(
    ("case", "steps", "all weights alike", "all biases zero", "starts at zero"),
    [
        (
            *(case["case"], case["steps"], case["weights_all_equal"]),
            *(case["biases_zero"], case["state_zero"]),
        )
        for case in measured["inputs"]
    ],
)

# %% [markdown]
# A matrix whose entries are all alike is its own transpose, and gates with equal
# weights can be exchanged. A state that starts at zero cannot be ignored. In one
# step nothing is fed back. This is no reproach: those tests ask whether an
# operator is there. But a port that passes them may still be wrong in each of
# the ways of the list.
#
# ## Ports of what nobody ships
#
# LMN, MultiScale LMN, Clockwork RNN, IndRNN, BRC and nBRC are in no framework.
# `examples/ports` has them in PyTorch and in JAX, held against every vector of
# their architectures, in double and in single precision, by `check.py`. The two
# forms of an LMN, beside the equations (1) to (4) of
# [chapter 5](05-lmn.ipynb):

# %%
cells.Listing(
    "examples/ports/pytorch_ports.py", "class LMN", '"m": m', is_open=True
)

# %%
cells.Listing("examples/ports/jax_ports.py", "def lmn", '"m": m', is_open=True)

# %% [markdown]
# ## Porting notes
#
# The order that costs least, whatever the network:
#
# 1. **Step.** One step from `state0/…` and `x[0]`. Hold it against the trace at
#    time 0. `one-step` is a whole file of that.
# 2. **Forward.** The loop: trace, `y`, `state/…`. Then the other files.
# 3. **Adjoints.** The gradient of each pre-activation at every step, where you
#    can get it. It places a wrong gradient in time.
# 4. **Gradients.** `grads/…`, `dx`, `dstate0/…`. Pass `final-state-gradient`.
# 5. **Ragged**, where the network looks ahead.
#
# Compare in double precision first. In single precision a wrong convention and a
# rounding error can be of one size.
#
# On the command line:
#
#     msref port --conventions keras
#     msref port lstm.safetensors --from torch --to keras --out k.safetensors
#     msref vectors write "gru/*" --out vectors
#     msref vectors compare gru/basic mine.npz --figure where.png
#     msref vectors power gru
#
# ## Exercises
#
# The ports of the table again, each with a bug whose name is in rot13. The
# comparison may say where they part, and not why.


# %%
def riddle(cell, bug):
    """Run a port with a bug; compare, without a diagnosis."""
    v, (port, _) = load(f"{cell}/basic"), PORTS[cell]
    outputs = port(v.params, v.x, v.state0, codecs.decode(bug, "rot13"))
    return compare(v, outputs, diagnose=False)


# %% [markdown]
# **1.** An LSTM. Look at the time of the first divergence.

# %%
first = riddle("lstm", "fghpx")
print(first)
print([f"t={t}: {s.max() > 1}" for t, s in enumerate(first.shares["y"])])

# %% [markdown]
# :::{dropdown} Solution
# The first step agrees, all later ones do not. So the step itself is right, and
# what a step hands to the next is not: every step starts from the initial state.
# A port with this bug passes `one-step`.
# :::
#
# **2.** A GRU. All outputs agree.

# %%
print(riddle("gru", "svany fgngr bs gur fgrc orsber"))

# %% [markdown]
# :::{dropdown} Solution
# Only the final state differs. It is that of the step before: it was taken down
# before the last update. Whoever only looks at outputs will find out when a
# sequence is continued.
# :::
#
# **3.** An Elman network. Undo the tanh in the first step: by how much is the
# pre-activation off, for each sequence (row) and unit?

# %%
v = load("elman/basic")
bug = codecs.decode("erpheerag ovnf qebccrq", "rot13")
outputs = PORTS["elman"][0](v.params, v.x, v.state0, bug)
print(np.arctanh(outputs["y"][0]) - np.arctanh(v.arrays["y"][0]))
print(v.params["b_h"])

# %% [markdown]
# :::{dropdown} Solution
# Both rows are alike, and the sequences have different inputs and states. So what
# is wrong depends on neither: it is the bias. The difference is minus one half of
# it. There were two biases, over which a converter had spread ours, and the
# second one was dropped. With its diagnosis, the comparison says "biases halved".
# :::
#
# **4.** Write a port of your own network in another language, from the
# reader above, and pass `basic`. Then count how many of the other files fail.
