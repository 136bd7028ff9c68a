# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# (not-known)=
# # 15. What is not known
#
# This book is about networks whose papers we could mostly not read. That is an
# odd thing to build on, so it has to be said in one place, completely: what could
# be read, what could not, what msref does instead, and what of its own
# measurements is smaller than it should be.
#
# "Not known" means: looked for, and not in any source that was within reach. It
# does not mean that it is unknown to the world. Nothing here was filled in from
# memory. Whoever has a paper can close a gap, and each gap says where.

# %%
import ast
import re
from pathlib import Path

import msref
from msref.book import cells
from msref.book.committed import committed_runs
from msref.ports import FRAMEWORKS, conventions

# %% [markdown]
# ## What could be read
#
# | work | read | not read |
# |---|---|---|
# | Clockwork RNN {cite:p}`koutnik2014` | the full text | whether biases are drawn like weights, and from where time is counted, it does not say |
# | IndRNN {cite:p}`li2018,li2019deep` | both papers, the authors' code and its training logs | the numbers behind the curves of the adding problem |
# | Linear Memory Networks {cite:p}`bacciu2019` | abstract, the authors' code | text, tables |
# | encoding-based memory {cite:p}`carta2021` | abstracts of both versions, code | text, tables |
# | MultiScale LMN {cite:p}`carta2020` | abstract, start of the introduction, code | text, tables |
# | short-term memory by autoencoders {cite:p}`carta2020short` | abstract, start of the introduction, code | text, tables |
# | autoencoders for sequences {cite:p}`sperduti2006,sperduti2013` | titles | all else |
# | pre-training by autoencoders {cite:p}`pasa2014` | abstract; a public script that fits its title and its data, whose author could not be determined | text, tables |
# | feed-forward and recurrent networks {cite:p}`sperduti2015` | abstract | text |
# | dual recurrence {cite:p}`zhang2021` | abstract | text, equations, tables; no code was found |
# | warm-up {cite:p}`lambrechts2023` | abstracts of two versions, the complete code | text, tables, figures |
# | bistable cells {cite:p}`vecoven2021` | abstract, code with its history, a port by others | text, tables |
# | chrono start {cite:p}`tallec2018` | abstract, several codes, reading notes by others | text, tables |
# | LSTM, GRU {cite:p}`hochreiter1997,gers2000,cho2014` | the equations as the frameworks of [chapter 11](11-porting.ipynb) compute them | the papers |
#
# A closed form, a gradient or a bound that stands in a chapter without a source
# was derived there, line by line. It needs no paper to be true.
#
# ## Networks and how they start
#
# What is not known, and beside it what msref does instead, in the words of the
# code: the sentences are taken from the docstrings when this page is built. If one
# of them goes away, the build fails.

# %% tags=["hide-input"]
CHOSEN = re.compile(
    r"our (choice|reading|design)|(is|are) ours"
    r"|not known( to us|[.,;:])|not say who|paper does not say"
)


