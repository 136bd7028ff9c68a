"""How fast, against whom, and how close to what the machine allows."""

from msref.bench.cells import CELL_SUITE
from msref.bench.closed_form import LAES_SUITE
from msref.bench.conditions import Conditions
from msref.bench.growth import GROWTH, OVERHEAD
from msref.bench.long import LONG
from msref.bench.memory import peak_memory
from msref.bench.recurrent import RECURRENT
from msref.bench.running import run
from msref.bench.scans import RECURRENCE
from msref.bench.suite import Goal, Measurement, Suite
from msref.bench.timing import Timing, interleaved

__all__ = [
    "SUITES",
    "Conditions",
    "Goal",
    "Measurement",
    "Suite",
    "Timing",
    "interleaved",
    "peak_memory",
    "run",
]

SUITES: dict[str, Suite] = {
    suite.key: suite
    for suite in (
        RECURRENT,
        CELL_SUITE,
        RECURRENCE,
        LONG,
        LAES_SUITE,
        GROWTH,
        OVERHEAD,
    )
}
"""Short name -> suite, in reading order."""
