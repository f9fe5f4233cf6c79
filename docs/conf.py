"""Sphinx configuration; every warning is an error."""

from firedoor import __version__

project = "firedoor"
author = "The firedoor team"
copyright = "2026, the firedoor team"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
html_theme = "furo"
html_title = "firedoor"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpick_ignore_regex = [("py:.*", ".*")]  # names of other projects, which are not fetched here
suppress_warnings = ["ref.python"]
