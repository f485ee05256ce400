"""TAESD's files: every layout gives the same parameters, and what does not fit is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import SHARED
from safetensors.numpy import load_file, save_file

from elir_jax.compose.starting_weights import EMBEDDED
from elir_jax.data.sources import EmbeddedPhotographs
from elir_jax.errors import UserError
from elir_jax.metrics.psnr import psnr
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.pictures.images import to_float
from elir_jax.weights.sections import read_section
from elir_jax.weights.taesd import write_autoencoder

AUTOENCODER = Autoencoder(width=4, latent_channels=4)
LIKE = jax.eval_shape(AUTOENCODER.init, jax.random.key(0))


@pytest.fixture
def params():
    """Numbers that 16-bit floats hold exactly, as the file does."""
    full = AUTOENCODER.init(jax.random.key(0))
    return jax.tree.map(lambda a: a.astype(jnp.float16).astype(jnp.float32), full)


@pytest.fixture
def file(tmp_path, params):
    path = tmp_path / "autoencoder.safetensors"
    write_autoencoder(path, params, {"data": "none"})
    return path


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(np.array_equal, a, b)
    )


def test_writing_and_reading_is_exact(file, params):
    assert same(read_section(file, LIKE), params)
    assert {tensor.dtype for tensor in load_file(file).values()} == {np.dtype(np.float16)}


def part_of(tensors, part):
    prefix = part + "."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def test_taesds_own_pair_of_files(tmp_path, file, params):
    tensors = load_file(file)
    folder = tmp_path / "pair"
    folder.mkdir()
    for part in ("encoder", "decoder"):
        save_file(part_of(tensors, part), folder / f"taesd_{part}.safetensors")
    assert "1.weight" in part_of(tensors, "decoder")  # number 0 is the clamp
    assert same(read_section(folder, LIKE), params)
    assert same(read_section(folder / "taesd_encoder.safetensors", LIKE), params)
    assert same(read_section(folder / "taesd_decoder.safetensors", LIKE), params)


def test_the_layout_of_diffusers(tmp_path, file, params):
    renamed = {}
    for name, value in load_file(file).items():
        part, number, rest = name.split(".", 2)
        renamed[f"{part}.layers.{int(number) - (part == 'decoder')}.{rest}"] = value
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(renamed, path)
    assert same(read_section(path, LIKE), params)


def changed(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    return file


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop("encoder.1.conv.2.bias"), ["missing", "encoder.1.conv.2.bias"]),
        (lambda t: t.update({"encoder.99.bias": np.zeros(1)}), ["unknown", "encoder.99.bias"]),
        (
            lambda t: t.update({"decoder.19.bias": np.zeros(4, np.float32)}),
            ["decoder.19.bias", "(4,)", "(3,)"],
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(file, change, words):
    with pytest.raises(UserError) as error:
        read_section(changed(file, change), LIKE)
    assert all(word in str(error.value) for word in [file.name, *words]), error.value


def test_files_that_are_not_there_or_not_safetensors_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_section(tmp_path / "absent.safetensors", LIKE)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="not a safetensors file"):
        read_section(tmp_path / "text.safetensors", LIKE)
    with pytest.raises(UserError, match="exactly one"):
        read_section(tmp_path, LIKE)


def reconstruct(autoencoder, params, image):
    x = jnp.asarray(to_float(image)[None])
    z = autoencoder.encoder.apply({"params": params["encoder"]}, x)
    y = autoencoder.decoder.apply({"params": params["decoder"]}, z)
    return float(psnr(y, x)[0]), float(jnp.std(z))


@pytest.mark.slow
def test_the_embedded_autoencoder_reconstructs_the_astronaut_it_never_saw():
    assert EMBEDDED["autoencoder"].stat().st_size <= 5_000_000
    autoencoder = Autoencoder(width=48)
    like = jax.eval_shape(autoencoder.init, jax.random.key(0))
    params = read_section(EMBEDDED["autoencoder"], like)
    quality, spread = reconstruct(autoencoder, params, EmbeddedPhotographs(["astronaut"])[0])
    assert quality >= 32.0  # 16 principal components of a block give 28.4
    assert 0.5 <= spread <= 2.0


def test_the_real_taesd3_reconstructs_the_astronaut():
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("TAESD3's weights are absent (shared/weights)")
    autoencoder = Autoencoder(width=64)
    params = read_section(folder, jax.eval_shape(autoencoder.init, jax.random.key(0)))
    quality, spread = reconstruct(autoencoder, params, EmbeddedPhotographs(["astronaut"])[0])
    assert quality >= 28.0
    assert 0.5 <= spread <= 2.0
