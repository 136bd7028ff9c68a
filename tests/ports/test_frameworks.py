"""The frameworks themselves, where they are installed.

Each layer runs on exported weights: outputs, final states and all gradients
are those of our own passes. Where a framework is not installed, the test is
skipped and says what to install.
"""

import dataclasses

import numpy as np
import pytest
from portable import parameters

from msref.architectures import GRU, LSTM, Bidirectional, Elman, Stack
from msref.ports import FRAMEWORKS, check, onnx_model
from msref.ports.cases import CASES, RUNNERS

# Warnings of the frameworks are theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

EVERY = [
    pytest.param(name, layer, arch, id=f"{name}-{layer}-{check.short(arch)}")
    for name, cases in CASES.items()
    for layer, arch in cases
]


def needed(name):
    """Import a package, or skip with what to install."""
    reason = f"needs {name}: pip install 'msref[ports]'"
    return pytest.importorskip(name, reason=reason)


def row_of(*case, **options):
    row = check.check_case(*case, **options)
    if row.verdict == check.ABSENT:
        pytest.skip(row.remark)
    return row


@pytest.mark.parametrize(("name", "layer", "arch"), EVERY)
def test_layers_agree_forwards_and_backwards(name, layer, arch):
    row = row_of(name, layer, arch)
    assert row.verdict == check.AGREES, row.remark
    errors = [row.forward, row.state]
    if not name.startswith("onnx"):
        errors += [row.params, row.x, row.start]
    limit = {"float64": 1e-10, "float32": 1e-5}[row.precision]
    assert all(0 <= error <= limit for error in errors)


def with_gates_swapped(layout):
    """Take i for f, and f for i, in the recurrent matrix alone."""
    other = {"i": "f", "f": "i"}
    slots = [
        dataclasses.replace(
            slot, gates="".join(other.get(k, k) for k in slot.gates)
        )
        if "h" in slot.holds
        else slot
        for slot in layout.slots
    ]
    return dataclasses.replace(layout, slots=tuple(slots))


@pytest.mark.parametrize("name", RUNNERS)
def test_two_gates_swapped_are_caught(name, monkeypatch):
    """The order of gates is what every port gets wrong first."""
    key = RUNNERS[name].framework
    port = FRAMEWORKS[key]
    layouts = tuple(
        with_gates_swapped(each) if each.cell == "lstm" else each
        for each in port.layouts
    )
    wrong = dataclasses.replace(port, layouts=layouts)
    monkeypatch.setitem(FRAMEWORKS, key, wrong)
    if key == "onnx":
        monkeypatch.setattr("msref.ports.onnx.PORT", wrong)
    layer = next(x for x, arch in CASES[name] if arch == LSTM(3, 5))
    row = row_of(name, layer, LSTM(3, 5))
    assert row.verdict == check.DIFFERS
    assert row.remark.startswith("numbers differ")
    assert row.forward > 1e-3


def test_a_bias_gradient_counted_twice_is_caught(monkeypatch):
    """As it comes out if the gradients of two biases are summed."""
    needed("torch")
    port = FRAMEWORKS["torch"]

    class Summing(type(port)):
        def load(self, weights, *, gradients=False, **hints):
            return super().load(weights, **hints)

    fields = {f.name: getattr(port, f.name) for f in dataclasses.fields(port)}
    monkeypatch.setitem(FRAMEWORKS, "torch", Summing(**fields))
    row = row_of("torch", "LSTM", LSTM(3, 5))
    assert row.verdict == check.DIFFERS
    assert row.params > 0.5
    assert row.forward < 1e-10


@pytest.mark.parametrize("name", RUNNERS)
def test_what_is_not_installed_is_said(name, monkeypatch):
    def absent(layer, weights, point):
        raise ModuleNotFoundError(f"No module named {name!r}")

    runner = dataclasses.replace(RUNNERS[name], run=absent)
    monkeypatch.setitem(RUNNERS, name, runner)
    rows = check.check([name])
    assert [row.verdict for row in rows] == [check.ABSENT] * len(CASES[name])
    assert all(row.ok for row in rows)
    assert "pip install 'msref[ports]'" in rows[0].remark


def test_a_framework_that_crashes_is_one_row_that_differs(monkeypatch):
    def crash(layer, weights, point):
        raise RuntimeError("out of\n memory")

    runner = dataclasses.replace(RUNNERS["torch"], run=crash, needs=("numpy",))
    monkeypatch.setitem(RUNNERS, "torch", runner)
    rows = check.check(["torch"])
    assert not any(row.ok for row in rows)
    assert rows[0].remark == "RuntimeError: out of memory"


