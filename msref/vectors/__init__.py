"""Golden vectors: ground truth to port from.

A vector is a network's inputs and *all* numbers that follow from them: every
named intermediate at every step, outputs, final state, gradients and
adjoints. Each file has a purpose, named after what breaks if it fails. The
numbers come from ``step`` by the witnesses in extended precision, never from
``forward`` and ``backward``.
"""

from msref.vectors.candidates import candidate_files, read_candidate
from msref.vectors.catalogue import generate, load, names
from msref.vectors.compare import Comparison, compare
from msref.vectors.export import export
from msref.vectors.vector import Vector, read, write

__all__ = [
    "Comparison",
    "Vector",
    "candidate_files",
    "compare",
    "export",
    "generate",
    "load",
    "names",
    "read",
    "read_candidate",
    "write",
]
