"""The estimate of the posterior mean as a part: clipped; whole, or in windows of one size."""

from collections.abc import Callable

import jax.numpy as jnp

from elir_jax.inference.parts import Part, Reach, Whole, Window
from elir_jax.methods.posterior_mean.objective import Estimate
from elir_jax.types import Params

PIXELS_AT_ONCE = 512 * 512  # in a large transformer, on a device
LARGEST_WHOLE = 1024 * 1024  # pixels at once in a network of convolutions, on a device
SEES = 96  # pixels beyond a seam that blended windows of such a network see
OVERLAP = 8  # of a window's side: neighbours share twice as much, a quarter of it


def window_of(size: int, at_once: int = PIXELS_AT_ONCE) -> Window:
    """Windows of a network that was trained on ``size`` x ``size`` elements."""
    return Window(size, size // OVERLAP, at_once)


def whole_of(multiple: int) -> Whole:
    """The whole picture, for a network of convolutions whose sides are multiples of that."""
    return Whole(multiple, SEES, LARGEST_WHOLE)


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