def test_numbers_that_are_none_differ(monkeypatch):
    """NaN is not below any tolerance, and not above it either."""

    def lost(layer, weights, point):
        y, state, _ = point.arch.forward(point.params, point.x, point.state)
        return check.Outcome(own=weights, y=y * np.nan, state=state)

    runner = dataclasses.replace(RUNNERS["torch"], run=lost, needs=("numpy",))
    monkeypatch.setitem(RUNNERS, "torch", runner)
    assert not check.check_case("torch", "LSTM", LSTM(3, 5)).ok


# --- names ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "arch"),
    [
        ("LSTM", Stack(LSTM(3, 5), LSTM(5, 5))),
        ("GRU", Bidirectional(GRU(3, 5), GRU(3, 5))),
    ],
)
def test_pytorch_keeps_its_weights_in_our_order(layer, arch):
    """Its own flat list, and cuDNN's buffer: matrices first, then biases."""
    torch = needed("torch")
    params = parameters(arch, 0)
    options = {"num_layers": 2} if layer == "LSTM" else {"bidirectional": True}
    module = getattr(torch.nn, layer)(3, 5, dtype=torch.float64, **options)
    weights, _ = FRAMEWORKS["torch"].export(arch, params)
    assert list(weights) == list(module.state_dict())
    assert list(weights) == module._flat_weights_names
    module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    flat = [w.detach().numpy() for w in module._flat_weights]
    flat.sort(key=lambda w: w.ndim, reverse=True)
    packed, _ = FRAMEWORKS["cudnn"].export(arch, params)
    expected = np.concatenate([w.ravel() for w in flat])
    np.testing.assert_array_equal(packed["weights"], expected)


def test_flax_names_stacks_and_directions_as_we_do():
    linen = needed("flax").linen
    jax = needed("jax")
    from flax.traverse_util import flatten_dict

    arch = Stack(Bidirectional(GRU(3, 5), LSTM(3, 4)), Elman(9, 2))
    both = linen.Bidirectional(
        linen.RNN(linen.GRUCell(5)), linen.RNN(linen.LSTMCell(4))
    )
    module = linen.Sequential([both, linen.RNN(linen.SimpleCell(2))])
    x = np.zeros((2, 6, 3), np.float32)
    tree = module.init(jax.random.PRNGKey(0), x)
    theirs = flatten_dict(tree["params"], sep="/")
    ours, _ = FRAMEWORKS["flax"].export(arch, parameters(arch, 0))
    assert {k: v.shape for k, v in theirs.items()} == {
        k: v.shape for k, v in ours.items()
    }
    whole = {f"params/{k}": np.asarray(v) for k, v in theirs.items()}
    back, _, _ = FRAMEWORKS["flax"].load(whole, activation="tanh")
    assert back == arch


def test_nnx_names_stacks_and_directions_as_we_do():
    nnx = needed("flax.nnx")
    rngs = nnx.Rngs(0)
    arch = Stack(Bidirectional(GRU(3, 5), LSTM(3, 4)), Elman(9, 2))
    module = nnx.Sequential(
        nnx.Bidirectional(
            nnx.RNN(nnx.GRUCell(3, 5, rngs=rngs)),
            nnx.RNN(nnx.OptimizedLSTMCell(3, 4, rngs=rngs)),
        ),
        nnx.RNN(nnx.SimpleCell(9, 2, rngs=rngs)),
    )
    state = nnx.to_flat_state(nnx.state(module, nnx.Param))
    theirs = {
        "/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in state
    }
    params = parameters(arch, 0, zero=("b_hn",))
    ours, _ = FRAMEWORKS["nnx"].export(arch, params)
    assert {k: v.shape for k, v in theirs.items()} == {
        k: v.shape for k, v in ours.items()
    }
    back, _, _ = FRAMEWORKS["nnx"].load(theirs, activation="tanh")
    assert back == arch


# --- ONNX -------------------------------------------------------------------


def test_an_onnx_model_is_whole_and_says_what_goes_in():
    onnx = needed("onnx")
    arch = Stack(Bidirectional(LSTM(3, 5), LSTM(3, 5)), GRU(10, 4, "before"))
    params = parameters(arch, 0, np.float32)
    model = onnx_model(arch, params)
    onnx.checker.check_model(model, full_check=True)
    again = onnx.load_from_string(model.SerializeToString())
    assert [i.name for i in again.graph.input] == [
        "X",
        "initial_h_0",
        "initial_c_0",
        "initial_h_1",
    ]
    weights = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in again.graph.initializer
        if t.name != "flat"
    }
    back, loaded, _ = FRAMEWORKS["onnx"].load(weights, reset="before")
    assert back == arch
    for name, array in params.items():
        np.testing.assert_array_equal(loaded[name], array)
