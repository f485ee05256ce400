"""What computes a restoration: our own programs by XLA, or an exported graph by onnxruntime.

``--runtime auto`` takes onnxruntime if it and onnx are installed, no GPU or TPU could be used, and
the networks have an ONNX form. A graph of one file of weights is kept in the user's cache, under
the file's digest, so that the next start needs no JAX.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
from importlib import metadata
from pathlib import Path

import elir_jax
from elir_jax import assets
from elir_jax.edge.file import Exported, is_exported, read_exported, verified
from elir_jax.edge.layout import VERSION
from elir_jax.edge.restorer import Restorer as EdgeRestorer
from elir_jax.errors import UserError
from elir_jax.files import cache_folder, whole_file
from elir_jax.inference.calling import AnyRestorer
from elir_jax.storage.place import MARKER

ACCELERATORS = ("jax-cuda", "jax-rocm", "libtpu", "jax-metal")  # packages that bring one to jax


def load_restorer(options: argparse.Namespace) -> AnyRestorer:
    """The restorer that the command line asks for. Raises UserError."""
    path = options.checkpoint or assets.model(options.model)
    if is_exported(path):
        return load_exported(options)
    if options.runtime in (None, "xla") or (options.runtime == "auto" and not _suits(options)):
        return _by_xla(options, path)
    try:
        return _by_onnx(options, path)
    except UserError:
        if options.runtime == "onnx":
            raise
        return _by_xla(options, path)  # networks without an ONNX form


def weights_digest(options: argparse.Namespace) -> str:
    """A digest of the weights that the command line names, and of their configuration.

    It is that of the files, so it depends neither on the runtime nor on the machine. Of a
    checkpoint, the list of its files' digests is read.
    """
    place = options.checkpoint or assets.model(options.model)
    digest = hashlib.sha256()
    if not place.is_file():
        from elir_jax.compose.finding import weights_place  # here: it loads jax

        place = weights_place(place)
        place = place / MARKER if (place / MARKER).is_file() else place
    files = sorted(path for path in place.rglob("*") if path.is_file()) or [place]
    for path in files if place.exists() else []:  # what is missing will be told when it is loaded
        digest.update(path.relative_to(place).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    if options.config:
        from elir_jax.configurations import read_config
        from elir_jax.fields import plain

        config = plain(read_config(options.config))
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


def load_exported(options: argparse.Namespace) -> AnyRestorer:
    """The restorer of an exported file. Raises UserError."""
    path = options.checkpoint
    if options.runtime == "xla":
        raise UserError(f"{path}: an exported file runs by onnxruntime; remove --runtime xla")
    given = [name for name in ("config", "dtype") if getattr(options, name)]
    if given:
        raise UserError(f"{path}: its configuration and type are fixed; remove --{given[0]}")
    return EdgeRestorer.load(
        path, steps=options.steps, noise=not options.no_noise, fidelity=options.fidelity
    )


def _by_xla(options: argparse.Namespace, path: Path) -> AnyRestorer:
    from elir_jax.commands import frame
    from elir_jax.devices import cpu, libtpu
    from elir_jax.restorer import Restorer  # here: it loads jax, which takes seconds

    frame.keep_programs()
    cpu.keep_cores_busy()
    libtpu.keep_images_whole()
    return Restorer.load(
        path,
        options.config,
        steps=options.steps,
        noise=not options.no_noise,
        dtype=options.dtype,
        fidelity=options.fidelity,
    )


def _by_onnx(options: argparse.Namespace, path: Path) -> AnyRestorer:
    if options.dtype == "bfloat16":
        raise UserError("--dtype bfloat16: onnxruntime computes in float32; use --runtime xla")
    kept = _kept(path, options.fidelity) if path.is_file() and not options.config else None
    if kept is not None and kept.is_file():
        with contextlib.suppress(UserError):  # damaged: written anew below
            return _exported_as(options, verified(read_exported(kept)))
    from elir_jax.commands.exporting import content_of  # here: it loads jax
    from elir_jax.compose.exporting import describe, exportable
    from elir_jax.configurations import read_config

    changes = {} if options.fidelity is None else {"sampler.fidelity": options.fidelity}
    found = exportable(path, read_config(options.config) if options.config else None, changes)
    content = content_of(found, "float32", describe(found, path.stem, "not stated"))
    if kept is not None:
        with contextlib.suppress(OSError), whole_file(kept) as part:  # no room: export each time
            part.write_bytes(content)
    return _exported_as(options, read_exported(path, content))


def _exported_as(options: argparse.Namespace, file: Exported) -> AnyRestorer:
    return EdgeRestorer.of(
        file, steps=options.steps, noise=not options.no_noise, fidelity=options.fidelity
    )


def _kept(path: Path, fidelity: float | None) -> Path | None:
    """The place of the graph of a file of weights; None if there is no home for it."""
    try:
        folder = cache_folder() / "onnx"
    except RuntimeError:
        return None
    made_for = f"{elir_jax.__version__}\n{VERSION}\n{fidelity}\n".encode()
    digest = hashlib.sha256(made_for + path.read_bytes()).hexdigest()
    return folder / f"{digest[:24]}.onnx"


def _suits(options: argparse.Namespace) -> bool:
    """Whether onnxruntime is the faster one here."""
    installed = all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx"))
    return installed and options.dtype != "bfloat16" and not accelerated()


def accelerated() -> bool:
    """Whether jax may compute on another device than the CPU."""
    chosen = os.environ.get("JAX_PLATFORMS")
    if chosen:
        return chosen != "cpu"
    names = (d.metadata["Name"] or "" for d in metadata.distributions())
    return any(name.lower().startswith(ACCELERATORS) for name in names)
