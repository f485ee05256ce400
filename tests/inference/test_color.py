"""The wavelet correction of colours."""

import numpy as np
import pytest

from elir_jax.inference.color import LEVELS, low_band, with_colors_of

RNG = np.random.default_rng(0)


def naive(picture):
    """Five dilated 3x3 convolutions, a pixel at a time; what lies outside is the nearest pixel."""
    for level in range(LEVELS):
        d, old, (h, w, _) = 2**level, picture, picture.shape
        picture = np.zeros_like(old)
        for i in range(h):
            for j in range(w):
                for a, b in np.ndindex(3, 3):
                    weight = (1, 2, 1)[a] * (1, 2, 1)[b] / 16
                    y, x = np.clip(i + (a - 1) * d, 0, h - 1), np.clip(j + (b - 1) * d, 0, w - 1)
                    picture[i, j] += weight * old[y, x]
    return picture


@pytest.mark.parametrize("shape", [(9, 14, 3), (1, 5, 1), (40, 2, 3)])
def test_the_low_band_is_that_of_dilated_convolutions(shape):
    picture = RNG.random(shape, np.float32)
    np.testing.assert_allclose(low_band(picture), naive(picture), atol=1e-6)


def test_a_cast_is_taken_away_and_detail_is_kept():
    truth = RNG.random((64, 64, 3), np.float32)
    cast = truth + np.float32([0.1, -0.2, 0.05])
    np.testing.assert_allclose(with_colors_of(truth, cast), truth, atol=1e-6)
    stripes = 0.5 + 0.2 * (-1.0) ** np.arange(64, dtype=np.float32)[:, None, None]
    flat = np.full((64, 64, 3), 0.3, np.float32)
    fixed = with_colors_of(flat, np.broadcast_to(stripes, flat.shape))
    inner = fixed[1:-1] - stripes[1:-1]  # one smoothing takes such stripes away, but at an edge
    np.testing.assert_allclose(inner[24:-24], -0.2, atol=0.01)
