"""Restoring from Python, with any runtime: what it takes, and in which form it gives it back."""

from collections.abc import Sequence
from typing import Any

from elir_jax.errors import UserError
from elir_jax.inference.color import with_colors_of
from elir_jax.inference.given import checked_count, checked_seed, given_pictures
from elir_jax.inference.grouping import Group, group
from elir_jax.inference.sampling import Sampled, sampled, seeds_from
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.inference.windows import Stored, as_float
from elir_jax.pictures.grey import as_grey, is_grey
from elir_jax.pictures.images import AnyPixels


class AnyRestorer:
    """Restores pictures of any size.

    A result depends only on the picture's pixels, the weights and the seed, not on the other
    pictures, the batch or the number of devices.
    """

    def __init__(self, title: str, pictures: WholePictures, weights: Any, task: str):
        self.title, self.pictures, self.weights, self.task = title, pictures, weights, task

    def __call__(self, images, seed: int = 0, color_fix: bool = False):
        """Restore images; returns them in the form in which they are given.

        ``images``: (h, w, 3), (h, w) if it is grey, (b, h, w, 3), or a list of single ones of any
        sizes; uint8, or floats in [0, 1], which come back as float32 in [0, 1]. PIL images of 8
        bits and without transparency become such arrays: (h, w) in the modes 1 and L, otherwise
        (h, w, 3). If ``color_fix``, low frequencies are those of the input
        (:mod:`elir_jax.inference.color`). Raises ValueError for anything else.
        """
        seed = checked_seed(seed)
        given, back = given_pictures(images)
        results: list = [None] * len(given)
        for some in self.groups([one.pixels.shape[:2] for one in given], len(given)):
            pictures = [given[i].pixels for i in some.numbers]
            found = self.stages(pictures, seed, some.batch, color_fix=color_fix)
            for i, (restored,) in zip(some.numbers, found, strict=True):
                results[i] = given[i].as_given(restored)
        return back(results)

    def samples(self, image, count, seed: int = 0) -> Sampled:
        """``count`` restorations of one image, with the seeds ``seed``, ``seed + 1`` and so on.

        ``image`` and the restorations are as in a call. The restorations are draws from the model's
        posterior, so their deviation says where it is not sure: :class:`Sampled`. Raises ValueError
        for anything else, and UserError if the model draws no noise.
        """
        self.check_samples()
        (given,), _ = given_pictures([image])
        restore = lambda seed: [self.stages([given.pixels], seed)[0][-1]]  # noqa: E731
        seeds = seeds_from(checked_seed(seed), checked_count(count))
        return sampled(restore, seeds, lambda _, picture: given.as_given(picture))[0]

    def check_samples(self) -> None:
        """Raise UserError if every restoration is the same, since no noise is drawn."""
        if not any("noisy" in name for name in self.stage_names):
            raise UserError(
                "samples differ in the flow's noise, and here there is none: with fidelity 0 the "
                "posterior mean is restored; choose a fidelity above 0, such as 1, with noise"
            )

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

        ``images`` have one padded size; the programs are compiled for ``batch`` of them. If the
        channels of an image are equal, so are those of its stages, unless the model adds colours.
        Raises UserError if ``color_fix`` is asked of a model that does.
        """
        if color_fix:
            self.check_color_fix()
        found = self.pictures.restore(self.weights, images, seed, batch or len(images), every)
        results = [list(one.stages) if every else [one.restored] for one in found]
        for image, stages in zip(images, results, strict=True):
            if color_fix:
                stages[-1] = with_colors_of(as_float(image), stages[-1])
            if not self._adds_colors and is_grey(image):
                stages[:] = map(as_grey, stages)
        return results

    def check_color_fix(self) -> None:
        """Raise UserError if the model adds colours, which its input does not have."""
        if self._adds_colors:
            raise UserError("a model for colorization cannot take colours from its input")

    @property
    def _adds_colors(self) -> bool:
        return self.task == "colorization"

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages that :meth:`stages` returns if ``every``, in order."""
        return self.pictures.stage_names
