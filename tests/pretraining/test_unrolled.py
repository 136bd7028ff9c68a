"""Networks that work before they are trained do what they promise."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from msref.architectures import LMN, Elman
from msref.architectures.ulm import ULM
from msref.pretraining import (
    elman_from_inputs,
    hidden_sequences,
    lmn_delay_line,
    lmn_from_inputs,
    lmn_from_unrolled,
    lmn_orthogonal,
)
from msref.pretraining.laes import LAES
from msref.training import SGD, Model, Orthogonality, fit

LENGTHS = (7, 5, 9, 4, 1, 6, 8, 12)


def rng(seed=0):
    return np.random.default_rng(seed)


def some_sequences(n_in=3, lengths=LENGTHS, seed=0):
    draw = rng(seed)
    return [0.3 + draw.standard_normal((n, n_in)) for n in lengths]


def an_unrolled(core=None, n_out=2, scale=0.4, seed=1):
    """A model with random weights everywhere: as good as a trained one."""
    model = Model(core or ULM(3, 6, 4), n_out, "squared")
    draw = rng(seed)
    return model, {
        name: scale * draw.standard_normal(shape)
        for name, shape in model.shapes().items()
    }


def difference(one, other, sequences):
    """Return the relative difference of two models' outputs."""
    wrong = total = 0.0
    for x in sequences:
        o = one[0].predict(one[1], x[:, None])
        wrong += np.sum((other[0].predict(other[1], x[:, None]) - o) ** 2)
        total += np.sum(o**2)
    return float(np.sqrt(wrong / total))


def states(model, params, x):
    """Return the core's outputs on one sequence, (n_time, n_out)."""
    core = {k[5:]: v for k, v in params.items() if k.startswith("core/")}
    return model.core.forward(core, x[:, None])[0][:, 0]


def rank_of(ulm, sequences, centre=False):
    """Return the rank that the memory needs to lose nothing."""
    hidden = hidden_sequences(*ulm, sequences)
    n_before, n_hid = ulm[0].core.n_window - 1, ulm[0].core.n_hid
    begun = [np.concatenate([np.zeros((n_before, n_hid)), h]) for h in hidden]
    enough = n_hid * max(map(len, begun))
    return LAES(enough, centre=centre).fit(begun).rank


# --- from the unrolled network ----------------------------------------------


def test_hidden_sequences_know_no_padding():
    model, params = an_unrolled()
    sequences = some_sequences(lengths=(*LENGTHS, *range(1, 90)))
    hidden = hidden_sequences(model, params, sequences)
    assert [len(h) for h in hidden] == [len(x) for x in sequences]
    for x, h in zip(sequences, hidden, strict=True):
        np.testing.assert_allclose(
            h, states(model, params, x)[:, :6], rtol=1e-12, atol=1e-14
        )


def test_hidden_sequences_of_one_array():
    model, params = an_unrolled()
    x = rng().standard_normal((5, 4, 3))
    hidden = hidden_sequences(model, params, x)
    listed = hidden_sequences(model, params, list(x.swapaxes(0, 1)))
    np.testing.assert_array_equal(hidden, listed)


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(2, 5),
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
)
def test_at_the_rank_nothing_changes(
    n_in, n_hid, n_window, lengths, centre, more, seed
):
    ulm = an_unrolled(ULM(n_in, n_hid, n_window), seed=seed)
    sequences = some_sequences(n_in, lengths, seed)
    rank = rank_of(ulm, sequences, centre)
    assume(rank > 0)
    lmn = lmn_from_unrolled(*ulm, sequences, rank + more, centre=centre)
    assert lmn[0].core == LMN(n_in, n_hid, rank + more)
    assert difference(ulm, lmn, sequences) <= 1e-10


