"""What a restorer takes from Python, and what it refuses in one line; the same for all runtimes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from elir_jax.errors import UserError
from elir_jax.inference.calling import AnyRestorer
from elir_jax.inference.given import checked_seed, checked_steps
from elir_jax.inference.parts import Part, Whole
from elir_jax.inference.whole_pictures import WholePictures

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
GREY = PIXELS[..., 0]
PICTURE = Image.fromarray(PIXELS)


@pytest.fixture(scope="module")
def restorer():
    """Gives back what it is given."""
    part = Part("nothing", lambda params, frozen, x, eps: [x], Whole(4, 0, 2**20))
    pictures = WholePictures([part], lambda program: program, 1, lambda *_: None)
    return AnyRestorer("nothing", pictures, (None, None), "denoising")


def lab():
    profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    return ImageCms.applyTransform(PICTURE, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_pil_images_of_other_colours_become_rgb(restorer, mode):
    image = lab() if mode == "LAB" else PICTURE.convert(mode)
    found = restorer(image)
    assert found.dtype == np.uint8 and found.shape == PIXELS.shape
    assert np.abs(found.astype(int) - PIXELS).mean() < 4  # these modes hold 8 bits, rounded


def test_a_palette_becomes_its_colours(restorer):
    image = PICTURE.quantize(16)
    np.testing.assert_array_equal(restorer(image), np.asarray(image.convert("RGB")))


def test_grey_pictures_come_back_without_an_axis_of_channels(restorer):
    np.testing.assert_array_equal(restorer(GREY), GREY)
    np.testing.assert_array_equal(restorer(Image.fromarray(GREY)), GREY)
    bits = GREY > 127
    np.testing.assert_array_equal(restorer(Image.fromarray(bits)), 255 * bits.astype(np.uint8))
    floats = restorer(GREY / 255.0)
    assert floats.dtype == np.float32 and floats.shape == GREY.shape
    first, second = restorer([GREY, PICTURE])
    np.testing.assert_array_equal(first, GREY)
    np.testing.assert_array_equal(second, PIXELS)


@pytest.mark.parametrize(
    "mode, words",
    [
        ("RGBA", "mode RGBA with transparency"),
        ("LA", "mode LA with transparency"),
        ("PA", "mode PA with transparency"),
        ("I;16", "mode I;16 has more than 8 bits"),
        ("I", "mode I has more than 8 bits"),
        ("F", "mode F has more than 8 bits"),
    ],
)
def test_pil_images_that_would_lose_something_are_refused(restorer, mode, words):
    with pytest.raises(ValueError, match=words) as error:
        restorer([Image.new(mode, (8, 8))])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (np.zeros((48, 64, 1)), r"not \(48, 64, 1\)"),
        (np.zeros((2, 8, 8, 4)), r"not \(2, 8, 8, 4\)"),
        (np.zeros(64), r"not \(64,\)"),
        ([np.zeros((2, 8, 8, 3))], r"not \(2, 8, 8, 3\)"),
        (np.zeros((0, 48, 64, 3)), "no image"),
        ([], "no image"),
        (np.zeros((0, 8, 3)), r"not \(0, 8, 3\)"),
        ("a.png", "not the name 'a.png'; open it"),
        ([Path("a.png")], "not the name .*a.png.*; open it"),
        ([PIXELS.tolist()], "not list"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_what_it_is(restorer, wrong, words):
    with pytest.raises(ValueError, match=words) as error:
        restorer(wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", [1.5, -1, 2**32, "1", None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match=r"whole number in \[0, 2\^32\), not "):
        checked_seed(seed)


@pytest.mark.parametrize("steps", [0, -1, 1.5, "2"])
def test_a_number_of_steps_that_is_none_is_refused(steps):
    with pytest.raises(UserError, match="whole number of at least 1, not "):
        checked_steps(steps)


def test_any_integer_is_a_seed_or_a_number_of_steps(restorer):
    assert checked_seed(np.int64(0)) == 0 and checked_steps(np.uint8(3)) == 3
    assert checked_steps(None) is None
    with pytest.raises(ValueError, match="not -1"):
        restorer(PIXELS, seed=-1)
