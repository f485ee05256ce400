"""Files of named tensors: safetensors, and PyTorch's own format if torch is installed.

PyTorch's files are pickles. They are read with ``weights_only=True``, which builds only tensors and
plain containers and refuses everything else, so that an untrusted file cannot run code.
"""

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save_file

from elir_jax.errors import UserError
from elir_jax.files import whole_file

Tensors = dict[str, np.ndarray]

SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt", ".bin")
SUFFIXES = (SAFETENSORS, *PICKLES)
EXACT = 2**24  # float32 holds every whole number up to this one
TYPES = {  # of safetensors, with one number in each whole number of bytes
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16,
    "F8_E4M3": jnp.float8_e4m3fn, "F8_E5M2": jnp.float8_e5m2, "F8_E8M0": jnp.float8_e8m0fnu,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64,
    "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_, "C64": np.complex64,
}  # fmt: skip


def read_tensors(path: Path) -> Tensors:
    """Name -> array; names of nested tables get dots.

    Floating point becomes float32, as do whole numbers that float32 holds; other arrays stay as
    they are, for :func:`unusable`. Raises UserError if the file is missing or damaged, contains
    code, or needs torch and torch is not installed.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    _refuse_empty(path)
    tensors = _read_pickle(path) if path.suffix.lower() in PICKLES else _read_safetensors(path)
    if not tensors:
        raise UserError(f"{path}: contains no tensors")
    return tensors


def unusable(array: np.ndarray) -> str:
    """Why an array cannot be a weight; "" if it can."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"has {array.dtype} values that float32 cannot hold"
    wrong = array.size - np.count_nonzero(np.isfinite(array))
    return f"has {wrong} value(s) that are not finite in float32" if wrong else ""


def read_names(path: Path) -> list[str]:
    """The tensors' names; of a safetensors file, only the header is read. Raises UserError."""
    if path.suffix.lower() in PICKLES or not path.is_file():
        return list(read_tensors(path))
    _refuse_empty(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error


def _refuse_empty(path: Path) -> None:
    if not path.stat().st_size:
        raise UserError(f"{path}: is empty, perhaps of a copy or download that broke off")


def write_tensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """Write a file completely or not at all, in the format of its suffix.

    Only safetensors files get the ``metadata``. Raises UserError if the file cannot be written, or
    if it needs torch and torch is not installed.
    """
    if path.suffix.lower() in PICKLES:
        write_tables(path, tensors)
    else:
        _replace(path, lambda part: save_file(tensors, part, metadata))


def write_tables(path: Path, tables: Mapping) -> None:
    """Write PyTorch's own file of tables and lists of arrays, numbers and strings.

    Raises UserError if it cannot be written, or if torch is not installed.
    """
    torch = _torch(path)

    def tensors(value):
        if isinstance(value, Mapping):
            return {name: tensors(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [tensors(inner) for inner in value]
        return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value

    def save(part: Path) -> None:
        with part.open("wb") as file:  # torch would write the path's name into the file
            torch.save(tensors(tables), file)

    _replace(path, save)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with whole_file(path) as part:
            write(part)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be written ({error})") from error


def _read_safetensors(path: Path) -> Tensors:
    try:
        found = deserialize(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error
    if other := {tensor["dtype"] for _, tensor in found} - TYPES.keys():
        raise UserError(f"{path}: tensors of type {min(other)}, which cannot be read")
    return {
        name: _float32(np.frombuffer(one["data"], TYPES[one["dtype"]]).reshape(one["shape"]))
        for name, one in sorted(found)
    }


def _float32(array: np.ndarray) -> np.ndarray:
    """float32 if no whole number changes; of fractions, it may keep fewer digits."""
    if array.dtype == np.float32 or np.iscomplexobj(array):
        return array
    fraction = jnp.issubdtype(array.dtype, np.floating)
    if not fraction and array.size and max(abs(int(array.min())), int(array.max())) > EXACT:
        return array
    with np.errstate(over="ignore"):  # told by ``unusable``
        return array.astype(np.float32)


def _read_pickle(path: Path) -> Tensors:
    torch = _torch(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of formats it may not know
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        if not isinstance(error, pickle.UnpicklingError):
            raise UserError(
                f"{path}: damaged, or no file of PyTorch{_reason(error)}; get it again"
            ) from error
        raise UserError(
            f"{path}: refused, and none of its code was run: not a file of tensors only"
            f"{_reason(error)}"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: contains a {type(content).__name__}, not tensors by name")
    return _flatten(torch, path, content)


def _reason(error: Exception) -> str:
    """The first sentence of torch's message, in brackets; or, where that is advice to run the
    file's code, what the file asks for."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if asked:
        return f" (it asks for {asked[1]})"
    first = re.split(r"\.\s|\n", str(error).strip())[0] or type(error).__name__
    return "" if first.startswith("Weights only") else f" ({first})"


def _flatten(torch, path: Path, content: Mapping, prefix: str = "") -> Tensors:
    tensors: Tensors = {}
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            try:
                tensors[f"{prefix}{name}"] = _array(torch, value.detach())
            except (TypeError, RuntimeError, NotImplementedError) as error:
                kind = f"{value.dtype}, {value.layout}, {value.device}"
                raise UserError(f"{path}: tensor {prefix}{name} ({kind}) cannot be read") from error
        elif isinstance(value, Mapping):
            tensors |= _flatten(torch, path, value, f"{prefix}{name}.")
        elif isinstance(value, list) and all(isinstance(v, torch.Tensor) for v in value):
            tensors |= _flatten(torch, path, dict(enumerate(value)), f"{prefix}{name}.")
    return tensors


def _array(torch, value) -> np.ndarray:
    if value.is_quantized:
        value = value.dequantize()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.is_floating_point():
        value = value.float()
    return _float32(value.resolve_conj().resolve_neg().numpy())


def _torch(path: Path):
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path}: {path.suffix} files need torch, which is not installed; pip install torch, "
            f"or use a {SAFETENSORS} file, which needs none"
        ) from error
    return torch
