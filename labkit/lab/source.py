"""Show the very source that runs, so that a lesson never holds a second copy of it."""

import ast
import inspect
import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


class Source:
    """The source of one object, ready to be displayed: colored in a notebook, else as text.

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

    def _repr_markdown_(self) -> str:
        # Markdown rather than HTML: JupyterLab colors it by its own theme, light or dark, and
        # does so in a notebook that is not trusted yet, where it takes the colors out of HTML.
        fence = "`" * 3
        while fence in self.text:
            fence += "`"
        return f"`{self.file}`\n\n{fence}python\n{self.text}{fence}\n"


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
