"""The shipped files: made from nothing but code, and what they claim."""

import itertools
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msref.architectures import REGISTRY, run_forward, scan
from msref.vectors import catalogue, generate, load, names
from msref.vectors.conventions import SHARED
from msref.vectors.expected import expected, is_wide
from msref.vectors.flags import FLAGS, flags, gate_pairs
from msref.vectors.purposes import PURPOSES
from msref.vectors.vector import DATA, files
from msref.verification import Case

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
from test_golden import GOLDEN, X

every_vector = pytest.mark.parametrize("name", names())


def flagged(flag):
    return [name for name in names() if flag in load(name).manifest["flags"]]


# --- regeneration -----------------------------------------------------------


@pytest.mark.parametrize("arch", REGISTRY)
def test_every_file_is_made_anew_to_the_byte(arch):
    found = [line for name in names([arch]) for line in catalogue.check(name)]
    assert not found


def test_nothing_else_lies_there_and_all_of_it_is_small():
    assert not catalogue.strangers()
    found = [path for path in DATA.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in found)
    assert size < 4_000_000


@pytest.fixture
def copied(tmp_path):
    """One vector alone in a folder."""
    name = "elman/one-step"
    (tmp_path / "elman").mkdir()
    for path in files(name):
        shutil.copy(path, tmp_path / "elman")
    assert not catalogue.check(name, tmp_path)
    return name, tmp_path


def test_a_file_of_another_state_of_the_code_is_found(copied, monkeypatch):
    name, folder = copied
    step = REGISTRY["elman"].cls.step

    def other(self, params, state, x, t, xp=np):
        doubled = params | {"b_h": 2 * params["b_h"]}
        return step(self, doubled, state, x, t, xp)

    monkeypatch.setattr(REGISTRY["elman"].cls, "step", other)
    found = catalogue.check(name, folder)
    assert any("trace/a is " in line for line in found)
    assert any("grads/b_h is " in line for line in found)
    assert any("checksum of the manifest" in line for line in found)
    assert not any("params/b_h" in line for line in found)


def test_one_unit_in_the_last_place_is_found(copied, monkeypatch):
    name, folder = copied
    real = catalogue.expected

    def nearly(*args):
        found = real(*args)
        found.arrays["y"][0, 1, 2] = np.nextafter(
            found.arrays["y"][0, 1, 2], 1.0
        )
        return found

    monkeypatch.setattr(catalogue, "expected", nearly)
    if is_wide():
        assert "y is " in catalogue.check(name, folder)[0]
    monkeypatch.setattr(catalogue, "is_wide", lambda: False)
    assert not catalogue.check(name, folder)  # within 1e-13


def test_where_80_bits_are_missing_1e_13_is_asked_for(copied, monkeypatch):
    name, folder = copied
    real = catalogue.expected

    def off(*args):
        found = real(*args)
        found.arrays["y"][0, 1, 2] *= 1 + 1e-11
        return found

    monkeypatch.setattr(catalogue, "expected", off)
    monkeypatch.setattr(catalogue, "is_wide", lambda: False)
    assert catalogue.check(name, folder) == [
        "elman/one-step: y is off by more than 1e-13"
    ]


def test_an_edited_manifest_is_found(copied):
    name, folder = copied
    said = files(name, folder)[1]
    text = said.read_text()
    said.write_text(text.replace("squeezed", "squashed"))
    assert catalogue.check(name, folder) == [
        "elman/one-step: breaks of the manifest is not what is generated"
    ]
    said.write_text(text.replace(": ", ":  ", 1))
    assert catalogue.check(name, folder) == [
        "elman/one-step: other bytes, though the same content"
    ]


def test_a_damaged_file_is_found(copied):
    name, folder = copied
    numbers = files(name, folder)[0]
    numbers.write_bytes(numbers.read_bytes()[:-1])
    (found,) = catalogue.check(name, folder)
    assert "checksum" in found


def test_strangers_and_gaps_are_named(copied):
    name, folder = copied
    (folder / "elman" / "notes.txt").touch()
    found = catalogue.strangers(folder)
    assert found[0] == "elman/notes.txt is not planned"
    assert "lstm/basic.json is missing" in found
    assert f"{name}.json is missing" not in found


def test_vectors_are_written_where_they_are_wanted(tmp_path):
    (written,) = catalogue.write_all(["linear/one-step"], tmp_path)
    assert written == files("linear/one-step", tmp_path)
    for here, there in zip(written, files("linear/one-step"), strict=True):
        assert here.read_bytes() == there.read_bytes()


# --- the plan ---------------------------------------------------------------


def test_every_example_of_every_network_has_a_file():
    there = {(p.arch, p.example) for p in catalogue.plans().values()}
    for arch, entry in REGISTRY.items():
        assert {(arch, k) for k in range(len(entry.examples))} <= there
        assert catalogue.plans()[f"{arch}/basic"].example == 0


