"""The figure: how large the error is, at each time step of each array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msref.arrays import Array
from msref.files import whole

if TYPE_CHECKING:
    from msref.vectors.comparison import Comparison


def table(comparison: Comparison) -> tuple[list[str], Array]:
    """Return arrays in causal order, and the worst entry of each step.

    Returns
        names, and (n_arrays, n_time): the logarithm to base 10 of the
        largest share of the allowed difference. An array without a time
        axis has its one number in the column where it belongs: a final
        state, and what was cut, in the last one; all else in the first.
        Where there is no number, NaN.
    """
    shares = comparison.shares
    n_time = max(
        (len(v) for k, v in shares.items() if _has_time(k, v)), default=1
    )
    names = [k for k in comparison.order if k in shares]
    grid = np.full((len(names), n_time), np.nan)
    for row, name in zip(grid, names, strict=True):
        share = np.clip(shares[name], 1e-6, 1e12)
        if _has_time(name, share):
            row[: len(share)] = share.max(axis=tuple(range(1, share.ndim)))
        elif share.size:
            late = name.startswith(("state/", "cut/"))
            row[-1 if late else 0] = share.max()
    return names, np.log10(grid)


def _has_time(name: str, share: Array) -> bool:
    timed = name in ("x", "y", "dx", "dy")
    return share.ndim == 3 and (
        timed or name.startswith(("trace/", "adjoints/"))
    )


def draw(comparison: Comparison, path: Path | str) -> None:
    """Draw a comparison as PNG.

    Blue is within the tolerance, red beyond it, the darker the further, by
    powers of ten; the first divergence is framed.

    Raises
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    names, grid = table(comparison)
    height = 1.6 + 0.22 * len(names)
    width = 3.2 + 0.28 * min(grid.shape[1], 40)
    figure = Figure(figsize=(max(width, 6.0), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(
        np.ma.masked_invalid(grid),
        aspect="auto",
        cmap="coolwarm",
        norm=TwoSlopeNorm(0.0, -4.0, 12.0),
        interpolation="nearest",
    )
    axes.set_facecolor("0.93")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("time step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("error / tolerance, log10", fontsize=8)
    first = comparison.first
    title = f"{comparison.reference}: all arrays agree"
    if first is not None and first.array in names:
        row = names.index(first.array)
        late = first.array.startswith(("state/", "cut/"))
        column = first.time
        if column is None:
            column = grid.shape[1] - 1 if late else 0
        frame = Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, ec="black", lw=2.0
        )
        axes.add_patch(frame)
        at = "" if first.time is None else f" at t={first.time}"
        title = f"{comparison.reference}: first divergence {first.array}{at}"
    axes.set_title(title, fontsize=9, loc="left")
    with whole(path) as file:
        figure.savefig(file, format="png", dpi=120)
