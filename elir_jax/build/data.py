"""Photographs and degradation of a configuration."""

from collections.abc import Callable

from ml_collections import ConfigDict

from elir_jax.build.fields import choose, make
from elir_jax.data.degradations import BlindFaceRestoration, Denoising, Identity
from elir_jax.data.pipeline import Degradation
from elir_jax.data.sources import Source, check_sizes, choose_sources

DEGRADATIONS: dict[str, Callable[..., Degradation]] = {
    "blind_face_restoration": BlindFaceRestoration,
    "denoising": Denoising,
    "identity": Identity,
}


def build_data(config: ConfigDict) -> tuple[Source, Source, Degradation]:
    """(training images, held-out images, degradation)."""
    data, name = config.data, config.degradation.name
    train, held_out = choose_sources(data.path, data.eval_path, data.held_out, data.embedded)
    check_sizes(held_out, config.evaluation.size)
    kind = choose(DEGRADATIONS, "degradation.name", name)
    return train, held_out, make(kind, f"degradation.{name}", config.degradation.get(name, {}))
