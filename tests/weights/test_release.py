"""The release's layout: names of the reference, exact round trips, refusals by name."""

from pathlib import Path

import jax
import numpy as np
import pytest
import small

from elir_jax.errors import UserError
from elir_jax.networks.unet import Upsample
from elir_jax.weights.layouts import LIGHTNING, Source
from elir_jax.weights.release import from_release, to_release
from elir_jax.weights.sizes import read_sizes

PARAMS = small.init()[0] | {"decoder": small.init()[1]["decoder"]}


def source(tensors, original=lambda name: name):
    return Source(Path("some.pth"), "", tensors, original)


def test_a_round_trip_is_exact():
    back = from_release(source(to_release(PARAMS)), PARAMS)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, PARAMS))


def test_a_transposed_convolution_computes_what_pytorchs_definition_says():
    """Each input adds its multiple of the 4x4 kernel, two outputs further on; one is cut off."""
    name = "fmir.up_blocks.0.0.convtr"
    tensors = to_release(PARAMS)
    kernel, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]  # in, out, rows, columns
    x = np.random.default_rng(0).normal(size=(1, 3, 2, kernel.shape[0])).astype(np.float32)
    wanted = np.zeros((8, 6, kernel.shape[1]))
    for i, j in np.ndindex(3, 2):
        wanted[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("c,cokl->klo", x[0, i, j], kernel)
    ours = from_release(source(tensors), PARAMS)["velocity"]["upsample0"]
    found = Upsample(kernel.shape[1]).apply({"params": ours}, x)
    np.testing.assert_allclose(found[0], wanted[1:-1, 1:-1] + bias, atol=1e-5)


def test_names_are_the_releases():
    names = to_release(PARAMS).keys()
    assert {
        "fmir.time_mlp.linear1.weight",
        "fmir.first_proj.bias",
        "fmir.down_blocks.1.0.block2.block.3.weight",
        "fmir.down_blocks.1.1.conv.weight",
        "fmir.mid_blocks.0.mlp.1.weight",
        "fmir.up_blocks.0.0.convtr.weight",
        "fmir.final_block.block.0.weight",
        "mmse.lrm.0.RDB3.conv5.block.1.weight",
        "enc.layers.0.weight",
        "dec.layers.18.bias",
    } <= names


def test_sizes_are_read_from_the_tensors():
    sizes = read_sizes(source(to_release(PARAMS)))
    assert sizes == (small.AUTOENCODER, small.ESTIMATOR, small.VELOCITY)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), PARAMS)
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), sizes.like())


def refusal(tensors, original=lambda name: name):
    with pytest.raises(UserError) as error:
        known = source(tensors, original)
        from_release(known, read_sizes(known).like())
    return str(error.value)


NAMES = sorted(to_release(PARAMS))


@pytest.mark.parametrize("name", [*NAMES[::25], *(n for n in NAMES if n.endswith("conv.weight"))])
def test_a_renamed_tensor_is_named(name):
    tensors = to_release(PARAMS)
    tensors[name + "s"] = tensors.pop(name)
    message = refusal(tensors)
    assert "missing" in message and name in message


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda t: t.update({"enc.layers.77.bias": np.zeros(1)}),
            ["unknown", "enc.layers.77.bias"],
        ),
        (
            lambda t: t.update({"fmir.final_proj.bias": np.zeros(3)}),
            ["fmir.final_proj.bias", "(3,)", "(4,)"],
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, words):
    tensors = to_release(PARAMS)
    change(tensors)
    message = refusal(tensors)
    assert all(word in message for word in ["some.pth", *words])


def test_tensors_are_named_as_their_file_names_them():
    tensors = to_release(PARAMS)
    del tensors["enc.layers.3.conv.0.bias"]
    assert "state_dict_enc.layers.3.conv.0.bias" in refusal(tensors, LIGHTNING.from_release)
