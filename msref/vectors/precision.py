"""In which precision a port computed, by the size of its errors.

A port in single precision that writes its numbers down in double is not
wrong, but it is not double precision either. What each precision does is
simulated: the network runs with its products, its results or its weights
rounded. A port whose errors are as large, and that has no other, computes in
that precision.

TF32 is what GPUs of NVIDIA may take for matrix products of float32: both
factors keep 11 binary digits. Some roads to it round, others cut off; both
are known here, and neither was tried on a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.vectors.judging import is_forward, over_time
from msref.vectors.variants import forward_of, inputs
from msref.vectors.vector import Vector


@dataclass(frozen=True)
class Precision:
    """A way to lose digits.

    Attributes
        name: "float32", "TF32", "bfloat16" or "float16".
        what: what is rounded, in words.
        products, results, inputs: binary digits that the factors of matrix
            products, all results, and weights and inputs are rounded to;
            ``None`` for as they are.
        cuts: whether the factors' digits are cut off, not rounded.
        advice: what to do about it.
    """

    name: str
    what: str
    products: int | None
    results: int | None
    inputs: int | None
    advice: str
    cuts: bool = False


PRECISIONS = (
    Precision(
        "float32",
        "single precision throughout",
        None,
        24,
        None,
        "compute in double precision to be held against double precision, or"
        " write your numbers down as float32",
    ),
    Precision(
        "TF32",
        "matrix products in TF32, summed up in single precision",
        11,
        24,
        None,
        "switch TF32 off for matrix products (in PyTorch"
        " torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn"
        ".allow_tf32, in JAX jax_default_matmul_precision)",
    ),
    Precision(
        "TF32",
        "matrix products in TF32 with digits cut off",
        11,
        24,
        None,
        "switch TF32 off for matrix products",
        cuts=True,
    ),
    Precision(
        "bfloat16",
        "weights and inputs in bfloat16",
        None,
        None,
        8,
        "load the weights and inputs in full precision",
    ),
    Precision(
        "bfloat16",
        "bfloat16 throughout",
        None,
        8,
        8,
        "compute in full precision; switch automatic mixed precision off",
    ),
    Precision(
        "bfloat16",
        "matrix products in bfloat16, summed up in single precision",
        8,
        24,
        None,
        "switch the fast mode of matrix products, or automatic mixed"
        " precision, off",
    ),
    Precision(
        "float16",
        "weights and inputs in half precision",
        None,
        None,
        11,
        "load the weights and inputs in full precision",
    ),
    Precision(
        "float16",
        "half precision throughout",
        None,
        11,
        11,
        "compute in full precision; switch automatic mixed precision off",
    ),
)

ENOUGH = 16
"""Entries from which on the errors' signs say something."""


def rounded(x: Array, digits: int, cuts: bool = False) -> Array:
    """Round to so many binary digits, ties to even; or cut the rest off."""
    fraction, power = np.frexp(np.asarray(x, np.float64))
    scale = 2.0**digits
    whole = np.trunc(fraction * scale) if cuts else np.rint(fraction * scale)
    return np.ldexp(whole / scale, power)


class _Rounding(np.ndarray):
    """An array whose products and results lose digits.

    Subclasses set how many there are; a result of an operation with such an
    array is one, too.
    """

    products: int | None = None
    results: int | None = None
    cuts: bool = False

    def __array_ufunc__(
        self, ufunc: Any, method: str, *args: Any, **kwargs: Any
    ) -> Any:
        plain = [
            np.asarray(a) if isinstance(a, np.ndarray) else a for a in args
        ]
        if ufunc is np.matmul and self.products is not None:
            plain = [rounded(a, self.products, self.cuts) for a in plain]
        found = getattr(ufunc, method)(*plain, **kwargs)
        if not isinstance(found, np.ndarray) or found.dtype != np.float64:
            return found
        if self.results is not None:
            found = rounded(found, self.results)
        return found.view(type(self))


