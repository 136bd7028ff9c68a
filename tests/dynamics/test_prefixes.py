import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from msref.dynamics.prefixes import after_prefixes


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_each_row_runs_to_its_cut_once_and_in_order(cuts):
    cuts = np.array(cuts)
    seen = [[] for _ in cuts]

    def run(now, rows, state):
        assert state["h"].tolist() == [[10.0 * q + len(seen[q])] for q in rows]
        for q in rows:
            seen[q] += range(now.start, now.stop)
        return {"h": state["h"] + (now.stop - now.start)}

    start = 10.0 * np.arange(len(cuts))[:, None]
    found = after_prefixes(run, cuts, {"h": start})
    assert seen == [[*range(cut)] for cut in cuts]
    np.testing.assert_array_equal(found["h"], start + cuts[:, None])


def test_rows_that_are_longest_first_run_as_the_first_rows():
    ran = []

    def run(now, rows, state):
        ran.append((now.stop, rows.tolist()))
        return state

    after_prefixes(run, np.array([5, 5, 2, 1]), {"h": np.zeros((4, 1))})
    assert ran == [(1, [0, 1, 2, 3]), (2, [0, 1, 2]), (5, [0, 1])]
