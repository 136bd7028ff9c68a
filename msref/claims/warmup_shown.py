"""What the claims on warming up look like: tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array
from msref.claims.base import Result, Table
from msref.claims.figures import COLOURS, figure
from msref.claims.verdicts import mean
from msref.claims.warmed import CONSTANT, KINDS, STARTS, M

Row = tuple[str, bool, int, int]
"""Kind, whether the layers are double, n_hid, n_time."""

SHORT_M, LONG_M = M, 2000
"""After how many steps of constant input VAA is looked at."""

FLOOR = 1.0 / 32
"""VAA of 32 states that all agree."""

MEASURED: dict[Row, tuple[float, float, float, float]] = {
    ("gru", False, 64, 50): (0.031, 0.031, 1.000, 1.000),
    ("mgu", False, 64, 20): (0.031, 0.031, 1.000, 1.000),
    ("mgu", True, 64, 20): (0.031, 0.031, 1.000, 1.000),
    ("brc", False, 64, 20): (0.632, 0.547, 0.733, 0.437),
    ("gru", False, 32, 20): (0.031, 0.031, 1.000, 0.979),
    ("gru", True, 32, 20): (0.031, 0.031, 1.000, 0.191),
    ("lstm", False, 32, 20): (0.031, 0.031, 1.000, 1.000),
    ("lstm", True, 32, 20): (0.031, 0.031, 1.000, 0.042),
    ("chrono", False, 32, 20): (0.717, 0.133, 1.000, 1.000),
    ("chrono", True, 32, 20): (0.518, 0.302, 1.000, 1.000),
    ("mgu", False, 32, 20): (0.031, 0.031, 1.000, 0.990),
    ("mgu", True, 32, 20): (0.031, 0.031, 1.000, 0.035),
    ("brc", False, 32, 20): (0.503, 0.365, 0.651, 0.188),
    ("brc", True, 32, 20): (0.436, 0.354, 0.917, 0.198),
    ("nbrc", False, 32, 20): (0.732, 0.229, 1.000, 0.490),
    ("nbrc", True, 32, 20): (0.365, 0.219, 1.000, 0.323),
}
"""VAA that the authors' code came to in one or two runs of ours, means of
three estimates: before at M = 200 and 2000, after at 200 and 2000."""

STYLES = {"plain": ":", "warm": "-", "double": "--"}


# --- results, taken apart ---------------------------------------------------


def measured_by_them(row: Row) -> tuple[float, float, float, float] | None:
    """Return what the authors' code came to; its LSTM has no forget offset."""
    kind = row[0].removesuffix(" zero")
    return MEASURED.get((kind, *row[1:]))


def layers(double: bool) -> str:
    """Name the layers."""
    return "double" if double else "single"


def of_row(row: Row) -> str:
    """Say what a row is of."""
    kind, double, n_hid, n_time = row
    return f"{KINDS[kind]} {layers(double)} {n_hid}, T = {n_time}"


def states_of(results: dict[str, Result]) -> dict[Row, list[Result]]:
    """Return the runs that looked at VAA alone, by row."""
    found: dict[Row, list[Result]] = {}
    for key, result in results.items():
        if key.startswith("reachable-"):
            row = result["row"]
            found.setdefault((row[0], row[1], row[2], row[3]), []).append(
                result
            )
    return found


def vaa_of(some: list[Result], when: str) -> Array:
    """Return VAA (n_runs, n_m), "before" or "after".

    A warm-up that left the finite numbers made no states: 0.
    """
    return np.array([run[when] or [0.0, 0.0] for run in some])


def runs(
    results: dict[str, Result], task: str, kind: str = "", start: str = ""
) -> list[Result]:
    """Return the runs of a task, of one kind or start or of all."""
    found = []
    for key, result in results.items():
        name, _, rest = key.partition("-")
        if name in ("copy", "short", "denoising"):
            n_time, _, rest = rest.partition("-")
            name = f"{name}-{n_time}"
        of_kind, _, of_start = rest.rpartition("-")[0].rpartition("-")
        if name == task and kind in ("", of_kind) and start in ("", of_start):
            found.append(result)
    return found


def tasks_of(results: dict[str, Result]) -> list[str]:
    """Return the tasks of recall, short ones first, denoising last."""
    found = {
        tuple(key.split("-")[:2])
        for key in results
        if key.startswith(("copy-", "denoising-"))
    }
    ordered = sorted(found, key=lambda task: (task[0], int(task[1])))
    return ["-".join(task) for task in ordered]


