"""The executed lessons as pages: pictures become files, and solutions stay folded."""

from __future__ import annotations

import base64
import re
import struct
from html import escape, unescape
from pathlib import Path

STORED = re.compile(r'^<img alt="([^"]*)" src="data:image/png;base64,([^"]+)">$')
WIDE = 480  # pixels from which a picture keeps its size on a narrow screen, and scrolls
STILL = "A still. In JupyterLab, with the lesson running, this moves."


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the head of a PNG file."""
    return struct.unpack(">II", data[16:24])


def figure(alt: str, data: bytes, address: str, still: bool) -> str:
    """The HTML of a picture that lies at `address`."""
    width, height = png_size(data)
    caption = f"<figcaption>{STILL}</figcaption>" if still else ""
    kind = "lesson-figure" + " still" * still
    wide = ' class="scrolls wide"' if width > WIDE else ""
    return (
        f'<figure class="{kind}"><div{wide}><img alt="{escape(alt)}" src="{address}" '
        f'width="{width}" height="{height}" loading="lazy"></div>{caption}</figure>'
    )


def joined(text: str | list[str]) -> str:
    """A text of a notebook, which may be stored as one string or as lines."""
    return text if isinstance(text, str) else "".join(text)


def place_picture(output: dict, folder: Path, name: str) -> None:
    """Puts the picture of an output, if it has one, into a file, and shows it from there."""
    data = output.get("data", {})
    if not (stored := STORED.match(joined(data.get("text/html", "")))):
        return
    picture = base64.b64decode(stored[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(picture)
    # What a cell displays on its way is a figure; its value is a widget, stored as a still.
    still = output["output_type"] == "execute_result"
    address = f"../_static/{folder.name}/{name}.png"
    output["data"] = {"text/html": figure(unescape(stored[1]), picture, address, still)}


def fold(cell: dict) -> None:
    """What JupyterLab shows folded: a solution stays folded, the code of a quiz is left out."""
    if not cell["metadata"].get("jupyter", {}).get("source_hidden"):
        return
    tags = cell["metadata"].get("tags", [])
    solution = "solution" in tags
    cell["metadata"]["tags"] = [*tags, "hide-input" if solution else "remove-input"]
    if solution:
        prompts = {"code_prompt_show": "Solution", "code_prompt_hide": "Hide the solution"}
        cell["metadata"]["mystnb"] = prompts


def page(notebook: dict, pictures: Path) -> dict:
    """The notebook changed in place for the site; its pictures go to the folder `pictures`."""
    notebook["cells"] = [
        cell for cell in notebook["cells"] if "colab" not in cell["metadata"].get("tags", [])
    ]
    for index, cell in enumerate(notebook["cells"]):
        cell["source"] = joined(cell["source"])
        if cell["cell_type"] == "code":
            fold(cell)
            for number, output in enumerate(cell["outputs"]):
                place_picture(output, pictures, f"{index:03}_{number}")
    return notebook
