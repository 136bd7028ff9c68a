"""What stands for the device in a test: the guard, or a GPU.

The same properties run on both. The guard computes with NumPy, so there a
result is the host's to the bit; a GPU rounds in another order.
"""

import contextlib
import sys
from pathlib import Path

import guard
import numpy as np
import pytest

from msref.arrays import NoGPUError, on_device, on_host, to_device

sys.path.insert(0, str(Path(__file__).parents[1] / "properties"))

RTOL = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-3}
"""How far a GPU may be off, against the largest entry of an array."""


class Side:
    """A device, and how its results are held against the host's."""

    exact = True

    def __call__(self, tree):
        """Move a dict of arrays, an array, or nothing to the device."""
        if tree is None:
            return None
        if isinstance(tree, dict):
            return to_device(tree, "cuda")
        return to_device({"": tree}, "cuda")[""]

    def is_here(self, array):
        return type(array).__module__.partition(".")[0] == "cupy"

    def same(self, got, expected, what=""):
        """Require the host's result, on the device."""
        if isinstance(expected, dict):
            assert set(got) == set(expected), what
            for name, value in expected.items():
                self.same(got[name], value, f"{what} {name}")
            return
        expected = np.asarray(expected)
        if expected.dtype.kind == "f":
            assert self.is_here(got), f"{what} is on the host"
        assert got.dtype == expected.dtype, what
        self.close(on_host(got), expected, what)

    def close(self, got, expected, what=""):
        """Require a number or an array of the host."""
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.shape == expected.shape, what
        if self.exact or expected.dtype.kind in "iub":
            np.testing.assert_array_equal(got, expected, what)
        else:
            rtol = RTOL[expected.dtype]
            size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
            np.testing.assert_allclose(got, expected, 0, rtol * size, what)


class TheGPU(Side):
    """A GPU itself."""

    exact = False


@contextlib.contextmanager
def side(name):
    """Yield the guard or the GPU; skip where there is none."""
    if name == "guard":
        with guard.on_a_device():
            yield Side()
        return
    try:
        on_device("cuda")
    except (ImportError, NoGPUError) as error:
        pytest.skip(f"no GPU to test on: {error}")
    yield TheGPU()
