"""Networks by name: from the registry, or out of a reader's file."""

import sys
from pathlib import Path

import pytest

from msref.architectures import REGISTRY
from msref.verification import verify
from msref.verification.load import load

READER = Path(__file__).parent / "mgu.py"


@pytest.fixture
def write(tmp_path):
    """Write a reader's file and return its name."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", list(REGISTRY))
def test_a_short_name_stands_for_the_examples(name):
    assert load(name) == list(REGISTRY[name].examples)


def test_a_class_is_made_with_sizes_that_differ():
    (arch,) = load(f"{READER}:MGU")
    assert (arch.n_in, arch.n_hid, arch.bug) == (3, 5, "")
    assert verify(arch, cases=1).ok


@pytest.mark.parametrize(
    ("call", "n_in", "n_hid", "bug"),
    [
        ("MGU(4, 2)", 4, 2, ""),
        ("MGU(4, n_hid=2, bug='truncated')", 4, 2, "truncated"),
        ("MGU( n_in = 1 , n_hid = 2 )", 1, 2, ""),
    ],
)
def test_a_call_with_plain_values(call, n_in, n_hid, bug):
    (arch,) = load(f"{READER}:{call}")
    assert (arch.n_in, arch.n_hid, arch.bug) == (n_in, n_hid, bug)


def test_an_instance_is_taken_as_it_is(write):
    path = write("from msref.architectures import LMN\nmine = LMN(2, 3, 4)\n")
    (arch,) = load(f"{path}:mine")
    assert repr(arch) == "LMN(n_in=2, n_hid=3, n_mem=4, output='memory')"


def test_a_class_without_arguments(write):
    path = write("class Mine:\n    n_in = 7\n")
    (arch,) = load(f"{path}:Mine")
    assert arch.n_in == 7


def test_a_file_may_import_its_neighbour(write):
    write("SIZE = 6\n", "neighbour_of_mine.py")
    path = write("from neighbour_of_mine import SIZE\nclass A:\n    n_in=SIZE")
    before = list(sys.path)
    (arch,) = load(f"{path}:A")
    assert arch.n_in == 6
    assert sys.path == before


def test_dataclasses_of_two_files_of_one_name_do_not_mix(tmp_path):
    text = "from dataclasses import dataclass\n@dataclass\nclass A:\n"
    for k in (1, 2):
        (tmp_path / str(k)).mkdir()
        path = tmp_path / str(k) / "mine.py"
        path.write_text(f"{text}    n: int\n    k: int = {k}\n")
    found = [load(f"{tmp_path / k / 'mine.py'}:A(1)")[0].k for k in "12"]
    assert found == [1, 2]


# --- what is not there ------------------------------------------------------


@pytest.mark.parametrize("name", ["lstmm", "", "LSTM", "lstm:LSTM", "x.txt:A"])
def test_an_unknown_name_is_answered_with_the_names_there_are(name):
    words = rf"no architecture '{name}', expected one of elman, lstm, .*FILE"
    with pytest.raises(ValueError, match=words):
        load(name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.py does not exist"):
        load(f"{tmp_path / 'gone.py'}:A")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder\.py .* not a file"):
        load(f"{tmp_path / 'folder.py'}:A")


def test_an_unknown_class_is_answered_with_the_classes_there_are(write):
    path = write("class One: pass\nclass Two: pass\nx = 3\n")
    with pytest.raises(ValueError, match=r"no 'Three', expected .*One, Two$"):
        load(f"{path}:Three")


def test_a_syntax_error_is_named_with_its_line(write):
    path = write("class A:\n    pass\ndef f(:\n")
    with pytest.raises(ValueError, match=r"mine\.py line 3 is no Python"):
        load(f"{path}:A")


@pytest.mark.parametrize(
    "call", ["A(", "A(x)", "A(open('f'))", "A.b", "1", "A()()", ""]
)
def test_only_plain_values_are_taken(write, call):
    path = write("class A:\n    def __init__(self, n=0): self.n = n\n")
    with pytest.raises(ValueError, match=r"expected CLASS or CLASS\(plain"):
        load(f"{path}:{call}")


def test_arguments_that_do_not_fit_are_a_type_error(write):
    path = write("class A:\n    def __init__(self, n): self.n = n\n")
    with pytest.raises(TypeError, match="missing 1 required"):
        load(f"{path}:A()")
    with pytest.raises(TypeError, match="unexpected keyword"):
        load(f"{path}:A(3, m=2)")


def test_a_missing_attribute_is_named_when_verified(write):
    path = write("class A:\n    n_in = 1\n    n_out = 1\n")
    (arch,) = load(f"{path}:A")
    with pytest.raises(TypeError, match="A has no init; a network under test"):
        verify(arch)
