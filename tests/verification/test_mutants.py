"""A checker is worth what it catches: every planted bug, by each witness."""

from collections import Counter

import numpy as np
import pytest

from msref.architectures import (
    GRU,
    LSTM,
    REGISTRY,
    BatchNorm,
    Dropout,
    DuRNN,
    Elman,
    IndRNN,
    Linear,
)
from msref.verification import AUTOGRAD, COMPLEX_STEP, draw, gather, judge
from msref.verification.judge import SCAN
from msref.verification.mutants import Mutant, mutants, power

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
WIRING = {
    "reversal forgotten",
    "fan-out dropped",
    "shortcut dropped",
    "branch dropped",
}
FEW_BUGS = (Linear, Dropout, BatchNorm)  # neither gates nor recurrences


def leaves(arch):
    if not hasattr(arch, "with_parts"):
        return [arch]
    return [leaf for part in arch.parts for leaf in leaves(part)]


def kinds_of(arch, pass_):
    """Name the kinds of bugs that are planted in one of the passes."""
    kinds = {
        mutant.kind
        for leaf in leaves(arch)
        for mutant in mutants(leaf)
        if mutant.pass_ == pass_
    }
    return kinds | WIRING if pass_ == "backward" else kinds


def missed(trials, by=None):
    return [
        (t.kind, t.where)
        for t in trials
        if not t.caught_by or (by is not None and by not in t.caught_by)
    ]


@every
def test_every_planted_bug_is_caught_by_each_witness_alone(arch):
    """Wrong gradients by either derivative, wrong conventions by the scan."""
    trials = power(arch, cases=1 if hasattr(arch, "parts") else 2, seed=5)
    assert missed(trials) == []
    assert len(trials) == len(list(mutants(arch)))
    least = 8 if isinstance(arch, FEW_BUGS) else 12
    assert len({t.kind for t in trials}) >= 12

    kinds = kinds_of(arch, "backward")
    gradients = [t for t in trials if t.kind in kinds]
    assert len({t.kind for t in gradients}) >= least
    assert missed(gradients, AUTOGRAD) == []
    assert missed(gradients, COMPLEX_STEP) == []
    assert not any(SCAN in t.caught_by for t in gradients)

    kinds = kinds_of(arch, "forward")
    conventions = [t for t in trials if t.kind in kinds]
    assert len({t.kind for t in conventions}) >= least / 2
    assert missed(conventions, SCAN) == []
    assert len(gradients) + len(conventions) == len(trials)


@every
def test_the_network_without_a_bug_is_not_caught(arch):
    for seed in (5, 6):
        case = draw(arch, seed, n_time=8, n_batch=3)
        verdicts = Counter(
            finding.comparison.verdict
            for finding in judge(arch, gather(arch, case))
        )
        assert set(verdicts) <= {"PASS", "ZERO"}, verdicts


# --- the mutants themselves -------------------------------------------------


@every
def test_a_mutant_is_wrong_in_one_pass_alone(arch):
    case = draw(arch, 0, n_time=6, n_batch=2)
    for mutant in mutants(arch):
        assert mutant.n_in == arch.n_in
        assert mutant.shapes() == arch.shapes()
        if isinstance(mutant, Mutant) and mutant.pass_ == "backward":
            args = case.params, case.x, case.state, case.t0
            y, y_right = mutant.forward(*args)[0], arch.forward(*args)[0]
            np.testing.assert_array_equal(y, y_right)


def planted_in(arch):
    return {(mutant.kind, mutant.where) for mutant in mutants(arch)}


def test_every_gate_and_every_array_has_its_bugs():
    planted = planted_in(LSTM(3, 5))
    for name in LSTM(3, 5).shapes():
        kind = "gradient off by a thousandth"
        if name.startswith("b_"):
            kind = "bias gradient missing"
        assert (kind, name) in planted
    for pair in ("W_hi, W_hf", "W_hf, W_hg", "W_hg, W_ho"):
        assert ("wrong gate", pair) in planted
        assert ("gate order", pair) in planted
    assert ("a state's path dropped", "c") in planted
    assert ("forget bias added while running", "b_f") in planted
    assert ("the other reset", "after") in planted_in(GRU(3, 5))


@pytest.mark.parametrize("seed", range(4))
def test_the_power_does_not_hang_on_the_seed(seed):
    for arch in (Elman(3, 5), GRU(4, 3, reset="before")):
        assert all(t.caught_by for t in power(arch, cases=1, seed=seed))


def test_a_bug_that_changes_nothing_would_be_reported_as_missed(monkeypatch):
    def harmless(arch):
        yield (
            "harmless",
            "nowhere",
            lambda arch, *args: arch.backward(*args),
        )

    monkeypatch.setattr("msref.verification.mutants.backward_bugs", harmless)
    found = {t.kind: t.caught_by for t in power(Elman(3, 5), cases=1)}
    assert found.pop("harmless") == ()
    assert all(found.values())


def test_combined_networks_carry_the_bugs_of_each_part():
    for name in ("stack", "parallel", "bidirectional"):
        for arch in REGISTRY[name].examples:
            where = {where.partition("/")[0] for _, where in planted_in(arch)}
            assert {str(k) for k in range(len(arch.parts))} <= where
    (both,) = REGISTRY["bidirectional"].examples
    planted = planted_in(both) | planted_in(REGISTRY["residual"].examples[0])
    assert {kind for kind, _ in planted} >= WIRING


def test_a_dual_module_has_the_bugs_of_its_selection():
    gate = {
        "gate held constant",
        "gate reads the step before",
        "gate on what is carried too",
        "gate shuts what is carried",
    }
    kinds = {
        selection: {k for k, _ in planted_in(DuRNN(3, 4, 5, "relu", selection))}
        for selection in ("gate", "open", "none")
    }
    assert gate <= kinds["gate"]
    assert not gate & (kinds["open"] | kinds["none"])
    assert ("long before short", "y") in planted_in(DuRNN(3, 4, 5))
    assert ("memory outside the activation", "w_hh") in planted_in(IndRNN(3, 5))
