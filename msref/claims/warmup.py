"""The claims on warming up recurrent networks.

Lambrechts, De Geeter, Vecoven, Ernst & Drion, *Warming-up recurrent
neural networks to maximize reachable multi-stability greatly improves
learning* (arXiv 2106.01001; in a later version Neural Networks, 2023). We
know the abstracts and the authors' code, whose benchmarks are used here; the
paper's text, tables and figures are not known to us. What is compared with
numbers was measured by running that code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from msref.arrays import Array
from msref.claims.base import (
    FAILS,
    HOLDS,
    NOT_COMPARABLE,
    Claim,
    Job,
    Paper,
    Result,
    Setting,
    Table,
)
from msref.claims.verdicts import beats, mean
from msref.claims.warmed import (
    KINDS,
    STARTS,
    maze,
    reachable,
    recall,
    speed,
    ways,
)
from msref.claims.warmup_shown import (
    FLOOR,
    LONG_M,
    MEASURED,
    SHORT_M,
    draw,
    errors,
    kinds_of,
    layers,
    learned_at,
    looked_at,
    measured_by_them,
    memorable,
    of_row,
    runs,
    short_task,
    states_of,
    tables_of,
    task_name,
    tasks_of,
    vaa_of,
    written,
)

PAPER = "Lambrechts et al. 2023, abstract"
CODE = "the authors' code, as run by us"
NO_NUMBER = "qualitative; the paper's tables are not known to us"
DEMAND = "our demand"

BAND = 0.1
"""How far from what the authors' code came to a VAA may lie: that is from one
or two runs."""

PATIENCE = 180.0
"""Seconds that 100 steps of warm-up may take: 2 x 128 units, T = 100."""

STANDARD = ("gru", "lstm zero", "mgu")
"""Cells with one stable state at the start, as the authors start them."""

SIX = ("gru", "lstm", "mgu", "brc", "nbrc", "chrono")
"""The cells that learn."""

SCALES: dict[str, dict[str, Any]] = {
    "quick": {
        "n_hid": 32,
        "n_warmup": 100,
        "reachable": {
            # kind, double layers, n_hid, n_time
            "rows": [(kind, False, 32, 20) for kind in STANDARD],
            "moments": [SHORT_M, LONG_M],
            "n_seeds": 1,
        },
        "recall": {
            "kinds": ("gru", "nbrc"),
            "rate": 0.003,
            # task, n_time -> updates, updates an epoch, looks, seeds
            "tasks": {("copy", 50): (200, 20, 5, 2)},
        },
        # the same for the task in which precision is asked for
        "short": {5: (300, 20, 1, 2)},
        "maze": {"length": 5, "n_episodes": 120, "n_seeds": 2},
        "ways": {"n_time": 50, "n_steps": LONG_M},
        "speed": {"n_hid": 128, "n_time": 100, "n_warmup": 100},
    },
    "full": {
        "n_hid": 32,
        "n_warmup": 100,
        "reachable": {
            "rows": [
                *MEASURED,
                *(("lstm zero", *row[1:]) for row in MEASURED
                  if row[0] == "lstm"),
            ],
            "moments": [SHORT_M, LONG_M],
            "n_seeds": 3,
        },
        "recall": {
            "kinds": SIX,
            "rate": 0.003,
            "tasks": {
                ("copy", 50): (400, 20, 10, 5),
                ("copy", 100): (500, 25, 10, 3),
                ("copy", 300): (300, 25, 6, 2),
                ("copy", 600): (250, 25, 5, 2),
                ("denoising", 100): (1200, 50, 8, 2),
            },
        },
        "short": {5: (1000, 50, 1, 3)},
        "maze": {"length": 10, "n_episodes": 600, "n_seeds": 5},
        "ways": {"n_time": 50, "n_steps": LONG_M},
        "speed": {"n_hid": 128, "n_time": 100, "n_warmup": 100},
    },
}  # fmt: skip
"""All sizes, rates and budgets, by scale."""


# --- what is run ------------------------------------------------------------


def jobs(setting: Setting) -> list[Job]:
    """List the independent pieces of work behind the claims."""
    scale = SCALES[setting.scale]
    n_hid, n_warmup = scale["n_hid"], scale["n_warmup"]
    sizes = {"n_hid": n_hid, "n_warmup": n_warmup}
    found = [
        Job("speed", speed, scale["speed"], alone=True),
        Job(
            "ways",
            ways,
            {"kind": "gru", "seed": setting.seeds[0]} | sizes | scale["ways"],
            warmup_cost(scale["ways"]["n_time"], n_warmup),
        ),
    ]
    found += _reachables(setting)
    for (task, n_time), budget in scale["recall"]["tasks"].items():
        found += _recalls(setting, task, task, n_time, budget)
    for n_time, budget in scale["short"].items():
        found += _recalls(setting, "short", "copy", n_time, budget)
    play = dict(scale["maze"])
    for seed in setting.seeds[: play.pop("n_seeds")]:
        for start in STARTS:
            settings = {"start": start, "seed": seed} | sizes | play
            cost = 0.013 * play["n_episodes"] * play["length"]
            cost *= 1.6 if start == "double" else 1.0
            found.append(Job(f"maze-{start}-{seed}", maze, settings, cost))
    return found


def warmup_cost(n_time: int, n_warmup: int, double: bool = False) -> float:
    """Estimate the seconds of a warm-up, 2 x 32 units."""
    return (1.5 if double else 1.0) * n_warmup * (0.08 + 1.5e-4 * n_time)


def _reachables(setting: Setting) -> list[Job]:
    scale = SCALES[setting.scale]
    part = scale["reachable"]
    found = []
    for kind, double, n_hid, n_time in part["rows"]:
        row = f"{kind} {layers(double)} {n_hid} {n_time}".replace(" ", "-")
        for seed in setting.seeds[: part["n_seeds"]]:
            settings = {
                "kind": kind,
                "double": double,
                "n_hid": n_hid,
                "n_time": n_time,
                "n_warmup": scale["n_warmup"],
                "moments": part["moments"],
                "seed": seed,
            }
            cost = 3.0 + warmup_cost(n_time, scale["n_warmup"], double)
            key = f"reachable-{row}-{seed}"
            found.append(Job(key, reachable, settings, cost))
    return found


def _recalls(
    setting: Setting,
    name: str,
    task: str,
    n_time: int,
    budget: tuple[int, int, int, int],
) -> list[Job]:
    scale = SCALES[setting.scale]
    n_steps, every, n_looks, n_seeds = budget
    found = []
    for kind in scale["recall"]["kinds"]:
        for start in STARTS:
            for seed in setting.seeds[:n_seeds]:
                settings = {
                    "task": task,
                    "kind": kind,
                    "start": start,
                    "n_time": n_time,
                    "n_hid": scale["n_hid"],
                    "n_warmup": scale["n_warmup"],
                    "rate": scale["recall"]["rate"],
                    "n_steps": n_steps,
                    "every": every,
                    "n_looks": n_looks,
                    "seed": seed,
                }
                double = start == "double"
                cost = (1.8 if double else 1.0) * 3e-4 * n_steps * n_time
                cost += 3.0 + 0.01 * n_time  # data, looks, test
                if start != "plain":
                    cost += warmup_cost(n_time, scale["n_warmup"], double)
                key = f"{name}-{n_time}-{kind}-{start}-{seed}"
                found.append(Job(key, recall, settings, cost))
    return found


# --- what follows from it ---------------------------------------------------


def judge(
    setting: Setting, results: dict[str, Result]
) -> tuple[list[Claim], list[Table]]:
    """Decide the claims and fill the tables."""
    claims = _on_states(results)
    for task in tasks_of(results):
        claims += _on_recall(results, task)
    claims += [_together(results), _once_it_learns(results)]
    claims += _on_precision(results)
    claims += _on_the_maze(results)
    claims.append(_on_speed(results))
    return claims, tables_of(results)


def _decided(
    key: str, text: str, source: str, published: str, measured: str,
    wrong: list[str], right: str,
) -> Claim:  # fmt: skip
    """Return a claim that holds where nothing is wrong."""
    return Claim(
        *(key, text, source, published, measured),
        FAILS if wrong else HOLDS,
        f"not so: {', '.join(wrong)}" if wrong else right,
    )


def _on_states(results: dict[str, Result]) -> list[Claim]:
    states = states_of(results)
    rows = list(states)
    before = {row: vaa_of(some, "before") for row, some in states.items()}
    after = {row: vaa_of(some, "after") for row, some in states.items()}

    def told(found: dict[Any, Array], which: list[Any], moment: int) -> str:
        k = (SHORT_M, LONG_M).index(moment)
        return ", ".join(
            f"{of_row(row)} {mean(found[row][:, k], 3)}" for row in which
        )

    standard = [row for row in rows if row[0] in STANDARD]
    others = [row for row in rows if row[0] in ("chrono", "brc", "nbrc")]
    claims = [
        _decided(
            *("a1", "Standard cells start with one stable state that is"
              " reached: VAA is at its floor."),
            *(PAPER, "1/32 = 0.031 in the authors' code, at M = 200 and 2000"),
            f"VAA at the start, M = {LONG_M}: "
            + told(before, standard, LONG_M),
            [of_row(r) for r in standard
             if (before[r][:, 1] > 1.5 * FLOOR).any()],
            "all states agree in every run; an LSTM of ours starts with a"
            " forget bias of 1, and takes longer",
        ),
        _decided(
            *("a2", "A warm-up raises reachable multistability, whatever the"
              " cell.", PAPER, NO_NUMBER),
            f"VAA after the warm-up, M = {SHORT_M}: "
            + told(after, rows, SHORT_M)
            + "; before it: " + told(before, rows, SHORT_M),
            [of_row(r) for r in rows
             if not (after[r][:, 0] > before[r][:, 0]).all()],
            "higher in every run",
        ),
        _persistent(after),
    ]  # fmt: skip
    if others:
        text = "Other initialisations start with reachable multistability, too."
        claims.append(
            _decided(
                *("a4", text, PAPER, "0.37 to 0.73 in the authors' code"),
                f"VAA at the start, M = {SHORT_M}: "
                + told(before, others, SHORT_M),
                [of_row(r) for r in others
                 if (before[r][:, 0] < 3 * FLOOR).any()],
                "several states in every run",
            )
        )  # fmt: skip
    return claims + _in_the_bands(after)


def _persistent(after: dict[Any, Array]) -> Claim:
    rows = [row for row in after if row[0] in (*STANDARD, "lstm")]
    short, long = (
        {row: float(after[row][:, k].mean()) for row in rows} for k in (0, 1)
    )
    return _decided(
        "a3",
        "What a warm-up makes are attractors, not slow ways to one: VAA of"
        " GRU, LSTM and MGU is the same after ten times as many steps as they"
        " were warmed up for.",
        "our question",
        "authors' code: so in single layers, and in one of four networks of"
        " double layers",
        f"VAA at M = {SHORT_M} and {LONG_M}: "
        + ", ".join(f"{of_row(r)} {short[r]:.3f} {long[r]:.3f}" for r in rows),
        [of_row(row) for row in rows if long[row] < short[row] - BAND],
        f"within {BAND}",
    )


def _in_the_bands(after: dict[Any, Array]) -> list[Claim]:
    """Compare GRU, LSTM and MGU with the authors' code, row by row."""
    claims: list[Claim] = []
    for row, found in after.items():
        expected = measured_by_them(row)
        if row[0] not in (*STANDARD, "lstm") or expected is None:
            continue
        ours, theirs = found[:, 0], expected[2]
        seeds = "one seed" if len(ours) == 1 else f"{len(ours)} seeds"
        away = abs(float(ours.mean()) - theirs)
        claims.append(
            Claim(
                f"a{5 + len(claims)}",
                f"{of_row(row)}: after a warm-up VAA at M = {SHORT_M} is what"
                " it is with the authors' code.",
                CODE,
                f"{theirs:.3f} at {SHORT_M}, {expected[3]:.3f} at {LONG_M}",
                f"{mean(ours, 3)} at {SHORT_M}, {mean(found[:, 1], 3)} at"
                f" {LONG_M}, {seeds}",
                HOLDS if away <= BAND else FAILS,
                f"{away:.3f} away, of {BAND} allowed; at {LONG_M} nothing is"
                " demanded"
                + (
                    "; its forget bias starts at 1, with theirs at 0"
                    if row[0] == "lstm"
                    else ""
                ),
            )
        )
    return claims


