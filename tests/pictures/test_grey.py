"""Grey pictures: what is one, and a file of one channel for it."""

import numpy as np
import pytest
from making import SRGB_TO_XYZ, gamma, rgb_icc, srgb_curve
from PIL import Image

from elir_jax.pictures.anybody import Picture, read_picture, write_picture
from elir_jax.pictures.grey import as_grey, is_grey

RNG = np.random.default_rng(0)
GREY = np.repeat(RNG.random((5, 7, 1), np.float32), 3, axis=-1)
ALPHA = RNG.random((5, 7), np.float32)


def written(tmp_path, image, *like):
    path = tmp_path / "x.png"
    write_picture(path, image, Picture(image, *like))
    with Image.open(path) as found:
        found.verify()  # checksums
    with Image.open(path) as found:
        found.load()
        return read_picture(path), found


@pytest.mark.parametrize("bits, mode", [(8, "L"), (16, "I;16")])
def test_equal_channels_are_written_as_one(tmp_path, bits, mode):
    again, file = written(tmp_path, GREY, None, bits, None)
    assert file.mode == mode and again.bits == bits
    np.testing.assert_array_equal(
        again.rgb, np.round(GREY * (2**bits - 1)) / np.float32(2**bits - 1)
    )


def test_a_single_other_level_is_written_in_colours(tmp_path):
    image = GREY.copy()
    image[4, 6, 1] = 1 - image[4, 6, 1]
    assert written(tmp_path, image, None, 8, None)[1].mode == "RGB"


@pytest.mark.parametrize("bits", [8, 16])
def test_transparency_stays_beside_grey(tmp_path, bits):
    again, file = written(tmp_path, GREY, ALPHA, bits, None)
    assert bits == 16 or file.mode == "LA"  # Pillow has no such mode of 16 bits
    assert is_grey(again.rgb) and again.bits == bits
    np.testing.assert_allclose(again.rgb, GREY, atol=0.51 / (2**bits - 1))
    np.testing.assert_allclose(again.alpha, ALPHA, atol=0.51 / (2**bits - 1))


def test_a_profile_of_colours_is_in_no_grey_file(tmp_path):
    srgb, other = rgb_icc(SRGB_TO_XYZ, srgb_curve()), rgb_icc(SRGB_TO_XYZ, gamma(1.8))
    _, file = written(tmp_path, GREY, None, 8, srgb)
    assert file.mode == "L" and "icc_profile" not in file.info
    again, file = written(tmp_path, GREY, None, 16, other)  # without it, the tones would be others
    assert file.mode == "RGB" and file.info["icc_profile"] == other
    assert is_grey(again.rgb) and again.bits == 16


def test_grey_is_luma_in_three_equal_channels():
    image = RNG.random((4, 6, 3), np.float32)
    assert not is_grey(image) and is_grey(as_grey(image))
    np.testing.assert_allclose(as_grey(image)[..., 0], image @ [0.299, 0.587, 0.114], atol=1e-6)
    np.testing.assert_allclose(as_grey(GREY), GREY, atol=1e-6)
