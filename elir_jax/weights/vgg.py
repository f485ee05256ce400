"""torchvision's VGG19 -> our parameters; its classifier is left aside."""

import re
from pathlib import Path

import jax

from elir_jax.networks.vgg import BLOCKS, init_vgg
from elir_jax.types import Params
from elir_jax.weights.files import read_tensors
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import CONV, SAME, Order, from_release

# Each block is followed by a pooling, each convolution by a ReLU.
_FIRST = [sum(2 * count + 1 for _, count in BLOCKS[:block]) for block in range(len(BLOCKS))]


def vgg_name(path: str) -> tuple[str, Order]:
    """torchvision's name and layout of our parameter ``path``. Raises KeyError if unknown."""
    match = re.fullmatch(r"perceptual/conv(\d)_(\d)/(kernel|bias)", path)
    if not match:
        raise KeyError(path)
    layer = f"features.{_FIRST[int(match[1])] + 2 * int(match[2])}"
    return (f"{layer}.weight", CONV) if match[3] == "kernel" else (f"{layer}.bias", SAME)


def read_vgg(path: Path) -> Params:
    """``{"perceptual": ...}`` from torchvision's file (vgg19-....pth, or .safetensors).

    Raises a UserError that names a tensor if it is missing or of another shape.
    """
    tensors = {n: a for n, a in read_tensors(path).items() if not n.startswith("classifier.")}
    return from_release(Source(path, "VGG19", tensors, str), vgg_shapes(), vgg_name)


def vgg_shapes() -> Params:
    """Shapes of the parameters."""
    return jax.eval_shape(init_vgg, jax.random.key(0))
