"""The release's flat state dict (eladc-git/ELIR) <-> our parameters.

One table has the release's name and layout for each of our paths. Convolutions are OIHW there and
HWIO here. Transposed convolutions are IOHW there; here they are HWIO and, because ours correlates,
flipped. Linear maps are transposed.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from elir_jax.errors import UserError
from elir_jax.types import Params
from elir_jax.weights.files import Tensors, unusable
from elir_jax.weights.layouts import Source, listed


class Order(NamedTuple):
    """How to permute the axes of a tensor from the release's order into ours, and back."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_release: Callable[[np.ndarray], np.ndarray]


_STAGES = [(s, b) for s in range(3) for b in range(3)]

# Our module -> its number among the release's layers.
LAYERS = {
    "encoder": {
        "conv_in": 0,
        "block": 1,
        **{f"down{s}": 2 + 4 * s for s in range(3)},
        **{f"stage{s}_block{b}": 3 + 4 * s + b for s, b in _STAGES},
        "conv_out": 14,
    },
    "decoder": {
        "conv_in": 0,
        **{f"stage{s}_block{b}": 2 + 5 * s + b for s, b in _STAGES},
        **{f"up{s}": 6 + 5 * s for s in range(3)},
        "block": 17,
        "conv_out": 18,
    },
}