def simulated(vector: Vector, precision: Precision) -> Arrays:
    """Run the right network with the digits that a precision leaves."""
    kind = type(
        "_Rounded",
        (_Rounding,),
        {
            "products": precision.products,
            "results": precision.results,
            "cuts": precision.cuts,
        },
    )

    def entered(value: Array) -> Any:
        digits = precision.inputs or precision.results
        value = value if digits is None else rounded(value, digits)
        return value.view(kind)

    tree = {k: entered(v) for k, v in inputs(vector).items()}
    found = forward_of(vector.arch, vector, tree)
    return {k: np.asarray(v) for k, v in found.items()}


def diagnose_precision(
    vector: Vector, given: Mapping[str, Array]
) -> Precision | None:
    """Find the precision that explains the forward pass, if there is one.

    A precision explains a port if the port's errors are between a quarter
    and four times what it makes, and nothing exceeds 64 times. Of several,
    the one whose errors are most nearly as large. Roundings go either way:
    where nearly all of the errors is one offset, or one factor, they are
    none.
    """
    forward = {
        k: v
        for k, v in given.items()
        if is_forward(k) and not k.startswith("cut/")
    }
    if not forward or not all(np.isfinite(v).all() for v in forward.values()):
        return None
    right = {k: vector.arrays[k] for k in forward}
    error = _size(vector, forward, right)
    if error == 0.0 or _one_sided(vector, forward, right):
        return None
    best: tuple[float, Precision] | None = None
    for precision in PRECISIONS:
        with np.errstate(all="ignore"):
            found = simulated(vector, precision)
        made = _size(vector, {k: found[k] for k in right}, right)
        ratio = error / made if made > 0 else np.inf
        largest = _largest(vector, forward, right)
        if not 0.25 <= ratio <= 4.0 or largest > 64.0 * made:
            continue
        score = float(abs(np.log2(ratio)))
        if best is None or score < best[0]:
            best = score, precision
    return None if best is None else best[1]


def _relative(
    vector: Vector,
    got: Mapping[str, Array],
    expected: Arrays,
    scales: Arrays | None = None,
) -> Iterator[Array]:
    """Yield each array's errors, relative to its largest entry."""
    for name, value in expected.items():
        largest = np.abs((scales or expected)[name]).max(initial=0.0)
        scale = float(largest) or 1.0
        gap = (np.asarray(got[name], np.float64) - value) / scale
        if vector.lengths is not None and over_time(name, vector):
            gap = np.where(vector.counted[..., None], gap, 0.0)
        yield gap.ravel()


def _one_sided(
    vector: Vector, got: Mapping[str, Array], expected: Arrays
) -> bool:
    """Tell whether errors are one offset, or in proportion to the numbers."""
    zeros = {name: np.zeros_like(value) for name, value in expected.items()}
    error = np.concatenate(list(_relative(vector, got, expected)))
    value = np.concatenate(list(_relative(vector, expected, zeros, expected)))
    if error.size < ENOUGH:
        return False
    size = np.linalg.norm(error)
    offset = abs(error.sum()) / (size * np.sqrt(error.size))
    factor = abs(error @ value) / (size * np.linalg.norm(value) or 1.0)
    return bool(max(offset, factor) > 0.9)


def rounded_like(vector: Vector, given: Mapping[str, Array]) -> bool:
    """Tell whether half of the arrays are off by roundings to float32."""
    right = {name: vector.arrays[name] for name in given}
    sizes = [
        np.sqrt(np.mean(error**2)) for error in _relative(vector, given, right)
    ]
    return float(np.mean(np.array(sizes) > 2.0**-32)) >= 0.5


def _size(vector: Vector, got: Mapping[str, Array], expected: Arrays) -> float:
    gaps = np.concatenate(list(_relative(vector, got, expected)))
    return float(np.sqrt(np.mean(gaps**2)))


def _largest(
    vector: Vector, got: Mapping[str, Array], expected: Arrays
) -> float:
    return max(
        float(np.abs(gap).max()) for gap in _relative(vector, got, expected)
    )
