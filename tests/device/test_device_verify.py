"""Verification of passes that run on a device, by witnesses that do not."""

import dataclasses

import guard
import numpy as np
import pytest

import msref
from msref.architectures import (
    GRU,
    LMN,
    BatchNorm,
    Bidirectional,
    Elman,
    Linear,
    Stack,
)
from msref.arrays import on_device

NETWORKS = (
    Elman(2, 3, activation="relu"),
    LMN(2, 3, 2),
    Stack(Linear(2, 3, bias=False), BatchNorm(3)),
    Bidirectional(Elman(2, 3), GRU(2, 2)),
)


def rows(report):
    return [
        dataclasses.replace(row) if dataclasses.is_dataclass(row) else row
        for row in report.rows
    ]


@pytest.mark.parametrize("arch", NETWORKS, ids=repr)
def test_the_report_is_that_of_the_host(device, arch):
    options = {"cases": 1, "n_time": 4, "n_batch": 2}
    report = msref.verify(arch, device="cuda", **options)
    assert report.ok
    if device.exact:
        assert rows(report) == rows(msref.verify(arch, **options))


@dataclasses.dataclass(frozen=True)
class Overwriting(Elman):
    """Writes on its input: refused on the device, too."""

    def forward(self, params, x, state=None, t0=0):
        y, state, tape = super().forward(params, x, state, t0)
        x[0] += 1.0
        return y, state, tape


@dataclasses.dataclass(frozen=True)
class Truncated(Elman):
    """Lets nothing flow into the first state."""

    def backward(self, params, tape, dy, dstate=None):
        found = super().backward(params, tape, dy, dstate)
        return dataclasses.replace(found, state={"h": 0.0 * found.state["h"]})


@pytest.mark.parametrize("cls", [Overwriting, Truncated])
def test_a_bug_is_found_on_the_device(device, cls):
    assert not msref.verify(cls(2, 3), cases=1, n_time=3, device="cuda").ok


@dataclasses.dataclass(frozen=True)
class AtHome(Elman):
    """Brings its arrays to the host, as no pass may."""

    def forward(self, params, x, state=None, t0=0):
        return super().forward(params, np.asarray(x), state, t0)


def test_a_pass_that_leaves_the_device_is_no_pass(device):
    with pytest.raises(TypeError, match=r"[Ii]mplicit"):
        msref.verify(AtHome(2, 3), cases=1, n_time=3, device="cuda")


def test_a_device_that_is_not_there_is_an_error_before_anything_runs():
    class Nothing:
        n_in = n_out = 1
        init = initial_state = step = None

    with guard.on_a_device(0), pytest.raises(OSError, match="needs a GPU"):
        msref.verify(Nothing(), device="cuda")
    with pytest.raises(ValueError, match="'tpu', expected 'cpu' or 'cuda'"):
        msref.verify(Nothing(), device="tpu")
    assert on_device("cpu") is np
