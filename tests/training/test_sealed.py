"""Files that a run goes on from: the same bits, or an error that says why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from msref.files import write_arrays
from msref.training.sealed import (
    described,
    described_rng,
    described_tree,
    read_sealed,
    write_sealed,
)

OWNER = {"model": "m", "rate": "0.1"}
NAMES = st.text("abc/_", min_size=1, max_size=5)
ARRAYS = st.dictionaries(
    NAMES,
    st.sampled_from(["f4", "f8", "i8", "?"]).flatmap(
        lambda kind: arrays(kind, array_shapes(min_side=0))
    ),
    max_size=4,
)
RUNS = st.dictionaries(
    NAMES,
    st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    max_size=3,
)


@given(run=RUNS, tree=ARRAYS)
def test_what_is_written_is_read(tmp_path_factory, run, tree):
    path = tmp_path_factory.getbasetemp() / "sealed"
    write_sealed(path, run, tree, OWNER)
    again, found = read_sealed(path, OWNER)
    assert again == run
    assert found.keys() == tree.keys()
    for name, array in tree.items():
        assert (found[name].shape, found[name].dtype) == (
            array.shape,
            array.dtype,
        )
        assert found[name].tobytes() == array.tobytes()


def test_the_state_of_a_generator_goes_through(tmp_path):
    rng = np.random.Generator(np.random.MT19937(3))
    write_sealed(tmp_path / "a", {"rng": rng.bit_generator.state}, {}, OWNER)
    run, _ = read_sealed(tmp_path / "a", OWNER)
    again = np.random.Generator(np.random.MT19937())
    again.bit_generator.state = run["rng"]
    assert rng.random() == again.random()


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a"
    write_sealed(path, {"step": 3}, {"W": np.arange(3.0)}, OWNER)
    data = path.read_bytes()
    start = data.index(b"belongs_to")
    for place in [*range(start, len(data), 7), len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            read_sealed(path, OWNER)


def test_another_run_is_refused_and_all_that_differs_is_named(tmp_path):
    path = tmp_path / "a"
    write_sealed(path, {}, {}, OWNER)
    with pytest.raises(ValueError, match="of another run") as info:
        read_sealed(path, {"rate": "0.2", "clip": "1"})
    for words in ("rate was 0.1, is 0.2", "model was m, is None", "is 1"):
        assert words in str(info.value)


def test_arrays_without_a_seal_are_no_checkpoint(tmp_path):
    write_arrays(tmp_path / "a", {"W": np.ones(2)}, {"run": "{}"})
    with pytest.raises(ValueError, match="a is not a checkpoint of msref"):
        read_sealed(tmp_path / "a", OWNER)


def test_what_is_no_number_is_refused_and_the_old_file_stays(tmp_path):
    write_sealed(tmp_path / "a", {"loss": 1.0}, {}, OWNER)
    with pytest.raises(ValueError, match="JSON"):
        write_sealed(tmp_path / "a", {"loss": np.nan}, {}, OWNER)
    assert read_sealed(tmp_path / "a", OWNER)[0] == {"loss": 1.0}


def test_a_description_knows_shapes_types_values_and_order():
    one, other = np.zeros((2, 3)), np.ones((2, 3))
    different = [
        [one, other],
        [other, one],
        [one, other.reshape(3, 2)],
        [one, other.astype("f4")],
        [one],
    ]
    assert len({*map(described, different)}) == len(different)
    assert described([one, other]).startswith("2 arrays, 12 numbers, ")
    tree = {"b": other, "a": one}
    assert described_tree(tree) == described([one, other])


def test_a_description_of_a_generator_is_of_its_state():
    rng = np.random.default_rng(0)
    before = described_rng(rng.bit_generator.state)
    assert before == described_rng(rng.bit_generator.state)
    rng.random()
    assert before != described_rng(rng.bit_generator.state)
