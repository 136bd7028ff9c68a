"""What is run for the multi-scale paper, and what follows from the numbers."""

import inspect
import json
import re

import numpy as np
import pytest

from msref.claims import PAPERS, Setting, mslmn, scales
from msref.claims.base import generator
from msref.claims.mslmn import draw, jobs, judge
from msref.claims.scales import (
    KINDS,
    classify,
    cost,
    generate,
    memory_as_grown,
)
from msref.data import LabelledSet, waveform

QUICK, FULL = Setting(seeds=(0, 1)), Setting("full", (0, 1, 2, 3, 4))


@pytest.fixture(autouse=True)
def fetched(monkeypatch):
    """Keep away from the network; return the names of files asked for."""
    names = []
    monkeypatch.setattr(mslmn, "fetch", names.append)
    monkeypatch.setattr(scales, "labelled", names.append)
    return names


# --- the jobs ---------------------------------------------------------------


@pytest.mark.parametrize("setting", [QUICK, FULL], ids=["quick", "full"])
def test_jobs_have_their_own_names_and_fingerprints(setting):
    found = jobs(setting)
    assert len({job.key for job in found}) == len(found)
    assert len({job.fingerprint for job in found}) == len(found)
    for job in found:
        inspect.signature(job.function).bind(**job.settings, checkpoint=None)
        json.dumps(job.settings, allow_nan=False)
        assert re.fullmatch(r"[a-z0-9-]+", job.key)
        assert job.alone == (job.function is cost)


@pytest.mark.parametrize("setting", [QUICK, FULL], ids=["quick", "full"])
def test_all_kinds_have_the_same_tasks_and_seeds(setting):
    tasks = {kind: [] for kind in KINDS}
    for job in jobs(setting):
        if job.function in (generate, classify):
            settings = dict(job.settings)
            tasks[settings.pop("kind")].append(settings)
    assert all(task == tasks["rnn"] for task in tasks.values())
    seeds = {}
    for task in tasks["rnn"]:
        name = task.get("wave", task.get("dataset"))
        seeds.setdefault(name, []).append(task["seed"])
    assert seeds.pop("digits") == list(setting.seeds)
    for found in seeds.values():
        assert len(found) >= 2
        assert found == list(setting.seeds[: len(found)])
    n_runs = {len(seeds[wave]) for wave in mslmn.WAVEFORMS if wave in seeds}
    assert len(n_runs) == 1  # or waveforms would weigh differently


