"""The trainings of a paper's jobs, on the device that a run was asked for."""

import guard
import numpy as np
import pytest

from msref.architectures import GRU
from msref.arrays import NoGPUError
from msref.claims import PAPERS, Setting, reproduce
from msref.claims import device as there
from msref.claims.run import _begin
from msref.training import Adam, Model


@pytest.fixture
def on_cuda(device, monkeypatch):
    monkeypatch.setattr(there, "_chosen", "cpu")
    monkeypatch.setattr("msref.claims.run._end_with_us", lambda: None)
    yield lambda: _begin("cuda")
    there.compute_on("cpu")


def fitted():
    model = Model(GRU(2, 3), 1, "squared")
    rng = np.random.default_rng(0)
    params = model.init(rng)
    pairs = [(rng.standard_normal((4, 2)), np.ones((4, 1))) for _ in range(3)]
    options = {"optimiser": Adam(), "n_epochs": 1, "progress": False}
    return there.fit(model, params, pairs, pairs, rng=rng, **options)


def warmed():
    arch = GRU(2, 3)
    rng = np.random.default_rng(0)
    params = arch.init(rng)
    x = [rng.standard_normal((4, 2)) for _ in range(3)]
    return there.warmup(arch, params, x, rng, n_steps=2, progress=False)


def test_a_fit_goes_there_and_comes_back(device, on_cuda):
    expected = fitted()
    on_cuda()
    with guard.counted() as found:
        got = fitted()
    if device.exact:
        assert found.uploads > 0
    for name in ("params", "last", "optimiser"):
        for key, value in getattr(expected, name).items():
            assert isinstance(getattr(got, name)[key], np.ndarray)
            device.close(getattr(got, name)[key], value)


def test_so_does_a_warm_up(device, on_cuda):
    expected, record = warmed()
    on_cuda()
    got, got_record = warmed()
    for key, value in expected.items():
        assert isinstance(got[key], np.ndarray)
        device.close(got[key], value)
    device.close(got_record.loss, record.loss)


def test_a_run_ends_at_once_where_there_is_no_device(tmp_path):
    setting = Setting(device="cuda")
    with guard.on_a_device(0), pytest.raises(NoGPUError, match="needs a GPU"):
        reproduce(PAPERS["lmn"], setting, tmp_path / "run")
    assert not list(tmp_path.iterdir())
