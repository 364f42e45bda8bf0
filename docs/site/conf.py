"""Sphinx's settings for the site; `docs/site/build.py` prepares the pages and calls it."""

from docs.site.pages import project as described
from labkit.lab import course

project = "Diffusion models, hands on"
author = described()["authors"][0]["name"]
release = described()["version"]
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "docs.site.mathml",
    "docs.site.docstrings",
]
nb_execution_mode = "off"  # the lessons are shown as they were executed
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_dmath_double_inline = True
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "ignore-module-all": True}
python_use_unqualified_type_names = True
add_module_names = False
suppress_warnings = ["ref.python"]  # two classes of one name in the types of arguments
toc_object_entries = False  # they would stand in the navigation of every page

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_context = {"default_mode": "auto"}  # as light or dark as the reader's system
html_show_search_summary = False  # it would be fetched, which a page opened from disk may not
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "max_navbar_depth": 2,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "back_to_top_button": False,
}
if _address := course.repository():
    html_theme_options |= {
        "repository_url": _address,
        "use_repository_button": True,
        "use_issues_button": True,
    }
