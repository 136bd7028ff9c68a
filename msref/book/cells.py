"""What the cells of all chapters share: figures, planted bugs, tables.

Figures are drawn as vectors into the page itself. Their text and axes take
the colour of the page, so they can be read in light, in dark and on paper;
their colours keep a contrast of 3 to 1 on both, and readers with any colour
vision tell them apart, with help from the dashes.
"""

from __future__ import annotations

import codecs
import hashlib
import html
import importlib
import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from msref.arrays import Array, Arrays
from msref.book.committed import committed
from msref.claims.figures import STYLE
from msref.claims.memory import recoverability
from msref.data.music import LOWEST_NOTE
from msref.dynamics import gradient_reach
from msref.dynamics.states import joined
from msref.ports import FRAMEWORKS, conventions
from msref.vectors import catalogue
from msref.verification.mutants import mutants

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Those of Okabe and Ito's palette that are seen on white and on black."""

DASHES = ("-", "--", "-.", ":")
INK = "#010203"
"""Stands for the colour of the page's text, until the figure is done."""

# --- figures ----------------------------------------------------------------


@contextmanager
def drawing(
    alt: str, width: float = 7.0, height: float = 3.2, columns: int = 1
) -> Iterator[Any]:
    """Give axes to draw on; the figure is shown when the block ends.

    Arguments
        alt: what is to be seen, in words, for readers who cannot.
        width, height: in inches; a page is about 9 wide.
        columns: of axes side by side; with more than one, a list of axes is
            given.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    cycle = cycler(color=COLOURS) + cycler(linestyle=DASHES)
    style: Any = STYLE | {
        "axes.prop_cycle": cycle,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": INK,
        "grid.alpha": 0.15,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "legend.facecolor": "none",
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(style):
        drawn = Figure(figsize=(width, height))
        axes = [drawn.add_subplot(1, columns, k + 1) for k in range(columns)]
        yield axes[0] if columns == 1 else axes
        shown = svg(drawn, alt)
    _show(shown)


def svg(drawn: Any, alt: str) -> str:
    """Return a figure of Matplotlib as HTML that any page can hold."""
    import matplotlib as mpl

    written = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "msref", "svg.fonttype": "path"}):
        drawn.savefig(
            written, format="svg", metadata={"Date": None, "Creator": None}
        )
    text = re.sub(r"^.*?(?=<svg)", "", written.getvalue(), flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    # A hundredth of a point is finer than any screen, and fewer bytes.
    text = re.sub(r'\b(d|x|y|points)="[^"]*"', _rounded, text)
    # Names must be unique on a page that holds several figures.
    own = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="{own}-', text)
    text = re.sub(r'href="#', f'href="#{own}-', text)
    text = text.replace("url(#", f"url(#{own}-")
    head = f'<svg role="img" aria-label="{html.escape(alt)}"'
    text = text.replace("<svg", head, 1)
    return f'<div class="drawing">{text}</div>'


def _rounded(path: re.Match[str]) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path[0])


def _show(text: str) -> None:
    try:
        shell: Any = importlib.import_module("IPython.display")
    except ModuleNotFoundError:
        return
    shell.display(shell.HTML(text))


def box(axes: Any, x: float, y: float, text: str, colour: str = INK) -> Any:
    """Draw a quantity of an equation as a box; return it, for arrows."""
    style = {"boxstyle": "round,pad=0.35", "facecolor": "none"}
    axes.update_datalim([(x, y)])
    return axes.text(
        *(x, y, text),
        ha="center",
        va="center",
        bbox=style | {"edgecolor": colour, "linewidth": 1.3},
        fontsize=11,
    )


def arrow(
    axes: Any, start: Any, end: Any, text: str = "", colour: str = INK
) -> None:
    """Draw an arrow between boxes, or points, with a text beside it."""
    ends = [
        each if isinstance(each, tuple) else each.get_position()
        for each in (start, end)
    ]
    patches = {
        name: each.get_bbox_patch()
        for name, each in (("patchA", start), ("patchB", end))
        if not isinstance(each, tuple)
    }
    axes.annotate(
        "",
        xy=ends[1],
        xytext=ends[0],
        arrowprops=patches
        | {
            "arrowstyle": "-|>",
            "color": colour,
            "shrinkA": 2,
            "shrinkB": 2,
            "linewidth": 1.2,
        },
    )
    axes.update_datalim(ends)
    if text:
        (x0, y0), (x1, y1) = ends
        flat = y0 == y1
        axes.annotate(
            *(text, ((x0 + x1) / 2, (y0 + y1) / 2)),
            xytext=(0, 8) if flat else (8, 0),
            textcoords="offset points",
            ha="center" if flat else "left",
            va="center",
            color=colour,
            fontsize=9,
        )


def bare(axes: Any) -> None:
    """Take frame and ticks away, and keep proportions: a diagram."""
    axes.figure.set_layout_engine("none")
    axes.set_axis_off()
    axes.margins(0.06, 0.15)
    axes.autoscale_view()


def reach_plot(
    axes: Any,
    networks: Mapping[str, tuple[Any, Arrays]],
    x: Array,
    names: Mapping[str, str] | None = None,
) -> dict[str, Array]:
    """Draw how much of the last state's gradient arrives, over the lag.

    Arguments
        networks: label -> network and parameters.
        x: (n_time, n_batch, n_in), what they read.
        names: label -> the array of the state to follow; where there is
            none, the only one, or all of them as one vector.

    Returns
        label -> the median over the sequences, (n_time,).
    """
    medians = {}
    for k, (label, (arch, params)) in enumerate(networks.items()):
        name = (names or {}).get(label)
        found = gradient_reach(arch, params, x, name, progress=False)
        medians[label] = found.median
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(
            *(found.lags, found.median, DASHES[k % len(DASHES)]),
            color=colour,
            label=label,
        )
        if found.bound is not None:
            axes.plot(
                *(found.lags, found.bound, "-"),
                color=colour,
                alpha=0.4,
                linewidth=1,
                label=f"{label}: bound",
            )
    axes.set_yscale("log")
    axes.set_xlabel("lag k, steps")
    axes.set_ylabel("size of the gradient")
    axes.legend()
    return medians


def recall_plot(
    axes: Any,
    networks: Mapping[str, tuple[Any, Arrays]],
    max_lag: int,
    seed: int = 0,
    n_time: int = 400,
) -> dict[str, list[float]]:
    """Draw how much of the past can be read back from the state, over lag.

    The input is white noise, normal, one number per unit. R² is that of a
    linear read-out of the whole state, fitted on one set of sequences, its
    strength chosen on another, measured on a third.

    Returns
        label -> R² at lags 0 .. max_lag.
    """
    found = {}
    for k, (label, (arch, params)) in enumerate(networks.items()):
        rng = np.random.default_rng(seed)
        sets = [
            _states_and_inputs(arch, params, rng, n, n_time) for n in (8, 3, 3)
        ]
        found[label] = recoverability(sets[0], sets[1], sets[2], max_lag)
        axes.plot(
            *(range(max_lag + 1), found[label], DASHES[k % len(DASHES)]),
            color=COLOURS[k % len(COLOURS)],
            marker=".",
            label=label,
        )
    axes.set_xlabel("lag k, steps")
    axes.set_ylabel("R² of reading $x_{t-k}$")
    axes.set_ylim(-0.03, 1.05)
    axes.legend()
    return found


def _states_and_inputs(
    arch: Any, params: Arrays, rng: np.random.Generator, n: int, n_time: int
) -> list[tuple[Array, Array]]:
    """Return the states after every frame, and the frames, per sequence."""
    x = rng.standard_normal((n_time, n, arch.n_in))
    state = arch.initial_state(n)
    states = []
    for t in range(n_time):
        state, _ = arch.step(params, state, x[t], t)
        states.append(joined(arch, state))
    m = np.stack(states)
    return [(m[:, b], x[:, b]) for b in range(n)]


# --- reports ----------------------------------------------------------------

TONES = {
    "#008000": "var(--msref-pass, #1a7f37)",
    "#800000": "var(--msref-fail, #c0392b)",
    "#808000": "var(--msref-unsure, #9a6700)",
    "#7f7f7f": "inherit",
}
"""The terminal's green, red, yellow and grey, as the page has them."""


