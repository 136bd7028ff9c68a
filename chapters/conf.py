"""How the pages of the book look. ``msref book`` builds them."""

import os
from importlib import metadata
from pathlib import Path

from msref.book.docstrings import signature, to_rst

project = "msref"
author = "the authors of msref"
release = metadata.version("msref")
html_show_copyright = False
html_show_sphinx = False
html_title = "msref, the book"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["figures/**"]
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
bibtex_bibfiles = ["bibliography.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# Cells run every time: a figure is never older than the code beside it.
nb_execution_mode = "force"
nb_execution_show_tb = True
nb_execution_in_temp = True
nb_execution_timeout = 120  # a cell takes 20 s at most on an idle machine
nb_merge_streams = True
nb_output_stderr = "error"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 68
add_module_names = False
smartquotes = False  # a prime is no quotation mark

html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_extra_path = [os.environ["MSREF_BOOK_EXTRA"]]

# Of the package with MathJax, this one file is enough, and complete: others
# fetch what they lack.
_mathjax = next(
    file.locate()
    for file in metadata.files("sphinx-mathjax-offline") or ()
    if file.name == "tex-svg-full.js"
)
html_static_path = ["_static", str(Path(_mathjax))]
html_css_files = ["book.css"]
mathjax_path = "tex-svg-full.js"
mathjax3_config = {
    "options": {"enableMenu": False},
    "svg": {"fontCache": "global"},
}


def _plain_docstrings(app, what, name, obj, options, lines):
    lines[:] = to_rst(lines)


def _plain_signature(app, what, name, obj, options, told, returned):
    if what in ("function", "method", "class"):
        found = signature(obj)
        if found and what == "method":
            return found[0].replace("(self, ", "(").replace(
                "(self)", "()"
            ), found[1]
        return found
    return None


def _deal(app, env, docnames):
    """Give each process as many chapters as the next.

    Sphinx cuts the sorted names into one run per process, and the chapters
    would all be in the first.
    """
    n = app.parallel
    docnames[:] = [name for k in range(n) for name in docnames[k::n]]


def setup(app):
    app.connect("env-before-read-docs", _deal)
    app.connect("autodoc-process-signature", _plain_signature)
    app.connect("autodoc-process-docstring", _plain_docstrings)
