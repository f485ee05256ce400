"""What a picture says of itself goes into its restoration, upright: EXIF and resolution."""

import struct

import numpy as np
import pytest
from making import PIXELS, RGB, encode, png, png_chunk
from PIL import Image

from elir_jax.pictures.anybody import read_picture, write_picture
from elir_jax.pictures.exif import upright

NOTE = bytes(range(1, 200))  # what a camera's maker stores in a form of its own
SAID = {0x010F: "Camera", 0x0132: "1999:12:31 23:59:59"}
PLACE = {1: "N", 2: (52.0, 30.0, 1.5)}


def exif(orientation=6):
    data = Image.Exif()
    data.update(SAID | {0x0112: orientation, 0x0100: 9, 0x0101: 6})
    data[0x8769] = {0x9003: "1999:12:31 23:59:58", 0x927C: NOTE, 0xA002: 9, 0xA003: 6}
    data[0x8825] = PLACE
    return data


@pytest.fixture
def restored(tmp_path):
    """The file written for the bytes of an input, ``enlarged`` so many times."""

    def write(content, enlarged=1):
        (tmp_path / "in").write_bytes(content)
        picture = read_picture(tmp_path / "in")
        rgb = picture.rgb.repeat(enlarged, 0).repeat(enlarged, 1)
        write_picture(tmp_path / "out.png", rgb, picture)
        with Image.open(tmp_path / "out.png") as image:
            return image.copy()

    return write


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_date_camera_and_place_are_kept_and_the_picture_stands_upright(restored, kind):
    for enlarged in (1, 4):
        found = restored(encode(RGB, format=kind, exif=exif()), enlarged).getexif()
        assert {tag: found[tag] for tag in SAID} == SAID and found[0x0112] == 1
        inner = found.get_ifd(0x8769)
        assert inner[0x9003] == "1999:12:31 23:59:58" and inner[0x927C] == NOTE
        assert (inner[0xA002], inner[0xA003]) == (6 * enlarged, 9 * enlarged)
        assert (found[0x0100], found[0x0101]) == (6 * enlarged, 9 * enlarged)
        assert found.get_ifd(0x8825) == PLACE


def test_a_tiff_tells_the_same(restored):
    said = SAID | {0x8298: "Somebody"}
    content = encode(RGB, format="TIFF", tiffinfo=said | {0x0112: 6}, dpi=(600, 300))
    found = restored(content)
    assert {tag: found.getexif()[tag] for tag in said} == said
    assert found.getexif().get(0x0112, 1) == 1 and found.size == (6, 9)


@pytest.mark.parametrize("orientation, dpi", [(1, (300, 150)), (3, (300, 150)), (6, (150, 300))])
def test_the_resolution_is_kept_and_turned(restored, orientation, dpi):
    data = Image.Exif()
    data[0x0112] = orientation
    per_metre = png_chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1))
    turned = png_chunk(b"eXIf", data.tobytes()[6:])
    for content in (
        encode(RGB, format="JPEG", dpi=(300, 150), exif=data),
        png(PIXELS, between=per_metre + turned),
    ):
        np.testing.assert_allclose(restored(content, 2).info["dpi"], dpi, atol=0.02)


@pytest.mark.parametrize("unit, dpi", [(2, 300), (3, 762)])
def test_exif_may_tell_the_resolution(restored, unit, dpi):
    data = Image.Exif()
    data.update({0x011A: 300.0, 0x011B: 300.0, 0x0128: unit})
    found = restored(encode(RGB, format="WEBP", exif=data)).info["dpi"]
    np.testing.assert_allclose(found, (dpi, dpi), atol=0.02)


def test_no_resolution_is_made_up(restored):
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        assert "dpi" not in restored(encode(RGB, format=kind)).info


def test_a_small_preview_is_not_shown_with_the_result():
    preview, order = b"an old preview", "<"
    first = struct.pack("<H", 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    second = struct.pack("<HHHII", 1, 0x0201, 4, 1, 99)
    data = b"II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", 26) + second + preview
    changed = upright(data, 9, 6)
    assert struct.unpack_from(f"{order}I", changed, 22) == (0,)
    assert len(changed) == len(data) and changed[18:20] == b"\1\0"


@pytest.mark.parametrize("data", [b"garbage", b"II", b"Exif\0\0", b"II*\0\xff\xff\xff\xff"])
def test_damaged_metadata_are_no_reason_to_fail(restored, data):
    found = restored(png(PIXELS, between=png_chunk(b"eXIf", data)))
    found.load()
    assert not dict(found.getexif())


def test_colours_and_metadata_come_before_the_pixels(restored, tmp_path):
    content = encode(RGB, format="JPEG", exif=exif(), dpi=(300, 300))
    restored(content)
    written = (tmp_path / "out.png").read_bytes()
    assert written.index(b"pHYs") < written.index(b"eXIf") < written.index(b"IDAT")
