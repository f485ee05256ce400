"""PMRF's networks as pure functions; with an autoencoder around the flow, Latent-PMRF's.

The estimator works on images in either case, the velocity on what ``encode`` makes of them. PMRF
itself has the identity there.
"""

from collections.abc import Callable
from typing import NamedTuple

from elir_jax.methods.posterior_mean.objective import Estimate
from elir_jax.types import Image, Latent, Params, Time

CONSTANTS = "constants"  # of the velocity: random frequencies, which are never trained


class Networks(NamedTuple):
    """The networks; ``encode`` takes the frozen parameters, the velocity all its variables.

    If latents are sampled, ``encode`` gives their means and, behind these, as many channels of
    standard deviations. An estimator that is trained beside the velocity works on latents.
    """

    estimate: Estimate
    velocity: Callable[[Params, Latent, Time], Latent]
    encode: Callable[[Params, Image], Latent] = lambda frozen, x: x


def variables(params: Params, frozen: Params) -> Params:
    """The velocity's variables, of which the constants are kept with what is frozen."""
    return {"params": params["velocity"], "constants": frozen[CONSTANTS]}
