"""Results of long runs on the page: what ``msref reproduce`` has written.

Every table, claim and figure stands above a line that says when it was
measured, by which version, by which command, whether the code of its jobs is
still the same, and whether today's code decides the claims as it did.
"""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from msref import files
from msref.claims import PAPERS, Setting, Table

NO_DATA = "embedded"


@dataclass(frozen=True)
class Run:
    """A run of a paper's claims that is committed.

    Attributes
        folder: where ``result.json`` and the figures are.
        told: what ``result.json`` holds.
    """

    folder: Path
    told: dict[str, Any]

    @property
    def command(self) -> str:
        """The command that makes it again."""
        told, paper = self.told, self.told["paper"]
        words = ["msref", "reproduce", paper, "--scale", told["scale"]]
        if not told["data"].startswith(NO_DATA):
            words += ["--data", told["data"]]
        if len(told["seeds"]) != PAPERS[paper].seeds[told["scale"]]:
            words += ["--seeds", str(len(told["seeds"]))]
        return shlex.join(words)

    @property
    def setting(self) -> Setting:
        """What the run was asked to do; of its data, the name."""
        told = self.told
        named = None if told["data"].startswith(NO_DATA) else Path(told["data"])
        return Setting(told["scale"], tuple(told["seeds"]), named)

    def changed(self) -> list[str] | None:
        """Name the jobs whose function or settings are not those of today.

        Returns
            ``None`` where it cannot be told: the data are not here.
        """
        told = self.told
        try:
            jobs = PAPERS[told["paper"]].jobs(self.setting)
        except OSError:
            return None
        now = {job.key: job.fingerprint for job in jobs}
        return [
            key
            for key, job in told["jobs"].items()
            if now.get(key) != job["fingerprint"]
        ]

    @cached_property
    def judged(self) -> list[str] | None:
        """The claims that today's code decides or words otherwise.

        By letter, from the numbers of the run; *tables* if one of those is
        another. ``None`` where today's code cannot read these numbers.
        """
        judge = PAPERS[self.told["paper"]].judge
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                claims, tables = judge(self.setting, self._results)
        except Exception:  # jobs that have changed may tell other things
            return None
        now = {claim.key: _plain(claim) for claim in claims}
        then = {claim["key"]: claim for claim in self.told["claims"]}
        others = [k for k in now | then if now.get(k) != then.get(k)]
        is_other = [_plain(table) for table in tables] != self.told["tables"]
        return others + ["tables"] * is_other

    @property
    def _results(self) -> dict[str, Any]:
        return {key: job["result"] for key, job in self.told["jobs"].items()}

    def redrawn(self, folder: Path) -> dict[str, Path]:
        """Draw the figures again by today's code, from the run's numbers.

        Arguments
            folder: to write to.

        Returns
            Name without ``.png`` -> path.
        """
        drawn = PAPERS[self.told["paper"]].draw(self._results, folder)
        return {path.stem: path for path in drawn}

    @property
    def is_current(self) -> bool:
        """Tell whether jobs and claims are known to be those of today."""
        return self.changed() == [] and self.judged == []

    @property
    def freshness(self) -> str:
        """Say whether the code of jobs and claims is the code of today."""
        changed, every = self.changed(), len(self.told["jobs"])
        if changed is None:
            data = self.told["data"]
            said = f"jobs not compared with today's code: {data} is not here"
        elif not changed:
            said = f"the code of all {every} jobs is that of today"
        else:
            said = (
                f"the code of {len(changed)} of {every} jobs has changed"
                " since; their numbers are older than the code on these pages"
            )
        if self.judged is None:
            said += "; today's code cannot decide the claims from them"
        elif self.judged:
            others = ", ".join(self.judged)
            said += f"; today's code decides or words otherwise: {others}"
        return said

    @property
    def provenance(self) -> str:
        """Say when, by what and how it was measured, as Markdown."""
        told = self.told
        day = told["date"].partition("T")[0]
        seeds = len(told["seeds"])
        return (
            f"Measured {day} by msref {told['versions']['msref']}, NumPy"
            f" {told['versions']['numpy']}, on {told['machine']}, {seeds}"
            f" seed{'s' if seeds > 1 else ''}: `{self.command}`;"
            f" {self.freshness}."
        )

    def figure(self, name: str) -> Path:
        """Return the path of a figure, ``reach-rnn`` for ``reach-rnn.png``.

        Raises
            ValueError: there is none of that name.
        """
        path = self.folder / f"{name}.png"
        if path.name not in self.told["figures"] or not path.is_file():
            have = ", ".join(Path(f).stem for f in self.told["figures"])
            raise ValueError(
                f"{self.folder.name} has no figure {name!r}, expected one of"
                f" {have}"
            )
        return path

    def claims(self, keys: Iterable[str]) -> str:
        """Return claims by letter, as Markdown.

        Raises
            ValueError: there is no claim of that letter.
        """
        by_key = {claim["key"]: claim for claim in self.told["claims"]}
        return "\n\n".join(_claim(_chosen(by_key, key)) for key in keys)

    def table(self, number: int) -> str:
        """Return a table by number, from 0, as Markdown.

        Raises
            ValueError: there are fewer tables.
        """
        tables = self.told["tables"]
        if not 0 <= number < len(tables):
            raise ValueError(
                f"table is {number}, expected 0..{len(tables) - 1}"
            )
        told = tables[number]
        rows = tuple(tuple(map(_cell, row)) for row in told["rows"])
        columns = tuple(map(_cell, told["columns"]))
        return Table(told["title"], columns, rows).markdown()


def read_run(results: Path, name: str) -> Run:
    """Read the run in ``results/name``.

    Raises
        ValueError: there is no such run.
    """
    path = results / name / "result.json"
    if not path.is_file():
        have = sorted(p.parent.name for p in results.glob("*/result.json"))
        raise ValueError(
            f"there is no run {name!r} in {results}, expected one of"
            f" {', '.join(have)}"
        )
    return _run(path, path.stat().st_mtime_ns)


@cache
def _run(path: Path, written: int) -> Run:
    """Read a run once: many blocks show it, and its claims take time."""
    return Run(path.parent, files.read_json(path))


def _chosen(by_key: dict[str, Any], key: str) -> Any:
    if key not in by_key:
        raise ValueError(
            f"there is no claim {key!r}, expected one of {', '.join(by_key)}"
        )
    return by_key[key]


def _plain(value: Any) -> Any:
    """Return a claim or a table as ``result.json`` holds it."""
    return json.loads(json.dumps(asdict(value)))


def _claim(claim: dict[str, Any]) -> str:
    return (
        f"**{claim['text']}** *({claim['source']})*\n\n"
        f"- published: {claim['published']}\n"
        f"- measured: {claim['measured']}\n"
        f"- verdict: **{claim['verdict']}**, {claim['reason']}"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or " "