class Shown:
    """A report as HTML, in the colours of the page.

    Arguments
        report: of ``msref.verify``, or anything that Rich can print.
        width: of a line, in characters.
    """

    def __init__(self, report: Any, width: int = 96) -> None:
        from rich.console import Console

        console = Console(
            record=True,
            width=width,
            file=io.StringIO(),
            force_terminal=True,
            force_jupyter=False,
            color_system="standard",
        )
        console.print(report)
        self._text = console.export_text(clear=False)
        self._html = console.export_html(
            code_format="{code}", inline_styles=True
        )

    def _repr_html_(self) -> str:
        text = re.sub(r"[ ]+$", "", self._html, flags=re.MULTILINE)
        for one, other in TONES.items():
            text = text.replace(f"color: {one}", f"color: {other}")
        text = re.sub(r"text-decoration-color: #\w+", "", text)
        return f'<pre class="report">{text.strip()}</pre>'

    def __repr__(self) -> str:
        lines = self._text.splitlines()
        return "\n".join(line.rstrip() for line in lines)


# --- planted bugs -----------------------------------------------------------


def planted(arch: Any, kind: str, where: str = "") -> Any:
    """Return the network with one of the known bugs in it.

    Arguments
        kind: the kind of mistake, as ``msref verify --power`` lists them.
        where: the array or the place; the first that applies if empty.

    Raises
        ValueError: no such bug applies to this network.
    """
    have = []
    for mutant in mutants(arch):
        if mutant.kind == kind and where in ("", mutant.where):
            return mutant
        have.append(f"{mutant.kind} ({mutant.where})")
    raise ValueError(
        f"{arch!r} has no bug {kind!r} {where}, expected one of"
        f" {', '.join(have)}"
    )


