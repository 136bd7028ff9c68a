"""Linear recurrences over a million steps: forward, and backward by hand.

Equations
    y_t = a_t * y_{t-1} + b_t,   y_{-1} = y0       (1)

Adjoints
    db_t = dy_t + a_{t+1} * db_{t+1}               (1')
    da_t = db_t * y_{t-1}                          (1')
    dy0 = a_0 * db_0                               (1')

A loop over time spends 1.5 us a step on calls, however few units there are.
Here time is cut into chunks that run side by side: once to see where each
ends, with the product of its a_t; then over the chunks, which is the same
recurrence, for where each starts; then from there again, by the operations
of the loop in their order. So it is as stable as the loop, for every size of
a_t. The two formulas that need one pass are not: dividing by the product of
all a_t is NaN after some thousand steps, and so are sums of their logarithms.
"""

from __future__ import annotations

import math

import numpy as np

from msref.arrays import Array, namespace

BLOCK = 2**20
"""Bytes of a, and of b, that are worked on at a time: both, and a copy, stay
in the cache."""

FEWEST = 256
"""Steps, below which a loop is as fast."""

WIDEST = 3 * 2**10
"""Bytes of a step, from which on a loop is as fast: its calls have enough to
do."""


def linear_recurrence(a: Array, b: Array, y0: Array | None = None) -> Array:
    """Return all y_t = a_t * y_{t-1} + b_t.

    Arguments
        a: (n_time, ·) or any shape that NumPy broadcasts to that of ``b``;
            (·) for factors that stay the same.
        b: (n_time, ·), with any axes after the first.
        y0: (·), what comes before the first step; ``None`` for zeros.

    Returns
        y (n_time, ·), a new array.

    Raises
        TypeError: not all of one library and precision.
        ValueError: shapes that do not fit.

    Cost
        5 n multiplications and additions a step, n the product of (·), and
        2 n where the loop runs: in short sequences and those of more than
        about 500 units. Three megabytes besides y.

    Accuracy
        That of the loop, relative to the largest of the terms that add up,
        except for an absolute error of the smallest normal number times
        |y| some steps before. Factors whose product overflows within a
        chunk are sent through the loop.
    """
    y0 = _check(a, b, "b", y0)
    y: Array = namespace(b).empty_like(b)
    _scan(*_rows(_spread(a, b.shape), b, y0, y))  # (1)
    return y


