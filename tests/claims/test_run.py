import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import small_paper

from msref import files
from msref.claims import Job, Paper, Setting, reproduce

HERE = Path(__file__).parent


def ran(log):
    return sorted(log.read_text().split("\n")[:-1]) if log.exists() else []


def test_every_job_runs_once_and_everything_is_written(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    seen = []
    told = reproduce(
        small_paper.paper(log),
        Setting(seeds=(0, 1)),
        folder,
        workers=2,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert len(ran(log)) == len(set(ran(log))) == 8
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)
    assert told["claims"][0]["measured"] == str(2 * (0 + 1 + 4 + 9))
    assert files.read_json(folder / "result.json") == told
    assert told["jobs"]["square-3-1"]["result"] == {"square": 9, "seed": 1}
    assert "| square-2-0 | 4 |" in (folder / "table.md").read_text()
    assert not list((folder / "jobs").glob("*.part*"))


def test_finished_jobs_are_taken_over(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    paper = small_paper.paper(log)
    first = reproduce(paper, Setting(), folder, workers=1)
    second = reproduce(paper, Setting(), folder, workers=1)
    assert len(ran(log)) == 4
    assert (first["jobs_taken_over"], second["jobs_taken_over"]) == (0, 4)
    assert second["claims"] == first["claims"]


def test_fresh_runs_everything_again(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    paper = small_paper.paper(log)
    reproduce(paper, Setting(), folder, workers=1)
    reproduce(paper, Setting(), folder, workers=1, fresh=True)
    assert len(ran(log)) == 8


def test_other_settings_are_not_taken_over(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    reproduce(small_paper.paper(log), Setting(), folder, workers=1)
    reproduce(small_paper.paper(log, pause=0.001), Setting(), folder, workers=1)
    assert len(ran(log)) == 8


def test_a_failing_job_is_raised_and_the_others_are_kept(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    with pytest.raises(ValueError, match="job 3 was told to fail"):
        reproduce(small_paper.paper(log, fail=3), Setting(), folder, workers=1)
    assert not (folder / "result.json").exists()
    kept = len(list((folder / "jobs").glob("*.json")))
    assert kept == 3
    reproduce(small_paper.paper(log), Setting(), folder, workers=1)
    assert (folder / "result.json").exists()


def test_a_damaged_job_file_is_named(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    paper = small_paper.paper(log)
    reproduce(paper, Setting(), folder, workers=1)
    (folder / "jobs" / "square-1-0.json").write_text('{"fingerp')
    with pytest.raises(ValueError, match=r"square-1-0\.json is not valid"):
        reproduce(paper, Setting(), folder, workers=1)


@pytest.mark.parametrize(
    "kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
)
def test_a_killed_run_goes_on_where_it_was(tmp_path, kill):
    log, folder = tmp_path / "log", tmp_path / "run"
    code = (
        "import sys; from pathlib import Path; import small_paper;"
        "from msref.claims import Setting, reproduce\n"
        "if __name__ == '__main__':\n"
        "    reproduce(small_paper.paper(Path(sys.argv[1]), 0.4, n_jobs=6),"
        " Setting(), Path(sys.argv[2]), workers=1)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script), str(log), str(folder)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while len(list(folder.glob("jobs/*.json"))) < 2:
        assert time.monotonic() < until, "no job ended"
        time.sleep(0.02)
    process.send_signal(kill)  # its workers end by themselves
    process.wait()
    started = len(ran(log))
    time.sleep(1.0)
    assert len(ran(log)) <= started + 1
    assert not (folder / "result.json").exists()
    before = len(list(folder.glob("jobs/*.json")))
    paper = small_paper.paper(log, 0.4, n_jobs=6)
    told = reproduce(paper, Setting(), folder, workers=1)
    assert told["jobs_taken_over"] == before >= 2
    assert told["claims"][0]["measured"] == "55"


# --- jobs of a paper of its own ----------------------------------------------


def paper_of(*jobs):
    """Return a paper of these jobs, without claims."""
    return Paper(
        *("own", "A paper of its own", lambda setting: list(jobs)),
        *(lambda setting, results: ([], []), lambda results, folder: []),
        "nothing",
    )


def timed(key, log, checkpoint):
    """Say when a job begins and ends."""
    for what in ("begins", "ends"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{key} {what}\n")
        time.sleep(0.5 if what == "begins" else 0.0)
    return {}


def test_jobs_that_take_times_run_before_the_others_and_alone(tmp_path):
    log = tmp_path / "log"
    costs = {"one": 50.0, "alone 1": 1.0, "two": 9.0, "alone 2": 0.1}
    jobs = [
        Job(key, timed, {"key": key, "log": str(log)}, cost, "alone" in key)
        for key, cost in costs.items()
    ]
    told = reproduce(paper_of(*jobs), Setting(), tmp_path / "run", workers=2)
    lines = log.read_text().splitlines()
    assert lines[:4] == [
        "alone 1 begins", "alone 1 ends", "alone 2 begins", "alone 2 ends"
    ]  # fmt: skip
    assert sorted(lines[4:]) == sorted(
        f"{key} {what}" for key in ("one", "two") for what in ("begins", "ends")
    )
    assert list(told["jobs"]) == list(costs)


def by_stages(checkpoint):
    """Keep a file for each stage in a folder; say if there was one."""
    folder = checkpoint.with_suffix(".modules")
    was_there = folder.exists()
    folder.mkdir(exist_ok=True)
    (folder / "modules-2.safetensors").write_text("half way")
    checkpoint.write_text("half way, too")
    return {"resumed": was_there}


@pytest.mark.parametrize("fresh", [False, True])
def test_folders_of_checkpoints_are_resumed_and_removed(tmp_path, fresh):
    job, folder = Job("a", by_stages, {}), tmp_path / "run"
    left = folder / "jobs" / f"a.{job.fingerprint}.part.modules"
    other = folder / "jobs" / "ab.0123.part.modules"  # of another job
    for part in (left, other):
        part.mkdir(parents=True)
        (part / "modules-1.safetensors").write_text("done")
    paper = paper_of(job)
    told = reproduce(paper, Setting(), folder, workers=1, fresh=fresh)
    assert told["jobs"]["a"]["result"] == {"resumed": not fresh}
    kept = {path.name for path in (folder / "jobs").iterdir()}
    assert kept == {"a.json"} | ({other.name} if not fresh else set())


def test_a_paper_is_prepared_for_the_jobs_that_are_missing(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "run"
    asked = []

    def prepare(missing):
        asked.append(sorted(job.key for job in missing))
        if missing and len(asked) == 2:
            raise OSError("there is no network")

    paper = replace(small_paper.paper(log, n_jobs=1), prepare=prepare)
    reproduce(paper, Setting(), folder, workers=1)
    larger = replace(small_paper.paper(log, n_jobs=3), prepare=prepare)
    with pytest.raises(OSError, match="no network"):
        reproduce(larger, Setting(), folder, workers=1)
    assert len(ran(log)) == 1
    reproduce(paper, Setting(), folder, workers=1)
    assert asked == [["square-0-0"], ["square-1-0", "square-2-0"], []]


def environment(names, checkpoint):
    return {name: os.environ.get(name) for name in names}


def test_workers_have_an_environment_of_their_own(tmp_path, monkeypatch):
    expected = {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
    }
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    before = dict(os.environ)
    job = Job("a", environment, {"names": list(expected)})
    told = reproduce(paper_of(job), Setting(), tmp_path / "run", workers=1)
    assert told["jobs"]["a"]["result"] == expected
    assert dict(os.environ) == before


def test_a_paper_without_use_for_data_refuses_them(tmp_path):
    setting = Setting(data=tmp_path / "other.mat")
    with pytest.raises(ValueError, match=r"other\.mat"):
        reproduce(paper_of(), setting, tmp_path / "run", workers=1)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="scale is 'huge'"):
        Setting("huge")
    with pytest.raises(ValueError, match="seeds is empty"):
        Setting(seeds=())
