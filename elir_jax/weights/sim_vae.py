"""The tensors of Sim-VAE, in the names of its authors' files <-> our parameters."""

import re
from pathlib import Path

import jax
from jaxtyping import PyTree

from elir_jax.networks.sim_vae import SimVae
from elir_jax.types import Params
from elir_jax.weights.buffers import count_of, shape_of
from elir_jax.weights.files import Tensors, read_tensors
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import CONV, SAME, Order, from_release, to_release

_MODULES = [  # ours, theirs
    (r"(encoder|decoder)/conv_(in|out)", r"\1.conv_\2"),
    (r"encoder/down(\d)", r"encoder.down_blocks.\1.downsampler.conv"),
    (r"decoder/up(\d)", r"decoder.up_blocks.\1.upsampler.conv"),
    (r"encoder/stage(\d)_block(\d)/(\w+)", r"encoder.down_blocks.\1.resnets.\2.\3"),
    (r"decoder/stage(\d)_block(\d)/(\w+)", r"decoder.up_blocks.\1.resnets.\2.\3"),
    (r"(encoder|decoder)/mid_block(\d)/(\w+)", r"\1.mid_block.resnets.\2.\3"),
]
MARK = "encoder.mid_block.resnets.0.conv1.weight"  # a tensor that other networks lack
FILE = "diffusion_pytorch_model.safetensors"  # in a folder of the hub
_KIND = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def sim_vae_name(path: str) -> tuple[str, Order]:
    """Name and layout of our parameter ``path``. Raises KeyError if unknown."""
    module, _, kind = path.rpartition("/")
    for pattern, name in _MODULES:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(name)}.{_KIND[kind]}", CONV if kind == "kernel" else SAME
    raise KeyError(path)


def is_of_sim_vae(params: Params) -> bool:
    """Whether parameters have an encoder and a decoder of Sim-VAE, and nothing else."""
    return params.keys() == {"encoder", "decoder"} and "mid_block0" in params["encoder"]


def sim_vae_options(vae: SimVae) -> dict[str, object]:
    """The fields of a configuration that ask for these networks."""
    fields = ("channels", "layers", "mid_layers", "latent_channels", "upsample")
    return {f"autoencoder.{name}": getattr(vae, name) for name in fields}


def open_sim_vae(path: Path) -> tuple[SimVae, Params]:
    """:func:`read_sim_vae` of a file or a folder of the hub."""
    return read_sim_vae(
        Source(path, "Sim-VAE", read_tensors(path / FILE if path.is_dir() else path), str)
    )


def read_sim_vae(source: Source) -> tuple[SimVae, Params]:
    """The networks in ``source`` and their parameters. Norms are read as layer norms.

    Raises a UserError that names a tensor if it is missing, unknown or of another shape.
    """
    stages = range(count_of(source, "encoder.down_blocks"))
    first = [f"encoder.down_blocks.{i}.resnets.0.conv1.weight" for i in stages]
    channels = tuple(shape_of(source, name)[0] for name in first)
    enlarging = shape_of(source, "decoder.up_blocks.0.upsampler.conv.weight")[0]
    vae = SimVae(
        channels=channels,
        layers=count_of(source, "encoder.down_blocks.0.resnets"),
        mid_layers=count_of(source, "encoder.mid_block.resnets"),
        latent_channels=shape_of(source, "decoder.conv_in.weight")[1],
        upsample="interpolate" if enlarging == channels[-2] else "pixel_shuffle",
    )
    return vae, from_release(source, sim_vae_shapes(vae), sim_vae_name)


def sim_vae_tensors(params: Params) -> Tensors:
    """The inverse of :func:`read_sim_vae`."""
    return to_release(params, sim_vae_name)


def sim_vae_shapes(vae: SimVae) -> PyTree[jax.ShapeDtypeStruct]:
    """Shapes of the parameters."""
    return jax.eval_shape(vae.init, jax.random.key(0))
