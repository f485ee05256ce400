"""The work of ``elir_jax.export --check``: an exported file beside our own programs."""

import argparse
from pathlib import Path

import numpy as np

from elir_jax import assets
from elir_jax.commands import frame
from elir_jax.compose.data import degradation_of
from elir_jax.compose.exporting import exportable, require_onnx
from elir_jax.configurations import read_config
from elir_jax.data.sources import find_images
from elir_jax.edge.file import Exported, is_exported, read_exported
from elir_jax.edge.restorer import Restorer as EdgeRestorer
from elir_jax.errors import UserError
from elir_jax.pictures.images import centre, read_image, to_float
from elir_jax.restorer import Restorer

DIFFERS = 1  # exit code
MOST_TOLD = 5  # weights that are named
CROP = 256  # pixels of a side, for the parts and the whole graph


def check(options: argparse.Namespace) -> int:
    """Compare and print; returns the exit code."""
    require_onnx()
    from elir_jax.parity import exported

    if not is_exported(options.check):
        raise UserError(f"{options.check}: only files of the format .onnx can be checked")
    file = read_exported(options.check)
    source, flow = _source(options, file), file.about["flow"]
    config = read_config(options.config) if options.config else None
    changes = {"sampler.num_steps": flow["steps"], "sampler.noise": flow["noise"]}
    found = exportable(source, config, changes)
    originals = _originals(options.pictures, options.most)
    frame.keep_programs()
    size, form = len(file.model) / 1e6, file.about["format"]
    print(f"{options.check}: {file.about['title']}, {form}, {size:.1f} MB", flush=True)
    wrong = exported.differing_weights(file, found)
    right = f"all {len(file.about['weights'])} tensors as they should be"
    for line in wrong[:MOST_TOLD] or [right]:
        print(f"weights         {line}", flush=True)
    if wrong[MOST_TOLD:]:
        print(f"weights         and {len(wrong) - MOST_TOLD} more")
    crops = [_crop(image, found.method.multiple) for image in originals[:4]]
    for figure in exported.compare_parts(file, found, crops):
        print(f"{figure.name:<16}largest error {figure.error:.2g}, {figure.decibels:.1f} dB",
              flush=True)  # fmt: skip
    ours = Restorer.load(source, config, steps=flow["steps"], noise=flow["noise"], dtype="float32")
    theirs = EdgeRestorer.of(file, steps=None, noise=True)
    degrade = degradation_of(found.config)
    outcomes = list(exported.compare_restorations(ours, theirs, originals, degrade))
    mean = {name: np.mean([getattr(one, name) for one in outcomes]) for name in ("ours", "theirs")}
    print(f"restorations    {len(outcomes)} pictures: largest error "
          f"{max(one.error for one in outcomes):.2g}, at least "
          f"{min(one.between for one in outcomes):.1f} dB between ours and the file's")  # fmt: skip
    print(f"PSNR            ours {mean['ours']:.3f} dB, the file's {mean['theirs']:.3f} dB, "
          f"{mean['theirs'] - mean['ours']:+.3f}")  # fmt: skip
    good = not wrong and exported.within(form, outcomes)
    print("the file is the same restorer" if good else "the file DIFFERS", flush=True)
    return 0 if good else DIFFERS


def _source(options: argparse.Namespace, file: Exported) -> Path:
    """The weights that the file should hold."""
    if options.source is not None:
        return options.source
    if file.about["source"] not in assets.MODELS:
        raise UserError(f"{options.check}: name the weights that it was made of, before --check")
    return Path(file.about["source"])


def _originals(folder: Path, most: int | None) -> list[np.ndarray]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one with --pictures")
    paths = list(find_images(folder))[:most]
    return [to_float(read_image(path)) for path in paths]


def _crop(image: np.ndarray, multiple: int) -> np.ndarray:
    side = min(CROP, *image.shape[:2]) // multiple * multiple
    if not side:
        raise UserError(f"a picture of {image.shape[1]}x{image.shape[0]} pixels is too small")
    return centre(image, side)
