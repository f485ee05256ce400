"""The estimate of the posterior mean as a part: clipped, in windows."""

from collections.abc import Callable

import jax.numpy as jnp

from elir_jax.inference.parts import Local, Part, Reach, Window
from elir_jax.methods.posterior_mean.objective import Estimate
from elir_jax.networks.pixel_unet import FACTOR, PixelUNet
from elir_jax.types import Params

LOCAL_AT_ONCE = 1024 * 1024  # pixels in a network of convolutions, on a device
PIXELS_AT_ONCE = 512 * 512  # in a large transformer, on a device
OVERLAP = 8  # of a window's side: neighbours share twice as much, a quarter of it


def window_of(size: int, at_once: int = PIXELS_AT_ONCE) -> Window:
    """Windows of a network that was trained on ``size`` x ``size`` elements."""
    return Window(size, size // OVERLAP, at_once)


def local_of(net: PixelUNet) -> Local:
    """Windows on the grid of a network of convolutions, which give the same as the whole."""
    return Local(net.halo, LOCAL_AT_ONCE // FACTOR**2, FACTOR)


def posterior_mean_part(
    estimate: Estimate,
    estimator: Callable[[Params, Params], Params],
    reach: Reach,
    shows: tuple[str, ...] = (),
) -> Part:
    """Degraded -> ``clip(f(y), 0, 1)``, by the weights that ``estimator(params, frozen)`` gives."""

    def apply(params, frozen, x, eps):
        return [jnp.clip(estimate(estimator(params, frozen), x, None), 0, 1)]

    return Part("posterior_mean", apply, reach, shows=shows)
