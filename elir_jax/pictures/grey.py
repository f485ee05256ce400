"""Grey pictures: three equal channels in memory, one channel in a PNG.

A network that was trained on colours gives grey pictures faint ones. What a restoration of a grey
picture is, and how it is written, is said here for all runtimes; docs/demo/page/grey.js repeats it.
"""

import struct
import zlib

import numpy as np

from elir_jax.arrays import Float32, Shaped
from elir_jax.pictures.png import SIGNATURE, chunk

LUMA = np.float32([0.299, 0.587, 0.114])  # of red, green and blue; ITU-R BT.601
GREY, GREY_ALPHA = 0, 4  # colour types of a PNG
UP = 2  # the filter of a row: what it adds to the one above


def is_grey(samples: Shaped[np.ndarray, "_ _ 3"]) -> bool:
    """Whether the three channels are equal."""
    first = samples[..., 0]
    return all(np.array_equal(first, samples[..., c]) for c in (1, 2))


def as_grey(image: Float32[np.ndarray, "_ _ 3"]) -> Float32[np.ndarray, "_ _ 3"]:
    """The luma of an image, in three equal channels."""
    luma = sum(weight * image[..., c] for c, weight in enumerate(LUMA))
    return np.repeat(luma[..., None], 3, axis=-1)


def grey_png(samples: Shaped[np.ndarray, "h w c"]) -> bytes:
    """A grey PNG of uint8 or uint16: one channel, or two, of which the second is transparency."""
    height, width, channels = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    filtered = np.full((height, 1 + rows.shape[1]), UP, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    kind = GREY if channels == 1 else GREY_ALPHA
    size = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, kind, 0, 0, 0)
    chunks = (b"IHDR", size), (b"IDAT", zlib.compress(filtered, level=1)), (b"IEND", b"")
    return SIGNATURE + b"".join(chunk(*one) for one in chunks)
