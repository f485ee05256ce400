"""Writing a file completely or not at all, and where to keep what can be made again."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a folder that may be written but not listed, and some network and FUSE file systems, answer.
CANNOT_FLUSH = {errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}


def cache_folder() -> Path:
    """This user's folder for what can be made again; it may not exist.

    Raises RuntimeError if the user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elir_jax"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path, renamed to ``path`` on success and removed on failure.

    Creates the parent folders. The content is on the disk before it gets the name, and the name
    when this returns, so a power cut leaves no empty file. Processes that write the same file have
    one temporary file each; the last to finish wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = new_file(path.parent)
    try:
        yield part
        sync(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def new_file(folder: Path) -> Path:
    """An empty file of a new name in the folder, which no other process and no link has.

    The name is short, whatever it will be renamed to, and random: processes in two containers may
    have one number and write to one folder.
    """
    while True:
        path = folder / f".elir-{secrets.token_hex(8)}.part"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            continue
        return path


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk.

    A folder that cannot be flushed, or not even opened to be listed, is passed over.
    """
    try:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH or not path.is_dir():
            raise
