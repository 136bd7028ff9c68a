"""The unrolled network: its equations, its gradients, what catches a bug."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.architectures import Elman, Gradients, scan
from msref.architectures.ulm import ULM
from msref.functional import flat
from msref.verification import draw, verify
from msref.verification.mutants import power

SIZES = [ULM(3, 5, 4), ULM(4, 3, 2), ULM(1, 1, 2), ULM(2, 3, 7)]


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(2, 5),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_the_sums_of_the_specification(n_in, n_hid, k, n_time, seed):
    arch = ULM(n_in, n_hid, k)
    case = draw(arch, seed, n_time, n_batch=2)
    y, final, _ = arch.forward(case.params, case.x, case.state)
    W = case.params["W_wh"].reshape(k - 1, n_hid, n_hid)
    past = list(case.state["w"].reshape(2, k - 1, n_hid).swapaxes(0, 1))
    for t, x in enumerate(case.x):
        a = x @ case.params["W_xh"] + case.params["b_h"]
        for j in range(1, k):
            a = a + past[j - 1] @ W[j - 1]  # h_{t-j} W_j
        past.insert(0, np.tanh(a))
        np.testing.assert_allclose(
            y[t], np.hstack(past[:k]), rtol=1e-12, atol=1e-14
        )
    np.testing.assert_allclose(
        final["w"], np.hstack(past[: k - 1]), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("arch", SIZES, ids=repr)
def test_forward_is_the_scan_of_step(arch):
    case = draw(arch, 3, n_time=12)
    y, final, tape = arch.forward(case.params, case.x, case.state, case.t0)
    y_scan, final_scan, trace = scan(
        arch, case.params, case.x, case.state, case.t0
    )
    np.testing.assert_allclose(y, y_scan, rtol=1e-12, atol=1e-15)
    assert set(final) == set(final_scan) == {"w"}
    np.testing.assert_allclose(final["w"], final_scan["w"], rtol=1e-12)
    for name in ("h", "w"):
        np.testing.assert_allclose(tape[name], trace[name], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("arch", SIZES, ids=repr)
def test_all_witnesses_agree(arch, dtype):
    report = verify(arch, dtype=dtype)
    assert report.ok, report


@pytest.mark.parametrize("arch", SIZES[:2], ids=repr)
def test_every_planted_bug_is_caught(arch):
    trials = power(arch)
    assert len(trials) > 20
    assert [trial for trial in trials if not trial.caught_by] == []


@dataclass(frozen=True, repr=False)
class Truncated(ULM):
    """Lets no gradient into the oldest stored vector (the authors' code)."""

    def backward(self, params, tape, dy, dstate=None):
        h, oldest = tape["h"], slice(-self.n_hid, None)
        da = 1.0 - h**2
        dw = np.zeros_like(tape["w"][0]) if dstate is None else dstate["w"]
        for t in reversed(range(len(dy))):
            dy_t = dy[t].copy()
            dy_t[:, : -self.n_hid] += dw
            da[t] *= dy_t[:, : self.n_hid]
            dw = dy_t[:, self.n_hid :] + da[t] @ params["W_wh"].T
            dw[:, oldest] = 0.0
        weights = {
            "W_xh": flat(tape["x"]).T @ flat(da),
            "W_wh": flat(tape["w_prev"]).T @ flat(da),
            "b_h": flat(da).sum(0),
        }
        dx = da @ params["W_xh"].T
        return Gradients(weights, dx, {"w": dw}, {"a": da})


def test_the_authors_truncation_is_no_gradient():
    assert not verify(Truncated(3, 5, 4)).ok


def test_a_window_of_two_is_an_elman_network():
    ulm, elman = ULM(3, 4, 2), Elman(3, 4)
    case = draw(ulm, 0, n_time=9)
    p = case.params
    y, _, _ = ulm.forward(p, case.x, case.state)
    same = {"W_xh": p["W_xh"], "W_hh": p["W_wh"], "b_h": p["b_h"]}
    h, _, _ = elman.forward(same, case.x, {"h": case.state["w"]})
    np.testing.assert_allclose(y[..., :4], h, rtol=1e-13)
    np.testing.assert_allclose(y[1:, :, 4:], h[:-1], rtol=1e-13)


def test_a_network_without_memory_is_refused():
    with pytest.raises(ValueError, match="n_window is 1, expected at least 2"):
        ULM(3, 4, 1)


def test_a_start_as_its_docstring_says():
    arch = ULM(30, 40, 5)
    params = arch.init(np.random.default_rng(0), np.float32)
    assert {k: v.shape for k, v in params.items()} == arch.shapes()
    assert not params["b_h"].any()
    for name in ("W_xh", "W_wh"):
        W = params[name]
        assert W.dtype == np.float32
        expected = 0.9 * np.sqrt(2.0 / sum(W.shape))
        assert W.std() == pytest.approx(expected, rel=0.1)
