"""The pieces of the site: equations, docstrings, the glossary, and pages made from README."""

import ast

import pytest

pytest.importorskip("latex2mathml", reason="the extra `site` is not installed")

from docs.site import api, docstrings, font, glossary, lessons, mathml, pages  # noqa: E402
from labkit.lab.glossary import Term  # noqa: E402


@pytest.mark.parametrize(
    ("tex", "there"),
    [
        (r"\mathbb E[x]", "<mi>𝔼</mi>"),
        (r"\mathcal N(0, I)", "<mi>𝒩</mi>"),
        (r"\big\|x\big\|", ">‖</mo>"),
        (r"a < b", "&#x0003C;"),
        (r"4\,\%", "&#x00025;"),
    ],
)
def test_an_equation_becomes_mathml_that_every_browser_knows(tex, there):
    assert there in mathml.mathml(tex)


def test_a_macro_that_is_not_known_is_an_error_with_the_formula():
    with pytest.raises(ValueError, match=r"no MathML for the formula '\\\\unheard x'"):
        mathml.mathml(r"\unheard x")


def test_formulas_in_html_are_set_but_not_dollars_in_code_and_attributes():
    made = mathml.in_html('<p title="$a$">$x_0$ and <code>$y$</code>, 5 $</p>')
    assert made.startswith('<p title="$a$"><span class="formula"><math')
    assert made.endswith("<code>$y$</code>, 5 $</p>") and "<msub>" in made
    assert "<div" in mathml.in_html("$$x < 1$$") and "&#x0003C;" in mathml.in_html("$x &lt; 1$")


def test_the_font_has_the_italic_letters_that_browsers_take_and_the_root():
    assert font.characters(["<math><mi>x</mi><mi>h</mi><mo>&#x0003C;</mo></math>"]) >= {*"x𝑥hℎ<√"}


DOCSTRING = """One step x_t → x_s, by `posterior` and ``eps * 2``.

x, y: (B, …) tensors, of
    the same shape. z: a *number*.
v: from 0 to 1.
Raises ValueError for another.

    step(x, 3)

- first
- second
"""


def test_a_docstring_keeps_its_words_arguments_examples_and_lists():
    assert docstrings.restructured(DOCSTRING.splitlines()) == [
        r"One step x\_t → x\_s, by ``posterior`` and ``eps * 2``.", "",
        r"**x, y**: (B, …) tensors, of the same shape. z: a \*number\*.", "",
        "**v**: from 0 to 1.", "",
        "Raises ValueError for another.", "",
        ".. code-block:: python", "", "   step(x, 3)", "",
        "- first", "",
        "- second", "",
    ]  # fmt: skip


CELLS = [
    "# Lesson: a score\n\nThe score is for later.",
    "Here a score is named.\n\n<details><summary>Hint</summary>\n\nThe **score**.\n\n</details>",
    "## 2 · See\n\nOne line,\nthen the **score** of it.",
    "**References** *The score*, 2020.",
]


def place(word):
    return glossary.place(Term(word, 3, "It is."), CELLS)


def test_a_term_leads_to_the_paragraph_that_sets_it_off_else_to_the_first_that_has_it():
    assert place("score") == (0, 0)
    assert place("named") == (1, 0)
    assert place("of it") == (2, CELLS[2].index("One"))
    for absent in ("later", "hint", "2020", "core"):
        assert place(absent) is None


def test_terms_without_a_paragraph_lead_to_their_lesson_and_those_without_a_lesson_are_left_out():
    score, eta, late = (
        Term("score", 3, "A gradient."),
        Term("η", 4, "A factor."),
        Term("z", 11, "!"),
    )
    names = {"03": "03_ddpm", "04": "04_ddim"}
    titles = {"03": "03 · DDPM", "04": "04 · DDIM"}
    page = glossary.page([score, eta, late], {score}, names, titles)
    assert "[03 · DDPM](#term-score)" in page and "[04 · DDIM](notebooks/04_ddim.ipynb)" in page
    assert "!" not in page


def test_a_target_is_put_before_the_paragraph():
    cells = [{"cell_type": "markdown", "source": source} for source in CELLS]
    term = Term("of it", 3, "It is.")
    assert glossary.mark([term, Term("absent", 3, "No.")], {"cells": cells}) == {term}
    assert "\n\n(term-of-it)=\nOne line,\nthen" in cells[2]["source"]


def test_the_cell_for_colab_is_not_shown_and_a_solution_is_folded():
    def cell(**metadata):
        return {"cell_type": "code", "source": ["1"], "outputs": [], "metadata": metadata}

    folded = cell(tags=["solution"], jupyter={"source_hidden": True})
    quiz = cell(jupyter={"source_hidden": True})
    notebook = {"cells": [cell(tags=["colab"]), folded, quiz, cell()]}
    first, second, third = (each["metadata"] for each in lessons.page(notebook, None)["cells"])
    assert first["tags"] == ["solution", "hide-input"]
    assert first["mystnb"]["code_prompt_show"] == "Solution"
    assert second["tags"] == ["remove-input"] and "tags" not in third


def test_only_lessons_that_are_there_are_links():
    names = {"00": "00_start_here"}
    table = "| # | lesson |\n| 00 | Start here | how | ready |\n| 11 | Imagen | a | planned |"
    made = pages.lesson_table(table, names)
    assert "| 00 | [Start here](notebooks/00_start_here.ipynb) | how | ready |" in made
    assert "| 11 | Imagen | a | planned |" in made
    linked = pages.lesson_links("[[00]] and [[11]]", names)
    assert linked == "[00](notebooks/00_start_here.ipynb) and 11"


def test_the_names_in_the_code_of_the_notation_are_labkit_s():
    words = set()
    for path in (pages.ROOT / "labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = (ast.Name, ast.arg, ast.Attribute, ast.FunctionDef, ast.ClassDef)
            if isinstance(node, named):
                words |= {getattr(node, field, "") for field in ("id", "arg", "attr", "name")}
    text = (pages.ROOT / "docs" / "notation.md").read_text("utf-8")
    rows = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| ")]
    names = {
        node.id
        for row in rows
        for code in row.split("`")[1::2]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Name)
    }
    assert len(names) > 10 and names <= words


def test_every_module_of_labkit_has_a_place_in_the_pages_of_its_room():
    root = pages.ROOT / "labkit"
    rooms = api.rooms(root)
    text = "\n".join(api.page(name, files, root) for name, files in rooms.items())
    for path in root.rglob("*.py"):
        name = api.module(path, root)
        assert (
            name in ("labkit", "labkit.__main__", "labkit.cli")
            or f".. automodule:: {name}\n" in text
        )
    assert all(f"[labkit.{name}](labkit.{name}.rst)" in api.table(root) for name in rooms)
