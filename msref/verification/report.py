"""The report of a verification: for people, and as data for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from msref.verification.judge import (
    AUTOGRAD,
    COMPLEX_STEP,
    DIFFERENCES,
    ITSELF,
    SCAN,
    Finding,
)
from msref.verification.place import Placement
from msref.verification.tolerance import (
    FAIL,
    NAN,
    PASS,
    UNDECIDED,
    ZERO,
    worst,
)

STYLE = {
    "PASS": "green",
    "FAIL": "bold red",
    "NAN": "bold red",
    "UNDECIDED": "yellow",
    "ZERO": "yellow",
}


@dataclass(frozen=True)
class Row:
    """One array over all cases.

    Attributes
        array: its name.
        verdict: FAIL or NAN where one witness says so in one case. A witness
            that cannot tell yields to those that can, and PASS takes more
            cases that were decided than were not.
        undecided: cases in which no witness can tell.
        errors: witness -> largest relative error over the cases.
        finding: the gravest finding, with place and values.
    """

    array: str
    verdict: str
    undecided: int
    errors: dict[str, float]
    finding: Finding

    @property
    def relative_error(self) -> float:
        """Return the largest relative error over cases and exact witnesses.

        Differences are left out: their own error is larger than ours.
        """
        exact = [e for w, e in self.errors.items() if w != DIFFERENCES]
        return max(exact, default=0.0)


def rows(findings: Iterable[Finding]) -> list[Row]:
    """Sum up findings, a row per array."""
    by_array: dict[str, list[Finding]] = {}
    for finding in findings:
        by_array.setdefault(finding.array, []).append(finding)
    table = []
    for array, group in by_array.items():
        errors: dict[str, float] = {}
        for f in group:
            error = f.comparison.error
            errors[f.witness] = max(
                errors.get(f.witness, 0.0),
                math.inf if math.isnan(error) else error,
            )
        by_case = _by_case(group)
        table.append(
            Row(
                array,
                _over_cases(by_case),
                by_case.count(UNDECIDED),
                errors,
                max(group, key=lambda f: f.rank),
            )
        )
    return table


def _by_case(findings: list[Finding]) -> list[str]:
    """Return a verdict for each case, from all witnesses of one array."""
    verdicts = []
    for seed in sorted({f.seed for f in findings}):
        by_witness: dict[str, list[str]] = {}
        for f in findings:
            if f.seed == seed:
                by_witness.setdefault(f.witness, []).append(
                    f.comparison.verdict
                )
        said = [worst(group) for group in by_witness.values()]
        wrong = [v for v in said if v in (FAIL, NAN)]
        told = [v for v in said if v != UNDECIDED]
        verdicts.append(worst(wrong or told))
    return verdicts


def _over_cases(verdicts: list[str]) -> str:
    """Return one verdict from those of the cases."""
    wrong = [v for v in verdicts if v in (FAIL, NAN)]
    told = [v for v in verdicts if v != UNDECIDED]
    enough = 2 * len(told) > len(verdicts)
    return worst(wrong or told) if wrong or enough else UNDECIDED


@dataclass(frozen=True)
class Report:
    """What a verification found.

    Attributes
        name: the architecture, as its constructor call.
        dtype: the precision under test.
        n_cases: cases tried.
        rows: one per array.
        kinks: traced quantity -> entries that changed sign within the step of
            the differences; those steps were shrunk until none did.
        notes: what could not be checked, in words.
        placement: where the worst case goes wrong, on FAIL.
        seconds: how long it took.
        command: the seeds of the cases, to run them again.
    """

    name: str
    dtype: str
    n_cases: int
    rows: list[Row]
    kinks: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    placement: Placement | None = None
    seconds: float = 0.0
    command: str = ""

    @property
    def verdict(self) -> str:
        """Return the gravest verdict of all rows."""
        return worst([row.verdict for row in self.rows])

    @property
    def ok(self) -> bool:
        """Tell whether every array passed."""
        return self.verdict in (PASS, ZERO)

    @property
    def relative_error(self) -> float:
        """Return the largest relative error of any array."""
        errors = (row.relative_error for row in self.rows)
        return max(errors, default=math.nan)

    def error_against(self, witness: str) -> float:
        """Return the largest relative error against one witness."""
        return max(
            (row.errors.get(witness, math.nan) for row in self.rows),
            key=lambda e: -1.0 if math.isnan(e) else e,
            default=math.nan,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "verdict": self.verdict,
            "ok": self.ok,
            "relative_error": _finite(self.relative_error),
            "cases": self.n_cases,
            "seconds": round(self.seconds, 3),
            "command": self.command,
            "kinks": self.kinks,
            "notes": self.notes,
            "placement": _jsonable(asdict(self.placement))
            if self.placement
            else None,
            "rows": [
                {
                    "array": row.array,
                    "verdict": row.verdict,
                    "undecided_cases": row.undecided,
                    "relative_error": {
                        k: _finite(v) for k, v in row.errors.items()
                    },
                    "worst": {
                        "witness": row.finding.witness,
                        "seed": row.finding.seed,
                        "direction": row.finding.what,
                        "place": list(row.finding.comparison.place),
                        "expected": _finite(row.finding.comparison.expected),
                        "got": _finite(row.finding.comparison.got),
                        "scale": _finite(row.finding.comparison.scale),
                        "share_of_tolerance": _finite(
                            row.finding.comparison.excess
                        ),
                    },
                }
                for row in self.rows
            ],
        }

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        yield self.render()

    def render(self) -> Group:
        """Return the report for a terminal."""
        head = Text.assemble(
            (f"{self.verdict} ", STYLE[self.verdict]),
            (self.name, "bold"),
            f"  {self.dtype}, {self.n_cases} cases, {self.seconds:.1f} s",
        )
        parts: list[Any] = [head, self._table(), *self._wrong()]
        if self.kinks:
            told = ", ".join(f"{n} of {k}" for k, n in self.kinks.items())
            parts.append(
                Text(
                    f"kinks: sign changes within the differences' step: {told};"
                    " smaller steps were taken until none was left"
                )
            )
        parts += [Text(f"note: {note}", "yellow") for note in self.notes]
        untold = [row for row in self.rows if row.verdict != UNDECIDED]
        untold = [row for row in untold if row.undecided]
        if untold:
            told = ", ".join(f"{r.array} in {r.undecided}" for r in untold)
            parts.append(
                Text(f"too imprecise to tell: {told} of {self.n_cases} cases")
            )
        if self.placement:
            parts.append(self._placed(self.placement))
        return Group(*parts)

    def _table(self) -> Table:
        arrays = [row for row in self.rows if ITSELF not in row.errors]
        itself = [row for row in self.rows if ITSELF in row.errors]
        witnesses = [
            w
            for w in (SCAN, AUTOGRAD, COMPLEX_STEP, DIFFERENCES)
            if any(w in row.errors for row in arrays)
        ]
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("array", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for witness in witnesses:
            table.add_column(witness, justify="right", no_wrap=True)
        for row in arrays + itself:
            cells: list[Text | str] = [
                row.array,
                Text(row.verdict, STYLE[row.verdict]),
            ]
            cells += [
                f"{row.errors[w]:.1e}" if w in row.errors else ""
                for w in witnesses
            ]
            table.add_row(*cells)
        return table

    def _wrong(self, most: int = 8) -> list[Text]:
        """Say for the arrays that did not pass what came and where."""
        wrong = [row for row in self.rows if row.verdict not in (PASS, ZERO)]
        lines = []
        for row in wrong[:most]:
            finding, found = row.finding, row.finding.comparison
            place = finding.what or (str(found.place) if found.place else "")
            lines.append(
                Text(
                    f"{row.array} {place}: expected {found.expected:.8g}, got"
                    f" {found.got:.8g} ({finding.witness}, case"
                    f" {finding.seed})"
                )
            )
        if len(wrong) > most:
            lines.append(Text(f"and {len(wrong) - most} arrays more"))
        return lines

    def _placed(self, placement: Placement) -> Group:
        parts: list[Any] = [Text("where it goes wrong", "bold")]
        parts += [Text(f"  {line}") for line in placement.lines]
        if any(lag.wrong for lag in placement.lags):
            lags = Table(box=None, pad_edge=False, header_style="dim")
            for name in ("lag", "expected", "got", ""):
                lags.add_column(name, justify="right")
            for lag in placement.lags:
                lags.add_row(
                    str(lag.lag),
                    f"{lag.expected:.3e}",
                    f"{lag.got:.3e}",
                    Text(FAIL if lag.wrong else "", STYLE[FAIL]),
                )
            parts += [Text("gradient of the last output, by lag", "bold"), lags]
        return Group(*parts)

    def __str__(self) -> str:
        console = Console(width=100, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return captured.get().rstrip()


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_jsonable(v) for v in value]
    return _finite(value) if isinstance(value, float) else value
