"""One file from the hub: whole or not at all, and one sentence for whatever stands in the way. The
hub is a small server on this machine."""

import errno
import hashlib
import http.server
import ssl
import threading
import time

import pytest
import torch
from huggingface_hub import constants

from labkit import hub
from labkit.fetch import File, failure, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refused(call, *words, error=ValueError):
    with pytest.raises(error, match="^[^\n]+$") as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the model hub does for one file; may stop in the middle of it.

    asked: where in the file each request began; breaks: where each of the next answers ends.
    """

    data, asked, breaks = b"", [], []

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool):
        if COMMIT not in self.path or not self.path.endswith("/model.safetensors"):
            return self.send_error(404)
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.data) - start))
        if start:
            total = len(self.data)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("ETag", '"' + hashlib.sha256(self.data).hexdigest() + '"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            Hub.asked.append(start)
            self.wfile.write(self.data[start : Hub.breaks.pop(0) if Hub.breaks else None])

    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    Hub.data, Hub.asked, Hub.breaks = torch.arange(300_000).numpy().tobytes(), [], []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    point_to(monkeypatch, f"http://127.0.0.1:{running.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its attempts
    yield tmp_path / "cache"
    running.shutdown()
    running.server_close()


def point_to(monkeypatch, address: str):
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def wanted(**changes) -> File:
    file = File(
        "someone/model", COMMIT, "model.safetensors", len(Hub.data),
        hashlib.sha256(Hub.data).hexdigest(),
    )  # fmt: skip
    return file._replace(**changes)


def test_a_file_is_fetched_once_and_then_found(server):
    path = fetch(wanted())
    assert path.read_bytes() == Hub.data and Hub.asked == [0]
    assert fetch(wanted()) == path and Hub.asked == [0]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server):
    Hub.data, Hub.breaks = bytes(range(256)) * 50_000, [11_000_000]
    assert fetch(wanted()).read_bytes() == Hub.data
    first, *later = Hub.asked
    assert first == 0 and later and all(start >= 10_000_000 for start in later)


def test_a_download_that_breaks_for_good_says_so_and_leaves_nothing_half_done(server):
    Hub.breaks = [1_000_000] * 100
    refused(lambda: fetch(wanted()), "someone/model", "2 MB", "call again", error=ConnectionError)
    assert not list(server.rglob("snapshots/*/*"))
    Hub.breaks = []
    assert fetch(wanted()).read_bytes() == Hub.data


@pytest.mark.parametrize(
    "change, words", [({"bytes": 7}, "instead of 7"), ({"sha256": "00"}, "checksum")]
)
def test_what_came_is_compared_with_what_should_have_come_and_removed_if_it_differs(
    server, change, words
):
    for _ in range(2):  # the second time too: nothing wrong stays
        refused(lambda: fetch(wanted(**change)), words, "removed")
    assert Hub.asked == [0, 0]
    assert fetch(wanted()).read_bytes() == Hub.data


def test_a_file_that_somebody_cut_afterwards_is_fetched_anew(server):
    path = fetch(wanted())
    with open(path, "r+b") as file:
        file.truncate(99)
    refused(lambda: fetch(wanted()), "99 bytes", "removed")
    assert fetch(wanted()).read_bytes() == Hub.data


def test_a_cached_file_of_the_right_size_and_wrong_content_is_fetched_anew(server):
    path = fetch(wanted())
    with open(path, "r+b") as file:
        file.seek(99)
        file.write(b"?")
    refused(lambda: fetch(wanted()), "checksum", "removed")
    assert fetch(wanted()).read_bytes() == Hub.data


def test_what_cannot_be_removed_is_named(server, monkeypatch):
    path = fetch(wanted())
    path.write_bytes(b"?")

    def refuse(self, missing_ok=False):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    refused(lambda: fetch(wanted()), "cannot be removed", "Permission denied", "remove it and call")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        PermissionError(errno.EACCES, "Permission denied", "/cache/x"),
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("File reconstruction error: No space left on device (os error 28)"),
        RuntimeError("There is not enough space on the disk. (os error 112)"),
    ],
)
def test_what_the_disk_refuses_is_not_blamed_on_the_network(server, monkeypatch, error):
    def refuse(**where):
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(
        OSError, match="cannot be kept in .*cache.* 2 MB are needed.*HF_HOME"
    ) as told:
        fetch(wanted())
    assert not isinstance(told.value, ConnectionError) and "network" not in str(told.value)


@pytest.mark.parametrize(
    "status, words",
    [
        (401, "check your token"),
        (403, "check your token"),
        (404, "does not have it"),
        (407, "password in HTTPS_PROXY"),
        (429, "wait a while"),
        (503, "wait a while"),
    ],
)
def test_a_hub_that_refuses_gets_a_sentence_that_fits(server, monkeypatch, status, words):
    monkeypatch.setattr(Hub, "do_HEAD", lambda self: self.send_error(status))
    refused(lambda: fetch(wanted()), words, str(status), "call again", error=ConnectionError)


def test_proxies_certificates_and_the_offline_switch_are_named(server, monkeypatch):
    def refuse(error):
        def look(*place, **options):
            raise error

        monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", look)

    monkeypatch.setattr("urllib.request.getproxies", dict)
    refuse(OSError(errno.ENETUNREACH, "Network is unreachable"))
    refused(lambda: fetch(wanted()), "connect to a network and call", error=ConnectionError)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://me:secret@proxy"})
    with pytest.raises(ConnectionError, match="check the proxy that HTTPS_PROXY names") as told:
        fetch(wanted())
    assert "secret" not in str(told.value)
    refuse(ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))
    refused(lambda: fetch(wanted()), "SSL_CERT_FILE", error=ConnectionError)
    monkeypatch.undo()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(lambda: fetch(wanted()), "unset HF_HUB_OFFLINE", error=ConnectionError)


def test_without_a_network_one_sentence_comes_quickly(server, monkeypatch):
    point_to(monkeypatch, "http://127.0.0.1:9")
    began = time.perf_counter()
    refused(lambda: hub.load("clip-vit-base-patch32"), "605 MB", "network", error=ConnectionError)
    assert time.perf_counter() - began < 3


def test_a_hub_without_the_file_gets_a_sentence(server):
    refused(lambda: fetch(wanted(name="other.bin")), "other.bin", error=ConnectionError)


@pytest.mark.parametrize("error", [MemoryError(), KeyError("x"), TypeError("x")])
def test_a_mistake_of_the_program_is_not_blamed_on_the_network(error, tmp_path):
    with pytest.raises(type(error)):
        failure(error, "a file", 1, tmp_path, "HF_HOME")
