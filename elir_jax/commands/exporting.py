"""The work of the command ``elir_jax.export``: weights of any kind in, one file out."""

import argparse
from pathlib import Path

from elir_jax import assets
from elir_jax.compose.exporting import Exportable, describe, exportable, onnx_model
from elir_jax.configurations import read_config
from elir_jax.errors import UserError
from elir_jax.files import whole_file

ONNX = ".onnx"
OURS, NOT_STATED = "MIT", "not stated"  # licences
STABLEHLO = "stablehlo"


def export(options: argparse.Namespace) -> int:
    """Write the file that the command line asks for; returns the exit code."""
    if options.source is None:
        raise UserError("no weights to export; name a model, a run's folder or a file first")
    output, wants = options.output, STABLEHLO if options.format == STABLEHLO else "ONNX"
    if (output.suffix.lower() == ONNX) != (wants == "ONNX"):
        raise UserError(f"{output}: --format {options.format} writes {wants}; choose "
                        + ("a name with .onnx" if wants == "ONNX" else "another name"))  # fmt: skip
    if output.exists() and not options.overwrite:
        raise UserError(f"{output}: exists already; --overwrite replaces it")
    found = find(options)
    description = describe(found, *_origin(options))
    content = content_of(found, options.format, description, options.shape)
    try:
        with whole_file(output) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    print(f"wrote {output}: {description['title']}, {options.format}, {len(content) / 1e6:.1f} MB")
    return 0


def find(options: argparse.Namespace) -> Exportable:
    """The weights that the command line names."""
    changes = {"sampler.num_steps": options.steps} if options.steps else {}
    if options.fidelity is not None:
        changes["sampler.fidelity"] = options.fidelity
    if options.no_noise:
        changes["sampler.noise"] = False
    config = read_config(options.config) if options.config else None
    return exportable(options.source, config, changes)


def content_of(found: Exportable, form: str, description: dict, shape=None) -> bytes:
    """The bytes of a file in that format."""
    _check_shape(shape, found.method.multiple)
    if form == STABLEHLO:
        from elir_jax.exporting.stablehlo import archive

        return archive(found.method.parts, (found.params, found.frozen), description, shape)
    return onnx_model(found, form, description | {"shape": shape}).SerializeToString()


def _origin(options: argparse.Namespace) -> tuple[str, str]:
    """(source, licence): a name only, never a path of this machine."""
    ships = is_shipped(options.source)
    licence = options.licence or (OURS if ships else NOT_STATED)
    return str(options.source) if ships else options.source.resolve().name, licence


def is_shipped(source: Path) -> bool:
    """Whether the name is that of a model that ships."""
    return str(source) in assets.MODELS and not source.exists()


def _check_shape(shape: tuple[int, ...] | None, multiple: int) -> None:
    if shape is not None and (shape[1] % multiple or shape[2] % multiple):
        raise UserError(
            f"--shape {'x'.join(map(str, shape))}: height and width must be multiples of {multiple}"
        )
