"""Where a training leaves the finite numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from msref.architectures.base import NotFiniteError


class DivergedError(NotFiniteError):
    """A training left the finite numbers; the message says where."""


@contextlib.contextmanager
def placed(where: str) -> Iterator[None]:
    """Say in an error where in a training it was.

    Passes, losses and optimisers refuse NaN and infinity themselves, so the
    warnings of NumPy on the way there are not needed.

    Raises
        DivergedError: for NaN and infinity.
        ValueError: for anything else that was wrong, such as a score of
            nothing, 0 / 0.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except NotFiniteError as error:
        raise DivergedError(f"{where}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
