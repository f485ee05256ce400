"""Compare with recorded numbers: every stage, loss, gradient and a training trajectory.

Each stage gets the recorded input of that stage, so that an error is counted only in the stage that
makes it. Expanded weights are compared with the arrays ``*_over``, collapsed ones with ``*_flat``.
All settings come from the ``config`` of the arrays and from the tensors.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.errors import UserError
from elir_jax.flow.path import euler_trajectory
from elir_jax.methods.elir import Draw, ElirObjective, elir_loss
from elir_jax.networks.layers import TIME_SCALE, time_embedding
from elir_jax.parity.arrays import Arrays, Recording
from elir_jax.parity.table import Row, Tolerance
from elir_jax.parity.trajectory import gradient_rows, trajectory_rows
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import from_release, to_release
from elir_jax.weights.sizes import Sizes, read_sizes

LATENT = Tolerance(absolute=2e-5)
PIXELS = Tolerance(absolute=1e-4)
LOSS = Tolerance(relative=1e-5)
GRADIENT = 1e-4  # error of an entry, relative to the largest one
# A time of [0, 1] may be recorded one unit in the last place (2^-24) from the one that was
# embedded, and is multiplied by TIME_SCALE.
EMBEDDING = Tolerance(absolute=TIME_SCALE * 2.0**-24 + 1e-6)


def kind_of(sizes: Sizes) -> str:
    """``over`` for expanded networks, ``flat`` for collapsed ones."""
    return "flat" if sizes.velocity.form == "plain" else "over"


def compare_golden(arrays: Arrays, source: Source, form: str = "collapsing") -> list[Row]:
    """All rows; ``form`` says how expanded blocks run. Raises UserError if inputs are missing."""
    sizes = read_sizes(source)
    if sizes.velocity is None:
        raise UserError(f"{source.path}: only an autoencoder; give a checkpoint of the release")
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
        *loss_rows(golden, sizes, params, GRADIENT),
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


def loss_rows(golden: Recording, sizes: Sizes, params, entry: float) -> list[Row]:
    """The six losses, the gradients of each parameter, ten training steps and their average.

    ``entry`` is the tolerance for an entry of a gradient, relative to the largest one.
    """
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
    # One program: XLA computes what the losses have in common once.
    kinds = [
        (name, flow, beta)
        for flow, name in (("flow_matching", "fm"), ("consistency", "cfm"))
        for beta in (0.0, golden.setting("beta"))
    ]
    losses = [loss_of(flow=flow, beta=beta) for _, flow, beta in kinds]
    found = jax.jit(lambda *given: [loss(*given) for loss in losses])(trained, frozen, *pair, draw)
    for (name, flow, beta), (loss, terms) in zip(kinds, found, strict=True):
        if beta:
            rows.append(golden.row(f"loss l2_{name}_mse", loss, f"l2_{name}_mse_loss", LOSS))
            continue
        rows.append(golden.row(f"loss {name}", terms[flow], f"{name}_loss", LOSS))
        rows.append(golden.row(f"loss l2_{name}", loss, f"l2_{name}_loss", LOSS))

    gradient = jax.jit(jax.value_and_grad(loss_of(), has_aux=True))
    _, grads = gradient(trained, frozen, *pair, draw)
    return [
        *rows,
        *gradient_rows(golden, to_release(grads), entry),
        *trajectory_rows(golden, gradient, trained, frozen, pair),
    ]