@pytest.mark.parametrize("centre", [False, True])
def test_below_the_rank_the_difference_grows_smoothly(centre):
    ulm, sequences = an_unrolled(), some_sequences()
    rank = rank_of(ulm, sequences, centre)
    sizes = [rank, rank - 2, rank - 10, rank - 20, rank - 30, rank - 40]
    gaps = [
        difference(
            ulm,
            lmn_from_unrolled(*ulm, sequences, n_mem, centre=centre),
            sequences,
        )
        for n_mem in sizes
    ]
    assert gaps[0] < 1e-12 < 1e-5 < gaps[1] < 0.05
    assert all(a < b for a, b in itertools.pairwise(gaps)), gaps
    assert 0.05 < gaps[-2] < gaps[-1] < 1.0


def test_centring_subtracts_a_mean_that_is_there():
    ulm, sequences = an_unrolled(), some_sequences()
    rank = rank_of(ulm, sequences, centre=True)
    for centre in (False, True):
        _, params = lmn_from_unrolled(*ulm, sequences, rank, centre=centre)
        assert params["core/b_m"].any() == centre


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("n_mem", [3, 20, 60])
def test_it_is_the_unrolled_network_with_recollections(n_mem, centre):
    """At any size: what was h_{t-j} is now what the LAES recalls of it."""
    (model, p), sequences = an_unrolled(), some_sequences()
    hidden = hidden_sequences(model, p, sequences)
    begun = [np.concatenate([np.zeros((3, 6)), h]) for h in hidden]
    laes = LAES(n_mem, centre=centre).fit(begun)
    W = p["core/W_wh"].reshape(3, 6, 6)
    V = p["readout/W_yo"].reshape(4, 6, 2)
    lmn, params = lmn_from_unrolled(model, p, sequences, n_mem, centre=centre)
    for x in sequences:
        o = lmn.predict(params, x[:, None])[:, 0]
        h = np.zeros((3, 6))  # the empty window
        for x_t, o_t in zip(x, o, strict=True):
            past = laes.decode(laes.encode(h)[-1], 3)
            a = x_t @ p["core/W_xh"] + p["core/b_h"]
            a += np.einsum("ji,jik->k", past, W)
            h = np.concatenate([h, np.tanh(a)[None]])
            past = laes.decode(laes.encode(h)[-1], 4)
            expected = np.einsum("ji,jik->k", past, V) + p["readout/b_o"]
            np.testing.assert_allclose(o_t, expected, atol=1e-12)


def test_prefixes_of_the_sequences_are_the_same_too():
    ulm, sequences = an_unrolled(), some_sequences(lengths=(7, 5))
    rank = rank_of(ulm, sequences)
    lmn = lmn_from_unrolled(*ulm, sequences, rank)
    assert difference(ulm, lmn, [x[:3] for x in sequences]) < 1e-12
    assert difference(ulm, lmn, some_sequences(seed=5)) > 1e-3  # unseen


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.1, 10.0])
def test_a_refit_is_never_worse(ridge, centre):
    ulm, sequences = an_unrolled(), some_sequences()
    for n_mem in (1, 5, 12, 30, 40, 60):
        plain, refitted = (
            lmn_from_unrolled(
                *ulm, sequences, n_mem, centre=centre, refit=refit, ridge=ridge
            )
            for refit in (False, True)
        )
        before = difference(ulm, plain, sequences)
        after = difference(ulm, refitted, sequences)
        assert after <= before + 1e-14
        if 5 <= n_mem <= 40:
            assert after < 0.999 * before
        changed = {k for k in plain[1] if np.any(plain[1][k] != refitted[1][k])}
        assert changed <= {"readout/W_yo"}


def test_a_strong_ridge_leaves_the_read_out_alone():
    ulm, sequences = an_unrolled(), some_sequences()
    _, plain = lmn_from_unrolled(*ulm, sequences, 20)
    gaps = []
    for ridge in (0.0, 1.0, 1e3, 1e9):
        _, refitted = lmn_from_unrolled(
            *ulm, sequences, 20, refit=True, ridge=ridge
        )
        change = refitted["readout/W_yo"] - plain["readout/W_yo"]
        gaps.append(np.abs(change).max())
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.1
    assert gaps[-1] < 1e-7


