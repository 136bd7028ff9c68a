"""Peers compute the same function, and those that do not are not timed."""

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import msref
from msref.bench import peers_autograd, peers_jax, peers_torch
from msref.bench.conditions import Conditions, held
from msref.bench.peer_cells import FORWARD, fuse, take_apart
from msref.bench.peers import (
    TOLERANCE,
    Peer,
    Point,
    compare,
    largest_difference,
    our_pass,
)
from msref.bench.products import N_GATES, products
from msref.bench.suite import OURS

NETWORKS = {
    "Elman": msref.Elman(3, 5),
    "LSTM": msref.LSTM(3, 5),
    "GRU": msref.GRU(3, 5),
    "IndRNN": msref.IndRNN(3, 5),
    "BRC": msref.BRC(3, 5),
    "NBRC": msref.NBRC(3, 5),
    "DuRNN": msref.DuRNN(3, 5, 4),
    "MultiScaleLMN": msref.MultiScaleLMN(3, 5, 2, 4),
}
N_TIME, N_BATCH = 9, 2


def all_peers():
    """Every peer there is, with the network and the package it needs."""
    for cell in NETWORKS:
        for peer in peers_torch.peers(cell):
            yield cell, "torch", peer
        for peer in peers_jax.peers(cell):
            yield cell, "jax", peer
    for cell in peers_torch.LAYERS:
        for peer in peers_autograd.peers(N_TIME):
            yield cell, "autograd", peer


def point(cell, dtype="float64"):
    return Point.draw(NETWORKS[cell], N_TIME, N_BATCH, dtype)


def gradients(made):
    run, named = made
    return named(run())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("cell", "package", "peer"),
    [
        pytest.param(*found, id=f"{found[0]}-{found[2].name}")
        for found in all_peers()
    ],
)
def test_every_peer_agrees_with_our_gradients(cell, package, peer, dtype):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    at = point(cell, dtype)
    with held(Conditions()):
        theirs = gradients(peer.make(at))
    ours = gradients(our_pass(at))
    assert set(theirs) == set(ours) == {*at.params, "x"}
    for name, value in theirs.items():
        assert value.dtype == dtype
        assert value.shape == ours[name].shape
        np.testing.assert_allclose(
            *(value, ours[name]), rtol=0, atol=TOLERANCE[dtype]
        )
    assert largest_difference(ours, theirs)[0] <= TOLERANCE[dtype]


@pytest.mark.parametrize("cell", NETWORKS)
def test_biases_and_all_gradients_are_other_than_zero(cell):
    at = point(cell)
    for name, value in {**at.params, **gradients(our_pass(at))}.items():
        assert np.any(value), name


@pytest.mark.parametrize("cell", NETWORKS)
def test_fused_weights_are_taken_apart_again(cell):
    params = point(cell).params
    fused = fuse(cell, params)
    again = take_apart(cell, params, fused)
    assert set(again) == set(params)
    for name, value in params.items():
        np.testing.assert_array_equal(again[name], value)
    assert set(FORWARD) == set(NETWORKS)


# --- who is timed -----------------------------------------------------------


def wrong(name, change):
    """A peer that is ours but for one gradient."""

    def make(at):
        run, named = our_pass(at)
        return run, lambda found: change_one(named(found))

    def change_one(grads):
        return grads | {name: change(grads[name])}

    return Peer("other", make)


@given(
    name=st.sampled_from(["W_xi", "W_hf", "b_g", "x"]),
    change=st.sampled_from(
        [
            lambda g: g * (1 + 1e-7),
            lambda g: g[..., ::-1],
            np.zeros_like,
            lambda g: g * np.nan,
        ]
    ),
)
def test_a_peer_with_another_gradient_is_not_timed(name, change):
    timings, notes = compare(point("LSTM"), [wrong(name, change)], 1e-6)
    assert set(timings) == {OURS}
    assert notes["other"].startswith(f"disagrees: the gradient of {name}")


def test_the_same_gradients_are_timed():
    timings, notes = compare(point("LSTM"), [wrong("x", np.copy)], 1e-6)
    assert set(timings) == {OURS, "other"}
    assert not notes


@pytest.mark.parametrize("package", ["torch", "jax", "autograd"])
def test_what_is_not_installed_is_a_note(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    peers = [
        peer
        for cell, needs, peer in all_peers()
        if cell == "GRU" and needs == package
    ]
    assert peers
    timings, notes = compare(point("GRU"), peers, 1e-6)
    assert set(timings) == {OURS}
    expected = {peer.name: f"{package} is not installed" for peer in peers}
    assert notes == expected


def test_autograd_is_spared_long_sequences():
    assert peers_autograd.peers(784)
    assert not peers_autograd.peers(5000)


# --- the limit --------------------------------------------------------------


@pytest.mark.parametrize("cell", N_GATES)
def test_both_layouts_multiply_what_cannot_be_left_out(cell, monkeypatch):
    """3 n_time n_batch n_gates n_hid (n_in + n_hid) multiplications."""
    at = point(cell)
    counted = []
    dot = np.dot

    def count(a, b, out):
        assert out.flags.c_contiguous
        counted.append(a.shape[0] * a.shape[1] * b.shape[1])
        return dot(a, b, out=out)

    monkeypatch.setattr(np, "dot", count)
    n_gates, n_hid, n_in = N_GATES[cell], at.arch.n_hid, at.arch.n_in
    expected = 3 * N_TIME * N_BATCH * n_gates * n_hid * (n_in + n_hid)
    jobs = products(at)
    assert len(jobs) == 2
    for job in jobs.values():
        counted.clear()
        job()
        assert sum(counted) == expected
    weights = {k for k in at.params if k.startswith("W_h")}
    assert len(weights) == n_gates
