"""One training step: pure, the same on every device, averaged over them.

Each sample's random key follows from (seed, step, slot in the global batch), so losses do not
depend on the number of devices. Gradients may be accumulated over equal parts of the batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from elir_jax.training.optim import Ema, apply_gradients
from elir_jax.training.state import TrainState
from elir_jax.types import Batch, Params, SampleKeys, Scalar

Objective = Callable[[Params, Params, Params, Batch, SampleKeys], tuple[Scalar, dict[str, Scalar]]]
Metrics = dict[str, Scalar]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema: Ema,
    seed: int,
    accumulate: int,
    axis_name: str,
) -> tuple[TrainState, Metrics]:
    """Update the state with one device's share of the batch.

    Gradients and every metric are means over ``axis_name``. Metrics are ``loss``, the objective's
    terms by name, and the norms ``grad_norm``, ``update_norm`` and ``param_norm``.
    """
    step_key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, batch.slot)

    def loss_fn(params, part, part_keys):
        loss, terms = objective(params, state.ema, state.frozen, part, part_keys)
        return loss, {"loss": loss, **terms}

    gradient = jax.grad(loss_fn, has_aux=True)
    if accumulate == 1:
        grads, metrics = gradient(state.params, batch, keys)
    else:
        grads, metrics = _accumulate(gradient, state.params, batch, keys, accumulate)

    grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
    params, opt_state, updates = apply_gradients(optimizer, grads, state.opt_state, state.params)
    step = state.step + 1
    metrics["grad_norm"] = optax.tree.norm(grads)
    metrics["update_norm"] = optax.tree.norm(updates)
    metrics["param_norm"] = optax.tree.norm(params)
    new_state = state.replace(
        step=step,
        params=params,
        ema=ema.update(state.ema, params, step),
        opt_state=opt_state,
    )
    return new_state, metrics


def _accumulate(gradient, params, batch: Batch, keys: SampleKeys, parts: int):
    """Mean of gradients and metrics over ``parts`` equal parts of the batch, one after another."""

    def split(leaf):
        return leaf.reshape(parts, leaf.shape[0] // parts, *leaf.shape[1:])

    def body(total, part):
        return jax.tree.map(jnp.add, total, gradient(params, *part)), None

    pieces = jax.tree.map(split, (batch, keys))
    first = jax.tree.map(lambda leaf: leaf[0], pieces)
    zeros = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(gradient, params, *first)
    )
    total, _ = jax.lax.scan(body, zeros, pieces)
    return jax.tree.map(lambda leaf: leaf / parts, total)
