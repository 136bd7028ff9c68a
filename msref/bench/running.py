"""Run a suite, keep every row, write what was found.

FOLDER/result.json   conditions, machine, every row, goals; after every row
FOLDER/table.md      the same to be read
FOLDER/ratios.png    our times over those of the peers
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from msref import files
from msref.bench.conditions import Conditions, current, held, load, machine
from msref.bench.figure import draw_ratios, peers_of
from msref.bench.suite import OURS, SCALES, Goal, Measurement, Suite, fits
from msref.bench.table import markdown

SECONDS = {"quick": 3.0, "full": 10.0}
"""Scale -> seconds for each case, if there is time for enough rounds."""


def run(
    suite: Suite,
    *,
    scale: str = "quick",
    only: str = "",
    seconds: float | None = None,
    conditions: Conditions | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure the cases of a suite.

    Arguments
        scale: ``"quick"`` or ``"full"``.
        only: words that a case must have; see ``fits``.
        seconds: for each case; ``None`` for those of the scale.
        conditions: threads and device; ``None`` for one thread on the CPU.
        folder: for the results. A run that was interrupted goes on there, if
            code, versions and arguments are the same; one that has ended
            is measured again.
        progress: called with (cases done, cases in all).

    Returns
        What ``result.json`` holds.

    Raises
        ValueError: another scale, no such case, or no time for it.
        OSError: the folder cannot be written to.
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}, expected quick or full")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds is {seconds}, expected above 0")
    cases = [case for case in suite.cases(scale) if fits(case, only)]
    if not cases:
        raise ValueError(f"suite {suite.key} has no case with {only!r}")
    conditions = conditions or Conditions()
    seconds = SECONDS[scale] if seconds is None else seconds
    told: dict[str, Any] = {
        "suite": suite.key,
        "title": suite.title,
        "settings": {"scale": scale, "only": only, "seconds": seconds}
        | asdict(conditions),
        "source": _digest(),
        "date": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    }
    with held(conditions):
        told |= {"clock": current().time, "machine": machine()}
        told |= {"load": [load()], "finished": False, "rows": []}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            told |= _taken_over(told, folder / "result.json")
        for case in cases:
            if not any(row["case"] == case for row in told["rows"]):
                told["rows"].append(suite.measure(case, seconds).to_dict())
                told["load"].append(load())
            told["finished"] = len(told["rows"]) == len(cases)
            told["goals"] = [asdict(g) for g in _goals(suite, told)]
            if folder is not None:
                files.write_json(folder / "result.json", told)
            if progress is not None:
                progress(len(told["rows"]), len(cases))
    if folder is not None:
        _write(suite, told, folder)
    plain: dict[str, Any] = json.loads(json.dumps(told, allow_nan=False))
    return plain


def rows_of(told: dict[str, Any]) -> list[Measurement]:
    """Return the rows of a result."""
    return [Measurement.from_dict(row) for row in told["rows"]]


def _goals(suite: Suite, told: dict[str, Any]) -> list[Goal]:
    """Return the goals; they are for one thread on a CPU."""
    return suite.goals(rows_of(told)) if told["clock"] == "CPU" else []


def _write(suite: Suite, told: dict[str, Any], folder: Path) -> None:
    rows = rows_of(told)
    name = ""
    if suite.draw is not None:
        name = f"{suite.key}.png"
        suite.draw(rows, folder / name)
    elif peers_of(rows) and any(OURS in row.timings for row in rows):
        name = "ratios.png"
        draw_ratios(rows, folder / name)
    files.write_text(folder / "table.md", markdown(told, rows, name))


def _taken_over(told: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what an interrupted run of the same has found before."""
    if not path.is_file():
        return {}
    before = files.read_json(path)
    same = ("suite", "settings", "source", "machine")
    if before.get("finished") or any(before.get(k) != told[k] for k in same):
        return {}
    return {key: before[key] for key in ("date", "load", "rows")}


def _digest() -> str:
    """Return a digest of msref's source: rows of another are not kept."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
