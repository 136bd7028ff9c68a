"""Weights are put back within their bounds, and stay there in training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msref.architectures import (
    LMN,
    LSTM,
    REGISTRY,
    DuRNN,
    Elman,
    IndRNN,
    MultiScaleLMN,
    Stack,
)
from msref.training import (
    SGD,
    Adam,
    Elementwise,
    Magnitude,
    Model,
    Orthogonality,
    SingularValues,
    SpectralNorm,
    bounds,
    fit,
)

MATRIX = [Elementwise, SingularValues, SpectralNorm]
BOUNDS = st.sampled_from([0.3, 0.9, 1.0, 1.00139, 2.0])
DTYPES = st.sampled_from(["float64", "float32"])
SLACK = {Magnitude: 0, Elementwise: 4, SingularValues: 64, SpectralNorm: 64}


def drawn(seed, shape, dtype, scale=1.0):
    rng = np.random.default_rng(seed)
    return (scale * rng.standard_normal(shape)).astype(dtype)


def excess(constraint, W):
    """Return how far the measure is above the bound, in roundings."""
    eps = np.finfo(W.dtype).eps
    return (constraint.measure(W) / constraint.bound - 1) / eps


@pytest.mark.parametrize("kind", [Magnitude, *MATRIX])
@settings(max_examples=60)
@given(
    st.integers(0, 99),
    st.integers(1, 7),
    st.sampled_from([0.01, 1.0, 50.0]),
    BOUNDS,
    DTYPES,
)
def test_the_bound_holds_and_projecting_twice_changes_nothing(
    kind, seed, n, scale, bound, dtype
):
    constraint = kind(bound)
    W = drawn(seed, (n, n), dtype, scale)
    before = W.copy()
    once = constraint.project(W)
    assert excess(constraint, once) <= SLACK[kind]
    np.testing.assert_array_equal(constraint.project(once), once)
    np.testing.assert_array_equal(W, before)
    assert once.dtype == W.dtype
    if constraint.measure(W) <= bound:
        np.testing.assert_array_equal(once, W)
    else:
        assert not np.array_equal(once, W)
        assert constraint.measure(once) > 0.99 * bound  # and no smaller


@given(st.integers(0, 99), st.integers(1, 7), BOUNDS)
def test_singular_values_are_clipped_and_directions_stay(seed, n, bound):
    W = drawn(seed, (n, n), "float64", 2.0)
    s = np.linalg.svd(W, compute_uv=False)
    clipped = SingularValues(bound).project(W)
    found = np.linalg.svd(clipped, compute_uv=False)
    np.testing.assert_allclose(found, np.minimum(s, bound), 1e-10)
    assert np.linalg.norm(W - clipped) == pytest.approx(
        np.linalg.norm(np.maximum(s - bound, 0)), rel=1e-9, abs=1e-12
    )


@given(st.integers(0, 99), st.integers(1, 7))
def test_the_power_iteration_finds_the_spectral_norm(seed, n):
    W = drawn(seed, (n, n), "float64")
    sigma = SpectralNorm(1.0).measure(W)
    norm = np.linalg.norm(W, 2)
    assert norm * (1 - 1e-4) <= sigma <= norm * (1 + 1e-12)
    scaled = SpectralNorm(0.5 * sigma).project(W)
    np.testing.assert_allclose(scaled, 0.5 * W, 1e-10)


@given(st.integers(0, 99), st.integers(1, 7), BOUNDS)
def test_elementwise_bounds_the_spectral_norm_as_well(seed, n, bound):
    W = Elementwise(bound).project(drawn(seed, (n, n), "float64", 9.0))
    assert np.linalg.norm(W, 2) <= bound * (1 + 1e-12)
    assert np.abs(W).sum(0).max() <= bound * (1 + 1e-12)


def test_zero_is_within_every_bound():
    zero = np.zeros((3, 3))
    for kind in (Magnitude, *MATRIX):
        np.testing.assert_array_equal(kind(0.5).project(zero), zero)


def test_the_bounds_of_the_paper():
    for horizon, bound in ((100, 1.006956), (784, 1.000885), (5000, 1.000139)):
        assert Magnitude.over(horizon).bound == pytest.approx(bound, abs=5e-7)
    assert Magnitude.over(784, 5).bound == pytest.approx(1.002055, abs=5e-7)


# --- what a network names ---------------------------------------------------


CARRY_NOTHING = {"linear", "batchnorm", "dropout"}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_network_names_what_carries_its_state(name):
    for arch in REGISTRY[name].examples:
        shapes = arch.shapes()
        constrained = getattr(arch, "constrained", ())
        assert bool(constrained) == (name not in CARRY_NOTHING)
        assert set(constrained) <= set(shapes)
        for weight in constrained:
            last = weight.rpartition("/")[2]
            square = len(shapes[weight]) == 2 and name not in ("ulm",)
            assert last.startswith("W_" if len(shapes[weight]) == 2 else "w_")
            if square and last != "W_wh":
                assert shapes[weight][0] == shapes[weight][1]


def test_bounds_go_to_matrices_and_vectors_by_name():
    core = Stack(DuRNN(2, 3, 4), Stack(IndRNN(7, 3), LMN(3, 2, 5)))
    found = dict(bounds(core, SingularValues(0.9), Magnitude(1.1)))
    assert found == {
        "core/0/W_ss": SingularValues(0.9),
        "core/0/w_ll": Magnitude(1.1),
        "core/1/0/w_hh": Magnitude(1.1),
        "core/1/1/W_mm": SingularValues(0.9),
    }
    assert dict(bounds(core, None, Magnitude(1.0), prefix="")) == {
        "0/w_ll": Magnitude(1.0),
        "1/0/w_hh": Magnitude(1.0),
    }
    assert len(bounds(LSTM(2, 3), Elementwise(1.0), None)) == 4


# --- in training ------------------------------------------------------------


def data(seed):
    rng = np.random.default_rng(seed)
    return [
        (x, np.cumsum(x, axis=0)[:, :1])
        for x in (rng.standard_normal((n, 2)) for n in (9, 12, 7, 10))
    ]


class Watching:
    """An optimiser that keeps all parameters it is given."""

    def __init__(self, inner):
        self.inner, self.seen = inner, []

    def __repr__(self):
        return repr(self.inner)

    def init(self, params):
        return self.inner.init(params)

    def update(self, params, grads, state):
        self.seen.append(params)
        return self.inner.update(params, grads, state)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", MATRIX)
@pytest.mark.parametrize(
    "core",
    [
        DuRNN(2, 4, 3, activation="tanh", short=2.0),
        IndRNN(2, 4, horizon=1, gamma=5.0),
        Stack(IndRNN(2, 4, "tanh", horizon=1, gamma=5.0), Elman(4, 3)),
    ],
    ids=["durnn", "indrnn", "stack"],
)
def test_bounds_hold_after_every_step(core, kind, seed, tmp_path):
    constraints = bounds(core, kind(0.7), Magnitude.over(10, 1.5))
    model = Model(core, 1, "squared", constraints=constraints)
    params = model.init(np.random.default_rng(seed))
    optimiser = Watching(SGD(0.5) if seed % 2 else Adam(0.1))
    result = fit(
        *(model, params, data(seed), data(seed)),
        optimiser=optimiser,
        rng=np.random.default_rng(seed),
        n_epochs=5,
        n_batch=2,
        clip=1.0,
        checkpoint=tmp_path / "fit.safetensors",
    )
    assert len(optimiser.seen) == 10
    reached = set()
    for now in [*optimiser.seen, result.params, result.last]:
        for name, constraint in constraints:
            assert excess(constraint, now[name]) <= 64, name
            if constraint.measure(now[name]) > 0.98 * constraint.bound:
                reached.add(name)
    assert reached  # the bounds were needed
    free = Model(core, 1, "squared")
    with pytest.raises(ValueError, match="model was"):
        fit(
            *(free, params, data(seed), data(seed)),
            optimiser=optimiser,
            rng=np.random.default_rng(seed),
            n_epochs=5,
            n_batch=2,
            clip=1.0,
            checkpoint=tmp_path / "fit.safetensors",
        )


@pytest.mark.parametrize("frozen", ["core", "core/0", "core/0/w_hh"])
def test_what_is_frozen_is_not_bounded_either(frozen):
    core = Stack(IndRNN(2, 3), IndRNN(3, 3))
    constraints = bounds(core, None, Magnitude(0.5))
    model = Model(
        *(core, 1, "squared"), frozen=(frozen,), constraints=constraints
    )
    params = model.init(np.random.default_rng(0))
    start = {name: value.copy() for name, value in params.items()}
    for k in range(2):
        params[f"core/{k}/w_hh"][:] = start[f"core/{k}/w_hh"][:] = 0.9
    within = model.projected(params)
    learned = set(model.trainable(params))
    found = fit(
        *(model, params, data(0), data(0)),
        optimiser=SGD(0.1),
        rng=np.random.default_rng(0),
        n_epochs=2,
        n_batch=2,
        progress=False,
    )
    for name, constraint in constraints:
        for now in (within, found.params, found.last):
            if name in learned:
                assert constraint.measure(now[name]) <= constraint.bound
            else:
                np.testing.assert_array_equal(now[name], start[name])
    assert ("core/1/w_hh" in learned) == (frozen != "core")
    assert "core/0/w_hh" not in learned
    assert all((params[name] == start[name]).all() for name in start)


# --- the border -------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Magnitude(0.0), "bound is 0.0, expected above 0"),
        (lambda: SpectralNorm(np.inf), "bound is inf"),
        (lambda: SpectralNorm(1.0, 0), "n_iterations is 0"),
        (lambda: Magnitude.over(0), "horizon is 0"),
        (lambda: Magnitude.over(5, 0.0), "gamma is 0.0"),
        (lambda: Elementwise(1.0).project(np.ones(3)), r"shape \(3,\)"),
        (lambda: SingularValues(1.0).project(np.ones(3)), r"shape \(3,\)"),
        (lambda: SpectralNorm(1.0).project(np.ones(3)), r"shape \(3,\)"),
        (
            lambda: Model(
                Elman(2, 3), 1, constraints=(("core/W", Magnitude(1.0)),)
            ),
            "constraints hold 'core/W'",
        ),
        (
            lambda: Model(
                IndRNN(2, 3),
                1,
                constraints=(("core/w_hh", SingularValues(1.0)),),
            ),
            r"'core/w_hh' of shape \(3,\), which it cannot bound: W has shape",
        ),
        (
            lambda: Model(
                IndRNN(2, 3),
                1,
                constraints=2 * (("core/w_hh", Magnitude(1.0)),),
            ),
            "constraints hold 'core/w_hh' twice",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_constraints_are_pairs():
    with pytest.raises(TypeError, match="expected a tuple of pairs"):
        Model(IndRNN(2, 3), 1, constraints={"core/w_hh": Magnitude(1.0)})


def test_masked_weights_are_neither_filled_nor_penalised():
    core = Stack(Elman(2, 3), MultiScaleLMN(3, 2, 2, 3))
    name = "core/1/W_mm"
    for kind in (Magnitude, Elementwise, SpectralNorm):
        model = Model(core, 1, constraints=((name, kind(0.1)),))
        W = model.projected(model.init(np.random.default_rng(0)))[name]
        assert not W[:2, 2:].any()
    with pytest.raises(ValueError, match="it would fill them"):
        Model(core, 1, constraints=((name, SingularValues(1.0)),))
    with pytest.raises(ValueError, match="of another matrix"):
        Model(core, 1, penalty=Orthogonality(name, 0.1))
    one = MultiScaleLMN(3, 2, 2, 1)  # nothing is masked there
    Model(one, 1, constraints=(("core/W_mm", SingularValues(1.0)),))


def test_a_network_without_names_is_refused():
    class Nothing:
        def shapes(self):
            return {}

    with pytest.raises(ValueError, match="names no parameters"):
        bounds(Nothing(), Magnitude(1.0), None)
