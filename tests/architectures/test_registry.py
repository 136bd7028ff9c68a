"""The registry: examples, what they print, and where training starts."""

import dataclasses

import numpy as np
import pytest

import msref.architectures
from msref.architectures import (
    GRU,
    LMN,
    LSTM,
    REGISTRY,
    Architecture,
    BatchNorm,
    Dropout,
    Elman,
    Linear,
    Parallel,
    Stack,
)

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
STATELESS = (Linear, BatchNorm)
CONSTANT = (BatchNorm, Dropout)  # their starts are not drawn


def init(arch, seed=0, dtype=np.float64):
    return arch.init(np.random.default_rng(seed), dtype)


def leaves(arch):
    if not hasattr(arch, "with_parts"):
        return [arch]
    return [leaf for part in arch.parts for leaf in leaves(part)]


@pytest.mark.parametrize("name", list(REGISTRY))
def test_an_entry_names_class_source_and_examples(name):
    entry = REGISTRY[name]
    assert name == name.lower()
    assert entry.examples
    assert entry.paper
    assert entry.year is None or 1980 < entry.year < 2030
    for example in entry.examples:
        assert type(example) is entry.cls
    assert getattr(msref.architectures, entry.cls.__name__) is entry.cls
    assert entry.cls.__name__ in msref.architectures.__all__


def test_examples_are_pairwise_different():
    assert len(set(EXAMPLES)) == len(EXAMPLES)


@every
def test_an_example_prints_as_its_constructor_call(arch):
    assert repr(arch).startswith(f"{type(arch).__name__}(")
    again = eval(repr(arch), vars(msref.architectures).copy())
    assert again == arch
    assert hash(again) == hash(arch)
    assert repr(again) == repr(arch)


@every
def test_an_example_follows_the_protocol_and_is_frozen(arch):
    assert isinstance(arch, Architecture)
    for field in dataclasses.fields(arch):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(arch, field.name, getattr(arch, field.name))


@every
def test_sizes_of_an_example_are_pairwise_different(arch):
    """Equal sizes would hide a transposed matrix.

    Where there is no matrix, and one number only, nothing can be hidden.
    """
    for leaf in leaves(arch):
        if all(len(shape) < 2 for shape in leaf.shapes().values()):
            assert leaf.n_in == leaf.n_out
            continue
        sizes = [
            getattr(leaf, field.name)
            for field in dataclasses.fields(leaf)
            if field.name.startswith("n_")
        ]
        assert len(set(sizes)) == len(sizes) >= 2
    for whole in (arch, *getattr(arch, "parts", ())):
        n_outs = [
            part.n_out
            for part in getattr(whole, "parts", ())
            if part.n_in != part.n_out
        ]
        assert len(set(n_outs)) == len(n_outs)


def test_two_kinds_of_the_same_parts_are_not_equal():
    parts = Elman(3, 3), LSTM(3, 4)
    assert Stack(*parts) != Parallel(*parts)
    assert Stack(*parts) == Stack(*parts) != Stack(parts[0], LSTM(3, 5))


# --- where training starts --------------------------------------------------


@every
def test_init_has_the_names_and_shapes_that_are_announced(arch):
    params = init(arch)
    assert list(params) == list(arch.shapes())
    assert {k: v.shape for k, v in params.items()} == arch.shapes()
    for name, value in params.items():
        assert value.dtype == np.float64, name
        assert np.isfinite(value).all(), name


@every
def test_the_same_seed_gives_the_same_bits(arch):
    one, again, other = init(arch), init(arch), init(arch, seed=1)
    for name, value in one.items():
        np.testing.assert_array_equal(again[name], value)
    differ = any(not np.array_equal(other[k], one[k]) for k in one)
    assert differ != all(isinstance(leaf, CONSTANT) for leaf in leaves(arch))


@every
def test_a_float32_start_is_the_rounded_float64_start(arch):
    wide, narrow = init(arch), init(arch, dtype=np.float32)
    for name, value in narrow.items():
        assert value.dtype == np.float32, name
        np.testing.assert_array_equal(value, wide[name].astype(np.float32))


@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_initial_state_is_zero(arch, dtype):
    """Or it is a mask that drops nothing."""
    state = arch.initial_state(2, dtype)
    stateless = all(isinstance(leaf, STATELESS) for leaf in leaves(arch))
    assert bool(state) != stateless
    for name, value in state.items():
        assert value.dtype == dtype
        assert value.shape[0] == 2
        kept = 1 if name.rpartition("/")[2] == "mask" else 0
        assert (value == kept).all()


def test_a_combination_starts_as_its_parts_one_after_the_other():
    parts = LSTM(3, 4), LMN(4, 5, 2)
    whole, rng = init(Stack(*parts)), np.random.default_rng(0)
    for k, part in enumerate(parts):
        for name, value in part.init(rng).items():
            np.testing.assert_array_equal(whole[f"{k}/{name}"], value)


def is_orthogonal(W):
    return np.allclose(W @ W.T, np.eye(len(W)), atol=1e-12)


def is_glorot_uniform(W):
    """Fill the range of ±sqrt(6 / (n_from + n_to)), and no more."""
    limit = np.sqrt(6 / sum(W.shape))
    return 0.95 * limit < np.abs(W).max() <= limit and np.ptp(W) > 1.9 * limit


@pytest.mark.parametrize(
    ("arch", "gates"),
    [(Elman(30, 40), "h"), (LSTM(30, 40), "ifgo"), (GRU(30, 40), "rzn")],
    ids=repr,
)
def test_start_of_elman_lstm_and_gru(arch, gates):
    params = init(arch)
    for gate in gates:
        assert is_glorot_uniform(params[f"W_x{gate}"]), gate
        assert is_orthogonal(params[f"W_h{gate}"]), gate
        start = 1.0 if gate == "f" else 0.0
        assert (params[f"b_{gate}"] == start).all(), gate
    if "b_hn" in params:
        assert not params["b_hn"].any()
    matrices = [v for v in params.values() if v.ndim == 2]
    flat = {tuple(v.ravel()[:5]) for v in matrices}
    assert len(flat) == len(matrices), "two matrices are the same draw"


def test_start_of_the_lmn():
    params = init(LMN(60, 80, 70))
    for name, value in params.items():
        if value.ndim == 1:
            assert not value.any(), name
            continue
        sigma = 0.9 * np.sqrt(2 / sum(value.shape))
        assert value.std() == pytest.approx(sigma, rel=0.05), name
        assert abs(value.mean()) < 0.1 * sigma, name
        # normal, not uniform: a normal draw leaves ±sqrt(3) sigma
        assert np.abs(value).max() > 2.5 * sigma, name
