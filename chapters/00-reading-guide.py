# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # 0. Reading guide and notation
#
# This book is about networks that read a sequence one frame at a time and
# carry a state from frame to frame. For each of them it answers four
# questions. What does one step compute? How is the gradient of a loss found
# by hand? How do we know that the hand made no mistake? What does the network
# remember, and for how long?
#
# ## How a chapter is built
#
# A chapter about a network has the same seven steps, always in this order.
#
# 1. **The idea in one picture**, drawn by code.
# 2. **Forward.** The equations stand beside `step`, which says them in code.
#    Then `forward`, which computes the same over a whole sequence, and what
#    it does differently.
# 3. **Backward.** The derivation, line by line, beside `backward`.
# 4. **Is it true?** A cell runs the verification. Another plants a bug and
#    shows how the report finds it.
# 5. **What it remembers.** How much of a gradient survives how many steps,
#    and how much of the past can be read back from the state.
# 6. **The paper's claims, measured.** Each with a verdict.
# 7. **Porting notes and exercises.** What other frameworks call things, what
#    to check first, and bugs for you to find.
#
# Nothing on a page is typed from memory. Code is taken from the package by
# name. Cells run when the book is built. Numbers of longer experiments come
# from files that `msref reproduce` and `msref bench` have written. Below each of
# them stands when that was, by which version and by which command, and whether
# the code has changed since.
#
# ## The protocol
#
# Every network follows one protocol. Parameters, states, traces and gradients
# are dicts of named arrays, and the name of an array is its symbol in the
# equation.
#
# `step`
# : is the specification. It computes one frame and reads as the equations do.
#   It returns the next state, and a trace of every quantity on the way.
#
# `forward`
# : is the implementation. It runs over a whole sequence, fused and in place,
#   and returns the outputs, the final state, and a tape for the way back.
#
# `backward`
# : takes the gradient at every output and at the final state. It returns the
#   gradients of the parameters, of the input and of the initial state, and
#   the adjoints of the pre-activations at every step.
#
# {py:func}`msref.scan` runs `step` over a sequence. It is slow and literal,
# and everything else is held against it.
#
# ## Notation
#
# | | |
# |---|---|
# | `x (n_time, n_batch, n_in)` | time first; a frame `x_t` is a *row* of `n_in` numbers |
# | `x @ W_xh` | weights multiply from the right; `W_xh (n_in, n_hid)` |
# | `W_xh` | the weight from `x` to `h`; a lower-case `w_hh` is a vector |
# | `a` | a pre-activation: what goes into tanh, σ or a ReLU |
# | `*` | in code and in docstrings: entry by entry; in formulas $\odot$ |
# | `da`, `dW_xh` | the gradient of the loss with respect to `a`, `W_xh`; same shape |
# | (k), (k') | an equation, and its adjoint: the line of the way back that belongs to it |
# | `params, state, trace, tape` | dicts of arrays under the names of the equations |
#
# A tag (k) stands in the docstring, in the formulas of the chapter, and beside
# the line of code. A test fails on a tag without its mirror.
#
# ## One cell, to see that it runs

# %%
import numpy as np

import msref

rng = np.random.default_rng(0)
network = msref.Elman(n_in=3, n_hid=5)
params = network.init(rng)
x = rng.standard_normal((7, 2, 3))  # 7 frames, 2 sequences, 3 numbers each

y, state, tape = network.forward(params, x)
gradients = network.backward(params, tape, dy=np.ones_like(y))
print({name: value.shape for name, value in gradients.params.items()})

# %% [markdown]
# `dy` is the gradient of a loss with respect to every output. Here it is one
# everywhere, so the loss is the sum of all outputs. The gradients of the
# parameters have the shapes of the parameters.
#
# ## The order to read in
#
# [Chapter 1](01-elman.ipynb) derives backpropagation through time for the
# simplest network, and holds four ways to the same gradient side by side.
# [Chapter 2](02-checking-a-gradient.ipynb) asks what a gradient check can and
# cannot see. [Chapter 3](03-lstm-and-gru.ipynb) puts gates in, and is about the
# dialects in which different libraries write the same cell down.
#
# From there on, read what you came for. Memory without gates:
# [4](04-laes.ipynb), [5](05-lmn.ipynb), [6](06-clockwork-and-mslmn.ipynb) and
# [7](07-growth.ipynb), in this order. Units that remember alone, and states that
# stay: [8](08-indrnn-and-durnn.ipynb), [9](09-bistability.ipynb), then
# [12](12-warm-up.ipynb). Networks out of networks: [10](10-combinators.ipynb). A
# port: [11](11-porting.ipynb). Time and machines: [13](13-speed.ipynb) and
# [14](14-gpu.ipynb). What nobody could tell us stands in
# [15](15-what-is-not-known.ipynb).
#
# In the package, read in this order:
#
# 1. `msref/architectures/elman.py`: one equation for the state, one for the
#    way back. Read `step` aloud, then `forward`, then `backward` from the
#    bottom up.
# 2. `msref/architectures/base.py`: the protocol, and `scan`.
# 3. `msref/verification/tolerance.py`, then `witnesses.py`: when two numbers
#    count as equal, and who says what they should be.
# 4. `msref/architectures/lstm.py` and `gru.py`: gates have names, no order.
# 5. `msref/pretraining/laes.py`: a memory in closed form. Then
#    `laes_routes.py`, how it is computed without its data matrix.
# 6. `msref/architectures/lmn.py` and `ulm.py`, then
#    `msref/pretraining/unrolled.py`: from a window to a memory.
# 7. `msref/architectures/clock.py`, `clockwork.py` and `mslmn.py`: modules
#    that hold, and passes that touch only those that do not. Then
#    `msref/pretraining/growth.py`: one module more, and no output changes.
# 8. `msref/architectures/indrnn.py`, where a unit remembers itself alone, and
#    `durnn.py`, a short and a long memory side by side (our equations). Then
#    `msref/training/constraints.py`, which bounds what they carry, and
#    `msref/dynamics/reach.py`, which measures how far that is. `batchnorm.py`
#    and `dropout.py`: what a training observes and draws, in the protocol.
# 9. `msref/dynamics/multistability.py`: attractors counted, and a surrogate
#    with a gradient. Then `msref/pretraining/warmup_loss.py`: back through
#    what settles, and through what led there.
# 10. `msref/claims/lmn.py`, `mslmn.py`, `durnn.py`, `warmup.py` and the tables in
#     `results/`: what of it holds.
# 11. `msref/functional.py`, `recurrence.py` and `bench/timing.py`: what makes the
#     passes fast, and how that was found out.
