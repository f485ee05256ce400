"""One training step: a pure function, the same on every device, averaged over the devices.

Each sample's random key follows from (seed, step, slot in the global batch), so losses do not
depend on the number of devices. Gradients may be accumulated over equal parts of the batch.

Gradients, metrics and the hosts' requests are sent as one vector, in the step's only collective. A
step leaves the state unchanged if a value is not finite, if a host has no batch, or if the previous
step was not applied: the hosts learn that one step late.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from elir_jax.pictures.levels import from_levels
from elir_jax.training.optim import Ema, apply_gradients
from elir_jax.training.state import TrainState
from elir_jax.types import Batch, Params, SampleKeys, Scalar, Sent, Step

AXIS = "devices"  # over which the step averages, and an objective may
Metrics = dict[str, Scalar]
Fold = Callable[[Params, Params], Params]  # (trained, frozen) -> those that training computes with
Prepare = Callable[[Any], Batch]  # what the host sent -> pairs


def as_sent(batch: Batch) -> Batch:
    """The host sent pairs; pixels that are integers are 8-bit levels."""

    def pixels(x):
        return from_levels(x) if jnp.issubdtype(x.dtype, jnp.integer) else x

    return batch._replace(x_hq=pixels(batch.x_hq), x_lq=pixels(batch.x_lq))


@runtime_checkable
class Objective(Protocol):
    """A method's loss on one device's share of a batch.

    ``params`` and ``ema`` are the trained parameters and their average, both folded; ``frozen`` are
    the weights that are never updated. ``keys`` are the samples' own random keys, and ``step`` is
    the number of steps made so far, skipped ones included. Returns the loss and its terms by name,
    each a scalar and a mean over the samples.
    """

    def __call__(
        self,
        params: Params,
        ema: Params,
        frozen: Params,
        batch: Batch,
        keys: SampleKeys,
        step: Step,
    ) -> tuple[Scalar, Metrics]: ...


class StepRequest(NamedTuple):
    """The request of one host to a step."""

    after: Int[Array, ""] | int  # the step that the state must be at; at another, nothing is done
    stop: Float[Array, ""] | float = 0.0  # 1: this host was told to end the run
    empty: Float[Array, ""] | float = 0.0  # 1: this host has no batch; nothing is done


class Verdict(NamedTuple):
    """The outcome of a step; the same on every host."""

    applied: Bool[Array, ""]  # whether the state was updated
    stop: Bool[Array, ""]  # whether any host was told to end the run
    empty: Bool[Array, ""]  # whether any host had no batch
    skipped: Bool[Array, ""]  # whether the step counts, but changed nothing: it was not finite


def train_step(
    state: TrainState,
    batch: Sent,
    request: StepRequest,
    *,
    objective: Objective,
    fold: Fold,
    optimizer: optax.GradientTransformation,
    ema: Ema,
    seed: int,
    accumulate: int,
    axis_name: str,
    prepare: Prepare = as_sent,
    max_skipped_steps: int = 0,
) -> tuple[TrainState, Metrics, Verdict]:
    """Update the state with one device's share of the batch.

    The objective sees ``fold(params, frozen)``: collapsed blocks, merged adapters. Gradients are
    sent in that form, which is smaller. Each device then pulls them back to the parameters, which
    is possible because ``fold`` does not depend on the data. ``prepare`` makes the pairs, of one
    accumulated part at a time.

    Gradients and every metric are means over ``axis_name``. Metrics are ``loss``, the objective's
    terms by name, and the norms ``grad_norm``, ``update_norm`` and ``param_norm``. Unless the
    verdict says ``applied``, the new state is the old one; if the update itself overflows, only the
    moments change. If metrics or gradients are not finite, the step is ``skipped`` while
    ``max_skipped_steps`` allows it: then only the state's two counters change.
    """
    step_key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, batch.slot)

    folded, pull_back = jax.vjp(lambda params: fold(params, state.frozen), state.params)
    ema_folded = fold(state.ema, state.frozen)

    def loss_fn(folded, part, part_keys):
        pairs = prepare(part)
        loss, terms = objective(folded, ema_folded, state.frozen, pairs, part_keys, state.step)
        return loss, {"loss": loss, **terms}

    grads, metrics = _accumulate(jax.grad(loss_fn, has_aux=True), folded, batch, keys, accumulate)
    stale = (state.step != request.after).astype(jnp.float32)
    vector, restore = ravel_pytree((grads, metrics, stale, request.stop, request.empty))
    grads, metrics, stale, stop, empty = restore(jax.lax.pmean(vector, axis_name))
    (grads,) = pull_back(grads)
    metrics["grad_norm"] = optax.tree.norm(grads)
    finite = jnp.isfinite(jnp.stack(jax.tree.leaves(metrics))).all()

    # A branch, not a choice of values: the state is then updated in place.
    possible = (empty == 0) & (stale == 0)
    wanted, skipped = possible & finite, possible & ~finite & (state.skipped < max_skipped_steps)
    update = functools.partial(_update, grads=grads, optimizer=optimizer, ema=ema)
    new_state, metrics["update_norm"] = jax.lax.cond(
        wanted, update, lambda state: (state, jnp.float32(0)), state
    )
    counts = {name: getattr(new_state, name) + skipped for name in ("step", "skipped")}
    new_state = new_state.replace(**counts)
    metrics["param_norm"] = optax.tree.norm(new_state.params)
    applied = wanted & jnp.isfinite(metrics["update_norm"])
    return new_state, metrics, Verdict(applied, stop > 0, empty > 0, skipped)


def _update(
    state: TrainState, *, grads: Params, optimizer: optax.GradientTransformation, ema: Ema
) -> tuple[TrainState, Scalar]:
    """(the state after the update, the norm of the parameters' change)."""
    params, opt_state = apply_gradients(optimizer, grads, state.opt_state, state.params)
    # Wait until all of them are computed; otherwise XLA keeps moments and updates beside them.
    params = jax.lax.optimization_barrier(params)
    norm = optax.tree.norm(jax.tree.map(jnp.subtract, params, state.params))
    step = state.step + 1
    new = state.replace(step=step, params=params, ema=ema.update(state.ema, params, step))
    new = jax.tree.map(functools.partial(jnp.where, jnp.isfinite(norm)), new, state)
    return new.replace(opt_state=opt_state), norm


def _accumulate(gradient, params, batch: Sent, keys: SampleKeys, parts: int):
    """Mean of gradients and metrics over ``parts`` equal parts of the batch, one after another."""
    if parts == 1:
        return gradient(params, batch, keys)

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
