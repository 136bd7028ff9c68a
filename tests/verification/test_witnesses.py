"""The witnesses against each other, and against derivatives on paper."""

from dataclasses import replace

import numpy as np
import pytest

from msref.architectures import GRU, LMN, LSTM, REGISTRY, Elman
from msref.verification import draw, gather
from msref.verification.tolerance import SAFETY
from msref.verification.witnesses import (
    Loss,
    checked,
    complex_step,
    difference,
    reverse_mode,
)

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
SMOOTH = [Elman(3, 5), LSTM(2, 3), GRU(3, 2), LMN(2, 3, 4)]
KINKED = Elman(4, 3, activation="relu")


def ask(arch, seed, n_time=5):
    loss = Loss(arch, draw(arch, seed, n_time, n_batch=2))
    return loss, loss.variables()


# --- against each other -----------------------------------------------------


@every
def test_complex_step_and_reverse_mode_agree_on_every_variable(arch):
    loss, here = ask(arch, seed=1)
    gradient = reverse_mode(loss, here)
    rng = np.random.default_rng(0)
    names = list(filter(checked, here))
    assert {"x", *(f"params/{k}" for k in arch.shapes())} <= set(names)
    assert {f"state/{k}" for k in arch.initial_state(1)} < set(names)
    for name in names:
        d = rng.standard_normal(here[name].shape)
        terms = gradient[name] * d
        size = np.abs(terms).sum()
        slope = complex_step(loss, here, name, d)
        assert slope == pytest.approx(terms.sum(), rel=1e-12, abs=1e-13 * size)


@pytest.mark.parametrize("arch", [*SMOOTH, KINKED], ids=repr)
def test_a_difference_knows_how_wrong_it_is(arch):
    """Its own estimate, with the margin that is used, bounds its error."""
    errors, kinks = [], getattr(arch, "kinks", ())
    for seed in range(10):
        loss, here = ask(arch, seed)
        rng = np.random.default_rng(seed)
        for name in filter(checked, here):
            d = rng.standard_normal(here[name].shape)
            found = difference(loss, here, name, d, kinks)
            truth = complex_step(loss, here, name, d)
            assert abs(found.value - truth) <= SAFETY * found.error, name
            errors.append(found.error / max(1.0, abs(truth)))
    assert np.median(errors) < 1e-7, "an estimate of any size would do"


@every
def test_evidence_covers_every_variable_and_output(arch):
    case = draw(arch, 0, 4, 2)
    evidence = gather(arch, case)
    names = {f"params/{k}" for k in arch.shapes()}
    names |= {"x"} | {f"state/{k}" for k in case.state}
    assert names <= set(evidence.gradient)
    assert names <= {probe.name for probe in evidence.probes}
    assert {"y"} | {f"state/{k}" for k in case.state} <= set(evidence.outputs)
    is_biased = any("b_" in name for name in arch.shapes())
    assert is_biased == any("adjoints/" in k for k in evidence.gradient)
    assert not evidence.notes
    for name, value in evidence.gradient.items():
        floor = np.broadcast_to(evidence.gradient_floor[name], value.shape)
        assert (floor >= 0).all()
        assert floor.max() < 1e-9 * max(1.0, np.abs(value).max()), name


# --- a derivative on paper --------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_elman_by_hand(activation):
    """da_t = f'(a_t) (dy_t + da_{t+1} W_hh^T), from the last step on."""
    arch = Elman(4, 3, activation)
    case = draw(arch, 3, n_time=6, n_batch=2)
    gradient = gather(arch, case).gradient
    W, h, states = case.params, case.state["h"], []
    for x in case.x:
        a = x @ W["W_xh"] + h @ W["W_hh"] + W["b_h"]
        slope = 1 - np.tanh(a) ** 2 if activation == "tanh" else 1.0 * (a > 0)
        states.append((h, slope))
        h = np.tanh(a) if activation == "tanh" else np.maximum(a, 0)
    dh = case.dstate["h"]
    grads = dict.fromkeys(W, 0.0)
    for t in reversed(range(6)):
        h_prev, slope = states[t]
        da = slope * (dh + case.dy[t])
        close(gradient["adjoints/a"][t], da)
        close(gradient["x"][t], da @ W["W_xh"].T)
        grads["W_xh"] = grads["W_xh"] + case.x[t].T @ da
        grads["W_hh"] = grads["W_hh"] + h_prev.T @ da
        grads["b_h"] = grads["b_h"] + da.sum(0)
        dh = da @ W["W_hh"].T
    close(gradient["state/h"], dh)
    for name, value in grads.items():
        close(gradient[f"params/{name}"], value)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-14)


def test_the_loss_is_linear_in_cotangents_with_the_outputs_as_slopes():
    arch = LSTM(3, 2)
    loss, here = ask(arch, seed=0)
    y, state, _ = loss.run(here, np)
    gradient = reverse_mode(loss, here)
    assert "dy" not in gradient
    d = np.random.default_rng(0).standard_normal(y.shape)
    assert complex_step(loss, here, "dy", d) == pytest.approx(np.sum(d * y))
    for name, value in state.items():
        d = np.ones_like(value)
        slope = complex_step(loss, here, f"dstate/{name}", d)
        assert slope == pytest.approx(value.sum())


# --- kinks ------------------------------------------------------------------


def at_biases(*biases):
    """One step of a ReLU network whose pre-activations are ``biases``."""
    n = len(biases)
    case = draw(Elman(1, n, activation="relu"), 0, n_time=1, n_batch=1)
    params = {
        "W_xh": np.zeros((1, n)),
        "W_hh": np.zeros((n, n)),
        "b_h": np.array(biases),
    }
    arch = Elman(1, n, activation="relu")
    case = replace(
        case,
        params=params,
        state={"h": np.zeros((1, n))},
        dy=np.ones((1, 1, n)),
        dstate={"h": np.zeros((1, n))},
    )
    return Loss(arch, case)


def test_kinks_within_the_step_are_counted_exactly():
    loss = at_biases(1e-4, 1.0, -1e-3, -1.0, 3e-3, -1e-9)
    here = loss.variables()
    found = difference(loss, here, "params/b_h", np.ones(6), ("a",))
    assert found.flips == {"a": 3}  # those within 2e-3 of zero
    # Smaller steps were taken, away from the kinks: the slope is exact.
    assert found.value == pytest.approx(3.0, abs=1e-3)
    assert found.left == pytest.approx(3.0, abs=1e-3)
    assert found.right == pytest.approx(3.0, abs=1e-3)


def test_smooth_places_have_no_kinks():
    loss = at_biases(0.5, -0.5)
    found = difference(loss, loss.variables(), "params/b_h", np.ones(2), ("a",))
    assert found.flips == {}
    assert found.value == pytest.approx(1.0, abs=1e-9)


def test_at_a_kink_the_two_slopes_differ():
    loss = at_biases(0.0, 2.0)
    found = difference(loss, loss.variables(), "params/b_h", np.ones(2), ("a",))
    assert found.flips == {"a": 1}
    assert found.left == pytest.approx(1.0, abs=1e-4)
    assert found.right == pytest.approx(2.0, abs=1e-4)