@dataclass(frozen=True)
class Riddle:
    """A network with one bug that its name does not tell: an exercise.

    Attributes
        arch: the network with the bug.
    """

    arch: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arch, name)

    def __repr__(self) -> str:
        return f"{self.arch.arch!r} with a bug"

    @property
    def solution(self) -> str:
        """What the bug is, and where."""
        return f"{self.arch.kind} ({self.arch.where})"


def riddle(arch: Any, kind: str, where: str = "") -> Riddle:
    """Plant a bug for the reader to find.

    Arguments
        kind, where: as of ``planted``, but in rot13, so that the line does
            not tell what it plants.
    """

    def told(text: str) -> str:
        return codecs.decode(text, "rot13")

    return Riddle(planted(arch, told(kind), told(where)))


# --- tables -----------------------------------------------------------------


class Grid:
    """A table of computed values, shown as HTML.

    Arguments
        columns: the heads.
        rows: the cells, of anything; floats are shown with three digits.
    """

    def __init__(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        self.columns = list(columns)
        self.rows = [[_text(value) for value in row] for row in rows]

    def _repr_html_(self) -> str:
        def row(cells: list[str], tag: str) -> str:
            inner = "".join(_cell(text, tag) for text in cells)
            return f"<tr>{inner}</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        return (
            '<div class="wide"><table class="docutils grid"><thead>'
            f"{row(self.columns, 'th')}</thead><tbody>{body}</tbody>"
            "</table></div>"
        )

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        return "\n".join(" | ".join(line) for line in lines)


def _cell(text: str, tag: str) -> str:
    """Return a cell; one with sentences in it is not squeezed."""
    kind = ' class="long"' if len(text) > 60 else ""
    return f"<{tag}{kind}>{html.escape(text)}</{tag}>"


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.3g}"
    return str(value)


