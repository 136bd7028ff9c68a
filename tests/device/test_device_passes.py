"""Networks whose arrays live on a device: forward, backward, and a step."""

import guard
import numpy as np
import pytest
import sides  # also finds the strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, SEEDS, Case, cases, names

from msref import functional
from msref.architectures import (
    LMN,
    LSTM,
    REGISTRY,
    Checkpointed,
    IndRNN,
    Linear,
    MultiScaleLMN,
    Stack,
    draw_state,
    is_causal,
    observe,
    run_forward,
    scan,
)
from msref.arrays import namespace, on_device

assert sides

every = pytest.mark.parametrize("name", list(REGISTRY))
every_causal = pytest.mark.parametrize("name", names(is_causal))
some = settings(max_examples=25)


def run(case, move=lambda tree: tree):
    """Return all that both passes give, in one dict per kind."""
    arch, params = case.arch, move(case.params)
    y, state, tape = run_forward(
        arch, params, move(case.x), move(case.state), case.t0, case.lengths
    )
    g = arch.backward(params, tape, move(case.dy), move(case.dstate))
    return {
        "outputs": {"y": y},
        "state": state,
        "tape": tape,
        "grads": g.params,
        "dx": {"x": g.x},
        "dstate": g.state,
        "adjoints": g.adjoints,
        "observed": observe(arch, params, tape),
    }


@every
@some
@given(data=st.data())
def test_both_passes_give_the_host_s_arrays_on_the_device(device, name, data):
    case = data.draw(cases(name, dtype=data.draw(DTYPES)))
    expected = run(case)
    for kind, arrays in run(case, device).items():
        device.same(arrays, expected[kind], kind)


@every
@some
@given(data=st.data())
def test_without_a_state_it_starts_on_the_device(device, name, data):
    case = data.draw(cases(name))
    start = (case.arch, case.params, case.x, None, case.t0, case.lengths)
    y, state, tape = run_forward(*start)
    params = device(case.params)
    got = run_forward(case.arch, params, device(case.x), *start[3:])
    device.same(got[0], y)
    g = case.arch.backward(case.params, tape, case.dy)
    on = case.arch.backward(params, got[2], device(case.dy))
    device.same(on.params, g.params)
    device.same(on.state, g.state)
    device.same(got[1], state)


@every_causal
@some
@given(data=st.data())
def test_a_step_waits_for_nothing(device, name, data):
    case = data.draw(cases(name, kind=is_causal))
    state, trace = case.arch.step(case.params, case.state, case.x[0], case.t0)
    params, start, x = map(device, (case.params, case.state, case.x))
    with guard.hot():
        got = case.arch.step(params, start, x[0], case.t0, namespace(x))
    device.same(got[0], state)
    device.same(got[1], trace)


@every
@some
@given(data=st.data())
def test_the_scan_of_step_runs_on_the_device(device, name, data):
    case = data.draw(cases(name))
    start = (case.state, case.t0)
    y, state, trace = scan(
        case.arch, case.params, case.x, *start, np, case.lengths
    )
    got = scan(
        case.arch,
        device(case.params),
        device(case.x),
        device(case.state),
        case.t0,
        on_device("cuda"),
        case.lengths,
    )
    device.same(got[0], y)
    device.same(got[1], state)
    device.same(got[2], trace)


# --- networks that are not in the registry ----------------------------------

CHECKPOINTED = (
    Checkpointed(LSTM(3, 4)),
    Checkpointed(LMN(2, 3, 4), segment=3),
    Checkpointed(Stack(Linear(2, 3), IndRNN(3, 4)), segment=1),
)


@pytest.mark.parametrize("arch", CHECKPOINTED, ids=repr)
@some
@given(seed=SEEDS, n_time=st.integers(1, 12), n_batch=st.integers(1, 4))
def test_checkpoints_stay_on_the_device(device, arch, seed, n_time, n_batch):
    case = Case(arch, n_time, n_batch, seed)
    expected = run(case)
    for kind, arrays in run(case, device).items():
        device.same(arrays, expected[kind], kind)


@pytest.mark.parametrize(
    "arch",
    [
        LMN(2, 3, 4),
        LMN(2, 3, 4, output="hidden"),
        MultiScaleLMN(2, 3, 2, 3),
        MultiScaleLMN(2, 3, 2, 1, learned_start=True),
    ],
    ids=repr,
)
@some
@given(seed=SEEDS, n_time=st.integers(1, 9), n_batch=st.integers(1, 4))
def test_detached_steps_may_be_told_from_either_side(
    device, arch, seed, n_time, n_batch
):
    case = Case(arch, n_time, n_batch, seed)
    detached = np.random.default_rng(seed).random(n_time) < 0.5
    _, _, tape = arch.forward(case.params, case.x)
    g = arch.backward(case.params, tape, case.dy, detached=detached)
    params = device(case.params)
    _, _, tape = arch.forward(params, device(case.x))
    for told in (detached, device(detached)):
        got = arch.backward(params, tape, device(case.dy), detached=told)
        device.same(got.params, g.params)
        device.same(got.state, g.state)


# --- what goes across -------------------------------------------------------


def traffic_of(case):
    """Count what the host waits for in both passes; the point is there."""
    move = sides.Side()
    params, x, dy = map(move, (case.params, case.x, case.dy))
    state, dstate = move(case.state), move(case.dstate)
    with guard.counted() as found:
        _, _, tape = run_forward(
            case.arch, params, x, state, case.t0, case.lengths
        )
        case.arch.backward(params, tape, dy, dstate)
    return found.reads, found.uploads


EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]


@pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
def test_nothing_goes_across_at_a_time_step(arch, monkeypatch):
    for name in ("IN_CACHE", "OF_PRODUCTS"):
        monkeypatch.setattr(functional, name, 1)  # nor once for each span
    with guard.on_a_device():
        few, many = (traffic_of(Case(arch, n, 3, 0)) for n in (4, 40))
    assert few == many
    assert few[0] >= 1  # the borders ask whether all numbers are finite


def test_checkpoints_ask_once_per_segment():
    arch = LSTM(3, 4)
    with guard.on_a_device():
        few, many = (
            traffic_of(Case(Checkpointed(arch, n // 4), n, 3, 0))
            for n in (8, 80)
        )
    assert few == many


def test_a_border_asks_once_for_all_parameters():
    with guard.on_a_device():
        reads, uploads = traffic_of(Case(LSTM(3, 4), 5, 2, 0))
    # x, parameters, state; dy, final state: twelve matrices are one question
    assert reads == 5
    assert uploads == 0


@every
def test_a_drawn_state_is_the_host_s(device, name):
    for arch in REGISTRY[name].examples:
        rng = np.random.default_rng(0)
        drawn = draw_state(arch, rng, 3)
        device.same(device(drawn), drawn)
