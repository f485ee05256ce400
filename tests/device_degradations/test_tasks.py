"""Every degradation of the configurations on the device: shapes, ranges, keys."""

import functools
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import as_float, embedded

from elir_jax.compose.data import DEGRADATIONS
from elir_jax.data.degradations.difface import DifFace
from elir_jax.data.degradations.photographs import Photographs
from elir_jax.device_degradations.tasks import COUNTERPARTS, degrade, on_device

ROOT = Path(__file__).resolve().parents[2]
# Those of PMRF degrade as denoising does, or by DifFace's, which the host alone has as photo's.
OTHERS = ("common", "latent_pmrf_bfr", "pmrf", "pmrf_bfr", "posterior_mean", "shipped_photo")
TASKS = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem not in OTHERS)
SAME = ("autoencoder", "quickstart", "sim_vae")  # degrade not at all, or as another does
CHANGE_THE_ORIGINAL = {DifFace, Photographs}


def settings_of(task, variant=""):
    config = importlib.import_module(f"configs.{task}").get_config(variant)
    name = config.degradation.name
    return DEGRADATIONS[name](**config.degradation.get(name, {})), config.data.size


def test_every_degradation_of_the_host_has_a_counterpart():
    assert set(COUNTERPARTS) == set(DEGRADATIONS.values()) - CHANGE_THE_ORIGINAL


def test_what_has_no_counterpart_is_refused():
    with pytest.raises(TypeError, match="str has no counterpart"):
        on_device("blur")


@pytest.mark.parametrize("task", TASKS)
def test_every_configuration_degrades_at_its_full_size(task):
    settings, size = settings_of(task)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    lq = jax.eval_shape(jax.vmap(functools.partial(degrade, on_device(settings))), keys, x)
    assert lq.shape == x.shape and lq.dtype == x.dtype


@pytest.mark.parametrize(
    "task", [t for t in TASKS if t not in ("autoencoder", "quickstart", "sim_vae")]
)
def test_pictures_are_images_and_follow_from_their_key(task):
    device = on_device(settings_of(task)[0])
    x = jnp.asarray(as_float(embedded("astronaut", 96, 96))[:, :80])
    keys = jax.random.split(jax.random.key(0), 3)[jnp.array([0, 1, 2, 0])]
    batch = jax.jit(jax.vmap(functools.partial(degrade, device)))
    lq = np.asarray(batch(keys, jnp.stack([x] * 4)))
    assert lq.shape == (4, 96, 80, 3) and lq.min() >= 0 and lq.max() <= 1
    np.testing.assert_array_equal(lq[0], lq[3])
    assert len({picture.tobytes() for picture in lq}) == 3
    if task == "blind_super_resolution":
        return  # compiling it again would take most of this file's time
    alone = np.asarray(jax.jit(lambda k, x: degrade(device, k, x))(keys[1], x))
    # Another order of sums may move a pixel across a rounding, which JPEG spreads over a block.
    assert np.mean(np.abs(alone - lq[1]) > 1e-5) < 0.02


def products(jaxpr):
    """Every product of floats in a program, with those of the programs inside it."""
    for equation in jaxpr.eqns:
        product = equation.primitive.name in ("dot_general", "conv_general_dilated")
        if product and jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
            yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from products(inner)


@pytest.mark.parametrize("task, least", [("bfr", 4), ("blind_super_resolution", 8)])
def test_products_are_of_full_precision_on_every_device(task, least):
    """Matrix units would round the pixels to bfloat16; a CPU cannot show that."""
    device = on_device(settings_of(task)[0])
    program = jax.make_jaxpr(lambda k, x: degrade(device, k, x))
    x = jnp.zeros((64, 64, 3))
    found = list(products(program(jax.random.key(0), x).jaxpr))
    assert len(found) >= least
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert all(equation.params["precision"] == highest for equation in found)
