"""Pictures of 8 bits, of every kind, are read for what they show."""

import cv2
import numpy as np
import pytest
from making import ALPHA, PIXELS, RGB, encode, encoded, grey_of, levels
from PIL import Image


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_colours_come_exactly(read, kind):
    picture = read(encode(RGB, format=kind, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(picture.rgb, (PIXELS / 255).astype(np.float32))
    assert picture[1:4] == (None, 8, None)


def test_a_jpeg_is_near_its_original(read):
    smooth = RGB.resize((3, 2)).resize((90, 60), Image.Resampling.BICUBIC)
    picture = read(encode(smooth, format="JPEG", quality=95))
    assert np.abs(levels(picture.rgb) - np.asarray(smooth)).mean() < 2


@pytest.mark.parametrize(
    "image, expected",
    [
        (RGB.convert("L"), grey_of(RGB)),
        (RGB.convert("1"), np.asarray(RGB.convert("1").convert("RGB"))),
        (RGB.convert("P"), np.asarray(RGB.convert("P").convert("RGB"))),
    ],
    ids=["grey", "black and white", "palette"],
)
def test_colour_modes_become_rgb(read, image, expected):
    picture = read(encode(image))
    np.testing.assert_array_equal(levels(picture.rgb), expected)
    assert picture.alpha is None and picture.bits == 8


def test_cmyk_without_profile_is_the_inks_complement(read):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, :8] = (255, 0, 0, 0)  # cyan
    inks[:, 8:] = (0, 0, 255, 128)  # yellow, half darkened
    content = encode(Image.fromarray(inks, "CMYK"), format="JPEG", quality=100, subsampling=0)
    assert b"Adobe" in content  # which says that the samples are inverted
    rgb = levels(read(content).rgb)
    assert np.abs(rgb[:, :8] - (0, 255, 255)).max() <= 2
    assert np.abs(rgb[:, 8:] - (127, 127, 0)).max() <= 2
    independent = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(rgb - independent).max() <= 4


def test_lab_becomes_srgb(read):
    lab = np.zeros((2, 3, 3), np.uint8)
    lab[..., 0] = (0, 128, 255)  # grey: a = b = 0
    picture = read(encode(Image.fromarray(lab, "LAB"), format="TIFF"))
    y = ((100 * 128 / 255 + 16) / 116) ** 3  # luminance of the middle one
    expected = np.array([0, 255 * encoded(y), 255])[:, None]
    assert np.abs(255 * picture.rgb - expected).max() <= 1.5


def test_ycbcr_becomes_rgb(read):
    ycbcr = RGB.convert("YCbCr")
    picture = read(encode(ycbcr, format="TIFF"))
    np.testing.assert_array_equal(levels(picture.rgb), np.asarray(ycbcr.convert("RGB")))


def test_the_first_frame_counts(read):
    other = Image.fromarray(255 - PIXELS)
    for options in (
        {"format": "TIFF"},
        {"format": "PNG"},
        {"format": "WEBP", "lossless": True},
        {"format": "MPO", "quality": 100, "subsampling": 0},
    ):
        picture = read(encode(RGB, save_all=True, append_images=[other], **options))
        off = np.abs(levels(picture.rgb) - PIXELS).mean()
        assert off == 0 or options["format"] == "MPO" and off < 3


# Transparency


def test_alpha_channels_are_kept_and_colours_left_straight(read):
    image = RGB.copy()
    image.putalpha(Image.fromarray(ALPHA))
    for options in ({}, {"format": "TIFF"}, {"format": "WEBP", "lossless": True, "exact": True}):
        picture = read(encode(image, **options))
        np.testing.assert_array_equal(levels(picture.rgb), PIXELS)
        np.testing.assert_array_equal(levels(picture.alpha), ALPHA)
    grey = RGB.convert("LA")
    grey.putalpha(Image.fromarray(ALPHA))
    picture = read(encode(grey))
    np.testing.assert_array_equal(levels(picture.rgb), grey_of(RGB))
    np.testing.assert_array_equal(levels(picture.alpha), ALPHA)


def test_an_opaque_alpha_channel_stays_one(read):
    picture = read(encode(RGB.convert("RGBA")))
    np.testing.assert_array_equal(picture.alpha, np.ones((6, 9), np.float32))


def test_transparent_palette_entries_and_colours_become_alpha(read):
    indices = (np.arange(12) % 3).reshape(3, 4).astype(np.uint8)
    palette = Image.fromarray(indices, "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    single = read(encode(palette, transparency=1))
    np.testing.assert_array_equal(single.alpha == 0, indices == 1)
    several = read(encode(palette, transparency=bytes([255, 100, 7])))
    np.testing.assert_array_equal(levels(several.alpha), np.array([255, 100, 7])[indices])
    np.testing.assert_array_equal(levels(several.rgb)[1, 1], [70, 80, 90])
    colour = read(encode(RGB, transparency=tuple(int(v) for v in PIXELS[2, 3])))
    assert colour.alpha[2, 3] == 0 and colour.alpha.sum() == 6 * 9 - 1
    grey = np.asarray(RGB.convert("L"))
    one = read(encode(RGB.convert("L"), transparency=int(grey[1, 1])))
    np.testing.assert_array_equal(one.alpha == 0, grey == grey[1, 1])


def test_hidden_colours_are_those_of_the_nearest_visible_pixel(read):
    rng = np.random.default_rng(3)
    rgba = rng.integers(1, 256, (40, 50, 4), np.uint8)
    rgba[rng.random((40, 50)) < 0.97] = 0
    rgba[10:30, 10:30] = 0  # a large hole
    hidden = rgba[..., 3] == 0
    rgb = levels(read(encode(Image.fromarray(rgba))).rgb)
    np.testing.assert_array_equal(rgb[~hidden], rgba[~hidden][:, :3])
    places, colours = np.argwhere(~hidden), rgba[~hidden][:, :3]
    for place in np.argwhere(hidden):
        distance = np.sqrt(((places - place) ** 2).sum(axis=1))
        same = (colours == rgb[tuple(place)]).all(axis=1)
        assert distance[same].min() <= 1.03 * distance.min() + 1e-6


def test_a_wholly_transparent_picture_stays_as_it_is(read):
    rgba = np.dstack([PIXELS, np.zeros((6, 9), np.uint8)])
    picture = read(encode(Image.fromarray(rgba)))
    np.testing.assert_array_equal(levels(picture.rgb), PIXELS)
    assert not picture.alpha.any()
