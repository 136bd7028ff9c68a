"""The guard refuses what a GPU would, and knows all of CuPy that we use."""

import ast
import operator
import sys
from pathlib import Path

import guard
import numpy as np
import pytest
from guard import NAMES, TOLD, Guard, RefusedError

import msref
from msref.arrays import (
    NoGPUError,
    as_array,
    beside,
    namespace,
    on_device,
    on_host,
    to_device,
)

PACKAGE = Path(msref.__file__).parent
# What runs on a device; elsewhere "xp" may be something else.
SOURCES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("bench", "verification")
]


@pytest.fixture
def xp():
    with guard.on_a_device() as cupy:
        yield cupy


@pytest.fixture
def a(xp):
    return xp.asarray(np.arange(6.0).reshape(2, 3))


# --- what it refuses --------------------------------------------------------

HOST = np.ones((2, 3))
REFUSED = {
    "numpy.asarray": lambda xp, a: np.asarray(a),
    "a function of NumPy": lambda xp, a: np.tanh(a),
    "numpy.stack": lambda xp, a: np.stack([a, a]),
    "numpy.zeros_like": lambda xp, a: np.zeros_like(a),
    "a host array to the right": lambda xp, a: a + HOST,
    "a host array to the left": lambda xp, a: HOST * a,
    "in place into the host": lambda xp, a: operator.iadd(HOST.copy(), a),
    "in place from the host": lambda xp, a: operator.iadd(a, HOST),
    "compared with the host": lambda xp, a: a < HOST,
    "written into the host": lambda xp, a: operator.setitem(
        HOST.copy(), 0, a[0]
    ),
    "written from the host": lambda xp, a: operator.setitem(a, 0, HOST[0]),
    "a function on the host": lambda xp, a: xp.tanh(HOST),
    "a function on both": lambda xp, a: xp.stack([a, HOST]),
    "a host array as an index": lambda xp, a: a[np.array([0])],
    "a list as an index": lambda xp, a: a[[0, 1]],
    "where= of a function": lambda xp, a: xp.tanh(a, where=a > 0),
    "where= of a method": lambda xp, a: a.sum(0, where=a > 0),
    "one argument too many": lambda xp, a: xp.argwhere(a, 1),
    "out= on the host": lambda xp, a: xp.tanh(a, out=HOST.copy()),
}
MISSING = {
    "a function": lambda xp, a: xp.interp,
    "a function of a part": lambda xp, a: xp.linalg.cond,
    "a method": lambda xp, a: a.sort_of,
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(xp, a, what):
    with pytest.raises(TypeError):
        REFUSED[what](xp, a)


@pytest.mark.parametrize("what", MISSING)
def test_it_has_no_more_than_is_written_down(xp, a, what):
    with pytest.raises(AttributeError, match=r"cupy_names\.json"):
        MISSING[what](xp, a)


def test_numbers_may_stand_beside_it(xp, a):
    host = on_host(a)
    for number in (2, 2.0, True, np.float64(2.0), np.int64(2)):
        for got, expected in (
            (a * number, host * number),
            (number - a, number - host),
            (xp.maximum(a, number), np.maximum(host, number)),
        ):
            assert isinstance(got, Guard)
            np.testing.assert_array_equal(on_host(got), expected)


def test_it_computes_in_place_and_in_views(xp, a):
    row = a[1]
    row += 1.0
    xp.tanh(a[0], out=a[0])
    expected = np.arange(6.0).reshape(2, 3)
    expected[1] += 1.0
    expected[0] = np.tanh(expected[0])
    np.testing.assert_array_equal(on_host(a), expected)


READS = {
    "float": lambda xp, a: float(a[0, 0]),
    "int": lambda xp, a: int(a[0, 0]),
    "bool": lambda xp, a: bool(a.all()),
    "if": lambda xp, a: 1 if a[0, 0] > 0 else 2,
    "an index": lambda xp, a: [1, 2][xp.argwhere(a > 4.0)[0, 0]],
    "item": lambda xp, a: a[0, 0].item(),
    "tolist": lambda xp, a: a.tolist(),
    "get": lambda xp, a: a.get(),
    "a size to wait for": lambda xp, a: xp.nonzero(a),
    "a boolean index": lambda xp, a: a[a > 1.0],
}


@pytest.mark.parametrize("what", READS)
def test_what_is_read_is_counted_and_refused_in_a_hot_path(xp, a, what):
    with guard.counted() as found:
        READS[what](xp, a)
    assert found.reads >= 1
    with guard.hot(), pytest.raises(RefusedError, match="hot path"):
        READS[what](xp, a)
    READS[what](xp, a)  # and only there


def test_uploads_are_counted(xp, a):
    with guard.counted() as found:
        xp.asarray(HOST)
        xp.asarray(a)
        xp.zeros(3)
    assert (found.reads, found.uploads) == (0, 1)


def test_it_is_gone_afterwards():
    before = sys.modules.get("cupy")
    with guard.on_a_device():
        assert sys.modules["cupy"] is not before
    assert sys.modules.get("cupy") is before


# --- it knows all that we use -----------------------------------------------


def used(path):
    """Return the names after ``xp.``, and after ``namespace(…).``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        by_name = isinstance(node, ast.Name) and node.id == "xp"
        by_call = isinstance(node, ast.Call) and (
            getattr(node.func, "id", "") == "namespace"
        )
        if names and (by_name or by_call) and names[-1] != "__name__":
            deep = len(names) > 1 and names[-1] in ("linalg", "fft")
            found.add(".".join(names[::-1][: 2 if deep else 1]))
    return found - {"linalg", "fft"}  # the inner half of a longer chain


def test_a_use_is_found(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "xp.tanh(a).sum(0)\nxp.linalg.svd(a)\nnamespace(a).zeros(3).T\nnp.exp"
    )
    assert used(path) == {"tanh", "linalg.svd", "zeros"}


def test_every_function_that_we_use_is_known_to_be_in_cupy():
    missing = {
        f"{name} in {path.name}"
        for path in SOURCES
        for name in used(path) - set(NAMES)
    }
    assert not missing, "scripts/cupy_names.py can tell whether CuPy has them"


def test_the_file_is_what_cupy_says():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    from cupy_names import described

    assert {name: described(cupy, name) for name in NAMES} == NAMES
    assert TOLD["cupy"].split(".")[0] == cupy.__version__.split(".")[0]


# --- msref.arrays -----------------------------------------------------------


def test_there_and_back(xp):
    tree = {"a": np.ones((2, 3), np.float32), "n": np.arange(3)}
    there = to_device(tree, "cuda")
    assert namespace(*there.values()) is xp
    assert to_device(there, "cuda")["a"] is there["a"]
    back = to_device(there, "cpu")
    for name, value in tree.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)
        back[name][:] = 7  # a copy, not a view of what is there
    np.testing.assert_array_equal(on_host(there["a"]), tree["a"])
    assert to_device(tree, "cpu")["a"] is tree["a"]


def test_beside_another(xp, a):
    assert namespace(beside({"x": HOST}, a)["x"]) is xp
    assert namespace(beside({"x": a}, HOST)["x"]) is np
    assert as_array(a) is a
    assert as_array([1.0, 2.0]).shape == (2,)


def test_two_sides_are_not_mixed(xp, a):
    with pytest.raises(TypeError, match="to_device"):
        namespace(a, HOST)


def test_another_device_is_refused():
    with pytest.raises(ValueError, match="'tpu', expected 'cpu' or 'cuda'"):
        to_device({}, "tpu")


def test_without_cupy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ModuleNotFoundError, match=r"msref\[gpu\]"):
        on_device("cuda")


def test_with_cupy_and_without_a_gpu_it_says_so():
    with guard.on_a_device(0), pytest.raises(NoGPUError, match=r"finds none$"):
        on_device("cuda")


def test_the_driver_s_own_words_are_handed_on():
    with guard.on_a_device() as cupy:

        def fails():
            raise RuntimeError("no driver")

        cupy.cuda.runtime.getDeviceCount = fails
        with pytest.raises(NoGPUError, match="finds none: no driver"):
            on_device("cuda")


# --- the commands -----------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["verify", "elman"], ["reproduce", "lmn"]], ids=" ".join
)
@pytest.mark.parametrize("there", [None, 0])
def test_a_command_says_in_a_line_what_is_missing(
    monkeypatch, capsys, command, there
):
    from msref import cli

    monkeypatch.setattr(sys, "argv", ["msref", *command, "--device", "cuda"])
    if there is None:
        monkeypatch.setitem(sys.modules, "cupy", None)
        words = "msref[gpu]"
    else:
        monkeypatch.setitem(sys.modules, "cupy", guard.module(there))
        words = "needs a GPU"
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert words in err
    assert err.count("\n") == 1
    assert out == ""


def test_verify_runs_its_passes_on_the_device(monkeypatch, capsys):
    from msref import cli

    argv = ["msref", "verify", "linear", "--cases", "1", "--device", "cuda"]
    monkeypatch.setattr(sys, "argv", argv)
    with (
        guard.on_a_device(),
        guard.counted() as found,
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    assert ended.value.code == 0
    assert found.uploads > 0
    said = " ".join(capsys.readouterr().out.split())
    assert "passes on cuda, witnesses on the cpu" in said
