"""pyproject.toml, constraints.txt and environment.yml say the same."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIRED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [
    Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines
]
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    )
}
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
CONDA = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
(PIP,) = (line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict))
CONDA_NAMES = {
    "torch": "pytorch-cpu",
    "matplotlib": "matplotlib-base",
    "huggingface-hub": "huggingface_hub",
    "jupyter-client": "jupyter_client",
    "jupyter-core": "jupyter_core",
}


@pytest.mark.parametrize("requirement", REQUIRED + EXTRAS, ids=lambda r: r.name)
def test_every_requirement_is_pinned_to_a_version_that_satisfies_it(requirement):
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin, f"constraints.txt does not pin {requirement.name}"
    assert requirement.specifier.contains(pin)


def test_the_pins_are_plain_versions_without_a_local_build():
    assert all("+" not in version and version[0].isdigit() for version in PINS.values())


@pytest.mark.parametrize("line", CONDA)
def test_every_line_for_conda_is_a_valid_specification(line):
    assert MatchSpec(line, strict=True).name is not None


def test_conda_and_pip_ask_for_the_same_packages_in_the_same_versions():
    asked = {Requirement(line).name: Requirement(line).specifier for line in PIP[:-1]}
    for line in CONDA[2:]:
        requirement = Requirement(line)
        asked[requirement.name] = requirement.specifier
    wanted = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in REQUIRED}
    assert asked == wanted


def test_conda_takes_one_python_that_the_package_supports_and_installs_the_checkout():
    from packaging.specifiers import SpecifierSet

    python, pip = CONDA[:2]
    name, version = python.split("=")  # one version, since Binder does not understand a range
    assert name == "python" and SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert pip == "pip" and PIP[-1] == "--editable ."
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn", "ipython": "IPython"}


def test_every_package_that_labkit_imports_is_declared():
    declared = {IMPORT_NAMES.get(r.name, r.name.replace("-", "_")) for r in REQUIRED}
    imported = set()
    for path in (ROOT / "labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    assert imported - sys.stdlib_module_names - {"labkit"} <= declared
