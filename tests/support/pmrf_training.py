"""PMRF's method on recorded pictures, noise and times: loss, gradients, ten updates, Euler states.

Everything that is trained or restored goes through the method's own objective, optimizer, average
and parts. Tensors are compared under the public names.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.flow.sampler import Sampler
from elir_jax.flow.times import stratified
from elir_jax.methods.pmrf.networks import Networks
from elir_jax.methods.pmrf.objective import RectifiedFlow, rectified_flow_loss
from elir_jax.methods.pmrf.parts import pmrf_parts
from elir_jax.methods.posterior_mean.parts import window_of
from elir_jax.networks.applying import apply_fn, variables_fn
from elir_jax.networks.hdit import HDiT
from elir_jax.training.optim import AdamW, Ema, apply_gradients
from elir_jax.types import Params
from elir_jax.weights.files import Tensors
from elir_jax.weights.hdit import hdit_tensors, read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.swinir import read_swinir

OBJECTIVE = RectifiedFlow()
STEPS = 5
PAPERS = AdamW(learning_rate=5e-4, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.01)


class Method(NamedTuple):
    """The networks, the trained and the frozen parameters."""

    networks: Networks
    module: HDiT
    params: Params
    frozen: Params

    def named(self, velocity: Params) -> Tensors:
        """A tree of the velocity's parameters under the public names; constants are zeros."""
        constants = jax.tree.map(jnp.zeros_like, self.frozen["constants"])
        return hdit_tensors(self.module, {"params": velocity, "constants": constants})


def method_of(hdit: Tensors, swinir: Tensors) -> Method:
    """The method with the weights of both networks, bare public names."""
    module, flow = read_hdit(Source(None, "", hdit, str))
    estimator, mean = read_swinir(Source(None, "", swinir, str))
    networks = Networks(apply_fn(estimator, jnp.float32), variables_fn(module, jnp.float32))
    flow, mean = jax.tree.map(jnp.asarray, (flow, mean))
    frozen = {"estimator": mean["params"], "constants": flow["constants"]}
    return Method(networks, module, {"velocity": flow["params"]}, frozen)


def loss_of(method: Method, params: Params, x, y, u, eps):
    """The loss; ``u`` are the draws within each stratum."""
    t = stratified(u, jnp.arange(len(u)), len(u))
    return rectified_flow_loss(method.networks, OBJECTIVE, params, method.frozen, x, y, t, eps)


class Trained(NamedTuple):
    """What updates came to; tensors by public name."""

    losses: list[float]  # before each
    gradients: Tensors  # before the first
    end: Tensors
    average: Tensors


def train(method: Method, x, y, u, eps) -> Trained:
    """An update for each of the rows given."""
    optimizer, ema = PAPERS.build(len(u)), Ema(decay=0.9999, ramp="count")

    @jax.jit
    def step(params, average, state, number, *rows):
        value, grads = jax.value_and_grad(lambda params: loss_of(method, params, *rows))(params)
        params, state = apply_gradients(optimizer, grads, state, params)
        return value, grads, params, ema.update(average, params, number), state

    params = average = method.params
    state, losses, first = optimizer.init(params), [], None
    for number, rows in enumerate(zip(*map(jnp.asarray, (x, y, u, eps)), strict=True), 1):
        value, grads, params, average, state = step(
            params, average, state, jnp.int32(number), *rows
        )
        losses.append(float(value))
        first = grads if first is None else first
    return Trained(losses, *(method.named(tree["velocity"]) for tree in (first, params, average)))


def restore(method: Method, y, eps) -> tuple[np.ndarray, list[np.ndarray]]:
    """(posterior mean, source and Euler states) by the method's own parts."""
    parts = pmrf_parts(method.networks, OBJECTIVE, Sampler(STEPS, 0.1), window_of(y.shape[1]))

    @jax.jit
    def run(params, frozen, y, eps):
        (mean,) = parts[0].apply(params, frozen, y, None)
        return mean, parts[1].apply(params, frozen, mean, eps)

    mean, states = run(method.params, method.frozen, y, eps)
    return np.asarray(mean), [np.asarray(state) for state in states]
