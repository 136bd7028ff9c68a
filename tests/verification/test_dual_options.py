"""Every option of the independent and the dual network is verified."""

from __future__ import annotations

import itertools

import pytest

from msref import DuRNN, IndRNN, verify
from msref.architectures.durnn import OUTPUTS, SELECTIONS

OPTIONS = list(itertools.product(("relu", "tanh"), SELECTIONS, OUTPUTS))


@pytest.mark.parametrize(("activation", "selection", "output"), OPTIONS)
def test_every_dual_module_passes(activation, selection, output):
    """Over 12 steps: what nothing reads fades in more, beyond any witness."""
    arch = DuRNN(
        3, 4, 5, activation=activation, selection=selection, output=output
    )
    report = verify(arch, cases=3, seed=7, n_time=12)
    assert report.ok, str(report)
    if activation == "relu":
        assert set(arch.kinks) == {"a_s", "a_l"}
        assert set(report.kinks) <= {"a_s", "a_l"}
    else:
        assert arch.kinks == ()
        assert report.kinks == {}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("mixes", [True, False])
def test_every_independent_network_passes(activation, mixes):
    n_in = 3 if mixes else 5
    arch = IndRNN(n_in, 5, activation=activation, mixes=mixes)
    report = verify(arch, cases=3, seed=7, n_time=12)
    assert report.ok, str(report)
    assert arch.kinks == (("a",) if activation == "relu" else ())
    assert set(report.kinks) <= set(arch.kinks)
