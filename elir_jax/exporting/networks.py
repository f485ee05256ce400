"""Our networks as ONNX functions, of the parameters in their plain form.

Inputs and results are float32 and NHWC, as those of ``elir_jax.networks``; inside, the functions
compute in NCHW and, if ``half``, in float16.
"""

from collections.abc import Callable

import numpy as np
from onnx import FunctionProto

from elir_jax.exporting.body import Body
from elir_jax.exporting.layers import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    conv,
    dense,
    double,
    group_norm,
    silu,
    transposed_conv,
)
from elir_jax.networks.layers import TIME_SCALE, frequencies
from elir_jax.networks.pixel_unet import PixelUNet
from elir_jax.networks.rrdb import CONVS, DENSE_BLOCKS, RESIDUAL_SCALE, RRDBNet
from elir_jax.networks.taesd import BLOCKS, CLAMP, STAGES
from elir_jax.networks.unet import UNet
from elir_jax.types import Params

FLOAT, HALF = 1, 10  # ONNX's numbers of the types


class Network:
    """A function that is being written; ``half``: computed in float16."""

    def __init__(self, name: str, inputs: tuple[str, ...], half: bool):
        self.body, self.half = Body(name, inputs), half

    def enter(self, x: str) -> str:
        """NHWC -> NCHW, in the type of the computation."""
        return self.cast(self.body.op("Transpose", x, perm=CHANNELS_FIRST))

    def leave(self, x: str) -> str:
        """NCHW -> NHWC, in float32."""
        x = self.body.op("Cast", x, to=FLOAT) if self.half else x
        return self.body.op("Transpose", x, perm=CHANNELS_LAST)

    def cast(self, x: str) -> str:
        """A float32 value in the type of the computation."""
        return self.body.op("Cast", x, to=HALF) if self.half else x

    def constant(self, value: float) -> str:
        """A constant of the type of the computation."""
        return self.body.constant(value, np.float16 if self.half else np.float32)

    def done(self, output: str) -> tuple[FunctionProto, dict[str, np.ndarray]]:
        """(the function, its weights by path)."""
        return self.body.function(output), self.body.weights


Built = tuple[FunctionProto, dict[str, np.ndarray]]
Layer = Callable[[str, str], str]  # (path, x) -> value


def encoder(params: Params, half: bool) -> Built:
    """``Encode(x)``: image (b, h, w, 3) -> latent (b, h/8, w/8, c)."""
    net = Network("Encode", ("x",), half)
    h = conv(net.body, params["conv_in"], "conv_in", net.enter("x"))
    h = _block(net, params["block"], "block", h)
    for s in range(STAGES):
        h = conv(net.body, params[f"down{s}"], f"down{s}", h, stride=2)
        h = _stage(net, params, s, h)
    return net.done(net.leave(conv(net.body, params["conv_out"], "conv_out", h)))


def decoder(params: Params, half: bool) -> Built:
    """``Decode(z)``: latent (b, lh, lw, c) -> image (b, 8 lh, 8 lw, 3), not clipped."""
    net = Network("Decode", ("z",), half)
    body = net.body
    z = body.op("Tanh", body.op("Div", "z", body.constant(CLAMP)))
    h = net.enter(body.op("Mul", z, body.constant(CLAMP)))
    h = body.op("Relu", conv(body, params["conv_in"], "conv_in", h))
    for s in range(STAGES):
        h = _stage(net, params, s, h)
        h = conv(body, params[f"up{s}"], f"up{s}", double(body, h))
    h = _block(net, params["block"], "block", h)
    return net.done(net.leave(conv(body, params["conv_out"], "conv_out", h)))


def _stage(net: Network, params: Params, stage: int, h: str) -> str:
    for b in range(BLOCKS):
        path = f"stage{stage}_block{b}"
        h = _block(net, params[path], path, h)
    return h


def _block(net: Network, params: Params, path: str, x: str) -> str:
    """The autoencoder's residual block."""
    h = x
    for i in range(3):
        h = conv(net.body, params[f"conv{i}"], f"{path}/conv{i}", h)
        h = net.body.op("Relu", h if i < 2 else net.body.op("Add", h, x))
    return h


