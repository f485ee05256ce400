"""Draw training pairs of a configuration in one picture, as the networks will see them.

python -m elir_jax.data.preview --config configs/NAME.py --out FILE.png [--config.FIELD=VALUE ...]

Every column is a training pair: the original above its degraded version. Training with this seed
uses the same pairs. Without data of your own, they are the photographs that scikit-image ships.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from elir_jax.commands import frame
from elir_jax.compose.data import build_data
from elir_jax.errors import UserError
from elir_jax.pictures.images import to_uint8, write_png

MARGIN = 4


def draw_pairs(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Originals above degraded images, one pair for each column, as uint8 RGB."""
    size = pairs[0][0].shape[0]
    canvas = np.full(
        (2 * size + 3 * MARGIN, len(pairs) * (size + MARGIN) + MARGIN, 3), 255, np.uint8
    )
    for column, pair in enumerate(pairs):
        left = MARGIN + column * (size + MARGIN)
        for row, image in enumerate(pair):
            top = MARGIN + row * (size + MARGIN)
            canvas[top : top + size, left : left + size] = to_uint8(image)
    return canvas


def preview(config: Any, workdir: Path, options: frame.Options) -> int:
    """Draw ``--pairs`` pairs into ``--out``."""
    out, count = flags.FLAGS.out, flags.FLAGS.pairs
    if not out:
        raise UserError("no file to write; name it with --out FILE.png")
    if count < 1:
        raise UserError(f"--pairs={count}: must be at least 1")
    with config.unlocked():
        config.data.workers = 0
        config.data.embedded = True
    data = build_data(config)
    batches = data.batches(0, 1)
    pairs = itertools.chain.from_iterable(zip(b.x_hq, b.x_lq, strict=True) for b in batches)
    try:
        write_png(Path(out), draw_pairs(list(itertools.islice(pairs, count))))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error})") from error
    print(f"wrote {out}: {count} pairs, {config.degradation.name}")
    return 0


def main() -> None:
    """Run the command as a process, which exits with its code."""
    flags.DEFINE_string("out", "", "the PNG file to write")
    flags.DEFINE_integer("pairs", 6, "the number of pairs")
    frame.run(preview)