# --- learning ---------------------------------------------------------------


def _times(difference: float) -> str:
    """Write a difference of logarithms as a factor."""
    return f"x {10**difference:.2g}"


def _better(
    results: dict[str, Result], key: str, text: str, task: str, kind: str,
    ours: str = "warm", theirs: str = "plain",
) -> Claim:  # fmt: skip
    return beats(
        *(key, text, PAPER, NO_NUMBER),
        f"test error (1 for the constant answer), geometric mean,"
        f" {len(errors(results, task, kind, ours))} seeds",
        (STARTS[ours], errors(results, task, kind, ours)),
        [(STARTS[theirs], errors(results, task, kind, theirs))],
        show=written,
        gap=_times,
        lower_is_better=True,
    )


def _on_recall(results: dict[str, Result], task: str) -> list[Claim]:
    key = "bn" if task.startswith("denoising") else "b" + task.split("-")[1]
    claims: list[Claim] = []
    doubles = {}
    for kind in kinds_of(results, task):
        text = (
            f"{KINDS[kind]}: a warm-up lowers the error of"
            f" {task_name(task)}, after as many updates."
        )
        claim = _better(results, f"{key}-{kind}", text, task, kind)
        double = errors(results, task, kind, "double")
        told = f"{claim.measured}; {STARTS['double']} {written(double)}"
        claims.append(replace(claim, measured=told))
        doubles[kind] = _better(results, "", "", task, kind, "double", "plain")
    if all(c.verdict == NOT_COMPARABLE for c in doubles.values()):
        verdict, reason = NOT_COMPARABLE, "too few runs"
    else:
        worse = [KINDS[k] for k, c in doubles.items() if c.verdict != HOLDS]
        verdict = FAILS if worse else HOLDS
        reason = (
            f"not by more than the spread over runs: {', '.join(worse)}"
            if worse
            else "with every cell, by more than the spread over runs"
        ) + " (Welch's test, one-sided, 5 %)"
    claims.append(
        Claim(
            f"{key}-double",
            "Double layers, of which one half is warmed up, learn"
            f" {task_name(task)} better than plain layers of the same width.",
            PAPER,
            NO_NUMBER,
            "test error, geometric mean: "
            + "; ".join(
                f"{KINDS[k]} "
                + ", ".join(
                    f"{STARTS[s]} {written(errors(results, task, k, s))}"
                    for s in ("double", "plain")
                )
                for k in doubles
            ),
            verdict,
            reason,
        )
    )
    return claims


