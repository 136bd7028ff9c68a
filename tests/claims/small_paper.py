"""A paper with quick jobs, in a module that worker processes can import."""

import time
from pathlib import Path

from msref.claims import Claim, Job, Paper, Setting, Table

RUNS = "runs.txt"


def square(n, seed, log, pause=0.0, fail=False, checkpoint=None):
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{n} {seed}\n")
    time.sleep(pause)
    if fail:
        raise ValueError(f"job {n} was told to fail")
    checkpoint.write_text("half way")
    return {"square": n * n, "seed": seed}


def paper(log, pause=0.0, fail=-1, n_jobs=4):
    def jobs(setting: Setting) -> list[Job]:
        return [
            Job(
                f"square-{n}-{seed}",
                square,
                {
                    "n": n,
                    "seed": seed,
                    "log": str(log),
                    "pause": pause,
                    "fail": n == fail,
                },
            )
            for n in range(n_jobs)
            for seed in setting.seeds
        ]

    def judge(setting, results):
        total = sum(r["square"] for r in results.values())
        claim = Claim(
            "a", "squares add up", "here", "none", str(total), "holds", "sum"
        )
        rows = tuple((k, str(r["square"])) for k, r in results.items())
        return [claim], [Table("squares", ("job", "square"), rows)]

    def draw(results, folder: Path):
        return []

    return Paper("small", "A small paper", jobs, judge, draw, "nothing", True)
