"""Build the notebooks: percent sources in notebooks/src, executed, to notebooks/NAME.ipynb.

    python notebooks/build.py                      # all of them
    python notebooks/build.py 01_markov_chains     # one by name

The same sources give the same bytes: cell ids come from the content, and what only records the
run (timings, versions, widget state) is left out. A cell that raises, writes to stderr, or prints
a path of this machine stops the build, and the old notebook stays.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from packaging.requirements import Requirement

from labkit.lab import course

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER / "src"
KERNEL = {"name": "labkit", "display_name": "labkit (course)", "language": "python"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
HOME_PATH = re.compile(r"/(?:home|Users)/\w+|[A-Z]:\\Users")
# what jupytext and the run leave in a cell's metadata, and no reader needs
PASSING_METADATA = ("execution", "lines_to_next_cell", "lines_to_end_of_cell_marker")


# What Google Colab is made of, and must not be exchanged while it runs.
COLAB_OWN = {"torch", "jupyterlab", "ipykernel", "ipython", "jupyter-client", "jupyter-core"}
COLAB = """\
# Only on Google Colab: install labkit. Everywhere else this cell does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "git+{address}"], check=True)
    needed = "{needed}"
    subprocess.run([*pip, *needed.split()], check=True)
    from google.colab import output

    output.enable_custom_widget_manager()"""


class BuildError(Exception):
    """A notebook that must not be published, with the cell and the reason."""


def names() -> list[str]:
    """The names of all lessons that have a source, in the order of the course."""
    return sorted(path.stem for path in SOURCES.glob("*.py"))


def colab_cell(address: str) -> NotebookNode:
    """The cell that installs labkit from the repository at `address`, on Google Colab only."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text("utf-8"))["project"]
    asked = map(Requirement, project["dependencies"])
    needed = " ".join(str(each) for each in asked if each.name not in COLAB_OWN)
    source = COLAB.format(address=address, needed=needed)
    return nbformat.v4.new_code_cell(source, metadata={"tags": ["colab"]})


def read_source(name: str) -> NotebookNode:
    """The notebook that the source describes, not executed; ids are hashes of the content.

    Once the repository's address is known, a cell for Google Colab comes before the first code.
    """
    notebook = jupytext.reads((SOURCES / f"{name}.py").read_text("utf-8"), fmt="py:percent")
    if address := course.repository():
        kinds = [cell.cell_type for cell in notebook.cells]
        notebook.cells.insert(kinds.index("code"), colab_cell(address))
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        for key in PASSING_METADATA:
            cell.metadata.pop(key, None)
        content = f"{cell.cell_type}\n{cell.source}"
        seen[content] = seen.get(content, 0) + 1  # two equal cells must not share an id
        cell.id = hashlib.sha256(f"{seen[content]}\n{content}".encode()).hexdigest()[:12]
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: NotebookNode, timeout: float = 300) -> None:
    """Run all cells in a fresh kernel of this very environment, in the notebooks' folder."""
    # Whoever builds may have start-up files of their own, a hash seed per process, or progress.
    with tempfile.TemporaryDirectory() as blank:
        own = {"IPYTHONDIR": blank, "PYTHONHASHSEED": "0", course.PROGRESS: ""}
        environment = os.environ | own
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=timeout,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("data", {}).keys() - {WIDGET_VIEW, "text/plain"}:
                output["data"].pop(WIDGET_VIEW, None)  # there is a still picture in its place
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = nbformat.from_dict(KERNEL)
    notebook.metadata["language_info"].pop("version", None)


def machine_paths() -> list[str]:
    """The folders of this machine whose names may not stand in a published notebook."""
    folders = {FOLDER.parent, Path.home(), Path(sys.prefix), Path(sys.base_prefix)}
    folders |= {Path(tempfile.gettempdir())}
    return sorted({str(p) for f in folders for p in (f, f.resolve()) if len(p.parts) > 1})


def faults(notebook: NotebookNode) -> list[str]:
    """What must not be in a published notebook, one sentence each; empty when all is well."""
    found = []
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]
    counts = [cell.execution_count for cell in code_cells]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"The execution counts are {counts}, not 1, 2, 3, …: run it whole, once.")
    for cell in code_cells:
        where = f"cell [{cell.execution_count}] ({cell.source.splitlines()[0]!r})"
        for output in cell.outputs:
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            text += output.get("data", {}).get("text/html", "")
            if output.output_type == "error":
                found.append(f"{where} raised {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"{where} wrote to stderr: {output.text.strip()}")
            if WIDGET_VIEW in output.get("data", {}):
                found.append(f"{where} shows a widget that has no still picture.")
            found += [f"{where} prints {p}" for p in machine_paths() if f"{p}/" in text]
            found += [f"{where} prints {p}" for p in HOME_PATH.findall(text)]
            found += [f"{where} prints an address {a}" for a in re.findall(r"at 0x\w+", text)]
    return found


def comparable(notebook: NotebookNode) -> list[tuple]:
    """What source and built notebook must share: type, text and metadata of each cell."""
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def render(name: str) -> str:
    """The text of the executed notebook of one lesson; raises BuildError with every fault."""
    notebook = read_source(name)
    try:
        execute(notebook)
    except CellExecutionError as error:
        raise BuildError(f"{name}: {error}") from None
    if found := faults(notebook):
        raise BuildError("\n".join(f"{name}: {fault}" for fault in found))
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_markov_chains")
    chosen = parser.parse_args().names or names()
    if unknown := sorted(set(chosen) - set(names())):
        parser.error(f"no source named {', '.join(unknown)}; there are {', '.join(names())}")
    failed = False
    for name in chosen:
        start = time.perf_counter()
        try:
            text = render(name)
        except BuildError as error:
            failed = True
            print(error, file=sys.stderr)
            continue
        (FOLDER / f"{name}.ipynb").write_text(text, "utf-8")
        seconds, size = time.perf_counter() - start, len(text.encode()) / 1e6
        print(f"{name}: {seconds:.1f} s, {size:.2f} MB", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