def test_single_precision_stays_single():
    model, params = an_unrolled()
    params = {k: v.astype(np.float32) for k, v in params.items()}
    sequences = [x.astype(np.float32) for x in some_sequences()]
    for refit in (False, True):
        lmn = lmn_from_unrolled(model, params, sequences, 48, refit=refit)
        assert {v.dtype for v in lmn[1].values()} == {np.dtype(np.float32)}
        assert difference((model, params), lmn, sequences) < 1e-4


def test_the_parameters_given_stay_as_they_are():
    model, params = an_unrolled()
    before = {name: array.copy() for name, array in params.items()}
    _, new = lmn_from_unrolled(
        model, params, some_sequences(), 9, centre=True, refit=True
    )
    for array in new.values():
        array += 1.0
    for name, array in params.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_training_goes_on_from_there():
    ulm, sequences = an_unrolled(), some_sequences()
    lmn, params = lmn_from_unrolled(*ulm, sequences, 20)
    data = [(x, rng(4).standard_normal((len(x), 2))) for x in sequences]
    result = fit(
        *(lmn, params, data, data),
        optimiser=SGD(0.01),
        rng=rng(),
        n_epochs=3,
        progress=False,
    )
    assert result.history[-1]["valid_loss"] < result.history[0]["valid_loss"]


# --- from the inputs --------------------------------------------------------


def gap(builder, scale, name):
    """Return how far the memory is from the linear autoencoder's state."""
    sequences = some_sequences()
    laes = LAES(12, centre=True).fit(sequences)
    model, params = builder(sequences, 12, 2, rng(), scale=scale)
    wrong = total = 0.0
    for x in sequences:
        y = laes.encode(x)
        found = states(model, params, x) / (scale if name == "h" else 1.0)
        wrong += np.sum((found - y) ** 2)
        total += np.sum(y**2)
    return float(np.sqrt(wrong / total))


@pytest.mark.parametrize(
    ("builder", "name"), [(lmn_from_inputs, "m"), (elman_from_inputs, "h")]
)
def test_the_gap_to_the_autoencoder_is_quadratic(builder, name):
    gaps = [gap(builder, scale, name) for scale in (1, 0.03, 3e-3, 3e-4)]
    assert 1e-2 < gaps[0] < 1.0
    for larger, smaller in itertools.pairwise(gaps[1:]):
        assert larger / smaller == pytest.approx(100.0, rel=0.1)


def test_the_memory_of_inputs_gives_them_back():
    sequences = some_sequences()
    n_mem = 3 * max(LENGTHS)
    model, params = lmn_from_inputs(sequences, n_mem, 2, rng(), scale=1e-5)
    laes = LAES(n_mem, centre=True).fit(sequences)
    for x in sequences:
        memory = states(model, params, x)[-1]
        np.testing.assert_allclose(
            laes.decode(memory, len(x)), x[::-1], atol=1e-8
        )


def test_exact_matrices_of_the_two():
    sequences = some_sequences()
    laes = LAES(5, centre=True).fit(sequences)
    lmn, p = lmn_from_inputs(sequences, 5, 2, rng(), scale=0.5)
    assert lmn.core == LMN(3, 5, 5)
    np.testing.assert_array_equal(p["core/W_xh"], 0.5 * laes.A.T)
    np.testing.assert_array_equal(p["core/W_hm"], 2.0 * np.eye(5))
    np.testing.assert_array_equal(p["core/W_mm"], laes.B.T)
    np.testing.assert_array_equal(p["core/b_m"], -laes.A @ laes.mean)
    assert not p["core/W_mh"].any()
    assert not p["core/b_h"].any()
    elman, p = elman_from_inputs(sequences, 5, 2, rng(), centre=False)
    laes = LAES(5, centre=False).fit(sequences)
    assert elman.core == Elman(3, 5)
    np.testing.assert_array_equal(p["core/W_xh"], laes.A.T)
    np.testing.assert_array_equal(p["core/W_hh"], laes.B.T)
    assert not p["core/b_h"].any()


