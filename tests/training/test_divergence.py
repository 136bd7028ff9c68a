"""NaN and infinity are divergence, anything else is not."""

import numpy as np
import pytest

from msref.architectures import Elman
from msref.architectures.base import NotFiniteError, check_finite
from msref.training import (
    SGD,
    DivergedError,
    Model,
    SingularValues,
    bounds,
    fit,
)
from msref.training.divergence import placed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_placed_through_all_floors(value):
    words = rf"^step 3: layer 1: h holds {value} at \(unit=1\)"
    with (
        pytest.raises(DivergedError, match=words),
        placed("step 3"),
        placed("layer 1"),
    ):
        check_finite("h", np.array([0.0, value]), ("unit",))


def test_another_value_error_stays_one():
    with (
        pytest.raises(ValueError, match=r"^step 3: layer 1: no$") as info,
        placed("step 3"),
        placed("layer 1"),
    ):
        raise ValueError("no")
    assert not isinstance(info.value, NotFiniteError)


def test_another_error_is_let_through():
    error = KeyError("h")
    with pytest.raises(KeyError) as info, placed("step 3"):
        raise error
    assert info.value is error


def test_numpy_does_not_warn_on_the_way():
    with placed("step 3"):
        large = np.array([1e200])
        assert (large * large - large * large != 0).all()


DATA = [(np.ones((4, 2)), np.ones((4, 1)))] * 3


STEADY = SGD(0.1)


def fitted(model, data=DATA, optimiser=STEADY):
    rng = np.random.default_rng(0)
    params = model.init(rng)
    return fit(
        model, params, data, data, optimiser=optimiser, rng=rng, n_epochs=2
    )


def test_weights_that_overflow_in_a_constraint_diverge():
    core = Elman(2, 3)
    constraints = bounds(core, SingularValues(1.0), None)
    model = Model(core, 1, "squared", constraints=constraints)
    huge = [(x, 1e100 * y) for x, y in DATA]
    with pytest.raises(DivergedError, match="epoch 1, step 1: W holds"):
        fitted(model, huge, SGD(1e250))


class Confused(SGD):
    """An optimiser with a bug."""

    def update(self, *arguments):
        raise ValueError("shapes do not fit")


def test_a_bug_is_no_divergence():
    words = r"^epoch 1, step 1: shapes do not fit"
    with pytest.raises(ValueError, match=words) as info:
        fitted(Model(Elman(2, 3), 1), optimiser=Confused(0.1))
    assert not isinstance(info.value, DivergedError)
