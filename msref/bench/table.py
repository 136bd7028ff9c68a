"""What a suite found, as a table for the terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msref.bench.figure import peers_of
from msref.bench.suite import LIMIT, OURS, Measurement, label, sizes_of

if TYPE_CHECKING:
    from msref.claims.base import Table


def table(title: str, rows: list[Measurement]) -> Table:
    """Return a line per case: our time, ratios to the peers, values."""
    from msref.claims.base import Table

    peers = peers_of(rows)
    held_against = any(OURS in row.timings for row in rows)
    values = dict.fromkeys(name for row in rows for name in row.values)
    columns, cells = ["case"], [[label(row.case)] for row in rows]

    def column(name: str, entries: list[str]) -> None:
        columns.append(name)
        for line, entry in zip(cells, entries, strict=True):
            line.append(entry)

    if held_against:
        column("ours, ms", [_ms(row, OURS) for row in rows])
        column("spread", [_spread(row) for row in rows])
        if any(row.share for row in rows):
            column(f"{LIMIT} / ours", [_number(row.share) for row in rows])
    for peer in peers:
        if held_against:
            column(peer, [_number(row.ratio(peer)) for row in rows])
        else:
            column(f"{peer}, ms", [_ms(row, peer) for row in rows])
    for name in values:
        column(name, [_value(row.values.get(name)) for row in rows])
    return Table(title, tuple(columns), tuple(map(tuple, cells)))


def notes(rows: list[Measurement]) -> list[str]:
    """Return why peers were not timed, each reason with its cases."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, why in row.notes.items():
            found.setdefault(f"{name}: {why}", []).append(label(row.case))
    return [
        text if len(cases) == len(rows) else f"{text} ({', '.join(cases)})"
        for text, cases in found.items()
    ]


def legend(rows: list[Measurement]) -> list[str]:
    """Return what the columns of the table hold, in lines."""
    sizes = filter(None, dict.fromkeys(sizes_of(row.case) for row in rows))
    lines = [f"sizes: {found}" for found in sizes]
    if peers_of(rows) and any(OURS in row.timings for row in rows):
        lines.append("under a peer: our time / its time")
    return lines


def conditions(told: dict[str, Any]) -> list[str]:
    """Return under what conditions the times were taken, in lines."""
    settings, machine = told["settings"], told["machine"]
    threads = settings["threads"]
    loads = [value for value in told["load"] if value is not None]
    lines = [
        f"{told['clock']} time, {threads} thread{'s' * (threads > 1)},"
        f" {settings['device']}, memory {settings['memory']};"
        " median, spread half the quartiles' distance",
        f"{machine['processor']}, {machine['cores']} cores,"
        f" {machine['system']}, {', '.join(machine['blas'])}",
        ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
        + f", Python {machine['python']}",
    ]
    if loads:
        lines.append(
            f"load {loads[0]} before, {loads[-1]} after, {max(loads)} at most"
        )
    return lines


def markdown(told: dict[str, Any], rows: list[Measurement], figure: str) -> str:
    """Return all that was found as Markdown."""
    lines = [f"# {told['title']}", "", told["date"] + "  "]
    lines += [f"{line}  " for line in conditions(told)]
    lines += ["", table("; ".join(legend(rows)), rows).markdown()]
    lines += [f"- {goal_line(goal)}" for goal in told["goals"]]
    lines += [f"- {note}" for note in notes(rows)]
    lines += ["", f"![{told['title']}]({figure})"] if figure else []
    return "\n".join(lines) + "\n"


def goal_line(goal: dict[str, Any]) -> str:
    """Return a goal in one line."""
    value = "not measured" if goal["holds"] is None else f"{goal['value']:.3g}"
    verdict = {True: "reached", False: "missed", None: "open"}[goal["holds"]]
    return (
        f"{verdict}: {goal['text']}: {value}"
        f" ({goal['sense']} {goal['limit']:g})"
    )


def _ms(row: Measurement, name: str) -> str:
    timing = row.best(name)
    if timing is None:
        return "-"
    ms = 1e3 * timing.median
    return f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"


def _spread(row: Measurement) -> str:
    timing = row.best(OURS)
    if timing is None:
        return "-"
    return f"±{50 * (timing.high - timing.low) / timing.median:.0f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _value(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"
