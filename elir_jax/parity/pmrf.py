"""Compare PMRF's method with what its public code made of the same pictures, noise and times.

Loss, gradients, updates, average and Euler states go through the method's own objective, optimizer
and parts. Tensors are compared under the public names. docs/pmrf.md lists the tolerances.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.flow.path import Sampler, stratified
from elir_jax.methods.pmrf import Draw, PmrfNetworks, RectifiedFlow, pmrf_parts, rectified_flow_loss
from elir_jax.methods.posterior_mean import window_of
from elir_jax.networks.applying import apply_fn, variables_fn
from elir_jax.networks.hdit import HDiT
from elir_jax.parity.arrays import Arrays, parameter_rows
from elir_jax.parity.probes import CERTAIN, probes
from elir_jax.parity.table import Row, Tolerance, compare
from elir_jax.training.optim import AdamW, Ema, apply_gradients
from elir_jax.types import Params
from elir_jax.weights.files import Tensors
from elir_jax.weights.hdit import hdit_tensors, read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.swinir import read_swinir

PAPERS = AdamW(learning_rate=5e-4, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.01)
STATE = Tolerance(relative=2e-5)
LOSS = Tolerance(relative=1e-5)
UPDATES = 1e-3  # of the losses of updates, of a gradient's norm, of a change's norm
ROUNDING = 4e-7  # of a parameter's norm: ten updates of it in float32


class Method(NamedTuple):
    """The networks, the trained and the frozen parameters."""

    networks: PmrfNetworks
    module: HDiT
    params: Params
    frozen: Params

    def named(self, velocity: Params) -> Tensors:
        """A tree of the velocity's parameters under the public names; constants are zeros."""
        constants = jax.tree.map(jnp.zeros_like, self.frozen["constants"])
        return hdit_tensors(self.module, {"params": velocity, "constants": constants})


def method_of(hdit: Tensors, swinir: Tensors) -> Method:
    """The method with the weights of both networks, public names without a prefix."""
    module, flow = read_hdit(Source(None, "", hdit, str))
    estimator, mean = read_swinir(Source(None, "", swinir, str))
    networks = PmrfNetworks(apply_fn(estimator, jnp.float32), variables_fn(module, jnp.float32))
    flow, mean = jax.tree.map(jnp.asarray, (flow, mean))
    frozen = {"estimator": mean["params"], "constants": flow["constants"]}
    return Method(networks, module, {"velocity": flow["params"]}, frozen)


def restoration_rows(
    method: Method, recorded: Arrays, y: np.ndarray, eps: np.ndarray, sigma_s: float = 0.1
) -> tuple[list[Row], np.ndarray]:
    """The rows of posterior mean, source, Euler states and restoration of ``y`` (b, h, w, 3), and
    the restoration.
    """
    num_steps = sum(name[0] == "z" and name[1:].isdigit() for name in recorded) - 1
    mean, states = restore(method, y, eps, num_steps, sigma_s)
    restored = np.clip(states[-1], 0, 1)
    rows = [
        compare("posterior mean", mean, recorded["mean"], STATE),
        *(compare(f"Euler state z{k}", z, recorded[f"z{k}"], STATE) for k, z in enumerate(states)),
        compare("restored", restored, recorded["restored"], STATE),
    ]
    return rows, restored


def restore(
    method: Method, y: np.ndarray, eps: np.ndarray, num_steps: int, sigma_s: float = 0.1
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(posterior mean, source and Euler states) by the method's own parts, on whole pictures."""
    objective = RectifiedFlow(sigma_s=sigma_s)
    sampler, window = Sampler(num_steps, sigma_s), window_of(y.shape[1])
    estimate, flow = pmrf_parts(method.networks, objective, sampler, window)

    @jax.jit
    def run(params, frozen, y, eps):
        (mean,) = estimate.apply(params, frozen, y, None)
        return mean, flow.apply(params, frozen, mean, eps)

    mean, states = run(method.params, method.frozen, y, eps)
    return np.asarray(mean), [np.asarray(state) for state in states]


class Trained(NamedTuple):
    """The result of updates; tensors by public name."""

    losses: list[float]  # before each
    gradients: Tensors  # before the first
    end: Tensors
    average: Tensors


def training_rows(method: Method, recorded: Arrays, found: Trained) -> list[Row]:
    """Losses, norms of gradients, what each tensor moved, and its average minus itself.

    Changes are compared by norms, and by probes if those are recorded; entries that change places
    change only the probes.
    """
    sizes = _flat(_under(recorded, "norm/"))
    rows = [
        compare("loss", found.losses[0], recorded["losses"][0], LOSS),
        compare("losses of the updates", found.losses, recorded["losses"], Tolerance(0.0, UPDATES)),
    ]
    gradients = _under(recorded, "gradnorm/")
    ours = {name: found.gradients[name] for name in gradients}
    rows += parameter_rows(
        "gradient norm", _norms(ours), _flat(gradients), lambda name: Tolerance(0.0, UPDATES)
    )
    start = method.named(method.params["velocity"])
    for label, what, to, since in (
        ("moved", "moved", found.end, start),
        ("EMA - parameters", "gap", found.average, found.end),
    ):
        change = {name: np.float64(to[name]) - since[name] for name in sizes}
        theirs = _flat(_under(recorded, f"{what}/"))
        allowed = {name: UPDATES * theirs[name] + ROUNDING * sizes[name] for name in theirs}
        rows += parameter_rows(
            f"{label}, norm",
            _norms(change),
            theirs,
            lambda name, of=allowed: Tolerance(float(of[name])),
        )
        sums = _under(recorded, f"{what}probe/")
        rows += parameter_rows(
            f"{label}, probes",
            {name: probes(name, change[name]) for name in sums},
            sums,
            lambda name, of=allowed: Tolerance(CERTAIN * float(of[name])),
        )
    return rows


def train(method: Method, x, y, u, eps, sigma_s: float = 0.1) -> Trained:
    """An update for each of the rows given; ``u`` are the draws within each stratum."""
    optimizer, ema = PAPERS.build(len(u)), Ema(decay=0.9999, ramp="count")
    objective = RectifiedFlow(sigma_s=sigma_s)

    def loss_of(params, frozen, x, y, u, eps):
        t = stratified(u, jnp.arange(len(u)), len(u))
        noise = Draw(t, eps)
        return rectified_flow_loss(method.networks, objective, params, frozen, x, y, noise)[0]

    @jax.jit
    def step(params, average, state, number, frozen, *rows):
        value, grads = jax.value_and_grad(loss_of)(params, frozen, *rows)
        params, state = apply_gradients(optimizer, grads, state, params)
        return value, grads, params, ema.update(average, params, number), state

    params = average = method.params
    state, losses, first = optimizer.init(params), [], None
    for number, rows in enumerate(zip(*map(jnp.asarray, (x, y, u, eps)), strict=True), 1):
        value, grads, params, average, state = step(
            params, average, state, jnp.int32(number), method.frozen, *rows
        )
        losses.append(float(value))
        first = grads if first is None else first
    return Trained(losses, *(method.named(tree["velocity"]) for tree in (first, params, average)))


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _norms(tensors: Arrays) -> dict[str, np.float64]:
    return {name: np.linalg.norm(np.float64(tensor)) for name, tensor in tensors.items()}


def _flat(norms: Arrays) -> dict[str, np.float64]:
    """Recorded norms as numbers."""
    return {name: np.float64(np.ravel(norm)[0]) for name, norm in norms.items()}
