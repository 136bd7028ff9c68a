"""Expected values: right to the last digit, and from independent witnesses."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.exceptions import ComplexWarning

from msref.architectures import REGISTRY, Elman, run_forward, scan
from msref.arrays import prefixed
from msref.vectors import generate, load, names
from msref.vectors.expected import _up, expected, is_wide
from msref.verification import Case, draw

every_vector = pytest.mark.parametrize("name", names())
WIDE = np.longdouble
wide = pytest.mark.skipif(
    not is_wide(), reason="no 80-bit numbers on this machine"
)


# --- the consumer: forward and backward against every file ------------------


def ours(vector, dtype):
    """Run forward and backward on a file; return what the file also has."""

    def cast(tree):
        return {k: v.astype(dtype) for k, v in tree.items()}

    params = cast(vector.params)
    y, state, tape = run_forward(
        vector.arch,
        params,
        vector.x.astype(dtype),
        cast(vector.state0),
        vector.t0,
        vector.lengths,
    )
    dy, dstate = vector.dy.astype(dtype), cast(vector.dstate)
    g = vector.arch.backward(params, tape, dy, dstate)
    wanted = vector.expected()
    found = {"y": y, "dx": g.x}
    for kind, tree in {
        "trace": tape,
        "state": state,
        "grads": g.params,
        "dstate0": g.state,
        "adjoints": g.adjoints,
    }.items():
        found |= prefixed(kind, tree)
    return {
        k: v
        for k, v in found.items()
        if k in wanted and v.shape == wanted[k].shape
    }


def excess(vector, name, got, eps):
    """Return the largest share of the allowed difference, by the manifest."""
    tolerances = vector.manifest["tolerances"]
    want = vector.arrays[name]
    got = got.astype(np.float64)
    floor = np.array(tolerances["floors"][name])
    if floor.ndim:
        floor = floor[:, None, None]
    size = np.maximum(np.abs(got), np.abs(want))
    allowed = eps * (tolerances["rtol_eps"] * size + floor)
    gap = np.abs(got - want)
    return float(np.max(gap / np.where(gap == 0, 1.0, allowed), initial=0.0))


@every_vector
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_forward_and_backward_agree_with_every_vector(name, dtype):
    vector = load(name)
    found = ours(vector, dtype)
    kinds = {"y", "dx"} | {f"grads/{k}" for k in vector.params}
    kinds |= {f"{k}/{s}" for k in ("state", "dstate0") for s in vector.state0}
    assert kinds <= set(found)
    eps = float(np.finfo(dtype).eps)
    for key, got in found.items():
        assert excess(vector, key, got, eps) < 1.0, key
        if dtype == np.float64:  # far better than allowed
            assert excess(vector, key, got, eps) < 0.1, key


def test_a_wrong_number_exceeds_the_tolerance():
    """A millionth is seen in float64, a hundredth in float32."""
    vector = load("lstm/basic")
    for dtype, off in ((np.float64, 1e-6), (np.float32, 1e-2)):
        eps = float(np.finfo(dtype).eps)
        for key, got in ours(vector, dtype).items():
            assert excess(vector, key, got * (1 + off), eps) > 1.0, key


# --- the witnesses -----------------------------------------------------------


def case_of(vector):
    return Case(
        vector.params,
        vector.state0,
        vector.x,
        vector.dy,
        vector.dstate,
        vector.t0,
        vector.lengths,
    )


def derivative(vector, name, place):
    """Differentiate the loss by one entry, by complex step in 80 bits."""
    trees = {
        "params": vector.params,
        "state0": vector.state0,
        "x": {"": vector.x},
    }
    trees = {
        kind: {k: v.astype(np.clongdouble) for k, v in tree.items()}
        for kind, tree in trees.items()
    }
    kind, _, rest = name.partition("/")
    trees[kind][rest][place] += 1j * WIDE(1e-30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ComplexWarning)
        y, state, _ = scan(
            vector.arch,
            trees["params"],
            trees["x"][""],
            trees["state0"],
            vector.t0,
            np,
            vector.lengths,
        )
    loss = (vector.dy * y).sum()
    for k, v in vector.dstate.items():
        loss = loss + (v * state[k]).sum()
    return np.imag(loss) / WIDE(1e-30)


@wide
@pytest.mark.parametrize(
    "name",
    [
        "elman/basic",
        "brc/one-step",
        "mslmn/one-step",
        "indrnn/basic-3",
        "lmn/one-row",
        "batchnorm/ragged",
        "dropout/one-step",
    ],
)
def test_each_gradient_is_the_complex_steps_to_the_last_digit(name):
    vector = load(name)
    inputs = {"x": "dx"}
    inputs |= {f"params/{k}": f"grads/{k}" for k in vector.params}
    inputs |= {f"state0/{k}": f"dstate0/{k}" for k in vector.state0}
    for source, target in inputs.items():
        for place in np.ndindex(vector.arrays[source].shape):
            exact = derivative(vector, source, place)
            got = vector.arrays[target][place]
            # Half a unit of float64, and what cancels in 80 bits.
            assert abs(got - exact) <= 1.12e-16 * abs(exact) + 1e-18


@wide
@pytest.mark.parametrize("name", ["gru/basic", "brc/long-vanishing"])
def test_outputs_are_those_of_step_rounded_once(name):
    vector = load(name)
    y, state, trace = scan(
        vector.arch,
        {k: v.astype(WIDE) for k, v in vector.params.items()},
        vector.x.astype(WIDE),
        {k: v.astype(WIDE) for k, v in vector.state0.items()},
        vector.t0,
    )
    found = {"y": y} | prefixed("state", state) | prefixed("trace", trace)
    for key in vector.expected().keys() & found.keys():
        rounded = found[key].astype(np.float64)
        np.testing.assert_array_equal(vector.arrays[key], rounded)


def test_forward_and_backward_are_never_called(monkeypatch):
    def called(*args, **options):
        pytest.fail("the code under test made its own expected values")

    for entry in REGISTRY.values():
        for method in ("forward", "backward"):
            monkeypatch.setattr(entry.cls, method, called)
    for name in (
        "lstm/one-step",
        "bidirectional/one-step",
        "residual/one-step",
    ):
        assert generate(name).arrays["y"].any()


@dataclass(frozen=True)
class NotAnalytic:
    """A network that the complex step is blind in."""

    arch: Elman

    def __getattr__(self, name):
        return getattr(self.arch, name)

    def step(self, params, state, x, t, xp=np):
        x = xp.abs(x)  # complex step sees no abs
        return self.arch.step(params, state, x, t, xp)


def test_a_step_that_is_not_analytic_makes_no_vector():
    arch = NotAnalytic(Elman(2, 3))
    with pytest.raises(ArithmeticError, match="complex step differ by"):
        expected(arch, draw(arch, 1, 4, 2))


@dataclass(frozen=True)
class Late:
    """A network that traces one quantity in float64."""

    arch: Elman

    def __getattr__(self, name):
        return getattr(self.arch, name)

    def step(self, params, state, x, t, xp=np):
        state, trace = self.arch.step(params, state, x, t, xp)
        return state, trace | {"late": np.ones(3)}


@wide
def test_lost_digits_make_no_vector():
    arch = Elman(2, 3)
    case = draw(arch, 1, 4, 2)
    assert expected(arch, case).agreement < 1e-16
    with pytest.raises(ArithmeticError, match="trace/late is float64"):
        expected(Late(arch), case)


# --- floors ------------------------------------------------------------------


@given(st.floats(1e-290, 1e290))
def test_floors_are_rounded_up_to_two_digits(value):
    up = _up(value)
    assert value <= up <= 1.1 * value * (1 + 1e-12)
    assert float(f"{up:.1e}") == up
    assert _up(up) == up


def test_floors_follow_the_size_of_a_vanishing_gradient():
    vector = load("elman/long-vanishing")
    floors = vector.manifest["tolerances"]["floors"]
    size = np.abs(vector.arrays["dx"]).max(axis=(1, 2))
    assert len(floors["dx"]) == vector.n_time
    ratio = np.array(floors["dx"]) / size
    assert ratio.max() < 1e6  # of 4.5e15 units in an entry
    assert floors["dx"][0] < 1e-6 * floors["dx"][-1]
