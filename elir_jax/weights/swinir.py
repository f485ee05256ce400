"""The tensors of SwinIR, in the names of its authors, DifFace and PMRF <-> our parameters."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.networks.swinir import FACTOR, WINDOW, SwinIR, relative_places, shift_mask
from elir_jax.types import Params
from elir_jax.weights.buffers import count_of, in_order, shape_of, without_buffers
from elir_jax.weights.files import Tensors
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import CONV, LINEAR, SAME, Order, from_release, to_release

MASK_SIDE = 64  # tokens per side for which their module stores its masks: img_size
_BLOCK = r"layers.\1.residual_group.blocks.\2"
_MODULES = [  # ours, theirs, layout of the kernel
    (r"group(\d+)_block(\d+)/norm([12])", rf"{_BLOCK}.norm\3", SAME),
    (r"group(\d+)_block(\d+)/(qkv|proj)", rf"{_BLOCK}.attn.\3", LINEAR),
    (r"group(\d+)_block(\d+)/fc([12])", rf"{_BLOCK}.mlp.fc\3", LINEAR),
    (r"group(\d+)_conv", r"layers.\1.conv", CONV),
    (r"conv_first", "conv_first.1", CONV),
    (r"first_norm", "patch_embed.norm", SAME),
    (r"last_norm", "norm", SAME),
    (r"conv_body", "conv_after_body", CONV),
    (r"conv_features", "conv_before_upsample.0", CONV),
    (r"conv_(hr|last)", r"conv_\1", CONV),
]
_TABLE = r"group(\d+)_block(\d+)/bias_table"
_DOUBLING = r"conv_up(\d)/(kernel|bias)"  # counted from 0 here, from 1 there
_KIND = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_WORDS = """
conv_first patch_embed layers residual_group blocks attn_mask norm1 attn norm2 mlp
relative_position_bias_table relative_position_index qkv proj fc1 fc2 conv norm conv_after_body
conv_before_upsample conv_up1 conv_up2 conv_up3 conv_hr conv_last weight bias
"""


def swinir_name(path: str) -> tuple[str, Order]:
    """Name and layout of our parameter ``path``. Raises KeyError if unknown."""
    path = path.removeprefix("params/")
    if match := re.fullmatch(_TABLE, path):
        return match.expand(rf"{_BLOCK}.attn.relative_position_bias_table"), SAME
    if match := re.fullmatch(_DOUBLING, path):
        order = CONV if match[2] == "kernel" else SAME
        return f"conv_up{int(match[1]) + 1}.{_KIND[match[2]]}", order
    module, _, kind = path.rpartition("/")
    for pattern, name, kernel in _MODULES:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(name)}.{_KIND[kind]}", kernel if kind == "kernel" else SAME
    raise KeyError(path)


def read_swinir(source: Source) -> tuple[SwinIR, Params]:
    """The network in ``source`` (its names without a prefix) and its variables.

    Raises a UserError that names a tensor if it is missing, unknown or not as it should be.
    """
    groups = range(count_of(source, "layers"))
    first = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table"
    module = SwinIR(
        width=shape_of(source, "conv_first.1.weight")[0],
        depths=tuple(count_of(source, f"layers.{g}.residual_group.blocks") for g in groups),
        heads=shape_of(source, first)[1],
        features=shape_of(source, "conv_last.weight")[1],
    )
    masks = [a for name, a in source.tensors.items() if name.endswith("attn_mask")]
    side = math.isqrt(len(masks[0])) * WINDOW if masks else MASK_SIDE
    source = without_buffers(source, _buffers(module, side))
    return module, from_release(source, swinir_shapes(module), swinir_name)


def swinir_tensors(module: SwinIR, variables: Params) -> Tensors:
    """The inverse of :func:`read_swinir`, with buffers, in the order of their module."""
    return in_order(to_release(variables, swinir_name) | _buffers(module, MASK_SIDE), _WORDS)


def swinir_shapes(module: SwinIR) -> Params:
    """Shapes of the variables."""
    image = jnp.zeros((1, FACTOR, FACTOR, 3))
    return dict(jax.eval_shape(module.init, jax.random.key(0), image))


def _buffers(module: SwinIR, side: int) -> Tensors:
    """Indices into the bias table, and masks of shifted blocks for ``side`` x ``side`` tokens."""
    mask = np.asarray(shift_mask(side, side))
    buffers = {}
    for group, depth in enumerate(module.depths):
        for i in range(depth):
            block = f"layers.{group}.residual_group.blocks.{i}."
            buffers[f"{block}attn.relative_position_index"] = relative_places()
            if i % 2:
                buffers[f"{block}attn_mask"] = mask
    return buffers
