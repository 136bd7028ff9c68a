"""The claims of the paper on multi-scale memory and incremental training.

Carta, Sperduti & Bacciu, *Incremental Training of a Recurrent Neural Network
Exploiting a Multi-Scale Dynamic Memory* (ECML-PKDD 2020), beside Koutník,
Greff, Gomez & Schmidhuber, *A Clockwork RNN* (ICML 2014). Of the first only
the abstract and the authors' code are known to us, no result table and few
sizes; the second is known in full. What is chosen here is our choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

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
from msref.claims.figures import COLOURS, figure
from msref.claims.scales import (
    KINDS,
    classify,
    cost,
    generate,
    memory_as_grown,
)
from msref.claims.verdicts import beats, mean
from msref.data import WAVEFORMS, fetch

CARTA = "Carta et al. 2020, abstract"
KOUTNIK = "Koutník et al. 2014, table of sequence generation"
PUBLISHED = {
    "rnn": "0.46 ± 0.08",
    "lstm": "0.04 ± 0.01",
    "clockwork": "0.007 ± 0.004",
}
"""Normalised errors at 1000 weights over 100 runs (Koutník et al. 2014)."""

NETWORKS = {
    "memory": "MultiScale LMN, memory output",
    "hidden": "MultiScale LMN, hidden output",
    "clockwork": "Clockwork RNN, modules of 32",
}
CHEAP = 1.6
"""The most that nine modules may cost, in units of what two cost."""

SETS = {
    "digits": "spoken digits",
    "pen": "pen digits, 8 points",
    "rows": "MNIST by rows, 28 steps",
    "pixels": "MNIST by pixels at half resolution, 196 steps",
}

PACKAGES = {
    "digits": "spoken-digits",
    "pen": "pen-digits",
    "rows": "mnist-5k",
    "pixels": "mnist-5k",
}
"""The files that the sets are in."""

MEMORIES = {
    "noise": "modules as they grow, on white noise, before any training",
    "digits": f"{SETS['digits']}, trained",
    "pixels": f"{SETS['pixels']}, trained",
}


# --- what is run ------------------------------------------------------------


def jobs(setting: Setting) -> list[Job]:
    """List the independent pieces of work behind the claims."""
    full = setting.scale == "full"
    waves = list(WAVEFORMS) if full else ["chirp", "sum-of-sines"]
    seconds = {"rnn": 1, "lmn": 2}  # for one, of the others for four
    found = [
        Job(
            "cost",
            cost,
            {
                "networks": list(NETWORKS),
                "modules": list(range(1, 11)),
                "n_hid": 128,
                "n_mem": 32,
                "n_batch": 32,
                "n_time": 512,
                "repeats": 15 if full else 5,
            },
            alone=True,
        )
    ]
    found += [
        Job(
            f"memory-{seed}",
            memory_as_grown,
            {
                "n_hid": 16,
                "n_mem": 16,
                "n_modules": 4,
                "max_lag": 128,
                "seed": seed,
            },
            cost=10,
        )
        for seed in setting.seeds[: 3 if full else 1]
    ]
    for kind in KINDS:
        for wave in waves:
            for seed in setting.seeds[:2]:
                settings: dict[str, Any] = {
                    "kind": kind,
                    "wave": wave,
                    "budget": 1000 if full else 250,
                    "n_modules": 9,
                    "rates": [0.01, 0.003] if full else [0.01],
                    "n_epochs": 1000 if full else 200,
                    "seed": seed,
                }
                key = f"generate-{wave}-{kind}-{seed}".replace(" ", "-")
                found.append(
                    Job(key, generate, settings, 10 * seconds.get(kind, 4))
                )
        for dataset, settings in _classifications(full).items():
            few = setting.seeds if dataset == "digits" else setting.seeds[:3]
            for seed in few:
                key = f"classify-{dataset}-{kind}-{seed}".replace(" ", "-")
                named = {"kind": kind, "dataset": dataset}
                found.append(
                    Job(
                        key,
                        classify,
                        named | settings | {"seed": seed},
                        cost=(40 if dataset == "pixels" else 8)
                        * seconds.get(kind, 4),
                    )
                )
    return found


def prepare(missing: list[Job]) -> None:
    """Fetch what the missing jobs read, before many workers ask for it."""
    for dataset in sorted({job.settings.get("dataset", "") for job in missing}):
        if dataset:
            fetch(PACKAGES[dataset])


def _classifications(full: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of each set of labelled sequences."""
    common = {
        "budget": 5000 if full else 2500,
        "rates": [0.01, 0.003] if full else [0.01],
        "n_batch": 64,
        "noise": 0.0,
        "lags": None,
    }
    found = {
        "digits": common
        | {
            "n_modules": 5,
            "n_epochs": 40 if full else 10,
            "n_batch": 32,
            "noise": 0.6,
            "lags": [16, 1],
        },
        "pen": common | {"n_modules": 3, "n_epochs": 30 if full else 6},
        "rows": common | {"n_modules": 5, "n_epochs": 30 if full else 10},
    }
    if full:
        found["pixels"] = common | {
            "n_modules": 7,
            "n_epochs": 20,
            "lags": [128, 4],
        }
    return found


