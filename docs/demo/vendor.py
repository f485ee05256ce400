"""Get the two packages of the demo from npm: python docs/demo/vendor.py

They come from your npm registry, in the versions that are pinned here, and are kept in the folder
vendor beside this file, which git ignores. Nothing is installed, and no program of a package is
run. Each use compares the files with their pinned sums.
"""

import argparse
import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from elir_jax.commands import frame  # noqa: E402
from elir_jax.errors import UserError  # noqa: E402

VENDOR = Path(__file__).with_name("vendor")


class Package(NamedTuple):
    """A package of npm: its sum as npm writes it, and where the page looks for its files."""

    name: str
    version: str
    megabytes: float
    sha512: str
    files: dict[str, str]  # in the package -> in the page's folder

    @property
    def archive(self) -> str:
        """The name that npm gives to the file."""
        return f"{self.name.strip('@').replace('/', '-')}-{self.version}.tgz"


PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        33.1,
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        {
            f"dist/{name}": f"vendor/ort/{name}"
            for name in (
                "ort.wasm.min.mjs",
                "ort-wasm-simd-threaded.mjs",
                "ort-wasm-simd-threaded.wasm",
            )
        },
    ),
    Package(
        "@noble/hashes",
        "2.4.0",
        0.2,
        "X5XaVWZIBCT7HHZGm5I7ZQXDwLG+bGXuSrMQAW+7Zvl87h1kmc1ZB1VSRJcpUfoUrGQp4Fkoxm5kZ+Ms+aW+eA==",
        {
            name: f"vendor/hashes/{name}"
            for name in ("blake2.js", "_blake.js", "_md.js", "_u64.js", "utils.js", "LICENSE")
        },
    ),
)


def fetch(folder: Path = VENDOR) -> None:
    """Get the packages that are not in the folder yet. Raises UserError."""
    for package in PACKAGES:
        path = folder / package.archive
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            print(f"getting {package.name} {package.version} from your npm registry, "
                  f"{package.megabytes} MB, into {folder}", flush=True)  # fmt: skip
            _pack(package, folder)
        _check(package, path)


def files_of(package: Package, folder: Path = VENDOR) -> dict[str, bytes]:
    """The package's files that the page needs, by their place in the page's folder.

    Raises UserError if the archive is not the one that is pinned.
    """
    path = folder / package.archive
    _check(package, path)
    with tarfile.open(path) as archive:
        return {
            target: archive.extractfile(f"package/{name}").read()
            for name, target in package.files.items()
        }


def _pack(package: Package, folder: Path) -> None:
    npm = shutil.which("npm")
    by_hand = f"put {package.archive} of npm's {package.name} into {folder} yourself"
    if npm is None:
        raise UserError(f"npm is not installed; install Node.js, or {by_hand}")
    done = subprocess.run(
        [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--silent"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode or not (folder / package.archive).exists():
        reason = (done.stderr.strip() or "no reason given").splitlines()[0]
        raise UserError(f"npm did not get {package.name} {package.version} ({reason}); {by_hand}")


def _check(package: Package, path: Path) -> None:
    found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise UserError(
            f"{path}: not {package.name} {package.version} as it is pinned (another sha512); "
            f"remove the file and start again"
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    return frame.exit_code_of(fetch, argv)


if __name__ == "__main__":
    sys.exit(main())
