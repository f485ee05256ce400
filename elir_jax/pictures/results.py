"""What a result says of itself, by which it is told from the user's own pictures.

Directly behind the header of each PNG that restoring writes is a tEXt chunk: what the picture
shows, digests of the file that was restored and of the weights, the options, and a digest of all
other bytes of the PNG. So a later command knows whether a result is the one that it would write,
another one of ours, damaged, or none: what another program has saved, ours or not, is the user's.
"""

import enum
import hashlib
import json
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from elir_jax.pictures.png import HEADER, SIGNATURE, chunk

KEYWORD, CHUNK = b"elir_jax", b"tEXt"
VERSION = 1  # of the record
LONGEST = 2**16  # bytes of a record; ours have some hundred
BLOCK = 2**20


class Record(NamedTuple):
    """What a picture is made of."""

    kind: str  # what it shows
    source: str  # a digest of the file that was restored
    weights: str  # a digest
    options: Mapping[str, Any]  # all that change the result, as JSON

    def sealed(self, png: bytes) -> bytes:
        """The PNG with this record inside."""
        said = {"version": VERSION} | self._asdict() | {"content": _digest(png)}
        text = KEYWORD + b"\0" + json.dumps(said).encode("ascii")
        return png[:HEADER] + chunk(CHUNK, text) + png[HEADER:]


class State(enum.Enum):
    """What is in the place of a result."""

    NOTHING = enum.auto()  # or an empty file
    OURS = enum.auto()  # a whole result
    DAMAGED = enum.auto()  # a result of ours that is cut or whose checksums are wrong
    FOREIGN = enum.auto()  # anything else


class Found(NamedTuple):
    """What is in the place of a result; the ``record`` only if it is OURS."""

    state: State
    record: Record | None = None


def is_result(path: Path) -> bool:
    """Whether a file begins as our results do; false for what is no file or cannot be read."""
    try:
        if not path.is_file():  # to open a pipe would wait
            return False
        with path.open("rb") as file:
            return _record_in(file) is not None
    except OSError:
        return False


def examine(path: Path) -> Found:
    """Look at the place of a result. A link is OURS if it leads to a result, otherwise FOREIGN."""
    try:
        link = stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:  # if it is not missing, writing will say what is wrong
        return Found(State.NOTHING)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Found(State.FOREIGN)
        with path.open("rb") as file:
            found = _examined(file)
    except OSError:
        return Found(State.FOREIGN)
    return Found(State.FOREIGN) if link and found.state is not State.OURS else found


def digest_of_file(path: Path) -> str:
    """The digest of a source in a record; of a pipe, which can be read only once, none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _hash).hexdigest()


def _examined(file: BinaryIO) -> Found:
    text = _record_in(file)
    if text is None:
        return Found(State.FOREIGN if file.seek(0, os.SEEK_END) else State.NOTHING)
    known = chunk(CHUNK, text)
    file.seek(0)
    digest = _hash(file.read(HEADER))
    whole = file.read(len(known)) == known
    while block := file.read(BLOCK):
        digest.update(block)
    try:
        said = json.loads(text.partition(b"\0")[2])
        whole = whole and said["content"] == digest.hexdigest()
        if whole and said["version"] == VERSION:
            record = Record(*(said[name] for name in Record._fields))
            return Found(State.OURS, record)
    except (ValueError, TypeError, KeyError):  # damaged, or of a later version
        pass
    file.seek(0)
    return Found(State.FOREIGN if _is_intact(file.read()) else State.DAMAGED)


def _record_in(file: BinaryIO) -> bytes | None:
    """The content of the chunk behind the header if it is ours, as far as it is there."""
    head = file.read(HEADER + 8)
    if not head.startswith(SIGNATURE) or len(head) < HEADER + 8:
        return None
    length, kind = struct.unpack(">I4s", head[HEADER:])
    if kind != CHUNK or length > LONGEST:
        return None
    text = file.read(length)
    return text if text.startswith(KEYWORD + b"\0") else None


def _is_intact(png: bytes) -> bool:
    """Whether every chunk has its checksum, and the last one is the end."""
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        behind = at + 8 + length
        if png[behind : behind + 4] != struct.pack(">I", zlib.crc32(png[at + 4 : behind])):
            return False
        if kind == b"IEND":
            return True
        at = behind + 4
    return False


def _digest(content: bytes) -> str:
    return _hash(content).hexdigest()


def _hash(content: bytes = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(content, digest_size=16)
