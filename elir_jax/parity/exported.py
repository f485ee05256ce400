"""An exported file beside our own programs: its weights, each part, the whole, restorations."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
import onnx
from onnx import numpy_helper

from elir_jax.compose.exporting import Exportable, onnx_model
from elir_jax.edge import layout
from elir_jax.edge.file import Exported, session
from elir_jax.edge.restorer import Flow, edge_parts
from elir_jax.inference.calling import AnyRestorer

# What each format may differ by.
LEAST_DB = {"float32": 90.0, "float16": 50.0}  # between restorations
MOST_CHANGE = 0.1  # dB PSNR to the originals, with 8-bit weights
EPSILON = 1e-30  # of the mean square: equal arrays score finitely


class Figure(NamedTuple):
    """How far two results lie apart: largest error, and dB below the largest value of ours."""

    name: str
    error: float
    decibels: float


class Outcome(NamedTuple):
    """Two restorations of one picture: dB between them, and PSNR of each to the original."""

    between: float
    error: float
    ours: float
    theirs: float


def differing_weights(file: Exported, found: Exportable) -> list[str]:
    """A line for each stored weight that is not what ``found`` gives, worst first."""
    form = file.about["format"]
    ours = _tensors(onnx_model(found, form, {}))
    theirs = _tensors(onnx.load_model_from_string(file.model))
    worst: list[tuple[float, str]] = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            worst.append((np.inf, f"{name} is {'missing' if name in ours else 'not known'}"))
        elif ours[name].shape != theirs[name].shape or ours[name].dtype != theirs[name].dtype:
            worst.append((np.inf, f"{name} has another shape or type"))
        elif not np.array_equal(ours[name], theirs[name]):
            by = np.abs(np.float64(ours[name]) - np.float64(theirs[name]))
            count, most = np.count_nonzero(by), float(by.max())
            worst.append((most, f"{name} differs in {count} of {by.size} by up to {most:.3g}"))
    told = [line for _, line in sorted(worst, key=lambda found: -found[0])]
    if not told and layout.digest_of(layout.digests(_weights(theirs))) != file.about["digest"]:
        told = ["the digest in the metadata is another"]
    return told


def _tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _weights(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the constants of the flow."""
    return {name: a for name, a in tensors.items() if layout.is_weight(name)}


def compare_parts(
    file: Exported, found: Exportable, images: Sequence[np.ndarray]
) -> Iterator[Figure]:
    """Each part on our own input for it, then the whole graph, on images of one multiple."""
    flow = Flow(**file.about["flow"])
    parts = list(zip(found.method.parts, edge_parts(file, flow), strict=True))
    weights = found.params, found.frozen
    x = [image[None] for image in images]
    drawn: list[np.ndarray] = []
    made: dict[str, list[np.ndarray]] = {}
    for ours, theirs in parts:
        program = jax.jit(lambda w, x, eps, apply=ours.apply: apply(*w, x, eps)[-1])
        drawn = _noise(x) if ours.noisy else drawn
        eps = drawn if ours.noisy else [None] * len(x)
        given = list(zip(x, made[ours.also], strict=True)) if ours.also else x
        results = [np.asarray(program(weights, a, e)) for a, e in zip(given, eps, strict=True)]
        others = [theirs.apply(None, None, a, e)[-1] for a, e in zip(given, eps, strict=True)]
        yield _figure(ours.name, results, others)
        x = made[ours.name] = results
    inputs = [
        [image[None], *noise]
        for image, *noise in zip(images, *([drawn] if drawn else []), strict=True)
    ]
    whole = session(file, (layout.IMAGE, layout.NOISE)[: len(inputs[0])], layout.RESTORED)
    restored = [whole(*arrays) for arrays in inputs]
    yield _figure("whole", x, restored)


def _noise(like: Sequence[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.float32(rng.normal(size=x.shape)) for x in like]


def _figure(name: str, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Figure:
    by = np.concatenate([(x - y).ravel() for x, y in zip(ours, theirs, strict=True)])
    peak = max(float(np.abs(x).max()) for x in ours)
    return Figure(name, float(np.abs(by).max()), decibels(by, peak))


def decibels(error: np.ndarray, peak: float = 1.0) -> float:
    """``10 log10(peak^2 / mean(error^2))``."""
    return float(10 * np.log10(peak**2 / (np.mean(np.square(error, dtype=np.float64)) + EPSILON)))


def compare_restorations(
    ours: AnyRestorer,
    theirs: AnyRestorer,
    originals: Sequence[np.ndarray],
    degrade: Callable[[np.random.Generator, np.ndarray], np.ndarray],
) -> Iterator[Outcome]:
    """Restorations of the degraded originals, each with its own noise; all clipped to [0, 1]."""
    for number, original in enumerate(originals):
        image = np.clip(degrade(np.random.default_rng([0, number]), original.copy()), 0, 1)
        image = image.astype(np.float32)
        mine, other = ours(image), theirs(image)
        yield Outcome(
            decibels(mine - other),
            float(np.abs(mine - other).max()),
            decibels(mine - original),
            decibels(other - original),
        )


def within(form: str, outcomes: Sequence[Outcome]) -> bool:
    """Whether the restorations differ by no more than the format may."""
    if form in LEAST_DB:
        return min(outcome.between for outcome in outcomes) >= LEAST_DB[form]
    change = np.mean([outcome.theirs - outcome.ours for outcome in outcomes])
    return abs(float(change)) <= MOST_CHANGE
