"""The font of the equations: STIX Two Math, which has the long brackets and braces that a phone's
own fonts lack, cut down to the characters that the site shows."""

from __future__ import annotations

import html
import importlib.resources
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset

from docs.site.mathml import letter

MATH = re.compile(r"<math\b.*?</math>", re.S)
TAG = re.compile(r"<[^>]*>")


def characters(pages: Iterable[str]) -> set[str]:
    """What stands in the equations of these pages (HTML), with the italic letter that a browser
    takes for a single one."""
    found = set()
    for page in pages:
        for element in MATH.findall(page):
            found |= set(html.unescape(TAG.sub("", element)))
    root = {"√"}  # drawn for <msqrt>, and written nowhere
    return found | root | {letter("ITALIC", character) for character in found}


def write(pages: Iterable[str], path: Path) -> None:
    """A file in the format WOFF with these characters and the measures for mathematics."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports every table
    options = subset.Options()
    options.flavor = "woff"
    options.layout_features = ["*"]
    options.name_IDs = ["*"]  # the authors and the license, which is the SIL Open Font License
    source = importlib.resources.files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
    with importlib.resources.as_file(source) as file:
        font = subset.load_font(str(file), options)
    cut = subset.Subsetter(options)
    cut.populate(text="".join(sorted(characters(pages))))
    cut.subset(font)
    subset.save_font(font, str(path), options)
