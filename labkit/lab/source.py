"""Show the very source that runs, so that a lesson never holds a second copy of it."""

import ast
import inspect
import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

# Colors stand as CSS variables of JupyterLab's own editor, so that they follow its light and dark
# themes; the value after the comma serves wherever there is no JupyterLab around.
_COLORS = {
    "Keyword": "var(--jp-mirror-editor-keyword-color, #008000)",
    "Operator.Word": "var(--jp-mirror-editor-keyword-color, #008000)",
    "Comment": "var(--jp-mirror-editor-comment-color, #408080)",
    "Literal.String": "var(--jp-mirror-editor-string-color, #ba2121)",
    "Literal.Number": "var(--jp-mirror-editor-number-color, #080)",
    "Name.Function": "var(--jp-mirror-editor-def-color, #00f)",
    "Name.Class": "var(--jp-mirror-editor-def-color, #00f)",
    "Name.Builtin": "var(--jp-mirror-editor-builtin-color, #05a)",
    "Name.Decorator": "var(--jp-mirror-editor-meta-color, #a2f)",
}


class Source:
    """The source of one object, ready to be displayed as text or as highlighted HTML.

    obj: a function, class, method or module written in Python (or a functools.partial of one).
    docstring: False leaves the object's own docstring out.
    Raises ValueError if `obj` has no Python source.
    """

    def __init__(self, obj, docstring: bool = True):
        obj = inspect.unwrap(getattr(obj, "func", obj))
        if isinstance(obj, property):
            obj = obj.fget
        try:
            text = inspect.getsource(obj)
            self.file = _relative(inspect.getsourcefile(obj))
        except (TypeError, OSError) as error:
            raise ValueError(
                f"show_source was given {type(obj).__name__} {_name(obj)}, which has no Python "
                "source; give it a function, a class or a module of labkit."
            ) from error
        self.line = 1 if inspect.ismodule(obj) else inspect.getsourcelines(obj)[1]
        text = inspect.cleandoc("\n" + text) if text[:1].isspace() else text
        self.text = (text if docstring else _without_docstring(text)).rstrip() + "\n"

    def __repr__(self) -> str:
        return f"# {self.file}\n{self.text}"

    def _repr_html_(self) -> str:
        return (
            '<div class="lab-source"><div style="font-family: monospace; opacity: 0.7; '
            f'padding: 2px 0">{self.file}</div>'
            '<pre style="border-left: 3px solid #0072B2; padding: 4px 0 4px 12px; margin: 0; '
            "overflow-x: auto; white-space: pre; line-height: 1.4; "
            f'font-size: var(--jp-code-font-size, 13px)">{_highlight(self.text)}</pre></div>'
        )


def show_source(obj, *more, docstring: bool = True) -> None:
    """Display the source of one or more objects, each headed by its file in the package.

    docstring: False leaves the objects' own docstrings out, where the lesson's text says the same.
    Raises ValueError if an object has no Python source.
    """
    from IPython.display import display

    for each in (obj, *more):
        display(Source(each, docstring))


def _relative(path: str) -> str:
    path = Path(path).resolve()
    inside = path.is_relative_to(_PACKAGE)
    return path.relative_to(_PACKAGE.parent).as_posix() if inside else "this notebook"


def _name(obj) -> str:
    return getattr(obj, "__name__", repr(obj))


def _without_docstring(text: str) -> str:
    node = ast.parse(text).body[0]
    body = getattr(node, "body", None)
    if not body or ast.get_docstring(node) is None or len(body) == 1:
        return text
    lines = text.splitlines()
    del lines[body[0].lineno - 1 : body[0].end_lineno]
    return re.sub(r"(:[^\n]*\n)\n+", r"\1", "\n".join(lines), count=1)


def _highlight(text: str) -> str:
    from html import escape

    from pygments import lex
    from pygments.lexers import PythonLexer
    from pygments.token import string_to_tokentype

    colors = {string_to_tokentype(name): color for name, color in _COLORS.items()}
    pieces = []
    for token, value in lex(text, PythonLexer(stripnl=False)):
        color = next((color for kind, color in colors.items() if token in kind), None)
        piece = escape(value, quote=False)
        pieces.append(f'<span style="color: {color}">{piece}</span>' if color else piece)
    return "".join(pieces)
