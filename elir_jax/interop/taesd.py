"""TAESD's files <-> our autoencoder parameters.

Layouts read: TAESD's own pair of files (``*encoder*.safetensors``, ``*decoder*.safetensors``; the
decoder's numbers start at 1, because its layer 0 is the clamp), both parts in one file under
``encoder.`` and ``decoder.`` (this project's), and diffusers' ``AutoencoderTiny``
(``encoder.layers.``, ``decoder.layers.``; the decoder's numbers start at 0).
Kernels are OIHW there and HWIO here.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.flax import load_file
from safetensors.numpy import save_file

from elir_jax.errors import UserError
from elir_jax.types import Params

Tensors = dict[str, jax.Array]

_STAGES = [(s, b) for s in range(3) for b in range(3)]

# Our module -> layer number in TAESD's own files; number 0 of the decoder is the clamp.
ENCODER_LAYERS = {
    "conv_in": 0,
    "block": 1,
    **{f"down{s}": 2 + 4 * s for s in range(3)},
    **{f"stage{s}_block{b}": 3 + 4 * s + b for s, b in _STAGES},
    "conv_out": 14,
}
DECODER_LAYERS = {
    "conv_in": 1,
    **{f"stage{s}_block{b}": 3 + 5 * s + b for s, b in _STAGES},
    **{f"up{s}": 7 + 5 * s for s in range(3)},
    "block": 18,
    "conv_out": 19,
}
LAYERS = {"encoder": ENCODER_LAYERS, "decoder": DECODER_LAYERS}
_LEAVES = {"kernel": "weight", "bias": "bias"}
_WORD = {part: rf"(?<![A-Za-z]){part}" for part in LAYERS}  # not the end of "autoencoder"
_DIFFUSERS = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")


def tensor_names(params: Params) -> dict[str, tuple[str, ...]]:
    """Name in the one-file layout -> path in our tree, for ``{"encoder": ..., "decoder": ...}``."""
    names = {}
    for part, modules in params.items():
        for module, content in modules.items():
            number = LAYERS[part][module]
            if module.startswith(("block", "stage")):
                for conv, leaves in content.items():
                    for leaf in leaves:
                        place = 2 * int(conv.removeprefix("conv"))  # a ReLU follows each one
                        name = f"{part}.{number}.conv.{place}.{_LEAVES[leaf]}"
                        names[name] = (part, module, conv, leaf)
            else:
                for leaf in content:
                    names[f"{part}.{number}.{_LEAVES[leaf]}"] = (part, module, leaf)
    return names


def read_autoencoder(path: Path, like: Params) -> Params:
    """Parameters from a file or a folder of two files; ``like`` gives the shapes wanted.

    Raises UserError, naming it, for a tensor that is missing, left over or of another shape.
    """
    tensors = _read(path)
    names = tensor_names(like)
    for problem, odd in (
        ("missing", names.keys() - tensors.keys()),
        ("not known", tensors.keys() - names.keys()),
    ):
        if odd:
            listed = ", ".join(sorted(odd)[:3]) + (" ..." if len(odd) > 3 else "")
            raise UserError(
                f"{path}: not this autoencoder: {len(odd)} tensor(s) {problem}: {listed}; "
                f"give a TAESD file of its own layout (--config.autoencoder.weights)"
            )
    params: dict = {part: {} for part in like}
    for name, place in names.items():
        value, wanted = jnp.asarray(tensors[name], jnp.float32), _at(like, place).shape
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        if value.shape != wanted:
            raise UserError(
                f"{path}: tensor {name} has shape {value.shape}, this configuration wants {wanted} "
                f"(height, width, in, out); set --config.autoencoder.width and .latent_channels "
                f"to the file's"
            )
        branch = params
        for key in place[:-1]:
            branch = branch.setdefault(key, {})
        branch[place[-1]] = value
    return params


def write_autoencoder(path: Path, params: Params, metadata: dict[str, str]) -> None:
    """Write both parts into one float32 safetensors file, in TAESD's numbering."""
    tensors = {}
    for name, place in tensor_names(params).items():
        value = np.asarray(_at(params, place), np.float32)
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        tensors[name] = np.ascontiguousarray(value)
    save_file(tensors, path, metadata)


def _at(tree: Params, place: tuple[str, ...]):
    for key in place:
        tree = tree[key]
    return tree


def _read(path: Path) -> Tensors:
    if path.is_dir():
        return _load_part(_only(path, "encoder"), "encoder") | _load_part(
            _only(path, "decoder"), "decoder"
        )
    for part, other in (("encoder", "decoder"), ("decoder", "encoder")):
        twin = path.with_name(re.sub(_WORD[part], other, path.name))
        if twin != path:  # one file of TAESD's pair: the other lies beside it
            return _load_part(path, part) | _load_part(twin, other)
    tensors = _load(path)
    renamed = {}
    for name, value in tensors.items():
        match = _DIFFUSERS.fullmatch(name)
        if match:
            part, number, rest = match.groups()
            name = f"{part}.{int(number) + (part == 'decoder')}.{rest}"
        renamed[name] = value
    return renamed


def _only(folder: Path, part: str) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    found = [path for path in files if re.search(_WORD[part], path.name)]
    if len(found) != 1:
        raise UserError(
            f"{folder}: {len(found)} files named *{part}*.safetensors, needs exactly one; name a "
            f"folder with TAESD's pair of files, or one file, in --config.autoencoder.weights"
        )
    return found[0]


def _load_part(path: Path, part: str) -> Tensors:
    return {f"{part}.{name}": value for name, value in _load(path).items()}


def _load(path: Path) -> Tensors:
    if not path.is_file():
        raise UserError(f"{path}: no such file (--config.autoencoder.weights)")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a safetensors file ({error}); give one (--config.autoencoder.weights)"
        ) from error
