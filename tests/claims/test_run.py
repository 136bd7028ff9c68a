import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_paper

from msref import files
from msref.claims import Setting, reproduce

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


def test_settings_are_checked():
    with pytest.raises(ValueError, match="scale is 'huge'"):
        Setting("huge")
    with pytest.raises(ValueError, match="seeds is empty"):
        Setting(seeds=())