@every_vector
def test_a_manifest_says_what_its_plan_says(name):
    plan = catalogue.plans()[name]
    manifest = load(name).manifest
    assert name in (
        f"{plan.arch}/{manifest['purpose']}",
        f"{plan.arch}/{manifest['purpose']}-{plan.example + 1}",
    )
    assert manifest["breaks"] == plan.purpose.breaks
    said = manifest["architecture"]
    assert (said["name"], said["example"]) == (plan.arch, plan.example)
    assert SHARED.items() <= manifest["conventions"].items()
    tags = {
        tag
        for key in ("equations", "adjoint_equations")
        for equation in manifest[key]
        for tag in equation["tag"].split()
    }
    plain = {tag for tag in tags if not tag.endswith("'")}
    assert tags == plain | {f"{tag}'" for tag in plain}


def test_each_purpose_is_a_sentence_and_has_a_file():
    used = {plan.purpose.breaks for plan in catalogue.plans().values()}
    for purpose in PURPOSES:
        assert purpose.breaks in used
        assert purpose.breaks.endswith(".")
    assert len(used) == len(PURPOSES)


def test_names_may_be_patterns():
    assert names(["lstm"]) == names(["lstm/*"])
    assert names(["lstm/basic", "lstm/b*"]) == ["lstm/basic", "lstm/bias"]
    assert all(name.endswith("/ragged") for name in names(["*/ragged"]))
    assert len(names()) == len(catalogue.plans())


@pytest.mark.parametrize("wrong", ["lstm/bacis", "lst", "../x", ""])
def test_an_unknown_name_is_refused(wrong):
    for function in (load, lambda name: names([name])):
        with pytest.raises(ValueError, match="is no vector of msref"):
            function(wrong)
    if wrong == "lstm/bacis":
        with pytest.raises(ValueError, match=r"did you mean .*lstm/basic"):
            load(wrong)


def test_inputs_do_not_depend_on_other_files():
    """Each file has a generator of its own, seeded by its name."""
    drawn = {name: load(name).x.ravel()[:3].tobytes() for name in names()}
    alike = {}
    for name, start in drawn.items():
        alike.setdefault(start, []).append(name)
    same = [group for group in alike.values() if len(group) > 1]
    zero = {n for n in names() if not load(n).x.ravel()[:3].any()}
    assert all(set(group) <= zero for group in same)


@every_vector
def test_time_and_batch_lead_where_nothing_else_is_said(name):
    vector = load(name)
    odd = [
        key
        for key, array in vector.arrays.items()
        if key.startswith(("trace/", "adjoints/"))
        and array.shape[:2] != vector.x.shape[:2]
    ]
    for key in odd:
        part, _, symbol = key.removeprefix("trace/").rpartition("/")
        where = f" of part {part}" if part else ""
        said = vector.manifest["conventions"][f"statistics{where}"]
        assert f"{symbol} " in said
        assert "without" in said


# --- the flags hold, told by other means ------------------------------------


@every_vector
def test_flags_are_those_that_hold(name):
    vector = load(name)
    said = vector.manifest["flags"]
    assert said == flags(vector)
    assert ("T1" in said) == (vector.n_time == 1)
    assert ("B1" in said) == (vector.x.shape[1] == 1)
    assert ("LateStart" in said) == (vector.manifest["t0"] != 0)
    used = [bool(frame.any()) for frame in vector.dy]
    if "PerStepCotangent" in said:
        assert all(used)
    if "LastStepCotangent" in said:
        assert used == [False] * (len(used) - 1) + [True]
    assert ("NoOutputCotangent" in said) == (not any(used))
    for flag, arrays, zero in (
        ("NonzeroState", vector.state0, False),
        ("ZeroState", vector.state0, True),
        ("FinalStateCotangent", vector.dstate, False),
    ):
        entries = np.concatenate([v.ravel() for v in arrays.values()] or [[]])
        holds = entries.size and ((entries == 0) == zero).all()
        assert (flag in said) == bool(holds)


def test_ragged_means_that_the_padding_is_not_zero():
    vector = load("bidirectional/ragged")
    assert "RaggedLengths" in flags(vector)
    x = np.where(vector.counted[..., None], vector.x, 0.0)
    arrays = vector.arrays | {"x": x}
    assert "RaggedLengths" not in flags(replace(vector, arrays=arrays))


def test_each_flag_is_set_somewhere():
    said = {flag for name in names() for flag in load(name).manifest["flags"]}
    assert said == set(FLAGS)


@every_vector
def test_inputs_are_numbers_of_single_precision(name):
    vector = load(name)
    for key in set(vector.arrays) - set(vector.expected()) - {"lengths"}:
        array = vector.arrays[key]
        np.testing.assert_array_equal(array, array.astype(np.float32))


