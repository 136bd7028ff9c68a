"""The book: chapters that run while it is built, and what they share.

``build`` makes it, from the folders ``chapters`` and ``results`` of a
checkout. ``msref.book.cells`` is what the cells of all chapters import; a
chapter that was downloaded as a notebook needs nothing else.
"""

from msref.book.build import Built, build

__all__ = ["Built", "build"]