def short_task(results: dict[str, Result]) -> str:
    """Return the task in which little has to be remembered."""
    key = next(key for key in results if key.startswith("short-"))
    return "-".join(key.split("-")[:2])


def memorable(results: dict[str, Result]) -> str:
    """Return the task whose runs are looked at together.

    100 steps, or the first there is: long for a cell that starts plain, and
    short enough for many seeds.
    """
    every = tasks_of(results)
    return "copy-100" if "copy-100" in every else every[0]


def task_name(task: str) -> str:
    """Say which task it is."""
    name, n_time = task.split("-")
    said = {"denoising": "denoising"}.get(name, "copy first input")
    return f"{said}, T = {n_time}"


def kinds_of(results: dict[str, Result], task: str) -> list[str]:
    """Return the kinds of cells that learned a task."""
    return [kind for kind in KINDS if runs(results, task, kind)]


def errors(
    results: dict[str, Result], task: str, kind: str, start: str
) -> Array:
    """Return decimal logarithms of the test errors, one per run."""
    found = [run["test_error"] for run in runs(results, task, kind, start)]
    return np.log10(np.maximum(found, 1e-12))


def written(logarithms: Array) -> str:
    """Write a geometric mean, and by what factor one run may differ."""
    told = f"{10 ** logarithms.mean():.2g}"
    if len(logarithms) == 1:
        return told
    return f"{told} (x {10 ** logarithms.std(ddof=1):.1f})"


def looked_at(run: Result) -> Array:
    """Return VAA and error (n_looks, 2) of the looks at a run."""
    looks = [(look["vaa"], look["error"]) for look in run["looks"]]
    return np.array(looks).reshape(-1, 2)


def learned_at(run: Result) -> int:
    """Return the first look at which the error is halved; 0 for never."""
    halved = looked_at(run)[:, 1] < 0.5 * CONSTANT
    return int(halved.argmax()) if halved.any() else 0


# --- tables -----------------------------------------------------------------


def tables_of(results: dict[str, Result]) -> list[Table]:
    """Return all tables."""
    return [
        _state_table(results),
        _recall_table(results),
        _together_table(results),
        _maze_table(results),
        _speed_table(results),
    ]


def _state_table(results: dict[str, Result]) -> Table:
    rows = []
    for row, some in states_of(results).items():
        theirs = measured_by_them(row)
        found = [vaa_of(some, when) for when in ("before", "after")]
        lost = [run["warmup"]["loss"] for run in some if run["warmup"]]
        rows.append(
            (
                *(KINDS[row[0]], layers(row[1]), str(row[2]), str(row[3])),
                str(len(some)),
                *(mean(vaa[:, k], 3) for vaa in found for k in (0, 1)),
                *(f"{v:.3f}" for v in theirs or ()),
                *("-",) * (0 if theirs else 4),
                f"{np.mean(lost):.3f}" if lost else "-",
            )
        )
    columns = [
        f"{whose}, {when}, M = {m}"
        for whose in ("ours", "their code")
        for when in ("before", "after")
        for m in (SHORT_M, LONG_M)
    ]
    return Table(
        "Reachable multistability: VAA before and after 100 steps of warm-up,"
        f" three estimates of 32 states each, floor {FLOOR:.3f}, mean ±"
        " standard deviation over seeds. Their code starts an LSTM from"
        " PyTorch's weights, with a forget bias of 0. Loss: the mean of the"
        " last ten steps",
        ("cell", "layers", "units", "T", "seeds", *columns, "loss"),
        tuple(rows),
    )


def _recall_table(results: dict[str, Result]) -> Table:
    rows = []
    for task in [*tasks_of(results), short_task(results)]:
        for kind in kinds_of(results, task):
            some = runs(results, task, kind)
            diverged = sum(run["diverged"] is not None for run in some)
            rows.append(
                (
                    task_name(task),
                    KINDS[kind],
                    str(len(runs(results, task, kind, "plain"))),
                    f"{some[0]['n_steps']:,}",
                    *(
                        written(errors(results, task, kind, start))
                        for start in STARTS
                    ),
                    str(diverged),
                )
            )
    return Table(
        "Recall: test error, 1 for the constant answer; geometric mean, and"
        " in brackets the factor of a standard deviation over seeds",
        (
            *("task", "cell", "seeds", "updates"),
            *STARTS.values(),
            "runs that diverged",
        ),
        tuple(rows),
    )


