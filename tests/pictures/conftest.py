"""A reader for the tests of pictures."""

import numpy as np
import pytest

from elir_jax.pictures.anybody import Picture, read_picture, read_shape


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
