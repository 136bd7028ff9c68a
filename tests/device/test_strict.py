"""``step`` on the second device of the array API's strict namespace.

It has no CPU to fall back on, no methods, and no arrays that are not told
where to be: what runs there needs nothing but the array API, and names of
NumPy that every library of the kind has.
"""

import array_api_strict as strict
import numpy as np
import pytest
import sides
from strategies import Case

from msref.architectures import REGISTRY, is_causal

assert sides

HERE, THERE = strict.Device("CPU_DEVICE"), strict.Device("device1")
EXAMPLES = [
    arch
    for entry in REGISTRY.values()
    for arch in entry.examples
    if is_causal(arch)
]


class Names:
    """The strict namespace, with the names that NumPy and CuPy have."""

    concatenate = staticmethod(strict.concat)

    def __getattr__(self, name):
        return getattr(strict, name)

    @staticmethod
    def real(a):
        """Complex numbers are for the witnesses; the rest is real."""
        return a

    @staticmethod
    def arange(n):
        return strict.arange(n, device=THERE)


def move(tree):
    return {name: strict.asarray(v, device=THERE) for name, v in tree.items()}


def back(array):
    return np.asarray(array.to_device(HERE))


@pytest.mark.parametrize("arch", EXAMPLES, ids=repr)
@pytest.mark.parametrize("t", [0, 1, 4])
def test_a_step_needs_nothing_but_the_array_api(arch, t):
    case = Case(arch, 1, 3, seed=t)
    state, trace = arch.step(case.params, case.state, case.x[0], t)
    got = arch.step(
        move(case.params),
        move(case.state),
        strict.asarray(case.x[0], device=THERE),
        t,
        Names(),
    )
    for found, expected in zip(got, (state, trace), strict=True):
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert found[name].device == THERE
            np.testing.assert_array_equal(back(found[name]), value, name)