def test_modules_are_there_after_half_of_the_epochs():
    for job in (*jobs(QUICK), *jobs(FULL)):
        if job.settings.get("kind") == "mslmn grown":
            n_epochs, n_modules = (
                job.settings[name] for name in ("n_epochs", "n_modules")
            )
            every = max(1, n_epochs // 2 // n_modules)
            assert (n_modules - 1) * every <= n_epochs // 2


def test_only_what_missing_jobs_read_is_fetched(fetched):
    quick, full = jobs(QUICK), jobs(FULL)
    assert fetched == []
    prepare = PAPERS["mslmn"].prepare
    prepare([job for job in full if "dataset" not in job.settings])
    assert fetched == []
    prepare([job for job in full if job.settings.get("dataset") == "pixels"])
    assert fetched == ["mnist-5k"]
    for found in (quick, full):
        fetched.clear()
        prepare(found)
        assert set(fetched) == {"spoken-digits", "pen-digits", "mnist-5k"}


def test_data_of_the_caller_are_not_for_this_paper():
    assert not PAPERS["mslmn"].takes_data


# --- what follows from the numbers ------------------------------------------

GENERATED = {
    "rnn": 0.5,
    "lstm": 0.3,
    "clockwork": 0.1,
    "lmn": 0.4,
    "mslmn": 0.05,
    "mslmn grown": 0.02,
}
WRONG = {
    "rnn": 0.5,
    "lstm": 0.45,
    "clockwork": 0.4,
    "lmn": 0.35,
    "mslmn": 0.25,
    "mslmn grown": 0.15,
}
WEIGHTS = dict(zip(KINDS, (991, 1036, 829, 1045, 1015, 1015), strict=True))


def comb(peaks):
    """Return a memory whose module i holds lag ``peaks[i]`` alone."""
    r2 = [[0.5 * (lag == peak) for lag in range(9)] for peak in peaks]
    return {"lags": list(range(9)), "r2": r2}


def found_by(job):
    """Return numbers with which every claim holds; jobs differ a little."""
    kind = job.settings.get("kind")
    task = job.settings.get("wave", job.settings.get("dataset"))
    jitter = float(generator(job.key, 0).standard_normal())
    common = {"network": f"{kind}()", "rate": 0.01, "diverged": []}
    if job.function is cost:
        modules = list(range(1, 11))
        one = {
            "forward_ms": [10.0 + g for g in modules],
            "backward_ms": [20.0 + g for g in modules],
            "ratio": [0.7 + 0.15 * min(g, 6) for g in modules],
            "ratio_quartiles": [[0.9, 1.1]] * 10,
        }
        shape = {"n_hid": 4, "n_mem": 3, "n_batch": 2, "n_time": 16}
        networks = ("memory", "hidden", "clockwork")
        return {"modules": modules, "shape": shape} | {
            network: dict(one) for network in networks
        }
    if job.function is memory_as_grown:
        return {"network": "", "memory": comb([1, 2, 4, 8])}
    if job.function is generate:
        # Waveforms differ far more than networks; pairs see through it.
        spread = 10.0 ** (len(task) % 4 - 2 + 0.01 * jitter)
        generated = waveform("chirp")[:, 0].tolist()
        return common | {
            "n_weights": WEIGHTS[kind],
            "curve": [1.0, 0.5, 0.25],
            "normalised_error": GENERATED[kind] * spread,
            "generated": generated if job.settings["seed"] == 0 else None,
        }
    found = common | {
        "n_weights": 5 * WEIGHTS[kind],
        "test_error": WRONG[kind] + 0.01 * jitter,
        "curve": [0.5, 0.4, 0.3],
    }
    if job.settings["lags"] is not None and kind.startswith("mslmn"):
        found["memory"] = comb([1, 2, 4])
    return found


def made_up(setting):
    return {job.key: found_by(job) for job in jobs(setting)}


def verdicts(results, setting=FULL):
    claims, _ = judge(setting, results)
    found = {claim.key: claim.verdict for claim in claims}
    assert len(found) == len(claims)
    return found


ON_QUICK = ["a1", "a2", "a3", "b1", "c1", "c2", "d1", "d2", "d3", "e"]


def test_every_claim_can_hold():
    quick = verdicts(made_up(QUICK), QUICK)
    two_waves = dict.fromkeys(["a1", "a2", "a3"], "not comparable")
    assert quick == dict.fromkeys(ON_QUICK, "holds") | two_waves
    full = verdicts(made_up(FULL))
    assert full == dict.fromkeys([*ON_QUICK, "c3", "d4"], "holds")


def runs_of(results, task, kind):
    key = re.compile(rf"{task}.*-{kind.replace(' ', '-')}-[0-9]")
    found = [k for k in results if key.fullmatch(k)]
    assert found
    return found


def generating(kind, level):
    """Return a change: one kind's errors, with the differences they have."""

    def change(results):
        for key in runs_of(results, "generate", kind):
            error = results[key]["normalised_error"] / GENERATED[kind]
            results[key] = results[key] | {"normalised_error": level * error}

    return change


def telling(dataset, kind, level):
    def change(results):
        for key in runs_of(results, f"classify-{dataset}", kind):
            error = results[key]["test_error"] - WRONG[kind]
            results[key] = results[key] | {"test_error": level + error}

    return change


def remembering(keys, memory):
    def change(results):
        for key in results:
            if re.fullmatch(keys, key):
                results[key] = results[key] | {"memory": memory}

    return change


def costing(network, ratio):
    def change(results):
        one = results["cost"][network]
        one["ratio"] = [*one["ratio"][:8], ratio, one["ratio"][9]]

    return change


NOT_RISING = comb([1, 4, 4])
CHANGES = {
    "Clockwork as bad as an LSTM": (generating("clockwork", 0.31), "a1"),
    "an RNN like Clockwork": (generating("rnn", 0.099), "a1"),
    "an LMN that generates": (generating("lmn", 0.045), "a2"),
    "an RNN that generates": (generating("rnn", 0.045), "a1 a2"),
    "an LSTM that generates": (generating("lstm", 0.045), "a1 a2"),
    "a better Clockwork": (generating("clockwork", 0.045), "a3"),
    "a bad MultiScale LMN": (generating("mslmn", 0.35), "a2 a3"),
    "generation without growth": (generating("mslmn", 0.01), "d1"),
    "an LMN for digits": (telling("digits", "lmn", 0.1), "b1"),
    "an RNN for digits": (telling("digits", "rnn", 0.1), "b1"),
    "an LSTM for pen digits": (telling("pen", "lstm", 0.1), "c1"),
    "an LSTM for rows": (telling("rows", "lstm", 0.1), "c2"),
    "an LMN for pixels": (telling("pixels", "lmn", 0.1), "c3"),
    "Clockwork for digits": (telling("digits", "clockwork", 0.1), ""),
    "digits without growth": (telling("digits", "mslmn", 0.1), "d1"),
    "pixels without growth": (telling("pixels", "mslmn", 0.1), "d1"),
    "growth is in the way": (telling("pen", "mslmn grown", 0.6), "d1"),
    "growth is enough": (telling("pen", "mslmn", 0.6), "c1"),
    "flat as grown": (remembering("memory-[0-9]", comb([1, 4, 2, 8])), "d2"),
    "flat on digits": (
        remembering("classify-digits-mslmn-grown-[0-9]", NOT_RISING), "d3"),
    "flat on digits once": (
        remembering("classify-digits-mslmn-grown-3", NOT_RISING), "d3"),
    "flat on pixels": (
        remembering("classify-pixels-mslmn-grown-[0-9]", NOT_RISING), "d4"),
    "flat unless grown": (
        remembering("classify-pixels-mslmn-[0-9]", NOT_RISING), ""),
    "nine that cost": (costing("memory", 1.61), "e"),
    "nine that cost, hidden": (costing("hidden", 1.61), "e"),
    "just cheap": (costing("memory", 1.6), ""),
    "a costly Clockwork": (costing("clockwork", 2.0), ""),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_other_numbers_turn_their_claims_and_no_others(what):
    change, failing = CHANGES[what]
    results = made_up(FULL)
    change(results)
    found = verdicts(results)
    assert {k for k, v in found.items() if v != "holds"} == set(failing.split())
    assert set(found.values()) <= {"holds", "does not hold here"}


def growth(results):
    claims = {claim.key: claim for claim in judge(FULL, results)[0]}
    told = re.fullmatch(
        r"better: (.*); worse: (.*); even: (.*) \(one.*", claims["d1"].reason
    )
    return claims["d1"].verdict, *told.groups()


def without_growth(results, task):
    """Let networks that were not grown do as well, but for a little."""
    name = "normalised_error" if task == "generate" else "test_error"
    for k, key in enumerate(runs_of(results, task, "mslmn grown")):
        little = 1.0 + 0.01 * (-1.0) ** k
        theirs = key.replace("-grown", "")
        results[theirs] = results[theirs] | {name: results[key][name] * little}


def test_growing_has_to_be_better_on_some_task_and_worse_on_none():
    results = made_up(FULL)
    tasks = ["generation (log10)", *mslmn.SETS.values()]
    every, none = ", ".join(tasks), "no task"
    assert growth(results) == ("holds", every, none, none)
    for dataset in ("rows", "pixels"):
        without_growth(results, f"classify-{dataset}")
    better, even = ", ".join(tasks[:3]), ", ".join(tasks[3:])
    assert growth(results) == ("holds", better, none, even)
    telling("rows", "mslmn", 0.1)(results)
    found = growth(results)
    assert found == ("does not hold here", better, tasks[3], tasks[4])
    for task in ("generate", *(f"classify-{name}" for name in mslmn.SETS)):
        without_growth(results, task)
    assert growth(results) == ("does not hold here", none, none, every)


def test_one_seed_is_not_comparable():
    setting = Setting("full", (0,))
    results = made_up(setting)
    found = verdicts(results, setting)
    for key in ("b1", "c1", "c2", "c3"):
        assert found[key] == "not comparable"
    # of growth, the waveforms can tell; they do not on two of them
    assert growth(results)[1:] == ("generation (log10)", "no task", "no task")
    two_waves = {
        key: result
        for key, result in results.items()
        if not re.match(r"generate-(am|saw|random)", key)
    }
    found = verdicts(two_waves, setting)
    for key in ("a1", "a2", "a3", "b1", "c1", "d1"):
        assert found[key] == "not comparable"


def generated(results, kind):
    """Return normalised errors, a row per waveform."""
    keys = [
        runs_of(results, f"generate-{wave}", kind) for wave in mslmn.WAVEFORMS
    ]
    return np.array(
        [[results[key]["normalised_error"] for key in row] for row in keys]
    )


def test_claims_say_what_was_measured():
    results = made_up(FULL)
    claims = {claim.key: claim for claim in judge(FULL, results)[0]}
    means = {
        kind: np.exp(np.log(generated(results, kind)).mean()) for kind in KINDS
    }
    n_runs = generated(results, "rnn").shape[1]
    assert f"5 waveforms and {n_runs} runs of each" in claims["a3"].measured
    sizes = "829 (Clockwork RNN) to 1,045 (LMN) weights"
    assert sizes in claims["a1"].measured
    assert "4,145 (Clockwork RNN) to 5,225 (LMN)" in claims["c1"].measured
    said = f"{n_runs} runs per waveform"
    assert said in PAPERS["mslmn"].scaled_down
    for kind in ("mslmn", "clockwork"):
        assert f"{KINDS[kind]} {means[kind]:.2g}" in claims["a3"].measured
    times = f"({means['mslmn'] / means['clockwork']:.2g} times that)"
    assert times in claims["a3"].measured
    digits = [
        results[f"classify-digits-lmn-{seed}"]["test_error"]
        for seed in FULL.seeds
    ]
    average, spread = 100 * np.mean(digits), 100 * np.std(digits, ddof=1)
    assert f", LMN {average:.1f} ± {spread:.1f} %" in claims["b1"].measured
    assert "5 seeds" in claims["b1"].measured
    assert claims["d2"].measured.endswith("in steps: 1.0, 2.0, 4.0, 8.0")
    assert claims["e"].measured.count("1.60") == 3


def test_the_centre_of_a_memory_is_the_mean_lag():
    results = made_up(FULL)
    r2 = [[0.4, 0.4, 0.0], [0.1, 0.1, 0.3], [0.0, 0.0, 0.2]]
    other = [[0.0, 0.4, 0.0], [0.0, 0.2, 0.2], [0.0, 0.0, 0.0]]
    *few, last = runs_of(results, "classify-digits", "mslmn grown")
    for key in (*few, last):
        memory = {"lags": [0, 4, 8], "r2": other if key == last else r2}
        results[key] = results[key] | {"memory": memory}
    claims = {claim.key: claim for claim in judge(FULL, results)[0]}
    # four times 2, 5.6, 8 steps; and 4, 6, and nothing at all
    assert claims["d3"].measured.endswith("in steps: 2.4, 5.7, 6.4")
    assert claims["d3"].verdict == "does not hold here"  # in the last run


def test_tables_have_a_row_for_every_network():
    results = made_up(FULL)
    results["classify-pen-lstm-1"]["diverged"] = [0.01]
    results["classify-rows-lstm-0"]["diverged"] = [0.01, 0.003]
    _, tables = judge(FULL, results)
    generation, labels, memory, costs = tables
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.markdown().count("\n") == len(table.rows) + 4
    for table in (generation, labels):
        assert [row[0] for row in table.rows] == list(KINDS.values())
    assert [row[2] for row in generation.rows] == [
        "0.46 ± 0.08", "0.04 ± 0.01", "0.007 ± 0.004", *["not known"] * 3
    ]  # fmt: skip
    for k, kind in enumerate(KINDS):
        errors = generated(results, kind)
        shown = [np.exp(np.log(errors).mean()), *errors.mean(1)]
        told = [f"{error:.2g}" for error in shown]
        assert list(generation.rows[k][3:-1]) == told
        for column, dataset in enumerate(mslmn.SETS):
            keys = runs_of(results, f"classify-{dataset}", kind)
            runs = [results[key]["test_error"] for key in keys]
            cell = labels.rows[k][2 + 2 * column]
            assert cell.startswith(f"{100 * np.mean(runs):.1f} ± ")
    diverged = [row[-1] for row in labels.rows]
    assert diverged == ["0", "3", "0", "0", "0", "0"]
    # modules as they grow, and two networks on each of two sets
    assert len(memory.rows) == 4 + 4 * 3
    assert memory.rows[3][2:] == ("3", "8", "8.0", "0.50")
    assert len(costs.rows) == 3 * 10
    assert costs.rows[8][1:] == ("9", "19", "29", "1.60", "0.90..1.10")


# --- all of it, small -------------------------------------------------------


def a_set(name):
    rng = np.random.default_rng(len(name))
    part = [
        (rng.standard_normal((rng.integers(4, 7), 2)), k % 2) for k in range(8)
    ]
    return LabelledSet(name, "here", "none", ("0", "1"), part, part, part)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The jobs of the quick scale, made small."""
    folder = tmp_path_factory.mktemp("jobs")
    small = {
        "budget": 30,
        "n_modules": 2,
        "n_epochs": 3,
        "modules": [1, 2, 9],
        "n_hid": 2,
        "n_mem": 2,
        "n_time": 16,
        "repeats": 2,
        "max_lag": 3,
    }
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scales, "labelled", a_set)
        patch.setattr(
            scales, "waveform", lambda wave, rng: waveform(wave, 64, rng)
        )
        for job in jobs(Setting(seeds=(0,))):
            settings = dict(job.settings)
            settings |= {k: small[k] for k in settings if k in small}
            if job.function is generate:
                settings["n_epochs"] = 50
            if settings.get("lags"):
                settings["lags"] = [2, 1]
            part = folder / f"{job.key}.part"
            found[job.key] = job.function(**settings, checkpoint=part)
    return found


def test_what_jobs_find_is_judged(results):
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    claims, tables = judge(Setting(seeds=(0,)), results)
    assert [claim.key for claim in claims] == ON_QUICK
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_figures_are_pictures(results, tmp_path):
    paths = draw(results, tmp_path)
    # generation, three sets, modules as grown and on digits twice, cost
    assert len(paths) == 3 + 3 + 1 + 2 + 1
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000
    assert {p.name for p in paths} == {p.name for p in tmp_path.iterdir()}


def test_figures_are_drawn_of_other_seeds_too(tmp_path):
    assert draw(made_up(Setting(seeds=(1, 2))), tmp_path)
