"""Serve the demo's folder to this machine: python docs/demo/serve.py DEMO

Any server of static files will do. This one also sends the headers that isolate the page, without
which a browser gives it no threads; it answers this machine only.
"""

import argparse
import re
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
}


class Handler(SimpleHTTPRequestHandler):
    """Static files with the page's policy on each, because a worker obeys only that of its file."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

    def __init__(self, *arguments, policy: str, **options):
        self.policy = policy
        super().__init__(*arguments, **options)

    def end_headers(self):
        """Add the headers."""
        for name, value in (ISOLATED | {"Content-Security-Policy": self.policy}).items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *words):
        """Say nothing of each file."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the folder on this machine only; port 0: a free one.

    Raises FileNotFoundError if the folder is no demo, OSError or OverflowError for the port.
    """
    found = POLICY.search((folder / "index.html").read_text(encoding="utf-8"))
    if found is None:
        raise FileNotFoundError(folder)
    policy = " ".join(found[1].split())
    handler = partial(Handler, directory=str(folder), policy=policy)
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DEMO", type=Path, help="what build.py wrote")
    parser.add_argument("--port", type=int, default=8000, help="(default 8000)")
    options = parser.parse_args(argv)
    try:
        serving = server(options.folder, options.port)
    except (FileNotFoundError, NotADirectoryError):
        print(f"error: {options.folder}: no demo; write one with build.py", file=sys.stderr)
        return 2
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such port"
        print(f"error: port {options.port}: {reason}; choose another one with --port",
              file=sys.stderr)  # fmt: skip
        return 2
    print(f"http://127.0.0.1:{serving.server_port} (Ctrl-C stops)", flush=True)
    try:
        serving.serve_forever()
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
