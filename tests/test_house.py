"""The shape of the package: imports run downward, nobody goes in a circle, files are short, an
import costs what it must, and things bear the field's names."""

import ast
import subprocess
import sys
import tokenize
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from safetensors import safe_open

from labkit import zoo

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "labkit").rglob("*.py"))
LESSONS = sorted((ROOT / "notebooks" / "src").glob("*.py"))

# From the ground up: a room may import only from those before it. A new one finds its place here.
ROOMS = [
    "inputs", "casting", "schedule", "markov", "conditioning", "denoiser", "mixture", "sampler",
    "guidance", "likelihood", "interpolate",
    "batches", "devices", "nets", "fetch", "data", "scenes", "systems", "metrics",
    "ema", "optimizers", "checkpoint", "run_file", "model_file", "train", "recipes", "zoo", "hub",
    "lab", "prompts", "cli", "__main__",
]  # fmt: skip


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The modules of labkit that a file imports anywhere in it."""
    modules = set(map(module, FILES))
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules else node.module)
    return found & modules - {"labkit"}


def room(name: str) -> str:
    return name.split(".")[1]


def test_imports_run_downward():
    assert {room(module(path)) for path in FILES if module(path) != "labkit"} == set(ROOMS)
    upward = [
        f"{module(path)} imports {other}"
        for path in FILES
        if module(path) != "labkit"
        for other in imported(path)
        if ROOMS.index(room(other)) > ROOMS.index(room(module(path)))
    ]
    assert not upward


def test_no_file_imports_itself_by_way_of_others():
    TopologicalSorter({module(path): imported(path) for path in FILES}).prepare()


def test_files_are_read_in_one_sitting():
    lengths = {module(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > 300}


LOADED = "import sys; {}; print(*{{name.partition('.')[0] for name in sys.modules}})"


@cache
def loaded(statement: str) -> set[str]:
    """The packages that a fresh Python has loaded after that statement."""
    command = [sys.executable, "-c", LOADED.format(statement)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    ("name", "also"),
    [
        ("sampler", set()),
        ("systems.adm", set()),
        ("metrics", set()),
        ("scenes", set()),
        ("train", {"safetensors"}),
    ],
)
def test_an_import_loads_torch_and_hardly_more(name, also):
    others = loaded(f"import labkit.{name}") - loaded("import torch") - sys.stdlib_module_names
    assert {other for other in others if not other.startswith("_")} - {"labkit"} <= also


# What an engineer of the field would not search for; each has a name that is.
NOT_THE_FIELD_S = {
    "way_down": "encoder", "behind_norm": "ConditionalBatchNorm2d", "weathered": "augmented",
    "deaf": "clean", "null_share": "p_uncond", "log_scale": "logit_scale", "dice": "generator",
    "painter": "model", "told": "what it is in that place", "tensorflow": "sin_first",
}  # fmt: skip


def names_in(path: Path) -> set[str]:
    with path.open("rb") as file:
        return {t.string for t in tokenize.tokenize(file.readline) if t.type == tokenize.NAME}


def test_things_bear_the_field_s_names():
    found = {module(path): names_in(path) & NOT_THE_FIELD_S.keys() for path in FILES + LESSONS}
    assert not {name: words for name, words in found.items() if words}


def test_tensors_in_shipped_files_bear_them_too():
    old = {"door", "exit", "places", "summary", "log_scale"}
    for path in zoo.WEIGHTS.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            assert not {part for name in file.keys() for part in name.split(".")} & old  # noqa: SIM118