# --- multistability and learning --------------------------------------------


def spearman(vaa: Array, error: Array) -> tuple[float, float]:
    """Return the rank correlation, and p of one below zero by chance.

    Where one of them does not vary, there is none: 0, and 1.
    """
    if len(vaa) < 3 or np.ptp(vaa) == 0 or np.ptp(error) == 0:
        return 0.0, 1.0
    found = stats.spearmanr(vaa, error, alternative="less")
    return float(found.statistic), float(found.pvalue)


def _together(results: dict[str, Result]) -> Claim:
    task = memorable(results)
    by_run = [looked_at(run) for run in runs(results, task)]
    by_run = [found for found in by_run if len(found)]
    text = (
        "Multistability and learning go together: the higher the VAA, the"
        f" lower the error of {task_name(task)}."
    )
    if len(by_run) < 5:
        return Claim(
            *("c1", text, PAPER, NO_NUMBER, f"{len(by_run)} runs"),
            *(NOT_COMPARABLE, "too few runs to tell it from chance"),
        )
    every = np.concatenate(by_run)
    last = np.array([found[-1] for found in by_run])
    pooled, _ = spearman(every[:, 0], every[:, 1])
    rho, p = spearman(last[:, 0], last[:, 1])
    return Claim(
        *("c1", text, PAPER, NO_NUMBER),
        f"Spearman's rank correlation {pooled:+.2f} over {len(every)} looks at"
        f" all {len(by_run)} runs; {rho:+.2f} over their last looks alone",
        HOLDS if pooled < 0 and rho < 0 and p < 0.05 else FAILS,
        f"p = {p:.2g} for the last looks, which are of independent runs; it"
        " says nothing of what is the cause",
    )


