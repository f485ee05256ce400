"""Images for the tests of prepared datasets."""

import pytest
from preparing import orientation, photograph, save

from elir_jax.data.preparing import writing


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
