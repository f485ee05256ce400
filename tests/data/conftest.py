"""Images for the tests of prepared datasets, and a reader for those of pictures."""

import numpy as np
import pytest
from preparing import orientation, photograph, save

from elir_jax.data import writing
from elir_jax.data.pictures import Picture, read_picture, read_shape


@pytest.fixture
def images(tmp_path):
    """Twelve images of several kinds, in folders."""
    folder = tmp_path / "images"
    for i in range(7):
        save(folder / f"a/{i}.png", photograph(i))
    save(folder / "b.JPG", photograph(7, 30, 18), quality=90)
    save(folder / "grau.png", photograph(8)[..., 0])
    save(folder / "größe 1/ein Bild.webp", photograph(9), lossless=True)
    save(folder / "größe 1/gedreht.jpeg", photograph(10), exif=orientation(6))
    save(folder / "z.bmp", photograph(11))
    return folder


@pytest.fixture
def few_a_shard(monkeypatch):
    monkeypatch.setattr(writing, "SHARD_IMAGES", 5)


@pytest.fixture
def read(tmp_path):
    """Reads bytes as a picture, and finds its shape in its header."""

    def read_bytes(content) -> Picture:
        path = tmp_path / "picture"  # what it is stands in the content
        path.write_bytes(content)
        picture = read_picture(path)
        assert picture.rgb.dtype == np.float32 and picture.rgb.flags.c_contiguous
        assert read_shape(path) == picture.rgb.shape[:2]
        return picture

    return read_bytes
