"""Choose the training images and the held-out images that a configuration names."""

from pathlib import Path

from elir_jax.data.listing import AllBut
from elir_jax.data.prepared import PreparedPairs, is_prepared, open_prepared
from elir_jax.data.sources import (
    EMBEDDED_HELD_OUT,
    EMBEDDED_TRAIN,
    EmbeddedPhotographs,
    ImageFiles,
    PairFiles,
    Source,
    Subset,
    find_images,
    find_pairs,
    holds_pairs,
)
from elir_jax.errors import UserError
from elir_jax.pictures.anybody import read_shape
from elir_jax.pictures.images import check_room


def open_source(path: Path) -> Source:
    """Open a folder of images, of pairs (``hq`` and ``lq``), or a prepared dataset."""
    if is_prepared(path):
        return open_prepared(path)
    if holds_pairs(path):
        return PairFiles(*find_pairs(path))
    return ImageFiles(find_images(path))


def split(source: Source, name: str, held_out: int) -> tuple[Subset, Subset]:
    """(training images, held-out images); the latter are spread evenly over the sorted names.

    It holds out ``held_out`` images, but at least one and at most a fifth of all.
    """
    total = len(source)
    if total < 2:
        raise UserError(
            f"{name}: has only one image, which cannot be used for both training and evaluation; "
            f"add images or name others with --config.data.eval_path"
        )
    count = max(1, min(held_out, total // 5))
    chosen = tuple(sorted({(2 * i + 1) * total // (2 * count) for i in range(count)}))
    return Subset(source, AllBut(total, chosen)), Subset(source, chosen)


def choose_sources(
    path: str, eval_path: str, held_out: int, embedded: bool
) -> tuple[Source, Source]:
    """(training images, held-out images) from folders, or the embedded photographs if allowed.

    Raises UserError if there are no training images.
    """
    if path and eval_path:
        return open_source(Path(path)), open_source(Path(eval_path))
    if path:
        return split(open_source(Path(path)), path, held_out)
    if not embedded:
        raise UserError(
            "no training images: this configuration needs your own; give a folder of images, of "
            "pairs (hq and lq), or a dataset made by python -m elir_jax.data.prepare, with "
            "--config.data.path=FOLDER"
        )
    train = EmbeddedPhotographs(EMBEDDED_TRAIN)
    return train, open_source(Path(eval_path)) if eval_path else EmbeddedPhotographs(
        EMBEDDED_HELD_OUT
    )


def gives_pairs(source: Source) -> bool:
    """Whether its items bring their own degraded images."""
    if isinstance(source, Subset):
        return gives_pairs(source.source)
    return isinstance(source, PairFiles | PreparedPairs)


def check_sizes(source: Source, size: int) -> None:
    """Raise UserError if an image is too small for crops of ``size``, or is none; reads headers.

    Held-out images are checked before training, because they would otherwise fail at its end.
    """
    for number in range(len(source)):
        path = _file(source, number)
        if path is not None:
            check_room(*read_shape(path), size, str(path))


def _file(source: Source, number: int) -> Path | None:
    """The file of an original, if the source consists of files."""
    if isinstance(source, Subset):
        return _file(source.source, source.numbers[number])
    if isinstance(source, ImageFiles):
        return source.paths[number]
    return source.originals[number] if isinstance(source, PairFiles) else None
