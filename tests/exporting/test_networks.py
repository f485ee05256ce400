"""Every network as ONNX beside the flax module, and how the formats store weights."""

import exported
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import small

from elir_jax.edge.file import read_exported, session
from elir_jax.exporting import storing

RNG = np.random.default_rng(0)
X = RNG.random((2, 32, 64, 3), np.float32)
Z = RNG.normal(size=(2, 8, 4, 16)).astype(np.float32)
# Largest error beside numbers of about 1.
ERRORS = {"float32": 2e-5, "float16": 2e-2, "int8": 0.1}


def part(name, form, tmp_path):
    file = read_exported(exported.write(tmp_path, form))
    return session(file, *exported.cut_of(file, name))


@pytest.mark.parametrize("form", ERRORS)
@pytest.mark.parametrize("name", ["encode", "posterior_mean", "decode"])
def test_a_part_is_ours(name, form, tmp_path):
    found = exported.found()
    ours = next(p for p in found.method.parts if p.name == name)
    x = X if name == "encode" else Z
    program = small.mapped(lambda weights, x: ours.apply(*weights, x, None)[-1])
    expected = program((found.params, found.frozen), x)
    np.testing.assert_allclose(part(name, form, tmp_path)(x), expected, atol=ERRORS[form])


@pytest.mark.parametrize("form", ERRORS)
def test_a_step_of_the_flow_is_ours(form, tmp_path):
    found, eps = exported.found(), jnp.zeros(Z.shape)
    ours = next(p for p in found.method.parts if p.noisy)
    states = small.mapped(lambda w, z: jnp.stack(ours.apply(*w, z, eps)))
    _, first, second = states((found.params, found.frozen), Z)
    step, run = np.float32([0.5]), part("flow", form, tmp_path)
    np.testing.assert_allclose(run(Z, np.float32([0]), step), first, atol=ERRORS[form])
    np.testing.assert_allclose(run(first, np.float32([0.5]), step), second, atol=ERRORS[form])


@pytest.mark.parametrize("kind", exported.KINDS)
def test_the_whole_graph_is_its_parts(kind, tmp_path):
    file = read_exported(exported.write(tmp_path, kind=kind))
    eps = np.float32(RNG.normal(size=(2, 4, 8, 16)))
    inputs = {"image": X, "noise": eps}
    if kind.endswith(" 0"):
        del inputs["noise"]  # there is no flow
    whole = session(file, tuple(inputs), "restored")(*inputs.values())
    found = exported.found(kind)

    def restore(weights, x):
        made = {}
        for part in found.method.parts:
            given = (x, made[part.also]) if part.also else x
            x = part.apply(*weights, given, jnp.asarray(eps) if part.noisy else None)[-1]
            made[part.name] = x
        return x

    expected = small.mapped(restore)((found.params, found.frozen), X)
    np.testing.assert_allclose(whole, expected, atol=5e-5)


def test_the_file_passes_onnx_s_own_checks_and_names_its_axes():
    model = onnx.load_model_from_string(exported.content())
    onnx.checker.check_model(model, full_check=True)
    axes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "height", "width", 3]


def test_float16_halves_and_int8_quarters_the_kernels():
    sizes = {form: len(exported.content(form)) for form in storing.FORMATS}
    names = len(onnx.load_model_from_string(exported.content()).graph.initializer)
    assert sizes["float32"] > 1.7 * sizes["float16"] - 400 * names
    assert sizes["float16"] > sizes["int8"]


@pytest.mark.parametrize("axis", [0, 1])
def test_a_kernel_in_8_bits_is_off_by_half_a_level_of_its_channel_at_most(axis):
    array = RNG.normal(size=(5, 7, 3, 3)).astype(np.float32) * np.arange(5)[:, None, None, None]
    scale, levels = storing.quantize(array.astype(np.float32), axis)
    assert levels.dtype == np.int8 and np.abs(levels).max() == 127
    assert (np.abs(levels * scale - array) <= 0.5001 * scale).all()
    assert scale.size == array.shape[axis]


def test_a_weight_beyond_float16_is_named():
    with pytest.raises(ValueError, match="decoder/a does not fit"):
        storing.store("decoder/a", np.float32([1e6]), "float16")