# --- what follows from it ---------------------------------------------------


def judge(
    setting: Setting, results: dict[str, Result]
) -> tuple[list[Claim], list[Table]]:
    """Decide the claims and fill the tables."""
    claims, tables = _on_generation(results), [_generation_table(results)]
    for letter, datasets in (
        ("b", ["digits"]),
        ("c", ["pen", "rows", "pixels"]),
    ):
        for k, dataset in enumerate(d for d in datasets if _errors(results, d)):
            claims.append(_on_labels(f"{letter}{k + 1}", results, dataset))
    tables.append(_labels_table(results))
    claims += [_growth(results), *_memory(results), _cost(results)]
    tables += [_memory_table(results), _cost_table(results)]
    return claims, tables


def _runs(results: dict[str, Result], task: str, kind: str) -> list[Result]:
    """Return the results of one task and kind, by seed."""
    start = f"{task}-{kind}-".replace(" ", "-")
    return [
        result
        for key, result in results.items()
        if key.startswith(start) and key.removeprefix(start).isdigit()
    ]


def _waves(results: dict[str, Result]) -> list[str]:
    return [w for w in WAVEFORMS if _runs(results, f"generate-{w}", "rnn")]


def _generated(results: dict[str, Result], kind: str) -> Array:
    """Return log10 of the normalised error on each waveform, over its runs.

    Runs on one waveform are no independent tasks: they are averaged first.
    """
    return np.array(
        [
            np.mean(
                [
                    np.log10(run["normalised_error"])
                    for run in _runs(results, f"generate-{wave}", kind)
                ]
            )
            for wave in _waves(results)
        ]
    )


def _sizes(results: dict[str, Result], task: str) -> str:
    """Say how far apart the networks of one task are in their weights."""
    sizes = {kind: _runs(results, task, kind)[0]["n_weights"] for kind in KINDS}
    least, most = (f(sizes, key=sizes.__getitem__) for f in (min, max))
    return (
        f"{sizes[least]:,} ({KINDS[least]}) to {sizes[most]:,}"
        f" ({KINDS[most]}) weights"
    )


def _errors(results: dict[str, Result], dataset: str) -> dict[str, Array]:
    found = {
        kind: np.array(
            [
                run["test_error"]
                for run in _runs(results, f"classify-{dataset}", kind)
            ]
        )
        for kind in KINDS
    }
    return {kind: errors for kind, errors in found.items() if len(errors)}


