"""Small networks of PMRF, their weights and inputs, and what the public code made of them.

Weights and inputs follow from names alone; tests/golden/pmrf.npz holds outputs and gradients, as
tests/torch_reference/record_pmrf.py recorded them. The pixel network's first level has 14 x 22
tokens: not square, no multiple of a tile, and large enough for the tiled form.
"""

import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import SwinIR
from elir_jax.parity.probes import probes  # noqa: F401  the recorder's
from elir_jax.weights.hdit import hdit_shapes, hdit_tensors
from elir_jax.weights.swinir import swinir_shapes, swinir_tensors

HERE = Path(__file__).resolve().parents[1]
GOLDEN = HERE / "golden" / "pmrf.npz"
TRAINING = HERE / "golden" / "pmrf_training.npz"
UPDATES, STEPS = 10, 5
sys.path.append(str(HERE / "torch_reference"))
from weights import uniform  # noqa: E402

NETWORKS = {
    "hdit": HDiT((32, 64), (2, 1), (7, 0), head_dim=16, mapping_width=32, mapping_depth=1),
    "swinir": SwinIR(24, (2, 1)),
}
SIZES = {"hdit": (2, 56, 88, 3), "swinir": (1, 64, 128, 3)}


def tensors(part: str) -> dict[str, np.ndarray]:
    """Weights under the public names; those that start at zero or one are drawn, too."""
    module = NETWORKS[part]
    shapes = hdit_shapes(module, 3) if part == "hdit" else swinir_shapes(module)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    named = (hdit_tensors if part == "hdit" else swinir_tensors)(module, empty)
    return {name: _drawn(f"{part}.{name}", value) for name, value in named.items()}


def _drawn(name, value):
    if name.endswith(("freqs", "relative_position_index", "attn_mask")):
        return value
    if name.endswith("emb.weight"):
        return uniform(name, value.shape, 2.0)
    if name.endswith("attn.scale"):
        return 10 + uniform(name, value.shape, 5.0)  # its root is taken
    if name.endswith(("scale", "fac", "norm.weight", "norm1.weight", "norm2.weight")):
        return 1 + uniform(name, value.shape, 0.3)
    if value.ndim == 1:
        return uniform(name, value.shape, 0.1)
    if name.endswith("bias_table"):
        return uniform(name, value.shape, 1.0)
    return uniform(name, value.shape, 1.5 / math.sqrt(math.prod(value.shape[1:])))


def inputs(part: str) -> list[np.ndarray]:
    """The picture, and times for the velocity; seen too by the public code."""
    picture = 0.5 + uniform(f"{part} picture", SIZES[part], 0.5)
    return [picture, np.float32([0.15, 0.8])] if part == "hdit" else [picture]


def training_inputs() -> list[np.ndarray]:
    """(x_hq, x_lq, u, unit noise) of ten updates of two pictures each."""
    shape = (UPDATES, 2, 64, 64, 3)
    x, y = (0.5 + uniform(f"training {name}", shape, 0.5) for name in ("x", "y"))
    u = 0.5 + uniform("training u", (UPDATES, 2), 0.5)
    # A sum of uniforms is as good as normal noise, and the same on any machine.
    eps = sum(uniform(f"training eps {n}", shape, 1.0) for n in range(3))
    return [x, y, u, eps]


def cotangent(part: str) -> np.ndarray:
    """What the output is multiplied with for a loss, a mean over all.

    Of one sign: in a sum of random signs a single pixel at the kink of a leaky ReLU, which rounding
    puts on either side, is more than the tolerance.
    """
    return 1 + uniform(f"{part} cotangent", SIZES[part], 0.5)


def loss_and_gradients(module, variables, arrays, weight):
    """(output, loss, gradients in the variables' shape; constants have none, so zeros)."""
    variables = jax.tree.map(jnp.asarray, variables)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def loss(params):
        out = module.apply({"params": params, **rest}, *map(jnp.asarray, arrays))
        return jnp.mean(out * weight), out

    (value, out), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    return out, value, {"params": grads, **jax.tree.map(jnp.zeros_like, rest)}


def distance(out, expected) -> float:
    """Largest error, of the largest value."""
    return float(np.max(np.abs(out - expected)) / np.max(np.abs(expected)))


def check_gradients(gradients, recorded):
    """Norms within 1e-3; so are the entries, of the largest, where they are recorded."""
    norms, entries = under(recorded, "gradnorm/"), under(recorded, "grad/")
    assert norms and norms.keys() <= gradients.keys()
    for name, norm in norms.items():
        error = abs(np.linalg.norm(gradients[name]) - float(np.ravel(norm)[0]))
        assert error <= 1e-3 * float(np.ravel(norm)[0]), name
    for name, entry in entries.items():
        assert distance(gradients[name], entry) <= 1e-3, name


def under(arrays, prefix):
    """What is named with the prefix, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def recorded(part: str) -> dict[str, np.ndarray]:
    """What the public code made of a network."""
    with np.load(GOLDEN) as file:
        return under(dict(file), f"{part}/")
