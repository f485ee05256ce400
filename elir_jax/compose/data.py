"""Build the photographs, the degradation (on host or device) and the feed of a configuration."""

import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ml_collections import ConfigDict

from elir_jax.data.choose import check_readable, choose_held_out, choose_sources, gives_pairs
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
from elir_jax.fields import choose, make
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
    root: str  # their folder on this machine's disk, from its root; "": none
    maker: Maker
    prepare: Prepare  # what the host sends -> pairs; part of the train step
    feed: Feed
    held_out: "HeldOutImages"

    def batches(self, process_index: int, process_count: int) -> TrainingBatches:
        """Endless training batches whose position can be saved."""
        return TrainingBatches(self.source, self.maker, self.feed, process_index, process_count)

    def fingerprint(self) -> dict[str, str | int]:
        """The number of training images and a digest of their names below ``root``, in order."""
        digest = hashlib.sha256()
        for i in range(len(self.source)):
            name = self.source.name(i).replace(self.root, "", 1)
            digest.update(b"\n" * (i > 0) + name.encode(errors="surrogateescape"))
        return {"images": len(self.source), "names": digest.hexdigest()[:16]}


class HeldOutImages(NamedTuple):
    """The images that a run is evaluated on; they need no training images."""

    source: Source
    root: str  # their folder on this machine's disk; "": none
    maker: PairMaker
    seed: int
    skip: bool  # leave out those that cannot be used

    def pairs(self, numbers: range) -> Iterator:
        """The pairs with these numbers, each once."""
        return evaluation_pairs(self.source, self.maker, self.seed, self.skip, numbers)

    def name(self, number: int) -> str:
        """The name of an image below the folder, which is the same wherever the folder is."""
        name = self.source.name(number)
        return re.sub(rf"{re.escape(self.root)}(/|$)", "", name, count=1) if self.root else name

    def check(self, numbers: range) -> None:
        """Read the images with these numbers. Raises UserError for what cannot be evaluated."""
        check_readable(self.source, self.maker.least, numbers, self.skip)


def degradation_of(config: ConfigDict) -> Degradation:
    """What the configuration does to originals. Raises UserError."""
    name = config.degradation.name
    kind = choose(DEGRADATIONS, "degradation.name", name)
    return make(kind, f"degradation.{name}", config.degradation.get(name, {}))


def _placed(place: str) -> str:
    """The folder on this machine's disk, however it is written; names of images begin with it."""
    found = on_disk(place)
    return found and os.path.abspath(found)


def build_held_out(config: ConfigDict) -> HeldOutImages:
    """The held-out images of a configuration, without its training images. Raises UserError."""
    data = config.data
    path, eval_path = _placed("" if data.eval_path else data.path), _placed(data.eval_path)
    source = choose_held_out(path, eval_path, data.held_out, data.embedded)
    return _held_out(config, source, eval_path or path)


def _held_out(config: ConfigDict, source: Source, root: str) -> HeldOutImages:
    fit = {"degrade": degradation_of(config), "fit": config.data.fit}
    maker = make(PairMaker, "evaluation", fit, size=config.evaluation.size)
    return HeldOutImages(source, root, maker, config.seed, config.data.on_error == "skip")


def build_data(config: ConfigDict, extra: Extra = no_extra) -> Data:
    """Sources, degradation and feed; ``extra`` makes the method's own arrays. Raises UserError."""
    data = config.data
    path, eval_path = _placed(data.path), _placed(data.eval_path)
    train, held_out = choose_sources(path, eval_path, data.held_out, data.embedded)
    feed = {field: data[field] for field in ("workers", "on_error", "max_bad_share")}
    fit = {"degrade": degradation_of(config), "fit": data.fit}
    pairs = make(PairMaker, "data", fit, size=data.size, extra=extra)
    side = choose(SIDES, "data.degrade_on", data.degrade_on)
    maker, prepare_pairs = side(train, pairs)
    return Data(
        source=train,
        root=path,
        maker=maker,
        prepare=prepare_pairs,
        feed=make(Feed, "data", feed, batch_size=config.batch_size, seed=config.seed),
        held_out=_held_out(config, held_out, eval_path or path),
    )


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
