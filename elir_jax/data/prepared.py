"""Sources that read prepared datasets through tensorflow-datasets, without TensorFlow.

ArrayRecord checks its hashes when a record is read. A damaged record raises an error that names it;
it never becomes a wrong image.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from elir_jax.data.layout import FEATURES, INFO, find_datasets, read_names
from elir_jax.errors import UserError
from elir_jax.pictures.images import Pixels, decode_image

IMAGE = ("image",)
PAIR = ("hq", "lq")

LowPixels = UInt8[np.ndarray, "lq_h lq_w 3"]  # may be smaller than its original


def is_prepared(path: Path) -> bool:
    """Whether ``path`` is a complete dataset, or contains one at most two levels below."""
    return bool(find_datasets(path))


@dataclasses.dataclass(frozen=True)
class Records:
    """Encoded images of one split. Each process opens the files at its first access."""

    dataset: Path  # DATA_DIR/NAME/VERSION
    split: str
    features: tuple[str, ...]

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> list[bytes]:
        """The encoded image of each of ``features``. Raises a UserError that names the record."""
        if not 0 <= index < len(self):
            raise IndexError(f"no record {index}: {self.dataset} has {len(self)}")
        try:
            record = self._source[index]
            return [record[feature] for feature in self.features]
        except (
            Exception
        ) as error:  # array_record, protobuf and tensorflow-datasets have their own errors
            reason = str(error).partition(";")[0]
            raise UserError(
                f"{self.name(index)}: damaged ({reason}); prepare the dataset again"
            ) from error

    def name(self, index: int) -> str:
        """``record 7 (00000/00007.png) of DATASET``; without the file if it is unknown."""
        file = f" ({self._names[index]})" if self._names else ""
        return f"record {index}{file} of {self.dataset}"

    def __reduce__(self):  # open files and names stay in this process
        return type(self), (self.dataset, self.split, self.features)

    @functools.cached_property
    def _names(self) -> list[str]:
        names = read_names(self.dataset)
        return names if len(names) == len(self) else []

    @functools.cached_property
    def _source(self) -> Any:
        import tensorflow_datasets as tfds  # here, because it takes a second

        decoders = {feature: tfds.decode.SkipDecoding() for feature in self.features}
        try:
            builder = tfds.builder_from_directory(self.dataset)
            missing = [p for p in builder.info.splits[self.split].filepaths if not p.exists()]
            if missing:
                raise UserError(f"{missing[0]}: this shard of the dataset is missing")
            return builder.as_data_source(self.split, decoders=decoders)
        except UserError:
            raise
        except Exception as error:  # the library has errors of many kinds
            raise UserError(f"{self.dataset}: not a readable dataset ({error})") from error


@dataclasses.dataclass(frozen=True)
class PreparedImages:
    """The images of a dataset with the feature ``image``."""

    records: Records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Pixels:
        (data,) = self.records.read(index)
        return decode_image(data, self.name(index))

    def name(self, index: int) -> str:
        return self.records.name(index)


@dataclasses.dataclass(frozen=True)
class PreparedPairs:
    """The pairs (hq, lq) of a dataset with these two features; sizes may differ."""

    records: Records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Pixels, LowPixels]:
        hq, lq = self.records.read(index)
        name = self.name(index)
        return decode_image(hq, f"{name}, hq"), decode_image(lq, f"{name}, lq")

    def name(self, index: int) -> str:
        return self.records.name(index)


def open_prepared(path: Path, split: str = "") -> PreparedImages | PreparedPairs:
    """Open DATA_DIR/NAME/VERSION, or the only dataset below ``path``.

    ``split`` may be omitted if there is only one. Raises UserError if there is no dataset or split,
    or more than one, or if the dataset has other features than we need.
    """
    found = find_datasets(path)
    if len(found) != 1:
        several = f"holds several datasets; choose one of {', '.join(map(str, found))}"
        raise UserError(f"{path}: {several if found else 'no prepared dataset here'}")
    (dataset,) = found
    try:
        info = json.loads((dataset / INFO).read_text())
        features = json.loads((dataset / FEATURES).read_text())["featuresDict"]["features"]
        splits = [row["name"] for row in info["splits"]]
        stored_as = info.get("fileFormat")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{dataset}: not a readable dataset ({error!r})") from error

    if stored_as != "array_record":
        raise UserError(f"{dataset}: stored as {stored_as}; it must be array_record")
    if split not in splits and (split or len(splits) != 1):
        raise UserError(f"{dataset}: choose one of its splits: {', '.join(splits)}")
    split = split or splits[0]
    for names, source in ((PAIR, PreparedPairs), (IMAGE, PreparedImages)):
        if set(names) <= features.keys():
            opened = source(Records(dataset, split, names))
            len(opened)  # opens the files, so that an error is raised here
            return opened
    held = ", ".join(sorted(features))
    raise UserError(f"{dataset}: needs the feature image, or hq and lq, but has {held}")
