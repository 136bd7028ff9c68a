"""What the cells of all chapters share."""

import codecs
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

import msref
from msref.book import cells

NETWORK = msref.Elman(2, 4)
PARAMS = NETWORK.init(np.random.default_rng(0))


def drawn(height):
    figure = Figure()
    figure.add_subplot().plot([1, height], color=cells.INK)
    return cells.svg(figure, 'a "line"')


def ids(text):
    return set(re.findall(r'\bid="([^"]+)"', text))


def test_figures_share_no_names_and_use_their_own():
    one, two = drawn(2), drawn(3)
    assert ids(one)
    assert not ids(one) & ids(two)
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one)
    assert {a or b for a, b in used} <= ids(one)
    assert drawn(2) == one


def test_ink_is_the_colour_of_the_page_and_the_text_is_escaped():
    text = drawn(2)
    assert cells.INK not in text
    assert "currentColor" in text
    assert 'aria-label="a &quot;line&quot;"' in text


def test_numbers_of_a_path_are_no_finer_than_a_screen():
    text = drawn(np.pi)
    paths = re.findall(r'\b(?:d|x|y)="([^"]*)"', text)
    assert any(re.search(r"\d\.\d\d\b", path) for path in paths)
    assert not any(re.search(r"\d\.\d{3}", path) for path in paths)


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in channels
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("page", ["#ffffff", "#131416"])
@pytest.mark.parametrize("colour", cells.COLOURS)
def test_colours_stand_out_on_light_and_on_dark(colour, page):
    dark, light = sorted((luminance(colour), luminance(page)))
    assert (light + 0.05) / (dark + 0.05) >= 2.9


def test_drawing_gives_the_axes_asked_for():
    with cells.drawing("one") as axes:
        axes.plot([1, 2])
    with cells.drawing("two", columns=2) as (left, right):
        assert left is not right


def test_a_bug_is_planted_by_kind_and_place():
    mutant = cells.planted(NETWORK, "transposed weight", "W_hh")
    assert not msref.verify(mutant, cases=1, n_time=4, n_batch=2).ok
    with pytest.raises(ValueError, match=r"no bug .*transposed weight \(W_hh"):
        cells.planted(NETWORK, "no such bug")


def test_a_riddle_does_not_tell_what_it_is():
    kind = codecs.encode("transposed weight", "rot13")
    found = cells.riddle(NETWORK, kind)
    assert found.solution == "transposed weight (W_hh)"
    report = msref.verify(found, cases=1, n_time=4, n_batch=2)
    assert not report.ok
    assert "transposed" not in str(report)


def test_a_report_is_shown_in_the_colours_of_the_page():
    report = msref.verify(NETWORK, cases=1, n_time=4, n_batch=2)
    shown = cells.Shown(report)
    assert "var(--msref-pass" in shown._repr_html_()
    assert "\x1b" not in shown._repr_html_()
    assert "PASS" in repr(shown)


def test_tables_escape_and_show_three_digits():
    grid = cells.Grid(("a<b",), [(0.123456,), ("x & y",)])
    assert "<th>a&lt;b</th>" in grid._repr_html_()
    assert "<td>0.123</td>" in grid._repr_html_()
    assert "x &amp; y" in grid._repr_html_()
    assert "x & y" in repr(grid)


def test_a_cell_with_sentences_is_not_squeezed():
    text = cells.Grid(("a",), [("short",), ("long " * 20,)])._repr_html_()
    assert text.count('<td class="long">') == 1
    assert "<td>short</td>" in text


def test_reach_stays_below_its_bound_and_recall_falls():
    x = np.random.default_rng(1).standard_normal((12, 2, 2))
    small = PARAMS | {"W_hh": 0.5 * PARAMS["W_hh"]}
    with cells.drawing("both", columns=2) as (left, right):
        found = cells.reach_plot(left, {"half": (NETWORK, small)}, x)
        recall = cells.recall_plot(
            right, {"half": (NETWORK, small)}, 6, n_time=120
        )
    assert np.all(found["half"] <= 0.5 ** np.arange(12) * (1 + 1e-9))
    assert recall["half"][0] > 0.5 > recall["half"][6]


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_conventions_are_those_of_the_ports(cell):
    grid = cells.conventions_grid(cell)
    assert "PyTorch" in repr(grid)
    assert all(len(row) == len(grid.columns) for row in grid.rows)


def test_every_vector_is_listed_with_what_breaks_it():
    grid = cells.vectors_grid("gru")
    assert any(row[0] == "gru/basic" for row in grid.rows)
    assert all(row[1] for row in grid.rows)
