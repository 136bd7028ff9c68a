# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (gpu)=
# # 14. The same code on a GPU
#
# **No GPU was at hand.** Nothing in msref has run on one, and this page claims
# nothing about speed there. Neither does any other.
#
# What can be said without one? Arrays of [CuPy](https://cupy.dev) have the methods
# of NumPy's and live in the memory of a GPU. So a pass written for NumPy is nearly
# a pass for a GPU. It stops being one at a few places: where an array is brought
# back by accident, where one of the host stands beside one of the device, where
# the host waits for a number at every step, where a function is called that CuPy
# does not have. Each of these can be seen on a machine without a GPU, if an array
# is put there that refuses them.
#
# This chapter is about that array, the *guard*, and about one code that passes
# under it. {ref}`Further down <gpu-run>` it says how you run the same on a GPU, if
# you have what we had not.

# %%
import codecs
import importlib
import sys
import traceback
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

import msref
from msref.architectures import REGISTRY
from msref.arrays import moved, namespace, on_device, on_host, to_device
from msref.book import cells
from msref.book.committed import committed
from msref.functional import spans
from msref.training import Adam, Model, clip_by_global_norm, fit
from msref.verification import draw

# %% [markdown]
# The guard lies with msref's tests and not in the package. The cell takes its two
# files along and imports them:

# %%
with TemporaryDirectory() as folder:
    for name, text in (
        ("guard.py", committed("tests/device/guard.py")),
        ("cupy_names.json", committed("tests/device/cupy_names.json")),
    ):
        Path(folder, name).write_text(text, "utf-8")
    with patch.object(sys, "path", [folder, *sys.path]):
        guard = importlib.import_module("guard")

print(f"it knows {len(guard.NAMES)} names of CuPy {guard.TOLD['cupy']}")

# %% [markdown]
# ## The idea in one picture

# %% tags=["hide-input"]
with cells.drawing(
    "The host holds draws, data and checkpoints; the device holds parameters and"
    " inputs, and runs forward, backward and update. Arrays cross from the host once;"
    " back come a finite or not per group of arrays, and what is stored.",
    height=3.2,
) as axes:
    blue, orange = cells.COLOURS[:2]
    drawn = cells.box(axes, 0, 2, "draws, data")
    asked = cells.box(axes, 0, 1, "“all finite?”")
    kept = cells.box(axes, 0, 0, "checkpoint, report")
    there = cells.box(axes, 4, 2, "params, $x$", blue)
    forward = cells.box(axes, 4, 1, "forward, backward", blue)
    update = cells.box(axes, 4, 0, "new params", blue)
    cells.arrow(axes, drawn, there, "to_device", orange)
    cells.arrow(axes, forward, asked, "a few reads", orange)
    cells.arrow(axes, update, kept, "on_host", orange)
    cells.arrow(axes, there, forward)
    cells.arrow(axes, forward, update)
    cells.bare(axes)

# %% [markdown]
# Left the host, right the device. Orange is what crosses. It crosses before a pass
# and after it, and never within a time step.
#
# ## Forward: one code
#
# ### Computed where its arrays are
#
# There is no second version of a pass, and no switch in it. One rule replaces them:
# *a function computes where its arrays live, and leaves its results there.* It asks
# the arrays which library is theirs, and calls that library `xp`.
#
# :::{beside}
# `step` is told by its caller. `forward` and `backward` ask $x$ and $\mathrm{d}y$.
# What is not of one side is an error, and not a copy: nobody would see a copy that
# nobody asked for.
#
# CuPy is not imported for that. An array of CuPy can only be there if somebody
# imported it already.
# +++
# ```{source} msref.arrays.namespace
# :from: found: set
# ```
# :::

# %%
network = msref.LSTM(3, 5)
case = draw(network, seed=0, n_time=40, n_batch=2)
print(namespace(case.x, *case.params.values()).__name__)

with guard.on_a_device():
    x = on_device("cuda").asarray(case.x)
    print(namespace(x).__name__, type(x).__name__, x.shape)
    try:
        namespace(x, case.params["W_xi"])
    except TypeError as error:
        print(error)

