import pytest

from msref.architectures import LSTM
from msref.claims import PAPERS, Setting
from msref.claims.lmn import draw, jobs, judge
from msref.claims.memory import (
    closed_form_baselines,
    recall_curve,
    reconstruct_exactly,
)
from msref.claims.training import (
    KINDS,
    matched,
    n_params,
    train_network,
)


def test_matched_networks_have_the_parameters_they_should():
    budget = n_params(50, 100)
    assert budget == 33_438
    n = matched(lambda n: LSTM(88, n), 5 * budget)
    size = 4 * (88 * n + n * n + n) + 88 * n + 88
    assert abs(size - 5 * budget) / (5 * budget) < 0.01


def test_jobs_have_their_own_names_and_fingerprints():
    for scale, n_seeds in (("quick", 2), ("full", 5)):
        setting = Setting(scale, tuple(range(n_seeds)))
        found = jobs(setting)
        assert len({job.key for job in found}) == len(found)
        assert len({job.fingerprint for job in found}) == len(found)
        seeds = {job.settings.get("seed") for job in found}
        assert set(setting.seeds) <= seeds


def test_a_fingerprint_leaves_the_folder_of_the_data_out(tmp_path):
    job = jobs(Setting())[0]
    moved = type(job)(
        job.key, job.function, job.settings | {"data": str(tmp_path / "a.mat")}
    )
    other = type(job)(
        job.key,
        job.function,
        job.settings | {"data": str(tmp_path / "b" / "a.mat")},
    )
    assert moved.fingerprint == other.fingerprint != job.fingerprint
    assert str(tmp_path) not in str(moved.recorded)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The jobs of the quick scale, made small."""
    folder = tmp_path_factory.mktemp("jobs")
    small = {
        "n_hid": 4,
        "n_mem": 6,
        "n_window": 2,
        "n_epochs": 3,
        "n_batch": 64,
        "sizes": [5, 10],
        "n_sequences": 1,
        "shares": [0.25, 0.5, 1.0],
        "n_mem_of_memory": 8,
        "max_lag": 16,
    }
    found = {}
    for job in jobs(Setting(seeds=(0,))):
        settings = dict(job.settings)
        if job.function is recall_curve:
            settings |= {"n_mem": 8, "max_lag": 16}
        else:
            settings |= {k: small[k] for k in settings if k in small}
        assert job.function in (
            recall_curve,
            reconstruct_exactly,
            closed_form_baselines,
            train_network,
        )
        found[job.key] = job.function(
            **settings, checkpoint=folder / f"{job.key}.part"
        )
    return found


def test_judge_decides_every_claim(results):
    claims, tables = judge(Setting(seeds=(0,)), results)
    assert [claim.key for claim in claims] == ["a", "b", "c1", "c2", "c3", "d"]
    by_key = {claim.key: claim for claim in claims}
    assert by_key["a"].verdict == "holds"
    assert by_key["c3"].verdict == "not comparable"
    assert by_key["d"].measured.startswith("repeating the last frame 22.1 %")
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.markdown().count("\n") == len(table.rows) + 4


def test_an_inexact_reconstruction_fails_claim_a(results):
    spoilt = dict(results)
    curve = [dict(point) for point in results["reconstruction"]["curve"]]
    curve[-1]["worst_entry_of_any_prefix"] = 1e-6
    spoilt["reconstruction"] = results["reconstruction"] | {"curve": curve}
    claims, _ = judge(Setting(seeds=(0,)), spoilt)
    assert claims[0].verdict == "does not hold here"


def test_a_better_static_memory_fails_claim_b(results):
    spoilt = dict(results)
    key = next(k for k in results if k.startswith("recall-chorales-delay"))
    spoilt[key] = results[key] | {"capacity": 99.0}
    claims, _ = judge(Setting(seeds=(0,)), spoilt)
    assert claims[1].verdict == "does not hold here"


def test_figures_are_pictures(results, tmp_path):
    paths = draw(results, tmp_path)
    assert len(paths) == 5
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000
    assert {p.name for p in paths} == {p.name for p in tmp_path.iterdir()}


def test_every_kind_of_network_trains_and_resumes(tmp_path):
    settings = {
        "dataset": "chorales",
        "data": None,
        "n_hid": 3,
        "n_mem": 6,
        "n_window": 2,
        "rates": [0.003],
        "n_epochs": 3,
        "patience": 3,
        "n_batch": 80,
        "seed": 0,
    }
    for kind in KINDS:
        path = tmp_path / f"{kind}.part"
        first = train_network(kind, **settings, checkpoint=path)
        again = train_network(kind, **settings, checkpoint=path)
        assert first == again
        assert 0.0 <= first["test"]["pooled"] <= 1.0
        frozen = first["n_params"] - first["n_trained"]
        assert (frozen > 0) == (kind == "lmn delay line")


def test_papers_are_listed_by_their_names():
    assert all(paper.name == name for name, paper in PAPERS.items())
