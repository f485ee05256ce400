"""Latent MMSE estimator: residual-in-residual dense blocks with SiLU (section 7.1.1).

RRDB comes from ESRGAN (Wang et al., 2018): each convolution of a dense block sees all earlier
outputs, residuals are scaled by 0.2, and one long shortcut spans all blocks.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from elir_jax.networks.layers import CollapsibleConv
from elir_jax.networks.repeating import repeat
from elir_jax.types import Latent

RESIDUAL_SCALE = 0.2
CONVS = 5  # convolutions in each dense block
DENSE_BLOCKS = 3  # dense blocks in each RRDB


class DenseBlock(nn.Module):
    """Five convolutions, each over the concatenation of the input and all earlier outputs."""

    hidden: int
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z):
        features = z
        for i in range(CONVS - 1):
            h = CollapsibleConv(self.hidden, self.form, self.dtype, name=f"conv{i}")(features)
            features = jnp.concatenate([features, nn.silu(h)], axis=-1)
        last = f"conv{CONVS - 1}"
        h = CollapsibleConv(z.shape[-1], self.form, self.dtype, name=last)(features)
        return z + RESIDUAL_SCALE * h


class RRDB(nn.Module):
    """Three dense blocks in a row inside one scaled residual."""

    hidden: int
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z):
        block = functools.partial(DenseBlock, self.hidden, self.form, self.dtype)
        h = repeat(self, block, [f"dense{i}" for i in range(DENSE_BLOCKS)], z)
        return z + RESIDUAL_SCALE * h


class RRDBNet(nn.Module):
    """Degraded latent -> posterior-mean latent ``z_mmse``, of the same shape (equation 6)."""

    hidden: int = 96
    num_blocks: int = 3
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: Latent) -> Latent:
        h = z.astype(self.dtype)
        block = functools.partial(RRDB, self.hidden, self.form, self.dtype)
        h = repeat(self, block, [f"rrdb{i}" for i in range(self.num_blocks)], h)
        return z + h.astype(jnp.float32)
