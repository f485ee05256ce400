"""Files that are no pictures are refused by name; pictures are written with what they had."""

import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from making import ADOBE, DEEP, PIXELS, RGB, encode, png, png_chunk, tiff
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.pictures.anybody import Picture, read_picture, read_shape, write_picture

# What cannot be read


def refused(path):
    """The message: one line that begins with the file and ends with a remedy."""
    with pytest.raises(UserError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "; " in message
    return message


BROKEN = {
    "text": b"Dear all, this is no picture.",
    "half a PNG": encode(RGB)[:90],
    "half a JPEG": encode(RGB.resize((64, 64)), format="JPEG")[:-400],
    "half a TIFF": tiff(DEEP[..., :3])[:-40],
    "half a WebP": encode(RGB, format="WEBP")[:-20],
    "a PCX": encode(RGB, format="PCX"),
    "PostScript": encode(RGB, format="EPS"),  # which Pillow would give to another program
    "floats": tiff(PIXELS[..., :1].astype(np.float32)),
    "floats of colour": tiff(PIXELS.astype(np.float32)),
    "twelve bits": tiff(DEEP[..., :1], bits=12),
    "separate planes": tiff(DEEP[..., :3], planar=2),
    "below zero": tiff(DEEP[..., :1].astype(np.int16)),
    "too many pixels": png(PIXELS)[:8]
    + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**20, 2**20, 8, 2, 0, 0, 0))
    + png(PIXELS)[33:],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "photo.jpg"
    path.write_bytes(BROKEN[kind])
    message = refused(path)
    reasons = {
        "twelve bits": "unusual depth",
        "separate planes": "planes",
        "floats": "floating point",
    }
    assert reasons.get(kind, "") in message


@pytest.mark.parametrize("pixels", [PIXELS, DEEP[..., :3]], ids=["8 bits", "16 bits"])
def test_a_wrong_checksum_is_refused(tmp_path, pixels):
    content = bytearray(png(pixels))
    content[-13] ^= 1  # of the data's checksum
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert "not a readable image" in refused(path)


def test_paths_that_cannot_be_opened_are_refused(tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    assert "Is a directory" in refused(tmp_path / "folder.png")
    assert "gone" in refused(tmp_path / "gone.png")

    def denied(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "Permission denied" in refused(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"secret\.png: cannot be read \(Permission denied\)"):
        read_shape(tmp_path / "secret.png")


def test_no_shape_is_made_up(tmp_path):
    for content in (b"text", encode(RGB)[:20]):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.png: not a readable image"):
            read_shape(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"gone\.png: the image is gone"):
        read_shape(tmp_path / "gone.png")


def test_a_shape_needs_the_header_only(tmp_path):
    path = tmp_path / "x"
    for kind in ("PNG", "JPEG", "BMP"):
        path.write_bytes(encode(RGB.resize((90, 60)), format=kind)[:-100])
        assert read_shape(path) == (60, 90)


# Size


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_large_picture_is_no_attack(read, monkeypatch, kind):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # as if these were too many by far
    content = encode(RGB, format=kind)
    assert read(content).rgb.shape == (6, 9, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(UserError):
        read(content[:20])
    assert Image.MAX_IMAGE_PIXELS == 10


def test_twenty_thousand_by_twenty_thousand_pixels_have_a_shape(tmp_path):
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    path = tmp_path / "x.png"
    path.write_bytes(png(PIXELS)[:8] + png_chunk(b"IHDR", header) + png(PIXELS)[33:])
    assert read_shape(path) == (20000, 20000)


def test_reading_and_writing_need_few_copies(tmp_path):
    height, width = 600, 800
    rgba = np.zeros((height, width, 4), np.uint16)
    rgba[::2] = 40000
    (tmp_path / "x.png").write_bytes(png(rgba))
    copy = 12 * height * width
    tracemalloc.start()
    picture = read_picture(tmp_path / "x.png")
    reading = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    write_picture(tmp_path / "y.png", picture.rgb, picture)
    writing = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(reading, writing) < 4 * copy


# Writing


def as_written(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("profile", [None, ADOBE])
def test_what_is_written_reads_the_same(tmp_path, bits, clear, profile):
    rng = np.random.default_rng(bits)
    top = 2**bits - 1
    rgb, alpha = rng.integers(1, top + 1, (5, 7, 3)), rng.integers(1, top + 1, (5, 7))
    like = Picture(
        (rgb / top).astype(np.float32),
        (alpha / top).astype(np.float32) if clear else None,
        bits,
        profile,
    )
    path = tmp_path / "new" / "folder" / "x.png"
    write_picture(path, like.rgb, like)
    samples = as_written(path)
    assert samples.dtype == (np.uint16 if bits == 16 else np.uint8)
    np.testing.assert_array_equal(samples[..., 2::-1], rgb)
    assert samples.shape[-1] == (4 if clear else 3)
    if clear:
        np.testing.assert_array_equal(samples[..., 3], alpha)
    with Image.open(path) as image:
        image.verify()  # checksums
        assert image.format == "PNG" and image.info.get("icc_profile") == profile
    if bits == 16 or profile is None:  # else it is not a picture that we would have read
        again = read_picture(path)
        np.testing.assert_allclose(again.rgb, like.rgb, atol=1e-6)
        assert again.bits == bits and again.profile == profile


def test_values_are_clipped_and_rounded(tmp_path):
    image = np.float32([[[-3, 0.5, 9], [127.4 / 255, 127.6 / 255, 1]]])
    write_picture(tmp_path / "x.png", image, Picture(image, None, 8, None))
    written = as_written(tmp_path / "x.png")[0, :, ::-1]
    np.testing.assert_array_equal(written, [[0, 128, 255], [127, 128, 255]])


def test_alpha_grows_with_the_image(tmp_path):
    ramp = np.linspace(0.1, 0.9, 16, dtype=np.float32)[None].repeat(8, 0)
    like = Picture(np.zeros((8, 16, 3), np.float32), ramp, 16, None)
    write_picture(tmp_path / "x.png", np.zeros((32, 64, 3), np.float32), like)
    alpha = as_written(tmp_path / "x.png")[..., 3] / 65535
    step = (ramp[0, 1] - ramp[0, 0]) / 4
    expected = 0.1 + step * (np.arange(64) - 1.5)  # pixels' centres: 4 new ones to an old one
    np.testing.assert_allclose(alpha[:, 8:-8], expected[None, 8:-8].repeat(32, 0), atol=1e-4)
    edge = np.zeros((8, 16), np.float32)
    edge[:, 8:] = 1  # bicubic overshoots here
    write_picture(tmp_path / "y.png", np.zeros((32, 64, 3), np.float32), like._replace(alpha=edge))
    alpha = as_written(tmp_path / "y.png")[0, :, 3] / 65535
    assert (alpha[:24] < 0.01).all() and (alpha[40:] > 0.99).all()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_picture(path, np.zeros((2, 2, 3), np.float32), Picture(None, None, 8, None))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
