"""Build the site: the executed lessons and all other pages, as plain files that need no network.

    python -m docs.site.build                # into build/site
    python -m docs.site.build --to FOLDER

Nothing is executed: the lessons are shown with their stored outputs. A warning of Sphinx, such as
a link that leads nowhere, stops the build.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.site import font, pages

HERE = Path(__file__).resolve().parent


def build(target: Path) -> int:
    """Builds the site into the folder `target`, whose old content goes; returns Sphinx's code."""
    with tempfile.TemporaryDirectory(prefix="labkit-site-") as folder:
        sources, doctrees = Path(folder, "pages"), Path(folder, "doctrees")
        pages.stage(sources)
        shutil.rmtree(target, ignore_errors=True)
        code = build_main(
            [
                *("--builder", "html", "--quiet", "--fail-on-warning", "--keep-going"),
                *("--conf-dir", str(HERE), "--doctree-dir", str(doctrees)),
                *(str(sources), str(target)),
            ]
        )
        shutil.copytree(sources / "_pictures", target / "_static", dirs_exist_ok=True)
    written = (path.read_text("utf-8") for path in target.rglob("*.html"))
    font.write(written, target / "_static" / "math.woff")
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=Path("build/site"), metavar="FOLDER")
    target = parser.parse_args().to
    if code := build(target):
        sys.exit(code)
    print(f"Open {target / 'index.html'}")


if __name__ == "__main__":
    main()
