"""Restoration from Python: ``Restorer.load(path)``, then ``restorer(images, seed=0)``."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from elir_jax.compose.restoration import Restoration, build_restoration, read_config
from elir_jax.devices.mesh import parallel_map, replicate
from elir_jax.inference.whole_pictures import Programs, carry, padded_side, restore_any_size
from elir_jax.inference.windows import Stored
from elir_jax.pictures.images import AnyPixels, to_uint8

MOST_PIXELS = 2048 * 2048  # of the pictures that are held at once, where there is more than one


class Group(NamedTuple):
    """Images that are restored together."""

    numbers: list[int]
    batch: int  # how many the programs are made for
    small: bool  # whether there is room for another group beside it


class Restorer:
    """Restores pictures of any size, on all local devices.

    The result follows from a picture's pixels, the weights and the seed: not from its neighbours,
    the batch or the number of devices.
    """

    def __init__(self, restoration: Restoration):
        self.title, self.method = restoration.title, restoration.method
        networks, self.sampler = self.method.networks, self.method.sampler
        self._weights = replicate((restoration.params, restoration.frozen))

        def encode(weights, x):
            params, frozen = weights
            return networks.encode(params.get("encoder", frozen["encoder"]), x)

        def carried(weights, latents, every):
            return carry(networks, self.sampler, weights[0], *latents, every)

        def decode(weights, z):
            return networks.decode(weights[1]["decoder"], z)

        encode, decode = self._mapped(encode), self._mapped(decode)
        self._programs = [
            Programs(
                encode,
                self._mapped(functools.partial(carried, every=every)),
                decode,
                jax.local_device_count(),
            )
            for every in (False, True)
        ]

    @classmethod
    def load(
        cls,
        path: str | Path,
        config: Any = None,
        *,
        steps: int | None = None,
        noise: bool = True,
        dtype: str | None = None,
    ) -> "Restorer":
        """From a run's folder, a folder of converted weights, or a file of the release.

        ``config`` (``configs/NAME.py``, or a ConfigDict) is for weights that bring none. ``steps``
        is M, the number of Euler steps; without ``noise`` the flow starts at the posterior mean;
        ``dtype`` is float32 or bfloat16. Raises UserError.
        """
        changes = {"sampler.num_steps": steps, "dtype": dtype}
        changes = {field: value for field, value in changes.items() if value is not None}
        if not noise:
            changes["sampler.noise"] = False
        chosen = read_config(config) if isinstance(config, str) else config
        return cls(build_restoration(Path(path), chosen, changes))

    def __call__(self, images, seed: int = 0):
        """Restored images, in the form that they are given.

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
        for group in self.groups([image.shape[:2] for image in given], len(given)):
            results_of = self.stages([given[i] for i in group.numbers], seed, group.batch)
            for i, (restored,) in zip(group.numbers, results_of, strict=True):
                as_given = given[i].dtype == np.uint8
                results[i] = to_uint8(restored) if as_given else np.clip(restored, 0, 1)
        return results

    def groups(self, sizes: Sequence[tuple[int, int]], most: int) -> list[Group]:
        """Images to restore together: padded to one size, at most ``most``, of bounded pixels."""
        alike: dict[tuple[int, int], list[int]] = {}
        for i, size in enumerate(sizes):
            height, width = (padded_side(side, self.method.factor) for side in size)
            alike.setdefault((height, width), []).append(i)
        groups = []
        for (height, width), numbers in sorted(alike.items()):
            together = max(1, min(most, MOST_PIXELS // (height * width)))
            batch = -(-len(numbers) // -(-len(numbers) // together))  # even groups waste less
            small = height * width * batch <= MOST_PIXELS
            for first in range(0, len(numbers), batch):
                groups.append(Group(numbers[first : first + batch], batch, small))
        return groups

    def stages(
        self, images: Sequence[Stored], seed: int, batch: int | None = None, every=False
    ) -> list[list[AnyPixels]]:
        """Each image's restoration, not clipped; with ``every``, of all ``stage_names``.

        ``images`` are of one padded size; the programs are those for ``batch`` of them.
        """
        return restore_any_size(
            self._programs[every], images, seed, self.method.factor, batch or len(images)
        )

    @property
    def stage_names(self) -> tuple[str, ...]:
        """What :meth:`stages` gives with ``every``: posterior mean, with noise, each Euler step."""
        return self.sampler.stage_names[1:-1]

    def _mapped(self, fn):
        return functools.partial(parallel_map(fn), self._weights)


def _checked(image: np.ndarray) -> Stored:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"images are (h, w, 3) or (b, h, w, 3), not {image.shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"images are uint8, or floats in [0, 1], not {image.dtype}")
    image = image.astype(np.float32)
    if not (image.min() >= 0 and image.max() <= 1):  # false for NaN too
        raise ValueError(f"float images lie in [0, 1], not [{image.min()}, {image.max()}]")
    return image
