"""What a colour profile says is obeyed, carried on, or ignored where it makes no sense."""

import struct
import zlib

import numpy as np
import pytest
from making import (
    ADOBE,
    ADOBE_TO_XYZ,
    ALPHA,
    DEEP,
    PIXELS,
    RGB,
    SRGB,
    SRGB_TO_XYZ,
    check_deep,
    cmyk_icc,
    encode,
    encoded,
    gamma,
    grey_icc,
    levels,
    png,
    png_chunk,
    rgb_icc,
    srgb_curve,
)
from PIL import Image, ImageCms


def test_another_rgb_becomes_srgb(read):
    linear = (PIXELS / 255) ** (563 / 256) @ ADOBE_TO_XYZ.T @ np.linalg.inv(SRGB_TO_XYZ).T
    expected = 255 * encoded(linear)
    assert np.abs(expected - PIXELS).max() > 20
    for options in ({}, {"format": "TIFF"}, {"format": "WEBP", "lossless": True}):
        picture = read(encode(RGB, icc_profile=ADOBE, **options))
        assert np.abs(255 * picture.rgb - expected).max() <= 2
        assert picture.profile is None
    clear = RGB.copy()
    clear.putalpha(Image.fromarray(ALPHA))
    picture = read(encode(clear, icc_profile=ADOBE))
    assert np.abs(255 * picture.rgb - expected).max() <= 2
    np.testing.assert_array_equal(levels(picture.alpha), ALPHA)


def test_srgb_is_left_untouched_and_carried(read):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (own, SRGB):
        picture = read(encode(RGB, icc_profile=profile))
        np.testing.assert_array_equal(levels(picture.rgb), PIXELS)
        assert picture.profile == profile


def test_nearly_srgb_is_not_srgb(read):
    dark = Image.fromarray(np.full((2, 2, 3), 10, np.uint8))
    picture = read(encode(dark, icc_profile=rgb_icc(SRGB_TO_XYZ, gamma(2.2))))
    expected = 255 * encoded((10 / 255) ** 2.19921875)
    assert np.abs(255 * picture.rgb - expected).max() <= 1 and expected < 4
    assert picture.profile is None


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_has_profiles_too(read, mode):
    ramp = np.arange(256, dtype=np.uint8)[None]
    image = Image.fromarray(ramp).convert(mode)
    picture = read(encode(image, icc_profile=grey_icc(gamma(1.0))))
    expected = 255 * encoded(ramp / 255)[..., None]
    assert np.abs(255 * picture.rgb - expected).max() <= 1.5
    same = read(encode(image, icc_profile=grey_icc(srgb_curve())))
    np.testing.assert_array_equal(levels(same.rgb)[..., 1], ramp)
    assert same.profile is None  # a profile of grey says nothing of RGB
    colours = read(encode(image, icc_profile=SRGB))
    np.testing.assert_array_equal(levels(colours.rgb)[..., 1], ramp)
    assert colours.profile == SRGB


def test_inks_are_seen_as_their_profile_says(read):
    lightness = np.linspace(100, 5, 16)
    lab = np.stack([lightness, np.zeros(16), np.zeros(16)], axis=-1)
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:] = (0, 255, 0, 255)  # corner number 5
    image = Image.fromarray(inks, "CMYK")
    y = ((lightness[[0, 5]] + 16) / 116) ** 3
    paper, ink = 255 * encoded(y)
    for options in ({"format": "JPEG", "quality": 100}, {"format": "TIFF"}):
        picture = read(encode(image, icc_profile=cmyk_icc(lab), **options))
        assert np.abs(255 * picture.rgb[:, :15] - paper).max() <= 3
        assert np.abs(255 * picture.rgb[:, 17:] - ink).max() <= 3
        assert picture.profile is None


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile at all",
        ADOBE[:300],
        ADOBE[:128] + struct.pack(">I", 0),  # a header without tables
        grey_icc(gamma(1.0)),  # of another space
    ],
)
def test_a_broken_profile_is_ignored(read, profile):
    picture = read(encode(RGB, icc_profile=profile))
    np.testing.assert_array_equal(levels(picture.rgb), PIXELS)
    assert picture.profile is None


@pytest.mark.parametrize("profile, kept", [(ADOBE, ADOBE), (SRGB, SRGB), (b"junk", None)])
def test_sixteen_bits_keep_their_numbers_and_profile(read, profile, kept):
    chunk = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))
    picture = read(png(DEEP[..., :3], between=chunk))
    check_deep(picture, DEEP[..., :3], None)
    assert picture.profile == kept
