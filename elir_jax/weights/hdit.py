"""The tensors of HDiT, in the names of k-diffusion and PMRF or of Latent-PMRF <-> our variables.

Sizes are read from the tensors, except for the neighbourhoods: both projects attend to 7x7 tokens
in every level but the last, and to all tokens there.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.rope import frequencies
from elir_jax.networks.transformer import LATENT, PIXEL, Style
from elir_jax.types import Params
from elir_jax.weights.buffers import count_of, in_order, shape_of, without_buffers
from elir_jax.weights.files import Tensors
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import (
    CONV,
    LINEAR,
    POINTWISE,
    SAME,
    Order,
    from_release,
    to_release,
)

KERNEL = 7
COLORS = 3  # what PMRF's network makes; in: three, or more with a condition
FREQUENCIES = ".pos_emb.freqs"

COLUMN = Order(lambda a: a[:, None], lambda a: a[:, 0])
DEPTHWISE = Order(lambda a: a[:, 0].transpose(1, 2, 0), lambda a: a.transpose(2, 0, 1)[:, None])

Row = tuple[str, str, Order]


def _with_bias(ours: str, theirs: str, kernel: Order) -> list[Row]:
    return [
        (f"{ours}/kernel", f"{theirs}.weight", kernel),
        (f"{ours}/bias", f"{theirs}.bias", SAME),
    ]


_SHARED = [
    (r"mapping/(in|out)_norm/scale", r"mapping.\1_norm.scale", SAME),
    (r"mapping/norm(\d+)/scale", r"mapping.blocks.\1.norm.scale", SAME),
    (r"mapping/(up|down)(\d+)/kernel", r"mapping.blocks.\2.\1_proj.weight", LINEAR),
]
_PIXEL = [
    *_SHARED,
    (r"enter/kernel", r"patch_in.proj.weight", LINEAR),
    (r"(time|aug)_in/kernel", r"\1_in_proj.weight", LINEAR),
    (r"constants/time", r"time_emb.weight", SAME),
    (r"constants/augmentation", r"aug_emb.weight", SAME),
    (r"(merge|split)(\d+)/kernel", r"\1s.\2.proj.weight", LINEAR),
    (r"fac(\d+)", r"splits.\1.fac", SAME),
    (r"out_norm/scale", r"out_norm.scale", SAME),
    (r"leave/kernel", r"patch_out.proj.weight", LINEAR),
]
_PIXEL_BLOCK = [
    (r"attention/scale", "self_attn.scale", SAME),
    (r"attention/norm/kernel", "self_attn.norm.linear.weight", LINEAR),
    (r"attention/(qkv|out)/kernel", r"self_attn.\1_proj.weight", LINEAR),
    (r"feed_forward/norm/kernel", "ff.norm.linear.weight", LINEAR),
    (r"feed_forward/(up|down)/kernel", r"ff.\1_proj.weight", LINEAR),
]
_LATENT = [
    *_SHARED,
    *_with_bias("enter", "proj_in.proj", CONV),
    (r"time_in/kernel", "timestep_embedder.weight", LINEAR),
    (r"constants/time", "time_proj.weight", COLUMN),
    *_with_bias(r"merge(\d+)", r"downs.\1.conv", CONV),
    *_with_bias(r"split(\d+)", r"ups.\1.conv", CONV),
    (r"fac(\d+)", r"ups.\1.fac", SAME),
    (r"out_norm/scale", "out_norm.weight", SAME),
    *_with_bias("leave", "proj_out.proj", CONV),
]
_LATENT_BLOCK = [
    *_with_bias("attention/norm", "norm1.linear", LINEAR),
    (r"attention/qkv/kernel", "attn.qkv_proj.conv.weight", POINTWISE),
    *_with_bias("attention/qkv_depthwise", "attn.qkv_proj.dwconv", DEPTHWISE),
    *_with_bias("attention/out", "attn.out_proj", POINTWISE),
    *_with_bias("feed_forward/norm", "norm2.linear", LINEAR),
    (r"feed_forward/up/kernel", "ff.project_in.conv.weight", POINTWISE),
    *_with_bias("feed_forward/up_depthwise", "ff.project_in.dwconv", DEPTHWISE),
    *_with_bias("feed_forward/down", "ff.down_proj", POINTWISE),
]
_BLOCK = re.compile(r"(?:(down|up)(\d+)_|(mid))(\d+)/(.+)")

# The order in which PMRF's module lists its tensors.
_WORDS = """
patch_in time_emb time_in_proj aug_emb aug_in_proj mapping in_norm blocks down_levels up_levels
mid_level merges splits out_norm patch_out self_attn ff scale norm linear qkv_proj pos_emb freqs
fac proj out_proj up_proj down_proj weight
"""


class Dialect(NamedTuple):
    """The names that one project gives to the tensors of one style."""

    style: Style
    rows: list[Row]
    block_rows: list[Row]
    sides: str  # down_SIDES, up_SIDES
    middle: str
    attention: str
    read_sizes: Callable[[Source], tuple[HDiT, int]]

    def block(self, side: str, level: str | None, number: str) -> str:
        """The project's prefix for the tensors of a block; ``side`` is down, up or mid."""
        place = self.middle if side == "mid" else f"{side}_{self.sides}.{level}"
        return f"{place}.{number}."

    def named(self, path: str) -> tuple[str, Order]:
        """Name and layout of our variable ``path``. Raises KeyError if unknown."""
        path, prefix, rows = path.removeprefix("params/"), "", self.rows
        if match := _BLOCK.fullmatch(path):
            side, level, middle, number, path = match.groups()
            prefix, rows = self.block(side or middle, level, number), self.block_rows
        for pattern, name, order in rows:
            if match := re.fullmatch(pattern, path):
                return prefix + match.expand(name), order
        raise KeyError(path)

    def buffers(self, module: HDiT) -> Tensors:
        """The frequencies of each block."""
        *upper, lowest = range(len(module.widths))
        places = [(side, level) for side in ("down", "up") for level in upper]
        return {
            self.block(side, str(level), str(i)) + self.attention + FREQUENCIES: frequencies(
                module.widths[level] // module.head_dim, module.head_dim
            )
            for side, level in [*places, ("mid", lowest)]
            for i in range(module.depths[level])
        }