SAME = Order(lambda a: a, lambda a: a)
LINEAR = Order(lambda a: a.T, lambda a: a.T)
CONV = Order(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
POINTWISE = Order(lambda a: a[:, :, 0, 0].T, lambda a: a.T[:, :, None, None])
TRANSPOSED_CONV = Order(
    lambda a: a.transpose(2, 3, 0, 1)[::-1, ::-1], lambda a: a[::-1, ::-1].transpose(2, 3, 0, 1)
)

# (pattern of our path, the release's name, layout), tried in order. In the U-Net a collapsible
# convolution is entry 2 of a Sequential (expanded: 2 and 3); in the RRDB it is 0 (0 and 1).
_RESIDUAL = [
    (r"/time/kernel", ".mlp.1.weight", LINEAR),
    (r"/time/bias", ".mlp.1.bias", SAME),
    (r"/shortcut/kernel", ".conv2d.weight", CONV),
    (r"/shortcut/bias", ".conv2d.bias", SAME),
]


def _norm_act_conv(ours: str, theirs: str) -> list[tuple[str, str, Order]]:
    return [
        (rf"{ours}/norm/scale", f"{theirs}.block.0.weight", SAME),
        (rf"{ours}/norm/bias", f"{theirs}.block.0.bias", SAME),
        (rf"{ours}/conv/(?:expand_)?kernel", f"{theirs}.block.2.weight", CONV),
        (rf"{ours}/conv/(?:expand_)?bias", f"{theirs}.block.2.bias", SAME),
        (rf"{ours}/conv/project_kernel", f"{theirs}.block.3.weight", POINTWISE),
        (rf"{ours}/conv/project_bias", f"{theirs}.block.3.bias", SAME),
    ]


def _residual(ours: str, theirs: str) -> list[tuple[str, str, Order]]:
    return [
        *((ours + pattern, theirs + name, layout) for pattern, name, layout in _RESIDUAL),
        *_norm_act_conv(rf"{ours}/block0", f"{theirs}.block1"),
        *_norm_act_conv(rf"{ours}/block1", f"{theirs}.block2"),
    ]


def _plain(ours: str, theirs: str, kernel: Order) -> list[tuple[str, str, Order]]:
    return [
        (rf"{ours}/kernel", f"{theirs}.weight", kernel),
        (rf"{ours}/bias", f"{theirs}.bias", SAME),
    ]


_TABLE = [
    *_plain("velocity/time_in", "fmir.time_mlp.linear1", LINEAR),
    *_plain("velocity/time_out", "fmir.time_mlp.linear2", LINEAR),
    *_plain("velocity/conv_in", "fmir.first_proj", CONV),
    *_plain(r"velocity/downsample(\d+)", r"fmir.down_blocks.\1.1.conv", CONV),
    *_plain(r"velocity/upsample(\d+)/conv", r"fmir.up_blocks.\1.0.convtr", TRANSPOSED_CONV),
    *_plain("velocity/conv_out", "fmir.final_proj", CONV),
    *_residual(r"velocity/down(\d+)", r"fmir.down_blocks.\1.0"),
    *_residual(r"velocity/mid(\d+)", r"fmir.mid_blocks.\1"),
    *_residual(r"velocity/up(\d+)", r"fmir.up_blocks.\1.1"),
    *_norm_act_conv("velocity/final", "fmir.final_block"),
]
_RRDB = re.compile(r"estimator/rrdb(\d+)/dense(\d+)/conv(\d+)/(expand|project)?_?(kernel|bias)")
_TAESD = re.compile(r"(encoder|decoder)/(\w+?)(?:/conv(\d))?/(kernel|bias)")
_KIND = {"kernel": "weight", "bias": "bias"}


def release_name(path: str) -> tuple[str, Order]:
    """Name and layout in the release of our parameter ``path``. Raises KeyError if unknown."""
    if match := _RRDB.fullmatch(path):
        block, dense, conv, half, kind = match.groups()
        entry = 1 if half == "project" else 0
        layout = SAME if kind == "bias" else POINTWISE if entry else CONV
        prefix = f"mmse.lrm.{block}.RDB{int(dense) + 1}.conv{int(conv) + 1}"
        return f"{prefix}.block.{entry}.{_KIND[kind]}", layout
    if match := _TAESD.fullmatch(path):
        part, module, conv, kind = match.groups()
        number = LAYERS[part][module]
        inner = f".conv.{2 * int(conv)}" if conv else ""
        layout = SAME if kind == "bias" else CONV
        return f"{part[:3]}.layers.{number}{inner}.{_KIND[kind]}", layout
    for pattern, name, layout in _TABLE:
        if match := re.fullmatch(pattern, path):
            return match.expand(name), layout
    raise KeyError(path)


Naming = Callable[[str], tuple[str, Order]]


def from_release(source: Source, like: Params, named: Naming = release_name) -> Params:
    """Our parameters from the release's tensors; ``like`` gives their names and shapes.

    ``named`` is the table of names and layouts; another table reads another project's tensors.
    Raises a UserError, with the names in the file, if tensors are missing, unknown, of another
    shape or no finite numbers.
    """
    places = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(like):
        name, order = named(jax.tree_util.keystr(path, simple=True, separator="/"))
        places[name] = order, leaf.shape
    problems = {
        "missing": places.keys() - source.tensors.keys(),
        "unknown": source.tensors.keys() - places.keys(),
    }
    said = [
        f"{len(names)} tensor(s) {problem}: {listed(map(source.original, names))}"
        for problem, names in problems.items()
        if names
    ]
    if said:
        raise UserError(f"{source.path}: {'; '.join(said)}")

    values = []
    for name, (order, shape) in places.items():
        theirs = source.tensors[name]
        wanted = order.to_release(np.empty(shape, np.bool_)).shape
        if theirs.shape != wanted:
            raise UserError(
                f"{source.path}: tensor {source.original(name)} has shape {theirs.shape}, not "
                f"{wanted}, which the other tensors require"
            )
        if why := unusable(theirs):
            raise UserError(f"{source.path}: tensor {source.original(name)} {why}")
        values.append(np.ascontiguousarray(order.to_ours(theirs)))
    return jax.tree.unflatten(jax.tree.structure(like), values)


def to_release(params: Params, named: Naming = release_name) -> Tensors:
    """The release's tensors from our parameters; the inverse of :func:`from_release`."""
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, layout = named(jax.tree_util.keystr(path, simple=True, separator="/"))
        tensors[name] = np.ascontiguousarray(layout.to_release(np.asarray(leaf)))
    return tensors
