"""Compare training with a recording: gradients, and the parameters after ten updates.

Every tensor is compared by its probes (:mod:`elir_jax.parity.probes`): its gradient, its change by
ten updates, and the difference between its average and itself afterwards, each relative to its own
norm. So a wrong average fails, and so does a missing weight decay.

Older recordings hold norms and sums of parameters and averages instead. Only the sums show the
difference between the two: the norm changes in second order.
"""

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.methods.elir import Draw
from elir_jax.parity.arrays import Arrays, Recording, parameter_rows
from elir_jax.parity.probes import CERTAIN, probes
from elir_jax.parity.table import Row, Tolerance
from elir_jax.training.optim import AdamW, Ema, apply_gradients
from elir_jax.weights.release import to_release

GRADIENT_NORM = 1e-3  # relative
# Gradients this far below the norm of their network's gradient are rounding: a shift before a
# normalisation whose groups hold one channel changes nothing.
GRADIENT_FLOOR = 1e-7
TRAJECTORY_LOSS = Tolerance(relative=1e-3)
EMA_RAMP = 2000.0  # the release's
UNIT = 2.0**-24  # relative error of one float32 operation
OLD_APART = 0.1  # of the difference between average and parameters, if only its sum is known


# Relative to the norm of a change. The encoder has ReLUs: if a pixel within rounding of a kink
# changes side, a gradient changes by that pixel's share, a hundredth if pictures are small. The
# other networks have no ReLUs, but get the output of the encoder.
CHANGE = {"enc": 1e-2, "dec": 0.0, "mmse": 1e-3, "fmir": 1e-3}
WHOLE = 1e-5  # of the norm of whole parameters, in older recordings


def part_of(name: str) -> str:
    """The network to which a tensor of the release belongs."""
    return name.partition(".")[0]


def gradient_rows(golden: Recording, grads: Arrays, entry: float) -> list[Row]:
    """The gradient of every parameter by its probes (or norm), and its entries if recorded.

    ``entry`` is the tolerance for an entry, relative to the largest one.
    """
    ours = {name: np.asarray(grad, np.float64) for name, grad in grads.items()}
    norms = {name: np.linalg.norm(grad) for name, grad in ours.items()}
    floor = {
        part: GRADIENT_FLOOR
        * float(np.linalg.norm([norms[n] for n in norms if n.startswith(part)]))
        for part in ("enc", "mmse", "fmir")
    }

    def relative(limit):
        return lambda name: Tolerance(floor.get(part_of(name), 0.0), limit)

    def of_norm(name):
        part = part_of(name)
        return Tolerance(CERTAIN * float(floor[part] + CHANGE[part] * norms[name]))

    recorded = golden.by_parameter("gradnorm")
    if recorded:
        rows = parameter_rows("gradient norm", norms, recorded, relative(GRADIENT_NORM))
    else:
        found = {name: probes(name, grad) for name, grad in ours.items()}
        recorded = golden.by_parameter("gradprobe")
        rows = parameter_rows("gradient probes", found, recorded, of_norm)
    entries = golden.by_parameter("grad")
    known = {name: grads[name] for name in entries if name in grads}
    return rows + parameter_rows("gradient", known, entries, relative(entry))


def trajectory_rows(golden: Recording, gradient, trained, frozen, pair) -> list[Row]:
    """The losses of ten updates on one batch, then the parameters and their average."""
    optimizer = AdamW(
        learning_rate=golden.setting("lr"),
        b1=golden.setting("betas")[0],
        b2=golden.setting("betas")[1],
        eps=golden.setting("eps"),
        weight_decay=golden.setting("weight_decay"),
    ).build(len(golden["traj_u"]))
    ema_rule = Ema(golden.setting("ema_decay"), EMA_RAMP)
    before = golden.config.get("ema_updates", 0)

    @jax.jit
    def apply(params, ema, opt_state, grads, number):
        params, opt_state = apply_gradients(optimizer, grads, opt_state, params)
        return params, ema_rule.update(ema, params, number), opt_state

    params, ema, opt_state = trained, trained, optimizer.init(trained)
    losses = []
    draws = zip(golden["traj_u"], golden["traj_eps"], strict=True)
    for number, (u, eps) in enumerate(draws, start=before + 1):
        (loss, _), grads = gradient(params, frozen, *pair, Draw(jnp.asarray(u), jnp.asarray(eps)))
        losses.append(float(loss))
        params, ema, opt_state = apply(params, ema, opt_state, grads, number)

    def exact(tree):
        tensors = to_release(tree | {"decoder": frozen["decoder"]})
        return {name: np.asarray(value, np.float64) for name, value in tensors.items()}

    rows = [golden.row("trajectory losses", losses, "traj_loss", TRAJECTORY_LOSS)]
    start, end, average = exact(trained), exact(params), exact(ema)
    if golden.by_parameter("traj_norm"):
        return rows + whole_rows(golden, end, average)
    return rows + update_rows(golden, start, end, average, len(losses))


def update_rows(
    golden: Recording, start: Arrays, end: Arrays, average: Arrays, updates: int
) -> list[Row]:
    """Probes of the change by the updates, and of the average minus the parameters."""
    rows = []
    for label, key, tree, origin in (
        ("moved", "trajprobe", end, start),
        ("EMA - moved", "emaprobe", average, end),
    ):
        change = {name: tree[name] - origin[name] for name in tree}
        slack = {}
        for name, value in change.items():
            # Each update rounds the parameter that it is added to.
            rounding = updates**0.5 * UNIT * np.linalg.norm(end[name])
            explained = CHANGE[part_of(name)] * np.linalg.norm(value) + rounding
            slack[name] = Tolerance(CERTAIN * float(explained))
        found = {name: probes(name, value) for name, value in change.items()}
        rows += parameter_rows(label, found, golden.by_parameter(key), slack.__getitem__)
    return rows


def whole_rows(golden: Recording, end: Arrays, average: Arrays) -> list[Row]:
    """Norm and sum of the parameters and of their average, and the sum of the difference."""
    rows = []
    sums = {"traj": {}, "ema": {}}
    for label, name, tensors in (("after", "traj", end), ("EMA", "ema", average)):
        norms = {key: np.linalg.norm(value) for key, value in tensors.items()}
        sums[name] = {key: value.sum() for key, value in tensors.items()}
        # A relative error e of a tensor of n entries moves its sum by at most e norm sqrt(n).
        slack = {
            key: Tolerance(WHOLE * float(norms[key]) * value.size**0.5)
            for key, value in tensors.items()
        }
        recorded = golden.by_parameter(f"{name}_norm"), golden.by_parameter(f"{name}_sum")
        relative = Tolerance(relative=WHOLE)
        rows += parameter_rows(f"{label} norm", norms, recorded[0], lambda key, t=relative: t)
        rows += parameter_rows(f"{label} sum", sums[name], recorded[1], slack.__getitem__)
    there = golden.by_parameter("traj_sum"), golden.by_parameter("ema_sum")
    return rows + parameter_rows(
        "EMA - after, sum",
        {key: sums["ema"][key] - sums["traj"][key] for key in end},
        {key: there[1][key] - there[0][key] for key in there[0].keys() & there[1].keys()},
        lambda key: Tolerance(
            OLD_APART * float(np.linalg.norm(average[key] - end[key]))
            + CERTAIN * UNIT * float(np.linalg.norm(end[key]))
        ),
    )
