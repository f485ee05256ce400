"""PSNR, SSIM and MS-SSIM equal IQA-PyTorch's: ``pyiqa.create_metric("psnr")``, ``("ssim")`` ...

Its settings are the defaults: PSNR over RGB (``test_y_channel=False``), SSIM on the Y of YIQ times
255, rounded (``test_y_channel=True, color_space="yiq", downsample=False``); no border is cut off.
The figures below are version 0.1.16's, computed with PyTorch 2.13 on a CPU. The photographs are
scikit-image's PNGs only, and damage by compression is drawn here: decoders of JPEG may differ.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from elir_jax.metrics.psnr import psnr
from elir_jax.metrics.ssim import ms_ssim, ssim

TOLERANCE = 1e-4  # of PSNR in dB, and of SSIM
EXPECTED = {  # name: (PSNR, SSIM)
    "noise": (20.522383, 0.472053),
    "blur": (27.523510, 0.888582),
    "compression": (29.312231, 0.821142),
    "contrast": (24.868650, 0.907737),
    "shift": (19.217484, 0.669760),
    "identical": (80.000000, 1.000000),
    "black and white": (0.000000, 0.000100),
    "flat, luma halfway": (11.067964, 0.961051),
    "far out of range": (7.596889, 0.074917),
    "one window, one step": (47.382717, 0.986876),
}
EXPECTED_MS = {  # of the pairs that have five scales; their sides are odd at some of them
    "noise": 0.896899,
    "blur": 0.977489,
    "shift": 0.807388,
    "black and white": 0.286175,
    "far out of range": 0.536871,
}


def crop(photograph, top, left, height, width):
    pixels = getattr(data, photograph)()[top : top + height, left : left + width]
    return np.float32(pixels) / np.float32(255)


def noise(x, deviation, seed):
    return x + np.float32(deviation) * np.random.default_rng(seed).standard_normal(x.shape, "f4")


def blur(x):
    """Binomial weights over 9 pixels, along both axes."""
    for _ in range(4):
        for axis in (0, 1):
            x = (np.roll(x, 1, axis) + 2 * x + np.roll(x, -1, axis)) / 4
    return x


def coarse_blocks(x, step):
    """What compression does: the cosine coefficients of each 8x8 block, rounded to ``step``."""
    k, n = np.mgrid[:8, :8]
    basis = np.where(k == 0, np.sqrt(1 / 8), 0.5) * np.cos(np.pi * k * (2 * n + 1) / 16)
    height, width = x.shape[:2]
    blocks = np.float64(x).reshape(height // 8, 8, width // 8, 8, 3)
    there = np.einsum("ki,aibjc,lj->akblc", basis, blocks, basis)
    back = np.einsum("ki,akblc,lj->aibjc", basis, step * np.round(there / step), basis)
    return np.float32(back.reshape(x.shape))


def eight_bits(x):
    return np.round(np.clip(x, 0, 1) * np.float32(255)) / np.float32(255)


def ten_pairs():
    """``name -> (restored, original)``, float32 ``[h, w, 3]``; the restored may leave [0, 1]."""
    face = crop("astronaut", 30, 150, 187, 203)
    cup = crop("coffee", 61, 111, 211, 301)
    cat = crop("chelsea", 40, 120, 160, 200)
    tissue = crop("immunohistochemistry", 100, 7, 129, 255)
    # 299 * 156 + 587 * 164 + 114 * 242 = 170,500: the last bit of a sum decides on 170 or 171.
    flat = np.full((37, 41, 3), np.float32((156, 164, 242)) / np.float32(255), "f4")
    wall = eight_bits(np.float32(0.24) + noise(np.zeros((11, 11, 3), "f4"), 0.004, 3))
    return {
        "noise": (noise(face, 0.1, 0), face),
        "blur": (blur(cup), cup),
        "compression": (eight_bits(coarse_blocks(cat, 0.2)), cat),
        "contrast": (0.6 * (tissue - np.float32(0.5)) + np.float32(0.5), tissue),
        "shift": (crop("coffee", 63, 108, 211, 301), cup),
        "identical": (cat, cat),
        "black and white": (np.zeros_like(face), np.ones_like(face)),
        "flat, luma halfway": (flat, np.full_like(flat, 0.5)),
        "far out of range": (3 * noise(face, 0.5, 1) - 1, face),
        "one window, one step": (eight_bits(noise(wall, 0.004, 2)), wall),
    }


PAIRS = ten_pairs()


@pytest.mark.parametrize("compiled", [False, True], ids=["step by step", "as one program"])
@pytest.mark.parametrize("name", PAIRS)
def test_psnr_and_ssim_are_those_of_pyiqa(name, compiled):
    x, reference = (jnp.asarray(image[None]) for image in PAIRS[name])
    for metric, expected in zip((psnr, ssim), EXPECTED[name], strict=True):
        value = (jax.jit(metric) if compiled else metric)(x, reference)
        np.testing.assert_allclose(value, [expected], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", PAIRS)
def test_ms_ssim_is_that_of_pyiqa(name):
    x, reference = (jnp.asarray(image[None]) for image in PAIRS[name])
    expected = EXPECTED_MS.get(name, jnp.nan)  # too small for the coarsest window
    np.testing.assert_allclose(jax.jit(ms_ssim)(x, reference), [expected], atol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_psnr_and_ssim_are_those_of_pyiqa_as_installed(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that pyiqa brings along
        pyiqa = pytest.importorskip("pyiqa", reason="comparing with pyiqa needs it installed")
        torch = pytest.importorskip("torch")
        x, reference = (np.clip(image, 0, 1).transpose(2, 0, 1)[None] for image in PAIRS[name])
        pair = torch.from_numpy(x.copy()), torch.from_numpy(reference.copy())
        theirs = [float(pyiqa.create_metric(m, device="cpu")(*pair)) for m in ("psnr", "ssim")]
    ours = [
        float(metric(*(jnp.asarray(i[None]) for i in PAIRS[name]))[0]) for metric in (psnr, ssim)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