def outputs(vector, **changed):
    given = {"params": vector.params, "x": vector.x, "state": vector.state0}
    given |= changed
    return scan(
        vector.arch,
        given["params"],
        given["x"],
        given["state"],
        given.get("t0", vector.t0),
        np,
        given.get("lengths", vector.lengths),
    )


@pytest.mark.parametrize("name", names(["*/gate-order*"]))
def test_where_gates_are_far_apart_none_is_dead(name):
    zero = [k for k, v in load(name).expected().items() if not v.any()]
    assert not zero


@pytest.mark.parametrize("name", flagged("GateAsymmetric"))
def test_confused_gates_show_in_any_precision(name):
    vector = load(name)
    pairs = gate_pairs(vector)
    assert pairs
    for one, two in pairs:
        a, b = one.rpartition("_")[2], two.rpartition("_")[2]
        params = dict(vector.params)
        for kind in ("W_x", "W_h", "w_h", "W_s", "b_"):
            if f"{kind}{a}" in params and f"{kind}{b}" in params:
                p, q = params[f"{kind}{a}"], params[f"{kind}{b}"]
                if p.shape == q.shape:
                    params[f"{kind}{a}"], params[f"{kind}{b}"] = q, p
        y = outputs(vector, params=params)[0]
        assert np.abs(y - vector.arrays["y"]).max() > 0.1, (one, two)


@pytest.mark.parametrize("name", flagged("Cut"))
def test_both_halves_of_a_cut_sequence_give_the_whole(name):
    v = load(name)
    arch, cut = v.arch, v.cut
    assert v.t0 % 2 == 1
    at_cut = {k: v.arrays[f"cut/{k}"] for k in v.state0}
    gradient = {k: v.arrays[f"dcut/{k}"] for k in v.state0}
    y, state, early = run_forward(arch, v.params, v.x[:cut], v.state0, v.t0)
    for key, value in state.items():
        np.testing.assert_allclose(value, at_cut[key], 1e-13, 1e-14)
    late_y, state, late = run_forward(
        arch, v.params, v.x[cut:], at_cut, v.t0 + cut
    )
    whole = np.concatenate([y, late_y])
    np.testing.assert_allclose(whole, v.arrays["y"], 1e-12, 1e-14)
    g = arch.backward(v.params, late, v.dy[cut:], v.dstate)
    for key, value in g.state.items():
        np.testing.assert_allclose(value, gradient[key], 1e-11, 1e-13)
    g = arch.backward(v.params, early, v.dy[:cut], gradient)
    for key, value in g.state.items():
        want = v.arrays[f"dstate0/{key}"]
        np.testing.assert_allclose(value, want, 1e-11, 1e-13)
    np.testing.assert_allclose(g.x, v.arrays["dx"][:cut], 1e-11, 1e-13)


@pytest.mark.parametrize("name", flagged("RaggedLengths"))
def test_nothing_that_counts_depends_on_padding(name):
    v = load(name)
    padding = ~v.counted
    assert padding.any()
    assert v.x[padding].any()
    assert not v.dy[padding].any()
    y = outputs(v, x=np.where(padding[..., None], 0.0, v.x))[0]
    np.testing.assert_allclose(y[v.counted], v.arrays["y"][v.counted], 1e-13)
    assert not v.arrays["dx"][padding].any()
    full = outputs(v, lengths=None)[0]  # a port that does not look at lengths
    assert np.abs(full - v.arrays["y"])[v.counted].max() > 0.01


@pytest.mark.parametrize("name", flagged("LongVanishing"))
def test_a_long_gradient_vanishes(name):
    size = np.abs(load(name).arrays["dx"]).max(axis=(1, 2))
    assert len(size) >= 24
    assert 1e-30 < size[0] < 1e-8 * size[-1]
    assert size[-1] > 1e-3


@pytest.mark.parametrize("name", flagged("LongMemory"))
def test_a_state_is_remembered(name):
    v = load(name)
    assert (v.x == v.x[:, :1]).all()
    swapped = {k: a[::-1] for k, a in v.state0.items()}
    y, _, _ = outputs(v, state=swapped)
    np.testing.assert_allclose(y, v.arrays["y"][:, ::-1], 1e-12)
    apart = np.abs(v.arrays["y"][-1, 0] - v.arrays["y"][-1, 1]).max()
    assert apart > 0.1


@pytest.mark.parametrize("name", flagged("Saturated"))
def test_saturated_units_overflow_a_naive_exponential(name):
    v = load(name)
    assert "Overflow" in v.manifest["flags"]
    largest = max(
        (np.abs(a).max(), k)
        for k, a in v.arrays.items()
        if k.startswith("trace/a")
    )
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(largest[0]))
    assert all(np.isfinite(a).all() for a in v.arrays.values())


