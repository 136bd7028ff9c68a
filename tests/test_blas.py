"""Threads of BLAS: what is asked for, and no surprise for the process."""

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import msref
from msref.blas import VARIABLES, one_thread_unless_chosen

SHOW = (
    "import numpy, scipy.linalg\n"
    "from threadpoolctl import threadpool_info\n"
    "def show(): print(*sorted({i['num_threads'] for i in threadpool_info()"
    " if i['user_api'] == 'blas'}))\n"
    "show()\n"
)


def n_threads():
    return {i["num_threads"] for i in threadpool_info()}


def python(code, **chosen):
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", SHOW + code],
        env=env | chosen,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_block_has_the_threads_it_asks_for():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = n_threads()
    with msref.threads(3):
        assert n_threads() == {3}
        with msref.threads(1):
            assert n_threads() == {1}
        assert n_threads() == {3}
    assert n_threads() == before
    with pytest.raises(KeyError), msref.threads(2):
        raise KeyError
    assert n_threads() == before


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (1.0, TypeError)])
def test_what_is_no_number_of_threads_is_refused(n, error):
    with pytest.raises(error, match="n is"), msref.threads(n):
        pass


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core has one thread")
def test_importing_msref_leaves_the_process_alone():
    before, after = python("import msref\nshow()")
    assert before == after != "1"


COMMAND = (
    "import os, sys, msref.cli\n"
    "msref.cli.app.command('look')(lambda: (show(), print("
    "os.environ.get('OMP_NUM_THREADS', '-')), None)[2])\n"
    "sys.argv = ['msref', 'look']\n"
    "try: msref.cli.main()\n"
    "except SystemExit as end: assert not end.code\n"
    "show()\n"
    "print(os.environ.get('OMP_NUM_THREADS', '-'))\n"
)


def test_a_command_takes_one_thread_and_hands_that_on():
    before, inside, inherited, after, left = python(COMMAND)
    assert (inside, inherited) == ("1", "1")
    assert (before, left) == (after, "-")


def test_a_user_who_has_chosen_gets_that():
    found = python(COMMAND, OPENBLAS_NUM_THREADS="2")
    assert found == ["2", "2", "-", "2", "-"]


def test_a_choice_in_the_environment_is_not_touched(monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    before = dict(os.environ), n_threads()
    with one_thread_unless_chosen():
        assert (dict(os.environ), n_threads()) == before
