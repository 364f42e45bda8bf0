"""What lies in people's folders and zips beside their pictures, on files made here."""

import io
import os
import random
import struct
import sys
import unicodedata
import warnings
import zipfile

import pytest
from PIL import Image

from labkit.data import decode, folders


def png(gray=0, size=(8, 8)):
    data = io.BytesIO()
    Image.new("L", size, gray).save(data, "PNG")
    return data.getvalue()


def folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (path / name).mkdir(exist_ok=True)
        else:
            (path / name).write_bytes(data)
    return path


def packed(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(params=["folder", "zip", "zip of a folder"])
def laid(request, tmp_path):
    """A function that lays files into a folder or a zip and gives its path."""

    def lay(files):
        if request.param == "folder":
            return folder(tmp_path / "set", files)
        if request.param == "zip of a folder":
            files = {f"set/{name}": data for name, data in files.items()}
        return packed(tmp_path / "set.zip", files)

    return lay


def load(path, **options):
    """What is loaded, where nothing is to be left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return folders.load(path, **{"size": 8, "channels": 1} | options)


def load_most(path, *words):
    """What is loaded, where something is left out, which both the warning and the report say."""
    with pytest.warns(UserWarning, match="left out") as told:
        pictures = folders.load(path, 8, 1)
    (warning,) = told
    assert warning.filename == __file__
    for word in words:
        assert word in str(warning.message) and word in pictures.report, pictures.report
    return pictures


# Names


def test_numbers_in_names_come_by_their_value(laid):
    path = laid({f"{i}/img{j}.png": png(10 * i + j) for i in (10, 2, 1) for j in (11, 9, 1)})
    pictures = load(path)
    assert pictures.names == ("1", "2", "10")
    shades = [10 * i + j for i in (1, 2, 10) for j in (1, 9, 11)]
    assert pictures.bytes[:, 0, 0, 0].tolist() == shades
    names = ["a", "a1", "a02", "a2", "a10", "a" + "9" * 5000, "b"]
    assert sorted(random.Random(0).sample(names, 7), key=folders.natural) == names


def test_one_name_in_two_unicode_forms_is_one_class(laid):
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    pictures = load(laid({f"{name}/{i}.png": png() for i, name in enumerate(forms)}))
    assert forms[0] != forms[1] and pictures.names == (forms[0],)


def test_suffixes_may_be_written_large_and_mean_nothing(laid):
    jpeg = io.BytesIO()
    Image.new("L", (8, 8)).save(jpeg, "JPEG")
    files = ["1.PNG", "2.Jpg", "3.JPEG", "4.jfif", "5.TIF", "6.tiff", "7.webp", "8.bmp", "9.gif"]
    pictures = load(laid({f"a/{name}": png() for name in files} | {"a/10.png": jpeg.getvalue()}))
    assert len(pictures.labels) == 10


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_bytes_that_are_no_text_can_be_named(tmp_path):
    for name in (b"caf\xe9", b"caf\xe8"):
        os.makedirs(os.fsencode(tmp_path) + b"/set/" + name)
        with open(os.fsencode(tmp_path) + b"/set/" + name + b"/1.png", "wb") as file:
            file.write(png())
    pictures = load(tmp_path / "set")
    assert pictures.names == ("caf\\xe8", "caf\\xe9") and pictures.report.encode()


# What does not count


def test_what_systems_leave_behind_does_not_count(laid):
    litter = (".DS_Store", "Thumbs.db", "desktop.ini", "._1.png", ".hidden/1.png", "Icon\r",
              ".ipynb_checkpoints/1.png", "@eaDir/1.png", "__MACOSX/a/._1.png")  # fmt: skip
    files = {f"{place}{name}": b"?" for name in litter for place in ("", "a/")}
    pictures = load(laid({"a/1.png": png(), "b/1.png": png()} | files))
    assert pictures.names == ("a", "b") and "left out" not in pictures.report


def test_a_picture_beside_the_folders_makes_no_class(laid):
    files = {"cover.png": png(), "a/1.png": png(), "b/1.png": png()}
    assert load_most(laid(files), "beside the folders", "cover.png").names == ("a", "b")


def test_a_picture_beside_the_only_folder_makes_no_class_either(laid):
    assert load_most(laid({"cover.png": png(), "a/1.png": png()}), "cover.png").names == ("a",)


def test_pictures_without_folders_are_one_class(laid):
    assert load(laid({"1.png": png(), "2.png": png()})).names == ("set",)


def test_folders_may_lie_deeper(laid):
    files = {f"{part}/{name}/1.png": png() for part in ("train", "test") for name in "ab"}
    pictures = load(laid(files))
    assert pictures.names == ("a", "b") and pictures.labels.tolist() == [0, 1, 0, 1]


def test_what_is_left_out_is_told_and_counted(laid, monkeypatch):
    readable = {".png": "PNG"}
    monkeypatch.setattr(decode, "readable", lambda: readable)
    files = {f"a/{i}.HEIC": b"?" for i in range(12)} | {"b/1.avif": b"?", "empty/": b""}
    files |= {"a/1.png": png(), "a/notes.txt": b"hello", "c/LICENSE": b"mine", "c/2.png": png()}
    pictures = load_most(
        laid(files),
        "files that Pillow cannot read here, so save them as JPEG or PNG (13: ",
        "a/0.HEIC",
        "and 9 more",
        "files that are no pictures (2: ",
        "a/notes.txt",
        "folders without a picture (2: ",
        "/b, ",
        "/empty",
    )
    assert pictures.names == ("a", "c") and len(pictures.report) < 800
    assert "2 pictures of 2 classes, a (1), c (1)" in pictures.report


def test_what_a_plug_in_reads_is_read(monkeypatch):
    Image.init()
    assert ".heic" not in decode.readable() or ".heic" in Image.EXTENSION
    monkeypatch.setitem(Image.EXTENSION, ".heic", "PNG")
    assert decode.readable()[".heic"] == "PNG"


def test_no_picture_at_all_is_refused_and_says_what_lies_there(laid):
    with pytest.raises(ValueError, match=r"holds no pictures .*no pictures \(1: .*notes\.txt\)"):
        folders.load(laid({"a/notes.txt": b"hello"}))


# Links


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_but_not_in_circles(tmp_path):
    folder(tmp_path / "elsewhere", {"roses/1.png": png(7), "2.png": png(8)})
    path = folder(tmp_path / "set", {"a/1.png": png(9)})
    (path / "rose").symlink_to(tmp_path / "elsewhere/roses", target_is_directory=True)
    (path / "a/2.png").symlink_to(tmp_path / "elsewhere/2.png")
    (path / "a/top").symlink_to(path, target_is_directory=True)
    (path / "a/self").symlink_to(path / "a", target_is_directory=True)
    pictures = load(path)
    assert pictures.names == ("a", "rose") and pictures.bytes[:, 0, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_to_nothing_is_named(tmp_path):
    path = folder(tmp_path / "set", {"a/1.png": png()})
    (path / "a/2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"set/a/2\.png cannot be read as a picture \(.*No such"):
        folders.load(path)


# Zips


@pytest.mark.parametrize("name", [".\\a\\1.png", "./a/1.png", "/a/1.png", "../a/1.png", "a//1.png"])
def test_zips_may_write_their_names_in_every_way(name, tmp_path):
    pictures = load(packed(tmp_path / "set.zip", {name: png(5), "b/2.png": png()}))
    assert pictures.names == ("a", "b") and pictures.bytes[0, 0, 0, 0] == 5


def edited(path, place, change):
    """The zip, with a 16-bit field of each file's two heads changed."""
    data = bytearray(path.read_bytes())
    for head, later in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = data.find(head)
        while start >= 0:
            (old,) = struct.unpack_from("<H", data, start + place + later)
            struct.pack_into("<H", data, start + place + later, change(old))
            start = data.find(head, start + 1)
    path.write_bytes(data)
    return path


def test_names_in_utf8_that_are_not_marked_so_are_read_as_utf8(tmp_path):
    path = packed(tmp_path / "set.zip", {"caf\u00e9/1.png": png(), "x/2.png": png()})
    assert load(edited(path, 6, lambda flags: flags & ~0x800)).names == ("caf\u00e9", "x")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = packed(tmp_path / "set.zip", {"a/1.png": png()})
    with pytest.raises(ValueError, match=r"a/1\.png .*it is encrypted: unpack the zip"):
        folders.load(edited(path, 6, lambda flags: flags | 1))


def test_a_way_of_packing_that_python_does_not_know_is_named(tmp_path):
    path = packed(tmp_path / "set.zip", {"a/1.png": png()})
    with pytest.raises(ValueError, match=r"a/1\.png cannot be read .*compression"):
        folders.load(edited(path, 8, lambda method: 97))


@pytest.mark.parametrize("place", [2, 60])  # in the head before the file, and in the file
def test_a_damaged_file_in_a_zip_is_named(tmp_path, place):
    path = packed(tmp_path / "set.zip", {"a/1.png": png(), "b/2.png": png()})
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a/1\.png cannot be read as a picture \(.*Bad"):
        folders.load(path)


def test_a_zip_that_was_cut_short_or_is_damaged_at_its_end_gets_a_sentence(tmp_path):
    data = packed(tmp_path / "set.zip", {"a/1.png": png(), "b/2.png": png()}).read_bytes()
    directory = data.index(b"PK\x01\x02")
    for broken in (
        data[:-30],
        data[: len(data) // 2],
        data[:directory] + b"??" + data[directory + 2 :],
    ):
        (tmp_path / "set.zip").write_bytes(broken)
        with pytest.raises(ValueError, match=r"set\.zip is .*zip file"):
            folders.load(tmp_path / "set.zip")


def test_a_small_zip_with_a_huge_file_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = packed(
        tmp_path / "set.zip", {"a/1.png": bytes(2_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(ValueError, match=r"a/1\.png .*a format that Pillow does not read"):
        folders.load(path)
    monkeypatch.setattr(folders, "MEMBER", 1_000_000)
    with pytest.raises(ValueError, match=r"a/1\.png .*unpacks to 2 MB, but .* may have 1"):
        folders.load(path)


def test_a_file_that_stands_twice_in_a_zip_counts_once_as_it_was_last(tmp_path):
    path = packed(tmp_path / "set.zip", {"a/1.png": png(1)})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/1.png", png(2))
    assert load(path).bytes[:, 0, 0, 0].tolist() == [2]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_would_control_the_terminal_is_shown_in_letters(tmp_path):
    for name in ("a\x1b[2J", "b\nc"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    found = folders.load(tmp_path, 8)
    assert found.names == (r"a\x1b[2J", r"b\x0ac") and found.report.isprintable()
