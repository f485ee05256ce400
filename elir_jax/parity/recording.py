"""Our numbers against recorded ones: every stage, loss, gradient and a training trajectory.

The arrays are laid out as in docs/numerics.md. Each stage is fed the recorded input of that stage,
so that an error is charged to the stage that makes it. Weights that are expanded are compared with
the arrays ``*_over``, collapsed ones with ``*_flat``. All settings come from the arrays' ``config``
and from the tensors.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from elir_jax.errors import UserError
from elir_jax.flow.solvers import euler_trajectory
from elir_jax.methods.elir.objective import Draw, ElirObjective, elir_loss
from elir_jax.networks.layers import TIME_SCALE, time_embedding
from elir_jax.parity.table import Row, Tolerance, compare, failed
from elir_jax.training.optim import AdamW, Ema, apply_gradients
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import from_release, to_release
from elir_jax.weights.sizes import Sizes, read_sizes

LATENT = Tolerance(absolute=2e-5)
PIXELS = Tolerance(absolute=1e-4)
LOSS = Tolerance(relative=1e-5)
# A time of [0, 1] may be recorded one unit in the last place (2^-24) from the one that was
# embedded, and is multiplied by TIME_SCALE.
EMBEDDING = Tolerance(absolute=TIME_SCALE * 2.0**-24 + 1e-6)
GRADIENT_NORM = 1e-3  # relative
# Gradients this far below the norm of their network's gradient are rounding: a shift before a
# normalisation whose groups hold one channel changes nothing.
GRADIENT_FLOOR = 1e-7
TRAJECTORY_LOSS = Tolerance(relative=1e-3)
EMA_RAMP = 2000.0  # the release's

Arrays = dict[str, np.ndarray]


class Limits(NamedTuple):
    """Relative tolerances that depend on how many pixels lie within rounding of a ReLU's kink.

    Where one changes side, a gradient jumps by its share; only given pictures can be without.
    """

    gradient: float = 1e-4
    trajectory_norm: float = 1e-5


def read_arrays(path: Path) -> Arrays:
    """All arrays of an .npz file; pickled ones are refused. Raises UserError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:  # whatever a damaged archive makes the reader raise
        raise UserError(f"{path}: not an .npz file of plain arrays ({error})") from error


class Recording:
    """The arrays of one kind of network, asked for by name."""

    def __init__(self, arrays: Arrays, kind: str):
        self.arrays, self.kind = arrays, kind
        try:
            self.config = json.loads(str(self["config"]))
        except ValueError as error:
            raise UserError(f"config is not JSON: {error}") from error

    def find(self, name: str) -> np.ndarray | None:
        """The array of this kind, or the one of both kinds, or None."""
        return self.arrays.get(f"{name}_{self.kind}", self.arrays.get(name))

    def __getitem__(self, name: str) -> np.ndarray:
        """The same; raises UserError where it is missing."""
        array = self.find(name)
        if array is None:
            raise UserError(f"the golden file has no key {name} (or {name}_{self.kind})")
        return array

    def setting(self, *names: str):
        """A value of the configuration; raises UserError where it is missing."""
        value = self.config
        for name in names:
            if name not in value:
                raise UserError(f"the golden file's config has no {'.'.join(names)}")
            value = value[name]
        return value

    def by_parameter(self, name: str) -> Arrays:
        """All of ``name/PARAMETER``."""
        prefix = f"{name}_{self.kind}/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}

    def row(self, stage: str, ours, name: str, tolerance: Tolerance) -> Row:
        """Compare with the array ``name``; a missing one fails."""
        theirs = self.find(name)
        if theirs is None:
            return failed(stage, f"no key {name}", tolerance)
        return compare(stage, ours, theirs, tolerance)


def kind_of(sizes: Sizes) -> str:
    """``over`` for expanded networks, ``flat`` for collapsed ones."""
    return "flat" if sizes.velocity.form == "plain" else "over"


