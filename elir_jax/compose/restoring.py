"""Restore with a method over all local devices, in the form that evaluation uses."""

from collections.abc import Sequence

import jax

from elir_jax.devices.mesh import parallel_map
from elir_jax.evaluation.measure import Restoring
from elir_jax.inference.noise import unit_noise
from elir_jax.inference.parts import Part
from elir_jax.inference.whole_pictures import Weights, WholePictures
from elir_jax.methods.method import Method


def whole_pictures(parts: Sequence[Part]) -> WholePictures:
    """Restore pictures of any size with these parts, over all local devices."""
    return WholePictures(parts, parallel_map, jax.local_device_count(), unit_noise)


def restoring(method: Method, seed: int):
    """A function ``weights -> Restoring``; all weights share the compiled programs."""
    pictures = whole_pictures(method.parts)
    target = None if method.target is None else whole_pictures([method.target])
    reconstruction = whole_pictures(method.reconstruction) if method.reconstruction else None

    def by_weights(weights: Weights) -> Restoring:
        def restore(images, batch):
            return pictures.restore(weights, images, seed, batch, every=True)

        def one(through: WholePictures | None):
            """The last output of these parts for one picture; None if there are none."""

            def output(x_hq):
                (found,) = through.restore(weights, [x_hq], seed, 1)
                return found.restored

            return None if through is None else output

        return Restoring(
            restore,
            one(target),
            pictures.stage_names,
            pictures.padded_side,
            method.shows_input,
            one(reconstruction),
        )

    return by_weights