def _once_it_learns(results: dict[str, Result]) -> Claim:
    at_start, then = [], []
    for task in tasks_of(results):
        for run in runs(results, task, start="plain"):
            found, k = looked_at(run), learned_at(run)
            if k:
                at_start.append(found[0, 0])
                then.append(found[k, 0])
    ours, theirs = np.array(then), np.array(at_start)
    text = (
        "A network that is not warmed up learns a long dependency once it has"
        " more stable states: its VAA has risen when its error is halved."
    )
    if not then:
        return Claim(
            *("c2", text, PAPER, NO_NUMBER, "no plain run halved its error"),
            *(NOT_COMPARABLE, "nothing was learned without a warm-up"),
        )
    return beats(
        *("c2", text, PAPER, NO_NUMBER),
        f"VAA at M = {SHORT_M}, {len(then)} plain runs that halved it",
        ("then", ours),
        [("at the start", theirs)],
        show=lambda values: mean(values, 3),
        gap=lambda difference: f"{difference:+.3f}",
        paired=True,
    )


# --- precision --------------------------------------------------------------


def _on_precision(results: dict[str, Result]) -> list[Claim]:
    task = short_task(results)
    kinds = kinds_of(results, task)
    found = {
        start: np.concatenate([errors(results, task, k, start) for k in kinds])
        for start in STARTS
    }

    def versus(key: str, text: str, ours: str, theirs: str) -> Claim:
        by_cell = "; ".join(
            f"{KINDS[k]} "
            + ", ".join(
                f"{STARTS[s]} {written(errors(results, task, k, s))}"
                for s in (ours, theirs)
            )
            for k in kinds
        )
        claim = beats(
            *(key, text, PAPER, NO_NUMBER),
            "test error, geometric mean over cells and seeds",
            (STARTS[ours], found[ours]),
            [(STARTS[theirs], found[theirs])],
            show=written,
            gap=_times,
            lower_is_better=True,
            paired=True,
        )
        return replace(claim, measured=f"{claim.measured}. {by_cell}")

    name = task_name(task)
    hurts = versus(
        "d1",
        "A warm-up sometimes costs precision: where little has to be"
        f" remembered, {name}, the error is lower without.",
        *("plain", "warm"),
    )
    repairs = versus(
        "d2",
        f"Double layers, of which one half is warmed up, repair it: {name}.",
        *("double", "warm"),
    )
    if hurts.verdict != HOLDS:
        repairs = replace(
            repairs,
            verdict=NOT_COMPARABLE,
            reason="a warm-up did no harm here that could be repaired",
        )
    lost = versus("", "", "plain", "double").verdict
    told = versus(
        "d3",
        f"Double layers lose no precision against plain layers: {name}.",
        *("double", "plain"),
    )
    verdicts = {HOLDS: FAILS, FAILS: HOLDS}
    return [
        hurts,
        repairs,
        replace(
            told,
            verdict=verdicts.get(lost, NOT_COMPARABLE),
            reason={
                HOLDS: "plain layers are better by more than the spread over"
                " runs explains (paired t-test, one-sided, 5 %)",
                FAILS: "plain layers are not better by more than the spread"
                " over runs explains (paired t-test, one-sided, 5 %)",
            }.get(lost, told.reason),
        ),
    ]


