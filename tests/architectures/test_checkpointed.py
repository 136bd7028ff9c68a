"""Gradients of the whole, with the memory of a part."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msref
from msref.architectures import (
    LMN,
    LSTM,
    REGISTRY,
    Bidirectional,
    Checkpointed,
    Elman,
    IndRNN,
    MultiScaleLMN,
    is_causal,
)
from msref.training import Adam, Model, fit
from msref.verification import verify

sys.path.insert(0, str(Path(__file__).parents[1] / "properties"))
from strategies import cases

CAUSAL = [
    name
    for name, entry in REGISTRY.items()
    if any(is_causal(example) for example in entry.examples)
]


@pytest.mark.parametrize("name", CAUSAL)
@settings(max_examples=25)
@given(data=st.data())
def test_it_is_the_whole_pass_whatever_the_segment(name, data):
    case = data.draw(cases(name, is_causal))
    segment = data.draw(st.sampled_from([None, 1, 2, 3, 7, 100]))
    whole, cut = case.arch, Checkpointed(case.arch, segment)
    y, final, tape = whole.forward(case.params, case.x, case.state, case.t0)
    z, last, kept = cut.forward(case.params, case.x, case.state, case.t0)
    eps = np.finfo(case.dtype).eps
    size = 1 + np.abs(y).max()
    np.testing.assert_allclose(z, y, 2e3 * eps, 100 * eps * size)
    for key, value in final.items():
        np.testing.assert_allclose(
            last[key], value, 2e3 * eps, 100 * eps * size
        )
    g = whole.backward(case.params, tape, case.dy, case.dstate)
    found = cut.backward(case.params, kept, case.dy, case.dstate)
    pairs = [(found.x, g.x)]
    pairs += [(found.params[k], v) for k, v in g.params.items()]
    pairs += [(found.state[k], v) for k, v in g.state.items()]
    for ours, theirs in pairs:
        size = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, 1e4 * eps, 1e3 * eps * size)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize(
    "arch",
    [Checkpointed(LMN(3, 5, 4), 3), Checkpointed(MultiScaleLMN(3, 5, 2, 4), 2)],
    ids=repr,
)
def test_the_witnesses_agree(arch):
    assert verify(arch, cases=3).ok


def peak(arch, params, x):
    """Return the largest memory of both passes, beyond what was there."""
    tracemalloc.start()
    y, _, tape = arch.forward(params, x)
    arch.backward(params, tape, np.ones_like(y))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_is_that_of_a_segment():
    """A wide network with a narrow output: its tape is nearly everything."""
    arch = LMN(1, 64, 2)
    params = arch.init(np.random.default_rng(0))
    x = np.zeros((900, 4, 1))
    whole, cut = peak(arch, params, x), peak(Checkpointed(arch), params, x)
    tape = 900 * 4 * 64 * 8
    assert whole > 2 * tape  # h and da
    assert cut < 0.3 * tape


@pytest.mark.parametrize("segment", [None, 1, 4, 11, 40])
def test_outputs_need_not_be_kept(segment):
    """dy is found from the outputs of a segment, dx written over x."""
    arch = Checkpointed(LSTM(3, 4), segment)
    rng = np.random.default_rng(0)
    params, state = arch.init(rng), arch.draw_state(rng, 2)
    x, target = rng.standard_normal((11, 2, 3)), rng.standard_normal((11, 2, 4))
    dstate = {name: rng.standard_normal((2, 4)) for name in "hc"}
    y, final, tape = arch.forward(params, x, state, t0=5)
    whole = arch.backward(params, tape, y - target, dstate)
    none, last, tape = arch.forward(params, x, state, t0=5, keep_y=False)
    seen = []

    def dy(out, now):
        np.testing.assert_array_equal(out, y[now])
        seen.append(now)
        return out - target[now]

    found = arch.backward(params, tape, dy, dstate, dx=x)
    assert found.x is x
    assert none.shape == (0, 2, 4)
    steps = [t for now in reversed(seen) for t in range(11)[now]]
    assert steps == list(range(11))
    np.testing.assert_array_equal(x, whole.x)
    for ours, theirs in (
        (last, final),
        (found.params, whole.params),
        (found.state, whole.state),
    ):
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


def test_then_nothing_else_is_as_long_as_time():
    arch = Checkpointed(LMN(1, 8, 64))
    params = arch.init(np.random.default_rng(0))

    def most(n_time):
        x = np.zeros((n_time, 4, 1))
        tracemalloc.start()
        _, _, tape = arch.forward(params, x, keep_y=False)
        arch.backward(params, tape, lambda y, now: y, dx=x)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert most(1600) < 2.5 * most(400)  # as the root, or 4 times as much
    assert most(1600) < 0.5 * 1600 * 4 * 64 * 8  # of y alone


def test_what_a_function_returns_is_checked():
    arch = Checkpointed(Elman(2, 3), 4)
    params = arch.init(np.random.default_rng(0))
    x = np.ones((6, 1, 2))
    _, _, tape = arch.forward(params, x)
    with pytest.raises(ValueError, match="dy has shape"):
        arch.backward(params, tape, lambda y, now: y[:1])
    with pytest.raises(ValueError, match=r"dx has shape \(6, 1, 3\)"):
        arch.backward(params, tape, lambda y, now: y, dx=np.ones((6, 1, 3)))
    with pytest.raises(TypeError, match="dx has dtype float32"):
        arch.backward(params, tape, lambda y, now: y, dx=x.astype(np.float32))


def test_it_trains_like_the_network_itself():
    rng = np.random.default_rng(0)
    data = [(x, x) for x in rng.standard_normal((4, 20, 2))]

    def last_loss(core):
        model = Model(core, 2, "squared")
        params = model.init(np.random.default_rng(1))
        found = fit(
            *(model, params, data, data),
            optimiser=Adam(0.01),
            rng=np.random.default_rng(2),
            n_epochs=5,
        )
        return found.history[-1]["valid_loss"]

    core = IndRNN(2, 6, "tanh")
    assert last_loss(Checkpointed(core, 6)) == pytest.approx(
        last_loss(core), rel=1e-9
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="segment is 0"):
        Checkpointed(Elman(2, 3), 0)
    with pytest.raises(ValueError, match="looks ahead"):
        Checkpointed(Bidirectional(Elman(2, 3), Elman(2, 4)))
    assert msref.Checkpointed is Checkpointed


def test_it_is_called_as_one_would_say_it():
    arch = msref.Elman(2, 3)
    assert msref.checkpointed(arch, 4) == Checkpointed(arch, 4)
