"""Times on the page: what ``msref bench`` has written.

Every table, goal and figure stands above a line that says when it was
measured, by which command, on what machine, under what conditions.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from msref import files

ALL = "all"


@dataclass(frozen=True)
class Benchmark:
    """A suite of ``msref bench`` whose result is committed.

    Attributes
        folder: where ``result.json``, ``table.md`` and the figure are.
        told: what ``result.json`` holds.
    """

    folder: Path
    told: dict[str, Any]

    @property
    def command(self) -> str:
        """The command that makes it again."""
        settings = self.told["settings"]
        words = ["msref", "bench", self.told["suite"]]
        words += ["--scale", settings["scale"]]
        words += ["--seconds", f"{settings['seconds']:g}"]
        for name, usual in (
            *(("only", ""), ("threads", 1)),
            *(("memory", "kept"), ("device", "cpu")),
        ):
            if settings[name] != usual:
                words += [f"--{name}", str(settings[name])]
        return shlex.join(words)

    @cached_property
    def _lines(self) -> list[str]:
        """The lines of ``table.md``, in which bench has put all in words."""
        return (self.folder / "table.md").read_text("utf-8").splitlines()

    @property
    def _told(self) -> list[str]:
        """A line for each goal, then one for each note."""
        return [x for x in self._lines if x.startswith("- ")]

    @property
    def provenance(self) -> str:
        """Say when, how and on what it was measured, as Markdown."""
        told = self.told
        # below the date, lines that end in a break of Markdown
        _, *conditions = [x.strip() for x in self._lines if x.endswith("  ")]
        return (
            f"Measured {told['date'].partition('T')[0]}: `{self.command}`;"
            f" {'; '.join(conditions)}; digest of msref's source then"
            f" `{told['source']}`."
        )

    def table(self, words: str) -> str:
        """Return the cases that have all these words, as Markdown.

        Columns in which none of them has anything are left out. Below them
        stands which peers were not timed everywhere, and why.

        Arguments
            words: ``lstm float32``; ``all`` for every case.

        Raises
            ValueError: no case has them.
        """
        head, rule, *rows = [x for x in self._lines if x.startswith("|")]
        wanted = set() if words == ALL else set(words.lower().split())
        kept = [row for row in rows if wanted <= set(_case(row).split())]
        if not kept:
            raise ValueError(
                f"{self.folder.name} has no case {words!r}, expected words of"
                f" one of {', '.join(map(_case, rows))}"
            )
        title = next(x for x in self._lines if x.startswith("**"))
        notes = self._told[len(self.told["goals"]) :]
        lines = _without_empty(head, rule, kept)
        return "\n".join([title, "", *lines, "", *notes])

    def goals(self, words: str) -> str:
        """Return the goals that have all these words, as Markdown.

        Arguments
            words: ``torch fused``; ``all`` for every goal.

        Raises
            ValueError: no goal has them.
        """
        wanted = [] if words == ALL else words.lower().split()
        kept = [
            line.replace("- ", "- **", 1).replace(":", "**:", 1)
            for goal, line in zip(self.told["goals"], self._told, strict=False)
            if all(word in goal["text"].lower() for word in wanted)
        ]
        if not kept:
            raise ValueError(f"{self.folder.name} has no goal {words!r}")
        return "\n".join(kept)

    def figure(self, name: str) -> Path:
        """Return the path of a figure, ``ratios`` for ``ratios.png``.

        Raises
            ValueError: there is none of that name.
        """
        path = self.folder / f"{name}.png"
        if not path.is_file():
            have = ", ".join(sorted(p.stem for p in self.folder.glob("*.png")))
            raise ValueError(
                f"{self.folder.name} has no figure {name!r}, expected one of"
                f" {have}"
            )
        return path


def read_benchmark(results: Path, name: str) -> Benchmark:
    """Read the result in ``results/name``, ``bench/recurrent-full``.

    Raises
        ValueError: there is none, or it was interrupted.
    """
    path = results / name / "result.json"
    if not path.is_file():
        have = sorted(
            p.parent.relative_to(results).as_posix()
            for p in results.glob("bench*/*/result.json")
        )
        raise ValueError(
            f"there is no benchmark {name!r} in {results}, expected one of"
            f" {', '.join(have)}"
        )
    told = files.read_json(path)
    if not told["finished"]:
        raise ValueError(f"{path} was interrupted, expected one that has ended")
    return Benchmark(path.parent, told)


def _case(row: str) -> str:
    return row.split("|")[1].strip().lower()


def _without_empty(head: str, rule: str, rows: list[str]) -> list[str]:
    """Leave out the columns in which all rows have a dash."""
    lines = [[x.strip() for x in row.split("|")[1:-1]] for row in rows]
    full = [
        k
        for k, column in enumerate(zip(*lines, strict=True))
        if set(column) != {"-"}
    ]
    every = [head, rule, *rows]
    return [
        "|".join(["", *(line.split("|")[1:-1][k] for k in full), ""])
        for line in every
    ]
