"""The figure of a suite: how we stand to each peer, case by case."""

from __future__ import annotations

from pathlib import Path

from msref.bench.suite import LIMIT, OURS, Measurement, label


def peers_of(rows: list[Measurement]) -> list[str]:
    """Return the peers that were timed, in their order, without variants."""
    found = dict.fromkeys(
        name.partition(", ")[0] for row in rows for name in row.timings
    )
    return [name for name in found if name not in (OURS, LIMIT)]


def draw_ratios(rows: list[Measurement], path: Path) -> None:
    """Draw our time over that of each peer: a line per case, a dot each."""
    # slow to import, and children that take memory do without
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    from msref.claims.figures import COLOURS, figure

    peers = peers_of(rows)
    with figure(path, height=1.2 + 0.22 * len(rows)) as axes:
        for peer, colour in zip(peers, COLOURS * len(peers), strict=False):
            dots = [
                (r, k) for k, row in enumerate(rows) if (r := row.ratio(peer))
            ]
            if dots:
                at, lines = zip(*dots, strict=True)
                axes.semilogx(at, lines, "o", color=colour, label=peer)
        shares = [(row.share, k) for k, row in enumerate(rows) if row.share]
        if shares:
            at, lines = zip(*shares, strict=True)
            axes.plot(at, lines, "|k", label="matrix products alone / ours")
        axes.axvline(1.0, color="black", linestyle=":", linewidth=1)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_yticks(range(len(rows)), [label(r.case) for r in rows])
        axes.tick_params(axis="y", labelsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("our time / theirs; to the left of 1 we are faster")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
