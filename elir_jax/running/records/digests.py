"""Digests of every leaf of a state, and of every file of a folder.

Orbax silently restores a flipped bit; these digests find it. A digest is SHA-256, in hexadecimal.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from elir_jax.files import sync
from elir_jax.storage.place import MARKER as MANIFEST

THREADS = 4  # hashing releases Python's lock


class Damaged(Exception):
    """The data read are not those that were written; the message says what differs."""


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """``params/estimator/...`` -> leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def leaf_digests(leaves: dict[str, np.ndarray]) -> dict[str, str]:
    """Digest of each leaf's bytes."""

    def digest(leaf):
        return hashlib.sha256(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)).hexdigest()

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(leaves, pool.map(digest, leaves.values()), strict=True))


def seal(folder: Path) -> None:
    """Write the digest of every file of ``folder`` into it, and wait until all are on the disk."""
    inside = sorted(folder.rglob("*"))
    files = _file_digests(folder, [path for path in inside if path.is_file()])
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": files, "digest": _digest_of(files)}, indent=1))
    for path in (*inside, manifest, folder):
        sync(path)


def verify(folder: Path) -> None:
    """Raise Damaged, naming the file, unless ``folder`` is as :func:`seal` left it.

    Other problems of the disk (permissions, input and output) raise OSError.
    """
    try:
        stored = json.loads((folder / MANIFEST).read_bytes())
        files = dict(stored["files"])
        whole = stored["digest"] == _digest_of(files)
    except FileNotFoundError:
        raise Damaged(f"{MANIFEST} is missing: the folder was never completed") from None
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(f"{MANIFEST} cannot be read") from error
    if not whole:
        raise Damaged(f"{MANIFEST} is not what was written")
    try:
        found = _file_digests(folder, [folder / name for name in files])
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        missing = Path(error.filename).relative_to(folder)
        raise Damaged(f"{missing} is missing") from error
    for name, digest in files.items():
        if found[name] != digest:
            raise Damaged(f"{name} is not what was written")


def _digest_of(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _file_digests(folder: Path, paths: list[Path]) -> dict[str, str]:
    def digest(path):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(THREADS) as pool:
        names = [path.relative_to(folder).as_posix() for path in paths]
        return dict(zip(names, pool.map(digest, paths), strict=True))
