"""Networks of pairs of columns compute what those of columns do."""

import jax
import numpy as np
import pytest

from elir_jax.networks.pairs import pair, pair_kernel, unpair
from elir_jax.networks.taesd import Decoder, Encoder
from elir_jax.networks.target import target, tracing_for

FIRST, SECOND = jax.random.split(jax.random.key(0))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_kernel_of_pairs_gives_the_pairs_of_what_the_kernel_gives(stride):
    x = jax.random.normal(FIRST, (2, 6, 12, 5))
    kernel = jax.random.normal(SECOND, (3, 3, 5, 7))
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    plain = jax.lax.conv_general_dilated(x, kernel, strides, [(1, 1)] * 2, dimension_numbers=layout)
    paired = jax.lax.conv_general_dilated(
        pair(x),
        pair_kernel(kernel, stride),
        strides,
        [(1, 1), (1, 2 - stride)],
        dimension_numbers=layout,
    )
    assert paired.shape == pair(plain).shape
    np.testing.assert_allclose(unpair(paired), plain, atol=1e-5)
    np.testing.assert_array_equal(unpair(pair(x)), x)


@pytest.mark.parametrize("columns, paired", [(4, True), (3, False)])
@pytest.mark.parametrize("module", [Encoder(4, 8), Decoder(8)], ids=["encoder", "decoder"])
def test_autoencoders_compute_the_same_for_a_tpu_in_pairs_if_a_latent_has_an_even_width(
    module, columns, paired
):
    shape = (2, 16, 8 * columns, 3) if isinstance(module, Encoder) else (2, 2, columns, 4)
    x = jax.random.uniform(FIRST, shape)
    params = module.init(SECOND, x)["params"]
    here = module.apply({"params": params}, x)
    with tracing_for("tpu"):
        there = module.apply({"params": params}, x)
        program = str(jax.make_jaxpr(lambda p, x: module.apply({"params": p}, x))(params, x))
    np.testing.assert_allclose(there, here, atol=1e-5)
    assert ("f32[3,3,16,16]" in program) == paired


def test_the_target_is_this_machine_unless_another_is_chosen():
    assert target() == jax.default_backend()
    with tracing_for("tpu"):
        assert target() == "tpu"
    assert target() == jax.default_backend()
