"""Where the chapters are: beside the package, in a checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msref

PLACE = "MSREF_CHECKOUT"
"""The variable by which a build tells its cells, which run elsewhere."""


@dataclass(frozen=True)
class Checkout:
    """A checkout of the repository.

    Attributes
        root: its folder, with ``chapters`` and ``results`` in it.
    """

    root: Path

    @property
    def chapters(self) -> Path:
        """The folder of the chapters."""
        return self.root / "chapters"

    @property
    def results(self) -> Path:
        """The folder of the results that are committed."""
        return self.root / "results"

    def scripts(self, only: tuple[str, ...] = ()) -> list[Path]:
        """List the chapters in reading order; ``only`` are starts of names.

        Raises
            ValueError: no chapter begins like that.
        """
        every = sorted(self.chapters.glob("[0-9][0-9]-*.py"))
        for start in only:
            if not any(path.stem.startswith(start) for path in every):
                raise ValueError(
                    f"there is no chapter {start!r}, expected the start of one"
                    f" of {', '.join(path.stem for path in every)}"
                )
        return [p for p in every if not only or p.stem.startswith(only)]


def find() -> Checkout:
    """Find the checkout: the current folder, or the package's parent.

    While a book is built, it is the one that it is built from.

    Raises
        FileNotFoundError: neither has chapters.
    """
    told = os.environ.get(PLACE)
    places = [Path(told)] if told else []
    for root in (
        *places,
        Path.cwd(),
        Path(msref.__file__).resolve().parents[1],
    ):
        if (root / "chapters" / "conf.py").is_file():
            return Checkout(root)
    raise FileNotFoundError(
        "there are no chapters here: the book is built in a checkout of the"
        " repository, the installed package does not hold it"
    )
