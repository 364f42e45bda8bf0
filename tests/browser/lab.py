"""JupyterLab and Chromium for a trial: a server of its own, and one page for each lesson."""

import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from labkit.lab import course

PROBE = Path(__file__).with_name("probe.js")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# A container has neither the sandbox nor the GPU, and nothing here may ask the network.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE = 180_000  # ms until a page that does not come up is given up; a busy machine is slow
NO_CHROMIUM = "there is no Chromium for the browser tests; get it with `apt install chromium`"


def find_chromium() -> str | None:
    """The path of the system's Chromium, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


class Problem(AssertionError):
    """What a learner would trip over, in one sentence."""


class Server:
    """JupyterLab on the loopback address, with settings and folders that are thrown away.

    root: the folder with the notebooks; they may be changed by JupyterLab, so give it copies.
    """

    def __init__(self, root: Path, dark: bool = False):
        self.root, self.token = Path(root), secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-browser-")
        self._log = Path(self._folder.name, "lab.log")
        self._settings(dark)
        self._process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _settings(self, dark: bool) -> None:
        folder = Path(self._folder.name, "settings", "@jupyterlab", "apputils-extension")
        folder.mkdir(parents=True)
        theme = {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"}
        (folder / "themes.jupyterlab-settings").write_text(json.dumps(theme))

    def __enter__(self) -> "Server":
        own = Path(self._folder.name)
        environment = course.environment() | {
            "JUPYTER_CONFIG_DIR": str(own),
            "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
            "IPYTHONDIR": str(own / "ipython"),
        }
        environment.pop("OMP_NUM_THREADS", None)  # a learner's kernel has all the cores
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            "--expose-app-in-browser",  # the probe asks JupyterLab itself, not only its page
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}"),
            *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.root}"),
            f"--IdentityProvider.token={self.token}",
        ]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=own, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=2)
                return
            time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not start:\n{self._log.read_text()[-3000:]}")

    def __exit__(self, *exception) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._folder.cleanup()


class Lesson:
    """One notebook in one page of the browser."""

    def __init__(self, server: Server, browser, name: str):
        self.server, self.name, self.complaints = server, name, []
        self._context = browser.new_context(viewport={"width": 1250, "height": 950})
        self.page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._listen)

    def _listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def __enter__(self) -> "Lesson":
        return self

    def __exit__(self, *exception) -> None:
        with contextlib.suppress(Exception):  # the page may be gone, the server ends the kernel
            self.page.evaluate(
                "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
            )
        self._context.close()

    def open(self) -> None:
        """Opens the notebook in JupyterLab and waits for its kernel, which must be the course's."""
        self.page.set_default_timeout(PATIENCE)
        self.page.goto(
            f"{self.server.url}/lab/tree/{self.name}.ipynb?reset&token={self.server.token}"
        )
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        )
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")
        self.page.evaluate(PROBE.read_text("utf-8"))

    @property
    def kernel(self) -> str:
        session = "window.jupyterapp.shell.currentWidget.sessionContext.session"
        return self.page.evaluate(f"() => {session}.kernel.name")

    def run_all(self, seconds: float = 480) -> float:
        """Runs all cells; returns the seconds. Raises Problem for any error output or stderr."""
        start = time.monotonic()
        finished = self.page.evaluate(
            """limit => Promise.race([
                window.jupyterapp.commands.execute("notebook:run-all-cells").then(() => true),
                new Promise(done => setTimeout(() => done(false), limit))])""",
            seconds * 1000,
        )
        if not finished:
            raise Problem(f"{self.name} did not finish within {seconds:.0f} s")
        for cell in self.cells():
            for output in cell["outputs"]:
                if output["output_type"] == "error":
                    raise Problem(
                        f"{self.place(cell)} raised {output['ename']}: {output['evalue']}"
                    )
                if output.get("name") == "stderr":
                    raise Problem(f"{self.place(cell)} wrote to stderr: {output['text']}")
            if cell["type"] == "code" and cell["source"].strip() and not cell["count"]:
                raise Problem(f"{self.place(cell)} did not run")
        return time.monotonic() - start

    def cells(self) -> list[dict]:
        return self.page.evaluate("() => probe.cells()")

    def place(self, cell: dict) -> str:
        first = (cell["source"].strip().splitlines() or [""])[0]
        return f"{self.name}, cell {cell['index']} ({first!r}),"

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)