@pytest.mark.parametrize("builder", [lmn_from_inputs, elman_from_inputs])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_a_read_out_is_the_minimum_of_its_squares(builder, ridge):
    sequences = some_sequences()
    targets = [rng(i).random((min(i, 3), 2)) for i in LENGTHS]
    options = {"loss": "squared", "targets": targets, "ridge": ridge}
    model, params = builder(sequences, 4, 2, rng(), **options)
    y = np.concatenate(
        [
            states(model, params, x)[-len(target) :]
            for x, target in zip(sequences, targets, strict=True)
        ]
    )
    W = params["readout/W_yo"]
    slope = y.T @ (y @ W - np.concatenate(targets)) + ridge * W
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)
    assert not params["readout/b_o"].any()


def test_a_read_out_leaves_padding_alone():
    sequences = some_sequences()
    rank = LAES(3 * max(LENGTHS), centre=True).fit(sequences).rank
    targets = [rng(i).random((i, 2)) for i in LENGTHS]
    _, params = lmn_from_inputs(
        *(sequences, rank + 4, 2, rng()), loss="squared", targets=targets
    )
    W = params["readout/W_yo"]
    np.testing.assert_allclose(W[rank:], 0.0, atol=1e-12)
    assert np.abs(W).max() < 100.0


def test_a_task_of_the_memory_is_solved_at_once():
    """Recall of the frame before the last: linear in the memory."""
    sequences = some_sequences(lengths=(6,) * 20)
    targets = [x[-2:-1] for x in sequences]
    for builder in (lmn_from_inputs, elman_from_inputs):
        model, params = builder(
            *(sequences, 18, 3, rng()),
            loss="squared",
            scale=1e-3,
            targets=targets,
            centre=False,
        )
        for x, target in zip(sequences, targets, strict=True):
            o = model.predict(params, x[:, None])[-1]
            np.testing.assert_allclose(o, target, atol=1e-5)


def test_classes_are_fitted_as_zeros_and_ones():
    sequences = some_sequences(lengths=(5,) * 9)
    classes = [np.array([i % 3]) for i in range(9)]
    hot = [np.eye(3)[c] for c in classes]
    by_class = lmn_from_inputs(
        sequences, 6, 3, rng(), loss="softmax", targets=classes
    )
    by_hot = lmn_from_inputs(
        sequences, 6, 3, rng(), loss="squared", targets=hot
    )
    np.testing.assert_array_equal(
        by_class[1]["readout/W_yo"], by_hot[1]["readout/W_yo"]
    )


# --- other memories ---------------------------------------------------------


def test_the_delay_line_holds_the_last_hidden_vectors():
    model, params = lmn_delay_line(3, 4, 5, 2, rng())
    core = {k[5:]: v for k, v in params.items() if k.startswith("core/")}
    x = rng(1).standard_normal((9, 2, 3))
    m, _, tape = model.core.forward(core, x)
    for t in range(9):
        for j in range(5):
            slot = m[t, :, 4 * j : 4 * (j + 1)]
            held = tape["h"][t - j] if t >= j else np.zeros((2, 4))
            np.testing.assert_array_equal(slot, held)


def test_the_delay_line_is_the_unrolled_network():
    ulm, ulm_params = an_unrolled(ULM(3, 4, 5))
    line, params = lmn_delay_line(3, 4, 5, 2, rng(), loss="squared")
    nothing = np.zeros((4, 4))  # the ULM reads one vector less than it gives
    params["core/W_mh"] = np.vstack([ulm_params["core/W_wh"], nothing])
    for name in ("core/W_xh", "core/b_h", "readout/W_yo", "readout/b_o"):
        params[name] = ulm_params[name]
    gap = difference((ulm, ulm_params), (line, params), some_sequences())
    assert gap < 1e-14


