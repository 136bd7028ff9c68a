"""What is run for the warm-up paper, and what follows from it."""

import inspect
import json
import re

import numpy as np
import pytest

from msref.architectures import BRC, GRU, LSTM, MGU, NBRC, Parallel, Stack
from msref.claims import PAPERS, Setting, warmed
from msref.claims.base import generator
from msref.claims.warmed import (
    KINDS,
    STARTS,
    begin,
    core_of,
    init_of,
    inputs,
    look,
    maze,
    pairs_of,
    reachable,
    recall,
    speed,
    ways,
)
from msref.claims.warmup import SCALES, SIX, draw, jobs, judge, spearman
from msref.claims.warmup_shown import (
    FLOOR,
    MEASURED,
    errors,
    kinds_of,
    learned_at,
    looked_at,
    measured_by_them,
    memorable,
    runs,
    short_task,
    states_of,
    tasks_of,
    vaa_of,
    written,
)
from msref.training import Adam, DivergedError, Model

QUICK, FULL = Setting(seeds=(0, 1)), Setting("full", (0, 1, 2, 3, 4))


# --- the networks -----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_what_their_names_say(kind):
    cells = {"gru": GRU, "mgu": MGU, "brc": BRC, "nbrc": NBRC}
    options = {"chrono": 600, "double_bias": True} if kind == "chrono" else {}
    cell = cells.get(kind, LSTM)
    for double in (False, True):
        core = core_of(kind, 3, 8, double)
        assert isinstance(core, Stack)
        for layer, n_in in zip(core.parts, (3, 8), strict=True):
            half = cell(n_in, 4, **options)
            whole = cell(n_in, 8, **options)
            assert layer == (Parallel(half, half) if double else whole)
    with pytest.raises(ValueError, match="kind is 'gone'"):
        core_of("gone", 3, 8)


@pytest.mark.parametrize("double", [False, True])
def test_one_lstm_alone_starts_without_an_offset(double):
    found = {}
    for kind in ("lstm", "lstm zero"):
        model = Model(core_of(kind, 1, 4, double), 1, "squared")
        found[kind] = init_of(kind, model, np.random.default_rng(0))
    for name, value in found["lstm"].items():
        offset = name.endswith("/b_f")
        assert value.dtype == np.float32
        assert (found["lstm zero"][name] == value - offset).all()
    n_cells = 4 if double else 2
    assert sum(name.endswith("/b_f") for name in found["lstm"]) == n_cells


def test_a_warm_up_begins_where_the_plain_network_does(few, monkeypatch):
    seen = {}

    def stopped(model, params, sequences, rng, **options):
        seen.update(params=params, options=options)
        raise DivergedError("step 3: NaN")

    monkeypatch.setattr(warmed, "warmup", stopped)
    for start in ("warm", "double"):
        model = Model(core_of("gru", 1, 4, start == "double"), 1, "squared")
        plain = begin("gru", "plain", model, inputs("copy", 5, 0), 7, 0)
        begun = begin("gru", start, model, inputs("copy", 5, 0), 7, 0)
        assert plain.diverged is None
        assert begun.diverged == "warm-up, step 3: NaN"
        assert seen["options"]["partial"] == (start == "double")
        assert seen["options"]["n_steps"] == 7
        for name, value in plain.params.items():
            assert (seen["params"][name] == value).all()
    other = begin("gru", "plain", model, inputs("copy", 5, 0), 7, 1)
    assert any((other.params[n] != v).any() for n, v in plain.params.items())
    with pytest.raises(ValueError, match="start is 'hot'"):
        begin("gru", "hot", model, inputs("copy", 5, 0), 7, 0)


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
        assert job.alone == (job.function is speed)
        assert job.cost > 0


@pytest.mark.parametrize("setting", [QUICK, FULL], ids=["quick", "full"])
def test_what_is_compared_differs_in_cell_and_start_alone(setting):
    tasks = {}
    for job in jobs(setting):
        if job.function is recall:
            settings = dict(job.settings)
            pair = settings.pop("kind"), settings.pop("start")
            task = "-".join(job.key.split("-")[:2])
            tasks.setdefault(task, {}).setdefault(pair, []).append(settings)
            per_look = settings["n_looks"] * settings["every"]
            assert settings["n_steps"] % per_look == 0
    kinds = SCALES[setting.scale]["recall"]["kinds"]
    for by_pair in tasks.values():
        assert set(by_pair) == {(k, s) for k in kinds for s in STARTS}
        assert all(
            found == by_pair["gru", "plain"] for found in by_pair.values()
        )
        seeds = {s["seed"] for s in by_pair["gru", "plain"]}
        assert seeds <= set(setting.seeds)


