"""Transforms and factorisations of a LAES, on the host and on a device.

SciPy has forms that overwrite what they are given, compute a part, or use
half of a symmetric matrix; CuPy has the plain ones, which give the same.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.linalg.blas

from msref.arrays import Array, namespace, on_host


def rfft(x: Array, n: int, axis: int = -1) -> Array:
    """Return the Fourier transform of real numbers, padded to ``n``."""
    xp = namespace(x)
    library = scipy.fft if xp is np else xp.fft
    transformed: Array = library.rfft(x, n, axis=axis)
    return transformed


def irfft(x_hat: Array, n: int, axis: int = -1) -> Array:
    """Return the ``n`` real numbers of a transform, which is lost."""
    xp = namespace(x_hat)
    if xp is np:
        x = scipy.fft.irfft(x_hat, n, axis=axis, overwrite_x=True)
    else:
        x = xp.fft.irfft(x_hat, n, axis=axis)
    real: Array = x
    return real


def right_singular(matrix: Array) -> tuple[Array, Array]:
    """Return its singular values, on the host, and V; it is lost."""
    xp = namespace(matrix)
    if xp is np:
        # LAPACK counts columns first: its transpose is ours, not copied.
        v, values, _ = scipy.linalg.svd(
            matrix.T, full_matrices=False, overwrite_a=True, check_finite=False
        )
        return values, v
    _, values, v_t = xp.linalg.svd(matrix, full_matrices=False)
    return on_host(values), v_t.T


def add_square(square: Array, z: Array) -> None:
    """Add z^T z to the upper triangle of ``square``, in place."""
    if not len(z):
        return
    if namespace(square) is np:
        # BLAS counts columns first: our rows are its columns.
        scipy.linalg.blas.dsyrk(
            1.0, z.T, beta=1.0, c=square.T, lower=1, overwrite_c=1
        )
    else:
        square += z.T @ z