def test_the_delay_line_stays_one():
    model, params = lmn_delay_line(3, 4, 2, 2, rng(), loss="squared")
    data = [(x, rng(4).standard_normal((len(x), 2))) for x in some_sequences()]
    result = fit(
        *(model, params, data, data),
        optimiser=SGD(0.1),
        rng=rng(),
        n_epochs=2,
        progress=False,
    )
    kept = {k for k in params if np.array_equal(params[k], result.last[k])}
    assert kept == {"core/W_hm", "core/W_mm", "core/b_m"}


def test_the_orthogonal_memory_is_one_and_is_kept_so():
    model, params = lmn_orthogonal(3, 4, 6, 2, rng(), strength=0.1)
    W = params["core/W_mm"]
    np.testing.assert_allclose(W @ W.T, np.eye(6), atol=1e-14)
    assert model.penalty == Orthogonality("core/W_mm", 0.1)
    assert abs(W - np.eye(6)).max() > 0.1
    assert np.ptp(params["readout/W_yo"]) > 0.0


def test_builders_of_single_precision():
    wanted = {np.dtype(np.float32)}
    sequences = [x.astype(np.float32) for x in some_sequences()]
    targets = [np.ones((1, 2), np.float32) for _ in sequences]
    for _, params in (
        lmn_from_inputs(sequences, 5, 2, rng(), targets=targets),
        elman_from_inputs(sequences, 5, 2, rng(), targets=targets, ridge=0.1),
        lmn_orthogonal(3, 4, 5, 2, rng(), strength=0.1, dtype=np.float32),
        lmn_delay_line(3, 4, 2, 2, rng(), dtype=np.float32),
    ):
        assert {v.dtype for v in params.values()} == wanted


# --- the border -------------------------------------------------------------


def test_errors_of_the_unrolled_route():
    model, params = an_unrolled()
    sequences = some_sequences()
    other = Model(Elman(3, 4), 2)
    with pytest.raises(TypeError, match=r"Elman.*expected a ULM"):
        lmn_from_unrolled(other, other.init(rng()), sequences, 4)
    with pytest.raises(ValueError, match="missing"):
        hidden_sequences(model, {"core/W_xh": params["core/W_xh"]}, sequences)
    with pytest.raises(ValueError, match="sequences is empty"):
        hidden_sequences(model, params, [])
    with pytest.raises(ValueError, match=r"sequences\[0\] has shape"):
        hidden_sequences(model, params, some_sequences(n_in=4))
    with pytest.raises(ValueError, match="n_mem is 0"):
        lmn_from_unrolled(model, params, sequences, 0)
    with pytest.raises(ValueError, match=r"ridge is -1"):
        lmn_from_unrolled(model, params, sequences, 4, ridge=-1.0)


@pytest.mark.parametrize("builder", [lmn_from_inputs, elman_from_inputs])
def test_errors_of_the_direct_route(builder):
    sequences = some_sequences()
    targets = [np.ones((1, 2)) for _ in sequences]
    with pytest.raises(ValueError, match=r"scale is 0"):
        builder(sequences, 4, 2, rng(), scale=0.0)
    with pytest.raises(ValueError, match=r"scale is nan"):
        builder(sequences, 4, 2, rng(), scale=float("nan"))
    with pytest.raises(ValueError, match=r"ridge is -1"):
        builder(sequences, 4, 2, rng(), targets=targets, ridge=-1.0)
    with pytest.raises(ValueError, match="7 targets, expected one for each"):
        builder(sequences, 4, 2, rng(), targets=targets[:-1])
    long = [*targets[:4], np.ones((2, 2)), *targets[5:]]
    with pytest.raises(ValueError, match=r"\[4\]: the target"):
        builder(sequences, 4, 2, rng(), targets=long)
    with pytest.raises(ValueError, match="loss is 'none'"):
        builder(sequences, 4, 2, rng(), loss="none")


def test_a_delay_line_needs_a_window():
    with pytest.raises(ValueError, match="n_window is 0"):
        lmn_delay_line(3, 4, 0, 2, rng())
