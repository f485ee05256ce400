"""The layers of our networks as ONNX nodes: NCHW, kernels OIHW, as ONNX's convolutions have them.

Each function mirrors a layer of ``elir_jax.networks`` in its plain form and reads the same
parameters. ``path`` is where they stand in the tree.
"""

import numpy as np

from elir_jax.exporting.body import Body
from elir_jax.networks.unet import EPSILON, GROUPS
from elir_jax.types import Params

CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def conv(body: Body, params: Params, path: str, x: str, stride: int = 1) -> str:
    """Convolution padded by half of its kernel on every side."""
    kernel = np.asarray(params["kernel"])
    inputs = [x, body.weight(f"{path}/kernel", kernel.transpose(3, 2, 0, 1))]
    if "bias" in params:
        inputs.append(body.weight(f"{path}/bias", np.asarray(params["bias"])))
    side = kernel.shape[0]
    return body.op(
        "Conv", *inputs, kernel_shape=[side, side], pads=[side // 2] * 4, strides=[stride] * 2
    )


def transposed_conv(body: Body, params: Params, path: str, x: str) -> str:
    """The 4x4 transposed convolution of stride 2. Ours correlates, so the kernel is flipped."""
    kernel = np.asarray(params["kernel"])[::-1, ::-1].transpose(2, 3, 0, 1)
    weights = (
        body.weight(f"{path}/kernel", kernel),
        body.weight(f"{path}/bias", np.asarray(params["bias"])),
    )
    return body.op("ConvTranspose", x, *weights, kernel_shape=[4, 4], pads=[1] * 4, strides=[2, 2])


def dense(body: Body, params: Params, path: str, x: str) -> str:
    """Affine map of (b, c)."""
    product = body.op("MatMul", x, body.weight(f"{path}/kernel", np.asarray(params["kernel"])))
    return body.op("Add", product, body.weight(f"{path}/bias", np.asarray(params["bias"])))


def silu(body: Body, x: str) -> str:
    """``x sigmoid(x)``."""
    return body.op("Mul", x, body.op("Sigmoid", x))


def group_norm(body: Body, params: Params, path: str, x: str, half: bool) -> str:
    """Group normalisation as an instance normalisation of the groups.

    If ``half``, the statistics are those of float32, as in our networks.
    """
    h = body.op("Cast", x, to=1) if half else x
    shape = body.op("Shape", h)
    h = body.op("Reshape", h, body.constant([0, GROUPS, -1], np.int64))
    ones, zeros = body.constant(np.ones(GROUPS)), body.constant(np.zeros(GROUPS))
    h = body.op("Reshape", body.op("InstanceNormalization", h, ones, zeros, epsilon=EPSILON), shape)
    if half:
        h = body.op("Cast", h, to=10)
    scale, bias = (np.asarray(params[name]).reshape(-1, 1, 1) for name in ("scale", "bias"))
    h = body.op("Mul", h, body.weight(f"{path}/scale", scale))
    return body.op("Add", h, body.weight(f"{path}/bias", bias))


def double(body: Body, x: str) -> str:
    """Nearest-neighbour enlargement by two."""
    return body.op(
        "Resize", x, "", body.constant([1, 1, 2, 2]),
        mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
