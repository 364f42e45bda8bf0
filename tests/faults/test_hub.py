"""Released weights that are cut, foreign, of another size, or out of reach: one sentence each, and
nothing half-loaded. The hub is a small server on this machine."""

import hashlib
import http.server
import threading
import time
from dataclasses import replace

import pytest
import safetensors.torch
import tokenizers
import torch
from huggingface_hub import constants

from labkit import hub
from labkit.fetch import File, fetch
from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, CLIPConfig

CONFIG = CLIPConfig(
    ViTConfig(size=8, patch=4, width=8, depth=2, heads=2),
    TextConfig(vocabulary=514, context=6, width=8, depth=2, heads=2, end=513),
    dim=4,
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refused(call, *words, error=ValueError):
    with pytest.raises(error, match="^[^\n]+$") as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value


def as_released() -> dict[str, torch.Tensor]:
    """The tensors of a small CLIP under the names of released files."""
    torch.manual_seed(0)
    state, found = CLIP(CONFIG).state_dict(), {}
    for ours, theirs in hub.clip_names(CONFIG).items():
        parts = state[ours].chunk(len(theirs)) if len(theirs) > 1 else [state[ours]]
        found |= {name: part.clone() for name, part in zip(theirs, parts, strict=True)}
    return found


@pytest.fixture
def files(tmp_path):
    """model.safetensors and tokenizer.json of that CLIP."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    pieces = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            {word: row for row, word in enumerate(words)}, [], end_of_word_suffix="</w>"
        )
    )
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.save(str(tmp_path / "tokenizer.json"))
    safetensors.torch.save_file(as_released(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors", tmp_path / "tokenizer.json"


def changed(files, change) -> tuple:
    tensors = safetensors.torch.load_file(files[0])
    change(tensors)
    safetensors.torch.save_file(tensors, files[0])
    return files


def test_what_is_whole_loads_with_its_tokenizer_in_half_precision_too(files):
    model = hub.load_clip(*files, CONFIG)
    expected = model.encode_text("ab c")
    assert model.encode_image(torch.zeros(1, 3, 8, 8)).shape == (1, 4)
    positions = torch.arange(6)[None]  # older files count their positions

    def halve(tensors):
        for name in tensors:
            tensors[name] = tensors[name].half()
        tensors["text_model.embeddings.position_ids"] = positions

    half = hub.load_clip(*changed(files, halve), CONFIG)
    assert half.log_scale.dtype == torch.float32
    assert torch.allclose(half.encode_text("ab c"), expected, atol=1e-2)


def test_every_missing_and_every_unknown_name_is_listed(files):
    gone = [
        "text_projection.weight",
        "vision_model.encoder.layers.1.self_attn.k_proj.bias",
        "logit_scale",
    ]

    def change(tensors):
        for name in gone:
            del tensors[name]
        tensors["vision_model.head.weight"] = torch.zeros(1)
        tensors["lora.up"] = torch.zeros(1)

    changed(files, change)
    refused(
        lambda: hub.load_clip(*files, CONFIG),
        *gone,
        "vision_model.head.weight",
        "lora.up",
        "missing",
        "not known here",
        "model.safetensors",
    )


def test_another_architecture_is_refused_by_all_that_differs(files):
    deeper = replace(CONFIG, image=replace(CONFIG.image, depth=3))
    refused(
        lambda: hub.load_clip(*files, deeper),
        *(f"vision_model.encoder.layers.2.{part}.weight" for part in ("mlp.fc1", "layer_norm2")),
    )
    wider = replace(CONFIG, text=replace(CONFIG.text, width=16))
    refused(
        lambda: hub.load_clip(*files, wider),
        "text_model.encoder.layers.1.self_attn.q_proj.weight (8, 8) instead of (16, 16)",
        "text_projection.weight (4, 8) instead of (4, 16)",
    )
    resnet = replace(CONFIG, image=ResNetConfig(size=8, width=4, blocks=(1,), heads=2, stem=1))
    refused(lambda: hub.load_clip(*files, resnet), "ResNet", "ViTConfig")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_cut_files_are_refused(files, share):
    weights, words = (path.read_bytes() for path in files)
    files[0].write_bytes(weights[: int(len(weights) * share)])
    refused(lambda: hub.load_clip(*files, CONFIG), "model.safetensors", "cut short")
    files[0].write_bytes(weights)
    files[1].write_bytes(words[: int(len(words) * share)])
    refused(lambda: hub.load_clip(*files, CONFIG), "tokenizer.json", "cut short")


def test_foreign_files_are_named_for_what_they_are(files, tmp_path):
    pickle, text = tmp_path / "pytorch_model.bin", tmp_path / "tokens.json"
    torch.save({"x": torch.ones(2)}, pickle)
    refused(lambda: hub.load_clip(pickle, files[1], CONFIG), "pickle")
    text.write_text('{"version": "1.0"}')
    refused(lambda: hub.load_clip(files[0], text, CONFIG), "tokens.json", "tokenizer.json")
    nowhere = tmp_path / "none"
    refused(lambda: hub.load_clip(nowhere, files[1], CONFIG), "no weights", error=FileNotFoundError)
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    plain.save(str(text))
    refused(lambda: hub.load_clip(files[0], text, CONFIG), "<|endoftext|>")


def test_an_unknown_name_gets_the_nearest():
    refused(lambda: hub.load("clip-vit-base-patch23"), "'clip-vit-base-patch32'")


def test_what_is_no_picture_is_refused(tmp_path):
    page = tmp_path / "photo.jpg"
    page.write_text("<html>")
    for photo in (page, tmp_path / "none.png", 3, None):
        refused(lambda photo=photo: hub.look(photo), "cannot be read as a picture")


# Fetching


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


def test_without_a_network_one_sentence_comes_quickly(server, monkeypatch):
    point_to(monkeypatch, "http://127.0.0.1:9")
    began = time.perf_counter()
    refused(lambda: hub.load("clip-vit-base-patch32"), "605 MB", "network", error=ConnectionError)
    assert time.perf_counter() - began < 3


def test_a_hub_without_the_file_gets_a_sentence(server):
    refused(lambda: fetch(wanted(name="other.bin")), "other.bin", error=ConnectionError)
