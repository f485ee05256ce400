"""Files of every kind become right RGB, or are refused by name; never a wrong picture."""

import io

import cv2
import numpy as np
import pytest
from making import gamma, grey_icc
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.pictures.grey import is_grey
from elir_jax.pictures.images import decode_image, fit_short_side, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
RGB = Image.fromarray(PIXELS)


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


def grey(image):
    return np.asarray(image.convert("L"))[..., None].repeat(3, -1)


@pytest.mark.parametrize(
    "image, expected",
    [
        (RGB, PIXELS),
        (RGB.convert("L"), grey(RGB)),
        (RGB.convert("LA"), grey(RGB)),
        (RGB.convert("1"), np.asarray(RGB.convert("1").convert("RGB"))),
        (RGB.convert("P"), np.asarray(RGB.convert("P").convert("RGB"))),
    ],
    ids=["RGB", "grey", "grey+alpha", "black and white", "palette"],
)
def test_colour_modes_become_rgb(image, expected):
    np.testing.assert_array_equal(decode_image(encode(image), "x"), expected)


def test_colours_under_transparency_are_kept():
    alpha = Image.fromarray(np.arange(24 * 36, dtype=np.int64).reshape(24, 36).astype(np.uint8))
    clear = RGB.copy()
    clear.putalpha(alpha)
    np.testing.assert_array_equal(decode_image(encode(clear), "x"), PIXELS)
    palette = RGB.convert("P")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode_image(encode(palette, transparency=3), "x"), expected)


def test_cmyk_becomes_rgb():
    cmyk = RGB.resize((6, 4)).resize((60, 40)).convert("CMYK")
    decoded = decode_image(encode(cmyk, format="JPEG", quality=100, subsampling=0), "x")
    assert np.abs(decoded.astype(int) - np.asarray(cmyk.convert("RGB"))).mean() < 2


def test_sixteen_bits_are_rounded_to_eight():
    deep = np.random.default_rng(1).integers(0, 65536, (24, 36), np.uint16)
    expected = np.round(deep / 257).astype(np.uint8)[..., None].repeat(3, -1)
    for content in (
        encode(Image.fromarray(deep)),
        encode(Image.fromarray(deep.astype(np.int32)), format="TIFF"),
    ):
        np.testing.assert_array_equal(decode_image(content, "x"), expected)
    colour = np.random.default_rng(2).integers(0, 65536, (24, 36, 3), np.uint16)
    for suffix in (".png", ".tiff"):
        content = cv2.imencode(suffix, colour)[1].tobytes()
        decoded = decode_image(content, "x").astype(int)
        assert np.abs(decoded - colour[..., ::-1] / 257).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation):
    turns = {
        1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4],
    }  # fmt: skip
    stored = RGB
    for turn in turns[orientation]:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_image(encode(stored, exif=exif), "x"), PIXELS)


def test_what_has_no_one_meaning_is_refused():
    floats = encode(Image.fromarray(PIXELS[..., 0].astype(np.float32)), format="TIFF")
    with pytest.raises(UserError, match="float.tiff: floating point"):
        decode_image(floats, "float.tiff")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_file_cut_anywhere_is_an_error(kind):
    whole = encode(RGB, format=kind)
    for tenth in range(1, 10):
        with pytest.raises(UserError, match="cut: not a readable image"):
            decode_image(whole[: len(whole) * tenth // 10], "cut")


def test_a_flipped_byte_of_a_png_is_an_error_or_changes_nothing():
    whole = encode(RGB)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(len(whole), size=200):
        broken = bytearray(whole)
        broken[place] ^= int(rng.integers(1, 256))
        try:
            np.testing.assert_array_equal(decode_image(bytes(broken), "x"), PIXELS)
        except UserError:
            refused += 1
    assert refused > 190


def test_unreadable_paths_are_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: the image is gone"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png: cannot be read"):
        read_image(tmp_path / "folder.png")


def test_a_picture_is_grey_if_its_channels_are_equal():
    steps = np.arange(24 * 36).reshape(24, 36)
    deep = (steps * 75).astype(np.uint16)
    for image in (RGB.convert("L"), RGB.convert("1"), RGB.convert("LA"), Image.fromarray(deep),
                  Image.fromarray(grey(RGB))):  # fmt: skip
        assert is_grey(decode_image(encode(image), "x"))
    tagged = encode(RGB.convert("L"), icc_profile=grey_icc(gamma(1.8)))
    assert is_grey(decode_image(tagged, "x"))
    assert is_grey((grey(RGB) / 255).astype(np.float32))
    for channel in range(3):
        tinted = grey(RGB).copy()
        tinted[5, 7, channel] ^= 1
        assert not is_grey(tinted)


def test_the_short_side_is_fitted_and_the_shape_kept():
    assert fit_short_side(PIXELS, 12).shape == (12, 18, 3)
    assert fit_short_side(PIXELS.transpose(1, 0, 2).copy(), 12).shape == (18, 12, 3)
    assert fit_short_side(PIXELS, 24) is PIXELS
