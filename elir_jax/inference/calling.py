"""Restoring from Python, with any runtime: what it takes, and in which form it gives it back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elir_jax.inference.grouping import Group, group
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.inference.windows import Stored
from elir_jax.pictures.images import AnyPixels, to_uint8


class AnyRestorer:
    """Restores pictures of any size.

    A result depends only on the picture's pixels, the weights and the seed, not on the other
    pictures, the batch or the number of devices.
    """

    def __init__(self, title: str, pictures: WholePictures, weights: Any):
        self.title, self.pictures, self.weights = title, pictures, weights

    def __call__(self, images, seed: int = 0):
        """Restore images; returns them in the form in which they are given.

        ``images``: (h, w, 3), (b, h, w, 3), or a list of (h, w, 3) of any sizes; uint8, or floats
        in [0, 1], which come back as float32 in [0, 1]. Raises ValueError for anything else.
        """
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must lie in [0, 2^32), got {seed}")
        if not isinstance(images, (list, tuple)):
            array = np.asarray(images)
            restored = self([array] if array.ndim == 3 else list(array), seed)
            return restored[0] if array.ndim == 3 else np.stack(restored)
        given = [_checked(np.asarray(image)) for image in images]
        results: list = [None] * len(given)
        for some in self.groups([image.shape[:2] for image in given], len(given)):
            results_of = self.stages([given[i] for i in some.numbers], seed, some.batch)
            for i, (restored,) in zip(some.numbers, results_of, strict=True):
                as_given = given[i].dtype == np.uint8
                results[i] = to_uint8(restored) if as_given else np.clip(restored, 0, 1)
        return results

    def groups(self, sizes: Sequence[tuple[int, int]], most: int) -> list[Group]:
        """Groups of images to restore together: padded to one size, at most ``most`` in each."""
        return group(sizes, most, self.pictures.padded_side)

    def stages(
        self, images: Sequence[Stored], seed: int, batch: int | None = None, every=False
    ) -> list[list[AnyPixels]]:
        """Each image's restoration, not clipped; if ``every``, all its ``stage_names``.

        ``images`` have one padded size; the programs are compiled for ``batch`` of them.
        """
        found = self.pictures.restore(self.weights, images, seed, batch or len(images), every)
        return [list(one.stages) if every else [one.restored] for one in found]

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages that :meth:`stages` returns if ``every``, in order."""
        return self.pictures.stage_names


def _checked(image: np.ndarray) -> Stored:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"images must be (h, w, 3) or (b, h, w, 3), not {image.shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"images must be uint8, or floats in [0, 1], not {image.dtype}")
    image = image.astype(np.float32)
    if not (image.min() >= 0 and image.max() <= 1):  # false for NaN too
        raise ValueError(f"float images must lie in [0, 1], not [{image.min()}, {image.max()}]")
    return image