def read_hdit(source: Source) -> tuple[HDiT, Params]:
    """The network in ``source`` (its names without a prefix) and its variables.

    Raises a UserError that names a tensor if it is missing, unknown or not as it should be.
    """
    dialect = PMRF if any(name.startswith("patch_in.") for name in source.tensors) else LATENT_PMRF
    module, channels = dialect.read_sizes(source)
    source = without_buffers(source, dialect.buffers(module))
    return module, from_release(source, hdit_shapes(module, channels), dialect.named)


def hdit_tensors(module: HDiT, variables: Params) -> Tensors:
    """The inverse of :func:`read_hdit`, with buffers; PMRF's are in the order of its module."""
    dialect = PMRF if module.style == PIXEL else LATENT_PMRF
    tensors = to_release(variables, dialect.named) | dialect.buffers(module)
    return in_order(tensors, _WORDS) if dialect is PMRF else tensors


def hdit_shapes(module: HDiT, channels: int) -> Params:
    """Shapes of the variables of a network that takes ``channels``."""
    side = module.patch * 2 ** (len(module.widths) - 1) * max(1, *module.kernels)
    inputs = jnp.zeros((1, side, side, channels)), jnp.zeros(1)
    return dict(jax.eval_shape(module.init, jax.random.key(0), *inputs))


def _pmrf_sizes(source: Source) -> tuple[HDiT, int]:
    levels = range(count_of(source, "merges"))
    merges = [shape_of(source, f"merges.{level}.proj.weight")[0] for level in levels]
    width, inputs = shape_of(source, "patch_in.proj.weight")
    patch = math.isqrt(shape_of(source, "patch_out.proj.weight")[0] // COLORS)
    module = HDiT(
        widths=(width, *merges),
        depths=_depths(source, "down_levels", "mid_level"),
        kernels=(KERNEL,) * len(merges) + (0,),
        head_dim=8 * shape_of(source, f"mid_level.0.self_attn{FREQUENCIES}")[1],
        patch=patch,
        mapping_width=shape_of(source, "time_in_proj.weight")[0],
        mapping_depth=count_of(source, "mapping.blocks"),
        out_channels=COLORS,
    )
    return module, inputs // patch**2


def _latent_pmrf_sizes(source: Source) -> tuple[HDiT, int]:
    levels = range(count_of(source, "downs"))
    merges = [shape_of(source, f"downs.{level}.conv.weight")[0] for level in levels]
    width, inputs = shape_of(source, "proj_in.proj.weight")[:2]
    module = HDiT(
        widths=(width, *merges),
        depths=_depths(source, "down_blocks", "mid_block"),
        kernels=(KERNEL,) * len(merges) + (0,),
        head_dim=8 * shape_of(source, f"mid_block.0.attn{FREQUENCIES}")[1],
        patch=1,
        mapping_width=shape_of(source, "timestep_embedder.weight")[0],
        mapping_depth=count_of(source, "mapping.blocks"),
        out_channels=shape_of(source, "proj_out.proj.weight")[0],
        style=LATENT,
    )
    return module, inputs


def _depths(source: Source, down: str, middle: str) -> tuple[int, ...]:
    upper = (count_of(source, f"{down}.{level}") for level in range(count_of(source, down)))
    return (*upper, count_of(source, middle))


PMRF = Dialect(PIXEL, _PIXEL, _PIXEL_BLOCK, "levels", "mid_level", "self_attn", _pmrf_sizes)
LATENT_PMRF = Dialect(
    LATENT, _LATENT, _LATENT_BLOCK, "blocks", "mid_block", "attn", _latent_pmrf_sizes
)