# --- the maze, and the clock ------------------------------------------------


def _on_the_maze(results: dict[str, Result]) -> list[Claim]:
    found = {start: runs(results, "maze", start=start)
             for start in STARTS}  # fmt: skip
    episodes = {
        start: np.array(
            [r["n_episodes"] if r["optimal_after"] is None
             else float(r["optimal_after"]) for r in some]
        )
        for start, some in found.items()
    }  # fmt: skip
    returns = {
        start: np.array([run["mean_return"] for run in some])
        for start, some in found.items()
    }
    states = "; ".join(
        f"{STARTS[start]} "
        + ", ".join(
            f"{np.mean([r['vaa'][k] for r in some if r['vaa']] or [0]):.2f}"
            for k in (0, 1)
        )
        for start, some in found.items()
    )
    settings = "T-maze, GRU of two layers"
    return [
        beats(
            "e1",
            "A warm-up lets an agent learn its way through a T-maze sooner:"
            " episodes before the first greedy games that are optimal.",
            *(PAPER, NO_NUMBER),
            f"{settings}, all episodes where it never was; VAA before and"
            f" after learning: {states}",
            (STARTS["warm"], episodes["warm"]),
            [(STARTS["plain"], episodes["plain"])],
            show=lambda values: mean(values, 0),
            gap=lambda difference: f"{difference:+,.0f}",
            lower_is_better=True,
        ),
        beats(
            "e2",
            "Its return while it learns is higher, too.",
            *(PAPER, NO_NUMBER),
            f"{settings}, mean return of all evaluations; 4 is the best",
            (STARTS["warm"], returns["warm"]),
            [(STARTS["plain"], returns["plain"])],
            show=lambda values: mean(values, 2),
            gap=lambda difference: f"{difference:+.2f}",
        ),
        beats(
            "e3",
            "So it is with double layers, of which one half is warmed up:"
            " return while it learns.",
            *(PAPER, NO_NUMBER),
            f"{settings}, mean return of all evaluations; 4 is the best",
            (STARTS["double"], returns["double"]),
            [(STARTS["plain"], returns["plain"])],
            show=lambda values: mean(values, 2),
            gap=lambda difference: f"{difference:+.2f}",
        ),
    ]


