"""What viewers show is read, by both readers and from the header; missing pixels never are."""

import io
import struct
import zlib

import numpy as np
import pytest
from making import (
    ADOBE_TO_XYZ,
    DEEP,
    PIXELS,
    RGB,
    encode,
    gamma,
    levels,
    png,
    png_chunk,
    rgb_icc,
)
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.pictures.anybody import read_picture, read_shape
from elir_jax.pictures.images import decode_image, read_image
from elir_jax.pictures.png import read_png

LONG = zlib.compress(b"node " * 600_000)
NOISE = np.random.default_rng(0).bytes(3_000_000)
SMOOTH = RGB.resize((96, 64), Image.Resampling.BICUBIC)


@pytest.fixture
def both(tmp_path):
    """Reads bytes with both readers, which must agree, and gives their 8-bit pixels."""

    def read_bytes(content):
        path = tmp_path / "picture"
        path.write_bytes(content)
        picture, pixels = read_picture(path), read_image(path)
        np.testing.assert_array_equal(levels(picture.rgb), pixels)
        assert read_shape(path) == pixels.shape[:2] and pixels.flags.writeable
        return pixels

    return read_bytes


@pytest.fixture
def refused(tmp_path):
    """The one message of both readers, which name the file."""

    def read_bytes(content):
        path = tmp_path / "picture"
        path.write_bytes(content)
        messages = set()
        for read in (read_picture, read_image):
            with pytest.raises(UserError) as caught:
                read(path)
            messages.add(str(caught.value))
        (message,) = messages
        assert message.startswith(f"{path}: ") and "\n" not in message and "; " in message
        return message

    return read_bytes


# Text and other chunks


@pytest.mark.parametrize("where", ["between", "behind"])
@pytest.mark.parametrize(
    "long",
    [
        png_chunk(b"zTXt", b"workflow\0\0" + LONG),
        png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + LONG),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<x/>" * 600_000),
        png_chunk(b"tEXt", b"Comment\0" + b"x" * 20_000_000),
        png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(NOISE)),
        png_chunk(b"prVt", b"private"),
    ],
    ids=["zTXt", "iTXt", "XMP", "tEXt", "iCCP", "private"],
)
def test_a_chunk_of_any_length_is_no_obstacle(both, long, where):
    np.testing.assert_array_equal(both(png(PIXELS, **{where: long})), PIXELS)


def test_a_long_profile_is_used(both):
    icc = rgb_icc(ADOBE_TO_XYZ, gamma(2.2))
    tagged = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(icc + NOISE))
    short = both(png(PIXELS, between=png_chunk(b"iCCP", b"p\0\0" + zlib.compress(icc))))
    assert np.abs(short.astype(int) - PIXELS).max() > 9
    np.testing.assert_array_equal(both(png(PIXELS, between=tagged)), short)


def wrong(chunk):
    """The chunk with another checksum."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"pHYs", b"tIME"])
@pytest.mark.parametrize("pixels", [PIXELS, DEEP[..., :3]], ids=["8 bits", "16 bits"])
def test_a_wrong_checksum_matters_only_where_pixels_follow_from_the_chunk(both, kind, pixels):
    plain = both(png(pixels))
    for where in ("between", "behind"):
        damaged = png(pixels, **{where: wrong(png_chunk(kind, b"Comment\0\0hello"))})
        np.testing.assert_array_equal(both(damaged), plain)


def test_a_wrong_checksum_is_named(refused):
    clear = wrong(png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert "the checksum of its chunk tRNS is wrong" in refused(png(PIXELS, between=clear))
    content = bytearray(png(PIXELS))
    content[29] ^= 1
    assert "the checksum of its chunk IHDR is wrong" in refused(bytes(content))


# EXIF


def exif():
    """Orientation, program, resolution, a place and a camera's directory."""
    data = Image.Exif()
    data[0x0112], data[0x0131], data[0x011A] = 6, "soft", 300.0
    data[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0), 29: "2020:01:01"}
    data[0x8769] = {0x9003: "2020:01:01 00:00:00", 0xA002: 32}
    return bytearray(data.tobytes())


def with_exif(kind, data):
    """A file of 6 x 9 stored pixels."""
    if kind == "PNG":
        return png(PIXELS, between=png_chunk(b"eXIf", data[6:]))
    content = encode(RGB, format="JPEG", quality=90)
    if kind == "bare JPEG":  # without JFIF's resolution
        content = content[:2] + content[4 + struct.unpack(">H", content[4:6])[0] :]
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    return content[:2] + segment + content[2:]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "bare JPEG"])
def test_a_field_that_breaks_the_standard_harms_no_other(both, kind):
    right, whole = both(with_exif(kind, bytes(exif()))), exif()
    assert right.shape == (9, 6, 3)
    order = ">" if whole[6:8] == b"MM" else "<"
    for tag in (0x0131, 0x011A, 0x8825, 0x8769):
        at = whole.index(struct.pack(f"{order}H", tag))
        for form in (*range(14), 255):
            other = exif()
            struct.pack_into(f"{order}H", other, at + 2, form)
            np.testing.assert_array_equal(both(with_exif(kind, bytes(other))), right)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "bare JPEG"])
def test_no_damage_to_exif_stops_a_picture(both, kind):
    rng, upright = np.random.default_rng(0), both(with_exif(kind, exif()[:8]))
    stored = {(6, 9, 3), (9, 6, 3)}
    for _ in range(60):
        data = exif()
        for place in rng.integers(6, len(data), size=rng.integers(1, 6)):
            data[place] = rng.integers(256)
        data = data[: rng.integers(6, len(data))] if rng.random() < 0.2 else data
        found = both(with_exif(kind, bytes(data)))
        assert found.shape in stored and found.sum() == upright.sum()


