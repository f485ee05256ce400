"""Restoring from Python, with any runtime: what it takes, and in which form it gives it back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elir_jax.errors import UserError
from elir_jax.inference.color import with_colors_of
from elir_jax.inference.grouping import Group, group
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.inference.windows import Stored, as_float
from elir_jax.pictures.images import AnyPixels, to_uint8


class AnyRestorer:
    """Restores pictures of any size.

    A result depends only on the picture's pixels, the weights and the seed, not on the other
    pictures, the batch or the number of devices.
    """

    def __init__(self, title: str, pictures: WholePictures, weights: Any, task: str):
        self.title, self.pictures, self.weights, self.task = title, pictures, weights, task

    def __call__(self, images, seed: int = 0, color_fix: bool = False):
        """Restore images; returns them in the form in which they are given.

        ``images``: (h, w, 3), (b, h, w, 3), or a list of (h, w, 3) of any sizes; uint8, or floats
        in [0, 1], which come back as float32 in [0, 1]. If ``color_fix``, low frequencies are those
        of the input (:mod:`elir_jax.inference.color`). Raises ValueError for anything else.
        """
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must lie in [0, 2^32), got {seed}")
        if not isinstance(images, (list, tuple)):
            array = np.asarray(images)
            restored = self([array] if array.ndim == 3 else list(array), seed, color_fix)
            return restored[0] if array.ndim == 3 else np.stack(restored)
        given = [_checked(np.asarray(image)) for image in images]
        results: list = [None] * len(given)
        for some in self.groups([image.shape[:2] for image in given], len(given)):
            results_of = self.stages(
                [given[i] for i in some.numbers], seed, some.batch, color_fix=color_fix
            )
            for i, (restored,) in zip(some.numbers, results_of, strict=True):
                as_given = given[i].dtype == np.uint8
                results[i] = to_uint8(restored) if as_given else np.clip(restored, 0, 1)
        return results

    def groups(self, sizes: Sequence[tuple[int, int]], most: int) -> list[Group]:
        """Groups of images to restore together: padded to one size, at most ``most`` in each."""
        return group(sizes, most, self.pictures.padded_side)

    def stages(
        self,
        images: Sequence[Stored],
        seed: int,
        batch: int | None = None,
        every: bool = False,
        color_fix: bool = False,
    ) -> list[list[AnyPixels]]:
        """Each image's restoration, not clipped; if ``every``, all its ``stage_names``.

        ``images`` have one padded size; the programs are compiled for ``batch`` of them. Raises
        UserError if ``color_fix`` is asked of a model that adds colours.
        """
        if color_fix:
            self.check_color_fix()
        found = self.pictures.restore(self.weights, images, seed, batch or len(images), every)
        results = [list(one.stages) if every else [one.restored] for one in found]
        if color_fix:
            for image, (*_, restored), stages in zip(images, results, results, strict=True):
                stages[-1] = with_colors_of(as_float(image), restored)
        return results

    def check_color_fix(self) -> None:
        """Raise UserError if the model adds colours, which its input does not have."""
        if self.task == "colorization":
            raise UserError("a model for colorization cannot take colours from its input")

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