@pytest.mark.parametrize("name", flagged("NearKink"))
def test_a_smooth_relu_shows_near_the_kink(name):
    v = load(name)
    a = v.arrays[f"trace/{v.arch.kinks[0]}"]
    close = np.abs(a) < 2e-3
    assert (close & (a > 0)).sum() >= 4
    assert (close & (a < 0)).sum() >= 4
    for kink in v.arch.kinks:  # no sign hangs on rounding, even in float32
        assert np.abs(v.arrays[f"trace/{kink}"]).min() > 5e-4


@pytest.mark.parametrize("name", names())
def test_elsewhere_no_kink_is_close(name):
    v = load(name)
    if {"AtKink", "NearKink"} & set(v.manifest["flags"]):
        return
    for kink in getattr(v.arch, "kinks", ()):
        assert np.abs(v.arrays[f"trace/{kink}"]).min() > 1e-4


@pytest.mark.parametrize("name", flagged("AtKink"))
def test_another_derivative_at_the_kink_shows(name):
    """A derivative of one there is that of pre-activations just above."""
    v = load(name)
    kink = v.arch.kinks[0]
    at = v.arrays[f"trace/{kink}"] == 0
    assert at[0].any()
    assert not at[1:].any()
    above = dict(v.params)
    bias = f"b_{kink[2:] or 'h'}"
    above[bias] = np.where(above[bias] == 0, 1e-9, above[bias])
    _, _, tape = run_forward(v.arch, above, v.x, v.state0, v.t0)
    g = v.arch.backward(above, tape, v.dy, v.dstate)
    gap = np.abs(g.x[0] - v.arrays["dx"][0]).max()
    assert gap > 1e-2
    assert not v.arrays[f"adjoints/{kink}"][at].any()


@pytest.mark.parametrize("name", flagged("Unread"))
def test_what_is_not_read_has_no_effect_and_no_gradient(name):
    v = load(name)
    start = v.arch.init(np.random.default_rng(0))
    for key in v.arch.masked:
        unread = start[key] == 0
        assert v.params[key][unread].all()
        assert not v.arrays[f"grads/{key}"][unread].any()
        assert v.arrays[f"grads/{key}"][~unread].all()
        zeroed = v.params | {key: np.where(unread, 0.0, v.params[key])}
        y = outputs(v, params=zeroed)[0]
        np.testing.assert_allclose(y, v.arrays["y"], 1e-13)


@pytest.mark.parametrize("name", flagged("Clock"))
def test_units_move_at_their_ticks_alone(name):
    v = load(name)
    arch, key = v.arch, {"clockwork": "h", "mslmn": "m"}[name.split("/")[0]]
    states = v.arrays[f"trace/{key}"]
    n = states.shape[-1] // arch.n_modules
    for k, module in itertools.product(
        range(1, v.n_time), range(arch.n_modules)
    ):
        own = slice(module * n, (module + 1) * n)
        moved = (states[k, :, own] != states[k - 1, :, own]).all()
        period = 2 ** (arch.first + module)
        assert moved == ((v.t0 + k + arch.origin) % period == 0)


def test_phases_contain_a_whole_round():
    for name in names(["*/clock-phases*"]):
        v = load(name)
        assert v.t0 % 2 == 1
        assert v.n_time > 2 ** (v.arch.first + v.arch.n_modules - 1)


@pytest.mark.parametrize("name", flagged("ConstantUnit"))
def test_a_constant_unit_hangs_on_eps(name):
    v = load(name)
    constant = np.ptp(v.x, axis=(0, 1)) == 0
    assert constant.sum() == 1
    assert v.arrays["trace/v"][constant] < 1e-30
    gain = np.abs(v.arrays["dx"][..., constant]).max()
    assert gain > 100 * np.abs(v.arrays["dx"][..., ~constant]).max()


# --- published values through the same generator ----------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values_come_out_of_the_generator(name):
    """Final state, and the gradient of sum(h_T) at the first input."""
    arch, params, final, dx = GOLDEN[name]
    zeros = arch.initial_state(1)
    dstate = {k: np.zeros_like(v) for k, v in zeros.items()}
    dstate["h"] = np.ones_like(zeros["h"])
    dy = np.zeros((3, 1, 2))
    found = expected(arch, Case(params, zeros, X, dy, dstate)).arrays
    for key, value in final.items():
        np.testing.assert_allclose(found[f"state/{key}"][0], value, atol=1e-8)
    np.testing.assert_allclose(found["dx"][0, 0], dx, atol=1e-8)


def test_generating_twice_gives_the_same():
    one, two = generate("gru/one-step"), generate("gru/one-step")
    assert one.manifest == two.manifest