def xmp_chunk(orientation):
    text = f'<x:xmpmeta><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    return png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text)


def test_the_header_tells_the_orientation_wherever_it_is(both):
    data = bytes(exif())[6:]
    lines = ["", "exif", f"{len(data):8}", *(data[i : i + 36].hex() for i in range(0, 999, 36))]
    raw = zlib.compress("\n".join(lines).encode())
    for told in (
        png_chunk(b"eXIf", data),
        xmp_chunk(6),
        png_chunk(b"zTXt", b"Raw profile type exif\0\0" + raw),
    ):
        for where in ("between", "behind"):
            assert both(png(PIXELS, **{where: told})).shape == (9, 6, 3)
    assert both(png(PIXELS, between=xmp_chunk(6) + png_chunk(b"eXIf", data[:8]))).shape[0] == 9
    assert both(png(PIXELS, between=xmp_chunk(1) + png_chunk(b"eXIf", data))).shape[0] == 9
    assert both(png(PIXELS, between=xmp_chunk(9))).shape[0] == 6


def test_a_chunk_with_a_wrong_checksum_tells_nothing(both):
    turned = png_chunk(b"eXIf", bytes(exif())[6:])
    for told in (turned, xmp_chunk(6)):
        for where in ("between", "behind"):
            assert both(png(PIXELS, **{where: told})).shape[0] == 9
            assert both(png(PIXELS, **{where: wrong(told)})).shape[0] == 6


# The end of a file


def jpeg(image=SMOOTH, **options):
    return encode(image, format="JPEG", **options)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_may_lack_its_end_but_no_pixel(both, refused, mode):
    whole = jpeg(SMOOTH.convert(mode))
    for cut in (1, 2):
        np.testing.assert_array_equal(both(whole[:-cut]), both(whole))
    for cut in (*range(3, 40), 200, 400):
        assert "its end is missing" in refused(whole[:-cut])


def test_a_jpeg_of_several_scans_needs_its_end(refused):
    whole = jpeg(progressive=True)
    last = whole.rindex(b"\xff\xda")
    for content in (whole[:-2], whole[: whole.rindex(b"\xff\xc4")], whole[:last]):
        assert "truncated" in refused(content) or "its end" in refused(content)


def test_a_png_may_lack_its_end_but_no_pixel(both, refused):
    whole = png(PIXELS)
    for cut in (1, 11, 12, 13, 16):  # IEND, and the checksum before it
        np.testing.assert_array_equal(both(whole[:-cut]), PIXELS)
    for cut in (17, 21, 30):
        assert "its end is missing" in refused(whole[:-cut])
    text = png_chunk(b"tEXt", b"Comment\0" + b"x" * 99)
    for cut in (20, 80):  # inside the text
        np.testing.assert_array_equal(both(png(PIXELS, behind=text)[:-cut]), PIXELS)


def test_a_webp_may_lack_its_metadata_but_no_pixel(both, refused):
    data = Image.Exif()
    data[0x010E] = "x" * 900
    whole = encode(RGB, format="WEBP", lossless=True, exif=data)
    for cut in (1, 300, 900):
        np.testing.assert_array_equal(both(whole[:-cut]), PIXELS)
    refused(encode(RGB, format="WEBP", lossless=True)[:-3])


def test_an_empty_file_is_called_so(refused, tmp_path):
    assert "the file is empty" in refused(b"")
    with pytest.raises(UserError, match="the file is empty"):
        read_shape(tmp_path / "picture")
    with pytest.raises(UserError, match="record 3: the file is empty"):
        decode_image(b"", "record 3")


# Kinds and sizes


def test_the_content_decides_what_a_file_is(both):
    indices = RGB.quantize(64)
    gif = encode(indices, format="GIF")
    np.testing.assert_array_equal(both(gif), np.asarray(indices.convert("RGB")))


def test_a_profile_is_applied_by_both_readers(both):
    icc = rgb_icc(ADOBE_TO_XYZ, gamma(2.2))
    assert np.abs(both(encode(RGB, icc_profile=icc)).astype(int) - PIXELS).max() > 9


BOMBS = {
    "PNG": png(PIXELS)[:8]
    + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    + png(PIXELS)[33:],
    "BMP": b"BM" + encode(RGB, format="BMP")[2:18] + struct.pack("<ii", 60000, 60000)
    + encode(RGB, format="BMP")[26:],
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_file_that_claims_billions_of_pixels_is_refused(tmp_path, kind):
    path = tmp_path / "picture"
    path.write_bytes(BOMBS[kind])
    for read in (read_picture, read_image, read_shape):
        with pytest.raises(UserError, match="picture: 60000x60000 pixels are more than"):
            read(path)


def test_a_chunk_that_inflates_without_end_is_left_aside(both):
    packer, packed = zlib.compressobj(9), io.BytesIO()
    for _ in range(64):
        packed.write(packer.compress(bytes(2**20)))
    bomb = packed.getvalue() + packer.flush()
    for chunk in (
        png_chunk(b"iCCP", b"p\0\0" + bomb),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        png_chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb),
    ):
        content = png(PIXELS, between=chunk)
        np.testing.assert_array_equal(both(content), PIXELS)
        found = read_png(io.BytesIO(content), pixels=True)
        assert not (found.icc or found.xmp or found.exif)
