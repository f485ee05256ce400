"""Pictures keep their 16 bits, and stand upright at any depth."""

import cv2
import numpy as np
import pytest
from making import ALPHA, DEEP, PIXELS, RGB, check_deep, encode, levels, png, png_chunk, tiff
from PIL import Image


@pytest.mark.parametrize(
    "content, channels",
    [(png(DEEP[..., : c + 1]), c + 1) for c in range(4)]
    + [(tiff(DEEP[..., :1], order=o), 1) for o in "<>"]
    + [(tiff(DEEP[..., :3], order=o), 3) for o in "<>"]
    + [(tiff(DEEP, extra=2, order=o), 4) for o in "<>"]
    + [(cv2.imencode(".tiff", DEEP[..., 2::-1])[1].tobytes(), 3)]
    + [(encode(Image.fromarray(DEEP[..., 0].astype(np.int32)), format="TIFF"), 1)],
)
def test_sixteen_bits_are_kept(read, content, channels):
    colours = DEEP[..., :3] if channels > 2 else DEEP[..., :1].repeat(3, -1)
    alpha = {2: DEEP[..., 1], 4: DEEP[..., 3]}.get(channels)
    check_deep(read(content), colours, alpha)


def test_sixteen_bits_with_one_transparent_colour(read):
    for channels in (1, 3):
        clear = png_chunk(b"tRNS", DEEP[2, 3, :channels].astype(">u2").tobytes())
        picture = read(png(DEEP[..., :channels], between=clear))
        assert picture.bits == 16
        assert picture.alpha[2, 3] == 0 and picture.alpha.sum() == 6 * 9 - 1


def test_white_may_be_zero(read):
    grey = DEEP[..., :1]
    check_deep(read(tiff(grey, photometric=0)), (65535 - grey).repeat(3, -1), None)


def test_colours_multiplied_by_alpha_are_divided(read):
    alpha = np.random.default_rng(1).integers(20000, 65536, (6, 9)).astype(np.uint16)
    straight = DEEP[..., :3]
    stored = np.dstack([np.round(straight * (alpha / 65535)[..., None]), alpha]).astype(np.uint16)
    picture = read(tiff(stored, extra=1))
    assert np.abs(levels(picture.rgb, 65535) - straight).max() <= 2
    np.testing.assert_array_equal(levels(picture.alpha, 65535), alpha)


def test_a_fourth_channel_that_is_no_alpha_is_left_aside(read):
    check_deep(read(tiff(DEEP, extra=0)), DEEP[..., :3], None)


def test_sixteen_bits_of_ink_are_read_as_eight(read):
    picture = read(tiff(DEEP, photometric=5))
    inks = DEEP.astype(float) / 65535
    expected = (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(picture.rgb - expected).max() < 2.5 / 255 and picture.bits == 8


# Orientation


def stored_as(samples, orientation):
    """What a camera held so stores: the inverse of how EXIF tells to show it."""
    turns = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1), 6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    return np.ascontiguousarray(turns[orientation](samples))


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_and_alpha_are_turned_upright(read, orientation):
    exif = exif_of(orientation)
    rgba = np.dstack([PIXELS, ALPHA])
    stored = Image.fromarray(stored_as(rgba, orientation))
    tags = {"format": "TIFF", "tiffinfo": {274: orientation}}
    lossless = {"format": "WEBP", "lossless": True, "exact": True}
    for options in ({"exif": exif}, lossless | {"exif": exif}, tags):
        picture = read(encode(stored, **options))
        np.testing.assert_array_equal(levels(picture.rgb), PIXELS)
        np.testing.assert_array_equal(levels(picture.alpha), ALPHA)
    blocks = Image.fromarray(
        stored_as(np.kron(PIXELS, np.ones((16, 16, 1), np.uint8)), orientation)
    )
    picture = read(encode(blocks, format="JPEG", quality=95, exif=exif))
    assert np.abs(levels(picture.rgb)[8::16, 8::16] - PIXELS).mean() < 5
    deep = stored_as(DEEP, orientation)
    eXIf = png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    for content in (
        png(deep, between=eXIf),
        png(deep, behind=eXIf),
        tiff(deep, extra=2, orientation=orientation),
    ):
        check_deep(read(content), DEEP[..., :3], DEEP[..., 3])
    grey = DEEP[..., :1].repeat(3, -1)
    check_deep(read(png(deep[..., :1], between=eXIf)), grey, None)
    check_deep(read(tiff(deep[..., :1], orientation=orientation)), grey, None)


@pytest.mark.parametrize("exif", [b"Exif\0\0nothing to parse", exif_of(0), exif_of(77)])
def test_a_senseless_orientation_is_ignored(read, exif):
    for options in ({}, {"format": "WEBP", "lossless": True}):
        np.testing.assert_array_equal(levels(read(encode(RGB, exif=exif, **options)).rgb), PIXELS)
