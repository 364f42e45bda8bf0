"""The doctor: is this set-up sound, and if not, what mends it? One finding, one line."""

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
MANIFEST = "SHA256SUMS"
# The Python packages that bring a half of theirs for the browser, and where the Lab looks for it.
BROWSER_HALVES = {
    "jupyterlab_widgets": "@jupyter-widgets/jupyterlab-manager",
    "anywidget": "anywidget",
}
GIGABYTE = 1e9


class Finding(NamedTuple):
    """verdict: "ok", "note" (works, but), or "fault"; mend: what to do, empty when all is well."""

    verdict: str
    subject: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:5} {self.subject:13} {self.found}"
        return f"{line}: {self.mend}" if self.mend else line


def python() -> Finding:
    from packaging.specifiers import SpecifierSet

    found, wanted = platform.python_version(), metadata.metadata("labkit")["Requires-Python"]
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return Finding("fault", "Python", found, f"make a new environment with Python {wanted}")
    return Finding("ok", "Python", found)


def packages() -> Finding:
    """Every package that labkit requires is there, in a version that will do."""
    from packaging.requirements import Requirement

    subject, wrong = "packages", []
    try:
        required = [Requirement(line) for line in metadata.requires("labkit") or []]
    except metadata.PackageNotFoundError:
        mend = "run `make lab`, or `pip install --editable .` in the checkout"
        return Finding("fault", subject, "labkit itself is not installed", mend)
    required = [r for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    for requirement in required:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if wrong:
        mend = "remove .venv and run `make lab`, or install labkit once more with pip"
        return Finding("fault", subject, "; ".join(wrong), mend)
    return Finding("ok", subject, f"all {len(required)} are there")


def torch() -> Finding:
    """torch can be loaded and can compute."""
    try:
        import torch as installed

        right = (installed.eye(3) @ installed.ones(3, 2)).sum().item() == 6.0
    except Exception as error:  # a broken build raises OSError, ImportError, RuntimeError, …
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        mend = 'install it anew; README.md, "The size of torch", says how'
        return Finding("fault", "torch", f"{type(error).__name__}, {reason}", mend)
    if not right:
        return Finding("fault", "torch", "computes 3 × 2 ones wrongly", "install another build")
    faster = installed.accelerator.is_available()
    device = installed.accelerator.current_accelerator() if faster else "cpu"
    return Finding("ok", "torch", f"{installed.__version__}, computes on {device}")


def cores() -> Finding:
    """The cores that this process may use (a container may be given fewer than there are)."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    if count < 2:
        mend = "lessons that train take about twice the time that they state"
        return Finding("note", "cores", "1", mend)
    return Finding("ok", "cores", str(count))


def memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total / GIGABYTE
    if total < 3.5:
        mend = "close other programs, and shut down a lesson's kernel before you open the next"
        return Finding("note", "memory", f"{total:.1f} GB", mend)
    return Finding("ok", "memory", f"{total:.0f} GB")


def kernel() -> Finding:
    """The kernel "labkit (course)" is this environment's, and so is the Lab that started it."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    here = Path(sys.prefix).resolve()
    mend = "install labkit once more in this environment"
    try:
        folder = Path(KernelSpecManager().get_kernel_spec("labkit").resource_dir)
    except NoSuchKernel:
        found = "the kernel labkit is not registered here"
        return Finding("fault", "kernel", found, mend)
    if here not in folder.resolve().parents:
        found = f"another environment's kernel labkit hides ours, in {folder}"
        return Finding("fault", "kernel", found, "remove that folder")
    if (lab := _parent_python()) and lab.parent != Path(sys.executable).parent:
        found = f"runs beside a JupyterLab of another environment, {lab.parent.parent}"
        return Finding("fault", "kernel", found, "stop it, and start the Lab with `make lab`")
    return Finding("ok", "kernel", "labkit (course), of this environment")


def _parent_python() -> Path | None:
    """The Python that runs the Jupyter server above this kernel; None outside of a kernel."""
    import psutil

    try:
        command = psutil.Process(int(os.environ["JPY_PARENT_PID"])).cmdline()
    except (KeyError, ValueError, psutil.Error):
        return None
    program = Path(command[0]) if command else Path()
    return program if program.is_absolute() and "python" in program.name.lower() else None


def widgets() -> Finding:
    """Each widget package's half in Python and its half in the browser are of one installation."""
    from jupyter_core.paths import jupyter_path

    for package, extension in BROWSER_HALVES.items():
        mend = f"run `pip install --force-reinstall --no-deps {package}`, then reload the page"
        try:
            ours = _browser_half(package, extension)
        except metadata.PackageNotFoundError:
            return Finding("fault", "widgets", f"{package} is not installed", mend)
        folders = [Path(place, extension) for place in jupyter_path("labextensions")]
        served = next((f for f in folders if (f / "package.json").exists()), None)
        if served is None or ours is None:
            return Finding("fault", "widgets", f"{package} has no half for the browser", mend)
        if served.resolve() != ours.resolve():
            found = f"the Lab serves {extension} {_version(served)} from {served}, but the kernel's"
            found += f" {package} came with {_version(ours)}"
            return Finding("fault", "widgets", found, "remove that folder, then reload the page")
    versions = [f"{name} {metadata.version(name)}" for name in ("ipywidgets", "anywidget")]
    return Finding("ok", "widgets", f"kernel and Lab share {' and '.join(versions)}")


def _browser_half(package: str, extension: str) -> Path | None:
    """The folder of the Lab extension that this very installation of the package brought."""
    for file in metadata.files(package) or []:
        if file.as_posix().endswith(f"labextensions/{extension}/package.json"):
            return Path(file.locate()).parent
    return None


def _version(extension: Path) -> str:
    return json.loads((extension / "package.json").read_text("utf-8"))["version"]


def shipped_files(folder: Path = WEIGHTS) -> Finding:
    """Every shipped file has the checksum of the manifest, a list as `sha256sum` writes it."""
    manifest, wrong = folder / MANIFEST, []
    lines = manifest.read_text("utf-8").splitlines() if manifest.exists() else []
    for checksum, name in (line.split(maxsplit=1) for line in lines if line.strip()):
        file = folder / name.lstrip("*")
        if not file.exists():
            wrong.append(f"{file.name} is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
            wrong.append(f"{file.name} is not the file that was shipped")
    if wrong:
        mend = "restore labkit/weights from the repository, or install labkit once more"
        return Finding("fault", "shipped files", "; ".join(wrong), mend)
    return Finding("ok", "shipped files", f"{len(lines)} of {len(lines)} as shipped")


def writing(folder: Path | None = None) -> Finding:
    """A lesson can save here: its notebook, a checkpoint, a picture."""
    folder = folder or Path.cwd()
    mend = "copy the course to a folder of yours with `labkit lab --to FOLDER`"
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"0" * 1_000_000)
            file.flush()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding("fault", "writing", f"not possible here ({reason})", mend)
    return Finding("ok", "writing", "possible in this folder")


CHECKS: tuple[Callable[[], Finding], ...] = (
    *(python, packages, torch, cores, memory),
    *(kernel, widgets, shipped_files, writing),
)


def examine() -> list[Finding]:
    """All findings; a check that breaks down is itself a finding, never a traceback."""
    findings = []
    for check in CHECKS:
        try:
            findings.append(check())
        except Exception as error:
            subject = check.__name__.replace("_", " ")
            found = f"cannot be examined ({type(error).__name__}: {error})"
            findings.append(Finding("fault", subject, found, "install labkit once more"))
    return findings


def report(findings: list[Finding] | None = None) -> None:
    """Prints findings, one a line, and the verdict; without any given, examines first."""
    findings = examine() if findings is None else findings
    for finding in findings:
        print(finding)
    faults = sum(finding.verdict == "fault" for finding in findings)
    print()
    print("The set-up is sound." if not faults else f"{faults} to mend; see the lines above.")
