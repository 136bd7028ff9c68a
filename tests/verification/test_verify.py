"""The verdict on right and wrong networks, and where it places a bug."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from mgu import (
    MGU,
    AutogradCannotFollow,
    Bare,
    ComplexStepCannotFollow,
    NeitherCanFollow,
    WithoutAdjoints,
    WithoutBackward,
    WithoutForward,
)

import msref
from msref.architectures import (
    GRU,
    LSTM,
    REGISTRY,
    Elman,
    Gradients,
    is_causal,
)
from msref.verification import (
    AUTOGRAD,
    COMPLEX_STEP,
    draw,
    gather,
    judge,
    place,
    verify,
)
from msref.verification.bugs import windowed
from msref.verification.tolerance import worst

EXAMPLES = [arch for entry in REGISTRY.values() for arch in entry.examples]
every = pytest.mark.parametrize("arch", EXAMPLES, ids=repr)


def verdicts(report):
    return {row.array: row.verdict for row in report.rows}


def wrong_rows(report):
    """Name the arrays that failed, without the properties in words."""
    return {
        name
        for name, verdict in verdicts(report).items()
        if verdict not in ("PASS", "ZERO") and " " not in name
    }


# --- right networks ---------------------------------------------------------


def test_a_tape_that_the_next_run_overwrites_is_wrong():
    rooms = {}

    class Thrifty(MGU):
        def forward(self, params, x, state=None, t0=0):
            y, final, tape = super().forward(params, x, state, t0)
            for name, value in tape.items():
                room = rooms.setdefault((name, value.shape), value.copy())
                room[...] = value
                tape[name] = room
            return y, final, tape

    report = verify(Thrifty(3, 5), cases=1, n_time=5)
    found = [row.array for row in report.rows if row.verdict != "PASS"]
    assert found == ["whatever runs in between"]
    assert "whatever runs in between grads/W_xf: expected" in str(report)


@every
def test_each_registered_network_is_right_to_rounding(arch):
    report = verify(arch, cases=2, seed=100)
    assert report.ok, str(report)
    assert report.verdict == "PASS"
    assert report.relative_error <= 1e-12
    assert report.error_against(AUTOGRAD) <= 1e-12
    assert report.error_against(COMPLEX_STEP) <= 1e-12
    assert report.notes == []
    assert report.placement is None
    expected = {"y", "dx", *(f"grads/{name}" for name in arch.shapes())}
    assert expected <= set(verdicts(report))
    assert any(name.startswith("tape/") for name in verdicts(report))
    is_biased = any("b_" in name for name in arch.shapes())
    assert is_biased == any("adjoints/" in name for name in verdicts(report))
    assert ("cut anywhere" in verdicts(report)) == is_causal(arch)


@every
def test_each_registered_network_is_right_in_float32(arch):
    report = verify(arch, cases=2, seed=200, dtype=np.float32)
    assert report.ok, str(report)
    assert report.dtype == "float32"
    assert 1e-9 < report.relative_error <= 1e-4


def test_a_readers_own_network_passes():
    report = verify(MGU(3, 5), cases=3)
    assert report.ok
    assert report.relative_error <= 1e-12
    assert report.name.startswith("MGU(n_in=3, n_hid=5")
    assert {"adjoints/a_f", "adjoints/a_m"} <= set(verdicts(report))


def test_adjoints_are_not_required():
    report = verify(WithoutAdjoints(3, 5), cases=2)
    assert report.ok
    assert not any(name.startswith("adj") for name in verdicts(report))


@every
@pytest.mark.parametrize("scale", [5.0, 50.0])
def test_a_saturated_network_is_never_called_wrong(arch, scale):
    """Derivatives of 1e-20 and of 1e20 are hard to witness, not wrong."""
    case = draw(arch, 0, n_time=12)
    params = {name: scale * v for name, v in case.params.items()}
    report = verify(arch, cases=1, params=params, x=case.x, state=case.state)
    assert report.verdict in ("PASS", "ZERO", "UNDECIDED"), str(report)


# --- what the report carries ------------------------------------------------


def test_the_same_seed_gives_the_same_report():
    for arch in (LSTM(3, 5), MGU(3, 5, "wrong gate")):
        options = {"cases": 1, "n_time": 6}
        one, two = (verify(arch, seed=3, **options).to_dict() for _ in range(2))
        assert one.pop("seconds") > 0
        two.pop("seconds")
        assert one == two
        other = verify(arch, seed=4, **options).to_dict()
        assert other["rows"] != one["rows"]


def test_sizes_and_your_own_point_are_kept():
    arch = Elman(3, 5)
    case = draw(arch, 0, 4, 2)
    for cases in (1, 2):
        seen = []
        report = verify(
            arch,
            cases=cases,
            params=case.params,
            x=case.x,
            state=case.state,
            progress=lambda done, of: seen.append((done, of)),  # noqa: B023
        )
        assert report.ok
        assert report.n_cases == cases
        assert seen == [(k + 1, cases) for k in range(cases)]


def test_the_table_shows_each_array_and_the_place_of_a_bug():
    text = str(verify(MGU(3, 5, "wrong gate"), cases=1, n_time=8))
    assert text.startswith("FAIL MGU(n_in=3, n_hid=5, bug='wrong gate'")
    assert "where it goes wrong" in text
    for name in ("grads/W_xf", "adjoints/a_f", "complex step", "by lag"):
        assert name in text
    assert "where it goes wrong" not in str(verify(MGU(3, 5), cases=1))


# --- wrong networks ---------------------------------------------------------

OPTIONS = {"n_time": 10, "cases": 1}


def failing(arch, **options):
    report = verify(arch, **OPTIONS | options)
    assert report.verdict == "FAIL"
    assert not report.ok
    assert report.placement is not None
    return report, " / ".join(report.placement.lines)


@pytest.mark.parametrize("at", [1, 3, 8])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_wrong_gate_at_one_time_step_is_placed(at, dtype):
    report, lines = failing(MGU(3, 5, "wrong gate", at), dtype=dtype)
    found = report.placement
    assert (found.array, found.time, found.gate) == ("adjoints/a_f", at, "f")
    assert found.expected != pytest.approx(found.got)
    assert f"(gate f) at t={at}, {9 - at} hops back" in lines
    assert f"right at t={at}: a_m" in lines
    assert f"everything at t={at + 1} and later agrees" in lines


@pytest.mark.parametrize("at", [3, 8])
def test_a_wrong_gate_is_placed_in_time_without_adjoints(at):
    report, lines = failing(WithoutAdjoints(3, 5, "wrong gate", at))
    assert report.placement.time == at
    assert f"dx at t={at}" in lines
    assert "grads/W_xf is wrong from" in lines


@pytest.mark.parametrize("cls", [MGU, WithoutAdjoints])
@pytest.mark.parametrize("at", [1, 4])
def test_a_truncated_pass_shows_as_a_cliff(cls, at):
    report, lines = failing(cls(3, 5, "truncated", at))
    last = at - 1
    assert f"BPTT is truncated after {last} hops" in lines
    lags = report.placement.lags
    assert [lag.lag for lag in lags] == list(range(10))
    assert [lag.wrong for lag in lags] == [k >= at for k in range(10)]
    assert all(lag.got == 0.0 < lag.expected for lag in lags[at:])
    assert all(lag.got == pytest.approx(lag.expected) for lag in lags[:at])


@pytest.mark.parametrize(
    ("bug", "array"),
    [("bias missing", "grads/b_f"), ("off by one", "grads/W_hf")],
)
@pytest.mark.parametrize("cls", [MGU, WithoutAdjoints])
def test_a_wrong_parameter_gradient_is_named_alone(cls, bug, array):
    report, lines = failing(cls(3, 5, bug))
    assert wrong_rows(report) == {array}
    assert report.placement.array == array
    assert report.placement.gate == "f"
    assert f"{array} is wrong from the last 1 step on (t=9)" in lines
    if cls is MGU:
        assert "the way back in time is right" in lines


@pytest.mark.parametrize("cls", [MGU, WithoutAdjoints])
def test_an_ignored_final_state_gradient_is_said(cls):
    report, lines = failing(cls(3, 5, "final state ignored"))
    assert report.placement.time == 9
    assert "only where the final state carries a gradient" in lines
    assert "truncated" not in lines


def test_a_gradient_that_is_not_finite_is_called_so():
    report = verify(MGU(3, 5, "not finite"), cases=1, n_time=6)
    assert report.verdict == "NAN"
    assert not report.ok
    assert wrong_rows(report) == {"grads/b_f"}
    assert report.placement.array == "grads/b_f"
    assert report.to_dict()["rows"]


def test_a_gradient_that_writes_into_its_inputs_is_wrong():
    class Writing(MGU):
        def backward(self, params, tape, dy, dstate=None):
            g = super().backward(params, tape, dy, dstate)
            dy *= 2.0
            return g

    report = verify(Writing(3, 5), cases=1, n_time=6)
    assert verdicts(report)["inputs are left alone"] == "FAIL"


def test_a_pass_that_is_random_is_wrong():
    rng = np.random.default_rng()

    class Random(MGU):
        def backward(self, params, tape, dy, dstate=None):
            g = super().backward(params, tape, dy, dstate)
            return replace(g, x=g.x * (1 + 1e-14 * rng.standard_normal()))

    report = verify(Random(3, 5), cases=1, n_time=6)
    assert verdicts(report)["same input, same bits"] == "FAIL"
    assert verdicts(report)["dx"] == "PASS"


@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("grads/W_hm", lambda g: g.params.pop("W_hm")),
        ("grads/W_xf", lambda g: g.params.update(W_xf=g.params["W_xf"].T)),
        ("dstate0/h", lambda g: g.state.pop("h")),
        ("dstate0/h", lambda g: g.state.update(h=g.state["h"].T)),
        ("dstate0/h", lambda g: g.state.update(h=g.state["h"][:1])),
    ],
)
def test_an_absent_or_misshapen_gradient_is_wrong(array, change):
    class Changed(MGU):
        def backward(self, params, tape, dy, dstate=None):
            g = super().backward(params, tape, dy, dstate)
            change(g)
            return g

    report = verify(Changed(3, 5), cases=1, n_time=6)
    assert report.verdict == "FAIL"
    assert wrong_rows(report) == {array}
    assert str(report)


def test_a_misshapen_input_gradient_is_wrong():
    class Changed(MGU):
        def backward(self, params, tape, dy, dstate=None):
            g = super().backward(params, tape, dy, dstate)
            return replace(g, x=g.x.transpose(1, 0, 2))

    assert wrong_rows(verify(Changed(3, 5), cases=1, n_time=6)) == {"dx"}


def test_a_forward_pass_that_is_not_its_step_is_wrong():
    class Other(MGU):
        def forward(self, params, x, state=None, t0=0):
            bent = params | {"b_m": params["b_m"] + 1e-9}
            return super().forward(bent, x, state, t0)

    report = verify(Other(3, 5), cases=1, n_time=6)
    assert report.verdict == "FAIL"
    assert {"y", "state/h", "tape/a_m", "tape/h"} <= wrong_rows(report)


# --- half a network ---------------------------------------------------------


@pytest.mark.parametrize("change", ["missing", "misshapen", "added"])
def test_a_final_state_that_nothing_can_start_from_is_wrong(change):
    class Odd:
        arch = msref.Elman(3, 5)

        def __getattr__(self, name):
            return getattr(self.arch, name)

        def forward(self, params, x, state=None, t0=0):
            y, final, tape = self.arch.forward(params, x, state, t0)
            h = final["h"]
            told = {"missing": {}, "misshapen": {"h": h[:, :2]}}
            added = {"h": h + 1e-3, "step": h}
            return y, told.get(change, added), tape

    assert not msref.verify(Odd(), cases=1, n_time=4).ok


def test_without_a_backward_pass_forward_is_checked():
    report = verify(WithoutBackward(), cases=2)
    assert report.ok
    assert {"y", "state/h", "tape/a_f"} <= set(verdicts(report))
    assert not any(n.startswith(("grads", "dx")) for n in verdicts(report))
    assert report.notes == ["there is no backward: no gradient is checked"]
    assert report.name == "WithoutBackward"


@pytest.mark.parametrize("cls", [Bare, WithoutForward])
def test_where_nothing_can_be_checked_nothing_is_said_to_be_right(cls):
    report = verify(cls(), cases=2)
    assert not report.ok
    assert report.verdict == "UNDECIDED"
    assert report.rows == []
    assert report.notes == ["there is no forward: nothing is held against step"]
    assert "UNDECIDED" in str(report)
    assert report.to_dict()["rows"] == []


@pytest.mark.parametrize(
    "name", ["n_in", "n_out", "init", "initial_state", "step"]
)
def test_a_missing_requirement_is_named(name):
    parts = {k: getattr(Bare, k) for k in dir(Bare) if not k.startswith("__")}
    del parts[name]
    with pytest.raises(TypeError, match=f"^Half has no {name}; .* needs n_in"):
        verify(type("Half", (), parts)())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cases": 0}, "cases is 0, expected at least 1"),
        ({"cases": -3}, "cases is -3"),
        ({"dtype": np.int64}, "expected float32 or float64"),
        ({"dtype": "float16"}, "dtype is float16, expected float32"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        verify(Elman(3, 5), **options)


# --- witnesses that cannot follow -------------------------------------------

CANNOT = [AutogradCannotFollow, ComplexStepCannotFollow, NeitherCanFollow]


@pytest.mark.parametrize("cls", CANNOT)
def test_a_witness_that_cannot_follow_calls_nothing_wrong(cls):
    """The network is right; its step is one that witnesses trip over."""
    report = verify(cls(3, 5), cases=2)
    assert report.verdict == "PASS", str(report)
    assert report.notes, "what could not be asked must be said"


@pytest.mark.parametrize("cls", CANNOT)
@pytest.mark.parametrize("bug", ["wrong gate", "truncated", "off by one"])
def test_the_other_witnesses_still_catch_a_bug(cls, bug):
    report = verify(cls(3, 5, bug), cases=1, n_time=6)
    assert report.verdict == "FAIL"


# --- kinks ------------------------------------------------------------------


def relu_at(x, W_xh, W_hh):
    return {
        "params": {"W_xh": W_xh, "W_hh": W_hh, "b_h": np.zeros(len(W_hh))},
        "x": x,
        "state": {"h": np.zeros((x.shape[1], len(W_hh)))},
    }


def test_one_unit_exactly_at_its_kink_is_judged_one_sidedly():
    """Its slope lies between 0 and 1; both passes say 0."""
    x = np.array([1.0, -1.0, 0.0, 2.0]).reshape(-1, 1, 1)
    point = relu_at(x, np.ones((1, 1)), np.zeros((1, 1)))
    report = verify(Elman(1, 1, activation="relu"), cases=2, **point)
    assert report.ok, str(report)
    assert report.kinks or "kink" in " ".join(report.notes)


def test_a_network_at_rest_exactly_at_its_kinks_is_not_called_wrong():
    """All units of all steps at 0: any direction has many kinks in it."""
    rng = np.random.default_rng(0)
    arch = Elman(4, 3, activation="relu")
    W_xh, W_hh = rng.standard_normal((4, 3)), rng.standard_normal((3, 3))
    report = verify(arch, cases=2, **relu_at(np.zeros((5, 2, 4)), W_xh, W_hh))
    assert report.verdict in ("PASS", "ZERO", "UNDECIDED"), str(report)
    x = rng.standard_normal((5, 2, 4))
    x[2] = 0.0  # one step exactly there, where units before it are silent
    report = verify(arch, cases=2, **relu_at(x, W_xh, np.eye(3)))
    assert report.verdict in ("PASS", "UNDECIDED"), str(report)


def test_a_slope_of_two_at_a_kink_is_wrong():
    class Steep(Elman):
        def backward(self, params, tape, dy, dstate=None):
            g = super().backward(params, tape, dy, dstate)
            at_kink = (tape["x"] == 0.0) * 2.0 * dy
            return replace(g, x=g.x + at_kink)

    x = np.array([1.0, -1.0, 0.0, 2.0]).reshape(-1, 1, 1)
    point = relu_at(x, np.ones((1, 1)), np.zeros((1, 1)))
    report = verify(Steep(1, 1, activation="relu"), cases=1, **point)
    assert verdicts(report)["dx"] == "FAIL"


def test_kinks_are_counted_for_relu_alone():
    relu = verify(Elman(4, 3, activation="relu"), cases=5, n_time=30)
    assert relu.ok
    assert set(relu.kinks) == {"a"}
    assert verify(Elman(4, 3), cases=2).kinks == {}


# --- gradients that have almost vanished ------------------------------------


class Windowed(Elman):
    """Carries each gradient back 40 steps, no further."""

    def backward(self, params, tape, dy, dstate=None):
        n_time = len(dy)
        grads, adjoints = [], []
        for t in range(n_time):
            start = max(0, t - 39)
            window = {k: v[start : t + 1] for k, v in tape.items()}
            alone = np.zeros_like(dy[start : t + 1])
            alone[-1] = dy[t]
            last = dstate if t == n_time - 1 else None
            g = super().backward(params, window, alone, last)
            before = np.zeros((start, *g.x.shape[1:]))
            after = np.zeros((n_time - 1 - t, *g.x.shape[1:]))
            grads.append(replace(g, x=np.concatenate([before, g.x, after])))
            empty = np.zeros_like(dy)
            empty[start : t + 1] = g.adjoints["a"]
            adjoints.append(empty)
        return Gradients(
            {k: sum(g.params[k] for g in grads) for k in params},
            sum(g.x for g in grads),
            grads[0].state,
            {"a": sum(adjoints)},
        )


def vanishing(arch):
    """A loss on the last output alone, sixty steps from the first input."""
    case = draw(arch, 0, n_time=60, n_batch=2)
    dy = np.zeros_like(case.dy)
    dy[-1] = case.dy[-1]
    return replace(
        case,
        params=case.params | {"W_hh": 0.9 * case.params["W_hh"]},
        dy=dy,
        dstate={"h": np.zeros_like(case.dstate["h"])},
    )


def test_a_gradient_of_1e_20_is_checked_to_its_last_digits():
    right, wrong = Elman(3, 5), Windowed(3, 5)
    case = vanishing(right)
    evidence = gather(right, case)
    assert 1e-30 < np.abs(evidence.gradient["x"][0]).max() < 1e-18
    found = judge(right, evidence)
    assert worst([f.comparison.verdict for f in found]) == "PASS"

    found = judge(wrong, evidence)
    failed = {f.array for f in found if f.comparison.verdict == "FAIL"}
    assert {"dx", "dstate0/h"} <= failed
    placement = place(wrong, evidence)
    assert any("truncated after 39 hops" in line for line in placement.lines)
    assert [lag.wrong for lag in placement.lags] == [k > 39 for k in range(60)]


def test_one_wrong_digit_of_a_gradient_of_1e_20_is_seen():
    class Off(Elman):
        def backward(self, params, tape, dy, dstate=None):
            g = super().backward(params, tape, dy, dstate)
            g.x[0] *= 1 + 1e-9
            return g

    case = vanishing(Elman(3, 5))
    found = judge(Off(3, 5), gather(Elman(3, 5), case))
    failed = {f.array for f in found if f.comparison.verdict == "FAIL"}
    assert failed == {"dx"}


@pytest.mark.parametrize("arch", [Elman(3, 5), GRU(3, 5), LSTM(3, 5)], ids=repr)
def test_long_vanishing_sequences_pass(arch):
    case = draw(arch, 1, 60, 2)
    params = {k: 0.3 * v for k, v in case.params.items()}
    report = verify(arch, cases=1, params=params, x=case.x, state=case.state)
    assert report.verdict == "PASS", str(report)


@dataclasses.dataclass(frozen=True)
class LongWindow:
    """An Elman network whose BPTT stops after a long window."""

    arch: msref.Elman
    hops: int

    def __getattr__(self, name):
        return getattr(self.arch, name)

    def backward(self, params, tape, dy, dstate):
        return windowed(self.arch, params, tape, dy, dstate, self.hops)


def test_what_is_lost_far_back_is_found_below_the_rounding_of_the_rest():
    arch = msref.Elman(3, 4)
    params = arch.init(np.random.default_rng(0))
    params["W_hh"] = 0.25 * params["W_hh"]  # 4^-25 is below 1e-15
    options = {"params": params, "n_time": 40, "cases": 1}
    assert msref.verify(LongWindow(arch, 40), **options).ok
    report = msref.verify(LongWindow(arch, 25), **options)
    wrong = {row.array for row in report.rows if row.verdict == "FAIL"}
    assert wrong == {"reach of the last output"}
    assert "truncated after 25 hops" in " ".join(report.placement.lines)


class Overwrites(Elman):
    """Leaves nothing of the cotangents that it was given."""

    def backward(self, params, tape, dy, dstate=None):
        found = super().backward(params, tape, dy, dstate)
        dy[...] = 0.0
        return found


class ReturnsDict(Elman):
    def backward(self, params, tape, dy, dstate=None):
        return vars(super().backward(params, tape, dy, dstate))


def test_overwritten_inputs_are_seen_and_spoil_nothing_else():
    report = msref.verify(Overwrites(3, 5), cases=1)
    wrong = [row.array for row in report.rows if row.verdict == "FAIL"]
    assert wrong == ["inputs are left alone"]


def test_what_backward_returns_is_checked():
    with pytest.raises(TypeError, match="backward returned dict, expected"):
        msref.verify(ReturnsDict(3, 5), cases=1)
