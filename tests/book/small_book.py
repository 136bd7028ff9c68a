"""A book of two short chapters, in a checkout of its own."""

import importlib
import shutil
from pathlib import Path

import pytest

from msref.book.checkout import Checkout

chain = importlib.import_module("msref.book.build")  # build is its function
MISSING = [name for name in chain.NEEDED if not chain._is_there(name)]
needs_extra = pytest.mark.skipif(
    bool(MISSING), reason=f"the extra 'book' is not installed: {MISSING}"
)

ROOT = Path(__file__).parents[2]

FIRST = """\
# %% [markdown]
# (arch-elman)=
# # 1. First
#
# A formula, $a_t$, and equations beside code {cite:p}`elman1990`.
#
# :::{beside}
# \\begin{align*}
# a_t &= x_t W_{xh} + b_h \\tag{1}
# \\end{align*}
# +++
# ```{source} msref.Elman.backward
# :from: for t in reversed
# :to: (1')
# ```
# :::
#
# See [the second](02-second.ipynb), {py:class}`msref.Elman`
# and {ref}`arch-gru`.
#
# ```{result} durnn-quick
# :claims: a1
# :tables: 0
# :figures: reach-rnn
# ```

# %%
import msref
from msref.book import cells

with cells.drawing("a line", height=2) as axes:
    axes.plot([1, 2, 3])
cells.Shown(msref.verify(msref.Elman(2, 3), cases=1, n_time=4, n_batch=2))
"""

SECOND = """\
# %% [markdown]
# (arch-gru)=
# # 2. Second
#
# $$x^2$$
#
# :::{dropdown} Solution
# Folded.
# :::

# %%
from msref.book import cells
from msref.book.committed import committed

cells.Listing("examples/readers/reader.py")

# %%
print(len(committed("examples/readers/reader.py")))

# %%
print(1 + 1)
"""


def small_checkout(folder, **chapters):
    """Make a checkout with two chapters, or with those given by stem."""
    made = folder / "chapters"
    shutil.copytree(ROOT / "chapters", made, ignore=_not_needed)
    for name in ("results", "examples"):
        (folder / name).symlink_to(ROOT / name)
    texts = {"01-first": FIRST, "02-second": SECOND} | chapters
    for stem, text in texts.items():
        (made / f"{stem}.py").write_text(text)
    return Checkout(folder)


def _not_needed(folder, names):
    return [
        n for n in names if n[0].isdigit() or n in ("_build", "__pycache__")
    ]