def _together_table(results: dict[str, Result]) -> Table:
    rows = []
    for task in tasks_of(results):
        for kind in kinds_of(results, task):
            for start in STARTS:
                some = runs(results, task, kind, start)
                looks = [looked_at(run) for run in some if run["looks"]]
                if not looks:
                    continue
                halved = [k for k in map(learned_at, some) if k]
                step = some[0]["every"]
                epochs = [
                    run["looks"][k]["epoch"]
                    for run in some
                    if (k := learned_at(run))
                ]
                rows.append(
                    (
                        task_name(task),
                        KINDS[kind],
                        STARTS[start],
                        mean(np.array([v[0, 0] for v in looks]), 2),
                        mean(np.array([v[-1, 0] for v in looks]), 2),
                        f"{len(halved)} of {len(some)}",
                        f"{step * np.mean(epochs):,.0f}" if epochs else "-",
                    )
                )
    return Table(
        f"Multistability beside learning: VAA at M = {SHORT_M} before the"
        " first update and after the last, and the updates after which a look"
        " found the error halved",
        (
            *("task", "cell", "start"),
            *("VAA before", "VAA after"),
            *("halved", "updates until then, mean"),
        ),
        tuple(rows),
    )


def _maze_table(results: dict[str, Result]) -> Table:
    rows = []
    for start in STARTS:
        some = runs(results, "maze", start=start)
        optimal = [run["optimal_after"] for run in some]
        vaa = np.array([run["vaa"] for run in some if run["vaa"]])
        rows.append(
            (
                STARTS[start],
                f"{sum(n is not None for n in optimal)} of {len(some)}",
                ", ".join("-" if n is None else f"{n:,}" for n in optimal),
                mean(np.array([run["mean_return"] for run in some]), 2),
                *(mean(vaa[:, k], 2) if len(vaa) else "-" for k in (0, 1)),
            )
        )
    return Table(
        "T-maze: a GRU of two layers. VAA of 200 histories, floor 0.005",
        (
            "start",
            "optimal",
            "after episodes",
            "mean return while it learns",
            "VAA before",
            "VAA after",
        ),
        tuple(rows),
    )


def _speed_table(results: dict[str, Result]) -> Table:
    found = results["speed"]
    return Table(
        "What a warm-up of two layers of GRU takes: 32 sequences at a time,"
        " float32, one thread, nothing beside it",
        ("units", "T", "steps", "clock, s", "processor, s"),
        (
            (
                *(str(found[k]) for k in ("n_hid", "n_time", "n_warmup")),
                *(f"{found[k]:.1f}" for k in ("wall_s", "cpu_s")),
            ),
        ),
    )


# --- figures ----------------------------------------------------------------


def draw(results: dict[str, Result], folder: Path) -> list[Path]:
    """Draw the figures into ``folder``."""
    paths = []

    def path(name: str) -> Path:
        paths.append(folder / f"{name}.png")
        return paths[-1]

    for k, m in enumerate((SHORT_M, LONG_M)):
        _draw_states(results, k, path(f"vaa-{m}"))
    for task in [*tasks_of(results), short_task(results)]:
        _draw_learning(results, task, path(f"learning-{task}"))
    _draw_cloud(results, path("together"))
    task = memorable(results)
    for kind in kinds_of(results, task):
        _draw_beside(results, task, kind, path(f"beside-{kind}"))
    for when in ("before", "after"):
        _draw_ways(results["ways"], when, path(f"attractors-{when}"))
    _draw_returns(results, path("returns"))
    return paths