# %% [markdown]
# Inside `guard.on_a_device()` the guard stands in CuPy's place, under its name. So
# msref takes it for CuPy, and comes in through the doors through which it would on
# a GPU.
#
# ### The doors
#
# | function | what it does |
# |---|---|
# | `to_device(tree, "cuda")` | moves a dict of arrays; one that is there stays as it is |
# | `on_device("cuda")` | the library that computes there, or an error that says what is missing |
# | `moved(array, xp)` | one array, to the side of `xp` |
# | `on_host(array)` | one array, back |
# | `beside(tree, *others)` | a dict, to where the others live |
#
# Those that move something end in one function:
#
# ```{source} msref.arrays.moved
# ```
#
# A device may be missing in two ways, and each is said in one line. Both are played
# here, whatever your machine has:

# %%
with patch.dict(sys.modules, cupy=None):  # as if it were not installed
    try:
        to_device(case.params, "cuda")
    except ModuleNotFoundError as error:
        print("without CuPy:", error, sep="\n  ")
with guard.on_a_device(n_devices=0):
    try:
        to_device(case.params, "cuda")
    except msref.arrays.NoGPUError as error:
        print("without a GPU:", error, sep="\n  ")

# %% [markdown]
# ### Drawn on the host, always
#
# A generator of random numbers on the device would draw other numbers. Then a
# training there and one here could never be compared. So every draw comes from the
# `numpy.random.Generator` of the caller, on the host, and is brought along: the first
# parameters, the noise, the masks of dropout, the order of the batches. Both sides
# start from equal bits.
#
# ### What `--device cuda` does
#
# | command | on the device | on the host |
# |---|---|---|
# | `msref verify` | `forward` and `backward` | the witnesses: `step` scanned, autograd, complex step, in float64 |
# | `msref reproduce` | `fit` and `warmup` | draws, measures, verdicts; the results go to a folder of their own, since the device rounds differently |
# | `msref bench` | our passes, the products alone, PyTorch | the clock: seconds of wall, after waiting for what was queued |
#
# A verification there, under the guard. The report is as in chapter 3, but the two
# passes ran with arrays of the "device":

# %%
with guard.on_a_device(), guard.counted() as found:
    report = msref.verify(network, device="cuda", cases=1, n_time=6)
print(f"{found.uploads} arrays went up")
cells.Shown(report)

# %% [markdown]
# ## Backward: when the host waits
#
# The way back follows the same rule, so there is nothing new to derive. What is new
# is the *cost of looking*. A GPU computes what it was told while the host goes on and
# tells it more. The moment the host wants a number, in an `if`, a `float()`, a
# `print`, it has to wait until everything before it is done. That is called a
# *read* here. A read per time step, and the device never has more to do than one step.
#
# How many are there? The guard counts, and so can we. The ledger below notes for each
# read the line of msref that asked:


# %%
class Ledger(guard.Traffic):
    """Counts reads, and notes the line outside the guard that caused each."""

    def __init__(self):
        super().__init__()
        self.lines = Counter()

    def read(self, what):
        super().read(what)
        last = [f for f in traceback.extract_stack() if f.name != "read"]
        last = [f for f in last if Path(f.filename).name != "guard.py"][-1]
        self.lines[f"{last.name}: {last.line}"] += 1


def both_passes(network, case):
    """Run forward and backward on the device; return what the ledger says."""
    with guard.on_a_device():
        params, state, dstate = (
            to_device(tree, "cuda")
            for tree in (case.params, case.state, case.dstate)
        )
        x, dy = to_device({"x": case.x, "dy": case.dy}, "cuda").values()
        with patch.object(guard, "traffic", Ledger()):
            _, _, tape = network.forward(params, x, state, case.t0)
            network.backward(params, tape, dy, dstate)
            return guard.traffic


told = both_passes(network, case)
cells.Grid(("line that reads", "times"), told.lines.items())

