"""Prepared datasets in an object store are copied to this machine's disk before they are read.

ArrayRecord needs files of a disk. The copy stays in the user's cache, so the next start on this
machine finds it.
"""

from pathlib import Path

from elir_jax.data.layout import INCOMPLETE, INFO
from elir_jax.errors import UserError
from elir_jax.files import cache_folder
from elir_jax.storage.mirror import mirrored
from elir_jax.storage.objects import Objects
from elir_jax.storage.opening import client_of, place_of

FOLDER = "datasets"


def on_disk(name: str) -> str:
    """A folder on a disk as it is; for ``gs://`` and ``s3://``, that of a copy of its dataset.

    The dataset lies in the copy as in the original: DATA_DIR/NAME/VERSION or part of it. Raises
    UserError if there is no prepared dataset, or more than one, or if it cannot be read.
    """
    place = place_of(name)
    if isinstance(place, Path):
        return name
    client = client_of(name.partition("://")[0])
    try:
        names = [name for name in Objects(client).names(place) if INCOMPLETE not in name]
        found = [name.removesuffix(INFO) for name in names if name.rpartition("/")[2] == INFO]
        if len(found) != 1:
            several = f"holds several datasets; choose one of {', '.join(sorted(found))}"
            none = "no prepared dataset here; images of other kinds must be on a disk"
            raise UserError(f"{name}: {several if found else none}")
        wanted = [name for name in names if name.startswith(found[0])]
        return str(mirrored(client, place, wanted, cache_folder() / FOLDER))
    except OSError as error:
        raise UserError(
            f"{error.filename or name}: cannot be read ({error.strerror}); check the address and "
            f"this machine's rights"
        ) from error
