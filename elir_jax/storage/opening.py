"""From a name to a place, and from a place to its storage."""

import functools
import logging
from pathlib import Path
from typing import Any

from elir_jax.errors import UserError
from elir_jax.storage.disk import Disk
from elir_jax.storage.place import Place, Storage

SCHEMES = ("gs", "s3")
# Seconds without a byte after which a request to Cloud Storage is tried again. By itself its client
# waits for ever; that of S3 has such a limit.
SILENCE = 60.0
# They log each failed try with a traceback; what matters is in the error that they raise at last.
TALKATIVE = ("gcsfs", "google", "s3fs", "aiobotocore", "botocore", "fsspec")


def place_of(name: str) -> Place:
    """A path, or ``gs://BUCKET/...`` or ``s3://BUCKET/...``. Raises UserError for another scheme.

    Also if the packages for object storage are missing.
    """
    scheme, address, _ = name.partition("://")
    if not address:
        return Path(name)
    if scheme not in SCHEMES:
        raise UserError(f"{name}: this kind of storage is not supported; use gs:// or s3://")
    client_of(scheme)
    from etils import epath  # here: elir_jax.edge restores without it

    return epath.Path(name.rstrip("/"))


def storage_of(place: Place) -> Storage:
    """What works with files at ``place``."""
    if isinstance(place, Path):
        return Disk()
    from elir_jax.storage.objects import Objects  # here, as above

    return Objects(client_of(str(place).partition("://")[0]))


@functools.cache
def client_of(scheme: str) -> Any:
    """The client of an object store: an ``AbstractFileSystem`` of fsspec that remembers nothing.

    It finds account and server as its library does, in variables, files or the machine's role.
    """
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        import fsspec

        limits = {}
        if scheme == "gs":
            import aiohttp

            limits["requests_timeout"] = aiohttp.ClientTimeout(
                sock_connect=SILENCE, sock_read=SILENCE
            )
        return fsspec.filesystem(scheme, use_listings_cache=False, **limits)
    except ImportError as error:
        raise UserError(
            f"{scheme}://: the packages for object storage are missing; install them with "
            f"pip install -r requirements-cloud.txt"
        ) from error
    except Exception as error:  # of the account, whose libraries have their own
        raise UserError(f"{scheme}://: cannot be used ({error})") from error
