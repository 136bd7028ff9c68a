"""A process is held to conditions, and let go again."""

import ctypes
import json
import os
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from msref.bench.conditions import Conditions, held, installed, load, machine


def threads():
    return {
        found["num_threads"]
        for found in threadpool_info()
        if found["user_api"] == "blas"
    }


def cores():
    can = hasattr(os, "sched_getaffinity")
    return os.sched_getaffinity(0) if can else {0}


def test_one_thread_on_one_core_and_then_as_before(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--mine")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    before = threads(), cores(), dict(os.environ)
    with held(Conditions()):
        assert threads() == {1}
        assert len(cores()) == 1
        assert "multi_thread_eigen=false" in os.environ["XLA_FLAGS"]
    assert (threads(), cores(), dict(os.environ)) == before
    with pytest.raises(KeyError), held(Conditions()):
        raise KeyError
    assert (threads(), cores(), dict(os.environ)) == before


def test_two_threads_have_all_cores():
    before = cores()
    with held(Conditions(2)):
        assert threads() == {2}
        assert cores() == before


def faults_of_a_second_array():
    """Return how many pages 64 MB cost that were there just before."""
    resource = pytest.importorskip("resource")
    np.ones(2**23)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="only the allocator of glibc can be told",
)
def test_memory_is_kept_or_fresh():
    with held(Conditions(memory="kept")):
        assert faults_of_a_second_array() < 8
    with held(Conditions(memory="fresh")):
        assert faults_of_a_second_array() >= 32  # of 2 MB, or more of 4 KB


def test_wrong_conditions_are_named():
    with pytest.raises(ValueError, match="memory is 'some', expected 'kept'"):
        Conditions(memory="some")
    with pytest.raises(ValueError, match="threads is 0, expected at least 1"):
        Conditions(0)
    with pytest.raises(ValueError, match="device is 'tpu', expected 'cpu'"):
        Conditions(1, "tpu")


def test_the_machine_is_told_without_names_of_hosts_or_folders():
    told = machine()
    text = json.dumps(told)
    assert told["versions"]["numpy"] == np.__version__
    assert told["cores"] >= 1
    assert told["blas"]
    assert os.uname().nodename not in text
    assert os.path.expanduser("~") not in told.values()
    assert installed("no-such-package") is None
    assert load() is None or load() >= 0
