"""Compare the layers that we compute in our own form with the forms of XLA and flax.

Command: python benchmarks/layers.py [--repeats 7]
Each line runs both forms in turns, in float32, and gives the median seconds of a call. The last one
shows the basis of Winograd's form: matrix products in a batch, and one by one.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.timing import OURS, take_turns  # noqa: E402
from elir_jax.networks.convolution import (  # noqa: E402
    banded_weight_gradient,
    conv3x3,
    weight_gradient,
)
from elir_jax.networks.unet import Upsample  # noqa: E402
from elir_jax.networks.winograd import transform_kernel, winograd_conv3x3  # noqa: E402

# images, side, channels in and out of the autoencoder's convolutions
CONVOLUTIONS = [
    (2, 256, 3, 64), (2, 256, 64, 64), (1, 512, 64, 64), (2, 256, 64, 3), (2, 128, 64, 64),
]  # fmt: skip
# of the latent networks at 256x256
LATENT = [
    (1, 32, 128, 128),
    (1, 32, 256, 128),
    (1, 16, 512, 256),
    (1, 8, 512, 512),
    (1, 32, 304, 96),
]
UPSAMPLINGS = [(2, 8, 512, 256), (2, 16, 256, 128)]  # of the full U-Net at 256x256


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal noise."""
    return jax.random.normal(jax.random.key(seed), shape)


def weight_gradients(images: int, side: int, first: int, second: int) -> list[Callable]:
    """[XLA's form, ours]."""
    x, dy = normal(0, images, side, side, first), normal(1, images, side, side, second)
    forms = [jax.jit(weight_gradient), jax.jit(banded_weight_gradient)]
    return [functools.partial(form, x, dy) for form in forms]


def convolutions(images: int, side: int, first: int, second: int) -> list[Callable]:
    """[XLA's form, Winograd's form with a kernel that is transformed beforehand]."""
    x, kernel = normal(0, images, side, side, first), normal(1, 3, 3, first, second)
    plain, ours = jax.jit(conv3x3), jax.jit(winograd_conv3x3)
    u = transform_kernel(kernel)
    return [lambda: plain(x, kernel), lambda: ours(x, u)]


def products(count: int, rows: int, first: int, second: int) -> list[Callable]:
    """[a batch of matrix products, the same one by one]."""
    a, b = normal(0, count, rows, first), normal(1, count, first, second)
    batch, single = (
        jax.jit(jnp.matmul),
        jax.jit(lambda a, b: [x @ y for x, y in zip(a, b, strict=True)]),
    )
    parts = [*a], [*b]
    return [lambda: batch(a, b), lambda: single(*parts)]


def upsamplings(images: int, side: int, first: int, second: int) -> list[Callable]:
    """[flax's form, ours], value and gradient of the weights."""
    x = normal(0, images, side, side, first)
    theirs = nn.ConvTranspose(second, (4, 4), strides=(2, 2), padding="SAME")
    params = theirs.init(jax.random.key(1), x)["params"]

    def gradient(module, wrap):
        def loss(params):
            return jnp.sum(module.apply({"params": wrap(params)}, x) ** 2)

        program = jax.jit(jax.value_and_grad(loss))
        return lambda: program(params)

    return [gradient(theirs, lambda p: p), gradient(Upsample(second), lambda p: {"conv": p})]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print(f"{jax.devices()[0].device_kind}; images, side, channels in, channels out")
    for title, make, cases in (
        ("weight gradient, 3x3", weight_gradients, CONVOLUTIONS),
        ("transposed convolution", upsamplings, UPSAMPLINGS),
        ("convolution, 3x3", convolutions, LATENT),
        ("products, one by one", products, [(16, 256, 128, 128)]),
    ):
        for case in cases:
            calls = dict(zip(("theirs", OURS), make(*case), strict=True))
            found = take_turns(calls, repeats)
            theirs, ours = found["theirs"].seconds, found[OURS].seconds
            print(f"{title:<24}{case!s:<20} {theirs * 1e3:7.1f} ms -> {ours * 1e3:6.1f} ms, "
                  f"{theirs / ours:.1f} x", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