# %% [markdown]
# Five in 40 steps: $x$, the parameters, the state; $\mathrm{d}y$, the gradient of the
# final state. Each is asked once, before anything is computed, whether all of its
# numbers are finite. An LSTM has twelve parameters, and they are one question:
#
# ```{source} msref.architectures.base.all_finite
# ```
#
# And it does not depend on the length. Below is one network of each kind. The cell
# stops if 4 and 40 steps do not agree.

# %%
rows = []
for name, entry in REGISTRY.items():
    arch = entry.examples[0]
    few, many = (
        both_passes(arch, draw(arch, seed=0, n_time=n_time, n_batch=2))
        for n_time in (4, 40)
    )
    assert (few.reads, few.uploads) == (many.reads, many.uploads)
    rows.append((name, few.reads, few.uploads))
cells.Grid(("network", "reads", "sent up"), rows)

# %% [markdown]
# Networks made of networks ask again at the border of each part. What two of them send
# up are plans, made on the host: the indices by which `Bidirectional` turns its sequences
# round, and how much each frame counts in a mean of `BatchNorm`. They go up once per pass.
#
# The same care in training. Clipping the gradients and one update of Adam read as
# often for twelve arrays as for one:

# %%
rows = []
for n_arrays in (1, 12):
    with guard.on_a_device():
        grads = {f"W{k}": np.full((2, 2), 1.0 + k) for k in range(n_arrays)}
        grads = to_device(grads, "cuda")
        state = Adam(0.1).init(grads)
        with guard.counted() as found:
            clipped, _ = clip_by_global_norm(grads, 0.1)
            Adam(0.1).update(grads, clipped, state)
    rows.append((n_arrays, found.reads, found.uploads))
cells.Grid(("arrays", "reads", "sent up"), rows)

# %% [markdown]
# ## Is it true? The guard
#
# `Guard` wraps an array of NumPy and computes with NumPy. Its numbers are the host's,
# to the bit; only its manners are those of a device. What it refuses, in its own
# words:

# %%
cells.Listing(
    "tests/device/guard.py",
    "# --- what may not happen by accident",
    "return bool(self._array)",
    is_open=True,
)


