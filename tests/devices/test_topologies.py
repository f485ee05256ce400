"""Programs for TPUs that are not there: what is read from them, and that libtpu compiles a step."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.compose.compiling import share
from elir_jax.devices.topologies import (
    CHIPS,
    Compiled,
    chip_of,
    chips_in,
    compile_for,
    largest_buffers,
)
from elir_jax.errors import UserError
from elir_jax.networks.target import target
from elir_jax.training.optim import AdamW, Ema
from elir_jax.training.state import create_state
from elir_jax.training.step import train_step
from elir_jax.types import Batch

PROGRAM = """HloModule jit_one

%fused (a: f32[999,999]) -> f32[999,999] {
  ROOT %big = f32[999,999]{1,0} add(%a, %a)
}

ENTRY %main (x: f32[4,8]) -> f32[] {
  %x = f32[512,512]{1,0} parameter(0)
  %half = bf16[16,8]{1,0:T(8,128)} fusion(%x), metadata={op_name="jit(one)/encoder/mul"}
  %pair = (f32[2]{0}, f32[2]{0}) tuple(%x, %x)
  ROOT %sum = f32[] reduce(%half), metadata={op_name="jit(one)/sum"}
}
"""


def test_the_largest_buffers_are_those_that_the_entry_makes():
    first, second = largest_buffers(PROGRAM)
    assert first == (2 * 16 * 8, "bf16[16,8]", "jit(one)/encoder/mul")
    assert second == (4, "f32[]", "jit(one)/sum")


def test_the_roofline_is_the_slower_of_products_and_traffic():
    found = Compiled(0.0, 1, 2, 3, 197e12, 819e9 / 2, [], [])
    assert found.memory == 6
    assert found.roofline(CHIPS["v5e"], 1) == pytest.approx(1.0)  # by operations
    assert found.roofline(CHIPS["v5e"], 6) == pytest.approx(6.0)  # float32 of six products
    slow = found._replace(accessed=3 * 819e9)
    assert slow.roofline(CHIPS["v5e"], 1) == pytest.approx(3.0)  # by traffic


def test_a_topology_is_a_chip_and_a_shape():
    assert chip_of("v5p:2x2x1") == CHIPS["v5p"]
    assert chips_in("v5p:2x2x2") == 8 and share("v5e:2x2", 64) == 16
    for wrong in ("v5e", "v5e:", "v5e:2x", "v9:2x2", "v5e:2*2"):
        with pytest.raises(UserError, match="no such topology; name a chip and its shape"):
            chip_of(wrong)
    with pytest.raises(UserError, match=r"batch_size=6: must be a multiple of the 4 chips"):
        share("v5e:2x2", 6)


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="compiling for TPUs needs libtpu"
)
def test_a_step_is_compiled_for_a_slice_and_sends_its_gradients_once():
    optimizer = AdamW().build(10)

    platforms = set()

    def objective(params, ema, frozen, batch, keys, step):
        platforms.add(target())
        return jnp.mean(jnp.square(batch.x_hq - params["w"][None, None, None])), {}

    step = functools.partial(
        train_step,
        objective=objective,
        fold=lambda params, frozen: params,
        optimizer=optimizer,
        ema=Ema(),
        seed=0,
        accumulate=1,
    )
    state = jax.eval_shape(lambda: create_state({"w": jnp.zeros(1000)}, {}, optimizer))
    image = jax.ShapeDtypeStruct((2, 8, 8, 1000), np.float32)
    number = jax.ShapeDtypeStruct((2,), np.int32)
    found = compile_for("v5e:2x2", step, state, Batch(image, image, number, number))
    assert platforms == {"tpu"}  # although the devices of this process are CPUs
    (sent,) = found.collectives
    assert sent.kind == "all-reduce" and 1000 < sent.elements < 1024  # and a few numbers
    assert found.operations > 2 * 8 * 8 * 1000 and found.accessed > 4 * 2 * 8 * 8 * 1000
    assert 0 < found.memory < 2**26
