"""The source noise of a picture: it follows from the picture's pixels and a seed.

So each picture of a set has its own noise. It is the same whatever pictures are restored with it,
whatever its number or file name is, and whichever command restores it.
"""

import hashlib

import jax
import numpy as np
from jaxtyping import Key

from elir_jax.inference.windows import Stored
from elir_jax.pictures.images import to_float, to_uint8

PART = 2**24  # samples that are rounded at once


def picture_key(seed: int, image: Stored) -> Key[jax.Array, ""]:
    """The key of a picture's noise: ``seed`` with a digest of its size and pixels folded in.

    ``image`` holds floats in [0, 1], or integers that stand for them. The digest is that of the
    pixels rounded to 8 bits, so integers and floats of a picture give the same noise. ``seed`` is
    in [0, 2^32).
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    for rows in np.array_split(image, -(-image.size // PART)):
        if rows.dtype != np.uint8:
            rows = to_uint8(rows if rows.dtype == np.float32 else to_float(rows))
        digest.update(rows.tobytes())
    key = jax.random.key(seed)
    for word in np.frombuffer(digest.digest(), "<u4"):
        key = jax.random.fold_in(key, word)
    return key
