"""Object stores on this machine: moto's S3 server and a GCS emulator, each started by a test."""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elir_jax.storage.opening import client_of

BUCKET = "bucket"
PATIENCE = 60  # seconds
PACKAGES = {"s3": ("s3fs", "moto", "flask"), "gs": ("gcsfs", "gcp_storage_emulator")}
# So that only the servers below are asked, without an account.
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    "FSSPEC_GS_TOKEN": "anon", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
}  # fmt: skip


def needed(scheme):
    """Marks a test that needs the packages of a scheme and of its server."""
    absent = [name for name in PACKAGES[scheme] if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(
        bool(absent),
        reason=f"not installed: {', '.join(absent)} (requirements-cloud.txt, -tests.txt)",
    )


# For tests of what does not depend on the kind of store.
S3 = pytest.mark.parametrize("bucket", [pytest.param("s3", marks=needed("s3"))], indirect=True)


@contextlib.contextmanager
def serving(scheme):
    """Gives ``SCHEME://BUCKET`` of an empty server; commands started meanwhile find it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    if scheme == "s3":
        line, variable = ["moto.server", "-p", str(port)], "AWS_ENDPOINT_URL"
    else:
        line = ["gcs_emulator", "start", "--port", str(port), "-M", "-q",
                "--default-bucket", BUCKET]  # fmt: skip
        variable = "STORAGE_EMULATOR_HOST"
    server = subprocess.Popen(
        [sys.executable, "-m", *line],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port, server)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**ACCOUNT, variable: url}.items():
                patch.setenv(name, value)
            forget(scheme)
            if scheme == "s3":
                client_of(scheme).mkdir(BUCKET)
            yield f"{scheme}://{BUCKET}"
            forget(scheme)
    finally:
        server.kill()
        server.wait()


def forget(scheme):
    """The next client asks the server that is named then."""
    client_of(scheme).clear_instance_cache()
    client_of.cache_clear()


def _wait(port, server):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
