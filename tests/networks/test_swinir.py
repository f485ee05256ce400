"""SwinIR: exact sizes, windows, drop path, refusals, and parity with the public code."""

import jax
import jax.numpy as jnp
import numpy as np
import pmrf_golden
import pytest
import reference
from pmrf_golden import check_gradients, distance

from elir_jax.networks import swinir
from elir_jax.networks.swinir import SwinBlock, SwinIR, shift_mask, unshuffle
from elir_jax.weights.layouts import Source
from elir_jax.weights.pmrf import ARCHITECTURES
from elir_jax.weights.swinir import read_swinir, swinir_tensors

KEY = jax.random.key(0)
IMAGE = jax.ShapeDtypeStruct((1, 64, 128, 3), jnp.float32)


@pytest.mark.parametrize("name, expected", [("swinir_L", 15_792_587), ("swinir_M", 4_741_007)])
def test_parameter_counts_are_exact(name, expected):
    module = ARCHITECTURES[name]
    out, variables = jax.eval_shape(module.init_with_output, KEY, IMAGE)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == expected
    assert out.shape == IMAGE.shape


def test_bfloat16_compute_keeps_float32_parameters_and_results():
    module = SwinIR(24, (1,), dtype=jnp.bfloat16)
    out, variables = jax.eval_shape(module.init_with_output, KEY, IMAGE)
    assert {leaf.dtype for leaf in jax.tree.leaves((out, variables))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "module, shape, message",
    [
        (SwinIR(24, (1,)), (1, 64, 72, 3), "multiples of 64"),
        (SwinIR(32, (1,)), (1, 64, 64, 3), "no multiple of 6"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(module, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(module.init, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_pixels_are_unshuffled_with_the_channel_slowest():
    x = jnp.arange(8 * 16 * 3.0).reshape(1, 8, 16, 3)
    token = unshuffle(x)[0, 0, 1].reshape(3, 8, 8)
    assert jnp.all(token == jnp.moveaxis(x[0, :, 8:], -1, 0))


@pytest.mark.parametrize("shifted", [False, True])
def test_a_block_sees_its_window_alone(shifted):
    """By derivative: a token near a corner, in a window of its own or, shifted, of the corner."""
    block = SwinBlock(heads=2, shifted=shifted)
    x = jax.random.normal(KEY, (1, 16, 24, 8))
    variables = jax.jit(block.init)(KEY, x)
    variables = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), variables
    )
    grad = jax.jit(jax.grad(lambda x: jnp.sum(block.apply(variables, x)[0, 9, 11])))(x)
    seen = np.argwhere(jnp.any(grad[0] != 0, axis=-1))
    first, last = ([4, 4], [11, 11]) if shifted else ([8, 8], [15, 15])
    assert seen.min(0).tolist() == first and seen.max(0).tolist() == last


def test_shifted_windows_do_not_mix_opposite_edges():
    mask = np.asarray(shift_mask(16, 24)).reshape(2, 3, 8, 8, 8, 8)
    assert not mask[0, :2].any()
    corner = mask[1, 2]
    assert corner[0, 0, 3, 3] == 0 and corner[4, 0, 7, 3] == 0
    assert corner[0, 0, 4, 0] == corner[0, 0, 0, 4] == corner[5, 1, 5, 6] == -100


def test_drop_path_leaves_samples_out_at_its_rate_and_keeps_the_mean():
    kept = swinir.drop_path(jax.random.split(KEY, 4000), np.array([0.0, 0.25]))
    assert kept.shape == (2, 2, 4000) and jnp.all(kept[0] == 1)
    assert set(np.unique(kept[1])) == {0.0, np.float32(1 / 0.75)}
    halves = jnp.abs(jnp.mean(kept[1], axis=-1) - 1)
    assert jnp.all(halves < 5 * (1 / 0.75) * (0.25 * 0.75 / 4000) ** 0.5)
    assert jnp.any(kept[1, 0] != kept[1, 1])


def test_drop_path_is_for_training_alone_and_follows_each_samples_key(monkeypatch):
    monkeypatch.setattr(swinir, "DROP_PATH", 0.9)
    module, x = SwinIR(12, (2,), features=4), jax.random.uniform(KEY, (3, 64, 64, 3))
    variables = jax.jit(module.init)(KEY, x)
    keys = jax.random.split(jax.random.key(1), 3)
    run = jax.jit(module.apply)
    still, one = run(variables, x), run(variables, x, keys)
    assert jnp.any(one != still)
    turned = run(variables, x[::-1], keys[::-1])[::-1]  # each sample keeps its own
    np.testing.assert_allclose(one, turned, atol=1e-6)


# Parity ----------------------------------------------------------------------------------------

RECORDED = pmrf_golden.recorded("swinir")


def check_parity(tensors, picture, recorded):
    module, variables = read_swinir(Source(pmrf_golden.GOLDEN, "", tensors, str))
    weight = recorded["cotangent"]
    out, loss, grads = pmrf_golden.loss_and_gradients(module, variables, [picture], weight)
    assert distance(out, recorded["out"]) <= 2e-5
    assert abs(loss - np.ravel(recorded["loss"])[0]) <= 1e-6 * np.max(np.abs(recorded["out"]))
    check_gradients(swinir_tensors(module, grads), recorded)


def test_parity_with_the_public_code():
    weight = {"cotangent": pmrf_golden.cotangent("swinir")}
    check_parity(pmrf_golden.tensors("swinir"), *pmrf_golden.inputs("swinir"), RECORDED | weight)


def test_an_unshifted_block_fails_parity(monkeypatch):
    monkeypatch.setattr(swinir.jnp, "roll", lambda x, *_: x)
    source = Source(pmrf_golden.GOLDEN, "", pmrf_golden.tensors("swinir"), str)
    module, variables = read_swinir(source)
    out = module.apply(variables, *map(jnp.asarray, pmrf_golden.inputs("swinir")))
    assert distance(out, RECORDED["out"]) > 1e-3


def test_parity_with_the_shared_recordings():
    arrays, tensors = reference.recorded_network("pmrf", "swinir")
    check_parity(tensors, arrays["y"], arrays)
