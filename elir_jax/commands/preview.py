"""Draw training pairs of a configuration in one picture, as the networks will see them.

python -m elir_jax.data.preview --config configs/NAME.py --out FILE.png [--config.FIELD=VALUE ...]

Every column is a training pair: the original above its degraded version. Training with this seed
uses the same pairs. Without data of your own, they are the photographs that scikit-image ships.

With ``--both``, the pairs that the device makes of the same images stand below the host's. Both
sides draw from the same ranges, but each draws its own strengths, and places if ``data.fit=pad``.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from elir_jax.commands import frame
from elir_jax.compose.data import build_data
from elir_jax.errors import UserError
from elir_jax.pictures.images import to_uint8, write_png
from elir_jax.types import Batch

MARGIN = 4


def draw_columns(columns: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Pictures of one size below each other in every column, as uint8 RGB."""
    step = columns[0][0].shape[0] + MARGIN
    sides = (len(columns[0]) * step + MARGIN, len(columns) * step + MARGIN)
    canvas = np.full((*sides, 3), 255, np.uint8)
    for column, pictures in enumerate(columns):
        left = MARGIN + column * step
        for row, image in enumerate(pictures):
            top = MARGIN + row * step
            canvas[top : top + step - MARGIN, left : left + step - MARGIN] = to_uint8(image)
    return canvas


def pairs_of(config: Any, count: int) -> Batch:
    """The first ``count`` pairs of a training with this configuration."""
    data = build_data(config)
    prepare = jax.jit(data.prepare)
    taken, batches = [], data.batches(0, 1)
    while len(taken) * config.batch_size < count:
        taken.append(jax.device_get(prepare(next(batches))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *taken)


def preview(config: Any, workdir: Path, options: frame.Options) -> int:
    """Draw ``--pairs`` pairs into ``--out``."""
    out, count = flags.FLAGS.out, flags.FLAGS.pairs
    if not out:
        raise UserError("no file to write; name it with --out FILE.png")
    if Path(out).suffix.lower() != ".png":
        raise UserError(f"--out={out}: is written as PNG; end its name in .png")
    if count < 1:
        raise UserError(f"--pairs={count}: must be at least 1")
    with config.unlocked():
        config.data.workers = 0
        config.data.embedded = True
        config.batch_size = min(config.batch_size, count)
    sides = ("host", "device") if flags.FLAGS.both else (config.data.degrade_on,)
    found = []
    for side in sides:
        config.data.degrade_on = side
        found.append(pairs_of(config, count))
    rows = [row for pairs in found for row in (pairs.x_hq, pairs.x_lq)]
    try:
        write_png(Path(out), draw_columns(list(zip(*rows, strict=True))))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error})") from error
    on = " and ".join(sides)
    print(f"wrote {out}: {count} pairs, {config.degradation.name} on the {on}")
    return 0


def main() -> None:
    """Run the command as a process, which exits with its code."""
    flags.DEFINE_string("out", "", "the PNG file to write")
    flags.DEFINE_integer("pairs", 6, "the number of pairs")
    flags.DEFINE_bool("both", False, "show the host's pairs, and the device's below")
    frame.run(preview)