def estimator(module: RRDBNet, params: Params, half: bool) -> Built:
    """``PosteriorMean(z)``: degraded latent -> posterior-mean latent."""
    net = Network("PosteriorMean", ("z",), half)
    scale = net.constant(RESIDUAL_SCALE)

    def residual(z: str, h: str) -> str:
        return net.body.op("Add", z, net.body.op("Mul", h, scale))

    def dense_block(params: Params, path: str, z: str) -> str:
        features = z
        for i in range(CONVS):
            h = conv(net.body, params[f"conv{i}"], f"{path}/conv{i}", features)
            if i < CONVS - 1:
                features = net.body.op("Concat", features, silu(net.body, h), axis=1)
        return residual(z, h)

    h = net.enter("z")
    for i in range(module.num_blocks):
        start = h
        for j in range(DENSE_BLOCKS):
            h = dense_block(params[f"rrdb{i}"][f"dense{j}"], f"rrdb{i}/dense{j}", h)
        h = residual(start, h)
    return net.done(net.body.op("Add", "z", net.leave(h)))


def pixel_unet(module: PixelUNet, params: Params, half: bool) -> Built:
    """``PosteriorMean(x)``: degraded image (b, h, w, 3) -> its posterior mean, in [0, 1]."""
    net = Network("PosteriorMean", ("x",), half)
    body = net.body

    def layer(path: str, x: str, stride: int = 1) -> str:
        return conv(body, params[path], path, x, stride)

    def blocks(name: str, count: int, x: str) -> str:
        for path in (f"{name}_block{i}" for i in range(count)):
            at = params[path]
            h = body.op("Relu", conv(body, at["conv0"], f"{path}/conv0", x))
            x = body.op("Add", x, conv(body, at["conv1"], f"{path}/conv1", h))
        return x

    def up(path: str, x: str) -> str:
        return transposed_conv(body, params[path]["conv"], f"{path}/conv", x)

    half_side = blocks("down0", module.blocks[0], layer("conv_in", net.enter("x"), 2))
    quarter = blocks("down1", module.blocks[1], layer("shrink0", half_side, 2))
    h = blocks("middle", module.blocks[2], layer("shrink1", quarter, 2))
    h = blocks("up1", module.blocks[1], body.op("Add", up("enlarge1", h), quarter))
    h = blocks("up0", module.blocks[0], body.op("Add", up("enlarge0", h), half_side))
    mean = body.op("Add", "x", net.leave(up("conv_out", h)))
    return net.done(body.op("Clip", mean, body.constant(0.0), body.constant(1.0)))


def flow_step(module: UNet, params: Params, half: bool) -> Built:
    """``FlowStep(z, t, dt)``: one Euler step, ``z + dt v(z, t)``; ``t`` and ``dt`` are (1,)."""
    net = Network("FlowStep", ("z", "t", "dt"), half)
    body = net.body
    time = _time(net, module, params)

    def norm_act_conv(params: Params, path: str, x: str) -> str:
        h = group_norm(body, params["norm"], f"{path}/norm", x, half)
        return conv(body, params["conv"], f"{path}/conv", silu(body, h))

    def residual(path: str, x: str) -> str:
        at = params[path]
        h = norm_act_conv(at["block0"], f"{path}/block0", x)
        shift = dense(body, at["time"], f"{path}/time", time)
        shift = body.op("Unsqueeze", shift, body.constant([2, 3], np.int64))
        h = norm_act_conv(at["block1"], f"{path}/block1", body.op("Add", h, shift))
        return body.op("Add", h, conv(body, at["shortcut"], f"{path}/shortcut", x))

    h = conv(body, params["conv_in"], "conv_in", net.enter("z"))
    skips = []
    for i, multiplier in enumerate(module.channel_multipliers):
        h = residual(f"down{i}", h)
        skips.append(h)
        if multiplier != 1:
            h = conv(body, params[f"downsample{i}"], f"downsample{i}", h, stride=2)
    for i in range(module.num_mid_blocks):
        h = residual(f"mid{i}", h)
    for i, multiplier in enumerate(reversed(module.channel_multipliers)):
        if multiplier != 1:
            path = f"upsample{i}"
            h = transposed_conv(body, params[path]["conv"], f"{path}/conv", h)
        h = residual(f"up{i}", body.op("Concat", h, skips.pop(), axis=1))
    h = norm_act_conv(params["final"], "final", h)
    v = net.leave(conv(body, params["conv_out"], "conv_out", h))
    return net.done(body.op("Add", "z", body.op("Mul", v, "dt")))


def _time(net: Network, module: UNet, params: Params) -> str:
    """SiLU of the time's features (1, c), which every block begins with."""
    body = net.body
    scaled = body.op("Mul", "t", body.constant(TIME_SCALE))
    phase = body.op("Mul", scaled, body.constant(frequencies(module.time_dim)[None]))
    time = net.cast(body.op("Concat", body.op("Cos", phase), body.op("Sin", phase), axis=1))
    for name in ("time_in", "time_out"):
        time = silu(body, dense(body, params[name], name, time))
    return time
