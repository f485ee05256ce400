"""A prepared dataset on disk: DATA_DIR/NAME/VERSION with ArrayRecord shards and metadata.

tensorflow-datasets defines ``dataset_info.json``, ``features.json`` and the shards. We add
``made_from.json`` (the kind, the size, and the name and bytes of every file) and ``shards.json`` (a
row for each shard). Until everything is written, the folder is named VERSION.incomplete.
"""

import json
import os
from pathlib import Path

INFO, FEATURES = "dataset_info.json", "features.json"
MADE_FROM, SHARDS = "made_from.json", "shards.json"
VERSION = "1.0.0"
INCOMPLETE = ".incomplete"  # the suffix of unfinished folders in tensorflow-datasets too


def find_datasets(path: Path) -> list[Path]:
    """The complete datasets, sorted: ``path`` itself, or those below it (NAME/VERSION)."""
    if _is_finished(path):
        return [path]
    below = _folders(path)
    deeper = [folder for parent in below for folder in _folders(parent)]
    return sorted(folder for folder in below + deeper if _is_finished(folder))


def read_names(dataset: Path) -> list[str]:
    """The name of every record, in order; empty if another program made the dataset."""
    if not ((dataset / MADE_FROM).is_file() and (dataset / SHARDS).is_file()):
        return []
    images = json.loads((dataset / MADE_FROM).read_text())["images"]
    bad = {name for shard in json.loads((dataset / SHARDS).read_text()) for name in shard["bad"]}
    return [name for name, *_ in images if name not in bad]


def write_json(path: Path, value: object) -> None:
    """Write a file completely or not at all, even if the power fails."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value))
    commit(part, path)


def commit(part: Path, path: Path) -> None:
    """Give the file ``part`` its name, after its bytes have reached the disk."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)


def _is_finished(path: Path) -> bool:
    if INCOMPLETE in path.resolve().name:
        return False
    return (path / INFO).is_file() and (path / FEATURES).is_file()


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [path / entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []
