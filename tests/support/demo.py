"""The demo of docs/demo: its programs, and a folder that they built with two models."""

import functools
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import exported
import pytest

from elir_jax.commands import export

SOURCE = Path(__file__).resolve().parents[2] / "docs" / "demo"
sys.path.insert(0, str(SOURCE))

import build  # noqa: E402
import serve  # noqa: E402
import vendor  # noqa: E402

__all__ = ["build", "serve", "vendor"]


def require_vendored() -> None:
    """Skip unless the packages of npm are there; no test fetches them."""
    for package in vendor.PACKAGES:
        if not (vendor.VENDOR / package.archive).exists():
            pytest.skip(f"{package.name} is not there; python docs/demo/vendor.py gets it")


@functools.cache
def _kept() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="demo")


@functools.cache
def models() -> dict[str, Path]:
    """Exported files by their name in the demo: the shipped model and the small one."""
    place = Path(_kept().name)
    shipped = place / "denoising.onnx"
    command = ["denoising", "--format", "int8", "--output", str(shipped)]
    assert export.main(command) == 0
    small = exported.write(place).rename(place / "float32.onnx")
    return {"denoising": shipped, "float32": small}


@functools.cache
def built() -> Path:
    """A demo with both models; nobody may change it."""
    require_vendored()
    folder = Path(_kept().name) / "demo"
    files = [str(path) for path in models().values()]
    assert build.main([*files, "--output", str(folder)]) == 0
    return folder


@functools.cache
def programs() -> Path:
    """The page's programs for node, without what comes from npm."""
    folder = Path(_kept().name) / "programs"
    shutil.copytree(SOURCE / "page", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[str]:
    """The address of a server while it runs."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def end_headers(self):
        """Let the browser keep nothing: tests take files away."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *words):
        """Say nothing."""


def plain_server(folder: Path) -> ThreadingHTTPServer:
    """A server of static files without any policy or isolation, as ``python -m http.server``."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
