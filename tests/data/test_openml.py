"""The sets behind a network, from a small server on this machine that answers as OpenML does."""

import gzip
import hashlib
import http.server
import json
import threading

import numpy as np
import pytest
import torch

from labkit.data import openml

ROWS = 1003
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS, 3 * 4 * 4))
LABELS = np.arange(ROWS) % 10


def arff(pixels=PIXELS, form="{}") -> bytes:
    """A file like CIFAR-10's, which has its label in the last column."""
    names = [f"@ATTRIBUTE a{i} INTEGER" for i in range(pixels.shape[1])]
    head = ["% small", "@RELATION CIFAR_10", *names, "@attribute 'class' {0,1,2,3,4,5,6,7,8,9}"]
    rows = [",".join([form.format(v) for v in row] + [str(label)])
            for row, label in zip(pixels, LABELS, strict=False)]  # fmt: skip
    return "\n".join([*head, "", "@DATA", *rows, "% end", ""]).encode()


class OpenML(http.server.BaseHTTPRequestHandler):
    files, asked, packs, status = {}, [], True, 200

    def do_GET(self):
        OpenML.asked.append(self.path)
        if self.status != 200 or self.path not in self.files:
            return self.send_error(self.status if self.status != 200 else 404)
        data = self.files[self.path]
        self.send_response(200)
        if self.packs and "gzip" in self.headers["Accept-Encoding"]:
            data = gzip.compress(data, 1)
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Answers for "cifar10" with the bytes that it is given."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OpenML)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{running.server_port}"

    def serve(data, packs=True, status=200, told=None):
        about = {"url": f"{address}/data/v1/download/7/CIFAR_10.arff"}
        about["md5_checksum"] = hashlib.md5(told or data).hexdigest()
        OpenML.files = {
            "/api/v1/json/data/40927": json.dumps({"data_set_description": about}).encode(),
            "/data/v1/download/7/CIFAR_10.arff": data,
        }
        OpenML.asked, OpenML.packs, OpenML.status = [], packs, status

    monkeypatch.setattr(openml, "ABOUT", address + "/api/v1/json/data/{}")
    small = openml.SETS["cifar10"]._replace(rows=ROWS, shape=(3, 4, 4))
    monkeypatch.setitem(openml.SETS, "cifar10", small)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    yield serve
    running.shutdown()
    running.server_close()


def kept(tmp_path) -> list[str]:
    return sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("form", ["{}", "{}.0"])
def test_a_set_has_its_pixels_labels_and_names(server, packs, form, tmp_path):
    server(arff(form=form), packs)
    pictures = openml.load("cifar10")
    assert pictures.bytes.shape == (ROWS, 3, 4, 4) and pictures.bytes.dtype == torch.uint8
    assert (pictures.bytes.numpy().reshape(ROWS, -1) == PIXELS).all()
    assert (pictures.labels.numpy() == LABELS).all() and pictures.names[3] == "cat"


def test_a_set_is_fetched_once_and_lies_where_scikit_learn_looks_for_it(server, tmp_path):
    server(arff())
    for _ in range(2):
        openml.load("cifar10")
    assert len(OpenML.asked) == 2
    assert kept(tmp_path) == [
        "openml/openml.org/api/v1/json/data/40927.gz",
        "openml/openml.org/data/v1/download/7/CIFAR_10.arff.gz",
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        arff()[:-2000],
        arff() + b"0,1\n",
        arff(PIXELS + 300),
        arff(PIXELS[:, :16]),
        b"<html>busy</html>",
        b"",
    ],
)
def test_what_is_not_the_set_is_removed_and_fetched_anew(server, spoilt, tmp_path):
    for told in (arff(), spoilt):  # with another checksum, and with its own
        server(spoilt, told=told)
        with pytest.raises(ValueError, match="^cifar10 of OpenML was cut short .*call again.*own"):
            openml.load("cifar10")
        assert kept(tmp_path) == []
    server(arff())
    assert len(openml.load("cifar10").labels) == ROWS


def test_one_wrong_pixel_is_noticed(server, tmp_path):
    right = arff()
    server(right.replace(b",7,", b",8,", 1), told=right)
    with pytest.raises(ValueError, match="checksum"):
        openml.load("cifar10")


def test_a_file_in_the_cache_that_was_cut_is_fetched_anew(server, tmp_path):
    server(arff())
    openml.load("cifar10")
    (file,) = tmp_path.rglob("*.arff.gz")
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(ValueError, match="removed: call again"):
        openml.load("cifar10")
    assert len(openml.load("cifar10").labels) == ROWS


def test_a_page_of_a_network_that_asks_for_a_login_is_not_kept(server, tmp_path):
    server(arff())
    OpenML.files["/api/v1/json/data/40927"] = b"<html>Welcome to our hotel</html>"
    with pytest.raises(ValueError, match="removed: call again"):
        openml.load("cifar10")
    assert kept(tmp_path) == []


def test_a_server_that_refuses_or_is_not_there_gets_a_sentence(server, tmp_path, monkeypatch):
    server(arff(), status=503)
    with pytest.raises(ConnectionError, match="busy or down.*call again.*180 MB.*--pictures"):
        openml.load("cifar10")
    monkeypatch.setattr(openml, "ABOUT", "http://127.0.0.1:9/{}")
    with pytest.raises(ConnectionError, match="connect to a network .*or use your own pictures"):
        openml.load("mnist")
    assert kept(tmp_path) == []
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        openml.load("cifar")


def test_a_full_disk_is_named_as_one(server, tmp_path, monkeypatch):
    def full(*files):
        raise OSError(28, "No space left on device")

    server(arff())
    monkeypatch.setattr(openml.shutil, "copyfileobj", full)
    with pytest.raises(
        OSError, match="cannot be kept in .*No space left.*SCIKIT_LEARN_DATA"
    ) as told:
        openml.load("cifar10")
    assert not isinstance(told.value, ConnectionError) and kept(tmp_path) == []


def test_an_address_that_leads_out_of_the_cache_is_not_followed():
    with pytest.raises(ValueError, match="out of the cache"):
        openml.kept("https://www.openml.org/data/../../../../elsewhere")
