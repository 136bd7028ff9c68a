"""How the verdicts of cases and witnesses become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.verification.judge import (
    AUTOGRAD,
    COMPLEX_STEP,
    DIFFERENCES,
    Finding,
)
from msref.verification.report import Report, rows
from msref.verification.tolerance import VERDICTS, Comparison


def finding(verdict: str, witness: str = AUTOGRAD, seed: int = 0) -> Finding:
    excess = 2.0 if verdict == "FAIL" else 0.5
    found = Comparison(verdict, 0.0, excess, (), 1.0, 1.0, 1.0)
    return Finding("dx", witness, found, seed)


def verdict_of(*findings: Finding) -> str:
    (row,) = rows(findings)
    return row.verdict


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({AUTOGRAD: "PASS", DIFFERENCES: "UNDECIDED"}, "PASS"),
        ({AUTOGRAD: "UNDECIDED", COMPLEX_STEP: "PASS"}, "PASS"),
        ({AUTOGRAD: "ZERO", DIFFERENCES: "UNDECIDED"}, "ZERO"),
        ({AUTOGRAD: "UNDECIDED", COMPLEX_STEP: "UNDECIDED"}, "UNDECIDED"),
        ({AUTOGRAD: "PASS", DIFFERENCES: "FAIL"}, "FAIL"),
        ({AUTOGRAD: "PASS", COMPLEX_STEP: "NAN"}, "NAN"),
        ({AUTOGRAD: "PASS", DIFFERENCES: "ZERO"}, "PASS"),
    ],
)
def test_a_witness_that_cannot_tell_yields_to_one_that_can(said, verdict):
    assert verdict_of(*(finding(v, w) for w, v in said.items())) == verdict


def test_of_one_witness_every_direction_has_to_pass():
    probes = [finding("PASS", COMPLEX_STEP), finding("UNDECIDED", COMPLEX_STEP)]
    assert verdict_of(*probes) == "UNDECIDED"


@pytest.mark.parametrize(
    ("cases", "verdict"),
    [
        (["PASS", "PASS", "UNDECIDED"], "PASS"),
        (["PASS", "UNDECIDED"], "UNDECIDED"),
        (["PASS", "UNDECIDED", "UNDECIDED"], "UNDECIDED"),
        (["ZERO", "ZERO", "UNDECIDED"], "ZERO"),
        (["UNDECIDED", "UNDECIDED", "FAIL"], "FAIL"),
    ],
)
def test_most_cases_have_to_be_decided(cases, verdict):
    found = [finding(v, seed=k) for k, v in enumerate(cases)]
    assert verdict_of(*found) == verdict


@given(
    st.lists(
        st.tuples(
            st.sampled_from(VERDICTS),
            st.sampled_from([AUTOGRAD, COMPLEX_STEP, DIFFERENCES]),
            st.integers(0, 4),
        ),
        min_size=1,
    )
)
def test_what_is_wrong_is_never_outvoted(said):
    verdict = verdict_of(*(finding(*one) for one in said))
    verdicts = {v for v, _, _ in said}
    for wrong in ("FAIL", "NAN"):
        if wrong in verdicts:
            assert verdict == wrong
            return
    assert verdict in verdicts


def test_the_report_says_how_many_cases_could_not_be_told():
    found = [finding(v, seed=k) for k, v in enumerate(["PASS"] * 2 + ["ZERO"])]
    found.append(finding("UNDECIDED", seed=3))
    report = Report("Net()", "float64", 4, rows(found))
    assert report.ok
    assert "too imprecise to tell: dx in 1 of 4 cases" in str(report)
    assert report.to_dict()["rows"][0]["undecided_cases"] == 1