def _on_speed(results: dict[str, Result]) -> Claim:
    found = results["speed"]
    size = found["n_hid"], found["n_time"], found["n_warmup"]
    text = (
        "100 steps of warm-up of two layers of 128 GRUs, 32 sequences of 100,"
        " take less than three minutes."
    )
    measured = (
        f"{found['wall_s']:.0f} s, {found['cpu_s']:.0f} s of the processor,"
        f" for {size[2]} steps, 2 x {size[0]} units, T = {size[1]}; one thread"
    )
    if size != (128, 100, 100):
        return Claim(
            *("f", text, DEMAND, "none", measured, NOT_COMPARABLE),
            "another size",
        )
    slow = found["wall_s"] >= PATIENCE
    return Claim(
        *("f", text, DEMAND, "none", measured, FAILS if slow else HOLDS),
        "more" if slow else "less",
    )


WARMUP_PAPER = Paper(
    name="warmup",
    title="Warming up recurrent networks",
    jobs=jobs,
    judge=judge,
    draw=draw,
    seeds={"quick": 2, "full": 5},
    scaled_down="the paper's text is not known to us; tasks and procedure are"
    " those of the authors' code. Two layers of 32 units instead of 256,"
    " 250 to 1,200 updates from fresh sequences instead of 50 epochs of"
    " 48,000, a learning rate of 0.003 instead of 0.001, gradients clipped at"
    " a norm of 10, 1,000 sequences for a warm-up, five seeds at T = 50 of"
    " copy first input, three at 100 and at 5, two at 300, at 600 and of"
    " denoising, tested on 1,000 sequences. The maze: 600 episodes instead of"
    " 2,000. LSTM: our own start, with a forget bias of 1; chrono LSTM:"
    " biases drawn twice, as in their code, weights of our own start. No"
    " sequential digits. Quick: T = 50 alone,"
    " two cells, few updates, a maze of length 5.",
)
"""What ``msref reproduce warmup`` runs."""
