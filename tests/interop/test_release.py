"""The release's layout: names of the reference, exact round trips, refusals by name."""

import jax
import numpy as np
import pytest
import small

from elir_jax.errors import UserError
from elir_jax.interop.release import from_release, to_release

PARAMS = small.init()[0] | {"decoder": small.init()[1]["decoder"]}


def test_a_round_trip_is_exact():
    back = from_release(to_release(PARAMS), PARAMS)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, PARAMS))


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


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda t: t.pop("enc.layers.0.bias"), "enc.layers.0.bias is missing"),
        (lambda t: t.update({"enc.layers.77.bias": np.zeros(1)}), "left over.*enc.layers.77.bias"),
        (lambda t: t.update({"fmir.final_proj.bias": np.zeros(3)}), "fmir.final_proj.bias has"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, word):
    tensors = to_release(PARAMS)
    change(tensors)
    with pytest.raises(UserError, match=word):
        from_release(tensors, PARAMS)
