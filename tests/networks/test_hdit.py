"""HDiT: exact sizes, its start, its refusals, and parity with the public code."""

import jax
import jax.numpy as jnp
import numpy as np
import pmrf_golden
import pytest
import reference
from pmrf_golden import check_gradients, distance

from elir_jax.networks import attention, transformer
from elir_jax.networks.hdit import HDiT, gather, scatter
from elir_jax.networks.transformer import LATENT, PIXEL, Depthwise, Style
from elir_jax.weights.hdit import hdit_tensors, read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.pmrf import ARCHITECTURES

TIME = jax.ShapeDtypeStruct((1,), jnp.float32)
KEY = jax.random.key(0)
SMALL = HDiT((32, 64), (1, 1), (3, 0), head_dim=16, patch=2, mapping_width=16, mapping_depth=1)
LATENT_SMALL = HDiT(
    (32, 64),
    (1, 1),
    (3, 0),
    16,
    patch=1,
    mapping_width=16,
    mapping_depth=1,
    out_channels=4,
    style=LATENT,
)


def shaped(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize(
    "module, channels, expected",
    [
        (ARCHITECTURES["hdit_ImageNet256Sp4"], 3, 160_460_210),
        (ARCHITECTURES["hdit_XL2"], 3, 121_544_221),
        (ARCHITECTURES["hdit_XL2"], 6, 121_544_221 + 384 * 3 * 16),  # with a condition beside
        (
            HDiT((256, 512, 1024), (2, 4, 6), (7, 7, 0), patch=1, out_channels=32, style=LATENT),
            32,
            153_976_610,
        ),
    ],
    ids=["ImageNet256Sp4", "XL2", "XL2 conditional", "latent"],
)
def test_parameter_counts_are_exact(module, channels, expected):
    side = module.patch * 64
    variables = jax.eval_shape(module.init, KEY, shaped(1, side, side, channels), TIME)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == expected
    out = jax.eval_shape(module.apply, variables, shaped(1, side, side, channels), TIME)
    assert out.shape == (1, side, side, module.out_channels)


def test_a_fresh_network_answers_zero_and_its_constants_are_no_parameters():
    x, t = jax.random.normal(KEY, (2, 12, 16, 3)), jnp.array([0.1, 0.9])
    make = jax.jit(SMALL.init_with_output)
    out, variables = make(KEY, x, t)
    assert out.shape == x.shape and not jnp.any(out)
    shapes = jax.tree.map(jnp.shape, variables["constants"])
    assert shapes == {"time": (8, 1), "augmentation": (8, 9)}
    other = make(jax.random.key(1), x, t)[1]["constants"]
    assert jnp.all(other["time"] != variables["constants"]["time"])


@pytest.mark.slow
@pytest.mark.parametrize("module", [SMALL, LATENT_SMALL], ids=["pixel", "latent"])
def test_bfloat16_compute_keeps_float32_parameters_and_results(module):
    x, t = 0.3 * jax.random.normal(KEY, (1, 12, 16, module.out_channels)), jnp.array([0.4])
    half = module.clone(dtype=jnp.bfloat16)
    variables = jax.jit(half.init)(KEY, x, t)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}

    def filled(leaf):  # what starts at zero, too
        return leaf + 0.05 * jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape)

    variables = jax.tree.map(filled, variables)
    exact, rough = (jax.jit(m.apply)(variables, x, t) for m in (module, half))
    assert rough.dtype == jnp.float32
    assert 1e-6 < distance(rough, exact) < 0.05


