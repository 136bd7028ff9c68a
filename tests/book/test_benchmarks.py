"""Times on the page: of a suite that was run, all that it found is shown."""

import json

import pytest

from msref.bench import Conditions, Measurement, Suite, Timing, run
from msref.bench.suite import ratio_goals
from msref.book.benchmarks import read_benchmark
from msref.book.build import digests
from msref.book.checkout import Checkout
from msref.book.expansion import Notebook, Page, shown

NAME = "bench/tiny-quick"


def block(options):
    return f"```{{bench}} {NAME}\n{options}\n```"


def cases(scale):
    return [
        {"cell": "LSTM", "dtype": dtype, "n_time": n_time}
        for dtype in ("float32", "float64")
        for n_time in (3, 30)
    ]


def measure(case, seconds):
    ours = 1e-3 * case["n_time"]
    timings = {
        "ours": Timing(ours, ours, ours, 5),
        "torch fused": Timing(2 * ours, ours, ours, 5),
    }
    if case["n_time"] < 30:
        timings["jax scan"] = timings["ours"]
    return Measurement(
        case,
        timings,
        notes={} if case["n_time"] < 30 else {"jax scan": "too slow"},
    )


def goals(rows):
    return [
        *ratio_goals(rows, "torch fused", 0.6),
        *ratio_goals(rows, "autograd", 0.72),
        *ratio_goals(rows, "torch fused", 0.4),
    ]


TINY = Suite("tiny", "a suite of four cases", cases, measure, goals)


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for name in ("bench", "bench-fresh"):
        run(
            TINY,
            conditions=Conditions(memory="fresh" if "-" in name else "kept"),
            folder=folder / name / "tiny-quick",
        )
    return folder


def rows(text):
    return [x for x in text.splitlines() if x.startswith(("| LSTM", "| case"))]


def test_cases_are_chosen_by_their_words(results):
    found = read_benchmark(results, NAME)
    assert len(rows(found.table("all"))) == 1 + 4
    head, row = rows(found.table("30 LSTM float32"))
    assert row.startswith("| LSTM float32 30 | 30 ")
    assert row.endswith("| 0.50 |")
    assert head.count("|") == row.count("|")
    assert len(rows(found.table("3"))) == 1 + 2  # not part of a word
    assert "our time / its time" in found.table("3")
    assert (
        found.table("3").splitlines()[-1].startswith("- jax scan: too slow (")
    )
    assert found.table("3").count("- ") == 1  # no goal among the notes


def test_a_peer_that_was_timed_in_none_of_the_cases_has_no_column(results):
    found = read_benchmark(results, NAME)
    assert "jax scan" in rows(found.table("all"))[0]
    assert "jax scan" not in rows(found.table("30"))[0]
    lines = [x for x in found.table("30").splitlines() if x.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1].strip("|-") == ""


def test_a_goal_is_shown_whether_it_was_reached_or_missed(results):
    found = read_benchmark(results, NAME)
    reached, missed_not = (
        "- **reached**: ours / torch fused, geometric mean of 4 cases: 0.5"
        " (at most 0.6)",
        "- **open**: ours / autograd, geometric mean of 0 cases: not measured"
        " (at most 0.72)",
    )
    missed = reached.replace("reached", "missed").replace("0.6", "0.4")
    assert found.goals("all").splitlines() == [reached, missed_not, missed]
    assert found.goals("Torch mean").splitlines() == [reached, missed]


def test_command_conditions_and_date_stand_below(results):
    kept, fresh = (
        read_benchmark(results, f"{name}/tiny-quick")
        for name in ("bench", "bench-fresh")
    )
    assert kept.command == "msref bench tiny --scale quick --seconds 3"
    assert fresh.command == f"{kept.command} --memory fresh"
    said = fresh.provenance
    for part in (
        *("memory fresh", "CPU time, 1 thread", fresh.command),
        *(fresh.told["date"][:10], fresh.told["machine"]["processor"]),
        *(f"numpy {fresh.told['machine']['versions']['numpy']}",),
    ):
        assert part in said, part


def test_a_block_is_shown_on_a_page_and_in_a_notebook(results, tmp_path):
    text = block(":cases: float64\n:goals: autograd\n:figures: ratios")
    page, notebook = Page(tmp_path, results), Notebook(results)
    for made in (page.expand(text), notebook.expand(text)):
        assert len(rows(made)) == 1 + 2
        assert made.count("- **") == 1
        assert "`msref bench tiny" in made
    (used,) = page.used
    assert used == results / NAME / "ratios.png"
    assert f"figures/{NAME}/ratios.png" in page.expand(text)
    assert "attachment:ratios.png" in notebook.expand(text)
    assert shown(text) == []  # no run whose claims are judged again


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (block(":cases: gru"), "no case 'gru'"),
        (block(":goals: numba"), "no goal 'numba'"),
        (block(":figures: none"), "no figure 'none'.*ratios"),
        (block(":tables: 0"), "option 'tables'"),
        ("```{bench} bench/none\n```", "no benchmark.*bench-fresh/tiny-quick"),
    ],
)
def test_a_block_that_stands_for_nothing_is_refused(
    results, tmp_path, block, message
):
    for way in (Page(tmp_path, results), Notebook(results)):
        with pytest.raises(ValueError, match=message):
            way.expand(block)


def test_one_that_was_interrupted_is_refused(results):
    path = results / NAME / "result.json"
    told = json.loads(path.read_text()) | {"finished": False}
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="was interrupted"):
        read_benchmark(results, NAME)


def test_a_book_is_older_than_times_that_were_measured_again(results):
    checkout = Checkout(results.parent)
    before = digests(checkout)
    (results / NAME / "table.md").write_text("measured again")
    after = digests(checkout)
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {f"results/{NAME}/table.md"}