def _on_generation(results: dict[str, Result]) -> list[Claim]:
    waves = _waves(results)
    logs = {kind: _generated(results, kind) for kind in KINDS}
    n_runs = len(_runs(results, f"generate-{waves[0]}", "rnn"))
    what = (
        "mean square error over variance, geometric mean over"
        f" {len(waves)} waveforms and {n_runs} runs of each;"
        f" {_sizes(results, f'generate-{waves[0]}')}"
    )

    def claim(
        key: str, text: str, source: str, published: str, ours: str,
        others: tuple[str, ...],
    ) -> Claim:  # fmt: skip
        return beats(
            *(key, text, source, published, what),
            (KINDS[ours], logs[ours]),
            [(KINDS[kind], logs[kind]) for kind in others],
            show=lambda v: f"{10 ** v.mean():.2g}",
            gap=lambda d: f"{10**d:.2g} times that",
            lower_is_better=True,
            paired=True,
        )

    return [
        claim(
            "a1",
            "The Clockwork RNN generates sequences better than an RNN and an"
            " LSTM of about its size.",
            KOUTNIK,
            ", ".join(f"{KINDS[k]} {v}" for k, v in PUBLISHED.items()),
            "clockwork",
            ("rnn", "lstm"),
        ),
        claim(
            "a2",
            "A memory of several time scales keeps what one of a single scale"
            " loses: the MultiScale LMN generates better than an LMN, an RNN"
            " and an LSTM of about its size.",
            f"{CARTA}; the comparison is ours",
            "qualitative: modules improve long-term dependencies",
            "mslmn",
            ("lmn", "rnn", "lstm"),
        ),
        claim(
            "a3",
            "The MultiScale LMN generates better than a Clockwork RNN of about"
            " its size.",
            "our comparison",
            "not known to us",
            "mslmn",
            ("clockwork",),
        ),
    ]


def _on_labels(key: str, results: dict[str, Result], dataset: str) -> Claim:
    errors = _errors(results, dataset)
    return beats(
        key,
        f"On {SETS[dataset]}, a memory of several time scales improves on"
        " single ones: the MultiScale LMN, all modules trained from the start,"
        " is better than an LMN, an RNN and an LSTM of about its size.",
        f"{CARTA}; the comparison is ours",
        "qualitative (speech); on TIMIT words the Clockwork RNN reaches 16.8 %"
        " and the LSTM 34.2 % (Koutník et al.)"
        if dataset == "digits"
        else "qualitative (handwriting: IAM-OnDB there)",
        f"test error on the last frame, {len(errors['rnn'])} seeds,"
        f" {_sizes(results, f'classify-{dataset}')}",
        (KINDS["mslmn"], errors["mslmn"]),
        [(KINDS[kind], errors[kind]) for kind in ("lmn", "rnn", "lstm")],
        lower_is_better=True,
    )


def _growth(results: dict[str, Result]) -> Claim:
    """Compare growing with training all modules, task by task."""
    comparisons = {
        "generation (log10)": (
            _generated(results, "mslmn grown"),
            _generated(results, "mslmn"),
        )
    }
    for dataset in SETS:
        errors = _errors(results, dataset)
        if errors:
            comparisons[SETS[dataset]] = (
                100 * errors["mslmn grown"],
                100 * errors["mslmn"],
            )
    told: list[str] = []
    found: dict[str, list[str]] = {"better": [], "worse": [], "even": []}
    for task, (ours, theirs) in comparisons.items():
        paired = task.startswith("generation")
        names = ("grown", ours), [("whole", theirs)]
        empty = ("", "", "", "", "")
        better = beats(*empty, *names, lower_is_better=True, paired=paired)
        worse = beats(*empty, *names, paired=paired)
        told.append(
            f"{task} {mean(ours, 2 if paired else 1)} against"
            f" {mean(theirs, 2 if paired else 1)}"
        )
        if better.verdict != NOT_COMPARABLE:
            is_better, is_worse = (
                better.verdict == HOLDS,
                worse.verdict == HOLDS,
            )
            how = "better" if is_better else "worse" if is_worse else "even"
            found[how].append(task)
    n_decided = sum(map(len, found.values()))
    verdict = HOLDS if found["better"] and not found["worse"] else FAILS
    return Claim(
        "d1",
        "Growing the memory module by module, each from its closed form, is"
        " better than training all modules from the start: on some task by"
        " more than chance, and on none worse.",
        CARTA,
        "qualitative: improves long-term dependencies",
        "errors, grown against trained whole, same size, same epochs in all"
        " (a grown network takes its best epoch from those with all modules): "
        + "; ".join(told),
        verdict if n_decided else NOT_COMPARABLE,
        "; ".join(
            f"{how}: {', '.join(tasks) or 'no task'}"
            for how, tasks in found.items()
        )
        + " (one-sided t-tests either way, 5 %)"
        if n_decided
        else "too few runs to tell a difference from chance",
    )


