"""Pictures of one's own, on files made here."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.data import folders

COLORS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def png(color, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["folder", "zip"])
def colors(request, tmp_path):
    files = {f"colors/{name}/{i}.png": png(color) for name, color in COLORS.items() for i in (1, 2)}
    files |= {
        "colors/.notes.txt": b"hello",
        "__MACOSX/red/1.png": b"?",
        "colors/.hidden/1.png": b"?",
    }
    if request.param == "zip":
        path = tmp_path / "colors.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path / "colors"


def test_classes_are_folders_in_the_order_of_the_alphabet(colors):
    pictures = folders.load(colors, size=8)
    assert pictures.names == ("blue", "red")
    assert pictures.labels.tolist() == [0, 0, 1, 1]
    assert pictures.bytes.shape == (4, 3, 8, 8)
    red = pictures.floats(slice(2, 3))[0]
    assert red[:, 0, 0].tolist() == [1, -1, -1]


def test_a_picture_of_the_right_size_keeps_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (tmp_path / "set/a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "set/a/x.png")
    loaded = folders.load(tmp_path / "set", size=8)
    assert torch.equal(loaded.bytes[0], torch.from_numpy(pixels).permute(2, 0, 1))


def test_other_sizes_are_cut_to_the_middle_and_resized(tmp_path):
    (tmp_path / "set/a").mkdir(parents=True)
    wide = Image.new("RGB", (40, 20), (0, 0, 0))
    wide.paste((255, 255, 255), (5, 0, 35, 20))  # the central square is white
    wide.save(tmp_path / "set/a/x.png")
    loaded = folders.load(tmp_path / "set", size=10, channels=1)
    assert loaded.bytes.shape == (1, 1, 10, 10)
    assert (loaded.bytes == 255).all()


def test_batches_are_drawn_by_their_generator_and_flipped_on_demand(colors):
    pictures = folders.load(colors, size=8)
    ramp = torch.arange(8, dtype=torch.uint8).expand(4, 3, 8, 8)
    pictures = pictures._replace(bytes=ramp.contiguous())
    draw = pictures.batches(64, flip=True)
    images, labels = draw(torch.Generator().manual_seed(0))
    again, _ = draw(torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    assert images.shape == (64, 3, 8, 8)
    assert labels.shape == (64,)
    falling = images[:, 0, 0, 0] > images[:, 0, 0, 7]
    assert 16 < falling.sum() < 48
    plain, _ = pictures.batches(64)(torch.Generator().manual_seed(0))
    assert not (plain[:, 0, 0, 0] > plain[:, 0, 0, 7]).any()


def test_a_broken_picture_is_named(colors):
    broken = b"not a picture"
    if colors.suffix == ".zip":
        with zipfile.ZipFile(colors, "a") as archive:
            archive.writestr("colors/red/9.png", broken)
    else:
        (colors / "red/9.png").write_bytes(broken)
    with pytest.raises(ValueError, match=r"red/9\.png cannot be read as a picture"):
        folders.load(colors)


def test_what_is_no_set_of_pictures_gets_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ValueError, match="holds no pictures"):
        folders.load(tmp_path / "empty")
    for path in (tmp_path / "missing", tmp_path / "text.zip"):
        with pytest.raises(ValueError, match="no folder and no zip"):
            folders.load(path)
    with pytest.raises(ValueError, match="channels is 4"):
        folders.load(tmp_path / "empty", channels=4)
    with pytest.raises(ValueError, match="path is None"):
        folders.load(None)