def test_all_that_the_issue_asks_for_is_run_in_full():
    keys = [job.key for job in jobs(FULL)]
    for task in ("copy-50", "copy-100", "copy-300", "copy-600",
                 "denoising-100", "short-5"):  # fmt: skip
        for kind in SIX:
            for start in STARTS:
                assert f"{task}-{kind}-{start}-1" in keys
    for kind, double, n_hid, n_time in MEASURED:
        row = f"{'double' if double else 'single'}-{n_hid}-{n_time}"
        assert f"reachable-{kind}-{row}-2" in keys
        if kind == "lstm":
            assert f"reachable-lstm-zero-{row}-2" in keys
    speeds = SCALES["full"]["speed"]
    assert speeds == {"n_hid": 128, "n_time": 100, "n_warmup": 100}


# --- what follows from the numbers ------------------------------------------

BEFORE = {"chrono": (0.7, 0.13), "brc": (0.5, 0.4), "nbrc": (0.7, 0.2)}
REACHED = {"plain": 0.3, "warm": 0.01, "double": 0.02}
PRECISE = {"plain": 0.001, "warm": 0.003, "double": 0.0009}
STATES = {"plain": (0.03, 0.2, 0.6), "warm": (0.97, 0.98, 0.98),
          "double": (0.8, 0.9, 0.95)}  # fmt: skip


def found_by(job):
    """Return numbers with which every claim holds; jobs differ a little."""
    s = job.settings
    jitter = float(generator(job.key, 0).standard_normal())
    common = {
        "network": "Stack()",
        "n_weights": 1000,
        "warmup": {"loss": 0.01, "seconds": 5.0},
        "diverged": None,
    }
    if job.function is speed:
        return common | dict(s) | {"wall_s": 60.0, "cpu_s": 59.0}
    if job.function is ways:
        way = np.zeros((3, 4, 2)) + np.arange(4)[:, None]
        told = {
            "labels": [0, 1, 1, 2],
            "cuts": [1, 2, 3, 4],
            "first": [0.5, -0.5, 1.0, 2.0],
            "ways": way.tolist(),
            "ends": way[-1].tolist(),
            "explained": [0.6, 0.3],
        }
        return {"kind": "gru", "n_time": 50, "n_steps": 2000,
                "before": told, "after": told}  # fmt: skip
    if job.function is reachable:
        row = s["kind"], s["double"], s["n_hid"], s["n_time"]
        theirs = measured_by_them(row)[2]
        return common | {
            "row": list(row),
            "moments": s["moments"],
            "before": list(BEFORE.get(s["kind"], (FLOOR, FLOOR))),
            "after": [theirs, theirs - 0.05],
        }
    if job.function is maze:
        sooner = s["start"] != "plain"
        return common | {
            "n_episodes": s["n_episodes"],
            "curve": [{"episode": n, "return": 1.0} for n in (0, 20)],
            "mean_return": 2.0 + 1.5 * sooner + 0.05 * jitter,
            "optimal_after": round(400 - 300 * sooner + 10 * jitter),
            "vaa": [0.9, 0.9] if sooner else [0.01, 0.2],
        }
    error = (PRECISE if job.key.startswith("short") else REACHED)[s["start"]]
    error *= 10 ** (0.02 * jitter)
    vaa = [v + 0.005 * jitter * k for k, v in enumerate(STATES[s["start"]])]
    looks = [
        {"epoch": k, "vaa": v, "error": e}
        for k, v, e in zip((0, 1, 2), vaa, (1.0, 0.9, error), strict=True)
    ]
    return common | {
        "n_steps": s["n_steps"],
        "every": s["every"],
        "test_error": error,
        "curve": [0.9, error],
        "looks": looks,
    }


def made_up(setting):
    return {job.key: found_by(job) for job in jobs(setting)}