def _draw_states(results: dict[str, Result], k: int, path: Path) -> None:
    """Draw bars of VAA, before and after, with a dot for their code."""
    states = states_of(results)
    with figure(path, height=1.2 + 0.45 * len(states)) as axes:
        for at, (row, some) in enumerate(states.items()):
            for shift, when, colour in (
                (-0.2, "before", COLOURS[6]),
                (0.2, "after", COLOURS[0]),
            ):
                values = vaa_of(some, when)[:, k]
                label = when if at == 0 else ""
                axes.barh(
                    at + shift, values.mean(), 0.38, color=colour,
                    alpha=0.5, label=label,
                )  # fmt: skip
                axes.plot(values, [at + shift] * len(values), "k.")
                theirs = measured_by_them(row)
                if theirs is not None:
                    axes.plot(
                        theirs[k + 2 * (when == "after")], at + shift, "D",
                        color=COLOURS[1],
                        label="authors' code" if label == "after" else "",
                    )  # fmt: skip
        axes.axvline(FLOOR, color="black", linestyle=":", linewidth=1)
        axes.set_yticks(range(len(states)), [of_row(row) for row in states])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.03)
        m = (SHORT_M, LONG_M)[k]
        axes.set_xlabel(f"VAA at M = {m}; every seed a dot, dotted: floor")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_learning(results: dict[str, Result], task: str, path: Path) -> None:
    """Draw validation errors: a colour for each cell, a line each start."""
    with figure(path, height=5.0) as axes:
        for colour, kind in zip(COLOURS, KINDS, strict=False):
            for start, style in STYLES.items():
                label = f"{KINDS[kind]}, {start}"
                for run in runs(results, task, kind, start):
                    if run["curve"]:
                        n = np.arange(1, len(run["curve"]) + 1)
                        axes.semilogy(
                            run["every"] * n, run["curve"], style,
                            color=colour, label=label, linewidth=1,
                        )  # fmt: skip
                        label = ""
        axes.axhline(CONSTANT, color="black", linewidth=0.5)
        axes.set_xlabel("updates")
        axes.set_ylabel("squared error, validation")
        axes.set_title(task_name(task))
        _legend(axes)


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_cloud(results: dict[str, Result], path: Path) -> None:
    """Draw error over VAA at every look."""
    task = memorable(results)
    with figure(path) as axes:
        for start, marker in (("plain", "o"), ("warm", "^"), ("double", "s")):
            for colour, kind in zip(COLOURS, KINDS, strict=False):
                looks = [
                    looked_at(run) for run in runs(results, task, kind, start)
                ]
                if sum(map(len, looks)) == 0:
                    continue
                seen = np.concatenate(looks)
                axes.semilogy(
                    seen[:, 0], seen[:, 1], marker, color=colour, alpha=0.5,
                    markersize=4, label=f"{KINDS[kind]}, {start}",
                )  # fmt: skip
        axes.set_xlabel(f"VAA at M = {SHORT_M}")
        axes.set_ylabel("squared error, validation")
        axes.set_title(f"{task_name(task)}: every look at every run")
        _legend(axes)


def _draw_beside(
    results: dict[str, Result], task: str, kind: str, path: Path
) -> None:
    """Draw error and VAA of one cell over the updates."""
    with figure(path) as axes:
        for colour, start in zip(COLOURS, STARTS, strict=False):
            label = start
            for run in runs(results, task, kind, start):
                seen = looked_at(run)
                n = [run["every"] * look["epoch"] for look in run["looks"]]
                axes.plot(n, seen[:, 1], color=colour, label=label)
                axes.plot(n, seen[:, 0], "--", color=colour, linewidth=1)
                label = ""
        axes.set_xlabel("updates")
        axes.set_ylabel(f"error (solid), VAA at M = {SHORT_M} (dashed)")
        axes.set_title(f"{KINDS[kind]}, {task_name(task)}")
        _legend(axes)


def _draw_ways(told: Result, when: str, path: Path) -> None:
    """Draw prefixes on their way; a colour says what came first in each."""
    found = told[when]
    way, ends = np.array(found["ways"]), np.array(found["ends"])
    first = np.array(found["first"])
    share = sum(found["explained"])
    with figure(path, height=6.0) as axes:
        axes.plot(*way.transpose(2, 0, 1), color=COLOURS[6], linewidth=0.5)
        axes.plot(*way[0].T, "o", color=COLOURS[6], markersize=3)
        dots = axes.scatter(
            *ends.T, c=first, cmap="coolwarm", vmin=-2.5, vmax=2.5,
            edgecolors="black", s=50, zorder=3,
        )  # fmt: skip
        axes.figure.colorbar(dots, ax=axes, label="first input")
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")
        n_groups = max(found["labels"]) + 1
        axes.set_title(
            f"{KINDS[told['kind']]}, {when} the warm-up: {len(ends)} prefixes"
            f" end in {n_groups} states after {told['n_steps']:,} steps\n"
            f"(the plane holds {100 * share:.0f} % of the variance)",
            fontsize=9,
        )


def _draw_returns(results: dict[str, Result], path: Path) -> None:
    with figure(path) as axes:
        for colour, start in zip(COLOURS, STARTS, strict=False):
            curves = [
                run["curve"] for run in runs(results, "maze", start=start)
            ]
            label = STARTS[start]
            for curve in filter(None, curves):
                n = [record["episode"] for record in curve]
                axes.plot(
                    n, [record["return"] for record in curve], color=colour,
                    linewidth=1, alpha=0.7, label=label,
                )  # fmt: skip
                label = ""
        axes.axhline(4.0, color="black", linestyle=":", linewidth=1)
        axes.set_xlabel("episodes")
        axes.set_ylabel("return, greedy, mean of both goals")
        axes.set_title("T-maze; dotted: the best there is")
        _legend(axes)
