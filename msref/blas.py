"""How many threads a matrix product takes.

BLAS takes all cores by default, and its threads wait for each other busily.
A product of a recurrent step is over in microseconds: two threads can gain
little, and as soon as another process wants a core, one waits whole time
slices for the other. Chapter 13 of the book times both.

Importing msref changes nothing about that, since the process is the user's.
The commands of msref take one thread, unless the environment says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""By which a user says how many threads, when a BLAS is loaded."""


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let BLAS take ``n`` threads until the block ends.

    ``with msref.threads(1):`` is for a training of small products where other
    processes run. It holds for the whole process, and for every BLAS that is
    loaded by then.

    Raises
        TypeError, ValueError: ``n`` is no number of threads.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"n is {n!r}, expected a whole number")
    if n < 1:
        raise ValueError(f"n is {n}, expected at least 1")
    with threadpool_limits(n, user_api="blas"):
        yield


@contextmanager
def one_thread_unless_chosen() -> Iterator[None]:
    """Take one thread in a process of our own, and in its children.

    A user who set one of ``VARIABLES`` has chosen, and gets that.
    """
    if any(os.environ.get(name) for name in VARIABLES):
        yield
        return
    os.environ.update(dict.fromkeys(VARIABLES, "1"))  # for what loads later
    try:
        with threads(1):
            yield
    finally:
        for name in VARIABLES:
            os.environ.pop(name, None)
