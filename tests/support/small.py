"""A small ELIR for tests: networks, objective, parameters and a batch, quick to compile."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.methods.elir import init_latent_flow, latent_flow
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.unet import UNet
from elir_jax.types import Batch

AUTOENCODER = Autoencoder(width=4, latent_channels=4)
ESTIMATOR = RRDBNet(hidden=4, num_blocks=1, form="collapsing")
VELOCITY = UNet(
    hidden=32, channel_multipliers=(1, 2), num_mid_blocks=1, time_dim=8, form="collapsing"
)
NETWORKS = latent_flow(AUTOENCODER, ESTIMATOR, VELOCITY)
PLAIN_NETWORKS = latent_flow(
    AUTOENCODER, ESTIMATOR.clone(form="plain"), VELOCITY.clone(form="plain")
)
SIZE = 32


def init(seed: int = 0):
    """(trained, frozen) parameters; the trained encoder differs from the frozen one."""
    return jax.tree.map(jnp.array, _init(seed))


@functools.cache
def _init(seed):
    """Of the initialisation's shapes and sizes; drawn by NumPy, which has nothing to compile."""
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        name = path[-1].key
        if name in ("bias", "scale"):
            return np.full(leaf.shape, float(name == "scale"), np.float32)
        limit = np.prod(leaf.shape[:-1]) ** -0.5
        return rng.uniform(-limit, limit, leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(drawn, jax.eval_shape(_shapes, jax.random.key(0)))


def _shapes(key):
    frozen = AUTOENCODER.init(key)
    params = init_latent_flow(key, 4, ESTIMATOR, VELOCITY)
    params["encoder"] = AUTOENCODER.init(key)["encoder"]
    return params, frozen


def mapped(fn):
    """A part's program on one device, from host to host."""
    program = jax.jit(fn)
    return lambda weights, rows: np.asarray(program(weights, rows))


def batch(rows: int = 8, seed: int = 0) -> Batch:
    """Random pairs."""
    first, second = jax.random.split(jax.random.key(seed))
    x_hq = jax.random.uniform(first, (rows, SIZE, SIZE, 3))
    x_lq = x_hq + 0.1 * jax.random.normal(second, x_hq.shape)
    return Batch(x_hq, x_lq, jnp.arange(rows), jnp.arange(rows))