def sentences(text):
    """Split a docstring into sentences; a heading ends one, too."""
    text = re.sub(r"^[A-Z][a-z]+\n(?= )", "\n\n", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", text):
        yield from re.split(
            r"(?<=[.])(?<!al\.)\s+", " ".join(paragraph.split())
        )


def documented():
    """Return name -> docstring of everything in the package."""
    found, root = {}, Path(msref.__file__).parent

    def visit(node, name):
        found[name] = (ast.get_docstring(node) or "").replace("``", "")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                visit(child, f"{name}.{child.name}")

    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        visit(ast.parse(path.read_text("utf-8")), ".".join(parts))
    return found


DOCSTRINGS = documented()


def instead(unknown, name, phrase):
    """Return a row: where the code says something, to what, and what."""
    said = [s for s in sentences(DOCSTRINGS[name]) if phrase in s]
    if not said:
        raise ValueError(f"{name} does not say {phrase!r}")
    return name, unknown, " ".join(said)


HEADS = ("where", "not known", "what the code says")
cells.Grid(
    HEADS,
    [
        instead(*row)
        for row in (
            (
                "the dual module: all equations, the constraint, the selection,"
                " output, activation, start, training",
                "architectures.durnn.DuRNN",
                "Everything else",
            ),
            (
                "the window of the unrolled networks (k), and how they start",
                "architectures.ulm.ULM",
                "not known to us",
            ),
            (
                "the formula that turns an unrolled network into a memory, as"
                " it is printed",
                "pretraining.unrolled.lmn_from_unrolled",
                "derived here from",
            ),
            (
                "whether the LMN paper encodes hidden vectors or"
                " pre-activations, and whether its window has an output bias"
                " (the code: hidden vectors, and none)",
                "architectures.ulm.ULM",
                "A linear read-out of y",
            ),
            (
                "what the delay line is that the LMN is compared with",
                "pretraining.starts.lmn_delay_line",
                "not known to us",
            ),
            (
                "whether the MultiScale LMN counts time from 0 or 1",
                "architectures.clock.Clock",
                "not known to us",
            ),
            (
                "what becomes of the read-out when a module is added: the"
                " released code calls a function that does not exist",
                "pretraining.growth.grow",
                "nowhere defined",
            ),
            (
                "whether the Clockwork RNN draws its biases",
                "architectures.clockwork.ClockworkRNN",
                "not known",
            ),
            (
                "the chrono rule for a GRU as printed, and for its reset gate",
                "architectures.gru.GRU",
                "not known to us",
            ),
            (
                "how the networks of Elman's paper started",
                "architectures.elman.Elman",
                "not known to us",
            ),
        )
    ],
)

# %% [markdown]
# ## Tasks and data

# %% tags=["hide-input"]
cells.Grid(
    HEADS,
    [
        instead(*row)
        for row in (
            (
                "the waveforms that were generated, their number and length",
                "data.tasks.waveform",
                "These five are ours",
            ),
            (
                "symbols, alphabet and delay of the copy task",
                "data.tasks.copy_task",
                "not known",
            ),
            (
                "the lengths behind the tables on warm-up, the number of seeds",
                "data.recall_tasks.copy_first_input",
                "not known",
            ),
            (
                "which seven utterances of each word were taken from TIMIT",
                "data.speech.load_timit_words",
                "not known",
            ),
            (
                "which of three definitions of accuracy the tables on music use",
                "training.metrics.FrameAccuracy",
                "three different things",
            ),
            (
                "who wrote the digits of a set, and its official test part",
                "data.labelled.load_mnist",
                "not known",
            ),
        )
    ],
)

# %% [markdown]
# Some data cannot be had at all without a licence, a form, or a download that
# nobody mirrors in a package. Other data stand in, and numbers measured on them
# are not comparable with published ones.
#
# | wanted | what there is instead | what that costs |
# |---|---|---|
# | the four music sets with their splits | a reader for the published files, if you have them; otherwise chorales that come with msref | other pieces, other splits: accuracies are comparable only loosely |
# | TIMIT, words and frames | a reader, if you have it; spoken digits as MFCCs | no speaker is named, so a speaker may be in training and in test |
# | IAM-OnDB, lines of handwriting | a reader, if you have it; pen digits of 8 points | one digit, and not a line; writers are not named |
# | MNIST, 60,000 and 10,000 images | 5,000 images of it | no official test part |
#
# ## Results that are not known
#
# None of the result tables of the papers on the LMN, on encoding-based memory, on
# the MultiScale LMN, on pre-training by autoencoders, on bistable cells, on the
# chrono start, on warm-up and on dual recurrence could be read. Of all their
# numbers, these are known, from abstracts: an LMN with pre-training is better
# than an LSTM by up to 3.7 points of frame-level accuracy, with about one fifth
# of the parameters {cite:p}`bacciu2019`; a dual module handles over 5000 steps
# {cite:p}`zhang2021`. Other claims are qualitative. The tables of the Clockwork
# RNN and of IndRNN are known, the first without its data. Numbers of others'
# reimplementations are not the papers', and are not used as such.
#
# So a claim in this book is mostly a *sentence*, held against our measurement. How
# many of them hold, in each run that is committed:

# %%
runs = committed_runs()
verdicts = list(
    dict.fromkeys(c["verdict"] for run in runs for c in run["claims"])
)
cells.Grid(
    ("run", "scale", "seeds", "claims", *verdicts),
    [
        (
            *(run["paper"], run["scale"], len(run["seeds"])),
            len(run["claims"]),
            *(
                sum(c["verdict"] == verdict for c in run["claims"])
                for verdict in verdicts
            ),
        )
        for run in runs
    ],
)

# %% [markdown]
# What does not hold here, or could not be decided, at the largest scale that was
# run. This is a statement on our runs: the sizes, the data and the designs above.
# It does not refute a paper whose tables we have not seen.

# %%
largest = {run["paper"]: run for run in runs if run["scale"] == "full"}
cells.Grid(
    ("run", "claim", "verdict", "why"),
    [
        (run["paper"], claim["text"], claim["verdict"], claim["reason"])
        for run in largest.values()
        for claim in run["claims"]
        if claim["verdict"] != "holds"
    ],
)

# %% [markdown]
# ## What was scaled down
#
# Two processor cores were there. Every run says what it made smaller than the
# paper, or different; these are its own words:

# %%
cells.Grid(
    ("run", "data", "scaled down"),
    [
        (f"{run['paper']}, {run['scale']}", run["data"], run["scaled_down"])
        for run in runs
        if run["scale"] == "full" or run["paper"] not in largest
    ],
)

# %% [markdown]
# All of it was measured on

# %%
print(*sorted({run["machine"] for run in runs}), sep="\n")

# %% [markdown]
# With one or a few seeds, a difference of a point may be chance. The verdicts take
# the spread over seeds into account where there are several; where there is one
# seed, there is no spread, and the verdict says no more than that run.
#
# ## Frameworks that were not run
#
# The tables of [chapter 11](11-porting.ipynb) come from libraries that were run,
# but for these rows, which rest on documentation and on the sources of others:

# %%
cells.Grid(
    ("framework", "layer", "remark"),
    [
        (row["framework"], row["layer"], row["remark"])
        for row in conventions(list(FRAMEWORKS.values()))
        if row["source"] == "read"
    ],
)

# %% [markdown]
# ## What a check cannot know
#
# - `msref verify` compares `forward` and `backward` with `step`. If `step` is not
#   what a paper means, all of it agrees, and is wrong together. Where the paper
#   could not be read, nobody here can exclude that.
# - The power of a check or of a vector counts *known* mistakes
#   ([chapter 11](11-porting.ipynb)). That none of them survives says nothing about
#   the others.
# - Golden vectors are right to the last place on processors with 80-bit
#   arithmetic. Elsewhere they are read, and made anew to $10^{-13}$ only.
# - What a network can learn was measured with the optimisers and learning rates
#   of our runs. A better search may find what ours did not.
#
# ## Every choice of ours
#
# The list above is what matters most. Here is all of it: each sentence in the
# package that says that something is not known, or is our choice, found by
# looking for these words in every docstring.

# %%
every = [
    (name, sentence)
    for name, text in DOCSTRINGS.items()
    for sentence in sentences(text)
    if CHOSEN.search(sentence)
]
print(f"{len(every)} sentences, in {len({name for name, _ in every})} places")

# %% tags=["hide-input"]
cells.Grid(("where", "what it says"), every)

# %% [markdown]
# If you have one of these papers: the network's file holds each equation in a line
# of its own, with its tag, and `msref verify` will tell within a minute whether
# your change and its gradient agree.