def compare_golden(arrays: Arrays, source: Source, form: str = "collapsing") -> list[Row]:
    """All rows; ``form`` says how expanded blocks are run. Raises UserError for lacking inputs."""
    sizes = read_sizes(source)
    if sizes.velocity is None:
        raise UserError(f"{source.path}: an autoencoder alone; give a checkpoint of the release")
    sizes = sizes.with_form(form)
    golden = Recording(arrays, kind_of(sizes))
    recorded = golden.setting("unet", "hid_channels"), golden.setting("mmse", "c_hid")
    if recorded != (sizes.velocity.hidden, sizes.estimator.hidden):
        raise UserError(
            f"{source.path}: widths {(sizes.velocity.hidden, sizes.estimator.hidden)} of U-Net and "
            f"estimator, but the golden file was made with {recorded}"
        )
    params = jax.tree.map(jnp.asarray, from_release(source, sizes.like()))
    return [
        *restoration_rows(golden, sizes, params),
        *loss_rows(golden, sizes, params, Limits()),
    ]


def restoration_rows(golden: Recording, sizes: Sizes, params) -> list[Row]:
    """Encoder, estimator, source, velocities, Euler states, decoder, time embedding."""
    nets = sizes.networks()
    num_steps, sigma_s = golden.setting("k_steps"), golden.setting("sigma_s")
    latent = jax.jit(nets.encode)(params["encoder"], golden["lq"])
    rows = [golden.row("encoder (lq)", latent, "latent", LATENT)]
    z_mmse = jax.jit(nets.estimate)(params["estimator"], golden["latent"])
    rows.append(golden.row("estimator", z_mmse, "mmse", LATENT))
    z_0 = golden["mmse"] + np.float32(sigma_s) * golden["eps_infer"]
    rows.append(golden.row("source z0", z_0, "z0", LATENT))

    velocity = jax.jit(nets.velocity)

    @jax.jit
    def trajectory(params, z):
        return euler_trajectory(lambda z, t: nets.velocity(params, z, t), z, num_steps)

    states = trajectory(params["velocity"], golden["z0"])
    for k in range(num_steps):
        z = golden[f"z{k}"]
        v = velocity(params["velocity"], z, jnp.full(z.shape[:1], k / num_steps))
        rows.append(golden.row(f"velocity v{k}", v, f"v{k}", LATENT))
        rows.append(golden.row(f"Euler state z{k + 1}", states[k], f"z{k + 1}", LATENT))
    decoded = jax.jit(nets.decode)(params["decoder"], golden[f"z{num_steps}"])
    rows.append(golden.row("decoder", decoded, "decoded", PIXELS))
    embedding = time_embedding(jnp.asarray(golden["pos_emb_t"]), sizes.velocity.time_dim)
    rows.append(golden.row("time embedding", embedding, "pos_emb", EMBEDDING))
    return rows


def loss_rows(golden: Recording, sizes: Sizes, params, limits: Limits) -> list[Row]:
    """The six losses, the gradients by parameter, ten steps of training and their average."""
    objective = ElirObjective(
        num_segments=golden.setting("k_steps"),
        target="online",
        **{name: golden.setting(name) for name in ("dt", "alpha", "sigma_s", "sigma_min")},
    )
    networks = sizes.networks()
    pair = jnp.asarray(golden["hq"]), jnp.asarray(golden["lq"])
    frozen = {part: params[part] for part in ("encoder", "decoder")}
    trained = {part: params[part] for part in ("encoder", "estimator", "velocity")}

    def loss_of(**changes):
        changed = dataclasses.replace(objective, **changes)

        def loss(trained, frozen, x_hq, x_lq, draw):
            return elir_loss(networks, changed, trained, trained, frozen, x_hq, x_lq, draw)

        return loss

    draw = Draw(jnp.asarray(golden["loss_u"]), jnp.asarray(golden["loss_eps"]))
    latent = jax.jit(networks.encode)(frozen["encoder"], pair[0])
    rows = [golden.row("encoder (hq)", latent, "latent_hq", LATENT)]
    for flow, name in (("flow_matching", "fm"), ("consistency", "cfm")):
        without, with_pixel = loss_of(flow=flow), loss_of(flow=flow, beta=golden.setting("beta"))
        both = jax.jit(lambda *given, a=without, b=with_pixel: (a(*given), b(*given)))
        (loss, terms), (loss_pixel, _) = both(trained, frozen, *pair, draw)
        rows.append(golden.row(f"loss {name}", terms[flow], f"{name}_loss", LOSS))
        rows.append(golden.row(f"loss l2_{name}", loss, f"l2_{name}_loss", LOSS))
        rows.append(golden.row(f"loss l2_{name}_mse", loss_pixel, f"l2_{name}_mse_loss", LOSS))

    gradient = jax.jit(jax.value_and_grad(loss_of(), has_aux=True))
    _, grads = gradient(trained, frozen, *pair, draw)
    return [
        *rows,
        *gradient_rows(golden, to_release(grads), limits.gradient),
        *trajectory_rows(golden, gradient, trained, frozen, pair, limits.trajectory_norm),
    ]


