"""Teachers of PMRF's kind, in pixels and in latents, are distilled by the same objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import directflow
from elir_jax import compose
from elir_jax.errors import UserError
from elir_jax.inference.one_program import run_parts
from elir_jax.methods.method import untrained
from elir_jax.types import Batch

ESTIMATOR = {"width": 12, "depths": (2,), "features": 4}
FLOW = {"widths": (16, 32), "depths": (1, 1), "kernels": (7, 0), "head_dim": 16,
        "mapping_width": 16, "mapping_depth": 1}  # fmt: skip
KEY = jax.random.key(0)


def small(teacher, **student):
    config = directflow.get_config(teacher).unlock()
    config.estimator.update(ESTIMATOR)
    config.velocity.update(FLOW)
    config.data.size = 64
    config.dtype = "float32"
    config.teacher.num_steps = 2
    config.student.update({"rank": 2} | student)
    config.objective.update(sgcl=0.1, sgcl_probability=1.0)
    if "autoencoder" in config:
        config.autoencoder.update(weights="embedded", width=8, latent_channels=4)
    return config.lock()


@pytest.mark.slow
@pytest.mark.parametrize("teacher", ["pmrf", "latent_pmrf"])
def test_a_fresh_student_takes_its_step_and_its_adapters_learn(teacher):
    method = compose.build_method(small(teacher))
    params, frozen = jax.jit(lambda key: method.init(key, untrained))(KEY)
    assert params.keys() == {"lora"} and frozen["teacher"].keys() == {"velocity"}
    # Fresh transformers end in zeros, so that nothing would reach the adapters.
    rng = np.random.default_rng(0)
    frozen["teacher"] = jax.tree.map(
        lambda p: p + jnp.asarray(0.1 * rng.normal(size=p.shape), jnp.float32), frozen["teacher"]
    )
    x = jnp.asarray(rng.random((2, 64, 64, 3)), jnp.float32)
    batch = Batch(x, x, jnp.arange(2), jnp.arange(2))

    def loss(params):
        keys = jax.random.split(KEY, 2)
        return method.objective(params, params, frozen, batch, keys, jnp.int32(0))

    (value, terms), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(terms["latent"], terms["teacher_gap"], rtol=1e-3)
    assert jnp.isfinite(value) and terms["sgcl"] > 0
    moved = {"up": 0, "down": 0}
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads["lora"]):
        moved[path[-1].key] += float(jnp.sum(leaf**2))
    assert moved["up"] > 0 == moved["down"]
    found = method.for_inference(params, frozen)
    assert jax.tree.structure(found["velocity"]) == jax.tree.structure(
        frozen["teacher"]["velocity"]
    )
    restored = jax.eval_shape(lambda p, f: run_parts(method.parts, p, f, x, KEY), found, frozen)
    assert restored.shape == x.shape


@pytest.mark.parametrize("field, value", [("input", "lq"), ("adapter", "zero"), ("control", True)])
def test_they_have_no_conditioning(field, value):
    with pytest.raises(UserError, match=f"student.{field}={value}"):
        compose.build_method(small("pmrf", **{field: value, "weights": "runs/a"}))


def test_a_posterior_mean_in_latents_is_no_teacher_yet():
    config = small("latent_pmrf").unlock()
    config.estimator.kind = "rrdb"
    with pytest.raises(UserError, match="estimator.kind=rrdb"):
        compose.build_method(config)
