"""One network against others: what is told, and when it counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from msref.claims.verdicts import beats, mean, percent, points


def outcome(ours, *others, **options):
    named = [(f"other {k}", np.array(o)) for k, o in enumerate(others)]
    ours = ("ours", np.array(ours))
    return beats("k", "", "", "", "", ours, named, **options)


def test_a_clear_difference_holds():
    claim = outcome([0.30, 0.31, 0.32], [0.20, 0.21, 0.22])
    assert claim.verdict == "holds"
    assert "+10.0 points" in claim.measured


def test_a_difference_within_the_spread_does_not():
    claim = outcome([0.20, 0.31, 0.42], [0.19, 0.30, 0.40])
    assert claim.verdict == "does not hold here"
    assert "within the spread" in claim.reason


def test_one_better_competitor_is_enough_to_fail():
    claim = outcome([0.30, 0.31, 0.32], [0.1, 0.11, 0.12], [0.4, 0.41, 0.42])
    assert claim.verdict == "does not hold here"
    assert claim.reason.startswith("it is not better than other 1")


def test_who_wins_is_named_before_who_comes_close():
    near, above = [0.29, 0.31, 0.31], [0.4, 0.41, 0.42]
    claim = outcome([0.30, 0.31, 0.32], near, above, above)
    assert claim.reason.startswith("it is not better than other 1 and other 2")
    assert "other 0" not in claim.reason


def test_one_seed_decides_nothing():
    assert outcome([0.5], [0.1]).verdict == "not comparable"
    one = outcome([0.5], [0.1], paired=True, lower_is_better=True)
    assert one.verdict == "not comparable"
    assert one.measured == ": ours 50.0 %, other 0 10.0 % (+40.0 points)"


def test_two_tasks_decide_nothing():
    runs = [0.5, 0.61], [0.1, 0.2]
    assert outcome(*runs).verdict == "holds"
    assert outcome(*runs, paired=True).verdict == "not comparable"


def test_equal_networks_are_not_better():
    claim = outcome([0.3, 0.4], [0.3, 0.4])
    assert claim.verdict == "does not hold here"
    assert claim.reason.startswith("it is not better than other 0")


def p_value(ours, theirs, paired):
    """Return that of one-sided t-tests, from their formulas."""
    n, k = len(ours), len(theirs)
    if paired:
        d = ours - theirs
        return stats.t.sf(d.mean() / (d.std(ddof=1) / np.sqrt(n)), n - 1)
    a, b = ours.var(ddof=1) / n, theirs.var(ddof=1) / k
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (k - 1))
    t = (ours.mean() - theirs.mean()) / np.sqrt(a + b)
    return stats.t.sf(t, freedom)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(3, 6),
    st.floats(-1.0, 4.0),
    st.booleans(),
    st.booleans(),
)
def test_it_is_a_t_test_at_5_percent(seed, n, ahead, lower, paired):
    rng = np.random.default_rng(seed)
    task = 3.0 * rng.standard_normal(n) if paired else 0.0
    spread = [rng.uniform(0.1, 2.0) for _ in range(3)]
    numbers = [n if paired else rng.integers(2, 7) for _ in range(2)]
    ours = task + spread[0] * rng.standard_normal(n) + ahead
    theirs = [
        task + s * rng.standard_normal(k)
        for s, k in zip(spread[1:], numbers, strict=True)
    ]
    wins = [p_value(ours, t, paired) < 0.05 for t in theirs]
    sign = -1.0 if lower else 1.0
    claim = outcome(
        *(sign * ours, *(sign * t for t in theirs)),
        lower_is_better=lower,
        paired=paired,
    )
    assert (claim.verdict == "holds") == all(wins)
    test = "paired t-test" if paired else "Welch's test"
    assert claim.reason.endswith(f"({test}, one-sided, 5 %)")


def test_pairs_tell_what_the_spread_over_tasks_hides():
    ours, theirs = [0.10, 0.29, 0.51, 0.70], [0.12, 0.32, 0.53, 0.73]
    alone = outcome(ours, theirs, lower_is_better=True)
    assert alone.verdict == "does not hold here"
    assert "better than other 0 on average" in alone.reason
    paired = outcome(ours, theirs, lower_is_better=True, paired=True)
    assert paired.verdict == "holds"


def test_lower_is_better_turns_the_verdict_and_not_the_numbers():
    ours, theirs = [0.30, 0.31, 0.32], [0.20, 0.21, 0.22]
    higher, lower = (
        outcome(ours, theirs, lower_is_better=lower) for lower in (False, True)
    )
    assert (higher.verdict, lower.verdict) == ("holds", "does not hold here")
    assert higher.measured == lower.measured


def test_numbers_are_shown_as_the_caller_wants():
    claim = outcome(
        *([-2.0, -1.0], [-1.0, 0.5], [0.0, 0.5]),
        show=lambda runs: f"{10 ** runs.mean():.2g}",
        gap=lambda d: f"{10**d:.2g} times that",
    )
    assert claim.measured == (
        ": ours 0.032, other 0 0.56 (0.056 times that),"
        " other 1 1.8 (0.018 times that)"
    )


def test_means_percent_and_points():
    assert mean(np.array([1.0, 2.0]), 2) == "1.50 ± 0.71"
    assert mean(np.array([1.26]), 1) == "1.3"
    assert percent(np.array([0.1, 0.2, 0.3])) == "20.0 ± 10.0 %"
    assert points(-0.0123) == "-1.2 points"


def test_without_any_spread_there_is_no_telling():
    assert outcome([0.2] * 3, [0.1] * 3).verdict == "does not hold here"
    ours = np.array([0.1, 0.2, 0.7])
    for ahead in (0.1, 0.25):  # the same step up in every pair
        paired = outcome(ours + ahead, ours, paired=True)
        assert paired.verdict == "does not hold here"


def test_one_network_may_do_the_same_in_every_run():
    assert outcome([0.2, 0.2], [0.1, 0.101]).verdict == "holds"
    assert outcome([0.2, 0.201], [0.1, 0.1]).verdict == "holds"
