"""What the claims on dual memories look like: tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from msref.arrays import Array
from msref.claims.base import Result, Table
from msref.claims.dual import LONG, SOLVED
from msref.claims.figures import COLOURS, figure
from msref.claims.networks import NAMES
from msref.claims.verdicts import mean, percent

FOUR = ("rnn", "lstm", "indrnn", "durnn")
"""The networks of the comparisons; the ablations have them all."""

PUBLISHED = {False: {"indrnn": 0.010, "lstm": 0.018},
             True: {"indrnn": 0.040, "lstm": 0.12}}  # fmt: skip
"""Errors on digits by pixels, plain and permuted: IndRNN of six layers, and
the LSTM beside it (Li et al., 2019)."""

FLOOR = 1e-12
"""What is smaller is not drawn: it would flatten all the rest."""

ORDERS = {False: "row after row", True: "in one fixed permutation"}


# --- results, taken apart ---------------------------------------------------


def runs(results: dict[str, Result], task: str, kind: str) -> list[Result]:
    """Return the results of one task and kind, by seed."""
    start = f"{task}-{kind}-".replace(" ", "-")
    return [
        result
        for key, result in results.items()
        if key.startswith(start) and key.removeprefix(start).isdigit()
    ]


def lengths_of(results: dict[str, Result]) -> list[int]:
    """Return the numbers of steps of the adding problem, rising."""
    keys = [key.split("-") for key in results if key.startswith("adding-")]
    return sorted({int(n_time) for _, n_time, *_ in keys})


def ablated(results: dict[str, Result]) -> int:
    """Return the number of steps at which all ablations ran."""
    return next(
        n
        for n in lengths_of(results)
        if runs(results, f"adding-{n}", "durnn open")
    )


def scores_of(results: dict[str, Result], task: str) -> dict[str, Array]:
    """Return what each kind reached on a task, a number per run.

    Steps of the adding problem count in full where it was not solved.
    """
    found = {}
    for kind in NAMES:
        some = runs(results, task, kind)
        if task == "chorales":
            values = [run["test"]["pooled"] for run in some]
        elif task.startswith("adding"):
            values = [float(run["reached"] or run["n_steps"]) for run in some]
        else:
            values = [run["test_error"] for run in some]
        if values:
            found[kind] = np.array(values)
    return found


# --- tables -----------------------------------------------------------------


def tables_of(results: dict[str, Result]) -> list[Table]:
    """Return all tables."""
    return [
        _adding_table(results),
        _cost_table(results),
        _inside_table(results),
        _short_table(results),
        _pixel_table(results),
        _ablation_table(results),
    ]


def _adding_table(results: dict[str, Result]) -> Table:
    rows = []
    for n_time in lengths_of(results):
        for kind in FOUR:
            found = runs(results, f"adding-{n_time}", kind)
            solved = [r["reached"] for r in found if r["reached"] is not None]
            errors = [r["error"] for r in found if r["diverged"] is None]
            n_lost = len(found) - len(errors)
            taken = [1e3 * r["seconds_per_step"] for r in found if "error" in r]
            memory = [r["process_mib"] for r in found if r.get("process_mib")]
            rows.append(
                (
                    str(n_time),
                    NAMES[kind],
                    f"{found[0]['n_weights']:,}",
                    f"{found[0]['rate']:g}",
                    f"{len(solved)} of {len(found)}"
                    + (f", {n_lost} diverged" if n_lost else ""),
                    _listed(solved),
                    f"{found[0]['n_steps']:,}",
                    f"{np.median(errors):.2g}" if errors else "-",
                    f"{np.mean(taken):,.0f}" if taken else "-",
                    f"{max(memory):,.0f}" if memory else "-",
                )
            )
    return Table(
        "Adding problem: updates until the error falls below a tenth of that"
        f" of a constant answer, {SOLVED:.4f}; batches of 32. The time is"
        " that of the run, whatever ran beside it; the memory the most that"
        " the process ever held, with its earlier jobs",
        (
            "steps T",
            "network",
            "weights",
            "rate",
            "solved",
            "updates until then",
            "most updates",
            "best error, median",
            "ms per update",
            "process, MiB",
        ),
        tuple(rows),
    )


def _listed(numbers: list[int]) -> str:
    return ", ".join(f"{n:,}" for n in sorted(numbers)) or "-"


def _cost_table(results: dict[str, Result]) -> Table:
    cost = results["cost"]
    rows = [
        (
            str(n_time),
            NAMES[kind],
            f"{cost[kind]['wall_ms'][i]:,.1f}",
            f"{cost[kind]['cpu_ms'][i]:,.1f}",
            f"{cost[kind]['mib'][i]:,.1f}",
        )
        for i, n_time in enumerate(cost["lengths"])
        for kind in FOUR
    ]
    return Table(
        "What an update costs: 32 sequences, float32, one thread, nothing"
        " beside it; medians. Memory: the most that its arrays take; from"
        f" {LONG:,} steps on the forward pass is made again in segments",
        ("steps T", "network", "clock, ms", "processor, ms", "arrays, MiB"),
        tuple(rows),
    )


def _inside_table(results: dict[str, Result]) -> Table:
    rows = []
    for n_time in lengths_of(results):
        for kind in FOUR:
            found = [
                run
                for run in runs(results, f"adding-{n_time}", kind)
                if run["diverged"] is None
            ]
            if not found:
                continue
            for name in found[0]["weights"]:
                u = np.abs([run["weights"][name] for run in found])
                rows.append(
                    (
                        str(n_time),
                        NAMES[kind],
                        name,
                        f"{np.median(u):.4f}",
                        f"{u.max():.4f}",
                        *_opened(found, name),
                    )
                )
    return Table(
        "A look inside, after the adding problem: recurrent weights (of a"
        " matrix its singular values), and how far the gates before the long"
        " part open",
        (
            "steps T",
            "network",
            "weights",
            "median",
            "largest",
            "gates at marks",
            "gates elsewhere",
        ),
        tuple(rows),
    )


def _opened(found: list[Result], name: str) -> tuple[str, str]:
    gates = [run["gates"] for run in found]
    if name != "w_ll" or not all(gates):
        return "", ""
    at_marks, elsewhere = (
        np.array([gate[where] for gate in gates])
        for where in ("at_marks", "elsewhere")
    )
    return mean(at_marks, 2), mean(elsewhere, 2)


def _short_table(results: dict[str, Result]) -> Table:
    scores = {task: scores_of(results, task) for task in ("chorales", "digits")}
    rows = []
    for kind in NAMES:
        music = runs(results, "chorales", kind)
        speech = runs(results, "digits", kind)
        digits = ("", "", "")
        if speech:
            digits = (
                f"{speech[0]['n_weights']:,}",
                percent(scores["digits"][kind]),
                str(sum(len(run["diverged"]) for run in speech)),
            )
        rows.append(
            (
                NAMES[kind],
                f"{music[0]['n_params']:,}",
                percent(scores["chorales"][kind]),
                str(sum(len(run["diverged"]) for run in music)),
                *digits,
            )
        )
    return Table(
        "Short sequences: test part, mean ± standard deviation over seeds",
        (
            "network",
            "parameters",
            "chorales, frame accuracy",
            "rates that diverged",
            "weights",
            "spoken digits, error",
            "rates that diverged",
        ),
        tuple(rows),
    )


def _pixel_table(results: dict[str, Result]) -> Table:
    rows = []
    for permuted, order in ORDERS.items():
        task = "permuted" if permuted else "pixels"
        for kind, errors in scores_of(results, task).items():
            found = runs(results, task, kind)
            published = PUBLISHED[permuted].get(kind)
            rows.append(
                (
                    order,
                    f"IndRNN, {_layers(found[0])} layers"
                    if kind == "indrnn"
                    else NAMES[kind],
                    f"{found[0]['n_weights']:,}",
                    "not known" if published is None else f"{published:.1%}",
                    percent(errors),
                    f"{found[0]['n_train']:,}",
                    str(sum(run["diverged"] is not None for run in found)),
                )
            )
    return Table(
        "Digits by pixels: test error, published after 57,000"
        " training images and on the official test part, ours on a tenth of"
        " 5,000 images",
        (
            "pixels",
            "network",
            "weights",
            "published",
            "ours",
            "training images",
            "diverged",
        ),
        tuple(rows),
    )


def _layers(run: Result) -> int:
    return int(run["network"].count("IndRNN("))


def _ablation_table(results: dict[str, Result]) -> Table:
    n_time = ablated(results)
    task = f"adding-{n_time}"
    scores, music = scores_of(results, task), scores_of(results, "chorales")
    rows = []
    for kind in ("durnn", *(k for k in scores if k not in FOUR), "indrnn"):
        found = runs(results, task, kind)
        solved = [run["reached"] is not None for run in found]
        played = runs(results, "chorales", kind)
        rows.append(
            (
                NAMES[kind],
                f"{found[0]['n_weights']:,}",
                f"{sum(solved)} of {len(solved)}",
                f"{scores[kind].mean():,.0f}",
                str(sum(run["diverged"] is not None for run in found)),
                f"{played[0]['n_params']:,}",
                percent(music[kind]),
            )
        )
    return Table(
        f"Ablations of our dual module: adding problem of {n_time} steps"
        " (all updates count where it was not solved) and chorales",
        (
            "network",
            "weights",
            "solved",
            "updates, mean",
            "diverged",
            "parameters",
            "chorales, frame accuracy",
        ),
        tuple(rows),
    )


# --- figures ----------------------------------------------------------------


def draw(results: dict[str, Result], folder: Path) -> list[Path]:
    """Draw the figures into ``folder``."""
    paths = []
    for n_time in lengths_of(results):
        paths.append(folder / f"learning-{n_time}.png")
        _draw_learning(results, n_time, paths[-1])
    paths.append(folder / "updates.png")
    _draw_updates(results, paths[-1])
    for kind in FOUR:
        run = _longest(results, kind)
        if run is None:
            continue
        paths.append(folder / f"reach-{kind}.png")
        _draw_reach(run, NAMES[kind], paths[-1])
        if run["weights"] and kind in ("indrnn", "durnn"):
            paths.append(folder / f"weights-{kind}.png")
            _draw_weights(run, NAMES[kind], paths[-1])
        if run["gates"]:
            paths.append(folder / "gates.png")
            _draw_gates(run["gates"], paths[-1])
    n_time = ablated(results)
    for name, task, label in (
        ("chorales", "chorales", "chorales: frame accuracy, %"),
        ("digits", "digits", "spoken digits: test error, %"),
        ("pixels", "pixels", "digits by pixels: test error, %"),
        ("permuted", "permuted", "digits by permuted pixels: test error, %"),
        ("ablation", f"adding-{n_time}", f"updates to add at T = {n_time}"),
    ):
        paths.append(folder / f"{name}.png")
        _draw_points(scores_of(results, task), label, paths[-1])
    return paths


def _longest(results: dict[str, Result], kind: str) -> Result | None:
    """Return a run at the longest time, one that solved it if any did."""
    for n_time in reversed(lengths_of(results)):
        found = runs(results, f"adding-{n_time}", kind)
        found = [run for run in found if run["diverged"] is None]
        if found:
            run = max(found, key=lambda r: r["reached"] is not None)
            return run | {"n_time": n_time}
    return None


def _draw_learning(results: dict[str, Result], n_time: int, path: Path) -> None:
    with figure(path) as axes:
        for colour, kind in zip(COLOURS, NAMES, strict=False):
            label = NAMES[kind]
            for run in runs(results, f"adding-{n_time}", kind):
                curve = run["curve"]
                if curve:
                    steps = run["every"] * np.arange(1, len(curve) + 1)
                    axes.semilogy(
                        steps, curve, color=colour, label=label, linewidth=1
                    )
                    label = ""
        axes.axhline(SOLVED, color="black", linestyle=":", linewidth=1)
        axes.set_xlabel("updates")
        axes.set_ylabel("squared error, validation")
        axes.set_title(f"Adding two of {n_time} numbers; dotted: solved")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)


def _draw_updates(results: dict[str, Result], path: Path) -> None:
    every = lengths_of(results)
    with figure(path) as axes:
        for colour, kind in zip(COLOURS, FOUR, strict=False):
            label = NAMES[kind]
            for n_time in every:
                for run in runs(results, f"adding-{n_time}", kind):
                    solved = run["reached"] is not None
                    axes.loglog(
                        n_time,
                        run["reached"] if solved else run["n_steps"],
                        "o" if solved else "x",
                        color=colour,
                        label=label,
                    )
                    label = ""
        axes.set_xticks(every, [str(n) for n in every])
        axes.minorticks_off()
        axes.set_xlabel("steps T")
        axes.set_ylabel("updates")
        axes.set_title("Updates until solved; a cross: not within as many")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)


def _draw_reach(run: Result, name: str, path: Path) -> None:
    """Draw what is left of each part's gradient over the lag, in logs."""
    with figure(path) as axes:
        for colour, (state, told) in zip(
            COLOURS, run["reach"].items(), strict=False
        ):
            lags = np.array(told["lags"])
            for key, style in (("median", "-"), ("most", "--")):
                values = np.array(told[key])
                seen = values > FLOOR
                axes.semilogy(
                    lags[seen],
                    values[seen],
                    style,
                    color=colour,
                    label=f"{state}, {key}",
                )
            if told["bound"] is not None:
                bound = np.array(told["bound"])
                seen = bound > FLOOR
                axes.semilogy(
                    lags[seen],
                    bound[seen],
                    ":",
                    color=colour,
                    label=f"{state}, bound",
                )
        axes.set_xlabel("lag k")
        axes.set_ylabel("norm of d state$_T$ / d state$_{T-k}$")
        n_look = max(max(t["lags"]) for t in run["reach"].values()) + 1
        followed = f", followed over {n_look}" if n_look < run["n_time"] else ""
        axes.set_title(f"{name}, T = {run['n_time']}{followed}: the reach")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)


