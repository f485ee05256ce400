"""Sim-VAE: images to 1/8-size latents and back, with a posterior (Latent-PMRF, section 4.1).

Luo et al., 2025 (https://arxiv.org/abs/2507.00447), figures 3 to 5. Residual blocks have one norm
and one activation and never change the number of channels; the convolutions that resize do. There
is no attention, so every output sees a bounded neighbourhood: with ``norm="layer"`` windows give
the same as a whole picture. ``norm="group"`` is a row of Table 2; ``upsample="pixel_shuffle"`` may
be another, "- interpolate", of which the paper says no more.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.autoencoder import init_parts
from elir_jax.networks.layers import conv
from elir_jax.networks.taesd import FACTOR, check_sides, double
from elir_jax.types import Image, Latent, Params

NORMS, UPSAMPLES = ("layer", "group"), ("interpolate", "pixel_shuffle")
GROUPS = 32
EPS = 1e-6
LOGVAR = (-30.0, 20.0)

Features = Float[Array, "b h w c"]


class Posterior(NamedTuple):
    """A diagonal Gaussian for each latent."""

    mean: Latent
    logvar: Latent

    def sample(self, eps: Latent) -> Latent:
        """``mean + exp(logvar / 2) eps``, for unit noise."""
        return self.mean + jnp.exp(0.5 * self.logvar) * eps

    def kl(self) -> Float[Array, " b"]:
        """Divergence (Kullback, Leibler) from a unit Gaussian, a sum over a sample's latents."""
        terms = self.mean**2 + jnp.exp(self.logvar) - 1.0 - self.logvar
        return 0.5 * jnp.sum(terms, axis=(1, 2, 3))


@dataclasses.dataclass(frozen=True)
class SimVae:
    """Encoder and decoder of one size. Parameters are float32, whatever the compute type.

    ``channels`` are those of the four resolutions, from pixels to latents; ``layers`` and
    ``mid_layers`` count residual blocks of the encoder (the decoder has one more of ``layers``).
    Raises ValueError for an unknown norm or way of enlarging.
    """

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    mid_layers: int = 3
    latent_channels: int = 32
    norm: str = "layer"
    upsample: str = "interpolate"
    dtype: DTypeLike = jnp.float32

    def __post_init__(self):
        for field, choices in (("norm", NORMS), ("upsample", UPSAMPLES)):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {choices}, got {getattr(self, field)!r}")
        if 2 ** (len(self.channels) - 1) != FACTOR:
            raise ValueError(f"channels must name 4 resolutions, got {self.channels}")

    @property
    def encoder(self) -> "SimEncoder":
        return SimEncoder(self)

    @property
    def decoder(self) -> "SimDecoder":
        return SimDecoder(self)

    @property
    def halo(self) -> int:
        """How many latents either part sees around its place; exact for ``norm="layer"``.

        Each convolution adds a pixel of its resolution; the decoder has more of them.
        """
        scales = [2**i for i in range(len(self.channels))]
        blocks = 2 * (self.layers + 1) * sum(scales)
        pixels = 1 + sum(scales[:-1]) + blocks + FACTOR * (2 * self.mid_layers + 1)
        return -(-pixels // FACTOR)

    def init(self, key: jax.Array) -> Params:
        """Untrained ``{"encoder": ..., "decoder": ...}``."""
        return init_parts(self.encoder, self.decoder, self.latent_channels, key)


class SimEncoder(nn.Module):
    """Image (b, h, w, 3) in [0, 1] -> posterior of (b, h/8, w/8, latent_channels), float32.

    Raises ValueError unless h and w are multiples of 8.
    """

    vae: SimVae

    @nn.compact
    def __call__(self, x: Image) -> Posterior:
        vae = self.vae
        check_sides(x)
        h = (2.0 * x - 1.0).astype(vae.dtype)
        h = conv(h, vae.channels[0], dtype=vae.dtype, name="conv_in")
        for i in range(len(vae.channels)):
            for j in range(vae.layers):
                h = ResBlock(vae.norm, vae.dtype, name=f"stage{i}_block{j}")(h)
            if i + 1 < len(vae.channels):
                h = conv(h, vae.channels[i + 1], stride=2, dtype=vae.dtype, name=f"down{i}")
        for j in range(vae.mid_layers):
            h = ResBlock(vae.norm, vae.dtype, name=f"mid_block{j}")(h)
        h = conv(h, 2 * vae.latent_channels, dtype=vae.dtype, name="conv_out")
        mean, logvar = jnp.split(h.astype(jnp.float32), 2, axis=-1)
        return Posterior(mean, jnp.clip(logvar, *LOGVAR))


class SimDecoder(nn.Module):
    """Latent (b, lh, lw, c) -> image (b, 8 lh, 8 lw, 3), about [0, 1], not clipped."""

    vae: SimVae

    @nn.compact
    def __call__(self, z: Latent) -> Image:
        vae = self.vae
        h = conv(z.astype(vae.dtype), vae.channels[-1], dtype=vae.dtype, name="conv_in")
        for j in range(vae.mid_layers):
            h = ResBlock(vae.norm, vae.dtype, name=f"mid_block{j}")(h)
        for i, narrower in enumerate([*vae.channels[-2::-1], None]):
            for j in range(vae.layers + 1):
                h = ResBlock(vae.norm, vae.dtype, name=f"stage{i}_block{j}")(h)
            if narrower:
                h = self._enlarged(h, narrower, f"up{i}")
        h = conv(h, 3, dtype=vae.dtype, name="conv_out")
        return 0.5 * h.astype(jnp.float32) + 0.5

    def _enlarged(self, h, features, name):
        if self.vae.upsample == "interpolate":
            return conv(double(h), features, dtype=self.vae.dtype, name=name)
        return shuffle(conv(h, 4 * features, dtype=self.vae.dtype, name=name))


class ResBlock(nn.Module):
    """``x + conv(silu(conv(norm(x))))`` (figure 3)."""

    norm: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Features) -> Features:
        width = x.shape[-1]
        if self.norm == "layer":
            h = nn.LayerNorm(epsilon=EPS, dtype=self.dtype, name="norm")(x)
        else:
            h = nn.GroupNorm(GROUPS, epsilon=EPS, dtype=self.dtype, name="norm")(x)
        h = nn.silu(conv(h, width, dtype=self.dtype, name="conv1"))
        return x + conv(h, width, dtype=self.dtype, name="conv2")


def shuffle(h: Features) -> Float[Array, "b h2 w2 c2"]:
    """(b, h, w, 4 c) -> (b, 2 h, 2 w, c): a pixel's channels become 2x2 pixels, c slowest."""
    batch, height, width, channels = h.shape
    h = h.reshape(batch, height, width, channels // 4, 2, 2)
    return h.transpose(0, 1, 4, 2, 5, 3).reshape(batch, 2 * height, 2 * width, channels // 4)
