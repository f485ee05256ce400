"""Large pictures: how windows change the result, and how much memory the command takes.

Command: python benchmarks/large.py [--checkpoint runs/quickstart] [--config configs/bfr.py]
First a 1024x768 photograph is restored whole and in windows, and the results are compared. Then the
command restores a 6000x4000 picture in a separate process, whose largest resident memory and time
are printed. Without a checkpoint the networks are those of --config, untrained: speed and memory do
not depend on the weights.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from elir_jax.compose import METHODS  # noqa: E402
from elir_jax.compose.restoring import whole_pictures  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.inference.parts import Local, Part  # noqa: E402
from elir_jax.methods.method import untrained  # noqa: E402
from elir_jax.networks.layers import collapse  # noqa: E402
from elir_jax.pictures.images import to_float, to_uint8, write_png  # noqa: E402
from elir_jax.restorer import Restorer  # noqa: E402
from elir_jax.weights.own import write_weights  # noqa: E402

SMALL_WINDOWS = 384 * 512  # pixels


def photograph(height: int, width: int) -> np.ndarray:
    """Scikit-image's photographs, repeated until they fill the size."""
    tile = np.concatenate([data.astronaut(), data.coffee()[:400, :512]])
    return np.tile(tile, (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1))[
        :height, :width
    ]


def smaller(part: Part) -> Part:
    """The part in smaller windows, if it is local."""
    if not isinstance(part.reach, Local):
        return part
    return part._replace(reach=part.reach._replace(at_once=SMALL_WINDOWS // 64))


def compare(checkpoint: Path, config: str | None, out: Path) -> None:
    """Print how far the two results differ; write the one from windows."""
    image = to_float(photograph(768, 1024))
    (whole,) = Restorer.load(checkpoint, config).stages([image], 0)[0]
    restorer = Restorer.load(checkpoint, config)
    restorer.pictures = whole_pictures([smaller(part) for part in restorer.method.parts])
    (tiled,) = restorer.stages([image], 0)[0]
    levels = np.abs(to_uint8(whole).astype(int) - to_uint8(tiled)).max()
    print(f"1024x768 in windows of at most {SMALL_WINDOWS} pixels: largest difference "
          f"{np.abs(whole - tiled).max():.1e} of [0, 1], {levels} of 255; pixels span "
          f"[{whole.min():.2f}, {whole.max():.2f}]; wrote {out}")  # fmt: skip
    write_png(out, to_uint8(tiled))


def measure(folder: Path, checkpoint: Path, config: str | None, size: tuple[int, int]) -> None:
    """Run the command on one picture, and print its memory and time."""
    height, width = size
    write_png(folder / "large.png", photograph(height, width))
    command = [sys.executable, "-m", "elir_jax.restore", str(folder / "large.png"), "--output",
               str(folder / "out"), "--checkpoint", str(checkpoint)]  # fmt: skip
    start, most = time.monotonic(), 0
    with subprocess.Popen(command + (["--config", config] if config else []), cwd=ROOT) as process:
        while process.poll() is None:
            most = max(most, _greatest(process.pid))
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"the command failed: exit code {process.returncode}")
    print(f"{width}x{height}: {most / 2**20:.2f} GiB at most, {time.monotonic() - start:.0f} s")


def _greatest(pid: int) -> int:
    """The largest resident memory of the process so far, in KiB (Linux); 0 after its end."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


def main() -> None:
    """Compare, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--config", help="for weights without one (default: configs/bfr.py)")
    parser.add_argument("--size", type=int, nargs=2, default=[4000, 6000], help="height, width")
    parser.add_argument("--only", choices=["compare", "measure"])
    parser.add_argument(
        "--out", type=Path, default=Path("windows.png"), help="picture of the comparison"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, config = options.checkpoint, options.config
        if checkpoint is None:
            checkpoint, config = Path(folder) / "untrained", config or "configs/bfr.py"
            method = METHODS["elir"](read_config(config))
            make = jax.jit(lambda key: method.init(key, untrained))
            params, frozen = jax.tree.map(np.asarray, make(jax.random.key(0)))
            write_weights(checkpoint, frozen | collapse(params))
        if options.only != "measure":
            compare(checkpoint, config, options.out)
        if options.only != "compare":
            measure(Path(folder), checkpoint, config, tuple(options.size))


if __name__ == "__main__":
    main()
