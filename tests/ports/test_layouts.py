"""The tables: each number of a cell stands in one place, and is found."""

import numpy as np
import pytest

from msref.ports import FRAMEWORKS, conventions

LAYOUTS = [
    pytest.param(layout, id=f"{key}-{layout.layers[0]}-{layout.reset}")
    for key, port in FRAMEWORKS.items()
    for layout in port.layouts
]


def numbered(layout, n_in, n_hid):
    """Pieces of a cell whose entries are all different whole numbers."""
    shapes = {}
    for k in layout.gates:
        shapes |= {f"x{k}": (n_in, n_hid), f"h{k}": (n_hid, n_hid)}
        shapes |= {p + k: (n_hid,) for p in layout.bias_parts(k)}
    pieces, start = {}, 1
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        pieces[name] = np.arange(start, start + size, dtype=float)
        pieces[name] = pieces[name].reshape(shape)
        start += size
    return pieces


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n_in", "n_hid"), [(3, 2), (2, 5), (1, 1), (4, 4)])
def test_every_number_stands_once_and_comes_back(layout, n_in, n_hid):
    pieces = numbered(layout, n_in, n_hid)
    arrays = {slot.name: slot.write(pieces) for slot in layout.slots}
    for slot in layout.slots:
        assert arrays[slot.name].shape == slot.shape(n_in, n_hid)
    written = np.sort(np.concatenate([a.ravel() for a in arrays.values()]))
    given = np.sort(np.concatenate([p.ravel() for p in pieces.values()]))
    np.testing.assert_array_equal(written, given)
    back = {}
    for slot in layout.slots:
        back |= slot.read(arrays[slot.name], n_in, n_hid)
    assert set(back) == set(pieces)
    for name, piece in pieces.items():
        np.testing.assert_array_equal(back[name], piece)
    assert layout.sizes(arrays) == (n_in, n_hid)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_sizes_of_any_array_do_not_fit(layout):
    arrays = {s.name: np.zeros(s.shape(3, 5)) for s in layout.slots}
    reading_x = [s for s in layout.slots if "x" in s.holds]
    for slot in layout.slots:
        name, shape = slot.name, arrays[slot.name].shape
        for axis in range(len(shape)):
            longer = [n + (k == axis) for k, n in enumerate(shape)]
            found = layout.sizes(arrays | {name: np.zeros(longer)})
            # One more row of the only matrix of x is one more input.
            grows = reading_x == [slot] and axis == 1 - slot.out
            assert found == ((4, 5) if grows else None)
        assert layout.sizes(arrays | {name: arrays[name][None]}) is None
        if name not in layout.lacking:
            rest = {k: v for k, v in arrays.items() if k != name}
            assert layout.sizes(rest) is None
    assert layout.sizes(arrays | {"another": np.zeros(3)}) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gates_are_called_and_stacked_in_one_order(layout):
    for slot in layout.slots:
        assert len(slot.gates) in (1, len(layout.gates))
        assert set(slot.gates) <= set(layout.gates)
    assert len(layout.called.split()) == len(layout.gates)
    for k in layout.gates:
        assert layout.bias_parts(k)


def test_the_conventions_are_those_that_were_read():
    """As the sources and documents of the frameworks state them."""
    said = {
        (row["framework"], row["layer"].split(",")[0], row["reset"]): row
        for row in conventions(list(FRAMEWORKS.values()))
    }
    orders = {
        ("PyTorch", "LSTM", ""): "i f g o",
        ("PyTorch", "GRU", "after"): "r z n",
        ("Keras", "LSTM", ""): "i f c o",
        ("Keras", "GRU", "after"): "z r h",
        ("Keras", "GRU", "before"): "z r h",
        ("ONNX", "LSTM", ""): "i o f c",
        ("ONNX", "GRU", "before"): "z r h",
        ("Haiku", "LSTM", ""): "i g f o",
        ("Haiku", "GRU", "before"): "z r a",
        ("Equinox", "GRUCell", "after"): "r z n",
        ("Flax nnx", "GRUCell", "after"): "r z n",
        ("cuDNN", "LSTM", ""): "i f c o",
    }
    for key, order in orders.items():
        assert said[key]["gates"] == order
    shapes = {
        ("PyTorch", "LSTM", ""): {"weight_ih": "(4H, D)", "bias_hh": "(4H)"},
        ("Keras", "GRU", "after"): {"kernel": "(D, 3H)", "bias": "(2, 3H)"},
        ("Keras", "GRU", "before"): {"bias": "(3H)"},
        ("ONNX", "LSTM", ""): {"R": "(dirs, 4H, H)", "B": "(dirs, 8H)"},
        ("Haiku", "LSTM", ""): {"linear/w": "(D+H, 4H)"},
        ("Equinox", "GRUCell", "after"): {"bias": "(3H)", "bias_n": "(H)"},
    }
    for key, arrays in shapes.items():
        assert arrays.items() <= said[key]["arrays"].items()
    writes = [key for key, row in said.items() if row["z"] == "writes"]
    assert writes == [("Haiku", "GRU", "before")]
    added = {key: row["added"] for key, row in said.items() if row["added"]}
    assert added == {("Haiku", "LSTM", ""): {"b_f": 1.0}}
    swapped = {key[0] for key, row in said.items() if row["state"] == "c, h"}
    assert swapped == {"Flax linen", "Flax nnx"}
    relu = {key for key, row in said.items() if row["activation"] == "relu"}
    assert relu == {("Haiku", "VanillaRNN", ""), ("cuDNN", "RNN_RELU", "")}
    read = {key[0] for key, row in said.items() if row["source"] == "read"}
    assert read == {"cuDNN", "Keras"}
    flat = said["Keras", "GRU with a flat bias", "after"]
    assert flat["source"] == "ours"  # Keras keeps two rows, on purpose
    assert said["Keras", "GRU", "after"]["arrays"]["bias"] == "(2, 3H)"


def test_remarks_can_be_read_alone():
    for row in conventions(list(FRAMEWORKS.values())):
        assert "as above" not in row["remark"]
