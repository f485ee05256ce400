"""A third method, in pixels and without an autoencoder: what a method brings, and nothing else.

``draft`` is a convolution. ``polish`` adds a picture of the trained size and what follows from the
window's mean: it fits no other size. The loss weighs each pair by a number that its data bring.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.fields import make, sizes
from elir_jax.inference.parts import Local, Part, Window
from elir_jax.methods.method import Method

PIXELS_AT_ONCE = 128 * 128
OVERLAP = 4


class Toy(NamedTuple):
    """Both networks."""

    draft: nn.Module
    polish: nn.Module


class Polish(nn.Module):
    """(b, size, size, 3) -> the same."""

    size: int

    @nn.compact
    def __call__(self, x):
        ground = self.param("ground", nn.initializers.normal(0.1), (self.size, self.size, 3))
        mean = nn.Dense(3, name="mean")(x.mean((1, 2)))
        return x + ground[None] + mean[:, None, None]


def networks(size: int, kernel: int = 3) -> Toy:
    """The networks that ``config.toy`` describes, for windows of ``size``."""
    return Toy(nn.Conv(3, (kernel, kernel)), Polish(size))


def weigh(rng, x_hq, x_lq):
    """A random weight in [1, 2)."""
    return {"weight": np.float32(1 + rng.random())}


def objective_of(toy: Toy):
    """Weighted squared errors; that of ``polish`` sets in over four steps and has target noise."""

    def loss_fn(params, ema, frozen, batch, keys, step):
        draft = toy.draft.apply({"params": params["draft"]}, batch.x_lq)
        noise = jax.vmap(lambda key: jax.random.normal(key, draft.shape[1:]))(keys)
        restored = toy.polish.apply({"params": params["polish"]}, jax.lax.stop_gradient(draft))
        weight = batch.extra["weight"].reshape(-1, 1, 1, 1)
        first = jnp.mean(weight * (draft - batch.x_hq) ** 2)
        second = jnp.mean(weight * (restored - batch.x_hq - 0.01 * noise) ** 2)
        loss = first + jnp.minimum(1.0, (step + 1) / 4) * second
        return loss, {"draft": first, "polish": second}

    return loss_fn


def build_toy(config) -> Method:
    """The row of the table of methods."""
    toy = make(networks, "toy", sizes(config.toy), size=config.data.size)

    def init(key, start):
        first, second = jax.random.split(key)
        x = jnp.zeros((1, config.data.size, config.data.size, 3))

        def fresh():
            return {
                "draft": toy.draft.init(first, x)["params"],
                "polish": toy.polish.init(second, x)["params"],
            }

        return start("toy", fresh), {}

    def draft(params, frozen, x, eps):
        return [toy.draft.apply({"params": params["draft"]}, x)]

    def polish(params, frozen, x, eps):
        return [toy.polish.apply({"params": params["polish"]}, x)]

    window = Window(config.data.size, OVERLAP, PIXELS_AT_ONCE)
    return Method(
        init=init,
        objective=objective_of(toy),
        parts=(
            Part("draft", draft, Local(1, PIXELS_AT_ONCE), shows=("draft",)),
            Part("polish", polish, window),
        ),
        extra=weigh,
    )
