"""The reader of IAM-OnDB, on made-up forms in the same format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import StrokeSet, load_strokes
from msref.data.strokes import (
    ALPHABET,
    OTHER,
    decode,
    encode,
    read_forms,
    read_line,
    read_transcript,
)
from msref.training import Batch


def xml(*strokes):
    """Return a line of strokes, each a list of points (x, y, time)."""
    text = '<?xml version="1.0"?>\n<WhiteboardCaptureSession>'
    text += '<WhiteboardDescription><SensorLocation corner="top_left"/>'
    text += "</WhiteboardDescription><StrokeSet>"
    for stroke in strokes:
        points = (f'<Point x="{x}" y="{y}" time="{t}"/>' for x, y, t in stroke)
        text += f'<Stroke colour="black">{"".join(points)}</Stroke>'
    return text + "</StrokeSet></WhiteboardCaptureSession>"


LINE = xml([(100, 50, 1.5), (300, 40, 1.6)], [(200, 60, 2.5)])


def write_form(folder, form, texts, n_strokes=None):
    """Write a form; the first x of line i lies i hundredths from the left."""
    for kind in ("ascii", "lineStrokes"):
        (folder / kind / form).mkdir(parents=True, exist_ok=True)
    transcript = "OCR:\n\nnot this\n\nCSR:\n\n" + "\n".join(texts) + "\n"
    (folder / "ascii" / form / f"{form}.txt").write_text(transcript)
    for i in range(1, 1 + (len(texts) if n_strokes is None else n_strokes)):
        line = xml([(i, 0, 0), (0, 1, 1)], [(100, 2, 2)])
        path = folder / "lineStrokes" / form / f"{form}-{i:02}.xml"
        path.write_text(line)


def write_list(folder, name, *forms):
    path = folder / f"{name}.list"
    path.write_text("\n".join(forms) + "\n")
    return path


# --- a line -----------------------------------------------------------------


def test_a_line_is_pen_x_y_and_time(tmp_path):
    path = tmp_path / "line.xml"
    path.write_text(LINE)
    np.testing.assert_allclose(
        read_line(path),
        [[0, 0, 0.5, 0], [1, 1, 1, 0.1], [1, 0.5, 0, 1]],
        atol=1e-15,
    )


numbers = st.integers(-(10**6), 10**6)
point = st.tuples(numbers, numbers, numbers)
strokes_of_a_line = st.lists(
    st.lists(point, min_size=1, max_size=4), min_size=1, max_size=4
)


@given(strokes_of_a_line, st.integers(1, 9), point)
def test_place_and_size_of_the_writing_do_not_matter(
    tmp_path_factory, strokes, factor, offset
):
    path = tmp_path_factory.mktemp("line") / "line.xml"
    path.write_text(xml(*strokes))
    x = read_line(path)
    assert x.shape == (sum(map(len, strokes)), 4)
    ends = np.cumsum([len(stroke) for stroke in strokes]) - 1
    np.testing.assert_array_equal(np.flatnonzero(x[:, 0]), ends)
    assert np.isin(x[:, 0], (0, 1)).all()
    for feature in x[:, 1:].T:
        assert feature.min() == 0
        assert feature.max() in (0, 1)  # 0: it does not change
    moved = [
        [[factor * a + b for a, b in zip(p, offset, strict=True)] for p in s]
        for s in strokes
    ]
    path.write_text(xml(*moved))
    np.testing.assert_allclose(read_line(path), x, atol=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        LINE[:-30],
        "no XML",
        xml(),
        xml([]),
        xml([(1, 2, "noon")]),
        xml([(1, "nan", 3)]),
        LINE.replace("time", "tim"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, text):
    path = tmp_path / "line.xml"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"line\.xml (is damaged|has no points)"
    ):
        read_line(path)


# --- symbols ----------------------------------------------------------------


def test_there_are_57_symbols_from_1_on():
    assert len(set(ALPHABET)) == len(ALPHABET) == 57
    assert encode("".join(ALPHABET)).tolist() == list(range(1, 58))


@given(st.text(max_size=30))
def test_what_is_decoded_is_the_text_but_for_other_characters(text):
    labels = encode(text)
    assert labels.shape == (len(text),)
    assert labels.dtype == np.int64
    kept = [c if c in ALPHABET else OTHER for c in text]
    assert decode(labels) == "".join(kept)


@pytest.mark.parametrize("label", [0, 58, -1])
def test_no_symbol_has_the_number_of_the_blank(label):
    with pytest.raises(
        ValueError, match=rf"label is {label}, expected 1\.\.57"
    ):
        decode([label])


def test_a_transcript_begins_after_csr(tmp_path):
    path = tmp_path / "form.txt"
    path.write_text("OCR:\n\nno\n\nCSR:\n\nA line.\n \nIt's%%two\nlast%\n")
    assert read_transcript(path) == ["A line.", "It's", "two", "last"]
    path.write_text("without\nheader\n")
    assert read_transcript(path) == ["without", "header"]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"form\.txt is not text in UTF-8"):
        read_transcript(path)


# --- the set ----------------------------------------------------------------


@pytest.fixture
def forms(tmp_path):
    folder = tmp_path / "iam"
    twelve = [f"line {'abcdefghijkl'[i]}" for i in range(12)]
    write_form(folder, "a01-000u", twelve)
    write_form(folder, "a01-000", ["not the form with a letter"])
    write_form(folder, "b02", ["three", "lines", "two files"], n_strokes=2)
    write_form(folder, "c03", ["No, 7."])
    write_form(folder, "d04", ["a", "b"])
    return folder


def lists(tmp_path):
    return {
        "train": [
            write_list(tmp_path, "one", "a01-000u"),
            write_list(tmp_path, "two", "b02"),
        ],
        "valid": [write_list(tmp_path, "valid", "c03")],
        "test": [write_list(tmp_path, "test", "d04")],
    }


def test_the_lists_decide_and_uneven_forms_are_skipped(tmp_path, forms):
    read = load_strokes(forms, **lists(tmp_path))
    assert isinstance(read, StrokeSet)
    assert read.skipped == ("b02",)
    sizes = {part: n["sequences"] for part, n in read.describe().items()}
    assert sizes == {"train": 12, "valid": 1, "test": 2}
    # Numbers order the lines, not their digits: 2 comes before 10.
    for i, (x, labels) in enumerate(read.train):
        assert x.shape == (3, 4)
        assert x[0, 1] == (i + 1) / 100
        assert decode(labels) == f"line {'abcdefghijkl'[i]}"
    ((_, labels),) = read.valid
    assert decode(labels) == f"No, {OTHER}."
    assert read.describe()["valid"]["symbols"] == 6
    assert len(repr(read)) < 300


def test_lines_can_be_put_in_a_batch(tmp_path, forms):
    read = load_strokes(forms, **lists(tmp_path))
    x, labels = read.test[0]
    batch = Batch.of([(x, labels), (np.repeat(x, 2, axis=0), labels)])
    assert batch.target.dtype.kind == "i"
    assert batch.mask.sum() == 2


def test_what_does_not_fit_together_is_named(tmp_path, forms):
    given = lists(tmp_path)
    given["test"] = [write_list(tmp_path, "again", "c03")]
    with pytest.raises(ValueError, match="c03 is named for valid and for test"):
        load_strokes(forms, **given)
    given["test"] = [write_list(tmp_path, "gone", "z99")]
    with pytest.raises(FileNotFoundError, match=r"holds no z99\.txt"):
        load_strokes(forms, **given)
    given["test"] = []
    with pytest.raises(ValueError, match="lists of test give no line"):
        load_strokes(forms, **given)
    write_form(forms / "copy", "d04", ["a", "b"])
    with pytest.raises(ValueError, match=r"d04.* are the same line twice"):
        load_strokes(forms, **lists(tmp_path))
    with pytest.raises(FileNotFoundError, match="absent"):
        load_strokes(tmp_path / "absent", **lists(tmp_path))


def test_an_empty_list_of_forms_is_refused(tmp_path):
    path = tmp_path / "empty.list"
    path.write_text("\n \n")
    with pytest.raises(ValueError, match=r"empty\.list names no form"):
        read_forms(path)
