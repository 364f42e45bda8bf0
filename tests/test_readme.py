"""What the README says holds: its code runs, its files exist, its lessons are the lessons."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.lab import arc
from notebooks import build

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^( *)```python\n(.*?)^ *```$", README, re.M | re.S)


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_the_code_in_the_readme_runs_as_it_stands(block):
    indent, code = BLOCKS[block]
    code = re.sub(f"^{indent}", "", code, flags=re.M)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_the_readme_shows_labkit_in_ten_lines():
    lines = [line for line in BLOCKS[0][1].splitlines() if line.strip()]
    assert len(lines) == 10


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_of_the_readme_leads_to_a_file(target):
    assert (ROOT / target).exists()


def test_the_map_has_all_lessons_and_calls_those_ready_that_are_there():
    rows = re.findall(r"^\| (\d\d) \|.*\| (ready|planned) \|$", README, re.M)
    assert [number for number, _ in rows] == [f"{number:02}" for number in range(15)]
    ready = {number for number, state in rows if state == "ready"}
    assert {name[:2] for name in build.names()} <= ready, "mark it as ready in README.md"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`)make (\w+)", README, re.M))))
def test_every_make_command_of_the_readme_exists(command):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert command in targets


def test_the_table_of_what_was_reached_is_that_of_the_stored_files():
    assert arc.results()._repr_markdown_() in README, (
        "put what lesson 14's arc.results() shows there"
    )
