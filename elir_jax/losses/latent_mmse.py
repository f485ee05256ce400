"""Latent posterior-mean loss: ``|| g_phi(E_w(x_lq)) - E(x_hq) ||^2`` (equation 6)."""

from elir_jax.losses.reduction import mean_squared_error
from elir_jax.types import Latent, Scalar


def latent_mmse(z_mmse: Latent, z_hq: Latent) -> Scalar:
    """Mean squared error over all elements between the estimate and the original's latent."""
    return mean_squared_error(z_mmse, z_hq)