def verdicts(results, setting=FULL):
    claims, _ = judge(setting, results)
    found = {claim.key: claim.verdict for claim in claims}
    assert len(found) == len(claims)
    return found


def expected_keys(setting):
    scale = SCALES[setting.scale]
    keys = [
        "a1",
        "a2",
        "a3",
        "c1",
        "c2",
        "d1",
        "d2",
        "d3",
        "e1",
        "e2",
        "e3",
        "f",
    ]
    rows = [row[0] for row in scale["reachable"]["rows"]]
    keys += ["a4"] if "brc" in rows else []
    banded = [k for k in rows if k in ("gru", "mgu", "lstm", "lstm zero")]
    keys += [f"a{5 + k}" for k in range(len(banded))]
    for task, n_time in scale["recall"]["tasks"]:
        begins = "bn" if task == "denoising" else f"b{n_time}"
        kinds = (*scale["recall"]["kinds"], "double")
        keys += [f"{begins}-{kind}" for kind in kinds]
    return keys


@pytest.mark.parametrize("setting", [QUICK, FULL], ids=["quick", "full"])
def test_every_claim_can_hold(setting):
    found = verdicts(made_up(setting), setting)
    assert found == dict.fromkeys(expected_keys(setting), "holds")


def change(pattern, **changes):
    """Return a change of all results whose key matches."""

    def changed(results):
        keys = [key for key in results if re.fullmatch(pattern, key)]
        assert keys
        for key in keys:
            results[key] = results[key] | changes

    return changed


def times(pattern, factor):
    """Return a change of what was reached in recall, looks included."""

    def changed(results):
        keys = [key for key in results if re.fullmatch(pattern, key)]
        assert keys
        for key in keys:
            told = results[key]
            looks = [dict(told_by) for told_by in told["looks"]]
            looks[-1]["error"] *= factor
            error = told["test_error"] * factor
            results[key] = told | {"test_error": error, "looks": looks}

    return changed


def steady(pattern, vaa):
    """Return a change after which a look never sees another VAA."""

    def changed(results):
        keys = [key for key in results if re.fullmatch(pattern, key)]
        assert keys
        for key in keys:
            looks = [told | {"vaa": vaa} for told in results[key]["looks"]]
            results[key] = results[key] | {"looks": looks}

    return changed


