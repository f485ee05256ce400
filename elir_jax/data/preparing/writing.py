"""Write a dataset shard by shard, so that a run that was killed can be resumed.

tensorflow-datasets encodes the records and writes the metadata; its own ``download_and_prepare``
starts from the beginning after a kill. A shard counts when ``shards.json`` has its row, which is
written after the shard has its name. The folder loses ``.incomplete`` when all metadata and shards
are written.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tqdm

from elir_jax.data.layout import INCOMPLETE, MADE_FROM, SHARDS, VERSION, commit, write_json
from elir_jax.data.preparing.recipes import Entry, Recipe, encode_entry
from elir_jax.errors import UserError

# A shard ends at either limit. A kill loses at most one shard.
SHARD_IMAGES = 512
SHARD_BYTES = 256 << 20  # of its source files

ONE_RECORD_A_GROUP = "group_size:1"  # tensorflow-datasets' option, for random access


@dataclasses.dataclass(frozen=True)
class Plan:
    """A dataset to make: ``sizes`` are the bytes of each entry's files."""

    folder: Path  # DATA_DIR/NAME/VERSION
    kind: str
    recipe: Recipe
    entries: list[Entry]
    sizes: list[list[int]]

    @property
    def name(self) -> str:
        return self.folder.parent.name

    def made_from(self) -> dict[str, Any]:
        """The facts that distinguish this dataset from another of the same name."""
        images = [[e.name, *s] for e, s in zip(self.entries, self.sizes, strict=True)]
        return {"kind": self.kind, "size": self.recipe.size, "images": images}

    def shards(self) -> list[list[Entry]]:
        """The entries of each shard: the same in every run over the same files."""
        shards: list[list[Entry]] = []
        room = 0
        for entry, sizes in zip(self.entries, self.sizes, strict=True):
            if room <= 0 or len(shards[-1]) == SHARD_IMAGES:
                shards.append([])
                room = SHARD_BYTES
            shards[-1].append(entry)
            room -= sum(sizes)
        return shards

    def shard_path(self, folder: Path, number: int, count: int) -> Path:
        split = self.recipe.split
        return folder / f"{self.name}-{split}.array_record-{number:05d}-of-{count:05d}"


def make_plan(folder: Path, kind: str, recipe: Recipe, images: Path) -> Plan:
    """Find the images. Raises UserError if there are none."""
    entries = recipe.find(images)
    try:
        sizes = [[path.stat().st_size for path in entry.files] for entry in entries]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return Plan(folder, kind, recipe, entries, sizes)


def check_same(folder: Path, plan: Plan) -> None:
    """Raise a UserError that names the difference if ``folder`` was made by another plan."""
    then, now = json.loads((folder / MADE_FROM).read_text()), plan.made_from()
    for field in ("kind", "size"):
        if then[field] != now[field]:
            difference = f"made with {field} {then[field]}, not {now[field]}"
            break
    else:
        old, new = ({name: sizes for name, *sizes in made["images"]} for made in (then, now))
        differ = [
            name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)
        ]
        if not differ:
            return
        name = differ[0]
        change = "is gone" if name not in new else "has changed" if name in old else "is new"
        difference = f"made from other images: {name} {change} ({len(differ)} differ)"
    raise UserError(f"{folder}: {difference}; remove that folder or choose another --name")


