"""One look for all figures: colour-blind safe, no frame, labels that speak."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msref import files

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#666666",
    "#000000",
)
"""Okabe and Ito's palette, which readers with any colour vision tell apart."""

STYLE: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": 120,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.bbox": "tight",
}


@contextmanager
def figure(
    path: Path, width: float = 7.0, height: float = 4.0
) -> Iterator[Any]:
    """Give axes to draw on; the PNG appears when the block ends.

    No display is needed, and the caller's Matplotlib settings stay.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = STYLE | {"axes.prop_cycle": cycler(color=COLOURS)}
    with mpl.rc_context(style):
        drawn = Figure(figsize=(width, height))
        FigureCanvasAgg(drawn)
        yield drawn.add_subplot()
        picture = io.BytesIO()
        drawn.savefig(picture, format="png", metadata={"Software": None})
    with files.whole(path) as file:
        file.write(picture.getvalue())