def linear_recurrence_backward(
    a: Array, y: Array, dy: Array, y0: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return the gradients of ``a``, ``b`` and ``y0``, given those of y.

    Arguments
        a: as in the forward pass.
        y: (n_time, ·), what the forward pass returned.
        dy: (n_time, ·), the gradient at every y_t itself.
        y0: as in the forward pass.

    Returns
        da, summed to the shape of ``a``; db (n_time, ·); dy0 (·).

    Raises
        TypeError, ValueError: as ``linear_recurrence``.
    """
    y0 = _check(a, dy, "dy", y0)
    if y.shape != dy.shape or y.dtype != dy.dtype:
        raise ValueError(
            f"y has shape {y.shape} and dtype {y.dtype}, expected {dy.shape}"
            f" and {dy.dtype} like dy"
        )
    factors = _spread(a, dy.shape)
    db = namespace(dy).empty_like(dy)
    db[-1] = dy[-1]  # (1')
    if len(dy) > 1:  # the recurrence of (1) in reversed time, a one step later
        back = slice(-2, None, -1)
        _scan(*_rows(factors[:0:-1], dy[back], db[-1], db[back]))  # (1')
    return _da(a, db, y, y0), db, factors[0] * db[0]  # (1')


# --- the scan ---------------------------------------------------------------


def _rows(a: Array, b: Array, y0: Array, y: Array) -> tuple[Array, ...]:
    """Give every step a row, also where it is a single number."""
    if b.ndim > 1:
        return a, b, y0, y
    return a[:, None], b[:, None], y0.reshape(1), y[:, None]


def _scan(a: Array, b: Array, last: Array, y: Array) -> None:
    """Fill ``y``; all arrays are (n_time, ·), views in any direction."""
    xp, n_time = namespace(b), len(b)
    row = math.prod(b.shape[1:]) * b.dtype.itemsize
    steps = min(n_time, BLOCK // row)
    if steps < FEWEST or row >= WIDEST:
        _loop(a, b, last, y)
        return
    # A step costs five calls and a chunk two, or fewer; wide rows are fast.
    length = math.isqrt(steps // 4)
    n_chunks = steps // length
    steps = length * n_chunks
    work = xp.empty((3, length, n_chunks, *b.shape[1:]), b.dtype)
    whole = n_time // steps * steps
    for start in range(0, whole, steps):
        now = slice(start, start + steps)
        _block(a[now], b[now], last, y[now], work)
        last = y[now][-1]
    if whole < n_time:
        _scan(a[whole:], b[whole:], last, y[whole:])


def _loop(a: Array, b: Array, last: Array, y: Array) -> None:
    xp = namespace(b)
    for a_t, b_t, y_t in zip(a, b, y, strict=True):
        xp.multiply(a_t, last, out=y_t)  # (1)
        xp.add(y_t, b_t, out=y_t)  # (1)
        last = y_t


def _block(a: Array, b: Array, last: Array, y: Array, work: Array) -> None:
    """Run the chunks of a block side by side.

    Arguments
        work: (3, length, n_chunks, ·), overwritten; the steps of a chunk
            stand on the axis before the chunks, so that step l of all of
            them is one contiguous row.
    """
    xp = namespace(b)
    A, B, _ = work
    in_order = work[2].reshape(A.shape[1], A.shape[0], *A.shape[2:])
    for packed, given in ((A, a), (B, b)):
        # Read in order, then turned in the cache: half the time of turning
        # while reading, which jumps through memory.
        xp.copyto(in_order, given.reshape(in_order.shape))
        xp.copyto(packed, in_order.swapaxes(0, 1))

    product, end = A[0].copy(), B[0].copy()
    start = xp.empty_like(end)
    start[0] = last
    with np.errstate(over="ignore", invalid="ignore"):
        for a_l, b_l in zip(A[1:], B[1:], strict=True):
            xp.multiply(end, a_l, out=end)
            xp.add(end, b_l, out=end)
            xp.multiply(product, a_l, out=product)
        _scan(product[:-1], end[:-1], last, start[1:])
    if not bool(xp.isfinite(start).all()):  # a product overflowed, or y does
        _loop(a, b, last, y)
        return

    for a_l, b_l in zip(A, B, strict=True):
        xp.multiply(a_l, start, out=a_l)  # (1)
        xp.add(a_l, b_l, out=b_l)  # (1)
        start = b_l
    xp.copyto(y.reshape(in_order.shape), B.swapaxes(0, 1))


# --- broadcast factors ------------------------------------------------------


def _spread(a: Array, shape: tuple[int, ...]) -> Array:
    """View ``a`` in the shape of ``b``, contiguous within each step."""
    xp = namespace(a)
    if _varies(a, shape):
        return xp.broadcast_to(a, shape)  # type: ignore[no-any-return]
    row = xp.broadcast_to(a[0] if a.ndim == len(shape) else a, shape[1:])
    return xp.broadcast_to(  # type: ignore[no-any-return]
        xp.ascontiguousarray(row).reshape(shape[1:]), shape
    )


def _varies(a: Array, shape: tuple[int, ...]) -> bool:
    """Tell whether ``a`` has a time axis of its own."""
    return a.ndim == len(shape) and len(a) == shape[0]


def _da(a: Array, db: Array, y: Array, y0: Array) -> Array:
    """Return da_t = db_t * y_{t-1}, summed over what ``a`` was spread over.

    By slabs of time: no product over all of it has to be kept, and a sum of
    sums loses fewer digits than a long one.
    """
    xp, varies = namespace(db), _varies(a, db.shape)
    da = xp.zeros(a.shape, db.dtype)
    size = max(1, BLOCK // db[0].nbytes)
    steps = [slice(t, t + size) for t in range(1, len(db), size)]
    for now in (slice(0, 1), *steps):
        before = y0[None] if now.start == 0 else y[now.start - 1 : -1][:size]
        into = da[now] if varies else da
        if a.shape == db.shape:
            xp.multiply(db[now], before, out=into)  # (1')
        else:
            into += _summed(db[now] * before, into.shape)  # (1')
    return da  # type: ignore[no-any-return]


def _summed(product: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that ``shape`` was spread along."""
    extra = product.ndim - len(shape)
    alone = tuple(
        extra + i
        for i, size in enumerate(shape)
        if size == 1 < product.shape[extra + i]
    )
    total: Array = product.sum((*range(extra), *alone)).reshape(shape)
    return total


# --- the border -------------------------------------------------------------


def _check(a: Array, b: Array, name: str, y0: Array | None) -> Array:
    """Compare shapes and precisions; return ``y0``, or the zeros it means."""
    xp = namespace(a, b) if y0 is None else namespace(a, b, y0)
    if b.ndim == 0 or b.size == 0:
        raise ValueError(
            f"{name} has shape {b.shape}, expected (n_time, ·), at least one"
            " time step and one unit"
        )
    try:
        fits = np.broadcast_shapes(a.shape, b.shape) == b.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"a has shape {a.shape}, expected one that spreads to {b.shape}"
            f" of {name}"
        )
    if y0 is None:
        y0 = xp.zeros(b.shape[1:], b.dtype)
    if y0.shape != b.shape[1:]:
        raise ValueError(f"y0 has shape {y0.shape}, expected {b.shape[1:]}")
    for key, array in ((name, b), ("a", a), ("y0", y0)):
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{key} has dtype {array.dtype}, expected float32 or float64"
            )
        if array.dtype != b.dtype:
            raise TypeError(
                f"{key} has dtype {array.dtype}, expected {b.dtype} like {name}"
            )
    return y0
