"""How a one-step student sees the degraded picture: a token of its statistics, and residuals.

The token stands for DirectFlow's degradation token. Attention to a single token is the same shift
at every position, and that is how the U-Net's blocks see the time; so the token is added to the
time features. Both parts end in layers that start at zero: one zero factor, never two in series,
whose gradients would be zero for good.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.unet import TIME_EXPANSION, UNet, contract
from elir_jax.types import Latent, Params

KINDS = ("none", "zero", "scalar")


def describe(z: Latent) -> Float[Array, "b d"]:
    """Of each channel: mean, standard deviation, mean size of the vertical and horizontal steps.

    Noise shows in the deviation and in the steps, blur in small steps. ``z`` needs two rows and two
    columns.
    """
    steps = [jnp.mean(jnp.abs(jnp.diff(z, axis=axis)), axis=(1, 2)) for axis in (1, 2)]
    return jnp.concatenate([jnp.mean(z, axis=(1, 2)), jnp.std(z, axis=(1, 2)), *steps], axis=-1)


class Adapter(nn.Module):
    """Description (b, d) -> token (b, features), zero at the start.

    ``kind`` zero is one layer of zeros. ``scalar`` multiplies it by a gate that starts at zero too,
    so neither learns: the row of the paper's ablation that stalls.
    """

    features: int
    kind: str = "zero"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, description: Float[Array, "b d"]) -> Float[Array, "b d2"]:
        zeros = nn.initializers.zeros
        layer = nn.Dense(self.features, dtype=self.dtype, kernel_init=zeros, name="layer")
        token = layer(description)
        if self.kind == "scalar":
            token = token * self.param("gate", zeros, ()).astype(self.dtype)
        return token


class SpatialEncoder(UNet):
    """Latent of the degraded picture -> residuals for the U-Net's skips and its middle.

    The velocity's way down, of the same fields, at t = 0, and a 1x1 convolution of zeros for each
    residual (as ControlNet; Zhang et al., 2023).
    """

    @nn.compact
    def __call__(self, z: Latent, token: Float[Array, "b d"] | None = None):
        middle, _, skips = contract(self, z, jnp.zeros(len(z)), token)
        zeros = nn.initializers.zeros

        def exit(h, name):
            return nn.Conv(h.shape[-1], (1, 1), dtype=self.dtype, kernel_init=zeros, name=name)(h)

        residuals = [exit(skip, f"zero{i}") for i, skip in enumerate(skips)]
        return [*residuals, exit(middle, "zero_mid")]


def adapter_of(velocity: UNet, kind: str) -> Adapter:
    """The adapter whose token fits the velocity's time features."""
    return Adapter(TIME_EXPANSION * velocity.time_dim, kind, velocity.dtype)


def spatial_encoder_of(velocity: UNet) -> SpatialEncoder:
    """The spatial encoder whose residuals fit the velocity."""
    fields = ("hidden", "channel_multipliers", "num_mid_blocks", "time_dim", "dtype")
    return SpatialEncoder(**{name: getattr(velocity, name) for name in fields})


def copied(fresh: Params, velocity: Params) -> Params:
    """A fresh spatial encoder with the velocity's weights in all but its zero convolutions."""
    return {name: velocity.get(name, tree) for name, tree in fresh.items()}
