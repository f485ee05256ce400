"""What a board compares: the input, BM3D, our models, and other methods' folders of results."""

import functools
import hashlib
import importlib.metadata
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.models import bm3d_filter
from benchmarks.testsets import Picture, Task
from elir_jax.data.sources import find_images
from elir_jax.errors import UserError
from elir_jax.pictures.images import FloatPixels, read_image, to_float
from elir_jax.restorer import Restorer
from elir_jax.running.records.digests import leaf_digests, leaves_by_path

FIDELITIES = (0, 1)  # beside the default


class Method(NamedTuple):
    """Rows of a table. ``version``: what they follow from beside the picture."""

    rows: tuple[str, ...]
    restore: Callable[[Picture], list[FloatPixels]]  # a result for each row
    version: Callable[[Picture], str] = lambda picture: ""


def ours(model: str) -> list[Method]:
    """The posterior mean and the restoration; those at other fidelities if there is such a knob."""
    restorer, weights = load(model)

    def both(picture: Picture) -> list[FloatPixels]:
        (stages,) = restorer.stages([picture.degraded], seed=0, batch=1, every=True)
        return [stages[0], stages[-1]][-len(rows) :]

    rows = (f"{model}, posterior mean", f"{model}, restored")[-len(restorer.stage_names) :]
    found = [Method(rows, both, lambda picture: weights)]
    if len(rows) > 1 and "fidelity" in inspect.signature(Restorer.load).parameters:
        found += [_at_fidelity(model, fidelity) for fidelity in FIDELITIES]
    return found


def _at_fidelity(model: str, fidelity: float) -> Method:
    restorer, weights = load(model, fidelity=float(fidelity))

    def restored(picture: Picture) -> list[FloatPixels]:
        return restorer.stages([picture.degraded], seed=0, batch=1)[0]

    return Method((f"{model}, fidelity {fidelity}",), restored, lambda picture: weights)


@functools.cache
def load(model: str, **options) -> tuple[Restorer, str]:
    """A restorer, and a digest of its weights."""
    restorer = Restorer.load(model, **options)
    leaves = {name: np.asarray(leaf) for name, leaf in leaves_by_path(restorer.weights).items()}
    whole = json.dumps([leaf_digests(leaves), restorer.stage_names])
    return restorer, hashlib.sha256(whole.encode()).hexdigest()[:16]


def bm3d(task: Task) -> list[Method]:
    """BM3D, which is told sigma; nothing if it is not installed."""
    apply = bm3d_filter(task.strength / 255)
    if apply is None:
        return []
    version = importlib.metadata.version("bm3d")
    return [Method(("BM3D",), lambda picture: [apply(picture.degraded)], lambda _: version)]


def from_folder(name: str, folder: Path) -> Method:
    """The pictures that another method made. Raises UserError if one is missing or has no fit."""
    files = {path.stem: path for path in find_images(folder)}

    def file(picture: Picture) -> Path:
        if picture.name not in files:
            raise UserError(f"{folder}: no result for {picture.name}; add {picture.name}.png")
        return files[picture.name]

    def read(picture: Picture) -> list[FloatPixels]:
        pixels = read_image(file(picture))
        if pixels.shape != picture.original.shape:
            (h, w, _), (height, width, _) = pixels.shape, picture.original.shape
            raise UserError(f"{file(picture)}: {w}x{h} pixels, but {width}x{height} are measured")
        return [to_float(pixels)]

    def version(picture: Picture) -> str:
        return hashlib.sha256(file(picture).read_bytes()).hexdigest()[:16]

    return Method((name,), read, version)