def conventions_grid(cell: str) -> Grid:
    """Return where frameworks differ in a cell, from the port tables.

    Arguments
        cell: ``elman``, ``lstm`` or ``gru``.
    """
    rows = [
        row
        for row in conventions(list(FRAMEWORKS.values()))
        if row["cell"] == cell
    ]
    heads = {
        key: key
        for key in (
            *("framework", "layer", "gates", "product", "biases"),
            *("reset", "z", "activation", "added", "state", "x"),
        )
    } | {"added": "added while running"}
    shown = [k for k in heads if len({str(row[k]) for row in rows}) > 1]
    return Grid(
        [heads[key] for key in shown],
        [[_joined(row[key]) for key in shown] for row in rows],
    )


def _joined(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} + {v}" for k, v in value.items())
    return str(value)


def vectors_grid(arch: str) -> Grid:
    """Return the golden vectors of an architecture, by short name."""
    rows = []
    for name in catalogue.names([arch]):
        plan = catalogue.plans()[name]
        rows.append((name, plan.purpose.breaks))
    return Grid(("vector", "what breaks it"), rows)


# --- music ------------------------------------------------------------------


def roll_plot(
    axes: Any, roll: Array, start: int = 0, colour: str = COLOURS[0]
) -> None:
    """Draw a piano roll: a bar per frame and note, as dark as it is strong.

    Arguments
        roll: (n_time, 88), note k is the MIDI note 21 + k; what lies outside
            0 .. 1 is drawn as 0 or 1, and nothing below 0.05.
        start: where the first frame stands.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    t, note = np.nonzero(roll > 0.05)
    corners = np.array([[0.0, -0.42], [0.94, -0.42], [0.94, 0.42], [0.0, 0.42]])
    places = np.stack([start + t, LOWEST_NOTE + note], axis=1)
    strength = np.minimum(roll[t, note], 1.0)
    bars = PolyCollection(
        places[:, None] + corners,
        facecolors=[to_rgba(colour, float(alpha)) for alpha in strength],
        linewidths=0,
    )
    axes.add_collection(bars)
    axes.autoscale_view()
    axes.set_yticks([48, 60, 72], ["C3", "C4", "C5"])
    axes.set_xlabel("frame")


# --- files of the checkout --------------------------------------------------


class Listing:
    """A file of the checkout, or a part of it, folded and highlighted.

    Arguments
        name: from the root of the checkout, ``examples/readers/reader.rs``.
        start, end: parts of the first and the last line wanted.
        is_open: whether it is shown unfolded.

    Raises
        FileNotFoundError: this is no checkout, or it has no such file; and
            the notebook did not bring it along.
        ValueError: there is no line with that text.
    """

    def __init__(
        self, name: str, start: str = "", end: str = "", is_open: bool = False
    ) -> None:
        lines = committed(name).splitlines()
        first = _line_with(start, lines, 0, name) if start else 0
        last = _line_with(end, lines, first, name) if end else len(lines) - 1
        part = "\n".join(lines[first : last + 1])
        self.title = f"{name}, lines {first + 1} to {last + 1}"
        self.text = textwrap.dedent(part)
        self.name, self.is_open = name, is_open

    def _repr_html_(self) -> str:
        pygments: Any = importlib.import_module("pygments")
        lexers: Any = importlib.import_module("pygments.lexers")
        formatters: Any = importlib.import_module("pygments.formatters")
        code = pygments.highlight(
            self.text,
            lexers.get_lexer_for_filename(self.name),
            formatters.HtmlFormatter(nowrap=True),
        )
        return (
            f'<details class="listing"{" open" * self.is_open}><summary>'
            f"<code>{html.escape(self.title)}</code></summary>"
            '<div class="highlight"><pre tabindex="0">'
            f"{code}</pre></div></details>"
        )

    def __repr__(self) -> str:
        return f"{self.title}\n\n{self.text}"


def _line_with(text: str, lines: list[str], first: int, name: str) -> int:
    for k in range(first, len(lines)):
        if text in lines[k]:
            return k
    raise ValueError(f"{name} has no line with {text!r}")
