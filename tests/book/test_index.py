"""The index of architectures, made from the registry."""

from pathlib import Path

import pytest

from msref.architectures import REGISTRY
from msref.book.index import CLAIMS, architectures, chapters_of
from msref.book.results import read_run
from msref.claims import PAPERS
from msref.verification import verify

ROOT = Path(__file__).parents[2]
RUNS = [
    read_run(ROOT / "results", path.parent.name)
    for path in sorted((ROOT / "results").glob("*/result.json"))
]


def test_claims_name_papers_and_architectures_that_exist():
    assert set(CLAIMS) == set(PAPERS)
    for about in CLAIMS.values():
        assert set(about) <= set(REGISTRY)


def test_a_row_for_every_architecture_with_its_verdict(tmp_path):
    chapter = tmp_path / "01-elman.py"
    chapter.write_text("# %% [markdown]\n# (arch-elman)=\n# # 1. Elman\n")
    one = verify(REGISTRY["elman"].examples[0], cases=1, n_time=4, n_batch=2)
    text = architectures([chapter], RUNS, {k: [one] for k in REGISTRY})
    rows = [line for line in text.splitlines() if line.startswith("| {py")]
    assert len(rows) == len(REGISTRY)
    for row, (name, entry) in zip(rows, REGISTRY.items(), strict=True):
        assert f"msref.{entry.cls.__name__}`" in row
        assert entry.paper in row
        assert "PASS" in row
        assert (f"{{ref}}`arch-{name}`" in row) == (name == "elman")
    assert "hold" in text


def test_a_chapter_about_nothing_we_have_is_refused(tmp_path):
    chapter = tmp_path / "01-x.py"
    chapter.write_text("# (arch-perceptron)=\n")
    with pytest.raises(ValueError, match="arch-perceptron"):
        chapters_of([chapter])
