"""VGG19's features before five of its ReLUs (Simonyan & Zisserman, 2015), for perceptual losses."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.initializing import initialize
from elir_jax.networks.layers import conv
from elir_jax.types import Image, Params

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # (channels, convolutions)


class Vgg19(nn.Module):
    """RGB in [0, 1], sides of 16 pixels at least -> conv1_2, conv2_2, conv3_4, conv4_4, conv5_4."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Image) -> tuple[Float[Array, "..."], ...]:
        mean, std = (jnp.asarray(of).reshape(1, 1, 1, -1) for of in (MEAN, STD))
        h, found = ((x - mean) / std).astype(self.dtype), []
        for block, (channels, count) in enumerate(BLOCKS):
            if block:
                h = nn.max_pool(nn.relu(h), (2, 2), (2, 2))
            for i in range(count):
                h = conv(
                    nn.relu(h) if i else h, channels, dtype=self.dtype, name=f"conv{block}_{i}"
                )
            found.append(h.astype(jnp.float32))
        return tuple(found)


def init_vgg(key: jax.Array) -> Params:
    """Untrained ``{"perceptual": ...}``."""
    return {"perceptual": initialize(Vgg19(), key, (1, 16, 16, 3))["params"]}
