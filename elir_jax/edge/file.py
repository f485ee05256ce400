"""Open an exported file: what it says of itself, and its parts as onnxruntime's sessions."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elir_jax.edge.cutting import NotOnnx, cut, metadata, tensors
from elir_jax.edge.layout import METADATA, VERSION, digest_of, digest_of_tensor, is_weight
from elir_jax.errors import UserError

Run = Callable[..., np.ndarray]  # arrays in the order of the inputs -> the output
NEEDED = ("version", "title", "parts", "flow", "format", "weights", "digest")


class Exported(NamedTuple):
    """An exported file in memory."""

    path: Path
    model: bytes
    about: dict  # the metadata


def is_exported(path: Path) -> bool:
    """Whether the name is that of an exported file."""
    return path.suffix.lower() == ".onnx"


def read_exported(path: Path, content: bytes | None = None) -> Exported:
    """Read a file of ``python -m elir_jax.export``, or its ``content``; UserError if it is none."""
    model = _read(path) if content is None else content
    anew = "write it anew with elir_jax.export"
    try:
        about = json.loads(metadata(model)[METADATA])
        if not isinstance(about, dict):
            raise ValueError("no table")
    except KeyError as error:
        raise UserError(f"{path}: no file of elir_jax.export; {anew}") from error
    except (NotOnnx, ValueError) as error:
        raise UserError(f"{path}: not an ONNX file, or damaged ({error}); {anew}") from error
    if about.get("version") != VERSION:
        raise UserError(
            f"{path}: version {about.get('version')} of the layout, this elir_jax reads "
            f"{VERSION}; {anew}"
        )
    missing = [name for name in NEEDED if name not in about]
    if missing:
        raise UserError(f"{path}: its metadata lack {', '.join(missing)}; {anew}")
    if about.get("shape"):
        shape = "x".join(map(str, about["shape"]))
        raise UserError(
            f"{path}: made for the shape {shape} only, and windows have other shapes; write it "
            f"without --shape"
        )
    return Exported(path, model, about)


def verified(file: Exported) -> Exported:
    """The file, if each weight has the digest in the metadata. Raises UserError if not.

    onnxruntime loads flipped bits without a word. This takes some tenths of a second, once.
    """
    said = file.about["weights"]
    anew = "write it anew with elir_jax.export"
    try:
        there = {t.name: t for t in tensors(file.model) if is_weight(t.name)}
        found = {t.name: digest_of_tensor(t.dtype, t.shape, t.content) for t in there.values()}
        wrong = sorted(n for n in found.keys() | said.keys() if found.get(n) != said.get(n))
        whole = digest_of(said) == file.about["digest"]
    except (NotOnnx, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise UserError(f"{file.path}: damaged ({error}); {anew}") from error
    if wrong or not whole:
        what = wrong[0] if wrong else "the list of its weights"
        more = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
        raise UserError(f"{file.path}: damaged: {what}{more} is not what was written; {anew}")
    return file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def session(file: Exported, inputs: Sequence[str], output: str) -> Run:
    """The function from the values ``inputs`` to the value ``output``. Raises UserError."""
    runtime = _onnxruntime()
    try:
        part = cut(file.model, inputs, output)
        loaded = runtime.InferenceSession(
            part, _options(runtime), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{file.path}: onnxruntime {runtime.__version__} cannot load it ({reason}); write it "
            f"anew with elir_jax.export, or install a newer onnxruntime"
        ) from error

    def run(*arrays: np.ndarray) -> np.ndarray:
        try:
            return loaded.run([output], dict(zip(inputs, arrays, strict=True)))[0]
        except Exception as error:
            text = " ".join(str(error).split())
            if "alloc" in text.lower():
                raise MemoryError(text[:100]) from error
            raise

    return run


def _options(runtime):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3  # errors only
    return options


def _onnxruntime():
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "onnxruntime is not installed; pip install -r requirements-edge.txt, or the package's "
            "extra: elir_jax[edge]"
        ) from error
    return onnxruntime
