"""A figure on the page has fewer bytes, and looks the same."""

import io

import matplotlib as mpl
import numpy as np
from PIL import Image

from msref.book.pictures import small

mpl.use("agg")


def drawn(path, **settings):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    rng = np.random.default_rng(0)
    axes.plot(rng.standard_normal((50, 6)).cumsum(0))
    figure.savefig(path, **settings)
    plt.close(figure)
    return path


def test_it_is_the_same_picture_in_half_the_bytes(tmp_path):
    path = drawn(tmp_path / "lines.png")
    data = small(path)
    assert len(data) < path.stat().st_size / 2
    with Image.open(path) as one, Image.open(io.BytesIO(data)) as other:
        assert other.format == "PNG"
        off = np.asarray(one.convert("RGB"), float) - other.convert("RGB")
    assert np.abs(off).mean() < 1.0  # of 255
    assert np.abs(off).max() < 60


def test_what_cannot_be_smaller_stays(tmp_path):
    seen_through = drawn(tmp_path / "lines.png", transparent=True)
    tiny = tmp_path / "tiny.png"
    Image.new("L", (1, 1)).save(tiny, optimize=True)
    for path in (seen_through, tiny):
        stays = small(path) == path.read_bytes()  # no diff of so many bytes
        assert stays, path.name