LOST = {"diverged": "epoch 1", "curve": [], "looks": [], "test_error": 1.0}
CHANGES = {
    "an LSTM that starts with states": (
        change("reachable-lstm-zero-single-32-20-1", before=[FLOOR, 0.5]),
        "a1"),
    "a GRU of 64 that does": (
        change("reachable-gru-single-64-50-0", before=[FLOOR, 0.1]), "a1"),
    "our LSTM that does": (
        change("reachable-lstm-single-32-20-1", before=[0.5, 0.5]), ""),
    "BRC is not moved": (
        change("reachable-brc-double-32-20-.", after=[0.5, 0.4]), "a2"),
    "nBRC is moved back once": (
        change("reachable-nbrc-single-32-20-1", after=[0.6, 0.1]), "a2"),
    "slow ways": (
        change("reachable-gru-double-32-20-.", after=[1.0, 0.2]), "a3"),
    "slow ways in BRC": (
        change("reachable-brc-double-32-20-.", after=[0.9, 0.2]), ""),
    "BRC starts with one state": (
        change("reachable-brc-single-64-20-2", before=[FLOOR, FLOOR]), "a4"),
    "out of the band, below": (
        change("reachable-gru-single-64-50-.", after=[0.89, 0.89]), "a5"),
    "within the band": (
        change("reachable-gru-single-64-50-.", after=[0.91, 0.91]), ""),
    "out of the band once": (
        change("reachable-mgu-double-64-20-1", after=[0.6, 0.6]), "a7"),
    "our LSTM out of it": (
        change("reachable-lstm-double-32-20-.", after=[0.7, 0.7]), "a11"),
    "their LSTM out of it": (
        change("reachable-lstm-zero-double-32-20-.", after=[0.7, 0.7]), "a15"),
    "a warm-up that diverges": (
        change("reachable-mgu-single-32-20-.", after=None, warmup=None),
        "a2 a12"),
    "a warm GRU at 300": (times("copy-300-gru-warm-.", 100), "b300-gru"),
    "a warm chrono as good": (
        times("copy-600-chrono-warm-.", 30), "b600-chrono"),
    "a plain LSTM at 50": (times("copy-50-lstm-plain-.", 0.01),
        "b50-lstm b50-double"),
    "a double MGU at 100": (times("copy-100-mgu-double-.", 20),
        "b100-double"),
    "noise that stays": (times("denoising-100-brc-warm-.", 40), "bn-brc"),
    "noise, doubled": (times("denoising-100-brc-double-.", 40), "bn-double"),
    "a warm training that is lost": (
        change("copy-600-gru-warm-.", **LOST), "b600-gru"),
    "nothing varies": (steady("copy-100-.*", 0.5), "c1"),
    "states that hinder": (
        lambda r: [f(r) for f in (
            steady("copy-100-.*-warm-.", 0.1),
            steady("copy-100-.*-double-.", 0.1))], "c1"),
    "elsewhere it says nothing": (
        steady("copy-300-.*-(warm|double)-.", 0.1), ""),
    "learned without more states": (
        steady("(copy|denoising)-.*-plain-.", 0.03), "c2"),
    "precise in the warm": (times("short-5-.*-warm-.", 0.1), "d1"),
    "a double layer loses": (times("short-5-.*-double-.", 2.0), "d3"),
    "a double layer loses all": (times("short-5-.*-double-.", 4.0), "d2 d3"),
    "a plain agent": (change("maze-plain-.", optimal_after=20), "e1"),
    "a warm one that never does": (change("maze-warm-.", optimal_after=None),
        "e1"),
    "a plain one that never does": (
        change("maze-plain-.", optimal_after=None), ""),
    "a rich one": (change("maze-plain-.", mean_return=3.9), "e2 e3"),
    "a poor double": (change("maze-double-.", mean_return=1.0), "e3"),
    "slow": (change("speed", wall_s=180.0), "f"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_other_numbers_turn_their_claims_and_no_others(what):
    changed, failing = CHANGES[what]
    results = made_up(FULL)
    changed(results)
    found = verdicts(results)
    lost = {k for k, v in found.items() if v == "does not hold here"}
    assert lost == set(failing.split())
    undecided = {k for k, v in found.items() if v == "not comparable"}
    assert undecided == ({"d2"} if failing == "d1" else set())


def test_one_seed_is_not_comparable():
    setting = Setting("full", (0,))
    found = verdicts(made_up(setting), setting)
    for task in ("b50", "b600", "bn"):
        for what in (*SIX, "double"):
            assert found[f"{task}-{what}"] == "not comparable"
    assert {found[f"e{k}"] for k in (1, 2, 3)} == {"not comparable"}
    for key in ("a1", "a2", "a5", "c1", "d1", "f"):  # over rows or over cells
        assert found[key] == "holds"


def test_without_learning_there_is_nothing_to_say_of_it():
    results = made_up(FULL)
    times("(copy|denoising)-.*-plain-.", 3.0)(results)
    assert verdicts(results)["c2"] == "not comparable"
    change("copy-100-.*", **LOST)(results)
    assert verdicts(results)["c1"] == "not comparable"


def test_another_size_says_nothing_of_the_time():
    results = made_up(FULL)
    for name in ("n_hid", "n_time", "n_warmup"):
        results["speed"] = found_by(jobs(FULL)[0]) | {name: 20}
        assert verdicts(results)["f"] == "not comparable"


def test_claims_say_what_was_measured():
    results = made_up(FULL)
    change("maze-warm-1", optimal_after=None)(results)
    claims = {claim.key: claim for claim in judge(FULL, results)[0]}
    assert "GRU single 64, T = 50 1.000 ± 0.000" in claims["a2"].measured
    assert "GRU double 32, T = 20 1.000 0.950" in claims["a3"].measured
    assert claims["a9"].published == "1.000 at 200, 0.191 at 2000"
    assert "forget bias starts at 1" in claims["a10"].reason
    assert "forget bias" not in claims["a14"].reason
    claim = claims["b300-nbrc"]
    assert "nBRC" in claim.text
    assert "T = 300" in claim.text
    told = [
        f"{STARTS[s]} {written(errors(results, 'copy-300', 'nbrc', s))}"
        for s in ("warm", "plain", "double")
    ]
    assert all(said in claim.measured for said in told)
    seeds = {k: b[-1] for k, b in SCALES["full"]["recall"]["tasks"].items()}
    assert f"{seeds['copy', 300]} seeds" in claim.measured
    n_runs = 6 * 3 * seeds["copy", 100]
    assert f"over {3 * n_runs} looks at all {n_runs} runs" in (
        claims["c1"].measured
    )
    n_plain = 6 * sum(seeds.values())
    assert f"{n_plain} plain runs" in claims["c2"].measured
    sooner = [r["optimal_after"] or 600 for r in runs(results, "maze",
              start="warm")]  # fmt: skip
    assert f"warmed up {np.mean(sooner):.0f} ± " in claims["e1"].measured
    assert "60 s, 59 s" in claims["f"].measured


def test_a_correlation_is_that_of_ranks():
    rng = np.random.default_rng(0)
    vaa = rng.random(40)
    rho, p = spearman(vaa, np.exp(-9 * vaa))
    assert (rho, p < 1e-6) == (pytest.approx(-1.0), True)
    rho, p = spearman(vaa, vaa)
    assert (rho, p > 0.5) == (pytest.approx(1.0), True)
    _, p = spearman(vaa, rng.random(40))
    assert p > 0.01
    assert spearman(vaa, np.ones(40)) == (0.0, 1.0)
    assert spearman(np.ones(40), vaa) == (0.0, 1.0)
    assert spearman(vaa[:2], -vaa[:2]) == (0.0, 1.0)


def test_results_are_found_by_task_kind_and_start():
    results = made_up(FULL)
    assert tasks_of(results) == [
        "copy-50", "copy-100", "copy-300", "copy-600", "denoising-100"
    ]  # fmt: skip
    assert short_task(results) == "short-5"
    assert memorable(results) == "copy-100"
    assert memorable(made_up(QUICK)) == "copy-50"
    assert kinds_of(results, "copy-300") == list(SIX)
    keys = [f"copy-100-brc-double-{k}" for k in range(3)]
    assert runs(results, "copy-100", "brc", "double") == [
        results[key] for key in keys
    ]
    assert len(runs(results, "copy-100")) == 6 * 3 * 3
    assert len(runs(results, "maze")) == 15
    assert len(runs(results, "copy-10")) == 0
    states = states_of(results)
    assert set(states) == {
        tuple(r) for r in SCALES["full"]["reachable"]["rows"]
    }
    assert {len(some) for some in states.values()} == {3}
    some = states["brc", True, 32, 20]
    assert (vaa_of(some, "before") == [[0.5, 0.4]] * 3).all()
    assert (vaa_of([some[0] | {"after": None}], "after") == 0).all()
    assert (
        measured_by_them(("lstm zero", True, 32, 20))
        == (MEASURED["lstm", True, 32, 20])
    )
    assert measured_by_them(("gru", True, 64, 50)) is None


def test_a_look_finds_the_error_halved():
    def run(*errors_):
        looks = [{"epoch": 2 * k, "vaa": 0.1 * k, "error": e}
                 for k, e in enumerate(errors_)]  # fmt: skip
        return {"looks": looks}

    assert learned_at(run(1.0, 0.5, 0.49, 0.6)) == 2
    assert learned_at(run(1.0, 0.9)) == 0
    assert learned_at(run()) == 0
    assert looked_at(run(1.0, 0.9)).tolist() == [[0.0, 1.0], [0.1, 0.9]]


def test_errors_are_written_as_geometric_means():
    assert written(np.array([-2.0])) == "0.01"
    assert written(np.array([-1.0, -3.0])) == "0.01 (x 26.0)"
    results = {"copy-9-gru-warm-0": {"test_error": 0.001},
               "copy-9-gru-warm-1": {"test_error": 0.0}}  # fmt: skip
    assert errors(results, "copy-9", "gru", "warm").tolist() == [-3, -12]


def test_tables_have_a_row_for_every_comparison():
    results = made_up(FULL)
    change("copy-600-gru-warm-1", **LOST)(results)
    change("copy-600-mgu-plain-.", **LOST)(results)
    change("maze-plain-2", optimal_after=None, vaa=None)(results)
    change("reachable-gru-single-64-50-.", after=None, warmup=None)(results)
    _, tables = judge(FULL, results)
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.markdown().count("\n") == len(table.rows) + 4
    states, recalled, together, mazes, times_ = tables
    assert len(states.rows) == 18
    row = next(r for r in states.rows if r[:4] == ("GRU", "double", "32", "20"))
    assert row[9:13] == ("0.031", "0.031", "1.000", "0.191")
    assert row[7] == "1.000 ± 0.000"
    assert states.rows[0][7] == "0.000 ± 0.000"
    assert states.rows[0][-1] == "-"
    assert len(recalled.rows) == 6 * 6
    by_row = {row[:2]: row for row in recalled.rows}
    row = by_row["copy first input, T = 600", "GRU"]
    assert row[2:4] == ("2", "250")
    assert row[-1] == "1"
    plain = errors(results, "copy-600", "gru", "plain")
    assert row[4] == written(plain)
    assert by_row["copy first input, T = 5", "nBRC"][-1] == "0"
    assert len(together.rows) == 5 * 6 * 3 - 1
    row = next(
        r
        for r in together.rows
        if r[:3] == ("copy first input, T = 600", "GRU", "warmed up")
    )
    assert row[5:] == ("1 of 2", "50")
    assert [row[1] for row in mazes.rows] == ["4 of 5", "5 of 5", "5 of 5"]
    assert times_.rows == (("128", "100", "100", "60.0", "59.0"),)


@pytest.mark.parametrize("setting", [QUICK, FULL], ids=["quick", "full"])
def test_figures_are_pictures(setting, tmp_path):
    results = made_up(setting)
    change("copy-50-gru-warm-1", **LOST)(results)
    change("maze-plain-1", curve=[])(results)
    paths = draw(results, tmp_path)
    tasks = [*tasks_of(results), "short-5"]
    kinds = SCALES[setting.scale]["recall"]["kinds"]
    assert {p.name for p in paths} == {
        "vaa-200.png", "vaa-2000.png", "together.png", "returns.png",
        "attractors-before.png", "attractors-after.png",
        *(f"learning-{task}.png" for task in tasks),
        *(f"beside-{kind}.png" for kind in kinds),
    }  # fmt: skip
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 4_000
    assert {p.name for p in paths} == {p.name for p in tmp_path.iterdir()}
    assert len(paths) == len(set(paths))


def test_figures_are_drawn_where_all_is_lost(tmp_path):
    results = made_up(QUICK)
    change("(copy|short)-.*", **LOST)(results)
    change("maze-.*", curve=[], vaa=None, optimal_after=None)(results)
    change("reachable-.*", after=None, warmup=None)(results)
    draw(results, tmp_path)
    judge(QUICK, results)


# --- small runs -------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """Let jobs draw few sequences, and look at few states."""
    for name, number in (
        ("N_SEQUENCES", 12),
        ("N_BATCH", 4),
        ("N_VALID", 6),
        ("N_TEST", 7),
    ):
        monkeypatch.setattr(warmed, name, number)


RECALL = {
    "n_time": 12,
    "n_hid": 4,
    "n_warmup": 2,
    "rate": 0.01,
    "n_steps": 12,
    "every": 3,
    "n_looks": 2,
    "seed": 0,
}


def without_times(result):
    told = {k: v for k, v in result.items() if k != "seconds"}
    if told["warmup"]:
        told["warmup"] = told["warmup"]["loss"]
    return told


@pytest.fixture
def updates(monkeypatch):
    """Count updates of fits, not of warm-ups; interrupt at ``stop``."""

    class Updates(Adam):
        n, stop = 0, None

        def update(self, *args):
            Updates.n += 1
            if Updates.n == Updates.stop:
                raise KeyboardInterrupt
            return super().update(*args)

    monkeypatch.setattr(warmed, "Adam", Updates)
    return Updates


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("stop", [1, 5, 7, 12])
def test_recall_that_is_resumed_ends_the_same(
    start, stop, few, updates, tmp_path
):
    kind, task = ("gru", "copy") if stop != 5 else ("nbrc", "denoising")
    part = tmp_path / "a.part.safetensors"
    first = recall(task, kind, start, **RECALL, checkpoint=part)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert [told["epoch"] for told in first["looks"]] == [0, 2, 4]
    assert len(first["curve"]) == 4
    assert first["best_epoch"] == 1 + int(np.argmin(first["curve"]))
    for k in (1, 2):
        assert first["looks"][k]["error"] == pytest.approx(
            first["curve"][2 * k - 1], rel=1e-3
        )
    assert (first["warmup"] is None) == (start == "plain")
    assert first["diverged"] is None

    updates.n, updates.stop = 0, stop
    part = tmp_path / "b.part.safetensors"
    with pytest.raises(KeyboardInterrupt):
        recall(task, kind, start, **RECALL, checkpoint=part)
    updates.n, updates.stop = 0, None
    again = recall(task, kind, start, **RECALL, checkpoint=part)
    assert updates.n == 12 - (stop - 1)
    assert without_times(again) == without_times(first)
    kept = {p.name for p in tmp_path.iterdir()}
    assert kept == {
        f"{name}.part.safetensors{end}"
        for name in "ab" for end in ("", ".looks.json")
    }  # fmt: skip


def test_recall_tests_the_best_parameters(few, monkeypatch, tmp_path):
    kept = {}
    fit = warmed.fit

    def recorded(*args, **options):
        kept["model"], kept["options"] = args[0], options
        kept["fit"] = fit(*args, **options)
        return kept["fit"]

    monkeypatch.setattr(warmed, "fit", recorded)
    part = tmp_path / "a.part.safetensors"
    found = recall("denoising", "mgu", "warm", **RECALL, checkpoint=part)
    rng = generator("test denoising 12", 0)
    squares = []
    for x, y in pairs_of("denoising", rng, 7, 12):
        o = kept["model"].predict(kept["fit"].params, x[:, None])[-5:, 0]
        squares.append((o - y) ** 2)
    assert found["test_error"] == pytest.approx(np.mean(squares), rel=1e-4)
    assert kept["model"].core == core_of("mgu", 2, 4)
    dtypes = {value.dtype for value in kept["fit"].params.values()}
    assert dtypes == {np.dtype("float32")}


def test_all_networks_see_the_same_fresh_sequences(few, monkeypatch, tmp_path):
    seen = {}
    fit = warmed.fit

    def recorded(model, params, fresh, valid, **options):
        seen["now"] = fresh(1), fresh(2), valid
        return fit(model, params, fresh, valid, **options)

    monkeypatch.setattr(warmed, "fit", recorded)
    kept = {}
    for kind, start, seed in (("gru", "plain", 0), ("brc", "warm", 0),
                              ("gru", "plain", 1)):  # fmt: skip
        settings = RECALL | {"seed": seed, "n_steps": 6}
        part = tmp_path / f"{kind}{seed}.part"
        recall("copy", kind, start, **settings, checkpoint=part)
        one, two, valid = (
            np.stack([x for x, _ in pairs]) for pairs in seen["now"]
        )
        assert one.shape == (3 * 4, 12, 1)
        assert (one != two).any()
        kept[kind, seed] = one, valid
    for ours, theirs in zip(kept["gru", 0], kept["brc", 0], strict=True):
        assert (ours == theirs).all()
    assert (kept["gru", 0][0] != kept["gru", 1][0]).any()
    assert (kept["gru", 0][1] == kept["gru", 1][1]).all()


def test_divergence_is_a_result(few, monkeypatch, tmp_path):
    part = tmp_path / "a.part"
    settings = RECALL | {"rate": 1e30}
    found = recall("copy", "lstm", "plain", **settings, checkpoint=part)
    assert found["diverged"].startswith("epoch 1, ")
    assert (found["test_error"], found["curve"]) == (1.0, [])
    assert [told["epoch"] for told in found["looks"]] == [0]
    assert json.loads(json.dumps(found, allow_nan=False)) == found

    def stopped(*args, **options):
        raise DivergedError("step 1: NaN")

    monkeypatch.setattr(warmed, "warmup", stopped)
    found = recall("copy", "gru", "warm", **RECALL, checkpoint=part)
    assert found["diverged"] == "warm-up, step 1: NaN"
    assert (found["test_error"], found["looks"]) == (1.0, [])
    found = reachable("gru", False, 4, 6, 2, [3, 9], 0)
    assert (found["after"], found["warmup"]) == (None, None)
    assert found["before"] == [pytest.approx(v) for v in found["before"]]


def test_there_are_two_tasks():
    with pytest.raises(ValueError, match="task is 'gone'"):
        pairs_of("gone", np.random.default_rng(0), 1, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_reached_before_and_after(kind, few):
    for double in (False, True):
        found = reachable(kind, double, 4, 6, 2, [3, 9], 0)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["row"] == [kind, double, 4, 6]
        for when in ("before", "after"):
            assert len(found[when]) == 2
            assert all(1 / 12 <= v <= 1 for v in found[when])
        model = Model(core_of(kind, 1, 4, double), 1, "squared")
        plain = begin(kind, "plain", model, inputs("copy", 6, 0), 2, 0)
        seen = look(model, plain.params, inputs("copy", 6, 0), [3, 9])
        assert found["before"] == seen


def test_a_warm_up_is_seen_by_a_look(monkeypatch):
    monkeypatch.setattr(warmed, "N_SEQUENCES", 64)
    found = reachable("gru", False, 8, 8, 160, [200], 0)
    assert found["before"][0] < 0.05
    assert found["after"][0] > 0.5


def test_an_agent_learns_and_is_resumed(few, monkeypatch, tmp_path):
    settings = {"length": 2, "n_hid": 4, "n_warmup": 40, "seed": 0}
    agent = warmed.QLearning
    monkeypatch.setattr(
        warmed, "QLearning",
        lambda: agent(capacity=64, n_batch=4, n_updates=2, evaluate_every=2),
    )  # fmt: skip
    kept = {}
    for start in ("plain", "warm"):
        parts = [tmp_path / f"{start}{k}.part" for k in "ab"]
        found = maze(start, **settings, n_episodes=6, checkpoint=parts[0])
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        maze(start, **settings, n_episodes=4, checkpoint=parts[1])
        again = maze(start, **settings, n_episodes=6, checkpoint=parts[1])
        assert without_times(again) == without_times(found)
        assert [told["episode"] for told in found["curve"]] == [0, 2, 4, 6]
        returns = [told["return"] for told in found["curve"]]
        assert found["mean_return"] == pytest.approx(np.mean(returns))
        assert all(0 < v <= 1 for v in found["vaa"])
        assert (found["warmup"] is None) == (start == "plain")
        kept[start] = found
    assert kept["plain"]["vaa"] != kept["warm"]["vaa"]


def test_an_agent_that_diverges_is_a_result(few, monkeypatch, tmp_path):
    agent = warmed.QLearning
    monkeypatch.setattr(
        warmed, "QLearning",
        lambda: agent(capacity=64, optimiser=Adam(1e30), evaluate_every=2),
    )  # fmt: skip
    found = maze("plain", 2, 4, 2, 6, 0, tmp_path / "a.part")
    assert found["diverged"].startswith("episode ")
    assert found["optimal_after"] is None
    assert found["mean_return"] == pytest.approx(-0.5)  # 5 walls


def test_ways_lead_from_the_same_prefixes(few):
    found = ways("gru", 4, 6, 2, 30, 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    before, after = found["before"], found["after"]
    assert before["cuts"] == after["cuts"]
    assert before["first"] == after["first"]
    assert before["ends"] != after["ends"]
    firsts = {float(x[0, 0]) for x in inputs("copy", 6, 0)}
    for told in (before, after):
        assert set(told["first"]) <= firsts
        way = np.array(told["ways"])
        assert way.shape[1:] == (12, 2)
        assert np.shape(told["ends"]) == (12, 2)
        assert len(told["labels"]) == 12


def test_the_clock_is_read(few):
    found = speed(6, 5, 2)
    assert found["wall_s"] > 0
    assert found["cpu_s"] > 0
    assert found["warmup"]["seconds"] <= found["wall_s"]
    assert (found["n_hid"], found["n_time"], found["n_warmup"]) == (6, 5, 2)


def test_the_paper_is_on_the_command_line():
    assert PAPERS["warmup"].jobs is jobs
    assert PAPERS["warmup"].judge is judge
    assert PAPERS["warmup"].draw is draw