def _draw_weights(run: Result, name: str, path: Path) -> None:
    with figure(path) as axes:
        for colour, (weights, values) in zip(
            COLOURS, run["weights"].items(), strict=False
        ):
            axes.hist(
                values,
                bins=np.linspace(-1.05, 1.05, 85),
                histtype="stepfilled",
                color=colour,
                alpha=0.5,
                label=weights,
            )
        axes.set_xlabel("recurrent weight, or singular value of a matrix")
        axes.set_ylabel("units")
        axes.set_title(f"{name}, T = {run['n_time']}, trained")
        axes.legend(fontsize=8)


def _draw_gates(told: dict[str, Any], path: Path) -> None:
    with figure(path, height=3.2) as axes:
        axes.fill_between(
            told["t"], told["low"], told["high"], alpha=0.3, linewidth=0
        )
        axes.plot(told["t"], told["mean"], linewidth=1)
        axes.set_ylim(0, min(1.0, 1.3 * max(told["high"])))
        axes.set_xlabel("t")
        axes.set_ylabel("gate q$_t$: mean, 10 to 90 %")
        axes.set_title(
            "What the long part is given: gates are open"
            f" {told['at_marks']:.2f} at marks, {told['elsewhere']:.2f}"
            " elsewhere",
            fontsize=9,
        )


def _draw_points(scores: dict[str, Array], label: str, path: Path) -> None:
    with figure(path, height=0.8 + 0.4 * len(scores)) as axes:
        share = 1 if label.startswith("updates") else 100
        for row, values in enumerate(scores.values()):
            axes.barh(row, share * values.mean(), color=COLOURS[0], alpha=0.4)
            axes.plot(share * values, [row] * len(values), "o", color="black")
        names = NAMES | (
            {"indrnn": "IndRNN, deep"} if label.startswith("digits by") else {}
        )
        axes.set_yticks(range(len(scores)), [names[kind] for kind in scores])
        axes.invert_yaxis()
        axes.set_xlabel(f"{label}; every seed a dot")