@pytest.mark.parametrize(
    "changes, shape, message",
    [
        ({}, (1, 10, 16, 3), "multiples of 4"),
        ({}, (1, 4, 16, 3), "must be odd and fit into 2x8 tokens"),
        ({"head_dim": 24}, (1, 12, 16, 3), "widths must be multiples of 24"),
        ({"kernels": (3,)}, (1, 12, 16, 3), "same length"),
        ({"style": LATENT}, (1, 12, 16, 3), "patch must be 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(SMALL.clone(**changes).init, KEY, shaped(*shape), TIME)


def test_scatter_undoes_gather_and_channels_change_fastest():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    assert jnp.all(scatter(gather(x, 2), 2) == x)
    assert jnp.all(
        gather(x, 2)[0, 0, 0] == jnp.concatenate([x[0, i, j] for i in (0, 1) for j in (0, 1)])
    )


def test_hidden_widths_are_rounded_as_the_style_says():
    assert [PIXEL.hidden(width) for width in (32, 384)] == [96, 1152]
    assert [LATENT.hidden(width) for width in (32, 48, 64, 256)] == [64, 128, 192, 768]
    assert Style(hidden_multiple=64).hidden(75) == 256  # 225: the nearest


def test_a_depthwise_convolution_is_one_of_as_many_groups_as_channels():
    x = jax.random.normal(KEY, (2, 5, 7, 6))
    variables = Depthwise(use_bias=True).init(KEY, x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    expected = jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=6,
    )
    out = Depthwise(use_bias=True).apply(variables, x)
    assert jnp.max(jnp.abs(out - expected - bias.reshape(1, 1, 1, -1))) <= 1e-6


# Parity ----------------------------------------------------------------------------------------

RECORDED = pmrf_golden.recorded("hdit")


def test_the_golden_file_is_small():
    assert pmrf_golden.GOLDEN.stat().st_size < 500_000


def ours():
    source = Source(pmrf_golden.GOLDEN, "", pmrf_golden.tensors("hdit"), str)
    module, variables = read_hdit(source)
    assert module == pmrf_golden.NETWORKS["hdit"]
    return pmrf_golden.loss_and_gradients(
        module, variables, pmrf_golden.inputs("hdit"), pmrf_golden.cotangent("hdit")
    )


def test_parity_with_the_public_code():
    out, loss, grads = ours()
    assert distance(out, RECORDED["out"]) <= 2e-5
    assert abs(loss - RECORDED["loss"]) <= 1e-6 * np.max(np.abs(RECORDED["out"]))
    assert {n.removeprefix("gradnorm/") for n in RECORDED if n.startswith("gradnorm/")} == set(
        RECORDED["parameters"]
    )
    check_gradients(hdit_tensors(pmrf_golden.NETWORKS["hdit"], grads), RECORDED)


def test_a_swapped_gate_fails_parity(monkeypatch):
    exact = transformer.geglu
    monkeypatch.setattr(transformer, "geglu", lambda x, gate: exact(x, "first"))
    assert distance(ours()[0], RECORDED["out"]) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("length", [14, 22])
def test_a_window_shifted_by_one_fails_parity(monkeypatch, length):
    """Of one place in the middle of one side: the least that can be wrong."""
    exact = attention._visible

    def shifted(queries, keys, side, kernel):
        seen = exact(queries, keys, side, kernel)
        wrong = (queries == 6) & (side == length)
        return np.where(wrong[:, None], exact(queries + 1, keys, side, kernel), seen)

    monkeypatch.setattr(attention, "_visible", shifted)
    assert distance(ours()[0], RECORDED["out"]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "project, part, inputs",
    [
        ("pmrf", "hdit", ("x", "t")),
        ("pmrf", "hdit2", ("x", "t")),
        ("latent_pmrf", "latent_hdit", ("z", "sigma")),
    ],
)
def test_parity_with_the_shared_recordings(project, part, inputs):
    arrays, tensors = reference.recorded_network(project, part)
    module, variables = read_hdit(Source(reference.SHARED, part, tensors, str))
    out, loss, grads = pmrf_golden.loss_and_gradients(
        module, variables, [arrays[name] for name in inputs], arrays["cotangent"]
    )
    assert distance(out, arrays["out"]) <= 2e-5
    assert abs(loss - arrays["loss"][0]) <= 1e-6
    check_gradients(hdit_tensors(module, grads), arrays)
