"""Training of an estimate of the posterior mean in image space, by any network.

PMRF's first stage (Ohayon et al., 2025, https://arxiv.org/abs/2410.00418) minimises the mean
squared error of the clipped estimate: what lies outside [0, 1] has no gradient. The estimator that
PMRF takes over for faces, DifFace's, was trained by L1, unclipped.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from elir_jax.flow.losses import (
    mean_absolute_error,
    mean_root_squared_error,
    mean_squared_error,
)
from elir_jax.ranges import check_fields
from elir_jax.types import Batch, Image, Params, SampleKeys, Scalar, Step

# (parameters, degraded, keys) -> estimate; with keys, one a sample, it regularises itself as in
# training, without it is what restores.
Estimate = Callable[[Params, Image, SampleKeys | None], Image]
LOSSES = {"mse": mean_squared_error, "l1": mean_absolute_error, "rmse": mean_root_squared_error}


@dataclasses.dataclass(frozen=True)
class PosteriorMeanObjective:
    """Which loss, and whether the estimate is clipped to [0, 1] inside it.

    Raises ValueError for a loss that is not known.
    """

    loss: str = "mse"  # l1; rmse: each sample's own root, so that slight degradations count too
    clip: bool = True

    def __post_init__(self):
        check_fields(self, loss=tuple(LOSSES))

    def __call__(self, estimate: Image, x_hq: Image) -> Scalar:
        """Mean over all elements."""
        found = jnp.clip(estimate, 0, 1) if self.clip else estimate
        return LOSSES[self.loss](found, x_hq)


def posterior_mean_objective(estimate: Estimate, objective: PosteriorMeanObjective):
    """The objective as the train step calls it: ``(params, ema, frozen, batch, keys, step)``."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        loss = objective(estimate(params["estimator"], batch.x_lq, keys), batch.x_hq)
        return loss, {objective.loss: loss}

    return loss_fn
