"""Build the photographs, the degradation (on host or device) and the feed of a configuration."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from elir_jax.compose.fields import choose, make
from elir_jax.data.choose import check_sizes, choose_sources, gives_pairs
from elir_jax.data.copying import on_disk
from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.blind_super_resolution import BlindSuperResolution
from elir_jax.data.degradations.difface import DifFace
from elir_jax.data.degradations.photographs import Photographs
from elir_jax.data.degradations.tasks import (
    Colorization,
    Denoising,
    Identity,
    Inpainting,
    SuperResolution,
)
from elir_jax.data.originals import OriginalMaker
from elir_jax.data.pairs import Degradation, Extra, Maker, PairMaker, evaluation_pairs, no_extra
from elir_jax.data.pipeline import Feed, TrainingBatches
from elir_jax.data.sources import Source
from elir_jax.device_degradations.preparing import prepare
from elir_jax.device_degradations.tasks import on_device
from elir_jax.errors import UserError
from elir_jax.training.step import Prepare, as_sent

DEGRADATIONS: dict[str, Callable[..., Degradation]] = {
    "blind_face_restoration": BlindFaceRestoration,
    "blind_super_resolution": BlindSuperResolution,
    "colorization": Colorization,
    "denoising": Denoising,
    "difface": DifFace,
    "identity": Identity,
    "inpainting": Inpainting,
    "photographs": Photographs,
    "super_resolution": SuperResolution,
}


class Data(NamedTuple):
    """The images that a run trains on and is evaluated on."""

    source: Source  # training images
    root: str  # their folder on this machine's disk; "": none
    maker: Maker
    prepare: Prepare  # what the host sends -> pairs; part of the train step
    feed: Feed
    held_out: Source
    held_out_maker: PairMaker
    seed: int

    def batches(self, process_index: int, process_count: int) -> TrainingBatches:
        """Endless training batches whose position can be saved."""
        return TrainingBatches(self.source, self.maker, self.feed, process_index, process_count)

    def evaluation(self, numbers: range) -> Iterator:
        """The held-out pairs with these numbers, each once."""
        skip = self.feed.on_error == "skip"
        return evaluation_pairs(self.held_out, self.held_out_maker, self.seed, skip, numbers)

    def fingerprint(self) -> dict[str, str | int]:
        """The number of training images and a digest of their names below ``root``, in order."""
        digest = hashlib.sha256()
        for i in range(len(self.source)):
            name = self.source.name(i).replace(str(Path(self.root)), "", 1)
            digest.update(b"\n" * (i > 0) + name.encode(errors="surrogateescape"))
        return {"images": len(self.source), "names": digest.hexdigest()[:16]}


def degradation_of(config: ConfigDict) -> Degradation:
    """What the configuration does to originals. Raises UserError."""
    name = config.degradation.name
    kind = choose(DEGRADATIONS, "degradation.name", name)
    return make(kind, f"degradation.{name}", config.degradation.get(name, {}))


def build_data(config: ConfigDict, extra: Extra = no_extra) -> Data:
    """Sources, degradation and feed; ``extra`` makes the method's own arrays. Raises UserError."""
    data = config.data
    path, eval_path = on_disk(data.path), on_disk(data.eval_path)
    train, held_out = choose_sources(path, eval_path, data.held_out, data.embedded)
    degrade = degradation_of(config)
    feed = {field: data[field] for field in ("workers", "on_error", "max_bad_share")}
    fit = {"degrade": degrade, "fit": data.fit}
    pairs = make(PairMaker, "data", fit, size=data.size, extra=extra)
    side = choose(SIDES, "data.degrade_on", data.degrade_on)
    maker, prepare_pairs = side(train, pairs)
    found = Data(
        source=train,
        root=path,
        maker=maker,
        prepare=prepare_pairs,
        feed=make(Feed, "data", feed, batch_size=config.batch_size, seed=config.seed),
        held_out=held_out,
        held_out_maker=make(PairMaker, "evaluation", fit, size=config.evaluation.size),
        seed=config.seed,
    )
    if data.on_error == "raise":
        check_sizes(held_out, found.held_out_maker.least)
    return found


def _on_host(train: Source, pairs: PairMaker) -> tuple[Maker, Prepare]:
    return pairs, as_sent


def _on_device(train: Source, pairs: PairMaker) -> tuple[Maker, Prepare]:
    """Raises UserError for what only the host can make."""
    refused = "--config.data.degrade_on=device: {}; choose host"
    if gives_pairs(train):
        raise UserError(refused.format("these training images are pairs, degraded already"))
    if pairs.extra is not no_extra:
        raise UserError(refused.format("this method's own arrays are made of a pair on the host"))
    try:
        degradation = on_device(pairs.degrade)
    except TypeError as error:
        raise UserError(refused.format(error)) from error
    return OriginalMaker(pairs), functools.partial(prepare, degradation, pairs.size)


SIDES = {"host": _on_host, "device": _on_device}