def _reach(memory: dict[str, Any]) -> Array:
    """Return each module's centre of memory, sum k R2(k) / sum R2(k)."""
    r2, lags = np.array(memory["r2"]), np.array(memory["lags"])
    totals = np.maximum(r2.sum(1), 1e-12)
    reach: Array = r2 @ lags / totals
    return reach


def _memories(
    results: dict[str, Result], where: str, kind: str
) -> list[dict[str, Any]]:
    """Return what was measured on a set, or on modules just grown."""
    if where == "noise":
        return [
            result["memory"]
            for key, result in results.items()
            if key.startswith("memory-") and kind == "mslmn grown"
        ]
    runs = _runs(results, f"classify-{where}", kind)
    return [run["memory"] for run in runs if "memory" in run]


def _memory(results: dict[str, Result]) -> list[Claim]:
    claims: list[Claim] = []
    for where, name in MEMORIES.items():
        found = _memories(results, where, "mslmn grown")
        if not found:
            continue
        by_run = np.array([_reach(memory) for memory in found])
        reach = by_run.mean(0)
        rises = bool((np.diff(by_run) > 0).all())
        claims.append(
            Claim(
                f"d{len(claims) + 2}",
                "Each module remembers a time scale of its own, slower ones"
                f" the older past: {name}.",
                "the idea of the paper; how it is measured is ours",
                "none",
                "centre of the lags that can be read from modules 0 to"
                f" {len(reach) - 1}, in steps: "
                + ", ".join(f"{r:.1f}" for r in reach),
                HOLDS if rises else FAILS,
                "in every run each module's memory lies further back than the"
                " faster one's"
                if rises
                else "not in every run does each module's memory lie further"
                " back than the faster one's",
            )
        )
    return claims


def _cost(results: dict[str, Result]) -> Claim:
    found = results["cost"]
    nine = found["modules"].index(9)
    ratios = {network: found[network]["ratio"][nine] for network in NETWORKS}
    holds = max(ratios["memory"], ratios["hidden"]) <= CHEAP
    return Claim(
        "e",
        "A step costs what its active modules cost, about two on average,"
        " whatever their number: in a MultiScale LMN nine cost at most"
        f" {CHEAP} times what two cost.",
        "Koutník et al. 2014: only active modules are computed; the bound is"
        " ours",
        "a speed-up over an RNN of the same size of at least g / 4",
        "forward and backward at g = 9 over g = 2, CPU time on one thread, in"
        " a process that keeps the memory it once had: "
        + ", ".join(f"{NETWORKS[k]} {v:.2f}" for k, v in ratios.items()),
        HOLDS if holds else FAILS,
        "active modules rise from 1.5 to 2 per step, the blocks of weights"
        " that they read from 2 to 4 (all there is in the Clockwork RNN)"
        if holds
        else "above the bound here; the arrays over all units and steps do"
        " grow with g, and a busy machine is slow with them",
    )


# --- tables -----------------------------------------------------------------


def _generation_table(results: dict[str, Result]) -> Table:
    waves, rows = _waves(results), []
    for kind, name in KINDS.items():
        runs = {w: _runs(results, f"generate-{w}", kind) for w in waves}
        logs = _generated(results, kind)
        flat = [run for found in runs.values() for run in found]
        rows.append(
            (
                name,
                f"{flat[0]['n_weights']:,}",
                PUBLISHED.get(kind, "not known"),
                f"{10 ** logs.mean():.2g}",
                *(
                    f"{np.mean([r['normalised_error'] for r in runs[w]]):.2g}"
                    for w in waves
                ),
                ", ".join(sorted({f"{r['rate']:g}" for r in flat})),
            )
        )
    return Table(
        "Sequence generation: squared error of 320 points over their variance,"
        " by waveform the mean over runs; published ones at 1000 weights on"
        " other waveforms, mean ± standard deviation over 100 runs",
        (
            "network",
            "weights",
            "published",
            "geometric mean",
            *waves,
            "rates",
        ),
        tuple(rows),
    )


