"""Choose the training images and the held-out images that a configuration names."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


def choose_held_out(path: str, eval_path: str, held_out: int, embedded: bool) -> Source:
    """The held-out images alone: those of ``eval_path`` need no training images.

    Raises UserError if there are none.
    """
    if eval_path:
        return open_source(Path(eval_path))
    if not path and not embedded:
        raise UserError(
            "no images to evaluate on: give a folder of images, of pairs (hq and lq), or a dataset "
            "made by python -m elir_jax.data.prepare, with --config.data.eval_path=FOLDER"
        )
    return choose_sources(path, eval_path, held_out, embedded)[1]


def check_readable(source: Source, size: int, numbers: range, skip_bad: bool) -> None:
    """Read the images with these numbers. Raises UserError for the first that cannot be used.

    That is one that cannot be read, or that is too small for crops of ``size``. Held-out images are
    checked before training, because they would otherwise fail at its end. If ``skip_bad``, bad
    images are left out later, and one that can be used suffices.
    """

    def check(number: int) -> None:
        item = source[number]
        original = item[0] if isinstance(item, tuple) else item
        check_room(*original.shape[:2], size, source.name(number))

    if not skip_bad:
        in_threads(check, numbers)
    elif numbers and not any(_holds(check, number) for number in numbers):
        raise UserError(
            "none of the images to evaluate on can be used; name others with "
            "--config.data.eval_path"
        )


def _holds(check: Callable[[int], None], number: int) -> bool:
    try:
        check(number)
    except UserError:
        return False
    return True


def in_threads(work: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
    """``work`` of each number, in order; decoders of images run beside each other.

    The first error, in order, is raised, and what has not begun is left out.
    """
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        return list(pool.map(work, numbers))
    finally:
        pool.shutdown(cancel_futures=True)
