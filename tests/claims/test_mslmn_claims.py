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
    """Keep the sets of the package away; return the names asked for."""
    names = []
    monkeypatch.setattr(mslmn, "labelled", names.append)
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


def test_the_scales_share_no_results():
    quick, full = ({job.fingerprint for job in jobs(s)} for s in (QUICK, FULL))
    few = [job.key for job in jobs(FULL) if job.fingerprint in quick & full]
    assert all(key.startswith("memory-") for key in few)


def test_all_kinds_have_the_same_tasks_and_seeds():
    for setting, seeds in ((QUICK, [0, 1]), (FULL, [0, 1, 2])):
        tasks = {kind: [] for kind in KINDS}
        for job in jobs(setting):
            if job.function in (generate, classify):
                settings = dict(job.settings)
                tasks[settings.pop("kind")].append(settings)
        assert all(task == tasks["rnn"] for task in tasks.values())
        for task in tasks["rnn"]:
            of_task = [t["seed"] for t in tasks["rnn"]
                       if t | {"seed": 0} == task | {"seed": 0}]  # fmt: skip
            digits = task.get("dataset") == "digits"
            assert of_task == (list(setting.seeds) if digits else seeds)


def test_modules_are_there_after_half_of_the_epochs():
    for job in (*jobs(QUICK), *jobs(FULL)):
        if job.settings.get("kind") == "mslmn grown":
            n_epochs, n_modules = (
                job.settings[name] for name in ("n_epochs", "n_modules")
            )
            every = max(1, n_epochs // 2 // n_modules)
            assert (n_modules - 1) * every <= n_epochs // 2


def test_every_set_is_fetched_once_before_any_job(fetched):
    jobs(QUICK)
    assert fetched == ["digits", "pen", "rows"]
    fetched.clear()
    asked = {job.settings.get("dataset") for job in jobs(FULL)} - {None}
    assert fetched == ["digits", "pen", "rows", "pixels"]
    assert set(fetched) == asked


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


def comb(peaks):
    """Return a memory whose module i holds lag ``peaks[i]`` alone."""
    r2 = [[0.5 * (lag == peak) for lag in range(9)] for peak in peaks]
    return {"lags": list(range(9)), "r2": r2}


def found_by(job):
    """Return numbers with which every claim holds; jobs differ a little."""
    kind = job.settings.get("kind")
    task = job.settings.get("wave", job.settings.get("dataset"))
    jitter = float(generator(job.key, 0).standard_normal())
    weights = {"network": f"{kind}()", "n_weights": 1234, "rate": 0.01}
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
        return weights | {
            "normalised_error": GENERATED[kind] * spread,
            "generated": generated if job.settings["seed"] == 0 else None,
        }
    found = weights | {
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
    assert quick == dict.fromkeys(ON_QUICK, "holds")
    full = verdicts(made_up(FULL))
    assert full == dict.fromkeys([*ON_QUICK, "c3", "d4"], "holds")


def having(kind, start, name, value):
    """Return a change: results of one kind, in tasks by the key's start."""

    def change(results):
        key = re.compile(rf"{start}.*-{kind.replace(' ', '-')}-[0-9]")
        changed = [k for k in results if key.fullmatch(k)]
        assert changed
        for k in changed:
            jitter = results[k][name] / GENERATED[kind]
            if name == "test_error":
                jitter = 1.0 + 0.1 * (results[k][name] - WRONG[kind])
            results[k] = results[k] | {name: value * jitter}

    return change


def generating(kind, value):
    return having(kind, "generate", "normalised_error", value)


def telling(dataset, kind, value):
    return having(kind, f"classify-{dataset}", "test_error", value)


def remembering(start, memory):
    def change(results):
        for key in results:
            if re.fullmatch(rf"{start}-[0-9]", key):
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
    "generation without growth": (generating("mslmn", 0.019), "d1"),
    "an LMN for digits": (telling("digits", "lmn", 0.1), "b1"),
    "an RNN for digits": (telling("digits", "rnn", 0.1), "b1"),
    "an LSTM for pen digits": (telling("pen", "lstm", 0.1), "c1"),
    "an LSTM for rows": (telling("rows", "lstm", 0.1), "c2"),
    "an LMN for pixels": (telling("pixels", "lmn", 0.1), "c3"),
    "Clockwork for digits": (telling("digits", "clockwork", 0.1), ""),
    "digits without growth": (telling("digits", "mslmn", 0.1), "d1"),
    "pixels without growth": (telling("pixels", "mslmn", 0.1), "d1"),
    "growth is in the way": (telling("pen", "mslmn grown", 0.6), "c1 d1"),
    "flat as grown": (remembering("memory", comb([1, 4, 2, 8])), "d2"),
    "flat on digits": (
        remembering("classify-digits-mslmn-grown", NOT_RISING), "d3"),
    "flat on pixels": (
        remembering("classify-pixels-mslmn-grown", NOT_RISING), "d4"),
    "flat unless grown": (
        remembering("classify-pixels-mslmn", NOT_RISING), ""),
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


def test_growing_has_to_be_better_than_the_spread():
    results = made_up(FULL)
    for seed in range(3):
        own = results[f"classify-rows-mslmn-grown-{seed}"]["test_error"]
        theirs = results[f"classify-rows-mslmn-{seed}"]
        theirs["test_error"] = own + 0.0005
    claims, _ = judge(FULL, results)
    growth = next(claim for claim in claims if claim.key == "d1")
    assert growth.verdict == "does not hold here"
    assert "worse on average on no task" in growth.reason
    telling("rows", "mslmn", 0.1)(results)
    claims, _ = judge(FULL, results)
    growth = next(claim for claim in claims if claim.key == "d1")
    assert f"worse on average on {mslmn.SETS['rows']} (" in growth.reason
    better, _, _ = growth.reason.partition(";")
    assert mslmn.SETS["rows"] not in better
    for name in ("generation", mslmn.SETS["pen"], mslmn.SETS["pixels"]):
        assert name in better


def test_one_seed_is_not_comparable():
    setting = Setting("full", (0,))
    found = verdicts(made_up(setting), setting)
    for key in ("b1", "c1", "c2", "c3"):
        assert found[key] == "not comparable"
    one_wave = {
        key: result
        for key, result in made_up(setting).items()
        if not key.startswith("generate") or "chirp" in key
    }
    found = verdicts(one_wave, setting)
    for key in ("a1", "a2", "a3", "b1", "c1", "d1"):
        assert found[key] == "not comparable"


@pytest.mark.xfail(reason="growth counts the runs of the generation alone")
def test_growth_is_not_comparable_where_a_task_has_one_run():
    setting = Setting("full", (0,))
    assert verdicts(made_up(setting), setting)["d1"] == "not comparable"


def test_claims_say_what_was_measured():
    results = made_up(FULL)
    claims = {claim.key: claim for claim in judge(FULL, results)[0]}
    errors = {
        kind: [
            results[f"generate-{wave}-{kind.replace(' ', '-')}-{seed}"]
            ["normalised_error"]
            for wave in mslmn.WAVEFORMS for seed in range(3)
        ]
        for kind in KINDS
    }  # fmt: skip
    means = {k: np.exp(np.mean(np.log(v))) for k, v in errors.items()}
    assert "over 5 waveforms, 15 runs" in claims["a3"].measured
    for kind in ("mslmn", "clockwork"):
        assert f"{KINDS[kind]} {means[kind]:.2g}" in claims["a3"].measured
    times = f"({means['mslmn'] / means['clockwork']:.2g} times that)"
    assert times in claims["a3"].measured
    digits = [
        results[f"classify-digits-lmn-{seed}"]["test_error"]
        for seed in FULL.seeds
    ]
    shown = f"LMN {100 * np.mean(digits):.1f} ± {100 * np.std(digits, ddof=1)}"
    assert shown[:14] in claims["b1"].measured
    assert "5 seeds" in claims["b1"].measured
    assert claims["d2"].measured.endswith("in steps: 1.0, 2.0, 4.0, 8.0")
    assert claims["e"].measured.count("1.60") == 3


def test_the_centre_of_a_memory_is_the_mean_lag():
    results = made_up(FULL)
    r2 = [[0.4, 0.4, 0.0], [0.1, 0.1, 0.3], [0.0, 0.0, 0.2]]
    other = [[0.0, 0.4, 0.0], [0.0, 0.2, 0.2], [0.0, 0.0, 0.0]]
    for seed, curves in enumerate((r2, other, other)):
        memory = {"lags": [0, 4, 8], "r2": curves}
        key = f"classify-pixels-mslmn-grown-{seed}"
        results[key] = results[key] | {"memory": memory}
    claims = {claim.key: claim for claim in judge(FULL, results)[0]}
    # 2, 4, 4 steps; 5.6, 6, 6; 8, and nothing at all twice
    assert claims["d4"].measured.endswith("in steps: 3.3, 5.9, 2.7")
    assert claims["d4"].verdict == "does not hold here"


def test_tables_have_a_row_for_every_network():
    results = made_up(FULL)
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
        named = kind.replace(" ", "-")
        waves = [
            np.mean([
                results[f"generate-{wave}-{named}-{seed}"]["normalised_error"]
                for seed in range(3)
            ])
            for wave in mslmn.WAVEFORMS
        ]  # fmt: skip
        shown = [f"{wave:.2g}" for wave in waves]
        assert list(generation.rows[k][5:-1]) == shown
        for column, dataset in enumerate(mslmn.SETS):
            runs = [
                results[f"classify-{dataset}-{named}-{seed}"]["test_error"]
                for seed in (FULL.seeds if dataset == "digits" else range(3))
            ]
            cell = labels.rows[k][2 + 2 * column]
            assert cell.startswith(f"{100 * np.mean(runs):.1f} ± ")
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
        for module in (mslmn, scales):
            patch.setattr(module, "labelled", a_set)
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
    # generation twice, three sets, modules as grown and on digits twice, cost
    assert len(paths) == 2 + 3 + 1 + 2 + 1
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000
    assert {p.name for p in paths} == {p.name for p in tmp_path.iterdir()}


@pytest.mark.xfail(reason="only seed 0 keeps what it generated")
def test_figures_are_drawn_of_other_seeds_too(tmp_path):
    assert draw(made_up(Setting(seeds=(1, 2))), tmp_path)
