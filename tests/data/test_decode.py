"""Pictures of every kind, made here: what each must look like, and what is refused in a sentence.

Each kind has been somebody's fault somewhere: gray of 16 bits that turned white, hidden colors
under transparency, damaged EXIF, files that are small on disk and huge in memory.
"""

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from labkit.data import decode as decoding
from labkit.data.decode import TURNS, decode, named

AVIF = pytest.param(
    "AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="not in this Pillow")
)
WHITE, GRAYS = (255, 255, 255), np.arange(256)
RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)  # (4, 256)


def file(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    data.seek(0)
    return data


def corner(source, mode="RGB"):
    return decode(source, 4, mode).getpixel((0, 0))


def png(width, height, depth, color, rows, extra=b""):
    """A PNG put together by hand, for what Pillow does not write."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + body)


# Many bits


@pytest.mark.parametrize(
    "kind, options",
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG2000", {"irreversible": False}),
        ("PPM", {}),
    ],
)
def test_gray_of_16_bits_keeps_all_its_shades(kind, options):
    for mode in ("L", "RGB"):
        shades = np.asarray(decode(file(Image.fromarray(RAMP), kind, **options), 4, mode))
        assert (shades.reshape(4, 256, -1) == GRAYS[None, :, None]).all()


def test_gray_of_every_other_depth_keeps_them_too():
    big_endian = Image.frombytes("I;16B", (256, 4), RAMP.astype(">u2").tobytes())
    floats = (RAMP / 65535).astype(np.float32)
    of_51000 = b"P5\n256 1\n51000\n" + (RAMP[0] // 257 * 200).astype(">u2").tobytes()
    opaque = np.stack([RAMP[0], np.full(256, 65535)], 1).astype(">u2").tobytes()
    sources = [
        file(big_endian, "TIFF"),
        Image.fromarray(RAMP.astype(np.int32)),
        file(Image.fromarray(floats), "TIFF"),
        Image.fromarray(floats * 255),
        io.BytesIO(of_51000),
        png(256, 1, 16, 4, b"\0" + opaque),
    ]
    for source in sources:
        assert (np.asarray(decode(source, 4, "L"))[0] == GRAYS).all()


def test_color_of_16_bits_keeps_its_shades():
    rows = b"\0" + RAMP[0].astype(">u2").repeat(3).tobytes()
    assert (np.asarray(decode(png(256, 1, 16, 2, rows), 1))[0] == GRAYS[:, None]).all()


@pytest.mark.parametrize("value", [-5.0, 70_000.0, float("nan"), float("inf")])
def test_gray_outside_every_range_is_refused(value):
    for dtype in (np.float32, np.int32):
        if dtype is np.float32 or np.isfinite(value):
            odd = Image.fromarray(np.full((4, 4), value, dtype))
            with pytest.raises(ValueError, match="gray runs from .* save it with 8 bits"):
                decode(odd, 4)


# Transparency and colors


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_is_white_whatever_lies_under_it(mode):
    hidden = Image.new("RGBA", (4, 4), (0, 255, 0, 0)).convert(mode)
    assert corner(hidden) == WHITE and corner(hidden, "L") == 255


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", AVIF])
def test_transparent_parts_are_white_and_the_others_stay_in_every_format(kind):
    image = Image.new("RGBA", (16, 16), (0, 255, 0, 0))
    image.paste((9, 9, 9, 255), (0, 0, 8, 16))
    seen = decode(file(image, kind, **({"lossless": True} if kind == "WEBP" else {})), 16)
    assert seen.getpixel((0, 0)) == (9, 9, 9) and seen.getpixel((15, 15)) == WHITE


def test_a_color_that_stands_for_transparent_is_white():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 255, 0, 10, 20, 30])
    for image, key in [
        (palette, 1),
        (palette, b"\xff\x00"),
        (Image.new("RGB", (4, 4), (1, 2, 3)), (1, 2, 3)),
        (Image.new("L", (4, 4), 7), 7),
    ]:
        assert corner(file(image, "PNG", transparency=key)) == WHITE
    assert corner(file(palette, "PNG")) == (10, 20, 30)


def test_half_transparent_black_is_gray():
    assert corner(Image.new("RGBA", (4, 4), (0, 0, 0, 128))) == (127, 127, 127)


def test_colors_for_printers_become_those_of_screens():
    red = Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        assert np.allclose(corner(file(red, kind)), (255, 0, 0), atol=2)
        assert abs(corner(file(red, kind), "L") - 76) <= 1


def test_color_profiles_whole_or_damaged_change_nothing():
    image = Image.new("RGB", (8, 8), (200, 30, 60))
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (whole, b"junk"):
        assert corner(file(image, "PNG", icc_profile=profile)) == (200, 30, 60)


def test_black_and_white_becomes_black_and_white():
    image = Image.fromarray(np.eye(8, dtype=bool))
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        assert (np.asarray(decode(file(image, kind), 8, "L")) == np.eye(8) * 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO"])
def test_of_many_pictures_in_a_file_the_first_one_counts(kind):
    pages = [Image.new("RGB", (16, 16), color) for color in ((200, 0, 0), (0, 200, 0))]
    many = file(pages[0], kind, save_all=True, append_images=pages[1:])
    assert np.allclose(corner(many), (200, 0, 0), atol=6)


# Upright


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", AVIF, "MPO"])
@pytest.mark.parametrize("value", range(1, 9))
def test_a_picture_is_turned_upright_in_every_format(kind, value):
    scene = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    scene = scene.resize((48, 32), Image.Resampling.NEAREST).convert("RGB")
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(
        value, TURNS.get(value)
    )
    exif = Image.Exif()
    exif[0x0112] = value
    stored = scene if back is None else scene.transpose(back)
    many = {"save_all": True} if kind == "MPO" else {}
    seen = decode(file(stored, kind, exif=exif.tobytes(), **many), 128)
    assert seen.size == scene.size
    assert np.abs(np.asarray(seen, int) - np.asarray(scene, int)).max() < 13


ODD_EXIF = {
    "cut": b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12",
    "endless": b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    "no tiff": b"Exif\0\0XX",
    "nothing": b"Exif\0\0",
    "twice": b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0",
    # an orientation of 6 beside a fraction of -1 / 0, which cannot be written back
    "fraction": b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    b"\x1a\x01\x05\0\x01\0\0\0\x26\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
}


@pytest.mark.parametrize("exif", ODD_EXIF.values(), ids=ODD_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_does_not_keep_a_picture_from_being_read(kind, exif):
    wide = Image.new("RGB", (32, 16), (120, 120, 120))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = decode(file(wide, kind, exif=exif), 64)
    turned = exif is ODD_EXIF["fraction"]
    assert seen.size == ((16, 32) if turned else (32, 16))


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_upright(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert decode(file(Image.new("L", (32, 16)), "JPEG", exif=exif), 64).size == (32, 16)


# Sizes


def test_a_jpeg_is_decoded_at_a_fraction_that_leaves_four_times_what_is_needed():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 3), np.uint8)
    photo = Image.fromarray(pixels).resize((1024, 512), Image.Resampling.BICUBIC)
    for kind, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("MPO", {})):
        small = decode(file(photo, kind, quality=95, **options), 16)
        assert small.size == (128, 64)
        right = np.asarray(photo.resize((128, 64), Image.Resampling.BOX), int)
        assert np.abs(np.asarray(small, int) - right).mean() < 3
        assert decode(file(photo, kind, **options), 16, exact=True).size == (1024, 512)


@pytest.fixture
def low_limits(monkeypatch):
    """A million pixels here and 2 × 0.2 million of Pillow's own, so that small files are huge."""
    monkeypatch.setattr(decoding, "LIMIT", 1_000_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200_000)


def test_a_jpeg_of_any_size_is_read_at_a_fraction(low_limits):
    huge = file(Image.new("RGB", (3000, 2000), (10, 200, 30)), "JPEG")
    for exact in (False, True):
        huge.seek(0)
        seen = decode(huge, 224, exact=exact)
        assert seen.size == (375, 250) and np.allclose(seen.getpixel((9, 9)), (10, 200, 30), atol=3)


def test_pillows_own_limit_neither_warns_nor_refuses_what_is_below_ours(low_limits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(file(Image.new("L", (600, 500)), "PNG"), 4).size == (600, 500)


@pytest.mark.parametrize(
    "make",
    [
        lambda: file(Image.new("RGB", (1200, 1000)), "PNG"),
        lambda: file(Image.new("RGB", (1200, 1000)), "JPEG", progressive=True),
        lambda: png(60_000, 60_000, 8, 2, bytes(9)),
        lambda: png(2**31 - 1, 2**31 - 1, 8, 2, bytes(9)),
    ],
)
def test_more_pixels_than_the_limit_get_a_sentence(low_limits, make):
    source = make()
    with pytest.raises(ValueError, match="1 million .*make it smaller"):
        decode(source, 4)


def test_a_small_file_cannot_take_much_memory():
    text = b"zTXta\0\0" + zlib.compress(bytes(60_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    source = png(4, 4, 8, 2, bytes(9), chunk)
    tracemalloc.start()
    with pytest.raises(ValueError, match="cannot be read"), named("it"):
        decode(source, 4)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


# What is no picture


def test_whatever_is_wrong_gets_one_sentence_with_the_name(tmp_path):
    whole = file(Image.new("RGB", (64, 64), (9, 99, 199)), "PNG").getvalue()
    wrong = {
        "empty": b"",
        "html": b"<html>404</html>",
        "zeros": bytes(5000),
        "cut": whole[: len(whole) // 2],
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        "no pixels": png(0, 5, 8, 2, b"").getvalue(),
    }
    for name, data in wrong.items():
        words = f"^{name} cannot be read as a picture [^\n]{{,250}}$"
        with pytest.raises(ValueError, match=words), named(name):
            decode(io.BytesIO(data), 4)
    for source in (tmp_path / "none.png", tmp_path, 3, None, Image.new("RGB", (0, 5))):
        with pytest.raises(ValueError, match="it cannot be read as a picture"), named("it"):
            decode(source, 4)


def test_a_program_in_the_clothes_of_a_picture_is_not_started():
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ValueError, match="a format that Pillow does not read"), named("x.png"):
        decode(io.BytesIO(script), 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", AVIF, "JPEG2000"])
def test_damage_anywhere_gives_a_picture_or_a_sentence(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    whole, chance = file(Image.fromarray(pixels), kind).getvalue(), np.random.default_rng(1)
    for _ in range(40):
        data = bytearray(whole[: chance.integers(1, len(whole) + 1)])
        for place in chance.integers(0, len(data), chance.integers(4)):
            data[place] = chance.integers(256)
        try:
            with named("it"):
                assert decode(io.BytesIO(data), 4).mode == "RGB"
        except ValueError as error:
            assert "it cannot be read as a picture" in str(error)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_gray_that_counts_as_transparent_is_white_at_any_depth(tmp_path, dtype):
    pixels = np.full((4, 4), 7, dtype)
    pixels[0] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=0)
    seen = np.asarray(decode(tmp_path / "a.png", 4, "L"))
    assert (seen[0] == 255).all() and (seen[1:] < 8).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_gray_from_0_to_255_is_the_same_picture_in_any_type(tmp_path, dtype):
    pixels = np.arange(0, 225, dtype=dtype).reshape(15, 15)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert (np.asarray(decode(tmp_path / "a.tif", 15, "L")) == pixels).all()