def _labels_table(results: dict[str, Result]) -> Table:
    datasets = [d for d in SETS if _errors(results, d)]
    rows = []
    for kind, name in KINDS.items():
        cells, diverged = [], 0
        for dataset in datasets:
            errors = _errors(results, dataset)[kind]
            runs = _runs(results, f"classify-{dataset}", kind)
            cells += [f"{runs[0]['n_weights']:,}", mean(100 * errors, 1)]
            diverged += sum(len(run["diverged"]) for run in runs)
        rows.append((name, *cells, str(diverged)))
    columns = [c for d in datasets for c in ("weights", f"{SETS[d]}, error %")]
    columns.append("runs that diverged")
    return Table(
        "Labels of whole sequences, told on the last frame: test error in %,"
        " mean ± standard deviation over seeds",
        ("network", *columns),
        tuple(rows),
    )


def _memory_table(results: dict[str, Result]) -> Table:
    rows = []
    for where, name in MEMORIES.items():
        for kind in ("mslmn", "mslmn grown"):
            found = _memories(results, where, kind)
            if found:
                reach = np.mean([_reach(m) for m in found], axis=0)
                total = np.mean([np.sum(m["r2"], 1) for m in found], axis=0)
                rows += [
                    (
                        name,
                        KINDS[kind],
                        str(i),
                        str(2**i),
                        f"{reach[i]:.1f}",
                        f"{total[i]:.2f}",
                    )
                    for i in range(len(reach))
                ]
    return Table(
        "What each module remembers: linear recoverability R² of x_{t-k} from"
        " its state, at t where all modules tick",
        ("data", "network", "module", "period", "centre of lags", "sum of R²"),
        tuple(rows),
    )


def _cost_table(results: dict[str, Result]) -> Table:
    rows = []
    for network, name in NETWORKS.items():
        found = results["cost"][network]
        for k, g in enumerate(results["cost"]["modules"]):
            low, high = found["ratio_quartiles"][k]
            rows.append(
                (
                    name,
                    str(g),
                    f"{found['forward_ms'][k]:.0f}",
                    f"{found['backward_ms'][k]:.0f}",
                    f"{found['ratio'][k]:.2f}",
                    f"{low:.2f}..{high:.2f}",
                )
            )
    shape = results["cost"]["shape"]
    return Table(
        "CPU time of a pass over a sequence, one thread, medians, in a process"
        " that keeps the memory it once had (MALLOC_MMAP_THRESHOLD_ and"
        " MALLOC_TRIM_THRESHOLD_ set); where it goes back to the system after"
        " every pass, arrays over all modules cost more: "
        + ", ".join(f"{k} {v}" for k, v in shape.items()),
        (
            "network",
            "modules",
            "forward, ms",
            "backward, ms",
            "over 2 modules",
            "quartiles",
        ),
        tuple(rows),
    )


# --- figures ----------------------------------------------------------------


