"""Committed figures, small enough for a page and for a notebook.

A figure of lines and areas has few colours. A palette of 128 takes less than
half of the bytes; what was committed stays as it is.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image

N_COLOURS = 128


@cache
def small(path: Path) -> bytes:
    """Return a PNG of the same size, its colours in a palette.

    A picture that can be seen through has no colours of its own to choose
    from, and comes back as it is; so does one that would not be smaller.
    """
    before = path.read_bytes()
    with Image.open(io.BytesIO(before)) as picture:
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return before
        paletted = picture.convert("RGB").quantize(
            N_COLOURS, dither=Image.Dither.NONE
        )
    written = io.BytesIO()
    paletted.save(written, "PNG", optimize=True)
    after = written.getvalue()
    return after if len(after) < len(before) else before
