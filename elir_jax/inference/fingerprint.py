"""What a picture's noise follows from: a digest of its size and its pixels."""

import hashlib

import numpy as np

from elir_jax.arrays import UInt32
from elir_jax.inference.windows import Stored, as_float
from elir_jax.pictures.images import to_uint8

PART = 2**24  # samples that are rounded at once


def fingerprint(image: Stored) -> UInt32[np.ndarray, "2"]:
    """64 bits of a picture of floats in [0, 1], or of integers that stand for them.

    The digest is that of the pixels rounded to 8 bits, so integers and floats of a picture have the
    same one.
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    for rows in np.array_split(image, -(-image.size // PART)):
        if rows.dtype != np.uint8:
            rows = to_uint8(as_float(rows))
        digest.update(rows.tobytes())
    return np.frombuffer(digest.digest(), "<u4").astype(np.uint32)