def gradient_rows(golden: Recording, grads: Arrays, limit: float) -> list[Row]:
    """Norm of every parameter's gradient; where they are recorded, its entries too."""
    norms, entries = golden.by_parameter("gradnorm"), golden.by_parameter("grad")
    ours = {name: np.linalg.norm(np.asarray(grad, np.float64)) for name, grad in grads.items()}
    floor = {
        part: GRADIENT_FLOOR * float(np.linalg.norm([ours[n] for n in ours if n.startswith(part)]))
        for part in ("enc.", "mmse.", "fmir.")
    }

    def tolerance(relative):
        return lambda name: Tolerance(floor.get(f"{name.partition('.')[0]}.", 0.0), relative)

    known = {name: grads[name] for name in entries if name in grads}
    return [
        *parameter_rows("gradient norm", ours, norms, tolerance(GRADIENT_NORM)),
        *parameter_rows("gradient", known, entries, tolerance(limit)),
    ]


def trajectory_rows(golden: Recording, gradient, trained, frozen, pair, limit: float) -> list[Row]:
    """Losses of ten updates on one batch, then norm and sum of the parameters and their average."""
    optimizer = AdamW(
        learning_rate=golden.setting("lr"),
        b1=golden.setting("betas")[0],
        b2=golden.setting("betas")[1],
        eps=golden.setting("eps"),
        weight_decay=golden.setting("weight_decay"),
    ).build(num_steps=10)
    ema_rule = Ema(golden.setting("ema_decay"), EMA_RAMP)

    @jax.jit
    def apply(params, ema, opt_state, grads, number):
        params, opt_state = apply_gradients(optimizer, grads, opt_state, params)
        return params, ema_rule.update(ema, params, number), opt_state

    params, ema, opt_state = trained, trained, optimizer.init(trained)
    losses = []
    draws = zip(golden["traj_u"], golden["traj_eps"], strict=True)
    for number, (u, eps) in enumerate(draws, start=1):
        (loss, _), grads = gradient(params, frozen, *pair, Draw(jnp.asarray(u), jnp.asarray(eps)))
        losses.append(float(loss))
        params, ema, opt_state = apply(params, ema, opt_state, grads, number)

    rows = [golden.row("trajectory losses", losses, "traj_loss", TRAJECTORY_LOSS)]
    for label, name, tree in (("after", "traj", params), ("EMA", "ema", ema)):
        tensors = to_release(tree | {"decoder": frozen["decoder"]})
        exact = {key: np.asarray(value, np.float64) for key, value in tensors.items()}
        norms = {key: np.linalg.norm(value) for key, value in exact.items()}
        # A relative error e of a tensor of n entries moves its sum by at most e norm sqrt(n).
        slack = {
            key: Tolerance(limit * float(norms[key]) * value.size**0.5)
            for key, value in exact.items()
        }
        rows += parameter_rows(
            f"{label} norm",
            norms,
            golden.by_parameter(f"{name}_norm"),
            lambda key: Tolerance(relative=limit),
        )
        rows += parameter_rows(
            f"{label} sum",
            {key: value.sum() for key, value in exact.items()},
            golden.by_parameter(f"{name}_sum"),
            slack.__getitem__,
        )
    return rows


def parameter_rows(
    stage: str,
    ours: Mapping[str, ArrayLike],
    theirs: Mapping[str, ArrayLike],
    tolerance: Callable[[str], Tolerance],
) -> list[Row]:
    """A row a parameter; one that only one side has fails."""
    rows = []
    for name in [*ours, *(theirs.keys() - ours.keys())]:
        label = f"{stage} {name}"
        if name not in ours:
            rows.append(failed(label, "not a parameter of ours", Tolerance()))
        elif name not in theirs:
            rows.append(failed(label, "missing in the golden file", tolerance(name)))
        else:
            rows.append(compare(label, ours[name], theirs[name], tolerance(name)))
    return rows