def draw(results: dict[str, Result], folder: Path) -> list[Path]:
    """Draw the figures into ``folder``."""
    paths = [*_draw_generation(results, folder)]
    for dataset in SETS:
        if _errors(results, dataset):
            paths.append(_draw_learning(results, dataset, folder))
    for where, name in MEMORIES.items():
        for kind in ("mslmn", "mslmn grown"):
            found = _memories(results, where, kind)
            if found:
                named = f"memory-{where}-{kind.replace(' ', '-')}.png"
                paths.append(folder / named)
                _draw_memory(found, f"{KINDS[kind]}: {name}", paths[-1])
    paths.append(folder / "cost.png")
    with figure(paths[-1]) as axes:
        for network, name in NETWORKS.items():
            ratio = results["cost"][network]["ratio"]
            axes.plot(results["cost"]["modules"], ratio, "o-", label=name)
        axes.axhline(CHEAP, color="black", linestyle=":", linewidth=1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("modules")
        axes.set_ylabel("CPU time, in units of two modules")
        axes.set_title("A step costs what its active modules cost")
        axes.legend()
    return paths


def _draw_generation(results: dict[str, Result], folder: Path) -> list[Path]:
    names = ("generation", "generation-errors", "generation-learning")
    paths = [folder / f"{name}.png" for name in names]
    wave = _waves(results)[0]
    with figure(paths[0]) as axes:
        for kind in ("lstm", "clockwork", "mslmn grown"):
            runs = _runs(results, f"generate-{wave}", kind)
            kept = [run["generated"] for run in runs if run["generated"]]
            for generated in kept[:1]:  # seed 0 alone keeps it
                axes.plot(generated, label=KINDS[kind], linewidth=1)
        axes.set_xlabel("t")
        axes.set_title(f"Generated from nothing: {wave}, seed 0")
        if axes.lines:
            axes.legend()
    with figure(paths[1], height=3.2) as axes:
        for row, kind in enumerate(KINDS):
            logs = _generated(results, kind)
            axes.semilogx(10**logs, [row] * len(logs), "o", color=COLOURS[0])
            centre = 10 ** logs.mean()
            axes.plot(centre, row, "|", color="black", markersize=16)
        axes.set_yticks(range(len(KINDS)), list(KINDS.values()))
        axes.invert_yaxis()
        axes.set_xlabel("squared error / variance; a dot per waveform")
    with figure(paths[2]) as axes:
        for kind, name in KINDS.items():
            curves = [
                np.log10(run["curve"])
                for wave in _waves(results)
                for run in _runs(results, f"generate-{wave}", kind)
            ]
            mean_curve = 10 ** np.mean(curves, axis=0)
            share = np.linspace(0, 100, len(mean_curve), endpoint=False)
            axes.semilogy(share, mean_curve, label=name)
        axes.set_xlabel("epochs, in % of all")
        axes.set_ylabel("best squared error / variance so far")
        axes.set_title("Learning to generate, geometric mean over runs")
        axes.legend(fontsize=8)
    return paths


def _draw_learning(
    results: dict[str, Result], dataset: str, folder: Path
) -> Path:
    path = folder / f"learning-{dataset}.png"
    with figure(path) as axes:
        for kind, name in KINDS.items():
            runs = _runs(results, f"classify-{dataset}", kind)
            curve = 100 * np.mean([run["curve"] for run in runs], axis=0)
            axes.semilogy(range(1, len(curve) + 1), curve, label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation error, %")
        axes.set_title(f"Learning {SETS[dataset]}, mean over seeds")
        axes.legend(fontsize=8)
    return path


def _draw_memory(found: list[dict[str, Any]], title: str, path: Path) -> None:
    with figure(path) as axes:
        r2 = np.mean([memory["r2"] for memory in found], axis=0)
        for i, curve in enumerate(r2):
            style = {"linewidth": 0.8, "markersize": 3}
            lags = found[0]["lags"]
            axes.plot(lags, curve, ".-", label=f"module {i}", **style)
        axes.set_xlabel("lag k")
        axes.set_ylabel("R² of x$_{t-k}$ read from the module")
        axes.set_title(title, fontsize=9)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


MSLMN_PAPERS = Paper(
    name="mslmn",
    title="Multi-scale memory and incremental training",
    jobs=jobs,
    prepare=prepare,
    judge=judge,
    draw=draw,
    scaled_down="waveforms of our own instead of music; Adam instead of SGD"
    " with Nesterov momentum, 1000 epochs instead of 2000, 2 runs per"
    " waveform instead of 100; spoken digits without speaker labels instead"
    " of TIMIT words, pen digits and 5,000 MNIST digits instead of IAM-OnDB;"
    " one size per task, two learning rates. Quick: 250 and 2500 weights, 200"
    " and at most 10 epochs, one rate, two waveforms, no pixels.",
)
