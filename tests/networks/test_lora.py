"""Adapters: merged into the kernels they compute what a side branch beside them would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from loading import count

from elir_jax.networks.lora import LoRA
from elir_jax.networks.unet import UNet

CONV_AND_TIME = ("*/block?/conv", "final/conv", "*/time")
PLAIN = small.VELOCITY.clone(form="plain")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def base():
    return jax.jit(PLAIN.init)(KEY, jnp.zeros((1, 4, 4, 4)), jnp.zeros(1))["params"]


def filled(adapters, seed=1):
    """The adapters with every factor drawn."""
    leaves, structure = jax.tree.flatten(adapters)
    rng = np.random.default_rng(seed)
    drawn = [jnp.asarray(0.2 * rng.normal(size=leaf.shape), jnp.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, drawn)


def test_fresh_adapters_leave_every_kernel_bit_for_bit(base):
    lora = LoRA(rank=4)
    merged = lora.merge(base, lora.init(KEY, base))
    assert jax.tree.structure(merged) == jax.tree.structure(base)
    assert jax.tree.all(jax.tree.map(np.array_equal, merged, base))


def test_all_that_is_not_named_stays(base):
    lora = LoRA(rank=2, targets=("*/time",))
    merged = lora.merge(base, filled(lora.init(KEY, base)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(merged):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        original = base
        for key in path:
            original = original[key.key]
        assert np.array_equal(leaf, original) != name.endswith("time/kernel"), name


@pytest.mark.parametrize("kind", ["3x3", "1x1", "dense"])
def test_merged_kernels_compute_the_side_branch_with_its_gradients(kind):
    lora = LoRA(rank=3, alpha=6.0, targets=("layer",))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 5) if kind == "dense" else (2, 6, 7, 5)), jnp.float32)
    shape = (5, 8) if kind == "dense" else (*([int(kind[0])] * 2), 5, 8)
    kernel = jnp.asarray(rng.normal(size=shape), jnp.float32)
    adapters = filled(lora.init(KEY, {"layer": {"kernel": kernel}}))

    def layer(h, kernel):
        if kind == "dense":
            return jnp.matmul(h, kernel, precision="highest")
        pad = kernel.shape[0] // 2
        return jax.lax.conv_general_dilated(
            h, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )  # fmt: skip

    def merged(adapters):
        return layer(x, lora.merge({"layer": {"kernel": kernel}}, adapters)["layer"]["kernel"])

    def beside(adapters):
        branch = layer(x, adapters["layer"]["down"])
        return layer(x, kernel) + 2.0 * jnp.matmul(
            branch, adapters["layer"]["up"], precision="highest"
        )

    np.testing.assert_allclose(merged(adapters), beside(adapters), rtol=1e-5, atol=1e-5)
    gradients = [
        jax.grad(lambda a, f=f: jnp.sum(jnp.sin(f(a))))(adapters) for f in (merged, beside)
    ]
    for ours, theirs in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_the_change_of_a_kernel_has_the_rank(base):
    lora = LoRA(rank=3, targets=("final/conv",))
    merged = lora.merge(base, filled(lora.init(KEY, base)))
    change = merged["final"]["conv"]["kernel"] - base["final"]["conv"]["kernel"]
    values = np.linalg.svd(np.asarray(change).reshape(-1, change.shape[-1]), compute_uv=False)
    assert values[2] > 1e-2 * values[0] and values[3] < 1e-5 * values[0]


@pytest.mark.parametrize(
    "hidden, blocks, rank, number, of",
    [
        (128, 3, 4, 318_976, 29_561_232),
        (128, 3, 32, 2_551_808, 29_561_232),
        (64, 1, 8, 250_880, 5_452_624),
        (64, 1, 32, 1_003_520, 5_452_624),
    ],
)
def test_adapters_have_these_sizes(hidden, blocks, rank, number, of):
    unet = UNet(hidden=hidden, num_mid_blocks=blocks)

    def init(key):
        base = unet.init(key, jnp.zeros((1, 8, 8, 16)), jnp.zeros(1))["params"]
        return base, LoRA(rank, targets=CONV_AND_TIME).init(key, base)

    base, adapters = jax.eval_shape(init, KEY)
    assert (count(adapters), count(base)) == (number, of)


@pytest.mark.parametrize(
    "fields, words",
    [({"rank": 0}, "rank"), ({"targets": ()}, "targets"), ({"targets": ("query",)}, "query")],
)
def test_adapters_of_nothing_are_refused(base, fields, words):
    with pytest.raises(ValueError, match=words):
        LoRA(**fields).init(KEY, base)
