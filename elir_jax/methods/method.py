"""What one way of training is made of; training and evaluation know methods by this alone."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from elir_jax.methods.elir.sampler import Sampler
from elir_jax.training.step import Objective
from elir_jax.types import Image, Networks, Params, SampleKeys, Stages


class Method(NamedTuple):
    """What distinguishes one way of training from another."""

    # (key, name of the pretrained weights) -> (trained, frozen) parameters
    init: Callable[[jax.Array, str], tuple[Params, Params]]
    objective: Objective  # of ``collapse(params)``
    collapse: Callable[[Params], Params]  # trained parameters -> those that training computes with
    restore: Callable[[Params, Params, Image, SampleKeys], Image]  # by inference parameters
    stages: Stages  # the same, step by step
    stage_names: tuple[str, ...]
    for_inference: Callable[[Params], Params]  # trained parameters -> inference parameters
    factor: int  # what must divide the images' height and width
    # What restores pictures of any size: networks of inference parameters, and the sampler.
    networks: Networks | None = None
    sampler: Sampler | None = None
    # (parameters, frozen, x_hq, x_lq, keys) -> latents along the flow; None where nothing flows
    trajectories: Callable[..., jax.Array] | None = None
    export: Callable[[Params, Path], list[Path]] = lambda params, workdir: []  # averaged weights