def write_dataset(plan: Plan, bar: tqdm.tqdm) -> list[dict[str, Any]]:
    """Make ``plan.folder``; returns the rows of its shards, with ``records`` and ``bad`` files.

    Raises UserError if the disk cannot be written, if a run that was killed had another plan, if
    another run makes the same dataset, or if no image is usable.
    """
    part = plan.folder.with_name(plan.folder.name + INCOMPLETE)
    try:
        part.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            rows = _write_shards(part, plan, bar)
            if not any(row["records"] for row in rows):
                shutil.rmtree(part)
                raise UserError(f"none of the {len(plan.entries)} images is usable; wrote nothing")
            _write_metadata(part, plan, rows)
            part.rename(plan.folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{part}: cannot be written ({reason})") from error
    return rows


def _write_shards(part: Path, plan: Plan, bar: tqdm.tqdm) -> list[dict[str, Any]]:
    if (part / MADE_FROM).exists():
        check_same(part, plan)
    else:
        write_json(part / MADE_FROM, plan.made_from())
    shards = plan.shards()
    paths = [plan.shard_path(part, i, len(shards)) for i in range(len(shards))]
    rows = _whole_shards(part, paths)
    for problem in (problem for row in rows for problem in row["bad"].values()):
        bar.write(problem)
    bar.initial = bar.n = sum(len(shard) for shard in shards[: len(rows)])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for shard, path in list(zip(shards, paths, strict=True))[len(rows) :]:
            rows.append(_write_shard(path, plan.recipe, shard, pool, bar))
            write_json(part / SHARDS, rows)
    return rows


def _whole_shards(part: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """The rows of ``shards.json`` up to the first shard that is missing."""
    from array_record.python.array_record_module import ArrayRecordReader

    whole = []
    if (part / SHARDS).exists():
        for row, path in zip(json.loads((part / SHARDS).read_text()), paths, strict=False):
            if not path.exists():
                break
            reader = ArrayRecordReader(str(path))
            if not reader.ok() or reader.num_records() != row["records"]:
                break
            whole.append(row)
    return whole


def _write_shard(
    path: Path,
    recipe: Recipe,
    shard: list[Entry],
    pool: concurrent.futures.Executor,
    bar: tqdm.tqdm,
) -> dict[str, Any]:
    """Write one shard, completely or not at all; returns its row."""
    row = {"records": 0, "bytes": 0, "bad": {}}
    features = _features(recipe)
    unfinished = path.with_name(path.name + ".part")
    with contextlib.closing(_Writer(unfinished)) as writer:
        for entry, future in _ahead(pool, lambda entry: encode_entry(recipe, entry), shard):
            try:
                record = _serialize(features, future.result())
            except UserError as error:
                row["bad"][entry.name] = str(error)
                bar.write(str(error))
            else:
                writer.write(record)
                row["records"] += 1
                row["bytes"] += len(record)
            bar.update()
    commit(unfinished, path)
    return row


def _ahead(
    pool: concurrent.futures.Executor, work: Callable[[Entry], Any], entries: list[Entry]
) -> Iterator[tuple[Entry, concurrent.futures.Future]]:
    """Each entry with its future result, in order; only a few are computed ahead."""
    waiting: collections.deque = collections.deque()
    try:
        for entry in entries:
            waiting.append((entry, pool.submit(work, entry)))
            if len(waiting) > 2 * (os.cpu_count() or 1):
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, future in waiting:
            future.cancel()


class _Writer:
    """An ArrayRecord file whose failures are OSErrors; a full disk may fail only at the end."""

    def __init__(self, path: Path):
        from array_record.python.array_record_module import ArrayRecordWriter

        with _as_os_error():
            self._writer = ArrayRecordWriter(str(path), ONE_RECORD_A_GROUP)

    def write(self, record: bytes) -> None:
        with _as_os_error():
            self._writer.write(record)

    def close(self) -> None:
        with _as_os_error():
            self._writer.close()


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).partition(";")[0]) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock ``folder`` against other runs; the system releases the lock when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks have no locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{folder}: another run is making this dataset; wait") from error
        yield
    finally:
        os.close(descriptor)


def _features(recipe: Recipe) -> Any:
    import tensorflow_datasets as tfds  # here, because it takes a second

    images = {name: tfds.features.Image(shape=(None, None, 3)) for name in recipe.features}
    return tfds.features.FeaturesDict({**images, "name": tfds.features.Text()})


def _serialize(features: Any, record: dict[str, Any]) -> bytes:
    """The record in the library's encoding, with sorted fields.

    The library's own order differs from run to run; sorted, the same images give the same files,
    byte for byte.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example.FromString(features.serialize_example(record))
    return example.SerializeToString(deterministic=True)


def _write_metadata(part: Path, plan: Plan, rows: list[dict[str, Any]]) -> None:
    """Write tensorflow-datasets' metadata, and count the records through its own reader."""
    import tensorflow_datasets as tfds

    split = tfds.core.SplitInfo(
        name=plan.recipe.split,
        shard_lengths=[row["records"] for row in rows],
        num_bytes=sum(row["bytes"] for row in rows),
    )
    tfds.folder_dataset.write_metadata(
        data_dir=part,
        features=_features(plan.recipe),
        split_infos=[split],
        version=VERSION,
        description=f"Images prepared by elir_jax.data.prepare as {plan.kind}.",
        check_data=False,  # the check needs TensorFlow
    )
    source = tfds.builder_from_directory(part).as_data_source(split.name)
    if len(source) != split.num_examples:
        raise UserError(f"{part}: reads back {len(source)} of {split.num_examples} records")
