"""Equations as MathML, made while the site is built: browsers draw it without a script, screen
readers read it, and it grows with the text.

What latex2mathml writes for older browsers is put right here: MathML Core, which all browsers
share, knows letters of another alphabet only as characters of their own (𝔼, 𝒩).
"""

from __future__ import annotations

import html
import re
import unicodedata

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

ALPHABETS = {
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "fraktur": "FRAKTUR",
    "bold": "BOLD",
    "bold-italic": "BOLD ITALIC",
    "sans-serif": "SANS-SERIF",
    "monospace": "MONOSPACE",
}
VARIANT = re.compile(r'<(m[ino]) mathvariant="([a-z-]+)">([^<]*)</\1>')
# A macro of TeX that was not understood comes out as text, with its backslash.
UNKNOWN = re.compile(r">[^<]*\\[^<]*<|<merror")
# latex2mathml has no delimiter \| after \big and its like
DOUBLE_BAR = re.compile(r"(\\(?:big|Big|bigg|Bigg)[lrm]?)\s*\\\|")
# In HTML: what is no text (code, tags), or a formula between dollars.
IN_HTML = re.compile(
    r"(<(code|pre|script|style)\b.*?</\2>|<[^>]*>)|\$\$(.+?)\$\$|\$([^$\s](?:[^$]*[^$\s])?)\$", re.S
)


def letters(match: re.Match) -> str:
    """The element with the letters of that alphabet, where Unicode has them."""
    element, variant, text = match.groups()
    if variant == "normal":
        return match[0]
    return f"<{element}>{''.join(letter(ALPHABETS[variant], c) for c in text)}</{element}>"


def letter(alphabet: str, character: str) -> str:
    """One letter of that alphabet, such as 𝔼; the character itself if Unicode has none."""
    if (alphabet, character) == ("ITALIC", "h"):  # the only one that has its name from physics
        return "ℎ"
    name = unicodedata.name(character, "").partition(" LETTER ")[2]
    case = "CAPITAL" if character.isupper() else "SMALL"
    for block in (f"MATHEMATICAL {alphabet}", alphabet):
        try:
            return unicodedata.lookup(f"{block} {case} {name}")
        except KeyError:
            continue
    return character


def mathml(tex: str, display: bool = False) -> str:
    """The element <math> of a formula; ValueError if it has a macro that is not known."""
    plain = DOUBLE_BAR.sub("\\1‖", tex.strip())
    element = VARIANT.sub(letters, convert(plain, display="block" if display else "inline"))
    element = element.replace("&#x0005C;", "\\")
    if UNKNOWN.search(element):
        raise ValueError(f"no MathML for the formula {tex.strip()!r}: {element}")
    return element


def inline(tex: str) -> str:
    """A formula in a line of text; site.js makes it scroll where it is wider than the page."""
    return f'<span class="formula">{mathml(tex)}</span>'


def block(tex: str) -> str:
    """A formula on lines of its own, which scrolls where it is wider than the page."""
    return f'<div class="equation">{mathml(tex, True)}</div>'


def in_html(text: str) -> str:
    """HTML with MathML in place of its formulas between dollars."""

    def replace(match: re.Match) -> str:
        if match[1]:
            return match[0]
        return block(html.unescape(match[3])) if match[3] else inline(html.unescape(match[4]))

    return IN_HTML.sub(replace, text)


def visit_inline(translator, node: nodes.math) -> None:
    translator.body.append(inline(node.astext()))
    raise nodes.SkipNode


def visit_block(translator, node: nodes.math_block) -> None:
    translator.body.append(block(node.astext()))
    raise nodes.SkipNode


def convert_raw(app: Sphinx, doctree: nodes.document) -> None:
    for node in doctree.findall(nodes.raw):
        if "html" in node["format"].split():
            node.children = [nodes.Text(in_html(node.astext()))]


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("doctree-read", convert_raw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
