"""Layers that the networks share: convolutions, the collapsible linear block, the time embedding.

Kernels are HWIO and images NHWC. Weights and biases start uniform in +-1/sqrt(fan_in), as they do
in the reference.
"""

import math
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.convolution import conv3x3
from elir_jax.networks.winograd import is_wide, winograd_conv3x3
from elir_jax.types import Params, Time

Form = Literal["plain", "collapsing", "expanded", "winograd"]

EXPANSION = 4  # section 7.1: "expanding the hidden channel width by 4x"
TIME_SCALE = 1000.0  # the reference embeds 1000 t
MAX_PERIOD = 10000.0


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """Uniform in +-1/sqrt(fan_in)."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key, shape, dtype=jnp.float32):
        # With JAX's default keys (partitionable threefry) a longer draw begins with the shorter,
        # so these are the values of a draw of ``shape``. A few lengths take less time to compile
        # than all shapes of a network.
        size = math.prod(shape)
        drawn = jax.random.uniform(key, (1 << (size - 1).bit_length(),), dtype, -bound, bound)
        return drawn[:size].reshape(shape)

    return init


def conv(
    x: Float[Array, "b h w c"],
    features: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    use_bias: bool = True,
    dtype: DTypeLike = jnp.float32,
    name: str,
) -> Float[Array, "b h2 w2 c2"]:
    """Convolution padded by ``kernel_size // 2`` on every side; a submodule of the caller.

    The padding is explicit because "SAME" pads a strided convolution on one side only.
    """
    pad = kernel_size // 2
    init = uniform_fan_in(kernel_size**2 * x.shape[-1])
    return nn.Conv(
        features,
        (kernel_size, kernel_size),
        strides=stride,
        padding=pad,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=init,
        bias_init=init,
        conv_general_dilated=_conv3x3 if kernel_size == 3 else None,
        name=name,
    )(x)


def _conv3x3(x, kernel, strides, *padding, **options):
    """Flax's hook; its other arguments are those of :func:`conv`."""
    return conv3x3(x, kernel, strides[0])


def dense(
    x: Float[Array, "b c"], features: int, *, dtype: DTypeLike = jnp.float32, name: str
) -> Float[Array, "b c2"]:
    """Affine map; a submodule of the caller."""
    init = uniform_fan_in(x.shape[-1])
    return nn.Dense(features, dtype=dtype, kernel_init=init, bias_init=init, name=name)(x)


class CollapsibleConv(nn.Module):
    """3x3 convolution that may be trained as a 3x3 and a 1x1 one with no non-linearity between.

    Collapsible linear blocks (section 7.1; Bhardwaj et al., 2022). Forms:

    - ``plain``: one kernel, as used for inference.
    - ``collapsing``: parameters of the two convolutions; the forward pass contracts them into one
      3x3 kernel and runs a single convolution. Same function and same gradients as ``expanded``.
    - ``expanded``: runs both convolutions.
    - ``winograd``: as ``plain``, with the kernel of a wide one transformed
      (:func:`elir_jax.networks.winograd.transform_kernels`); for inference on a CPU.
    """

    features: int
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
        if self.form not in get_args(Form):
            raise ValueError(f"form must be one of {get_args(Form)}, got {self.form!r}")
        fan_in = 9 * x.shape[-1]
        if self.form in ("plain", "winograd"):
            transformed = self.form == "winograd" and is_wide(x.shape[-1], self.features)
            side, init = 4 if transformed else 3, uniform_fan_in(fan_in)
            kernel = self.param("kernel", init, (side, side, x.shape[-1], self.features))
            bias = self.param("bias", init, (self.features,))
            if transformed:
                return winograd_conv3x3(x, kernel) + bias.reshape(1, 1, 1, -1)
            return self._conv(x, kernel, bias)

        hidden = EXPANSION * self.features
        first, second = uniform_fan_in(fan_in), uniform_fan_in(hidden)
        block = {
            "expand_kernel": self.param("expand_kernel", first, (3, 3, x.shape[-1], hidden)),
            "expand_bias": self.param("expand_bias", first, (hidden,)),
            "project_kernel": self.param("project_kernel", second, (hidden, self.features)),
            "project_bias": self.param("project_bias", second, (self.features,)),
        }
        if self.form == "collapsing":
            return self._conv(x, **collapse_block(block))
        wide = self._conv(x, block["expand_kernel"], block["expand_bias"])
        return self._conv(wide, block["project_kernel"][None, None], block["project_bias"])

    def _conv(self, x, kernel, bias):
        pad = kernel.shape[0] // 2
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (1, 1),
            [(pad, pad)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def collapse_block(block: Params) -> Params:
    """Contract one expanded block into the kernel and bias of a single 3x3 convolution.

    This is exact with zero padding too, because the 1x1 convolution acts on each pixel afterwards.
    """
    project, exact = block["project_kernel"], jax.lax.Precision.HIGHEST
    kernel = jnp.einsum("hwim,mo->hwio", block["expand_kernel"], project, precision=exact)
    bias = jnp.matmul(block["expand_bias"], project, precision=exact) + block["project_bias"]
    return {"kernel": kernel, "bias": bias}


def collapse(params: Params) -> Params:
    """Collapse every expanded block of a parameter tree; the rest is returned unchanged.

    The result fits the same networks with ``form="plain"``.
    """
    if not isinstance(params, dict):
        return params
    if "expand_kernel" in params:
        return collapse_block(params)
    return {name: collapse(child) for name, child in params.items()}


def time_embedding(t: Time, dim: int) -> Float[Array, "b {dim}"]:
    """Cosines, then sines, of ``1000 t f`` for ``dim / 2`` frequencies f from 1 down to 1/10000.

    The frequencies are rounded to float32 as in the release, because a change in their last digit
    is multiplied by 1000 before the cosine.
    """
    phase = (TIME_SCALE * t)[:, None] * frequencies(dim)[None, :]
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


def frequencies(dim: int) -> Float[np.ndarray, " half"]:
    """The ``dim / 2`` frequencies of :func:`time_embedding`."""
    if dim % 2:
        raise ValueError(f"time embedding: dim must be even, got {dim}")
    half = dim // 2
    exponent = np.arange(half, dtype=np.float32) * np.float32(-math.log(MAX_PERIOD) / (half - 1))
    return np.exp(exponent.astype(np.float64)).astype(np.float32)