# %%
def refused(call):
    """Return what the guard says to a call, and the line that it blames."""
    try:
        call()
    except (TypeError, AttributeError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        frames = [f for f in frames if Path(f.filename).name != "guard.py"]
        return str(error), f"{frames[-1].name}: {frames[-1].line}"
    return "", ""


def said(expressions, hot=False):
    """Evaluate lines with an array `a` of the device and one of the host."""
    rows = []
    with guard.on_a_device() as xp:
        scope = {"a": xp.asarray(np.arange(6.0).reshape(2, 3)), "xp": xp}
        scope |= {"np": np, "host": np.ones((2, 3))}
        for line in expressions:
            with (
                guard.counted() as found,
                guard.hot() if hot else nullcontext(),
            ):
                answer, _ = refused(lambda line=line: eval(line, scope))
            reads = f"passes, reads {found.reads}" if found.reads else "passes"
            rows.append((line, answer or reads))
    return cells.Grid(("line", "the guard"), rows)


said(
    (
        "np.asarray(a)",
        "np.tanh(a)",
        "a + host",
        "host * a",
        "xp.stack([a, host])",
        "xp.tanh(a, out=host)",
        "a[np.array([0])]",
        "xp.interp",
        "xp.linalg.cond(a)",
        "xp.tanh(a, where=a > 0)",
        "xp.argwhere(a, 1)",
        "xp.tanh(a, out=a)",
        "2.0 * a + np.float64(1)",
    )
)

# %% [markdown]
# Some of these CuPy would let pass: it hands a function of NumPy on to its own. The
# guard does not, on purpose. `np.tanh` in a pass says that its author did not think of
# where the array lives, and the next line may not be so lucky.
#
# **Which names are there.** What CuPy has is not known from memory. A
# script, `scripts/cupy_names.py`, asks the installed CuPy, which needs no GPU for that,
# and writes down each name that msref uses, with its parameters:

# %%
for name in ("dot", "argwhere", "tanh", "ndarray.sum"):
    print(f"{name}({guard.NAMES[name]})")

# %% [markdown]
# A name that is not in the file does not exist for the guard. Tests hold that every
# `xp.…` of what runs on a device is in the file, and, where CuPy is installed, that the
# file is what CuPy says.
#
# **What is read.** A read is allowed, and counted, where it does not repeat. In a *hot*
# path it is refused:

# %%
READS = (
    "float(a[0, 0])",
    "1 if a[0, 0] > 0 else 2",
    "a.tolist()",
    "a[a > 1.0]",
    "xp.nonzero(a)",
)
said(READS)

# %%
said(READS, hot=True)

# %% [markdown]
# The last two surprise. How long their result is depends on the numbers, so the host
# has to know them before it can go on. The tests run `step` of every network as a hot
# path.
#
# ### Every network, to the bit
#
# Both passes of each network, here and under the guard. Compared is everything that
# they return: outputs, states, tape, gradients, adjoints.


# %%
def everything(arch, case, device):
    """Return all that both passes give, on the host, under flat names."""
    params, state, dstate = (
        to_device(tree, device)
        for tree in (case.params, case.state, case.dstate)
    )
    x, dy = to_device({"x": case.x, "dy": case.dy}, device).values()
    y, state, tape = arch.forward(params, x, state, case.t0)
    g = arch.backward(params, tape, dy, dstate)
    trees = {"y": {"": y}, "state": state, "tape": tape, "grads": g.params}
    trees |= {"dx": {"": g.x}, "dstate": g.state, "adjoints": g.adjoints}
    return {
        f"{kind}/{name}": on_host(array)
        for kind, tree in trees.items()
        for name, array in tree.items()
    }


n_networks, n_numbers, differ = 0, 0, []
for entry in REGISTRY.values():
    for arch in entry.examples:
        case = draw(arch, seed=1, n_time=6, n_batch=2)
        here = everything(arch, case, "cpu")
        with guard.on_a_device():
            there = everything(arch, case, "cuda")
        n_networks += 1
        n_numbers += sum(array.size for array in here.values())
        differ += [k for k in here if not np.array_equal(here[k], there[k])]
print(
    f"{n_networks} networks, {n_numbers} numbers, {len(differ)} arrays differ"
)
assert not differ

# %% [markdown]
# ### Planted: two passes that are right
#
# Now two bugs that no comparison of numbers can find, since there is nothing wrong with
# the numbers. The first looks at its state after each step. The second keeps its outputs
# in an array of its own:


# %%
class Watched(msref.Elman):
    """Stops where a state grows too large."""

    def forward(self, params, x, state=None, t0=0):
        y, state, tape = super().forward(params, x, state, t0)
        for t in range(len(y)):
            if abs(y[t]).max() > 100.0:
                raise FloatingPointError(f"the state is too large at {t}")
        return y, state, tape


class Keeping(msref.Elman):
    """Returns a copy of its outputs."""

    def forward(self, params, x, state=None, t0=0):
        y, state, tape = super().forward(params, x, state, t0)
        own = np.empty(y.shape, y.dtype)
        own[:] = y
        return own, state, tape


for arch in (Watched(3, 5), Keeping(3, 5)):
    report = msref.verify(arch, cases=1, n_time=4, n_batch=2)
    print(f"{report.verdict}  {report.name}")

# %% [markdown]
# On the host both pass. The ledger of the first:

# %%
watched = Watched(3, 5)
case = draw(watched, seed=0, n_time=40, n_batch=2)
told = both_passes(watched, case)
cells.Grid(("line that reads", "times"), told.lines.items())

# %% [markdown]
# One line reads at each step. And the second does not get that far:

# %%
keeping = Keeping(3, 5)
answer, line = refused(lambda: both_passes(keeping, case))
print(line, answer, sep="\n")
assert line == "forward: own[:] = y"

# %% [markdown]
# The cure is one letter: `xp.empty`, with the `xp` of $x$.
#
# A wrong gradient is found there as it is here. The bug of chapter 1, $W_{hh}$ where
# $W_{hh}^T$ belongs:

# %%
elman = msref.Elman(3, 5)


class Transposed(msref.Elman):
    """Goes back through W_hh instead of its transpose."""

    def backward(self, params, tape, dy, dstate=None):
        wrong = params | {"W_hh": params["W_hh"].T}
        return super().backward(wrong, tape, dy, dstate)


bug = Transposed(3, 5)
with guard.on_a_device():
    report = msref.verify(bug, device="cuda", cases=1, n_time=6, n_batch=2)
cells.Shown(report)

# %% [markdown]
# ### A second witness, for `step`
#
# The guard was written by us. So `step` runs in one more place that was not: on the
# second device of `array-api-strict`, a library that has what the Python array API
# demands, and nothing else. Its arrays have no methods, and refuse whatever lies on
# another device.
#
# ### What the guard cannot know
#
# - **Rounding.** A GPU adds in another order. The tests allow for that there, and only
#   there:

# %%
cells.Listing("tests/device/sides.py", "RTOL =", "How far", is_open=True)

# %% [markdown]
# - **Whether CuPy's functions do what NumPy's do.** It knows their names and their
#   parameters. One known difference is played: `linalg.solve` of a singular matrix
#   gives NaN there, and no error.
# - **Memory, streams, time.** A guard needs the memory of the host, and is slower than
#   NumPy.
#
# ## What is remembered: draws, checkpoints, vectors
#
# What is stored knows no device. A checkpoint is written from the host's copy, so the same
# numbers have the same bytes, whichever side they come from. A training may begin on one
# side and go on on the other:

# %%
model = Model(msref.GRU(2, 4), 1, "squared")
rng = np.random.default_rng(0)
start = model.init(rng)
pairs = [(rng.standard_normal((5, 2)), np.ones((5, 1))) for _ in range(6)]


def trained(n_epochs, device, path=None):
    """Train on a device; with a path, go on from what lies there."""
    found = fit(
        *(model, to_device(start, device), pairs, pairs[:2]),
        optimiser=Adam(0.05),
        rng=np.random.default_rng(5),
        n_epochs=n_epochs,
        n_batch=3,
        noise=0.1,
        checkpoint=path,
        progress=False,
    )
    return to_device(found.last, "cpu")


with TemporaryDirectory() as folder, guard.on_a_device():
    path = Path(folder, "half.safetensors")
    trained(2, "cpu", path)
    handed_over = trained(4, "cuda", path)
    at_home = trained(4, "cpu")
same = [np.array_equal(handed_over[k], at_home[k]) for k in at_home]
print(f"{sum(same)} of {len(same)} arrays are the same to the bit")
assert all(same)

# %% [markdown]
# The noise on the inputs was drawn on the host in all three, so it is the same noise. On
# a GPU rounding would part them slowly.
#
# The golden vectors of [chapter 11](11-porting.ipynb) are of no device either. They are
# made with NumPy, and hold a pass on a GPU as they hold one in Rust.
#
# ## What differs there
#
# A few places ask whether they are on the host, and do something else there.
#
# **tanh.** `tanh_into` of chapter 1 computes large arrays of float64 by a trick that
# makes up for what NumPy lacks. On a device it is `xp.tanh`. So results agree to the
# bit up to a size, and to some units in the last place beyond it:

# %%
rows = []
for n_batch in (32, 64):
    wide = msref.Elman(3, 64)
    case = draw(wide, seed=0, n_time=3, n_batch=n_batch)
    here = everything(wide, case, "cpu")["y/"]
    with guard.on_a_device():
        there = everything(wide, case, "cuda")["y/"]
    off = np.abs(here - there).max()
    rows.append((n_batch * 64, f"{np.mean(here != there):.0%}", off))
cells.Grid(("numbers at a step", "outputs that differ", "by at most"), rows)

# %% [markdown]
# **The closed form.** A {py:class}`msref.LAES` calls LAPACK's own routines on the host:
# eigenvectors of one end of the spectrum alone, factors that overwrite what is not
# needed, one half of a symmetric product. CuPy has the general ones. Singular values
# agree to rounding. The memory is the same up to a change of its basis, and so is what
# it recalls.

# %%
sequences = [np.random.default_rng(k).standard_normal((9, 3)) for k in range(4)]
here = msref.LAES(6).fit(sequences)
with guard.on_a_device():
    on = [to_device({"x": x}, "cuda")["x"] for x in sequences]
    there = msref.LAES(6).fit(on)
    values = on_host(there.singular_values)
    recalled = on_host(there.decode(there.encode(on[0])[-1], 9))
expected = here.decode(here.encode(sequences[0])[-1], 9)
cells.Grid(
    ("compared", "largest relative difference"),
    [
        (what, np.abs(one - other).max() / np.abs(other).max())
        for what, one, other in (
            ("singular values", values, here.singular_values),
            ("what is recalled", recalled, expected),
        )
    ],
)

# %% [markdown]
# **What stays here.** The lengths of sequences and the list of detached steps are asked
# at every step by the loop itself, so they are brought to the host once, before it.
# {py:func}`msref.dynamics.gradient_reach` measures on the host. Q-learning, growth and
# the other pre-training are of the CPU.
#
# ## Measured
#
# Nothing, on a GPU. The goals that were set (within twice the time of cuDNN from 512
# units on, at most 0.4 of a loop in PyTorch) are open. What can be counted without one is
# how many *operations* the device is given at a step. Each is at least one kernel to be
# launched:

# %%
GIVEN = ("add", "sub", "mul", "truediv")
GIVEN = [f"__{kind}{name}__" for name in GIVEN for kind in ("", "r", "i")]
GIVEN += ["__matmul__", "__neg__", "__setitem__"]


def operations(arch, n_time):
    """Count the operations that forward and backward give to the device."""
    counts = Counter()

    def counting(function):
        def counted(*args, **kwargs):
            counts[now] += 1
            return function(*args, **kwargs)

        return counted

    case = draw(arch, seed=0, n_time=n_time, n_batch=2)
    with guard.on_a_device(), ExitStack() as stack:
        params, x, dy = (
            to_device(tree, "cuda")
            for tree in (case.params, {"": case.x}, {"": case.dy})
        )
        for name in GIVEN:
            counted = counting(getattr(guard.Guard, name))
            stack.enter_context(patch.object(guard.Guard, name, counted))
        stack.enter_context(patch.object(guard, "call", counting(guard.call)))
        now = "forward"
        _, _, tape = arch.forward(params, x[""])
        now = "backward"
        arch.backward(params, tape, dy[""])
    return np.array([counts["forward"], counts["backward"]])


rows = []
for arch in (elman, network, msref.GRU(3, 5), msref.LMN(3, 5, 4)):
    per_step = (operations(arch, 30) - operations(arch, 20)) / 10
    rows.append((type(arch).__name__, *map(int, per_step)))
cells.Grid(("network", "forward, per step", "backward"), rows)

# %% [markdown]
# One of the LSTM's is a product of matrices, in each direction. All others go over their
# numbers entry by entry, one after the other. So this is left undone:
#
# - What goes entry by entry is not fused: the LSTM's eleven could be one
#   kernel between two products.
# - A pass of fixed shapes is not captured as a graph, so the host tells every kernel
#   anew.
# - Networks side by side (`Parallel`, both directions) do not run in streams of their
#   own.
# - The layout of the passes, `joined` and `spans`, was chosen for the cache and the BLAS
#   of a processor. What a GPU would like is not known here.
# - LAES of long sequences, memory on the device: not measured.
# - Q-learning and growth are of the host only.
#
# (gpu-run)=
# ## Porting notes: on your GPU
#
#     python -m pip install "msref[gpu]"      # CUDA 13; "msref[gpu-cuda12]" for 12
#     msref verify --device cuda
#
# That is every network, its passes there, its witnesses here. Then, in a checkout, the
# tests of this page on the device itself. Without one they say why they are skipped:
#
#     python -m pip install -e ".[test,gpu]"
#     python -m pytest -m gpu
#     msref bench recurrent --device cuda
#
# If `msref verify` fails there and passes here, look at its first row that fails, as
# always. A difference just above the tolerance in everything looks like rounding; one
# in a single array like a function that does something else in CuPy.
#
# For a network of your own:
#
# 1. `xp` from the arrays, never `np` on them. `np.errstate`, `np.float64` and shapes are
#    the host's anyway.
# 2. New arrays by `xp.empty(shape, x.dtype)`, on the right side and of the right
#    precision.
# 3. No `float`, `int`, `if` or `max()` of Python on an array within the loop over time.
# 4. Indices: whole numbers and slices. No lists, no arrays of truth values.
# 5. Results with `out=`: a buffer that every step uses again.
#
# ## Exercises
#
# **1.** Which of these lines pass, which read, which are refused? Say it for each before
# you run the cell.

# %% tags=["hide-output"]
said(
    (
        "a.sum(axis=0, keepdims=True)",
        "a[0, 1] * 2.0",
        "max(a[0, 0], 0.0)",
        "xp.maximum(a, 0.0, out=a)",
        "a[[1, 0]]",
        "a[::-1]",
        "np.float64(2) * a",
        "sum(a)",
        "xp.where(a > 1.0, a, 0.0)",
        "a @ host.T",
    )
)

# %% [markdown]
# :::{dropdown} Solution
# `max` of Python asks which one is larger, and so reads. A list as an index would be
# copied to the device. `sum` of Python adds the rows one after the other: slow, and
# without a read. `xp.where` needs no number on the host, though a boolean index does.
# `host.T` is on the other side.
# :::
#
# **2.** A test takes this network with few units, compares the reads at 4 and at 40 steps,
# finds them equal, and is content. You are shown more of it.

# %% tags=["hide-input"]
HIDDEN = """
pynff Vzcngvrag(zfers.Ryzna):
    qrs onpxjneq(frys, cnenzf, gncr, ql, qfgngr=Abar):
        sbhaq = fhcre().onpxjneq(cnenzf, gncr, ql, qfgngr)
        qn = sbhaq.nqwbvagf["n"]
        sbe fgneg, fgbc va fcnaf(yra(qn), qn[0].fvmr):
            vs abg qn[fgneg:fgbc].nal():
                oernx
        erghea sbhaq


pynff Erzvaqrq(zfers.Ryzna):
    qrs sbejneq(frys, cnenzf, k, fgngr=Abar, g0=0):
        l, fgngr, gncr = fhcre().sbejneq(cnenzf, k, fgngr, g0)
        sbe g va enatr(yra(l)):
            l[g] *= zbirq(ac.barf(frys.a_uvq), anzrfcnpr(k))
        erghea l, fgngr, gncr
"""
riddles = {"msref": msref, "np": np, "spans": spans}
riddles |= {"moved": moved, "namespace": namespace}
exec(codecs.decode(HIDDEN, "rot13"), riddles)


def seen(arch, lengths):
    """Return what goes across in both passes, over the length."""
    rows = []
    for n_time in lengths:
        case = draw(arch, seed=0, n_time=n_time, n_batch=16)
        found = both_passes(arch, case)
        rows.append((n_time, found.reads, found.uploads))
    return cells.Grid(("steps", "reads", "sent up"), rows)


# %%
first = riddles["Impatient"](3, 32)
seen(first, (4, 40, 80, 160))

# %% [markdown]
# :::{dropdown} Solution
# There is one read per *span* of steps: `backward` asks whether anything came back, and
# would stop if nothing did. A span is `IN_CACHE // (n_batch * n_hid)` steps, here 32. A
# test with few units never sees a second one. With 128 units and 128 sequences a span is
# one step.
# :::
#
# **3.** All numbers of this one are right, to the bit, and it reads no more than it
# should.

# %%
second = riddles["Reminded"](3, 5)
print(msref.verify(second, cases=1, n_time=4, n_batch=2).verdict)
seen(second, (4, 40))

# %% [markdown]
# :::{dropdown} Solution
# At each step an array of the host is sent up, through the proper door. Nobody waits
# for it, so it is no read. But it is a transfer per step, of something that never
# changes. Count both directions.
# :::
#
# **4.** Put a cell of your own under the guard: `forward` and `backward` within
# `guard.on_a_device()`, and `guard.hot()` around the loop. If you have a GPU, ask it the
# same: `msref verify mycell.py:MyCell --device cuda`.
