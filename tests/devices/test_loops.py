"""What the compiler leaves out of its figures for loops, from a program's text and from XLA."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest

from elir_jax.devices.loops import beyond_once, products, program_of, size_of, traffic
from elir_jax.devices.topologies import devices_of

PROGRAM = """HloModule jit_one

%slice_of_stack (p0: f32[3,8,128], p1: s32[]) -> f32[8,128] {
  %p0 = f32[3,8,128]{2,1,0:T(8,128)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %cut = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%p0, %p1, %p1, %p1), dynamic_slice_sizes={1,8,128}
  ROOT %flat = f32[8,128]{1,0:T(8,128)} bitcast(%cut)
}

%into_stack (p2: f32[3,8,128], p3: f32[8,128], p4: s32[]) -> f32[3,8,128] {
  %p2 = f32[3,8,128]{2,1,0:T(8,128)} parameter(0)
  %p3 = f32[8,128]{1,0:T(8,128)} parameter(1)
  %p4 = s32[]{:T(128)} parameter(2)
  %row = f32[1,8,128]{2,1,0:T(8,128)} bitcast(%p3)
  ROOT %put = f32[3,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%p2, %row, %p4, %p4, %p4)
}

%product (p5: bf16[2,6,10,4], p6: bf16[3,3,4,7]) -> bf16[2,6,10,7] {
  %p5 = bf16[2,6,10,4]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %p6 = bf16[3,3,4,7]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  ROOT %conv = bf16[2,6,10,7]{3,2,1,0:T(8,128)(2,1)} convolution(%p5, %p6), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}

%body (s: (s32[], f32[3,8,128])) -> (s32[], f32[3,8,128]) {
  %s = (s32[]{:T(128)}, f32[3,8,128]{2,1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%s), index=0
  %stack = f32[3,8,128]{2,1,0:T(8,128)} get-tuple-element(%s), index=1
  %read = f32[8,128]{1,0:T(8,128)} fusion(%stack, %i), kind=kLoop, calls=%slice_of_stack
  %image = bf16[2,6,10,4]{3,2,1,0:T(8,128)(2,1)} constant({...})
  %kernel = bf16[3,3,4,7]{3,2,1,0:T(8,128)(2,1)} constant({...})
  %out = bf16[2,6,10,7]{3,2,1,0:T(8,128)(2,1)} fusion(%image, %kernel), kind=kOutput, calls=%product
  %written = f32[3,8,128]{2,1,0:T(8,128)} fusion(%stack, %read, %i), kind=kLoop, calls=%into_stack
  ROOT %t = (s32[]{:T(128)}, f32[3,8,128]{2,1,0:T(8,128)}) tuple(%i, %written)
}

%condition (s2: (s32[], f32[3,8,128])) -> pred[] {
  %s2 = (s32[]{:T(128)}, f32[3,8,128]{2,1,0:T(8,128)}) parameter(0)
  %limit = s32[]{:T(128)} constant(3)
  %at = s32[]{:T(128)} get-tuple-element(%s2), index=0
  ROOT %more = pred[]{:T(512)} compare(%at, %limit), direction=LT
}

ENTRY %main (x: (s32[], f32[3,8,128])) -> (s32[], f32[3,8,128]) {
  %x = (s32[]{:T(128)}, f32[3,8,128]{2,1,0:T(8,128)}) parameter(0)
  ROOT %loop = (s32[]{:T(128)}, f32[3,8,128]{2,1,0:T(8,128)}) while(%x), condition=%condition, body=%body
}
"""  # noqa: E501 (as XLA prints it)


def test_a_loop_counts_its_rounds_and_a_stack_by_its_slices():
    program = program_of(PROGRAM)
    row, index = 8 * 128 * 4, 4
    tiles = 2 * (2 * 6 * 16 * 128) * 2 + 2 * (3 * 3 * 8 * 128)  # in, out, kernel; padded bfloat16
    a_round = (row + index + row) + (row + row + index) + tiles
    assert beyond_once(program, traffic) == 2 * a_round
    assert beyond_once(program, products) == 2 * (2 * 2 * 6 * 10 * 7 * 9 * 4)


def test_arrays_are_padded_to_their_tiles():
    assert size_of("bf16[4,5,64]{2,1,0:T(8,128)(2,1)}") == 4 * 8 * 128 * 2
    assert size_of("bf16[4,5,64]{1,2,0:T(8,128)(2,1)}") == 4 * 128 * 64 * 2
    assert size_of("(f32[7]{0:T(256)}, pred[2,2], token[])") == 4 * 7 + 4


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="compiling for TPUs needs libtpu"
)
def test_without_a_loop_the_text_gives_the_compilers_figures():
    device = jax.sharding.SingleDeviceSharding(devices_of("v5e:2x2")[0])
    x, kernel = (
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=device)
        for shape in ((8, 16, 16, 64), (3, 3, 64, 128))
    )

    def convolution(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    compiled = jax.jit(convolution).lower(x, kernel).compile()
    cost, program = compiled.cost_analysis(), program_of(compiled.as_text())
    entry = program["ENTRY"]
    for name, measure in {"flops": products, "bytes accessed": traffic}.items():
        found = sum(measure(program, entry, instruction) for instruction in entry.values())
        assert found == pytest.approx(cost[name], rel=0.15), name
    assert beyond_once(program, traffic) == 0
